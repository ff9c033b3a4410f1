"""The documents of an analysis -> what a person reads: when, how steadily, by guessing or not, and the regime.

Everything is read from the document that is written, so that the screen and the file cannot disagree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.text import counted

if TYPE_CHECKING:
    from rich.console import Console

Document = Mapping[str, Any]
_MOST_SPIKES = 6  # listed; beyond that they are counted


def print_analyses(documents: Sequence[Document], console: Console) -> None:
    """One block per replica, and how many show which regime."""
    for document in documents:
        _print(document, console)
    if len(documents) > 1:
        counts = Counter(document["reprogrok"]["regime"]["regime"] for document in documents).most_common()
        parts = ", ".join(f"{count} {name}" for name, count in counts)
        console.print(Text(f"{counted(len(documents), 'seed')}: {parts}", style="bold"), soft_wrap=True)


def _print(document: Document, console: Console) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    ours = document["reprogrok"]
    line(f"{ours['run']['experiment']}, seed {ours['seed']}: {ours['regime']['regime']}", "bold")
    line(f"  {ours['regime']['reason']}")
    console.print(_times(ours))
    if (claim := ours["claim"]) is not None:
        line(_claim_text(claim), "bold")
    if document["full_analyses"]:
        line(f"snapshots around t_grok (from {ours['source']}; {ours['selection']['definition']})")
        console.print(_states(document))
        if ours["source"] == "checkpoints":
            _print_fourier(ours["fourier"], console)
    for name, found in ours["spikes"].items():
        line(f"spikes of {name}: {_spikes_text(found)}")
    if (guessing := ours["guessing"]) is not None:
        line(f"guessing: {_guessing_text(guessing)}")
    for note in ours["notes"]:
        line(f"note: {note}", "yellow")
    line("")


def _times(ours: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("event", "definition", "when"):
        table.add_column(name, overflow="fold")
    test, train = ours["metrics"]["test"] or "test accuracy", ours["metrics"]["train"] or "train accuracy"
    for time in ours["first_above"]:
        table.add_row(Text(f"{test} at or above {time['definition'].rpartition('/')[2]}"), *_time_cells(time))
    transition = ours["transition"]
    table.add_row(Text("largest rise over five evaluations"), Text(transition["definition"]), _transition(transition))
    regime = ours["regime"]
    table.add_row(Text(f"training learned ({train})"), *_time_cells(regime["memorised"]))
    table.add_row(Text(f"test learned ({test})"), *_time_cells(regime["generalised"]))
    table.add_row(Text("delay"), Text(regime["delay"]["definition"]), Text(_delay_text(regime["delay"])))
    return table


def _time_cells(time: Mapping[str, Any]) -> tuple[Text, Text]:
    if time["unknown"] is not None:
        when = f"unknown: {time['unknown']}"
    elif time["censored_at"] is not None:
        when = f"never until step {time['censored_at']:,}"
    elif time["after"] is None:
        when = f"by step {time['by']:,}, the first evaluation"
    else:
        when = f"({time['after']:,}, {time['by']:,}]"
    return Text(time["definition"]), Text(when)


def _transition(transition: Mapping[str, Any]) -> Text:
    if transition["unknown"] is not None:
        return Text(f"unknown: {transition['unknown']}")
    rise = "too few evaluations" if transition["rise"] is None else f"rise {transition['rise']:.3g}"
    below = transition["below_threshold"]
    return Text(f"{transition['step']:,} ({rise}{', BELOW its threshold of 0.15' if below else ''})", "yellow" * below)


def _delay_text(delay: Mapping[str, Any]) -> str:
    if delay["unknown"] is not None:
        return f"unknown: {delay['unknown']}"
    if delay["low"] is None:
        return f"at most {delay['high']:,} steps"
    if delay["high"] is None:
        return f"at least {delay['low']:,} steps, {delay['factor_low']:.3g} times"
    factor = f"{delay['factor_low']:.3g} to {delay['factor_high']:.3g} times"
    return f"{delay['low']:,} to {delay['high']:,} steps, {factor} (resolution {delay['resolution']:,} steps)"


def _claim_text(claim: Mapping[str, Any]) -> str:
    asked = f"claim: test learned within {counted(claim['steps'], 'step')}"
    apart = "" if claim["gap"] is None else f", the evaluations are {claim['gap']:,} steps apart"
    answer = {True: "yes", False: "no", None: f"cannot be decided{apart}"}[claim["holds"]]
    return f"{asked}: {answer} ({claim['reason']}) [{claim['definition']}]"


def _states(document: Document) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("step", "from t_grok", "test accuracy", "final-layer rank", "mean rank", "mean entropy"):
        table.add_column(name, justify="right")
    for index, step in enumerate(document["checkpoint_steps"]):
        relative = document["relative_steps"][index]
        accuracy, entropy = document["test_accuracy"][index], document["avg_entropy"][index]
        table.add_row(
            f"{step:,}",
            "-" if relative is None else f"{relative:+,}",
            _number(accuracy, ".4f"),
            _number(document["final_layer_rank"][index], "g"),
            _number(document["avg_rank"][index], ".4g"),
            _number(entropy, ".3f"),
        )
    return table


def _print_fourier(fourier: Mapping[str, Any], console: Console) -> None:
    if fourier["unknown"] is not None:
        console.print(Text(f"not measured: {fourier['unknown']}\n"), soft_wrap=True)
        return
    keys, n = fourier["keys"], {measure["set"]: measure["n"] for measure in fourier["measures"].values()}
    title = f"Fourier, by the key frequencies of the last state: {_listed(keys['frequencies']) or 'it has none'}"
    console.print(Text(title), soft_wrap=True)
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    for name in ("step", "energy", "train\nloss", "test\nloss", "restricted", "excluded"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("own keys", "embedding"):
        table.add_column(name, overflow="fold")
    states, last = fourier["states"], fourier["last"]
    if last["step"] not in [state["step"] for state in states]:
        states = [*states, last]
    for state in states:
        own, of_embedding = state["logit_keys"], state["embedding_keys"]
        table.add_row(
            f"{state['step']:,}",
            _number(state["key_energy"], ".3f"),
            *(_number(state[f"full_loss_{over}"], "#.3g") for over in ("train", "test")),
            *(_number(state[name], "#.3g") for name in ("restricted_loss_test", "excluded_loss_train")),
            Text(_listed(own) or "none"),
            Text("the same" if own and own == of_embedding else _listed(of_embedding) or "none"),
        )
    console.print(table)
    p = keys["modulus"]
    meaning = (
        f"energy: share of the logits' that the keys of step {keys['of_step']:,} hold; restricted: test loss with them "
        f"alone; excluded: train loss without them (nats; {n['train']:,} train, {n['test']:,} test of {n['all']:,} "
        f"pairs; guessing one of {p} costs {math.log(p):.3g})"
    )
    ids = dict.fromkeys(measure["definition"] for measure in fourier["measures"].values())
    console.print(Text(f"{meaning} [{', '.join(ids)}]"), soft_wrap=True)


def _listed(frequencies: Sequence[int]) -> str:
    return ", ".join(map(str, frequencies))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _spikes_text(found: Mapping[str, Any]) -> str:
    if found["settled"] is None:
        return f"none can be told, it never came down to {found['level']:.4g}"
    seen = (
        f"settled at or below {found['level']:.4g} from step {found['settled']:,}; above {found['trigger']:.4g} in "
        f"{found['evaluations_above']:,} of {found['evaluations']:,} evaluations"
    )
    if found["grid"] is not None:
        seen += f", {found['grid']:,.0f} steps apart, between which nothing was seen"
    listed = "; ".join(_spike_text(spike) for spike in found["spikes"][:_MOST_SPIKES])
    more = f"; and {found['count'] - _MOST_SPIKES:,} more" if found["count"] > _MOST_SPIKES else ""
    return f"{found['count']:,}{f' ({listed}{more})' if listed else ''}, {seen} [{found['definition']}]"


def _spike_text(spike: Mapping[str, Any]) -> str:
    back = "not back by the end" if spike["recovery"] is None else f"back after {spike['recovery']:,} steps"
    height = "infinite" if spike["height"] is None else format(spike["height"], ".3g")
    return f"{height} at step {spike['peak_step']:,}, {back}"


def _guessing_text(guessing: Mapping[str, Any]) -> str:
    low, high = guessing["lowest"], guessing["highest"]
    by_chance = low["n"] / low["classes"]
    text = f"chance gives {by_chance:.1f} of {low['n']:,} (1/{low['classes']})"
    for word, score in (("fewest", low), ("most", high)):
        text += f"; {word} {score['k']:,} (step {score['step']:,})"
        if score["k"] < by_chance:
            text += f", so few or fewer by guessing: probability {score['probability']:.2g}"
            if "adjusted" in score:
                text += f", {score['adjusted']:.2g} over all evaluations"
    return f"{text} [{guessing['definition']}]"
