"""`reprogrok compare`: evaluations side by side, with worked p-values, in every shape they can have; and two runs."""

from __future__ import annotations

import copy
import json
import math
import shutil

import pytest

from reprogrok.files import pretty_json
from reprogrok.schema import check_written
from reprogrok.tasks.protocols import EXAM_SEEDS

TEST_SETS = (41, 100)
N = 10_000


def score(n, errors):
    return {
        "n": n, "errors": errors, "error_rate_interval": [0.0, 1.0], "token_accuracy": 0.5, "smallest_margin": None,
    }  # fmt: skip


def evaluation(path, failed, *, parameters=512, origin=None):
    """An evaluation as `eval` writes it, whose failures are (test set, index)."""
    strata = []
    for seed in TEST_SETS:
        indices = sorted(index for test_set, index in failed if test_set == seed)
        columns = {"index": indices, "a": indices, "b": [seed] * len(indices), "answer": ["0" * 11 for _ in indices]}
        strata.append({"name": str(seed), "law": "-", **score(N, len(indices)), "failures": columns})
    total = score(N * len(TEST_SETS), len(failed))
    exam = {"exam": "addition-100k/1", "exam_digest": "1" * 64, "method": "forward", "rechecked": 0}
    written = {
        "format": "reprogrok.evaluation/1",
        "reprogrok": "0.1.0",
        "checkpoint": {
            "path": path, "sha256": "0" * 64, "parameters": parameters, "claimed_parameters": None,
            "claimed_val_exact": None, "step": None, "stored_dtype": "float32", "model_config": {}, "origin": origin,
        },
        "environment": dict.fromkeys(
            ("device", "device_name", "dtype", "threads", "torch", "numpy", "python", "system"), "-"
        ),
        "suites": {"uniform": exam | {"total": total, "strata": strata}},
    }  # fmt: skip
    check_written(written, "evaluation")
    return written


NONE = evaluation("a.pt", set(), parameters=456)
TWELVE = evaluation("b.pt", {(41, i) for i in range(12)})


@pytest.fixture
def compare(tmp_path, reprogrok):
    """Write documents as 0.json, 1.json, ... and compare them."""

    def run(*documents, words=()):
        names = [f"{index}.json" for index in range(len(documents))]
        for name, document in zip(names, documents, strict=True):
            (tmp_path / name).write_bytes(pretty_json(document))
        return reprogrok("compare", *names, *words, cwd=tmp_path)

    return run


def many(*evaluations):
    return {"format": "reprogrok.evaluations/1", "evaluations": list(evaluations)}


def test_no_error_against_twelve_is_more_than_chance(compare):
    result = compare(NONE, TWELVE)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["[1]", "a.pt", "456", "0", "at", "most", "0.000184"] in rows
    assert ["uniform", "[1]", "[2]", "0", "12", "0.000488", "yes"] in rows  # 2 * 0.5**12


def test_json_holds_the_numbers_and_the_metrics_file_numbers_alone(compare, tmp_path):
    result = compare(many(NONE, TWELVE), words=("--format", "json", "--output", "out.json", "--metrics", "m.json"))
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "out.json").read_bytes())
    (pair,) = document["pairs"]
    assert (pair["only_first"], pair["only_second"], pair["p"], pair["more_than_chance"]) == (0, 12, 2 * 0.5**12, True)
    assert document["checkpoints"][1]["suites"]["uniform"]["errors"] == 12

    def leaves(value):
        return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]

    metrics = leaves(json.loads((tmp_path / "m.json").read_bytes()))
    assert metrics == [0, 12]
    assert all(type(number) in {int, float} for number in metrics)


def test_a_few_errors_more_are_not_shown_to_be_more_than_chance(compare):
    other = evaluation("c.pt", {(41, 1), (100, 5)})
    rows = [line.split() for line in compare(evaluation("d.pt", {(41, 0)}), other).stdout.splitlines()]
    # Three discordant problems, one against two: p = 1.
    assert ["uniform", "[1]", "[2]", "1", "2", "1", "not", "shown"] in rows


def test_p_values_are_adjusted_for_all_pairs(compare):
    third = evaluation("c.pt", {(100, i) for i in range(12)})
    document = json.loads(compare(NONE, TWELVE, third, words=("--format", "json")).stdout)
    # McNemar: 0 against 12 twice, and 12 against 12; Holm multiplies the smallest two by 3 and 2, at least the first.
    p = 2 * 0.5**12
    assert [pair["p"] for pair in document["pairs"]] == [p, p, 1.0]
    assert [pair["p_adjusted"] for pair in document["pairs"]] == [3 * p, 3 * p, 1.0]


