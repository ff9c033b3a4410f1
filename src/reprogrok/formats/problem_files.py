"""Named sets of problems <-> a safetensors file, written by `generate` for anyone to open and hash.

Each set is an (N, 2) int64 tensor of operands. The metadata names the protocol; equal problems give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from reprogrok.errors import InputError
from reprogrok.files import write_bytes
from reprogrok.schema import read_bytes
from reprogrok.tasks.problems import Pairs


def write_problems(path: Path, sets: Mapping[str, Pairs], protocol: str) -> None:
    """Write sets of problems atomically."""
    tensors = {name: torch.stack([pairs.a, pairs.b], dim=1).contiguous() for name, pairs in sets.items()}
    write_bytes(path, safetensors.torch.save(tensors, {"protocol": protocol}))


def check_problems(path: Path, sets: Mapping[str, Pairs]) -> None:
    """Compare a file with the problems of the protocol.

    Only the exact problems of the protocol are accepted, because other held-out problems would change the meaning of a
    score.

    Raises:
        InputError: the file is missing, damaged, or holds anything else.
    """
    try:
        found = safetensors.torch.load(read_bytes(path))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"not a file of problems: {error}", path=path) from error
    if sorted(found) != sorted(sets):
        raise InputError(
            "other sets of problems", path=path, expected=", ".join(sorted(sets)), found=", ".join(sorted(found))
        )
    for name, pairs in sets.items():
        if not torch.equal(found[name], torch.stack([pairs.a, pairs.b], dim=1)):
            raise InputError(
                "not the problems that the protocol draws; run `reprogrok generate` again", path=path, field=name
            )
