"""docs/gates.md says what the judge does: every example of its tables and every file that it shows is tried."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from gate_oracle import Case, read
from ruamel.yaml import YAML
from test_gate_oracle import judged

from reprogrok.gates.gate_files import load_gate

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "gates.md").read_text("utf-8")
ROW = re.compile(
    r"^\| `(?P<asked>[^`]+)` \| `(?P<values>[^`]+)` \| (?P<outcome>\w+) \| (?P<margin>[-.\d]+) \|$", re.MULTILINE
)


def parse(text):
    return YAML(typ="safe", pure=True).load(text)


def examples():
    for row in ROW.finditer(GUIDE):
        condition = parse("{" + row["asked"] + "}")
        margin = None if row["margin"] == "-" else Decimal(row["margin"])
        if "slope_between" in condition:
            values = enumerate(map(float, row["values"].split()), 1)
            case = Case(
                "weight_norm", {"flat": {"drop_at_most": 100} | condition}, (0, 10_000), 1000, 1000,
                {1000 * number: value for number, value in values},
            )  # fmt: skip
        else:
            cells = {int(step): float(value) for step, value in (p.split(":") for p in row["values"].split())}
            case = Case("test_accuracy", condition, (0, 50), 10, 10, cells)
        yield pytest.param(case, row["outcome"], margin, id=f"{row['asked']} {row['values']}")


EXAMPLES = list(examples())


def test_the_guide_has_examples():
    assert len(EXAMPLES) == 29
    assert GUIDE.count("| INCONCLUSIVE |") + GUIDE.count("| HOLDS |") + GUIDE.count("| FAILS |") >= len(EXAMPLES)


@pytest.mark.parametrize(("case", "outcome", "margin"), EXAMPLES)
def test_an_example_of_the_guide_comes_out_as_it_says(case, outcome, margin):
    slope = "flat" in case.condition
    for found_parts in (judged(case)[0], read(case)[0]):
        parts = found_parts[slope:]  # the drop is no part of the rows of slopes
        outcomes = {word for word, _ in parts}
        worst = "FAILS" if "FAILS" in outcomes else "INCONCLUSIVE" if "INCONCLUSIVE" in outcomes else "HOLDS"
        found = parts[-1][1]
        if slope and worst == "INCONCLUSIVE":
            found = None  # of one end or of both
        assert worst == outcome
        assert (found is None) == (margin is None)
        if margin is not None:
            assert float(Fraction(found)) == pytest.approx(float(margin), abs=1e-7 if slope else 0)


def shown(start):
    return next(block for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if block.startswith(start))


def test_the_gate_and_the_controls_of_the_guide_load_together(tmp_path):
    (tmp_path / "example.yaml").write_text(shown("format: reprogrok.criteria/1"), "utf-8")
    (tmp_path / "controls").mkdir()
    (tmp_path / "controls" / "example.yaml").write_text(shown("format: reprogrok.controls/1"), "utf-8")
    gate = load_gate(tmp_path / "example.yaml")
    assert (gate.controls.passing, gate.controls.failing, len(gate.requires)) == (1, 4, 3)
    assert [condition.operator for condition in gate.criteria[0].conditions] == ["always", "max_drop", "slope", "slope"]
