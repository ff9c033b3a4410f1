"""What is held out is what the protocol says, pair by pair, and no training batch ever holds one of them."""

import pytest
import reference
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.formats.problem_files import check_problems, write_problems
from reprogrok.spec.task import CurriculumStage
from reprogrok.tasks.holdout import _MULTIPLIERS, HeldBack, hold_out
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.protocols import EXAM_SEEDS, PROTOCOL
from reprogrok.tasks.streams import Purpose, below, draw
from reprogrok.train.sampling import Batches, _enough_redraws

torch.set_num_threads(1)


def as_list(pairs):
    return list(zip(pairs.a.reshape(-1).tolist(), pairs.b.reshape(-1).tolist(), strict=True))


def as_pairs(rows):
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T
    return Pairs(columns[0], columns[1])


# --- The protocol -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "digits"), [(41, 10), (31415, 10), (42, 10), (0, 10), (7, 3), (8, 3), (9, 4), (2**40, 3)]
)
def test_the_walk_of_the_protocol(seed, digits):
    # A million problems of three digits, some 30,000 drawn: hundreds of repeats, and their order matters.
    held = hold_out(seed, digits)
    assert [*as_list(held.validation), *as_list(held.test)] == reference.hold_out(seed, digits)
    assert (len(held.validation), len(held.test)) == (5_000, 10_000)


def test_the_small_analogue_has_repeats_to_skip():
    generator = torch.Generator().manual_seed(7)
    a, b = (torch.randint(0, 1000, (30_000,), generator=generator) for _ in range(2))
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) < 29_700


def test_more_rounds_are_drawn_until_enough_are_held():
    # Of 150 * 150 problems, 15,000 distinct ones need several vectors; both walks must agree on each of them.
    def plain():
        generator, pairs = torch.Generator().manual_seed(3), []
        while len(pairs) < 15_000:
            n = max(2 * (15_000 - len(pairs)), 4096)
            a, b = (torch.randint(0, 150, (n,), generator=generator, dtype=torch.int64).tolist() for _ in range(2))
            pairs = list(dict.fromkeys([*pairs, *zip(a, b, strict=True)]))
        return pairs[:15_000]

    class Narrow(int):
        """Ten to the power of this is 150."""

        def __rpow__(self, base):
            return 150 if base == 10 else 22_500

    held = hold_out(3, Narrow(2))
    assert [*as_list(held.validation), *as_list(held.test)] == plain()


def test_names_and_limits():
    assert PROTOCOL == "addition-100k/1"
    assert EXAM_SEEDS == reference.SEEDS
    with pytest.raises(ValueError, match="2 digits give 10000 problems; the protocol holds out 15000"):
        hold_out(1, 2)


# --- Membership ---------------------------------------------------------------------------------------------------

CPU = torch.device("cpu")


def one_replica(pairs):
    return Pairs(pairs.a.unsqueeze(0), pairs.b.unsqueeze(0))


def held_back(pairs):
    return HeldBack([as_pairs(list(pairs))], CPU)


SMALL = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@given(SMALL, SMALL)
def test_contains_is_that_of_a_set(held, asked):
    found = held_back(set(held)).contains(one_replica(as_pairs(asked)))[0]
    assert found.tolist() == [pair in set(held) for pair in asked]


@given(st.lists(st.tuples(*[st.integers(0, 10**10 - 1)] * 2), max_size=20), st.data())
def test_contains_knows_large_operands_and_their_order(held, data):
    near = [(a + data.draw(st.integers(-1, 1)), b + data.draw(st.integers(-1, 1))) for a, b in held]
    asked = [*held, *near, *((b, a) for a, b in held)]
    found = held_back(set(held)).contains(one_replica(as_pairs(asked)))[0]
    assert found.tolist() == [pair in set(held) for pair in asked]


def test_contains_keeps_the_shape():
    back = held_back([(1, 2), (3, 4)])
    asked = Pairs(torch.tensor([[[1, 2]], [[3, 3]]]), torch.tensor([[[2, 1]], [[4, 3]]]))
    assert back.contains(asked).tolist() == [[[True, False]], [[True, False]]]


