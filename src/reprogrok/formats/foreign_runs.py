"""Run folders of other projects -> the same `Record` as our runs, so that the same gates judge both.

    RUN/config.json            the configuration            -> seed, and the facts that bound the metrics
    RUN/logs/metrics.json      {"step": [...], "train_loss": [...], "test_loss": [...], "test_accuracy": [...], ...}
    RUN/logs/analysis.json     {"step": [...], "representation_rank": [[one per layer], ...],
                                "attention_entropy": [[[one per head], one list per layer], ...]}

This is the layout of the modular-addition runs v1, v2a, v2b and v2, called "columns" here. A file that contradicts
itself (columns of different length, a cell that is not a number, steps that do not increase, ragged lists) is an error
with its place. Missing data (a column, the whole analysis, a NaN cell) stays missing in the record. Definition ids
follow from the layout, because it has one writer; facts that the configuration does not determine are left out.

`read_run` also reads our own runs (`record`) and logs written line by line (`foreign_logs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.errors import RecordError
from reprogrok.formats import foreign_logs
from reprogrok.record import Record, Series
from reprogrok.schema import Document, Steps, load

COLUMNS = "columns"
CONFIG, LOGS, ANALYSIS = "config.json", Path("logs") / "metrics.json", Path("logs") / "analysis.json"

# Definitions of the metrics in this layout.
DEFINITIONS = {
    "train_loss": "ce/minibatch-dropout",  # the minibatch of that step, with dropout, all 8 positions
    "test_loss": "ce/mean-of-batch-means",  # all 8 positions; the last, smaller batch has the same weight
    "test_accuracy": "argmax/answer",  # the whole test set, argmax at the position that predicts c
    "final_layer_rank": "pca99/blockin",  # the input of the last block, first 10 test batches
    "attention_entropy": "attn/all-queries",  # mean over batch, queries, heads and layers, in nats
}

# `bos a + b mod 97 = c`: text9 reads 8 tokens, whatever `max_seq_len` allows, from a vocabulary of p + 7.
TEXT9_POSITIONS = 8
TEXT9_EXTRA_TOKENS = 7

RESULT_RANGE_RULE = "(a+b)%p < p/2 (train) vs >= p/2 (test)"


def read_run(path: Path) -> Record:
    """Read a run from its folder or log file, ours or of another project; the files in it determine the layout.

    Raises:
        InputError: the folder is missing, has no known layout, holds an unfinished run, or a file is malformed.
    """
    if path.is_file():
        return foreign_logs.read_file(path)
    if not path.is_dir():
        raise RecordError("no such folder", path=path, expected="the folder of a run")
    if foreign_logs.holds_peer_run(path):
        return foreign_logs.read_peer_run(path)
    if (path / record.SUMMARY).is_file():
        return record.read(path)
    if (path / CONFIG).is_file() and (path / LOGS).parent.is_dir():
        return read_columns(path)
    if (path / record.SPEC).is_file() or (path / record.METRICS).is_file():
        message = f"a run that is still in progress or was interrupted: it has no {record.SUMMARY}"
        raise RecordError(message, path=path, expected="a finished run; train it to its end first")
    if (log := foreign_logs.find_llmc_log(path)) is not None:
        return foreign_logs.read_llmc_log(log)
    ours = f"{record.SUMMARY}, {record.SPEC} and {record.METRICS} (a run of ours)"
    theirs = f"{CONFIG} and {LOGS}, {foreign_logs.CSV} or a log of llm.c (a run of another project)"
    inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "an empty folder"
    raise RecordError("no run here", path=path, expected=f"{ours} or {theirs}", found=inside)


def read_columns(path: Path) -> Record:
    """Read a run in the layout of columns.

    Raises:
        InputError: a file is missing or malformed; `logs/analysis.json` may be absent.
    """
    config = load(path / CONFIG, "foreign_config").data
    model: Mapping[str, int] = config.get("model", {})
    metrics = _scalar_series(load(path / LOGS))
    if (path / ANALYSIS).exists():
        metrics |= _analysis_series(load(path / ANALYSIS), model)
    return Record(
        path=path,
        experiment=path.resolve().name,
        layout=COLUMNS,
        replicas={int(config["data"]["seed"]): metrics},
        definitions={name: DEFINITIONS[name] for name in metrics},
        facts=_facts(config),
    )


def count_test_examples(data: Mapping[str, Any], split_rule: str | None) -> int | None:
    """Return the size of the test set that a configuration implies, or None if it does not determine it.

    With p = 97: the result-range rule leaves 49 answers of 97 pairs each, 4,753; a random split of 0.8 leaves
    9,409 - 7,527 = 1,882. Under a rule `train_split` is ignored.
    """
    modulus, fraction = data.get("modulus_p"), data.get("train_split")
    if modulus is None:
        return None
    modulus = int(modulus)
    if split_rule is not None:
        return (modulus - modulus // 2) * modulus if split_rule == RESULT_RANGE_RULE else None
    return None if fraction is None else modulus**2 - int(modulus**2 * fraction)


def _facts(config: Mapping[str, Any]) -> dict[str, int]:
    data, model = config["data"], config.get("model", {})
    # Only the vocabulary shows that the token format is text9.
    text9 = "modulus_p" in data and model.get("vocab_size") == data["modulus_p"] + TEXT9_EXTRA_TOKENS
    known = {
        "positions": TEXT9_POSITIONS if text9 and model.get("max_seq_len", 0) >= TEXT9_POSITIONS else None,
        "width": model.get("d_model"),
        "test_examples": count_test_examples(data, config.get("split_rule")),
        "steps": config.get("training", {}).get("num_steps"),
    }
    return {name: int(value) for name, value in known.items() if value is not None}


def _scalar_series(document: Document) -> dict[str, Series]:
    steps = _steps(document)
    return {
        name: Series(steps, tuple(_number(document, (name, i), cell) for i, cell in enumerate(cells)))
        for name in ("train_loss", "test_loss", "test_accuracy")
        if (cells := _column(document, name, len(steps))) is not None
    }


def _analysis_series(document: Document, model: Mapping[str, int]) -> dict[str, Series]:
    steps = _steps(document)
    series = {}
    if (ranks := _column(document, "representation_rank", len(steps))) is not None:
        shape = (model.get("n_layers"),)
        rows = _rows(document, "representation_rank", ranks, shape)
        series["final_layer_rank"] = Series(steps, tuple(row[-1] for row in rows))
    if (entropies := _column(document, "attention_entropy", len(steps))) is not None:
        shape_LH = (model.get("n_layers"), model.get("n_heads"))
        rows = _rows(document, "attention_entropy", entropies, shape_LH)
        # fsum: the mean does not depend on the order of layers and heads.
        series["attention_entropy"] = Series(steps, tuple(math.fsum(row) / len(row) for row in rows))
    return series


def _steps(document: Document) -> tuple[int, ...]:
    """Read the column of steps, without which no other column can be read."""
    if not isinstance(document.data, dict):
        raise document.error((), expected="an object of columns", found=document.data)
    steps = document.data.get("step")
    if not isinstance(steps, list):
        raise document.error(("step",), "no column of steps", expected="a list", found=steps)
    for index, step in enumerate(steps):
        if type(step) is not int or step < 0:
            raise document.error(("step", index), expected="a whole number of steps", found=step)
        if index and step <= steps[index - 1]:
            expected = f"more than {steps[index - 1]}, the step before it"
            raise document.error(("step", index), "steps must increase", expected=expected, found=step)
    return tuple(steps)


def _column(document: Document, name: str, length: int) -> list[object] | None:
    if name not in document.data:
        return None
    cells = document.data[name]
    if not isinstance(cells, list):
        raise document.error((name,), "not a column", expected="a list", found=cells)
    if len(cells) != length:
        message = "columns of unequal length"
        raise document.error((name,), message, expected=f"{length} values, one per step", found=len(cells))
    return cells


def _number(document: Document, at: Steps, cell: object) -> float:
    """Return a cell as a float; null, NaN and infinities become NaN."""
    if cell is None:
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise document.error(at, expected="a number or null", found=cell)
    try:
        value = float(cell)
    except OverflowError:
        value = math.inf
    return value if math.isfinite(value) else math.nan


def _rows(
    document: Document, name: str, cells: Sequence[object], shape: tuple[int | None, ...]
) -> list[tuple[float, ...]]:
    """Flatten cells that are nested lists of one shape into rows of numbers.

    Numbers of layers or heads that the configuration does not give are taken from the first row. A cell that is null
    was not measured: its row is a single NaN.
    """
    lengths = list(shape)
    return [
        (math.nan,) if _is_hole(cell) else tuple(_flatten(document, (name, index), cell, lengths))
        for index, cell in enumerate(cells)
    ]


def _is_hole(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _flatten(document: Document, at: Steps, cell: object, lengths: list[int | None], depth: int = 0) -> list[float]:
    """Flatten a nested list; `lengths` holds the expected length at each depth, and unknown ones are filled in."""
    if depth == len(lengths):
        return [_number(document, at, cell)]
    names = ("layers", "heads")[depth]
    if not isinstance(cell, list) or not cell:
        raise document.error(at, expected=f"a list of {names}", found=cell)
    if lengths[depth] is None:
        lengths[depth] = len(cell)
    if len(cell) != lengths[depth]:
        message = "ragged, or not of the model in the configuration"
        raise document.error(at, message, expected=f"{lengths[depth]} {names}", found=len(cell))
    return [value for i, item in enumerate(cell) for value in _flatten(document, (*at, i), item, lengths, depth + 1)]
