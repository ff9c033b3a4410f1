"""The engine: replicas do not see each other, a resumed run is the run, and no refactor moves a bit."""

import hashlib
import json
import platform
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_runs import finished, needs, tensors
from test_decoder import P456
from torch.nn import functional as F

from reprogrok.formats.checkpoints import load_state, state_bytes
from reprogrok.metrics.logged import definitions_of
from reprogrok.model.compiler import compiler
from reprogrok.model.decoder import logits
from reprogrok.model.device import subnormals_as_zero
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import parameter_shapes
from reprogrok.params import read_params
from reprogrok.spec.task import CurriculumStage
from reprogrok.tasks.holdout import hold_out
from reprogrok.train import engine as engine_module
from reprogrok.train.engine import Engine, EngineState
from reprogrok.train.optimiser import learning_rate, step_numbers
from reprogrok.train.sampling import Batches
from reprogrok.train.update import Layout, loss_and_logits

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
    task=replace(PARAMS.experiments["e1"].task, curriculum=(CurriculumStage(0, (1, 3)), CurriculumStage(25, (1, 10)))),
)


@pytest.fixture(autouse=True)
def as_in_a_run():
    with subnormals_as_zero():
        yield


def eager(experiment, seeds):
    return Engine(experiment, seeds, CPU, "eager")


LONG = pytest.mark.long(quick="test_engine_modular.py::test_a_compiled_step_is_the_eager_one_rounded_otherwise")
EIGHT = (44, 7, 43, 999, 0, 2**40, 1, 46)


@pytest.mark.parametrize(
    ("experiment", "backend", "seeds"),
    [
        pytest.param(
            replace(SMOKE, steps=60, evaluate_every=20), "eager", EIGHT, id="smoke-eager", marks=pytest.mark.long
        ),
        pytest.param(SMALL, "eager", EIGHT, id="456p-eager"),
        pytest.param(SMALL, "compiled", EIGHT[:2], id="456p-compiled", marks=LONG),  # the campaign compiles eight
    ],
)
def test_a_replica_alone_is_the_replica_in_any_slot(experiment, backend, seeds):
    needs(backend)
    together, shown = finished(Engine(experiment, seeds, CPU, backend))
    for slot, seed in enumerate(seeds):
        alone, shown_alone = finished(Engine(experiment, (seed,), CPU, backend))
        for name, tensor in tensors(alone).items():
            assert torch.equal(tensor[0], tensors(together)[name][slot]), (seed, name)
        for one, many in zip(shown_alone, shown, strict=True):
            assert one.step == many.step
            assert {name: column[0] for name, column in one.metrics.items()} == {
                name: column[slot] for name, column in many.metrics.items()
            }


@pytest.mark.parametrize("stop_at", [1, 25, 41])
def test_stopped_and_resumed_is_never_having_stopped(tmp_path, stop_at):
    undisturbed, expected = finished(eager(SMALL, (43, 44)))
    stopped, before = finished(eager(SMALL, (43, 44)), stop_at=stop_at)
    assert stopped.step == stop_at
    path = tmp_path / "state.pt"
    path.write_bytes(state_bytes(stopped.content()))
    engine = eager(SMALL, (43, 44))
    resumed, after = finished(engine, EngineState.restore(load_state(path), CPU))
    assert [*before, *after] == expected
    assert (resumed.step, resumed.best_step, resumed.best_score) == (60, undisturbed.best_step, undisturbed.best_score)
    for name, tensor in tensors(resumed).items():
        assert torch.equal(tensor, tensors(undisturbed)[name]), name


def test_metrics_are_taken_after_the_updates_that_the_spec_names():
    experiment = replace(SMOKE, steps=50, evaluate_every=20)
    _, evaluations = finished(eager(experiment, (0, 1)))
    assert [evaluation.step for evaluation in evaluations] == [0, 20, 40, 49]
    assert list(experiment.evaluation_steps()) == [0, 20, 40, 49]
    for evaluation in evaluations:
        assert set(evaluation.metrics) == set(definitions_of(experiment))
        assert all(len(column) == 2 for column in evaluation.metrics.values())


def test_best_is_the_first_to_reach_the_highest(monkeypatch):
    script = {0: [0.1, 0.0], 10: [0.5, 0.0], 20: [0.5, 0.7], 30: [0.4, 0.7], 40: [0.5, 0.2], 49: [0.3, 0.8]}
    engine = eager(replace(SMOKE, steps=50, evaluate_every=10), (0, 1))
    weights = {}

    def scripted(state, *, analyse):  # noqa: ARG001 - as the engine calls it
        step = state.step - 1
        weights[step] = state.weights_RP.clone()
        return {"test_exact_match": torch.tensor(script[step], dtype=torch.float64)}

    monkeypatch.setattr(engine, "_measured", scripted)
    state, _ = finished(engine)
    assert (state.best_step, state.best_score) == ([10, 49], [0.5, 0.8])
    assert torch.equal(state.best_RP[0], weights[10][0])
    assert torch.equal(state.best_RP[1], weights[49][1])


