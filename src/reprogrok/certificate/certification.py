"""A checkpoint -> its certificate: search block by block, check the trees, ask the real model, make the statement.

    search (untrusted) --kept block by block--> proofs --checker--> CheckedBlock of every block
    suspects of the search, problems of wrong and open parts --the real model--> counterexamples, smallest margin met

Searched blocks are kept in `.reprogrok/work/certify-<digest>/`, so that a stopped search resumes; the folder is removed
once the certificate is written. A leaf that the checker does not confirm becomes open. A contradiction between a proof
and an answer of the real model is an error of this program, raised as AssertionError.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from reprogrok import __version__
from reprogrok.certificate.checker.answers import Problem, ProblemAnswer, ask
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.check import CheckedBlock, check_block, statement, weakened
from reprogrok.certificate.checker.counts import Part
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, Arithmetic
from reprogrok.certificate.checker.statement import (
    MILLIONTH,
    Certificate,
    CertificateStatus,
    CertifiedModel,
    Counterexample,
    SearchNotes,
    SmallestSeen,
    Statement,
)
from reprogrok.certificate.document import FORMAT, block_entry, read_block
from reprogrok.certificate.failures.mining import mine_failures
from reprogrok.certificate.search.estimated_boxes import SearchedModel
from reprogrok.certificate.search.proof_search import FoundProof, search
from reprogrok.certificate.single_problems import draw, seat
from reprogrok.errors import InputError
from reprogrok.exam.exam import CLOSE, Examinee
from reprogrok.files import digest, exclusive, pretty_json, write_bytes
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.model.device import environment
from reprogrok.model.shapes import count_parameters
from reprogrok.schema import load

WORK = Path(".reprogrok/work")
LEAST_MARGIN = 2 * MILLIONTH  # logits by which a leaf must be confirmed to be stated
COUNTEREXAMPLES_PER_PLACE = 50
_WRONG_ASKED, _OPEN_ASKED, _EACH_OPEN = 500, 500, 8  # parts to draw problems from, and problems of an open part
_CONSISTENT = 1e-4  # logits: error of a margin that is computed from float32 logits
_CONSISTENT_REAL = 1.0  # logits: how far a margin in float32 may be from that in real arithmetic
_SEED = 0  # for drawing problems from parts: the same checkpoint gives the same certificate


@dataclass(frozen=True)
class SearchedBlock:
    """The result of the search in one block, and the seconds that it took."""

    found: FoundProof
    seconds: float


@dataclass(frozen=True)
class CertificationWork:
    """The folder where searched blocks are kept until the certificate is written; `digits` is n."""

    folder: Path
    digits: int

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, digits: int, budget: float, arithmetic: Arithmetic = FLOAT32, base: Path = WORK
    ) -> CertificationWork:
        """Return the work on a checkpoint with a budget; the same command finds it again."""
        key = digest([FORMAT, __version__, checkpoint.sha256, digits, budget, asdict(arithmetic)])
        return cls(base / f"certify-{key[:16]}", digits)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock on this work folder.

        Raises:
            BusyError: another process holds it.
        """
        with exclusive(self.folder.with_suffix(".lock"), f"certifying the same checkpoint in {self.folder}"):
            yield

    def read(self, block: Block) -> SearchedBlock | None:
        """Return a block that was searched before; None if there is none, or it is unreadable."""
        path = self._path(block)
        if not path.is_file():
            return None
        try:
            read = load(path)
            about = read.data
            proof = read_block(read, ("block",), about["block"], block)
            suspects = tuple((int(a), int(b)) for a, b in about["suspects"])
            return SearchedBlock(FoundProof(proof, suspects, int(about["cells"])), float(about["seconds"]))
        except (InputError, KeyError, TypeError, ValueError):
            return None  # of another version, or damaged: it is searched again

    def keep(self, searched: SearchedBlock) -> None:
        """Store a block atomically."""
        found = searched.found
        about = {
            "block": block_entry(found.proof),
            "suspects": [[int(a), int(b)] for a, b in found.suspects],
            "cells": int(found.cells),
            "seconds": searched.seconds,
        }
        write_bytes(self._path(found.proof.block), pretty_json(about))

    def kept(self) -> int:
        """Count the blocks that were searched before."""
        return sum(self._path(block).is_file() for block in blocks(self.digits))

    def remove(self) -> None:
        """Remove the folder and its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_suffix(".lock").unlink(missing_ok=True)

    @property
    def blocks(self) -> int:
        """Number of blocks to search."""
        return sum(1 for _ in blocks(self.digits))

    def _path(self, block: Block) -> Path:
        return self.folder / f"place-{block.place:02}-token-{block.token:02}.json"


def search_all(  # noqa: PLR0917 - the search, and callbacks
    work: CertificationWork,
    checkpoint: Checkpoint,
    budget: float,
    enclosure: Enclosure,
    advance: Callable[[Block], None] = lambda _block: None,
    clock: Callable[[], float] = time.monotonic,
    watch: Callable[[float], None] = lambda _fraction: None,
) -> list[SearchedBlock]:
    """Search every block that was not searched before, and store it. Return all blocks, in their order.

    Args:
        work: the folder of searched blocks.
        checkpoint: the model, which is searched in float64.
        budget: seconds for all blocks together, earlier searches included.
        enclosure: of the model, for close decisions.
        advance: called with each block that is done.
        clock: in seconds.
        watch: see `search`.
    """
    before = {block: kept for block in blocks(work.digits) if (kept := work.read(block)) is not None}
    weights = {name: tensor.double().numpy() for name, tensor in checkpoint.weights.items()}
    model = SearchedModel(checkpoint.spec, weights, work.digits)
    have = {block: kept.found for block, kept in before.items()}
    left = max(budget - sum(kept.seconds for kept in before.values()), 0.0)
    all_kept, began = {}, clock()
    for found in search(model, have, left, clock, enclosure, watch):
        block = found.proof.block
        if block in before:
            all_kept[block] = before[block]
        else:
            all_kept[block] = SearchedBlock(found, clock() - began)
            work.keep(all_kept[block])
        began = clock()
        advance(block)
    return [all_kept[block] for block in blocks(work.digits)]


def certify(
    checkpoint: Checkpoint,
    digits: int,
    searched: Sequence[SearchedBlock],
    enclosure: Enclosure,
    examinee: Examinee,
    *,
    budget: float,
    advance: Callable[[Block], None] = lambda _block: None,
) -> Certificate:
    """Make the certificate of the confirmed leaves.

    Args:
        checkpoint: the checkpoint.
        digits: n, of each operand.
        searched: every block, in their order.
        enclosure: of the model.
        examinee: the same model, to be asked.
        budget: seconds that the search had.
        advance: called with each block that was checked.
    """
    proofs, checked = [], []
    for each in searched:
        proof, confirmed = weakened(each.found.proof, check_block(enclosure, each.found.proof, LEAST_MARGIN))
        proofs.append(proof)
        checked.append(confirmed)
        advance(proof.block)
    # Float32 answers may differ from a proof in real arithmetic by rounding.
    tolerance = _CONSISTENT if enclosure.arithmetic == FLOAT32 else _CONSISTENT_REAL
    answers = _asked(examinee, searched, checked, tolerance)
    examples = [_counterexample(each) for each in _chosen(answers)]
    stated = statement(checked, digits, enclosure.arithmetic, examples, _smallest(answers))
    _require_consistent(stated, answers, tolerance)
    _require_unproved(checked, answers, tolerance)
    if stated.status is CertificateStatus.PROVED and examples:  # in real arithmetic: rounding turned them
        examples = []
        stated = statement(checked, digits, enclosure.arithmetic, examples, stated.smallest_seen)
    wrong, opened = ([part for one in checked for part in getattr(one, name)] for name in ("wrong", "open"))
    return Certificate(
        model=CertifiedModel(
            Path(checkpoint.path).as_posix(), checkpoint.sha256, count_parameters(checkpoint.spec),
            checkpoint.spec.as_dict(),
        ),
        digits=digits,
        arithmetic=enclosure.arithmetic,
        statement=replace(stated, failures=mine_failures(wrong, opened, digits, examples)),
        proofs=tuple(proofs),
        version=__version__,
        environment=environment(examinee.device),
        search=SearchNotes(
            round(sum(each.seconds for each in searched), 3), budget, sum(each.found.cells for each in searched)
        ),
    )  # fmt: skip


def _asked(
    examinee: Examinee, searched: Sequence[SearchedBlock], checked: Sequence[CheckedBlock], tolerance: float
) -> list[ProblemAnswer]:
    """Ask the suspects of the search, and problems of wrong and of open parts.

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
    problems: list[Problem] = [problem for each in searched for problem in each.found.suspects]
    problems += [problem for part in _spread(opened, _OPEN_ASKED) for problem in draw(part, _EACH_OPEN, rng)]
    return ask(examinee, digits, list(dict.fromkeys([*surely, *problems])))


