"""The exam of a modular task: every equation of each side, twins apart, and no interval that no sample gives."""

import hashlib
import itertools
import json
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from checkpoint_files import content_of, load_from
from test_decoder import random_weights

from reprogrok.errors import CheckpointError, InputError
from reprogrok.evaluation.comparison import compare
from reprogrok.evaluation.comparison_documents import document_of, read_evaluations
from reprogrok.evaluation.evaluation import Evaluation, as_document
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.exam.exam import Exam, Examinee, build_exam, suites_of
from reprogrok.files import pretty_json
from reprogrok.formats.checkpoints import checkpoint_bytes, load_checkpoint
from reprogrok.formats.origins import Origin
from reprogrok.model.device import environment
from reprogrok.params import read_params
from reprogrok.schema import check_written
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs, Stratum
from reprogrok.tasks.split_modular import SplitModular

torch.set_num_threads(1)

CPU = torch.device("cpu")
RANDOM = SplitSpec("random", 42, fraction=0.5)
TINY = ModularTask("add", 11, "llmc8", "answer", RANDOM)
SHAPES = {"llmc8": (15, 8), "text9": (18, 16), "power5": (13, 4)}  # vocabulary for p = 11, positions


def spec_of(layout="llmc8", extra=0):
    vocabulary, positions = SHAPES[layout]
    return ModelSpec(2, 16, 2, 24, positions, vocabulary + extra, bias=True, gelu="tanh")


def examined(layout="llmc8", seed=3, **changes):
    task = SplitModular.of(replace(TINY, format=layout, **changes))
    spec = spec_of(layout)
    return Examinee(spec, random_weights(spec, seed, torch.float32), task, CPU)


def pairs_of(stratum):
    return list(zip(stratum.pairs.a.tolist(), stratum.pairs.b.tolist(), strict=True))


def asked(exam):
    return {stratum.name: pairs_of(stratum) for stratum in exam.strata}


def by_hand(modulus=11, fraction=0.5, seed=42):
    """Training pairs, twins and new pairs of the random split of x + y, as the definition has it."""
    every = list(itertools.product(range(modulus), repeat=2))
    order = np.random.RandomState(seed).permutation(len(every))
    train = {every[index] for index in order[: int(len(every) * fraction)]}
    held = [pair for pair in every if pair not in train]
    return sorted(train), [p for p in held if p[::-1] in train], [p for p in held if p[::-1] not in train]


# --- The exam itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", SHAPES)
def test_every_equation_is_asked_once_on_its_side_in_order(layout):
    task = SplitModular.of(replace(TINY, format=layout))
    held_out, train = (build_exam(suite, task) for suite in suites_of(task))
    trained, twins, new = by_hand()
    assert asked(held_out) == {"twins": twins, "new pairs": new}
    assert asked(train) == {"train": trained}
    assert (held_out.population, train.population) == (61, 60)
    assert held_out.notes == train.notes == ()


def test_the_digest_is_of_the_name_the_problems_and_the_answers():
    exam = build_exam("held-out", SplitModular.of(TINY))
    assert exam.name == "modular-split/1 add mod 11 random 0.5 seed 42"
    hasher = hashlib.sha256(exam.name.encode())
    _, twins, new = by_hand()
    for name, pairs in ((b"twins", twins), (b"new pairs", new)):
        hasher.update(b"\0" + name + b"\0")
        for column in ([a for a, _ in pairs], [b for _, b in pairs], [(a + b) % 11 for a, b in pairs]):
            hasher.update(struct.pack(f"<{len(pairs)}q", *column))
    assert exam.digest == hasher.hexdigest()


def test_the_same_pairs_with_other_answers_are_another_exam():
    pairs = Stratum("all", "", Pairs(torch.tensor([2, 3]), torch.tensor([5, 4])))
    tasks = [SplitModular.of(replace(TINY, operation=operation)) for operation in ("add", "mul")]
    assert len({Exam("x", "train", task, (pairs,)).digest for task in tasks}) == 2


def test_formats_and_losses_share_an_exam_and_splits_do_not():
    def digest(**changes):
        return build_exam("held-out", SplitModular.of(replace(TINY, **changes))).digest

    assert digest() == digest(format="power5") == digest(format="text9") == digest(loss="all")
    others = [SplitSpec("random", 43, fraction=0.5), SplitSpec("random", 42, fraction=0.6)]
    assert len({digest(), *(digest(split=split) for split in others), digest(modulus=13)}) == 4


