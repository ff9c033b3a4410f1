"""Evaluations of checkpoints -> which differences are more than chance.

    evaluations (ours, or the published script's) --same exam?--> pairs of checkpoints --exact test, Holm--> comparison

Two models that sat the same exam are compared problem by problem: McNemar's exact test on the problems that only one
of them gets wrong. A published evaluation holds counts alone; there Fisher's exact test takes the scores as
independent samples, and the row says so. All p-values of a comparison are adjusted together (Holm).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.schema import Document, Steps, check, load
from reprogrok.stats.statistics import Proportion, fisher, holm, mcnemar, proportion
from reprogrok.tasks.protocols import EXAM_SEEDS, PROTOCOL

LEVEL = 0.05
GROKKED = 0.99  # a replica counts as grokked when its checkpoint gets this share of the problems below right
_GROKKED_IN = ("uniform", "held-out")
_WRITTEN_SHARE = 1e-6  # published shares are rounded when they are written


@dataclass(frozen=True)
class Sitting:
    """One checkpoint's result in one exam.

    Attributes:
        exam: name of the exam.
        digest: of its problems; None where a published evaluation does not say.
        errors: of n.
        failed: the operands that were answered wrongly, each pair once (a stratum may ask the same problem again, and
            asking twice is no second piece of evidence); None where only counts are known.
    """

    exam: str
    digest: str | None
    errors: Proportion
    failed: frozenset[tuple[int, int]] | None


@dataclass(frozen=True)
class Entry:
    """One evaluated checkpoint: a label, its size and origin as far as known, and its sittings by suite."""

    label: str
    parameters: int | None
    experiment: str | None
    seed: int | None
    sittings: dict[str, Sitting]


@dataclass(frozen=True)
class Pair:
    """Two checkpoints in one suite: the test, its p, and p adjusted for all pairs of the comparison."""

    suite: str
    first: str
    second: str
    test: str
    only_first: int | None
    only_second: int | None
    p: float
    p_adjusted: float

    @property
    def differs(self) -> bool:
        """Is the difference more than chance, at 5 % for all pairs together?"""
        return self.p_adjusted <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """Entries side by side, their pairs, and per run how many of its seeds grokked."""

    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]
    grokked: dict[str, Proportion] = field(default_factory=dict)


def read_evaluations(path: Path) -> list[Entry]:
    """The entries of an evaluation file: one, several, or the published script's.

    Raises:
        InputError: it is none of these, or its counts contradict each other.
    """
    document = load(path)
    if isinstance(document.data, dict) and "format" not in document.data and "multi_seed_validation" in document.data:
        return [_published(document)]
    check(document, "evaluation")
    many = document.data.get("evaluations")
    if many is None:
        return [_ours(document, (), document.data)]
    return [_ours(document, ("evaluations", index), item) for index, item in enumerate(many)]


def compare(entries: list[Entry]) -> Comparison:
    """Compare every pair of entries in every suite that they all sat.

    Raises:
        InputError: one checkpoint with two results, no common suite, or different problems under one name.
    """
    # A provided checkpoint stands in the evaluation of every experiment; the same result twice is one result.
    entries = [entry for index, entry in enumerate(entries) if entry not in entries[:index]]
    labels = [entry.label for entry in entries]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError("two different results under this name; compare one of them", path=twice)
    suites = [suite for suite in entries[0].sittings if all(suite in entry.sittings for entry in entries)]
    if not suites:
        raise InputError("these evaluations have no exam in common", expected="the same suite in each of them")
    for suite in suites:
        for entry in entries[1:]:
            _check_same_exam(entries[0], entry, suite)
    raw = [
        (suite, first, second, *_test(first, second, suite))
        for suite in suites
        for first, second in combinations(entries, 2)
    ]
    adjusted = holm([p for *_, p in raw])
    pairs = tuple(
        Pair(suite, first.label, second.label, test, only_first, only_second, p, p_adjusted)
        for (suite, first, second, test, only_first, only_second, p), p_adjusted in zip(raw, adjusted, strict=True)
    )
    kept = tuple(
        Entry(e.label, e.parameters, e.experiment, e.seed, {suite: e.sittings[suite] for suite in suites})
        for e in entries
    )
    return Comparison(kept, pairs, _grok_rates(kept))


def _check_same_exam(first: Entry, second: Entry, suite: str) -> None:
    one, other = first.sittings[suite], second.sittings[suite]
    same_digest = None in (one.digest, other.digest) or one.digest == other.digest
    if one.exam != other.exam or one.errors.n != other.errors.n or not same_digest:
        raise InputError(
            "sat another exam", path=second.label, field=f"$.suites.{suite}",
            expected=f"{one.exam} with {one.errors.n:,} problems, digest {str(one.digest)[:16]}",
            found=f"{other.exam} with {other.errors.n:,} problems, digest {str(other.digest)[:16]}",
        )  # fmt: skip


def _test(first: Entry, second: Entry, suite: str) -> tuple[str, int | None, int | None, float]:
    one, other = first.sittings[suite], second.sittings[suite]
    if one.failed is None or other.failed is None:
        p = fisher(one.errors.k, one.errors.n, other.errors.k, other.errors.n)
        return "Fisher (unpaired: one file holds counts alone)", None, None, p
    only_first, only_second = len(one.failed - other.failed), len(other.failed - one.failed)
    return "McNemar", only_first, only_second, mcnemar(only_first, only_second)


def _grok_rates(entries: tuple[Entry, ...]) -> dict[str, Proportion]:
    """Per run, how many of its examined seeds have a checkpoint at or above `GROKKED`.

    Only files in the folder of a run count (`RUN/seed-N/NAME.pt`): a provided checkpoint was chosen because it is good,
    and would turn a rate into an advertisement.
    """
    scores: dict[str, dict[int, float]] = {}
    for entry in entries:
        folder = Path(entry.label).parent
        sitting = next((entry.sittings[suite] for suite in _GROKKED_IN if suite in entry.sittings), None)
        if entry.seed is not None and folder.name == f"seed-{entry.seed}" and sitting is not None:
            by_seed = scores.setdefault(folder.parent.as_posix(), {})
            right = 1 - sitting.errors.estimate
            by_seed[entry.seed] = max(by_seed.get(entry.seed, 0.0), right)
    return {
        run: proportion(sum(score >= GROKKED for score in by_seed.values()), len(by_seed))
        for run, by_seed in scores.items()
    }


def _ours(document: Document, at: Steps, data: dict[str, Any]) -> Entry:
    sittings = {}
    for suite, result in data["suites"].items():
        where = (*at, "suites", suite)
        failures = [
            problem
            for number, stratum in enumerate(result["strata"])
            for problem in _failed(document, (*where, "strata", number), stratum)
        ]
        if len(failures) != (errors := result["total"]["errors"]):
            raise document.error(
                where, expected=f"{errors} failures in all strata, as the total says", found=len(failures)
            )
        if (n := sum(stratum["n"] for stratum in result["strata"])) != result["total"]["n"]:
            raise document.error(
                (*where, "total", "n"), expected=f"{n} problems, the sum over the strata", found=result["total"]["n"]
            )
        counted = _errors(document, (*where, "total"), result["total"])
        sittings[suite] = Sitting(result["exam"], result["exam_digest"], counted, frozenset(failures))
    checkpoint = data["checkpoint"]
    origin = checkpoint["origin"] or {}
    return Entry(checkpoint["path"], checkpoint["parameters"], origin.get("experiment"), origin.get("seed"), sittings)


def _failed(document: Document, at: Steps, stratum: dict[str, Any]) -> list[tuple[int, int]]:
    """The operands of a stratum's failures; the schema leaves these long columns to us."""
    columns = stratum["failures"]
    if len({len(column) for column in columns.values()}) != 1 or len(columns["index"]) != stratum["errors"]:
        lengths = {name: len(column) for name, column in columns.items()}
        raise document.error((*at, "failures"), expected=f"columns of {stratum['errors']} values", found=lengths)
    indices = columns["index"]
    if not all(type(index) is int and 0 <= index < stratum["n"] for index in indices):
        raise document.error((*at, "failures", "index"), expected=f"whole numbers from 0 to {stratum['n'] - 1}")
    if len(set(indices)) != len(indices):
        raise document.error((*at, "failures", "index"), expected="every problem once")
    for name in ("a", "b"):
        if not all(type(operand) is int and operand >= 0 for operand in columns[name]):
            raise document.error((*at, "failures", name), expected="whole numbers")
    return list(zip(columns["a"], columns["b"], strict=True))


