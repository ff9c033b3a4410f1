"""Runs of other projects: real ones read to the digit, holes kept, and logs that contradict themselves refused."""

from __future__ import annotations

import json
import math

import pytest

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.formats.foreign_runs import DEFINITIONS, count_test_examples, read_columns, read_run
from reprogrok.metrics.registry import METRICS


def put(value, *place):
    """A change to a document: `value` at a place inside it."""

    def change(document):
        for step in place[:-1]:
            document = document[step]
        document[place[-1]] = value

    return change


RANK, ENTROPY = "representation_rank", "attention_entropy"


@pytest.mark.parametrize(
    ("name", "test_examples", "steps"),
    [
        ("v1_baseline", 1_882, 200_000),
        ("v2a_interpolation_regime", 4_235, 25_000),
        ("v2b_conflict_split", 4_753, 20_000),
    ],
)
def test_real_runs_are_read_with_their_facts(fixtures_dir, name, test_examples, steps):
    run = read_run(fixtures_dir / "runs" / name)
    assert (run.experiment, run.layout, run.definitions) == (name, "columns", DEFINITIONS)
    assert run.facts == {"positions": 8, "width": 256, "test_examples": test_examples, "steps": steps}
    (metrics,) = run.replicas.values()
    assert {metric: len(series.steps) for metric, series in metrics.items()} == {
        **dict.fromkeys(("train_loss", "test_loss", "test_accuracy"), steps // 100),
        **dict.fromkeys(("final_layer_rank", "attention_entropy"), steps // 500),
    }
    # The derived size of the test set is the right one: every logged accuracy is a whole number of its examples.
    counts = [value * test_examples for value in metrics["test_accuracy"].values]
    assert max(abs(count - round(count)) for count in counts) < 1e-6


def test_real_values_are_those_of_the_log(fixtures_dir):
    folder = fixtures_dir / "runs" / "v2b_conflict_split"
    (metrics,) = read_run(folder).replicas.values()
    rank, entropy = metrics["final_layer_rank"], metrics["attention_entropy"]
    assert (min(rank.values), max(rank.values)) == (13, 32)
    assert (round(min(entropy.values), 3), round(max(entropy.values), 3)) == (0.095, 0.365)
    row = json.loads((folder / "logs" / "analysis.json").read_text("utf-8"))["attention_entropy"][7]
    assert entropy.values[7] == pytest.approx(sum(sum(heads) for heads in row) / 16, rel=1e-15)


def test_definitions_of_the_layout_are_known_to_the_judge():
    assert all(definition in METRICS[metric].definitions for metric, definition in DEFINITIONS.items())


def test_a_small_run_is_read_whole(columns_run):
    run = read_run(columns_run(steps=1_000))
    assert list(run.replicas) == [42]
    assert run.replicas[42]["final_layer_rank"] == record.Series((500, 1_000), (40.0, 40.0))
    assert run.replicas[42]["attention_entropy"] == record.Series((500, 1_000), (1.0, 1.0))
    assert run.gates == {}


@pytest.mark.parametrize("hole", [None, math.nan, math.inf, 10**400])
def test_a_hole_is_kept_as_nan(columns_run, hole):
    def drill(documents):
        documents["test_accuracy"][3] = hole

    def drill_analysis(documents):
        documents["representation_rank"][0][-1] = hole
        documents["attention_entropy"][1][0][1] = hole

    (metrics,) = read_run(columns_run(steps=1_000, metrics=drill, analysis=drill_analysis)).replicas.values()
    assert [math.isnan(value) for value in metrics["test_accuracy"].values[2:5]] == [False, True, False]
    assert [math.isnan(value) for value in metrics["final_layer_rank"].values] == [True, False]
    assert [math.isnan(value) for value in metrics["attention_entropy"].values] == [False, True]


def test_a_whole_row_that_is_null_is_a_hole(columns_run):
    folder = columns_run(steps=1_000, analysis=put(None, RANK, 0))
    (metrics,) = read_run(folder).replicas.values()
    assert math.isnan(metrics["final_layer_rank"].values[0])


def test_what_is_absent_stays_absent(columns_run):
    folder = columns_run(metrics=lambda m: m.pop("test_accuracy"), analysis=lambda a: a.pop("attention_entropy"))
    run = read_run(folder)
    assert set(run.replicas[42]) == {"train_loss", "test_loss", "final_layer_rank"} == set(run.definitions)
    (folder / "logs" / "analysis.json").unlink()
    assert set(read_run(folder).replicas[42]) == {"train_loss", "test_loss"}


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("metrics", lambda m: m["test_accuracy"].pop(), "$.test_accuracy: columns of unequal length: expected 10"),
        ("metrics", put("2.5", "test_loss", 4), '$.test_loss[4]: expected a number or null, found "2.5"'),
        ("metrics", put(True, "test_loss", 4), "$.test_loss[4]: expected a number or null, found true"),
        ("metrics", put(400, "step", 4), "$.step[4]: steps must increase: expected more than 400"),
        ("metrics", put(450.5, "step", 4), "$.step[4]: expected a whole number of steps, found 450.5"),
        ("metrics", put(-1, "step", 0), "$.step[0]: expected a whole number of steps"),
        ("metrics", lambda m: m.pop("step"), "$.step: no column of steps"),
        ("metrics", put(1.0, "test_loss"), "$.test_loss: not a column"),
        ("analysis", lambda a: a[RANK][1].pop(), "$.representation_rank[1]: ragged"),
        ("analysis", put([], RANK, 1), "$.representation_rank[1]: expected a list of layers"),
        ("analysis", put(40.0, RANK, 1), "$.representation_rank[1]: expected a list of layers"),
        ("analysis", lambda a: a[ENTROPY][0][1].append(1.0), "$.attention_entropy[0][1]: ragged"),
        ("analysis", put(1.0, ENTROPY, 0, 1), "$.attention_entropy[0][1]: expected a list of heads"),
        ("analysis", put([1.0], ENTROPY, 0, 1, 0), "$.attention_entropy[0][1][0]: expected a number"),
        ("analysis", lambda a: a["step"].pop(), "$.representation_rank: columns of unequal length"),
        ("config", lambda c: c["data"].pop("seed"), "$.data: the field seed is missing"),
        ("config", put("wide", "model", "d_model"), "$.model.d_model: expected a value of type integer"),
        ("config", put(3, "model", "n_layers"), "$.representation_rank[0]: ragged, or not of the model"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused_at_its_place(columns_run, part, change, words):
    folder = columns_run(steps=1_000, **{part: change})
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(folder))


def test_without_a_configured_shape_the_first_row_sets_it(columns_run):
    def widen(analysis):
        analysis["attention_entropy"][1] = [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]

    folder = columns_run(steps=1_000, config=lambda c: c.pop("model"), analysis=widen)
    with pytest.raises(InputError, match=r"\$\.attention_entropy\[1\]\[0\]: ragged.*expected 2 heads, found 3"):
        read_run(folder)


@pytest.mark.parametrize(
    "text", ['{"step": [100, 200', "", "[1, 2]", "\ufeff{}", '{"step": [1], "step": [2]}', "[" * 100_000]
)
def test_a_truncated_or_odd_log_is_refused(columns_run, text):
    folder = columns_run()
    (folder / "logs" / "metrics.json").write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert "metrics.json" in str(caught.value)


def test_a_missing_metrics_file_is_refused(columns_run):
    folder = columns_run()
    (folder / "logs" / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"metrics\.json: No such file"):
        read_columns(folder)


@pytest.mark.parametrize(
    ("data", "rule", "expected"),
    [
        ({"modulus_p": 97, "train_split": 0.8}, "(a+b)%p < p/2 (train) vs >= p/2 (test)", 4_753),
        ({"modulus_p": 97, "train_split": 0.8}, None, 1_882),
        ({"modulus_p": 97, "train_split": 0.55}, None, 4_235),
        ({"modulus_p": 97, "train_split": 0.8}, "another rule", None),
        ({"modulus_p": 97}, None, None),
        ({"train_split": 0.8}, None, None),
    ],
)
def test_the_size_of_the_test_set_follows_from_the_split_or_is_unknown(data, rule, expected):
    assert count_test_examples(data, rule) == expected


def test_facts_that_are_not_settled_are_left_out(columns_run):
    def other_tokens(config):
        config["model"]["vocab_size"] = 128
        config["split_rule"] = "by moonlight"

    assert read_run(columns_run(config=other_tokens)).facts == {"width": 64, "steps": 20_000}


def test_a_folder_that_is_no_run_says_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no run here: expected summary\.json.*config\.json.*found notes\.txt"):
        read_run(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_run(tmp_path / "nowhere")


def test_a_run_in_progress_says_that_it_is(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(InputError, match="still in progress or was interrupted"):
        read_run(tmp_path)
