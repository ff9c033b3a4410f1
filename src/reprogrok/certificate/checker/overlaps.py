"""Parts -> bounds of the number of problems in at least one of them, by the parts of two places at a time.

Used where a sweep would take too long. The parts of one place are disjoint, so their problems are the sum of the parts;
the problems common to two places are the sum over pairs of parts. With S1 the sum over the places and S2 the sum over
the pairs of places, for any k >= 1

    2 S1 / (k + 1) - 2 S2 / (k (k + 1))  <=  the union  <=  S1 - the heaviest tree of pairs that joins all places

(Dawson and Sankoff, "An inequality for probabilities", 1967; Hunter, "An upper bound for the probability of a union",
1976). The problems common to two parts are counted in float64 without subtraction, and moved outwards by a relative
1e-9, far more than their rounding.

Axes: P and Q parts, N digits, J and H asked places, I carry in, Y symbols of a place: 100 carry in + 10 a + b.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree

from reprogrok.certificate.checker.carries import Mask
from reprogrok.certificate.checker.sweep import CARRY_OUT_IK, Rows

_OUTWARDS = 1e-9
_ROWS = 256  # parts that are compared with all others at a time


def paired(asked_PN: Rows, symbols: list[Mask], sizes_J: list[int], places_P: Rows) -> tuple[int, int]:
    """Bound the number of problems in at least one part.

    Args:
        asked_PN: the condition of each part on each place, as a row of the place's table.
        symbols: for each place, the symbols that its rows allow, shape (rows, 200).
        sizes_J: for each asked place, the number of problems in its parts, which are disjoint.
        places_P: the asked place of each part.
    """
    common_JH = _common(asked_PN, symbols, places_P, len(sizes_J))
    total = sum(sizes_J)
    if total == 0:
        return 0, 0
    pairs = int(common_JH.sum() * (1 + _OUTWARDS)) + 1
    k = 1 + 2 * pairs // total
    tree = -minimum_spanning_tree(-common_JH).sum()
    return -(-2 * (k * total - pairs) // (k * (k + 1))), total - int(tree * (1 - _OUTWARDS))


def _common(asked_PN: Rows, symbols: list[Mask], places_P: Rows, places: int) -> NDArray[np.float64]:
    """Count the problems common to the parts of two asked places, above the diagonal, as floats."""
    order = np.argsort(places_P, kind="stable")
    asked_PN, places_P = asked_PN[order], places_P[order]
    starts = np.searchsorted(places_P, np.arange(places + 1))
    common_JH = np.zeros((places, places))
    by_carries = [CARRY_OUT_IK[carry] == out for carry in (0, 1) for out in (0, 1)]
    for place in range(places - 1):
        for start in range(starts[place], starts[place + 1], _ROWS):
            rows_PN = asked_PN[start : min(start + _ROWS, starts[place + 1])]
            columns_QN = asked_PN[starts[place + 1] :]
            ways = [np.full((len(rows_PN), len(columns_QN)), 1.0 - carry) for carry in (0, 1)]
            for digit, allowed_Y in enumerate(symbols):
                some, row_P = np.unique(rows_PN[:, digit], return_inverse=True)
                others, column_Q = np.unique(columns_QN[:, digit], return_inverse=True)
                left, right = allowed_Y[some].astype(np.float64), allowed_Y[others].astype(np.float64)
                next_ways = []
                for out in (0, 1):
                    into = np.zeros_like(ways[0])
                    for carry in (0, 1):
                        these = 100 * carry + np.flatnonzero(by_carries[2 * carry + out])
                        both = left[:, these] @ right[:, these].T
                        into += ways[carry] * both[row_P][:, column_Q]
                    next_ways.append(into)
                ways = next_ways
            found_Q = (ways[0] + ways[1]).sum(0)
            np.add.at(common_JH[place], places_P[starts[place + 1] :], found_Q)
    return common_JH