@pytest.mark.parametrize(
    ("task", "strata", "notes"),
    [
        (replace(TINY, operation="sub"), {"new pairs": 61}, ("no twins: ",)),
        (replace(TINY, split=SplitSpec("twin_closed", 42, fraction=0.5)), {"new pairs": 61}, ("no twins: ",)),
        (replace(TINY, split=SplitSpec("operand_holdout", 42, held=(3, 4))), {"new pairs": 40}, ("no twins: ",)),
        (
            replace(TINY, split=SplitSpec("three_way", 42, fraction=0.5)),
            {"twins": 13, "new pairs": 18},
            ("30 more equations are kept for validation and not asked",),
        ),
        (
            replace(TINY, split=SplitSpec("result_range", 42, train=(0, 6), test=(4, 11))),
            {"new pairs": 55, "also trained on": 22},
            ("no twins: ",),
        ),
    ],
)
def test_what_a_split_does_not_have_is_left_out_with_a_word(task, strata, notes):
    exam = build_exam("held-out", SplitModular.of(task))
    assert {stratum.name: len(stratum.pairs) for stratum in exam.strata} == strata
    assert exam.population == sum(len(stratum.pairs) for stratum in exam.strata)
    assert len(exam.notes) == len(notes)
    assert all(found.startswith(note) for found, note in zip(exam.notes, notes, strict=True))


def test_a_part_of_the_exam_is_the_first_of_each_stratum_in_the_order_of_the_split():
    task = SplitModular.of(replace(TINY, format="power5"))  # whose rows are not shuffled a second time
    exam = build_exam("held-out", task, limit=4)
    order = np.random.RandomState(42).permutation(121)[60:]
    _, twins, _ = by_hand()
    first = [pair for pair in (divmod(int(index), 11) for index in order) if pair in twins][:4]
    assert asked(exam)["twins"] == sorted(first)
    assert exam.name.endswith("random 0.5 seed 42 (first 4 of each stratum)")
    assert exam.population == 61
    assert len(build_exam("train", task, limit=500).strata[0].pairs) == 60


def test_a_task_has_its_own_suites():
    assert suites_of(Addition()) == ("uniform", "stress")
    with pytest.raises(InputError, match="not a suite of this task: expected held-out or train, found uniform"):
        build_exam("uniform", SplitModular.of(TINY))
    with pytest.raises(InputError, match="expected uniform or stress, found train"):
        build_exam("train", Addition())


@pytest.mark.parametrize(
    ("side", "text"),
    [(0, "trained on"), (1, "held out, a twin: its swapped pair is trained on"), (2, "held out, a new pair")],
)
def test_an_equation_says_where_it_stands(side, text):
    task = SplitModular.of(TINY)
    for a, b in by_hand()[side]:
        assert task.side(a, b) == text
        assert task.equation(a, b) == f"{a} + {b} = {(a + b) % 11} (mod 11)"


def test_equations_without_an_answer_a_modulus_or_a_sign():
    task = SplitModular.of(replace(TINY, operation="div"))
    assert (task.answer(3, 0), task.answer(3, 4)) == (None, 9)  # 9 * 4 = 36 = 3 mod 11
    assert (task.equation(3, 0), task.side(3, 0)) == ("3 / 0 = none (mod 11)", "neither trained on nor in the exam")
    group = SplitModular("s5", None, "power5", RANDOM)
    assert group.equation(0, 7) == "0 <s5> 7 = 7"  # 0 is the identity
    assert build_exam("train", group).name == "modular-split/1 s5 random 0.5 seed 42"


# --- Scores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", SHAPES)
def test_scores_are_those_of_a_plain_module(layout):
    model = examined(layout)
    spec = vars(model.spec) | {"dropout": 0.0}
    module = reference.Decoder(spec)
    module.load_state_dict({name: tensor[0] for name, tensor in model.weights.items()}, strict=False)
    module.eval()
    at = {"llmc8": 4, "text9": 6, "power5": 3}[layout]
    for suite in suites_of(model.task):
        exam = build_exam(suite, model.task)
        result = model.examine(exam, "forward", 16)
        for stratum in exam.strata:
            rows = model.task.encode(stratum.pairs.a, stratum.pairs.b)
            with torch.inference_mode():
                logits_BV = module(rows[:, : at + 1])[:, -1]
            right_B = torch.tensor([(a + b) % 11 for a, b in pairs_of(stratum)])
            wrong = (logits_BV.argmax(1) != right_B).nonzero().squeeze(1).tolist()
            failures, score = result.failures[stratum.name], result.scores[stratum.name]
            assert failures.index == wrong
            assert list(zip(failures.a, failures.b, strict=True)) == [pairs_of(stratum)[index] for index in wrong]
            said = [model.task.symbols[token] for token in logits_BV.argmax(1)[wrong].tolist()]
            assert failures.answer == said
            assert (score.errors.k, score.errors.n) == (len(wrong), len(right_B))
            assert (score.tokens.k, score.tokens.n) == (len(right_B) - len(wrong), len(right_B))
            margins = []
            for logits_V, right in zip(logits_BV.tolist(), right_B.tolist(), strict=True):
                lead = logits_V[right] - max(logits_V[:right] + logits_V[right + 1 :])
                margins += [lead] if lead > 0 else []
            if margins:
                assert score.smallest_margin == pytest.approx(min(margins), abs=1e-4)
            else:
                assert math.isnan(score.smallest_margin)


