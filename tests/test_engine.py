"""The engine: replicas do not see each other, a resumed run is the run, and no refactor moves a bit."""

import hashlib
import json
import platform
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_decoder import P456
from torch.nn import functional as F

from reprogrok.data.holdout import hold_out
from reprogrok.data.sampling import Batches
from reprogrok.formats.checkpoints import load_state, state_bytes
from reprogrok.model.decoder import logits, one_hot
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec import CurriculumStage, read_params
from reprogrok.train import engine as engine_module
from reprogrok.train.engine import DEFINITIONS, Engine, Layout

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
PARAMS = read_params(ROOT / "params.yaml")
GOLDEN = Path(__file__).parent / "golden" / "engine.json"
CPU = torch.device("cpu")
SMOKE = PARAMS.experiments["smoke"]
# Sixty steps of the tied, low-rank RMSNorm model through two stages of a curriculum.
SMALL = replace(
    PARAMS.experiments["e1"],
    batch=96,
    steps=60,
    evaluate_every=20,
    schedule=replace(SMOKE.schedule, warmup=10),
    curriculum=(CurriculumStage(0, (1, 3)), CurriculumStage(25, (1, 10))),
)


def finished(engine, state=None, stop_at=None):
    """Train to the end, or until the state has reached step `stop_at`; returns the state and the evaluations."""
    state = state or engine.fresh()
    evaluations = list(engine.train(state, lambda: stop_at is not None and state.step >= stop_at))
    return state, evaluations


def tensors(state):
    return {"weights": state.weights_RP, "mean": state.optimiser.mean_RP} | {
        "square": state.optimiser.square_RP,
        "best": state.best_RP,
    }


@pytest.mark.parametrize("experiment", [replace(SMOKE, steps=60, evaluate_every=20), SMALL], ids=["smoke", "456p"])
def test_a_replica_alone_is_the_replica_in_any_slot(experiment):
    seeds = (44, 7, 43, 999)
    together, shown = finished(Engine(experiment, seeds, CPU))
    for slot, seed in enumerate(seeds):
        alone, shown_alone = finished(Engine(experiment, (seed,), CPU))
        for name, tensor in tensors(alone).items():
            assert torch.equal(tensor[0], tensors(together)[name][slot]), (seed, name)
        for one, many in zip(shown_alone, shown, strict=True):
            assert one.step == many.step
            assert {name: column[0] for name, column in one.metrics.items()} == {
                name: column[slot] for name, column in many.metrics.items()
            }


@pytest.mark.parametrize("stop_at", [1, 25, 41])
def test_stopped_and_resumed_is_never_having_stopped(tmp_path, stop_at):
    undisturbed, expected = finished(Engine(SMALL, (43, 44), CPU))
    stopped, before = finished(Engine(SMALL, (43, 44), CPU), stop_at=stop_at)
    assert stopped.step == stop_at
    path = tmp_path / "state.pt"
    path.write_bytes(state_bytes(stopped.as_dict()))
    engine = Engine(SMALL, (43, 44), CPU)
    resumed, after = finished(engine, engine.restore(load_state(path)))
    assert [*before, *after] == expected
    assert (resumed.step, resumed.best_step, resumed.best_score) == (60, undisturbed.best_step, undisturbed.best_score)
    for name, tensor in tensors(resumed).items():
        assert torch.equal(tensor, tensors(undisturbed)[name]), name


def test_metrics_are_taken_after_the_updates_that_the_spec_names():
    experiment = replace(SMOKE, steps=50, evaluate_every=20)
    _, evaluations = finished(Engine(experiment, (0, 1), CPU))
    assert [evaluation.step for evaluation in evaluations] == [0, 20, 40, 49]
    assert list(experiment.evaluation_steps()) == [0, 20, 40, 49]
    for evaluation in evaluations:
        assert set(evaluation.metrics) == set(DEFINITIONS)
        assert all(len(column) == 2 for column in evaluation.metrics.values())


def test_best_is_the_first_to_reach_the_highest(monkeypatch):
    script = {0: [0.1, 0.0], 10: [0.5, 0.0], 20: [0.5, 0.7], 30: [0.4, 0.7], 40: [0.5, 0.2], 49: [0.3, 0.8]}
    engine = Engine(replace(SMOKE, steps=50, evaluate_every=10), (0, 1), CPU)
    weights = {}

    def scripted(state):
        step = state.step - 1
        weights[step] = state.weights_RP.clone()
        return {"test_exact_match": torch.tensor(script[step], dtype=torch.float64)}

    monkeypatch.setattr(engine, "_validate", scripted)
    state, _ = finished(engine)
    assert (state.best_step, state.best_score) == ([10, 49], [0.5, 0.8])
    assert torch.equal(state.best_RP[0], weights[10][0])
    assert torch.equal(state.best_RP[1], weights[49][1])


def test_loss_and_scores_are_those_of_a_plain_double_precision_computation():
    engine = Engine(replace(SMALL, batch=40), (43,), CPU)
    rows_BT = next(engine._training_rows(0))[0]
    weights = {name: tensor.double() for name, tensor in initial_weights(P456, 43).items()}
    every_VBT = logits(P456, {k: v.unsqueeze(0) for k, v in weights.items()}, doubled(rows_BT), 0)[0]
    targets = rows_BT[:, 1:].clone()
    targets[:, :21] = -100
    expected = F.cross_entropy(every_VBT.transpose(0, 1), targets, ignore_index=-100)
    state = engine.fresh()
    loss_R, logits_RVBQ = engine._loss(engine.layout.views(state.weights_RP), rows_BT.unsqueeze(0))
    assert loss_R.item() == pytest.approx(expected.item(), rel=1e-6)
    digits = every_VBT[:, :, 21:32].argmax(0)
    assert torch.equal(engine._right(logits_RVBQ, rows_BT.unsqueeze(0))[0], digits == rows_BT[:, 22:33])


