"""A recorded log -> findings: accuracies, steps, bounds, repeats, learning rates and grok times, column by column.

    files --steps in order?--> Record (formats.foreign_runs) --columns and facts--> ForensicReport

Steps are checked first, because a log whose steps go back cannot be read. Repeats that are honest and common are not
findings: accuracies are k/n, a loss at its bound prints the same four digits, float32 losses coincide by the birthday
paradox, and a model that no longer changes repeats every measurement (`forensics.repeats`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from reprogrok.forensics.findings import (
    CheckedNumbers,
    Finding,
    Flaw,
    ForensicReport,
    Grade,
    Printed,
    count_undecidable,
    grim_finding,
    parse_printed,
)
from reprogrok.forensics.repeats import FULL, decimals, equal_columns, equal_seeds, frozen, is_full, repeats
from reprogrok.formats.foreign_logs import PEER_CSV, ContradictedLogError
from reprogrok.formats.foreign_runs import ANALYSIS, COLUMNS, CONFIG, LOGS, count_test_examples, read_run
from reprogrok.metrics.bounds import ROUNDING
from reprogrok.metrics.grokking import MAX_RISE5, MaxRise, StepInterval, first_above, max_rise5, measured, right_answers
from reprogrok.metrics.registry import METRICS, bounds
from reprogrok.record import SUMMARY, Record, Series
from reprogrok.schema import load, read_bytes

GROK_LEVELS = (0.8, 0.9)  # thresholds of the published grok steps
MOVES = 1.5  # a grok step that another estimator moves by this factor is telling


@dataclass(frozen=True)
class _Configuration:
    """The parts of a configuration that a log can contradict, if stated; `test_examples` is by `train_split`."""

    equations: int | None
    train_split: float | None
    split_rule: str | None
    test_examples: int | None
    learning_rate: float | None
    batch_size: int | None


def examine_log(path: Path) -> ForensicReport:
    """Check a run's folder or log, ours or of another project.

    Raises:
        InputError: the log cannot be read, for a reason that is not a finding.
    """
    if out_of_order := tuple(_out_of_order(path)):
        note = "its steps have to be in order before the rest can be checked"
        return ForensicReport(str(path), out_of_order, (CheckedNumbers("everything else", 0, 0, note),))
    try:
        record = read_run(path)
    except ContradictedLogError as error:
        return ForensicReport(str(path), (_contradiction(error),), ())
    config = _configuration(path, record)
    findings = [*_left_over(path, config, record), *_rates(path, config)]
    checks: list[CheckedNumbers] = []
    sizes = {name: n for name in record.definitions if (n := _examples(record, name)) is not None}
    for seed, metrics in record.replicas.items():
        for name, series in metrics.items():
            where = f"seed {seed}, {name}"
            if name in sizes:
                found, check = _accuracies(series, sizes[name], where)
                findings += found
                checks.append(check)
            findings += _bounds(record, name, series, where, config.batch_size)
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
        checks.insert(0, CheckedNumbers("k of n", 0, 0, "the log states n for none of its accuracies"))
    return ForensicReport(str(path), tuple(findings), _summed(checks))


def _configuration(path: Path, record: Record) -> _Configuration:
    config = load(path / CONFIG).data if record.layout == COLUMNS else {}
    data, training = config.get("data", {}), config.get("training", {})
    modulus, rate, batch = data.get("modulus_p"), training.get("learning_rate"), training.get("batch_size")
    return _Configuration(
        equations=None if modulus is None else int(modulus) ** 2,
        train_split=data.get("train_split"),
        split_rule=config.get("split_rule"),
        test_examples=count_test_examples(data, None),
        learning_rate=rate if isinstance(rate, int | float) else None,
        batch_size=batch if type(batch) is int and batch > 0 else None,
    )


def _summed(checks: Sequence[CheckedNumbers]) -> tuple[CheckedNumbers, ...]:
    """Add up the checks of one name and note, over all seeds and columns."""
    kinds: dict[tuple[str, str], list[CheckedNumbers]] = {}
    for check in checks:
        kinds.setdefault((check.name, check.note), []).append(check)
    return tuple(
        CheckedNumbers(name, sum(check.looked_at for check in same), sum(check.silent for check in same), note)
        for (name, note), same in kinds.items()
    )


def _contradiction(error: ContradictedLogError) -> Finding:
    where, explanation = f"{error.path} {error.field}", "a log or a summary of another run in the same folder"
    return Finding(Flaw.TWO_STATEMENTS, where, str(error.found), error.message, Grade.CERTAIN, explanation)


def _out_of_order(path: Path) -> Iterator[Finding]:
    """Find steps that repeat or go back, in every file that lists steps."""
    for file, steps in _listed_steps(path):
        for (place, before), (_, step) in pairwise(steps):
            if step <= before:
                arithmetic = f"{step:,} follows {before:,}" + (" again" if step == before else "")
                explanation = "a run that was resumed, or two runs in one file"
                yield Finding(Flaw.STEPS, f"{file} after {place}", f"{step:,}", arithmetic, Grade.CERTAIN, explanation)
                break  # a resumed run goes back once and then repeats hundreds of steps


def _listed_steps(path: Path) -> Iterator[tuple[Path, list[tuple[str, int]]]]:
    """Yield each list of steps, as (file, [(place, step), ...])."""
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


def _left_over(path: Path, config: _Configuration, record: Record) -> Iterator[Finding]:
    """Find a training fraction that contradicts the rule that decides the split."""
    by_fraction, by_rule = config.test_examples, record.facts.get("test_examples")
    if config.split_rule is None or by_fraction is None or by_rule is None or by_rule == by_fraction:
        return
    arithmetic = (
        f"train_split leaves {config.equations:,} - int({config.equations:,} x {config.train_split}) ="
        f" {by_fraction:,} test rows, split_rule {by_rule:,}"
    )
    (metrics,) = record.replicas.values()
    known = [value for _, value in measured(metrics.get("test_accuracy")) if value > 0]
    for n in (by_rule, by_fraction):
        fitting = sum(right_answers(value, n) is not None for value in known)
        arithmetic += f"; {fitting:,} of {len(known):,} accuracies above 0 are k of {n:,}"
    shown = f"train_split {config.train_split} and split_rule {config.split_rule!r}"
    explanation = "a field that is no longer read; the accuracies can show which of the two was used"
    where = f"{path / CONFIG} $.data.train_split"
    yield Finding(Flaw.TWO_STATEMENTS, where, shown, arithmetic, Grade.CERTAIN, explanation)


def _rates(path: Path, config: _Configuration) -> Iterator[Finding]:
    """Find a constant learning rate that is not the configured one; a varying one may follow any schedule."""
    if config.learning_rate is None or not (path / LOGS).is_file():
        return
    column = load(path / LOGS).data.get("learning_rate")
    logged = {rate for rate in column if isinstance(rate, int | float)} if isinstance(column, list) else set()
    if len(logged) == 1 and not math.isclose(rate := logged.pop(), config.learning_rate, rel_tol=1e-6):
        arithmetic = f"every step was logged at {rate}, but {config.learning_rate} is configured"
        explanation = "an option on the command line that replaced the configured value"
        yield Finding(Flaw.SCHEDULE, f"{path / LOGS} learning_rate", str(rate), arithmetic, Grade.CERTAIN, explanation)


def _examples(record: Record, name: str) -> int | None:
    """Return n of a column of accuracies, if its definition and the facts determine it."""
    definition = record.definitions[name]
    if definition == "argmax/answer":
        return record.facts.get({"test_accuracy": "test_examples", "train_accuracy": "train_examples"}.get(name, ""))
    kind, _, size = definition.rpartition("validation-")
    return int(size) if kind == "exact/answer/" and size.isdigit() else None


def _as_written(accuracy: float, *, full: bool) -> Printed:
    """Return an accuracy as printed: with the places of its text, or with twelve if its column holds all digits."""
    return parse_printed(f"{accuracy:.{12 if full else max(1, decimals(accuracy))}f}")


def _accuracies(series: Series, n: int, where: str) -> tuple[list[Finding], CheckedNumbers]:
    """Apply GRIM to every value. In a column that holds all digits, 0.5 is one half and not 0.45 to 0.55."""
    full = is_full(series)
    findings: dict[float, Finding] = {}
    numbers = []
    for step, value in measured(series):
        if value < 0:
            continue  # reported by the check of bounds
        number = _as_written(value, full=full)
        numbers.append(number)
        if value not in findings and value <= 1:
            found = grim_finding(number, n, f"{where}, step {step:,}", "from the configuration")
            if found is not None:
                findings[value] = found
    silent = 0 if full else count_undecidable(numbers, n)
    digits = "all digits" if full else f"up to {max((number.decimals for number in numbers), default=0)} places"
    note = f"{where.partition(', ')[2]} of n = {n:,}, {digits}"
    note += "; undecidable: so few digits that every printed value is some k of n" if silent else ""
    return list(findings.values())[:5], CheckedNumbers("k of n", len(numbers), silent, note)


def _best(path: Path, record: Record) -> Iterator[Finding]:
    """Apply GRIM to the best score in the summary of another project, which may have no log."""
    n = record.facts.get("test_examples")
    if record.layout != PEER_CSV or n is None or not (path / SUMMARY).is_file():
        return
    best = load(path / SUMMARY).data.get("best_val_exact")
    if isinstance(best, float) and 0 <= best <= 1:
        where = f"{path / SUMMARY} $.best_val_exact"
        finding = grim_finding(_as_written(best, full=decimals(best) >= FULL), n, where, "the validation set")
        yield from () if finding is None else (finding,)


def least_set_loss(n: int, batch: int | None, positions: int) -> float:
    """Return a lower bound of the mean loss over n different rows, if all tokens are predicted, in nats per position.

    The mean over rows is the cross-entropy of the rows' distribution, which is at least its entropy (Cover and Thomas,
    Elements of Information Theory, theorem 2.6.3): ln(n) for n different rows, ln(4,703)/8 = 1.0570 per position. A
    mean of the means of batches gives more weight to the rows of a smaller last batch: with 1,882 rows in batches of
    256 it is (7 ln(8 x 256) + ln(8 x 90)) / 8 / 8 = 0.9367.
    """
    if batch is None or batch >= n:
        return math.log(n) / positions
    batches = math.ceil(n / batch)
    sizes = [batch] * (n // batch) + ([n % batch] if n % batch else [])
    return sum(math.log(batches * size) for size in sizes) / batches / positions


def _bounds(record: Record, name: str, series: Series, where: str, batch: int | None) -> Iterator[Finding]:
    definition, points = record.definitions[name], measured(series)
    if name in METRICS and definition in METRICS[name].definitions:
        limits = bounds(name, definition, record.facts)
        yield from _bound(where, [point for point in points if not limits.contains(point[1])], limits.arithmetic)
    if definition.startswith("pca99/blockin") and name == "final_layer_rank":
        broken = [point for point in points if point[1] != round(point[1])]
        yield from _bound(where, broken, "a rank of this definition is a count")
    n = record.facts.get({"test_loss": "test_examples", "train_set_loss": "train_examples"}.get(name, ""))
    over_all = {"ce/mean-of-batch-means": batch, "ce/all-8": None}
    if n is None or definition not in over_all or record.facts.get("positions") != 8:
        return
    if definition == "ce/mean-of-batch-means" and batch is None:
        return
    least = least_set_loss(n, over_all[definition], 8)
    low = [point for point in points if point[1] < least - 10 * ROUNDING]
    arithmetic = f"on {n:,} different rows any predictor loses at least {least:.4f} nats per position (their entropy)"
    yield from _bound(where, low, arithmetic, "a loss over fewer positions")


def _bound(
    where: str, broken: Sequence[tuple[int, float]], arithmetic: str, explanation: str = "another definition"
) -> Iterator[Finding]:
    """Report the first of the points that break a bound, with their count."""
    if broken:
        step, value = broken[0]
        more = f" ({len(broken):,} values in all)" if len(broken) > 1 else ""
        at, shown = f"{where}, step {step:,}", f"{value:.6g}{more}"
        yield Finding(Flaw.BOUND, at, shown, arithmetic, Grade.CERTAIN, explanation)


def _grok_steps(metrics: Mapping[str, Series], seed: int) -> Iterator[Finding]:
    """Compare the published estimators on a curve that groks by at least one threshold."""
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
        first, last = min(steps.values()), max(steps.values())
        shown = ", ".join(f"{step:,} ({definition})" for definition, step in steps.items())
        arithmetic = f"{last:,} / {first:,} = {last / first:.3g}: the choice of estimator moves it"
        if rise.below_threshold:
            arithmetic += f"; the rise that max-rise5 found is {rise.rise:.3f}, below its own limit of 0.15"
        grade = Grade.TELLING if last / first >= MOVES else Grade.WEAK
        explanation = "nothing is wrong with the log: a grok step needs its definition"
        yield Finding(Flaw.GROK_STEPS, f"seed {seed}, {name}", shown, arithmetic, grade, explanation)
