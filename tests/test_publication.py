"""Publishing a finished run: whole or not at all, in its own place, and never at the cost of what is not ours."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_cli_train import RUN, contents, tree

from reprogrok import record
from reprogrok.errors import BusyError, InputError, RecordError
from reprogrok.files import exclusive
from reprogrok.params import read_params
from reprogrok.train import publication, run, work
from reprogrok.train.engine import Engine

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def finished(made_once, trained):
    """A project whose seeds are trained to the end and not published yet; not to be changed."""

    def make(folder):
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".reprogrok"))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(run, "publish_run", not_yet)
            with pytest.raises(RecordError, match="not yet"):
                train(plan_of())

    return made_once("finished", make)


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def not_yet(*_args):
    raise RecordError("not yet")


class Never:
    """Nobody asks to stop."""

    def is_set(self):
        return False


def plan_of(out=RUN):
    params = read_params(Path("params.yaml"))
    return work.TrainingPlan(
        params.experiment("smoke", Path("params.yaml")),
        SEEDS,
        "cpu",
        params.engine_version,
        out,
        1,
        "eager",
        "bitwise",
        {},
    )


def train(plan, report=lambda _progress: None):
    return run.run(plan, Never(), report, pytest.fail)


def lay(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")


def test_finished_work_is_published_as_the_same_bytes(project, trained):
    assert train(plan_of()) == RUN
    ours, theirs = contents(RUN), contents(trained / RUN)
    different = {name for name in theirs if ours[name] != theirs[name]}
    assert different <= {record.SPEC, record.SUMMARY}, "no gates are registered here"
    assert tree(project / "runs") == tree(trained / "runs")


def test_folders_of_others_beside_the_place_are_left_alone(project):
    for name in (".smoke.new", ".smoke.old"):
        lay(RUN.with_name(name), thesis="years of work")
    train(plan_of())
    train(plan_of())
    assert (RUN.parent / ".smoke.new" / "thesis").read_text("utf-8") == "years of work"
    assert (RUN.parent / ".smoke.old" / "thesis").read_text("utf-8") == "years of work"
    assert sorted(path.name for path in (project / "runs").iterdir()) == [".smoke.new", ".smoke.old", "smoke"]


def test_work_of_another_project_at_the_same_place_is_staged_elsewhere(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    here = publication._beside(plan_of(tmp_path / "out"), "new")
    assert here == publication._beside(plan_of(tmp_path / "out"), "new")
    monkeypatch.chdir(shutil.copytree(finished, tmp_path / "other"))
    assert publication._beside(plan_of(tmp_path / "out"), "new") != here
    assert here.parent == tmp_path


@pytest.mark.usefixtures("project")
def test_seeing_whether_there_is_a_place_does_not_disturb_who_is_publishing_there(monkeypatch):
    write = publication._write

    def write_and_look(plan, staging):
        write(plan, staging)
        with pytest.raises(BusyError), exclusive(plan.work() / "lock", "training"):
            pytest.fail("a second trainer of the same work")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(work, "WORK", Path("elsewhere"))
            publication.check_place(plan)

    monkeypatch.setattr(publication, "_write", write_and_look)
    train(plan_of())
    assert set(record.read(RUN).replicas) == set(SEEDS)


@pytest.mark.parametrize("lost", ["seed-1/last.pt", "seed-0/best.pt", "fingerprint.json"])
def test_a_run_that_lost_a_file_while_it_was_written_is_not_published(project, monkeypatch, lost):
    write_bytes = publication.write_bytes
    monkeypatch.setattr(
        publication,
        "write_bytes",
        lambda path, data: None if path.as_posix().endswith(lost) else write_bytes(path, data),
    )
    with pytest.raises(RecordError, match=f"{lost}: missing, or not part of this run; the work is kept"):
        train(plan_of())
    assert not RUN.exists()
    monkeypatch.undo()
    monkeypatch.chdir(project)
    train(plan_of())
    assert set(json.loads((RUN / record.SUMMARY).read_bytes())["files"]) == record.files_of(
        json.loads((RUN / record.SPEC).read_bytes())
    )


@pytest.mark.usefixtures("project")
def test_what_came_to_stand_there_meanwhile_is_not_replaced(monkeypatch):
    write = publication._write

    def write_late(*args):
        write(*args)
        lay(RUN, thesis="years of work")

    monkeypatch.setattr(publication, "_write", write_late)
    with pytest.raises(InputError, match="runs/smoke: exists and is not a run"):
        train(plan_of())
    assert tree(RUN) == ["thesis"]
    assert list(Path(".reprogrok/work").glob("*/seed-0/state-*.pt")), "the work is kept"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays(trained, tmp_path, there):
    far = tmp_path / "disk" / "far"
    far.parent.mkdir()
    if there:
        shutil.copytree(trained / RUN, far)
    Path("runs").mkdir(exist_ok=True)
    RUN.symlink_to(far)
    train(plan_of())
    assert RUN.is_symlink()
    assert set(record.read(RUN).replicas) == set(SEEDS)
    assert [path.name for path in far.parent.iterdir()] == ["far"]
    assert not list(Path(".reprogrok/work").glob("*/seed-0"))


@pytest.mark.usefixtures("project")
def test_a_link_that_leads_nowhere_is_refused_before_the_first_step():
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match="loop: a run cannot be published here: "):
        train(plan_of(Path("loop")))


def test_a_link_to_a_folder_inside_a_run_is_not_of_the_run(trained, tmp_path):
    earlier = shutil.copytree(trained / RUN, tmp_path / "run")
    (earlier / "notes").symlink_to(tmp_path)
    with pytest.raises(InputError, match="run/notes: not part of the run that would be replaced"):
        publication.check_target(earlier)


@pytest.mark.usefixtures("project")
def test_a_run_put_aside_by_a_crash_comes_back_before_the_next_one_is_trained(trained):
    aside = publication._beside(plan_of(), "old")
    shutil.copytree(trained / RUN, aside)
    publication.check_place(plan_of())
    assert contents(RUN) == contents(trained / RUN)
    assert not aside.exists()


def lay_scores(monkeypatch, score_of):
    """Let the validation exact match be a function of the step."""
    measured = Engine._measured

    def scored(self, state, *, analyse):
        scores = torch.full((len(self.seeds),), score_of(state.step - 1), dtype=torch.float64)
        return measured(self, state, analyse=analyse) | {"test_exact_match": scores}

    monkeypatch.setattr(Engine, "_measured", scored)


def test_the_last_evaluation_of_an_early_end_is_the_records_and_not_the_works(project, monkeypatch):
    shutil.rmtree(project / ".reprogrok")
    lay_scores(monkeypatch, lambda step: {0: 0.1, 50: 0.3, 72: 0.9, 100: 0.2}.get(step, 0.0))
    train(replace(plan_of(), stop_at=73))
    (first, _) = json.loads((RUN / record.SUMMARY).read_bytes())["replicas"]
    assert (first["steps"], first["best_step"], first["best_score"]) == (73, 72, 0.9)
    best, last = ((RUN / "seed-0" / name).read_bytes() for name in ("best.pt", "last.pt"))
    assert best == last
    seen = []
    train(plan_of(), seen.append)
    first = next(one for one in seen if one.seeds == (0,))
    assert (first.step, first.evaluation, first.best) == (73, None, (0.3,))
    assert {one.best for one in seen if one.evaluation is not None} == {(0.3,)}
    (first, _) = json.loads((RUN / record.SUMMARY).read_bytes())["replicas"]
    assert (first["steps"], first["best_step"], first["best_score"]) == (200, 50, 0.3)


def test_an_early_end_on_an_evaluation_step_has_no_evaluation_more(project):
    shutil.rmtree(project / ".reprogrok")
    train(replace(plan_of(), stop_at=51))
    assert record.read(RUN).replicas[0]["test_loss"].steps == (0, 50)
    assert record.read(RUN).replicas[0]["train_loss"].steps == (0, 50)


@pytest.mark.usefixtures("project")
def test_to_stop_where_the_schedule_ends_is_not_to_stop_early(trained):
    plan = replace(plan_of(), stop_at=200)
    assert not plan.stops_early
    train(plan)
    assert "stopped_at" not in json.loads((RUN / record.SPEC).read_bytes())
    assert (RUN / record.METRICS).read_bytes() == (trained / RUN / record.METRICS).read_bytes()
    assert not list(Path(".reprogrok/work").glob("*/seed-0"))
