"""Snapshots of a replica: their measurements, the selection around the transition, and those that logs hold.

checkpoints of a run (`runs.checkpoint_snapshots`), or the logged analyses of a run without checkpoints
--3 before, 2 near, 3 after t_grok--> rank, entropy and Fourier measures of each (`runs.post_analysis`)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reprogrok.formats import foreign_runs
from reprogrok.metrics.fourier import FourierMeasures
from reprogrok.runs.analysis import Analysis
from reprogrok.schema import load

WINDOW, BEFORE, NEAR, AFTER = 10_000, 3, 2, 3
CHECKPOINTS, LOGS, NOTHING = "checkpoints", "logs", "none"


@dataclass(frozen=True)
class Snapshot:
    """The measurements of one snapshot: the published ones first, then those without a published key.

    Attributes:
        step: the update after which it was saved.
        representation_rank: rank at the input of each layer; None if not measured.
        singular_values: singular values of each layer, in falling order; None if not known.
        attention_entropy: entropy of each layer and head, in nats; None if not measured.
        note: a caveat of this measurement; empty if there is none.
        examples: number of rows behind the alternatives.
        alternatives: definition -> values by other estimators, per layer, or per layer and head.
        fourier: its Fourier measures; None if they were not taken.
    """

    step: int
    representation_rank: Sequence[float] | None
    singular_values: Sequence[Sequence[float]] | None
    attention_entropy: Sequence[Sequence[float]] | None
    note: str = ""
    examples: int = 0
    alternatives: Mapping[str, Sequence[float | Sequence[float]]] = field(default_factory=dict)
    fourier: FourierMeasures | None = None

    @property
    def final_layer_rank(self) -> float | None:
        """Rank at the input of the last layer."""
        return None if not self.representation_rank else self.representation_rank[-1]

    @property
    def average_rank(self) -> float | None:
        """Mean rank over the layers."""
        return _mean(self.representation_rank)

    @property
    def average_entropy(self) -> float | None:
        """Mean entropy over layers and heads, in nats."""
        return _mean([value for layer in self.attention_entropy or () for value in layer])


@dataclass(frozen=True)
class KeyFrequencies:
    """The key frequencies for all snapshots of a replica: those of its last one.

    Attributes:
        modulus: p.
        frequencies: in rising order; possibly none.
        step: step of the last snapshot.
        last: measures of that snapshot.
        sets: numbers of `train`, `test` and `all` pairs and of `residues`.
    """

    modulus: int
    frequencies: tuple[int, ...]
    step: int
    last: FourierMeasures
    sets: Mapping[str, int]


@dataclass(frozen=True)
class RunSnapshots:
    """The snapshots of one replica that can be measured.

    Attributes:
        source: `checkpoints`, `logs`, or `none`.
        steps: steps of all candidates, increasing.
        measure: step -> its snapshot.
        definitions: definitions of rank and entropy.
        notes: caveats for a reader.
        keys: key frequencies of the Fourier measures, or the reason why there are none.
    """

    source: str
    steps: tuple[int, ...]
    measure: Callable[[int], Snapshot]
    definitions: Mapping[str, str]
    notes: tuple[str, ...]
    keys: KeyFrequencies | str = "no checkpoints"


def select(steps: Sequence[int], t_grok: int | None, window: int = WINDOW) -> tuple[int, ...]:
    """Select snapshots by the published rule, `around/10000-3-2-3`.

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


def logged_snapshots(analysis: Analysis) -> RunSnapshots:
    """Return the snapshots that the logs of a run without checkpoints hold.

    Candidates are the steps at which the run saved checkpoints, if its configuration says so, else all analysed ones.
    """
    run = analysis.run
    evaluations = len({step for series in run.replicas[analysis.seed].values() for step in series.steps})
    read = f"analysed from its logs: {evaluations:,} evaluations, no checkpoints"
    if run.layout != foreign_runs.COLUMNS or not (run.path / foreign_runs.ANALYSIS).exists():
        return RunSnapshots(NOTHING, (), unmeasured, {}, (f"{read}, no logged rank or entropy",))
    log = load(run.path / foreign_runs.ANALYSIS).data
    rows = {step: index for index, step in enumerate(log["step"])}
    every = load(run.path / foreign_runs.CONFIG).data.get("training", {}).get("checkpoint_interval")
    saved = [step for step in rows if type(every) is int and every > 0 and step % every == 0]
    where = f"the steps at which checkpoints were saved, every {every:,}" if saved else "all analysed steps"

    def measure(step: int) -> Snapshot:
        ranks, entropies = (
            log[name][rows[step]] if name in log else None for name in ("representation_rank", "attention_entropy")
        )
        return Snapshot(step, ranks, None, entropies)

    definitions = {
        name: run.definitions[metric]
        for name, metric in (("representation_rank", "final_layer_rank"), ("attention_entropy", "attention_entropy"))
        if metric in run.definitions
    }
    return RunSnapshots(
        LOGS, tuple(saved or rows), measure, definitions, (f"{read}; rank and entropy as logged at {where}",)
    )


def unmeasured(step: int) -> Snapshot:
    """Return a snapshot without measurements."""
    return Snapshot(step, None, None, None)


def _mean(values: Sequence[float] | None) -> float | None:
    return math.fsum(values) / len(values) if values and None not in values else None
