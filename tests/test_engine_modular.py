"""Modular runs: resumed is never having stopped, a replica knows no neighbours, and the last batch of an epoch counts.

The experiments are tiny, with dropout and reshuffled epochs, which is where a step depends on most.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from engine_runs import finished, needs, tensors
from test_training_tasks import experiment_of

from reprogrok.formats.checkpoints import load_state, state_bytes
from reprogrok.metrics.logged import definitions_of
from reprogrok.metrics.registry import ANALYSED
from reprogrok.model.device import subnormals_as_zero
from reprogrok.spec.experiment import EarlyGrid
from reprogrok.train.engine import Engine, EngineState

torch.set_num_threads(1)

CPU = torch.device("cpu")
SEEDS = (44, 2**40, 0, 7)
# 60 equations train: epochs of three batches, 25, 25 and 10.
TINY = replace(
    experiment_of(
        layout="llmc8", loss="answer", order="reshuffled", size=25, dropout=0.1, steps=20, layers=1, width=8
    ),
    evaluate_every=4,
    early=EarlyGrid(1, 2),
    analyse_every=8,
)  # fmt: skip
BLOCKS = replace(TINY, batches="blocks", batch=13)
# 64 equations train, 80 test, in batches of 48 and 16: every row of every replica starts at a vector's boundary.
ALIGNED = replace(
    experiment_of(
        layout="power5", loss="answer", order="reshuffled", size=48, dropout=0.1, steps=8, layers=1, width=16,
        p=12, fraction=0.4445, bias=False,
    ),
    analyse_every=8,
)  # fmt: skip

LONG = pytest.mark.long(quick="test_a_compiled_step_is_the_eager_one_rounded_otherwise")


@pytest.fixture(autouse=True)
def as_in_a_run():
    with subnormals_as_zero():
        yield


@pytest.mark.parametrize("experiment", [TINY, BLOCKS], ids=["reshuffled", "blocks"])
@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 11, 19])
def test_stopped_anywhere_in_an_epoch_and_resumed_is_never_having_stopped(tmp_path, experiment, stop_at):
    undisturbed, expected = finished(Engine(experiment, SEEDS[:2], CPU, "eager"))
    stopped, before = finished(Engine(experiment, SEEDS[:2], CPU, "eager"), stop_at=stop_at)
    assert stopped.step == stop_at
    path = tmp_path / "state.pt"
    path.write_bytes(state_bytes(stopped.content()))
    engine = Engine(experiment, SEEDS[:2], CPU, "eager")
    resumed, after = finished(engine, EngineState.restore(load_state(path), CPU))
    assert [*before, *after] == expected
    assert (resumed.best_step, resumed.best_score) == (undisturbed.best_step, undisturbed.best_score)
    for name, tensor in tensors(resumed).items():
        assert torch.equal(tensor, tensors(undisturbed)[name]), name


@pytest.mark.parametrize(
    ("experiment", "backend", "seeds"),
    [
        pytest.param(ALIGNED, "eager", SEEDS, id="eager"),
        pytest.param(replace(ALIGNED, batches="blocks", batch=32), "eager", SEEDS, id="blocks-eager"),
        pytest.param(replace(ALIGNED, steps=1), "compiled", SEEDS[:2], id="compiled", marks=LONG),
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
            for name, column in one.metrics.items():
                assert column[0] == many.metrics[name][slot], (one.step, name)


def test_a_batch_off_the_boundaries_of_vectors_is_the_same_computation_in_any_slot():
    # There a matrix library may add in another order for the second replica; on a CPU a run trains seeds one by one.
    together, _ = finished(Engine(TINY, SEEDS, CPU, "eager"), stop_at=6)
    for slot, seed in enumerate(SEEDS):
        alone, _ = finished(Engine(TINY, (seed,), CPU, "eager"), stop_at=6)
        torch.testing.assert_close(alone.weights_RP[0], together.weights_RP[slot], rtol=1e-3, atol=1e-5)


def test_a_compiled_step_is_the_eager_one_rounded_otherwise():
    needs("compiled")
    one_size = experiment_of(
        layout="power5", loss="answer", order="reshuffled", size=16, dropout=0.1, steps=2, layers=1, width=8,
        p=7, fraction=0.66, bias=False,
    )  # fmt: skip
    one, other = (finished(Engine(one_size, (44,), CPU, path))[0] for path in ("eager", "compiled"))
    torch.testing.assert_close(one.weights_RP, other.weights_RP, rtol=1e-3, atol=1e-5)
    assert not torch.equal(one.weights_RP, other.weights_RP)


@LONG
def test_compiled_and_eager_are_the_same_computation_through_a_smaller_last_batch():
    needs("compiled")
    experiment = replace(ALIGNED, steps=4)  # of 48, 16, 48 and 16
    one, other = (finished(Engine(experiment, (44,), CPU, backend))[0] for backend in ("eager", "compiled"))
    torch.testing.assert_close(one.weights_RP, other.weights_RP, rtol=1e-3, atol=1e-5)
    again, _ = finished(Engine(experiment, (44,), CPU, "compiled"), stop_at=1)
    resumed, _ = finished(Engine(experiment, (44,), CPU, "compiled"), again)
    assert torch.equal(resumed.weights_RP, other.weights_RP)


def test_the_last_batch_of_an_epoch_is_smaller_and_teaches():
    engine = Engine(TINY, SEEDS[:1], CPU, "eager")
    sizes = [batch[0].shape[2] for batch, _ in zip(engine._training_batches(0), range(7), strict=False)]
    assert sizes == [25, 25, 10, 25, 25, 10, 25]
    before, _ = finished(engine, stop_at=2)
    weights_RP = before.weights_RP.clone()
    after, _ = finished(engine, before, stop_at=3)
    assert not torch.equal(after.weights_RP, weights_RP)


def test_metrics_are_those_that_are_defined_and_analysis_comes_when_it_is_asked_for():
    _, evaluations = finished(Engine(TINY, SEEDS[:2], CPU, "eager"))
    assert [evaluation.step for evaluation in evaluations] == [0, 1, 2, 4, 8, 12, 16, 19]
    for evaluation in evaluations:
        expected = set(definitions_of(TINY))
        if evaluation.step not in {0, 8, 16, 19}:
            expected -= set(ANALYSED)
        assert set(evaluation.metrics) == expected, evaluation.step
        assert all(len(column) == 2 for column in evaluation.metrics.values())
    never = replace(TINY, analyse_every=None)
    assert set(definitions_of(TINY)) - set(definitions_of(never)) == set(ANALYSED)
    assert (
        finished(Engine(never, SEEDS[:1], CPU, "eager"), stop_at=5)[1][-1].metrics.keys()
        == definitions_of(never).keys()
    )


def test_best_is_the_first_to_reach_the_highest_test_accuracy(monkeypatch):
    script = {0: [0.1, 0.0], 1: [0.5, 0.0], 2: [0.5, 0.7], 4: [0.4, 0.7], 8: [0.5, 0.2], 12: [0.3, 0.8]}
    engine, weights = Engine(replace(TINY, steps=13), SEEDS[:2], CPU, "eager"), {}

    def scripted(state, *, analyse):  # noqa: ARG001 - as the engine calls it
        weights[state.step - 1] = state.weights_RP.clone()
        scores = torch.tensor(script[state.step - 1], dtype=torch.float64)
        return {"test_accuracy": scores, "train_accuracy": torch.ones(2), "test_twin_accuracy": torch.ones(2)}

    monkeypatch.setattr(engine, "_measured", scripted)
    state, _ = finished(engine)
    assert (state.best_step, state.best_score) == ([1, 12], [0.5, 0.8])
    assert torch.equal(state.best_RP[0], weights[1][0])
    assert torch.equal(state.best_RP[1], weights[12][1])


def test_evaluations_change_nothing_that_is_learned():
    often, rarely = (replace(TINY, evaluate_every=every, early=None, analyse_every=None) for every in (1, 20))
    one, other = (finished(Engine(experiment, (7,), CPU, "eager"))[0] for experiment in (often, rarely))
    assert torch.equal(one.weights_RP, other.weights_RP)


def test_dropout_is_of_training_alone_and_changes_it():
    engine = Engine(TINY, (7,), CPU, "eager")
    state, _ = finished(engine)
    assert engine.evaluate(state).metrics == engine.evaluate(state).metrics
    plain, _ = finished(Engine(replace(TINY, dropout=0.0), (7,), CPU, "eager"))
    assert not torch.equal(plain.weights_RP, state.weights_RP)
    other, _ = finished(Engine(replace(TINY, dropout=0.2), (7,), CPU, "eager"))
    assert not torch.equal(other.weights_RP, state.weights_RP)


def test_a_replica_that_diverges_stops_and_the_others_do_not_notice():
    def poisoned(seeds):
        engine = Engine(TINY, seeds, CPU, "eager")
        state, before = finished(engine, stop_at=10)
        state.weights_RP[0] *= 1e30
        _, after = finished(engine, state)
        return state, [*before, *after]

    state, evaluations = poisoned((44, 7))
    assert state.diverged_R.tolist() == [10, -1]
    assert [evaluation.diverged for evaluation in evaluations] == [[False, False]] * 5 + [[True, False]] * 3
    undisturbed, _ = finished(Engine(TINY, (44, 7), CPU, "eager"))
    assert torch.equal(state.weights_RP[1], undisturbed.weights_RP[1])
    alone, evaluations = poisoned((44,))
    assert (alone.step, [evaluation.step for evaluation in evaluations]) == (20, [0, 1, 2, 4, 8, 12, 16, 19])