@pytest.mark.parametrize("layout", SHAPES)
def test_forward_and_generate_agree(layout):
    model, total = examined(layout), 0
    for suite in suites_of(model.task):
        exam = build_exam(suite, model.task)
        forward, generated = (
            model.examine(exam, method, batch) for method, batch in (("forward", 50), ("generate", 7))
        )
        assert forward.failures == generated.failures
        assert forward.total.errors == generated.total.errors
        total += forward.total.errors.k
    assert 0 < total < 121


# --- Whose task ---------------------------------------------------------------------------------------------------


def ours(folder, task=TINY, spec=None, *, name="model.pt", seed=3, block=None):
    spec = spec or spec_of()
    origin = Origin("tiny", None, 0, "0" * 64, task, block)
    data = checkpoint_bytes(spec, random_weights(spec, seed, torch.float32), origin, 7, 0.5)
    (folder / name).write_bytes(data)
    return load_checkpoint(folder / name)


@pytest.fixture
def experiment(project):
    """An experiment of params.yaml with another task in place of its own."""
    known = read_params(project / "params.yaml").experiment("smoke", project / "params.yaml")
    return lambda task: replace(known, name="foreign", task=task)


def test_our_own_file_brings_its_task_and_no_other_is_put_over_it(tmp_path, experiment):
    checkpoint = ours(tmp_path)
    task = SplitModular("add", 11, "llmc8", RANDOM)
    assert task_of(checkpoint, None) == task_of(checkpoint, experiment(replace(TINY, loss="all"))) == task
    other = replace(TINY, split=SplitSpec("random", 7, fraction=0.5))
    with pytest.raises(CheckpointError, match=r"leave out --experiment: expected .* seed 42, found .* seed 7$"):
        task_of(checkpoint, experiment(other))


def test_a_foreign_file_needs_an_experiment_whose_task_it_can_hold(tmp_path, experiment):
    foreign = load_from(tmp_path, content_of(spec_of()))
    with pytest.raises(CheckpointError, match="name it with --experiment"):
        task_of(foreign, None)
    assert task_of(foreign, experiment(TINY)) == SplitModular.of(TINY)
    for task, expected in (
        (replace(TINY, modulus=13), "the model cannot hold add mod 13 in llmc8: expected vocabulary 17 and length at"),
        (replace(TINY, format="text9"), "add mod 11 in text9: expected vocabulary 18 and length at least 8, found"),
    ):
        with pytest.raises(CheckpointError, match=expected):
            task_of(foreign, experiment(task))
    short = load_from(tmp_path, content_of(replace(spec_of(), max_seq_len=7)))
    with pytest.raises(CheckpointError, match="length at least 8, found vocabulary 15 and length 7"):
        task_of(short, experiment(TINY))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operation": "div", "modulus": 10}, r"task\.modulus: expected a prime"),
        ({"operation": "none"}, r"task\.operation: unknown operation"),
        ({"split": SplitSpec("random", 42, fraction=0.001)}, r"task\.split\.fraction: the training side .* is empty"),
    ],
)
def test_a_task_that_cannot_be_is_refused_where_it_stands(tmp_path, experiment, changes, field):
    task = replace(TINY, **changes)
    with pytest.raises(CheckpointError, match=rf"model\.pt \$\.reprogrok\.{field}"):
        task_of(ours(tmp_path, task), None)
    with pytest.raises(InputError, match=rf"^\$\.experiments\.foreign\.{field}"):
        task_of(load_from(tmp_path, content_of(spec_of())), experiment(task))


def test_what_fills_no_block_is_neither_trained_on_nor_known_swapped():
    task = ModularTask("add", 97, "llmc8", "answer", SplitSpec("random", 42, fraction=0.5))
    whole, blocks = SplitModular.of(task), SplitModular.of(task, 512)
    assert (len(whole.train()), len(blocks.train())) == (4_704, 4_608)
    twins, others = ({part: len(rows) for part, rows in each.held_out().items()} for each in (whole, blocks))
    assert twins == {"twins": 2_294, "new pairs": 2_411, "also trained on": 0}
    assert others == {"twins": 2_244, "new pairs": 2_461, "also trained on": 0}  # counted with NumPy alone
    assert build_exam("held-out", whole).digest != build_exam("held-out", blocks).digest


