"""What a modular experiment learns and measures: a plain loop with torch's own AdamW and cross-entropy says so."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from plain_decoder import plain_logits, plain_row
from torch.nn import functional as F

from reprogrok.errors import InputError
from reprogrok.metrics.logged import definitions_of, facts_of
from reprogrok.metrics.registry import METRICS
from reprogrok.model.initialise import initial_weights
from reprogrok.params import read_params
from reprogrok.spec.experiment import EarlyGrid, Experiment, OptimiserSpec, ScheduleSpec
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import FORMATS, ModularTask, SplitSpec
from reprogrok.tasks.epochs import Epochs
from reprogrok.tasks.splits import make_split
from reprogrok.train import engine as engine_module
from reprogrok.train.engine import Engine
from reprogrok.train.optimiser import step_numbers
from reprogrok.train.task_choice import check_trainable, training_task_of
from reprogrok.train.training_task import score_of

torch.set_num_threads(1)

CPU = torch.device("cpu")
STEPS = 50
ANSWER = {"llmc8": 4, "text9": 6, "power5": 3}  # the position that predicts c
POSITIONS = {"llmc8": 8, "text9": 8, "power5": 4}
EXTRA = {"llmc8": 4, "text9": 7, "power5": 2}
PARAMS = read_params(Path(__file__).resolve().parents[1] / "params.yaml")

CASES = {
    "llmc8, answer only, blocks, uniform biases": {"layout": "llmc8", "loss": "answer", "order": "blocks", "size": 13},
    "text9, all positions, reshuffled": {
        "layout": "text9", "loss": "all", "order": "reshuffled", "size": 16, "gelu": "erf"
    },
    "power5, warm-up, decay 1, clip": {
        "layout": "power5", "loss": "answer", "order": "reshuffled", "size": 30, "decay": 1.0, "warmup": 10,
        "clip": 0.5, "bias": False, "lr": 0.002,
    },
    "llmc8, all positions, full batch, sub": {
        "layout": "llmc8", "loss": "all", "order": "blocks", "size": 59, "operation": "sub"
    },
}  # fmt: skip


def experiment_of(
    *, layout, loss, order, size, operation="add", p=11, decay=0.0, warmup=0, clip=None, bias=True, gelu="tanh",
    dropout=0.0, steps=STEPS, layers=2, fraction=0.5, seeds=(5,), width=12, lr=0.01,
):  # fmt: skip
    task = ModularTask(operation, p, layout, loss, SplitSpec("random", 42, fraction=fraction))
    return Experiment(
        name="tiny",
        title="",
        source="",
        task=task,
        model=ModelSpec(
            n_layer=layers, d_model=width, n_head=2, d_ff=20, max_seq_len=FORMATS[layout].max_seq_len,
            vocab_size=p + EXTRA[layout], bias=bias, gelu=gelu,
        ),
        optimiser=OptimiserSpec(lr=lr, betas=(0.9, 0.98), eps=1e-8, weight_decay=decay, clip=clip),
        schedule=ScheduleSpec(warmup=warmup, floor=1.0),
        batch=size,
        steps=steps,
        evaluate_every=10,
        seeds=seeds,
        batches=order,
        dropout=dropout,
        initial_biases="uniform" if bias else "zero",
        early=EarlyGrid(3, 9),
    )  # fmt: skip


class Precise:
    """What `step_numbers` gives, without the rounding to single precision that follows."""

    def __init__(self, *words):
        self._numbers = step_numbers(*words)

    def float(self):
        return self._numbers


def doubled(engine):
    """The engine's first state in double precision."""
    state = engine.fresh()
    for name in ("weights_RP", "mean_RP", "square_RP", "best_RP"):
        setattr(state, name, getattr(state, name).double())
    return state


def rows_of(task, pairs):
    rule = {"add": lambda a, b: (a + b) % task.modulus, "sub": lambda a, b: (a - b) % task.modulus}[task.operation]
    return torch.tensor([plain_row(task.format, task.modulus, a, b, rule(a, b)) for a, b in pairs])


