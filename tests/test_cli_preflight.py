"""`reprogrok sanity NAME --preflight` as a user runs it: what is printed, what is written, and the exit code."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from reprogrok.gates.gate_files import load_gate
from reprogrok.gates.preflight.checks import NoteKind
from reprogrok.gates.preflight.documents import as_json
from reprogrok.gates.preflight.preflight import preflight
from reprogrok.gates.preflight.tables import print_preflight
from reprogrok.params import read_params
from reprogrok.schema import check_written, validator

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def look(reprogrok):
    def run(*words, cwd=ROOT, **environment):
        return reprogrok("sanity", *words, "--preflight", cwd=cwd, **environment)

    return run


def test_v2b_is_stopped_by_its_own_criteria_in_one_sentence(look):
    result = look("v2b", COLUMNS="200")
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "v2b before v2b: NO_GO (exit 1): IMPOSSIBLE: no-entropy-collapse: the mean over T = 8 causal positions is at "
        "most ln(8!)/8 = 1.3256 nats, so no value can meet attention_entropy always > 2"
    )
    assert sum(line.startswith("UNINFORMATIVE: ") for line in lines) == 2
    (row,) = (line for line in lines if "attention_entropy always > 2" in line and line.startswith(" no-entropy"))
    assert "NO" in row.split()
    assert "e.g. 0 throughout" in row


def test_v2_is_stopped_before_it_starts(look):
    result = look("v2b-fixed", "--experiment", "v2")
    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == (
        "v2b-fixed before v2: NO_GO (exit 1): FAILS: answers-learnable: 49 of 49 test answers, those of 4,753 of 4,753 "
        "test examples, never occur in training: the fraction that does is 0, and at least 1 is required"
    )


def test_a_go_says_apart_what_can_still_go_both_ways_and_what_holds_already(look):
    assert look("smoke").stdout.splitlines()[0] == "smoke before smoke: GO (exit 0): 2 criteria can pass and can fail"
    assert look("modular", "--experiment", "c12-5").stdout.splitlines()[0] == (
        "modular before c12-5: GO (exit 0): 2 criteria and 2 requirements can pass and can fail;"
        " 1 requirement already holds"
    )


def test_a_run_that_may_start_says_so_and_the_file_is_the_printed_document(look, tmp_path):
    output = tmp_path / "new" / "preflight.json"
    result = look("modular", "--experiment", "c12-7", "--format", "json", "--output", output)
    assert (result.returncode, result.stderr) == (0, "")
    assert output.read_text("utf-8") == result.stdout
    document = json.loads(result.stdout)
    check_written(document, "preflight")
    assert (document["verdict"], document["exit_code"], document["findings"]) == ("GO", 0, [])
    assert document["experiment"]["facts"]["test_examples"] == 4_705
    assert [item["decided"] for item in document["requirements"]] == ["HOLDS", None, None]
    assert all(item["can_pass"] and item["can_fail"] for item in document["criteria"])


def test_the_verdict_is_written_whatever_it_says(look, tmp_path):
    output = tmp_path / "preflight.json"
    result = look("v2b", "--output", output)
    assert result.returncode == 1
    document = json.loads(output.read_bytes())
    assert (document["verdict"], document["exit_code"]) == ("NO_GO", 1)
    assert document["summary"] == result.stdout.splitlines()[0]
    assert {item["kind"]: item["stops"] for item in document["findings"]} == {
        "IMPOSSIBLE": True,
        "UNINFORMATIVE": False,
    }


@pytest.mark.parametrize(("gate", "experiment"), [("addition", "e1"), ("modular", "c12-5")])
def test_a_preflight_loads_no_torch(gate, experiment):
    code = (
        "import sys\n"
        f"sys.argv = ['reprogrok', 'sanity', '{gate}', '--preflight', '--experiment', '{experiment}']\n"
        "from reprogrok.cli.main import main\n"
        "try:\n    code = main()\n"
        "finally:\n    print(sorted({'torch', 'matplotlib'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert " GO (exit 0)" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modular"], "the run to be judged is not known: expected --experiment NAME"),
        (["v2b", "--experiment", "v3b"], "unknown experiment"),
        (["v2b", "--run", "runs/v2b"], "--run: a preflight judges no run"),
        (["v2b", "--format", "junit"], "--format: not with --preflight: expected table or json, found junit"),
        (["nobody"], "no such gate"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line_and_exit_2(look, one_error, words, message):
    assert message in one_error(look(*words))


def test_an_experiment_without_preflight_is_refused(reprogrok, one_error):
    assert "only with --preflight" in one_error(reprogrok("sanity", "v2b", "--experiment", "v2", cwd=ROOT))


def test_a_batch_that_cannot_be_is_named_at_its_line(look, one_error, project):
    text = (project / "params.yaml").read_text("utf-8")
    (project / "params.yaml").write_text(text.replace("size: 4703", "size: 5703"), "utf-8")
    line = one_error(look("modular", "--experiment", "c12-7", cwd=project))
    assert line.startswith("params.yaml:")
    assert "$.experiments.c12-7.batch.size" in line


def test_the_schema_is_one_and_says_which_kinds_there_are():
    schema = validator("preflight").schema
    assert schema["properties"]["findings"]["items"]["properties"]["kind"]["enum"] == [kind.value for kind in NoteKind]


def test_brackets_in_a_gate_are_printed_as_they_are(tmp_path):
    folder = tmp_path / "[red]"
    folder.mkdir()
    shutil.copy(ROOT / "audit" / "criteria" / "v2b.yaml", folder / "v2b.yaml")
    params = read_params(ROOT / "params.yaml")
    found = preflight(load_gate(folder / "v2b.yaml"), params.experiments["v2b"], params)
    console = Console(record=True, width=120, file=io.StringIO())
    print_preflight(found, console)
    assert "[red]/v2b.yaml" in console.export_text()
    assert json.loads(as_json(found))["gate"]["path"].endswith("[red]/v2b.yaml")