def test_the_document_of_a_model_trained_in_blocks_fits_its_schema(tmp_path):
    written = evaluated(ours(tmp_path, block=50))
    assert written["task"]["block"] == 50
    assert written["suites"]["train"]["total"]["n"] == 50


# --- The document -------------------------------------------------------------------------------------------------


def evaluated(checkpoint, limit=None):
    task = task_of(checkpoint, None)
    model = examinee(checkpoint, task, CPU)
    results = {suite: model.examine(build_exam(suite, task, limit), "forward", 50) for suite in suites_of(task)}
    written = as_document(Evaluation(checkpoint, task, results, environment(CPU)))
    check_written(written, "evaluation")
    return json.loads(pretty_json(written))


def test_the_document_has_the_task_both_sides_and_no_interval(tmp_path):
    written = evaluated(ours(tmp_path))
    assert written["task"] == {
        "name": "modular",
        "operation": "add",
        "modulus": 11,
        "format": "llmc8",
        "split": {"kind": "random", "seed": 42, "fraction": 0.5},
    }
    assert list(written["suites"]) == ["held-out", "train"]
    assert "multi_seed_validation" not in written
    for result in written["suites"].values():
        scores = [result["total"], *result["strata"]]
        assert all(score["error_rate_interval"] is None for score in scores)
        for score in scores:
            assert score["token_accuracy"] == (score["n"] - score["errors"]) / score["n"]
        assert result["population"] == result["total"]["n"]


def test_a_score_stands_beside_guessing(tmp_path):
    result = evaluated(ours(tmp_path))["suites"]
    assert "chance" not in result["train"]
    chance, total = result["held-out"]["chance"], result["held-out"]["total"]
    right, n = total["n"] - total["errors"], total["n"]
    by_hand = sum(math.comb(n, k) * 10 ** (n - k) for k in range(right + 1)) / 11**n
    assert (chance["classes"], chance["right"], chance["definition"]) == (11, right, "binomial-lower-tail")
    assert chance["probability"] == pytest.approx(by_hand, rel=1e-9)


# --- Comparisons --------------------------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path):
    def read_document(written, name):
        path = tmp_path / f"{name}.json"
        path.write_bytes(pretty_json(written))
        return read_evaluations(path)[0]

    return read_document


def test_models_of_one_split_are_compared_in_whichever_format(tmp_path, read):
    first = evaluated(ours(tmp_path))
    second = evaluated(ours(tmp_path, replace(TINY, format="power5"), spec_of("power5"), name="other.pt"))
    comparison = compare([read(first, "first"), read(second, "second")])
    assert [pair.suite for pair in comparison.pairs] == ["held-out", "train"]
    for pair in comparison.pairs:
        failed = [
            {
                (a, b)
                for s in d["suites"][pair.suite]["strata"]
                for a, b in zip(s["failures"]["a"], s["failures"]["b"], strict=True)
            }
            for d in (first, second)
        ]
        assert (pair.only_first, pair.only_second) == (len(failed[0] - failed[1]), len(failed[1] - failed[0]))
    counts = document_of(comparison)["checkpoints"][0]["suites"]["held-out"]
    assert set(counts) == {"exam", "errors", "n"}


def test_another_split_or_a_part_of_it_is_another_exam(tmp_path, read):
    first = read(evaluated(ours(tmp_path)), "first")
    other = replace(TINY, split=SplitSpec("random", 7, fraction=0.5))
    for checkpoint, limit in ((ours(tmp_path, other, name="other.pt"), None), (ours(tmp_path, name="other.pt"), 5)):
        with pytest.raises(
            InputError, match=r"sat another exam: expected modular-split/1 add mod 11 random 0.5 seed 42"
        ):
            compare([first, read(evaluated(checkpoint, limit), "second")])


def test_a_run_grokked_where_its_held_out_equations_are_right(tmp_path, read):
    written = evaluated(ours(tmp_path))
    entries = []
    for seed, wrong in ((0, 0), (1, 5)):
        result = written["suites"]["held-out"]
        entry = json.loads(json.dumps(written))
        held = entry["suites"]["held-out"]
        for stratum in held["strata"]:
            kept = wrong if stratum["name"] == "new pairs" else 0
            stratum["errors"] = kept
            stratum["failures"] = {name: column[:kept] for name, column in stratum["failures"].items()}
        held["total"]["errors"] = wrong
        entry["checkpoint"] |= {"path": f"runs/tiny/seed-{seed}/best.pt"}
        entry["checkpoint"]["origin"]["seed"] = seed
        assert result["total"]["n"] == 61
        entries.append(read(entry, f"seed-{seed}"))
    rate = compare(entries).grokked["runs/tiny"]
    assert (rate.k, rate.n) == (1, 2)