def doubled(rows_BT):
    return one_hot(rows_BT[None, :, :-1], 14, torch.float64)


def test_validation_counts_its_own_pairs_exactly():
    engine = Engine(SMALL, (43, 44), CPU)
    state = engine.fresh()
    found = engine._validate(state)
    for slot, seed in enumerate(engine.seeds):
        rows_BT = engine._validation_RBT[slot]
        weights = {name: tensor.unsqueeze(0).double() for name, tensor in initial_weights(P456, seed).items()}
        answers_VBQ = logits(P456, weights, doubled(rows_BT), 21)[0]
        right = answers_VBQ[:, :, :11].argmax(0) == rows_BT[:, 22:33]
        assert rows_BT.shape == (5_000, 34)
        # An untrained model has near ties, which single precision may decide the other way.
        assert found["test_exact_match"][slot].item() == pytest.approx(right.all(1).double().mean().item(), abs=3e-4)
        assert found["test_token_accuracy"][slot].item() == pytest.approx(right.double().mean().item(), abs=1e-4)
        loss = F.cross_entropy(answers_VBQ.transpose(0, 1), rows_BT[:, 22:])
        assert found["test_loss"][slot].item() == pytest.approx(loss.item(), rel=1e-6)


def test_the_flat_row_holds_every_tensor_and_padding_stays_zero():
    layout = Layout(P456)
    weights = initial_weights(P456, 3)
    flat = layout.flatten(weights)
    assert flat.shape == (464,)
    assert flat[456:].eq(0).all()
    views = layout.views(flat.unsqueeze(0))
    assert list(views) == list(parameter_shapes(P456))
    assert all(torch.equal(views[name][0], weights[name]) for name in weights)
    engine = Engine(replace(SMALL, steps=11), (43,), CPU)
    assert engine.layout.views(finished(engine)[0].weights_RP).keys() == weights.keys()
    assert finished(engine)[0].weights_RP[:, 456:].eq(0).all()


def test_training_learns():
    _, evaluations = finished(Engine(SMALL, (43,), CPU))
    losses = [evaluation.metrics["test_loss"][0] for evaluation in evaluations]
    assert losses[-1] < losses[0] - 0.05


def test_batches_of_a_run_are_those_of_its_seed():
    engine = Engine(SMALL, (43, 44), CPU)
    stages = (CurriculumStage(0, (1, 3)), CurriculumStage(25, (1, 10)))
    plain = [Batches(seed, SMALL.batch, stages, hold_out(seed)).pairs(24, 27) for seed in engine.seeds]
    rows = engine._training_rows(24)
    for step in range(3):
        found = next(rows)
        for slot, pairs in enumerate(plain):
            assert torch.equal(found[slot], engine.task.encode(pairs.a[step], pairs.b[step]))


# --- Golden traces ------------------------------------------------------------------------------------------------


def machine_class():
    """What the bits depend on: libraries, and a processor's make, since it decides which routines they choose."""
    found = {"torch": str(torch.__version__), "threads": 1, "instructions": torch.backends.cpu.get_cpu_capability()}
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        facts = re.findall(r"^(vendor_id|cpu family|model)\s*: (.+)$", info.read_text("utf-8"), re.MULTILINE)
        processor += "".join(f" {value}" for _, value in facts[:3])
    return found | {"processor": processor, "system": platform.system()}


def trace(name):
    """Loss and gradient norm of the first 20 steps of an experiment as hex floats, and a hash of where they led."""
    # Every step is an evaluation, of a few rows: the length of the schedule stays the published one.
    engine = Engine(replace(PARAMS.experiments[name], evaluate_every=1), (43,), CPU)
    engine._validation_RBT = engine._validation_RBT[:, :8]
    state, evaluations = finished(engine, stop_at=20)
    return {
        "train_loss": [evaluation.metrics["train_loss"][0].hex() for evaluation in evaluations],
        "grad_norm": [evaluation.metrics["grad_norm"][0].hex() for evaluation in evaluations],
        "weights": hashlib.sha256(state.weights_RP.numpy().tobytes()).hexdigest(),
    }


def test_a_refactor_moves_no_bit(tmp_path_factory):
    found = {name: trace(name) for name in ("e1", "e5", "e15")}
    here = {"machine": machine_class(), "engine_version": PARAMS.engine_version}
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else []
    for entry in golden:
        if {key: entry[key] for key in here} == here:
            assert found == entry["traces"], "the engine computes other bits: if it is meant, move engine_version"
            return
    candidate = tmp_path_factory.mktemp("golden") / "candidate.json"
    candidate.write_text(json.dumps([*golden, here | {"traces": found}], indent=1) + "\n", "utf-8")
    pytest.skip(f"no golden trace for {here}; this machine's is in {candidate}, to be added to {GOLDEN.name}")


def test_the_trace_sees_the_last_bits(monkeypatch):
    before = trace("e15")
    rate = engine_module.learning_rate
    monkeypatch.setattr(engine_module, "learning_rate", lambda *args: rate(*args) * (1 + 1e-6))
    assert trace("e15") != before


def test_golden_traces_of_all_machines_tell_the_same_story():
    golden = json.loads(GOLDEN.read_text("utf-8"))
    for entry in golden:
        for name, first in golden[0]["traces"].items():
            for column in ("train_loss", "grad_norm"):
                numbers, others = ([float.fromhex(x) for x in t[column]] for t in (first, entry["traces"][name]))
                assert numbers == pytest.approx(others, rel=1e-3)
