"""The exam: published scores to the problem, one pass equal to generation, and nothing counted right by accident."""

import hashlib
import math
import struct
from dataclasses import replace

import pytest
import reference
import torch
from test_decoder import P456, SIZES, ours, random_weights

from reprogrok.exam import exam as exam_module
from reprogrok.exam.exam import CLOSE, Exam, Examinee, build_exam
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.initialise import initial_weights
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.holdout import hold_out
from reprogrok.tasks.problems import Pairs, Stratum
from reprogrok.tasks.protocols import EXAM_SEEDS
from reprogrok.tasks.streams import Purpose, standard_normal

torch.set_num_threads(1)

CPU = torch.device("cpu")
TASK = Addition()


@pytest.fixture(scope="module")
def uniform():
    return build_exam("uniform", TASK)


@pytest.fixture(scope="module")
def published(fixtures_dir):
    """Examinees from the published checkpoints, by number of parameters."""
    files = {456: "best_456p_s43.pt", 512: "best_512params.pt"}
    loaded = {size: load_checkpoint(fixtures_dir / "checkpoints" / file) for size, file in files.items()}
    return {size: Examinee(found.spec, found.weights, TASK, CPU) for size, found in loaded.items()}


def perturbed(examinee, scale, seed=0):
    """The same model with noise on every weight: it answers most problems almost right."""
    noisy = {}
    for label, (name, tensor) in enumerate(examinee.weights.items()):
        noise = standard_normal(seed, Purpose.INITIAL_WEIGHTS, label, tensor.numel()).float().reshape(tensor.shape)
        noisy[name] = tensor[0] + scale * noise[0]
    return Examinee(examinee.spec, noisy, TASK, CPU)


def small_exam(count=500, task=TASK):
    seeds = EXAM_SEEDS[:2]
    strata = tuple(Stratum(str(seed), "first test pairs", hold_out(seed, task.digits).test[:count]) for seed in seeds)
    return Exam("small", "uniform", task, strata)


# --- The exam itself ----------------------------------------------------------------------------------------------


def test_the_exam_is_the_published_one(uniform):
    assert uniform.digest == "4e78904e24e9883bb51d5415909181b41d0fb8f1ffcd4f195dd9cc2e83e62c5f"
    assert [stratum.name for stratum in uniform.strata] == [str(seed) for seed in reference.SEEDS]
    hasher = hashlib.sha256(b"addition-100k/1")
    for seed in reference.SEEDS:
        pairs = reference.hold_out(seed)[5_000:]
        hasher.update(b"\0" + str(seed).encode() + b"\0")
        for column in zip(*pairs, strict=True):
            hasher.update(struct.pack("<10000q", *column))
    assert uniform.digest == hasher.hexdigest()


def test_a_part_of_the_exam_and_fewer_digits_have_other_names_and_digests(uniform):
    part, small = build_exam("uniform", TASK, limit=7), build_exam("uniform", Addition(4))
    assert part.name == "addition-100k/1 (first 7 of each stratum)"
    assert small.name == "addition-100k/1 with 4 digits"
    assert [len(stratum.pairs) for stratum in part.strata] == [7] * 10
    assert len({uniform.digest, part.digest, small.digest}) == 3


# --- Published scores ---------------------------------------------------------------------------------------------


def test_the_456_parameters_make_no_error(published, uniform):
    result = published[456].examine(uniform, "forward", 2_000)
    assert (result.total.errors.k, result.total.errors.n) == (0, 100_000)
    assert result.total.errors.high == pytest.approx(3.6888e-05, rel=1e-4)
    assert result.total.tokens.estimate == 1.0
    assert result.total.smallest_margin == pytest.approx(0.7510, abs=2e-3)
    assert all(not failures.index for failures in result.failures.values())


