"""Files and folders -> the observations of one subject and one quantity; nothing is trained.

    audit/evidence/*.json   committed results
    runs/NAME/              runs of an experiment of params.yaml        --subject, quantity--> Observation, ...
    checkpoints/*.json      manifests of released checkpoints
    params.yaml             facts of an experiment that need no training

A claim is judged by these observations alone. An experiment is identified by its settings, not by its name: a run or a
file whose spec digest is not that of params.yaml is left out and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from reprogrok import record
from reprogrok.certificate.certified import stated_of
from reprogrok.certificate.document import SUFFIX
from reprogrok.claims.certificate_quantities import CERTIFIED, quantities_of
from reprogrok.claims.claims import Quantity, Subject
from reprogrok.claims.data_quantities import UNIQUE, measure_data
from reprogrok.claims.evidence_files import EvidenceEntry, read_evidence
from reprogrok.claims.exam_quantities import score_measurements
from reprogrok.claims.measurements import Measured, Measurement, Missing
from reprogrok.claims.replica_quantities import Replica, measure
from reprogrok.errors import InputError
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.params import Params
from reprogrok.schema import load
from reprogrok.spec.experiment import Experiment
from reprogrok.stats.ranges import Range

CHECKPOINTS = Path("checkpoints")  # the released ones of a project, whose manifests are evidence

# A subject's kind, or a definition -> the command that makes an observation of it.
_MAKES = {
    "experiment": "`reprogrok train {name}`, or `reprogrok reproduce CLAIM`, makes one",
    "log": "`reprogrok collect LOG --output FILE` makes one where the log is at hand",
    "checkpoint": "`reprogrok eval --output` and `reprogrok collect` make one where the checkpoint is at hand",
    CERTIFIED: "`reprogrok certify --output` and `reprogrok collect` make one where the checkpoint is at hand",
    "data": "params.yaml has to name that experiment",
    "publication": "what it says of itself has to be written down in a file of evidence",
}


@dataclass(frozen=True)
class Observation:
    """One quantity that was measured on one subject: a value (with k of n where it is a count), a word or a time.

    Attributes:
        subject: the measured subject.
        quantity: the estimator.
        value: the number, or the step of the evaluation that reached a time; None where there is none.
        word: the word, for a quantity that is one.
        k: right answers, errors or events, where the value is a count or a fraction of `n`.
        n: total of the count.
        time: the interval between two evaluations, or right-censored.
        bounds: the range of a number that is only bounded.
        seed: seed of the replica; None where nothing was trained.
        ran_on: fingerprint of the computation; empty where it is not known.
        origin: file or folder it was read from, for people.
        updates: optimiser updates that were done; None where nothing was trained or it is not known.
        planned: updates of the schedule; None where nothing was trained or it is not known.
        engine_version: version of the training engine; 0 where nothing was trained or it is not known.
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
    ran_on: Mapping[str, object] = field(default_factory=dict)
    origin: str = ""
    updates: int | None = None
    planned: int | None = None
    engine_version: int = 0


