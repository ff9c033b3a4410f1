"""`reprogrok reproduce` as a user runs it: what it trains, the verdict, and that stopping loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok import record
from reprogrok.commands.reproduce import next_seeds
from reprogrok.schema import load

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = """
format: reprogrok.claims/1
source: {file: log.txt, title: A log}
claims:
  - id: smoke-groks
    words: smoke groks on every seed
    at: 1
    says: With 200 steps at a width of 8, smoke reaches a validation exact match of 1.0 in at least 95 % of the seeds.
    kind: rate
    tier: statistical
    subject: {experiment: smoke}
    quantity: {name: grokked, definition: first-above/1.00,
      metric: test_exact_match, measured_as: exact/answer/validation-5000}
    expect: {rate: {between: [0.95, 1]}}
    contradicted_by: More than one seed in twenty that does not.
  - id: smoke-fails
    words: smoke does not grok
    at: 2
    says: Smoke does not reach a validation exact match of 1.0 in half of the seeds.
    kind: rate
    tier: statistical
    subject: {experiment: smoke}
    quantity: {name: grokked, definition: first-above/1.00,
      metric: test_exact_match, measured_as: exact/answer/validation-5000}
    expect: {rate: {between: [0, 0.5]}}
    contradicted_by: A rate above one half.
  - id: smoke-size
    words: 768 parameters
    at: 3
    says: Smoke's model has 1,128 parameters.
    kind: parameters
    tier: numeric
    subject: {data: smoke}
    quantity: {name: parameters, definition: unique-after-tying}
    expect: {value: 1128, tolerance: 0}
    contradicted_by: Another count.
  - id: smoke-seed-7
    words: seed 7 comes to nothing
    at: 4
    says: Seed 7 of smoke comes to a highest validation exact match of 0 on a CPU.
    kind: score
    tier: bitwise
    subject: {experiment: smoke}
    seed: 7
    device: cpu
    quantity: {name: highest, definition: exact/answer/validation-5000,
      metric: test_exact_match, measured_as: exact/answer/validation-5000}
    expect: {value: 0, tolerance: 0}
    contradicted_by: Seed 7 on a CPU with another score.
