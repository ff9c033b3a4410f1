"""Post-analyses -> tables for a reader: grok times, spikes, scores beside guessing, and the regime of each replica."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.metrics.fourier import MEASURES, FourierMeasures
from reprogrok.metrics.grokking import Delay, MaxRise, StepInterval, Time, Unknown
from reprogrok.metrics.spikes import Spike, Spikes
from reprogrok.runs.analysis import Analysis, Guessing, LearnedWithin
from reprogrok.runs.post_analysis import PostAnalysis
from reprogrok.runs.snapshots import CHECKPOINTS, KeyFrequencies, Snapshot
from reprogrok.text import counted

_MOST_SPIKES = 6  # listed; beyond that they are counted


def print_analyses(found: Sequence[PostAnalysis], console: Console) -> None:
    """Print one block per replica, and the number of replicas in each regime."""
    for one in found:
        _print(one, console)
    if len(found) > 1:
        counts = Counter(one.analysis.regime.regime.value for one in found).most_common()
        parts = ", ".join(f"{count} {name}" for name, count in counts)
        console.print(Text(f"{counted(len(found), 'seed')}: {parts}", style="bold"), soft_wrap=True)


def _print(found: PostAnalysis, console: Console) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    analysis, source = found.analysis, found.candidates.source
    line(f"{analysis.run.experiment}, seed {analysis.seed}: {analysis.regime.regime.value}", "bold")
    line(f"  {analysis.regime.reason}")
    console.print(_times(analysis))
    if analysis.claim is not None:
        line(_claim_text(analysis.claim), "bold")
    if found.snapshots:
        line(f"snapshots around t_grok (from {source}; {found.selection})")
        console.print(_snapshots(found))
        if source == CHECKPOINTS:
            _print_fourier(found.candidates.keys, found.snapshots, console)
    for name, spikes in analysis.spikes.items():
        line(f"spikes of {name}: {_spikes_text(spikes)}")
    if analysis.guessing is not None:
        line(f"guessing: {_guessing_text(analysis.guessing)}")
    for note in found.notes:
        line(f"note: {note}", "yellow")
    line("")


def _times(analysis: Analysis) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("event", "definition", "when"):
        table.add_column(name, overflow="fold")
    test, train = analysis.test_metric or "test accuracy", analysis.train_metric or "train accuracy"
    for time in analysis.times:
        table.add_row(Text(f"{test} at or above {time.definition.rpartition('/')[2]}"), *_time_cells(time))
    transition, regime = analysis.transition, analysis.regime
    table.add_row(Text("largest rise over five evaluations"), Text(transition.definition), _transition(transition))
    table.add_row(Text(f"training learned ({train})"), *_time_cells(regime.memorised))
    table.add_row(Text(f"test learned ({test})"), *_time_cells(regime.generalised))
    table.add_row(Text("delay"), Text(regime.delay.definition), Text(_delay_text(regime.delay)))
    return table


def _time_cells(time: Time) -> tuple[Text, Text]:
    if isinstance(time, Unknown):
        when = f"unknown: {time.reason}"
    elif not isinstance(time, StepInterval):
        when = f"never until step {time.at:,}"
    elif time.after is None:
        when = f"by step {time.by:,}, the first evaluation"
    else:
        when = f"({time.after:,}, {time.by:,}]"
    return Text(time.definition), Text(when)


def _transition(transition: MaxRise | Unknown) -> Text:
    if isinstance(transition, Unknown):
        return Text(f"unknown: {transition.reason}")
    rise = "too few evaluations" if transition.rise is None else f"rise {transition.rise:.3g}"
    below = transition.below_threshold
    return Text(f"{transition.step:,} ({rise}{', BELOW its threshold of 0.15' if below else ''})", "yellow" * below)


def _delay_text(delay: Delay | Unknown) -> str:
    if isinstance(delay, Unknown):
        return f"unknown: {delay.reason}"
    if delay.low is None:
        return f"at most {delay.high:,} steps"
    if delay.high is None:
        return f"at least {delay.low:,} steps, {delay.factor_low:.3g} times"
    factor = f"{delay.factor_low:.3g} to {delay.factor_high:.3g} times"
    return f"{delay.low:,} to {delay.high:,} steps, {factor} (resolution {delay.resolution:,} steps)"


def _claim_text(claim: LearnedWithin) -> str:
    apart = "" if claim.gap is None else f", the evaluations are {claim.gap:,} steps apart"
    answer = {True: "yes", False: "no", None: f"cannot be decided{apart}"}[claim.holds]
    steps = counted(claim.steps, "step")
    return f"claim: test learned within {steps}: {answer} ({claim.reason}) [{claim.definition}]"


def _snapshots(found: PostAnalysis) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("step", "from t_grok", "test accuracy", "final-layer rank", "mean rank", "mean entropy"):
        table.add_column(name, justify="right")
    for snapshot, relative, accuracy in zip(found.snapshots, found.relative_steps, found.test_accuracy, strict=True):
        table.add_row(
            f"{snapshot.step:,}",
            "-" if relative is None else f"{relative:+,}",
            _number(accuracy, ".4f"),
            _number(snapshot.final_layer_rank, "g"),
            _number(snapshot.average_rank, ".4g"),
            _number(snapshot.average_entropy, ".3f"),
        )
    return table


def _print_fourier(keys: KeyFrequencies | str, snapshots: Sequence[Snapshot], console: Console) -> None:
    if isinstance(keys, str):
        console.print(Text(f"not measured: {keys}\n"), soft_wrap=True)
        return
    title = f"Fourier, by the key frequencies of the last snapshot: {_listed(keys.frequencies) or 'it has none'}"
    console.print(Text(title), soft_wrap=True)
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    for name in ("step", "energy", "train\nloss", "test\nloss", "restricted", "excluded"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("own keys", "embedding"):
        table.add_column(name, overflow="fold")
    measured = {snapshot.step: snapshot.fourier for snapshot in snapshots if snapshot.fourier is not None}
    for step, measures in (measured | {keys.step: keys.last}).items():
        _add_fourier(table, step, measures)
    console.print(table)
    n, p = keys.sets, keys.modulus
    meaning = (
        f"energy: fraction of the logits' that the keys of step {keys.step:,} hold; restricted: test loss with them "
        f"alone; excluded: train loss without them (nats; {n['train']:,} train, {n['test']:,} test of {n['all']:,} "
        f"pairs; guessing one of {p} costs {math.log(p):.3g})"
    )
    ids = dict.fromkeys(definition for definition, _ in MEASURES.values())
    console.print(Text(f"{meaning} [{', '.join(ids)}]"), soft_wrap=True)


def _add_fourier(table: Table, step: int, measures: FourierMeasures) -> None:
    own, embedding = measures.logit_keys, measures.embedding_keys
    losses = (
        measures.full_loss_train,
        measures.full_loss_test,
        measures.restricted_loss_test,
        measures.excluded_loss_train,
    )
    table.add_row(
        f"{step:,}",
        _number(measures.key_energy, ".3f"),
        *(_number(loss, "#.3g") for loss in losses),
        Text(_listed(own) or "none"),
        Text("the same" if own and own == embedding else _listed(embedding) or "none"),
    )


def _listed(frequencies: Sequence[int]) -> str:
    return ", ".join(map(str, frequencies))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _spikes_text(found: Spikes) -> str:
    levels, count = found.levels, len(found.spikes)
    if found.settled is None:
        return f"none can be told, it never came down to {levels.level:.4g}"
    seen = (
        f"settled at or below {levels.level:.4g} from step {found.settled:,}; above {levels.trigger:.4g} in "
        f"{found.above:,} of {found.evaluations:,} evaluations"
    )
    if math.isfinite(found.grid):
        seen += f", {found.grid:,.0f} steps apart, between which nothing was seen"
    listed = "; ".join(map(_spike_text, found.spikes[:_MOST_SPIKES]))
    more = f"; and {count - _MOST_SPIKES:,} more" if count > _MOST_SPIKES else ""
    return f"{count:,}{f' ({listed}{more})' if listed else ''}, {seen} [{levels.definition}]"


def _spike_text(spike: Spike) -> str:
    back = "not back by the end" if spike.recovery is None else f"back after {spike.recovery:,} steps"
    height = format(spike.height, ".3g") if math.isfinite(spike.height) else "infinite"
    return f"{height} at step {spike.peak_step:,}, {back}"


def _guessing_text(guessing: Guessing) -> str:
    low, high = guessing.lowest, guessing.highest
    text = f"chance gives {low.n / low.classes:.1f} of {low.n:,} (1/{low.classes})"
    for word, score, step in (("fewest", low, guessing.lowest_step), ("most", high, guessing.highest_step)):
        text += f"; {word} {score.k:,} (step {step:,})"
        if score.below:
            text += f", so few or fewer by guessing: probability {score.probability:.2g}"
            if score is low:
                text += f", {guessing.adjusted:.2g} over all evaluations"
    return f"{text} [{low.definition}]"