def test_loss_and_scores_are_those_of_a_plain_double_precision_computation():
    engine = eager(replace(SMALL, batch=40), (43,))
    tokens_TB = next(engine._training_batches(0))[0][0]
    task = engine.training_task
    weights = {name: tensor.double() for name, tensor in initial_weights(P456, 43).items()}
    every_VTB = logits(P456, {k: v.unsqueeze(0) for k, v in weights.items()}, tokens_TB[None, :-1], 0)[0]
    targets = tokens_TB[1:].clone()
    targets[:21] = -100
    expected = F.cross_entropy(every_VTB.unsqueeze(0), targets.unsqueeze(0), ignore_index=-100)
    state = engine.fresh()
    loss_R, logits_RVQB = loss_and_logits(P456, engine.layout.views(state.weights_RP), tokens_TB.unsqueeze(0), 21)
    assert loss_R.item() == pytest.approx(expected.item(), rel=1e-6)
    digits = every_VTB[:, 21:32].argmax(0)
    assert torch.equal(task._right(logits_RVQB, tokens_TB.unsqueeze(0))[0], digits == tokens_TB[22:33])
    answered = task.evaluate_batch(engine.layout.views(state.weights_RP), tokens_TB.unsqueeze(0))["train_exact_match"]
    assert answered.item() == (digits == tokens_TB[22:33]).all(0).double().mean()


def test_validation_counts_its_own_pairs_exactly():
    engine = eager(SMALL, (43, 44))
    state = engine.fresh()
    found = engine._measured(state, analyse=False)
    for slot, seed in enumerate(engine.seeds):
        tokens_TB = engine.training_task._validation_RTB[slot]
        weights = {name: tensor.unsqueeze(0).double() for name, tensor in initial_weights(P456, seed).items()}
        answers_VQB = logits(P456, weights, tokens_TB[None, :-1], 21)[0]
        right = answers_VQB[:, :11].argmax(0) == tokens_TB[22:33]
        assert tokens_TB.shape == (34, 5_000)
        # An untrained model has near ties, which single precision may decide the other way.
        assert found["test_exact_match"][slot].item() == pytest.approx(right.all(0).double().mean().item(), abs=3e-4)
        assert found["test_token_accuracy"][slot].item() == pytest.approx(right.double().mean().item(), abs=1e-4)
        loss = F.cross_entropy(answers_VQB.unsqueeze(0), tokens_TB[None, 22:])
        assert found["test_loss"][slot].item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("backend", ["eager", pytest.param("compiled", marks=LONG)])
def test_a_replica_that_diverges_stops_and_the_others_do_not_notice(backend):
    needs(backend)
    experiment = replace(SMALL, steps=50, evaluate_every=7)  # one compilation serves it and the test above

    def poisoned(seeds, slot):
        engine = Engine(experiment, seeds, CPU, backend)
        state, before = finished(engine, stop_at=10)
        state.weights_RP[slot] *= 1e25  # products of these overflow: the loss of step 10 is not finite
        kept = state.weights_RP[slot].clone()
        _, after = finished(engine, state)
        return state, [*before, *after], kept

    state, evaluations, kept = poisoned((43, 44), 0)
    assert state.diverged_R.tolist() == [10, -1]
    assert torch.equal(state.weights_RP[0], kept)
    assert [evaluation.step for evaluation in evaluations] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert [evaluation.diverged for evaluation in evaluations] == [[False, False]] * 2 + [[True, False]] * 6
    assert state.best_step[0] <= 7
    undisturbed, expected = finished(Engine(experiment, (43, 44), CPU, backend))
    assert torch.equal(state.weights_RP[1], undisturbed.weights_RP[1])
    for found, wanted in zip(evaluations, expected, strict=True):
        assert {k: v[1] for k, v in found.metrics.items()} == {k: v[1] for k, v in wanted.metrics.items()}

    # Alone it stops at the same step with the same weights; then the steps pass without it.
    alone, evaluations, _ = poisoned((43,), 0)
    assert (alone.diverged_R.tolist(), alone.step) == ([10], 50)
    assert torch.equal(alone.weights_RP[0], kept)
    assert [(evaluation.step, evaluation.diverged) for evaluation in evaluations] == [
        (step, [step >= 10]) for step in (0, 7, 14, 21, 28, 35, 42, 49)
    ]


@LONG
def test_compiled_and_eager_are_the_same_computation():
    needs("compiled")
    experiment = replace(SMALL, steps=8)
    one, other = (finished(Engine(experiment, (43,), CPU, backend))[0] for backend in ("eager", "compiled"))
    torch.testing.assert_close(one.weights_RP, other.weights_RP, rtol=1e-3, atol=1e-5)
    assert not torch.equal(one.weights_RP, other.weights_RP)


