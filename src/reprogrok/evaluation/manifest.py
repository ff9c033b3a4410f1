"""A finished run and the evaluation of one of its checkpoints -> the manifest that travels beside the file.

    run, evaluation --manifest--> what is said of it     --with_certificate--> and of all problems of its task

A checkpoint handed to others needs an origin that can be checked: which experiment and seed, on what it was trained and
examined, the sha256 of the file, and its score as errors of n.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reprogrok.certificate.certified import Agreement, Certified, agreement, sampled
from reprogrok.certificate.document import beside
from reprogrok.errors import InputError, RecordError
from reprogrok.record import FINGERPRINT, SPEC, read


def best_checkpoint(run: Path, seed: int) -> Path:
    """The best checkpoint of a seed, after every file of the run was compared with its hash.

    Raises:
        RecordError: no finished run is there, or it has no such seed.
    """
    record = read(run)
    if seed not in record.replicas:
        raise RecordError(
            "no such seed in this run", path=run, expected=", ".join(map(str, record.replicas)), found=str(seed)
        )
    return run / f"seed-{seed}" / "best.pt"


def manifest(run: Path, evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    """What is said beside the checkpoint `name`, examined as `evaluation`, from the run it came from."""
    spec = json.loads((run / SPEC).read_bytes())
    checkpoint = evaluation["checkpoint"]
    return {
        "format": "reprogrok.manifest/1",
        "file": name,
        "sha256": checkpoint["sha256"],
        "parameters": checkpoint["parameters"],
        "experiment": spec["experiment"],
        "spec_digest": spec["digest"],
        "engine_version": spec["engine_version"],
        "seed": checkpoint["origin"]["seed"],
        "steps": spec["spec"]["steps"],
        "step": checkpoint["step"],
        "trained_on": json.loads((run / FINGERPRINT).read_bytes()),
        "examined_on": evaluation["environment"],
        "scores": {
            suite: {key: result[key] for key in ("exam", "exam_digest")}
            | {key: result["total"][key] for key in ("errors", "n")}
            for suite, result in evaluation["suites"].items()
        },
    }


def with_certificate(about: dict[str, Any], certified: Certified) -> dict[str, Any]:
    """The manifest with what is certified of the same file, under the name that the certificate has beside it.

    Raises:
        InputError: the certificate is of another file, or cannot be true beside the scores of the manifest.
    """
    certified.check_is_of(about["sha256"], about["file"])
    if agreement(certified.stated.wrong, sampled(about["scores"])) is Agreement.CONTRADICTS:
        scores = about["scores"].values()
        raise InputError(
            "what it states cannot be true beside the scores of the manifest: one of the two is wrong",
            path=certified.path, field="$.wrong",
            expected=", ".join(f"what fits {score['errors']:,} of {score['n']:,}" for score in scores),
            found=f"{certified.stated.verdict}, at most {certified.stated.wrong.at_most}",
        )  # fmt: skip
    return about | {"certificate": certified.as_block(beside(Path(about["file"])).name)}
