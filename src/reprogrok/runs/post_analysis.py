"""An analysis and the snapshots around the transition -> `post_analysis.json`, in its published keys.

    analysis of a replica + its snapshots --those around t_grok are measured--> document of post_analysis.schema.json

The published keys stand at the top level, as in the files of their authors, so that readers of those can read ours.
The block `reprogrok` adds definitions, intervals, the regime and the sources of the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from reprogrok import __version__
from reprogrok.errors import InputError
from reprogrok.formats import foreign_runs
from reprogrok.metrics import registry, representation
from reprogrok.metrics.fourier import LOGIT_KEYS, MEASURES, FourierMeasures
from reprogrok.metrics.grokking import Chance, Delay, MaxRise, StepInterval, Time, Unknown
from reprogrok.metrics.regime import RegimeResult
from reprogrok.metrics.spikes import Spikes
from reprogrok.record import Series
from reprogrok.runs.analysis import Analysis, Guessing
from reprogrok.runs.snapshots import AFTER, BEFORE, NEAR, WINDOW, KeyFrequencies, RunSnapshots, Snapshot, plain, select
from reprogrok.schema import check_written, load

FORMAT = "reprogrok.post_analysis/1"
# Definitions of logged metrics that belong to the analysis; all others describe training.
_REPRESENTATION = frozenset({
    registry.RANK, representation.RANK_FIRST_BATCH, registry.RANK_AFTER, registry.ENTROPY_RANK,
    registry.PARTICIPATION_RATIO, registry.ENTROPY, representation.ENTROPY_CLAMPED,
    registry.ANSWER_ENTROPY,
})  # fmt: skip


def document_of(analysis: Analysis, snapshots: RunSnapshots, window: int = WINDOW) -> dict[str, object]:
    """Write the document as plain data, checked by its schema.

    Raises:
        InputError: a snapshot cannot be measured: its checkpoint is refused, or memory does not suffice.
    """
    chosen = select(snapshots.steps, analysis.t_grok, window)
    measured = [snapshots.measure(step) for step in chosen]
    accuracy = _by_step(analysis.run.replicas[analysis.seed].get(analysis.test_metric or ""))
    t_grok = analysis.t_grok
    training, analysed = _logs(analysis)
    # A diverged snapshot has numbers that are not finite: null in JSON.
    written: dict[str, object] = plain({
        "t_grok": t_grok,
        "checkpoint_steps": list(chosen),
        "relative_steps": [None if t_grok is None else step - t_grok for step in chosen],
        "test_accuracy": [accuracy.get(step) for step in chosen],
        "final_layer_rank": [snapshot.final_layer_rank for snapshot in measured],
        "avg_rank": [snapshot.average_rank for snapshot in measured],
        "avg_entropy": [snapshot.average_entropy for snapshot in measured],
        "full_analyses": [_full(snapshot) for snapshot in measured],
        "training_metrics": training,
        "analysis_metrics": analysed,
        "reprogrok": _ours(analysis, snapshots, measured, window),
    })  # fmt: skip
    check_written(written, "post_analysis")
    return written


def _full(snapshot: Snapshot) -> dict[str, object]:
    return {
        "step": snapshot.step,
        "representation_rank": snapshot.representation_rank,
        "singular_values": snapshot.singular_values,
        "attention_entropy": snapshot.attention_entropy,
        "final_layer_rank": snapshot.final_layer_rank,
        "avg_rank": snapshot.average_rank,
        "avg_entropy": snapshot.average_entropy,
    }


def _ours(analysis: Analysis, snapshots: RunSnapshots, measured: Sequence[Snapshot], window: int) -> dict[str, object]:
    run = analysis.run
    transition = analysis.transition
    metrics = run.replicas[analysis.seed]
    return {
        "format": FORMAT,
        "version": __version__,
        "run": _run(analysis),
        "seed": analysis.seed,
        "source": snapshots.source,
        "selection": {
            "definition": f"around/{window}-{BEFORE}-{NEAR}-{AFTER}",
            "t_grok_definition": analysis.t_grok_definition,
            "candidates": list(snapshots.steps),
        },
        "definitions": {name: run.definitions[name] for name in metrics if name in run.definitions},
        "state_definitions": dict(snapshots.definitions),
        "alternatives": [
            {"step": snapshot.step, "examples": snapshot.examples, "values": snapshot.alternatives}
            for snapshot in measured
            if snapshot.alternatives
        ],
        "fourier": _fourier(snapshots.keys, measured),
        "metrics": {"train": analysis.train_metric, "test": analysis.test_metric},
        "first_above": [_time(time) for time in analysis.times],
        "transition": vars(transition) | {"unknown": None}
        if isinstance(transition, MaxRise)
        else {"definition": transition.definition, "unknown": transition.reason},
        "regime": _regime(analysis.regime),
        "spikes": {name: _spikes(found) for name, found in analysis.spikes.items()},
        "guessing": None if analysis.guessing is None else _guessing(analysis.guessing),
        "support": vars(analysis.support),
        "claim": None if analysis.claim is None else asdict(analysis.claim),
        "notes": [
            *analysis.notes,
            *snapshots.notes,
            *dict.fromkeys(snapshot.note for snapshot in measured if snapshot.note),
            *_unseen(analysis.t_grok, snapshots.steps, window),
        ],
    }


def _fourier(keys: KeyFrequencies | str, measured: Sequence[Snapshot]) -> dict[str, object]:
    """Return one entry per snapshot and one for the last, all by the key frequencies of the last."""
    if isinstance(keys, str):
        return {"unknown": keys, "keys": None, "measures": {}, "states": [], "last": None}

    def entry(step: int, measures: FourierMeasures) -> dict[str, object]:
        return {"step": step, **vars(measures)}

    return {
        "unknown": None,
        "keys": {
            "definition": LOGIT_KEYS,
            "modulus": keys.modulus,
            "of_step": keys.step,
            "frequencies": list(keys.frequencies),
        },
        "measures": {
            name: {"definition": definition, "set": over, "n": keys.sets[over]}
            for name, (definition, over) in MEASURES.items()
        },
        "states": [entry(snapshot.step, snapshot.fourier) for snapshot in measured if snapshot.fourier is not None],
        "last": entry(keys.step, keys.last),
    }


def _unseen(t_grok: int | None, steps: Sequence[int], window: int) -> list[str]:
    """Note that the published rule, which takes the first two near t_grok, selected no snapshot after it."""
    chosen = select(steps, t_grok, window)
    if t_grok is None or not chosen or chosen[-1] >= t_grok:
        return []
    later = [step for step in steps if step >= t_grok]
    has = f"candidates there: {', '.join(f'{step:,}' for step in later[:5])}" if later else "no candidate lies there"
    return [f"the published selection holds no snapshot at or after t_grok {t_grok:,}; {has}"]


def _time(time: Time) -> dict[str, object]:
    """Exactly one of `by`, `censored_at` and `unknown` is not null."""
    fields: dict[str, object] = dict.fromkeys(("after", "by", "censored_at", "unknown"))
    if isinstance(time, StepInterval):
        fields |= {"after": time.after, "by": time.by}
    elif isinstance(time, Unknown):
        fields |= {"unknown": time.reason}
    else:
        fields |= {"censored_at": time.at}
    return {"definition": time.definition} | fields


def _delay(delay: Delay | Unknown) -> dict[str, object]:
    if isinstance(delay, Unknown):
        return {"definition": delay.definition, "unknown": delay.reason}
    return vars(delay) | {"resolution": delay.resolution, "unknown": None}


def _regime(finding: RegimeResult) -> dict[str, object]:
    return {
        "definition": finding.definition,
        "regime": finding.regime.value,
        "reason": finding.reason,
        "memorised": _time(finding.memorised),
        "generalised": _time(finding.generalised),
        "delay": _delay(finding.delay),
        "losses": None if finding.losses is None else _spikes(finding.losses),
        "rules": asdict(finding.rules),
    }


def _spikes(found: Spikes) -> dict[str, object]:
    return {
        **asdict(found.levels),
        "settled": found.settled,
        "count": len(found.spikes),
        "evaluations": found.evaluations,
        "evaluations_above": found.above,
        "grid": found.grid,
        "spikes": [asdict(spike) | {"recovery": spike.recovery} for spike in found.spikes],
    }


def _guessing(guessing: Guessing) -> dict[str, object]:
    def score(score: Chance, step: int) -> dict[str, object]:
        return {"step": step, "k": score.k, "n": score.n, "classes": score.classes, "probability": score.probability}

    return {
        "definition": guessing.lowest.definition,
        "lowest": score(guessing.lowest, guessing.lowest_step) | {"adjusted": guessing.adjusted},
        "highest": score(guessing.highest, guessing.highest_step),
    }


def _logs(analysis: Analysis) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return the logs of training and of the analysis as columns; foreign logs as they were written."""
    run = analysis.run
    if run.layout == foreign_runs.COLUMNS:
        analysed = load(run.path / foreign_runs.ANALYSIS).data if (run.path / foreign_runs.ANALYSIS).exists() else {}
        return load(run.path / foreign_runs.LOGS).data, analysed
    metrics = run.replicas[analysis.seed]
    positions = run.facts.get("positions", representation.PUBLISHED_POSITIONS)
    of_states = _REPRESENTATION | {representation.definition(name, positions) for name in _REPRESENTATION}
    of_states |= {definition for definition, _ in MEASURES.values()}
    rare = {name for name in metrics if run.definitions.get(name) in of_states}
    return (
        columns({name: series for name, series in metrics.items() if name not in rare}),
        columns({name: metrics[name] for name in metrics if name in rare}),
    )


