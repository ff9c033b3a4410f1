"""A one-layer addition model -> boxes around its attention's output, over whole sets of problems; plain float64.

Input of the search for a proof. Nothing here is rounded outward: `checker.enclosure`, which shares no arithmetic with
this module, bounds every result of the search again. `docs/certificate.md` derives the steps: weights and values are
tables, and the largest pull of all far places together is the sum of those of each.

Axes: T positions, V tokens, D width, R coordinates of the box, C cases, N nodes (sets of problems), K choices of a
      place, J runs of a place's choices, X directions (up and down along every coordinate), L points of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from reprogrok.certificate.checker.carries import Block, Choices, Numbers
from reprogrok.certificate.checker.layer_tables import readable
from reprogrok.model.decoder import LAYER_NORM_EPS, RMS_NORM_EPS
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import EQUALS, PLUS, VOCABULARY

Array = NDArray[np.float64]
_Read = tuple[int, Numbers | int]  # a position, and the token there

_POINTS = 257  # of the grid that boxes of whole cases are found on
_RUN_POINTS = 65  # likewise for parts of a case, between the ends of those
_ROUNDS = 3
_NEVER = -1e30  # an impossible sum: no choice has these carries


@dataclass(frozen=True)
class Nodes:
    """Parts of a block's cases.

    Attributes:
        case_N: number of the case.
        run_NF: for every far place of the block, the number of its run (`runs`).
        low_NR, high_NR: bounds of the attention's output in coordinates.
    """

    case_N: Numbers
    run_NF: Numbers
    low_NR: Array
    high_NR: Array

    def __len__(self) -> int:
        return len(self.case_N)

    def __getitem__(self, part: NDArray[np.bool_] | Numbers | slice) -> Nodes:
        return Nodes(self.case_N[part], self.run_NF[part], self.low_NR[part], self.high_NR[part])


class SearchedModel:
    """The parts of a model that do not depend on the block."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, Array], digits: int) -> None:
        """Weights by published name, without the replica axis."""
        self.spec, self.weights, self.digits = spec, weights, digits
        d, at = spec.d_model, "blocks.0.attn"
        if spec.tie_qkv == "shareA_tieKV":
            query_DD = (weights[f"{at}.qkv_A"] @ weights[f"{at}.qkv_Bq"]).T
            key_DD = value_DD = (weights[f"{at}.qkv_A"] @ weights[f"{at}.qkv_Bkv"]).T
        else:
            query_DD, key_DD, value_DD = np.split(self.matrix(f"{at}.qkv"), 3)
        self.output_DD = self.matrix(f"{at}.proj") @ value_DD
        self.first_FD, self.second_DF = self.matrix("blocks.0.mlp.fc1"), self.matrix("blocks.0.mlp.fc2")
        self.embedding_VD = weights["token_emb.weight"]
        full = "pos_emb.weight" in weights
        position_TD = weights["pos_emb.weight"] if full else weights["pos_emb.A"] @ weights["pos_emb.B"]
        self.input_TVD = position_TD[:, None] + self.embedding_VD
        normed_TVD = self._normed("blocks.0.ln1", self.input_TVD)
        self.query_TVD, self.key_TVD = normed_TVD @ query_DD.T / np.sqrt(d), normed_TVD @ key_DD.T
        self.value_TVD = normed_TVD @ self.output_DD.T

    def matrix(self, name: str) -> Array:
        """Return a linear map as (out, in), of full rank or the product of its factors."""
        if f"{name}.weight" in self.weights:
            return self.weights[f"{name}.weight"]
        return (self.weights[f"{name}.A"] @ self.weights[f"{name}.B"]).T

    @property
    def eps(self) -> float:
        """The number that norms add under the root."""
        return RMS_NORM_EPS if self.spec.use_rmsnorm else LAYER_NORM_EPS

    def gain(self, name: str) -> tuple[Array, Array]:
        """Return a norm's weight and bias."""
        weight_D = self.weights[f"{name}.weight"]
        return weight_D, np.zeros_like(weight_D) if self.spec.use_rmsnorm else self.weights[f"{name}.bias"]

    def _normed(self, name: str, x_TVD: Array) -> Array:
        weight_D, bias_D = self.gain(name)
        if not self.spec.use_rmsnorm:
            x_TVD = x_TVD - x_TVD.mean(-1, keepdims=True)
        return np.asarray(x_TVD / np.sqrt((x_TVD**2).mean(-1, keepdims=True) + self.eps) * weight_D + bias_D)