def test_the_flat_row_holds_every_tensor_and_padding_stays_zero():
    layout = Layout(P456)
    weights = initial_weights(P456, 3)
    flat = layout.flatten(weights)
    assert flat.shape == (464,)
    assert flat[456:].eq(0).all()
    views = layout.views(flat.unsqueeze(0))
    assert list(views) == list(parameter_shapes(P456))
    assert all(torch.equal(views[name][0], weights[name]) for name in weights)
    engine = eager(replace(SMALL, steps=11), (43,))
    assert engine.layout.views(finished(engine)[0].weights_RP).keys() == weights.keys()
    assert finished(engine)[0].weights_RP[:, 456:].eq(0).all()


def test_training_learns():
    _, evaluations = finished(eager(SMALL, (43,)))
    losses = [evaluation.metrics["test_loss"][0] for evaluation in evaluations]
    assert losses[-1] < losses[0] - 0.05


def test_batches_of_a_run_are_those_of_its_seed():
    engine = eager(SMALL, (43, 44))
    stages = (CurriculumStage(0, (1, 3)), CurriculumStage(25, (1, 10)))
    plain = [Batches([seed], SMALL.batch, stages, [hold_out(seed).pairs()], CPU).pairs(24, 27) for seed in engine.seeds]
    batches = engine._training_batches(24)
    for step in range(3):
        tokens_RTB, numbers_3, number = next(batches)
        assert number.item() == 24 + step
        rate = learning_rate(SMALL.schedule, SMALL.optimiser.lr, 24 + step, SMALL.steps)
        assert torch.equal(numbers_3, step_numbers(SMALL.optimiser, [rate], 24 + step)[0].float())
        for slot, pairs in enumerate(plain):
            assert torch.equal(tokens_RTB[slot], engine.training_task.task.encode(pairs.a[step, 0], pairs.b[step, 0]).T)


# --- Golden traces ------------------------------------------------------------------------------------------------

STEPS = 100
TRACED = ("e1", "e2", "e15")  # one experiment per family: tied RMSNorm, low-rank LayerNorm, full rank


def machine_class(backend):
    """What the bits depend on: libraries, and a processor's make, since it decides which routines they choose."""
    found = {"torch": str(torch.__version__), "threads": 1, "instructions": torch.backends.cpu.get_cpu_capability()}
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        facts = re.findall(r"^(vendor_id|cpu family|model)\s*: (.+)$", info.read_text("utf-8"), re.MULTILINE)
        processor += "".join(f" {value}" for _, value in facts[:3])
    found |= {"processor": processor, "system": platform.system(), "path": backend}
    return found | ({"compiler": compiler()} if backend == "compiled" else {})


def trace(name, backend):
    """Loss and gradient norm of the first steps of an experiment as hex floats, and a hash of where they led."""
    # Every step is an evaluation, of a few rows: the length of the schedule stays the published one.
    engine = Engine(replace(PARAMS.experiments[name], evaluate_every=1), (43,), CPU, backend)
    engine.training_task._validation_RTB = engine.training_task._validation_RTB[:, :, :8]
    state, evaluations = finished(engine, stop_at=STEPS)
    return {
        "train_loss": [evaluation.metrics["train_loss"][0].hex() for evaluation in evaluations],
        "grad_norm": [evaluation.metrics["grad_norm"][0].hex() for evaluation in evaluations],
        "weights": hashlib.sha256(state.weights_RP.numpy().tobytes()).hexdigest(),
    }


@pytest.mark.parametrize("backend", ["eager", pytest.param("compiled", marks=LONG)])
def test_a_refactor_moves_no_bit(tmp_path_factory, backend):
    needs(backend)
    found = {name: trace(name, backend) for name in TRACED}
    here = {"machine": machine_class(backend), "engine_version": PARAMS.engine_version}
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.exists() else []
    for entry in golden:
        if {key: entry[key] for key in here} == here:
            assert found == entry["traces"], "the engine computes other bits: if it is meant, move engine_version"
            return
    candidate = tmp_path_factory.mktemp("golden") / "candidate.json"
    candidate.write_text(json.dumps(here | {"traces": found}, indent=1) + "\n", "utf-8")
    pytest.skip(f"no golden trace for {here}; this machine's is in {candidate}, to be added to {GOLDEN.name}")


def test_the_trace_sees_the_last_bits(monkeypatch):
    before = trace("e15", "eager")
    rate = engine_module.learning_rate
    monkeypatch.setattr(engine_module, "learning_rate", lambda *args: rate(*args) * (1 + 1e-6))
    assert trace("e15", "eager") != before


def test_golden_traces_of_all_machines_and_backends_tell_the_same_story():
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert {entry["machine"]["path"] for entry in golden} == {"eager", "compiled"}
    for entry in golden:
        for name, first in golden[0]["traces"].items():
            for column in ("train_loss", "grad_norm"):
                numbers, others = ([float.fromhex(x) for x in t[column]] for t in (first, entry["traces"][name]))
                # Rounding grows along the trace; its first steps are the same computation.
                assert numbers[:10] == pytest.approx(others[:10], rel=1e-3)
                assert numbers == pytest.approx(others, rel=0.2)
