"""Bad input of every kind: exit code 2, one line with the place, what was expected and what was found, and no trace.

A refusal is not a verdict, so it must never leave with 1; and whatever it refuses, it writes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def change(old, new, name="params.yaml"):
    """An edit of a text file, which must have an effect."""

    def edit(folder, _untrained):
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return edit


def text_named_pt(folder, _untrained):
    (folder / "x.pt").write_text("weights, trust me\n", "utf-8")


def cut_short(folder, untrained):
    torch.save(untrained(), folder / "x.pt")
    (folder / "x.pt").write_bytes((folder / "x.pt").read_bytes()[:2_000])


def wrong_shape(folder, untrained):
    content = untrained()
    content["model_state"]["ln_f.weight"] = content["model_state"]["ln_f.weight"][:5]
    torch.save(content, folder / "x.pt")


def unknown_field(folder, untrained):
    content = untrained()
    content["model_config"]["d_modle"] = 8
    torch.save(content, folder / "x.pt")


def no_task(folder, untrained):
    torch.save(untrained(3, ours=False), folder / "x.pt")


def sound(folder, untrained):
    torch.save(untrained(), folder / "x.pt")


def a_list(folder, _untrained):
    (folder / "x.json").write_text("[1, 2]", "utf-8")


def a_word(folder, _untrained):
    (folder / "x.json").write_text('"hello"', "utf-8")


def a_summary(folder, _untrained):
    (folder / "x.json").write_text(json.dumps({"format": "reprogrok.run/1", "experiment": "smoke"}), "utf-8")


TYPO = change("optimiser: {lr: 0.015, betas: [0.9, 0.999]", "optimiser: {lr: 0.015, beta: [0.9, 0.999]")
HEADS = change("model: {n_layer: 1, d_model: 8, n_head: 1", "model: {n_layer: 1, d_model: 8, n_head: 3")
OPERATOR = change("always: {at_most: 2.9}", "always: {at_moost: 2.9}", "audit/criteria/smoke.yaml")
NOTHING = change("", "")
ABSENT = "mps" if torch.cuda.is_available() else "cuda"

# What is wrong -> the command, how its input is spoiled, and what the one line must say.
CASES = {
    "text named .pt": (
        "eval x.pt",
        text_named_pt,
        ["x.pt: ", "expected a zip archive", "found 18 bytes that begin with"],
    ),
    "checkpoint cut short": ("eval x.pt", cut_short, ["x.pt: ", "expected a zip", "found 2000 bytes"]),
    "wrong shape": ("eval x.pt", wrong_shape, ["x.pt $.model_state.ln_f.weight: expected shape (8,), found (5,)"]),
    "unknown field of the model": ("predict x.pt 1 2", unknown_field, ["x.pt $.model_config.d_modle: unknown field"]),
    "no task in the file": ("eval x.pt", no_task, ["x.pt: ", "--experiment", "expected vocabulary 14", "length 12"]),
    "no such checkpoint": ("eval sound.pt", NOTHING, ["sound.pt: No such file or directory"]),
    "a folder for a checkpoint": ("predict audit 1 2", NOTHING, ["audit: Is a directory"]),
    "a device that is not there": (
        f"eval x.pt --device {ABSENT}",
        sound,
        ["--device: ", "not available here", f"found {ABSENT}"],
    ),
    "a device that never was": ("eval x.pt --device gpu", sound, ["--device: expected one of auto, cpu", "found gpu"]),
    "an impossible accuracy": (
        "eval x.pt --min-exact 2",
        sound,
        ["--min-exact: expected a number from 0 to 1, found 2"],
    ),
    "an accuracy of nothing": ("eval x.pt --suite stress --min-exact 1", sound, ["--min-exact: ", "found stress"]),
    "too many digits": ("predict x.pt 12345678901 2", sound, ["A: expected a whole number of at most 10 digits"]),
    "not a number": ("predict x.pt 1 two", sound, ["B: expected a whole number of at most 10 digits, found two"]),
    "a typo in params.yaml": (
        "train smoke",
        TYPO,
        ["params.yaml:", "$.experiments.", ".optimiser.beta: unknown field", "did you mean betas?"],
    ),
    "width not divisible by heads": (
        "list",
        HEADS,
        ["params.yaml:", ".model.n_head: expected a divisor of d_model = 8, found 3"],
    ),
    "no seeds": (
        "train smoke",
        change("seeds: [0, 1]", "seeds: []"),
        ["$.experiments.smoke.seeds: expected at least one seed"],
    ),
    "a warm-up longer than the run": (
        "train smoke",
        change("steps: 200", "steps: 20"),
        ["$.experiments.smoke.schedule.warmup: expected fewer", "found 20"],
    ),
    "not YAML": ("list", change("experiments:", "experiments"), ["params.yaml:", "not YAML: "]),
    "no params.yaml": ("train smoke --params nowhere.yaml", NOTHING, ["nowhere.yaml: No such file or directory"]),
    "an unknown experiment": ("train smok", NOTHING, ["params.yaml: unknown experiment", "(did you mean smoke?)"]),
    "an unknown experiment to generate": ("generate e51", NOTHING, ["params.yaml: unknown experiment", "found e51"]),
    "a run shorter than its warm-up": (
        "train smoke --steps 20",
        NOTHING,
        ["--steps: expected more than the 20 steps of the warm-up", "found 20"],
    ),
    "no seeds asked for": (
        "train smoke --seeds 5:5",
        NOTHING,
        ["--seeds: expected distinct seeds as 42,43", "found 5:5"],
    ),
    "a seed twice": ("train smoke --seeds 1,1", NOTHING, ["--seeds: expected distinct seeds", "found 1,1"]),
    "a split of addition": (
        "split smoke",
        NOTHING,
        ["params.yaml $.experiments.smoke.task.name: expected modular, whose examples", "found addition"],
    ),
    "loss bounds of addition": (
        "loss-bounds smoke",
        NOTHING,
        ["$.experiments.smoke.task.name: expected modular", "found addition"],
    ),
    "an unknown experiment to split": ("split v2c", NOTHING, ["params.yaml: unknown experiment", "found v2c"]),
    "loss bounds of an unknown experiment": ("floors v2c", NOTHING, ["params.yaml: unknown experiment", "found v2c"]),
    "an unknown operator": ("sanity smoke", OPERATOR, ["smoke.yaml:16 $.criteria[0].conditions[0]", "at_moost"]),
    "criteria to register are damaged": ("train smoke", OPERATOR, ["smoke.yaml:16 $.criteria[0].conditions[0]"]),
    "no run to plot": (
        "plot audit --csv x.csv",
        NOTHING,
        ["audit: no run here: expected summary.json"],
    ),
    "nothing to plot to": ("plot audit", NOTHING, ["nothing to write: expected --csv FILE or --png FILE"]),
    "no run to release": ("release audit 1 --out x.pt", NOTHING, ["audit: no finished run here"]),
    "a manifest beside what": ("release audit 1 --out x.bin", NOTHING, ["--out: expected a name that ends in .pt"]),
    "not an evaluation": (
        "compare x.json",
        a_summary,
        ["x.json $.experiment: unknown field", "expected one of format"],
    ),
    "an evaluation that is a list": (
        "compare x.json",
        a_list,
        ["x.json $: expected a value of type object, found [1, 2]"],
    ),
    "an evaluation that is a word": (
        "compare x.json",
        a_word,
        ['x.json $: expected a value of type object, found "hello"'],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_exit_code_2(case, project, untrained, reprogrok, one_error):
    words, spoil, expected = CASES[case]
    spoil(project, untrained)
    before = contents(project)
    line = one_error(reprogrok(*words.split(), cwd=project))
    assert [part for part in expected if part not in line] == [], line
    assert contents(project) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("eval", "CHECKPOINT"),
        ("eval x.pt --limit -1", "--limit"),
        ("eval x.pt --batch-size 0", "--batch-size"),
        ("eval x.pt --suite everything", "--suite"),
        ("predict x.pt 1", "B"),
        ("train smoke --workers 0", "--workers"),
        ("train smoke --steps many", "--steps"),
        ("release runs/smoke 1", "--out"),
        ("generate", "EXPERIMENT"),
        ("split", "EXPERIMENT"),
        ("loss-bounds smoke --format xml", "--format"),
        ("compare --format xml x.json", "--format"),
        ("tarin smoke", "tarin"),
    ],
)
def test_wrong_usage_names_the_option_and_is_no_verdict(words, named, project, reprogrok):
    before = contents(project)
    result = reprogrok(*words.split(), cwd=project)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"'{named}'" in result.stderr
    assert "Traceback" not in result.stderr
    assert contents(project) == before


def main_after(code, *words, cwd, **pipes):
    """The command line in a fresh interpreter in which `code` has run first."""
    script = (
        f"import sys\nfrom reprogrok.cli import main as cli\n{code}\nsys.argv = ['reprogrok', *{words!r}]\ncli.main()"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, text=True, cwd=cwd, check=False, **(pipes or {"capture_output": True}))


FAULT = """
import reprogrok.params
def broken(path):
    return {}["a key that is not there"]
reprogrok.params.read_params = broken
"""


def test_a_fault_of_ours_shows_its_trace_and_is_not_the_exit_code_of_a_fail(project):
    result = main_after(FAULT, "list", cwd=project)
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1] == "error: a fault in reprogrok itself (see above); nothing was decided"


@pytest.mark.parametrize("words", [("list",), ("list", "--help"), ("--version",)])
def test_output_that_nobody_reads_is_not_a_fail(words, project):
    reader, writer = os.pipe()
    os.close(reader)
    result = main_after("", *words, cwd=project, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")  # the result decided the exit code; see cli.door


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110 - a device
def test_a_full_disk_under_the_output_is_one_line(project):
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        result = main_after("", "list", cwd=project, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert result.stderr == "error: the output: No space left on device\n"


def test_an_output_that_cannot_be_written_is_named(project, untrained, reprogrok, one_error):
    sound(project, untrained)
    line = one_error(reprogrok("eval", "x.pt", "--limit", "1", "--output", "params.yaml/out.json", cwd=project))
    assert line.startswith("params.yaml/out.json: cannot be written: ")
