"""What is known, from files and folders at hand -> observations of one subject and one quantity; nothing is trained.

    audit/evidence/*.json   results that were written down
    runs/NAME/              runs of an experiment of params.yaml        --subject, quantity--> Observation, ...
    checkpoints/*.json      manifests of provided checkpoints
    params.yaml             what follows from an experiment untrained

A claim is judged by these observations alone. An experiment is named by its settings, not by its name: a run or a file
whose spec digest is not that of params.yaml is not used, and said to be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.certificate.certified import stated_of
from reprogrok.certificate.document import SUFFIX
from reprogrok.claims.certificate_quantities import CERTIFIED, quantities_of
from reprogrok.claims.claims import Quantity, Subject
from reprogrok.claims.data_quantities import UNIQUE, measure_data
from reprogrok.claims.evidence_files import Filed, read_evidence
from reprogrok.claims.outcomes import Absent, Measured, Outcome
from reprogrok.claims.quantities import Replica, measure
from reprogrok.errors import InputError
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.params import Params
from reprogrok.schema import load
from reprogrok.spec import Experiment
from reprogrok.stats.ranges import Range

# A subject's kind, or a definition of its own -> what would make an observation of it.
_MAKES = {
    "experiment": "`reprogrok train {name}`, or `reprogrok reproduce CLAIM`, makes one",
    "log": "`reprogrok observe LOG --output FILE` makes one where the log is at hand",
    "checkpoint": "`reprogrok eval --output` and `reprogrok observe` make one where the checkpoint is at hand",
    CERTIFIED: "`reprogrok certify --output` and `reprogrok observe` make one where the checkpoint is at hand",
    "data": "params.yaml has to name that experiment",
    "publication": "what it says of itself has to be written down in a file of evidence",
}


@dataclass(frozen=True)
class Observation:
    """One quantity that was measured on one subject: a value (with k of n where it is a count), a word or a time.

    Attributes:
        subject: what was measured.
        quantity: the estimator.
        value: the number; of a time the evaluation that had got there; None where there is none.
        word: for a quantity that is a word.
        k: right answers, errors or events, where the value is a count or a share of `n`.
        n: what a count is out of.
        time: the interval between two evaluations, or right-censored.
        bounds: of a number that is proved to lie between two others.
        seed: of the replica; None where nothing was trained.
        ran_on: the fingerprint of what computed it; empty where that is not known.
        origin: file or folder it was read from, for people.
        updates: optimiser updates that were done; None where nothing was trained or nobody knows.
        planned: updates that the schedule is for; likewise.
        engine_version: of what trained it; 0 where nothing was trained or nobody knows.
    """

    subject: Subject
    quantity: Quantity
    value: float | None = None
    word: str | None = None
    k: int | None = None
    n: int | None = None
    time: StepInterval | Censored | None = None
    bounds: Range | None = None
    seed: int | None = None
    ran_on: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    updates: int | None = None
    planned: int | None = None
    engine_version: int = 0


@dataclass(frozen=True)
class Source:
    """Something that knows a subject: an entry of a file, a run, a manifest, or an experiment's data.

    Attributes:
        subject: what it knows.
        origin: file or folder, for people.
        seeds: of its replicas; one None where nothing was trained.
        outcome: (seed, quantity) -> what it came to.
        ran_on: the fingerprint.
        engine_version: of what trained it.
        updates: that were done.
        planned: that the schedule is for.
        sha256: file name -> hash of what was read; empty if not stated.
    """

    subject: Subject
    origin: str
    seeds: tuple[int | None, ...]
    outcome: Callable[[int | None, Quantity], Outcome]
    ran_on: Mapping[str, Any] = field(default_factory=dict)
    engine_version: int = 0
    updates: int | None = None
    planned: int | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def observe(self, seed: int | None, quantity: Quantity) -> Observation | None:
        """What was measured; None where nothing was."""
        found = self.outcome(seed, quantity)
        if isinstance(found, Absent):
            return None
        return Observation(
            subject=self.subject,
            quantity=quantity,
            value=found.value,
            word=found.word,
            k=found.k,
            n=found.n,
            time=found.time,
            bounds=found.bounds,
            seed=seed,
            ran_on=self.ran_on,
            origin=self.origin,
            updates=self.updates,
            planned=self.planned,
            engine_version=self.engine_version,
        )


@dataclass(frozen=True)
class Evidence:
    """All that is at hand.

    Attributes:
        sources: files of evidence first, then runs, manifests and data.
        left_out: what names a subject and is not used, with the reason.
    """

    sources: tuple[Source, ...]
    left_out: tuple[tuple[Subject, str], ...] = ()

    def observations(self, subject: Subject, quantity: Quantity, device: str | None = None) -> tuple[Observation, ...]:
        """What was measured of a quantity, in the order of seeds.

        Of an experiment one per seed: of several, that of the newest engine, then the one that was trained for longer,
        then the first in the order of the sources. Of anything else one for each thing that was found: of one artefact
        there is one truth, and two sources that differ are a matter for the judge, not for the order of files.

        Args:
            subject: what is asked about.
            quantity: what is asked.
            device: only what was computed on "cpu", "cuda" or "mps"; None for all.
        """
        sources = [source for source in self._of(subject) if device in (None, source.ran_on.get("device"))]
        if subject.kind != "experiment":
            return _different(source.observe(seed, quantity) for source in sources for seed in source.seeds)
        best: dict[int | None, Observation] = {}
        for source in sources:
            for seed in source.seeds:
                # What one source knows better is not computed from the next.
                if seed in best and _rank(best[seed]) >= (source.engine_version, source.updates or 0):
                    continue
                if (found := source.observe(seed, quantity)) is not None:
                    best[seed] = found
        return tuple(best[seed] for seed in sorted(best, key=lambda seed: -1 if seed is None else seed))

    def missing(self, subject: Subject, quantity: Quantity) -> str:
        """Why there is no observation, and what would make one, as one sentence.

        Reasons that several seeds share are given once.
        """
        sources = list(self._of(subject))
        reasons: dict[Absent, list[str]] = {}
        for source in sources:
            for seed in source.seeds:
                if isinstance(found := source.outcome(seed, quantity), Absent):
                    named = replace(found, reason=f"{source.origin}: {found.reason}")
                    reasons.setdefault(named, []).append(_seed(seed))
        said = [f"{absent.reason}{_seeds(seeds)}" for absent, seeds in list(reasons.items())[:4]]
        said += [reason for left, reason in self.left_out if left == subject]
        if not sources:
            said.insert(0, f"nothing at hand is an observation of {subject}")
        if not sources or any(absent.again for absent in reasons):
            made_by = CERTIFIED if quantity.definition == CERTIFIED else subject.kind
            said.append(_MAKES[made_by].format(name=subject.name))
        return "; ".join(said) or f"nothing is missing of {subject}"

    def seeds(self, experiment: str) -> frozenset[int]:
        """The seeds of an experiment that were tried, whatever was measured of them."""
        sources = self._of(Subject("experiment", experiment))
        return frozenset(seed for source in sources for seed in source.seeds if seed is not None)

    def _of(self, subject: Subject) -> Iterator[Source]:
        return (source for source in self.sources if source.subject == subject)


def _rank(observation: Observation) -> tuple[int, int]:
    return observation.engine_version, observation.updates or 0


def _different(observations: Iterable[Observation | None]) -> tuple[Observation, ...]:
    """The first of each that says something else."""
    first: dict[tuple[Any, ...], Observation] = {}
    for seen in observations:
        if seen is not None:
            first.setdefault((seen.value, seen.word, seen.k, seen.n, seen.time, seen.bounds), seen)
    return tuple(first.values())


def _seed(seed: int | None) -> str:
    return "" if seed is None else str(seed)


def _seeds(seeds: list[str]) -> str:
    known = [seed for seed in seeds if seed]
    if not known:
        return ""
    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    return f" (seed {shown})" if len(known) == 1 else f" (seeds {shown})"


def gather(
    evidence: Path | None = None,
    runs: Path | None = None,
    checkpoints: Path | None = None,
    params: Params | None = None,
) -> Evidence:
    """Everything at hand; a folder that does not exist holds nothing.

    Records are read when they are asked for, and then checked against the hashes of their summary.

    Args:
        evidence: folder of evidence files.
        runs: folder of runs.
        checkpoints: folder of provided checkpoints with their manifests.
        params: the experiments; without them no spec digest is compared, and nothing follows from data.

    Raises:
        InputError: a file of evidence, a spec, a fingerprint or a manifest is not what it has to be, or two of them
            speak of different checkpoints by one name.
    """
    experiments = {} if params is None else params.experiments
    sources: list[Source] = []
    left_out: list[tuple[Subject, str]] = []
    for found in (*_from_files(evidence), *_from_runs(runs)):
        if (reason := _other_settings(found, experiments)) is not None:
            left_out.append((found[0].subject, reason))
        else:
            sources.append(found[0])
    sources += _from_manifests(checkpoints)
    _check_same_files(sources)
    sources += [_from_data(experiment) for experiment in experiments.values()]
    return Evidence(tuple(sources), tuple(left_out))


def _check_same_files(sources: Iterable[Source]) -> None:
    """A checkpoint goes by its name, so one name must mean one file, wherever its hash is stated."""
    first: dict[str, tuple[str, str]] = {}
    for source in sources:
        for name, sha256 in source.sha256.items() if source.subject.kind == "checkpoint" else ():
            if name.endswith(SUFFIX):
                continue  # there may be several of one checkpoint, and all of them right
            known, origin = first.setdefault(name, (sha256, source.origin))
            if known != sha256:
                message = f"{name} is another file here than in {origin}"
                raise InputError(message, path=source.origin, expected=f"sha256 {known[:16]}…", found=f"{sha256[:16]}…")


_Candidate = tuple[Source, str | None]  # with the digest of its spec, if it has one


def _other_settings(candidate: _Candidate, experiments: Mapping[str, Experiment]) -> str | None:
    """Why a source is not of the experiment that it names, or None if it is."""
    source, digest = candidate
    if source.subject.kind != "experiment" or (experiment := experiments.get(source.subject.name)) is None:
        return None
    if digest == experiment.digest():
        return None
    found = "states no settings" if digest is None else f"was trained with other settings (spec digest {digest[:12]}…)"
    return f"{source.origin} {found} than {experiment.name} of params.yaml ({experiment.digest()[:12]}…)"


def _from_files(folder: Path | None) -> Iterator[_Candidate]:
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        for filed in read_evidence(path):
            yield _of_file(filed), filed.spec_digest


def _of_file(filed: Filed) -> Source:
    return Source(
        subject=filed.subject,
        origin=filed.origin,
        seeds=tuple(filed.measured),
        outcome=filed.outcome,
        ran_on=filed.ran_on,
        engine_version=filed.engine_version,
        updates=filed.updates,
        planned=filed.planned,
        sha256=filed.sha256,
    )


def _from_runs(folder: Path | None) -> Iterator[_Candidate]:
    """The finished runs of ours in a folder; what is still in progress has no summary."""
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        if (path / record.SUMMARY).is_file() and (path / record.SPEC).is_file():
            spec = load(path / record.SPEC, "run").data
            yield _of_run(path, spec), spec["digest"]


def _of_run(path: Path, spec: Mapping[str, Any]) -> Source:
    @cache
    def run() -> record.Record:
        return record.read(path)

    def outcome(seed: int | None, quantity: Quantity) -> Outcome:
        return Absent("it has no such seed") if seed is None else measure(Replica(run(), seed), quantity)

    planned = spec["spec"]["steps"]
    return Source(
        subject=Subject("experiment", spec["experiment"]),
        origin=path.as_posix(),
        seeds=tuple(spec["seeds"]),
        outcome=outcome,
        ran_on=load(path / record.FINGERPRINT, "fingerprint").data,
        engine_version=spec["engine_version"],
        updates=spec.get("stopped_at", planned),
        planned=planned,
    )


def _from_manifests(folder: Path | None) -> Iterator[Source]:
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        if path.name.endswith(SUFFIX):
            continue  # the manifest says what it states
        manifest = load(path, "manifest").data
        known = {Quantity("parameters", UNIQUE): Measured(float(manifest["parameters"]))}
        for score in manifest["scores"].values():
            errors, n = score["errors"], score["n"]
            known[Quantity("errors", score["exam"])] = Measured(float(errors), k=errors, n=n)
            known[Quantity("exact_match", score["exam"])] = Measured((n - errors) / n, k=n - errors, n=n)
        if (block := manifest.get("certificate")) is not None:
            known |= quantities_of(stated_of(block))
        subject = Subject("checkpoint", Path(manifest["file"]).stem)
        sha256 = {manifest["file"]: manifest["sha256"]}
        filed = Filed(subject, path.as_posix(), {None: known}, frozenset(), manifest["examined_on"], sha256=sha256)
        yield _of_file(filed)


def _from_data(experiment: Experiment) -> Source:
    @cache
    def outcome(_seed: int | None, quantity: Quantity) -> Outcome:
        return measure_data(experiment, quantity)

    return Source(Subject("data", experiment.name), "params.yaml", (None,), outcome)
