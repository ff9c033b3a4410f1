"""Everything that decides what a replica computes, as frozen, documented dataclasses, with a digest; no torch.

A spec is complete: every field that changes a result is written in `params.yaml` and enters the digest. It is checked
when it is read (`params`) and never mutated; a variant is made with `dataclasses.replace`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any

from reprogrok.files import digest

TIE_QKV = ("none", "shareA_tieKV")
GELU = ("erf", "tanh")
LOSSES = ("all", "answer")
SPLIT_KINDS = ("random", "three_way", "result_range", "operand_holdout", "twin_closed")
MAX_MODULUS = 1_000  # so that no table of all equations fills a memory
NO_BITS = ("name", "seeds", "gates", "checkpoint_every")  # fields of a spec that decide nothing a replica computes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # of what a package offers
GROUP_ELEMENTS = 120  # of S5, whose operations have no modulus
LEAST_DROPOUT = 2.0**-16  # the step of a threshold of 16 bits (`model.dropout`)
MAX_SEED = 2**63 - 1
MAX_SPLIT_SEED = 2**32 - 1  # of a numpy `RandomState`
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
        clip: largest L2 norm of a replica's gradient; larger ones are scaled down to it. None: no clip.
    """

    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip: float | None


@dataclass(frozen=True)
class ScheduleSpec:
    """Linear warm-up, then a cosine down to `floor` (the formula is in `train.optimiser.learning_rate`).

    Attributes:
        warmup: steps of the warm-up; 0 for none.
        floor: the last learning rate as a share of the peak; 1 keeps it constant.
    """

    warmup: int
    floor: float


@dataclass(frozen=True)
class CurriculumStage:
    """From step `start` on, operands have between `digits[0]` and `digits[1]` digits."""

    start: int
    digits: tuple[int, int]


@dataclass(frozen=True)
class AdditionTask:
    """Adding two numbers, digit by digit.

    Attributes:
        digits: of each operand.
        hold_out: the protocol that keeps pairs out of training.
        curriculum: stages by number of digits.
    """

    digits: int
    hold_out: str
    curriculum: tuple[CurriculumStage, ...]
    name: str = "addition"

    @property
    def vocab_size(self) -> int:
        """Ten digits, `+`, `=`, PAD and EOS."""
        return 14

    @property
    def max_seq_len(self) -> int:
        """Prompt and answer."""
        return 3 * self.digits + 3


@dataclass(frozen=True)
class SplitSpec:
    """Which equations are trained on and which are held out (`tasks.splits`).

    Attributes:
        kind: "random", "three_way", "result_range", "operand_holdout" or "twin_closed"; of `OwnSplitSpec`, a package's
            name for its own.
        seed: of the published generator that shuffles, a numpy `RandomState`.
        fraction: share of training, of random, three_way and twin_closed.
        train: of result_range: an equation is trained on if train[0] <= result < train[1].
        test: likewise held out; the two may overlap.
        held: of operand_holdout: operands that never occur in training.
    """

    kind: str
    seed: int
    fraction: float | None = None
    train: tuple[int, int] | None = None
    test: tuple[int, int] | None = None
    held: tuple[int, ...] | None = None


@dataclass(frozen=True)
class OwnSplitSpec(SplitSpec):
    """A split that an installed package offers (`tasks.splits`).

    Attributes:
        settings: what its function is called with, as `params.yaml` has it: plain data.
    """

    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class FormatShape:
    """How an equation lies in a row of tokens, as far as a model's shape depends on it.

    Attributes:
        extra_tokens: symbols beside the residues.
        positions: T, tokens that the model reads.
        answer: the position that predicts the result.
        max_seq_len: learned positions of the published models.
    """

    extra_tokens: int
    positions: int
    answer: int
    max_seq_len: int


FORMATS: Mapping[str, FormatShape] = MappingProxyType(
    {
        "llmc8": FormatShape(extra_tokens=4, positions=8, answer=4, max_seq_len=8),
        "text9": FormatShape(extra_tokens=7, positions=8, answer=6, max_seq_len=16),
        "power5": FormatShape(extra_tokens=2, positions=4, answer=3, max_seq_len=4),
    }
)


