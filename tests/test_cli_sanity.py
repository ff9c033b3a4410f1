"""`reprogrok sanity` as a user runs it: what is printed, what is written, and the exit code, from one verdict."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reprogrok.cli.options import VerdictFormat
from reprogrok.files import canonical_json, pretty_json, sha256_file
from reprogrok.gates.documents import DOCUMENTS
from reprogrok.gates.gate_files import load_gate
from reprogrok.schema import validator

ROOT = Path(__file__).resolve().parents[1]
V2B = ROOT / "audit" / "criteria" / "v2b.yaml"

# v2b with a limit on the entropy that can be met: a gate that a run can pass.
PASSABLE = V2B.read_text("utf-8").replace("more_than: 2.0", "more_than: 0.2")


def sanity(*arguments, cwd=ROOT, **environment):
    command = [sys.executable, "-m", "reprogrok", "sanity", *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "80"} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False, encoding="utf-8")


@pytest.fixture
def passable(tmp_path):
    path = tmp_path / "criteria" / "v2b.yaml"
    path.parent.mkdir()
    path.write_text(PASSABLE, "utf-8")
    return path


@pytest.fixture
def our_run(tmp_path):
    """Write a finished run of ours with two replicas that pass the passable gate; returns its folder."""

    def write(gates, *, ranks=(40.0, 40.0), seeds=(1, 2)):
        folder = tmp_path / "runs" / "v2b"
        folder.mkdir(parents=True)
        lines = []
        for seed, rank in enumerate(ranks, 1):
            for step in range(100, 20_001, 100):
                analysed = {"final_layer_rank": rank, "attention_entropy": 1.0} if step % 500 == 0 else {}
                lines.append(canonical_json({"seed": seed, "step": step, "test_accuracy": 0.01} | analysed))
        spec = {
            "format": "reprogrok.spec/1",
            "experiment": "v2b",
            "digest": "0" * 64,
            "engine_version": 1,
            "seeds": list(seeds),
            "device": "cpu",
            "spec": {},
            "definitions": {
                "test_accuracy": "argmax/answer",
                "final_layer_rank": "pca99/blockin",
                "attention_entropy": "attn/all-queries",
            },
            "facts": {"positions": 8, "width": 64},
            "gates": gates,
        }
        (folder / "spec.json").write_bytes(pretty_json(spec))
        (folder / "fingerprint.json").write_bytes(pretty_json({"device": "cpu", "torch": "2.13.0", "python": "3.11.7"}))
        (folder / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        for name in (weights := [f"seed-{seed}/{part}.pt" for seed in seeds for part in ("best", "last")]):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"")
        replica = {
            "steps": 20_000, "best_step": 100, "best_score": 0.01,
            "last_score": 0.01, "first_perfect_step": None,
        }  # fmt: skip
        summary = {
            "format": "reprogrok.run/2",
            "experiment": "v2b",
            "spec_digest": "0" * 64,
            "score": "test_accuracy",
            "replicas": [{"seed": seed} | replica for seed in seeds],
            "files": {
                name: sha256_file(folder / name)
                for name in ("spec.json", "fingerprint.json", "metrics.jsonl", *weights)
            },
        }
        (folder / "summary.json").write_bytes(pretty_json(summary))
        return folder

    return write


def test_the_recorded_v2b_run_is_no_go(fixtures_dir):
    run = fixtures_dir / "runs" / "v2b_conflict_split"
    table = sanity("v2b", "--run", run)
    assert table.returncode == 1
    assert table.stdout.startswith("v2b: NO_GO (exit 1): 4 criteria: 2 hold, 2 fail\n")
    document = sanity("v2b", "--run", run, "--format", "json")
    assert document.returncode == 1
    verdict = json.loads(document.stdout)
    assert verdict["exit_code"] == 1
    assert verdict["gate"]["sha256"] == sha256_file(V2B)
    assert {item["id"]: item["outcome"] for item in verdict["criteria"]} == {
        "accuracy-stays-low": "HOLDS",
        "rank-high-and-flat": "FAILS",
        "no-entropy-collapse": "FAILS",
        "no-accuracy-jump": "HOLDS",
    }
    (rank,) = verdict["criteria"][1]["replicas"]
    assert rank["conditions"][0] == {
        "condition": "always >= 30",
        "outcome": "FAILS",
        "worst": {"step": 500, "value": 13.0, "since": None},
        "margin": -17.0,
        "first_violation": {"step": 500, "value": 13.0, "since": None},
        "note": "",
    }
    (finding,) = verdict["findings"]
    assert (finding["kind"], finding["criterion"]) == ("IMPOSSIBLE", "no-entropy-collapse")
    assert "ln(8!)/8 = 1.3256 nats" in finding["arithmetic"]
    assert finding["arithmetic"] in table.stdout


@pytest.mark.parametrize(("name", "rise"), [("v1_baseline", 0.269394), ("v2a_interpolation_regime", 0.388194)])
def test_the_other_recorded_runs_fail_every_criterion_of_v2b(fixtures_dir, name, rise):
    result = sanity("v2b", "--run", fixtures_dir / "runs" / name)
    assert result.returncode == 1
    assert "4 criteria: 4 fail" in result.stdout
    assert f" {rise} " in result.stdout


def test_a_run_that_keeps_every_criterion_is_go(columns_run, passable):
    result = sanity("v2b", "--run", columns_run(), "--criteria", passable)
    assert (result.returncode, result.stderr) == (0, "")
    assert "v2b: GO (exit 0): 4 criteria: 4 hold" in result.stdout
    assert "UNREGISTERED" in result.stdout
    assert "IMPOSSIBLE" not in result.stdout


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"steps": 5_000}, "150 of 200 points missing, the first at step 5,100 (the record ends at step 5,000)"),
        ({"metrics": lambda m: m["test_accuracy"].__setitem__(49, math.nan)}, "not a number, the first at step 5,000"),
        ({"metrics": lambda m: m.pop("test_accuracy")}, "test_accuracy is missing"),
        ({"analysis": lambda a: a.pop("representation_rank")}, "final_layer_rank is missing"),
        ({"analysis": dict.clear}, None),
    ],
)  # fmt: skip
def test_damage_is_never_go(columns_run, passable, damage, reason):
    result = sanity("v2b", "--run", columns_run(**damage), "--criteria", passable)
    if reason is None:
        assert (result.returncode, result.stdout) == (2, "")
        assert "$.step: no column of steps" in result.stderr
    else:
        assert result.returncode == 3
        assert "v2b: INCONCLUSIVE (exit 3)" in result.stdout
        assert reason in result.stdout


def test_a_violation_outweighs_a_missing_file(columns_run, passable):
    folder = columns_run(metrics=lambda m: m["test_accuracy"].__setitem__(0, 0.9))
    (folder / "logs" / "analysis.json").unlink()
    result = sanity("v2b", "--run", folder, "--criteria", passable)
    assert result.returncode == 1
    assert "attention_entropy is missing" in result.stdout


def test_our_run_is_judged_in_its_default_place_and_registered(our_run, passable, tmp_path):
    our_run({"v2b": {"sha256": sha256_file(passable), "criteria": {"gate": "v2b"}}})
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "4 criteria x 2 seeds: 8 hold" in result.stdout
    assert "registration: REGISTERED" in result.stdout


@pytest.mark.usefixtures("passable")
def test_amended_criteria_show_the_difference_and_withhold_a_go_until_it_is_accepted(our_run, tmp_path):
    registered = load_gate(V2B)
    our_run({"v2b": {"sha256": registered.sha256, "criteria": registered.content}})
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert result.returncode == 3
    assert result.stdout.startswith("v2b: INCONCLUSIVE (exit 3): 4 criteria x 2 seeds: 8 hold; GO withheld: the crit")
    assert "registration: AMENDED" in result.stdout
    lines = [line.replace(" ", "") for line in result.stdout.splitlines()]
    assert {'-"more_than":2.0', '+"more_than":0.2'} <= set(lines)
    accepted = sanity("v2b", "--criteria", "criteria", "--accept-amended", "--output", "verdict.json", cwd=tmp_path)
    assert accepted.returncode == 0
    assert "the amendment was accepted (--accept-amended)" in accepted.stdout
    document = json.loads((tmp_path / "verdict.json").read_text("utf-8"))
    assert (document["verdict"], document["registration"]["amendment_accepted"]) == ("GO", True)


REQUIRES = """requires:
  - answers-learnable: {at_least: 1.0}
  - not-below-chance: {metric: test_accuracy, definition: argmax/answer, level: 0.001, from: 100, to: 20000}