def test_many_pairs_become_a_square_of_signs(compare):
    entries = [evaluation(f"{name}.pt", {(41, i) for i in range(12 * (name == "f"))}) for name in "abcdef"]
    result = compare(many(*entries))
    assert "uniform: 5 of 15 pairs differ by more than chance" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["[1]", ".", ".", ".", ".", "<"] in rows
    assert ["[6]", ">", ">", ">", ">", ">"] in rows


def test_a_published_evaluation_is_compared_by_its_counts(compare):
    per_seed = {str(seed): {"exact_match": 1.0, "errors": 0} for seed in EXAM_SEEDS}
    per_seed["41"] = {"exact_match": 0.9988, "errors": 12}
    published = {
        "multi_seed_validation": {
            "total_examples": 2 * N, "num_test_sets": 10, "aggregate_exact_match": 0.9994, "aggregate_errors": 12,
            "per_seed": per_seed,
        }
    }  # fmt: skip
    result = compare(NONE, published)
    assert result.returncode == 0
    assert "Fisher (unpaired: one file holds counts alone)" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    # Fisher, two-sided, equal margins: 2 * C(20000, 12) / C(40000, 12) = 0.000487
    assert ["uniform", "[1]", "[2]", "-", "-", "0.000487", "yes"] in rows

    wrong = copy.deepcopy(published)
    wrong["multi_seed_validation"]["aggregate_errors"] = 11
    assert "$.multi_seed_validation.aggregate_errors: expected 12, the sum over the test sets, found 11" in (
        compare(NONE, wrong).stderr
    )


def test_the_same_result_twice_is_one_result(compare):
    result = compare(many(NONE, TWELVE), many(NONE))
    assert result.returncode == 0
    assert result.stdout == compare(many(NONE, TWELVE)).stdout


def test_two_results_of_one_file_are_refused(compare, one_error):
    other = evaluation("a.pt", {(41, 7)})
    assert one_error(compare(NONE, other)) == "a.pt: two different results under this name; compare one of them"


def test_rates_count_the_seeds_of_a_run_and_no_chosen_checkpoint(compare):
    def of(path, seed, errors):
        origin = {"experiment": "e15", "seed": seed}
        return evaluation(path, {(41, i) for i in range(errors)}, origin=origin)

    result = compare(of("runs/e15/seed-1/best.pt", 1, 0), of("runs/e15/seed-2/best.pt", 2, 5_000), of("good.pt", 3, 0))
    assert "runs/e15: 1 of 2 examined seeds grokked (rate 0.0126 to 0.987, 95 %, exact)" in result.stdout


def changed(path, value, document=TWELVE):
    document = copy.deepcopy(document)
    *steps, last = path
    place = document
    for step in steps:
        place = place[step]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (changed(("suites", "uniform", "exam_digest"), "2" * 64), "b.pt $.suites.uniform: sat another exam"),
        (changed(("suites",), {"stress": TWELVE["suites"]["uniform"]}), "no exam in common"),
        (changed(("suites", "uniform", "total", "errors"), 11), "expected 11 failures in all strata"),
        (changed(("suites", "uniform", "strata", 0, "failures", "index"), [1]), "expected columns of 12 values"),
        (changed(("suites", "uniform", "strata", 0, "failures", "index", 0), N), "whole numbers from 0 to 9999"),
        (changed(("format",), "reprogrok.evaluation/9"), "$.format"),
        (changed(("suites", "uniform", "total", "errors"), float("inf")), "1.json"),
    ],
)
def test_evaluations_that_cannot_be_compared_are_refused(tmp_path, reprogrok, one_error, document, expected):
    (tmp_path / "0.json").write_bytes(pretty_json(NONE))
    (tmp_path / "1.json").write_text(json.dumps(document), "utf-8")
    assert expected in one_error(reprogrok("compare", "0.json", "1.json", cwd=tmp_path))


# --- Runs ---------------------------------------------------------------------------------------------------------


