"""Forensics of claims: the printed numbers of a source are compared, and honest numbers give no finding."""

from pathlib import Path

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import ExitCode, InputError
from reprogrok.files import pretty_json
from reprogrok.forensics.claims import examine_claims
from reprogrok.forensics.findings import Flaw, Grade

CLAIMS = Path(__file__).resolve().parents[1] / "audit" / "claims"


def claim(name, *reported, **fields):
    """A claim with these printed numbers; its other fields are some that fit together."""
    return {
        "id": name,
        "words": "w",
        "at": 1,
        "says": "s",
        "kind": "score",
        "tier": "numeric",
        "subject": {"log": "run"},
        "quantity": {"name": "final", "definition": "argmax/answer"},
        "expect": {"value": 1, "tolerance": 1},
        "contradicted_by": "c",
        "reported": list(reported),
    } | fields


def write(folder, *claims, name="source", read=True):
    """A claims file; JSON is YAML."""
    source = {"file": f"{name}.txt", "title": name}
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_bytes(pretty_json({"format": "reprogrok.claims/1", "source": source, "claims": list(claims)}))
    return examine_claims(path) if read else path


def number(text, of, **fields):
    return {"text": text, "of": of} | fields


ROW = {"run": "row 2", "of": "loss"}
THRICE = [
    number("0.116", split="validation", step=500, **ROW),
    number("0.116", split="validation", step=50_000, **ROW),
    number("0.116", split="test", step=50_000, **ROW),
]
UNSTABLE = {"kind": "regime", "tier": "numeric", "quantity": {"name": "regime", "definition": "regime/1"}}


@pytest.mark.parametrize(
    ("reported", "kind", "sure", "words"),
    [
        ([number("0.0003", "accuracy", n=5_000)], Flaw.NOT_K_OF_N, Grade.CERTAIN, "1/5,000 = 0.000200"),
        ([number("0.0012", "accuracy", n=4_753)], Flaw.NOT_K_OF_N, Grade.TELLING, "if its last digits are cut off"),
        ([number("99.967%", "exact_match", n=10_000)], Flaw.NOT_K_OF_N, Grade.CERTAIN, "9,996/10,000"),
        ([number("23.1", "rank", n=4)], Flaw.NOT_K_OF_N, Grade.CERTAIN, "23.1 x 4 = 92.4"),
        ([number("49.6%", "share", k=4_656, n=9_409)], Flaw.COUNTS, Grade.CERTAIN, "4,656/9,409 = 0.494845"),
        ([number("1000", "ratio", k=100_000, n=1_000)], Flaw.COUNTS, Grade.CERTAIN, "100,000/1,000 = 100"),
        ([number("0.9998", "exact_match", run="r", split="test", n=100_000),
          number("12", "errors", run="r", split="test", n=100_000)],
         Flaw.COUNTS, Grade.CERTAIN, "1 - 12/100,000 = 0.99988"),
        ([number("13", "errors", n=12)], Flaw.COUNTS, Grade.CERTAIN, "more than 12"),
        ([number("1.307", "loss", positions=7, scored=8)], Flaw.BOUND, Grade.CERTAIN, "1.307 x 7 / 8 = 1.144"),
        ([number("1.961", "loss", positions=7, scored=8)], Flaw.BOUND, Grade.CERTAIN, "1.961 x 7 / 8 = 1.716"),
        ([number("1.057", "loss", positions=7, n=4_703)], Flaw.BOUND, Grade.CERTAIN, "ln(4,703)/7 = 1.2080"),
        ([number("2.0", "entropy", positions=8)], Flaw.BOUND, Grade.CERTAIN, "ln(8!)/8 = 1.3256"),
        ([number("14.3%", "share", positions=7, scored=8)], Flaw.BOUND, Grade.CERTAIN, "0.1251 instead of 0.143"),
        ([number("7", "count", positions=7, scored=8)], Flaw.BOUND, Grade.CERTAIN, "over 8 positions, not 7"),
        ([number("6", "count", positions=7, scored=8)], Flaw.COUNTS, Grade.CERTAIN, "over 8 positions, not 7"),
        ([number("4,753", "count", range=[48, 97])], Flaw.COUNTS, Grade.TELLING, "4,753 / 50 = 95.06"),
        ([number("9,409", "count", run="r", split="all"), number("4,657", "count", run="r", split="train"),
          number("4,753", "count", run="r", split="test")], Flaw.COUNTS, Grade.CERTAIN, "4,657 + 4,753 = 9,410"),
        ([number(text, "loss", run="r", split="test", step=500) for text in ("1.384", "1.391")],
         Flaw.TWO_STATEMENTS, Grade.CERTAIN, "both are the loss of r, test step 500"),
        ([number("33,700", "grok_step", run="v1"), number("39,900", "grok_step", run="v1")],
         Flaw.GROK_STEPS, Grade.CERTAIN, "33,700, 39,900"),
        ([*THRICE, number("~3.5", split="validation", **ROW)], Flaw.REPEATED, Grade.TELLING, "also had ~3.5"),
        (THRICE, Flaw.REPEATED, Grade.WEAK, "no printed number shows that it moved"),
        ([entry | {"text": "0.0001"} for entry in THRICE], Flaw.REPEATED, Grade.WEAK, "rounding to so few digits"),
    ],
)  # fmt: skip
def test_each_inconsistency_is_found_with_its_arithmetic(tmp_path, reported, kind, sure, words):
    (finding,) = write(tmp_path, claim("c", *reported)).findings
    assert (finding.kind, finding.grade) == (kind, sure)
    assert words in finding.arithmetic
    assert finding.where.startswith("source.txt:1 (c)")


