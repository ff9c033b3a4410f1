"""Scores of a set are those that the plain module's logits give, row by row, however the rows are dealt to passes."""

import math
from dataclasses import replace

import pytest
import torch
from draws import draws
from hypothesis import given
from hypothesis import strategies as st
from test_decoder import module_of, random_tokens, random_weights

from reprogrok.errors import InputError
from reprogrok.metrics.positions import _margins, score_positions
from reprogrok.spec.model import ModelSpec

torch.set_num_threads(1)

SPEC = ModelSpec(n_layer=2, d_model=8, n_head=2, d_ff=12, max_seq_len=8, vocab_size=9, bias=True)
N, T, ANSWER = 23, 8, 4


def weights_of(spec, seeds, dtype=torch.float64):
    alone = [random_weights(spec, seed, dtype) for seed in seeds]
    return {name: torch.stack([weights[name] for weights in alone]) for name in alone[0]}


def rows_of(rows=N, length=T + 1):
    return random_tokens(SPEC, rows, length).T


def plainly(seed, tokens_TN, scored, answer):
    """The same numbers from the plain module, one row and position after the other."""
    with torch.no_grad():
        logits_NTV = module_of(SPEC, random_weights(SPEC, seed))(tokens_TN[:-1].T)
    losses, right, margins, saturated = {}, {}, [], 0
    for position in scored:
        losses[position], right[position] = [], []
        for row in range(tokens_TN.shape[1]):
            values, target = logits_NTV[row, position].tolist(), int(tokens_TN[position + 1, row])
            losses[position].append(math.log(sum(math.exp(value - values[target]) for value in values)))
            right[position].append(values.index(max(values)) == target)
            if position == answer:
                margins.append(values[target] - max(v for token, v in enumerate(values) if token != target))
                saturated += float(torch.tensor(values).float().softmax(0).max()) == 1.0
    return losses, right, min(margins), saturated / len(margins)


@pytest.mark.parametrize("scored", [range(8), range(2, 6), range(4, 5)])
@pytest.mark.parametrize("rows", [1, 7, 23, 500])
def test_scores_are_those_of_the_plain_module(scored, rows):
    tokens_TN = rows_of()
    found = score_positions(SPEC, weights_of(SPEC, (0, 1)), tokens_TN, scored, ANSWER, rows=rows)
    assert found.examples == N
    for replica in range(2):
        losses, right, margin, saturated = plainly(replica, tokens_TN, scored, ANSWER)
        for at, position in enumerate(scored):
            assert float(found.loss_RQ[replica, at]) == pytest.approx(sum(losses[position]) / N, abs=1e-12)
            assert int(found.right_RQ[replica, at]) == sum(right[position])
            assert float(found.accuracy[replica, at]) == sum(right[position]) / N
        assert found.answer_loss_RN[replica].tolist() == pytest.approx(losses[ANSWER], abs=1e-12)
        assert found.answer_right_RN[replica].tolist() == right[ANSWER]
        assert float(found.smallest_margin_R[replica]) == pytest.approx(margin, abs=1e-12)
        assert float(found.saturated_R[replica]) == saturated
        expected = sum(sum(losses[position]) / N for position in scored) / len(scored)
        assert float(found.loss[replica]) == pytest.approx(expected, abs=1e-12)


def test_rows_of_each_replica_may_be_its_own():
    weights, mine, yours = weights_of(SPEC, (0, 1)), rows_of(), rows_of().flip(1).roll(1, 0)
    found = score_positions(SPEC, weights, torch.stack([mine, yours]), range(8), ANSWER)
    for replica, tokens_TN in enumerate((mine, yours)):
        losses, *_ = plainly(replica, tokens_TN, range(8), ANSWER)
        assert found.answer_loss_RN[replica].tolist() == pytest.approx(losses[ANSWER], abs=1e-12)


def test_values_are_float64_and_close_to_exact_ones_from_float32_logits():
    exact, single = (
        score_positions(SPEC, weights_of(SPEC, (3,), dtype), rows_of(), range(8), ANSWER)
        for dtype in (torch.float64, torch.float32)
    )
    assert single.loss_RQ.dtype == single.smallest_margin_R.dtype == single.saturated_R.dtype == torch.float64
    torch.testing.assert_close(single.loss_RQ, exact.loss_RQ, rtol=0, atol=1e-5)
    torch.testing.assert_close(single.smallest_margin_R, exact.smallest_margin_R, rtol=0, atol=1e-5)


