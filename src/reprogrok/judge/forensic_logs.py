"""A recorded log -> what in it does not fit: shares, steps, bounds, repeats, rates and times, each column by itself.

    files --steps in order?--> Record (formats.foreign_runs) --columns and facts--> findings, and what was looked at

Steps are looked at before anything is read, because a log whose steps go back has no reading. What is honest and
common is not found: accuracies repeat because they are k/n, a loss at a floor prints the same four digits for ever, two
float32 losses of two thousand fall together by the birthday paradox, and a model that no longer changes repeats every
number that is measured on it. So repeats are counted against what their own density lets expect.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import poisson

from reprogrok.errors import InputError
from reprogrok.formats.foreign_runs import ANALYSIS, COLUMNS, CONFIG, LOGS, count_test_examples, read_run
from reprogrok.judge.bounds import METRICS, ROUNDING
from reprogrok.judge.forensics import Check, Examination, Finding, Kind, Sure, grim_finding, printed, share_silent
from reprogrok.measure.grokking import MAX_RISE5, MaxRise, StepInterval, first_above, max_rise5
from reprogrok.record import Record, Series
from reprogrok.schema import load, read_bytes

GROK_LEVELS = (0.8, 0.9)  # the two that published grok steps go by
MOVES = 1.5  # a grok step that the choice of estimator moves by this factor is none
UNLIKELY = 1e-6  # repeats less probable than this in a whole column are telling
FULL = 9  # from so many places on, a column is written as its bits are
_NEAR = 50  # units in the last place around a value in which its neighbours are counted

_CONSTANT = ("learning_rate",)


def examine_log(path: Path) -> Examination:
    """Look at a run's folder or log, ours or of another project.

    Raises:
        InputError: it cannot be read, for another reason than one that is a finding.
    """
    if out_of_order := tuple(_out_of_order(path)):
        note = "its steps have to be in order before the rest can be looked at"
        return Examination(str(path), out_of_order, (Check("everything else", 0, 0, note),))
    try:
        record = read_run(path)
    except InputError as error:
        if "contradicts the log" not in error.message:
            raise
        return Examination(str(path), (_two_accounts(error),), ())
    findings: list[Finding] = []
    checks: list[Check] = []
    config = load(path / CONFIG).data if record.layout == COLUMNS else {}
    findings += _left_over(path, config, record)
    findings += _rates(path, config)
    sizes = {name: n for name in record.definitions if (n := _examples(record, name)) is not None}
    batch = int(config.get("training", {}).get("batch_size", 0)) or None
    for seed, metrics in record.replicas.items():
        for name, series in metrics.items():
            where = f"seed {seed}, {name}"
            if name in sizes:
                found, check = _shares(series, sizes[name], where)
                findings += found
                checks.append(check)
            findings += _bounds(record, name, series, where, batch)
            if "loss" in name and _is_full(series):
                findings += _repeats(series, where)
                findings += _frozen(name, metrics, record.definitions, where)
        findings += _equal_columns(metrics, f"seed {seed}")
        findings += _grok_steps(metrics, seed)
    findings += _equal_seeds(record)
    points = sum(len(series.steps) for metrics in record.replicas.values() for series in metrics.values())
    checks.append(Check("bounds, repeats, steps", points, 0, "every value of every column"))
    if not sizes:
        checks.insert(0, Check("k of n", 0, 0, "no share whose n the log states"))
    return Examination(str(path), tuple(findings), _summed(checks))


def _summed(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Checks of one name and note, over all seeds and columns."""
    kinds = dict.fromkeys((check.name, check.note) for check in checks)
    return tuple(
        Check(
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
        Kind.TWO_STATEMENTS, f"{error.path} {error.field}", str(error.found), error.message, Sure.CERTAIN, said
    )


def _out_of_order(path: Path) -> Iterator[Finding]:
    """Steps that repeat or go back, in every file that lists them."""
    for file, steps in _listed_steps(path):
        for (place, before), (_, step) in pairwise(steps):
            if step <= before:
                arithmetic = f"{step:,} follows {before:,}" + (" again" if step == before else "")
                said = "a run that was resumed, or two runs in one file, writes such a log honestly"
                yield Finding(Kind.STEPS, f"{file} after {place}", f"{step:,}", arithmetic, Sure.CERTAIN, said)


def _listed_steps(path: Path) -> Iterator[tuple[Path, list[tuple[str, int]]]]:
    for file in (path / LOGS, path / ANALYSIS) if (path / LOGS).is_file() else ():
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
    logs = [path] if path.is_file() and path.suffix in {".txt", ".log"} else sorted(path.glob("*.txt"))
    for file in logs:
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
    yield Finding(
        Kind.TWO_STATEMENTS,
        f"{path / CONFIG} $.data.train_split",
        f"train_split {data['train_split']} and split_rule {rule!r}",
        arithmetic,
        Sure.CERTAIN,
        "a field that nobody reads any more: which of the two was used, the accuracies tell",
    )


def _rates(path: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    """A constant learning rate that is not the configured one; what varies may be a schedule of any kind."""
    asked = config.get("training", {}).get("learning_rate")
    if not isinstance(asked, int | float) or not (path / LOGS).is_file():
        return
    logged = {rate for rate in load(path / LOGS).data.get("learning_rate") or () if isinstance(rate, int | float)}
    if len(logged) == 1 and not math.isclose(rate := logged.pop(), asked, rel_tol=1e-6):
        arithmetic = f"every step was logged at {rate}, the configuration asks for {asked}"
        said = "an option on the command line may have come after the file"
        yield Finding(Kind.SCHEDULE, f"{path / LOGS} learning_rate", str(rate), arithmetic, Sure.CERTAIN, said)


def _examples(record: Record, name: str) -> int | None:
    """What a column of shares is out of, where its definition and the facts settle it."""
    definition = record.definitions[name]
    if definition == "argmax/answer":
        return record.facts.get({"test_accuracy": "test_examples", "train_accuracy": "train_examples"}.get(name, ""))
    kind, _, size = definition.rpartition("validation-")
    return int(size) if kind == "exact/answer/" and size.isdigit() else None


def _points(series: Series) -> list[tuple[int, float]]:
    return [(s, v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)]


def _places(value: float) -> int:
    text = f"{value!r}"
    mantissa, _, power = text.partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(power or 0))


def _is_full(series: Series) -> bool:
    """Whether a column holds its bits and not a few places of them."""
    return max((_places(value) for _, value in _points(series)), default=0) >= FULL


def _shares(series: Series, n: int, where: str) -> tuple[list[Finding], Check]:
    """GRIM on every value. In a column that holds its bits, 0.5 is one half and not 0.45 to 0.55."""
    full = _is_full(series)
    findings: dict[float, Finding] = {}
    numbers = []
    for step, value in _points(series):
        number = printed(f"{value:.12f}" if full else f"{value:.{max(1, _places(value))}f}") if value >= 0 else None
        if number is None:
            continue  # a matter of bounds
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
    return list(findings.values())[:5], Check("k of n", len(numbers), silent, note)


def least_set_loss(n: int, batch: int | None, positions: int) -> float:
    """The least mean loss over n different rows that any predictor of all their tokens can have, in nats per position.

    The mean over rows is the cross-entropy of the rows' distribution, which is at least its entropy (Cover and Thomas,
    Elements of Information Theory, theorem 2.6.3): ln(n) for n different rows, ln(4,703)/8 = 1.0570 a position. A mean
    of the means of batches weighs the rows of a smaller last batch more: with 1,882 rows in batches of 256 it is
    (7 ln(8 x 256) + ln(8 x 90)) / 8 / 8 = 0.9368.
    """
    if batch is None or batch >= n:
        return math.log(n) / positions
    batches = math.ceil(n / batch)
    sizes = [batch] * (n // batch) + ([n % batch] if n % batch else [])
    return sum(math.log(batches * size) for size in sizes) / batches / positions


def _bounds(record: Record, name: str, series: Series, where: str, batch: int | None) -> Iterator[Finding]:
    definition, points = record.definitions[name], _points(series)
    said = "another definition under the same name explains it as well"
    rule = METRICS.get(name, {}).get(definition)
    if rule is not None:
        limits = rule(record.facts)
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
    return Finding(Kind.BOUND, where, f"{value:.6g}{more}", arithmetic, Sure.CERTAIN, said)


def _unit(value: float, places: int) -> float:
    """The resolution of a logged loss: that of float32, or of the places that are written, if they are fewer."""
    single = 2.0 ** (math.floor(math.log2(abs(value))) - 23) if value else 2.0**-149
    return max(single, 10.0**-places)


def _repeats(series: Series, where: str) -> Iterator[Finding]:
    """Equal losses at different steps: one by one against the birthday paradox, and stretches against chance."""
    points = _points(series)
    kept = [point for before, point in pairwise([(-1, math.nan), *points]) if point[1] != before[1] and point[1] > 0]
    if len(kept) < 6:
        return
    places = max(_places(value) for _, value in kept)
    values = np.sort(np.array([value for _, value in kept]))
    units = np.array([_unit(float(value), places) for value in values])
    near = np.searchsorted(values, values + _NEAR * units, side="right") - np.arange(len(values)) - 1
    equal = sum(count * (count - 1) // 2 for count in Counter(values.tolist()).values())
    expected = (int(near.sum()) - equal + 3) / (2 * _NEAR)
    chance = float(poisson.sf(equal - 1, expected))
    said = "a model that returns to the same weights, or evaluations that were read twice, repeat losses honestly"
    if equal and chance < UNLIKELY:
        value, times = Counter(values.tolist()).most_common(1)[0]
        arithmetic = (
            f"{equal:,} pairs of equal losses at steps that do not follow each other; their density lets expect"
            f" {expected:.2g} (birthday paradox in float32)"
        )
        shown = f"{value!r} {times} times"
        yield Finding(Kind.REPEATED, where, shown, arithmetic, Sure.TELLING, said, chance)
        return
    first: dict[tuple[float, ...], int] = {}
    for index in range(len(kept) - 2):
        stretch = tuple(value for _, value in kept[index : index + 3])
        earlier = first.setdefault(stretch, index)
        if index - earlier >= 3 and len(set(stretch)) == 3:
            spread = float(values[-1] - values[0]) or 1.0
            chance = min(1.0, len(kept) ** 2 / 2 * (float(units.max()) / spread * _NEAR) ** 3)
            if chance < UNLIKELY:
                arithmetic = (
                    f"three losses in a row, steps {kept[earlier][0]:,} on, stand again at {kept[index][0]:,} on"
                )
                yield Finding(Kind.REPEATED, where, str(stretch), arithmetic, Sure.TELLING, said, chance)
                return


def _frozen(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], where: str) -> Iterator[Finding]:
    """A loss with all its digits that stands still, evaluation by evaluation, while the model is seen to move."""
    points = _points(metrics[name])
    start = 0
    for index in range(1, len(points) + 1):
        if index < len(points) and points[index][1] == points[start][1]:
            continue
        first, last = points[start], points[index - 1]
        length, start = index - start, index
        if length < 3 or first[1] <= 0:
            continue
        other = _moving(name, metrics, definitions, range(first[0], last[0] + 1))
        if other is None:
            continue
        arithmetic = f"the same to the last digit at {length:,} evaluations in a row, while {other} changes among them"
        said = "a column that was filled up with its last value, because it is measured less often, looks the same"
        at = f"{where}, steps {first[0]:,} to {last[0]:,}"
        yield Finding(Kind.REPEATED, at, repr(first[1]), arithmetic, Sure.TELLING, said)


def _moving(name: str, metrics: Mapping[str, Series], definitions: Mapping[str, str], steps: range) -> str | None:
    """Another number of the same model that changes at these steps; a minibatch changes without the model."""
    fresh = ("minibatch", "/batch", "llmc")
    if any(mark in definitions[name] for mark in fresh[:2]):
        return "the batch"
    for other, series in metrics.items():
        if other == name or any(mark in definitions[other] for mark in fresh) or other in _CONSTANT:
            continue
        if len({value for step, value in _points(series) if step in steps}) > 1:
            return other
    return None


def _equal_columns(metrics: Mapping[str, Series], where: str) -> Iterator[Finding]:
    """A training and a test column that are the same numbers."""
    for train, test in (
        ("train_loss", "test_loss"),
        ("train_set_loss", "test_loss"),
        ("train_accuracy", "test_accuracy"),
        ("train_exact_match", "test_exact_match"),
    ):
        if train not in metrics or test not in metrics:
            continue
        one, other = dict(_points(metrics[train])), dict(_points(metrics[test]))
        shared = [step for step in one if step in other and 0 < one[step] != 1]
        equal = [step for step in shared if one[step] == other[step]]
        distinct = {one[step] for step in equal}
        if len(distinct) >= 3 and 2 * len(equal) >= len(shared):
            arithmetic = (
                f"{len(equal):,} of {len(shared):,} evaluations agree to the last digit, {len(distinct):,} values"
            )
            said = "one set read under two names explains it as well"
            at = f"{where}, {train} and {test}"
            yield Finding(Kind.REPEATED, at, repr(one[equal[0]]), arithmetic, Sure.TELLING, said)


def _equal_seeds(record: Record) -> Iterator[Finding]:
    """Two seeds with one and the same curve of the loss."""
    first: dict[tuple[float, ...], int] = {}
    for seed, metrics in record.replicas.items():
        series = metrics.get("train_loss")
        if series is None or not _is_full(series) or len(series.values) < 3:
            continue
        if (earlier := first.setdefault(series.values, seed)) != seed:
            arithmetic = f"all {len(series.values):,} losses are those of seed {earlier}"
            said = "a seed that nothing depends on explains it as well"
            at = f"seed {seed}, train_loss"
            yield Finding(Kind.REPEATED, at, repr(series.values[0]), arithmetic, Sure.TELLING, said)


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
        sure = Sure.TELLING if factor >= MOVES else Sure.WEAK
        said = "nothing is wrong with the log: a grok step needs its definition beside it"
        yield Finding(Kind.GROK_STEPS, f"seed {seed}, {name}", shown, arithmetic, sure, said)
