"""Every provided checkpoint is the file that its manifest speaks of, and scores on a sample what the manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reprogrok.files import sha256_file
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.judge.examination import examinee, task_of
from reprogrok.measure.exam import build_exam
from reprogrok.model.shapes import count_parameters
from reprogrok.schema import load

FOLDER = Path(__file__).parent.parent / "checkpoints"
PROVIDED = sorted(FOLDER.glob("*.pt"))


def test_there_are_provided_checkpoints_and_each_has_a_manifest():
    assert PROVIDED
    assert [path.stem for path in PROVIDED] == [path.stem for path in sorted(FOLDER.glob("*.json"))]


@pytest.mark.parametrize("path", PROVIDED, ids=lambda path: path.stem)
def test_a_provided_checkpoint_is_what_its_manifest_says(path):
    manifest = load(path.with_suffix(".json"), "manifest").data
    checkpoint = load_checkpoint(path)
    assert (manifest["file"], manifest["sha256"]) == (path.name, sha256_file(path))
    assert manifest["parameters"] == count_parameters(checkpoint.spec)
    origin = checkpoint.origin
    assert (manifest["experiment"], manifest["seed"]) == (origin.experiment, origin.seed)
    assert (manifest["spec_digest"], manifest["step"]) == (origin.spec_digest, checkpoint.step)


@pytest.mark.parametrize("path", PROVIDED, ids=lambda path: path.stem)
def test_a_provided_checkpoint_scores_what_its_manifest_says(path):
    manifest = load(path.with_suffix(".json"), "manifest").data
    checkpoint = load_checkpoint(path)
    task = task_of(checkpoint, None)
    for suite, score in manifest["scores"].items():
        result = examinee(checkpoint, task, torch.device("cpu")).examine(build_exam(suite, task), "forward", 2_000)
        assert (score["exam"], score["exam_digest"]) == (result.exam.name, result.exam.digest)
        assert (score["errors"], score["n"]) == (result.total.errors.k, result.total.errors.n)