def test_the_512_parameters_make_the_twelve_published_errors(published, uniform):
    result = published[512].examine(uniform, "forward", 2_000)
    assert [score.errors.k for score in result.scores.values()] == [2, 0, 1, 3, 1, 0, 0, 2, 2, 1]
    assert (result.total.errors.k, result.total.errors.n) == (12, 100_000)
    for stratum in uniform.strata:
        failures = result.failures[stratum.name]
        assert len(failures.index) == result.scores[stratum.name].errors.k
        for index, a, b, answer in zip(failures.index, failures.a, failures.b, failures.answer, strict=True):
            assert (int(stratum.pairs.a[index]), int(stratum.pairs.b[index])) == (a, b)
            assert len(answer) == 11
            assert int(answer) != a + b


def test_the_stress_strata_show_where_the_512_parameters_are_weak(published):
    stress = build_exam("stress", TASK)
    result = published[512].examine(stress, "forward", 2_000)
    chain, total = result.scores["carry chain 10"].errors, result.scores["sum 10^10"].errors
    assert chain.low <= 0.004 <= chain.high
    assert total.low <= 0.020 <= total.high
    assert result.scores["edge pairs"].errors.n == 10
    assert result.scores["carry chain 0"].errors.n == 10_000


# --- One pass equals generation -----------------------------------------------------------------------------------


def assert_same_outcome(examinee, exam, batch=512):
    forward, generated = (examinee.examine(exam, method, batch) for method in ("forward", "generate"))
    for stratum in exam.strata:
        assert forward.failures[stratum.name] == generated.failures[stratum.name]
        assert forward.scores[stratum.name].errors == generated.scores[stratum.name].errors
    return forward, generated


@pytest.mark.parametrize("size", [456, 512])
def test_forward_and_generate_agree_on_published_models(published, size):
    assert_same_outcome(published[size], small_exam())


@pytest.mark.parametrize(("size", "scale"), [(456, 0.002), (512, 0.002), (512, 0.1)])
def test_forward_and_generate_agree_where_many_answers_are_wrong(published, size, scale):
    examinee = perturbed(published[size], scale)
    forward, generated = assert_same_outcome(examinee, small_exam())
    assert 100 < forward.total.errors.k <= forward.total.errors.n == 1_000
    # The judge is the reference: the same answers, greedily, by a plain module.
    module = reference.Decoder({name: getattr(examinee.spec, name) for name in vars(examinee.spec)})
    module.load_state_dict({name: tensor[0] for name, tensor in examinee.weights.items()})
    for stratum in small_exam().strata:
        right = reference.right(module, reference.encode(stratum.pairs.a, stratum.pairs.b))
        assert (~right).nonzero().squeeze(1).tolist() == generated.failures[stratum.name].index


@pytest.mark.parametrize("batch", [1, 7, 250, 10_000])
def test_the_batch_size_changes_no_outcome(published, batch):
    exam = small_exam(count=20)
    examinee = perturbed(published[512], 0.002)
    result, expected = examinee.examine(exam, "forward", batch), examinee.examine(exam, "forward", 20)
    assert result.failures == expected.failures
    assert result.total.smallest_margin == pytest.approx(expected.total.smallest_margin, abs=1e-3)


def test_margins_are_those_of_the_definition(published):
    examinee, exam = perturbed(published[512], 0.002), small_exam(count=200)
    result = examinee.examine(exam, "forward", 64)
    for stratum in exam.strata:
        rows = TASK.encode(stratum.pairs.a, stratum.pairs.b)
        weights = {name: tensor[0].double() for name, tensor in examinee.weights.items()}
        answers_BQV, margins, tokens = ours(examinee.spec, weights, rows[:, :-2], 21), [], 0
        for row, answer_QV in zip(rows, answers_BQV, strict=True):
            leads = []
            for target, scores in zip(row[22:33].tolist(), answer_QV.tolist(), strict=True):
                leads.append(scores[target] - max(scores[:target] + scores[target + 1 :]))
            tokens += sum(lead > 0 for lead in leads)
            if min(leads) > 0:
                margins.append(min(leads))
        score = result.scores[stratum.name]
        assert score.errors.k == 200 - len(margins) > 0
        assert score.tokens.k == tokens
        assert score.smallest_margin == pytest.approx(min(margins), abs=2e-3)


# --- Nothing right by accident ------------------------------------------------------------------------------------


