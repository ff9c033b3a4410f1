"""An analysis and what is known of the states around the transition -> `post_analysis.json`, in its published keys.

    analysis of a replica + its states --those around t_grok are measured--> document, held to post_analysis.schema.json

The published keys stand at the top level, as in the files of their authors, so that what reads those can read ours.
What those files do not say (definitions, intervals, regime, where the numbers come from) is in the block `reprogrok`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reprogrok import __version__
from reprogrok.errors import InputError
from reprogrok.formats import foreign_runs
from reprogrok.metrics import registry, representation
from reprogrok.metrics.fourier import LOGIT_KEYS, MEASURES, Progress
from reprogrok.metrics.grokking import Chance, Delay, MaxRise, StepInterval, Time, Unknown
from reprogrok.metrics.regime import Finding
from reprogrok.metrics.spikes import Spikes
from reprogrok.record import Series
from reprogrok.runs.analysis import Analysis, Guessing
from reprogrok.runs.snapshots import AFTER, BEFORE, NEAR, WINDOW, Keys, State, States, plain, select
from reprogrok.schema import check_written, load

FORMAT = "reprogrok.post_analysis/1"
# What a logged metric of the states is measured by; all else describes training.
_REPRESENTATION = frozenset({
    registry.RANK, representation.RANK_FIRST_BATCH, registry.RANK_AFTER, registry.ENTROPY_RANK,
    registry.PARTICIPATION_RATIO, registry.ENTROPY, representation.ENTROPY_CLAMPED,
    registry.ANSWER_ENTROPY,
})  # fmt: skip


def document(analysis: Analysis, states: States, window: int = WINDOW) -> dict[str, Any]:
    """The document as plain data, held to its schema.

    Raises:
        InputError: a state cannot be measured (a checkpoint is refused, or memory does not suffice).
    """
    chosen = select(states.steps, analysis.t_grok, window)
    measured = [states.measure(step) for step in chosen]
    accuracy = _by_step(analysis.run.replicas[analysis.seed].get(analysis.test_metric or ""))
    t_grok = analysis.t_grok
    training, analysed = _logs(analysis)
    # A state that diverged has numbers that JSON has not: null, wherever they come from.
    written: dict[str, Any] = plain({
        "t_grok": t_grok,
        "checkpoint_steps": list(chosen),
        "relative_steps": [None if t_grok is None else step - t_grok for step in chosen],
        "test_accuracy": [accuracy.get(step) for step in chosen],
        "final_layer_rank": [state.final_layer_rank for state in measured],
        "avg_rank": [state.average_rank for state in measured],
        "avg_entropy": [state.average_entropy for state in measured],
        "full_analyses": [_full(state) for state in measured],
        "training_metrics": training,
        "analysis_metrics": analysed,
        "reprogrok": _ours(analysis, states, measured, window),
    })  # fmt: skip
    check_written(written, "post_analysis")
    return written


def _full(state: State) -> dict[str, Any]:
    return {
        "step": state.step,
        "representation_rank": state.representation_rank,
        "singular_values": state.singular_values,
        "attention_entropy": state.attention_entropy,
        "final_layer_rank": state.final_layer_rank,
        "avg_rank": state.average_rank,
        "avg_entropy": state.average_entropy,
    }


def _ours(analysis: Analysis, states: States, measured: Sequence[State], window: int) -> dict[str, Any]:
    run = analysis.run
    transition = analysis.transition
    metrics = run.replicas[analysis.seed]
    return {
        "format": FORMAT,
        "version": __version__,
        "run": _run(analysis),
        "seed": analysis.seed,
        "source": states.source,
        "selection": {
            "definition": f"around/{window}-{BEFORE}-{NEAR}-{AFTER}",
            "t_grok_definition": analysis.t_grok_definition,
            "candidates": list(states.steps),
        },
        "definitions": {name: run.definitions[name] for name in metrics if name in run.definitions},
        "state_definitions": dict(states.definitions),
        "alternatives": [
            {"step": state.step, "examples": state.examples, "values": state.alternatives}
            for state in measured
            if state.alternatives
        ],
        "fourier": _fourier(states.keys, measured),
        "metrics": {"train": analysis.train_metric, "test": analysis.test_metric},
        "first_above": [_time(time) for time in analysis.times],
        "transition": vars(transition) | {"unknown": None}
        if isinstance(transition, MaxRise)
        else {"definition": transition.definition, "unknown": transition.reason},
        "regime": _regime(analysis.finding),
        "spikes": {name: _spikes(found) for name, found in analysis.spikes.items()},
        "guessing": None if analysis.guessing is None else _guessing(analysis.guessing),
        "support": vars(analysis.support),
        "claim": None if analysis.claim is None else asdict(analysis.claim),
        "notes": [
            *analysis.notes,
            *states.notes,
            *dict.fromkeys(state.note for state in measured if state.note),
            *_unseen(analysis.t_grok, states.steps, window),
        ],
    }


def _fourier(keys: Keys | str, measured: Sequence[State]) -> dict[str, Any]:
    """One entry per state and one for the last, all by the key frequencies of the last."""
    if isinstance(keys, str):
        return {"unknown": keys, "keys": None, "measures": {}, "states": [], "last": None}

    def entry(step: int, progress: Progress) -> dict[str, Any]:
        return {"step": step, **vars(progress)}

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
        "states": [entry(state.step, state.progress) for state in measured if state.progress is not None],
        "last": entry(keys.step, keys.last),
    }


def _unseen(t_grok: int | None, steps: Sequence[int], window: int) -> list[str]:
    """What the published rule leaves out: it takes the first two states near t_grok, which may all lie before it."""
    chosen = select(steps, t_grok, window)
    if t_grok is None or not chosen or chosen[-1] >= t_grok:
        return []
    later = [step for step in steps if step >= t_grok]
    has = f"candidates there: {', '.join(f'{step:,}' for step in later[:5])}" if later else "no candidate lies there"
    return [f"the published selection holds no state at or after t_grok {t_grok:,}; {has}"]


def _time(time: Time) -> dict[str, Any]:
    """Exactly one of `by`, `censored_at` and `unknown` is not null."""
    fields: dict[str, Any] = dict.fromkeys(("after", "by", "censored_at", "unknown"))
    if isinstance(time, StepInterval):
        fields |= {"after": time.after, "by": time.by}
    elif isinstance(time, Unknown):
        fields |= {"unknown": time.reason}
    else:
        fields |= {"censored_at": time.at}
    return {"definition": time.definition} | fields


def _delay(delay: Delay | Unknown) -> dict[str, Any]:
    if isinstance(delay, Unknown):
        return {"definition": delay.definition, "unknown": delay.reason}
    return vars(delay) | {"resolution": delay.resolution, "unknown": None}


def _regime(finding: Finding) -> dict[str, Any]:
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


def _spikes(found: Spikes) -> dict[str, Any]:
    return {
        **asdict(found.levels),
        "settled": found.settled,
        "count": len(found.spikes),
        "evaluations": found.evaluations,
        "evaluations_above": found.above,
        "grid": found.grid,
        "spikes": [asdict(spike) | {"recovery": spike.recovery} for spike in found.spikes],
    }


def _guessing(guessing: Guessing) -> dict[str, Any]:
    def score(score: Chance, step: int) -> dict[str, Any]:
        return {"step": step, "k": score.k, "n": score.n, "classes": score.classes, "probability": score.probability}

    return {
        "definition": guessing.lowest.definition,
        "lowest": score(guessing.lowest, guessing.lowest_step) | {"adjusted": guessing.adjusted},
        "highest": score(guessing.highest, guessing.highest_step),
    }


def _logs(analysis: Analysis) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole log of training and that of the analysis, as columns; those of others as they wrote them.

    A metric of ours belongs to the analysis if its definition is one that `measure` has for states of a model.
    """
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


def columns(metrics: Mapping[str, Series]) -> dict[str, list[Any]]:
    """Series as columns over all of their steps; null where a metric has no value."""
    if not metrics:
        return {}
    steps = sorted({step for series in metrics.values() for step in series.steps})
    by_step = {name: _by_step(series) for name, series in metrics.items()}
    return {"step": list(steps)} | {name: [values.get(step) for step in steps] for name, values in by_step.items()}


def _by_step(series: Series | None) -> dict[int, float | None]:
    return {} if series is None else dict(zip(series.steps, plain(series.values), strict=True))


def place(analysis: Analysis) -> Path:
    """Where the document lies: in the folder of a run of ours, in the current folder for a run of others.

    Raises:
        InputError: in the current folder there is one of another run, or a file that is none.
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
