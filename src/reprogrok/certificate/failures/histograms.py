"""Set of problems, conditions -> counts of each value of each attribute, as floats: input of the mining.

Axes as in `checker/problem_sets.py`, and V values of an attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from reprogrok.certificate.checker.carries import Numbers
from reprogrok.certificate.checker.problem_sets import ATTRIBUTES, ProblemSet, Rule, attribute, attributes
from reprogrok.certificate.checker.rounding import Floats


@dataclass(frozen=True)
class _Ways:
    """Counts of a set under a rule, for every place.

    Attributes:
        rows_L: rows whose cases meet the rule; the other columns have these alone.
        size_L: number of problems left in each row.
        above_L: ways of the places above.
        before: for each place below, ways (L, I) up to the carry into it.
        after: for each place below, ways (L, O) from the carry out of it to the case.
    """

    rows_L: Numbers
    size_L: Floats
    above_L: Floats
    before: dict[int, Floats]
    after: dict[int, Floats]


def largest(problems: ProblemSet, rows: int) -> ProblemSet:
    """Keep `rows` rows, those with most problems (the first of equals); return a smaller set as it is."""
    if len(problems) <= rows:
        return problems
    kept = np.sort(np.argsort(-problems.sizes(())[1], kind="stable")[:rows])
    which = {far: which_L[kept] for far, which_L in problems.which.items()}
    return ProblemSet(problems.place, problems.digits, problems.columns_5L[:, kept], which, problems.masks)


def histograms(problems: ProblemSet, rule: Rule) -> Iterator[tuple[str, int, Floats]]:
    """Yield each attribute and place, with the number of problems under the rule by its value, (V,).

    The carry into a place above the asked one is unknown, so attributes that need it are left out there.
    """
    ways = _ways(problems, rule)

    def known(place: int) -> list[str]:
        return attributes(place, problems.place, problems.digits)

    for place, columns in problems.near.items():
        for what in known(place):
            values_L = attribute(what, *columns)[ways.rows_L]
            yield what, place, _summed(values_L, ways.size_L, ATTRIBUTES[what])
    for place, choices in sorted(problems.choices.items(), key=lambda item: abs(item[0] - problems.place)):
        size_K = _by_choice(problems, ways, rule, place)
        for what in known(place):
            values_K = attribute(what, choices.carry_in, choices.a, choices.b)
            yield what, place, _summed(values_K, size_K, ATTRIBUTES[what])


def _ways(problems: ProblemSet, rule: Rule) -> _Ways:
    rows_L, block = problems.rows(rule), problems.block
    numbers_L = np.arange(len(rows_L))
    tables = {
        place: problems.tables(rule, place).astype(np.float64)[problems.which[place][rows_L]] for place in block.below
    }
    ways_LI = np.zeros((len(rows_L), 2))
    ways_LI[:, 0] = 1
    before, after = {}, {}
    for place in block.below:
        before[place] = ways_LI
        ways_LI = ways_LI[:, :1] * tables[place][:, 0] + ways_LI[:, 1:] * tables[place][:, 1]
    carry_L = problems.near[max(problems.place - 1, 0)][0][rows_L]
    ends_LO = np.zeros((len(rows_L), 2))
    ends_LO[numbers_L, carry_L] = 1
    for place in reversed(block.below):
        after[place] = ends_LO
        ends_LO = ends_LO[:, :1] * tables[place][:, :, 0] + ends_LO[:, 1:] * tables[place][:, :, 1]
    above_L = np.ones(len(rows_L))
    for place in block.above:
        above_L = above_L * problems.left(rule, place).sum(1).astype(np.float64)[problems.which[place][rows_L]]
    return _Ways(rows_L, ways_LI[numbers_L, carry_L] * above_L, above_L, before, after)


def _by_choice(problems: ProblemSet, ways: _Ways, rule: Rule, place: int) -> Floats:
    """Count the problems with each choice of a far place, (K,)."""
    choices, masks_MK = problems.choices[place], problems.left(rule, place)
    which_L = problems.which[place][ways.rows_L]
    size_K: Floats = np.zeros(len(choices))
    if place in problems.block.above:
        weight_M = _summed(which_L, ways.size_L, len(masks_MK)) / np.maximum(masks_MK.sum(1), 1)
        size_K += weight_M @ masks_MK
        return size_K
    for carry, out in product((0, 1), repeat=2):
        fits_K = choices.by_carries(carry, out)
        weight_L = ways.before[place][:, carry] * ways.after[place][:, out] * ways.above_L
        weight_M = _summed(which_L, weight_L, len(masks_MK))
        size_K[fits_K] = weight_M @ masks_MK[:, fits_K]
    return size_K


def _summed(numbers: Numbers, weights: Floats, count: int) -> Floats:
    """Sum the weights with each number from 0 to count - 1, (count,)."""
    return np.bincount(numbers, weights, minlength=count).astype(np.float64)
