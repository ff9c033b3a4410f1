"""`reprogrok forensics FILE`: what is printed, what is written, and the exit code."""

import json

import pytest
import typer
from typer.testing import CliRunner

from reprogrok.cli.forensics import forensics
from reprogrok.errors import InputError
from reprogrok.schema import load


@pytest.fixture
def run():
    """The command alone, as the command line calls it."""
    app = typer.Typer()
    app.command()(forensics)

    def invoke(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


def honest(document):
    document["test_accuracy"] = [k / 4_753 for k in range(len(document["step"]))]


def of_another_n(document):
    document["test_accuracy"] = [k / 4_753 for k in range(len(document["step"]))]
    document["test_accuracy"][3] = 0.01  # 47.53 of 4,753


def without_left_over(config):
    del config["split_rule"]
    config["data"]["train_split"] = 4_656.5 / 9_409  # which leaves 4,753 as well


def test_a_log_without_a_finding_exits_0_and_names_the_checked_numbers(run, columns_run):
    result = run(columns_run(config=without_left_over, metrics=honest))
    assert result.exit_code == 0
    assert "nothing found" in result.stdout
    assert "checked     k of n: 200 numbers; test_accuracy of n = 4,753" in result.stdout


def test_a_finding_exits_1_with_its_arithmetic_and_its_explanation(run, columns_run):
    result = run(columns_run(config=without_left_over, metrics=of_another_n))
    assert result.exit_code == 1
    assert "certain  not k of n  seed 42, test_accuracy, step 400" in result.stdout
    assert "47/4,753 = 0.00988849 and 48/4,753 = 0.01009888: no k of 4,753 prints as" in result.stdout
    assert "explanation another n (part of the set" in result.stdout
    assert "not evidence of fraud" in result.stdout


def test_a_weak_finding_alone_exits_0(run, tmp_path):
    row = {"of": "loss", "run": "row 1", "text": "0.0001"}
    reported = [row | {"split": "validation", "step": step} for step in (500, 1_000)] + [row | {"split": "test"}]
    claim = {
        "id": "c", "words": "w", "at": 61, "says": "s", "kind": "loss", "tier": "numeric", "subject": {"log": "row 1"},
        "quantity": {"name": "final", "definition": "ce/answer"}, "expect": {"value": 1, "tolerance": 1},
        "contradicted_by": "c", "reported": reported,
    }  # fmt: skip
    document = {"format": "reprogrok.claims/1", "source": {"file": "d.txt", "title": "d"}, "claims": [claim]}
    (tmp_path / "d.yaml").write_text(json.dumps(document), "utf-8")
    result = run(tmp_path / "d.yaml")
    assert result.exit_code == 0
    assert "1 finding (0 certain, 0 telling, 1 weak)" in result.stdout
    assert "by chance   1" in result.stdout


def test_the_document_keeps_its_schema_and_is_the_same_in_the_file(run, columns_run, tmp_path):
    folder, output = columns_run(config=without_left_over, metrics=of_another_n), tmp_path / "out" / "found.json"
    output.parent.mkdir()
    result = run(folder, "--format", "json", "--output", output)
    assert result.exit_code == 1
    document = load(output, "forensics").data
    assert document == json.loads(result.stdout)
    assert document["exit_code"] == 1
    assert document["findings"][0]["sure"] == "certain"
    assert document["checks"][0]["looked_at"] == 200


def test_an_evaluation_is_known_by_its_block(run, tmp_path):
    block = {
        "total_examples": 10, "num_test_sets": 1, "aggregate_exact_match": 0.9, "aggregate_errors": 2,
        "per_seed": {"41": {"exact_match": 0.8, "errors": 2}},
    }  # fmt: skip
    (tmp_path / "evaluation.json").write_text(json.dumps({"multi_seed_validation": block}), "utf-8")
    result = run(tmp_path / "evaluation.json")
    assert result.exit_code == 1
    assert "1 - 2/10 = 0.8, not 0.9" in result.stdout


def test_our_own_runs_are_read_too(run, trained):
    result = run(trained / "runs" / "smoke", "--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["findings"] == []
    assert document["checks"][0]["note"].startswith("test_exact_match of n = 5,000")


def test_a_log_inside_a_runs_folder_stands_for_the_run(run, columns_run, trained):
    folder = columns_run(config=without_left_over, metrics=of_another_n)
    result = run(folder / "logs" / "metrics.json")
    assert result.exit_code == 1
    assert result.stdout == run(folder).stdout
    ours = trained / "runs" / "smoke"
    assert run(ours / "metrics.jsonl").stdout == run(ours).stdout


def test_a_file_that_is_not_there_is_called_so(run, tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: no such file or folder: expected .*a log"):
        run(tmp_path / "gone.csv")


@pytest.mark.parametrize("name", ["absent", "broken.yaml", "broken.json", "log.txt"])
def test_an_unreadable_file_is_an_error_and_not_a_finding(run, tmp_path, name):
    if name != "absent":
        (tmp_path / name).write_text("{]", "utf-8")
    with pytest.raises(InputError):
        run(tmp_path / name)
