"""`reprogrok split` and `reprogrok loss-bounds`: a table at 80 columns or a document, or one clear error."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from reprogrok.cli.loss_bounds import loss_bounds as bounds_command
from reprogrok.cli.split import split
from reprogrok.errors import InputError
from reprogrok.spec.task import AdditionTask, ModularTask, SplitSpec
from reprogrok.tasks.loss_bound_tables import print_loss_bounds
from reprogrok.tasks.loss_bounds import loss_bounds
from reprogrok.tasks.split_audit import audit_split
from reprogrok.tasks.split_tables import print_split

V2B = ModularTask("add", 97, "text9", "all", SplitSpec("result_range", 42, train=(0, 48), test=(48, 97)))
ROW_7 = ModularTask("add", 97, "llmc8", "all", SplitSpec("random", 42, fraction=0.5))


class Entry:
    """As much of an experiment as the two commands look at."""

    def __init__(self, name, task, block=None):
        self.name, self.task, self.block = name, task, block


@pytest.fixture
def run(monkeypatch):
    """Run one of the two commands on experiments that no file holds."""
    entries = {
        "v2b": Entry("v2b", V2B),
        "c12-7": Entry("c12-7", ROW_7, 4_703),
        "e1": Entry("e1", AdditionTask(10, "addition-100k/1", ())),
    }

    class Params:
        @staticmethod
        def experiment(name, _path):
            return entries[name]

        @staticmethod
        def placed(_name):
            return nullcontext()

    monkeypatch.setattr("reprogrok.params.read_params", lambda _: Params)

    def invoke(command, *words):
        app = typer.Typer()
        app.command()(command)
        return CliRunner().invoke(app, words)

    return invoke


def test_split_prints_sizes_ceilings_and_the_verdict(run):
    result = run(split, "v2b")
    assert result.exit_code == 0, result.output
    for words in ("4,656 train, 4,753 test", "4,753 of 4,753", "answers cannot be learned from this training set"):
        assert words in result.stdout


def test_split_as_json(run):
    document = json.loads(run(split, "v2b", "--format", "json").stdout)
    assert (document["train"], document["test"], document["ceilings"]["memoriser"]["right"]) == (4_656, 4_753, 0)
    assert document["coverage"][2]["unseen"] == 49


def test_loss_bounds_leave_out_what_fixed_blocks_never_reach(run):
    result = run(bounds_command, "c12-7")
    assert result.exit_code == 0, result.output
    assert "4,703 training rows (1 more in no full batch) and 4,705 test rows" in result.stdout
    assert "mean: all *" in result.stdout


def test_loss_bounds_as_json(run):
    document = json.loads(run(bounds_command, "c12-7", "--format", "json").stdout)
    means = {(bound["definition"], bound["side"]): bound["mean"] for bound in document["floors"]}
    assert round(means["floor/task-known", "training"]["all"], 3) == 1.144
    assert round(means["floor/chance", "test"]["equation"], 3) == 1.961
    assert round(means["floor/memorised", "training"]["all"], 3) == 1.057


@pytest.mark.parametrize("command", [split, bounds_command])
def test_another_task_is_refused(run, command):
    error = run(command, "e1").exception
    assert isinstance(error, InputError)
    assert str(error) == (
        "params.yaml $.experiments.e1.task.name: expected modular, whose examples are all known, found addition"
    )


@pytest.mark.parametrize("task", [V2B, ROW_7])
def test_nothing_is_wider_than_80_columns_but_long_lines_of_words(task, capsys):
    console = Console(width=80, highlight=False, markup=False)
    print_split("c12-7", task, audit_split(task), console)
    print_loss_bounds("c12-7", task, loss_bounds(task, block=512), console)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 84
    assert not [line for line in lines if "…" in line]
    assert next(line.split() for line in lines if "mean: all" in line)[:4] == ["0..7", "mean:", "all", "*"]
