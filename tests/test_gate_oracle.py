"""The judge against a second reading of docs/gates.md, on random records; and broken operators, which it must catch."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from gate_oracle import METRICS, OPEN, random_case, read

from reprogrok.gates import gate as judging
from reprogrok.gates import operators
from reprogrok.gates import points as point_rules
from reprogrok.gates.criteria import Criterion, Gate
from reprogrok.gates.gate import judge
from reprogrok.gates.gate_files import _conditions
from reprogrok.gates.operators import OPERATORS, Limit, Point, Quantifier
from reprogrok.metrics.bounds import Bounds
from reprogrok.record import Record, Series
from reprogrok.schema import Document

RECORDS = int(os.environ.get("REPROGROK_ORACLE_RECORDS", "10000"))
NOWHERE = Document(Path("random.yaml"), {}, {}, "")


def judged(case):
    """What the judge says of a case: [(outcome, margin or None), ...] and the number of grid points seen."""
    definition = METRICS[case.metric][0]
    window = range(case.window[0], case.window[1] + 1)
    conditions = _conditions(NOWHERE, (), case.condition, case.grid)
    criterion = Criterion("c", "t", "s", case.metric, definition, window, case.grid, conditions)
    gate = Gate("g", "t", "s", (criterion,), Path("g.yaml"), "0" * 64, {})
    steps = tuple(sorted(case.cells))
    series = Series(steps, tuple(case.cells[step] for step in steps))
    record = Record(
        Path("r"), "g", "columns", {0: {case.metric: series}}, {case.metric: definition}, {"positions": 8, "width": 8}
    )
    verdict = judge(gate, record)
    ((result,),) = (replica.criteria for replica in verdict.replicas)
    return [(item.outcome.value, item.margin) for item in result.conditions], result.measured


def agree(case):
    """Outcomes and the number of points agree, margins exactly; those of a slope, which hold a root, to 1e-9."""
    (said, seen), (expected, seen_by_oracle) = judged(case), read(case)
    if seen != seen_by_oracle or [outcome for outcome, _ in said] != [outcome for outcome, _ in expected]:
        return False
    slopes = range(len(expected) - 2, len(expected)) if "flat" in case.condition else ()
    for number, ((_, margin), (_, wanted)) in enumerate(zip(said, expected, strict=True)):
        if (margin is None) != (wanted is None):
            return False
        if margin is None:
            continue
        off, scale = abs(Fraction(margin) - Fraction(wanted)), max(Fraction(1), abs(Fraction(wanted)))
        if off > (Fraction(1, 10**9) * scale if number in slopes else 0):
            return False
    return True


def cases(seed):
    rng = random.Random(seed)  # noqa: S311 - test cases, no secrets
    while True:
        yield random_case(rng)


@pytest.mark.parametrize("records", [min(RECORDS, 3_000), pytest.param(RECORDS, marks=pytest.mark.long)])
def test_the_judge_and_the_oracle_agree_on_every_random_record(records):
    met = Counter()
    for number, case in enumerate(itertools.islice(cases(1), records)):
        assert agree(case), (number, case, judged(case), read(case))
        ((name, _),) = case.condition.items()
        met.update((name, outcome) for outcome, _ in read(case)[0])
    if records >= 1000:  # the records are worth their number: every operator came to every outcome, often
        for name in ("always", "eventually", "at_end", "max_drop", "max_rise", "flat"):
            assert min(met[name, outcome] for outcome in ("HOLDS", "FAILS", OPEN)) >= records / 1000, met


def without_within(points, frame):
    return operators._drops(points, dataclasses.replace(frame, within=None))


def without_lag(fit):
    def fitted(points, confidence):
        found = fit(points, confidence)
        if found.worth in {found.points, 0} or found.high.is_infinite():
            return found
        half = (found.high - found.estimate) * Decimal(found.worth / found.points) ** Decimal("0.5")
        return dataclasses.replace(found, low=found.estimate - half, high=found.estimate + half)

    return fitted


def changed(name, **changes):
    return lambda patch: patch.setattr(
        judging, "OPERATORS", {**OPERATORS, name: dataclasses.replace(OPERATORS[name], **changes)}
    )


BROKEN = {
    "always does not look at the last point": changed(
        "always", readings=lambda p, f: operators._every_point(p[:-1], f)
    ),
    "eventually asks it of every point": changed("eventually", quantifier=Quantifier.EVERY),
    "always is content with one point": changed("always", quantifier=Quantifier.SOME),
    "at_end takes the last point there is": changed(
        "at_end", readings=lambda p, f: operators._last_point([Point(f.grid[-1], x.value) for x in p[-1:]], f)
    ),
    "drops ignore their window": changed("max_drop", readings=without_within),
    "rises are drops": changed("max_rise", readings=operators._drops),
    "drops of neighbours alone": changed(
        "max_drop", readings=lambda p, f: operators._drops(p, dataclasses.replace(f, within=f.grid.step))
    ),
    "a slope is decided by either end": changed("slope", quantifier=Quantifier.SOME),
    "a slope forgets that neighbours are alike": lambda patch: patch.setattr(
        operators, "fit_slope", without_lag(operators.fit_slope)
    ),
    "strict limits hold at the limit": lambda patch: patch.setattr(
        Limit, "holds", lambda limit, value: limit.margin(value) >= 0
    ),
    "numbers are judged in binary": lambda patch: patch.setattr(point_rules, "decimal", Decimal),
    "holes are overlooked": lambda patch: patch.setattr(judging, "usable", lambda *a: (usable(*a)[0], [])),
    "what cannot be is judged": lambda patch: patch.setattr(Bounds, "contains", lambda *_: True),
}  # fmt: skip
usable = point_rules.usable


@pytest.mark.parametrize("name", BROKEN)
def test_the_oracle_catches_a_broken_operator(monkeypatch, name):
    BROKEN[name](monkeypatch)
    assert not all(agree(case) for case in itertools.islice(cases(2), 1500))


def test_the_oracle_agrees_with_the_sound_operators_on_the_same_records():
    assert all(agree(case) for case in itertools.islice(cases(2), 1500))
