"""The registry of metrics: every metric once, and the page of measures beside it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reprogrok.metrics.registry import (
    ANALYSED,
    BUILT_IN,
    GENERALISATION,
    MEMORISATION,
    Occasion,
    Use,
    bounds,
    denominator,
    logged_at,
    used_in,
)
from reprogrok.metrics.representation import definition

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "measures.md").read_text("utf-8")
# The occasions of a modular run at one loss, format and kind of batch: the ids that the page gives.
ON_THE_PAGE = {Occasion.UPDATE, Occasion.EQUATIONS, Occasion.TWIN, Occasion.NEW, Occasion.TRAINED, Occasion.ANALYSIS_8}
LOSSES = {Occasion.SET_LOSS, Occasion.BATCH_LOSS}


def rows():
    """Metric -> the definition ids of its row in the tables of the page."""
    found = {}
    for names, ids in re.findall(r"^\| (`[a-z].*?) \| (`.*?) \| .* \|$", PAGE, re.MULTILINE):
        metrics = re.findall(r"`([a-z_]+)`", names)
        for metric in metrics:
            found[metric] = re.findall(r"`([^`]+)`", ids)
    return found


def test_the_page_has_a_row_for_every_metric_of_a_modular_run_with_its_ids():
    page = rows()
    for metric in BUILT_IN.values():
        if "_at_" in metric.name:
            assert metric.name[:-1] + "i" in page
            assert {id_.rpartition("/")[0] for id_ in metric.definitions} == set(page[metric.name[:-1] + "i"])
        elif ids := [id_ for id_, occasion in metric.definitions.items() if occasion in ON_THE_PAGE]:
            assert set(ids) <= set(page[metric.name]), metric.name
        elif ids := [id_ for id_, occasion in metric.definitions.items() if occasion in LOSSES]:
            plain = {id_ for id_ in ids if not id_.endswith("-dropout")}
            assert plain == set(page[metric.name]) - {".../batch-dropout"}


def test_the_page_speaks_of_no_metric_that_is_not_registered():
    names = {name.replace("_at_i", "_at_0") for name in rows()}
    assert {name for name in names if "_" in name} - set(BUILT_IN) == set()


def test_a_metric_has_one_definition_at_an_occasion_but_for_losses_and_positions():
    for metric in BUILT_IN.values():
        occasions = [
            at for at in metric.definitions.values() if at not in {*LOSSES, Occasion.POSITION, Occasion.FOREIGN}
        ]
        assert len(set(occasions)) == len(occasions), metric.name


def test_every_definition_has_bounds_and_the_denominator_is_a_fact():
    facts = {"positions": 8, "width": 32, "train_examples": 70, "test_examples": 50}
    for metric in BUILT_IN.values():
        for id_ in metric.definitions:
            found = bounds(metric.name, id_, facts)
            assert found.low < found.high
            assert found.missing is None
            assert denominator(metric.name, id_, facts) in {None, 50, 70}
    with pytest.raises(KeyError):
        bounds("test_accuracy", "argmax/position", facts)


def test_the_order_of_columns_and_rows():
    assert used_in(Use.CURVES)[:6] == (
        *("test_exact_match", "train_exact_match", "test_accuracy", "train_accuracy", "train_loss", "test_loss"),
    )
    assert GENERALISATION == ("test_exact_match", "test_accuracy")
    assert MEMORISATION == ("train_exact_match", "train_accuracy")


def test_measures_of_four_positions_have_ids_of_their_own():
    assert logged_at(Occasion.ANALYSIS_4) == {name: definition(id_, 4) for name, id_ in ANALYSED.items()}


def test_the_registry_is_light():
    code = "import sys, reprogrok.metrics.registry\nprint({'numpy', 'torch', 'scipy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "set()\n"


def test_planning_a_run_needs_no_torch():
    code = "import sys, reprogrok.gates.preflight.planned_run\nprint({'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "set()\n"