class BlockBoxes:
    """One block of a model: sums of weights and of weighted values, by case and by choice."""

    def __init__(self, model: SearchedModel, block: Block) -> None:
        self.model, self.block = model, block
        n, self.far = model.digits, block.far
        read = slice(0, block.asked + 1)
        score_TV = model.key_TVD[read] @ model.query_TVD[block.asked, block.token]
        can_TV = readable(block, VOCABULARY)
        self._weight_TV = np.exp(np.where(can_TV, score_TV - score_TV[can_TV].max(), 0.0))
        self._value_TVD = model.value_TVD[read]
        cases = block.cases
        known: list[_Read] = [(n, PLUS), (2 * n + 1, EQUALS)]
        if block.place > 0:
            before = block.place - 1
            known += [(n - 1 - before, cases.a_before), (2 * n - before, cases.b_before)]
            known.append((block.asked, block.token))
        if block.place < n:
            known += [(n - 1 - block.place, cases.a), (2 * n - block.place, cases.b)]
        terms = {place: self._terms(place) for place in self.far}
        mass_C, pull_CD = self._sums(len(cases), known)
        self.basis_RD = self._basis(mass_C, pull_CD, terms)
        self.mass_C, self.pull_CR = mass_C, pull_CD @ self.basis_RD.T
        self.terms = {place: (mass_K, pull_KD @ self.basis_RD.T) for place, (mass_K, pull_KD) in terms.items()}
        self.choices: dict[int, Choices] = {place: block.choices(place) for place in self.far}

    def _sums(self, size: int, read: list[_Read]) -> tuple[Array, Array]:
        """Sum weights, and weights times values, over positions and their tokens: (size,), (size, D)."""
        mass, pull = np.zeros(size), np.zeros((size, self.model.spec.d_model))
        for position, token in read:
            weight = self._weight_TV[position, token]
            mass, pull = mass + weight, pull + np.asarray(weight)[..., None] * self._value_TVD[position, token]
        return mass, pull

    def _terms(self, place: int) -> tuple[Array, Array]:
        """Return the sums of every choice of a far place."""
        n, choices = self.model.digits, self.block.choices(place)
        read: list[_Read] = [(n - 1 - place, choices.a), (2 * n - place, choices.b)]
        if place < self.block.place:
            read.append((2 * n + 2 + place, choices.digit))
        return self._sums(len(choices), read)

    def _basis(self, mass_C: Array, pull_CD: Array, terms: Mapping[int, tuple[Array, Array]]) -> Array:
        """Return coordinates, those of largest spread first: principal axes of the effects of far choices.

        Within the range of the output map, where all values lie; rounded to nine decimals.
        """
        left_DD, size_D, _ = np.linalg.svd(self.model.output_DD)
        range_DR = left_DD[:, size_D > 1e-9 * size_D[0]]
        total = mass_C.mean() + sum(mass_K.mean() for mass_K, _ in terms.values())
        centre_D = (pull_CD.mean(0) + sum(pull_KD.mean(0) for _, pull_KD in terms.values())) / total
        spread_RR = np.zeros((range_DR.shape[1], range_DR.shape[1]))
        for mass_K, pull_KD in terms.values():
            moved_KR = (pull_KD - mass_K[:, None] * centre_D) @ range_DR / total
            spread_RR += np.cov(moved_KR.T, bias=True).reshape(spread_RR.shape)
        axes_RR = np.linalg.eigh(spread_RR)[1][:, ::-1]
        basis: Array = np.round((range_DR @ axes_RR).T, 9)
        return basis

    def whole_cases(self) -> Nodes:
        """Return every case of the block, nothing halved, with its box.

        The largest pull N - lambda D over all choices is convex in lambda: between two points of a grid it lies below
        the chord, and the zero of the chord bounds N / D.
        """
        lam_LX = self._grid()
        top_2LX = self._chained({place: self._tops(place, lam_LX)[0] for place in self.far}, lam_LX.shape)
        low_high = []
        for x in range(lam_LX.shape[1]):
            coordinate, sign = x // 2, 1 - 2 * (x % 2)
            lam_L = lam_LX[:, x]
            own_CL = sign * self.pull_CR[:, coordinate, None] - lam_L * self.mass_C[:, None]
            over_CL = own_CL + top_2LX[self.block.cases.carry, :, x]
            at_C = np.clip((over_CL > 0).sum(1), 1, len(lam_L) - 1)
            above_C, below_C = (np.take_along_axis(over_CL, at_C[:, None] - k, 1)[:, 0] for k in (1, 0))
            fraction_C = above_C / np.maximum(above_C - below_C, 1e-300)
            low_high.append(sign * (lam_L[at_C - 1] + (lam_L[at_C] - lam_L[at_C - 1]) * fraction_C))
        edges_XC = np.array(low_high)
        count = len(self.block.cases)
        runs_CF = np.zeros((count, len(self.far)), dtype=np.int64)
        return Nodes(np.arange(count), runs_CF, edges_XC[1::2].T, edges_XC[::2].T)

    def _grid(self) -> Array:
        """Return points (L, X) between the least and the largest value of any readable token."""
        value_NR = self._value_TVD[readable(self.block, VOCABULARY)] @ self.basis_RD.T
        low_R, high_R = value_NR.min(0), value_NR.max(0)
        margin_R = 1e-6 * (high_R - low_R) + 1e-12
        ends = [(low_R - margin_R, high_R + margin_R), (-high_R - margin_R, -low_R + margin_R)]
        both_LX = [np.linspace(low, high, _POINTS) for low, high in ends]
        return np.stack(both_LX, axis=2).reshape(_POINTS, -1)

    def _tops(self, place: int, lam_LX: Array, depth: int = 0) -> Array:
        """Return the largest pull of a far place: (J, carry in, carry out, L, X) for its runs up to a depth."""
        choices = self.choices[place]
        mass_K, pull_KR = self.terms[place]
        signed_KX = np.stack([pull_KR, -pull_KR], axis=2).reshape(len(mass_K), -1)
        tops_J = []
        for first, end in runs(len(choices), depth):
            members = self.orders[place][first:end] if depth else np.arange(len(choices))
            top = np.full((2, 2, *lam_LX.shape), _NEVER)
            for into, out in product((0, 1), repeat=2):
                fits = members[choices.by_carries(into, out)[members]]
                if len(fits):
                    top[into, out] = (signed_KX[fits][:, None] - lam_LX * mass_K[fits][:, None, None]).max(0)
            tops_J.append(top)
        return np.stack(tops_J)

    def _chained(self, tops: Mapping[int, Array], shape: tuple[int, ...]) -> Array:
        """Return the largest sum over far places whose carries fit, by the carry into the place before: (2, ...)."""
        best = [np.zeros(shape), np.full(shape, _NEVER)]
        for place in self.block.below:
            top = tops[place]
            best = [np.maximum(best[0] + top[0, out], best[1] + top[1, out]) for out in (0, 1)]
        free = sum((np.maximum(tops[place][0, 0], tops[place][0, 1]) for place in self.block.above), np.zeros(shape))
        return np.stack(best) + free

    @cached_property
    def orders(self) -> dict[int, Numbers]:
        """Order the choices of every far place such that those in one half have similar effects."""
        scale = self.mass_C.mean() + sum(mass_K.mean() for mass_K, _ in self.terms.values())
        centre_R = (self.pull_CR.mean(0) + sum(pull_KR.mean(0) for _, pull_KR in self.terms.values())) / scale
        self._moved = {
            place: (pull_KR - mass_K[:, None] * centre_R) / scale for place, (mass_K, pull_KR) in self.terms.items()
        }
        return {place: _nearest_together(moved_KR) for place, moved_KR in self._moved.items()}

    @cached_property
    def extents(self) -> list[Array]:
        """Spread of the choices of every run along each coordinate: (J, R) by far place."""
        moved = [self._moved[place][order_K] for place, order_K in self.orders.items()]
        return [np.array([np.ptp(moved_KR[a:b], axis=0) for a, b in runs(len(moved_KR), 99)]) for moved_KR in moved]

    @cached_property
    def spans(self) -> list[list[tuple[int, int]]]:
        """The first choice and the end of every run, in its place's order, by far place."""
        return [runs(len(self.choices[place]), 99) for place in self.far]

    @cached_property
    def halves(self) -> list[Numbers]:
        """The numbers of every run's two halves, or -1 if it is one choice: (J, 2) by far place."""
        return [halves(len(self.choices[place])) for place in self.far]

    @cached_property
    def _ways(self) -> list[Array]:
        """Number of choices of each run: (J, carry in, carry out) by far place."""
        found = []
        for place in self.far:
            order_K, choices = self.orders[place], self.choices[place]
            kind_K4 = np.eye(4)[2 * choices.carry_in[order_K] + choices.carry_out[order_K]]
            found.append(np.array([kind_K4[a:b].sum(0).reshape(2, 2) for a, b in runs(len(order_K), 99)]))
        return found

    def ways_of(self, nodes: Nodes) -> Array:
        """Count the problems of each node, as floats: (N,)."""
        ways_N2 = np.tile([1.0, 0.0], (len(nodes), 1))
        free_N = np.ones(len(nodes))
        for f, place in enumerate(self.far):
            ways_N22 = self._ways[f][nodes.run_NF[:, f]]
            if place < self.block.place:
                ways_N2 = np.einsum("ni,nio->no", ways_N2, ways_N22)
            else:
                free_N *= ways_N22.sum((1, 2))
        carry_N = self.block.cases.carry[nodes.case_N]
        return np.asarray(ways_N2[np.arange(len(nodes)), carry_N] * free_N)

    def worst_problem(self, node: Nodes, slope_R: Array) -> tuple[int, int]:
        """Return operands (a, b) of the problem in one node whose choices lower the margin most along its slope."""
        cases, case = self.block.cases, int(node.case_N[0])
        centre_R = (node.low_NR[0] + node.high_NR[0]) / 2
        best: list[tuple[float, list[int]] | None] = [(0.0, []), None]
        above: list[int] = []
        for f, place in enumerate(self.far):
            choices, order_K = self.choices[place], self.orders[place]
            first, end = self.spans[f][int(node.run_NF[0, f])]
            members = order_K[first:end]
            mass_K, pull_KR = self.terms[place]
            moved = (pull_KR[members] - mass_K[members, None] * centre_R) @ slope_R
            if place > self.block.place:
                above.append(int(members[moved.argmin()]))
                continue
            following: list[tuple[float, list[int]] | None] = [None, None]
            for k, by in zip(members.tolist(), moved.tolist(), strict=True):
                before, out = best[choices.carry_in[k]], int(choices.carry_out[k])
                if before is None:
                    continue
                reached = following[out]
                if reached is None or before[0] + by < reached[0]:
                    following[out] = (before[0] + by, [*before[1], k])
            best = following
        below = best[int(cases.carry[case])]
        if below is None:
            raise ValueError("no problem has these choices")
        a = b = 0
        for place, k in zip(self.far, below[1] + above, strict=True):
            a, b = a + k // 10 % 10 * 10**place, b + k % 10 * 10**place
        unit = 10**self.block.place  # the columns of places that do not exist hold 0
        a += int(cases.a[case]) * unit + int(cases.a_before[case]) * unit // 10
        b += int(cases.b[case]) * unit + int(cases.b_before[case]) * unit // 10
        return a, b

    @cached_property
    def _run_grid(self) -> tuple[Array, list[Array], list[Array]]:
        """For parts of cases: points (L, X) within the cases' boxes, the tops of all runs there, and of their mass."""
        whole = self.whole_cases()
        slack_R = 1e-9 + 1e-6 * (whole.high_NR.max(0) - whole.low_NR.min(0))
        low_R, high_R = whole.low_NR.min(0) - slack_R, whole.high_NR.max(0) + slack_R
        both_LX = [np.linspace(low, high, _RUN_POINTS) for low, high in ((low_R, high_R), (-high_R, -low_R))]
        lam_LX = np.stack(both_LX, axis=2).reshape(_RUN_POINTS, -1)
        tops = [self._tops(place, lam_LX, 99) for place in self.far]
        masses = [self.terms[place][0][self.orders[place]] for place in self.far]
        heaviest = [np.array([mass_K[a:b].max() for a, b in runs(len(mass_K), 99)]) for mass_K in masses]
        return lam_LX, tops, heaviest

    def forget_tables(self) -> None:
        """Free the largest tables."""
        self.__dict__.pop("_run_grid", None)

    def shrunk(self, nodes: Nodes) -> Nodes:
        """Return parts that have their parent's boxes with their own boxes."""
        if not len(nodes):
            return nodes
        lam_LX, tops, heaviest = self._run_grid
        X = lam_LX.shape[1]
        step_X, axis_X = lam_LX[1] - lam_LX[0], np.arange(X)
        bound_NX = np.stack([nodes.high_NR, -nodes.low_NR], axis=2).reshape(len(nodes), X)
        signed_CX = np.stack([self.pull_CR, -self.pull_CR], axis=2).reshape(-1, X)
        own_NX, own_N = signed_CX[nodes.case_N], self.mass_C[nodes.case_N]
        most_N = own_N + sum(heavy_J[nodes.run_NF[:, f]] for f, heavy_J in enumerate(heaviest))
        carry_N = self.block.cases.carry[nodes.case_N]
        for _ in range(_ROUNDS):
            place_NX = np.clip((bound_NX - lam_LX[0]) / step_X, 0, _RUN_POINTS - 1.001)
            at_NX = place_NX.astype(np.int64)
            fraction_NX = place_NX - at_NX
            chosen = {}
            for f, place in enumerate(self.far):
                run_N1 = nodes.run_NF[:, f, None]
                lower, upper = (tops[f][run_N1, :, :, at_NX + k, axis_X] for k in (0, 1))  # (N, X, 2, 2)
                mixed = lower + (upper - lower) * fraction_NX[..., None, None]
                chosen[place] = mixed.transpose(2, 3, 0, 1)
            top_NX = self._chained(chosen, bound_NX.shape)[carry_N, np.arange(len(nodes))]
            at_bound_NX = lam_LX[0] + place_NX * step_X
            over_NX = own_NX - at_bound_NX * own_N[:, None] + top_NX
            with np.errstate(all="ignore"):  # weights may all be too small for float64
                less_NX = over_NX / np.where(over_NX > 0, own_N[:, None], most_N[:, None])
            bound_NX = np.fmin(bound_NX, at_bound_NX + less_NX)
        return Nodes(nodes.case_N, nodes.run_NF, -bound_NX[:, 1::2], bound_NX[:, ::2])


