"""`params.yaml` -> frozen, documented, checked dataclasses, with a digest; no torch.

A spec is complete: every field that changes a result is written in `params.yaml` and enters the digest. It is checked
at birth (the JSON Schema for types and names, then `_semantics` for what one field means for another) and never
mutated; a variant is made with `dataclasses.replace`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.files import digest
from reprogrok.schema import Document, Steps, load

TIE_QKV = ("none", "shareA_tieKV")
GELU = ("erf", "tanh")
_WORDS = ("title", "source")
MAX_SEED = 2**63 - 1
MAX_STEPS_LISTED = 1_000_000


@dataclass(frozen=True)
class ModelSpec:
    """The decoder's shape, in the field names of the published checkpoints.

    Attributes:
        n_layer: number of blocks.
        d_model: width of the residual stream.
        n_head: attention heads; divides `d_model`.
        d_ff: hidden width of the MLP.
        max_seq_len: number of learned positions.
        vocab_size: number of tokens; the head is tied to their embeddings.
        pos_rank: rank of the position table, 0 for full rank; likewise the next three.
        qkv_rank: of the query, key and value projections.
        attn_out_rank: of the attention's output projection.
        ffn_rank: of both matrices of the MLP.
        use_rmsnorm: RMSNorm (weight only) instead of LayerNorm (weight and bias).
        tie_qkv: "none", or "shareA_tieKV": one shared left factor, keys equal to values; needs `qkv_rank` > 0.
        bias: biases in the linear maps; needs full ranks.
        gelu: "erf", or its approximation "tanh".
    """

    n_layer: int
    d_model: int
    n_head: int
    d_ff: int
    max_seq_len: int
    vocab_size: int
    pos_rank: int = 0
    qkv_rank: int = 0
    attn_out_rank: int = 0
    ffn_rank: int = 0
    use_rmsnorm: bool = False
    tie_qkv: str = "none"
    bias: bool = False
    gelu: str = "erf"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as files and digests hold it. What the first files did not know is left out at its default."""
        late = {"bias": False, "gelu": "erf"}
        return {name: value for name, value in asdict(self).items() if late.get(name) != value or name not in late}

    def problem(self) -> tuple[str, str, Any] | None:
        """The first field that cannot be, as (name, what was expected, what was found), or None."""
        if self.d_model % self.n_head:
            return "n_head", f"a divisor of d_model = {self.d_model}", self.n_head
        if self.tie_qkv not in TIE_QKV:
            return "tie_qkv", f"one of {', '.join(TIE_QKV)} (no other mode is supported)", self.tie_qkv
        if self.tie_qkv == "shareA_tieKV" and self.qkv_rank == 0:
            return "qkv_rank", "more than 0, which tie_qkv shareA_tieKV needs", 0
        if self.gelu not in GELU:
            return "gelu", f"one of {', '.join(GELU)}", self.gelu
        if self.bias and (self.qkv_rank or self.attn_out_rank or self.ffn_rank):
            return "bias", "false, for a low-rank matrix has none", True
        return None


@dataclass(frozen=True)
class OptimiserSpec:
    """AdamW with one gradient clip per replica.

    Attributes:
        lr: peak learning rate.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled, on every parameter.
        clip: largest L2 norm of a replica's gradient; larger ones are scaled down to it.
    """

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip: float


@dataclass(frozen=True)
class ScheduleSpec:
    """Linear warm-up, then a cosine down to `floor` (the formula is in `train.optimiser.learning_rate`).

    Attributes:
        warmup: steps of the warm-up.
        floor: the last learning rate as a share of the peak.
    """

    warmup: int
    floor: float


@dataclass(frozen=True)
class CurriculumStage:
    """From step `start` on, operands have between `digits[0]` and `digits[1]` digits."""

    start: int
    digits: tuple[int, int]


