"""A recorded log -> what in it does not fit: shares, steps, bounds, repeats, rates and times, each column by itself.

    files --steps in order?--> Record (formats.foreign_runs) --columns and facts--> findings, and what was looked at

Steps are looked at before anything is read, because a log whose steps go back has no reading. What is honest and
common is not found: accuracies repeat because they are k/n, a loss at a floor prints the same four digits for ever, two
float32 losses of two thousand fall together by the birthday paradox, and a model that no longer changes repeats every
number that is measured on it. So repeats are counted against what their own density lets expect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.forensics.findings import (
    CheckedNumbers,
    Examination,
    Finding,
    Flaw,
    Grade,
    Printed,
    grim_finding,
    printed,
    share_silent,
)
from reprogrok.forensics.repeats import FULL, decimals, equal_columns, equal_seeds, frozen, is_full, repeats
from reprogrok.formats.foreign_logs import PEER_CSV, ContradictedLogError
from reprogrok.formats.foreign_runs import ANALYSIS, COLUMNS, CONFIG, LOGS, count_test_examples, read_run
from reprogrok.metrics.bounds import ROUNDING
from reprogrok.metrics.grokking import MAX_RISE5, MaxRise, StepInterval, first_above, max_rise5, measured, right_answers
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.record import SUMMARY, Record, Series
from reprogrok.schema import load, read_bytes

GROK_LEVELS = (0.8, 0.9)  # the two that published grok steps go by
MOVES = 1.5  # a grok step that the choice of estimator moves by this factor is none


def examine_log(path: Path) -> Examination:
    """Look at a run's folder or log, ours or of another project.

    Raises:
        InputError: it cannot be read, for another reason than one that is a finding.
    """
    if out_of_order := tuple(_out_of_order(path)):
        note = "its steps have to be in order before the rest can be looked at"
        return Examination(str(path), out_of_order, (CheckedNumbers("everything else", 0, 0, note),))
    try:
        record = read_run(path)
    except ContradictedLogError as error:
        return Examination(str(path), (_two_accounts(error),), ())
    findings: list[Finding] = []
    checks: list[CheckedNumbers] = []
    config = load(path / CONFIG).data if record.layout == COLUMNS else {}
    findings += _left_over(path, config, record)
    findings += _rates(path, config)
    sizes = {name: n for name in record.definitions if (n := _examples(record, name)) is not None}
    batch = config.get("training", {}).get("batch_size")
    for seed, metrics in record.replicas.items():
        for name, series in metrics.items():
            where = f"seed {seed}, {name}"
            if name in sizes:
                found, check = _shares(series, sizes[name], where)
                findings += found
                checks.append(check)
            findings += _bounds(record, name, series, where, batch if type(batch) is int and batch > 0 else None)
            if "loss" in name and is_full(series):
                findings += repeats(series, where)
                findings += frozen(name, metrics, record.definitions, where)
        findings += equal_columns(metrics, f"seed {seed}")
        findings += _grok_steps(metrics, seed)
    findings += equal_seeds(record)
    points = sum(len(series.steps) for metrics in record.replicas.values() for series in metrics.values())
    checks.append(CheckedNumbers("bounds, repeats, steps", points, 0, "every value of every column"))
    findings += _best(path, record)
    if not sizes:
        checks.insert(0, CheckedNumbers("k of n", 0, 0, "no share whose n the log states"))
    return Examination(str(path), tuple(findings), _summed(checks))


def _summed(checks: Sequence[CheckedNumbers]) -> tuple[CheckedNumbers, ...]:
    """Checks of one name and note, over all seeds and columns."""
    kinds = dict.fromkeys((check.name, check.note) for check in checks)
    return tuple(
        CheckedNumbers(
            name,
            sum(check.looked_at for check in checks if (check.name, check.note) == (name, note)),
            sum(check.silent for check in checks if (check.name, check.note) == (name, note)),
            note,
        )
        for name, note in kinds
    )


def _two_accounts(error: InputError) -> Finding:
    said = "another log, or a summary of an earlier or later run in the same folder, explains it as well"
    return Finding(
        Flaw.TWO_STATEMENTS, f"{error.path} {error.field}", str(error.found), error.message, Grade.CERTAIN, said
    )


def _out_of_order(path: Path) -> Iterator[Finding]:
    """Steps that repeat or go back, in every file that lists them."""
    for file, steps in _listed_steps(path):
        for (place, before), (_, step) in pairwise(steps):
            if step <= before:
                arithmetic = f"{step:,} follows {before:,}" + (" again" if step == before else "")
                said = "a run that was resumed, or two runs in one file, writes such a log honestly"
                yield Finding(Flaw.STEPS, f"{file} after {place}", f"{step:,}", arithmetic, Grade.CERTAIN, said)
                break  # the first of a list; what was resumed goes back once and repeats hundreds


def _listed_steps(path: Path) -> Iterator[tuple[Path, list[tuple[str, int]]]]:
    for file in filter(Path.is_file, (path / LOGS, path / ANALYSIS)):
        data = load(file).data
        steps = data.get("step") if isinstance(data, dict) else None
        if isinstance(steps, list) and all(type(step) is int for step in steps):
            yield file, [(f"entry {number}", step) for number, step in enumerate(steps)]
    tables = [path] if path.suffix == ".csv" else sorted([*path.glob("metrics.csv"), *path.glob("model_*/metrics.csv")])
    for file in tables:
        rows = read_bytes(file).decode("utf-8", "replace").splitlines()
        cells = [(f"line {number}", row.split(",")[0]) for number, row in enumerate(rows[1:], 2)]
        if rows and rows[0].startswith("step,") and all(cell.isascii() and cell.isdigit() for _, cell in cells):
            yield file, [(place, int(cell)) for place, cell in cells]
    inside = sorted(file for file in path.glob("*") if file.suffix in {".txt", ".log"} and file.is_file())
    for file in [path] if path.is_file() and path not in tables else inside:
        points: dict[str, list[tuple[str, int]]] = {}
        for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").splitlines(), 1):
            head, _, rest = line.partition(" ")
            if head.startswith("s:") and head[2:].isascii() and head[2:].isdigit():
                points.setdefault(rest.partition(":")[0], []).append((f"line {number}", int(head[2:])))
        for steps in points.values():
            yield file, steps


def _left_over(path: Path, config: Mapping[str, Any], record: Record) -> Iterator[Finding]:
    """A share of training rows beside a rule that decides the rows."""
    data, rule = config.get("data", {}), config.get("split_rule")
    if rule is None or (by_share := count_test_examples(data, None)) is None:
        return
    by_rule = record.facts.get("test_examples")
    if by_rule is None or by_rule == by_share:
        return
    total = data["modulus_p"] ** 2
    arithmetic = (
        f"train_split leaves {total:,} - int({total:,} x {data['train_split']}) = {by_share:,} test rows,"
        f" split_rule {by_rule:,}"
    )
    arithmetic += "".join(
        f"; {sum(right_answers(v, n) is not None for v in known):,} of {len(known):,} accuracies above 0 are k of {n:,}"
        for known in [[v for _, v in measured(record.replicas[data["seed"]].get("test_accuracy")) if v > 0]]
        for n in (by_rule, by_share)
    )
    yield Finding(
        Flaw.TWO_STATEMENTS,
        f"{path / CONFIG} $.data.train_split",
        f"train_split {data['train_split']} and split_rule {rule!r}",
        arithmetic,
        Grade.CERTAIN,
        "a field that nobody reads any more: which of the two was used, the accuracies can tell",
    )


def _rates(path: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    """A constant learning rate that is not the configured one; what varies may be a schedule of any kind."""
    asked = config.get("training", {}).get("learning_rate")
    if not isinstance(asked, int | float) or not (path / LOGS).is_file():
        return
    column = load(path / LOGS).data.get("learning_rate")
    logged = {rate for rate in column if isinstance(rate, int | float)} if isinstance(column, list) else set()
    if len(logged) == 1 and not math.isclose(rate := logged.pop(), asked, rel_tol=1e-6):
        arithmetic = f"every step was logged at {rate}, the configuration asks for {asked}"
        said = "an option on the command line may have come after the file"
        yield Finding(Flaw.SCHEDULE, f"{path / LOGS} learning_rate", str(rate), arithmetic, Grade.CERTAIN, said)


def _examples(record: Record, name: str) -> int | None:
    """What a column of shares is out of, where its definition and the facts settle it."""
    definition = record.definitions[name]
    if definition == "argmax/answer":
        return record.facts.get({"test_accuracy": "test_examples", "train_accuracy": "train_examples"}.get(name, ""))
    kind, _, size = definition.rpartition("validation-")
    return int(size) if kind == "exact/answer/" and size.isdigit() else None


def _as_written(share: float, *, full: bool) -> Printed:
    """A share with the places that it was written with; of a column that holds its bits, twelve."""
    return printed(f"{share:.12f}" if full else f"{share:.{max(1, decimals(share))}f}")


def _shares(series: Series, n: int, where: str) -> tuple[list[Finding], CheckedNumbers]:
    """GRIM on every value. In a column that holds its bits, 0.5 is one half and not 0.45 to 0.55."""
    full = is_full(series)
    findings: dict[float, Finding] = {}
    numbers = []
    for step, value in measured(series):
        if value < 0:
            continue  # a matter of bounds
        number = _as_written(value, full=full)
        numbers.append(number)
        if value not in findings and value <= 1:
            found = grim_finding(number, n, f"{where}, step {step:,}", "from the configuration")
            if found is not None:
                findings[value] = found
    silent = 0 if full else share_silent(numbers, n)
    digits = "all digits" if full else f"up to {max((number.decimals for number in numbers), default=0)} places"
    note = f"{where.partition(', ')[2]} of n = {n:,}, {digits}"
    if silent:
        note += "; silent: so few digits that every printed value is some k of n"
    return list(findings.values())[:5], CheckedNumbers("k of n", len(numbers), silent, note)


def _best(path: Path, record: Record) -> Iterator[Finding]:
    """The best score of a peer's summary, which may stand there without its log."""
    n = record.facts.get("test_examples")
    if record.layout != PEER_CSV or n is None or not (path / SUMMARY).is_file():
        return
    best = load(path / SUMMARY).data.get("best_val_exact")
    if isinstance(best, float) and 0 <= best <= 1:
        where = f"{path / SUMMARY} $.best_val_exact"
        finding = grim_finding(_as_written(best, full=decimals(best) >= FULL), n, where, "the validation set")
        yield from () if finding is None else (finding,)


