"""Comparisons: the same exam or none, problem by problem where the problems are known, counts that agree."""

import copy
import json

import pytest
import torch
from checkpoint_files import OWN

from reprogrok.errors import InputError
from reprogrok.evaluation.comparison import ExaminedCheckpoint, SuiteErrors, compare
from reprogrok.evaluation.comparison_documents import document_of, read_evaluations
from reprogrok.evaluation.evaluation import Evaluation, as_document
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.exam.exam import build_exam
from reprogrok.files import pretty_json
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.device import environment
from reprogrok.schema import check_written
from reprogrok.stats.exact_tests import fisher
from reprogrok.stats.proportions import proportion
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.protocols import EXAM_SEEDS

N = 1_000
EXAM = "addition-100k/1"


def entry(label, failed, *, n=N, digest="d" * 64, exam=EXAM, suite="uniform", seed=None):
    """An examined checkpoint; `failed` is a set of indices, or a number where only counts are known."""
    if isinstance(failed, int):
        counts = SuiteErrors(exam, None, proportion(failed, n), None)
    else:
        counts = SuiteErrors(exam, digest, proportion(len(failed), n), frozenset((index, index) for index in failed))
    return ExaminedCheckpoint(label, 456, "e1", seed, {suite: counts})


# --- Tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "only", "p"),
    [
        (set(), set(range(12)), (0, 12), 2 * 0.5**12),
        (set(range(12)), set(range(12)), (0, 0), 1.0),
        (set(range(5)), set(range(5, 17)), (5, 12), 0.14346313),
        ({1, 2, 3}, {3, 4}, (2, 1), 1.0),
    ],
)
def test_mcnemar_counts_the_problems_that_only_one_gets_wrong(first, second, only, p):
    (pair,) = compare([entry("a", first), entry("b", second)]).pairs
    assert (pair.test, pair.only_first, pair.only_second) == ("McNemar", *only)
    assert pair.p == pytest.approx(p)
    assert pair.differs == (p <= 0.05)


def test_the_same_problem_asked_again_is_no_second_piece_of_evidence(ours, read):
    def ask_again(document):
        """Let every failing row of the suite be the one problem 7 + 8."""
        document = copy.deepcopy(document)
        for stratum in document["suites"]["stress"]["strata"]:
            for name, operand in (("a", 7), ("b", 8)):
                stratum["failures"][name] = [operand] * stratum["errors"]
        return document

    def right(document):
        document = copy.deepcopy(document)
        document["checkpoint"]["path"] = "right.pt"
        result = document["suites"]["stress"]
        for score in (result["total"], *result["strata"]):
            score["errors"] = 0
        for stratum in result["strata"]:
            stratum["failures"] = {name: [] for name in ("index", "a", "b", "answer")}
        return document

    entries = [*read(ask_again(ours)), *read(right(ours))]
    pair = next(pair for pair in compare(entries).pairs if pair.suite == "stress")
    assert (pair.only_first, pair.only_second, pair.p) == (1, 0, 1.0)


def test_counts_alone_are_compared_as_independent_samples():
    (pair,) = compare([entry("a", set(range(30))), entry("b", 3)]).pairs
    assert (pair.only_first, pair.only_second) == (None, None)
    assert "Fisher" in pair.test
    assert "unpaired" in pair.test
    assert pair.p == fisher(30, N, 3, N)


def test_p_values_are_adjusted_together():
    entries = [entry("a", set()), entry("b", set(range(7))), entry("c", set(range(20, 27)))]
    pairs = compare(entries).pairs
    raw = 2 * 0.5**7  # 0.015625: below 0.05 alone, and 3 times that is still below it
    assert [pair.p for pair in pairs] == pytest.approx([raw, raw, 1.0])
    assert [pair.p_adjusted for pair in pairs] == pytest.approx([3 * raw, 3 * raw, 1.0])
    entries[1:] = [entry("b", set(range(6))), entry("c", set(range(20, 26)))]
    assert not any(pair.differs for pair in compare(entries).pairs)  # 0.03125 * 3
    assert compare(entries[:2]).pairs[0].differs


