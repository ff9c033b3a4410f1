"""The other side of the benchmark is what it says it is: the published recipes, plainly, and they learn."""

import itertools
import math
from dataclasses import asdict, replace

import bench_training
import ours
import pytest
import roofline
import timing
import torch
from cores import EveryCore
from reference import Decoder, hold_out
from reference_loop import FAMILIES, Loop, initialise, pair_keys, training_pairs
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from reprogrok.params import read_params
from reprogrok.train.optimiser import learning_rate

SMALLER = {"d_model": 16, "d_ff": 32}


def smaller(name, batch):
    """A modular family that trains in a blink."""
    family = FAMILIES[name]
    return replace(family, config={**family.config, **SMALLER}, batch=batch, lr=0.01)


# --- The module -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("addition-456", 456),
        ("addition-1128", 1_128),
        ("llmc8-1", 212_480),
        ("llmc8-2", 410_752),
        ("text9-v1", 3_190_272),
    ],
)
def test_parameters_are_those_of_the_published_models(name, parameters):
    family = FAMILIES[name]
    padding = (family.config["vocab_size"] - family.tokens) * family.config["d_model"]
    assert sum(tensor.numel() for tensor in Decoder(family.config).parameters()) - padding == parameters


def plain_forward(model, config, tokens_BT):
    """Head by head and query by query, from the definitions."""
    w = model.state_dict()
    T, heads = tokens_BT.shape[1], config["n_head"]
    E = config["d_model"] // heads

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return torch.einsum("...i,oi->...o", x, w[f"{name}.weight"]) + w[f"{name}.bias"]

    def gelu(x):
        if config.get("gelu") == "tanh":
            return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return x / 2 * (1 + torch.erf(x / math.sqrt(2)))

    x = w["token_emb.weight"][tokens_BT] + w["pos_emb.weight"][:T]
    for layer in range(config["n_layer"]):
        at = f"blocks.{layer}"
        qkv = linear(norm(x, f"{at}.ln1"), f"{at}.attn.qkv")
        mixed = torch.zeros_like(x)
        for head, t in itertools.product(range(heads), range(T)):
            q, k, v = (qkv[:, : t + 1, n * heads * E + head * E :][..., :E] for n in range(3))
            shares = (torch.einsum("be,bse->bs", q[:, t], k) / math.sqrt(E)).softmax(-1)
            mixed[:, t, head * E : (head + 1) * E] = torch.einsum("bs,bse->be", shares, v)
        x = x + linear(mixed, f"{at}.attn.proj")
        x = x + linear(gelu(linear(norm(x, f"{at}.ln2"), f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return norm(x, "ln_f") @ w["token_emb.weight"].T


@pytest.mark.parametrize("name", ["llmc8-2", "text9-v1"])
def test_the_module_agrees_with_a_plain_forward(name):
    family, generator = FAMILIES[name], torch.Generator().manual_seed(5)
    model = Decoder(family.config).double().eval()
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=0.2, generator=generator)  # larger than at birth, so that each part matters
    tokens_BT = torch.randint(0, family.tokens, (3, 8), generator=generator)
    torch.testing.assert_close(model(tokens_BT), plain_forward(model, family.config, tokens_BT), rtol=1e-9, atol=1e-9)


def test_dropout_is_where_the_definition_has_it(monkeypatch):
    shapes, drop = [], F.dropout

    def seen(x, p, training):
        shapes.append((tuple(x.shape), p, training))
        return drop(x, p, training)

    monkeypatch.setattr(F, "dropout", seen)
    loop = Loop(replace(FAMILIES["text9-v1"], batch=2))
    loop.loss(next(loop._rows))
    assert shapes == [
        ((2, 8, 256), 0.1, True),
        *[((2, 4, 8, 8), 0.1, True), ((2, 8, 1024), 0.1, True)] * 4,
    ]


def test_initial_weights_follow_the_published_rules():
    for name, uniform in [("llmc8-2", True), ("text9-v1", False)]:
        family = FAMILIES[name]
        model = Decoder(family.config)
        initialise(model, family, torch.Generator().manual_seed(0))
        fc2 = model.blocks[1].mlp.fc2
        assert fc2.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert fc2.bias.abs().max().item() == pytest.approx(fc2.in_features**-0.5 if uniform else 0, rel=0.05)
        assert model.token_emb.weight[family.tokens :].eq(0).all()


# --- Batches --------------------------------------------------------------------------------------------------------


def test_held_out_pairs_are_never_drawn():
    # One digit has 100 pairs; half of them are held out, so a sampler that forgot would draw them at once.
    a, b = torch.arange(100) // 10, torch.arange(100) % 10
    held = pair_keys(a[::2], b[::2]).sort().values
    nothing = torch.tensor([-1])
    for forbidden, expected in [(held, 50), (nothing, 100)]:
        drawn = pair_keys(*training_pairs(20_000, forbidden, torch.Generator().manual_seed(1), digits=1))
        counts = drawn.unique(return_counts=True)[1]
        assert len(counts) == expected
        assert not torch.isin(drawn, forbidden).any()
        assert counts.min() > 0.7 * 20_000 / expected


def test_the_loop_holds_back_the_pairs_of_its_own_seed(monkeypatch):
    seen = {}

    def spy(count, held, generator):
        seen["held"] = held
        return training_pairs(count, held, generator)

    monkeypatch.setattr("reference_loop.training_pairs", spy)
    next(Loop(FAMILIES["addition-456"], seed=43)._rows)
    assert seen["held"].equal(pair_keys(*torch.tensor(hold_out(43)).T).sort().values)


def test_digit_counts_are_uniform():
    n = 200_000
    a, b = training_pairs(n, torch.tensor([-1]), torch.Generator().manual_seed(2))
    larger = torch.maximum(a, b)
    for digits in range(1, 11):
        # Drawn with m digits, both operands are below 10^k with probability min(1, 10^(k - m))^2.
        below = sum(min(1.0, 10.0 ** (digits - drawn)) ** 2 for drawn in range(1, 11)) / 10
        found = (larger < 10**digits).double().mean().item()
        assert found == pytest.approx(below, abs=4 * math.sqrt(below * (1 - below) / n) + 1e-12)


def test_modular_rows_are_those_of_the_formats():
    rows = next(Loop(FAMILIES["llmc8-1"])._rows)
    a, b = rows[:, 1], rows[:, 3]
    constant = [99, 97, 98, 100, 100, 99]
    assert rows.shape == (4_703, 9)
    assert rows[:, [0, 2, 4, 6, 7, 8]].equal(torch.tensor(constant).expand(4_703, 6))
    assert rows[:, 5].equal((a + b) % 97)
    assert len((97 * a + b).unique()) == 4_703

    batches = Loop(FAMILIES["text9-v1"])._rows
    first, second = (list(itertools.islice(batches, 30)) for _ in range(2))
    assert [len(batch) for batch in first] == [256] * 29 + [103]
    rows = torch.cat(first)
    a, b = rows[:, 1], rows[:, 3]
    assert rows[:, [0, 2, 4, 5, 6, 8]].equal(torch.tensor([101, 98, 99, 97, 100, 102]).expand(7_527, 6))
    assert rows[:, 7].equal((a + b) % 97)
    assert len((97 * a + b).unique()) == 7_527
    assert not rows.equal(torch.cat(second))
    assert rows.unique(dim=0).equal(torch.cat(second).unique(dim=0))


# --- Training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "steps", "fall"),
    [
        (replace(FAMILIES["addition-456"], batch=128, warmup=30), 60, 0.5),
        (smaller("llmc8-2", 300), 40, 0.3),
        (smaller("text9-v1", 64), 40, 1.0),
    ],
    ids=["addition", "llmc8", "text9"],
)
def test_it_learns(family, steps, fall):
    loop = Loop(family)
    assert loop.train(1) - loop.train(steps) > fall
    assert loop.model.token_emb.weight[family.tokens :].eq(0).all()


def test_a_masked_loss_is_that_of_the_scored_positions():
    loop = Loop(FAMILIES["addition-456"])
    rows = next(loop._rows)
    masked = loop.loss(rows)
    loop.family = replace(loop.family, masked=False)
    assert masked.item() == pytest.approx(loop.loss(rows).item(), rel=1e-6)


@pytest.mark.parametrize(("name", "experiment"), ours.EXPERIMENTS.items())
def test_addition_families_are_the_experiments_that_we_train(name, experiment):
    family, recipe = FAMILIES[name], read_params(ours.PARAMS).experiments[experiment]
    ours_has = asdict(recipe.model)
    assert {field: ours_has[field] for field in family.config} == family.config
    assert all(ours_has[field] in (0, "none", "erf") for field in ours_has.keys() - family.config.keys())
    found = (family.batch, family.lr, family.betas, family.weight_decay, family.clip, family.warmup, family.steps)
    optimiser, schedule = recipe.optimiser, recipe.schedule
    assert optimiser.eps == 1e-8  # torch's default, which the loop takes
    assert found == (
        recipe.batch,
        optimiser.lr,
        optimiser.betas,
        optimiser.weight_decay,
        optimiser.clip,
        schedule.warmup,
        recipe.steps,
    )
    loop = Loop(family)
    for step in (0, 1_349, 1_350, 20_000, recipe.steps - 1):
        expected = learning_rate(schedule, optimiser.lr, step, recipe.steps)
        assert family.lr * loop._share(step) == pytest.approx(expected, rel=1e-12)


# --- The roofline ---------------------------------------------------------------------------------------------------


def test_the_worked_value_of_the_least_work():
    family = FAMILIES["addition-456"]
    per_scored = 27.5 * 7 * 2 + 28 + 126 + 98
    tables = 312 * 42 + 111 * 21 + 33 * 3 * 7
    assert roofline.multiply_adds(family) == 512 * 12 * per_scored + tables == 3_929_856
    step = roofline.least_step(family)
    assert step == roofline.Step(6 * 3_929_856, 24 * 456 + 16 * 512 * 34)
    assert roofline.Machine(155e9, 20e9).steps_per_second(step) == pytest.approx(6_574, abs=1)
    assert roofline.Machine(155e9, 1e9).steps_per_second(step) == pytest.approx(1e9 / step.bytes)


def test_where_nothing_is_shared_the_count_is_that_of_the_operations_run():
    # With dropout every row is computed; torch counts whole squares of attention where a causal model needs half.
    family = replace(FAMILIES["text9-v1"], batch=3)
    loop = Loop(family)
    with FlopCounterMode(display=False) as counter:
        loop.loss(next(loop._rows)).backward()
    unseen = 4 * 3 * (64 - 36) * 256 * 2
    assert counter.get_total_flops() == 6 * (roofline.multiply_adds(family) + unseen)


def test_shared_states_are_counted_once():
    rows = next(Loop(FAMILIES["llmc8-2"])._rows)
    states = roofline.distinct_states(FAMILIES["llmc8-2"])
    # Of 97 x 97 pairs half are drawn, and no operand is missing.
    assert states.tokens == tuple(len(rows[:, t].unique()) for t in range(5))
    assert states.prefixes == tuple(len(rows[:, : t + 1].unique(dim=0)) for t in range(5))


# --- Timing and our side --------------------------------------------------------------------------------------------


def test_contenders_take_turns_and_ratios_are_within_a_repetition():
    now, order = [0.0], []

    def takes(name, seconds):
        def act():
            order.append(name)
            now[0] += seconds[order.count(name) - 1]

        return timing.Contender(act, lambda: now[0])

    columns, _ = timing.turns({"slow": takes("slow", [4, 40, 6]), "fast": takes("fast", [2, 10, 3])}, 3)
    assert order == ["slow", "fast"] * 3
    assert columns == {"slow": [4, 40, 6], "fast": [2, 10, 3]}
    assert timing.ratio(columns, "slow", "fast") == 2
    assert [timing.met(found, 2) for found in (2.0, 1.99)] == ["bar 2: met", "bar 2: MISSED"]


def test_our_trainer_takes_the_steps_it_is_told(monkeypatch):
    states = []

    class Seen(ours.Engine):
        def fresh(self):
            states.append(super().fresh())
            return states[-1]

    monkeypatch.setattr(ours, "Engine", Seen)
    trainer = ours.OurTrainer("addition-456", 2, "eager")
    trainer.train(3)
    trainer.train(2)
    assert [(state.step, len(state.weights_RP)) for state in states] == [(5, 2)]


@pytest.mark.long(quick="test_contenders_take_turns_and_ratios_are_within_a_repetition")
def test_the_table_shows_what_was_measured_and_what_is_not_offered(capsys):
    cases = [("reference", None), ("eager", None), ("imagined", None), ("reference", 1), ("eager", 1), ("imagined", 1)]
    wanted = [bench_training.Row(backend, 1, cores) for backend, cores in cases]
    bench_training.bench_family("addition-456", wanted, 1, roofline.Machine(1e11, 1e10), quick=True)
    shown = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    measured = [line for line in shown if "[" in " ".join(line)]
    assert [line[:2] for line in measured] == [["reference", "1"], ["eager", "1"]] * 2
    assert [line[2:5] == ["x", "1", "cores"] for line in measured] == [False, False, True, True]
    assert [" ".join(line) for line in shown[len(measured) :]] == [
        "imagined 1, 1 x 1 cores: not offered: the engine has no imagined backend"
    ]


def test_bars_stand_where_they_were_set():
    rows = {
        row.label(): row.bar("addition-456") for row in bench_training.rows(2, (1, 8)) if row.backend != "reference"
    }
    assert rows == {
        "eager      1": 3.5,
        "eager      8": 1.0,
        "eager      1 x 2 cores": 3.5,
        "compiled   1": 8.0,
        "compiled   8": 1.0,
        "compiled   1 x 2 cores": 8.0,
    }
    assert bench_training.Row("compiled", 1).bar("llmc8-2") == 1.0


def dies():
    raise SystemExit(1)


def test_a_process_that_dies_is_noticed():
    with pytest.raises(EOFError):
        EveryCore(dies, 1)
