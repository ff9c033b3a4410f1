"""Measurement of the metrics that installed packages offer.

    logits at the answer of all rows of a side --Metric.measure--> one number per replica --checked--> SIDE_NAME

A metric is called for one replica at a time, so that no replica's number depends on its neighbours.
Axes: R replicas, V vocabulary, N rows of a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from reprogrok.errors import InputError
from reprogrok.metrics.own_metrics import FIELD, Answers, Metric
from reprogrok.metrics.positions import ROWS
from reprogrok.model.decoder import Weights, logits
from reprogrok.spec.model import ModelSpec

_SLACK = 1e-5  # of rounding, relative


def value_of(metric: Metric, answers: Answers) -> float:
    """Measure one replica and check the number; NaN if a logit is not finite.

    Raises:
        InputError: `measure` raised, or returned no number or one out of bounds.
    """
    if not np.isfinite(answers.logits_NV).all():
        return math.nan
    try:
        found = metric.measure(answers)
    except Exception as error:  # code of another package may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"metric {metric.name} cannot be measured ({reason})", field=FIELD) from error
    if not isinstance(found, Real | np.bool_):
        raise InputError(f"metric {metric.name}", field=FIELD, expected="a number", found=type(found).__name__)
    value = float(found)
    slack = _SLACK * max(1.0, abs(value))
    if not (math.isnan(value) or metric.low - slack <= value <= metric.high + slack) or math.isinf(value):
        expected = f"a number from {metric.low:g} to {metric.high:g}, as it promises"
        raise InputError(f"metric {metric.name}", field=FIELD, expected=expected, found=f"{value:g}")
    return value


@torch.inference_mode()
def answer_logits(spec: ModelSpec, weights: Weights, tokens_TN: Tensor, answer: int, rows: int = ROWS) -> Tensor:
    """Return the logits at the answer of all rows of a side: (R, N, V) float32 on the CPU.

    Args:
        spec: the shape of the models.
        weights: tensors with a leading axis of R.
        tokens_TN: whole rows as columns, of which those up to `answer` are read.
        answer: the position that predicts the answer.
        rows: rows per forward pass.
    """
    R = weights["token_emb.weight"].shape[0]
    passes = [
        logits(spec, weights, tokens_TB.expand(R, -1, -1), answer)[:, :, 0].transpose(1, 2).float().cpu()
        for tokens_TB in tokens_TN[: answer + 1].split(rows, dim=1)
    ]
    return torch.cat(passes, dim=1)


def measure_own(metrics: Sequence[Metric], side: str, answers: Sequence[Answers]) -> dict[str, Tensor]:
    """Return `SIDE_NAME` -> the numbers of all replicas, (R,) in float64, from the answers of each.

    Raises:
        InputError: as `value_of`.
    """
    return {
        f"{side}_{metric.name}": torch.tensor([value_of(metric, one) for one in answers], dtype=torch.float64)
        for metric in metrics
    }
