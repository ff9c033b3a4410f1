"""A spec and a seed -> initial weights, drawn on the CPU and equal on every device.

Weights are normal with mean 0: embeddings, positions and full-rank linear maps have standard deviation 0.02, other
low-rank factors sqrt(2 / (rows + cols)); norms start at weight 1 and bias 0 (the published rule). Linear biases start
at 0, or uniform in +-1/sqrt(inputs) as in llm.c. A tensor's name selects its stream, so adding one changes no other.
"""

from __future__ import annotations

import math
import zlib

import torch

from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.streams import Purpose, standard_normal, uniform


def initial_weights(spec: ModelSpec, seed: int, biases: str = "zero") -> dict[str, torch.Tensor]:
    """Draw one replica's float32 weights by name, without a replica axis; linear biases are "zero" or "uniform"."""
    shapes = parameter_shapes(spec)
    weights = {name: _initial(name, shape, seed) for name, shape in shapes.items()}
    if biases == "uniform":
        for name in shapes:
            matrix = shapes.get(f"{name.removesuffix('.bias')}.weight", ())
            if name.endswith(".bias") and len(matrix) == 2:  # not the bias of a norm
                draws = uniform(seed, Purpose.INITIAL_WEIGHTS, zlib.crc32(name.encode()), matrix[0])
                weights[name] = ((2 * draws - 1) / math.sqrt(matrix[1])).float()
    return weights


def _initial(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    leaf = name.rsplit(".", 1)[1]
    if len(shape) == 1:
        return torch.ones(shape) if leaf == "weight" else torch.zeros(shape)
    low_rank = leaf != "weight" and not name.startswith("pos_emb.")
    deviation = math.sqrt(2 / sum(shape)) if low_rank else 0.02
    draws = standard_normal(seed, Purpose.INITIAL_WEIGHTS, zlib.crc32(name.encode()), math.prod(shape))
    return (draws * deviation).float().reshape(shape)
