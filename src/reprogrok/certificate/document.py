"""Certificate <-> its document: `certificate.schema.json`, one JSON file per checkpoint.

    Certificate --certificate_document--> document --write--> CERT.json --read_certificate--> CertificateFile

Input is untrusted: the sizes of the file, of a block's text and of the number of its trees are bounded, decompression
stops at its bound, and the checker is given only proofs of the right form.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.problem_sets import DigitCondition
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.certificate.checker.statement import (
    Certificate,
    CertificateStatus,
    CertifiedModel,
    Counterexample,
    FailureCondition,
    PlaceFailures,
    PlaceStatement,
    SearchNotes,
    SmallestSeen,
    Statement,
    WrongBounds,
)
from reprogrok.certificate.checker.trees import BlockProof, checked_order, decode, pack, unpack
from reprogrok.errors import InputError
from reprogrok.files import pretty_json, write_bytes
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.schema import Document, Steps, check, check_written, load, read_bytes

FORMAT = "reprogrok.certificate/2"
SCHEMA = "certificate"
SUFFIX = ".certificate.json"  # after a checkpoint's name: where its certificate is looked for
MAX_FILE_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 4 * 2**20  # of one block's trees; a block without any cut has at most 2,000
ARITHMETICS = {each.name: each for each in (FLOAT32, REAL)}


@dataclass(frozen=True)
class CertificateFile:
    """A certificate that was read, of the right form but not checked, with its file and the SHA-256 of it."""

    path: Path
    sha256: str
    certificate: Certificate

    def require_is_of(self, checkpoint: Checkpoint, digits: int) -> None:
        """Refuse a certificate of something else.

        Raises:
            InputError: it is about another file or another task, or a basis has another width than the model.
        """
        found = self.certificate
        if found.model.sha256 != checkpoint.sha256:
            raise InputError(
                f"a certificate of another checkpoint than {checkpoint.path}", path=self.path,
                field="$.checkpoint.sha256", expected=f"{checkpoint.sha256[:16]}…", found=f"{found.model.sha256[:16]}…",
            )  # fmt: skip
        if found.digits != digits:
            raise InputError(
                "another task", path=self.path, field="$.task.digits", expected=f"{digits}", found=f"{found.digits}"
            )
        width = checkpoint.spec.d_model
        for index, proof in enumerate(found.proofs):
            if proof.basis_rD.shape[1] != width:
                raise InputError(
                    "a basis that does not fit the model", path=self.path, field=f"$.blocks[{index}].basis",
                    expected=f"rows of {width} numbers", found=f"{proof.basis_rD.shape[1]}",
                )  # fmt: skip


def beside(checkpoint: Path) -> Path:
    """Return where a checkpoint's certificate is looked for: `x/model.pt` has `x/model.certificate.json`."""
    return checkpoint.with_name(checkpoint.stem + SUFFIX)


def certificate_document(certificate: Certificate) -> dict[str, object]:
    """Return a certificate as plain data, ready for JSON."""
    said = certificate.statement
    return {
        "format": FORMAT,
        "reprogrok": certificate.version,
        "checkpoint": asdict(certificate.model),
        "task": {"name": "addition", "digits": certificate.digits},
        "arithmetic": asdict(certificate.arithmetic),
        "verdict": said.status.value,
        "problems": str(said.problems),
        "wrong": _bounds_entry(said.wrong),
        "smallest_margin": said.smallest_margin,
        "smallest_seen": None if said.smallest_seen is None else _problem_entry(said.smallest_seen),
        "places": [_place_entry(place) for place in said.places],
        "counterexamples": [_problem_entry(example) for example in said.counterexamples],
        "failures": [_failures_entry(entry) for entry in said.failures],
        "environment": dict(certificate.environment),
        "search": asdict(certificate.search),
        "blocks": [block_entry(proof) for proof in certificate.proofs],
    }


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    document = certificate_document(certificate)
    check_written(document, SCHEMA)
    write_bytes(path, pretty_json(document))


def read_certificate(path: Path) -> CertificateFile:
    """Read a certificate of the right form, with the proofs of all of its blocks.

    Raises:
        InputError: no such file, too large, another format, or something in it that the checker cannot be asked about.
    """
    read = load_document(path)
    data = read.data
    expected = list(blocks(data["task"]["digits"]))
    if len(data["blocks"]) != len(expected):
        message = f"not the blocks of {data['task']['digits']} digits"
        raise read.error(("blocks",), message, expected=f"{len(expected)} items", found=len(data["blocks"]))
    certificate = Certificate(
        model=CertifiedModel(**data["checkpoint"]),
        digits=data["task"]["digits"],
        arithmetic=ARITHMETICS[data["arithmetic"]["name"]],
        statement=read_statement(data),
        proofs=tuple(
            read_block(read, ("blocks", index), entry, block)
            for index, (entry, block) in enumerate(zip(data["blocks"], expected, strict=True))
        ),
        version=data["reprogrok"],
        environment=data["environment"],
        search=SearchNotes(**data["search"]),
    )
    return CertificateFile(read.path, read.sha256, certificate)


