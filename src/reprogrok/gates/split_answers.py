"""The answers of a recorded run's split, counted over all of its equations; loads torch."""

from __future__ import annotations

from reprogrok.gates.requirements import SplitAnswers
from reprogrok.record import Record
from reprogrok.runs.analysis import support_of


def split_answers(record: Record) -> SplitAnswers:
    """Count the answers of a run's split, where its configuration determines them.

    Raises:
        InputError: the configuration of the run cannot be read.
    """
    found = support_of(record)
    return SplitAnswers(found.classes, found.ceiling, found.source)
