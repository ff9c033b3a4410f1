"""The enclosure of a model against its whole forward pass in balls of 200 bits, and against float32 as it runs."""

from dataclasses import dataclass, replace
from functools import cached_property

import flint
import numpy as np
import pytest
import torch
from flint import arb, arb_mat, fmpq

from reprogrok.certificate.checker import enclosure
from reprogrok.certificate.checker.attention_box import AttentionBox
from reprogrok.certificate.checker.carries import Block, blocks
from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.certificate.checker.trees import GRIDS, Leaf, LeafStatus
from reprogrok.model.decoder import logits
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.model import ModelSpec

BITS = 200
SPECS = {
    "full rank": ModelSpec(1, 4, 1, 5, 14, 14),
    "low rank": ModelSpec(1, 5, 1, 6, 14, 14, pos_rank=2, qkv_rank=3, attn_out_rank=2, ffn_rank=3),
    "RMSNorm, keys are values": ModelSpec(
        1, 4, 1, 6, 14, 14, pos_rank=3, qkv_rank=2, ffn_rank=3, use_rmsnorm=True, tie_qkv="shareA_tieKV"
    ),
}


@pytest.fixture(autouse=True)
def exact_oracle():
    before, flint.ctx.prec = flint.ctx.prec, BITS
    yield
    flint.ctx.prec = before


def random_weights(spec: ModelSpec, seed: int) -> dict[str, torch.Tensor]:
    """Of a size at which attention is neither flat nor one-hot, and GELU is bent."""
    random, weights = np.random.default_rng(seed), {}
    for name, shape in parameter_shapes(spec).items():
        values = random.normal(size=shape) * 0.7
        if len(shape) == 1:
            values = values * 0.3 + name.endswith("weight")
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


# The forward pass, exactly: rows and columns of balls.


@dataclass(frozen=True)
class Exact:
    """One model on the stored weights; vectors are columns."""

    spec: ModelSpec
    weights: dict[str, torch.Tensor]

    @cached_property
    def balls(self) -> dict[str, arb_mat]:
        return {
            name: arb_mat([[arb(fmpq(*x.as_integer_ratio())) for x in row] for row in tensor.double().view(
                tensor.shape[0], -1
            ).tolist()])
            for name, tensor in self.weights.items()
        }  # fmt: skip

    def linear(self, name: str) -> arb_mat:
        w = self.balls
        return w[f"{name}.weight"] if f"{name}.weight" in w else (w[f"{name}.A"] * w[f"{name}.B"]).transpose()

    @cached_property
    def maps(self) -> tuple[arb_mat, arb_mat, arb_mat]:
        """Of query, key and value."""
        w, d = self.balls, self.spec.d_model
        if self.spec.tie_qkv == "shareA_tieKV":
            query, key = ((w["blocks.0.attn.qkv_A"] * w[f"blocks.0.attn.qkv_B{x}"]).transpose() for x in ("q", "kv"))
            return query, key, key
        rows = self.linear("blocks.0.attn.qkv").tolist()
        return arb_mat(rows[:d]), arb_mat(rows[d : 2 * d]), arb_mat(rows[2 * d :])

    @cached_property
    def places(self) -> arb_mat:
        w = self.balls
        return w["pos_emb.A"] * w["pos_emb.B"] if self.spec.pos_rank else w["pos_emb.weight"]

    def norm(self, x: arb_mat, name: str) -> arb_mat:
        count, values = self.spec.d_model, x.entries()
        weight = self.balls[f"{name}.weight"].entries()
        if self.spec.use_rmsnorm:
            root = (sum(v * v for v in values) / count + arb("1e-8")).sqrt()
            return arb_mat(count, 1, [v / root * g for v, g in zip(values, weight, strict=True)])
        mean = sum(values) / count
        root = (sum((v - mean) ** 2 for v in values) / count + arb("1e-5")).sqrt()
        bias = self.balls[f"{name}.bias"].entries()
        return arb_mat(count, 1, [(v - mean) / root * g + b for v, g, b in zip(values, weight, bias, strict=True)])

    def embedded(self, position: int, token: int) -> arb_mat:
        return arb_mat(
            self.spec.d_model,
            1,
            [self.balls["token_emb.weight"][token, i] + self.places[position, i] for i in range(self.spec.d_model)],
        )

    def logits(self, tokens: list[int]) -> list[arb]:
        """What is answered at the last position."""
        query, key, value = self.maps
        x = [self.embedded(position, token) for position, token in enumerate(tokens)]
        h = [self.norm(each, "blocks.0.ln1") for each in x]
        asked = (query * h[-1]).transpose()
        weights = [((asked * (key * each))[0, 0] / arb(self.spec.d_model).sqrt()).exp() for each in h]
        mixed = sum(
            (value * each * weight for each, weight in zip(h[1:], weights[1:], strict=True)), value * h[0] * weights[0]
        )
        stream = x[-1] + self.linear("blocks.0.attn.proj") * mixed * (1 / sum(weights))
        hidden = (self.linear("blocks.0.mlp.fc1") * self.norm(stream, "blocks.0.ln2")).entries()
        active = arb_mat(len(hidden), 1, [v * (1 + (v / arb(2).sqrt()).erf()) / 2 for v in hidden])
        stream = stream + self.linear("blocks.0.mlp.fc2") * active
        return (self.balls["token_emb.weight"] * self.norm(stream, "ln_f")).entries()


