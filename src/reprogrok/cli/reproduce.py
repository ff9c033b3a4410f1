"""`reprogrok reproduce CLAIM`: train what a claim lacks, as `train` does, and judge it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import CLAIMS, DEVICE_OF_PARAMS, EVIDENCE, PARAMS
from reprogrok.errors import InputError

if TYPE_CHECKING:
    from reprogrok.claims.claims import Claim
    from reprogrok.claims.evidence import Evidence
    from reprogrok.claims.verdict import Audit, ClaimVerdict
    from reprogrok.params import Params
    from reprogrok.spec import Experiment

MOST_UNASKED = 8  # seeds that are trained where nobody said how many


@dataclass(frozen=True)
class Training:
    """What is to be trained.

    Attributes:
        experiment: its name.
        seeds: consecutive ones that nothing at hand has.
        out: the folder of the run.
        device: where the claim asks for one.
    """

    experiment: str
    seeds: range
    out: Path
    device: str | None


def reproduce(
    claim_id: Annotated[str, typer.Argument(metavar="CLAIM", help="Id of a claim.", show_default=False)],
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="How many more.", show_default=f"what the verdict lacks, at most {MOST_UNASKED}"),
    ] = None,
    device: DEVICE_OF_PARAMS = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on a CPU.", show_default="one per core")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and what it takes; train nothing.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table of runs.")] = False,
    observed: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write what was trained as a file of evidence.", show_default=False),
    ] = None,
    claims: CLAIMS = Path("audit/claims"),
    evidence: EVIDENCE = Path("audit/evidence"),
    runs: Annotated[Path, typer.Option(metavar="DIR", help="The folder of runs.")] = Path("runs"),
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Train the seeds that a claim lacks and judge it again; stopped or killed, the same command goes on.

    A run lies in runs/EXPERIMENT-seeds-FIRST-LAST, where `audit` finds it. What is decided already, or is no matter of
    training, is judged at once.
    Exit code: 0 reproduced, 1 contradicted, 3 inconclusive, 2 bad input, or 130 (143) if it was stopped.
    """
    from reprogrok.commands.train import run as train
    from reprogrok.files import check_writable
    from reprogrok.params import read_params

    if observed is not None:
        check_writable(observed)
    read = read_params(params)
    known = _known(evidence, runs, read)
    judged = _judge(claim_id, claims, known, read)
    claim = judged.verdicts[0].claim
    asked = {"claim": claim_id, "seeds": seeds, "device": device, "runs": runs.as_posix()}
    plans = _begun(asked) or _trainings(judged, known, read, params, runs, seeds, device)
    typer.echo(_plan_text(judged, plans, read))
    if dry_run:
        return
    if plans:
        _begin(asked, plans)
    for plan in plans:
        if known.seeds(plan.experiment).issuperset(plan.seeds):
            continue  # trained before it was stopped
        code = train(
            plan.experiment,
            seeds=f"{plan.seeds.start}:{plan.seeds.stop}",
            device=plan.device,
            out=plan.out,
            workers=workers,
            quiet=quiet,
            params=params,
        )
        if code:
            raise typer.Exit(code)
    if plans:
        _begun_at(claim_id).unlink(missing_ok=True)
        known = _known(evidence, runs, read)
        judged = _judge(claim_id, claims, known, read)
    if observed is not None and plans:
        _write(observed, claim, plans)
    from reprogrok.claims.tables import print_claim
    from reprogrok.console import console

    print_claim(judged, judged.verdicts[0], console())
    raise typer.Exit(judged.exit_code)


def _known(evidence: Path, runs: Path, params: Params) -> Evidence:
    from reprogrok.claims.evidence import CHECKPOINTS, gather

    return gather(evidence, runs, CHECKPOINTS, params)


def _judge(claim_id: str, folder: Path, known: Evidence, params: Params) -> Audit:
    """One claim, judged by what is at hand.

    Raises:
        InputError: there is no such claim.
    """
    from reprogrok.claims.audit import generator_of_id, judge_claims
    from reprogrok.claims.claims import all_claims, check_known, claims_files, load_citations

    sources = load_citations(claims_files(folder))
    check_known(claim_id, all_claims(sources))
    costs = {name: experiment.cost for name, experiment in params.experiments.items()}
    return judge_claims(sources, known, generator_of=generator_of_id, chosen={claim_id}, costs=costs)


def _trainings(
    judged: Audit, known: Evidence, read: Params, path: Path, runs: Path, count: int | None, device: str | None
) -> list[Training]:
    """What is trained for a claim: of each experiment in it, seeds that nobody has; nothing where that would not help.

    Raises:
        InputError: params.yaml has no such experiment, or the claim is about another device.
    """
    from reprogrok.claims.claims import Tier
    from reprogrok.claims.judgements import ClaimDecision

    verdict = judged.verdicts[0]
    claim, trained = verdict.claim, [arm.subject.name for arm in verdict.arms if arm.subject.kind == "experiment"]
    if claim.tier is Tier.BITWISE and claim.seed is not None:
        return _bitwise(judged, known, read, path, runs, count, device)
    if not trained or (count is None and verdict.decision is not ClaimDecision.INCONCLUSIVE):
        return []
    if count is None and _undecidable(verdict):
        return []
    plans = []
    for name in dict.fromkeys(trained):
        experiment = read.experiment(name, path)
        wanted = count or min(verdict.judgement.seeds_needed or len(experiment.seeds), MOST_UNASKED)
        chosen = next_seeds(known.seeds(name), min(experiment.seeds), wanted)
        plans.append(_training(name, chosen, runs, device))
    return plans


