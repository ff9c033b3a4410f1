"""`params.yaml` -> specs: the JSON Schema checks types and names, `_check_consistency` one field against another.

Positions and vocabulary follow from the task and are not written: two statements could disagree.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reprogrok.errors import InputError
from reprogrok.schema import Document, Steps, load
from reprogrok.spec.experiment import (
    LEAST_DROPOUT,
    EarlyGrid,
    Experiment,
    OptimiserSpec,
    ScheduleSpec,
    schedule_problem,
)
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.ranges import seed_range
from reprogrok.spec.task import SPLIT_KINDS, AdditionTask, CurriculumStage, ModularTask, modular_task


@dataclass(frozen=True)
class Params:
    """The whole of `params.yaml`.

    Attributes:
        engine_version: changes when the engine computes other bits; pipeline stages depend on it.
        device: where the pipeline trains and evaluates.
        deterministic: the promise of a run: "bitwise", or "tolerance" for devices that cannot keep the first.
        pipeline: the experiments that bare `dvc repro` runs.
        examined: experiments of addition in the pipeline whose checkpoints are examined.
        analysed: modular experiments in the pipeline whose runs are analysed.
        experiments: name -> experiment.
        document: the parsed file, with its lines.
    """

    engine_version: int
    device: str
    deterministic: str
    pipeline: tuple[str, ...]
    examined: tuple[str, ...]
    analysed: tuple[str, ...]
    experiments: Mapping[str, Experiment]
    document: Document = field(repr=False, compare=False)

    def experiment(self, name: str, path: Path) -> Experiment:
        """Return an experiment.

        Raises:
            InputError: there is no such experiment; the message lists the known ones.
        """
        if name in self.experiments:
            return self.experiments[name]
        near = difflib.get_close_matches(name, self.experiments, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(
            "unknown experiment", path=path, expected=f"one of {', '.join(self.experiments)}", found=name + hint
        )

    def located(self, name: str) -> AbstractContextManager[None]:
        """Place errors that appear only when the data of an experiment are made, such as an impossible split."""
        return self.document.located(("experiments", name))


def read_params(path: Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        InputError: the first error, with file, line and field.
    """
    document = load(path, "params")
    data = document.data
    experiments = {name: _experiment(document, name, entry) for name, entry in data["experiments"].items()}
    for index, name in enumerate(data["pipeline"]):
        if name not in experiments:
            raise document.error(("pipeline", index), expected=f"one of {', '.join(experiments)}", found=name)
    for part, task in (("examined", AdditionTask), ("analysed", ModularTask)):
        for index, name in enumerate(data.get(part, ())):
            if name not in data["pipeline"] or not isinstance(experiments[name].task, task):
                expected = f"one of the pipeline, of the task {task.name}"
                raise document.error((part, index), expected=expected, found=name)
    return Params(
        data["engine_version"],
        data["device"],
        data.get("deterministic", "bitwise"),
        tuple(data["pipeline"]),
        tuple(data.get("examined", ())),
        tuple(data.get("analysed", ())),
        experiments,
        document,
    )


def _experiment(document: Document, name: str, entry: Mapping[str, Any]) -> Experiment:
    at: Steps = ("experiments", name)
    split = entry["task"].get("split", {})
    if "settings" in split and split["kind"] in SPLIT_KINDS:
        where = (*at, "task", "split", "settings")
        raise document.error(where, "only of splits that a package offers", expected=f"no settings of {split['kind']}")
    task = _task(entry["task"])
    model = dict(entry["model"])
    dropout, biases = float(model.pop("dropout", 0)), model.pop("initial_biases", "zero")
    # 1 and 1.0 are the same number and must have the same digest.
    rates: dict[str, Any] = {
        name: None if value is None else float(value) for name, value in entry["optimiser"].items() if name != "betas"
    }
    optimiser = OptimiserSpec(**rates, betas=_pair([float(beta) for beta in entry["optimiser"]["betas"]]))
    batch = entry["batch"] if isinstance(entry["batch"], dict) else {"size": entry["batch"], "order": "drawn"}
    grid = entry["evaluate_every"]
    grid = grid if isinstance(grid, dict) else {"metrics": grid}
    experiment = Experiment(
        name=name,
        title=entry["title"],
        source=entry["source"],
        task=task,
        model=ModelSpec(**model, max_seq_len=task.max_seq_len, vocab_size=task.vocab_size),
        optimiser=optimiser,
        schedule=ScheduleSpec(entry["schedule"]["warmup"], float(entry["schedule"]["floor"])),
        batch=batch["size"],
        steps=entry["steps"],
        evaluate_every=grid["metrics"],
        seeds=parse_seeds(document, (*at, "seeds"), entry["seeds"]),
        gates=tuple(entry.get("gates", ())),
        batches=batch["order"],
        dropout=dropout,
        initial_biases=biases,
        early=EarlyGrid(**grid["early"]) if "early" in grid else None,
        analyse_every=grid.get("analysis"),
        checkpoint_every=grid.get("checkpoints"),
        metrics=tuple(entry.get("metrics", ())),
        cost=entry.get("cost", ""),
    )
    _check_consistency(document, at, experiment)
    return experiment