def _errors(document: Document, at: Steps, total: dict[str, Any]) -> Proportion:
    if total["errors"] > total["n"]:
        raise document.error(at, expected=f"at most {total['n']} errors", found=total["errors"])
    return proportion(total["errors"], total["n"])


def _published(document: Document) -> Entry:
    check(document, "published_evaluation")
    block = document.data["multi_seed_validation"]
    errors, n = block["aggregate_errors"], block["total_examples"]
    at = ("multi_seed_validation",)
    if sorted(block["per_seed"]) != sorted(map(str, EXAM_SEEDS)):
        expected = f"the test sets of {PROTOCOL}, seeds {', '.join(map(str, EXAM_SEEDS))}"
        raise document.error((*at, "per_seed"), "another exam", expected=expected, found=sorted(block["per_seed"]))
    by_seed = sum(result["errors"] for result in block["per_seed"].values())
    if by_seed != errors:
        expected = f"{by_seed}, the sum over the test sets"
        raise document.error((*at, "aggregate_errors"), expected=expected, found=errors)
    if abs(block["aggregate_exact_match"] - (n - errors) / n) > _WRITTEN_SHARE:
        expected = f"{(n - errors) / n:.6g}, as the counts say"
        raise document.error((*at, "aggregate_exact_match"), expected=expected, found=block["aggregate_exact_match"])
    return Entry(
        document.path.as_posix(), None, None, None,
        {"uniform": Sitting(PROTOCOL, None, _errors(document, (), {"errors": errors, "n": n}), None)},
    )  # fmt: skip