@dataclass(frozen=True)
class EvidenceSource:
    """A source of measurements of one subject: an entry of a file, a run, a manifest, or an experiment's data.

    Attributes:
        subject: the measured subject.
        origin: file or folder, for people.
        seeds: seeds of the replicas; a single None where nothing was trained.
        measure: (seed, quantity) -> measurement.
        ran_on: the fingerprint.
        engine_version: version of the training engine.
        updates: optimiser updates that were done.
        planned: updates of the schedule.
        sha256: file name -> SHA-256 of each file that was read; empty if not stated.
    """

    subject: Subject
    origin: str
    seeds: tuple[int | None, ...]
    measure: Callable[[int | None, Quantity], Measurement]
    ran_on: Mapping[str, object] = field(default_factory=dict)
    engine_version: int = 0
    updates: int | None = None
    planned: int | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def observe(self, seed: int | None, quantity: Quantity) -> Observation | None:
        """Return the observation of a quantity; None where there is none."""
        found = self.measure(seed, quantity)
        if isinstance(found, Missing):
            return None
        return Observation(
            subject=self.subject,
            quantity=quantity,
            value=None if found.value is None else float(found.value),
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
    """All available evidence.

    Attributes:
        sources: files of evidence first, then runs, manifests and data.
        left_out: (subject, reason) of every source that is not used.
    """

    sources: tuple[EvidenceSource, ...]
    left_out: tuple[tuple[Subject, str], ...] = ()

    def observations(self, subject: Subject, quantity: Quantity, device: str | None = None) -> tuple[Observation, ...]:
        """Return the observations of a quantity, in the order of seeds.

        An experiment has one per seed: from the newest engine, then from the longer training, then from the first
        source. Any other subject has one for each different value: an artefact has one true value, and the judge, not
        the order of files, decides about sources that differ.

        Args:
            subject: the subject.
            quantity: the quantity.
            device: restriction to "cpu", "cuda" or "mps"; None for all.
        """
        sources = [source for source in self._of(subject) if device in (None, source.ran_on.get("device"))]
        if subject.kind != "experiment":
            return _different(source.observe(seed, quantity) for source in sources for seed in source.seeds)
        best: dict[int | None, Observation] = {}
        for source in sources:
            for seed in source.seeds:
                # A better source has it, so this one need not compute it.
                if seed in best and _rank(best[seed]) >= (source.engine_version, source.updates or 0):
                    continue
                if (found := source.observe(seed, quantity)) is not None:
                    best[seed] = found
        return tuple(best[seed] for seed in sorted(best, key=lambda seed: -1 if seed is None else seed))

    def missing(self, subject: Subject, quantity: Quantity) -> str:
        """Return why there is no observation and what would make one; seeds that share a reason are listed together."""
        sources = list(self._of(subject))
        reasons: dict[Missing, list[str]] = {}
        for source in sources:
            for seed in source.seeds:
                if isinstance(found := source.measure(seed, quantity), Missing):
                    named = replace(found, reason=f"{source.origin}: {found.reason}")
                    reasons.setdefault(named, []).append(_seed(seed))
        said = [f"{absent.reason}{_seeds(seeds)}" for absent, seeds in list(reasons.items())[:4]]
        said += [reason for left, reason in self.left_out if left == subject]
        if not sources:
            said.insert(0, f"there is no observation of {subject}")
        if not sources or any(absent.again for absent in reasons):
            made_by = CERTIFIED if quantity.definition == CERTIFIED else subject.kind
            said.append(_MAKES[made_by].format(name=subject.name))
        return "; ".join(said) or f"nothing is missing of {subject}"

    def seeds(self, experiment: str) -> frozenset[int]:
        """Return the seeds of an experiment that were trained, whatever was measured of them."""
        sources = self._of(Subject("experiment", experiment))
        return frozenset(seed for source in sources for seed in source.seeds if seed is not None)

    def _of(self, subject: Subject) -> Iterator[EvidenceSource]:
        return (source for source in self.sources if source.subject == subject)


def _rank(observation: Observation) -> tuple[int, int]:
    return observation.engine_version, observation.updates or 0


def _different(observations: Iterable[Observation | None]) -> tuple[Observation, ...]:
    """Return the first of each group of equal observations."""
    first: dict[tuple[object, ...], Observation] = {}
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
    """Gather all evidence; a missing folder holds none.

    Records are read on demand and then checked against the hashes of their summary.

    Args:
        evidence: folder of evidence files.
        runs: folder of runs.
        checkpoints: folder of released checkpoints with their manifests.
        params: the experiments; without them no spec digest is compared, and nothing follows from data.

    Raises:
        InputError: a file of evidence, a spec, a fingerprint or a manifest is invalid, or two of them give one name to
            different checkpoints.
    """
    experiments = {} if params is None else params.experiments
    sources: list[EvidenceSource] = []
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


def _check_same_files(sources: Iterable[EvidenceSource]) -> None:
    """Check that every checkpoint name means one file, wherever its hash is stated."""
    first: dict[str, tuple[str, str]] = {}
    for source in sources:
        for name, sha256 in source.sha256.items() if source.subject.kind == "checkpoint" else ():
            if name.endswith(SUFFIX):
                continue  # several certificates of one checkpoint may all be right
            known, origin = first.setdefault(name, (sha256, source.origin))
            if known != sha256:
                message = f"{name} is another file here than in {origin}"
                raise InputError(message, path=source.origin, expected=f"sha256 {known[:16]}…", found=f"{sha256[:16]}…")


_Candidate = tuple[EvidenceSource, str | None]  # and the digest of its spec, if it has one


def _other_settings(candidate: _Candidate, experiments: Mapping[str, Experiment]) -> str | None:
    """Return why a source is not of the experiment that it names; None if it is."""
    source, digest = candidate
    if source.subject.kind != "experiment" or (experiment := experiments.get(source.subject.name)) is None:
        return None
    if digest == experiment.digest():
        return None
    found = "states no settings" if digest is None else f"was trained with other settings (spec digest {digest[:12]}…)"
    return f"{source.origin} {found} than {experiment.name} of params.yaml ({experiment.digest()[:12]}…)"


def _from_files(folder: Path | None) -> Iterator[_Candidate]:
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        for entry in read_evidence(path):
            yield _of_entry(entry), entry.spec_digest


def _of_entry(entry: EvidenceEntry) -> EvidenceSource:
    return EvidenceSource(
        subject=entry.subject,
        origin=entry.origin,
        seeds=tuple(entry.measured),
        measure=entry.measure,
        ran_on=entry.ran_on,
        engine_version=entry.engine_version,
        updates=entry.updates,
        planned=entry.planned,
        sha256=entry.sha256,
    )


def _from_runs(folder: Path | None) -> Iterator[_Candidate]:
    """Yield our finished runs in a folder; a run in progress has no summary."""
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []:
        if (path / record.SUMMARY).is_file() and (path / record.SPEC).is_file():
            yield _of_run(path)


def _of_run(path: Path) -> _Candidate:
    spec = load(path / record.SPEC, "run").data

    @cache
    def run() -> record.Record:
        return record.read(path)

    def measured(seed: int | None, quantity: Quantity) -> Measurement:
        return Missing("it has no such seed") if seed is None else measure(Replica(run(), seed), quantity)

    planned = spec["spec"]["steps"]
    source = EvidenceSource(
        subject=Subject("experiment", spec["experiment"]),
        origin=path.as_posix(),
        seeds=tuple(spec["seeds"]),
        measure=measured,
        ran_on=load(path / record.FINGERPRINT, "fingerprint").data,
        engine_version=spec["engine_version"],
        updates=spec.get("stopped_at", planned),
        planned=planned,
    )
    return source, spec["digest"]


def _from_manifests(folder: Path | None) -> Iterator[EvidenceSource]:
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        if path.name.endswith(SUFFIX):
            continue  # the manifest repeats its statement
        manifest = load(path, "manifest").data
        known = {Quantity("parameters", UNIQUE): Measured(float(manifest["parameters"]))}
        for score in manifest["scores"].values():
            known |= score_measurements(score["exam"], score["errors"], score["n"])
        if (block := manifest.get("certificate")) is not None:
            known |= quantities_of(stated_of(block))
        subject = Subject("checkpoint", Path(manifest["file"]).stem)
        sha256 = {manifest["file"]: manifest["sha256"]}
        ran_on = manifest["examined_on"]
        yield _of_entry(EvidenceEntry(subject, {None: known}, path.as_posix(), ran_on=ran_on, sha256=sha256))


def _from_data(experiment: Experiment) -> EvidenceSource:
    @cache
    def measured(_seed: int | None, quantity: Quantity) -> Measurement:
        return measure_data(experiment, quantity)

    return EvidenceSource(Subject("data", experiment.name), "params.yaml", (None,), measured)
