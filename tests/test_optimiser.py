"""Schedule, clip and AdamW: the published formulas, and torch's own as the judge."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.spec.experiment import OptimiserSpec, ScheduleSpec
from reprogrok.tasks.streams import Purpose, standard_normal
from reprogrok.train.optimiser import adamw, clipped, learning_rate, step_numbers

torch.set_num_threads(1)

PUBLISHED = ScheduleSpec(warmup=1350, floor=0.1)
SPEC = OptimiserSpec(lr=0.02, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, clip=1.0)


def normal(label, *shape, dtype=torch.float64):
    return standard_normal(1, Purpose.STRESS, label, math.prod(shape)).reshape(shape).to(dtype)


@pytest.mark.parametrize(
    ("step", "steps", "rate"),
    [
        (0, 27_000, 0.02 / 1350),
        (674, 27_000, 0.01),
        (1349, 27_000, 0.02),
        (1350, 27_000, 0.02),
        (14_175, 27_000, 0.02 * 0.55),  # half way down the cosine
        (26_999, 27_000, 0.0020000000675),
        (53_999, 54_000, 0.00200000001602),
    ],
)
def test_worked_values_of_the_schedule(step, steps, rate):
    assert learning_rate(PUBLISHED, 0.02, step, steps) == pytest.approx(rate, rel=1e-11)


@given(st.integers(1, 100), st.integers(1, 1000), st.floats(0, 1), st.floats(1e-6, 1))
def test_the_rate_rises_to_the_peak_then_falls_to_the_floor(warmup, more, floor, peak):
    schedule, steps = ScheduleSpec(warmup, floor), warmup + more
    rates = [learning_rate(schedule, peak, step, steps) for step in range(steps)]
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert max(rates) == pytest.approx(peak)
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates[:warmup])
    assert all(floor * peak * (1 - 1e-12) <= rate for rate in rates[warmup:])


@pytest.mark.parametrize("scale", [0.0, 1e-30, 0.01, 1.0, 50.0, 1e15])
def test_clip_is_that_of_torch_for_each_replica(scale):
    gradients = normal(0, 3, 40) * torch.tensor([[scale], [scale / 3], [0.5]])
    smaller, norms = clipped(gradients, 1.0)
    for replica, gradient in enumerate(gradients):
        parameters = [torch.nn.Parameter(torch.zeros(20)) for _ in range(2)]
        for parameter, part in zip(parameters, gradient.split(20), strict=True):
            parameter.grad = part.float().clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        assert norms[replica].item() == pytest.approx(norm.item(), rel=1e-6)
        found = torch.cat([parameter.grad for parameter in parameters])
        torch.testing.assert_close(smaller[replica].float(), found, rtol=1e-5, atol=1e-9)


def test_clip_does_not_touch_what_is_small():
    gradient = torch.full((1, 4), 0.25)
    same, norm = clipped(gradient, 1.0)
    assert norm.item() == 0.5
    assert torch.equal(gradient, same)


@pytest.mark.parametrize("decay", [0.0, 0.01, 1.0])
def test_adamw_is_that_of_torch_over_fifty_steps(decay):
    spec = OptimiserSpec(lr=0.02, betas=(0.9, 0.98), eps=1e-8, weight_decay=decay, clip=1.0)
    ours = normal(1, 3, 30)
    theirs = [torch.nn.Parameter(row.clone()) for row in ours]
    judges = [torch.optim.AdamW([p], lr=1.0, betas=spec.betas, eps=1e-8, weight_decay=decay) for p in theirs]
    mean, square = torch.zeros_like(ours), torch.zeros_like(ours)
    rates = [learning_rate(ScheduleSpec(5, 0.1), spec.lr, step, 50) for step in range(50)]
    # Numbers of a step are the same whichever step a chunk of them begins with.
    numbers = torch.cat([step_numbers(spec, rates[:20], 0), step_numbers(spec, rates[20:], 20)])
    for step, rate in enumerate(rates):
        gradient = normal(2 + step, 3, 30)
        ours, mean, square = adamw(spec, ours, (mean, square), gradient, numbers[step])
        for parameter, judge, row in zip(theirs, judges, gradient, strict=True):
            parameter.grad = row.clone()
            judge.param_groups[0]["lr"] = rate
            judge.step()
        torch.testing.assert_close(ours, torch.stack([p.data for p in theirs]), rtol=1e-12, atol=1e-13)


def test_a_step_that_was_counted_from_one_would_be_seen():
    none, gradient = torch.zeros(1, 3), torch.full((1, 3), 0.5)
    first, second = (
        adamw(SPEC, torch.ones(1, 3), (none, none), gradient, step_numbers(SPEC, [0.02], start)[0])[0]
        for start in (0, 1)
    )
    assert first[0, 0].item() == pytest.approx(1 - 0.02 * 0.01 - 0.02, rel=1e-6)
    assert not torch.allclose(first, second, atol=1e-4)


def test_padding_stays_zero():
    weights = mean = square = torch.zeros(2, 8)
    for numbers in step_numbers(SPEC, [0.02] * 3, 0).float():
        weights, mean, square = adamw(SPEC, weights, (mean, square), torch.zeros(2, 8), numbers)
    assert weights.eq(0).all()
