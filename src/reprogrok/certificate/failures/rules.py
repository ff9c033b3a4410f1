"""Failing problems and all problems of a place -> the few conditions that most of the failing ones meet.

A rule is a conjunction of conditions. It is grown one condition at a time, by the gain of FOIL (Quinlan, Learning
logical definitions from relations, Machine Learning 5, 1990): the fraction of the failing problems that a condition
keeps, times the bits by which it raises their fraction among all problems that meet the rule.

    common   one rule that at least nine tenths of the failing problems meet
    sharp    where few of the problems under the common rule fail: narrower rules under which many do, each describing
             most of the failing problems that the earlier ones leave

The search uses floats, and only the largest parts where there are very many. Axes: V values of an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np

from reprogrok.certificate.checker.problem_sets import DigitCondition, ProblemSet, Rule
from reprogrok.certificate.checker.rounding import Floats
from reprogrok.certificate.failures.histograms import histograms, largest

VAGUE = 0.8  # fraction that fails under the common rule, below which sharp rules follow it
_ENOUGH = 0.9  # of the failing problems, to be covered
_MOST_SHARP = 3
_MOST_CONDITIONS = 6
_SURE = 0.97  # fraction that fails under a rule, above which it is not narrowed
_MOST_ROWS = 10_000  # parts that are used: takes seconds, and the largest hold nearly all problems
_LEAST_GAIN = 0.5  # bits per failing problem
_LEAST_FRACTION = 0.05  # of the failing problems, for a further rule
_LEAST_BITS = 20.0  # in all: about 13 to name one of the tried conditions, and 7 against chance
_PLAINER = 1.05  # factor by which a more complex condition must gain more
_ONE_VALUE = ("pair", "unordered")  # attributes whose numbers have no order


def common_rule(failing: ProblemSet, everything: ProblemSet, seen: int | None = None, *, near: bool = False) -> Rule:
    """Find conditions that at least nine tenths of the failing problems meet; none if no condition gains enough.

    Args:
        failing: not empty.
        everything: all problems of the same place.
        seen: number of problems if `failing` is a sample, against conditions by chance; else None.
        near: use only the asked place and the one before.
    """
    failing = largest(failing, _MOST_ROWS)
    places = frozenset(everything.near) if near else None
    return _grown(failing, everything, (), (), seen=seen, least=_ENOUGH * failing.size(), places=places)


def sharp_rules(failing: ProblemSet, everything: ProblemSet, common: Rule) -> list[Rule]:
    """Find narrower rules than the common one under which more problems fail; arguments as of `common_rule`."""
    failing = largest(failing, _MOST_ROWS)
    found: list[Rule] = []
    mass = failing.size(common)
    while len(found) < _MOST_SHARP and covered(failing, found) < _ENOUGH * mass:
        rule = _grown(failing, everything, common, found)
        if rule == common or covered(failing, [*found, rule]) - covered(failing, found) < _LEAST_FRACTION * mass:
            break
        found.append(rule)
    return found


def covered(problems: ProblemSet, rules: Sequence[Rule]) -> int:
    """Count the problems that meet at least one of the rules, exactly, by inclusion and exclusion."""
    return -sum(sign * problems.size(rule) for sign, rule in _outside(rules)[1:])


def _outside(rules: Sequence[Rule]) -> list[tuple[int, Rule]]:
    """Return signs and rules whose signed sizes sum to the problems that meet none; the first is everything."""
    subsets = chain.from_iterable(combinations(rules, size) for size in range(len(rules) + 1))
    return [((-1) ** len(subset), tuple(chain.from_iterable(subset))) for subset in subsets]


def _grown(
    failing: ProblemSet,
    everything: ProblemSet,
    start: Rule,
    described: Sequence[Rule],
    *,
    seen: int | None = None,
    least: float = 0.0,
    places: frozenset[int] | None = None,
) -> Rule:
    """Grow a rule for at least `least` problems that the described ones leave; `start` if nothing gains enough."""
    rule, outside = start, _outside(described)
    mass = kept = float(sum(sign * failing.size((*rule, *other)) for sign, other in outside))
    held = float(everything.size(rule))
    while 0 < kept < _SURE * held and len(rule) - len(start) < _MOST_CONDITIONS:
        best, worth = None, _LEAST_GAIN
        tables = [histograms(failing, (*rule, *other)) for _, other in outside]
        for (what, place, all_V), *parts in zip(histograms(everything, rule), *tables, strict=True):
            if places is not None and place not in places:
                continue
            signed = [sign * part_V for (sign, _), (_, _, part_V) in zip(outside, parts, strict=True)]
            fails_V: Floats = np.maximum(np.sum(signed, axis=0), 0)
            evidence = None if seen is None else seen * kept / mass
            gain, low, high = _best_range(what, fails_V, all_V, least, evidence)
            if gain > worth * _PLAINER:  # nearer places and simpler attributes come first
                best, worth = DigitCondition(what, place, low, high), gain
        if best is None:
            break
        rule = (*rule, best)
        kept = float(sum(sign * failing.size((*rule, *other)) for sign, other in outside))
        held = float(everything.size(rule))
    return rule


def _best_range(
    what: str, fails_V: Floats, all_V: Floats, least: float, evidence: float | None
) -> tuple[float, int, int]:
    """Find the range of values with the largest gain, in bits per failing problem.

    Args:
        what: the attribute.
        fails_V: failing problems with each value.
        all_V: all problems with each value.
        least: failing problems that a range must keep.
        evidence: number of seen problems behind `fails_V`; None if it is not a sample.

    Returns:
        The gain (0 if there is none), and the first and last value.
    """
    fails_VV, all_VV = _range_sums(fails_V), _range_sums(all_V)  # by last and first value
    legal_VV = np.eye(len(fails_V), dtype=np.bool_) if what in _ONE_VALUE else np.tri(len(fails_V), dtype=np.bool_)
    kept = fails_V.sum()
    legal_VV = legal_VV & (fails_VV > 1e-9 * kept) & (fails_VV >= least) & (all_VV > 0)
    fraction_VV = np.where(legal_VV, fails_VV / kept, 0)
    rarity_VV = np.where(legal_VV, all_VV / all_V.sum(), 1)
    gain_VV = fraction_VV * np.log2(np.where(legal_VV, fraction_VV, 1) / rarity_VV)
    if evidence is not None:
        # Bits against chance: the divergence from all problems (Kullback and Leibler).
        rest_VV = np.log2(np.clip(1 - fraction_VV, 1e-12, 1) / np.clip(1 - rarity_VV, 1e-12, 1))
        gain_VV = np.where((gain_VV + (1 - fraction_VV) * rest_VV) * evidence >= _LEAST_BITS, gain_VV, 0)
    if what not in _ONE_VALUE:  # two limits must gain more than one
        inner_VV = np.tri(len(fails_V), k=-1, dtype=np.bool_)
        inner_VV[-1] = inner_VV[:, 0] = False
        gain_VV = np.where(inner_VV, gain_VV / _PLAINER, gain_VV)
    # Rounded, so that every machine takes the first of ranges that differ by float rounding alone.
    high, low = np.unravel_index(int(gain_VV.round(9).argmax()), gain_VV.shape)
    return float(gain_VV[high, low]), int(low), int(high)


def _range_sums(values_V: Floats) -> Floats:
    """Return the sums from the second index to the first, (V, V); meaningless above the diagonal."""
    sums: Floats = np.concatenate([[0.0], values_V.cumsum()])
    between_VV: Floats = sums[1:, None] - sums[None, :-1]
    return between_VV
