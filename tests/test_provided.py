"""Every provided checkpoint is the file that its manifest speaks of; score and certificate are as stated there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reprogrok.certificate.certified import Agreement, agreement, read_certified
from reprogrok.certificate.document import SUFFIX, beside
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.evaluation.manifest import read_manifest
from reprogrok.exam.exam import build_exam
from reprogrok.files import sha256_file
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.shapes import count_parameters
from reprogrok.schema import load

FOLDER = Path(__file__).parent.parent / "checkpoints"
PAGE = Path(__file__).parent.parent / "docs" / "checkpoints.md"
PROVIDED = sorted(FOLDER.glob("*.pt"))


def test_there_are_provided_checkpoints_and_each_has_a_manifest():
    assert PROVIDED
    manifests = [path for path in sorted(FOLDER.glob("*.json")) if not path.name.endswith(SUFFIX)]
    assert [path.stem for path in PROVIDED] == [path.stem for path in manifests]


def test_every_certificate_is_of_a_provided_checkpoint():
    assert sorted(FOLDER.glob(f"*{SUFFIX}")) == [beside(path) for path in PROVIDED if beside(path).exists()]


@pytest.mark.parametrize("path", PROVIDED, ids=lambda path: path.stem)
def test_a_manifest_says_what_the_certificate_beside_it_states(path):
    manifest = load(path.with_suffix(".json"), "manifest").data
    assert ("certificate" in manifest) == beside(path).exists()
    if beside(path).exists():
        certified = read_certified(beside(path))
        certified.check_is_of(manifest["sha256"], path)
        assert manifest["certificate"] == certified.as_block(beside(path).name)
        sampled = read_manifest(path.with_suffix(".json")).sampled
        assert agreement(certified.stated.wrong, sampled) is not Agreement.CONTRADICTS


@pytest.mark.parametrize("path", PROVIDED, ids=lambda path: path.stem)
def test_the_page_names_the_verdict_of_each_certificate(path):
    (row,) = (line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| `{path.name}`"))
    block = load(path.with_suffix(".json"), "manifest").data.get("certificate", {"verdict": "none"})
    assert row.rstrip(" |").rpartition("| ")[2].startswith(block["verdict"])


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
