"""The audit of a split counts what a plain loop counts, and its ceilings are those of real memorisers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.split_audit import audit_split
from reprogrok.tasks.split_tables import document_of, split_text, summary, task_text
from reprogrok.tasks.splits import make_split


def task_of(kind, operation="add", modulus=97, layout="text9", seed=42, **split):
    return ModularTask(operation, modulus, layout, "all", SplitSpec(kind, seed, **split))


V2B = task_of("result_range", train=(0, 48), test=(48, 97))


def test_the_conflict_split_cannot_be_learned():
    audit = audit_split(V2B)
    assert (audit.equations, audit.train, audit.test, audit.neither) == (9_409, 4_656, 4_753, 0)
    assert (audit.answers.train, audit.answers.test, audit.answers.unseen) == (48, 49, 49)
    assert audit.answers.unseen_examples == 4_753
    assert [asdict(row)["unseen"] for row in audit.coverage] == [0, 0, 49]
    figures = asdict(audit.ceilings)
    assert figures.pop("constant_answer") == 0
    assert set(figures.values()) == {0}
    assert (audit.pairs_on_both_sides, audit.twins, audit.commutes) == (0, 0, True)
    assert " ".join(summary(audit)) == (
        "No test answer ever occurs as a training answer: the answers cannot be learned from this training set, "
        "and a learner that gives only answers it has seen scores 0."
    )


def test_a_random_split_is_mostly_known_to_whoever_swaps():
    audit = audit_split(task_of("random", fraction=0.8))
    assert (audit.train, audit.test, audit.twins) == (7_527, 1_882, 1_493)
    assert (audit.ceilings.pairs, audit.ceilings.swaps, audit.ceilings.support) == (0, 1_493, 1_882)
    assert "1,493 of 1,882 (79.33 %)" in summary(audit)[0]


def test_without_twins_only_memory_is_left():
    audit = audit_split(task_of("twin_closed", fraction=0.5))
    assert (audit.twins, audit.ceilings.swaps) == (0, 0)
    assert audit.ceilings.memoriser == audit.ceilings.constant > 0
    assert summary(audit)[0].startswith("Memorising, swapping and guessing reach at most 0.")


def test_overlapping_ranges_are_named():
    audit = audit_split(task_of("result_range", train=(0, 60), test=(48, 97)))
    assert (audit.pairs_on_both_sides, audit.ceilings.pairs, audit.answers.unseen) == (12 * 97, 12 * 97, 37)
    assert summary(audit)[0] == "1,164 of 4,753 (24.49 %) of the test examples are trained on: the test is not clean."
    assert summary(audit)[1].startswith("37 answers of the test set never occur as training answers")


def test_what_is_in_no_part_is_counted():
    audit = audit_split(task_of("result_range", train=(0, 10), test=(20, 30)))
    assert (audit.train, audit.test, audit.neither) == (970, 970, 9_409 - 1_940)


@pytest.mark.parametrize(
    ("name", "commutes"), [("add", True), ("sub", False), ("div", False), ("quadratic", True), ("quadratic-x", False)]
)
def test_whether_an_operation_commutes_is_read_off_its_answers(name, commutes):
    assert audit_split(task_of("random", name, 31, "power5", fraction=0.5)).commutes is commutes


SPLITS = st.one_of(
    st.builds(lambda f: {"kind": "random", "fraction": f}, st.floats(0.1, 0.9)),
    st.builds(lambda f: {"kind": "three_way", "fraction": f}, st.floats(0.1, 0.8)),
    st.builds(lambda f: {"kind": "twin_closed", "fraction": f}, st.floats(0.2, 0.8)),
    st.builds(
        lambda e, f: {"kind": "result_range", "train": (0, e), "test": (f, 7)}, st.integers(1, 7), st.integers(0, 6)
    ),
    st.builds(
        lambda h: {"kind": "operand_holdout", "held": tuple(sorted(h))},
        st.sets(st.integers(1, 6), min_size=1, max_size=4),
    ),
)


@given(st.sampled_from(["add", "sub", "div", "squares", "cubic", "mul"]), SPLITS, st.integers(0, 99))
def test_every_count_is_that_of_a_plain_memoriser(name, words, seed):
    task = task_of(operation=name, modulus=7, layout="power5", seed=seed, **words)
    audit, split = audit_split(task), make_split(task)
    equations = Modular(name, 7, "power5").equations()
    triples = list(zip(equations.a_N.tolist(), equations.b_N.tolist(), equations.c_N.tolist(), strict=True))
    train, test = ([triples[index] for index in rows] for rows in (split.train_N, split.test_N))
    known = {(a, b): c for a, b, c in train}
    answers = Counter(c for _, _, c in train)
    most = [answer for answer, count in answers.items() if count == max(answers.values())]
    guess = audit.ceilings.constant_answer
    assert guess in most
    assert all(sum(c == other for *_, c in test) <= sum(c == guess for *_, c in test) for other in most)

    def score(learner):
        return sum(learner(a, b) == c for a, b, c in test)

    ceilings = audit.ceilings
    assert ceilings.pairs == score(lambda a, b: known.get((a, b))) == audit.pairs_on_both_sides
    assert ceilings.swaps == score(lambda a, b: known.get((a, b), known.get((b, a))))
    assert ceilings.constant == score(lambda _a, _b: guess)
    assert ceilings.support == sum(c in answers for *_, c in test)
    # Where a swapped pair has another answer, the memoriser is let off: it counts as not knowing.
    assert ceilings.memoriser >= score(lambda a, b: known.get((a, b), known.get((b, a), guess)))
    assert ceilings.memoriser <= ceilings.support
    assert audit.twins == sum(a != b and known.get((b, a)) == c for a, b, c in test)
    for column, row in enumerate(audit.coverage):
        seen, tested = ({triple[column] for triple in side} for side in (train, test))
        assert (row.train, row.test, row.unseen) == (len(seen), len(tested), len(tested - seen))
        assert row.unseen_examples == sum(triple[column] not in seen for triple in test)


def test_the_document_holds_the_same_numbers():
    document = document_of("v2b", V2B, audit_split(V2B))
    assert (document["experiment"], document["train"], document["test"]) == ("v2b", 4_656, 4_753)
    assert document["ceilings"]["memoriser"] == {"right": 0, "n": 4_753, "accuracy": 0.0}
    assert document["coverage"][2]["unseen"] == 49
    assert document["task"]["split"]["train"] == (0, 48)


def test_tasks_and_splits_in_words():
    assert task_text(V2B) == "add mod 97 in text9"
    assert split_text(V2B.split) == "result_range, answers 0 to 47 train, answers 48 to 96 test, seed 42"
    assert task_text(task_of("random", "s5", None, "power5", fraction=0.5)) == "s5 in power5"
    assert (
        split_text(SplitSpec("operand_holdout", 1, held=(3, 5))) == "operand_holdout, operands held out: 3, 5, seed 1"
    )