# Problems of leaves, drawn.


@dataclass(frozen=True)
class Question:
    """A digit of a problem: which leaf it is from, what is read, and the right answer."""

    leaf: int
    tokens: list[int]
    right: int


def random_leaf(block: Block, orders: dict[int, np.ndarray], random: np.random.Generator, longest: int) -> Leaf:
    runs = []
    for place in block.far:
        first = int(random.integers(len(orders[place])))
        if random.random() < 0.9:
            runs.append((place, first, min(len(orders[place]), first + int(random.integers(1, longest + 1)))))
    return Leaf(
        int(random.integers(len(block.cases))), LeafStatus.OPEN, int(random.integers(len(GRIDS) - 2)), tuple(runs)
    )


def questions(
    block: Block, orders: dict, leaf: Leaf, *, index: int, random: np.random.Generator, count: int
) -> list[Question]:
    """Some problems of a leaf, by trying choices until their carries fit; what is read is written out from a and b."""
    cases, found = block.cases, []
    runs = {place: orders[place][first:end] for place, first, end in leaf.runs}
    for _ in range(20 * count):
        a, b, carry, fits = {}, {}, 0, True
        for place in block.far:
            choices = block.choices(place)
            chosen = random.choice(runs.get(place, np.arange(len(choices))))
            a[place], b[place] = int(choices.a[chosen]), int(choices.b[chosen])
            if place in block.below:
                fits &= int(choices.carry_in[chosen]) == carry
                carry = (a[place] + b[place] + carry) // 10
        if block.place > 0:
            fits &= int(cases.carry[leaf.case]) == carry
            a[block.place - 1], b[block.place - 1] = int(cases.a_before[leaf.case]), int(cases.b_before[leaf.case])
        if block.place < block.digits:
            a[block.place], b[block.place] = int(cases.a[leaf.case]), int(cases.b[leaf.case])
        if not fits:
            continue
        x, y = (sum(digit * 10**place for place, digit in digits.items()) for digits in (a, b))
        answer = [int(digit) for digit in reversed(f"{x + y:0{block.digits + 1}d}")]
        prompt = f"{x:0{block.digits}d}+{y:0{block.digits}d}="
        tokens = ["0123456789+=".index(symbol) for symbol in prompt] + answer[: block.place]
        assert tokens[-1] == block.token
        assert answer[block.place] == cases.right[leaf.case]
        found.append(Question(index, tokens, answer[block.place]))
        if len(found) == count:
            break
    return found


@dataclass(frozen=True)
class Trial:
    """A model, a block in some basis, leaves, and problems of them."""

    exact: Exact
    block: Block
    basis_rD: np.ndarray
    orders: dict[int, np.ndarray]
    leaves: list[Leaf]
    questions: list[Question]

    def margins(self, arithmetic):
        model = Enclosure(self.exact.spec, self.exact.weights, self.block.digits, arithmetic)
        return model.block(self.block, self.basis_rD, self.orders).margins(self.leaves)

    @cached_property
    def leads(self) -> list[list[arb]]:
        """Of every question, the right token's lead over each other one."""
        answers = [(q.right, self.exact.logits(q.tokens)) for q in self.questions]
        return [[found[right] - v for t, v in enumerate(found) if t != right] for right, found in answers]

    @cached_property
    def float32_leads(self) -> list[list[arb]]:
        """The same as float32 computes it here; differences are exact."""
        tokens_RTB = torch.tensor([q.tokens for q in self.questions]).T[None]
        weights = {name: tensor[None] for name, tensor in self.exact.weights.items()}
        found_VB = logits(self.exact.spec, weights, tokens_RTB, tokens_RTB.shape[1] - 1)[0, :, 0].double().tolist()
        columns = [[arb(row[i]) for row in found_VB] for i in range(len(self.questions))]
        return [
            [column[q.right] - v for t, v in enumerate(column) if t != q.right]
            for q, column in zip(self.questions, columns, strict=True)
        ]


