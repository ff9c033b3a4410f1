"""A certificate as its schema has it, written by hand: any statement, with proofs that prove nothing."""

from __future__ import annotations

import hashlib
import json

EMPTY_TREES = "eJwDAAAAAAE="  # zlib of nothing, base64


def certificate(checkpoint, *, digits=10, at_least=0, at_most=0, verdict=None, margin=0.5, seen=0.625, **fields):
    """The document of a certificate of a file: PROVED, or REFUTED where something is wrong, unless it is said."""
    verdict = verdict or ("REFUTED" if at_most else "PROVED")
    refuted = {"a": "1", "b": "2", "expected": "3", "answer": "4", "place": 0}
    return {
        "format": "reprogrok.certificate/2",
        "reprogrok": "0",
        "checkpoint": {
            "path": f"somewhere/{checkpoint.name}",
            "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            "parameters": 456,
            "model_config": {},
        },
        "task": {"name": "addition", "digits": digits},
        "arithmetic": {"name": "float32", "unit": 2**-24, "elementary": 2**-20, "tiny": 2**-126},
        "verdict": verdict,
        "problems": str(100**digits),
        "wrong": {"at_least": str(at_least), "at_most": str(at_most)},
        "smallest_margin": margin,
        "smallest_seen": None if seen is None else {"margin": seen, "a": "0", "b": "0", "place": 0},
        "places": [
            {
                "place": place, "cases": 1, "leaves": 1, "right": 1, "wrong": 0, "open": 0, "smallest_margin": margin,
                "widest_box": 0.04, "wrong_at_least": "0", "wrong_at_most": "0",
            }
            for place in range(digits + 1)
        ],
        "counterexamples": [refuted] if verdict == "REFUTED" else [],
        "failures": [],
        "environment": {"device": "cpu", "torch": "2.13.0", "python": "3.11.7"},
        "search": {"seconds": 1.5, "budget": None, "cells": None},
        "blocks": [
            {"place": place % (digits + 1), "token": 11, "basis": [[1.0]], "orders": {}, "leaves": EMPTY_TREES}
            for place in range(10 * digits + 1)
        ],
    } | fields  # fmt: skip


def write(path, document):
    """Write a document as JSON; returns the path."""
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
