"""Control traces: the shipped ones do what they are there for, and one that does not is refused at its line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reprogrok.errors import InputError
from reprogrok.gates.controls import _sampled, check_controls
from reprogrok.gates.gate_files import CONTROLS, gate_names, load_gate
from reprogrok.schema import load, validator

ROOT = Path(__file__).resolve().parents[1]
CRITERIA = ROOT / "audit" / "criteria"


@pytest.fixture
def gates(tmp_path):
    """A folder with the shipped gates and their controls."""
    return shutil.copytree(CRITERIA, tmp_path / "criteria")


def edit(path, *changes):
    text = path.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, "utf-8")


def refusal(gates, name):
    with pytest.raises(InputError) as caught:
        load_gate(gates / f"{name}.yaml")
    return str(caught.value).removeprefix(str(gates / CONTROLS / f"{name}.yaml"))


@pytest.mark.parametrize("name", ["smoke", "v2b", "v2b-mini"])
def test_these_gates_ship_controls_for_every_criterion(name):
    gate = load_gate(CRITERIA / f"{name}.yaml")
    assert gate.controls.path == CRITERIA / CONTROLS / f"{name}.yaml"
    assert gate.controls.failing >= len(gate.criteria)
    # Criterion 3 of v2b cannot be met by any run: there the file says why none passes.
    assert (gate.controls.passing, gate.controls.reason is None) == ((1, True) if name == "smoke" else (0, False))


def test_every_control_file_belongs_to_a_gate():
    assert {path.stem for path in (CRITERIA / CONTROLS).iterdir()} <= set(gate_names(CRITERIA))


def test_a_gate_without_controls_has_none(gates):
    (gates / CONTROLS / "smoke.yaml").unlink()
    assert load_gate(gates / "smoke.yaml").controls is None


def test_the_published_gate_is_as_its_authors_wrote_it():
    assert load_gate(CRITERIA / "v2b.yaml").sha256.startswith("ae836d5fd2424d77")


def test_a_criterion_that_was_loosened_no_longer_fails_its_control(gates):
    edit(gates / "smoke.yaml", ("always: {at_most: 2.9}", "always: {at_most: 29}"))
    assert refusal(gates, "smoke") == (
        ":11 $.fails[0]: this trace fails nothing: loss-is-sane HOLDS: expected loss-is-sane to fail, and nothing else"
    )


def test_a_criterion_that_was_tightened_no_longer_passes_its_control(gates):
    edit(gates / "smoke.yaml", ("at_end: {at_most: 1.0}", "at_end: {at_most: 0.3}"))
    assert refusal(gates, "smoke") == ":8 $.passes: this trace does not pass: learning-moves FAILS"


PASSES = "passes:\n  title: the training loss that seed 0 of smoke had on a CPU"
ALSO = "also: [no-entropy-collapse]"
ALSO_LOW = "also: [accuracy-stays-low, no-entropy-collapse]"


@pytest.mark.parametrize(
    ("name", "change", "field", "words"),
    [
        ("smoke", ("gate: smoke", "gate: v2b"), "$.gate", "another gate"),
        ("smoke", ("- id: learning-moves", "- id: learning"), "$.fails[1].id", "no such criterion or requirement"),
        ("smoke", ("[50, 3.9]", "[50, 2.7]"), "$.fails[0]", "this trace fails nothing: loss-is-sane HOLDS"),
        ("smoke", ("[150, 0.6]", "[150, 1.6]"), "$.fails[0]", "this trace fails learning-moves, loss-is-sane"),
        ("smoke", ("[150, 2.60]]", "[100, 2.60]]"), "$.fails[1]", "learning-moves INCONCLUSIVE (1 of 4 points missing"),
        ("smoke", ("[50, 3.9]", "[0, 3.9]"), "$.fails[0].metrics.train_loss[1]", "steps must increase"),
        ("smoke", ("loss: [[0, 2.64], [150", "lass: [[0, 2.64], [150"), "$.fails[1].metrics.train_lass", "judges no"),
        ("smoke", ("- id: learning-moves", "- id: loss-is-sane"), "$.fails[1]", "expected loss-is-sane to fail"),
        ("smoke", (PASSES, "passes: null"), "$.passes", "the field reason is missing"),
        ("smoke", ("passes:\n", "reason: none\npasses:\n"), "$.reason", "next to a run that passes"),
        ("smoke", (PASSES, "passes: null\nreason: untried"), "$.passes", "no condition is IMPOSSIBLE"),
        ("v2b", (ALSO_LOW, ALSO), "$.fails[5]", "this trace fails accuracy-stays-low, no-accuracy-jump, no-entropy"),
        ("v2b", (ALSO, "also: [no-accuracy-jump, no-entropy-collapse]"), "$.fails[2]", "no-accuracy-jump HOLDS"),
        ("v2b", (ALSO, "also: [entropy]"), "$.fails[2].also[0]", "expected another one of"),
        ("v2b", (ALSO, "also: [accuracy-stays-low]"), "$.fails[2].also[0]", "expected another one of"),
        ("v2b", ("reason: no-entropy", "raison: no-entropy"), "$.raison", "did you mean reason?"),
        ("v2b", ("positions: 8, ", ""), "$.passes", "no condition is IMPOSSIBLE"),
        ("v2b", ("width: 256", "width: 2.5"), "$.facts.width", "type integer"),
    ],
)
def test_a_control_that_does_something_else_is_refused_at_its_line(gates, name, change, field, words):
    path = gates / CONTROLS / f"{name}.yaml"
    edit(path, change)
    line, found, message = re.fullmatch(r":(\d+) (\S+): (.*)", refusal(gates, name)).groups()
    assert (found, words in message) == (field, True), message
    key = re.findall(r"[a-z_]+", field)[-1]
    assert ("- id:" if re.fullmatch(r"\$.fails\[\d\]", field) else key) in path.read_text("utf-8").splitlines()[
        int(line) - 1
    ]


def test_a_criterion_without_a_control_is_named(gates):
    path = gates / CONTROLS / "smoke.yaml"
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("  - id: learning-moves")], "utf-8")
    assert "$.fails: no control fails learning-moves: expected one trace for each of loss-" in refusal(gates, "smoke")


def test_a_requirement_needs_a_control_that_fails_it_too(gates):
    requires = "requires:\n  - answers-learnable: {at_least: 1.0}\n"
    gate, controls = gates / "smoke.yaml", gates / CONTROLS / "smoke.yaml"
    gate.write_text(gate.read_text("utf-8") + requires, "utf-8")
    edit(controls, ("width: 8}", "width: 8, seen_answer_ceiling: 1}"))
    assert "no control fails answers-learnable" in refusal(gates, "smoke")
    unseen = "  - id: answers-learnable\n    title: unseen answers\n    facts: {seen_answer_ceiling: 0.9}\n"
    controls.write_text(controls.read_text("utf-8") + unseen, "utf-8")
    assert load_gate(gate).controls.failing == 3


def test_the_command_says_how_many_controls_there_are_and_stops_at_a_false_one(
    gates, columns_run, reprogrok, one_error
):
    words = ("sanity", "v2b", "--run", columns_run(), "--criteria", gates)
    shown = reprogrok(*words, cwd=ROOT)
    assert "controls:     none can pass (no-entropy-collapse asks for more than 2.0 nats" in shown.stdout
    assert "6 fail as stated" in shown.stdout
    document = json.loads(reprogrok(*words, "--format", "json", cwd=ROOT).stdout)
    assert (document["gate"]["controls"]["passing"], document["gate"]["controls"]["failing"]) == (0, 6)
    edit(gates / CONTROLS / "v2b.yaml", ("[20000, 0.08]", "[20000, 0.04]"))
    line = one_error(reprogrok(*words, cwd=ROOT))
    assert re.search(
        r"v2b.yaml:\d+ \$.fails\[2\]: this trace fails no-entropy-collapse: accuracy-stays-low HOLDS", line
    )
    (gates / CONTROLS / "v2b.yaml").unlink()
    assert "controls:     none\n" in reprogrok(*words, cwd=ROOT).stdout


@pytest.mark.parametrize(
    ("breakpoints", "grid", "examples", "steps", "values"),
    [
        ([[0, 0.0], [100, 1.0]], {0, 25, 50, 75, 100}, None, (0, 25, 50, 75, 100), (0, 0.25, 0.5, 0.75, 1)),
        ([[10, 1], [20, 3], [40, 1]], {0, 10, 20, 30, 40, 50}, None, (10, 20, 30, 40), (1, 3, 2, 1)),
        ([[15, 4]], {10, 20}, None, (15,), (4,)),
        ([[10, 1], [11, 5]], {10, 20}, None, (10, 11), (1, 5)),
        ([[0, 0], [30, 0.3]], {0, 10, 20, 30}, 3, (0, 10, 20, 30), (0, 0, 1 / 3, 1 / 3)),
    ],
)
def test_a_trace_is_straight_lines_on_the_grid(breakpoints, grid, examples, steps, values):
    assert _sampled(breakpoints, grid, examples) == (steps, pytest.approx(values))


def test_readers_of_the_repository_see_the_schema_of_controls():
    shown = ROOT / "audit" / "schemas" / "controls.schema.json"
    assert json.loads(shown.read_text("utf-8")) == validator("controls").schema


def test_a_folder_of_controls_can_be_checked_against_its_gate_alone(gates):
    gate = load_gate(gates / "smoke.yaml")
    assert check_controls(gate, gates / CONTROLS / "smoke.yaml") == gate.controls
    assert load(gates / CONTROLS / "smoke.yaml", "controls").data["gate"] == "smoke"


def test_loading_every_gate_with_its_controls_needs_no_torch():
    script = (
        "import sys\nfrom pathlib import Path\nfrom reprogrok.gates.gate_files import gate_names, load_gate\n"
        "folder = Path('audit/criteria')\n"
        "assert all(load_gate(folder / f'{name}.yaml').controls for name in gate_names(folder))\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
