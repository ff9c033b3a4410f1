"""Models of llm.c: `model.bin` -> a spec and weights by our published names.

    byte 0     256 int32: 20240326 (magic), 3 (version: float32), T, V, layers, heads, C, padded V, then zeros
    byte 1024  float32: wte (padded V, C), wpe (T, C); then each over all layers: ln1w, ln1b, qkvw (3C, C), qkvb,
               attprojw, attprojb, ln2w, ln2b, fcw (4C, C), fcb, fcprojw (C, 4C), fcprojb; then lnfw, lnfb

All numbers are little-endian. As in our models, a linear weight is (out, in) and q, k, v come in this order; only the
order of the tensors differs. The vocabulary is padded to a multiple of 128 with rows of zeros. Training never changes
the padding from +0.0: llm.c's softmax and loss use the first V logits, no batch contains a pad token, and decay keeps
zeros. A file with other padding is damaged or follows an unknown rule, and is refused.

The format describes one model: full ranks, biases, LayerNorm, GELU by tanh, d_ff = 4C and a tied head.

Axes: P numbers of a file, V tokens, D (llm.c's C) channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reprogrok.errors import CheckpointError
from reprogrok.formats.limits import field_range
from reprogrok.formats.shards import MAGIC as SHARD_MAGIC
from reprogrok.model.shapes import count_parameters, parameter_shapes
from reprogrok.spec.model import ModelSpec

MAGIC, VERSION = 20240326, 3
HEADER_BYTES = 1024
PAD_MULTIPLE = 128

_HEADER = {
    "max_seq_len": 2,
    "vocab_size": 3,
    "n_layer": 4,
    "n_head": 5,
    "d_model": 6,
}  # spec field -> place
_PADDED = 7
_ORDER = {
    "wte": "token_emb.weight", "wpe": "pos_emb.weight",
    "ln1w": "blocks.{}.ln1.weight", "ln1b": "blocks.{}.ln1.bias",
    "qkvw": "blocks.{}.attn.qkv.weight", "qkvb": "blocks.{}.attn.qkv.bias",
    "attprojw": "blocks.{}.attn.proj.weight", "attprojb": "blocks.{}.attn.proj.bias",
    "ln2w": "blocks.{}.ln2.weight", "ln2b": "blocks.{}.ln2.bias",
    "fcw": "blocks.{}.mlp.fc1.weight", "fcb": "blocks.{}.mlp.fc1.bias",
    "fcprojw": "blocks.{}.mlp.fc2.weight", "fcprojb": "blocks.{}.mlp.fc2.bias",
    "lnfw": "ln_f.weight", "lnfb": "ln_f.bias",
}  # fmt: skip


def padded(vocabulary: int) -> int:
    """Return the number of rows of the embedding in the file: 128 for 101 tokens."""
    return -(-vocabulary // PAD_MULTIPLE) * PAD_MULTIPLE


def read_content(path: Path, data: bytes) -> dict[str, object]:
    """Read model_config and model_state, as in other checkpoints; there is no step, score or task.

    Raises:
        CheckpointError: the file was refused, at the byte named.
    """
    spec, weights = _parse(path, data)
    return {"model_config": spec.as_dict(), "model_state": weights}


def _parse(path: Path, data: bytes) -> tuple[ModelSpec, dict[str, torch.Tensor]]:
    spec = _read_header(path, data)
    size = HEADER_BYTES + 4 * count_parameters(spec) + _pad_bytes(spec)
    if len(data) != size:
        message = "cut short" if len(data) < size else "longer than its header says"
        raise _refusal(path, min(len(data), size), message, f"{size} bytes", str(len(data)))
    numbers_P = np.frombuffer(data, "<f4", offset=HEADER_BYTES).astype(np.float32)
    shapes, weights, start = parameter_shapes(spec), {}, 0
    for stored, name in _tensors(spec):
        end = start + math.prod(shapes[name])
        tensor_P = numbers_P[start:end]
        if (wrong_P := ~np.isfinite(tensor_P)).any():
            first = start + int(wrong_P.argmax())
            raise _refusal(path, HEADER_BYTES + 4 * first, stored, "a finite number", str(numbers_P[first]))
        weights[name] = torch.from_numpy(tensor_P.reshape(shapes[name]).copy())
        start = end
        if stored == "wte":
            start += _pad_bytes(spec) // 4
            _check_padding(path, spec, numbers_P[end:start], HEADER_BYTES + 4 * end)
    return spec, {name: weights[name] for name in shapes}


def _read_header(path: Path, data: bytes) -> ModelSpec:
    header = np.frombuffer(data[: min(len(data), HEADER_BYTES) // 4 * 4], "<i4").tolist()
    if header and header[0] != MAGIC:
        found = f"{header[0]}{' (a shard of tokens)' * (header[0] == SHARD_MAGIC)}"
        raise _refusal(path, 0, "not a model of llm.c", f"the magic number {MAGIC}", found)
    if len(data) < HEADER_BYTES:
        raise _refusal(path, len(data), "cut short", f"a header of {HEADER_BYTES} bytes", f"{len(data)} bytes")
    if header[1] != VERSION:
        raise _refusal(path, 4, "another version of the format", f"{VERSION} (float32)", str(header[1]))
    for name, place in _HEADER.items():
        least, most = field_range(name)
        if not least <= header[place] <= most:
            raise _refusal(path, 4 * place, name, f"{least} to {most}", str(header[place]))
    values = {name: header[place] for name, place in _HEADER.items()}
    spec = ModelSpec(**values, d_ff=4 * values["d_model"], bias=True, gelu="tanh")
    if (problem := spec.problem()) is not None:
        name, expected, value = problem
        raise _refusal(path, 4 * _HEADER[name], name, expected, str(value))
    if header[_PADDED] != (rows := padded(spec.vocab_size)):
        expected = f"{rows} ({spec.vocab_size} and up to a multiple of {PAD_MULTIPLE})"
        raise _refusal(path, 4 * _PADDED, "padded vocabulary", expected, str(header[_PADDED]))
    for place, value in enumerate(header[_PADDED + 1 :], _PADDED + 1):
        if value:
            raise _refusal(path, 4 * place, "unused part of the header", "0", str(value))
    return spec


def _check_padding(path: Path, spec: ModelSpec, pad_P: NDArray[np.float32], byte: int) -> None:
    # Compared by bits, since -0.0 is not what llm.c writes.
    if (wrong_P := pad_P.view(np.uint32) != 0).any():
        first = int(wrong_P.argmax())
        row = spec.vocab_size + first // spec.d_model
        raise _refusal(path, byte + 4 * first, f"wte, row {row} of the padding", "0.0", str(pad_P[first]))


def _tensors(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    """Yield (llm.c's name, our name) of every tensor in the order of the file."""
    for stored, pattern in _ORDER.items():
        for layer in range(spec.n_layer if "{}" in pattern else 1):
            yield stored, pattern.format(layer)


def _pad_bytes(spec: ModelSpec) -> int:
    return 4 * (padded(spec.vocab_size) - spec.vocab_size) * spec.d_model


def _refusal(path: Path, byte: int, message: str, expected: str, found: str) -> CheckpointError:
    return CheckpointError(message, path=path, field=f"byte {byte}", expected=expected, found=found)
