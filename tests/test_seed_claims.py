"""The published claims: they load together, their words stand at the source, and what they name exists."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from reprogrok.claims.claims import Citation, Claim, Tier, all_claims, claims_files, load_citations
from reprogrok.metrics.registry import METRICS
from reprogrok.metrics.representation import ENTROPY_CLAMPED, RANK_FIRST_BATCH
from reprogrok.params import read_params

ROOT = Path(__file__).resolve().parents[1]
PATHS = claims_files(ROOT / "audit" / "claims")
SOURCES = load_citations(PATHS)
CLAIMS = all_claims(SOURCES)

# What the recorded logs of other projects are measured as, beside our own definition ids.
LOGS = {"v1_baseline", "v2a_interpolation_regime", "v2b_conflict_split"}
CHECKPOINTS = {"best_456p_s43", "best_512params"}
PUBLICATIONS = {"power-2022"}


@pytest.fixture(scope="module")
def seeds_dir(fixtures_dir: Path) -> Path:
    """The folder of the five documents, beside that of the real artefacts."""
    folder = fixtures_dir.parent / "seeds"
    if not folder.is_dir():
        pytest.skip(f"no sources at {folder}: they lie beside the folder that REPROGROK_FIXTURES names")
    return folder


def lines_of(folder: Path, source: Citation) -> list[str]:
    """The lines of a document, as an editor counts them."""
    return (folder / source.file).read_text("utf-8").split("\n")


def misplaced(source: Citation, lines: list[str]) -> list[str]:
    """What is not where the claims say it is: "ID:LINE what"."""
    return [
        f"{claim.id}:{at} {text}"
        for claim in source.claims
        for text, at in [(claim.words, claim.at), *((entry.text, entry.at) for entry in claim.reported)]
        if at > len(lines) or not stands_in(text, lines[at - 1])
    ]


def stands_in(text: str, line: str) -> bool:
    """Whether a line holds the text, and not as a part of a longer number."""
    before = r"(?<![0-9.,])" if text[0].isdigit() else ""
    after = r"(?![0-9]|[.,][0-9])" if text[-1].isdigit() else ""
    return re.search(before + re.escape(text) + after, line) is not None


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path.stem)
def test_words_and_numbers_stand_on_their_line_of_the_source(source, seeds_dir):
    assert misplaced(source, lines_of(seeds_dir, source)) == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.path.stem)
def test_the_source_is_the_one_whose_hash_is_stated(source, seeds_dir):
    assert hashlib.sha256((seeds_dir / source.file).read_bytes()).hexdigest() == source.sha256


def test_words_on_another_line_are_noticed():
    claim = CLAIMS["redesign-v2a-step"]
    source = Citation("x", None, "x", None, (claim,), claim.path)
    lines = [""] * 200
    lines[claim.at - 1], lines[161] = f"  {claim.words} ", "19,400 90%+"
    assert misplaced(source, lines) == []
    lines[claim.at - 1 : claim.at + 1] = ["", claim.words]
    assert misplaced(source, lines) == [f"{claim.id}:27 {claim.words}"]


def test_a_number_inside_a_longer_one_does_not_stand_there():
    assert stands_in("0.03", "val 0.03)")
    assert not stands_in("0.03", "val 0.031")
    assert not stands_in("5", "1.5 and 57 and 5,000")
    assert stands_in("~5", "33,700 | ~5 |")


def test_each_of_the_five_documents_has_one_file():
    assert len(SOURCES) == len({source.file for source in SOURCES}) == 5


def test_there_are_about_sixty_claims():
    assert 55 <= len(CLAIMS) <= 70


def test_every_kind_of_claim_and_every_tier_occurs():
    schema = json.loads((ROOT / "audit" / "schemas" / "claims.schema.json").read_text("utf-8"))
    assert {claim.kind for claim in CLAIMS.values()} == set(schema["$defs"]["claim"]["properties"]["kind"]["enum"])
    assert {claim.tier for claim in CLAIMS.values()} == set(Tier)


def test_only_disputed_claims_ask_the_same_of_the_same_subject():
    asked: dict[tuple[object, ...], list[Claim]] = {}
    for claim in CLAIMS.values():
        question = (claim.subject, claim.against, claim.quantity, claim.seed, claim.device)
        asked.setdefault(question, []).append(claim)
    for same in asked.values():
        assert all(one is other or other.id in one.disputes for one in same for other in same)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_what_a_claim_is_about_exists(claim: Claim):
    known = {
        "experiment": set(read_params(ROOT / "params.yaml").experiments),
        "log": LOGS,
        "checkpoint": CHECKPOINTS,
        "publication": PUBLICATIONS,
    }
    known["data"] = known["experiment"]
    for subject in filter(None, (claim.subject, claim.against)):
        assert subject.name in known[subject.kind]


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_metric_of_a_claim_is_one_that_has_a_meaning_here(claim: Claim):
    if claim.quantity.metric is not None:
        # Runs log what criteria may speak of; the published post-analysis measures two of them in its own way.
        of_states = {"final_layer_rank": RANK_FIRST_BATCH, "attention_entropy": ENTROPY_CLAMPED}
        known = {*METRICS[claim.quantity.metric].definitions, of_states.get(claim.quantity.metric)}
        assert claim.quantity.measured_as in known


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_dispute_is_between_two_documents_and_known_to_both(claim: Claim):
    for name in claim.disputes:
        assert claim.id in CLAIMS[name].disputes
        assert CLAIMS[name].path != claim.path


def test_every_disagreement_names_the_claim_that_it_disagrees_with():
    assert all(claim.disputes for claim in CLAIMS.values() if claim.kind == "disagreement")
    pairs = [(claim, CLAIMS[name]) for claim in CLAIMS.values() for name in claim.disputes]
    assert all("disagreement" in (one.kind, other.kind) for one, other in pairs)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_a_printed_share_agrees_with_the_count_beside_it(claim: Claim):
    for entry in claim.reported:
        if "k" in entry.fields and "n" in entry.fields and entry.of not in ("count", "errors", "ratio"):
            scale = 100 if entry.text.endswith("%") else 1
            printed = entry.text.strip("~%").replace(",", "")
            digits = len(printed.partition(".")[2])
            share = scale * entry.fields["k"] / entry.fields["n"]
            assert abs(float(printed) - share) <= 0.5 * 10**-digits + 1e-12
