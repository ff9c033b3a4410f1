"""`reprogrok plot` and `reprogrok release`: what is handed on of a finished run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from certificate_files import certificate, write

from reprogrok.files import sha256_file
from reprogrok.schema import load

RUN = Path("runs/smoke")


@pytest.fixture(scope="module")
def plotted(trained, reprogrok, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plotted")
    result = reprogrok("plot", trained / RUN, "--csv", "out/curves.csv", "--png", "curves.png", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "wrote out/curves.csv\nwrote curves.png\n"
    return folder


def test_the_csv_holds_lowest_median_and_highest_over_the_seeds(plotted, trained):
    rows = list(csv.DictReader((plotted / "out" / "curves.csv").read_text("utf-8").splitlines()))
    assert [row["step"] for row in rows] == ["0", "50", "100", "150", "199"]
    lines = [json.loads(line) for line in (trained / RUN / "metrics.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        low, high = sorted(line["train_loss"] for line in lines if line["step"] == int(row["step"]))
        assert (float(row["train_loss_lowest"]), float(row["train_loss_highest"])) == (low, high)
        assert float(row["train_loss_median"]) == pytest.approx((low + high) / 2)


def test_the_picture_is_a_png_and_the_same_twice(plotted, trained, reprogrok, tmp_path):
    assert (plotted / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert reprogrok("plot", trained / RUN, "--png", "again.png", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (plotted / "curves.png").read_bytes()


def test_the_csv_of_one_run_begins_with_the_columns_that_pipelines_plot(plotted):
    header = (plotted / "out" / "curves.csv").read_text("utf-8").splitlines()[0].split(",")
    metrics = ("test_exact_match", "train_exact_match", "train_loss", "test_loss")
    spread = [f"{metric}_{which}" for metric in metrics for which in ("lowest", "median", "highest")]
    assert header == ["step", *spread, *(f"{metric}_seeds" for metric in metrics)]


def test_several_runs_lie_over_each_other_in_both_formats(columns_run, reprogrok, tmp_path):
    columns_run("a")
    columns_run("b", steps=10_000)
    words = ("--csv", "c.csv", "--png", "c.png", "--svg", "c.svg", "--log-steps")
    result = reprogrok("plot", "a", "b", *words, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "wrote c.csv\nwrote c.png\nwrote c.svg\n"
    assert (tmp_path / "c.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in (tmp_path / "c.svg").read_bytes()
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text("utf-8").splitlines()))
    assert [(row["run"], row["step"]) for row in (rows[0], rows[-1])] == [("a", "100"), ("b", "10000")]
    assert (rows[0]["test_accuracy_seeds"], rows[0]["final_layer_rank_seeds"]) == ("1", "0")


def test_the_metrics_to_draw_can_be_named(columns_run, reprogrok, one_error, tmp_path):
    columns_run("a")
    words = ("plot", "a", "--csv", "c.csv", "--metric")
    result = reprogrok(*words, "test_loss", "--metric", "attention_entropy", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    header = (tmp_path / "c.csv").read_text("utf-8").splitlines()[0]
    assert header == (
        "step,test_loss_lowest,test_loss_median,test_loss_highest,attention_entropy_lowest,attention_entropy_median,"
        "attention_entropy_highest,test_loss_seeds,attention_entropy_seeds"
    )
    line = one_error(reprogrok(*words, "test_los", cwd=tmp_path))
    assert line.startswith("--metric: no run has this metric: expected one of ")
    assert line.endswith("found test_los (did you mean test_loss?)")


@pytest.fixture
def two_projects(columns_run, tmp_path):
    """Runs `a` and `b` of two projects, whose train_loss has two definitions; `b` has no more in common with `a`."""
    columns_run("a")
    (tmp_path / "b").mkdir()
    rows = "step,train_loss,val_exact,val_token_acc,lr,elapsed_sec\n100,2.0,0.0,0.1,0.02,1\n200,1.0,0.5,0.9,0.02,2\n"
    (tmp_path / "b" / "metrics.csv").write_text(rows, "utf-8")


@pytest.mark.usefixtures("two_projects")
def test_the_csv_leaves_out_what_does_not_mean_the_same_and_says_so(reprogrok, tmp_path):
    result = reprogrok("plot", "a", "b", "--csv", "c.csv", "--png", "c.png", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "left out of c.csv: train_loss, which does not mean the same in these runs"
        " (ce/minibatch-dropout in a, ce/answer+eos/batch in b)\nwrote c.csv\nwrote c.png\n"
    )
    header = (tmp_path / "c.csv").read_text("utf-8").splitlines()[0].split(",")
    assert "train_loss_median" not in header
    assert {"test_accuracy_median", "test_exact_match_median"} <= {*header}


@pytest.mark.usefixtures("two_projects")
def test_a_metric_asked_for_by_name_is_refused_where_it_does_not_mean_the_same(reprogrok, one_error, tmp_path):
    line = one_error(reprogrok("plot", "a", "b", "--csv", "c.csv", "--metric", "train_loss", cwd=tmp_path))
    assert line.startswith("train_loss does not mean the same in these runs: expected one definition per column")
    assert not (tmp_path / "c.csv").exists()


def test_no_file_is_written_where_another_cannot_be(columns_run, reprogrok, one_error, tmp_path):
    columns_run("a")
    (tmp_path / "taken").write_bytes(b"")
    result = reprogrok("plot", "a", "--csv", "c.csv", "--png", "c.png", "--svg", "taken/c.svg", cwd=tmp_path)
    assert one_error(result).startswith("taken/c.svg: cannot be written")
    assert not list(tmp_path.glob("c.*"))


def test_runs_to_plot_can_be_named_by_their_experiment(columns_run, reprogrok, one_error, tmp_path):
    (tmp_path / "runs").mkdir()
    columns_run("runs/clock")
    result = reprogrok("plot", "clock", "--csv", "c.csv", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "wrote c.csv\n")
    line = one_error(reprogrok("plot", "clok", "--csv", "d.csv", cwd=tmp_path))
    assert line == "clok: experiment not found: expected a run's folder, or one of clock (did you mean clock?)"


@pytest.fixture(scope="module")
def short(trained, reprogrok, tmp_path_factory):
    """A finished run of three-digit addition, whose exam takes little time even for a model that knows nothing."""
    folder = tmp_path_factory.mktemp("short") / "project"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("runs", ".reprogrok"))
    head, smoke = (folder / "params.yaml").read_text("utf-8").split("  smoke:\n")
    (folder / "params.yaml").write_text(f"{head}  smoke:\n{smoke.replace('digits: 10', 'digits: 3')}", "utf-8")
    assert reprogrok("train", "smoke", "--steps", "25", "--seeds", "5", cwd=folder).returncode == 0
    return folder


def test_a_provided_checkpoint_carries_a_manifest_of_where_it_comes_from(short, reprogrok):
    result = reprogrok("release", RUN, "5", "--out", "given/tiny.pt", cwd=short)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "wrote given/tiny.pt and given/tiny.json"
    manifest = load(short / "given" / "tiny.json", "manifest").data
    assert manifest["sha256"] == sha256_file(short / "given" / "tiny.pt") == sha256_file(short / RUN / "seed-5/best.pt")
    assert (manifest["file"], manifest["experiment"], manifest["seed"], manifest["steps"]) == (
        "tiny.pt",
        "smoke",
        5,
        25,
    )
    assert manifest["trained_on"]["torch"] == str(torch.__version__)
    assert manifest["scores"]["uniform"]["n"] == 100_000
    assert manifest["scores"]["uniform"]["exam"] == "addition-100k/1 with 3 digits"


def test_a_certificate_is_handed_out_with_its_checkpoint(short, reprogrok):
    source = short / RUN / "seed-5/best.pt"
    stated = certificate(source, digits=3, at_least=1, at_most=10**6)
    path = write(short / "found.json", stated)
    result = reprogrok("release", RUN, "5", "--out", "given/sure.pt", "--certificate", path, cwd=short)
    assert (result.returncode, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert last == "wrote given/sure.pt and given/sure.json and given/sure.certificate.json"
    block = load(short / "given" / "sure.json", "manifest").data["certificate"]
    assert (block["file"], block["verdict"]) == ("sure.certificate.json", "REFUTED")
    assert block["sha256"] == sha256_file(short / "given" / "sure.certificate.json") == sha256_file(path)


def test_a_seed_that_was_not_trained_cannot_be_provided(short, reprogrok, one_error):
    line = one_error(reprogrok("release", RUN, "6", "--out", "other.pt", cwd=short))
    assert line == "runs/smoke: no such seed in this run: expected 5, found 6"
    assert not (short / "other.pt").exists()
