"""Records of runs -> the panels and lines of a picture, and the same curves as a CSV for DVC.

    records --choose_metrics--> names --panels_of--> panels, which runs.pictures draws
               names --one_definition_each--> names --write_csv--> lowest, median, highest and number of seeds, per step

Nothing is smoothed: a line goes through every measured value, and a value that is not finite leaves a gap. A metric of
several definitions gets one panel per definition.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from reprogrok.errors import InputError
from reprogrok.files import write_bytes
from reprogrok.metrics.grokking import StepInterval, first_above
from reprogrok.metrics.registry import BUILT_IN, GENERALISATION, Scale, Use, used_in
from reprogrok.record import Record, Series

CURVES = used_in(Use.CURVES)
GROK_LEVEL = 0.9
_SIDES = ("test_", "train_")
_SPREAD = ("lowest", "median", "highest")
MOST_PAIRED = 4  # runs of one seed each whose training and held-out curves are distinguishable on one pair of axes


@dataclass(frozen=True)
class Line:
    """One metric of one run (`run` is the run's index); `dashed` for training on the axes of held-out curves."""

    run: int
    metric: str
    dashed: bool


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its title, the definitions of its metrics, and its lines."""

    title: str
    definitions: tuple[str, ...]
    scale: Scale
    lines: tuple[Line, ...]

    @property
    def paired(self) -> bool:
        """Whether training and held-out curves share these axes."""
        return len({line.dashed for line in self.lines}) > 1


def choose_metrics(records: Sequence[Record], asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the requested metrics, or else those of `CURVES` that some run has.

    Raises:
        InputError: no run has a requested metric, or none has anything to draw.
    """
    known = dict.fromkeys(name for record in records for name in measured(record))
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            expected = f"one of {', '.join(known) or '(nothing was measured)'}"
            raise InputError("no run has this metric", field="--metric", expected=expected, found=name + hint)
    chosen = tuple(dict.fromkeys(asked)) or tuple(name for name in CURVES if name in known)
    if not chosen:
        names = f"one of {', '.join(CURVES)}, or --metric NAME for another"
        raise InputError("nothing to draw in this run", path=records[0].path, expected=names, found=", ".join(known))
    return chosen


def measured(record: Record) -> dict[str, None]:
    """Return the names of the metrics that any seed of a run has, in their order."""
    return dict.fromkeys(name for replica in record.replicas.values() for name in replica)


def panels_of(records: Sequence[Record], metrics: Sequence[str]) -> list[Panel]:
    """Assign metrics to panels.

    Training and held-out values of one quantity share axes while every run has one seed and there are at most
    `MOST_PAIRED` runs; beyond that each metric has its own. A metric of another definition opens new axes.
    """
    paired = len(records) <= MOST_PAIRED and all(len(record.replicas) == 1 for record in records)
    groups: dict[str, list[str]] = {}
    for metric in metrics:
        groups.setdefault(quantity_of(metric) if paired else metric, []).append(metric)
    return [panel for names in groups.values() for panel in _split_by_definition(records, names)]


def _split_by_definition(records: Sequence[Record], metrics: Sequence[str]) -> Iterable[Panel]:
    found: list[tuple[dict[str, str], list[Line]]] = []
    both = len(metrics) > 1
    for index, record in enumerate(records):
        ids = {name: record.definitions.get(name, "no definition") for name in metrics if name in measured(record)}
        if not ids:
            continue
        fits = (panel for panel in found if all(panel[0].get(name, id_) == id_ for name, id_ in ids.items()))
        known, lines = next(fits, ({}, []))
        if not lines:
            found.append((known, lines))
        known |= ids
        lines += [Line(index, name, dashed=both and name.startswith("train_")) for name in ids]
    for known, lines in found:
        scale = BUILT_IN[metrics[0]].quantity.scale if metrics[0] in BUILT_IN else Scale.FREE
        yield Panel(title=_title(list(known)), definitions=_ids(known), scale=scale, lines=tuple(lines))


def _ids(known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the definition ids, each with its metric if there are several."""
    different = tuple(dict.fromkeys(known.values()))
    return different if len(different) == 1 else tuple(f"{metric}: {id_}" for metric, id_ in known.items())


def quantity_of(metric: str) -> str:
    """Return the quantity that a metric measures on its side: `exact match` for test_exact_match."""
    return next((metric.removeprefix(side) for side in _SIDES if metric.startswith(side)), metric).replace("_", " ")


def _title(metrics: Sequence[str]) -> str:
    first = metrics[0]
    if len(metrics) == 1:
        return BUILT_IN[first].heading if first in BUILT_IN else first.replace("_", " ")
    quantity = quantity_of(first)
    return f"{quantity}{' (nats)' * (quantity == 'loss')}: held-out solid, training dashed"


def write_csv(records: Mapping[str, Record], metrics: Sequence[str], path: Path) -> None:
    """Write one row per step (and run): lowest, median and highest over the seeds measured there, and their number.

    Args:
        records: label -> record; with more than one, the first column is `run`.
        metrics: the columns, each as NAME_lowest, NAME_median, NAME_highest, and at the end of the row NAME_seeds.
        path: the file to write.

    Raises:
        InputError: two runs define a metric differently.
    """
    for metric, found in one_definition_each(records, metrics)[1].items():
        expected = "one definition per column; --metric NAME to choose others, or a CSV per run"
        raise InputError(f"{metric} does not mean the same in these runs", expected=expected, found=found)
    text = io.StringIO()
    columns = [f"{metric}_{which}" for metric in metrics for which in _SPREAD]
    counts = [f"{metric}_seeds" for metric in metrics]
    several = ["run"] if len(records) > 1 else []
    writer = csv.DictWriter(text, [*several, "step", *columns, *counts], lineterminator="\n")
    writer.writeheader()
    for label, record in records.items():
        for step, values_at in sorted(_by_step(record, metrics).items()):
            row: dict[str, str | float] = ({"run": label} if several else {}) | {"step": step}
            for metric in metrics:
                values = values_at.get(metric, [])
                row[f"{metric}_seeds"] = len(values)
                if values:
                    spread = (min(values), median(values), max(values))
                    row |= {f"{metric}_{which}": value for which, value in zip(_SPREAD, spread, strict=True)}
            writer.writerow(row)
    write_bytes(path, text.getvalue().encode())


def one_definition_each(
    records: Mapping[str, Record], metrics: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the metrics with one definition in all runs (label -> record) that have them, and the others -> their ids.

    Worked value: train_loss "ce/a" in run x and "ce/b" in run y gives {"train_loss": "ce/a in x, ce/b in y"}.
    """
    found = {metric: _definitions_of(records, metric) for metric in metrics}
    others = {
        metric: ", ".join(f"{id_} in {label}" for label, id_ in having.items())
        for metric, having in found.items()
        if len(set(having.values())) > 1
    }
    return tuple(metric for metric in metrics if metric not in others), others


def _definitions_of(records: Mapping[str, Record], metric: str) -> dict[str, str]:
    return {
        label: record.definitions.get(metric, "no definition")
        for label, record in records.items()
        if metric in measured(record)
    }


def _by_step(record: Record, metrics: Sequence[str]) -> dict[int, dict[str, list[float]]]:
    """Return step -> metric -> finite values of the seeds; a step without finite values keeps its row."""
    found: dict[int, dict[str, list[float]]] = {}
    for replica in record.replicas.values():
        for metric in metrics:
            if (series := replica.get(metric)) is None:
                continue
            for step, value in zip(series.steps, series.values, strict=True):
                at = found.setdefault(step, {}).setdefault(metric, [])
                if math.isfinite(value):
                    at.append(value)
    return found


def grok_step(replica: Mapping[str, Series]) -> int | None:
    """Return the first evaluation of a replica at or above `GROK_LEVEL` of held-out examples; None without one."""
    series = next((replica[name] for name in GENERALISATION if name in replica), None)
    time = first_above(series, GROK_LEVEL)
    return time.by if isinstance(time, StepInterval) else None


def median_line(series: Sequence[Series]) -> Series:
    """Return the median over the seeds with a finite value at each step.

    Worked value: (0, 1, 5) at one step gives 1; (0, NaN) gives 0.
    """
    values: dict[int, list[float]] = {}
    for one in series:
        for step, value in zip(one.steps, one.values, strict=True):
            if math.isfinite(value):
                values.setdefault(step, []).append(value)
    steps = sorted(values)
    return Series(tuple(steps), tuple(median(values[step]) for step in steps))
