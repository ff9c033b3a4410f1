"""Records of runs -> learning curves: a CSV that DVC can plot, and a picture of every seed."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from reprogrok.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from reprogrok.record import Record, Series

PLOTTED = {
    "test_exact_match": "exact match on held-out pairs",
    "train_exact_match": "exact match on the training batch",
    "train_loss": "loss on the training batch (nats)",
}


def write_csv(record: Record, path: Path) -> None:
    """One row per step: lowest, median and highest value over the seeds, of each plotted metric."""
    text = io.StringIO()
    names = [f"{metric}_{which}" for metric in PLOTTED for which in ("lowest", "median", "highest")]
    writer = csv.DictWriter(text, ["step", *names], lineterminator="\n")
    writer.writeheader()
    for step in sorted({step for replica in record.replicas.values() for s in replica.values() for step in s.steps}):
        row: dict[str, float] = {"step": step}
        for metric in PLOTTED:
            values = [v for replica in record.replicas.values() if (v := _at(replica.get(metric), step)) is not None]
            if values:
                spread = {"lowest": min(values), "median": median(values), "highest": max(values)}
                row |= {f"{metric}_{which}": value for which, value in spread.items()}
        writer.writerow(row)
    write_bytes(path, text.getvalue().encode())


def write_picture(record: Record, path: Path) -> None:
    """A PNG with one panel per plotted metric and one line per seed."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(len(PLOTTED), 1, sharex=True)
    seeds = list(record.replicas)
    # Ten colours that are told apart by eye; beyond that only the spread of the lines can be seen anyway.
    colours = colormaps["tab10"] if len(seeds) <= 10 else colormaps["viridis"].resampled(len(seeds))
    for axes, (metric, title) in zip(panels, PLOTTED.items(), strict=True):
        for index, seed in enumerate(seeds):
            if (series := record.replicas[seed].get(metric)) is not None:
                axes.plot(series.steps, series.values, color=colours(index), linewidth=1.2, label=f"seed {seed}")
        _decorate(axes, metric, title)
    panels[-1].set_xlabel("step (optimiser updates)")
    figure.suptitle(f"{record.experiment}: {len(seeds)} seed{'s' if len(seeds) != 1 else ''}")
    if len(seeds) <= 10:
        panels[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
    buffer = io.BytesIO()
    # Without the software's version in it, an equal run gives an equal file.
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _decorate(axes: Axes, metric: str, title: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if metric.endswith("loss"):
        axes.set_yscale("log")
    else:
        axes.set_ylim(-0.03, 1.03)


def _at(series: Series | None, step: int) -> float | None:
    """The value at a step, or None where none was measured."""
    if series is None or step not in series.steps:
        return None
    value = series.values[series.steps.index(step)]
    return None if math.isnan(value) else value