def _task(entry: Mapping[str, Any]) -> AdditionTask | ModularTask:
    if entry["name"] == "addition":
        stages = tuple(CurriculumStage(stage["start"], _pair(stage["digits"])) for stage in entry["curriculum"])
        return AdditionTask(entry["digits"], entry["hold_out"], stages)
    return modular_task(entry)


def _pair(values: list[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _check_consistency(document: Document, at: Steps, experiment: Experiment) -> None:
    """Check what the schema cannot: one field against another.

    Raises:
        InputError: the first contradiction.
    """
    if (problem := experiment.model.problem()) is not None:
        field, expected, found = problem
        raise document.error((*at, "model", field), expected=expected, found=found)
    if (too_long := schedule_problem(experiment)) is not None:
        raise document.error((*at, "schedule", "warmup"), expected=too_long, found=experiment.schedule.warmup)
    if experiment.initial_biases != "zero" and not experiment.model.bias:
        where = (*at, "model", "initial_biases")
        raise document.error(where, expected="zero, or bias: true beside it", found=experiment.initial_biases)
    if 0 < experiment.dropout < LEAST_DROPOUT:
        where = (*at, "model", "dropout")
        raise document.error(where, expected="0, or at least 2^-16", found=experiment.dropout)
    if isinstance(experiment.task, AdditionTask):
        _check_addition(document, at, experiment, experiment.task)
    elif experiment.batches == "drawn":
        raise document.error((*at, "batch"), expected="{size: N, order: reshuffled or blocks}", found=experiment.batch)
    for field, every in (("analysis", experiment.analyse_every), ("checkpoints", experiment.checkpoint_every)):
        if every is not None and every % experiment.evaluate_every:
            expected = f"a multiple of {experiment.evaluate_every}, the steps between metrics"
            raise document.error((*at, "evaluate_every", field), expected=expected, found=every)


def _check_addition(document: Document, at: Steps, experiment: Experiment, task: AdditionTask) -> None:
    starts = [stage.start for stage in task.curriculum]
    if starts[0] != 0 or sorted(set(starts)) != starts:
        raise document.error((*at, "task", "curriculum"), expected="stages that start at 0 and increase", found=starts)
    for index, stage in enumerate(task.curriculum):
        least, most = stage.digits
        if not least <= most <= task.digits:
            where = (*at, "task", "curriculum", index, "digits")
            raise document.error(where, expected=f"least <= most <= {task.digits}", found=[least, most])
    # The settings of modular runs alone.
    for where, found, expected in (
        (("batch", "order"), experiment.batches, "drawn"),
        (("model", "dropout"), experiment.dropout, 0.0),
        (("evaluate_every", "analysis"), experiment.analyse_every, None),
        (("metrics",), list(experiment.metrics), []),
    ):
        if found != expected:
            raise document.error((*at, *where), "only of modular tasks", expected=f"{expected}", found=found)


def parse_seeds(document: Document, at: Steps, value: Any) -> tuple[int, ...]:
    """Read seeds from a list, or from the quoted range "first:last" (last excluded).

    Raises:
        InputError: there are none, one is repeated, or this is no list or range.
    """
    if isinstance(value, str):
        seeds = seed_range(value)
        if seeds is None:
            raise document.error(at, expected='a list of seeds or a range such as "0:8"', found=value)
    else:
        seeds = tuple(value)
    if not seeds:
        raise document.error(at, expected="at least one seed", found=value)
    if len(set(seeds)) != len(seeds):
        raise document.error(at, expected="each seed once", found=list(seeds))
    return seeds