def load_document(path: Path) -> Document:
    """Read the document of a certificate, without unpacking its proofs.

    Raises:
        InputError: no such file, too large, another format, or not what the schema asks for.
    """
    if path.suffix != ".json":
        raise InputError("no certificate", path=path, expected="a name that ends in .json", found=path.suffix or "none")
    read_bytes(path, MAX_FILE_BYTES)
    read = load(path)
    found = read.data.get("format") if isinstance(read.data, dict) else None
    if found != FORMAT:
        older = isinstance(found, str) and found.startswith(FORMAT.partition("/")[0])
        message = (
            "a certificate of another version: make it again with `reprogrok certify`" if older else "no certificate"
        )
        raise read.error(("format",), message, expected=FORMAT, found=found)
    check(read, SCHEMA)
    entry = read.data["arithmetic"]
    for name, value in asdict(ARITHMETICS[entry["name"]]).items():
        if type(entry[name]) is not type(value) or entry[name] != value:
            raise read.error(("arithmetic", name), "another arithmetic", expected=f"{value}", found=entry[name])
    places = [each["place"] for each in read.data["failures"]]
    if places != sorted(set(places)):
        raise read.error(("failures",), expected="each place once, in their order", found=places)
    return read


def read_statement(data: Mapping[str, Any]) -> Statement:
    """Return the statement of a document that follows the schema."""
    seen = data["smallest_seen"]
    return Statement(
        status=CertificateStatus(data["verdict"]),
        problems=int(data["problems"]),
        wrong=_read_bounds(data["wrong"]),
        smallest_margin=data["smallest_margin"],
        smallest_seen=None if seen is None else SmallestSeen(**_read_operands(seen)),
        places=tuple(_read_place(entry) for entry in data["places"]),
        counterexamples=tuple(Counterexample(**_read_operands(entry)) for entry in data["counterexamples"]),
        failures=tuple(
            PlaceFailures(
                entry["place"],
                tuple(map(_read_condition, entry["failing"])),
                None if entry["seen"] is None else _read_condition(entry["seen"]),
            )
            for entry in data["failures"]
        ),
    )


def block_entry(proof: BlockProof) -> dict[str, object]:
    """Return a block as a certificate holds it."""
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
    """Return the proof at `steps` of a document, which is to be about `block`.

    Raises:
        InputError: it is about another block, or cannot be checked.
    """
    for name, wanted in (("place", block.place), ("token", block.token)):
        if entry[name] != wanted:
            raise read.error((*steps, name), "another block", expected=f"{wanted}", found=entry[name])
    rows = entry["basis"]
    if any(len(row) != len(rows[0]) for row in rows) or len(rows) > len(rows[0]):
        raise read.error((*steps, "basis"), expected="rows of one length, at most as many as they are long")
    orders = {}
    for place, text in entry["orders"].items():
        with read.located((*steps, "orders", place)):
            order_K = np.frombuffer(_bytes(text), dtype=np.uint8).astype(np.int64)
            orders[int(place)] = checked_order(order_K, block, int(place))
    with read.located((*steps, "leaves")):
        trees = unpack(_bytes(entry["leaves"]), MAX_TEXT_BYTES)
        halved = {run[0] for leaf in decode(trees, block) for run in leaf.runs}
    if missing := halved - orders.keys():
        raise read.error(
            (*steps, "orders"), "a place is halved that has no order", expected=f"an order of {min(missing)}"
        )
    return BlockProof(block, np.array(rows, dtype=np.float64), orders, trees)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("not base64") from error


def _bounds_entry(bounds: WrongBounds) -> dict[str, str]:
    """Counts as text: 10^20 is beyond what a float holds."""
    return {"at_least": str(bounds.at_least), "at_most": str(bounds.at_most)}


def _read_bounds(entry: Mapping[str, str]) -> WrongBounds:
    return WrongBounds(int(entry["at_least"]), int(entry["at_most"]))


def _problem_entry(entry: Counterexample | SmallestSeen) -> dict[str, object]:
    return asdict(entry) | {"a": str(entry.a), "b": str(entry.b)}


def _read_operands(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "a": int(entry["a"]), "b": int(entry["b"])}


def _place_entry(row: PlaceStatement) -> dict[str, object]:
    entry = asdict(row)
    bounds = _bounds_entry(row.wrong_problems)
    del entry["wrong_problems"]
    return entry | {"wrong_at_least": bounds["at_least"], "wrong_at_most": bounds["at_most"]}


def _read_place(entry: Mapping[str, Any]) -> PlaceStatement:
    kept = {name: value for name, value in entry.items() if not name.startswith("wrong_at")}
    return PlaceStatement(**kept, wrong_problems=WrongBounds(int(entry["wrong_at_least"]), int(entry["wrong_at_most"])))


def _failures_entry(entry: PlaceFailures) -> dict[str, object]:
    return {
        "place": entry.place,
        "failing": [_condition_entry(each) for each in entry.failing],
        "seen": None if entry.seen is None else _condition_entry(entry.seen),
    }


def _condition_entry(entry: FailureCondition) -> dict[str, object]:
    return {
        "conditions": [asdict(condition) for condition in entry.conditions],
        "problems": str(entry.problems),
        "wrong": _bounds_entry(entry.wrong),
        "carried": _bounds_entry(entry.carried),
        "counterexamples": entry.counterexamples,
    }


def _read_condition(entry: Mapping[str, Any]) -> FailureCondition:
    return FailureCondition(
        conditions=tuple(DigitCondition(**condition) for condition in entry["conditions"]),
        problems=int(entry["problems"]),
        wrong=_read_bounds(entry["wrong"]),
        carried=_read_bounds(entry["carried"]),
        counterexamples=entry["counterexamples"],
    )