def trial(name: str, seed: int, digits: int, longest: int = 200, *, leaves: int = 8, each: int = 4) -> Trial:
    random = np.random.default_rng((seed, digits, longest))
    spec = SPECS[name]
    block = list(blocks(digits))[int(random.integers(10 * digits + 1))]
    basis_rD = np.linalg.qr(random.normal(size=(spec.d_model, spec.d_model)))[0]
    if seed % 3 == 1:
        basis_rD = basis_rD[: spec.d_model - 1]  # not everything can be said in it
    if seed % 3 == 2:
        basis_rD = basis_rD + 0.1 * random.normal(size=basis_rD.shape)  # nor is it orthonormal
    orders = {place: random.permutation(len(block.choices(place))) for place in block.far}
    drawn = [random_leaf(block, orders, random, longest) for _ in range(leaves)]
    asked = [
        q for i, leaf in enumerate(drawn) for q in questions(block, orders, leaf, index=i, random=random, count=each)
    ]
    return Trial(Exact(spec, random_weights(spec, seed)), block, basis_rD, orders, drawn, asked)


def violations(tried: Trial, leads: list[list[arb]], arithmetic) -> int:
    """Leads surely below the lowest of their leaf, and problems surely better than its best."""
    bounds, count = tried.margins(arithmetic), 0
    for question, over in zip(tried.questions, leads, strict=True):
        lowest, beaten = float(bounds.lowest_L[question.leaf]), float(bounds.beaten_L[question.leaf])
        count += sum(bool(lead < lowest) for lead in over) if np.isfinite(lowest) else lowest == np.inf
        count += all(bool(lead > beaten) for lead in over) if np.isfinite(beaten) else beaten == -np.inf
    return count


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("digits", [1, 2, 4])
def test_the_exact_margins_of_random_models_lie_within_their_bounds(name, digits):
    asked = 0
    for seed in range(3, 6):
        for longest in (2, 200):
            tried = trial(name, seed, digits, longest)
            asked += len(tried.questions)
            assert violations(tried, tried.leads, REAL) == 0, (seed, longest)
            assert violations(tried, tried.leads, FLOAT32) == 0, (seed, longest)
            if tried.questions:
                assert violations(tried, tried.float32_leads, FLOAT32) == 0, (seed, longest)
    assert asked > 50


def test_bounds_of_a_known_problem_are_its_margins():
    """Of one digit nothing is far, so a case is one problem: the bounds may differ by rounding alone."""
    for name in SPECS:
        for seed in (0, 3, 6):  # bases in which everything can be said
            tried = trial(name, seed, 1)
            real, single = tried.margins(REAL), tried.margins(FLOAT32)
            for question, over in zip(tried.questions, tried.leads, strict=True):
                least = min(float(lead.mid()) for lead in over)
                for bounds, room in ((real, 1e-6), (single, 0.1)):
                    found = bounds.lowest_L[question.leaf], bounds.beaten_L[question.leaf]
                    np.testing.assert_allclose(found, least, rtol=0, atol=room)


# Guards, each broken once.


def _small_boxes(monkeypatch):
    of = AttentionBox.of

    def smaller(self, leaves):
        box = of(self, leaves)
        middle, half = (box.high_Lr + box.low_Lr) / 2, (box.high_Lr - box.low_Lr) / 2
        return replace(box, low_Lr=middle - 0.4 * half, high_Lr=middle + 0.4 * half)

    monkeypatch.setattr(AttentionBox, "of", smaller)


def _straight_lines(monkeypatch):
    margins = enclosure.margins
    monkeypatch.setattr(
        enclosure, "margins", lambda y, *arguments: margins(replace(y, radius_LF=0 * y.radius_LF), *arguments)
    )


def _forgotten_rest(monkeypatch):
    attention = enclosure.BlockEnclosure._attention

    def without(self, orders):
        box = attention(self, orders)
        self.output_error_D = 0 * self.output_error_D
        return box

    monkeypatch.setattr(enclosure.BlockEnclosure, "_attention", without)


def _another_epsilon(monkeypatch):
    norm = enclosure.norm
    monkeypatch.setattr(enclosure, "norm", lambda *arguments: replace(norm(*arguments), epsilon=2e-5))


@pytest.mark.parametrize(
    ("broken", "seeds", "digits", "longest"),
    [
        (_small_boxes, (3, 6, 9, 12), 2, 2),
        (_straight_lines, (3, 6, 9, 12), 2, 2),
        (_forgotten_rest, (1, 4, 7), 1, 2),
        (_another_epsilon, (3, 6), 1, 2),
    ],
)
def test_an_unsound_enclosure_is_caught(monkeypatch, broken, seeds, digits, longest):
    tried = [trial(name, seed, digits, longest) for name in SPECS for seed in seeds]
    assert sum(violations(each, each.leads, REAL) for each in tried) == 0
    broken(monkeypatch)
    caught = sum(violations(each, each.leads, REAL) for each in tried)
    assert caught > 0
