"""`reprogrok audit`: a table, one claim explained, a document, a ledger, an exit code, or one clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from conftest import ROOT
from typer.testing import CliRunner

from reprogrok.cli.audit import audit
from reprogrok.errors import InputError

HEAD = "format: reprogrok.claims/1\nsource: {file: paper.txt, title: A paper}\nclaims:\n"
PARAMETERS = """\
  - id: %(id)s
    words: it has %(words)s parameters
    at: 3
    says: The model of e8 has %(value)s parameters.
    kind: parameters
    tier: numeric
    subject: {data: e8}
    quantity: {name: parameters, definition: unique-after-tying}
    expect: {value: %(value)s, tolerance: 0}
    contradicted_by: It has another number.
"""
# 763: d7/ff14 at full rank, by the table of published parameter counts.
TRUE = PARAMETERS % {"id": "e8-size", "words": "763", "value": 763}
FALSE = PARAMETERS % {"id": "e8-other-size", "words": "777", "value": 777}
OPEN = """\
  - id: e8-groks
    words: it groks
    at: 4
    says: Most seeds of e8 grok.
    kind: rate
    tier: statistical
    subject: {experiment: e8}
    quantity:
      name: grokked
      definition: first-above/0.99
      metric: test_exact_match
      measured_as: exact/answer/validation-5000
    expect: {rate: {between: [0.5, 1]}}
    contradicted_by: Most seeds do not.
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A project with three claims, and the command in it."""
    folder = tmp_path / "project"
    (folder / "audit" / "claims").mkdir(parents=True)
    (folder / "audit" / "evidence").mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "audit" / "claims" / "one.yaml").write_text(HEAD + TRUE + FALSE, "utf-8")
    (folder / "audit" / "claims" / "two.yaml").write_text(HEAD.replace("paper", "other") + OPEN, "utf-8")
    monkeypatch.chdir(folder)
    app = typer.Typer()
    app.command()(audit)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})


def test_all_claims_are_judged_and_a_contradiction_is_exit_code_1(run):
    result = run()
    assert result.exit_code == 1
    assert "A paper (paper.txt)" in result.output
    assert "3 claims: 1 REPRODUCED, 1 CONTRADICTED, 1 INCONCLUSIVE" in result.output
    assert "No verdict is decided by statistics" in result.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["e8-size"], 0),
        (["e8-other-size"], 1),
        (["e8-groks"], 3),
        (["e8-size", "e8-groks"], 3),
        (["audit/claims/two.yaml"], 3),
        (["audit/claims/one.yaml", "e8-groks"], 1),
    ],
)
def test_the_exit_code_is_that_of_what_was_named(run, words, code):
    assert run(*words).exit_code == code


def test_one_claim_is_explained(run):
    output = run("e8-other-size").output
    for line in (
        "e8-other-size: CONTRADICTED",
        'words: "it has 777 parameters" (paper.txt, line 3)',
        "that is: The model of e8 has 777 parameters.",
        "definition: unique-after-tying",
        "would contradict it: It has another number.",
        "numbers: 763, claimed: 777",
    ):
        assert line in output


def test_an_open_claim_says_what_would_settle_it_and_what_that_costs(run):
    output = run("e8-groks").output
    assert "e8-groks: INCONCLUSIVE" in output
    assert "missing: runs of e8" in output
    assert "to go on: `reprogrok reproduce e8-groks`" in output


def test_an_unknown_claim_names_the_nearest(run):
    error = run("e8-sise").exception
    assert isinstance(error, InputError)
    assert "no such claim" in str(error)
    assert "did you mean e8-size" in str(error)


def test_the_document_is_the_same_on_the_screen_and_in_the_file(run, tmp_path):
    result = run("--format", "json", "--output", tmp_path / "audit.json")
    document = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert json.loads(result.output) == document
    assert document["exit_code"] == result.exit_code == 1
    assert {entry["id"]: entry["verdict"] for entry in document["claims"]} == {
        "e8-size": "REPRODUCED", "e8-other-size": "CONTRADICTED", "e8-groks": "INCONCLUSIVE",
    }  # fmt: skip


def test_a_file_outside_the_folder_is_judged_too(run, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(HEAD + TRUE.replace("e8-size", "mine"), "utf-8")
    result = run(mine)
    assert result.exit_code == 0
    assert "1 claim: 1 REPRODUCED" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ledger", "LEDGER.md"], "--no-runs beside it"),
        (["e8-size", "--ledger", "LEDGER.md", "--no-runs"], "no claim named beside it"),
        (["--claims", "nowhere"], "no claims here"),
        (["nowhere.yaml"], "No such file"),
        (["--output", "audit"], "audit"),
        (["--runs", "nowhere"], "nowhere --runs: no such folder"),
        (["--evidence", "nowhere"], "nowhere --evidence: no such folder"),
        (["--params", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
)
def test_what_cannot_be_judged_is_one_error(run, words, message):
    error = run(*words).exception
    assert isinstance(error, InputError)
    assert message in str(error)


def test_a_ledger_is_written(run):
    assert run("--no-runs", "--ledger", "audit/LEDGER.md").exit_code == 1
    assert "# Ledger of claims" in Path("audit/LEDGER.md").read_text("utf-8")


def test_disputes_that_both_hold_are_said_loudly(run):
    path = Path("audit/claims/three.yaml")
    twin = TRUE.replace("e8-size", "twin") + "    disputes: [e8-size]\n"
    path.write_text(HEAD.replace("paper", "third") + twin, "utf-8")
    for words in ((), ("twin",), ("e8-size",)):
        assert "IMPOSSIBLE: " in run(*words).output
