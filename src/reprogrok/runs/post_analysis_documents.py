"""A post-analysis -> `post_analysis.json`, in its published keys.

The published keys stand at the top level, as in the files of their authors, so that readers of those can read ours.
The block `reprogrok` adds definitions, intervals, the regime and the sources of the numbers. Numbers that are not
finite are null, as JSON requires.
"""

from __future__ import annotations

import math
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
from reprogrok.runs.post_analysis import PostAnalysis
from reprogrok.runs.snapshots import KeyFrequencies, Snapshot
from reprogrok.schema import check_written, load

FORMAT = "reprogrok.post_analysis/1"
# Definitions of logged metrics that belong to the analysis; all others describe training.
_REPRESENTATION = frozenset({
    registry.RANK, representation.RANK_FIRST_BATCH, registry.RANK_AFTER, registry.ENTROPY_RANK,
    registry.PARTICIPATION_RATIO, registry.ENTROPY, representation.ENTROPY_CLAMPED,
    registry.ANSWER_ENTROPY,
})  # fmt: skip


def document_of(found: PostAnalysis) -> dict[str, object]:
    """Return the document as plain data, checked by its schema."""
    snapshots = found.snapshots
    training, analysed = _logs(found.analysis)
    written = {
        "t_grok": found.analysis.t_grok,
        "checkpoint_steps": [snapshot.step for snapshot in snapshots],
        "relative_steps": found.relative_steps,
        "test_accuracy": found.test_accuracy,
        "final_layer_rank": [snapshot.final_layer_rank for snapshot in snapshots],
        "avg_rank": [snapshot.average_rank for snapshot in snapshots],
        "avg_entropy": [snapshot.average_entropy for snapshot in snapshots],
        "full_analyses": [_full(snapshot) for snapshot in snapshots],
        "training_metrics": training,
        "analysis_metrics": analysed,
        "reprogrok": _ours(found),
    }
    plain = {name: _plain(value) for name, value in written.items()}
    check_written(plain, "post_analysis")
    return plain


def _plain(value: object) -> object:
    """Replace numbers that are not finite by null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _ours(found: PostAnalysis) -> dict[str, object]:
    analysis, candidates = found.analysis, found.candidates
    run, transition = analysis.run, analysis.transition
    return {
        "format": FORMAT,
        "version": __version__,
        "run": _run(analysis),
        "seed": analysis.seed,
        "source": candidates.source,
        "selection": {
            "definition": found.selection,
            "t_grok_definition": analysis.t_grok_definition,
            "candidates": candidates.steps,
        },
        "definitions": {name: run.definitions[name] for name in run.replicas[analysis.seed] if name in run.definitions},
        "state_definitions": candidates.definitions,
        "alternatives": [
            {"step": snapshot.step, "examples": snapshot.examples, "values": snapshot.alternatives}
            for snapshot in found.snapshots
            if snapshot.alternatives
        ],
        "fourier": _fourier(candidates.keys, found.snapshots),
        "metrics": {"train": analysis.train_metric, "test": analysis.test_metric},
        "first_above": [_time(time) for time in analysis.times],
        "transition": vars(transition) | {"unknown": None}
        if isinstance(transition, MaxRise)
        else {"definition": transition.definition, "unknown": transition.reason},
        "regime": _regime(analysis.regime),
        "spikes": {name: _spikes(spikes) for name, spikes in analysis.spikes.items()},
        "guessing": None if analysis.guessing is None else _guessing(analysis.guessing),
        "support": vars(analysis.support),
        "claim": None if analysis.claim is None else vars(analysis.claim),
        "notes": found.notes,
    }


def _fourier(keys: KeyFrequencies | str, snapshots: Sequence[Snapshot]) -> dict[str, object]:
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
            "frequencies": keys.frequencies,
        },
        "measures": {
            name: {"definition": definition, "set": over, "n": keys.sets[over]}
            for name, (definition, over) in MEASURES.items()
        },
        "states": [entry(snapshot.step, snapshot.fourier) for snapshot in snapshots if snapshot.fourier is not None],
        "last": entry(keys.step, keys.last),
    }


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
    """Return series as columns over all of their steps; None where a metric has no value."""
    if not metrics:
        return {}
    steps = sorted({step for series in metrics.values() for step in series.steps})
    by_step = {name: dict(zip(series.steps, series.values, strict=True)) for name, series in metrics.items()}
    return {"step": steps} | {name: [values.get(step) for step in steps] for name, values in by_step.items()}


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