"""


@pytest.fixture
def claimed(project):
    """A project with four claims about smoke, and nothing trained."""
    (project / "audit" / "claims").mkdir()
    (project / "audit" / "claims" / "log.yaml").write_text(CLAIMS, "utf-8")
    return project


def test_a_dry_run_says_what_would_be_trained_and_trains_nothing(claimed, reprogrok):
    result = reprogrok("reproduce", "smoke-groks", "--seeds", "3", "--dry-run", cwd=claimed)
    assert result.returncode == 0, result.stderr
    assert "INCONCLUSIVE so far" in result.stdout
    assert "trains smoke, seeds 0 to 2, into runs/smoke-seeds-0-2" in result.stdout
    assert "each of the 3 takes 200 updates; params.yaml does not say how long that is" in result.stdout
    assert not (claimed / "runs").exists()
    assert not (claimed / ".reprogrok").exists()


def test_a_claim_that_no_number_of_seeds_decides_is_trained_for_only_on_request(reprogrok):
    words = ("reproduce", "log-456-rate", "--dry-run")
    result = reprogrok(*words, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "more than 10,000 more seeds" in result.stdout
    assert "nothing has to be trained: more seeds are not known to decide it" in result.stdout
    assert "trains e1, seeds 54 to 55, into runs/e1-seeds-54-55" in reprogrok(*words, "--seeds", 2, cwd=ROOT).stdout


def test_where_nothing_is_known_the_experiments_own_seeds_are_trained_and_judged(claimed, reprogrok):
    words = ("--workers", "1", "--quiet", "--collect", "seen.json")
    result = reprogrok("reproduce", "smoke-groks", *words, cwd=claimed)
    run = record.read(claimed / "runs" / "smoke-seeds-0-1")
    assert sorted(run.replicas) == [0, 1]
    # 0 of 2 is at most 0.84: that is below 0.95, so it is decided.
    assert result.returncode == 1, (result.stdout, result.stderr)
    assert "CONTRADICTED" in result.stdout
    seen = load(claimed / "seen.json", "evidence").data["observations"]
    assert [[replica["seed"] for replica in entry["replicas"]] for entry in seen] == [[0, 1]]
    assert not list((claimed / ".reprogrok" / "reproduce").iterdir())

    # 0 of 2 leaves the other claim open; what is trained next are seeds that nobody has.
    result = reprogrok("reproduce", "smoke-fails", "--seeds", "1", "--workers", "1", "--quiet", cwd=claimed)
    assert result.returncode == 3, (result.stdout, result.stderr)
    assert sorted(record.read(claimed / "runs" / "smoke-seeds-2-2").replicas) == [2]
    assert "0 of 3" in result.stdout

    # What is decided is judged and not trained again, unless that is asked for.
    result = reprogrok("reproduce", "smoke-groks", cwd=claimed)
    assert result.returncode == 1
    assert "nothing has to be trained" in result.stdout
    assert sorted(path.name for path in (claimed / "runs").iterdir()) == ["smoke-seeds-0-1", "smoke-seeds-2-2"]


def test_a_claim_about_data_is_judged_at_once(claimed, reprogrok):
    result = reprogrok("reproduce", "smoke-size", cwd=claimed)
    assert result.returncode == 0, (result.stdout, result.stderr)
    assert "nothing has to be trained: it is about data smoke" in result.stdout
    assert "REPRODUCED" in result.stdout
    assert not (claimed / "runs").exists()


def test_a_claim_about_one_seed_trains_that_seed(claimed, reprogrok):
    result = reprogrok("reproduce", "smoke-seed-7", "--workers", "1", "--quiet", cwd=claimed)
    assert sorted(record.read(claimed / "runs" / "smoke-seeds-7-7").replicas) == [7]
    assert result.returncode in {0, 1}, (result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smoke-grok"], "did you mean smoke-groks"),
        (["smoke-seed-7", "--seeds", "2"], "the claim is about seed 7 alone"),
        (["smoke-seed-7", "--device", "cuda"], "the claim is about another device"),
        (["smoke-groks", "--claims", "nowhere"], "no claims here"),
        (["smoke-groks", "--observed", "audit"], "it is a folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_trains_nothing(claimed, reprogrok, one_error, words, message):
    assert message in one_error(reprogrok("reproduce", *words, cwd=claimed))
    assert not (claimed / "runs").exists()


@pytest.mark.long(quick="test_where_nothing_is_known_the_experiments_own_seeds_are_trained_and_judged")
def test_stopped_the_same_command_resumes(claimed, reprogrok):
    text = (claimed / "params.yaml").read_text("utf-8")
    head, smoke = text.split("  smoke:\n")
    (claimed / "params.yaml").write_text(f"{head}  smoke:\n{smoke.replace('steps: 200', 'steps: 2000')}", "utf-8")
    words = ["reproduce", "smoke-groks", "--seeds", "2", "--workers", "1"]
    command = [sys.executable, "-m", "reprogrok", *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=claimed, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(claimed.glob(".reprogrok/work/*/seed-0/state-*.pt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    noted = json.loads((claimed / ".reprogrok/reproduce/smoke-groks.json").read_bytes())
    assert noted["trainings"] == [{"experiment": "smoke", "seeds": [0, 2], "device": None}]
    assert not (claimed / "runs/smoke-seeds-0-1").exists()
    result = reprogrok(*words, cwd=claimed)
    assert result.returncode == 1, (result.stdout, result.stderr)
    run = record.read(claimed / "runs" / "smoke-seeds-0-1")
    assert {seed: series["test_exact_match"].steps[-1] for seed, series in run.replicas.items()} == {0: 1_999, 1: 1_999}
    assert not (claimed / ".reprogrok/reproduce/smoke-groks.json").exists()


@pytest.mark.long(quick="test_where_nothing_is_known_the_experiments_own_seeds_are_trained_and_judged")
def test_of_a_comparison_that_was_stopped_between_its_sides_only_the_other_is_trained(claimed, reprogrok):
    text = (claimed / "params.yaml").read_text("utf-8")
    twin = text.split("  smoke:\n")[1].replace("lr: 0.015", "lr: 0.02")
    (claimed / "params.yaml").write_text(f"{text}\n  twin:\n{twin}", "utf-8")
    order = """
  - id: smoke-more-often
    words: smoke groks more often than its twin
    at: 5
    says: Smoke reaches a validation exact match of 1.0 on more seeds than its twin.
    kind: comparison
    tier: statistical
    subject: {experiment: smoke}
    against: {experiment: twin}
    quantity: {name: grokked, definition: first-above/1.00,
      metric: test_exact_match, measured_as: exact/answer/validation-5000}
    expect: {order: more-often}
    contradicted_by: The twin on significantly more seeds.
"""
    (claimed / "audit" / "claims" / "log.yaml").write_text(CLAIMS + order, "utf-8")
    done = reprogrok("train", "smoke", "--seeds", "0", "--out", "runs/smoke-seeds-0-0", "--quiet", cwd=claimed)
    assert done.returncode == 0, done.stderr
    before = (claimed / "runs/smoke-seeds-0-0" / record.TIMING).read_bytes()
    asked = {"claim": "smoke-more-often", "seeds": 1, "device": None, "runs": "runs"}
    trainings = [{"experiment": name, "seeds": [0, 1], "device": None} for name in ("smoke", "twin")]
    (claimed / ".reprogrok" / "reproduce").mkdir(parents=True)
    noted = claimed / ".reprogrok" / "reproduce" / "smoke-more-often.json"
    noted.write_text(json.dumps({"asked": asked, "trainings": trainings}), "utf-8")
    result = reprogrok("reproduce", "smoke-more-often", "--seeds", "1", "--quiet", cwd=claimed)
    assert result.returncode == 3, (result.stdout, result.stderr)
    assert sorted(path.name for path in (claimed / "runs").iterdir()) == ["smoke-seeds-0-0", "twin-seeds-0-0"]
    assert (claimed / "runs/smoke-seeds-0-0" / record.TIMING).read_bytes() == before


@given(st.frozensets(st.integers(0, 60)), st.integers(0, 50), st.integers(1, 10))
def test_the_next_seeds_are_the_first_free_run_of_them(used, first, count):
    chosen = next_seeds(used, first, count)
    assert len(chosen) == count
    assert not used & set(chosen)
    earlier = [start for start in range(first, chosen.start) if not used & set(range(start, start + count))]
    assert earlier == []
