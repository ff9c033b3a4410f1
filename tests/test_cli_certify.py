"""`reprogrok certify` as a user runs it: verdicts, what is printed and written, going on, checking, and bad input."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from reprogrok.certificate.certification import CertificationWork
from reprogrok.formats.checkpoints import checkpoint_bytes, load_checkpoint
from reprogrok.formats.origins import Origin
from reprogrok.model.initialise import initial_weights
from reprogrok.schema import load
from reprogrok.spec.model import ModelSpec

SPEC = ModelSpec(n_layer=1, d_model=4, n_head=1, d_ff=4, max_seq_len=12, vocab_size=14)
SHORT = ("--budget", "0", "--quiet")


def checkpoint(seed=0):
    """Three digits; whatever is asked, the last norm is its bias, and the answer to every digit is 6."""
    weights = initial_weights(SPEC, seed)
    weights["ln_f.weight"].zero_()
    weights["ln_f.bias"][:] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    weights["token_emb.weight"][6] = torch.tensor([3.0, 0.0, 0.0, 0.0])
    return checkpoint_bytes(SPEC, weights, Origin("tiny", 3, seed, "0" * 64), 1, None)


@pytest.fixture(scope="module")
def certified(made_once, reprogrok):
    """A folder with a checkpoint, its certificate, and what was printed when it was made; not to be changed."""

    def make(folder):
        folder.mkdir()
        (folder / "tiny.pt").write_bytes(checkpoint())
        words = ("--budget", "0", "--output", "tiny.certificate.json")
        result = reprogrok("certify", "tiny.pt", *words, cwd=folder)
        assert result.returncode == 1, result.stderr
        (folder / "printed.txt").write_text(result.stdout, "utf-8")
        (folder / "progress.txt").write_text(result.stderr, "utf-8")

    return made_once("certified", make)


@pytest.fixture
def copied(certified, tmp_path):
    for name in ("tiny.pt", "tiny.certificate.json"):
        (tmp_path / name).write_bytes((certified / name).read_bytes())
    return tmp_path


def test_a_wrong_model_is_refuted_with_bounds_and_problems_that_predict_shows(certified, reprogrok):
    printed = (certified / "printed.txt").read_text("utf-8").splitlines()
    assert printed[:3] == [
        "tiny.pt",
        "REFUTED: wrong on some of the 10^6 problems of 3-digit addition",
        "  in real arithmetic and in any float32 evaluation within the stated rounding",
    ]
    assert max(map(len, printed)) <= 80
    assert printed[-2:] == [
        "written to tiny.certificate.json; this checks it again:",
        "  reprogrok certify tiny.pt --check tiny.certificate.json",
    ]
    command = next(line.split() for line in printed if line.startswith("  reprogrok predict"))
    result = reprogrok(*command[1:], cwd=certified)
    assert result.returncode == 1
    assert "WRONG" in result.stdout
    content = load(certified / "tiny.certificate.json", "certificate").data
    assert (content["verdict"], content["problems"]) == ("REFUTED", "1000000")
    assert content["wrong"] == {"at_least": "1000000", "at_most": "1000000"}  # no sum of these begins with a 6
    wrong = [(row["wrong_at_least"], row["wrong_at_most"], row["open"]) for row in content["places"]]
    assert wrong == [("900000", "900000", 0)] * 3 + [("1000000", "1000000", 0)]


def test_without_a_terminal_progress_is_ten_lines_for_each_phase(certified):
    lines = (certified / "progress.txt").read_text("utf-8").splitlines()
    assert [line.split(" s  ")[1] for line in lines if "halving" not in line] == [
        f"{what} {count} of 31 blocks"
        for what in ("searched", "checked")
        for count in (4, 7, 10, 13, 16, 19, 22, 25, 28, 31)
    ]


def test_the_work_is_forgotten_once_the_certificate_is_written(certified):
    assert list((certified / ".reprogrok" / "work").iterdir()) == []


def test_a_certificate_is_confirmed_as_a_sentence_and_as_json(copied, reprogrok):
    words = ("tiny.pt", "--check", "tiny.certificate.json", "--quiet")
    result = reprogrok("certify", *words, cwd=copied)
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "CONFIRMED: all that tiny.certificate.json says of tiny.pt"
    assert lines[1] == "REFUTED: wrong on some of the 10^6 problems of 3-digit addition"
    result = reprogrok("certify", *words, "--format", "json", cwd=copied)
    found = json.loads(result.stdout)
    assert (result.returncode, found["confirmed"], found["verdict"], found["differences"]) == (1, True, "REFUTED", [])


def test_a_certificate_that_says_too_much_is_not_confirmed(copied, reprogrok):
    content = json.loads((copied / "tiny.certificate.json").read_bytes())
    content["verdict"], content["wrong"] = "PROVED", {"at_least": "0", "at_most": "0"}
    (copied / "lie.json").write_text(json.dumps(content), "utf-8")
    result = reprogrok("certify", "tiny.pt", "--check", "lie.json", "--quiet", cwd=copied)
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "NOT CONFIRMED: lie.json says more than could be shown"
    assert "  verdict: it says PROVED, the check finds REFUTED" in lines
    assert lines[-1] == "  do not rely on its verdict, PROVED"


def test_partial_is_no_failure(copied, reprogrok):
    content = json.loads((copied / "tiny.certificate.json").read_bytes())
    content["verdict"] = "PARTIAL"
    (copied / "less.json").write_text(json.dumps(content), "utf-8")
    result = reprogrok("certify", "tiny.pt", "--check", "less.json", "--quiet", cwd=copied)
    assert (result.returncode, result.stdout.splitlines()[1][:8]) == (3, "PARTIAL:")


def test_another_checkpoint_has_another_certificate(copied, reprogrok, one_error):
    (copied / "other.pt").write_bytes(checkpoint(1))
    result = reprogrok("certify", "other.pt", "--check", "tiny.certificate.json", cwd=copied)
    start = "tiny.certificate.json $.checkpoint.sha256: a certificate of another checkpoint than other.pt: expected "
    assert one_error(result).startswith(start)


@pytest.mark.long(quick="test_certificate.py::test_a_search_that_was_stopped_goes_on_where_it_was")
def test_stopped_it_says_how_far_it_is_and_the_same_command_goes_on(tmp_path, reprogrok):
    (tmp_path / "tiny.pt").write_bytes(checkpoint())
    work = CertificationWork.of(load_checkpoint(tmp_path / "tiny.pt"), 3, 0.0, base=tmp_path / ".reprogrok" / "work")
    command = [sys.executable, "-m", "reprogrok", "certify", "tiny.pt", "--budget", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not work.kept():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate()
    assert (process.returncode, printed) == (130, "")
    kept = work.kept()
    assert said.splitlines()[-1] == f"stopped; {kept} of 31 blocks are kept, and the same command goes on"
    result = reprogrok("certify", "tiny.pt", "--budget", "0", "--format", "json", cwd=tmp_path)
    assert result.stderr.splitlines()[0].startswith(f"going on: {kept} of 31 blocks were searched before (.reprogrok/")
    content = json.loads(result.stdout)
    assert (result.returncode, content["verdict"]) == (1, "REFUTED")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".reprogrok", "tiny.pt"]  # nothing is written unasked
    assert work.kept() == 31


def test_two_cannot_work_on_the_same(tmp_path, reprogrok, one_error):
    (tmp_path / "tiny.pt").write_bytes(checkpoint())
    work = CertificationWork.of(load_checkpoint(tmp_path / "tiny.pt"), 3, 0.0, base=tmp_path / ".reprogrok" / "work")
    lock = work.folder.with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = one_error(reprogrok("certify", "tiny.pt", *SHORT, cwd=tmp_path))
    assert line.startswith("another process is certifying the same checkpoint in .reprogrok/work/certify-")


def modular(folder):
    spec = ModelSpec(n_layer=1, d_model=4, n_head=1, d_ff=4, max_seq_len=16, vocab_size=38)
    torch.save({"model_config": spec.as_dict(), "model_state": initial_weights(spec, 0)}, folder / "x.pt")
    return ("x.pt", "--experiment", "v2b-mini")


def two_heads(folder):
    spec = ModelSpec(n_layer=1, d_model=4, n_head=2, d_ff=4, max_seq_len=12, vocab_size=14)
    origin = Origin("tiny", 3, 0, "0" * 64)
    (folder / "x.pt").write_bytes(checkpoint_bytes(spec, initial_weights(spec, 0), origin, 1, None))
    return ("x.pt",)


def broken(folder):
    (folder / "x.json").write_text("{", "utf-8")
    return ("tiny.pt", "--check", "x.json")


def wrong_types(folder):
    (folder / "x.json").write_text('{"format": "reprogrok.certificate/2", "verdict": 3}', "utf-8")
    return ("tiny.pt", "--check", "x.json")


BAD = {
    two_heads: "x.pt: cannot be certified: it has 2 heads, and a proof is known for one",
    broken: "x.json:1: not JSON: Expecting property name",
    wrong_types: "x.json $: the field reprogrok is missing",
    lambda _folder: (
        "tiny.pt",
        "--output",
        "x",
    ): "--output: --check would not read it: expected a name that ends in .j",
    lambda _folder: ("tiny.pt", "--output", "tiny.pt/x.json"): "tiny.pt/x.json: cannot be written",
    lambda _folder: ("tiny.pt", "--budget", "-1"): "--budget: expected a number of seconds, found -1.0",
    lambda _folder: (
        "tiny.pt",
        "--check",
        "c.json",
        "--budget",
        "9",
    ): "--budget: it is for a search, and --check makes",
}


@pytest.mark.parametrize(("words", "line"), BAD.items(), ids=range(len(BAD)))
def test_bad_input_is_one_line_that_names_it(words, line, tmp_path, reprogrok, one_error):
    (tmp_path / "tiny.pt").write_bytes(checkpoint())
    assert one_error(reprogrok("certify", *words(tmp_path), cwd=tmp_path)).startswith(line)


def test_of_a_modular_task_it_says_that_eval_asks_everything(project, reprogrok, one_error):
    words = modular(project)
    line = one_error(reprogrok("certify", *words, cwd=project))
    assert line.startswith(
        "x.pt: nothing to certify: the task is finite, and `reprogrok eval` asks every one of its eq"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, reprogrok, one_error):
    (tmp_path / "tiny.pt").write_bytes(checkpoint())
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written" in one_error(reprogrok("certify", "tiny.pt", "--output", "locked/x.json", cwd=tmp_path))
