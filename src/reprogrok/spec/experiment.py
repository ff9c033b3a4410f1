"""An experiment: everything that decides the results of a replica, and its digest."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from reprogrok.files import digest
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import AdditionTask, ModularTask

DEVICES = ("cpu", "cuda", "mps")
MAX_STEPS = 1_000_000_000
NO_BITS = ("name", "seeds", "gates", "checkpoint_every")  # fields that do not change what a replica computes
LEAST_DROPOUT = 2.0**-16  # the step of a threshold of 16 bits (`model.dropout`)


@dataclass(frozen=True)
class OptimiserSpec:
    """AdamW with one gradient clip per replica.

    Attributes:
        lr: peak learning rate.
        betas: decay rates of the two moments.
        eps: number added to the root of the second moment.
        weight_decay: decoupled weight decay of every parameter.
        clip: largest L2 norm of a replica's gradient, to which larger ones are scaled; None for no clipping.
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
        floor: the last learning rate as a fraction of the peak; 1 keeps it constant.
    """

    warmup: int
    floor: float


@dataclass(frozen=True)
class EarlyGrid:
    """More evaluations at the beginning: after the updates of steps 0, `every`, 2 x `every`, ... up to `until`."""

    every: int
    until: int


@dataclass(frozen=True)
class Experiment:
    """A named entry of `params.yaml`: everything that decides the results of a replica but its seed and device.

    Attributes:
        name: the key in `params.yaml`.
        title: one line for `reprogrok list`.
        source: the publication of the experiment and its result.
        task: the task to learn, with its split.
        model: the decoder.
        optimiser: AdamW's numbers.
        schedule: learning rates over `steps`.
        batch: problems per step.
        steps: optimiser updates, N.
        evaluate_every: k; evaluations follow the updates of steps 0, k, 2k, ... and N - 1.
        seeds: replicas of the default run.
        gates: gates whose criteria are registered when a run begins.
        batches: "drawn" anew at every step (addition); "reshuffled": every example once an epoch, in a new order, the
            last batch smaller; "blocks": fixed batches of consecutive rows, in a new order in every epoch; rows that
            fill no block are not trained on.
        dropout: rate on the summed embeddings, on the attention weights and after the GELU.
        initial_biases: biases of the linear maps: "zero", or "uniform" in +-1/sqrt(inputs).
        early: more evaluations at the beginning.
        analyse_every: steps between analyses (rank, entropy and so on); None for no analysis.
        checkpoint_every: steps between published checkpoints next to best and last; None for no others.
        metrics: metrics of installed packages to measure as well (`metrics.own_metrics`).
        cost: time that one seed takes, as text.
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

    def as_dict(self) -> dict[str, object]:
        """Return plain data, as a record stores it: all but the texts for people.

        An empty `metrics` is left out, because the first records did not have it.
        """
        plain = asdict(self) | {"model": self.model.as_dict()}
        left_out = {"title", "source", "cost"} | (set() if self.metrics else {"metrics"})
        return {name: value for name, value in plain.items() if name not in left_out}

    def digest(self) -> str:
        """Return the SHA-256 of everything that decides the results of a replica: all but `NO_BITS` and texts."""
        return digest({k: v for k, v in self.as_dict().items() if k not in NO_BITS})

    def evaluation_steps(self) -> tuple[int, ...]:
        """Return the evaluation steps: 0, k, 2k, ... and N - 1, and those of the early grid."""
        early = range(0, min(self.early.until + 1, self.steps), self.early.every) if self.early else ()
        return tuple(sorted({*early, *range(0, self.steps, self.evaluate_every), self.steps - 1}))

    def evaluates(self, step: int) -> bool:
        """Return whether an evaluation follows the update of this step."""
        early = self.early is not None and step <= self.early.until and step % self.early.every == 0
        return 0 <= step < self.steps and (early or step % self.evaluate_every == 0 or step == self.steps - 1)

    def analyses(self, step: int) -> bool:
        """Return whether an analysis follows the update of this step."""
        return self.analyse_every is not None and (step % self.analyse_every == 0 or step == self.steps - 1)

    def nearest_evaluation(self, step: int) -> int:
        """Return the evaluation step closest to `step`, the earlier of two."""
        around = {self.steps - 1}
        grids = [(self.evaluate_every, self.steps - 1)]
        if self.early is not None:
            grids.append((self.early.every, min(self.early.until, self.steps - 1)))
        for every, last in grids:
            before = min(step, last) // every * every  # beyond the end of a grid its last step is the nearest
            around |= {before, before + every}
        return min(filter(self.evaluates, sorted(around)), key=lambda candidate: abs(candidate - step))

    @property
    def block(self) -> int | None:
        """Rows of a batch if batches are fixed consecutive blocks, else None."""
        return self.batch if self.batches == "blocks" else None

    def checkpoint_steps(self) -> tuple[int, ...]:
        """Return the steps whose checkpoints are published next to best and last."""
        return () if self.checkpoint_every is None else tuple(range(0, self.steps, self.checkpoint_every))


def schedule_problem(experiment: Experiment) -> str | None:
    """Return the accepted number of warm-up steps if the run is too short for them, else None."""
    if experiment.schedule.warmup >= experiment.steps:
        return f"fewer warm-up steps than the run has ({experiment.steps})"
    return None