@dataclass(frozen=True)
class ModularTask:
    """One equation of a finite operation, all of which are known.

    Attributes:
        operation: a name of `tasks.operations`.
        modulus: of the residues; None for an operation of S5.
        format: a name of `FORMATS`.
        loss: "all" for the mean over all T positions, "answer" for the position that predicts the result alone.
        split: which equations are trained on.
    """

    operation: str
    modulus: int | None
    format: str
    loss: str
    split: SplitSpec
    name: str = "modular"

    @property
    def elements(self) -> int:
        """How many operands and results there are."""
        return GROUP_ELEMENTS if self.modulus is None else self.modulus

    @property
    def vocab_size(self) -> int:
        """The elements and the format's other symbols."""
        return self.elements + FORMATS[self.format].extra_tokens

    @property
    def max_seq_len(self) -> int:
        """Learned positions; the format may read fewer."""
        return FORMATS[self.format].max_seq_len

    @property
    def scored(self) -> range:
        """The positions that the loss falls on."""
        shape = FORMATS[self.format]
        return range(shape.positions) if self.loss == "all" else range(shape.answer, shape.answer + 1)


def modular_task(entry: Mapping[str, Any]) -> ModularTask:
    """The task of plain data, as `params.yaml` and our checkpoints hold it.

    Whether an operation of that name is known, and whether a split leaves equations on every side, is not asked here:
    `tasks.operations` and `tasks.splits` know.

    Raises:
        KeyError: a field is missing.
        TypeError: there is one too many, or one of another type.
        ValueError: a value that cannot be.
    """
    if not isinstance(entry["split"], Mapping):
        raise TypeError("split")
    split: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry["split"].items()
    }
    if type(split.get("fraction")) is int:
        split["fraction"] = float(split["fraction"])
    kind = OwnSplitSpec if "settings" in split else SplitSpec
    task = ModularTask(entry["operation"], entry.get("modulus"), entry["format"], entry["loss"], kind(**split))
    if not (type(task.operation) is str and task.format in FORMATS and task.loss in LOSSES):
        raise ValueError("operation, format or loss")
    if not (type(task.elements) is int and 1 < task.elements <= MAX_MODULUS):
        raise ValueError("modulus")
    if not _is_split(task.split):
        raise ValueError("split")
    return task


def _is_split(split: SplitSpec) -> bool:
    """Is every field of the type that it should be, and in a range that could be?"""
    lists = [numbers for numbers in (split.train, split.test, split.held) if numbers is not None]
    if isinstance(split, OwnSplitSpec):
        known = type(split.kind) is str and NAME.fullmatch(split.kind) is not None and split.kind not in SPLIT_KINDS
        known = known and type(split.settings) is dict and _is_plain(split.settings)
    else:
        known = split.kind in SPLIT_KINDS
    return (
        known
        and type(split.seed) is int
        and 0 <= split.seed <= MAX_SPLIT_SEED
        and (split.fraction is None or (type(split.fraction) is float and 0 < split.fraction < 1))
        and all(type(numbers) is tuple for numbers in lists)
        and all(type(number) is int and 0 <= number <= MAX_MODULUS for numbers in lists for number in numbers)
        and all(numbers is None or len(numbers) == 2 for numbers in (split.train, split.test))
    )


def _is_plain(value: Any) -> bool:
    """Is this what JSON can say?"""
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    if type(value) is list:
        return all(map(_is_plain, value))
    return value is None or type(value) in {str, bool, int} or (type(value) is float and isfinite(value))


@dataclass(frozen=True)
class EarlyGrid:
    """More evaluations at the beginning: after the updates of steps 0, `every`, 2 x `every`, ... up to `until`."""

    every: int
    until: int


