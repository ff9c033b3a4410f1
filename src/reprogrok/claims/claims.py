"""Published statements as data: `audit/claims/NAME.yaml` -> frozen claims; nothing in the file is ever executed.

    file --JSON Schema--> Document --consistency--> Citation(Claim(Subject, Quantity, Expectation), ...)

A claim names a subject, an estimator (a quantity with its definition id), an expectation, and an observation that would
contradict it. The schema checks shapes; this module checks that the fields fit together: a comparison needs a second
subject, a rate needs an event, a bitwise claim about a training needs a seed. Each misfit is an error with file, line
and field.

The tier says what can contradict a claim. *bitwise*: the same seed on the same fingerprint; *numeric*: one number,
computed or measured on one artefact, outside a tolerance; *statistical*: a training, whose seeds are draws.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.schema import Document, Steps, load

SUFFIX = ".yaml"


class Tier(StrEnum):
    """The kind of observation that can contradict a claim."""

    BITWISE = "bitwise"
    NUMERIC = "numeric"
    STATISTICAL = "statistical"


class Order(StrEnum):
    """A claimed order of two subjects."""

    EARLIER = "earlier"
    LATER = "later"
    HIGHER = "higher"
    LOWER = "lower"
    MORE_OFTEN = "more-often"
    LESS_OFTEN = "less-often"


@dataclass(frozen=True)
class Subject:
    """A thing that can be measured.

    Attributes:
        kind: "experiment" (trained replicas), "log" (a recorded log), "checkpoint", "data" (an experiment without
            training) or "publication".
        name: name of the experiment, log, checkpoint or publication.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Quantity:
    """An estimator; two numbers are compared only if all fields of their quantities agree.

    Attributes:
        name: name of the quantity (`docs/claims.md` lists them).
        definition: id of the estimator or exam.
        metric: name of the metric in a record, for a quantity of a series.
        measured_as: definition id of that metric.
        step: step of a single evaluation.
        until: last step that counts.
        window: positions of the mean, for a loss bound.
        side: rows of the mean, for a loss bound.
    """

    name: str
    definition: str
    metric: str | None = None
    measured_as: str | None = None
    step: int | None = None
    until: int | None = None
    window: str | None = None
    side: str | None = None

    def as_dict(self) -> dict[str, str | int]:
        """Return plain data, as claims and evidence hold it: only the fields that are set."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Value:
    """`value` within `tolerance`, in the quantity's unit; `n` is the total of a count."""

    value: float
    tolerance: float
    n: int | None = None


