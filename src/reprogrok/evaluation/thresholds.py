"""Thresholds that evaluations, comparisons and the display of a training share; imports nothing."""

from __future__ import annotations

LEVEL = 0.05  # p-values up to here are more than chance
GROKKED = 0.99  # accuracy from which a replica counts as grokked
