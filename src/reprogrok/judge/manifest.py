"""A finished run and the evaluation of one of its checkpoints -> the manifest that travels beside the file.

A checkpoint handed to others needs an origin that can be checked: which experiment and seed, on what it was trained and
examined, the sha256 of the file, and its score as errors of n.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reprogrok.errors import RecordError
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
