"""Panels of curves -> a PNG or SVG, the same bytes every time.

    records --curves.panels_of--> panels --draw--> figure --write_picture--> FILE.png | FILE.svg

All panels share one step axis. Several runs have one colour each, with their seeds as thin lines under a thick median;
one run has one colour per seed while the palette suffices. A vertical line marks the grok step, which the legend
defines. An axis of logarithmic steps is linear from step 0 to the first evaluation after it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from reprogrok.files import write_bytes
from reprogrok.metrics.registry import GENERALISATION, Scale
from reprogrok.record import Record, Series
from reprogrok.runs.curves import GROK_LEVEL, Panel, grok_step, median_line, panels_of, quantity_of
from reprogrok.text import counted

# Okabe and Ito's palette for every kind of colour vision, without its yellow, which is faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#666666"
_FEW = 8  # on an axis that spans a smaller factor, powers of ten alone may leave one label or none


@dataclass(frozen=True)
class Brush:
    """The colours of one run: one per seed, one for the run, and whether a median is drawn on top."""

    colours: Mapping[int, str]
    colour: str
    with_median: bool


def write_picture(
    records: Mapping[str, Record], metrics: Sequence[str], path: Path, *, kind: str, log_steps: bool = False
) -> None:
    """Draw runs (label -> record) into a file of kind "png" or "svg"."""
    buffer = io.BytesIO()
    # Equal runs give equal files: no date, version of the software, random salt or user's style.
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with style.context(["default", {"svg.hashsalt": "reprogrok"}]):
        figure = draw(records, metrics, log_steps=log_steps)
        figure.savefig(buffer, format=kind, dpi=120, metadata=metadata)
    write_bytes(path, buffer.getvalue())


def draw(records: Mapping[str, Record], metrics: Sequence[str], *, log_steps: bool = False) -> Figure:
    """Draw the panels below each other, with one step axis, the grok steps, and a legend."""
    runs = list(records.values())
    brushes = _brushes(runs)
    panels = panels_of(runs, metrics)
    figure = Figure(figsize=(10, 0.9 + 2.35 * len(panels)))
    figure.set_layout_engine("constrained", h_pad=0.08)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        _draw_panel(axes, panel, runs, brushes)
        for record, brush in zip(runs, brushes, strict=True):
            for step, colour in _marks(record, brush):
                axes.axvline(step, color=colour, linestyle=(0, (1, 2)), linewidth=1.4, zorder=1)
    _lay_out_steps(rows[-1], runs, panels, log_steps=log_steps)
    if len(runs) == 1:  # the legend names several
        figure.suptitle(f"{next(iter(records))}: {counted(len(runs[0].replicas), 'seed')}")
    handles = _legend(records, brushes)
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def _brushes(runs: Sequence[Record]) -> list[Brush]:
    if len(runs) == 1 and len(runs[0].replicas) <= len(PALETTE):
        return [Brush(dict(zip(runs[0].replicas, PALETTE, strict=False)), PALETTE[0], with_median=False)]
    colours: Sequence[str] = PALETTE
    if len(runs) > len(PALETTE):
        shades = mpl.colormaps["viridis"].resampled(len(runs))
        colours = [mpl.colors.to_hex(shades(index)) for index in range(len(runs))]
    return [
        Brush(dict.fromkeys(record.replicas, colour), colour, with_median=len(record.replicas) > 1)
        for record, colour in zip(runs, colours, strict=False)
    ]


def _draw_panel(axes: Axes, panel: Panel, runs: Sequence[Record], brushes: Sequence[Brush]) -> None:
    for line in panel.lines:
        record, brush = runs[line.run], brushes[line.run]
        style = (0, (3, 1.5)) if line.dashed else "solid"
        drawn = {seed: replica[line.metric] for seed, replica in record.replicas.items() if line.metric in replica}
        for seed, series in drawn.items():
            width, alpha = (0.7, 0.45) if brush.with_median else (1.0, 0.75) if line.dashed else (1.3, 1.0)
            axes.plot(
                series.steps, series.values, color=brush.colours[seed], linewidth=width, alpha=alpha, linestyle=style,
                zorder=2,
            )  # fmt: skip
            if seed in record.diverged:
                _mark_end(axes, series, brush.colours[seed])
        if brush.with_median:
            middle = median_line(list(drawn.values()))
            axes.plot(middle.steps, middle.values, color=brush.colour, linewidth=2.2, linestyle=style, zorder=3)
    axes.set_title(panel.title, loc="left", fontsize="medium")
    axes.set_title("    ".join(panel.definitions), loc="right", fontsize="x-small", color=_GREY)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.scale is Scale.FRACTION:
        axes.set_ylim(-0.03, 1.03)
    elif panel.scale is Scale.LOSS:
        _lay_out_losses(axes)
    elif panel.scale is Scale.AMOUNT:
        axes.set_ylim(bottom=0)


def _lay_out_losses(axes: Axes) -> None:
    """Make the axis logarithmic with plain numbers, also between powers of ten where there are few."""
    axes.set_yscale("log")
    plain = FuncFormatter(lambda loss, _: f"{loss:g}")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if high < _FEW * low else NullFormatter())


def _mark_end(axes: Axes, series: Series, colour: str) -> None:
    """Draw a cross at the last finite value of a diverged seed."""
    finite = [(s, v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)]
    if finite:
        axes.plot(*finite[-1], color=colour, marker="x", markersize=6, markeredgewidth=1.5, zorder=4)


def _marks(record: Record, brush: Brush) -> list[tuple[float, str]]:
    """Return the grok steps to mark: of every seed with a colour of its own, else of the run."""
    if brush.with_median:
        step = _median_step(record)
        return [] if math.isinf(step) else [(step, brush.colour)]
    return [(s, brush.colours[seed]) for seed, s in grok_steps(record).items() if math.isfinite(s)]


def grok_steps(record: Record) -> dict[int, float]:
    """Return seed -> first evaluation at or above 90 % of held-out examples; infinite if there is none."""
    found = {seed: grok_step(replica) for seed, replica in record.replicas.items()}
    return {seed: math.inf if step is None else float(step) for seed, step in found.items()}


def _median_step(record: Record) -> float:
    return median(grok_steps(record).values())


def _lay_out_steps(axes: Axes, runs: Sequence[Record], panels: Sequence[Panel], *, log_steps: bool) -> None:
    label = "step (optimiser updates)"
    if log_steps:
        steps = {
            step
            for panel in panels
            for line in panel.lines
            for replica in runs[line.run].replicas.values()
            if line.metric in replica
            for step in replica[line.metric].steps
        }
        first = min((step for step in steps if step > 0), default=1)
        if min(steps, default=0) > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=first, linscale=0.4)
            label = f"{label}; logarithmic, but linear from 0 to {first:,}"
            powers = (10**power for power in range(12))
            axes.set_xticks([0, *(step for step in powers if first <= step <= 1.01 * max(steps))])
            axes.set_xticks([], minor=True)
        axes.set_xlim(min(steps, default=0), None)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel(label)


def _legend(records: Mapping[str, Record], brushes: Sequence[Brush]) -> list[Line2D]:
    handles = []
    for (label, record), brush in zip(records.items(), brushes, strict=True):
        if len(records) == 1 and not brush.with_median:
            steps = grok_steps(record)
            for seed, colour in brush.colours.items():
                handles.append(Line2D([], [], color=colour, label=f"seed {seed}{_when(steps[seed])}"))
        else:
            handles.append(Line2D([], [], color=brush.colour, linewidth=2, label=_run_text(label, record, brush)))
    if any(brush.with_median for brush in brushes):
        handles.append(Line2D([], [], color=_GREY, linewidth=2.2, label="median of the seeds measured at a step"))
        handles.append(Line2D([], [], color=_GREY, linewidth=0.7, label="one seed"))
    measured = {name for record in records.values() for replica in record.replicas.values() for name in replica}
    if (marked := next((name for name in GENERALISATION if name in measured), None)) is not None:
        words = f"first evaluation with held-out {quantity_of(marked)} of at least {GROK_LEVEL:.0%}".replace("%", " %")
        handles.append(Line2D([], [], color=_GREY, linestyle=(0, (1, 2)), linewidth=1.4, label=words))
    if any(record.diverged for record in records.values()):
        handles.append(Line2D([], [], color=_GREY, linestyle="none", marker="x", label="diverged"))
    return handles


def _run_text(label: str, record: Record, brush: Brush) -> str:
    steps = list(grok_steps(record).values())
    if not brush.with_median:
        return f"{label}{_when(steps[0])}"
    reached = sum(map(math.isfinite, steps))
    when = _median_step(record)
    middle = f", median {when:,.0f}" if math.isfinite(when) else ""
    return f"{label}: {reached} of {counted(len(steps), 'seed')} at 90 %{middle}"


def _when(step: float) -> str:
    level = f"{GROK_LEVEL:.0%}".replace("%", " %")
    return f": {level} at {step:,.0f}" if math.isfinite(step) else f": never {level}"
