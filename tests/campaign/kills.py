"""Real runs of several processes, killed at random times and started again until they end; and a killed `dvc repro`.

Nothing is patched here: the shell's command, its workers, and SIGKILL to all of them, to the parent or to one worker.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from small_pipeline import Repository, lay_pipeline
from victim import RUN, contents, lay

from reprogrok.formats.checkpoints import checkpoint_bytes
from reprogrok.formats.origins import Origin
from reprogrok.model.initialise import initial_weights
from reprogrok.spec.model import ModelSpec

STEPS = 600  # of each seed that is killed at random
REPRO_STEPS = 2_000
WORDS = ("train", "smoke", "--seeds", "0,1,2", "--workers", "2", "--checkpoints", f"0:{STEPS}:100", "--keep", "3")
COMMAND = (sys.executable, "-m", "reprogrok", *WORDS)
TARGETS = ("all", "all", "parent", "worker")  # who is killed, in turn


def random_kills(folder: Path, kills: int) -> tuple[int, list[str]]:
    """Kill runs until `kills` kills have struck; how many did, and what was lost."""
    draw = np.random.default_rng(7)
    undisturbed = lay(folder / "undisturbed", steps=str(STEPS))
    began = time.monotonic()
    subprocess.run(COMMAND, cwd=undisturbed, check=True, capture_output=True)
    whole = time.monotonic() - began
    expected, struck, lost, number = contents(undisturbed / RUN), 0, [], 0
    while struck < kills:
        number += 1
        place = lay(folder / f"killed-{number}", steps=str(STEPS))
        while True:
            began = time.monotonic()
            code, errors, killed = _run_and_kill(
                place, float(draw.uniform(0, whole)), struck if struck < kills else None
            )
            struck += killed
            if code == 0:
                whole = min(whole, time.monotonic() - began)  # a kill that comes after the end strikes nobody
                break
            if not killed and not (
                code == 2 and ("another process is training" in errors or "worker process" in errors)
            ):
                lost.append(f"run {number}: exit {code}: {errors.strip()[-300:]}")
                break
        if code == 0 and contents(place / RUN) != expected:
            lost.append(f"run {number}: other bytes than those of an undisturbed run")
        shutil.rmtree(place)
    return struck, lost


def _run_and_kill(place: Path, after: float, number: int | None) -> tuple[int, str, bool]:
    """Start the command and kill somebody `after` seconds; its exit code, its errors, and whether the kill struck."""
    errors_file = place / "stderr"
    with errors_file.open("wb") as errors:
        process = subprocess.Popen(COMMAND, cwd=place, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
    struck = False
    try:
        process.wait(after if number is not None else None)
    except subprocess.TimeoutExpired:
        struck = _kill(process, TARGETS[number % len(TARGETS)])
    process.wait()
    text = errors_file.read_text("utf-8", "replace")
    errors_file.unlink()
    return process.returncode, text, struck


def _kill(process: subprocess.Popen[bytes], target: str) -> bool:
    if target == "all":
        os.killpg(process.pid, signal.SIGKILL)
        return True
    if target == "parent":
        process.kill()
        return True
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
    workers = [int(child) for child in children if b"spawn_main" in _command_line(child)]
    for worker in workers[:1]:
        os.kill(worker, signal.SIGKILL)
    return bool(workers)


def _command_line(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def killed_repro(folder: Path, kills: int) -> tuple[int, list[str]]:
    """Kill `dvc repro` while it trains, repeat it, and compare dvc.lock with that of an undisturbed repository."""
    undisturbed, disturbed = (Repository(folder / name / "repository") for name in ("calm", "killed"))
    spec = ModelSpec(n_layer=1, d_model=8, n_head=2, d_ff=16, max_seq_len=12, vocab_size=14)
    given = checkpoint_bytes(spec, initial_weights(spec, 0), Origin("smoke", 3, 0, "0" * 64), 7, 0.5)
    for repository in (undisturbed, disturbed):
        lay_pipeline(repository, given, steps=REPRO_STEPS)
    undisturbed.dvc("repro")
    struck = 0
    for kill in range(kills):
        process = subprocess.Popen(
            ("dvc", "repro"), cwd=disturbed.folder, env=disturbed.environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            states = [path.name for path in disturbed.folder.glob(".reprogrok/work/*/seed-3/state-*.pt")]
            if any(int(name.split(".")[0].split("-")[1]) > 500 * (kill + 1) for name in states):
                os.killpg(process.pid, signal.SIGKILL)
                struck += 1
                break
            time.sleep(0.02)
        process.wait()
    disturbed.dvc("repro")
    calm, killed = ((repository.folder / "dvc.lock").read_bytes() for repository in (undisturbed, disturbed))
    return struck, [] if calm == killed else ["dvc.lock differs from that of an undisturbed repository"]
