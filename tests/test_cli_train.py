"""`reprogrok train` as a user runs it: what it leaves behind, that bytes repeat, and that stopping loses nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reprogrok import record
from reprogrok.errors import RecordError
from reprogrok.files import exclusive, sha256_file, write_hashed
from reprogrok.formats.checkpoints import load_checkpoint, load_state, state_bytes
from reprogrok.schema import load

RUN = Path("runs/smoke")
STEPS = [0, 50, 100, 150, 199]  # of smoke: every 50, and the last


def contents(folder):
    """Every file of a run but the clock readings: name -> bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != record.TIMING)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def start_training(folder, *words):
    """`reprogrok train smoke WORDS...` in a process group of its own, as a shell starts it; returns at once."""
    command = [sys.executable, "-m", "reprogrok", "train", "smoke", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for_work(folder, process, name):
    """Wait until `name` is in the work folder; returns its path."""
    deadline = time.monotonic() + 600  # a machine that others use may take minutes to start
    while not (found := sorted(folder.glob(f".reprogrok/work/*/{name}"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found[0]


@pytest.fixture(scope="module")
def stopped(made_once, trained):
    """A project whose run was asked to stop (SIGTERM) after the first evaluation; not to be changed."""
    return made_once("stopped", lambda folder: train_and_stop(folder, trained))


def train_and_stop(folder, trained):
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    process = start_training(folder, "--seeds", "0,1", "--workers", "2")
    for seed in (0, 1):
        wait_for_work(folder, process, f"seed-{seed}/state-*.pt")
    process.terminate()
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert output == ""
    assert "stopped; the same command resumes" in errors
    assert "Traceback" not in errors
    assert not (folder / "runs").exists() or tree(folder / "runs") == []


@pytest.fixture
def work(stopped, tmp_path):
    """The stopped project, to be changed: its folder, and the work of seed 0."""
    folder = shutil.copytree(stopped, tmp_path / "project")
    (seed,) = folder.glob(".reprogrok/work/*/seed-0")
    return folder, seed


def test_the_folder_is_the_one_that_the_design_describes(trained):
    assert tree(trained / RUN) == [
        *("fingerprint.json", "metrics.jsonl"),
        *(f"seed-{seed}{file}" for seed in (0, 1) for file in ("", "/best.pt", "/last.pt")),
        *("spec.json", "summary.json", "timing.jsonl"),
    ]
    assert tree(trained / "runs") == ["smoke", *(f"smoke/{name}" for name in tree(trained / RUN))]


def test_the_work_folder_is_empty_after_the_run_but_for_its_lock(trained):
    (work,) = (trained / ".reprogrok" / "work").iterdir()
    assert tree(work) == ["lock"]


def test_the_summary_holds_the_hash_of_every_other_file(trained):
    summary = load(trained / RUN / record.SUMMARY, "summary").data
    expected = {name for name in contents(trained / RUN) if name != record.SUMMARY}
    assert set(summary["files"]) == expected
    assert all(sha256_file(trained / RUN / name) == digest for name, digest in summary["files"].items())
    assert [(replica["seed"], replica["steps"]) for replica in summary["replicas"]] == [(0, 200), (1, 200)]


def test_the_metrics_have_one_line_per_replica_and_evaluation(trained):
    rows = [json.loads(line) for line in (trained / RUN / record.METRICS).read_text("utf-8").splitlines()]
    assert [(row["seed"], row["step"]) for row in rows] == [(seed, step) for seed in (0, 1) for step in STEPS]
    definitions = json.loads((trained / RUN / record.SPEC).read_bytes())["definitions"]
    assert all(set(row) == {"seed", "step", *definitions} for row in rows)
    assert rows[4]["train_loss"] < 1 < rows[0]["train_loss"]


def test_the_record_reads_and_registers_the_gate(trained):
    read = record.read(trained / RUN)
    assert (read.experiment, list(read.replicas)) == ("smoke", [0, 1])
    assert read.gates["smoke"].sha256 == sha256_file(trained / "audit" / "criteria" / "smoke.yaml")
    assert read.replicas[1]["test_exact_match"].steps == tuple(STEPS)


def test_a_changed_file_is_no_record_any_more(trained, tmp_path, reprogrok, one_error):
    run = shutil.copytree(trained / RUN, tmp_path / "run")
    with (run / record.METRICS).open("ab") as file:
        file.write(b"\n")
    line = one_error(reprogrok("plot", run, "--csv", "curves.csv", cwd=tmp_path))
    assert "metrics.jsonl: changed since the run wrote it: expected sha256 " in line
    assert not (tmp_path / "curves.csv").exists()


@pytest.mark.parametrize("name", ["seed-1/last.pt", "seed-0/best.pt", "fingerprint.json", "metrics.jsonl"])
def test_a_run_whose_summary_forgets_a_file_is_no_record(trained, tmp_path, name):
    run = shutil.copytree(trained / RUN, tmp_path / "run")
    summary = json.loads((run / record.SUMMARY).read_bytes())
    del summary["files"][name]
    (run / record.SUMMARY).write_text(json.dumps(summary), "utf-8")
    (run / name).unlink()
    with pytest.raises(RecordError, match=f"{name}: of a finished run, but not listed in its summary"):
        record.read(run)


def test_each_checkpoint_is_one_ordinary_model_with_its_own_seed(trained):
    for seed in (0, 1):
        best, last = (load_checkpoint(trained / RUN / f"seed-{seed}" / f"{name}.pt") for name in ("best", "last"))
        assert (best.origin.seed, best.origin.experiment, best.origin.digits) == (seed, "smoke", 10)
        assert (last.step, last.claimed_parameters) == (199, 1128)
        assert best.claimed_score >= last.claimed_score


def test_the_table_says_what_was_reached_and_fits_a_terminal(trained, reprogrok, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "project", ignore=shutil.ignore_patterns("runs"))
    result = reprogrok("train", "smoke", "--seeds", "1", "--steps", "30", "--out", "out/one", cwd=folder)
    assert result.returncode == 0
    assert result.stdout.startswith("smoke, published in out/one: exact match on each seed's 5,000 validation pairs\n")
    assert "0 of 1 seed reached 1.0 (rate at most 0.975, 95 %, exact)" in result.stdout
    assert "seed 1  step      30 of 30  exact 0.0000 (batch 0.0000)  loss 0." in result.stderr
    spec = json.loads((folder / "out/one/spec.json").read_bytes())
    assert (spec["spec"]["steps"], spec["facts"]["steps"], spec["seeds"]) == (30, 30, [1])
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_bytes_do_not_depend_on_workers_seed_syntax_folder_hash_seed_time_zone_or_locale(trained, tmp_path, reprogrok):
    folder = shutil.copytree(trained, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    strange = {"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}
    result = reprogrok("train", "smoke", "--seeds", "0:2", "--workers", "1", cwd=folder, **strange)
    assert result.returncode == 0, result.stderr
    assert contents(folder / RUN) == contents(trained / RUN)


def test_a_run_that_was_asked_to_stop_goes_on_as_if_it_had_not(work, trained, reprogrok):
    folder, seed = work
    before = load_state(newest(seed))["step"]
    assert 1 <= before < 200
    # The criteria were changed in between: the run keeps those that it began with.
    with (folder / "audit" / "criteria" / "smoke.yaml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    result = reprogrok("train", "smoke", "--seeds", "0,1", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert contents(folder / RUN) == contents(trained / RUN)
    rates = [json.loads(line) for line in (folder / RUN / record.TIMING).read_text("utf-8").splitlines()]
    assert len(rates) == 2 * len(STEPS)


@pytest.mark.long(quick="test_a_run_that_was_asked_to_stop_goes_on_as_if_it_had_not")
def test_ctrl_c_while_workers_start_and_a_kill_of_all_lose_nothing(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "project", ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    words = ("--seeds", "0,1", "--workers", "2")
    first = start_training(folder, *words)
    wait_for_work(folder, first, "seed-1/lock")  # the workers are about to start
    time.sleep(0.3)
    os.killpg(first.pid, signal.SIGINT)  # what Ctrl-C does in a terminal: everyone gets it
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 128 + signal.SIGINT, errors
    assert "Traceback" not in errors

    second = start_training(folder, *words)
    wait_for_work(folder, second, "seed-1/state-*.pt")
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate(timeout=600)
    assert not (folder / RUN).exists()

    third = start_training(folder, *words)
    _, errors = third.communicate(timeout=120)
    assert third.returncode == 0, errors
    assert contents(folder / RUN) == contents(trained / RUN)


def test_a_worker_that_dies_is_an_error_and_loses_nothing(stopped, tmp_path):
    folder = shutil.copytree(stopped, tmp_path / "project", ignore=shutil.ignore_patterns(".reprogrok"))
    process = start_training(folder, "--seeds", "0,1", "--workers", "2")
    wait_for_work(folder, process, "seed-0/state-*.pt")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not list a process's children")
    workers = [int(child) for child in children.read_text("ascii").split()]
    spawned = [child for child in workers if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(spawned[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith("error: a worker process died")
    assert list(folder.glob(".reprogrok/work/*/seed-0/state-*.pt"))


@pytest.mark.long(quick="test_a_worker_that_dies_is_an_error_and_loses_nothing")
def test_workers_whose_parent_was_killed_save_and_leave(trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "project", ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    process = start_training(folder, "--seeds", "0,1,2", "--workers", "2")
    wait_for_work(folder, process, "seed-1/state-*.pt")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not list a process's children")
    workers = [Path(f"/proc/{child}") for child in children.read_text("ascii").split()]
    process.kill()
    process.communicate(timeout=600)
    deadline = time.monotonic() + 600  # a machine that others use may take minutes to start
    while alive := [
        worker for worker in workers if worker.exists() and b"spawn_main" in (worker / "cmdline").read_bytes()
    ]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def test_a_second_trainer_of_the_same_work_is_told_so(work, reprogrok, one_error):
    folder, seed = work
    with exclusive(seed.parent / "lock", "a test"):
        line = one_error(reprogrok("train", "smoke", "--seeds", "0,1", cwd=folder))
    assert line.startswith("another process is training smoke (it holds .reprogrok/work/")


def test_a_worker_left_over_from_a_dead_run_is_not_raced(work, reprogrok, one_error):
    folder, seed = work
    with exclusive(seed / "lock", "a test"):
        line = one_error(reprogrok("train", "smoke", "--seeds", "0", cwd=folder))
    assert line.startswith("another process is training smoke, seed 0 (it holds ")


def newest(seed):
    return max(seed.glob("state-*.pt"), key=lambda path: int(path.name.split(".")[0].removeprefix("state-")))


def only_newest(seed):
    for path in set(seed.glob("state-*.pt")) - {newest(seed)}:
        path.unlink()
    return newest(seed)


def rewritten(seed, **changes):
    """Every state as if it had been saved with these changes."""
    for path in seed.glob("state-*.pt"):
        content = load_state(path) | changes
        path.unlink()
        write_hashed(seed, f"state-{content['step']}", state_bytes(content))


def other_fingerprint(seed):
    rewritten(seed, fingerprint=load_state(newest(seed))["fingerprint"] | {"torch": "1.0"})


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def misnamed(path):
    path.rename(path.with_name("state-150.pt"))


def foreign(seed):
    only_newest(seed).unlink()
    write_hashed(seed, "state-51", state_bytes({"step": 3}))


def without_metrics(seed):
    (seed / record.METRICS).write_bytes(b"")


def metrics_changed(seed):
    (seed / record.METRICS).write_bytes((seed / record.METRICS).read_bytes().replace(b"train_loss", b"Train_loss"))


def other_criteria(seed):
    rewritten(seed, gates="{}")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (other_fingerprint, "another fingerprint (torch: 1.0 -> 2."),
        (lambda seed: truncated(only_newest(seed)), "damaged: its bytes are not those that were saved"),
        (lambda seed: flipped(only_newest(seed)), "damaged: its bytes are not those that were saved"),
        (lambda seed: misnamed(only_newest(seed)), "damaged: its bytes are not those that were saved"),
        (foreign, "not the saved work of a run"),
        (without_metrics, "metrics.jsonl: cut short"),
        (metrics_changed, "metrics.jsonl: changed since it was streamed"),
        (other_criteria, "registered other criteria"),
    ],
)
def test_work_that_cannot_be_gone_on_with_is_refused_with_advice(work, reprogrok, one_error, damage, expected):
    folder, seed = work
    damage(seed)
    before = contents(folder)
    line = one_error(reprogrok("train", "smoke", "--seeds", "0,1", cwd=folder))
    assert expected in line
    assert "remove " in line
    assert seed.relative_to(folder).as_posix() in line
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert not (folder / RUN).exists()


def test_the_older_name_of_the_backend_option_still_works(project, reprogrok):
    for option in ("--backend", "--path"):
        result = reprogrok("train", "smoke", "--steps", "5000", option, "eager", "--dry-run", cwd=project)
        assert result.returncode == 0, result.stderr
        assert re.search(r"backend +eager, bitwise", result.stdout)


def test_a_dry_run_prints_the_plan_and_writes_nothing(project, reprogrok):
    before = tree(project)
    result = reprogrok("train", "smoke", "--seeds", "3:11", "--steps", "60", "--dry-run", cwd=project)
    assert (result.returncode, result.stderr) == (0, "")
    plan = {words[0]: words[1] for line in result.stdout.splitlines() if len(words := line.split(maxsplit=1)) == 2}
    assert plan["steps"].startswith("60, evaluated after 3 of them")
    assert plan["backend"].strip() == "eager, bitwise"
    assert plan["seeds"].strip() == "3 to 10"
    assert plan["gates"].split() == ["registered", "smoke"]
    assert tree(project) == before


def test_a_folder_that_is_not_a_run_is_refused_and_untouched(project, reprogrok, one_error):
    (project / "thesis").mkdir()
    (project / "thesis" / "chapter.txt").write_text("years of work", "utf-8")
    line = one_error(reprogrok("train", "smoke", "--out", "thesis", cwd=project))
    assert line.startswith("thesis: exists and is not a run")
    assert tree(project / "thesis") == ["chapter.txt"]
    assert not (project / ".reprogrok").exists()


def test_a_file_that_is_not_of_the_run_is_not_lost_with_it(trained, project, reprogrok, one_error):
    shutil.copytree(trained / RUN, project / RUN)
    (project / RUN / "seed-0" / "notes.txt").write_text("what I saw", "utf-8")
    line = one_error(reprogrok("train", "smoke", cwd=project))
    assert line.startswith("runs/smoke/seed-0/notes.txt: not part of the run that would be replaced")
    assert (project / RUN / "seed-0" / "notes.txt").exists()


def test_a_place_that_cannot_be_written_is_refused_before_the_first_step(project, reprogrok, one_error):
    line = one_error(reprogrok("train", "smoke", "--out", "params.yaml/run", cwd=project))
    assert line == "params.yaml/run: a run cannot be published here: Not a directory"
    assert not list(project.glob(".reprogrok/work/*/seed-*"))


def test_an_earlier_run_is_replaced_whole(work, trained, reprogrok):
    folder, _ = work
    shutil.copytree(trained / RUN, folder / RUN)
    (folder / RUN / "seed-1" / "last.pt").unlink()
    result = reprogrok("train", "smoke", "--seeds", "0", "--workers", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert [name for name in tree(folder / "runs") if name.endswith(".pt")] == [
        "smoke/seed-0/best.pt",
        "smoke/seed-0/last.pt",
    ]
    alone, both = contents(folder / RUN), contents(trained / RUN)
    assert [alone[f"seed-0/{name}.pt"] for name in ("best", "last")] == [
        both[f"seed-0/{name}.pt"] for name in ("best", "last")
    ]
