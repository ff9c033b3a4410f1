"""A certificate as a user meets it: beside a score, in a manifest, as evidence for a claim. Each is written by hand."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from certificate_files import certificate, write
from conftest import ROOT

from reprogrok.evaluation.comparison_documents import read_evaluations
from reprogrok.files import sha256_file
from reprogrok.schema import load

QUICK = ("--suite", "uniform", "--limit", "20", "--device", "cpu")  # 200 problems
PROVIDED = ROOT / "checkpoints" / "e15-s42.pt"
MOST = {"at_least": 10**20 // 2, "at_most": 10**20 - 1}  # what fits a model that knows nothing

CLAIM = """
format: reprogrok.claims/1
source: {file: paper.txt, title: A paper}
claims:
  - id: all-right
    words: adds without an error
    at: 1
    says: The checkpoint answers every pair of 10-digit numbers.
    kind: score
    tier: numeric
    subject: {checkpoint: model}
    quantity: {name: wrong_problems, definition: certificate/1}
    expect: {value: 0, tolerance: 0, n: 100000000000000000000}
    contradicted_by: One pair that it adds wrongly.
"""


@pytest.fixture
def model(untrained, tmp_path):
    """A checkpoint that answers next to nothing."""
    torch.save(untrained(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture
def certified(model):
    """Lay a certificate beside the checkpoint."""

    def lay(name="model.certificate.json", **fields):
        return write(model.with_name(name), certificate(model, **fields))

    return lay


def test_a_certificate_beside_a_checkpoint_is_shown_and_written(model, certified, reprogrok):
    path = certified(**MOST)
    result = reprogrok("eval", "model.pt", *QUICK, "--output", "e.json", cwd=model.parent)
    assert (result.returncode, result.stderr) == (0, "")
    said = "  certificate: REFUTED: between 0.5 and 1 of all 10^20 problems are answered wrong;"
    assert f"{said} the sampled 200 of 200 agrees (95 %: at least 0.981725)" in result.stdout
    command = "reprogrok certify model.pt --check model.certificate.json"
    assert f"  not checked again here: `{command}`" in result.stdout
    block = load(model.with_name("e.json"), "evaluation").data["certificate"]
    assert (block["verdict"], block["sample"]) == ("REFUTED", "agrees")
    assert block["wrong"] == {"at_least": "50000000000000000000", "at_most": "99999999999999999999"}
    assert block["sha256"] == sha256_file(path)
    assert len(read_evaluations(model.with_name("e.json"))) == 1


def test_a_proof_beside_an_error_is_shouted_and_fails(model, certified, reprogrok):
    certified("elsewhere.json")
    result = reprogrok(
        "eval", "model.pt", *QUICK, "--certificate", "elsewhere.json", "--format", "json", cwd=model.parent
    )
    assert result.returncode == 1
    assert result.stderr.startswith("CONTRADICTION: model.pt is certified as PROVED right on all 10^20 problems")
    assert "200 problems were answered wrong here. One of the two is wrong" in result.stderr
    assert json.loads(result.stdout)["certificate"]["sample"] == "contradicts"


@pytest.mark.parametrize(
    ("spoiled", "word"),
    [
        ("damaged", "not JSON"),
        pytest.param("of another file", "another file", marks=pytest.mark.long),
        pytest.param("of other digits", "another task", marks=pytest.mark.long),
    ],
)
def test_a_certificate_that_is_no_use_is_warned_of_and_one_that_was_named_is_an_error(
    model, certified, reprogrok, one_error, *, spoiled, word
):
    if spoiled == "of another file":
        document = certificate(model, **MOST)
        document["checkpoint"]["sha256"] = "0" * 64
        write(model.with_name("model.certificate.json"), document)
    elif spoiled == "damaged":
        model.with_name("model.certificate.json").write_text("{", "utf-8")
    else:
        certified(digits=3, at_least=1, at_most=2)
    result = reprogrok("eval", "model.pt", *QUICK, "--format", "json", cwd=model.parent)
    assert result.returncode == 0
    assert result.stderr.startswith("warning: not used: ")
    assert word in result.stderr
    assert "certificate" not in json.loads(result.stdout)
    named = ("--certificate", "model.certificate.json")
    assert word in one_error(reprogrok("eval", "model.pt", *QUICK, *named, cwd=model.parent))


def test_several_checkpoints_have_a_column_if_one_of_them_has_a_certificate(model, certified, untrained, reprogrok):
    torch.save(untrained(ours=False), model.with_name("other.pt"))
    words = ("eval", "other.pt", "model.pt", *QUICK)
    assert "certificate" not in reprogrok(*words, cwd=model.parent).stdout
    certified(**MOST)
    result = reprogrok(*words, cwd=model.parent)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[-1] for row in rows if row and row[0] in ("[1]", "[2]") and len(row) > 3] == ["-", "REFUTED"]
    table = [line for line in result.stdout.splitlines() if line.strip().startswith(("[1] ", "[2] ", "checkpoint "))]
    assert max(len(line) for line in table if line.startswith(" ")) <= 80


@pytest.mark.parametrize(
    ("stated", "outcome"),
    [
        ({}, (0, "0 of 10^20, claimed: 0 of 10^20")),
        ({"at_least": 12, "at_most": 10**16}, (1, "12 to 1e+16 of 10^20, claimed: 0 of 10^20")),
        ({"verdict": "PARTIAL", "at_most": 10**16}, (3, "at most 1e+16 of 10^20, claimed: 0 of 10^20")),
    ],
)
def test_a_claim_about_all_problems_is_judged_by_a_certificate(model, certified, reprogrok, stated, outcome):
    certified(**stated)
    folder = model.parent
    for name in ("claims", "evidence"):
        (folder / name).mkdir()
    (folder / "claims" / "paper.yaml").write_text(CLAIM, "utf-8")
    words = ("--output", "evidence/c.json", "--title", "t", "--claims", "claims")
    result = reprogrok("collect", "model.certificate.json", *words, cwd=folder)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "evidence/c.json: 1 collected\n")
    (entry,) = load(folder / "evidence" / "c.json", "evidence").data["observations"]
    assert entry["sha256"] == {
        "model.pt": sha256_file(model),
        "model.certificate.json": sha256_file(folder / "model.certificate.json"),
    }
    words = ("all-right", "--claims", "claims", "--evidence", "evidence", "--no-runs", "--params", ROOT / "params.yaml")
    result = reprogrok("audit", *words, cwd=folder)
    assert (result.returncode, result.stderr) == (outcome[0], "")
    assert outcome[1] in " ".join(result.stdout.split())


@pytest.fixture
def provided(tmp_path):
    for path in (PROVIDED, PROVIDED.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    return tmp_path / PROVIDED.name


def test_a_certificate_is_added_to_what_was_provided_before(provided, reprogrok):
    before = load(provided.with_suffix(".json"), "manifest").data
    before.pop("certificate")
    path = write(provided.with_name("c.json"), certificate(provided, at_least=10**15, at_most=10**16))
    result = reprogrok("release", "--out", provided.name, "--certificate", "c.json", cwd=provided.parent)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "wrote e15-s42.json and e15-s42.certificate.json\n"
    about = load(provided.with_suffix(".json"), "manifest").data
    assert about["certificate"]["sha256"] == sha256_file(provided.with_name("e15-s42.certificate.json"))
    assert about.pop("certificate")["verdict"] == "REFUTED"
    assert about == before
    assert path.read_bytes() == provided.with_name("e15-s42.certificate.json").read_bytes()


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({}, "contradicts the scores of the manifest"),
        ({"format": "reprogrok.certificate/1"}, "expected reprogrok.certificate/2"),
    ],
)
def test_nothing_is_written_of_a_certificate_that_does_not_fit(provided, reprogrok, one_error, stated, message):
    write(provided.with_name("c.json"), certificate(provided, **stated))
    before = sorted((path.name, path.read_bytes()) for path in provided.parent.iterdir())
    words = ("--out", provided.name, "--certificate", "c.json")
    assert message in one_error(reprogrok("release", *words, cwd=provided.parent))
    assert sorted((path.name, path.read_bytes()) for path in provided.parent.iterdir()) == before


@pytest.mark.parametrize("words", [(), ("run",), ("run", "--certificate", "c.json")])
def test_what_is_to_be_provided_has_to_be_said(provided, reprogrok, one_error, words):
    write(provided.with_name("c.json"), certificate(provided))
    line = one_error(reprogrok("release", *words, "--out", provided.name, cwd=provided.parent))
    assert line.startswith("which checkpoint?: expected RUN and SEED, or --certificate alone")


def test_a_certificate_of_another_file_or_a_changed_checkpoint_is_refused(provided, reprogrok, one_error):
    write(provided.with_name("c.json"), certificate(provided.with_suffix(".json")))
    words = ("release", "--out", provided.name, "--certificate", "c.json")
    assert "the certificate of another file" in one_error(reprogrok(*words, cwd=provided.parent))
    provided.write_bytes(b"changed")
    write(provided.with_name("c.json"), certificate(provided))
    assert "not the file of its manifest" in one_error(reprogrok(*words, cwd=provided.parent))
