"""Logs of other projects, written line by line -> the same `Record` as our runs, in two layouts.

    "peer-csv"   RUN/metrics.csv     step,train_loss,val_exact,val_token_acc,[grad_norm,]lr,elapsed_sec
                 RUN/summary.json    best_val_exact, best_step, train_steps, model_config, ...; may be absent
                 RUN/config.json     {"model": ..., "train": {"seed": ..., ...}}; may be absent
                 of several models   num_models and models[] in RUN/summary.json, RUN/model_000/metrics.csv, ...
    "llmc-log"   log.txt             s:0 tel:4.8520   the validation loss before the update of step 0
                                     s:0 trl:4.8517   the loss of the batch of step 0, before its update

Definition ids follow from the layout, because each layout has one writer. Two facts are not in these logs: without a
summary or configuration the seed is unknown, and the replica is called 0; and only the command line of llm.c shows
whether a loss is the mean over all positions or that of the answer alone (`-p 4`), so two such logs with one id may
differ in meaning.

A log that contradicts itself (columns of another layout, a cell that is not a number, steps that do not increase) is an
error with its line. NaN, infinities and empty cells become NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.record import Record, Series
from reprogrok.schema import Document, Steps, json_path, load, read_bytes

PEER_CSV, LLMC_LOG = "peer-csv", "llmc-log"
CSV, CONFIG = "metrics.csv", "config.json"

HEADERS = tuple(
    f"step,train_loss,val_exact,val_token_acc,{norm}lr,elapsed_sec".split(",") for norm in ("", "grad_norm,")
)
NAMES = {
    "train_loss": "train_loss",
    "val_exact": "test_exact_match",
    "val_token_acc": "test_token_accuracy",
    "grad_norm": "grad_norm",
    "lr": "learning_rate",
}
VALIDATION = 5_000  # pairs, unless the configuration says otherwise

# Definitions of the metrics in a metrics.csv, with the size of its validation set.
PEER_DEFINITIONS = {
    "train_loss": "ce/answer+eos/batch",  # the batch of that step, before its update
    "test_exact_match": "exact/answer/validation-{size}",  # after the update
    "test_token_accuracy": "token/generated/validation-{size}",  # after a wrong digit the model reads its own
    "grad_norm": "l2/before-clip",
    "learning_rate": "of-the-update",
}
LLMC_NAMES = {"tel": "test_loss", "trl": "train_loss"}
LLMC_DEFINITIONS = {
    "test_loss": "ce/llmc-first-blocks",  # the first block of the validation shard, or the mean of its first nine
    "train_loss": "ce/llmc-batch",  # the fixed block of rows that is the batch of that step
}

_STEP = re.compile(r"\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf)", re.ASCII)
# printf's %.4f: a number with fewer places was cut off.
_LLMC_LINE = re.compile(r"s:(\d{1,18}) (tel|trl):(-?(?:\d+\.\d{4}|nan|inf))", re.ASCII)


class ContradictedLogError(InputError):
    """A summary and a log of one run that cannot both be true."""


def holds_peer_run(path: Path) -> bool:
    """Return whether a folder is a run of the layout "peer-csv", whose summary has the same name as ours."""
    if any((path / name).is_file() for name in (record.SPEC, record.METRICS, record.FINGERPRINT)):
        return False
    if (path / CSV).is_file():
        return True
    if not (path / record.SUMMARY).is_file():
        return False
    summary = load(path / record.SUMMARY).data
    return isinstance(summary, dict) and "train_steps" in summary


def find_llmc_log(path: Path) -> Path | None:
    """Find the log of llm.c in a folder: a .txt or .log file that begins like one.

    Raises:
        InputError: there are several logs, each of which is a run of its own.
    """
    files = sorted(file for file in path.iterdir() if file.suffix in {".txt", ".log"} and file.is_file())
    logs = [file for file in files if _begins_like_a_log(file)]
    if len(logs) > 1:
        found = ", ".join(file.name for file in logs[:6])
        raise InputError("several logs of llm.c; name the file", path=path, expected="one log", found=found)
    return logs[0] if logs else None


def read_file(path: Path) -> Record:
    """Read a run from a metrics.csv, or from a log of llm.c under any name.

    Raises:
        InputError: the file cannot be read as either.
    """
    return read_peer_run(path.parent) if path.name == CSV else read_llmc_log(path)


def read_llmc_log(path: Path) -> Record:
    """Read a log of llm.c: `s:%d tel:%.4f` and `s:%d trl:%.4f`, each kind with steps of its own.

    The run is named after the file, or after its folder if the file is called log or main.

    Raises:
        InputError: a line that is neither, or a step that does not increase.
    """
    points: dict[str, dict[int, float]] = {kind: {} for kind in LLMC_NAMES}
    latest = 0
    for number, line in enumerate(_lines(path), 1):
        if (match := _LLMC_LINE.fullmatch(line)) is None:
            expected = "s:STEP tel:LOSS or s:STEP trl:LOSS with four decimal places"
            raise InputError("not a line of an llm.c log", path=path, line=number, expected=expected, found=_cut(line))
        step, kind, value = int(match[1]), match[2], _value(match[3])
        if step < latest or step in points[kind]:
            least = max(latest, next(reversed(points[kind]), -1) + 1)
            message = f"steps of {kind} must increase (a run that was resumed repeats some: keep one of its parts)"
            raise InputError(message, path=path, line=number, expected=f"at least {least}", found=str(step))
        latest = step
        points[kind][step] = value
    series = {name: _series(points[kind]) for kind, name in LLMC_NAMES.items() if points[kind]}
    if not series:
        raise InputError("no line of an llm.c log", path=path, expected="s:STEP tel:LOSS", found="an empty file")
    named = path.resolve()
    return Record(
        path=path,
        experiment=named.parent.name if named.stem in {"log", "main"} else named.stem,
        layout=LLMC_LOG,
        replicas={0: series},
        definitions={name: LLMC_DEFINITIONS[name] for name in series},
    )


def read_peer_run(path: Path) -> Record:
    """Read a folder with a metrics.csv, a summary.json, or both; several models become one replica each.

    Raises:
        ContradictedLogError: the summary and the csv contradict each other.
        InputError: a file is malformed.
    """
    summary = load(path / record.SUMMARY, "foreign_summary") if (path / record.SUMMARY).is_file() else None
    config = load(path / CONFIG, "foreign_train_config").data if (path / CONFIG).is_file() else {}
    size = config.get("train", {}).get("val_size", VALIDATION)
    if summary is not None and "num_models" in summary.data:
        replicas = _read_models(path, summary, size)
    else:
        said = {} if summary is None else summary.data
        seed = said.get("seed", config.get("train", {}).get("seed", 0))
        replicas = {seed: _read_model(path / CSV, summary, (), size)}
    names = dict.fromkeys(name for metrics in replicas.values() for name in metrics)
    return Record(
        path=path,
        experiment=path.resolve().name,
        layout=PEER_CSV,
        replicas=replicas,
        definitions={name: PEER_DEFINITIONS[name].format(size=size) for name in names},
        facts=_facts({} if summary is None else summary.data, config, size),
    )


def _read_models(path: Path, summary: Document, size: int) -> dict[int, dict[str, Series]]:
    """Read the metrics of every model of a vectorised run by seed; a model without a csv has no series."""
    models = summary.data["models"]
    if len(models) != (said := summary.data["num_models"]):
        raise summary.error(("models",), expected=f"{said} models, as num_models says", found=len(models))
    if (path / CSV).is_file():
        message = f"one log beside a summary of {said} models: it is unknown of which model"
        raise InputError(message, path=path / CSV, expected=f"model_000/{CSV} and so on")
    replicas: dict[int, dict[str, Series]] = {}
    for place, model in enumerate(models):
        index = model.get("model_index", place)
        if (seed := model.get("seed", index)) in replicas:
            raise summary.error(("models", place, "seed"), expected="a seed of its own", found=seed)
        replicas[seed] = _read_model(path / f"model_{index:03d}" / CSV, summary, ("models", place), size)
    return replicas


def _read_model(path: Path, summary: Document | None, place: Steps, size: int) -> dict[str, Series]:
    """Read the series of one model and compare them with the entry of the summary at `place`."""
    if not path.is_file():
        return {}
    metrics = _read_csv(path)
    if summary is not None:
        _check_best(path, metrics["test_exact_match"], summary, place, size)
    return metrics


def _read_csv(path: Path) -> dict[str, Series]:
    lines = _lines(path)
    header = lines[0].split(",") if lines else []
    if header not in HEADERS:
        expected = " or ".join(",".join(known) for known in HEADERS)
        raise InputError("other columns", path=path, line=1, expected=expected, found=_cut(",".join(header)))
    points: dict[str, dict[int, float]] = {name: {} for name in header[1:] if name in NAMES}
    latest = -1
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",")
        if len(cells) != len(header):
            found = f"{len(cells)}: {_cut(line)}"
            raise InputError("a row of another length", path=path, line=number, expected=f"{len(header)}", found=found)
        row = dict(zip(header, cells, strict=True))
        if not _STEP.fullmatch(row["step"]):
            raise InputError(path=path, line=number, expected="a whole number of steps", found=_cut(row["step"]))
        if (step := int(row["step"])) <= latest:
            expected = f"more than {latest}, the step before it"
            raise InputError("steps must increase", path=path, line=number, expected=expected, found=str(step))
        latest = step
        for name, column in points.items():
            if row[name] and not _NUMBER.fullmatch(row[name]):
                raise InputError(
                    path=path, line=number, field=name, expected="a number, nan or nothing", found=_cut(row[name])
                )
            column[step] = _value(row[name])
    return {NAMES[name]: _series(column) for name, column in points.items()}


def _check_best(path: Path, exact: Series, summary: Document, place: Steps, size: int) -> None:
    """Refuse a summary whose best score contradicts the log: it must be the first to reach the highest of k/size.

    Scores are counts, so two of them differ if they are at least half an example apart. A log that ends before the best
    step, or has a hole there, contradicts nothing.
    """
    entry = summary.at(place)
    best, best_step = entry["best_val_exact"], entry["best_step"]
    tests: tuple[tuple[str, Callable[[int, float], bool]], ...] = (
        ("which is higher", lambda _, gap: gap >= 0.5),
        ("the step of the best", lambda step, gap: step == best_step and abs(gap) >= 0.5),
        ("so it was reached before", lambda step, gap: step < best_step and abs(gap) < 0.5),
    )
    for step, value in zip(exact.steps, exact.values, strict=True):
        for message, contradicts in tests:
            if contradicts(step, (value - best) * size):
                raise ContradictedLogError(
                    f"contradicts the log: {path.name} has {value} at step {step}, {message}",
                    path=summary.path, field=json_path((*place, "best_val_exact")),
                    found=f"{best} first at step {best_step}",
                )  # fmt: skip


def _facts(summary: Mapping[str, Any], config: Mapping[str, Any], size: int) -> dict[str, int]:
    model = config.get("model", {}) | summary.get("model_config", {})
    known = {
        "positions": model.get("max_seq_len"),
        "width": model.get("d_model"),
        "test_examples": size,
        "steps": summary.get("train_steps", config.get("train", {}).get("train_steps")),
    }
    return {name: value for name, value in known.items() if value is not None}


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file; the last line break is optional."""
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", path=path) from error
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def _begins_like_a_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return re.match(rb"s:\d+ (tel|trl):", file.read(64)) is not None
    except OSError:
        return False


def _value(text: str) -> float:
    value = float(text or "nan")
    return value if math.isfinite(value) else math.nan


def _series(points: Mapping[int, float]) -> Series:
    return Series(tuple(points), tuple(points.values()))


def _cut(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "..."