@pytest.mark.parametrize(
    "reported",
    [
        [number("0.0015", "accuracy", n=4_753)],  # 7/4,753 = 0.001473
        [number("~35%", "accuracy", n=1_882)],
        [number("0.1933", "exact_match", run="r", split="test", k=19_330, n=100_000),
         number("80,670", "errors", run="r", split="test", n=100_000)],
        [number("0.99988", "exact_match", k=12, n=100_000)],  # the count beside it is one of errors
        [number("10.9%", "share", k=512, n=4_704)],
        [number("1.057", "loss", positions=8, scored=8, n=4_703)],  # ln(4,703)/8 = 1.0570, the floor itself
        [number("0.0015", "loss", positions=1, scored=1, n=4_703)],  # of the answer alone
        [number("4,753", "count", range=[48, 96]), number("4,656", "count", range=[0, 47])],
        [number("5", "rank", run="v1"), number("1", "rank", run="v1")],  # of which moments nobody says
        [number("~33,700", "grok_step", run="v1"), number("33,700", "grok_step", run="v1")],
        [number("0.0", "exact_match", run="r", split=split, step=step) for split, step in
         (("validation", 500), ("validation", 1_000), ("test", 1_000))],
        [number("763", "count", run="r"), number("~777", "count", run="r")],  # of what, nobody says
        [number("22.3", "rank", n=4), number("28", "rank", n=1)],
        [number("97", "count", run="r", split="train", k=97, n=97), number("5,174", "count", run="r", split="train")],
    ],
)  # fmt: skip
def test_numbers_that_agree_give_no_finding(tmp_path, reported):
    report = write(tmp_path, claim("c", *reported))
    assert report.findings == ()
    assert report.exit_code is ExitCode.PASS


def test_a_run_that_is_called_unstable_does_not_repeat_itself(tmp_path):
    (finding,) = write(tmp_path, claim("c", *THRICE, expect={"is": "unstable"}, **UNSTABLE)).findings
    assert finding.grade is Grade.TELLING
    assert finding.probability == pytest.approx((0.001 / 0.0232) ** 2)


@pytest.mark.parametrize(("step", "sure"), [("17,100", Grade.TELLING), ("33,600", Grade.WEAK)])
def test_grok_steps_of_two_definitions_are_graded_by_how_far_they_are_apart(tmp_path, step, sure):
    times = (("a", "33,700", "first-above/0.80"), ("b", step, "max-rise5"))
    claims = [
        claim(name, number(text, "grok_step", run="v1"), quantity={"name": "first_step", "definition": definition})
        for name, text, definition in times
    ]
    (finding,) = write(tmp_path, *claims).findings
    assert (finding.kind, finding.grade) == (Flaw.GROK_STEPS, sure)


def sizes(train, validation):
    return [number(train, "count", split="train", at=3), number(validation, "count", split="validation", at=3)]


def test_two_documents_that_dispute_each_other_are_compared(tmp_path):
    write(tmp_path, claim("one", *sizes("4,704", "4,705"), disputes=["other"]), name="first", read=False)
    second = write(tmp_path, claim("other", *sizes("~4,705", "~4,704")), name="second", read=False)
    for path in (tmp_path, tmp_path / "first.yaml"):
        (finding,) = examine_claims(path).findings
        assert (finding.kind, finding.grade) == (Flaw.COUNTS, Grade.TELLING)
        assert "train rows 4,704 and ~4,705 at second.txt:3 (other)" in finding.printed
        assert "validation rows 4,705 and ~4,704" in finding.printed
    assert examine_claims(second).findings == ()  # it disputes nothing itself, and is read alone


def test_a_disputed_document_that_is_missing_is_named(tmp_path):
    bound = number("1.307", "loss", positions=7, scored=8)
    alone = write(tmp_path, claim("one", bound, disputes=["other"]), name="first", read=False)
    (tmp_path / "params.yaml").write_text("engine_version: 2\n", "utf-8")  # a neighbour, and no claims file
    report = examine_claims(alone)
    assert [finding.kind for finding in report.findings] == [Flaw.BOUND]
    assert report.checks[-1].note.endswith("; disputed, but missing here: other")


def test_a_neighbour_that_is_a_broken_claims_file_is_an_error_and_not_passed_over(tmp_path):
    alone = write(tmp_path, claim("one", *sizes("4,704", "4,705"), disputes=["other"]), name="first", read=False)
    (tmp_path / "second.yaml").write_text("format: reprogrok.claims/1\nsource: nobody\n", "utf-8")
    with pytest.raises(InputError, match=r"second\.yaml"):
        examine_claims(alone)


