"""`train --sink`: what arrives in the real W&B and DVCLive, whole and once, and that a run does not depend on it."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reprogrok import record
from reprogrok.cli.train import Sink
from reprogrok.errors import InputError
from reprogrok.params import read_params
from reprogrok.train.engine import StepEvaluation
from reprogrok.train.run import JobProgress
from reprogrok.train.sinks import SINKS, check_sinks, streaming
from reprogrok.train.work import TrainingPlan, folder_of

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = {"WANDB_MODE": "offline"}
BOTH = ("--sink", "wandb", "--sink", "dvclive")


def recorded(folder):
    """Seed -> step -> metrics, as the record of runs/smoke holds them."""
    points = {}
    for line in (folder / "runs/smoke" / record.METRICS).read_text("utf-8").splitlines():
        row = json.loads(line)
        points.setdefault(row.pop("seed"), {})[row.pop("step")] = row
    return points


def wandb_records(path):
    """The records of an offline run, read from its file: blocks of LevelDB's log format around protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, []
    assert data[:4] == b":W&B"
    while place < len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts.append(data[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in {1, 4}:  # a whole record, or its last part
            yield Record.FromString(b"".join(parts))
            parts = []


def wandb_runs(folder):
    """For each offline run, oldest first: (name, group, config, exit code or None, [(step, metrics), ...])."""
    runs = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns):
        about, exit_code, points = None, None, []  # a killed run may have got nothing to the disk
        for entry in wandb_records(path):
            if entry.HasField("run") and about is None:
                config = {item.key: json.loads(item.value_json) for item in entry.run.config.update}
                about = (entry.run.display_name, entry.run.run_group, config)
            if entry.HasField("exit"):
                exit_code = entry.exit.exit_code
            if entry.HasField("history"):
                items = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in entry.history.item}
                points.append((items.pop("_step"), {k: v for k, v in items.items() if not k.startswith("_")}))
        runs.append((*(about or (None, None, None)), exit_code, points))
    return runs


def dvclive_points(folder, seed):
    """Step -> metrics of one seed, from DVCLive's tables; a step that stands twice fails."""
    points = {}
    for path in (folder / f"dvclive/smoke/seed-{seed}/plots/metrics").glob("*.tsv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                assert path.stem not in points.setdefault(int(row["step"]), {})
                points[int(row["step"])][path.stem] = float(row[path.stem])
    return points


@pytest.fixture(scope="module")
def streamed(made_once, trained, reprogrok):
    """A project in a Git repository whose run was streamed to both; not to be changed."""

    def make(folder):
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".reprogrok"))
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        result = reprogrok("train", "smoke", "--seeds", "0,1", "--workers", "1", *BOTH, cwd=folder, **OFFLINE)
        assert result.returncode == 0, result.stderr
        assert "warning" not in result.stderr

    return made_once("streamed", make)


def test_wandb_has_a_run_per_seed_with_the_numbers_of_the_record(streamed):
    points = recorded(streamed)
    runs = sorted(wandb_runs(streamed))
    assert [(name, group) for name, group, *_ in runs] == [("smoke seed 0", "smoke"), ("smoke seed 1", "smoke")]
    for seed, (_, _, config, exit_code, found) in enumerate(runs):
        assert (config["seed"], config["experiment"], exit_code) == (seed, "smoke", 0)
        assert config["spec"]["optimiser"]["lr"] == 0.015
        assert config["fingerprint"] == json.loads((streamed / "runs/smoke/fingerprint.json").read_bytes())
        assert found == list(points[seed].items())


def test_dvclive_has_a_folder_per_seed_with_the_numbers_of_the_record(streamed):
    assert {seed: dvclive_points(streamed, seed) for seed in (0, 1)} == recorded(streamed)
    summary = json.loads((streamed / "dvclive/smoke/seed-1/metrics.json").read_bytes())
    assert summary == recorded(streamed)[1][199] | {"step": 199}


