"""A modular task -> its training and test equations, in the order of the published files.

    random           RandomState(seed).permutation(n): the first int(n * fraction) train, the rest test
    three_way        the same, then (n - train) // 2 validate and the rest test
    result_range     answers in one half-open range train, those in another test; the ranges may overlap
    operand_holdout  every equation with an operand in `held` tests
    twin_closed      (a, b) and (b, a) are on the same side; as many train as in `random`, give or take one

All kinds draw from NumPy's `RandomState`, which gives the published rows in the published order. The order matters:
trainers with fixed blocks of rows never see the last rows, and some measurements take the first batches. In files of
llm.c (`llmc8`) the same generator shuffles the rows of each part once more, training first; likewise in `three_way`,
which was published in that format only. Indices refer to the equations in order of (a, b).

An installed package can offer more kinds under the entry-point group `reprogrok.splits`, as plain functions

    [project.entry-points."reprogrok.splits"]
    small-sums = "my_package:small_sums"   # small_sums(equations, settings, draw) -> (train_N, test_N[, validation_N])

of all equations, the settings in `params.yaml` and a generator seeded by the split. A task selects it with
`split: {kind: small-sums, seed: 42, settings: {limit: 20}}`; `settings`, possibly empty, marks a kind of a package.
The function's result is checked. Axes: N rows of a part.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from types import FunctionType

import numpy as np

from reprogrok.errors import InputError
from reprogrok.spec.task import MAX_SPLIT_SEED, SPLIT_KINDS, ModularTask, OwnSplitSpec, SplitSpec
from reprogrok.tasks import packages
from reprogrok.tasks.blocks import whole_blocks
from reprogrok.tasks.modular import Equations, Modular
from reprogrok.tasks.operations import Integers, Mask

GROUP = "reprogrok.splits"
_FIELD = "$.task.split"


def _none() -> Integers:
    return np.empty(0, dtype=np.int64)


TWINS, NEW_PAIRS, TRAINED = "twins", "new pairs", "also trained on"


@dataclass(frozen=True, eq=False)
class Split:
    """Int64 indices into the equations, in file order.

    Attributes:
        train_N: training rows.
        test_N: test rows.
        validation_N: validation rows; empty unless the split is `three_way` or of a package.
    """

    train_N: Integers
    test_N: Integers
    validation_N: Integers = field(default_factory=_none)

    def in_blocks(self, size: int | None) -> Split:
        """Leave out the training rows that fill no block of `size` rows; None keeps all of them.

        Raises:
            InputError: the rows do not fill one block.
        """
        if size is None:
            return self
        return replace(self, train_N=self.train_N[: whole_blocks(len(self.train_N), size) * size])


def make_split(task: ModularTask) -> Split:
    """Draw the split of a task.

    x + y mod 97, random with fraction 0.8 and seed 42: 7,527 train, 1,882 test.

    Raises:
        InputError: the kind is unknown, a field is out of range, a side is empty, or a package's function is broken.
    """
    spec = task.split
    if isinstance(spec, OwnSplitSpec):
        entry = find_split(spec.kind)
        return _own(entry, spec, Modular(task.operation, task.modulus, task.format).equations())
    if spec.kind not in _KINDS:
        raise InputError(field=f"{_FIELD}.kind", expected=f"one of {', '.join(_KINDS)}", found=spec.kind)
    if not 0 <= spec.seed <= MAX_SPLIT_SEED:
        raise InputError(field=f"{_FIELD}.seed", expected=f"0 to {MAX_SPLIT_SEED}", found=str(spec.seed))
    return _KINDS[spec.kind](task, Modular(task.operation, task.modulus, task.format))


def find_split(name: str) -> EntryPoint:
    """Return the entry point of a kind of split that an installed package offers.

    Raises:
        InputError: no package offers it.
    """
    return packages.find(GROUP, name, SPLIT_KINDS, f"{_FIELD}.kind")


def own_splits() -> dict[str, str]:
    """Return the kinds that installed packages offer, with the first line of each function's docstring.

    Raises:
        InputError: a package is broken.
    """
    entries = sorted(packages.offered(GROUP, SPLIT_KINDS).items())
    texts = {name: packages.load(entry, FunctionType).__doc__ or "" for name, entry in entries}
    return {name: (text.strip().splitlines() or [""])[0] for name, text in texts.items()}


def _own(entry: EntryPoint, spec: OwnSplitSpec, equations: Equations) -> Split:
    """Draw a split by a package's function, twice to see that the seed determines it, and check the result.

    Raises:
        InputError: the function raised, or its result is not two or three disjoint sets of rows.
    """
    function = packages.load(entry, FunctionType)
    where = f"split {spec.kind} of {packages.origin(entry)}"
    parts, again = (_drawn(where, function, spec, equations) for _ in range(2))
    if len(parts) != len(again) or not all(map(np.array_equal, parts, again)):
        raise InputError(
            f"{where} gave two different splits for one seed: it must draw all randomness from `draw`", field=_FIELD
        )
    for name, part_N in zip(("training", "test"), parts, strict=False):
        if not len(part_N):
            raise InputError(f"{where}: the {name} side is empty", field=_FIELD)
    rows_N, counts_N = np.unique(np.concatenate(parts), return_counts=True)
    if len(twice_N := rows_N[counts_N > 1]):
        pair = f"{equations.a_N[twice_N[0]]}, {equations.b_N[twice_N[0]]}"
        raise InputError(
            f"{where}: {len(twice_N):,} equations are in it twice, the first is that of ({pair})", field=_FIELD
        )
    return Split(*parts)


def _drawn(where: str, function: FunctionType, spec: OwnSplitSpec, equations: Equations) -> tuple[Integers, ...]:
    """Call a package's function and return its result as two or three arrays of row numbers.

    Raises:
        InputError: it raised, or its result is something else.
    """
    try:
        parts = tuple(map(np.asarray, function(equations, deepcopy(spec.settings), np.random.RandomState(spec.seed))))
    except Exception as error:  # another package's code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{where} cannot be drawn ({reason})", field=_FIELD) from error
    if len(parts) not in {2, 3}:
        raise InputError(
            where, field=_FIELD, expected="training and test rows, maybe validation rows", found=str(len(parts))
        )
    for part_N in parts:
        if part_N.ndim != 1 or (part_N.dtype.kind not in "iu" and part_N.size):
            found = f"{part_N.dtype} of shape {part_N.shape}"
            raise InputError(
                where, field=_FIELD, expected="row numbers (np.flatnonzero makes them of bools)", found=found
            )
        if part_N.size and not 0 <= int(part_N.min()) <= int(part_N.max()) < len(equations):
            expected, found = f"rows 0 to {len(equations) - 1}", f"{part_N.min()} to {part_N.max()}"
            raise InputError(where, field=_FIELD, expected=expected, found=found)
    return tuple(part_N.astype(np.int64) for part_N in parts)


def is_twin(split: Split, equations: Equations) -> Mask:
    """Return a bool (N,) over test: whether the swapped pair (b, a) differs, is trained on and has the same answer."""
    size = int(max(equations.a_N.max(), equations.b_N.max())) + 1
    trained = np.full(size * size, -1, dtype=np.int64)
    train_N, test_N = split.train_N, split.test_N
    trained[equations.a_N[train_N] * size + equations.b_N[train_N]] = equations.c_N[train_N]
    a_N, b_N = equations.a_N[test_N], equations.b_N[test_N]
    return np.asarray((trained[b_N * size + a_N] == equations.c_N[test_N]) & (a_N != b_N))


def held_out_parts(split: Split, equations: Equations) -> dict[str, Mask]:
    """Divide the test equations into kinds, as bools (N,) over test.

    "also trained on": the equation itself is trained on, where the sides overlap; "twins": the swapped pair is trained
    on, with the same answer; "new pairs": all others.
    """
    trained_N = np.isin(split.test_N, split.train_N)
    twin_N = is_twin(split, equations) & ~trained_N
    return {TWINS: twin_N, NEW_PAIRS: ~twin_N & ~trained_N, TRAINED: trained_N}


def _random(task: ModularTask, modular: Modular) -> Split:
    draw, order_N, trained = _permuted(task, modular)
    train_N, test_N = order_N[:trained], order_N[trained:]
    if task.format == "llmc8":
        for part_N in (train_N, test_N):
            draw.shuffle(part_N)
    return Split(train_N, test_N)


def _three_way(task: ModularTask, modular: Modular) -> Split:
    draw, order_N, trained = _permuted(task, modular)
    validated = (len(order_N) - trained) // 2
    if not validated:
        raise _empty("validation", "fraction", task.split.fraction)
    train_N, validation_N, test_N = np.split(order_N, [trained, trained + validated])
    for part_N in (train_N, validation_N, test_N):
        draw.shuffle(part_N)
    return Split(train_N, test_N, validation_N)


def _permuted(task: ModularTask, modular: Modular) -> tuple[np.random.RandomState, Integers, int]:
    """Return the generator after its first permutation, that permutation, and the number of its training rows."""
    draw = np.random.RandomState(task.split.seed)
    count = modular.problems
    trained = _trained(task.split, count)
    return draw, draw.permutation(count).astype(np.int64), trained


def _trained(spec: SplitSpec, count: int) -> int:
    """Return the number of training equations among `count`, by the fraction.

    Raises:
        InputError: the fraction is missing, not between 0 and 1, or leaves a side empty.
    """
    fraction = spec.fraction
    if fraction is None or not 0 < fraction < 1:
        found = "none" if fraction is None else f"{fraction:g}"
        raise InputError(field=f"{_FIELD}.fraction", expected="a number between 0 and 1, both excluded", found=found)
    trained = int(count * fraction)
    if not 0 < trained < count:
        raise _empty("training" if not trained else "test", "fraction", fraction)
    return trained


def _result_range(task: ModularTask, modular: Modular) -> Split:
    c_N, size = modular.equations().c_N, modular.values
    sides = []
    for name, bounds in (("train", task.split.train), ("test", task.split.test)):
        if bounds is None or not 0 <= bounds[0] < bounds[1] <= size:
            found = "none" if bounds is None else str(list(bounds))
            expected = f"[first, end] with 0 <= first < end <= {size}, the end excluded"
            raise InputError(field=f"{_FIELD}.{name}", expected=expected, found=found)
        sides.append(_side(np.flatnonzero((bounds[0] <= c_N) & (c_N < bounds[1])), name, name, bounds, task.split.seed))
    return Split(*sides)


def _operand_holdout(task: ModularTask, modular: Modular) -> Split:
    equations, spec, size = modular.equations(), task.split, modular.values
    held = spec.held or ()
    if not held or len(set(held)) != len(held) or not all(0 <= operand < size for operand in held):
        expected = f"one or more different operands from 0 to {size - 1}"
        raise InputError(field=f"{_FIELD}.held", expected=expected, found=str(list(held)) if held else "none")
    tests_N = np.isin(equations.a_N, held) | np.isin(equations.b_N, held)
    train_N = _side(np.flatnonzero(~tests_N), "training", "held", list(held), spec.seed)
    return Split(train_N, _side(np.flatnonzero(tests_N), "test", "held", list(held), spec.seed))


def _side(rows_N: Integers, side: str, name: str, found: object, seed: int) -> Integers:
    """Permute the rows of one side by a generator of its own."""
    if not len(rows_N):
        raise _empty(side, name, found)
    return np.random.RandomState(seed).permutation(rows_N).astype(np.int64)


def _twin_closed(task: ModularTask, modular: Modular) -> Split:
    """Fill the training set with whole pairs of twins in random order.

    A pair of twins counts two, an equation that is its own twin (or whose twin has no answer) counts one. If one place
    is left, the next equation that counts one takes it; without one, the next pair does, unless it is the last.
    """
    equations, size = modular.equations(), modular.values
    count = len(equations)
    least_N, most_N = np.minimum(equations.a_N, equations.b_N), np.maximum(equations.a_N, equations.b_N)
    _, group_N, weight_G = np.unique(least_N * size + most_N, return_inverse=True, return_counts=True)
    trained = _trained(task.split, count)
    draw = np.random.RandomState(task.split.seed)
    order_G = draw.permutation(len(weight_G))
    whole = int(np.searchsorted(np.cumsum(weight_G[order_G]), trained, side="right"))
    trains_G = np.zeros(len(weight_G), dtype=np.bool_)
    trains_G[order_G[:whole]] = True
    if int(weight_G[trains_G].sum()) < trained:
        rest_G = order_G[whole:]
        single_G = rest_G[weight_G[rest_G] == 1]
        if len(single_G):
            trains_G[single_G[0]] = True
        elif len(rest_G) > 1:
            trains_G[rest_G[0]] = True
    train_N, test_N = (np.flatnonzero(side_N).astype(np.int64) for side_N in (trains_G[group_N], ~trains_G[group_N]))
    if not len(train_N):
        raise _empty("training", "fraction", task.split.fraction)
    for part_N in (train_N, test_N):
        draw.shuffle(part_N)
    return Split(train_N, test_N)


def _empty(side: str, name: str, found: object) -> InputError:
    return InputError(f"the {side} side of the split is empty", field=f"{_FIELD}.{name}", found=str(found))


_KINDS = {
    "random": _random,
    "three_way": _three_way,
    "result_range": _result_range,
    "operand_holdout": _operand_holdout,
    "twin_closed": _twin_closed,
}