"""


def test_what_a_gate_requires_is_part_of_what_was_registered(our_run, passable, tmp_path):
    registered = load_gate(passable)
    our_run({"v2b": {"sha256": registered.sha256, "criteria": registered.content}})
    passable.write_text(PASSABLE + REQUIRES, "utf-8")
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert "registration: AMENDED" in result.stdout
    assert '+      "answers-learnable": {' in result.stdout


def test_the_recorded_v2b_run_fails_what_its_gate_should_have_required(fixtures_dir, passable):
    passable.write_text(PASSABLE + REQUIRES, "utf-8")
    run = fixtures_dir / "runs" / "v2b_conflict_split"
    result = sanity("v2b", "--run", run, "--criteria", passable, "--format", "json")
    learnable, chance = json.loads(result.stdout)["requires"]
    assert (learnable["outcome"], learnable["replicas"][0]["value"]) == ("FAILS", 0.0)
    assert chance["outcome"] == "FAILS"
    # (96/97)^4753 by hand: -4753 ln(97/96) = -49.26 nats.
    assert chance["replicas"][0]["value"] == pytest.approx(200 * math.exp(-4753 * math.log(97 / 96)))
    assert "0 of 4,753 at step 100" in chance["replicas"][0]["numbers"]
    assert "most right: 4 at step 19,800, probability 1.1e-16" in chance["replicas"][0]["numbers"]


@pytest.mark.usefixtures("passable")
def test_the_gate_is_the_worst_of_the_seeds(our_run, tmp_path):
    our_run({}, ranks=(40.0, 20.0))
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert result.returncode == 1
    assert "4 criteria x 2 seeds: 7 hold, 1 fail" in result.stdout


@pytest.mark.usefixtures("passable")
def test_a_seed_that_left_no_line_is_inconclusive(our_run, tmp_path):
    our_run({}, seeds=(1, 2, 3))
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert result.returncode == 3
    assert "accuracy-stays-low (seed 3): test_accuracy is missing (recorded: nothing)" in result.stdout


@pytest.mark.usefixtures("passable")
def test_a_run_that_was_changed_afterwards_is_refused(our_run, tmp_path):
    folder = our_run({})
    text = (folder / "metrics.jsonl").read_text("utf-8")
    (folder / "metrics.jsonl").write_text(text.replace("0.01", "0.02", 1), "utf-8")
    result = sanity("v2b", "--criteria", "criteria", cwd=tmp_path)
    assert result.returncode == 2
    assert "changed since the run wrote it" in result.stderr


@pytest.mark.parametrize(
    ("output_format", "parse"),
    [
        ("table", lambda text: validator("verdict").validate(json.loads(text))),
        ("json", lambda text: validator("verdict").validate(json.loads(text))),
        ("junit", ET.fromstring),
        ("github", lambda text: text.index("::error file=audit/criteria/v2b.yaml,line=27,title=FAILS v2b rank-")),
    ],
)  # fmt: skip
def test_the_file_gets_the_chosen_format_and_json_for_a_table(columns_run, tmp_path, output_format, parse):
    def lower(analysis):
        analysis["representation_rank"][3][-1] = 29.0

    run, file = columns_run(analysis=lower), tmp_path / "new" / "verdict"
    result = sanity("v2b", "--run", run, "--output", file, "--format", output_format)
    assert result.returncode == 1
    parse(file.read_text("utf-8"))
    if output_format != "table":
        assert file.read_text("utf-8") == result.stdout


def test_an_unwritable_output_is_an_error_before_any_verdict(columns_run, tmp_path):
    result = sanity("v2b", "--run", columns_run(), "--output", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "cannot be written" in result.stderr


def test_a_log_is_plain_and_whole(columns_run):
    result = sanity("v2b", "--run", columns_run())
    assert "\x1b" not in result.stdout
    assert "…" not in result.stdout
    assert " test_accuracy largest rise <= 0.1 within 1,000 steps " in result.stdout


def test_an_ascii_terminal_is_served(columns_run):
    result = sanity("v2b", "--run", columns_run(), PYTHONIOENCODING="ascii")
    assert result.returncode == 1
    assert result.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["v2c"], "no such gate: expected one of addition, modular, smoke, "),
        (["v2c"], ", v2b, v2b-fixed, v2b-mini (did you mean v2b?), found"),
        (["v2b", "--criteria", "nowhere"], "nowhere: no criteria here"),
        (["v2b", "--run", "nowhere"], "nowhere: no such folder"),
        (["v2b", "--run", "audit"], "no run here: expected summary.json"),
        (["v9", "--criteria", "audit/criteria/v2b.yaml"], "$.gate: another gate"),
        (["v2b", "--format", "xml"], "xml"),
        (["v2b", "--experiment", "v2"], "--experiment: only with --preflight"),
        (["v2b", "--preflight", "--run", "runs/v2b"], "--run: a preflight judges no run"),
        (["v2b", "--preflight", "--accept-amended"], "--accept-amended: nothing is registered yet"),
        ([], "NAME"),
    ],
)
def test_what_cannot_be_judged_exits_2_and_says_why(arguments, words):
    result = sanity(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_missing_default_run_says_what_to_do(tmp_path, passable):
    result = sanity("v2b", "--criteria", passable, cwd=tmp_path)
    assert result.returncode == 2
    assert (
        "runs/v2b: no run here: expected `reprogrok train v2b` first (if params.yaml has it), or --run DIR"
        in result.stderr
    )


def test_the_formats_of_a_verdict_are_the_table_and_every_document():
    assert set(VerdictFormat) == {"table", *DOCUMENTS}


def test_a_verdict_needs_no_torch(columns_run):
    script = (
        "import sys\n"
        "sys.argv = ['reprogrok', 'sanity', 'v2b', '--run', sys.argv[1]]\n"
        "from reprogrok.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'torch', 'matplotlib'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, columns_run()], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.stdout.splitlines()[-1] == "[]"