def test_what_is_trained_does_not_depend_on_sinks(streamed, trained):
    names = [*(f"seed-{seed}/{name}" for seed in (0, 1) for name in record.WEIGHTS), record.METRICS, record.SUMMARY]
    for name in names:
        assert (streamed / "runs/smoke" / name).read_bytes() == (trained / "runs/smoke" / name).read_bytes()


def test_no_sink_touches_dvc_git_or_the_run(streamed):
    assert not list(streamed.glob(".dvc*"))
    assert not (streamed / "dvc.yaml").exists()
    staged = subprocess.run(["git", "ls-files"], cwd=streamed, capture_output=True, text=True, check=True)
    assert staged.stdout == ""
    assert {path.name for path in (streamed / "runs/smoke").iterdir() if path.is_dir()} == {"seed-0", "seed-1"}


def test_the_folders_of_the_sinks_are_ignored_by_git():
    result = subprocess.run(["git", "check-ignore", "wandb/x", "dvclive/x"], cwd=ROOT, capture_output=True, check=False)
    if result.returncode == 128:
        pytest.skip("not a Git repository")
    assert result.stdout.split() == [b"wandb/x", b"dvclive/x"]


@pytest.mark.long(quick="test_wandb_has_a_run_per_seed_with_the_numbers_of_the_record")
def test_a_killed_and_resumed_run_has_whole_series(trained, tmp_path, reprogrok):
    folder = shutil.copytree(trained, tmp_path / "project", ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    words = ("train", "smoke", "--seeds", "0", *BOTH)
    command, environment = [sys.executable, "-m", "reprogrok", *words], os.environ | OFFLINE
    first = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "dvclive/smoke/seed-0/metrics.json").exists():  # written after the first point
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    assert not (folder / "runs/smoke").exists()

    result = reprogrok(*words, cwd=folder, **OFFLINE)
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr
    points = recorded(folder)[0]
    assert dvclive_points(folder, 0) == points
    assert wandb_runs(folder)[-1][-1] == list(points.items())
    assert len({path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}) == 1  # one id


@pytest.mark.parametrize("name", ["wandb", "dvclive"])
def test_a_sink_that_is_not_installed_is_one_error_before_any_work(project, reprogrok, one_error, tmp_path, name):
    (project / name).mkdir()  # what an earlier run left: no package, though Python could import it
    hiding = f"""
import importlib.metadata as metadata
found = metadata.version
def version(name):
    if name == {name!r}:
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
"""
    (tmp_path / "sitecustomize.py").write_text(hiding, "utf-8")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    line = one_error(reprogrok("train", "smoke", "--sink", name, cwd=project, PYTHONPATH=paths))
    expected = f"pip install {name} (the extra reprogrok[{name}])"
    assert line == f"--sink {name}: the package {name} is not installed: expected {expected}"
    assert not (project / ".reprogrok").exists()


def test_wandb_without_an_account_is_one_error_before_any_work(project, reprogrok, one_error, tmp_path):
    nobody = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_MODE": "online", "WANDB_API_KEY": ""}
    line = one_error(reprogrok("train", "smoke", "--sink", "wandb", cwd=project, **nobody))
    assert line.startswith("--sink wandb: W&B knows no account here: expected `wandb login` or WANDB_API_KEY")
    assert not (project / ".reprogrok").exists()


def test_an_unknown_sink_is_wrong_usage(project, reprogrok):
    result = reprogrok("train", "smoke", "--sink", "mlflow", cwd=project)
    assert result.returncode == 2
    assert "mlflow" in result.stderr


def test_a_sink_that_cannot_write_is_dropped_with_one_warning(project, reprogrok):
    (project / "dvclive").write_text("a file where a folder is needed", "utf-8")
    result = reprogrok("train", "smoke", "--seeds", "0", "--steps", "60", "--sink", "dvclive", cwd=project)
    assert result.returncode == 0, result.stderr
    assert (
        result.stderr.count("warning: the sink dvclive failed and is dropped; the run and its record continue (") == 1
    )
    assert record.read(project / "runs/smoke").replicas[0]["test_loss"].steps == (0, 50, 59)