def test_equal_numbers_in_two_places_are_one_finding(tmp_path):
    bound = number("1.307", "loss", positions=7, scored=8)
    (finding,) = write(tmp_path, claim("a", bound), claim("b", bound | {"at": 95})).findings
    assert finding.where == "source.txt:1 (a); again on line 95"


def test_undecidable_numbers_are_counted(tmp_path):
    check = write(
        tmp_path, claim("c", number("0.35", "accuracy", n=1_882), number("0.0002", "accuracy", n=1_882))
    ).checks[0]
    assert (check.looked_at, check.silent) == (2, 1)
    assert "undecidable" in check.note


def test_a_number_that_nobody_could_print_is_an_error_of_the_file(tmp_path):
    with pytest.raises(InputError, match="not a printed number"):
        write(tmp_path, claim("c", number("1,0e99999", "loss")))


def honest_numbers(rng):
    """Numbers of one run that are true and printed as people print them."""
    n, digits, positions = int(rng.integers(2, 20_000)), int(rng.integers(2, 7)), int(rng.integers(7, 12))
    reported = []
    for split in ("train", "validation", "test"):
        k, step, at = int(rng.integers(0, n + 1)), int(rng.integers(0, 9)) * 500, int(rng.integers(1, 99))
        about = {"run": "r", "split": split, "n": n, "at": at}
        counted = {"k": k} if rng.random() < 0.5 else {}
        share = f"{k / n:.{digits}f}" if rng.random() < 0.5 else f"{100 * k / n:.{digits - 2}f}%"
        reported += [
            number(share, "exact_match", **about, **counted),
            number(f"{n - k:,}", "errors", **about),
            number(f"{np.float32(k / n):.{digits}f}", "accuracy", run="r", split=split, step=step, n=n),
            number(f"{np.log(n) / positions + rng.exponential():.{digits}f}", "loss", run="r", split=split, step=step,
                   positions=positions, scored=positions, n=n),
            number(f"{rng.lognormal(-3, 2):.{digits}f}", "loss", run="r", split=split, step=step + 1),
        ]  # fmt: skip
    modulus, low = int(rng.integers(3, 200)), int(rng.integers(1, 3))
    train, test = low * modulus, (modulus - low) * modulus
    reported += [
        number(f"{modulus**2:,}", "count", run="q", split="all"),
        number(f"{train:,}", "count", run="q", split="train", range=[0, low - 1]),
        number(f"{test:,}", "count", run="q", split="test", range=[low, modulus - 1]),
        number(f"{100 * train / modulus**2:.1f}%", "share", run="q", split="train", k=train, n=modulus**2),
        number(f"{np.mean(rng.integers(1, 99, 4)):.1f}", "rank", n=4),
    ]
    step = int(rng.integers(1, 4_000)) * 100
    reported += [number(f"{step:,}", "grok_step", run="r"), number(f"~{round(step, -2)}", "grok_step", run="r")]
    return reported


@given(seed=st.integers(0, 2**32 - 1))
@draws(60)
def test_honest_claims_give_no_finding(tmp_path_factory, seed):
    reported = honest_numbers(np.random.default_rng(seed))
    report = write(tmp_path_factory.mktemp("claims"), claim("c", *reported))
    assert [finding for finding in report.findings if finding.grade is not Grade.WEAK] == []


# Flaw, grade, and the line of the source, as docs/forensics.md lists them.
FOUND = {
    "conditions.yaml": {
        (Flaw.COUNTS, Grade.TELLING, "17"),
        (Flaw.BOUND, Grade.CERTAIN, "45"),
        (Flaw.BOUND, Grade.CERTAIN, "46"),
        (Flaw.BOUND, Grade.CERTAIN, "95"),
        (Flaw.REPEATED, Grade.WEAK, "61"),
        (Flaw.REPEATED, Grade.TELLING, "62"),
        (Flaw.BOUND, Grade.CERTAIN, "115"),
    },
    "delayed-generalization.yaml": {
        (Flaw.COUNTS, Grade.TELLING, "17"),
        (Flaw.COUNTS, Grade.TELLING, "32"),
        (Flaw.COUNTS, Grade.CERTAIN, "216"),
    },
    "experiments-log.yaml": set(),
    "post-analysis.yaml": set(),
    "redesign.yaml": set(),
}


@pytest.mark.parametrize("name", FOUND)
def test_in_the_claims_of_the_published_documents_a_careful_reader_finds_this_and_no_more(name):
    if not (CLAIMS / name).is_file():
        pytest.skip(f"no claims at {CLAIMS / name}")
    findings = examine_claims(CLAIMS / name).findings
    lines = [finding.where.partition(" (")[0].rpartition(":")[2] for finding in findings]
    found = [(finding.kind, finding.grade, line) for finding, line in zip(findings, lines, strict=True)]
    assert set(found) == FOUND[name]
    assert len(found) == len(FOUND[name])
