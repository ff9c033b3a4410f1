"""Runs that end before their schedule, checkpoints on the way, changed fingerprints, and states that were damaged."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
from test_cli_train import (
    RUN,
    contents,
    flipped,
    misnamed,
    newest,
    other_fingerprint,
    rewritten,
    start_training,
    truncated,
    wait_for_work,
)

from reprogrok import record
from reprogrok.errors import InputError, RecordError
from reprogrok.formats import checkpoints
from reprogrok.formats.checkpoints import load_checkpoint, load_state
from reprogrok.schema import load

ALONE = ("--workers", "1")  # in the process itself, without those that workers start


@pytest.fixture(scope="module")
def stopped_at_120(made_once, trained, reprogrok):
    """A project whose run of two seeds was ended after 120 of 200 steps, with checkpoints; not to be changed."""

    def make(folder):
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".reprogrok"))
        result = reprogrok("train", "smoke", *ALONE, "--stop-at", "120", "--checkpoints", "0:200:50", cwd=folder)
        assert result.returncode == 0, result.stderr
        assert "stopped after 120 of 200 steps; the work is kept" in result.stdout

    return made_once("stopped_at_120", make)


@pytest.fixture
def early(stopped_at_120, tmp_path):
    """The run that ended early, to be changed: its project, and the work of seed 0."""
    folder = shutil.copytree(stopped_at_120, tmp_path / "project")
    (seed,) = folder.glob(".reprogrok/work/*/seed-0")
    return folder, seed


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        *(
            pytest.param(
                damage, marks=pytest.mark.long(quick="test_a_damaged_newest_state_is_named_and_the_one_before_it_taken")
            )
            for damage in (truncated, misnamed)
        ),
    ],
)
def test_a_damaged_newest_state_is_named_and_the_one_before_it_taken(early, trained, reprogrok, damage):
    folder, seed = early
    assert sorted(path.name.split(".")[0] for path in seed.glob("state-*")) == ["state-101", "state-120"]
    damage(newest(seed))
    result = reprogrok("train", "smoke", *ALONE, cwd=folder)
    assert result.returncode == 0, result.stderr
    (warning,) = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert re.search(r"passed over: \S+/seed-0/state-1\S+: damaged: .*; resuming from step 101$", warning)
    assert contents(folder / RUN) == contents(trained / RUN)


def test_a_run_that_ended_early_is_a_record_of_the_whole_schedule_as_far_as_it_came(early, trained):
    folder, seed = early
    read, whole = record.read(folder / RUN), record.read(trained / RUN)
    spec = load(folder / RUN / record.SPEC, "run").data
    assert (spec["stopped_at"], spec["spec"]["steps"], spec["facts"]["steps"]) == (120, 200, 200)
    for number in (0, 1):
        scores = read.replicas[number]["test_exact_match"]
        assert scores.steps == (0, 50, 100, 119), "one evaluation more, of the last update"
        losses = read.replicas[number]["train_loss"]
        assert losses.steps == (0, 50, 100)
        assert losses.values == whole.replicas[number]["train_loss"].values[:3]
        assert load_checkpoint(folder / RUN / f"seed-{number}" / "last.pt").step == 119
    assert b'"step":119' not in (seed / record.METRICS).read_bytes(), "the work knows nothing of it"


def test_a_run_that_ended_early_goes_on_as_if_it_had_not(early, trained, reprogrok):
    folder, _ = early
    later = reprogrok("train", "smoke", *ALONE, "--stop-at", "160", "--checkpoints", "0:200:50", cwd=folder)
    assert later.returncode == 0, later.stderr
    assert json.loads((folder / RUN / record.SPEC).read_bytes())["stopped_at"] == 160
    result = reprogrok("train", "smoke", *ALONE, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert contents(folder / RUN) == contents(trained / RUN)
    assert "stopped after" not in result.stdout


def test_a_stop_behind_the_work_is_refused(early, reprogrok, one_error):
    folder, _ = early
    before = contents(folder)
    line = one_error(reprogrok("train", "smoke", "--stop-at", "119", cwd=folder))
    assert line.startswith("--stop-at: the work in .reprogrok/work/")
    assert line.endswith("is further: expected at least 120, found 119")
    assert contents(folder) == before


def test_checkpoints_are_ordinary_ones_and_change_nothing_else(early, trained, reprogrok):
    folder, _ = early
    result = reprogrok("train", "smoke", *ALONE, "--checkpoints", "0,50,100,150,199", "--keep", "3", cwd=folder)
    assert result.returncode == 0, result.stderr
    ours, plain = contents(folder / RUN), contents(trained / RUN)
    extra = {f"seed-{seed}/step-{step}.pt" for seed in (0, 1) for step in (100, 150, 199)}
    assert set(ours) - set(plain) == extra
    assert {name for name in plain if ours[name] != plain[name]} == {record.SPEC, record.SUMMARY}
    assert json.loads(ours[record.SPEC])["checkpoints"] == {"steps": [0, 50, 100, 150, 199], "keep": 3}
    assert extra <= set(json.loads(ours[record.SUMMARY])["files"])
    assert ours["seed-1/step-199.pt"] == ours["seed-1/last.pt"]
    middle = load_checkpoint(folder / RUN / "seed-1" / "step-100.pt")
    assert (middle.step, middle.origin.seed) == (100, 1)
    assert set(record.read(folder / RUN).replicas) == {0, 1}


@pytest.mark.long(quick="test_a_stop_behind_the_work_is_refused")
def test_a_checkpoint_that_the_work_has_passed_cannot_be_asked_for_later(early, reprogrok, one_error):
    folder, seed = early
    for path in seed.glob("step-0.*"):
        path.unlink()
    line = one_error(reprogrok("train", "smoke", *ALONE, "--checkpoints", "0,150", cwd=folder))
    assert "the checkpoint of step 0, seed 0, was not kept); remove .reprogrok/work/" in line
    result = reprogrok("train", "smoke", *ALONE, "--checkpoints", "0,100,150", "--keep", "1", cwd=folder)
    assert (result.returncode, "warning" in result.stderr) == (0, False), "nobody asks for step 0 any more"


@pytest.mark.long(quick="test_a_damaged_newest_state_is_named_and_the_one_before_it_taken")
def test_a_damaged_checkpoint_is_made_again_if_a_state_before_it_is_there(early, reprogrok, one_error):
    folder, seed = early
    words = ("train", "smoke", *ALONE, "--checkpoints", "0:200:50")
    (kept,) = seed.glob("step-100.*")
    good = kept.read_bytes()
    flipped(kept)
    line = one_error(reprogrok(*words, cwd=folder))  # both states stand behind step 100
    assert "the checkpoint of step 100, seed 0, is damaged); remove .reprogrok/work/" in line
    kept.write_bytes(good)
    further = reprogrok(*words, "--stop-at", "151", cwd=folder)
    assert further.returncode == 0, further.stderr
    (later,) = seed.glob("step-150.*")
    good = later.read_bytes()
    flipped(later)
    result = reprogrok(*words, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "passed over: " in result.stderr
    assert "the checkpoint of step 150, seed 0, is damaged; resuming from step 120\n" in result.stderr
    assert (folder / RUN / "seed-0" / "step-150.pt").read_bytes() == good


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--stop-at", "0"), "--stop-at: expected 1 to 200 updates, found 0"),
        (("--stop-at", "201"), "--stop-at: expected 1 to 200 updates, found 201"),
        (("--keep", "1"), "--keep: nothing to keep: expected --checkpoints STEPS next to it"),
        (
            ("--checkpoints", "80"),
            "--checkpoints: not an evaluation step (the nearest is 100): expected multiples of 50",
        ),
        (
            ("--checkpoints", "198"),
            "--checkpoints: not an evaluation step (the nearest is 199): expected multiples of 50",
        ),
        (
            ("--checkpoints", "0:1000:50"),
            "--checkpoints: not an evaluation step (the nearest is 199): expected multiples",
        ),
        (("--checkpoints", "0:100:0"), "--checkpoints: expected steps as 500,1000 or a range"),
        (("--checkpoints", "soon"), "--checkpoints: expected steps as 500,1000 or a range"),
        (("--checkpoints", ""), "--checkpoints: expected steps as 500,1000 or a range"),
    ],
)
def test_a_stop_or_a_checkpoint_that_cannot_be_is_refused(project, reprogrok, one_error, words, expected):
    assert one_error(reprogrok("train", "smoke", *words, cwd=project)).startswith(expected)
    assert not (project / ".reprogrok").exists()


@pytest.mark.long(quick="test_cli_train.py::test_a_run_that_was_asked_to_stop_goes_on_as_if_it_had_not")
def test_a_signal_to_a_run_that_will_end_early_keeps_its_work(early, trained, tmp_path):
    folder, _ = early
    words = ("--seeds", "7", "--stop-at", "1900", "--steps", "2000", "--checkpoints", "0:1900:50", "--keep", "2")
    process = start_training(folder, *words)
    wait_for_work(folder, process, "seed-7/state-*.pt")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGINT, errors
    (seed,) = folder.glob(".reprogrok/work/*/seed-7")
    assert len(list(seed.glob("step-*.pt"))) <= 3, "pruned while the run goes on"
    again = start_training(folder, *words)
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert sorted(path.name for path in (folder / RUN / "seed-7").glob("step-*")) == ["step-1800.pt", "step-1850.pt"]
    undisturbed = shutil.copytree(trained, tmp_path / "other", ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    alone = start_training(undisturbed, *words)
    _, errors = alone.communicate(timeout=600)
    assert alone.returncode == 0, errors
    assert contents(folder / RUN) == contents(undisturbed / RUN)


def test_a_changed_fingerprint_is_allowed_on_request_and_the_record_says_so(early, trained, reprogrok):
    folder, seed = early
    other_fingerprint(seed)
    words = ("train", "smoke", *ALONE, "--seeds", "0,1")
    refused = reprogrok(*words, cwd=folder)
    assert (refused.returncode, "--allow-fingerprint-change" in refused.stderr) == (2, True)
    result = reprogrok(*words, "--allow-fingerprint-change", cwd=folder)
    assert result.returncode == 0, result.stderr
    written = load(folder / RUN / record.FINGERPRINT, "fingerprint").data
    (earlier,) = written["earlier"]
    assert (earlier["until_step"], earlier["seeds"], earlier["fingerprint"]["torch"]) == (120, [0], "1.0")
    version = written["torch"]
    assert f"seed 0: another fingerprint until step 120 (torch: 1.0 -> {version})" in result.stdout
    ours, plain = contents(folder / RUN), contents(trained / RUN)
    different = {name for name in plain if ours[name] != plain[name]}
    assert different == {record.FINGERPRINT, record.SUMMARY}, "here the bits did not change"
    assert record.read(folder / RUN).fingerprint["earlier"] == [earlier]
    judged = reprogrok("sanity", "smoke", cwd=folder)
    assert f"fingerprint:  seed 0: another fingerprint until step 120 (torch: 1.0 -> {version})" in judged.stdout
    document = json.loads(reprogrok("sanity", "smoke", "--format", "json", cwd=folder).stdout)
    assert document["run"]["earlier_fingerprints"] == [earlier]


def test_a_fingerprint_that_changed_twice_is_told_twice(early, reprogrok):
    folder, _ = early
    for seed in folder.glob(".reprogrok/work/*/seed-*"):
        first = load_state(newest(seed))["fingerprint"] | {"torch": "1.0"}
        rewritten(seed, fingerprint=first | {"python": "2.7"}, earlier=[{"until_step": 60, "fingerprint": first}])
    result = reprogrok("train", "smoke", *ALONE, "--allow-fingerprint-change", cwd=folder)
    assert result.returncode == 0, result.stderr
    earlier = load(folder / RUN / record.FINGERPRINT, "fingerprint").data["earlier"]
    assert [(one["until_step"], one["seeds"]) for one in earlier] == [(60, [0, 1]), (120, [0, 1])]
    assert [one["fingerprint"]["python"] == "2.7" for one in earlier] == [False, True]


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "step-50.pt"])
def test_a_checkpoint_of_a_record_is_compared_before_it_is_parsed(early, reprogrok, one_error, monkeypatch, name):
    folder, _ = early
    path = folder / RUN / "seed-0" / name
    flipped(path)
    line = one_error(reprogrok("predict", path.relative_to(folder), 1, 2, cwd=folder))
    assert f"seed-0/{name}: changed since the run wrote it: expected sha256 " in line
    linked = folder / "linked.pt"
    linked.symlink_to(path)
    monkeypatch.setattr(checkpoints, "_read_pt", pytest.fail)
    for reached in (path, linked, folder / "runs" / ".." / RUN / "seed-0" / name):
        with pytest.raises(RecordError, match="changed since the run wrote it"):
            load_checkpoint(reached)
    monkeypatch.chdir(path.parent)
    with pytest.raises(RecordError, match="changed since the run wrote it"):
        load_checkpoint(Path(name))


def test_a_checkpoint_that_no_run_lists_is_read_and_a_broken_summary_is_told(early):
    folder, _ = early
    path = folder / RUN / "seed-0" / "best.pt"
    own = shutil.copy(path, path.with_name("own.pt"))
    elsewhere = shutil.copytree(path.parent, folder / "seed-0") / "best.pt"
    flipped(path)
    for copy in (own, elsewhere):
        assert load_checkpoint(copy).origin.seed == 0
    (folder / RUN / record.SUMMARY).write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"summary\.json:1"):
        load_checkpoint(own)
