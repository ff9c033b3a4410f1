"""Size limits of models and shards, shared by all readers of tensors and checked before anything is allocated."""

from __future__ import annotations

MAX_FILE_BYTES = 256 * 2**20  # fifty times the largest published model of this kind
MAX_PARAMETERS = MAX_FILE_BYTES // 4
MAX_SHAPE = {"n_layer": 64, "n_head": 256, "d_ff": 16_384, "vocab_size": 65_536}
MAX_WIDTH = 4_096  # limit of all other fields of a model's spec


def field_range(name: str) -> tuple[int, int]:
    """Return the least and the largest accepted value of an integer field of a model's spec; a rank may be 0."""
    return int(not name.endswith("_rank")), MAX_SHAPE.get(name, MAX_WIDTH)