def plain_sides(task):
    """Training and test pairs, in the order of the split."""
    every = list(itertools.product(range(task.modulus), repeat=2))
    split = make_split(task)
    return [every[i] for i in split.train_N], [every[i] for i in split.test_N]


def window(task):
    return slice(None) if task.loss == "all" else slice(ANSWER[task.format], ANSWER[task.format] + 1)


def plain_loss(spec, weights, task, rows_BT):
    logits_BTV = plain_logits(spec, weights, rows_BT[:, :-1])[:, window(task)]
    return F.cross_entropy(logits_BTV.flatten(0, 1), rows_BT[:, 1:][:, window(task)].flatten())


@torch.no_grad()
def length(tensors):
    return math.sqrt(sum(float((tensor**2).sum()) for tensor in tensors))


@torch.no_grad()
def plain_measures(experiment, weights, train, test):
    """Every metric of the weights by its name, counted in loops over whole sets."""
    task, spec = experiment.task, experiment.model
    if experiment.batches == "blocks":  # what fills no block is never trained on
        train = train[: (len(train) - 1) // experiment.batch * experiment.batch]
    answer, found, trained = ANSWER[task.format], {}, set(train)
    scored = range(POSITIONS[task.format])[window(task)]
    for side, pairs in (("train", train), ("test", test)):
        rows_NT = rows_of(task, pairs)
        logits_NTV = plain_logits(spec, weights, rows_NT[:, :-1])
        losses = F.cross_entropy(logits_NTV.transpose(1, 2), rows_NT[:, 1:], reduction="none")
        right = logits_NTV.argmax(2) == rows_NT[:, 1:]
        found[f"{side}_set_loss" if side == "train" else "test_loss"] = losses[:, window(task)].mean().item()
        found[f"{side}_accuracy"] = sum(right[:, answer].tolist()) / len(pairs)
        found[f"{side}_answer_loss"] = losses[:, answer].mean().item()
        for position in scored:
            found[f"{side}_loss_at_{position}"] = losses[:, position].mean().item()
            found[f"{side}_accuracy_at_{position}"] = sum(right[:, position].tolist()) / len(pairs)
        margins = []
        for values, target in zip(logits_NTV[:, answer].tolist(), rows_NT[:, answer + 1].tolist(), strict=True):
            margins.append(values[target] - max(value for token, value in enumerate(values) if token != target))
        found[f"{side}_smallest_margin"] = min(margins)
        found[f"{side}_saturated"] = 0.0
        if side == "test":
            commutes = task.operation == "add"
            twins = [commutes and a != b and (b, a) in trained for a, b in pairs]
            for part, wanted in (("twin", True), ("new", False)):
                chosen = [index for index, twin in enumerate(twins) if twin is wanted]
                found[f"test_{part}_loss"] = losses[chosen, answer].mean().item()
                found[f"test_{part}_accuracy"] = (
                    sum(right[chosen, answer].tolist()) / len(chosen) if chosen else math.nan
                )
    found["weight_norm"] = length(weights.values())
    return found


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_and_every_metric_are_those_of_a_plain_loop(monkeypatch, case):
    monkeypatch.setattr(engine_module, "step_numbers", Precise)
    experiment = experiment_of(**CASES[case])
    task, spec, recipe = experiment.task, experiment.model, experiment.optimiser
    train, test = plain_sides(task)
    engine = Engine(experiment, (5,), CPU, "eager")
    found = {evaluation.step: evaluation for evaluation in engine.train(doubled(engine), lambda: False)}
    assert list(found) == [0, 3, 6, 9, 10, 20, 30, 40, 49]

    weights = {k: v.double().requires_grad_() for k, v in initial_weights(spec, 5, experiment.initial_biases).items()}
    adamw = torch.optim.AdamW(
        weights.values(), lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay
    )
    epochs = Epochs((5,), len(train), experiment.batch, experiment.batches, CPU)
    for step in range(STEPS):
        rows_BT = rows_of(task, [train[index] for index in epochs.batch(step)[0].tolist()])
        adamw.param_groups[0]["lr"] = recipe.lr * min(1, (step + 1) / max(experiment.schedule.warmup, 1))
        loss = plain_loss(spec, weights, task, rows_BT)
        adamw.zero_grad()
        loss.backward()
        norm = length(tensor.grad for tensor in weights.values())
        if recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(weights.values(), recipe.clip)
        before = {name: tensor.detach().clone() for name, tensor in weights.items()}
        adamw.step()
        if step not in found:
            continue
        expected = plain_measures(experiment, weights, train, test) | {
            "train_loss": loss.item(),
            "grad_norm": norm,
            "update_norm": length(tensor - before[name] for name, tensor in weights.items()),
            "learning_rate": adamw.param_groups[0]["lr"],
        }
        metrics = {name: values[0] for name, values in found[step].metrics.items()}
        assert metrics.keys() == expected.keys() == definitions_of(experiment).keys()
        for name, value in expected.items():
            assert metrics[name] == pytest.approx(value, rel=1e-7, abs=1e-9, nan_ok=True), (step, name)
    assert found[49].metrics["train_loss"][0] < found[0].metrics["train_loss"][0] - 0.02


def test_the_answer_alone_needs_no_token_behind_it():
    for layout, position in ANSWER.items():
        task = training_task_of(experiment_of(layout=layout, loss="answer", order="reshuffled", size=8), (0,), CPU)
        assert task.first == position
        assert next(task.batches(range(1))).shape == (1, position + 2, 8)
        every = training_task_of(experiment_of(layout=layout, loss="all", order="reshuffled", size=8), (0,), CPU)
        assert every.first == 0
        assert next(every.batches(range(1))).shape == (1, POSITIONS[layout] + 1, 8)


def test_twins_and_new_pairs_are_apart_and_none_is_not_zero():
    closed = experiment_of(layout="power5", loss="answer", order="reshuffled", size=8)
    task = ModularTask("add", 11, "power5", "answer", SplitSpec("twin_closed", 42, fraction=0.5))
    for other in (task, ModularTask("sub", 11, "power5", "answer", closed.task.split)):
        task = training_task_of(Experiment(**{**vars(closed), "task": other}), (0,), CPU)
        weights = {k: v.unsqueeze(0) for k, v in initial_weights(closed.model, 0).items()}
        found = task.evaluate(weights, analyse=False)
        assert math.isnan(found["test_twin_accuracy"].item())
        assert math.isnan(found["test_twin_loss"].item())
        assert found["test_new_accuracy"].item() == found["test_accuracy"].item()


def test_what_bounds_the_metrics_of_a_run():
    experiment = experiment_of(layout="text9", loss="all", order="reshuffled", size=16, fraction=0.8, p=97)
    assert facts_of(experiment) == {
        "positions": 8, "width": 12, "classes": 97, "train_examples": 7_527, "test_examples": 1_882, "steps": 50
    }  # fmt: skip
    assert score_of(experiment) == "test_accuracy"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operation": "plus"}, "$.task.operation"),
        ({"operation": "div", "p": 12}, "$.task.modulus"),
        ({"fraction": 0.001}, "$.task.split.fraction"),
        ({"size": 60, "order": "blocks"}, "$.batch.size"),
        ({"size": 61}, "$.batch.size"),
    ],
)
def test_an_experiment_that_cannot_be_trained_is_refused_before_any_work(changes, field):
    entry = {"layout": "power5", "loss": "answer", "order": "reshuffled", "size": 8} | changes
    for refuse in (check_trainable, lambda experiment: training_task_of(experiment, (0,), CPU)):
        with pytest.raises(InputError) as caught:
            refuse(experiment_of(**entry))
        assert caught.value.field == field
    check_trainable(experiment_of(layout="power5", loss="answer", order="blocks", size=59))
    check_trainable(experiment_of(layout="power5", loss="answer", order="reshuffled", size=60))


@pytest.mark.parametrize("name", [*PARAMS.experiments])
def test_a_criterion_may_speak_of_every_metric(name):
    unknown = {
        metric: definition
        for metric, definition in definitions_of(PARAMS.experiments[name]).items()
        if metric not in METRICS or definition not in METRICS[metric].definitions
    }
    assert unknown == {}
