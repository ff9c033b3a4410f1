"""Parts -> the number of problems in at least one of them: a sweep over the places, least significant first.

After some places, a problem matters only by its carry and by the parts that it still fits; these parts matter only by
their conditions on later places. For every carry and set of such classes the sweep keeps the number of beginnings with
them; a beginning that fits a part without further conditions is counted with all its completions. With too many sets,
those that matter least are dropped: an upper bound of what they could still add is summed, and the count becomes two
bounds. Every other number here is an exact whole number.

Axes: P parts, N digits, S sets, C classes of parts with the same conditions on later places, I carry in,
O carry out, K the 100 digit pairs of a place, Y its symbols: 100 carry in + 10 a + b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Mask

Rows = NDArray[np.int64]

_CHUNK = 1 << 20  # bytes of sets that are processed at a time
_SPARE = 5_000  # sets beyond the limit that are allowed between two clearings
_DIGIT_A, _DIGIT_B = np.divmod(np.arange(100), 10)
CARRY_OUT_IK = np.array([(_DIGIT_A + _DIGIT_B + carry) // 10 for carry in (0, 1)])


@dataclass(frozen=True)
class _Stage:
    """The conditions of parts on one place and on those after it.

    Attributes:
        rests: number of classes that began here or before and are not yet fulfilled.
        fresh: classes that no place before restricts, as bits.
        fulfilled: classes without conditions on later places, as bits; they are the first.
        steps: for each carry in, the effects of digit pairs: (classes that still fit, carry out, number of pairs).
        going: number of classes that go on; they are the last.
        starts: where each group of classes with the same later conditions starts, among those that go on.
        targets: the number of each group among the classes of the next place.
        completions_CI: number of ways to fulfil a class from here, by carry in, rounded to floats.
    """

    rests: int
    fresh: int
    fulfilled: int
    steps: tuple[tuple[tuple[int, int, int], ...], ...]
    going: int
    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    completions_CI: NDArray[np.float64]


def swept(asked_PN: Rows, symbols: list[Mask], limit: int) -> tuple[int, int]:
    """Bound the number of problems in at least one part; equal unless more than `limit` sets were met.

    Args:
        asked_PN: the condition of each part on each place, as a row of the place's table.
        symbols: for each place, the symbols that its rows allow, shape (rows, 200); row 0 allows all.
        limit: largest number of sets that are kept after each place.
    """
    if not len(asked_PN):
        return 0, 0
    digits = asked_PN.shape[1]
    stages = _stages(asked_PN, symbols)
    counted, missed = 0, 0.0
    few = max(limit // 20, 1)  # the limit once the count is no longer exact
    sets: list[dict[int, int]] = [{0: 1}, {}]  # for each carry: set of classes, as bits -> number of beginnings
    for place, (stage, later) in enumerate(zip(stages, [*stages[1:], None], strict=True)):
        following: list[dict[int, int]] = [{}, {}]
        reached: list[dict[int, int]] = [{}, {}]
        rest = 100 ** (digits - 1 - place)
        chunk = max(64, 8 * _CHUNK // (stage.rests + 1))
        while sets[0] or sets[1]:
            carry = 0 if sets[0] else 1
            begun, ways = sets[carry].popitem()
            fitting = begun | stage.fresh
            for fits, out, pairs in stage.steps[carry]:
                still = fitting & fits
                if still & stage.fulfilled:
                    counted += ways * pairs * rest
                else:
                    into = reached[out]
                    into[still] = into.get(still, 0) + ways * pairs
            if len(reached[0]) + len(reached[1]) > chunk:
                _carry_over(stage, reached, following)
                if later and len(following[0]) + len(following[1]) > 2 * limit + _SPARE:
                    limit = few
                    missed += _dropped(later, following, limit, rest) + _dropped(stage, sets, limit, 100 * rest)
        _carry_over(stage, reached, following)
        if later and len(following[0]) + len(following[1]) > limit:
            limit = few
            missed += _dropped(later, following, limit, rest)
        sets = following
    # A sum of fewer than 2^30 products of floats is off by less than one part in a million.
    return counted, min(counted + (int(missed * (1 + 1e-6)) + 1 if missed else 0), 100**digits)


def _stages(asked_PN: Rows, symbols: list[Mask]) -> list[_Stage]:
    """Compute the classes of every place, from the most significant one, as completions need."""
    digits = asked_PN.shape[1]
    # Sorted by the last place first, parts with the same conditions from some place on are neighbours.
    asked_PN = asked_PN[np.lexsort(asked_PN.T)]
    restricted_PN = asked_PN > 0
    first_P = restricted_PN.argmax(1)
    last_P = digits - 1 - restricted_PN[:, ::-1].argmax(1)
    stages: list[_Stage] = []
    later_PN, later_CI = asked_PN[:0], np.zeros((0, 2), dtype=object)
    for place in reversed(range(digits)):
        here_P = (first_P <= place) & (place <= last_P)
        rows_PN = asked_PN[here_P][:, place:]
        starts = _starts(rows_PN)
        rows_CN = rows_PN[starts]
        fresh_C = np.logical_or.reduceat(first_P[here_P] == place, starts) if len(starts) else np.zeros(0, np.bool_)
        fulfilled_C = last_P[here_P][starts] == place
        onward = int(fulfilled_C.sum())  # fulfilled ones have no later condition, so they are sorted first
        groups = _starts(rows_CN[onward:, 1:])
        targets = _found(rows_CN[onward:, 1:][groups], later_PN)
        group_C = np.repeat(np.arange(len(groups)), np.diff([*groups, len(rows_CN) - onward]))
        after_CO = np.full((len(rows_CN), 2), 100 ** (digits - 1 - place), dtype=object)
        after_CO[onward:] = later_CI[targets][group_C]
        fits_CY = symbols[place][rows_CN[:, 0]] if len(rows_CN) else np.zeros((0, 200), dtype=np.bool_)
        completions_CI = np.zeros((len(rows_CN), 2), dtype=object)
        steps = []
        for carry in (0, 1):
            out_K = CARRY_OUT_IK[carry]
            fits_CK = fits_CY[:, 100 * carry : 100 * carry + 100]
            for out in (0, 1):
                completions_CI[:, carry] += fits_CK[:, out_K == out].sum(1).astype(object) * after_CO[:, out]
            steps.append(_steps(fits_CK & (after_CO > 0)[:, out_K], out_K))
        stages.append(
            _Stage(
                rests=len(rows_CN),
                fresh=_bits(fresh_C[None])[0],
                fulfilled=(1 << onward) - 1,
                steps=tuple(steps),
                going=len(rows_CN) - onward,
                starts=groups,
                targets=targets,
                completions_CI=completions_CI.astype(np.float64),
            )
        )
        later_PN, later_CI = rows_CN, completions_CI
    return stages[::-1]


def _steps(fits_CK: Mask, out_K: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """Merge digit pairs with the same effect."""
    alike: dict[tuple[int, int], int] = {}
    for step in zip(_bits(fits_CK.T), out_K.tolist(), strict=True):
        alike[step] = alike.get(step, 0) + 1
    return tuple((fits, out, pairs) for (fits, out), pairs in alike.items())


def _carry_over(stage: _Stage, reached: list[dict[int, int]], following: list[dict[int, int]]) -> None:
    """Move sets of this place's classes to the next place's, merging classes with the same conditions from there on."""
    classes = len(stage.targets) and int(stage.targets[-1]) + 1
    for into, onto in zip(reached, following, strict=True):
        if classes:
            bits_SC = _unpacked(list(into), stage.rests)[:, stage.rests - stage.going :]
            next_SC = np.zeros((len(into), classes), dtype=np.bool_)
            next_SC[:, stage.targets] = np.logical_or.reduceat(bits_SC, stage.starts, axis=1)
            numbers = _bits(next_SC)
        else:
            numbers = [0] * len(into)
        for number, ways in zip(numbers, into.values(), strict=True):
            onto[number] = onto.get(number, 0) + ways
        into.clear()


def _dropped(stage: _Stage, sets: list[dict[int, int]], limit: int, rest: int) -> float:
    """Empty the sets that matter least until `limit` are left; return an upper bound of the problems thus missed."""
    weighed: list[tuple[float, int, int]] = []
    for carry, ways_by_set in enumerate(sets):
        numbers = list(ways_by_set)
        chunk = max(64, _CHUNK // (stage.rests + 1))
        for start in range(0, len(numbers), chunk):
            some = numbers[start : start + chunk]
            at_most = np.minimum(_unpacked(some, stage.rests) @ stage.completions_CI[:, carry], float(rest))
            weighed += [(float(ways_by_set[n]) * float(x), carry, n) for n, x in zip(some, at_most, strict=True)]
    weighed.sort(reverse=True)
    missed = 0.0
    for worth, carry, number in weighed[limit:]:
        if number:
            sets[carry][0] = sets[carry].get(0, 0) + sets[carry].pop(number)
            missed += worth
    return missed


def _starts(rows: Rows) -> NDArray[np.int64]:
    """Return where each run of equal rows starts."""
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(1)])


def _found(rows: Rows, among: Rows) -> NDArray[np.int64]:
    """Return the number of each row in a table of different rows."""
    where = {row.tobytes(): index for index, row in enumerate(np.ascontiguousarray(among))}
    return np.array([where[row.tobytes()] for row in np.ascontiguousarray(rows)], dtype=np.int64)


def _bits(rows: Mask) -> list[int]:
    """Pack rows of truth values into whole numbers, the first value in the lowest bit."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(rows, axis=1, bitorder="little")]


def _unpacked(numbers: list[int], width: int) -> Mask:
    """Invert `_bits`, shape (len(numbers), width)."""
    size = -(-width // 8)
    packed = np.frombuffer(b"".join(number.to_bytes(size, "little") for number in numbers), dtype=np.uint8)
    return np.unpackbits(packed.reshape(len(numbers), size), axis=1, count=width, bitorder="little").view(np.bool_)