@dataclass(frozen=True)
class Between:
    """A region from `low` to `high`, both included; None is no limit."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Word:
    """A word, such as a regime."""

    word: str


@dataclass(frozen=True)
class PublishedCount:
    """An event that a source saw on k of n seeds."""

    k: int
    n: int


@dataclass(frozen=True)
class Rate:
    """An event whose rate over seeds lies between two numbers."""

    low: float
    high: float


Expectation = Value | Between | Word | PublishedCount | Rate | Order


@dataclass(frozen=True)
class Reported:
    """A number as the source prints it, for number forensics; see the schema for the fields.

    Attributes:
        text: the number with the source's digits.
        of: accuracy, exact_match, errors, loss, rank, entropy, grok_step, count or share.
        at: line of the source.
        fields: further facts: run, split, step, k, n, positions, scored, range.
        line: 1-based line in the claims file.
    """

    text: str
    of: str
    at: int
    fields: Mapping[str, Any]
    line: int | None = None


@dataclass(frozen=True)
class Claim:
    """A published statement that can be wrong.

    Attributes:
        id: unique among all claims.
        words: the source's own words, at most one line.
        at: line of the source.
        says: the claim as one plain sentence.
        kind: topic, for the ledger's sections.
        tier: the kind of observation that can contradict it.
        subject: the measured subject.
        against: the subject of a comparison that it is compared with.
        seed: the seed of a bitwise claim about a training.
        device: the device of a bitwise claim: cpu, cuda, mps, or any.
        quantity: the estimator.
        expect: the claimed value, region, word, rate or order.
        contradicted_by: the observation that would show it wrong.
        disputes: ids of claims that cannot be true together with this one.
        reported: the numbers in the words.
        note: a remark for the reader of the verdict.
        path: the file it was read from.
        line: 1-based line there.
    """

    id: str
    words: str
    at: int
    says: str
    kind: str
    tier: Tier
    subject: Subject
    quantity: Quantity
    expect: Expectation
    contradicted_by: str
    path: Path
    against: Subject | None = None
    seed: int | None = None
    device: str | None = None
    disputes: tuple[str, ...] = ()
    reported: tuple[Reported, ...] = ()
    note: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Citation:
    """A published document and the claims that it makes.

    Attributes:
        file: name of the document.
        sha256: SHA-256 of its bytes; None if not known.
        title: title of the document.
        date: date of the document; None if it states none.
        claims: its claims, in the order of the file.
        path: the claims file.
    """

    file: str
    sha256: str | None
    title: str
    date: str | None
    claims: tuple[Claim, ...]
    path: Path


def load_citations(paths: Sequence[Path], *, complete: bool = True) -> tuple[Citation, ...]:
    """Read claims files together: ids are unique over all of them and, if they are complete, disputed claims exist.

    Raises:
        InputError: a file does not match the schema, or its fields contradict each other.
    """
    documents = [load(path, "claims") for path in paths]
    citations = tuple(_citation(document) for document in documents)
    first: dict[str, Claim] = {}
    for document, citation in zip(documents, citations, strict=True):
        for index, claim in enumerate(citation.claims):
            if (taken := first.setdefault(claim.id, claim)) is not claim:
                message = f"this id is taken (by {taken.path}:{taken.line})"
                raise document.error(("claims", index, "id"), message, expected="a new id", found=claim.id)
    for document, citation in zip(documents, citations, strict=True):
        for index, claim in enumerate(citation.claims):
            for number, disputed in enumerate(claim.disputes):
                if disputed == claim.id or (complete and disputed not in first):
                    at: Steps = ("claims", index, "disputes", number)
                    raise document.error(at, "no such other claim", expected="the id of another claim", found=disputed)
    return citations


def claims_files(folder: Path) -> list[Path]:
    """Return the claims files of a folder, sorted.

    Raises:
        InputError: there is no such folder, or no claims file in it.
    """
    found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not found:
        raise InputError("no claims here", path=folder, expected=f"a folder with NAME{SUFFIX} files of claims")
    return found


def all_claims(citations: Iterable[Citation]) -> dict[str, Claim]:
    """Return id -> claim."""
    return {claim.id: claim for citation in citations for claim in citation.claims}


def check_known(name: str, known: Iterable[str]) -> None:
    """Check that there is a claim of that id.

    Raises:
        InputError: there is none; the message names the nearest ones.
    """
    if name in (ids := list(known)):
        return
    near = difflib.get_close_matches(name, ids, n=3, cutoff=0.4)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise InputError("no such claim", expected=f"an id of the {len(ids)} claims here{hint}", found=name)


def quantity_of(entry: Mapping[str, Any]) -> Quantity:
    """Return the quantity of plain data that the schema has checked."""
    steps = {name: int(entry[name]) for name in ("step", "until") if name in entry}
    return Quantity(**{**entry, **steps})


def subject_of(entry: Mapping[str, str]) -> Subject:
    """Return the subject of plain data that the schema has checked."""
    ((kind, name),) = entry.items()
    return Subject(kind, name)


def _citation(document: Document) -> Citation:
    data = document.data
    head = data["source"]
    claims = tuple(_claim(document, index, item) for index, item in enumerate(data["claims"]))
    return Citation(head["file"], head.get("sha256"), head["title"], head.get("date"), claims, document.path)


def _claim(document: Document, index: int, item: Mapping[str, Any]) -> Claim:
    at: Steps = ("claims", index)
    claim = Claim(
        id=item["id"],
        words=item["words"],
        at=int(item["at"]),
        says=item["says"],
        kind=item["kind"],
        tier=Tier(item["tier"]),
        subject=subject_of(item["subject"]),
        quantity=quantity_of(item["quantity"]),
        expect=_expectation(item["expect"]),
        contradicted_by=item["contradicted_by"],
        path=document.path,
        against=subject_of(item["against"]) if "against" in item else None,
        seed=int(item["seed"]) if "seed" in item else None,
        device=item.get("device"),
        disputes=tuple(item.get("disputes", ())),
        reported=tuple(
            _reported(document, (*at, "reported", number), entry, int(item["at"]))
            for number, entry in enumerate(item.get("reported", ()))
        ),
        note=item.get("note"),
        line=document.lines.get(at),
    )
    _check_fit(document, at, claim)
    return claim


def _check_fit(document: Document, at: Steps, claim: Claim) -> None:
    """Check the fields of a claim against each other."""
    _check_subject(document, at, claim)
    ordered = isinstance(claim.expect, Order)
    if ordered and claim.against is None:
        raise document.error((*at, "expect"), "an order needs another subject", expected="`against` beside it")
    if claim.against is not None and not ordered:
        raise document.error((*at, "against"), "compared with nothing", expected="`expect: {order: ...}` beside it")
    if isinstance(claim.expect, PublishedCount) and not 0 < claim.expect.n >= claim.expect.k:
        found = f"{claim.expect.k} of {claim.expect.n}"
        raise document.error((*at, "expect", "rate"), expected="k of n with n > 0 and k <= n", found=found)
    if isinstance(claim.expect, Between | Rate):
        low, high = claim.expect.low, claim.expect.high
        if low is None and high is None:
            raise document.error((*at, "expect"), "every number lies between these", expected="at least one limit")
        if low is not None and high is not None and low > high:
            raise document.error((*at, "expect"), "no number lies between these", expected="low <= high")
    if (claim.quantity.metric is None) != (claim.quantity.measured_as is None):
        message = "a metric and how it was measured go together"
        raise document.error((*at, "quantity"), message, expected="both `metric` and `measured_as`, or neither")


def _check_subject(document: Document, at: Steps, claim: Claim) -> None:
    """Check tier, subject, seed and device: trainings and artefacts allow different claims."""
    over_seeds = isinstance(claim.expect, PublishedCount | Rate)
    if over_seeds and claim.subject.kind != "experiment":
        message = "only trained replicas have a rate"
        raise document.error((*at, "subject"), message, expected="an experiment", found=claim.subject.kind)
    if over_seeds and claim.tier is not Tier.STATISTICAL:
        raise document.error((*at, "tier"), "a rate is one over seeds", expected="statistical", found=claim.tier.value)
    if claim.tier is Tier.STATISTICAL and claim.subject.kind != "experiment":
        message = "what was not trained over seeds cannot be judged over seeds"
        raise document.error((*at, "tier"), message, expected="numeric", found=claim.tier.value)
    if claim.tier is Tier.NUMERIC and "experiment" in (claim.subject.kind, claim.against and claim.against.kind):
        message = "a training is no single number: it is judged over seeds, or for one seed"
        raise document.error((*at, "tier"), message, expected="statistical or bitwise", found=claim.tier.value)
    trained = claim.tier is Tier.BITWISE and claim.subject.kind == "experiment"
    if trained and claim.against is not None:
        raise document.error((*at, "against"), "one seed is compared with nothing", expected="tier statistical")
    for name in ("seed", "device"):
        if trained != (getattr(claim, name) is not None):
            message = f"{name} goes with a bitwise claim about a training, and only with one"
            raise document.error(at if trained else (*at, name), message)


def _expectation(entry: Mapping[str, Any]) -> Expectation:
    if "value" in entry:
        n = int(entry["n"]) if "n" in entry else None
        return Value(_exactly(entry["value"]), _exactly(entry["tolerance"]), n)
    if "between" in entry:
        low, high = (None if end is None else _exactly(end) for end in entry["between"])
        return Between(low, high)
    if "is" in entry:
        return Word(entry["is"])
    if "order" in entry:
        return Order(entry["order"])
    rate = entry["rate"]
    return PublishedCount(int(rate["k"]), int(rate["n"])) if "k" in rate else Rate(*map(float, rate["between"]))


def _exactly(number: float) -> float:
    """Return a float, but keep a whole number that no float holds: there are 10^20 problems of ten digits."""
    return number if float(number) != number else float(number)


def _reported(document: Document, at: Steps, entry: Mapping[str, Any], line: int) -> Reported:
    fields = {name: value for name, value in entry.items() if name not in ("text", "of", "at")}
    return Reported(entry["text"], entry["of"], int(entry.get("at", line)), fields, document.lines.get(at))