def runs(size: int, depth: int) -> list[tuple[int, int]]:
    """List the whole and its halves, down to single choices or a depth; run k has the halves `halves(size)[k]`."""
    found, level = [(0, size)], [(0, size)]
    for _ in range(depth):
        level = [half for first, end in level if end - first > 1 for half in _halves(first, end)]
        if not level:
            break
        found += level
    return found


def halves(size: int) -> Numbers:
    """Return the numbers of both halves of every run of `runs(size, any depth)`, or -1: (J, 2)."""
    everything = runs(size, 99)
    number = {run: k for k, run in enumerate(everything)}
    pairs = [[number[h] for h in _halves(a, b)] if b - a > 1 else [-1, -1] for a, b in everything]
    return np.array(pairs)


def _halves(first: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    middle = first + (end - first) // 2
    return (first, middle), (middle, end)


def _nearest_together(moved_KR: Array) -> Numbers:
    """Order points such that halves, quarters, ... are each cut where they spread most."""

    def ordered(members: Numbers) -> list[int]:
        if len(members) < 2:
            return [int(k) for k in members]
        widest = int(np.ptp(moved_KR[members], axis=0).argmax())
        members = members[np.argsort(moved_KR[members, widest], kind="stable")]
        half = len(members) // 2
        return ordered(members[:half]) + ordered(members[half:])

    return np.array(ordered(np.arange(len(moved_KR))))
