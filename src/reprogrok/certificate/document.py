"""Proofs of all blocks <-> the document that carries them: `certificate.schema.json`, one file per checkpoint.

    BlockProof of every block + Statement + what was met on the way --> document --> CERT.json --> Certificate, proofs

A certificate holds two kinds of things. The *proofs*, a tree per case with the bases and orders that it speaks of, are
what `certificate_check` checks; they are untrusted. The *statement*, how many leaves are right, wrong and open and what
follows for the number of wrong problems, follows from trees that were checked, and is recomputed by whoever checks.
Margins are written rounded down and widths rounded up, to a millionth, so that another machine's last digits do not
turn a true statement into a false one.

Reading trusts nothing: the file, a block's text and the number of its trees are bounded, what is compressed is
unpacked up to that bound and no further, and everything has the form that the checker needs before it is asked.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from reprogrok import __version__
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.rounding import FLOAT32, REAL, Arithmetic
from reprogrok.certificate.checker.trees import BlockProof, checked_order, decode, pack, unpack
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import pretty_json, write_bytes
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.model.shapes import count_parameters
from reprogrok.schema import Document, Steps, check, check_written, json_path, load, read_bytes

FORMAT = "reprogrok.certificate/1"
SCHEMA = "certificate"
SUFFIX = ".certificate.json"  # after a checkpoint's name: where its certificate is looked for
MAX_FILE_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 4 * 2**20  # of one block's trees; a block without any cut has at most 2,000
MILLIONTH = 1e-6
ARITHMETICS = {each.name: each for each in (FLOAT32, REAL)}


class Verdict(StrEnum):
    """What a certificate says of its checkpoint."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    PARTIAL = "PARTIAL"

    @property
    def exit_code(self) -> ExitCode:
        """0, 1 and 3."""
        codes = {Verdict.PROVED: ExitCode.PASS, Verdict.REFUTED: ExitCode.FAIL, Verdict.PARTIAL: ExitCode.INCONCLUSIVE}
        return codes[self]


@dataclass(frozen=True)
class Certificate:
    """A certificate that was read: of the right form, not yet believed.

    Attributes:
        document: the file.
        proofs: of every block, in the order of `certificate.checker.carries.blocks`.
    """

    document: Document
    proofs: tuple[BlockProof, ...]

    @property
    def content(self) -> Mapping[str, Any]:
        """The document's fields."""
        content: Mapping[str, Any] = self.document.data
        return content

    @property
    def digits(self) -> int:
        """Of each operand."""
        return int(self.content["task"]["digits"])

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return Verdict(self.content["verdict"])

    @property
    def arithmetic(self) -> Arithmetic:
        """Which arithmetic it speaks of, by name."""
        return ARITHMETICS[self.content["arithmetic"]["name"]]


def beside(checkpoint: Path) -> Path:
    """Where a checkpoint's certificate is looked for: `x/model.pt` has `x/model.certificate.json`."""
    return checkpoint.with_name(checkpoint.stem + SUFFIX)


def document(
    checkpoint: Checkpoint,
    digits: int,
    proofs: Sequence[BlockProof],
    statement: Mapping[str, Any],
    met: Mapping[str, Any],
) -> dict[str, Any]:
    """The certificate as plain data.

    Args:
        checkpoint: whose.
        digits: of each operand.
        proofs: of every block, each status of which was confirmed.
        statement: as `certificate_check.statement` has it.
        met: `verdict`, `wrong`, `counterexamples`, `failures`, `smallest_seen`, `environment` and `search`.
    """
    return {
        "format": FORMAT,
        "reprogrok": __version__,
        "checkpoint": {
            "path": Path(checkpoint.path).as_posix(),
            "sha256": checkpoint.sha256,
            "parameters": count_parameters(checkpoint.spec),
            "model_config": checkpoint.spec.as_dict(),
        },
        "task": {"name": "addition", "digits": digits},
        "arithmetic": statement["arithmetic"],
        "verdict": met["verdict"],
        "problems": statement["problems"],
        "wrong": met["wrong"],
        "smallest_margin": statement["smallest_margin"],
        "smallest_seen": met["smallest_seen"],
        "places": statement["places"],
        "counterexamples": met["counterexamples"],
        "failures": met["failures"],
        "environment": met["environment"],
        "search": met["search"],
        "blocks": [block_entry(proof) for proof in proofs],
    }


