"""Names and sizes of the exams: the published hold-out protocol and our own suites; imports no torch."""

from __future__ import annotations

PROTOCOL = "addition-100k/1"
EXAM_SEEDS = (41, 100, 200, 300, 400, 500, 999, 1234, 7777, 31415)
VALIDATION, TEST = 5_000, 10_000

STRESS_SUITE = "addition-stress/1"
PER_STRATUM = 10_000

MODULAR_PROTOCOL = "modular-split/1"