def test_each_replica_has_its_own():
    back = HeldBack([as_pairs([(1, 2), (3, 4)]), as_pairs([(5, 6), (1, 3)])], CPU)
    asked = Pairs(
        torch.tensor([[[1, 5], [1, 5]], [[3, 1], [1, 3]]]), torch.tensor([[[2, 6], [2, 6]], [[4, 3], [3, 4]]])
    )
    assert back.contains(asked).tolist() == [[[True, False], [False, True]], [[True, False], [True, False]]]


def test_pairs_under_one_key_are_told_apart():
    multiplier = _MULTIPLIERS[0]
    # Under the first multiplier these two, which wrap to the same key, force the second one.
    a, b = 7, 11
    other = (a + 1, b - multiplier)
    back = held_back([(a, b), other])
    assert back._multiplier == _MULTIPLIERS[1]
    assert back.contains(one_replica(as_pairs([(a, b), other, (a + 1, b), (a, b + 1)])))[0].tolist() == [1, 1, 0, 0]
    # And what shares a held pair's key is not held.
    alone = held_back([(a, b)])
    assert alone._multiplier == multiplier
    assert alone.contains(one_replica(as_pairs([other, (a, b)])))[0].tolist() == [False, True]


def test_pairs_that_repeat_are_refused():
    with pytest.raises(ValueError, match="distinct"):
        held_back([(1, 2), (1, 2)])


# --- Batches ------------------------------------------------------------------------------------------------------

STAGES = (CurriculumStage(0, (1, 1)), CurriculumStage(3, (1, 2)), CurriculumStage(10, (2, 3)))


def few_held():
    """Half of the problems of one digit and a tenth of those of two: most batches need redraws, some several."""
    pairs = [
        (a, b) for a in range(100) for b in range(100) if (max(a, b) < 10 and (a + b) % 2) or (7 * a + b) % 10 == 0
    ]
    return as_pairs(pairs), set(pairs)


class OneSeed(Batches):
    """The batches of a single replica: (S, B)."""

    def __init__(self, seed, size, stages, held):
        super().__init__([seed], size, stages, [held], CPU)

    def pairs(self, first, last):
        pairs = super().pairs(first, last)
        return Pairs(pairs.a[:, 0], pairs.b[:, 0])


def test_no_held_pair_is_ever_drawn_and_redraws_keep_the_digits():
    held, forbidden = few_held()
    size, last = 64, 30
    pairs = OneSeed(5, size, STAGES, held).pairs(0, last)
    assert pairs.a.shape == pairs.b.shape == (last, size)
    assert not forbidden & set(as_list(pairs))
    redrawn = 0
    for step in range(last):
        least, most = next(s.digits for s in reversed(STAGES) if step >= s.start)
        counts = draw(5, Purpose.DIGIT_COUNT, step, torch.arange(size))[0]
        for row in range(size):
            n = least + (int(counts[row]) * (most - least + 1) >> 32)
            for attempt in range(100):
                words = draw(5, Purpose.OPERANDS, step, row, attempt)
                pair = int(below(10**n, words[0], words[1])), int(below(10**n, words[2], words[3]))
                if pair not in forbidden:
                    break
            redrawn += attempt
            assert (int(pairs.a[step, row]), int(pairs.b[step, row])) == pair
    assert redrawn > 100


@given(st.integers(0, 2**63 - 1), st.integers(0, 40), st.integers(1, 8), st.integers(0, 8))
@draws(25)
def test_a_batch_is_a_function_of_seed_and_step(seed, first, count, cut):
    batches = OneSeed(seed, 16, STAGES, few_held()[0])
    whole, middle = batches.pairs(first, first + count), first + min(cut, count)
    for name in ("a", "b"):
        parts = [getattr(batches.pairs(*part), name) for part in ((first, middle), (middle, first + count))]
        assert torch.equal(torch.cat(parts), getattr(whole, name))


