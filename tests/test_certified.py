"""What evaluations and manifests take from a certificate: read with checks, held to what was sampled, put in words.

The certificates here are written by hand; expected intervals are those of published tables and of exact binomials.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import pytest
from certificate_files import certificate, write
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.certificate.certified import (
    Agreement,
    Sampled,
    Stated,
    agreement,
    read_certified,
    stated_of,
)
from reprogrok.certificate.certified_lines import stated_text
from reprogrok.certificate.checker.statement import CertificateStatus
from reprogrok.certificate.document import beside
from reprogrok.errors import InputError
from reprogrok.evaluation.certificates import CertificateReport, certificate_lines, contradiction
from reprogrok.evaluation.evaluation import Evaluation
from reprogrok.evaluation.manifest import ManifestScore, read_manifest
from reprogrok.exam.exam import Exam, ExamResult, Failures, Score
from reprogrok.formats.checkpoints import Checkpoint
from reprogrok.schema import check_written, load
from reprogrok.stats.proportions import proportion
from reprogrok.stats.ranges import Range
from reprogrok.tasks.addition import Addition

ALL = 10**20
MANIFEST = Path(__file__).parents[1] / "checkpoints" / "e15-s42.json"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def read(model):
    """Read a certificate of the model, made by hand."""

    def read_one(**fields):
        return read_certified(write(beside(model), certificate(model, **fields)))

    return read_one


def wrong(low, high):
    return Range(Fraction(low), Fraction(high), ALL)


def seen(k, n=100_000, different=None):
    return Sampled(proportion(k, n), k if different is None else different)


def test_a_certificate_is_looked_for_under_the_name_of_its_checkpoint():
    assert beside(Path("a/e1-s22.pt")) == Path("a/e1-s22.certificate.json")
    assert beside(Path("best.456p.safetensors")) == Path("best.456p.certificate.json")


def test_what_a_certificate_states_is_read_and_travels_in_a_block(read, model):
    found = read(at_least=3, at_most=10**16)
    assert (found.digits, found.checkpoint, found.ran_on["device"]) == (10, "model.pt", "cpu")
    assert found.checkpoint_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert found.sha256 == hashlib.sha256(beside(model).read_bytes()).hexdigest()
    assert found.stated == Stated(CertificateStatus.REFUTED, wrong(3, 10**16), 0.5, 0.625)
    block = found.as_block("there")
    assert block["wrong"] == {"at_least": "3", "at_most": "10000000000000000"}
    assert stated_of(json.loads(json.dumps(block))) == found.stated


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"problems": str(10**18)}, r"\$.problems: expected 100000000000000000000, all pairs of 10 digits"),
        ({"digits": 12, "problems": str(ALL)}, "all pairs of 12 digits"),
        ({"at_least": 5, "at_most": 4}, r"\$.wrong: expected at_least <= at_most"),
        ({"at_most": ALL + 1}, r"\$.wrong: expected at_least <= at_most"),
        ({"verdict": "PROVED", "at_most": 1}, "at most 0 is PROVED, and nothing else is"),
        ({"verdict": "REFUTED"}, "at most 0 is PROVED, and nothing else is"),
        ({"seen": 0.25}, r"\$.smallest_seen: expected no less than the smallest margin, 0.5"),
        ({"format": "reprogrok.certificate/1"}, "a certificate of another version: make it again .*certificate/2"),
        ({"blocks": []}, r"\$.blocks"),
    ],
)
def test_a_certificate_that_contradicts_itself_is_refused_with_its_place(read, fields, message):
    with pytest.raises(InputError, match=message):
        read(**fields)


def test_one_that_speaks_of_real_arithmetic_alone_says_nothing_of_what_a_model_answers(read):
    real = {"name": "real", "unit": 0.0, "elementary": 0.0, "tiny": 0.0}
    with pytest.raises(InputError, match=r"expected a certificate for float32, found .real"):
        read(arithmetic=real)


def test_it_speaks_of_its_own_weights_and_digits_alone(read, model):
    found = read()
    found.check_is_of(hashlib.sha256(b"weights").hexdigest(), model)
    found.check_is_for(Addition(10))
    with pytest.raises(InputError, match=r"the certificate of another file than other\.pt"):
        found.check_is_of("0" * 64, "other.pt")
    with pytest.raises(InputError, match="10-digit addition"):
        found.check_is_for(Addition(3))


@pytest.mark.parametrize(
    ("low", "high", "k", "expected"),
    [
        (0, 0, 0, Agreement.AGREES),
        (0, 0, 1, Agreement.CONTRADICTS),
        (11 * 10**15, 13 * 10**15, 12, Agreement.AGREES),
        (22 * 10**15, 23 * 10**15, 12, Agreement.UNLIKELY),
        (33 * 10**15, 34 * 10**15, 12, Agreement.CONTRADICTS),
        (0, 10**15, 12, Agreement.CONTRADICTS),
        (0, ALL, 12, Agreement.AGREES),
    ],
)
def test_a_sample_agrees_is_unlikely_or_contradicts(low, high, k, expected):
    assert agreement(wrong(low, high), seen(k)) is expected


def test_more_wrong_answers_than_there_can_be_contradict_whatever_their_rate():
    few = Sampled(None, 3)
    assert agreement(wrong(0, 2), few) is Agreement.CONTRADICTS
    assert agreement(wrong(0, 3), few) is None  # nothing else was sampled


@given(st.integers(1, 30), st.floats(0, 1))
def test_what_contradicts_has_a_chance_of_at_most_one_in_ten_thousand(k, share):
    """By exact binomials of 30 problems: both tails at the certified rate, which is known exactly here."""
    n, count = 30, int(share * ALL)
    rate = Fraction(count, ALL)
    found = agreement(wrong(count, count), seen(k, n, different=0))
    terms = [comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(n + 1)]
    tail = min(sum(terms[: k + 1]), sum(terms[k:]))
    if found is Agreement.CONTRADICTS:
        assert tail <= Fraction(1, 19_999)
    else:
        assert tail >= Fraction(1, 20_001)


def test_one_problem_that_failed_twice_is_one_wrong_problem(model):
    columns = Failures([0, 1], [1, 1], [2, 2], ["4", "4"])
    total = Score(proportion(2, 10), proportion(2, 110), 1.0)
    result = ExamResult(Exam("e", "stress", Addition(), ()), "forward", {"s": total}, total, {"s": columns}, 0)
    found = Evaluation(
        Checkpoint(model, "0" * 64, None, {}, "float32", 1, 1, 1.0, None), Addition(), {"stress": result}, {}
    )
    assert found.sampled == Sampled(None, 1)
    manifest = replace(read_manifest(MANIFEST), scores={"uniform": ManifestScore("e", "0" * 64, 4, 100_000)})
    assert manifest.sampled == Sampled(proportion(4, 100_000), 1)


def report(certified, k=0, failures=0):
    """The certificate beside k sampled errors."""
    certified = replace(certified, path=Path("m.certificate.json"))
    return CertificateReport("m.pt", certified, Sampled(proportion(k, 100_000), max(failures, k > 0)))


def test_a_proof_is_said_in_one_line_with_the_command_that_checks_it(read):
    assert certificate_lines(report(read())) == [
        (
            "  certificate: PROVED right on all 10^20 problems (smallest margin at least 0.5);"
            " the sampled 0 of 100,000 agrees"
        ),
        "  not checked again here: `reprogrok certify m.pt --check m.certificate.json`",
    ]
    assert certificate_lines(None) == []


@pytest.mark.parametrize(
    ("fields", "k", "line"),
    [
        (
            {"at_least": 11 * 10**15, "at_most": 13 * 10**15}, 12,
            ("REFUTED: between 0.00011 and 0.00013 of all 10^20 problems are answered wrong;"
            " the sampled 12 of 100,000 agrees (95 %: 6.2e-05 to 0.00021)"),
        ),
        (
            {"at_least": 22 * 10**15, "at_most": 23 * 10**15}, 12,
            ("REFUTED: between 0.00022 and 0.00023 of all 10^20 problems are answered wrong;"
            " the sampled 12 of 100,000 is off (95 %: 6.2e-05 to 0.00021), as chance makes 1 of 20 samples"),
        ),
        (
            {"at_least": 0, "at_most": 10**15 + 1, "verdict": "PARTIAL"}, 0,
            ("PARTIAL: at most 1.01e-05 of all 10^20 problems are answered wrong, and whether any is stays open;"
            " the sampled 0 of 100,000 agrees (95 %: at most 3.69e-05)"),
        ),
        (
            {"at_least": 1, "at_most": 2000}, 0,
            ("REFUTED: 1 to 2,000 of all 10^20 problems are answered wrong;"
            " the sampled 0 of 100,000 agrees (95 %: at most 3.69e-05)"),
        ),
        (
            {"at_least": 7, "at_most": 7}, 0,
            ("REFUTED: exactly 7 of all 10^20 problems are answered wrong;"
            " the sampled 0 of 100,000 agrees (95 %: at most 3.69e-05)"),
        ),
    ],
)  # fmt: skip
def test_what_is_known_of_the_wrong_problems_stands_beside_the_sampled_rate(read, fields, k, line):
    first, _ = certificate_lines(report(read(**fields), k))
    assert first == f"  certificate: {line}"


def test_what_cannot_be_is_shouted(read):
    both = report(read(), k=1, failures=1)
    assert contradiction(both) == (
        "CONTRADICTION: m.pt is certified as PROVED right on all 10^20 problems (smallest margin at least 0.5), but"
        " 1 problem was answered wrong here. One of the two is wrong: check it by"
        " `reprogrok certify m.pt --check m.certificate.json`, and evaluate on the CPU."
    )
    assert "CONTRADICTED by the errors found here" in certificate_lines(both)[0]
    rate = contradiction(report(read(at_least=10**18, at_most=10**19), k=12))
    assert "but 12 of 100,000 errors do not fit that" in rate
    assert contradiction(report(read())) is None
    assert contradiction(None) is None


def test_a_proof_without_a_margin_is_said_without_one(read):
    assert stated_text(replace(read().stated, smallest_margin=None)) == "PROVED right on all 10^20 problems"


def test_a_manifest_takes_a_certificate_of_its_own_file_that_fits_its_scores(tmp_path):
    manifest = replace(read_manifest(MANIFEST), certificate=None)  # 4 of 100,000 uniform problems wrong
    pt = MANIFEST.with_suffix(".pt")

    def of(**fields):
        return read_certified(write(tmp_path / "c.json", certificate(pt, **fields)))

    written = manifest.with_certificate(of(at_least=10**15, at_most=10**16)).as_document()
    assert written["certificate"]["file"] == "e15-s42.certificate.json"
    about = load(MANIFEST, "manifest").data
    about.pop("certificate")
    assert {name: item for name, item in written.items() if name != "certificate"} == about == manifest.as_document()
    with pytest.raises(InputError, match="contradicts the scores of the manifest"):
        manifest.with_certificate(of())
    with pytest.raises(InputError, match="the certificate of another file"):
        replace(manifest, sha256="0" * 64).with_certificate(of(at_least=10**15, at_most=10**16))
    with pytest.raises(InputError):  # a manifest with an unknown field beside it
        check_written(written | {"certificate": written["certificate"] | {"sample": None}}, "manifest")