def test_two_recorded_runs_differ_by_their_split_alone(fixtures_dir, reprogrok, tmp_path):
    runs = [fixtures_dir / "runs" / name for name in ("v1_baseline", "v2a_interpolation_regime")]
    result = reprogrok("compare", *runs, "--output", "out.json", "--metrics", "m.json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    steps = "how long they ran (200,000 against 25,000 steps)"
    assert lines[1] == f"experimental identity: only the split differs; apart from that, {steps}"
    rows = [" ".join(line.split()) for line in lines]
    assert "split data.train_split 0.8 0.55" in rows
    assert "generalised (90 %) (39,800, 39,900] (19,300, 19,400] 0.4837 to 0.4874" in rows
    assert "final_layer_rank pca99/blockin first 5 at 500 5 at 500" in rows
    assert "at grok 2 at 40,000 23 at 19,500" in rows
    document = json.loads((tmp_path / "out.json").read_bytes())
    assert document["identity"]["only_split_differs"] is True
    numbers = json.loads((tmp_path / "m.json").read_bytes())["delay factor"]["generalised (80 %)"]
    assert numbers == {"from": 19_301 / 33_700, "to": 19_400 / 33_601}
    again = reprogrok("compare", *runs, "--format", "json", cwd=tmp_path)
    assert json.loads(again.stdout) == document


def test_a_run_that_never_groks_is_later_or_never(fixtures_dir, reprogrok, tmp_path):
    runs = [fixtures_dir / "runs" / name for name in ("v1_baseline", "v2b_conflict_split")]
    out = reprogrok("compare", *runs, cwd=tmp_path).stdout
    assert "generalised (90 %) (39,800, 39,900] not until 20,000 at least 0.5013" in " ".join(out.split())
    assert "data.train_split 0.8 of v2b_conflict_split is a left-over: its split_rule decides the split" in out


def test_a_run_of_ours_is_the_same_experiment_as_its_copy(trained, reprogrok, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(trained / "runs" / "smoke", tmp_path / name)
    result = reprogrok("compare", "one", "two", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:2] == [
        "one against two",
        "experimental identity: nothing differs that decides the training",
    ]
    assert "neither got there" in result.stdout


def test_a_run_and_an_evaluation_are_not_compared(columns_run, reprogrok, one_error, tmp_path):
    run = columns_run()
    (tmp_path / "e.json").write_bytes(pretty_json(NONE))
    line = one_error(reprogrok("compare", run.name, "e.json", cwd=tmp_path))
    assert line == (
        "e.json: an evaluation and a run cannot be compared with each other: expected another run, as run is one,"
        " found a JSON file"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "runs are compared two at a time: expected RUN_A RUN_B, found 1"),
        (["a", "b", "c"], "runs are compared two at a time: expected RUN_A RUN_B, found 3"),
        (["a", "a"], "a: the same run twice"),
        (["a", "gone"], "gone: experiment not found: expected a run's folder"),
        (["a", "gone.json"], "an evaluation and a run cannot be compared with each other"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(  # noqa: PLR0917 - pytest passes fixtures and cases by name
    columns_run, reprogrok, one_error, tmp_path, names, message
):
    for name in {*names} - {"gone", "gone.json"}:
        columns_run(name)
    assert message in one_error(reprogrok("compare", *names, "--output", "out.json", cwd=tmp_path))
    assert not (tmp_path / "out.json").exists()


def test_runs_to_compare_can_be_named_by_their_experiments(columns_run, reprogrok, one_error, tmp_path):
    (tmp_path / "runs").mkdir()
    columns_run("runs/clock")
    columns_run("runs/pizza")
    result = reprogrok("compare", "clock", "runs/pizza", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "clock against pizza"
    line = one_error(reprogrok("compare", "clock", "piza", cwd=tmp_path))
    assert line == "piza: experiment not found: expected a run's folder, or one of clock, pizza (did you mean pizza?)"


def test_no_comparison_is_written_where_its_metrics_cannot_be(compare, one_error, tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    line = one_error(compare(NONE, TWELVE, words=("--output", "out.json", "--metrics", "taken/m.json")))
    assert line.startswith("taken/m.json: cannot be written")
    assert not (tmp_path / "out.json").exists()


def test_a_hole_in_a_log_widens_the_interval_and_is_no_number(columns_run, reprogrok, tmp_path):
    def grok(hole):
        def change(columns):
            columns["test_accuracy"] = [0.0 if step < 5_000 else 1.0 for step in columns["step"]]
            if hole:
                columns["test_accuracy"][48] = math.nan  # at step 4,900

        return change

    columns_run("a", metrics=grok(hole=False))
    columns_run("b", metrics=grok(hole=True))
    out = reprogrok("compare", "a", "b", cwd=tmp_path).stdout
    assert "generalised (90 %) (4,900, 5,000] (4,800, 5,000] 0.9602 to 1.02" in " ".join(out.split())