def test_seeds_side_by_side_draw_what_each_draws_alone():
    held, others = few_held()[0], as_pairs([(a, 3 * a % 100) for a in range(few_held()[0].a.shape[0])])
    together = Batches([5, 2**40], 16, STAGES, [held, others], CPU).pairs(2, 9)
    for slot, alone in enumerate([OneSeed(5, 16, STAGES, held), OneSeed(2**40, 16, STAGES, others)]):
        for found, expected in zip((together.a, together.b), (alone.pairs(2, 9).a, alone.pairs(2, 9).b), strict=True):
            assert torch.equal(found[:, slot], expected)


def test_redraws_made_without_asking_give_the_same_batches():
    held, _ = few_held()
    asking, blind = (OneSeed(5, 64, STAGES, held) for _ in range(2))
    blind._redraws = _enough_redraws(STAGES, [held])
    assert blind._redraws > 50
    for found, expected in zip(vars(blind.pairs(0, 30)).values(), vars(asking.pairs(0, 30)).values(), strict=True):
        assert torch.equal(found, expected)
    assert _enough_redraws((CurriculumStage(0, (1, 10)),), [hold_out(1).pairs()]) <= 2


def test_digit_counts_are_uniform_in_the_range_of_their_stage():
    size = 4_000
    stages = (CurriculumStage(0, (1, 3)), CurriculumStage(2, (1, 6)), CurriculumStage(4, (1, 10)))
    batches, steps_S11 = OneSeed(11, size, stages, hold_out(11).pairs()), torch.arange(6).reshape(-1, 1, 1)
    words = draw(11, Purpose.DIGIT_COUNT, steps_S11, torch.arange(size))[0]
    counts = batches._digit_counts(steps_S11, words)[:, 0]
    pairs = batches.pairs(0, 6)
    for step, most in enumerate((3, 3, 6, 6, 10, 10)):
        seen = torch.bincount(counts[step], minlength=most + 1)[1:].double()
        assert len(seen) == most
        assert ((seen - size / most) ** 2 / (size / most)).sum() < most + 5 * most**0.5 + 5
        assert (pairs.a[step] < 10 ** counts[step]).all()
        assert (pairs.b[step] < 10 ** counts[step]).all()
        assert pairs.a[step].max() >= 10 ** (most - 1)


def test_a_real_run_never_trains_on_its_own_hold_out():
    held = hold_out(42)
    kept = {*as_list(held.validation), *as_list(held.test)}
    assert not kept & set(as_list(OneSeed(42, 512, (CurriculumStage(0, (1, 3)),), held.pairs()).pairs(0, 64)))
    small = hold_out(42, 3)
    kept = {*as_list(small.validation), *as_list(small.test)}
    drawn = OneSeed(42, 512, (CurriculumStage(0, (1, 3)),), small.pairs()).pairs(0, 64)
    assert not kept & set(as_list(drawn))
    assert len(kept) == 15_000


def test_seeds_draw_different_batches():
    first, second = (OneSeed(seed, 32, STAGES, few_held()[0]).pairs(0, 4) for seed in (1, 2))
    assert not torch.equal(first.a, second.a)


# --- Files of problems --------------------------------------------------------------------------------------------


def test_files_of_problems_are_the_problems_and_nothing_else(tmp_path):
    sets = {"validation": as_pairs([(1, 2), (3, 4)]), "test": as_pairs([(5, 6)])}
    path = tmp_path / "problems.safetensors"
    write_problems(path, sets, PROTOCOL)
    before = path.read_bytes()
    check_problems(path, sets)
    write_problems(path, sets, PROTOCOL)
    assert path.read_bytes() == before
    other = sets | {"test": as_pairs([(5, 7)])}
    with pytest.raises(InputError, match="test: not the problems that the protocol draws"):
        check_problems(path, other)
    with pytest.raises(InputError, match="other sets of problems: expected test, found test, validation"):
        check_problems(path, {"test": sets["test"]})
    path.write_bytes(before[:-1])
    with pytest.raises(InputError, match="not a file of problems"):
        check_problems(path, sets)