@dataclass(frozen=True)
class Experiment:
    """A named entry of `params.yaml`: everything that decides what a replica computes, but its seed and device.

    Attributes:
        name: the key in `params.yaml`.
        title: one line for `reprogrok list`.
        source: where the experiment was published, and what came out there.
        digits: of the addition task.
        hold_out: the protocol that keeps pairs out of training.
        model: the decoder.
        optimiser: AdamW's numbers.
        schedule: of the learning rate, over `steps`.
        curriculum: stages by number of digits.
        batch: problems per step.
        steps: optimiser updates, N.
        evaluate_every: k; metrics are taken after the update of steps 0, k, 2k, ... and N - 1.
        seeds: replicas of the default run.
        gates: names of the gates whose criteria are registered when a run begins.
    """

    name: str
    title: str
    source: str
    digits: int
    hold_out: str
    model: ModelSpec
    optimiser: OptimiserSpec
    schedule: ScheduleSpec
    curriculum: tuple[CurriculumStage, ...]
    batch: int
    steps: int
    evaluate_every: int
    seeds: tuple[int, ...]
    gates: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as a record stores it: all but the words for people, so a better sentence changes none."""
        plain = asdict(self) | {"model": self.model.as_dict()}
        return {name: value for name, value in plain.items() if name not in _WORDS}

    def digest(self) -> str:
        """SHA-256 of everything that decides what one replica computes (so not the seeds, nor the words)."""
        return digest({k: v for k, v in self.as_dict().items() if k not in ("name", "seeds", "gates")})

    def evaluation_steps(self) -> tuple[int, ...]:
        """The steps after whose update metrics are taken: 0, k, 2k, ... and N - 1."""
        return tuple(dict.fromkeys((*range(0, self.steps, self.evaluate_every), self.steps - 1)))

    def evaluates(self, step: int) -> bool:
        """Are metrics taken after the update of this step?"""
        return 0 <= step < self.steps and (step % self.evaluate_every == 0 or step == self.steps - 1)

    def nearest_evaluation(self, step: int) -> int:
        """The evaluation step closest to `step`, the earlier of two."""
        before = min(step, self.steps - 1) // self.evaluate_every * self.evaluate_every
        after = min(before + self.evaluate_every, self.steps - 1)
        return min((before, after), key=lambda candidate: abs(candidate - step))


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`.

    Attributes:
        engine_version: moves when the engine computes other bits; pipeline stages depend on it.
        device: where the pipeline trains and evaluates.
        deterministic: what a run promises: "bitwise", or "tolerance" for devices that cannot promise that.
        pipeline: the experiments that bare `dvc repro` runs.
        experiments: name -> experiment.
    """

    engine_version: int
    device: str
    deterministic: str
    pipeline: tuple[str, ...]
    experiments: Mapping[str, Experiment]

    def experiment(self, name: str, path: Path) -> Experiment:
        """The experiment of that name.

        Raises:
            InputError: there is none; the message lists what there is.
        """
        if name in self.experiments:
            return self.experiments[name]
        near = difflib.get_close_matches(name, self.experiments, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(
            "unknown experiment", path=path, expected=f"one of {', '.join(self.experiments)}", found=name + hint
        )


def read_params(path: Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: with file, line and field, for whatever is wrong first.
    """
    document = load(path, "params")
    data = document.data
    experiments = {name: _experiment(document, name, entry) for name, entry in data["experiments"].items()}
    for index, name in enumerate(data["pipeline"]):
        if name not in experiments:
            raise document.error(("pipeline", index), expected=f"one of {', '.join(experiments)}", found=name)
    return Params(
        data["engine_version"],
        data["device"],
        data.get("deterministic", "bitwise"),
        tuple(data["pipeline"]),
        experiments,
    )


def _experiment(document: Document, name: str, entry: Mapping[str, Any]) -> Experiment:
    at: Steps = ("experiments", name)
    digits = entry["task"]["digits"]
    # Positions and vocabulary follow from the task; writing them twice would let them disagree.
    model = ModelSpec(**entry["model"], max_seq_len=3 * digits + 3, vocab_size=14)
    # A real number may be written without a point; the digest is of numbers, not of their spelling.
    rates = {field: float(value) for field, value in entry["optimiser"].items() if field != "betas"}
    optimiser = OptimiserSpec(**rates, betas=_pair([float(beta) for beta in entry["optimiser"]["betas"]]))
    schedule = ScheduleSpec(entry["schedule"]["warmup"], float(entry["schedule"]["floor"]))
    experiment = Experiment(
        name=name,
        title=entry["title"],
        source=entry["source"],
        digits=digits,
        hold_out=entry["task"]["hold_out"],
        model=model,
        optimiser=optimiser,
        schedule=schedule,
        curriculum=tuple(CurriculumStage(stage["start"], _pair(stage["digits"])) for stage in entry["curriculum"]),
        batch=entry["batch"],
        steps=entry["steps"],
        evaluate_every=entry["evaluate_every"],
        seeds=parse_seeds(document, (*at, "seeds"), entry["seeds"]),
        gates=tuple(entry.get("gates", ())),
    )
    _semantics(document, at, experiment)
    return experiment


def _pair(values: list[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _semantics(document: Document, at: Steps, experiment: Experiment) -> None:
    """What the schema cannot say: one field measured against another.

    Raises:
        InputError: the first contradiction.
    """
    if (problem := experiment.model.problem()) is not None:
        field, expected, found = problem
        raise document.error((*at, "model", field), expected=expected, found=found)
    if (too_long := schedule_problem(experiment)) is not None:
        raise document.error((*at, "schedule", "warmup"), expected=too_long, found=experiment.schedule.warmup)
    starts = [stage.start for stage in experiment.curriculum]
    if starts[0] != 0 or sorted(set(starts)) != starts:
        raise document.error((*at, "curriculum"), expected="stages that start at 0 and increase", found=starts)
    for index, stage in enumerate(experiment.curriculum):
        least, most = stage.digits
        if not least <= most <= experiment.digits:
            where = (*at, "curriculum", index, "digits")
            raise document.error(where, expected=f"least <= most <= {experiment.digits}", found=[least, most])


def schedule_problem(experiment: Experiment) -> str | None:
    """Why the warm-up does not fit into the run, or None."""
    if experiment.schedule.warmup >= experiment.steps:
        return f"fewer warm-up steps than the run has ({experiment.steps})"
    return None


def parse_seeds(document: Document, at: Steps, value: Any) -> tuple[int, ...]:
    """Seeds as a list, or as the quoted range "first:last" (last excluded).

    Raises:
        InputError: none, repeated, or not a list or range.
    """
    if isinstance(value, str):
        seeds = seed_range(value)
        if seeds is None:
            raise document.error(at, expected='a list of seeds or a range such as "0:8"', found=value)
    else:
        seeds = tuple(value)
    if not seeds:
        raise document.error(at, expected="at least one seed", found=value)
    if len(set(seeds)) != len(seeds):
        raise document.error(at, expected="each seed once", found=list(seeds))
    return seeds


def step_range(text: str) -> tuple[int, ...] | None:
    """`"500,1000"` -> (500, 1000) and `"0:54000:5000"` -> 0, 5000, ..., 50000; None if the text is neither."""
    if match := re.fullmatch(r"(\d{1,18}):(\d{1,18})(?::(\d{1,18}))?", text.strip()):
        first, last, by = int(match[1]), int(match[2]), int(match[3] or 1)
        return tuple(range(first, last, by)) if by > 0 and (last - first) // by <= MAX_STEPS_LISTED else None
    return seed_range(text)


def seed_range(text: str) -> tuple[int, ...] | None:
    """`"0:8"` -> 0..7 and `"42,43"` -> (42, 43); None if the text is neither."""
    if match := re.fullmatch(r"(\d{1,18}):(\d{1,18})", text.strip()):
        first, last = map(int, match.groups())
        return tuple(range(first, last)) if last - first <= 1_000_000 else None
    if re.fullmatch(r"\s*\d{1,18}\s*(,\s*\d{1,18}\s*)*", text):
        return tuple(int(part) for part in text.split(","))
    return None