class Fake:
    """A sink that keeps what it is told, and fails where it is told to."""

    def __init__(self, fails_at=math.inf):
        self.points, self.closed, self.fails_at = {}, {}, fails_at

    def __call__(self, _plan, seed):
        self.points[seed] = []
        return FakeSeries(self, seed)


class FakeSeries:
    def __init__(self, sink, seed):
        self.sink, self.seed = sink, seed

    def add(self, step, metrics):
        if step >= self.sink.fails_at:
            raise RuntimeError("no more\nof this")
        self.sink.points[self.seed].append((step, metrics["x"]))

    def close(self, *, complete):
        self.sink.closed[self.seed] = complete


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A run of two seeds and 30 steps on a GPU: one job."""
    monkeypatch.chdir(tmp_path)
    experiment = replace(read_params(ROOT / "params.yaml").experiments["smoke"], steps=30)
    return TrainingPlan(experiment, (3, 4), "cuda", 1, tmp_path / "out", 1, "eager", "bitwise", {})


def evaluated(step, values):
    return JobProgress((3, 4), step + 1, StepEvaluation(step, {"x": values}, [False, False]), (0.0, 0.0))


def work(plan, text):
    path = folder_of(plan, (3, 4)) / record.METRICS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


EARLIER = '{"seed":3,"step":0,"x":1.0}\n{"seed":4,"step":0,"x":2.0}\n{"seed":3,"step":10,"x":3.0}\n{"seed":4,"st'


def test_earlier_points_are_sent_once_and_neither_later_ones_nor_half_a_line(plan):
    sink, warnings = Fake(), []
    work(plan, EARLIER)
    with streaming(plan, ["fake", "fake"], warnings.append, {"fake": sink}) as report:
        report(JobProgress((3, 4), 7, None, (0.0, 0.0)))
        assert sink.points == {}
        report(evaluated(10, [3.0, 4.0]))
        report(JobProgress((3, 4), 20, None, (0.0, 0.0)))
        report(evaluated(29, [5.0, math.nan]))
        assert sink.closed == {3: True, 4: True}
    assert warnings == []
    assert sink.points[3] == [(0, 1.0), (10, 3.0), (29, 5.0)]
    assert sink.points[4][:2] == [(0, 2.0), (10, 4.0)]
    assert math.isnan(sink.points[4][2][1])


def test_a_job_that_was_trained_before_is_sent_whole(plan):
    sink = Fake()
    work(plan, '{"seed":3,"step":29,"x":1.0}\n{"seed":4,"step":29,"x":null}\n')
    with streaming(plan, ["fake"], pytest.fail, {"fake": sink}) as report:
        report(JobProgress((3, 4), 30, None, (0.0, 0.0)))
    assert sink.points[3] == [(29, 1.0)]
    assert math.isnan(sink.points[4][0][1])
    assert sink.closed == {3: True, 4: True}


def test_a_stopped_run_closes_its_series_as_unfinished(plan):
    sink = Fake()
    work(plan, "")
    with streaming(plan, ["fake"], pytest.fail, {"fake": sink}) as report:
        report(evaluated(0, [1.0, 2.0]))
    assert sink.closed == {3: False, 4: False}


def test_a_failing_sink_is_dropped_alone_and_told_once(plan):
    broken, sound, warnings = Fake(fails_at=10), Fake(), []
    work(plan, "")
    with streaming(plan, ["broken", "sound"], warnings.append, {"broken": broken, "sound": sound}) as report:
        for step in (0, 10, 20):
            report(evaluated(step, [1.0, 2.0]))
    assert warnings == ["the sink broken failed and is dropped; the run and its record continue (no more)"]
    assert broken.points[3] == [(0, 1.0)]
    assert broken.closed == {3: False, 4: False}
    assert [step for step, _ in sound.points[4]] == [0, 10, 20]


def test_the_command_offers_the_sinks_there_are():
    assert [choice.value for choice in Sink] == list(SINKS)


def test_no_sink_needs_no_package(monkeypatch):
    monkeypatch.setattr("reprogrok.train.sinks.installed", lambda _name: None)
    check_sinks([])
    with pytest.raises(InputError, match="--sink dvclive: the package dvclive is not installed"):
        check_sinks(["dvclive"])
