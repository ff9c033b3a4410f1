"""Shards of llm.c: tokens <-> the file that its data loader reads, byte for byte.

    byte 0     256 int32: 20240520 (magic), 1 (version), n (number of tokens), then zeros
    byte 1024  n uint16, the tokens; all numbers little-endian, and nothing after them

Errors name the offset of the first wrong byte. Axes: N tokens, or rows of T tokens each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reprogrok.errors import InputError
from reprogrok.formats.limits import MAX_FILE_BYTES
from reprogrok.schema import read_bytes

MAGIC, VERSION = 20240520, 1
HEADER_BYTES = 1024
MAX_TOKENS = (MAX_FILE_BYTES - HEADER_BYTES) // 2


def read_shard(path: Path, vocabulary: int | None) -> NDArray[np.uint16]:
    """Read the tokens of a shard, (N,).

    Args:
        path: path of the file.
        vocabulary: size of the vocabulary, if known; tokens outside it are refused.

    Raises:
        InputError: the file cannot be read or is too large, or a byte is wrong: the magic number, version, size, a
            non-zero number in the unused header, or a token outside the vocabulary.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    count = _tokens_said(path, data)
    tokens_N = np.frombuffer(data, "<u2", count, HEADER_BYTES).astype(np.uint16)
    if vocabulary is not None and (wrong_N := tokens_N >= vocabulary).any():
        at = int(wrong_N.argmax())
        raise _refusal(
            path, HEADER_BYTES + 2 * at, f"token {at}", f"a token below {vocabulary}", str(int(tokens_N[at]))
        )
    return tokens_N


def shard_bytes(tokens_N: NDArray[np.integer]) -> bytes:
    """Return the bytes of a shard of tokens (N,): three tokens give a header of 1,024 bytes and 6 bytes of tokens.

    Raises:
        InputError: there are too many tokens for one shard, or one is not a 16-bit number.
    """
    if tokens_N.ndim != 1 or not np.issubdtype(tokens_N.dtype, np.integer):
        raise InputError(
            field="tokens", expected="whole numbers in one row", found=f"{tokens_N.dtype} of shape {tokens_N.shape}"
        )
    if tokens_N.size > MAX_TOKENS:
        raise InputError(field="tokens", expected=f"at most {MAX_TOKENS} in one shard", found=str(tokens_N.size))
    if (wrong_N := (tokens_N < 0) | (tokens_N > np.iinfo(np.uint16).max)).any():
        at = int(wrong_N.argmax())
        raise InputError(field=f"tokens[{at}]", expected="a number from 0 to 65535", found=str(int(tokens_N[at])))
    header = np.zeros(HEADER_BYTES // 4, "<i4")
    header[:3] = MAGIC, VERSION, tokens_N.size
    return header.tobytes() + tokens_N.astype("<u2").tobytes()


def shards_of(rows_NT: NDArray[np.integer]) -> bytes:
    """Return the bytes of a shard of rows, one after the other.

    Raises:
        InputError: as `shard_bytes`.
    """
    return shard_bytes(rows_NT.reshape(-1))


def _tokens_said(path: Path, data: bytes) -> int:
    """Return the number of tokens in the header, after comparing it with the size of the file."""
    if len(data) < HEADER_BYTES:
        raise _refusal(path, len(data), "cut short", f"a header of {HEADER_BYTES} bytes", f"{len(data)} bytes")
    header = np.frombuffer(data, "<i4", HEADER_BYTES // 4).tolist()
    if header[0] != MAGIC:
        raise _refusal(path, 0, "not a shard of llm.c", f"the magic number {MAGIC}", str(header[0]))
    if header[1] != VERSION:
        raise _refusal(path, 4, "another version of the format", str(VERSION), str(header[1]))
    count: int = header[2]
    if not 0 <= count <= MAX_TOKENS:
        raise _refusal(path, 8, "number of tokens", f"0 to {MAX_TOKENS}", str(count))
    for at, value in enumerate(header[3:], 3):
        if value:
            raise _refusal(path, 4 * at, "unused part of the header", "0", str(value))
    if len(data) != (size := HEADER_BYTES + 2 * count):
        message = "cut short" if len(data) < size else "longer than its header says"
        raise _refusal(path, min(len(data), size), message, f"{size} bytes for {count} tokens", f"{len(data)}")
    return count


def _refusal(path: Path, byte: int, message: str, expected: str, found: str) -> InputError:
    return InputError(message, path=path, field=f"byte {byte}", expected=expected, found=found)
