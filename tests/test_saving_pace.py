"""States for the case of a crash: small ones at every evaluation, large ones as often as costs little."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from test_training_tasks import experiment_of

from reprogrok import record
from reprogrok.train import run as run_module
from reprogrok.train.engine import Engine
from reprogrok.train.run import SavingPace, _train_job
from reprogrok.train.saved import Journal, saved_work
from reprogrok.train.work import TrainingPlan, folder_of

torch.set_num_threads(1)

EXPERIMENT = replace(
    experiment_of(layout="power5", loss="answer", order="reshuffled", size=16, steps=200, layers=1, width=8),
    evaluate_every=10,
    early=None,
)


class Never:
    """Nobody asks to stop."""

    def is_set(self):
        return False


class Clock:
    """A clock that hardly moves until somebody spends time."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1e-9
        return self.now


def plan_of(tmp_path, **changes):
    plan = TrainingPlan(
        experiment=EXPERIMENT, seeds=(0,), device="cpu", engine_version=1, out=tmp_path / "runs", workers=1,
        backend="eager", deterministic="bitwise", gates={},
    )  # fmt: skip
    return replace(plan, **changes)


@pytest.fixture
def at_work(tmp_path, monkeypatch):
    """Train a job on a clock on which a step takes 1 s and a saving 5 s; gives the steps at which it saved."""
    monkeypatch.chdir(tmp_path)
    clock, saved = Clock(), []
    save, stream = Journal.save, Journal.stream

    def slowly(journal, state):
        saved.append(state.step)
        clock.now += 5
        save(journal, state)

    def streamed(journal, evaluation, rate):
        clock.now += EXPERIMENT.evaluate_every
        stream(journal, evaluation, rate)

    monkeypatch.setattr(Journal, "save", slowly)
    monkeypatch.setattr(Journal, "stream", streamed)

    def train(stop=None, share=0.1, **changes):
        plan = plan_of(tmp_path, **changes)
        monkeypatch.setattr(run_module, "SavingPace", lambda clock: SavingPace(clock, share))
        folder_of(plan, (0,)).mkdir(parents=True, exist_ok=True)
        run_module._train_alone(plan, (0,), stop or Never(), lambda _: None, clock)
        return plan, list(saved)

    return train


def test_a_small_state_is_saved_at_every_evaluation(at_work):
    _, saved = at_work(share=1e-9)
    assert saved == [1, *range(11, 200, 10), 200, 200]


def test_a_large_state_is_saved_when_little_time_has_gone_into_saving(at_work, monkeypatch):
    monkeypatch.setattr(run_module, "_SMALL", 0)
    plan, saved = at_work()
    # Five seconds are a tenth of fifty, and an evaluation comes every ten.
    assert saved == [1, 51, 101, 151, 200, 200], "the end is saved whatever the clock says, and is not written twice"
    work, refused = saved_work(plan, (0,))
    assert (work.step, refused) == (200, [])
    steps = [json.loads(line)["step"] for line in work.metrics.splitlines()]
    assert steps == list(EXPERIMENT.evaluation_steps())


def test_a_checkpoint_that_was_asked_for_is_never_without_its_state(at_work, monkeypatch):
    monkeypatch.setattr(run_module, "_SMALL", 0)
    _, saved = at_work(share=1e-9, checkpoints=(0, 30, 40))
    assert saved == [1, 31, 41, 200]


def test_who_is_asked_to_stop_saves(at_work, monkeypatch):
    monkeypatch.setattr(run_module, "_SMALL", 0)

    class Later:
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 77

    plan, saved = at_work(Later(), share=1e-9)
    assert saved == [1, 77]
    assert saved_work(plan, (0,))[0].step == 77


def test_killed_between_two_savings_it_goes_on_from_the_last_and_writes_the_same_bytes(at_work, monkeypatch, tmp_path):
    plan, _ = at_work()
    undisturbed, name = saved_work(plan, (0,))[0], folder_of(plan, (0,))
    name.rename(tmp_path / "undisturbed")
    name.mkdir()
    monkeypatch.setattr(run_module, "_SMALL", 0)

    class KilledError(BaseException):
        pass

    def kill(progress):
        if progress.evaluation is not None and progress.step == 91:
            raise KilledError

    with pytest.raises(KilledError):
        run_module._train_alone(plan, (0,), Never(), kill, Clock())
    left, _ = saved_work(plan, (0,))
    assert left.step == 91, "on a clock that hardly moves a saving takes no time"
    for path in name.glob("state-91.*"):
        path.unlink()
    left, _ = saved_work(plan, (0,))
    assert left.step < 91 < len((name / record.METRICS).read_bytes())
    _train_job(plan, (0,), Never(), lambda _: None)
    again, _ = saved_work(plan, (0,))
    assert again.metrics == undisturbed.metrics
    for tensor in ("weights", "mean", "square", "best"):
        assert torch.equal(again.content[tensor], undisturbed.content[tensor])


@pytest.mark.parametrize(("seconds", "rest"), [(0.5, 25.0), (5.0, 250.0)])
def test_no_more_than_a_fiftieth_of_the_time_goes_into_saving(seconds, rest):
    clock = Clock()
    pace = SavingPace(clock)
    state = Engine(
        replace(EXPERIMENT, model=replace(EXPERIMENT.model, d_ff=20_000)), (0,), torch.device("cpu"), "eager"
    ).fresh()
    assert pace.due(state), "the first evaluation is saved whatever it takes"
    with pace.timed():
        clock.now += seconds
    clock.now += rest - 1e-6
    assert not pace.due(state)
    clock.now += 2e-6
    assert pace.due(state)
