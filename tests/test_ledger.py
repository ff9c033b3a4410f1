"""`audit/LEDGER.md`: what the command gives now, readable on GitHub, and the same in every fresh clone."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest
import typer
from conftest import ROOT
from test_audit import ACCURACY, LOG, OTHER_LOG, REGIME, TRAINING, audit, claim, known, measured
from typer.testing import CliRunner

from reprogrok.claims.claims import Value, Word, all_claims, claims_files, load_citations
from reprogrok.claims.ledger import as_ledger
from reprogrok.claims.measurements import Measured
from reprogrok.cli.audit import audit as command

LEDGER = ROOT / "audit" / "LEDGER.md"
TEXT = LEDGER.read_text("utf-8")
WHAT_IS_COMMITTED = ("audit/claims", "audit/evidence", "checkpoints", "params.yaml")


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    """The ledger as the command writes it in a folder that holds what is committed, and no runs."""
    folder = tmp_path_factory.mktemp("clone")
    for name in WHAT_IS_COMMITTED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=lambda _, names: [n for n in names if n.endswith(".pt")])
        else:
            shutil.copy(source, target)
    app = typer.Typer()
    app.command()(command)
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, ["--no-runs", "--ledger", "audit/LEDGER.md"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in {0, 1, 3}, result.output
    return (folder / "audit" / "LEDGER.md").read_text("utf-8")


def test_the_committed_ledger_is_what_the_command_gives_now(now):
    assert now == TEXT, "write it anew with `make ledger`"


def test_every_claim_stands_in_it_once():
    claims = all_claims(load_citations(claims_files(ROOT / "audit" / "claims")))
    assert sorted(re.findall(r'<a id="([^"]+)">', TEXT)) == sorted(claims)


def test_no_two_claims_that_dispute_each_other_both_hold():
    """One of them would be written down wrongly, or judged wrongly."""
    assert "Impossible" not in TEXT


def test_every_link_leads_somewhere():
    anchors = set(re.findall(r'<a id="([^"]+)">', TEXT)) | {_heading(line) for line in TEXT.splitlines()}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (LEDGER.parent / target).is_file(), target


def _heading(line):
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-") if line.startswith("#") else ""


def test_tables_have_as_many_cells_in_every_row():
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table[:200]
        assert widths < {4, 5, 6}, "four columns are what a page has room for"


def test_it_holds_no_date_of_writing_and_no_path_of_a_machine():
    assert not re.search(r"(^|[\s(])/(home|root|tmp|work|Users)/", TEXT)
    assert str(Path.home()) not in TEXT


def ledger(claims, *evidence):
    return as_ledger(audit(claims, *evidence), Path("audit")).decode()


def test_what_is_contradicted_has_a_section_of_its_own():
    text = ledger([claim(Value(2, 0), id="wrong", says="It is two.")], known(LOG, ACCURACY, measured(1)))
    section = text.split("## Negative results")[1].split("##")[0]
    assert "[`wrong`](#wrong): It is two. Found: 1, claimed: 2." in section
    assert "## Negative results" not in ledger([claim(Value(1, 0))], known(LOG, ACCURACY, measured(1)))


def test_documents_that_disagree_stand_side_by_side_and_an_impossible_pair_is_said_loudly():
    one, two = claim(Value(1, 0), id="one", disputes=("two",)), claim(Value(2, 0), id="two")
    text = ledger([one, two], known(LOG, ACCURACY, measured(1)))
    assert "| [`one`](#one), reproduced: It is so. | [`two`](#two), **contradicted**: It is so. |" in text
    assert "Impossible" not in text
    both = ledger([one, claim(Value(1, 0.5), id="two")], known(LOG, ACCURACY, measured(1)))
    assert "> **Impossible:** one and two dispute each other" in both


def test_it_states_what_chance_can_do():
    words = [Measured(word="unstable")] * 6
    text = ledger([claim(Word("unstable"), subject=TRAINING, quantity=REGIME)], known(TRAINING, REGIME, *words))
    assert "1 verdict decided by statistics, of which at most 0.05 would be wrong by chance" in text


def test_open_claims_are_listed_with_the_runs_that_would_settle_them():
    text = ledger([
        claim(Word("x"), id="trained", subject=TRAINING, quantity=REGIME),
        claim(Value(1, 0), id="logged", subject=OTHER_LOG),
    ])  # fmt: skip
    section = text.split("## What would settle the rest")[1]
    assert "| `e1` | [`trained`](#trained) |" in section
    assert "- [`logged`](#logged): there is no observation of log another" in section


def test_a_bar_in_the_words_of_a_source_breaks_no_table():
    text = ledger([claim(Value(1, 0), says="|x| is <b>one*</b>.")], known(LOG, ACCURACY, measured(1)))
    assert r"\|x\| is &lt;b>one\*&lt;/b>." in text