# --- The same exam ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        entry("b", {1}, digest="e" * 64),
        entry("b", {1}, n=N + 1),
        entry("b", {1}, exam="addition-100k/1 (first 1000 of each stratum)"),
        entry("b", 1, n=2 * N),
    ],
)
def test_another_exam_is_refused(other):
    with pytest.raises(
        InputError, match=r"b \$\.suites\.uniform: sat another exam: expected addition-100k/1 with 1,000"
    ):
        compare([entry("a", {1}), other])


def test_no_suite_in_common_and_two_results_under_one_name():
    with pytest.raises(InputError, match="no exam in common"):
        compare([entry("a", {1}), entry("b", {1}, suite="stress")])
    with pytest.raises(InputError, match="a: two different results under this name"):
        compare([entry("a", {1}), entry("a", {2})])


def test_only_suites_that_all_sat_are_kept():
    both = ExaminedCheckpoint("a", 1, None, None, entry("a", {1}).suites | entry("a", {2}, suite="stress").suites)
    found = compare([both, entry("b", {3})])
    assert {pair.suite for pair in found.pairs} == {"uniform"}
    assert all(set(kept.suites) == {"uniform"} for kept in found.checkpoints)


# --- Files --------------------------------------------------------------------------------------------------------


def published(**changes):
    block = {
        "total_examples": 100_000,
        "num_test_sets": 10,
        "aggregate_exact_match": 0.99988,
        "aggregate_errors": 12,
        "per_seed": {
            str(seed): {"exact_match": 1 - errors / 10_000, "errors": errors}
            for seed, errors in zip(EXAM_SEEDS, (10, 2, 0, 0, 0, 0, 0, 0, 0, 0), strict=True)
        },
    }
    return {"checkpoint": "best.pt", "multi_seed_validation": block | changes}


@pytest.fixture
def read(tmp_path):
    def read_document(document):
        path = tmp_path / "evaluation.json"
        path.write_bytes(pretty_json(document))
        return read_evaluations(path)

    return read_document


def test_a_published_evaluation_holds_counts_alone(read):
    (found,) = read(published())
    counts = found.suites["uniform"]
    assert (counts.exam, counts.digest, counts.failed) == (EXAM, None, None)
    assert (counts.errors.k, counts.errors.n) == (12, 100_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregate_errors": 11}, r"aggregate_errors: expected 12, the sum over the test sets, found 11"),
        ({"total_examples": 5, "aggregate_exact_match": 0.0}, "expected"),
        ({"total_examples": 0}, "expected at least 1, found 0"),
        ({"aggregate_errors": "12"}, "expected a value of type integer"),
        ({"aggregate_errors": 12.0}, "expected a value of type integer"),
        ({"per_seed": {"41": {"exact_match": 1.5, "errors": 12}}}, "expected at most 1, found 1.5"),
        ({"per_seed": {"41": {"errors": 12}}}, "the field exact_match is missing"),
        ({"per_seed": [12]}, "expected a value of type object"),
        ({"per_seed": {"0": {"exact_match": 0.9988, "errors": 12}}}, "per_seed: another exam: expected the test sets"),
        ({"aggregate_exact_match": 0.5}, "aggregate_exact_match: expected 0.99988, as the counts say, found 0.5"),
    ],
)
def test_a_published_evaluation_that_contradicts_itself(read, changes, message):
    with pytest.raises(InputError, match=message):
        read(published(**changes))