def test_what_comes_after_the_last_scored_position_is_not_read():
    tokens_TN = rows_of()
    changed = tokens_TN.clone()
    changed[ANSWER + 2 :] = SPEC.vocab_size + 5  # no token at all: a look-up of it would not be right, or not be
    one, other = (
        score_positions(SPEC, weights_of(SPEC, (0,)), rows, range(2, ANSWER + 1), ANSWER)
        for rows in (tokens_TN, changed)
    )
    assert torch.equal(one.loss_RQ, other.loss_RQ)


@given(chosen=st.lists(st.booleans(), min_size=N, max_size=N))
@draws(20)
def test_twins_and_all_others_add_up_to_the_set(chosen):
    found = score_positions(SPEC, weights_of(SPEC, (0, 1)), rows_of(), range(4, 5), ANSWER)
    chosen_N = torch.tensor(chosen)
    k = int(chosen_N.sum())
    parts = [found.of(chosen_N), found.of(~chosen_N)]
    for value, whole in ((0, found.loss_RQ[:, 0]), (1, found.accuracy[:, 0])):
        total = sum(n * part[value] for n, part in zip((k, N - k), parts, strict=True) if n)
        torch.testing.assert_close(total / N, whole, rtol=0, atol=1e-12)
    if k == 0:
        assert parts[0][0].isnan().all()


def test_a_margin_is_the_lead_over_the_best_other_and_negative_where_the_answer_is_wrong():
    logits_RVB = torch.tensor([[[3.0, 1.0, 2.0], [1.0, 4.0, 2.0], [0.5, 0.0, 0.0]]])
    target_R1B = torch.tensor([[[0, 0, 1]]])
    assert _margins(logits_RVB, target_R1B).tolist() == [[2.0, -3.0, 0.0]]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_logit_that_is_not_finite_is_never_right_and_leaves_no_margin(bad):
    weights = weights_of(SPEC, (0, 1))
    weights["ln_f.bias"][1] = bad
    found = score_positions(SPEC, weights, rows_of(), range(8), ANSWER)
    assert found.right_RQ[0].sum() > 0
    assert found.right_RQ[1].sum() == 0
    assert found.smallest_margin_R[0].isfinite()
    assert not found.smallest_margin_R[1].isfinite()


def test_the_first_of_equal_logits_is_the_answer():
    weights = {name: tensor * 0 for name, tensor in weights_of(SPEC, (0,)).items()}
    found = score_positions(SPEC, weights, rows_of(), range(8), ANSWER)
    assert found.right_RQ[0].tolist() == (rows_of()[1:] == 0).sum(1).tolist()
    assert found.loss_RQ[0].tolist() == pytest.approx([math.log(9)] * 8)
    assert float(found.smallest_margin_R) == 0
    assert float(found.saturated_R) == 0


def test_a_softmax_is_saturated_where_one_share_is_exactly_one():
    # Beside a share of one, two of exp(-18) = 1.5e-8 are lost in float32, one of exp(-15) = 3.1e-7 is not.
    spec = replace(SPEC, n_layer=1, d_model=2, n_head=1, d_ff=2, vocab_size=3, bias=False)
    weights = {name: tensor * 0 for name, tensor in weights_of(spec, (0, 1), torch.float32).items()}
    weights["ln_f.bias"][:] = torch.tensor([1.0, 0.0])
    weights["token_emb.weight"][0, :, 0] = torch.tensor([0.0, -18.0, -18.0])
    weights["token_emb.weight"][1, :, 0] = torch.tensor([0.0, -15.0, -18.0])
    tokens_TN = rows_of() % 3
    found = score_positions(spec, weights, tokens_TN, range(8), ANSWER)
    assert found.saturated_R.tolist() == [1.0, 0.0]
    zero = tokens_TN[ANSWER + 1] == 0
    assert found.answer_loss_RN[0, zero].eq(0).all()
    assert found.answer_loss_RN[1, zero].gt(0).all()


@pytest.mark.parametrize(
    ("scored", "answer", "rows", "message"),
    [
        (range(9), 4, 3, "scored: expected positions from 0 to 7"),
        (range(-1, 5), 4, 3, "scored"),
        (range(0, 8, 2), 4, 3, "scored"),
        (range(4, 4), 4, 3, "scored"),
        (range(5, 8), 4, 3, r"answer: expected a scored position, in range\(5, 8\), found 4"),
        (range(8), 4, 0, "empty"),
    ],
)
def test_positions_that_rows_do_not_have_are_refused(scored, answer, rows, message):
    with pytest.raises(InputError, match=message):
        score_positions(SPEC, weights_of(SPEC, (0,)), rows_of()[:, :rows], scored, answer)