def test_ties_are_decided_again_by_generation(published):
    # EOS with the embedding of 3: wherever 3 is right, EOS is exactly as good.
    weights = {name: tensor[0].clone() for name, tensor in published[456].weights.items()}
    weights["token_emb.weight"][13] = weights["token_emb.weight"][3]
    examinee, exam = Examinee(P456, weights, TASK, CPU), small_exam(count=100)
    forward, _ = assert_same_outcome(examinee, exam, batch=32)
    with_a_3 = sum("3" in f"{a + b:011d}" for s in exam.strata for a, b in zip(s.pairs.a, s.pairs.b, strict=True))
    assert forward.rechecked == with_a_3
    assert 100 < with_a_3 < 200


def test_close_rows_are_decided_again_and_counted(published, monkeypatch):
    exam, examinee = small_exam(count=200), perturbed(published[512], 0.002)
    margins = sorted(score.smallest_margin for score in examinee.examine(exam, "forward", 512).scores.values())
    monkeypatch.setattr(exam_module, "CLOSE", margins[0] + 1e-2)
    assert assert_same_outcome(examinee, exam)[0].rechecked >= 1
    monkeypatch.setattr(exam_module, "CLOSE", math.inf)
    forward, generated = assert_same_outcome(examinee, exam)
    assert forward.rechecked == 400
    assert forward.total.errors == generated.total.errors
    assert forward.total.smallest_margin == generated.total.smallest_margin
    # Digits stay counted each given the right ones before it, however many rows were decided again.
    monkeypatch.setattr(exam_module, "CLOSE", 0.0)
    assert forward.total.tokens == examinee.examine(exam, "forward", 512).total.tokens
    monkeypatch.setattr(exam_module, "CLOSE", 0.0)
    assert assert_same_outcome(examinee, exam)[0].rechecked == 0
    assert CLOSE >= 1e-3


def test_numbers_that_are_no_numbers_are_never_right():
    # Finite weights may still overflow; an argmax over NaN would answer 0, which is right for 0 + 0.
    weights = {name: tensor * 1e30 for name, tensor in random_weights(SIZES[512], 1, torch.float32).items()}
    examinee = Examinee(SIZES[512], weights, TASK, CPU)
    zeros = torch.zeros(6, dtype=torch.int64)
    exam = Exam("zeros", "uniform", TASK, (Stratum("zeros", "", Pairs(zeros, zeros)),))
    for method in ("forward", "generate"):
        result = examinee.examine(exam, method, 4)
        assert (result.total.errors.k, result.total.tokens.k) == (6, 0)
        assert math.isnan(result.total.smallest_margin)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(2, 8, 2, 12, 33, 14),
        ModelSpec(3, 6, 3, 8, 40, 14, use_rmsnorm=True),
        replace(P456, n_layer=2, n_head=7),
    ],
)
def test_deeper_models_agree_too(spec):
    assert_same_outcome(Examinee(spec, random_weights(spec, 5, torch.float32), TASK, CPU), small_exam(count=60))


@pytest.mark.parametrize("digits", [3, 6])
def test_fewer_digits(digits):
    task = Addition(digits)
    spec = replace(SIZES[1128], max_seq_len=task.positions)
    assert_same_outcome(Examinee(spec, initial_weights(spec, 1), task, CPU), small_exam(count=60, task=task))


def test_progress_is_told_of_every_problem(published):
    told = []
    published[456].examine(small_exam(count=30), "forward", 16, told.append)
    assert sum(told) == 60


def test_the_answers_of_generation_are_its_own(published):
    pairs = small_exam(count=50).strata[0].pairs
    answers_NA, chosen_from_NVA = perturbed(published[512], 0.1).generate(pairs, batch=16)
    assert answers_NA.shape == (50, 11)
    assert chosen_from_NVA.shape == (50, 14, 11)
    assert torch.equal(chosen_from_NVA.argmax(1), answers_NA)
    right, _ = published[456].generate(pairs)
    assert [int(TASK.text(answer)) for answer in right.tolist()] == (pairs.a + pairs.b).tolist()