@pytest.mark.parametrize("document", [{}, [], 5, {"format": "reprogrok.evaluation/2"}, {"evaluations": []}])
def test_what_is_no_evaluation(read, document):
    with pytest.raises(InputError):
        read(document)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """What `eval` writes for an untrained model: every problem is wrong."""
    path = tmp_path_factory.mktemp("ours") / "model.pt"
    path.write_bytes(OWN)
    checkpoint = load_checkpoint(path)
    task, cpu = task_of(checkpoint, None), torch.device("cpu")
    results = {
        suite: examinee(checkpoint, task, cpu).examine(build_exam(suite, task, limit=3), "forward", 50)
        for suite in ("uniform", "stress")
    }
    written = as_document(Evaluation(checkpoint, task, results, environment(cpu)))
    check_written(written, "evaluation")
    return json.loads(pretty_json(written))


def test_our_own_evaluation_comes_back_problem_by_problem(ours, read):
    (found,) = read(ours)
    assert (found.experiment, found.seed, found.parameters) == ("smoke", 42, 456)
    uniform = found.suites["uniform"]
    assert (uniform.errors.k, uniform.errors.n) == (30, 30)
    tests = [hold_out(seed).test[:3] for seed in EXAM_SEEDS]
    assert uniform.failed == {pair for test in tests for pair in zip(test.a.tolist(), test.b.tolist(), strict=True)}
    assert ours["multi_seed_validation"]["aggregate_errors"] == 30
    assert [f.label for f in read({"format": "reprogrok.evaluations/1", "evaluations": [ours, ours]})] == [
        found.label
    ] * 2


def broken(evaluation, change):
    evaluation = copy.deepcopy(evaluation)
    change(evaluation["suites"]["uniform"])
    return evaluation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda suite: suite["total"].update(errors=29),
            "expected 29 failures in all strata, as the total says, found 30",
        ),
        (lambda suite: suite["total"].update(n=300), "expected 30 problems, the sum over the strata, found 300"),
        (lambda suite: suite["strata"].pop(), "expected 30 failures in all strata, as the total says, found 27"),
        (lambda suite: suite["strata"][4].update(errors=2), r"strata\[4\].failures: expected columns of 2 values"),
        (
            lambda suite: suite["strata"][4]["failures"]["a"].pop(),
            r"strata\[4\].failures: expected columns of 3 values",
        ),
        (lambda suite: suite["strata"][4]["failures"].update(index=[0, 1, 1]), "index: expected every problem once"),
        (lambda suite: suite["strata"][4]["failures"].update(a=[1, 2, "3"]), "failures.a: expected whole numbers"),
        (
            lambda suite: suite["strata"][4]["failures"].update(index=[0, 1, 3]),
            "index: expected whole numbers from 0 to 2",
        ),
        (lambda suite: suite["strata"][4]["failures"].update(index=[0, 1, True]), "index: expected whole numbers"),
        (lambda suite: suite.update(exam_digest="short"), "exam_digest: expected text that matches"),
        (lambda suite: suite.pop("method"), "the field method is missing"),
    ],
)
def test_our_own_evaluation_when_its_counts_contradict_each_other(ours, read, change, message):
    with pytest.raises(InputError, match=message):
        read(broken(ours, change))


def test_a_comparison_is_plain_data():
    comparison = compare([entry("a", set()), entry("b", set(range(12)))])
    document = json.loads(pretty_json(document_of(comparison)))
    assert [item["label"] for item in document["checkpoints"]] == ["a", "b"]
    assert document["checkpoints"][1]["suites"]["uniform"]["errors"] == 12
    assert document["pairs"][0]["p"] == 2 * 0.5**12
    assert document["pairs"][0]["more_than_chance"] is True


def test_the_strata_of_the_stress_suite_have_no_common_interval():
    found = document_of(compare([entry("a", {1}, suite="stress")]))["checkpoints"][0]["suites"]["stress"]
    assert found == {"exam": EXAM, "errors": 1, "n": N}


def test_one_checkpoint_is_no_pair_and_its_duplicate_is_itself():
    assert compare([entry("a", {1})]).pairs == ()
    assert len(compare([entry("a", {1}), entry("a", {1})]).checkpoints) == 1
