"""`reprogrok reproduce`: train the seeds that a claim lacks, and judge it again.

    claim --judged--> open verdict --plan--> Training, ... --train--> runs --judged--> verdict and exit code

Before training starts the plan is written to .reprogrok/reproduce/CLAIM.json: once a part of it is done, the evidence
would ask for another one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reprogrok import record
from reprogrok.claims.audit import generator_of_id, judge_claims
from reprogrok.claims.claims import Claim, Tier, all_claims, check_known, claims_files, load_citations
from reprogrok.claims.collection import collect_run
from reprogrok.claims.evidence import CHECKPOINTS, Evidence, gather
from reprogrok.claims.evidence_files import write_evidence
from reprogrok.claims.tables import print_claim
from reprogrok.claims.verdict import Audit, ClaimVerdict
from reprogrok.commands import train
from reprogrok.console import console
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import check_writable, pretty_json, write_bytes
from reprogrok.params import Params, read_params
from reprogrok.schema import load
from reprogrok.spec.experiment import Experiment

MOST_BY_DEFAULT = 8  # seeds that are trained unless a number is given


@dataclass(frozen=True)
class Request:
    """The options that a plan depends on.

    Attributes:
        claim: id of the claim.
        seeds: number of seeds to train; None for as many as the verdict lacks, at most 8.
        device: device to train on; None for that of params.yaml.
        runs: folder of runs.
    """

    claim: str
    seeds: int | None
    device: str | None
    runs: Path

    def as_dict(self) -> dict[str, str | int | None]:
        """Return plain data, as the saved plan holds it."""
        return {"claim": self.claim, "seeds": self.seeds, "device": self.device, "runs": self.runs.as_posix()}


@dataclass(frozen=True)
class Training:
    """A training that a claim lacks.

    Attributes:
        experiment: name of the experiment.
        seeds: consecutive seeds that no evidence has.
        out: folder of the run.
        device: device to train on; None for that of params.yaml.
    """

    experiment: str
    seeds: range
    out: Path
    device: str | None


def run(
    request: Request,
    *,
    workers: int | None,
    dry_run: bool,
    quiet: bool,
    collect: Path | None,
    claims: Path,
    evidence: Path,
    params: Path,
) -> int:
    """Train what a claim lacks, print its verdict, and return the exit code.

    Raises:
        InputError: an input cannot be used, or an option contradicts the claim.
    """
    if collect is not None:
        check_writable(collect)
    read = read_params(params)
    known = gather(evidence, request.runs, CHECKPOINTS, read)
    judged = _judge(request.claim, claims, known, read)
    trainings = _unfinished(request) or _trainings(request, judged.verdicts[0], known, read, params)
    sys.stdout.write(_plan_text(judged, trainings, read))
    sys.stdout.flush()
    if dry_run:
        return ExitCode.PASS
    if trainings:
        _save_plan(request, trainings)
    for training in trainings:
        trained_before = known.seeds(training.experiment).issuperset(training.seeds)
        if not trained_before and (code := _train(training, workers, params, quiet=quiet)) != ExitCode.PASS:
            return code
    if trainings:
        _plan_file(request).unlink(missing_ok=True)
        judged = _judge(request.claim, claims, gather(evidence, request.runs, CHECKPOINTS, read), read)
    if collect is not None and trainings:
        _collect(collect, judged.verdicts[0].claim, trainings)
    print_claim(judged, judged.verdicts[0], console())
    return judged.exit_code


def _train(training: Training, workers: int | None, params: Path, *, quiet: bool) -> int:
    return train.run(
        training.experiment,
        seeds=f"{training.seeds.start}:{training.seeds.stop}",
        device=training.device,
        out=training.out,
        workers=workers,
        quiet=quiet,
        params=params,
    )


def _judge(claim_id: str, folder: Path, known: Evidence, params: Params) -> Audit:
    """Judge one claim.

    Raises:
        InputError: there is no such claim.
    """
    citations = load_citations(claims_files(folder))
    check_known(claim_id, all_claims(citations))
    costs = {name: experiment.cost for name, experiment in params.experiments.items()}
    return judge_claims(citations, known, generator_of=generator_of_id, chosen={claim_id}, costs=costs)


def _trainings(request: Request, verdict: ClaimVerdict, known: Evidence, read: Params, path: Path) -> list[Training]:
    """Plan new seeds of each experiment in a claim; none where training cannot help.

    Raises:
        InputError: params.yaml has no such experiment, or the claim is about another device.
    """
    if verdict.claim.tier is Tier.BITWISE and verdict.claim.seed is not None:
        return _bitwise(request, verdict.claim, known, read, path)
    if request.seeds is None and (not verdict.judgement.is_open or _undecidable(verdict)):
        return []
    trainings = []
    for name in dict.fromkeys(arm.subject.name for arm in verdict.arms if arm.subject.kind == "experiment"):
        experiment = read.experiment(name, path)
        wanted = request.seeds or min(verdict.judgement.seeds_needed or len(experiment.seeds), MOST_BY_DEFAULT)
        chosen = next_seeds(known.seeds(name), min(experiment.seeds), wanted)
        trainings.append(_training(name, chosen, request.runs, request.device))
    return trainings


def _bitwise(request: Request, claim: Claim, known: Evidence, read: Params, path: Path) -> list[Training]:
    """Plan the one seed that the claim names, on its device, unless there is evidence of it."""
    if request.seeds not in (None, 1):
        message = f"the claim is about seed {claim.seed} alone"
        raise InputError(message, field="--seeds", expected="nothing, or 1", found=str(request.seeds))
    device = claim.device if claim.device != "any" else request.device
    if request.device not in (None, "auto", device):
        message = "the claim is about another device"
        raise InputError(message, field="--device", expected=str(device), found=request.device)
    found = known.observations(claim.subject, claim.quantity, None if device in (None, "auto") else device)
    if claim.seed is None or any(seen.seed == claim.seed for seen in found):
        return []
    read.experiment(claim.subject.name, path)
    return [_training(claim.subject.name, range(claim.seed, claim.seed + 1), request.runs, device)]


def _training(name: str, seeds: range, runs: Path, device: str | None) -> Training:
    place = "" if device in (None, "cpu", "auto") else f"-{device}"
    return Training(name, seeds, runs / f"{name}-seeds-{seeds.start}-{seeds.stop - 1}{place}", device)


def next_seeds(used: frozenset[int], first: int, count: int) -> range:
    """Return the next `count` consecutive unused seeds from `first` on: {42, 43}, 42, 2 gives 44 and 45."""
    start = first
    while taken := [seed for seed in range(start, start + count) if seed in used]:
        start = taken[-1] + 1
    return range(start, start + count)


def _plan_file(request: Request) -> Path:
    return Path(".reprogrok") / "reproduce" / f"{request.claim}.json"


def _save_plan(request: Request, plan: Sequence[Training]) -> None:
    trainings = [
        {"experiment": one.experiment, "seeds": [one.seeds.start, one.seeds.stop], "device": one.device} for one in plan
    ]
    write_bytes(_plan_file(request), pretty_json({"asked": request.as_dict(), "trainings": trainings}))


def _unfinished(request: Request) -> list[Training]:
    """Return the saved plan of the same command; none if it ended, or if the command was another one."""
    path = _plan_file(request)
    if not path.is_file():
        return []
    saved = load(path).data
    if not isinstance(saved, dict) or saved.get("asked") != request.as_dict():
        return []
    return [
        _training(entry["experiment"], range(*entry["seeds"]), request.runs, entry["device"])
        for entry in saved["trainings"]
    ]


def _plan_text(judged: Audit, plan: Sequence[Training], read: Params) -> str:
    """Return what is missing, the planned trainings, and their cost."""
    verdict = judged.verdicts[0]
    lines = [f"{verdict.claim.id}: {verdict.decision.value} so far"]
    if (missing := verdict.judgement.missing) is not None:
        lines.append(f"  missing: {missing}")
    needed = verdict.judgement.seeds_needed
    for training in plan:
        count, first = len(training.seeds), training.seeds.start
        seeds = f"seed {first}" if count == 1 else f"seeds {first} to {training.seeds.stop - 1}"
        lines.append(f"  trains {training.experiment}, {seeds}, into {training.out}")
        each = "it" if count == 1 else f"each of the {count}"
        lines.append(f"  {each} takes {_cost(read.experiments[training.experiment])}")
        if needed is not None and count < needed:
            lines.append(f"  the verdict asks for {needed}: --seeds {needed} trains as many in one go")
    if not plan:
        trained = any(arm.subject.kind == "experiment" for arm in verdict.arms)
        reason = "it is decided, or the seed is at hand" if trained else f"it is about {verdict.claim.subject}"
        if _undecidable(verdict):
            reason = "more seeds are not known to decide it (--seeds N trains some nevertheless)"
        lines.append(f"  nothing has to be trained: {reason}")
    return "\n".join(lines) + "\n"


def _undecidable(verdict: ClaimVerdict) -> bool:
    """Return whether replicas left the claim open and no known number of seeds would decide it."""
    judged = any(arm.subject.kind == "experiment" and arm.observations for arm in verdict.arms)
    return judged and verdict.judgement.is_open and verdict.judgement.seeds_needed is None


def _cost(experiment: Experiment) -> str:
    return experiment.cost or f"{experiment.steps:,} updates; params.yaml does not say how long that is"


def _collect(path: Path, claim: Claim, plan: Sequence[Training]) -> None:
    """Write the runs that were just trained into a file of evidence."""
    entries = [collect_run(record.read(training.out), [claim.quantity]) for training in plan]
    write_evidence(path, f"Trained for the claim {claim.id}", f"reprogrok reproduce {claim.id}", entries)