def _bitwise(
    judged: Audit, known: Evidence, read: Params, path: Path, runs: Path, count: int | None, device: str | None
) -> list[Training]:
    """The one seed that the claim names, on its device, unless it is at hand."""
    claim = judged.verdicts[0].claim
    if count not in (None, 1):
        message = f"the claim is about seed {claim.seed} alone"
        raise InputError(message, field="--seeds", expected="nothing, or 1", found=str(count))
    asked = claim.device if claim.device != "any" else device
    if device not in (None, "auto", asked):
        message = "the claim is about another device"
        raise InputError(message, field="--device", expected=str(asked), found=device)
    found = known.observations(claim.subject, claim.quantity, None if asked in (None, "auto") else asked)
    if claim.seed is None or any(seen.seed == claim.seed for seen in found):
        return []
    read.experiment(claim.subject.name, path)
    return [_training(claim.subject.name, range(claim.seed, claim.seed + 1), runs, asked)]


def _training(name: str, seeds: range, runs: Path, device: str | None) -> Training:
    place = "" if device in (None, "cpu", "auto") else f"-{device}"
    return Training(name, seeds, runs / f"{name}-seeds-{seeds.start}-{seeds.stop - 1}{place}", device)


def next_seeds(used: frozenset[int], first: int, count: int) -> range:
    """The next `count` consecutive seeds from `first` on, none of which is used: {42, 43}, 42, 2 gives 44 and 45."""
    start = first
    while taken := [seed for seed in range(start, start + count) if seed in used]:
        start = taken[-1] + 1
    return range(start, start + count)


def _begun_at(claim_id: str) -> Path:
    return Path(".reprogrok") / "reproduce" / f"{claim_id}.json"


def _begin(asked: dict[str, Any], plans: list[Training]) -> None:
    """Note down what is going to be trained: once a part of it is done, the evidence would ask for something else."""
    from reprogrok.files import pretty_json, write_bytes

    trainings = [
        {"experiment": plan.experiment, "seeds": [plan.seeds.start, plan.seeds.stop], "device": plan.device}
        for plan in plans
    ]
    write_bytes(_begun_at(asked["claim"]), pretty_json({"asked": asked, "trainings": trainings}))


def _begun(asked: dict[str, Any]) -> list[Training]:
    """What the same command had begun to train; nothing if it ended, or if it was another command."""
    from reprogrok.schema import load

    path = _begun_at(asked["claim"])
    if not path.is_file():
        return []
    noted = load(path).data
    if not isinstance(noted, dict) or noted.get("asked") != asked:
        return []
    runs = Path(asked["runs"])
    return [
        _training(entry["experiment"], range(*entry["seeds"]), runs, entry["device"]) for entry in noted["trainings"]
    ]


def _plan_text(judged: Audit, plans: list[Training], read: Params) -> str:
    """What is missing, what is going to be trained, and what it takes."""
    verdict = judged.verdicts[0]
    lines = [f"{verdict.claim.id}: {verdict.decision.value} so far"]
    if (missing := verdict.judgement.missing) is not None:
        lines.append(f"  missing: {missing}")
    needed = verdict.judgement.seeds_needed
    for plan in plans:
        count = len(plan.seeds)
        seeds = f"seed {plan.seeds.start}" if count == 1 else f"seeds {plan.seeds.start} to {plan.seeds.stop - 1}"
        lines.append(f"  trains {plan.experiment}, {seeds}, into {plan.out}")
        each = "it" if count == 1 else f"each of the {count}"
        lines.append(f"  {each} takes {_cost(read.experiments[plan.experiment])}")
        if needed is not None and count < needed:
            lines.append(f"  the verdict asks for {needed}: --seeds {needed} trains as many in one go")
    if not plans:
        trained = any(arm.subject.kind == "experiment" for arm in verdict.arms)
        reason = "it is decided, or the seed is at hand" if trained else f"it is about {verdict.claim.subject}"
        if _undecidable(verdict):
            reason = "more seeds are not known to decide it (--seeds N trains some nevertheless)"
        lines.append(f"  nothing has to be trained: {reason}")
    return "\n".join(lines)


def _undecidable(verdict: ClaimVerdict) -> bool:
    """Was it judged by replicas, and is it open without a number of seeds that would decide it?"""
    from reprogrok.claims.judgements import ClaimDecision

    judged = any(arm.subject.kind == "experiment" and arm.observations for arm in verdict.arms)
    return judged and verdict.decision is ClaimDecision.INCONCLUSIVE and verdict.judgement.seeds_needed is None


def _cost(experiment: Experiment) -> str:
    return experiment.cost or f"{experiment.steps:,} updates; params.yaml does not say how long that is"


def _write(path: Path, claim: Claim, plans: list[Training]) -> None:
    """Note down the runs that were just trained."""
    from reprogrok import record
    from reprogrok.claims.collection import collect_run
    from reprogrok.claims.evidence_files import write_evidence

    entries = [collect_run(record.read(plan.out), [claim.quantity]) for plan in plans]
    write_evidence(path, f"Trained for the claim {claim.id}", f"reprogrok reproduce {claim.id}", entries)