def _spread(parts: Sequence[Part], count: int) -> Sequence[Part]:
    """Take at most `count` parts, evenly spread."""
    return parts if len(parts) <= count else [parts[index * len(parts) // count] for index in range(count)]


def _chosen(answers: Sequence[ProblemAnswer]) -> list[ProblemAnswer]:
    """Take a few wrong answers of each place, the most clearly wrong first."""
    by_place: dict[int, list[ProblemAnswer]] = {}
    for each in sorted(_clear(each for each in answers if not each.right), key=lambda each: (each.place, each.margin)):
        by_place.setdefault(each.place, []).append(each)
    return [each for place in by_place for each in by_place[place][:COUNTEREXAMPLES_PER_PLACE]]


def _clear(answers: Iterable[ProblemAnswer]) -> list[ProblemAnswer]:
    """Take answers with margins beyond float32 differences between machines; all if there is none."""
    everything = list(answers)
    return [each for each in everything if all(abs(m) > CLOSE for m in _decisive(each))] or everything


def _decisive(answer: ProblemAnswer) -> Sequence[float]:
    """Return the margins that decide an answer: up to its first wrong digit."""
    return answer.margins if answer.right else answer.margins[: answer.place + 1]


def _require_consistent(stated: Statement, answers: Sequence[ProblemAnswer], tolerance: float) -> None:
    """Compare the proved bounds with the answers.

    Raises:
        AssertionError: they disagree.
    """
    for each in answers:
        if stated.status is CertificateStatus.PROVED and not each.right and not each.margin >= -tolerance:
            raise AssertionError(f"{each.a} + {each.b} is answered {each.answer}, where no error was proved possible")
        for row in stated.places if each.right else ():
            least, margin = row.smallest_margin, each.margins[row.place]
            if not row.wrong and not row.open and least is not None and margin < least - tolerance:
                raise AssertionError(f"{each.a} + {each.b} has a margin of {margin}, below the proved {least}")


def _require_unproved(checked: Sequence[CheckedBlock], answers: Sequence[ProblemAnswer], tolerance: float) -> None:
    """Require that no problem that was answered wrong lies in a leaf that is proved right.

    Raises:
        AssertionError: one does.
    """
    doubtful: dict[tuple[Block, int], list[Part]] = {}
    for part in (part for one in checked for part in (*one.wrong, *one.open)):
        doubtful.setdefault((part.block, part.case), []).append(part)
    for each in answers:
        if each.right or each.margin >= -tolerance:
            continue
        at = seat(each.a, each.b, each.place, checked[0].block.digits)
        if not any(map(at.is_in, doubtful.get((at.block, at.case), ()))):
            raise AssertionError(f"{each.a} + {each.b} is answered {each.answer}, where it is proved to be right")


def _counterexample(answer: ProblemAnswer) -> Counterexample:
    return Counterexample(answer.a, answer.b, str(answer.a + answer.b), answer.answer, answer.place)


def _smallest(answers: Sequence[ProblemAnswer]) -> SmallestSeen | None:
    """Return the least margin of a right answer."""
    right = _clear(each for each in answers if each.right)
    if not right:
        return None
    least = min(right, key=lambda each: (each.margin, each.a, each.b))
    return SmallestSeen(round(least.margin, 6), least.a, least.b, least.place)