def document_of(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, ready for JSON."""
    return {
        "format": "reprogrok.comparison/1",
        "checkpoints": [
            {
                "label": entry.label,
                "parameters": entry.parameters,
                "experiment": entry.experiment,
                "seed": entry.seed,
                "suites": {suite: _counts(suite, sitting) for suite, sitting in entry.sittings.items()},
            }
            for entry in comparison.entries
        ],
        "pairs": [vars(pair) | {"more_than_chance": pair.differs} for pair in comparison.pairs],
        "grokked": {name: {"k": r.k, "n": r.n, "low": r.low, "high": r.high} for name, r in comparison.grokked.items()},
    }


def metrics_of(comparison: Comparison) -> dict[str, Any]:
    """The numbers that a pipeline tracks, as nested dicts of numbers alone."""
    rates = {
        name: {"grokked": r.k, "seeds": r.n, "low": r.low, "high": r.high} for name, r in comparison.grokked.items()
    }
    errors = {
        entry.label: {suite: sitting.errors.k for suite, sitting in entry.sittings.items()}
        for entry in comparison.entries
    }
    return {"grok rate": rates, "errors": errors}


def _counts(suite: str, sitting: Sitting) -> dict[str, Any]:
    """Errors of n, with their interval where the problems are a sample of one law.

    The stress strata follow several laws, and of a modular task every equation is asked.
    """
    counts = {"exam": sitting.exam, "errors": sitting.errors.k, "n": sitting.errors.n}
    return counts | ({"low": sitting.errors.low, "high": sitting.errors.high} if suite == "uniform" else {})
