"""Logs that others write line by line: read to the digit, holes kept, and refused at the line that contradicts."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.formats.foreign_logs import PEER_DEFINITIONS
from reprogrok.formats.foreign_runs import read_run
from reprogrok.record import Series

HEADER = "step,train_loss,val_exact,val_token_acc,lr,elapsed_sec"
NORMED = "step,train_loss,val_exact,val_token_acc,grad_norm,lr,elapsed_sec"
ROWS = (
    "0,2.5390625,0.0,0.09,1.4814814814814815e-05,1.5",
    "500,1.25,0.1998,0.8,0.0074,20.25",
    "1000,nan,0.203,0.85,0.0148,40.5",
    "1499,1.0,0.203,0.85,0.002,60.0",
)
SUMMARY = {
    "run_name": "baseline_d8", "params": 1_128, "best_val_exact": 0.203, "best_step": 1_000, "train_steps": 1_500,
    "elapsed_sec": 61.5, "model_config": {"n_layer": 1, "d_model": 8, "n_head": 1, "d_ff": 28, "max_seq_len": 33},
}  # fmt: skip
CONFIG = {"model": SUMMARY["model_config"], "train": {"seed": 43, "train_steps": 1_500, "val_size": 5_000}}


@pytest.fixture
def run(tmp_path):
    """Write a run folder; what is None is left out."""

    def write(rows=ROWS, header=HEADER, *, summary=SUMMARY, config=CONFIG, name="peer", end="\n"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        if rows is not None:
            (folder / "metrics.csv").write_text("".join(line + end for line in (header, *rows)), "utf-8", newline="")
        for file, document in (("summary.json", summary), ("config.json", config)):
            if document is not None:
                (folder / file).write_text(json.dumps(document), "utf-8")
        return folder

    return write


@pytest.fixture
def log(tmp_path):
    """Write a log of llm.c."""

    def write(text, name="c12-5/log.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_run(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path.parent}/")
    return message.removeprefix(f"{path.parent}/")


def same(found, expected):
    """Equal steps and values, where NaN is equal to NaN."""
    return (found.steps, repr(found.values)) == (expected.steps, repr(expected.values))


# --- metrics.csv and summary.json ---------------------------------------------------------------------------------


def test_a_csv_is_read_to_the_digit_under_our_names(run):
    found = read_run(run())
    assert (found.experiment, found.layout, list(found.replicas)) == ("peer", "peer-csv", [43])
    metrics, steps = found.replicas[43], (0, 500, 1_000, 1_499)
    assert metrics["test_exact_match"] == Series(steps, (0.0, 0.1998, 0.203, 0.203))
    assert metrics["test_token_accuracy"] == Series(steps, (0.09, 0.8, 0.85, 0.85))
    assert metrics["learning_rate"] == Series(steps, (0.02 / 1350, 0.0074, 0.0148, 0.002))
    assert same(metrics["train_loss"], Series(steps, (2.5390625, 1.25, math.nan, 1.0)))
    assert found.definitions == {
        "train_loss": "ce/answer+eos/batch",
        "test_exact_match": "exact/answer/validation-5000",
        "test_token_accuracy": "token/generated/validation-5000",
        "learning_rate": "of-the-update",
    }
    assert found.facts == {"positions": 33, "width": 8, "test_examples": 5_000, "steps": 1_500}
    assert (found.gates, found.fingerprint, found.diverged) == ({}, {}, {})


def test_the_newer_header_has_the_norm_of_the_gradient(run):
    found = read_run(run(["0,2.5,0.0,0.1,3.5,0.01,1.0"], NORMED, summary=None))
    assert found.replicas[43]["grad_norm"] == Series((0,), (3.5,))
    assert found.replicas[43]["learning_rate"] == Series((0,), (0.01,))
    assert found.definitions["grad_norm"] == "l2/before-clip"
    assert set(found.definitions) == set(PEER_DEFINITIONS)


def test_the_file_itself_the_csv_alone_and_other_line_ends_will_do(run):
    folder = run(summary=None, config=None, end="\r\n")
    for path in (folder, folder / "metrics.csv"):
        found = read_run(path)
        assert found.replicas[0]["test_exact_match"].values == (0.0, 0.1998, 0.203, 0.203)
        assert (found.experiment, found.facts) == ("peer", {"test_examples": 5_000})


@pytest.mark.parametrize("hole", ["", "nan", "-nan", "inf", "-inf"])
def test_a_hole_is_kept_as_nan(run, hole):
    (metrics,) = read_run(run([f"0,{hole},0.0,0.1,0.1,1.0", "1,1.0,0.0,0.1,0.1,2.0"], summary=None)).replicas.values()
    assert same(metrics["train_loss"], Series((0, 1), (math.nan, 1.0)))


def test_a_validation_set_of_another_size_is_another_definition(run):
    small = CONFIG | {"train": CONFIG["train"] | {"val_size": 16}}
    found = read_run(run(["0,2.5,0.5,0.9,0.1,1.0"], summary=None, config=small))
    assert found.definitions["test_exact_match"] == "exact/answer/validation-16"
    assert found.facts["test_examples"] == 16


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), *[st.floats(0, 1) | st.just(math.nan)] * 2, st.floats(1e-12, 1)),
        unique_by=lambda row: row[0],
        max_size=8,
    )
)
def test_what_pythons_csv_writes_comes_back_as_the_same_numbers(tmp_path_factory, rows):
    rows.sort()
    folder = tmp_path_factory.mktemp("peer")
    lines = [f"{step},{loss!r},{exact!r},0.5,{lr!r},1.0" for step, loss, exact, lr in rows]
    (folder / "metrics.csv").write_text("\n".join([HEADER, *lines]), "utf-8")
    metrics, steps = read_run(folder).replicas[0], tuple(row[0] for row in rows)
    for place, name in enumerate(("train_loss", "test_exact_match", "learning_rate"), 1):
        assert same(metrics[name], Series(steps, tuple(row[place] for row in rows)))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["0,1,0,0,1,1", "0,1,0,0,1,1"], ":3: steps must increase: expected more than 0, the step before it, found 0"),
        (["9,1,0,0,1,1", "5,1,0,0,1,1"], ":3: steps must increase: expected more than 9, the step before it, found 5"),
        (["0.5,1,0,0,1,1"], ":2: expected a whole number of steps, found '0.5'"),
        (["-1,1,0,0,1,1"], ":2: expected a whole number of steps, found '-1'"),
        ([",1,0,0,1,1"], ":2: expected a whole number of steps, found ''"),
        (["0,high,0,0,1,1"], ":2 train_loss: expected a number, nan or nothing, found 'high'"),
        (["0,1,1_0,0,1,1"], ":2 val_exact: expected a number, nan or nothing, found '1_0'"),
        (["0,1,0,0, 1,1"], ":2 lr: expected a number, nan or nothing, found ' 1'"),
        (["0,1,0,0,1,1", "1,1,0"], ":3: a row of another length: expected 6, found 3: '1,1,0'"),
        (["0,1,0,0,1,1", "", "1,1,0,0,1,1"], ":3: a row of another length: expected 6, found 1: ''"),
    ],
)
def test_a_csv_that_contradicts_itself_is_refused_at_its_line(run, rows, words):
    assert refusal(run(rows)) == f"peer/metrics.csv{words}"


@pytest.mark.parametrize(
    "header", ["", "step,val_exact", HEADER.replace("lr", "rate"), f"{HEADER},note", "\ufeff" + HEADER]
)
def test_other_columns_are_refused_at_the_first_line(run, header):
    found = refusal(run(header=header))
    assert found.startswith(f"peer/metrics.csv:1: other columns: expected {HEADER} or {NORMED}, found ")


def test_what_is_no_text_is_refused(run):
    folder = run(summary=None)
    (folder / "metrics.csv").write_bytes(HEADER.encode() + b"\n\xff\n")
    assert refusal(folder) == f"peer/metrics.csv: not UTF-8 text (byte {len(HEADER) + 1})"
    (folder / "metrics.csv").write_bytes(b"")
    assert "metrics.csv:1: other columns" in refusal(folder)


# --- a summary and its csv ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "step", "words"),
    [
        (0.2, 1_000, "metrics.csv has 0.203 at step 1000, which is higher: found 0.2 first at step 1000"),
        (0.9, 1_000, "metrics.csv has 0.203 at step 1000, the step of the best: found 0.9 first at step 1000"),
        (0.203, 1_499, "metrics.csv has 0.203 at step 1000, so it was reached before: found 0.203 first at step 1499"),
    ],
)
def test_a_summary_that_cannot_be_that_of_the_csv_is_refused_with_both_numbers(run, best, step, words):
    folder = run(summary=SUMMARY | {"best_val_exact": best, "best_step": step})
    assert refusal(folder) == f"peer/summary.json $.best_val_exact: contradicts the log: {words}"


@pytest.mark.parametrize(
    ("rows", "best", "step"),
    [
        (ROWS, 0.20299999415874481, 1_000),  # a float32, as a vectorised evaluation reports it
        (ROWS[:2], 0.203, 1_000),  # the log ends before the best
        ((ROWS[0], "1000,1.0,nan,0.9,0.1,1.0"), 0.203, 1_000),  # a hole where the best was
        ((), -1.0, -1),  # nothing was evaluated
    ],
)
def test_a_summary_that_may_be_that_of_the_csv_is_taken(run, rows, best, step):
    found = read_run(run(rows, summary=SUMMARY | {"best_val_exact": best, "best_step": step}))
    assert len(found.replicas[43]["test_exact_match"].steps) == len(rows)


def test_a_summary_alone_is_a_run_without_a_curve(run):
    found = read_run(run(rows=None, config=None))
    assert (found.layout, found.replicas, found.definitions) == ("peer-csv", {0: {}}, {})
    assert found.facts["steps"] == 1_500


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"best_step": 1.5}, "$.best_step: expected a value of type integer, found 1.5"),
        ({"best_val_exact": "0.2"}, '$.best_val_exact: expected a value of type number, found "0.2"'),
        ({"best_val_exact": 20.3}, "$.best_val_exact: expected at most 1, found 20.3"),
        ({"num_models": 2}, "$: the field models is missing"),
        ({"num_models": 2, "models": [SUMMARY]}, "$.models: expected 2 models, as num_models says, found 1"),
        ({"num_models": 1, "models": [{"seed": 3}]}, "$.models[0]: the field best_val_exact is missing"),
    ],
)
def test_a_malformed_summary_is_refused_at_its_field(run, change, words):
    assert refusal(run(rows=None, summary=SUMMARY | change)) == f"peer/summary.json {words}"


def several(*models):
    """The summary of a vectorised run: what each model has beyond the usual."""
    return {
        "run_name": "many", "num_models": len(models), "train_steps": 1_500, "model_config": SUMMARY["model_config"],
        "aggregate": {"best_val_exact_mean": 0.203}, "models": [SUMMARY | model for model in models],
    }  # fmt: skip


def test_a_run_of_several_models_has_a_replica_for_each(run):
    run(name="many/model_000", config=None)
    run(name="many/model_002", rows=ROWS[:3], config=None)
    models = [{"model_index": index, "seed": 42 + index} for index in range(3)]
    folder = run(rows=None, summary=several(*models), name="top", config=CONFIG)
    for name in ("summary.json", "config.json"):
        (folder / name).rename(folder.parent / "many" / name)
    found = read_run(folder.parent / "many")
    curves = {seed: metrics.get("test_exact_match") for seed, metrics in found.replicas.items()}
    whole = Series((0, 500, 1_000, 1_499), (0.0, 0.1998, 0.203, 0.203))
    assert curves == {42: whole, 43: None, 44: Series(whole.steps[:3], whole.values[:3])}
    assert (found.experiment, found.facts["width"], found.facts["steps"]) == ("many", 8, 1_500)
    # One of its models is a run by itself.
    assert read_run(folder.parent / "many" / "model_002").replicas[0]["test_exact_match"] == curves[44]


def test_a_model_that_contradicts_its_entry_is_named(run):
    run(name="peer/model_001", config=None)
    summary = several({}, {"best_val_exact": 0.1})
    (folder := run(rows=None, summary=summary, name="top")).joinpath("summary.json").rename(
        folder.parent / "peer" / "summary.json"
    )
    found = refusal(folder.parent / "peer")
    assert found.startswith("peer/summary.json $.models[1].best_val_exact: contradicts the log: metrics.csv has 0.1998")


def test_one_log_beside_a_summary_of_several_models_is_refused(run):
    assert refusal(run(summary=several({}, {}))) == (
        "peer/metrics.csv: one log beside a summary of 2 models: it is unknown of which model: "
        "expected model_000/metrics.csv and so on"
    )


def test_two_models_of_one_seed_are_refused(run):
    folder = run(rows=None, summary=several({"seed": 7}, {"seed": 7}))
    assert refusal(folder) == "peer/summary.json $.models[1].seed: expected a seed of its own, found 7"


# --- Logs of llm.c ------------------------------------------------------------------------------------------------

LLMC = (
    "s:0 tel:4.8520\ns:0 trl:4.8517\ns:1 trl:4.7300\ns:2 trl:nan\n"
    "s:100 tel:1.3767\ns:100 trl:1.1228\ns:101 tel:1.3766\n"
)


@pytest.mark.parametrize(
    ("file", "asked", "experiment"),
    [("c12-5/log.txt", "c12-5", "c12-5"), ("c12-5/main.log", "c12-5/main.log", "c12-5"), ("x/row-7.txt", "x", "row-7")],
)
def test_an_llmc_log_is_two_series_with_steps_of_their_own(log, tmp_path, file, asked, experiment):
    log(LLMC, file)
    found = read_run(tmp_path / asked)
    assert (found.experiment, found.layout, found.path) == (experiment, "llmc-log", tmp_path / file)
    assert found.replicas[0]["test_loss"] == Series((0, 100, 101), (4.8520, 1.3767, 1.3766))
    assert same(found.replicas[0]["train_loss"], Series((0, 1, 2, 100), (4.8517, 4.73, math.nan, 1.1228)))
    assert found.definitions == {"test_loss": "ce/llmc-first-blocks", "train_loss": "ce/llmc-batch"}
    assert found.facts == {}


def test_a_kind_that_is_not_there_is_no_series(log):
    found = read_run(log("s:1 trl:0.0000\r\ns:2 trl:-0.0000"))
    assert found.replicas == {0: {"train_loss": Series((1, 2), (0.0, 0.0))}}
    assert list(found.definitions) == ["train_loss"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["s:5 trl:1.0000", "s:5 trl:1.0000"], "2: {trl}: expected at least 6, found 5"),
        (["s:5 trl:1.0000", "s:4 trl:1.0000"], "2: {trl}: expected at least 6, found 4"),
        (["s:5 tel:1.0000", "s:5 trl:1.0000", "s:5 tel:1.0000"], "3: {tel}: expected at least 6, found 5"),
        (["s:9 trl:1.0000", "s:5 tel:1.0000"], "2: {tel}: expected at least 9, found 5"),
        (["s:5 tel:1.0000", "s:6 trl:1.12"], "2: {form}, found 's:6 trl:1.12'"),
        (["s:5 tel:1.0000", "s:6"], "2: {form}, found 's:6'"),
        (["s:5 tel:1.0000", "", "s:6 tel:1.0000"], "2: {form}, found ''"),
        (["s:5 tel:1.0000", "s:6 acc:1.0000"], "2: {form}, found 's:6 acc:1.0000'"),
        (["s:5 tel:1.0000", "s:-6 tel:1.0000"], "2: {form}, found 's:-6 tel:1.0000'"),
        (["s:5 tel:1.0000", "s:٦ tel:1.0000"], "2: {form}, found 's:٦ tel:1.0000'"),
        (["s:5 tel:1.0000", "x" * 999], "2: {form}, found '" + "x" * 76 + "..."),
    ],
)
def test_a_log_that_was_resumed_or_cut_is_refused_at_its_line(log, lines, words):
    form = "not a line of an llm.c log: expected s:STEP tel:LOSS or s:STEP trl:LOSS with four decimal places"
    note = "steps of {} must increase (a run that was resumed repeats some: keep one of its parts)"
    path = log("\n".join(lines) + "\n").parent
    expected = words.format(form=form, trl=note.format("trl"), tel=note.format("tel"))
    assert refusal(path) == f"c12-5/log.txt:{expected}"


def test_a_file_that_is_no_log_and_an_empty_one_say_what_was_expected(log):
    assert "notes.md:1: not a line of an llm.c log: expected s:STEP" in refusal(log("# Notes\n", "notes.md"))
    assert refusal(log("", "empty.txt")).endswith(
        "empty.txt: no line of an llm.c log: expected s:STEP tel:LOSS, found an empty file"
    )


def test_several_logs_in_a_folder_are_several_runs(log):
    log(LLMC, "runs/b.txt")
    log("All is well.", "runs/notes.txt")
    assert read_run(log(LLMC, "runs/a.log")).experiment == "a"
    assert refusal(log(LLMC, "runs/a.log").parent) == (
        "runs: several logs of llm.c; name the file: expected one log, found a.log, b.txt"
    )


def test_a_folder_without_any_log_is_still_no_run(log):
    with pytest.raises(InputError, match=r"no run here: expected .*metrics\.csv or a log of llm\.c.*found notes\.txt"):
        read_run(log("All is well.", "runs/notes.txt").parent)