def least_set_loss(n: int, batch: int | None, positions: int) -> float:
    """The least mean loss over n different rows that any predictor of all their tokens can have, in nats per position.

    The mean over rows is the cross-entropy of the rows' distribution, which is at least its entropy (Cover and Thomas,
    Elements of Information Theory, theorem 2.6.3): ln(n) for n different rows, ln(4,703)/8 = 1.0570 a position. A mean
    of the means of batches weighs the rows of a smaller last batch more: with 1,882 rows in batches of 256 it is
    (7 ln(8 x 256) + ln(8 x 90)) / 8 / 8 = 0.9367.
    """
    if batch is None or batch >= n:
        return math.log(n) / positions
    batches = math.ceil(n / batch)
    sizes = [batch] * (n // batch) + ([n % batch] if n % batch else [])
    return sum(math.log(batches * size) for size in sizes) / batches / positions


def _bounds(record: Record, name: str, series: Series, where: str, batch: int | None) -> Iterator[Finding]:
    definition, points = record.definitions[name], measured(series)
    said = "another definition under the same name explains it as well"
    if name in METRICS and definition in METRICS[name].definitions:
        limits = bounds(name, definition, record.facts)
        outside = [(step, value) for step, value in points if not limits.contains(value)]
        if outside:
            step, value = outside[0]
            yield _bound(f"{where}, step {step:,}", value, limits.arithmetic, len(outside), said)
    if definition.startswith("pca99/blockin") and name == "final_layer_rank":
        broken = [(step, value) for step, value in points if value != round(value)]
        if broken:
            step, value = broken[0]
            yield _bound(f"{where}, step {step:,}", value, "a rank of this definition is a count", len(broken), said)
    n = record.facts.get({"test_loss": "test_examples", "train_set_loss": "train_examples"}.get(name, ""))
    over_all = {"ce/mean-of-batch-means": batch, "ce/all-8": None}
    if n is None or definition not in over_all or record.facts.get("positions") != 8:
        return
    if definition == "ce/mean-of-batch-means" and batch is None:
        return
    least = least_set_loss(n, over_all[definition], 8)
    low = [(step, value) for step, value in points if value < least - 10 * ROUNDING]
    if low:
        step, value = low[0]
        arithmetic = f"{n:,} different rows cost any predictor at least {least:.4f} nats a position (their entropy)"
        yield _bound(f"{where}, step {step:,}", value, arithmetic, len(low), "a loss over fewer positions explains it")


def _bound(where: str, value: float, arithmetic: str, times: int, said: str) -> Finding:
    more = f" ({times:,} values in all)" if times > 1 else ""
    return Finding(Flaw.BOUND, where, f"{value:.6g}{more}", arithmetic, Grade.CERTAIN, said)


def _grok_steps(metrics: Mapping[str, Series], seed: int) -> Iterator[Finding]:
    """What the published estimators make of one curve, where it groks by at least one threshold."""
    for name in ("test_accuracy", "test_exact_match"):
        series = metrics.get(name)
        times = [first_above(series, level) for level in GROK_LEVELS]
        steps = {time.definition: time.by for time in times if isinstance(time, StepInterval) and time.by > 0}
        rise = max_rise5(series)
        if not steps or not isinstance(rise, MaxRise) or rise.rise is None:
            continue
        steps[MAX_RISE5] = rise.step
        if len(set(steps.values())) == 1 or min(steps.values()) < 1:
            continue
        factor = max(steps.values()) / min(steps.values())
        shown = ", ".join(f"{step:,} ({definition})" for definition, step in steps.items())
        arithmetic = (
            f"{max(steps.values()):,} / {min(steps.values()):,} = {factor:.3g}: the choice of estimator moves it"
        )
        if rise.below_threshold:
            arithmetic += f"; the rise that max-rise5 found is {rise.rise:.3f}, below its own limit of 0.15"
        sure = Grade.TELLING if factor >= MOVES else Grade.WEAK
        said = "nothing is wrong with the log: a grok step needs its definition beside it"
        yield Finding(Flaw.GROK_STEPS, f"seed {seed}, {name}", shown, arithmetic, sure, said)
