"""A one-layer addition model -> the trees of a certificate for every block, and problems that it may get wrong.

    whole cases --boxes, margins--> right, wrong, or open --finer grids, halved places--> ... --> one tree per case

The search is untrusted: it decides by estimates in plain float64 (`search.estimated_margins`), and `checker.check`
verifies every leaf. Parts that are undecided when time is up stay open.

Axes as in `certificate.search.estimated_boxes`: N nodes, F far places, R coordinates, K choices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block, Numbers, blocks
from reprogrok.certificate.checker.enclosure import BlockEnclosure, Enclosure
from reprogrok.certificate.checker.trees import GRIDS, OPEN, BlockProof, Leaf, LeafStatus, Tree, encode, mark
from reprogrok.certificate.search.estimated_boxes import Array, BlockBoxes, Nodes, SearchedModel
from reprogrok.certificate.search.estimated_margins import EstimatedMargins, estimated_margins

_SLACK = 1e-3  # logits that an estimated margin must exceed
_CLOSE_CALL = 1.5  # logits: a smaller margin may be lost to float32 rounding, so the checker is asked at once
_TYPICAL = 0.75  # quantile of the costs of rounding that counts as typical
_FEARED = 4.0  # factor of the typical cost up to which the checker is asked
_ASKED = 16  # leaves at least that the checker is asked about
_SURE = 1e-5  # logits that the checker must confirm, as a certificate is printed in decimals
_GRIDS = (0, 2, 3, 4, 5)  # tried in this order
_HOPELESS = -2.0  # logits: below this on the second finest grid, the finest would not help
_TIGHTENED = 4  # the grid that may show a larger margin where one cell shows a small one
_CLOSE = 0.95  # fraction of the smallest margin that is met
_ENOUGH = 0.01  # largest fraction of a block's wrong problems that may stay open
_AT_ONCE = 2_048  # parts that are halved together, those with most problems first
_SUSPECTS = 24
_OPEN, _RIGHT, _WRONG = range(3)
_MOST, _AT_LEAST = 0.9, 64  # fraction of the open problems whose parts are halved together, and how many at least
_SLICE, _SLICES = 2.0, 60  # seconds at least, and parts of all seconds, that one block is halved before another may be
_TABLES = 6  # blocks whose tables are kept in memory


@dataclass(frozen=True)
class FoundProof:
    """The result of the search in one block.

    Attributes:
        proof: the trees.
        suspects: problems (a, b) that the model gets wrong, or with the smallest margins, by the estimates.
        cells: number of boxes that were tried.
    """

    proof: BlockProof
    suspects: tuple[tuple[int, int], ...]
    cells: int


def search(  # noqa: PLR0917 - the model, the means, and a callback
    model: SearchedModel,
    have: Mapping[Block, FoundProof],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    enclosure: Enclosure | None = None,
    watch: Callable[[float], None] = lambda _fraction: None,
) -> Iterator[FoundProof]:
    """Search all blocks and yield each as soon as it is done, in no fixed order.

    All cases of all blocks are tried as a whole first; then the blocks with most open problems are halved, a few
    seconds at a time.

    Args:
        model: of one layer and one head (`certificate.checker.enclosure.refusal`).
        have: results of an earlier search; they are yielded first.
        seconds: time limit for halving; every case is tried as a whole, however long that takes.
        clock: in seconds.
        enclosure: of the same model, asked where an estimate is close; without one, estimates decide alone.
        watch: called now and then with the fraction of all problems that is open to further search.
    """
    yield from have.values()
    end = clock() + seconds
    waiting: list[_Forest] = []
    for block in blocks(model.digits):
        if block in have:
            continue
        forest = _Forest(BlockBoxes(model, block), enclosure)
        forest.plant()
        if len(forest.opened) and block.far:
            waiting.append(forest)
        else:
            yield forest.found()
    problems = float(100**model.digits)
    while waiting and clock() < end:
        waiting.sort(key=lambda forest: -forest.open_ways)
        open_ways = sum(forest.open_ways for forest in waiting)
        watch(open_ways / problems)
        if open_ways <= _ENOUGH * sum(forest.wrong_ways for forest in waiting):
            break
        waiting[0].grow(min(end, clock() + max(_SLICE, seconds / _SLICES)), clock)
        if not len(waiting[0].opened):
            yield waiting.pop(0).found()
        for forest in waiting[_TABLES:]:
            forest.forget_tables()
    for forest in waiting:
        yield forest.found()


@dataclass(frozen=True)
class _Parts:
    """Nodes of the trees with their results, all (N, ...).

    Attributes:
        number: number of the node; the first are the cases themselves.
        case, run_NF, low_NR, high_NR: see `Nodes`.
        ways: number of problems, as a float.
        grid: the last grid that was tried.
        status: right, wrong or open, by number.
        lowest, beaten, worst, middle, slope_NR: see `EstimatedMargins`.
        cost: logits that float32 rounding takes from its margin, where the checker was asked; else 0.
    """

    number: Numbers
    case: Numbers
    run_NF: Numbers
    low_NR: Array
    high_NR: Array
    ways: Array
    grid: Numbers
    status: Numbers
    lowest: Array
    beaten: Array
    worst: Array
    middle: Array
    slope_NR: Array
    cost: Array

    def __len__(self) -> int:
        return len(self.number)

    def __getitem__(self, part: NDArray[np.bool_] | Numbers | slice) -> Self:
        return type(self)(*(getattr(self, each.name)[part] for each in fields(self)))

    def joined(self, other: Self) -> Self:
        return type(self)(
            *(np.concatenate([getattr(self, each.name), getattr(other, each.name)]) for each in fields(self))
        )

    @property
    def nodes(self) -> Nodes:
        return Nodes(self.case, self.run_NF, self.low_NR, self.high_NR)

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.status == _RIGHT)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return np.asarray(self.status == _WRONG)


@dataclass
class _Forest:
    """The trees of a block while they grow."""

    boxes: BlockBoxes
    enclosure: Enclosure | None
    cells: int = 0
    cost: float = 0.0  # logits that float32 rounding takes from a margin
    count: int = 0
    halved: set[int] = field(default_factory=set)
    marks: dict[int, str] = field(default_factory=dict)
    children: dict[int, tuple[int, int, int]] = field(default_factory=dict)  # place, and the numbers of its halves
    telling: list[_Parts] = field(default_factory=list)  # parts where a suspect may be found
    wrong_ways: float = 0.0  # problems that are answered wrong
    opened: _Parts = field(init=False)

    @property
    def open_ways(self) -> float:
        """Number of problems that halving may still decide."""
        return float(self.opened.ways.sum())

    def plant(self) -> None:
        """Try every case as a whole."""
        nodes = self.boxes.whole_cases()
        whole = self._tightened(self._tried(nodes, self.boxes.ways_of(nodes)))
        self.telling.append(whole[np.argsort(whole.lowest, kind="stable")[:_SUSPECTS]])
        self.opened = self._marked(whole)

    def grow(self, until: float, clock: Callable[[], float]) -> None:
        """Halve the open parts, those with most problems first."""
        while len(self.opened) and clock() < until and self.open_ways > _ENOUGH * self.wrong_ways:
            order = np.argsort(-self.opened.ways, kind="stable")
            most = int(np.searchsorted(np.cumsum(self.opened.ways[order]), _MOST * self.open_ways)) + 1
            at_once = min(max(most, _AT_LEAST), _AT_ONCE)
            now, later = self.opened[order[:at_once]], self.opened[order[at_once:]]
            self.opened = later.joined(self._marked(self._halved(now)))
        if self.open_ways <= _ENOUGH * self.wrong_ways:
            self.telling.append(_heaviest(self.opened))
            self.opened = self.opened[:0]

    def found(self) -> FoundProof:
        """Return the trees as they are, and the suspects."""
        self.telling.append(_heaviest(self.opened))
        orders = {place: self.boxes.orders[place] for place in sorted(self.halved)}
        proof = BlockProof(self.boxes.block, self.boxes.basis_RD, orders, self.text())
        return FoundProof(proof, tuple(dict.fromkeys(self.suspects())), self.cells)

    def forget_tables(self) -> None:
        """Free the largest tables; they are computed again when needed."""
        self.boxes.forget_tables()
        self.__dict__.pop("_enclosed", None)

    def _tried(self, nodes: Nodes, ways_N: Array) -> _Parts:
        """Try grids of growing fineness on new nodes."""
        number_N = self.count + np.arange(len(nodes))
        self.count += len(nodes)
        parts = self._seen(nodes, number_N, ways_N, _GRIDS[0])
        for grid in _GRIDS[1:]:
            again = (parts.status == _OPEN) & (parts.worst > 0) & (ways_N > 0)
            if grid == _GRIDS[-1]:
                again &= parts.lowest > _HOPELESS
            if not again.any():
                break
            parts = _replaced(parts, again, self._seen(nodes[again], number_N[again], ways_N[again], grid))
        return parts

    def _seen(self, nodes: Nodes, number_N: Numbers, ways_N: Array, grid: int) -> _Parts:
        """Try one grid."""
        seen: EstimatedMargins = estimated_margins(self.boxes, nodes, grid)
        self.cells += len(nodes) * math.prod(GRIDS[grid])
        status_N = np.where(seen.lowest_N > _SLACK, _RIGHT, np.where(seen.beaten_N < -_SLACK, _WRONG, _OPEN))
        cost_N = np.zeros(len(nodes))
        if self.enclosure is not None:
            self._ask_when_close(nodes, ways_N, grid, seen, status_N, cost_N)
        return _Parts(
            number_N, nodes.case_N, nodes.run_NF, nodes.low_NR, nodes.high_NR, ways_N, np.full(len(nodes), grid),
            status_N, seen.lowest_N, seen.beaten_N, seen.worst_N, seen.middle_N, seen.slope_NR, cost_N,
        )  # fmt: skip

    def _ask_when_close(  # noqa: PLR0917 - columns of the same nodes
        self, nodes: Nodes, ways_N: Array, grid: int, seen: EstimatedMargins, status_N: Numbers, cost_N: Array
    ) -> None:
        """Reopen nodes that the checker would not confirm; measure the cost of rounding."""
        margin_N = np.where(status_N == _RIGHT, seen.lowest_N, -seen.beaten_N)
        order_N = np.argsort(margin_N, kind="stable")
        waiting_N = order_N[((status_N != _OPEN) & (ways_N > 0))[order_N]]
        while len(waiting_N):
            # A few at least, which measure the cost; then all that such a cost could reopen.
            close = margin_N[waiting_N] < max(_CLOSE_CALL, _FEARED * self.cost)
            close[:_ASKED] = True
            close_N, waiting_N = waiting_N[close], waiting_N[~close]
            sure = self._enclosed.margins(self._leaves(nodes[close_N], grid))
            sure_N = np.where(status_N[close_N] == _RIGHT, sure.lowest_L, -sure.beaten_L)
            status_N[close_N[~(sure_N > _SURE)]] = _OPEN
            known = np.isfinite(sure_N)
            cost_N[close_N[known]] = (margin_N[close_N] - sure_N)[known]
            if known.any():
                self.cost = max(self.cost, float(np.quantile(cost_N[close_N[known]], _TYPICAL)))
            if not (margin_N[waiting_N] < _FEARED * self.cost).any():
                return

    @cached_property
    def _enclosed(self) -> BlockEnclosure:
        if self.enclosure is None:
            raise AssertionError("the checker is asked without an enclosure")
        return self.enclosure.block(self.boxes.block, self.boxes.basis_RD, self.boxes.orders)

    def _leaves(self, nodes: Nodes, grid: int) -> list[Leaf]:
        """Return nodes as leaves; the reader ignores their status."""
        far, spans = self.boxes.far, self.boxes.spans
        halved = [tuple((far[f], *spans[f][k]) for f, k in enumerate(run_F) if k) for run_F in nodes.run_NF.tolist()]
        return [Leaf(int(case), LeafStatus.OPEN, grid, cut) for case, cut in zip(nodes.case_N, halved, strict=True)]

    def _tightened(self, parts: _Parts) -> _Parts:
        """Try a finer grid on right parts with an estimated margin below the smallest that is met."""
        met = parts.middle[parts.right].min(initial=np.inf)
        close = parts.right & (parts.lowest < _CLOSE * met) & (parts.grid < _TIGHTENED)
        if not close.any():
            return parts
        seen = self._seen(parts.nodes[close], parts.number[close], parts.ways[close], _TIGHTENED)
        return _replaced(parts, close, seen)

    def _marked(self, parts: _Parts) -> _Parts:
        """Mark the decided parts; return the others."""
        wrong = parts[parts.wrong & (parts.ways > 0)]
        self.wrong_ways += float(wrong.ways.sum())
        self.telling.append(_heaviest(wrong))
        right = parts[parts.right | (parts.ways == 0)]
        for status, decided in ((LeafStatus.RIGHT, right), (LeafStatus.WRONG, wrong)):
            for number, grid in zip(decided.number.tolist(), decided.grid.tolist(), strict=True):
                self.marks[number] = mark(status, grid)
        hopeless = (parts.lowest > -parts.cost) & (parts.beaten < parts.cost)  # rounding decides everywhere in the part
        self.telling.append(_heaviest(parts[(parts.status == _OPEN) & hopeless]))
        return parts[(parts.status == _OPEN) & ~hopeless & (parts.ways > 0)]

    def _halved(self, parts: _Parts) -> _Parts:
        """Halve every part at the place whose choices move the margin most; return both halves."""
        boxes = self.boxes
        run_FN = parts.run_NF.T
        reach_NF, single_NF = np.empty(parts.run_NF.shape), np.empty(parts.run_NF.shape, dtype=np.bool_)
        for f, run_N in enumerate(run_FN):
            reach_NF[:, f] = (np.abs(parts.slope_NR) * boxes.extents[f][run_N]).sum(1)
            single_NF[:, f] = boxes.halves[f][run_N, 0] < 0
        reach_NF[single_NF] = -1.0
        can = np.asarray(~single_NF.all(1))
        parts, at_N = parts[can], reach_NF[can].argmax(1)
        run_2NF = np.stack([parts.run_NF, parts.run_NF])
        for f, halves_J2 in enumerate(boxes.halves):
            mine = at_N == f
            run_2NF[:, mine, f] = halves_J2[parts.run_NF[mine, f]].T
        twice = np.concatenate([np.arange(len(parts))] * 2)
        nodes = Nodes(parts.case[twice], np.concatenate(run_2NF), parts.low_NR[twice], parts.high_NR[twice])
        for k, (number, f) in enumerate(zip(parts.number.tolist(), at_N.tolist(), strict=True)):
            self.children[number] = (boxes.far[f], self.count + k, self.count + len(parts) + k)
        self.halved |= {boxes.far[f] for f in set(at_N.tolist())}
        return self._tried(boxes.shrunk(nodes), boxes.ways_of(nodes))

    def text(self) -> str:
        """Encode the trees of all cases; a node has a smaller number than its halves."""
        trees: list[Tree] = [self.marks.get(number, OPEN) for number in range(self.count)]
        for number in sorted(self.children, reverse=True):
            place, first, second = self.children[number]
            trees[number] = (place, trees[first], trees[second])
        return encode(trees[: len(self.boxes.block.cases)])

    def suspects(self) -> Iterator[tuple[int, int]]:
        """Yield a problem of each telling part: the choices that lower the margin most."""
        for parts in self.telling:
            for at in range(len(parts)):
                yield self.boxes.worst_problem(parts.nodes[at : at + 1], parts.slope_NR[at])


def _heaviest(parts: _Parts) -> _Parts:
    """Return the parts with most problems."""
    return parts[np.argsort(-parts.ways, kind="stable")[:_SUSPECTS]]


def _replaced(parts: _Parts, where: NDArray[np.bool_], by: _Parts) -> _Parts:
    """Return the parts, some of them replaced."""
    columns = {each.name: getattr(parts, each.name).copy() for each in fields(parts)}
    for name, column in columns.items():
        column[where] = getattr(by, name)
    return _Parts(**columns)