def arithmetic_entry(arithmetic: Arithmetic) -> dict[str, Any]:
    """Which arithmetic a certificate speaks of."""
    return {
        "name": arithmetic.name,
        "unit": arithmetic.unit,
        "elementary": arithmetic.elementary,
        "tiny": arithmetic.tiny,
    }


def write_certificate(path: Path, content: Mapping[str, Any]) -> None:
    """Write a certificate, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    check_written(content, SCHEMA)
    write_bytes(path, pretty_json(content))


def read_certificate(path: Path) -> Certificate:
    """A certificate of the right form, with the proofs of all of its blocks.

    Raises:
        InputError: no such file, too large, another format, or something in it that the checker cannot be asked about.
    """
    if path.suffix != ".json":
        raise InputError("no certificate", path=path, expected="a name that ends in .json", found=path.suffix or "none")
    read_bytes(path, MAX_FILE_BYTES)
    read = load(path)
    found = read.data.get("format") if isinstance(read.data, dict) else None
    if found != FORMAT:
        raise read.error(("format",), "no certificate that this version knows", expected=FORMAT, found=found)
    check(read, SCHEMA)
    expected = list(blocks(read.data["task"]["digits"]))
    entries = read.data["blocks"]
    if len(entries) != len(expected):
        message = f"not the blocks of {read.data['task']['digits']} digits"
        raise read.error(("blocks",), message, expected=f"{len(expected)} items", found=len(entries))
    proofs = [
        read_block(read, ("blocks", index), entry, block)
        for index, (entry, block) in enumerate(zip(entries, expected, strict=True))
    ]
    return Certificate(read, tuple(proofs))


def block_entry(proof: BlockProof) -> dict[str, Any]:
    """A block as a certificate holds it."""
    return {
        "place": proof.block.place,
        "token": proof.block.token,
        "basis": [[float(value) for value in row] for row in proof.basis_rD],
        "orders": {
            str(place): base64.b64encode(np.asarray(order_K).astype(np.uint8).tobytes()).decode("ascii")
            for place, order_K in sorted(proof.orders.items())
        },
        "leaves": base64.b64encode(pack(proof.text)).decode("ascii"),
    }


def read_block(read: Document, steps: Steps, entry: Mapping[str, Any], block: Block) -> BlockProof:
    """What stands at `steps` of a document, which is to be about `block`.

    Raises:
        InputError: it is about another block, or is nothing that can be checked.
    """
    for name, wanted in (("place", block.place), ("token", block.token)):
        if entry[name] != wanted:
            raise read.error((*steps, name), "another block", expected=f"{wanted}", found=entry[name])
    rows = entry["basis"]
    if any(len(row) != len(rows[0]) for row in rows) or len(rows) > len(rows[0]):
        raise read.error((*steps, "basis"), expected="rows of one length, at most as many as they are long")
    orders = {}
    for place, text in entry["orders"].items():
        with located(read, (*steps, "orders", place)):
            order_K = np.frombuffer(_bytes(text), dtype=np.uint8).astype(np.int64)
            orders[int(place)] = checked_order(order_K, block, int(place))
    with located(read, (*steps, "leaves")):
        trees = unpack(_bytes(entry["leaves"]), MAX_TEXT_BYTES)
        halved = {run[0] for leaf in decode(trees, block) for run in leaf.runs}
    if missing := halved - orders.keys():
        raise read.error(
            (*steps, "orders"), "a place is halved that has no order", expected=f"an order of {min(missing)}"
        )
    return BlockProof(block, np.array(rows, dtype=np.float64), orders, trees)


@contextmanager
def located(read: Document, steps: Steps) -> Iterator[None]:
    """Name the file and the field in what is refused while the block runs.

    Raises:
        InputError: any of the block.
    """
    try:
        yield
    except InputError as error:
        field = json_path(steps)
        raise InputError(
            error.message, path=read.path, field=field, expected=error.expected, found=error.found
        ) from error


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("not base64") from error


def rounded_down(margin: float | None) -> float | None:
    """A margin as it is written: a whole number of millionths that is at most it; None for none.

    0.52345678 -> 0.523456. What rounds to nothing is no margin that could be written.
    """
    if margin is None or not math.isfinite(margin):
        return None
    return math.floor(margin / MILLIONTH) / round(1 / MILLIONTH) or None


def rounded_up(width: float | None) -> float | None:
    """A width as it is written: a whole number of millionths that is at least it. 0.0400001 -> 0.040001."""
    if width is None or not math.isfinite(width):
        return None
    return math.ceil(width / MILLIONTH) / round(1 / MILLIONTH)
