"""The states of a replica that can be looked at: what is known of each, which are chosen, and those that logs hold.

checkpoints of a run (`runs.checkpoint_snapshots`), or where it left logs alone, the steps at which it saved them and
their logged analysis --3 before, 2 near, 3 after t_grok--> rank, entropy and waves of each (`runs.post_analysis`)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reprogrok.formats import foreign_runs
from reprogrok.metrics.fourier import Progress
from reprogrok.runs.analysis import Analysis
from reprogrok.schema import load

WINDOW, BEFORE, NEAR, AFTER = 10_000, 3, 2, 3
CHECKPOINTS, LOGS, NOTHING = "checkpoints", "logs", "none"


@dataclass(frozen=True)
class State:
    """What was measured of one state: first in the published keys, then what those have no place for.

    Attributes:
        step: the update after which the state was saved.
        representation_rank: at the input of each layer; None if not measured.
        singular_values: of each layer, falling; None if not known.
        attention_entropy: of each layer and head, in nats; None if not measured.
        note: what a reader has to know of this measurement; empty for nothing.
        examples: how many rows the alternatives were read from.
        alternatives: definition -> the same by other estimators, per layer, or per layer and head.
        progress: its Fourier measures; None where they were not taken.
    """

    step: int
    representation_rank: Sequence[float] | None
    singular_values: Sequence[Sequence[float]] | None
    attention_entropy: Sequence[Sequence[float]] | None
    note: str = ""
    examples: int = 0
    alternatives: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    progress: Progress | None = None

    @property
    def final_layer_rank(self) -> float | None:
        """Rank at the input of the last layer."""
        return None if not self.representation_rank else self.representation_rank[-1]

    @property
    def average_rank(self) -> float | None:
        """Mean over the layers."""
        return _mean(self.representation_rank)

    @property
    def average_entropy(self) -> float | None:
        """Mean over layers and heads."""
        heads = (
            None if self.attention_entropy is None else [value for layer in self.attention_entropy for value in layer]
        )
        return _mean(heads)


@dataclass(frozen=True)
class Keys:
    """The key frequencies that all states of a replica are measured by: those of its last state.

    Attributes:
        modulus: p.
        frequencies: in rising order; there may be none.
        step: of the last state.
        last: what that state itself shows by them.
        sets: how many `train`, `test` and `all` pairs and `residues` there are.
    """

    modulus: int
    frequencies: tuple[int, ...]
    step: int
    last: Progress
    sets: Mapping[str, int]


@dataclass(frozen=True)
class States:
    """The states of one replica that can be looked at.

    Attributes:
        source: `checkpoints`, `logs`, or `none`.
        steps: of every candidate, increasing.
        measure: step -> what is measured there.
        definitions: of rank and entropy.
        notes: what a reader has to know of them.
        keys: what the Fourier measures of every state rest on, or why there are none.
    """

    source: str
    steps: tuple[int, ...]
    measure: Callable[[int], State]
    definitions: Mapping[str, str]
    notes: tuple[str, ...]
    keys: Keys | str = "no checkpoints"


def select(steps: Sequence[int], t_grok: int | None, window: int = WINDOW) -> tuple[int, ...]:
    """Which states to look at: `around/10000-3-2-3`, the published rule.

    The last 3 before t_grok - window, the first 2 within it (ends included), the first 3 after t_grok + window; all if
    that is none, or if there is no t_grok. Steps 5,000, 10,000, ..., 60,000 around 33,700 give 10,000, 15,000, 20,000;
    25,000, 30,000; 45,000, 50,000, 55,000.
    """
    if t_grok is None:
        return tuple(steps)
    before = [step for step in steps if step < t_grok - window][-BEFORE:]
    near = [step for step in steps if abs(step - t_grok) <= window][:NEAR]
    after = [step for step in steps if step > t_grok + window][:AFTER]
    return (*before, *near, *after) or tuple(steps)


def logged_states(analysis: Analysis) -> States:
    """The states of a run that left logs and no checkpoints, as far as the logs hold them.

    Candidates are the steps at which the run saved checkpoints, if its configuration says so, else all analysed ones.
    """
    run = analysis.run
    evaluations = len({step for series in run.replicas[analysis.seed].values() for step in series.steps})
    read = f"analysed from its logs: {evaluations:,} evaluations, no checkpoints"
    if run.layout != foreign_runs.COLUMNS or not (run.path / foreign_runs.ANALYSIS).exists():
        return States(NOTHING, (), unmeasured, {}, (f"{read}, no logged rank or entropy",))
    log: Mapping[str, Any] = load(run.path / foreign_runs.ANALYSIS).data
    rows = {step: index for index, step in enumerate(log["step"])}
    every = load(run.path / foreign_runs.CONFIG).data.get("training", {}).get("checkpoint_interval")
    saved = [step for step in rows if type(every) is int and every > 0 and step % every == 0]
    where = f"the steps at which checkpoints were saved, every {every:,}" if saved else "all analysed steps"

    def measure(step: int) -> State:
        ranks, entropies = (
            plain(log[name][rows[step]]) if name in log else None
            for name in ("representation_rank", "attention_entropy")
        )
        return State(step, ranks, None, entropies)

    definitions = {
        name: run.definitions[metric]
        for name, metric in (("representation_rank", "final_layer_rank"), ("attention_entropy", "attention_entropy"))
        if metric in run.definitions
    }
    return States(LOGS, tuple(saved or rows), measure, definitions, (f"{read}; rank and entropy as logged at {where}",))


def unmeasured(step: int) -> State:
    """A state of which nothing is known."""
    return State(step, None, None, None)


def plain(value: Any) -> Any:
    """The same with null where a number is not finite, for JSON has no other."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: Sequence[float | None] | None) -> float | None:
    if not values or any(value is None for value in values):
        return None
    return math.fsum(value for value in values if value is not None) / len(values)