def columns(metrics: Mapping[str, Series]) -> Mapping[str, Sequence[object]]:
    """Return series as columns over all of their steps; null where a metric has no value."""
    if not metrics:
        return {}
    steps = sorted({step for series in metrics.values() for step in series.steps})
    by_step = {name: _by_step(series) for name, series in metrics.items()}
    return {"step": list(steps)} | {name: [values.get(step) for step in steps] for name, values in by_step.items()}


def _by_step(series: Series | None) -> dict[int, float | None]:
    return {} if series is None else dict(zip(series.steps, plain(series.values), strict=True))


def place(analysis: Analysis) -> Path:
    """Return the path of the document: in the folder of our own run, in the current folder for a foreign run.

    Raises:
        InputError: the current folder holds that of another run, or a file that is no post-analysis.
    """
    one = len(analysis.run.replicas) == 1
    name = "post_analysis.json" if one else f"post_analysis-seed-{analysis.seed}.json"
    if analysis.run.layout == "reprogrok":
        return analysis.run.path / name
    path = Path(name)
    if path.exists():
        block = load(path).data
        block = block.get("reprogrok") if isinstance(block, dict) else None
        if not isinstance(block, dict) or block.get("run") != _run(analysis):
            raise InputError(
                "is not an analysis of this run; it would be replaced", path=path, expected="--output FILE"
            )
    return path


def _run(analysis: Analysis) -> dict[str, str]:
    run = analysis.run
    return {"path": run.path.as_posix(), "experiment": run.experiment, "layout": run.layout}
