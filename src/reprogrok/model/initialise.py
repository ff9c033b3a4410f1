"""A spec and a seed -> initial weights, drawn on the CPU and the same on every device.

Normal with mean 0: embeddings, positions and full-rank linears with standard deviation 0.02, other low-rank factors
with sqrt(2 / (rows + cols)); norms start at weight 1 and bias 0 (the published rule). Biases of linear maps start at
0, or uniform in +-1/sqrt(inputs), as the models of llm.c have them. The stream of a tensor is chosen by its name, so
adding a tensor moves no other.
"""

from __future__ import annotations

import math
import zlib

import torch

from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec import ModelSpec
from reprogrok.tasks.streams import Purpose, standard_normal, uniform


def initial_weights(spec: ModelSpec, seed: int, biases: str = "zero") -> dict[str, torch.Tensor]:
    """One replica's float32 weights by name, without the replica axis; linear biases are "zero" or "uniform"."""
    shapes = parameter_shapes(spec)
    weights = {name: _initial(name, shape, seed) for name, shape in shapes.items()}
    if biases == "uniform":
        for name in shapes:
            matrix = shapes.get(f"{name.removesuffix('.bias')}.weight", ())
            if name.endswith(".bias") and len(matrix) == 2:  # the weight of a norm is no matrix
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