@dataclass(frozen=True)
class Experiment:
    """A named entry of `params.yaml`: everything that decides what a replica computes, but its seed and device.

    Attributes:
        name: the key in `params.yaml`.
        title: one line for `reprogrok list`.
        source: where the experiment was published, and what came out there.
        task: what is learned, and from which examples.
        model: the decoder.
        optimiser: AdamW's numbers.
        schedule: of the learning rate, over `steps`.
        batch: problems per step.
        steps: optimiser updates, N.
        evaluate_every: k; metrics are taken after the update of steps 0, k, 2k, ... and N - 1.
        seeds: replicas of the default run.
        gates: names of the gates whose criteria are registered when a run begins.
        batches: "drawn" anew at every step (addition); "reshuffled": every example once an epoch, in a new order, the
            last batch smaller; "blocks": the same consecutive rows in every epoch, in a new order, rows that fill no
            block never trained on.
        dropout: on the summed embeddings, the attention weights and after the GELU.
        initial_biases: of the linear maps: "zero", or "uniform" in +-1/sqrt(inputs).
        early: more evaluations at the beginning.
        analyse_every: rank, entropy and the like are measured after so many steps; None for never.
        checkpoint_every: states that are published beside best and last; None for none of them.
        metrics: names of metrics of installed packages that are measured, too (`metrics.own_metrics`).
        cost: what one seed takes, for people.
    """

    name: str
    title: str
    source: str
    task: AdditionTask | ModularTask
    model: ModelSpec
    optimiser: OptimiserSpec
    schedule: ScheduleSpec
    batch: int
    steps: int
    evaluate_every: int
    seeds: tuple[int, ...]
    gates: tuple[str, ...] = ()
    batches: str = "drawn"
    dropout: float = 0.0
    initial_biases: str = "zero"
    early: EarlyGrid | None = None
    analyse_every: int | None = None
    checkpoint_every: int | None = None
    metrics: tuple[str, ...] = ()
    cost: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as a record stores it: all but the words for people, so a better sentence changes none.

        Metrics of packages are left out where there are none: the first records did not know them.
        """
        plain = asdict(self) | {"model": self.model.as_dict()}
        left_out = {"title", "source", "cost"} | (set() if self.metrics else {"metrics"})
        return {name: value for name, value in plain.items() if name not in left_out}

    def digest(self) -> str:
        """SHA-256 of everything that decides what one replica computes (so not the seeds, nor the words)."""
        return digest({k: v for k, v in self.as_dict().items() if k not in NO_BITS})

    def evaluation_steps(self) -> tuple[int, ...]:
        """The steps after whose update metrics are taken: 0, k, 2k, ... and N - 1, and those of the early grid."""
        early = range(0, min(self.early.until + 1, self.steps), self.early.every) if self.early else ()
        return tuple(sorted({*early, *range(0, self.steps, self.evaluate_every), self.steps - 1}))

    def evaluates(self, step: int) -> bool:
        """Are metrics taken after the update of this step?"""
        early = self.early is not None and step <= self.early.until and step % self.early.every == 0
        return 0 <= step < self.steps and (early or step % self.evaluate_every == 0 or step == self.steps - 1)

    def analyses(self, step: int) -> bool:
        """Are rank, entropy and the like measured after the update of this step?"""
        return self.analyse_every is not None and (step % self.analyse_every == 0 or step == self.steps - 1)

    def nearest_evaluation(self, step: int) -> int:
        """The evaluation step closest to `step`, the earlier of two."""
        around = {self.steps - 1}
        grids = [(self.evaluate_every, self.steps - 1)]
        if self.early is not None:
            grids.append((self.early.every, min(self.early.until, self.steps - 1)))
        for every, last in grids:
            before = min(step, last) // every * every  # behind the end of a grid its last step is the nearest
            around |= {before, before + every}
        return min(filter(self.evaluates, sorted(around)), key=lambda candidate: abs(candidate - step))

    @property
    def block(self) -> int | None:
        """Rows of a batch, where batches are fixed consecutive blocks; what fills no block is never trained on."""
        return self.batch if self.batches == "blocks" else None

    def checkpoint_steps(self) -> tuple[int, ...]:
        """The steps whose states are published beside best and last."""
        return () if self.checkpoint_every is None else tuple(range(0, self.steps, self.checkpoint_every))


def schedule_problem(experiment: Experiment) -> str | None:
    """Why the warm-up does not fit into the run, or None."""
    if experiment.schedule.warmup >= experiment.steps:
        return f"fewer warm-up steps than the run has ({experiment.steps})"
    return None


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
