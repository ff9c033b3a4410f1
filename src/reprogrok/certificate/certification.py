"""A checkpoint -> its certificate: search block by block, check what was found, ask the real model, write it down.

    search (untrusted) --kept block by block--> proofs --certificate_check--> what is confirmed --> document
    suspects of the search, problems of wrong and open parts --the real model--> counterexamples, smallest margin met

Every block that was searched is kept in `.reprogrok/work/certify-<digest>/`, so a run that was stopped goes on where it
was; the folder is removed once the certificate is written. Only what the checker confirms is stated: a leaf that it
does not confirm becomes open. A contradiction between what is proved and what the real model answers is a fault of this
program and is raised as one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reprogrok import __version__
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.check import (
    CheckedBlock,
    check_block,
    failures,
    statement,
    verdict_of,
    weakened,
    wrong_in_all,
)
from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.rounding import FLOAT32, Arithmetic
from reprogrok.certificate.document import (
    FORMAT,
    MILLIONTH,
    Verdict,
    arithmetic_entry,
    block_entry,
    document,
    read_block,
)
from reprogrok.certificate.problems_met import Met, ask, draw, seat
from reprogrok.certificate.search.estimated_boxes import Model
from reprogrok.certificate.search.proof_search import Found, search
from reprogrok.errors import InputError
from reprogrok.exam.exam import CLOSE
from reprogrok.files import digest, exclusive, pretty_json, write_bytes
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.model.device import environment
from reprogrok.schema import load
from reprogrok.tasks.addition import EQUALS

if TYPE_CHECKING:
    from reprogrok.certificate.checker.enclosure import Enclosure
    from reprogrok.exam.exam import Examinee

WORK = Path(".reprogrok/work")
LEAST_MARGIN = 2 * MILLIONTH  # logits: a status is stated if it is confirmed with so much to spare
COUNTEREXAMPLES_PER_PLACE = 50
_WRONG_ASKED, _OPEN_ASKED, _EACH_OPEN = 500, 500, 8  # parts that are looked into, and problems of each open one
_CONSISTENT = 1e-4  # logits: by so much a margin that is read off float32 logits may miss its own bound
_CONSISTENT_REAL = 1.0  # logits: by so much one in float32 may miss what is true in real arithmetic
_SEED = 0  # of the problems that are drawn from parts: the same checkpoint gives the same certificate


@dataclass(frozen=True)
class Kept:
    """One block that was searched, and the seconds that it took."""

    found: Found
    seconds: float


@dataclass(frozen=True)
class Work:
    """Where the blocks of one certificate are kept until it is written.

    Attributes:
        folder: of this checkpoint under these options.
        digits: of each operand.
    """

    folder: Path
    digits: int

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, digits: int, budget: float, arithmetic: Arithmetic = FLOAT32, base: Path = WORK
    ) -> Work:
        """The work on a checkpoint with a budget: the same command finds it again."""
        key = digest([FORMAT, __version__, checkpoint.sha256, digits, budget, arithmetic_entry(arithmetic)])
        return cls(base / f"certify-{key[:16]}", digits)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else works on the same meanwhile.

        Raises:
            BusyError: another process does.
        """
        with exclusive(self.folder.with_suffix(".lock"), f"certifying the same checkpoint in {self.folder}"):
            yield

    def read(self, block: Block) -> Kept | None:
        """A block that was searched before; None if there is none, or none that can be used."""
        path = self._path(block)
        if not path.is_file():
            return None
        try:
            read = load(path)
            about = read.data
            proof = read_block(read, ("block",), about["block"], block)
            suspects = tuple((int(a), int(b)) for a, b in about["suspects"])
            return Kept(Found(proof, suspects, int(about["cells"])), float(about["seconds"]))
        except (InputError, KeyError, TypeError, ValueError):
            return None  # of another version, or spoiled: it is searched anew

    def keep(self, kept: Kept) -> None:
        """Keep what was found, whole or not at all."""
        found = kept.found
        about = {
            "block": block_entry(found.proof),
            "suspects": [[int(a), int(b)] for a, b in found.suspects],
            "cells": int(found.cells),
            "seconds": kept.seconds,
        }
        write_bytes(self._path(found.proof.block), pretty_json(about))

    def kept(self) -> int:
        """How many blocks were searched before."""
        return sum(self._path(block).is_file() for block in blocks(self.digits))

    def remove(self) -> None:
        """Forget it: the certificate is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)

    @property
    def blocks(self) -> int:
        """How many there are to search."""
        return sum(1 for _ in blocks(self.digits))

    def _path(self, block: Block) -> Path:
        return self.folder / f"place-{block.place:02}-token-{block.token:02}.json"


def search_all(  # noqa: PLR0917 - what a search needs, and whom it tells
    work: Work,
    checkpoint: Checkpoint,
    budget: float,
    enclosure: Enclosure,
    advance: Callable[[Block], None] = lambda _block: None,
    clock: Callable[[], float] = time.monotonic,
    watch: Callable[[float], None] = lambda _share: None,
) -> list[Kept]:
    """Search every block that was not searched before, and keep it; all of them, in the order of blocks.

    Args:
        work: where they are kept.
        checkpoint: the model, which is searched in float64.
        budget: seconds for all blocks together, earlier sittings included.
        enclosure: of the model, for what is close.
        advance: told of each block that is at hand.
        clock: in seconds.
        watch: told now and then which share of all problems is open to further search.
    """
    before = {block: kept for block in blocks(work.digits) if (kept := work.read(block)) is not None}
    weights = {name: tensor.double().numpy() for name, tensor in checkpoint.weights.items()}
    model = Model(checkpoint.spec, weights, work.digits)
    have = {block: kept.found for block, kept in before.items()}
    left = max(budget - sum(kept.seconds for kept in before.values()), 0.0)
    all_kept, began = {}, clock()
    for found in search(model, have, left, clock, enclosure, watch):
        block = found.proof.block
        if block in before:
            all_kept[block] = before[block]
        else:
            all_kept[block] = Kept(found, clock() - began)
            work.keep(all_kept[block])
        began = clock()
        advance(block)
    return [all_kept[block] for block in blocks(work.digits)]


def certify(
    checkpoint: Checkpoint,
    digits: int,
    searched: Sequence[Kept],
    enclosure: Enclosure,
    examinee: Examinee,
    *,
    budget: float,
    advance: Callable[[Block], None] = lambda _block: None,
) -> dict[str, Any]:
    """The certificate of what the checker confirms, as plain data.

    Args:
        checkpoint: whose.
        digits: of each operand.
        searched: every block, in the order of blocks.
        enclosure: of the model.
        examinee: the same model, to be asked.
        budget: seconds that the search had.
        advance: told of each block after it was checked.
    """
    proofs, checked = [], []
    for each in searched:
        proof, sure = weakened(each.found.proof, check_block(enclosure, each.found.proof, LEAST_MARGIN))
        proofs.append(proof)
        checked.append(sure)
        advance(proof.block)
    stated = statement(checked, digits, enclosure.arithmetic)
    # Where the proof speaks of real arithmetic alone, what float32 answers may differ by its rounding.
    tolerance = _CONSISTENT if enclosure.arithmetic == FLOAT32 else _CONSISTENT_REAL
    met = _meet(examinee, searched, checked, tolerance)
    counterexamples = _chosen(met)
    verdict = verdict_of(stated, len(counterexamples))
    _require_consistent(stated, met, verdict, tolerance)
    _require_unproved(checked, met, tolerance)
    if verdict is Verdict.PROVED:
        counterexamples = []  # of real arithmetic: rounding turned them
    shown = [_counterexample(each) for each in counterexamples]
    wrong = wrong_in_all(stated, len(counterexamples))
    about = {
        "verdict": verdict.value,
        "wrong": wrong,
        "counterexamples": shown,
        "failures": failures(checked, shown, wrong, digits),
        "smallest_seen": _smallest(met),
        "environment": environment(examinee.device),
        "search": {
            "seconds": round(sum(each.seconds for each in searched), 3),
            "budget": budget,
            "cells": sum(each.found.cells for each in searched),
        },
    }
    return document(checkpoint, digits, proofs, stated, about)


def _meet(examinee: Examinee, searched: Sequence[Kept], checked: Sequence[CheckedBlock], tolerance: float) -> list[Met]:
    """What the model answers to the suspects of the search, and to problems of wrong and of open parts.

    Raises:
        AssertionError: a problem that is proved to be wrong is answered right.
    """
    rng, digits = np.random.default_rng(_SEED), checked[0].block.digits
    wrong = [part for one in checked for part in one.wrong]
    opened = [part for one in checked for part in one.open]
    drawn = [(part, problem) for part in _spread(wrong, _WRONG_ASKED) for problem in draw(part, 1, rng)]
    surely = [problem for _, problem in drawn]
    for (part, _), each in zip(drawn, ask(examinee, digits, surely), strict=True):
        if each.right and each.margins[part.block.place] > tolerance:
            raise AssertionError(f"{each.a} + {each.b} is answered right, where it is proved to be wrong")
    problems = [problem for each in searched for problem in each.found.suspects]
    problems += [problem for part in _spread(opened, _OPEN_ASKED) for problem in draw(part, _EACH_OPEN, rng)]
    return ask(examinee, digits, list(dict.fromkeys([*surely, *problems])))


def _spread(parts: Sequence[Part], count: int) -> Sequence[Part]:
    """At most so many of them, evenly spread over all."""
    return parts if len(parts) <= count else [parts[index * len(parts) // count] for index in range(count)]


def _chosen(met: Sequence[Met]) -> list[Met]:
    """A few wrong ones of each place, the most clearly wrong first."""
    by_place: dict[int, list[Met]] = {}
    for each in sorted(_clear(each for each in met if not each.right), key=lambda each: (each.place, each.margin)):
        by_place.setdefault(each.place, []).append(each)
    return [each for place in by_place for each in by_place[place][:COUNTEREXAMPLES_PER_PLACE]]


def _clear(met: Iterable[Met]) -> list[Met]:
    """Those that another float32 evaluation answers alike, as far as is known; all if there is none."""
    everything = list(met)
    return [each for each in everything if all(abs(m) > CLOSE for m in _decisive(each))] or everything


def _decisive(met: Met) -> Sequence[float]:
    """The margins that an answer rests on: after a wrong digit the others mean nothing."""
    return met.margins if met.right else met.margins[: met.place + 1]


def _require_consistent(stated: Mapping[str, Any], met: Sequence[Met], verdict: Verdict, tolerance: float) -> None:
    """Hold what is proved against what was met; where they disagree, one of the two is computed wrongly.

    Raises:
        AssertionError: they disagree.
    """
    for each in met:
        if verdict is Verdict.PROVED and not each.right and not each.margin >= -tolerance:
            raise AssertionError(f"{each.a} + {each.b} is answered {each.answer}, where no error was proved possible")
        for row in stated["places"] if each.right else ():
            least, margin = row["smallest_margin"], each.margins[row["place"]]
            if not row["wrong"] and not row["open"] and least is not None and margin < least - tolerance:
                raise AssertionError(f"{each.a} + {each.b} has a margin of {margin}, below the proved {least}")


def _require_unproved(checked: Sequence[CheckedBlock], met: Sequence[Met], tolerance: float) -> None:
    """See that no problem that was answered wrong lies in a leaf that is proved right.

    Raises:
        AssertionError: one does.
    """
    doubtful: dict[tuple[Block, int], list[Part]] = {}
    for part in (part for one in checked for part in (*one.wrong, *one.open)):
        doubtful.setdefault((part.block, part.case), []).append(part)
    digits = checked[0].block.digits
    for each in met:
        if each.right or each.margin >= -tolerance:
            continue
        block = Block(digits, each.place, (each.a + each.b) // 10 ** (each.place - 1) % 10 if each.place else EQUALS)
        at = seat(block, each.a, each.b)
        if at is None or not any(map(at.is_in, doubtful.get((block, at.case), ()))):
            raise AssertionError(f"{each.a} + {each.b} is answered {each.answer}, where it is proved to be right")


def _counterexample(met: Met) -> dict[str, Any]:
    expected = str(met.a + met.b)
    return {"a": str(met.a), "b": str(met.b), "expected": expected, "answer": met.answer, "place": met.place}


def _smallest(met: Sequence[Met]) -> dict[str, Any] | None:
    """The least margin of a right answer."""
    right = _clear(each for each in met if each.right)
    if not right:
        return None
    least = min(right, key=lambda each: (each.margin, each.a, each.b))
    return {"margin": round(least.margin, 6), "a": str(least.a), "b": str(least.b), "place": least.place}
