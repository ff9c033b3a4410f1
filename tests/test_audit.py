"""Claims and evidence -> verdicts: what each tier can be contradicted by, what is left open, what is said of chance.

The evidence here is made up, number by number; expected verdicts follow from the rules in words, from arithmetic, and
from exact binomials that are written out where they decide.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.claims.artefacts import judge_one, judge_pair, region
from reprogrok.claims.audit import generator_of_id, judge_claims
from reprogrok.claims.claims import (
    Between,
    Citation,
    Claim,
    Order,
    PublishedCount,
    Quantity,
    Rate,
    Subject,
    Tier,
    Value,
    Word,
)
from reprogrok.claims.documents import as_json, document_of
from reprogrok.claims.evidence import Evidence, EvidenceSource, Observation, gather
from reprogrok.claims.judgements import ClaimDecision, Judgement
from reprogrok.claims.measurements import Measured, Missing
from reprogrok.claims.text import number_text, value_text
from reprogrok.claims.verdict import Audit, ClaimVerdict
from reprogrok.errors import ExitCode, InputError
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.schema import check_written

REPRODUCED, CONTRADICTED, INCONCLUSIVE = ClaimDecision

LOG, OTHER_LOG = Subject("log", "a_log"), Subject("log", "another")
TRAINING, OTHER = Subject("experiment", "e1"), Subject("experiment", "e2")
CHECKPOINT, OTHER_CHECKPOINT = Subject("checkpoint", "small"), Subject("checkpoint", "large")

ACCURACY = Quantity("final", "argmax/answer", metric="test_accuracy", measured_as="argmax/answer")
STEP = Quantity("first_step", "first-above/0.90", metric="test_accuracy", measured_as="argmax/answer")
GROKKED = Quantity("grokked", "first-above/0.99", metric="test_accuracy", measured_as="argmax/answer")
REGIME = Quantity("regime", "regime/1")
ERRORS = Quantity("errors", "addition-100k/1")
DELAY = Quantity("delay_factor", "delay/0.99-0.99")


def claim(expect, *, subject=LOG, quantity=ACCURACY, tier=None, **fields):
    trained = subject.kind == "experiment"
    about = {
        "id": "claim", "words": "words", "at": 1, "says": "It is so.", "kind": "score", "contradicted_by": "If not.",
        "path": Path("claims.yaml"),
    }  # fmt: skip
    tier = tier or (Tier.STATISTICAL if trained else Tier.NUMERIC)
    return Claim(**{**about, **fields}, tier=tier, subject=subject, quantity=quantity, expect=expect)


def source(*claims, file="paper.txt"):
    return Citation(file, None, f"Title of {file}", None, claims, Path(f"{file}.yaml"))


def known(subject, quantity, *outcomes, seeds=None, device="cpu", origin="evidence.json", engine=1):
    """One file: an outcome per seed, or one outcome without a seed."""
    trained = subject.kind == "experiment"
    seeds = seeds or (tuple(range(len(outcomes))) if trained else (None,))
    found = dict(zip(seeds, outcomes, strict=True))

    def outcome(seed, asked):
        return found[seed] if asked == quantity else Missing("not noted down")

    ran_on = {"device": device} if device else {}
    return EvidenceSource(subject, origin, seeds, outcome, ran_on=ran_on, engine_version=engine)


def audit(claims, *evidence, chosen=None):
    return judge_claims([source(*claims)], Evidence(evidence), generator_of=generator_of_id, chosen=chosen)


def verdict(one, *evidence):
    return audit([one], *evidence).verdicts[0]


def measured(value, k=None, n=None):
    return Measured(float(value), k=k, n=n)


def reached(after, by):
    return Measured(float(by), time=StepInterval(after, by, "first-above/0.90"))


def not_until(at):
    return Measured(time=Censored(at, "first-above/0.90"))


YES, NO = Measured(1.0), Measured(0.0)


# Numbers of artefacts.


@pytest.mark.parametrize(
    ("expect", "observed", "decision"),
    [
        (Value(0.35, 0.025), 0.351222, REPRODUCED),
        (Value(0.30, 0.025), 0.351222, CONTRADICTED),
        (Value(0.03, 0.005), 0.035, REPRODUCED),  # the end belongs to it, as decimals are added
        (Value(0.1, 0.2), 0.3, REPRODUCED),
        (Between(30, None), 13, CONTRADICTED),
        (Between(None, 0.05), 0.05, REPRODUCED),
        (Between(18, 33), 13, CONTRADICTED),
    ],
)
def test_a_number_is_inside_what_is_claimed_or_not(expect, observed, decision):
    found = verdict(claim(expect), known(LOG, ACCURACY, measured(observed)))
    assert found.decision is decision
    assert found.judgement.error_bound == 0
    assert not found.by_statistics


def test_a_count_out_of_another_total_is_another_exam():
    twelve = Value(12, 0, 100_000)
    one = claim(twelve, subject=CHECKPOINT, quantity=ERRORS)
    assert verdict(one, known(CHECKPOINT, ERRORS, measured(12, 12, 100_000))).decision is REPRODUCED
    other = verdict(one, known(CHECKPOINT, ERRORS, measured(12, 12, 10_000)))
    assert other.decision is INCONCLUSIVE
    assert "another exam" in other.judgement.missing
    unknown = verdict(one, known(CHECKPOINT, ERRORS, measured(12)))
    assert unknown.decision is INCONCLUSIVE


def test_a_count_of_data_without_a_total_is_judged_and_says_that_the_total_is_not_checked():
    data, count = Subject("data", "v2b"), Quantity("train_examples", "count")
    found = verdict(claim(Value(4656, 0, 9409), subject=data, quantity=count), known(data, count, measured(4656)))
    assert found.decision is REPRODUCED
    assert "not checked" in found.judgement.notes[0]
    of_other = known(data, count, measured(4656, 4656, 9000))
    assert verdict(claim(Value(4656, 0, 9409), subject=data, quantity=count), of_other).decision is INCONCLUSIVE


@pytest.mark.parametrize(
    ("expect", "outcome", "decision"),
    [
        (Value(33_700, 0), reached(33_600, 33_700), REPRODUCED),
        (Value(33_650, 0), reached(33_600, 33_700), CONTRADICTED),
        (Value(33_700, 0), not_until(50_000), CONTRADICTED),
        (Value(33_700, 0), not_until(20_000), INCONCLUSIVE),
        (Between(30_000, None), not_until(29_999), REPRODUCED),
        (Between(30_000, None), not_until(20_000), INCONCLUSIVE),
        (Between(None, 500), not_until(500), CONTRADICTED),
        (Between(100, 500), not_until(499), INCONCLUSIVE),
    ],
)
def test_a_time_is_the_step_that_the_log_says_and_one_not_reached_is_later_or_never(expect, outcome, decision):
    found = verdict(claim(expect, quantity=STEP), known(LOG, STEP, outcome))
    assert found.decision is decision


def test_two_files_that_differ_on_one_artefact_decide_nothing_whichever_is_read_first():
    one = claim(Value(12, 0, n=100_000), subject=CHECKPOINT, quantity=ERRORS)
    twelve, thirteen = (known(CHECKPOINT, ERRORS, measured(k, k, 100_000), origin=f"{k}.json") for k in (12, 13))
    for files in ((twelve, thirteen), (thirteen, twelve)):
        found = verdict(one, *files)
        assert found.decision is INCONCLUSIVE
        assert "12 of 100,000 (12.json)" in found.judgement.numbers
        assert "13 of 100,000 (13.json)" in found.judgement.numbers
    assert verdict(one, twelve, twelve).decision is REPRODUCED
    order = claim(Order.LOWER, subject=CHECKPOINT, quantity=ERRORS, against=OTHER_CHECKPOINT)
    beside = known(OTHER_CHECKPOINT, ERRORS, measured(900, 900, 100_000))
    assert verdict(order, twelve, beside).decision is REPRODUCED
    assert verdict(order, twelve, thirteen, beside).decision is INCONCLUSIVE


def test_a_word_must_match():
    one = claim(Word("answer"), quantity=REGIME)
    assert verdict(one, known(LOG, REGIME, Measured(word="answer"))).decision is REPRODUCED
    assert verdict(one, known(LOG, REGIME, Measured(word="all"))).decision is CONTRADICTED
    assert verdict(one, known(LOG, REGIME, measured(1))).decision is INCONCLUSIVE


def test_without_any_observation_it_says_what_is_missing():
    found = verdict(claim(Value(1, 0)))
    assert found.decision is INCONCLUSIVE
    assert "there is no observation of log a_log" in found.judgement.missing


def test_numbers_of_another_definition_are_not_compared_and_both_are_named():
    """`Evidence` gives what was asked for; should it ever give another, the verdict does not use it."""

    class Careless(Evidence):
        def observations(self, subject, _quantity, _device=None):
            rank = Quantity("final", "pca99/first-batch", metric="final_layer_rank", measured_as="pca99/first-batch")
            return (Observation(subject, rank, 5.0, seed=1, ran_on={"device": "mps"}),)

    asked = Quantity("final", "pca99/blockin", metric="final_layer_rank", measured_as="pca99/blockin")
    for one in (
        claim(Value(5, 0), quantity=asked),
        claim(Value(5, 0), quantity=asked, subject=TRAINING),
        claim(Value(5, 0), quantity=asked, subject=TRAINING, tier=Tier.BITWISE, seed=1, device="mps"),
    ):
        audited = judge_claims([source(one)], Careless(()), generator_of=generator_of_id)
        found = audited.verdicts[0]
        assert found.decision is INCONCLUSIVE
        assert "pca99/blockin" in found.judgement.missing
        assert "pca99/first-batch" in found.judgement.missing


# Two artefacts.


@pytest.mark.parametrize(
    ("order", "first", "second", "decision"),
    [
        (Order.EARLIER, reached(19_300, 19_400), reached(39_800, 39_900), REPRODUCED),
        (Order.LATER, reached(19_300, 19_400), reached(39_800, 39_900), CONTRADICTED),
        (Order.EARLIER, reached(100, 200), reached(150, 250), INCONCLUSIVE),
        (Order.EARLIER, reached(100, 200), reached(200, 300), REPRODUCED),  # (100, 200] and (200, 300] share no step
        (Order.EARLIER, reached(100, 200), not_until(200), REPRODUCED),
        (Order.EARLIER, reached(100, 200), not_until(199), INCONCLUSIVE),
        (Order.EARLIER, not_until(300), reached(100, 200), CONTRADICTED),
        (Order.EARLIER, not_until(300), not_until(100), INCONCLUSIVE),
        (Order.HIGHER, measured(28), measured(5), REPRODUCED),
        (Order.LOWER, measured(28), measured(5), CONTRADICTED),
        (Order.HIGHER, measured(5), measured(5), CONTRADICTED),
        (Order.EARLIER, measured(5), measured(5), CONTRADICTED),
    ],
)
def test_two_logs_are_compared_by_what_their_evaluations_tell(order, first, second, decision):
    quantity = STEP if first.time else ACCURACY
    one = claim(order, quantity=quantity, against=OTHER_LOG)
    assert verdict(one, known(LOG, quantity, first), known(OTHER_LOG, quantity, second)).decision is decision


def discordant(only_first, only_second):
    """Two-sided p of a fair coin, written out; the smaller count first."""
    n, k = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)


@pytest.mark.parametrize(
    ("first", "second", "decision"),
    [(0, 12, REPRODUCED), (12, 0, CONTRADICTED), (0, 5, INCONCLUSIVE), (3, 3, INCONCLUSIVE)],
)
def test_two_checkpoints_of_one_exam_are_compared_by_mcnemar(first, second, decision):
    one = claim(Order.LOWER, subject=CHECKPOINT, against=OTHER_CHECKPOINT, quantity=ERRORS)
    found = verdict(
        one,
        known(CHECKPOINT, ERRORS, measured(first, first, 100_000)),
        known(OTHER_CHECKPOINT, ERRORS, measured(second, second, 100_000)),
    )
    assert found.decision is decision
    assert found.judgement.p == pytest.approx(discordant(first, second))
    assert found.by_statistics == (decision is not INCONCLUSIVE)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_failures_that_two_checkpoints_share_only_make_mcnemar_surer(shared, only_first, only_second):
    """So the p that shares none of them, all that two counts can tell, never claims too much."""
    assert discordant(only_first, only_second) <= discordant(shared + only_first, shared + only_second) + 1e-12


def test_scores_on_other_problems_are_compared_by_fisher():
    one = claim(Order.HIGHER, against=OTHER_LOG)
    found = verdict(
        one, known(LOG, ACCURACY, measured(0.9, 90, 100)), known(OTHER_LOG, ACCURACY, measured(0.35, 70, 200))
    )
    assert (found.decision, found.judgement.test) == (REPRODUCED, "Fisher's exact test")
    near = verdict(one, known(LOG, ACCURACY, measured(0.5, 5, 10)), known(OTHER_LOG, ACCURACY, measured(0.4, 8, 20)))
    assert near.decision is INCONCLUSIVE
    assert "chance alone" in near.judgement.missing


# One seed.


def one_seed(device="mps", expect=None):
    expect = expect or Value(8500, 0)
    return claim(expect, subject=TRAINING, quantity=STEP, tier=Tier.BITWISE, seed=42, device=device)


def test_another_outcome_of_that_seed_on_that_device_contradicts_the_bitwise_claim_and_says_nothing_of_the_rate():
    found = verdict(one_seed(), known(TRAINING, STEP, reached(9000, 9500), seeds=(42,), device="mps"))
    assert found.decision is CONTRADICTED
    assert "nothing of how often other seeds" in found.judgement.notes[0]
    assert found.judgement.error_bound == 0


def test_the_same_outcome_of_that_seed_on_that_device_reproduces_it():
    found = verdict(one_seed(), known(TRAINING, STEP, reached(8000, 8500), seeds=(42,), device="mps"))
    assert found.decision is REPRODUCED


def test_one_seed_on_another_device_contradicts_nothing():
    found = verdict(one_seed(), known(TRAINING, STEP, reached(9000, 9500), seeds=(42,), device="cpu"))
    assert found.decision is INCONCLUSIVE
    assert "seed 42 on mps (another device contradicts nothing)" in found.judgement.missing


def test_the_same_outcome_on_another_device_is_no_reproduction():
    found = verdict(one_seed(), known(TRAINING, STEP, reached(8000, 8500), seeds=(42,), device="cpu"))
    assert found.decision is INCONCLUSIVE
    assert "agrees, but not on the same fingerprint" in found.judgement.missing


def test_a_seed_that_was_not_asked_about_does_not_count():
    found = verdict(one_seed(), known(TRAINING, STEP, reached(9000, 9500), seeds=(43,), device="mps"))
    assert found.decision is INCONCLUSIVE


def test_of_every_device_one_is_enough_to_contradict_and_all_are_needed_to_reproduce():
    same, other = reached(8000, 8500), reached(9000, 9500)

    def on(device, outcome):
        return known(TRAINING, STEP, outcome, seeds=(42,), device=device, origin=f"{device}.json")

    claimed = one_seed("any")
    assert verdict(claimed, on("cpu", same)).decision is INCONCLUSIVE
    assert verdict(claimed, on("cpu", same), on("cuda", other)).decision is CONTRADICTED
    assert verdict(claimed, on("cpu", same), on("cuda", same), on("mps", same)).decision is REPRODUCED


def test_a_newer_engine_on_another_device_does_not_hide_the_claims_own_device():
    on_mps = known(TRAINING, STEP, reached(9000, 9500), seeds=(42,), device="mps", origin="mps.json", engine=1)
    on_cpu = known(TRAINING, STEP, reached(8000, 8500), seeds=(42,), device="cpu", origin="cpu.json", engine=2)
    assert verdict(one_seed(), on_cpu, on_mps).decision is CONTRADICTED


# Many seeds.


@pytest.mark.parametrize(
    ("of", "n", "decision"),
    [
        (6, 6, REPRODUCED),  # the exact interval begins at 0.025 ** (1/6) = 0.541
        (5, 5, INCONCLUSIVE),  # 0.025 ** (1/5) = 0.478
        (0, 6, CONTRADICTED),
        (0, 5, INCONCLUSIVE),
        (1, 1, INCONCLUSIVE),
        (0, 1, INCONCLUSIVE),  # one seed never contradicts a claim about seeds
    ],
)
def test_that_a_training_is_something_is_a_claim_about_more_than_half_of_its_seeds(of, n, decision):
    words = [Measured(word="unstable")] * of + [Measured(word="memorising only")] * (n - of)
    found = verdict(claim(Word("unstable"), subject=TRAINING, quantity=REGIME), known(TRAINING, REGIME, *words))
    assert found.decision is decision
    assert "more than half of all seeds" in found.judgement.notes[-1]


def test_a_rate_is_judged_by_its_exact_interval():
    one = claim(Rate(0.5, 1), subject=TRAINING, quantity=GROKKED)
    assert verdict(one, known(TRAINING, GROKKED, *[YES] * 6)).decision is REPRODUCED
    assert verdict(one, known(TRAINING, GROKKED, *[NO] * 6)).decision is CONTRADICTED
    assert verdict(one, known(TRAINING, GROKKED, *[YES] * 4, *[NO] * 2)).decision is INCONCLUSIVE


def test_none_of_two_seeds_is_neither_reproduced_nor_contradicted_by_none_of_four():
    asked = claim(PublishedCount(0, 2), subject=TRAINING, quantity=GROKKED)
    found = verdict(asked, known(TRAINING, GROKKED, *[NO] * 4))
    assert found.decision is INCONCLUSIVE
    assert found.judgement.missing


def test_replicas_that_were_not_measured_are_counted_for_and_against():
    one = claim(Rate(0.5, 1), subject=TRAINING, quantity=GROKKED)
    unknown = Missing("not seen until step 300, and more was to come")
    found = verdict(one, known(TRAINING, GROKKED, *[YES] * 6, *[unknown] * 6))
    assert found.decision is INCONCLUSIVE  # 6 of 12 or 12 of 12
    assert "6 of 12 replicas were not measured" in found.judgement.notes[0]
    assert verdict(one, known(TRAINING, GROKKED, *[YES] * 20, unknown)).decision is REPRODUCED


def test_replicas_that_were_not_measured_may_lie_between_too_few_and_too_many():
    one = claim(Rate(0.4, 0.6), subject=TRAINING, quantity=GROKKED)
    unknown = Missing("not seen until step 300, and more was to come")
    found = verdict(one, known(TRAINING, GROKKED, *[YES] * 10, *[NO] * 10, *[unknown] * 80))
    assert found.decision is INCONCLUSIVE  # 10 of 100 is too few and 90 of 100 too many, but it may be 50 of 100


def test_of_runs_that_were_stopped_early_the_successes_are_not_all_that_counts(tmp_path):
    one = claim(Rate(0, 0.5), subject=TRAINING, quantity=GROKKED)
    for seed in range(12):
        found = {"after": 225, "by": 250} if seed % 2 else {"censored_at": 1000}
        asked = {**GROKKED.as_dict(), "name": "first_step"}
        entry = {
            "subject": {"experiment": "e1"}, "updates": 1001, "planned": 50000,
            "replicas": [{"seed": seed, "measured": [{"quantity": asked, **found}]}],
        }  # fmt: skip
        written = {"format": "reprogrok.evidence/3", "title": "one seed", "command": "none", "observations": [entry]}
        (tmp_path / f"{seed}.json").write_text(json.dumps(written))
    found = verdict(one, *gather(tmp_path).sources)
    assert found.decision is INCONCLUSIVE  # 6 of 12 got there by step 1,000; the others may until step 50,000
    assert "6 of 12" in found.judgement.missing


def test_a_file_that_did_not_note_a_quantity_down_takes_nothing_from_one_that_did():
    one = claim(Rate(0.5, 1), subject=TRAINING, quantity=GROKKED)
    silent = known(TRAINING, REGIME, *[Measured(word="x")] * 30, seeds=tuple(range(100, 130)), origin="other.json")
    assert verdict(one, known(TRAINING, GROKKED, *[YES] * 6), silent).decision is REPRODUCED


def test_a_delay_that_some_runs_cannot_have_is_not_judged_by_those_that_have_one():
    one = claim(Between(100, None), subject=TRAINING, quantity=DELAY)
    never = Missing("nothing bounds it: one of the two was not reached")
    found = verdict(
        one,
        known(TRAINING, DELAY, *[measured(500)] * 8),
        known(TRAINING, DELAY, *[never] * 40, seeds=tuple(range(50, 90)), origin="other.json"),
    )
    assert found.decision is INCONCLUSIVE
    assert "would favour those that went well" in found.judgement.missing


def test_a_median_over_seeds_is_judged_by_its_exact_interval():
    """Of six values the lowest and the highest enclose the median but for 2 * 0.5**6 = 3.1 %."""
    one = claim(Between(10, 20), subject=TRAINING, quantity=ACCURACY)
    inside = [measured(value) for value in (11, 12, 13, 14, 15, 16)]
    assert verdict(one, known(TRAINING, ACCURACY, *inside)).decision is REPRODUCED
    assert verdict(one, known(TRAINING, ACCURACY, *inside[:5])).decision is INCONCLUSIVE
    outside = [measured(value) for value in (21, 22, 23, 24, 25, 26)]
    assert verdict(one, known(TRAINING, ACCURACY, *outside)).decision is CONTRADICTED


def test_runs_that_never_got_there_count_as_late_ones():
    one = claim(Between(None, 500), subject=TRAINING, quantity=STEP)
    assert verdict(one, known(TRAINING, STEP, *[reached(400, 500)] * 6)).decision is REPRODUCED
    assert verdict(one, known(TRAINING, STEP, *[not_until(10_000)] * 6)).decision is CONTRADICTED


def test_the_order_of_two_trainings_is_contradicted_by_the_opposite_one_alone():
    one = claim(Order.MORE_OFTEN, subject=TRAINING, against=OTHER, quantity=GROKKED)

    def judged(first, second):
        return verdict(one, known(TRAINING, GROKKED, *first), known(OTHER, GROKKED, *second)).decision

    assert judged([YES] * 8, [NO] * 8) is REPRODUCED
    assert judged([NO] * 8, [YES] * 8) is CONTRADICTED
    assert judged([YES] * 8, [YES] * 8) is INCONCLUSIVE
    assert judged([YES], [NO]) is INCONCLUSIVE


def test_the_order_of_times_and_of_numbers_is_judged_over_seeds():
    early, late = [reached(100 * i, 100 * i + 100) for i in range(1, 9)], [reached(9900, 10_000)] * 8
    one = claim(Order.EARLIER, subject=TRAINING, against=OTHER, quantity=STEP)
    assert verdict(one, known(TRAINING, STEP, *early), known(OTHER, STEP, *late)).decision is REPRODUCED
    low, high = [measured(i) for i in range(8)], [measured(10 + i) for i in range(8)]
    other = claim(Order.HIGHER, subject=TRAINING, against=OTHER)
    assert verdict(other, known(TRAINING, ACCURACY, *low), known(OTHER, ACCURACY, *high)).decision is CONTRADICTED


def test_a_training_beside_one_number_is_judged_by_its_median():
    one = claim(Order.LOWER, subject=TRAINING, against=LOG)
    found = verdict(
        one, known(TRAINING, ACCURACY, *[measured(i) for i in range(6)]), known(LOG, ACCURACY, measured(10))
    )
    assert found.decision is REPRODUCED
    assert "is one number" in found.judgement.notes[-1]


@pytest.mark.parametrize(
    ("expect", "seeds"),
    [
        (Word("unstable"), 6),
        (Rate(0.5, 1), 6),
        (Rate(0, 1), 2),  # one seed decides nothing
        (Between(0, 500), 6),
        (Order.EARLIER, 4),  # 2 of comb(8, 4) = 70 splits
        (Order.MORE_OFTEN, 3),  # 2 * 0.5**6 = 0.031, and 2 * 0.5**4 = 0.125
        (PublishedCount(0, 1), 15),
    ],
)
def test_a_training_that_nobody_has_run_needs_as_many_seeds_as_can_decide_at_all(expect, seeds):
    against = OTHER if isinstance(expect, Order) else None
    found = verdict(claim(expect, subject=TRAINING, against=against, quantity=GROKKED)).judgement
    assert found.seeds_needed == seeds
    assert f"at least {seeds} seed" in found.missing


# All together.


def three_claims():
    yes = claim(Value(1, 0), id="yes")
    no = claim(Value(2, 0), id="no")
    unknown = claim(Value(1, 0), id="unknown", subject=OTHER_LOG)
    return yes, no, unknown, known(LOG, ACCURACY, measured(1))


def test_one_contradiction_outweighs_what_is_open_and_that_outweighs_the_rest():
    yes, no, unknown, evidence = three_claims()
    assert audit([yes, no, unknown], evidence).exit_code is ExitCode.FAIL
    assert audit([yes, unknown], evidence).exit_code is ExitCode.INCONCLUSIVE
    assert audit([yes], evidence).exit_code is ExitCode.PASS
    assert audit([yes, no, unknown], evidence, chosen={"yes"}).exit_code is ExitCode.PASS


def test_two_claims_that_dispute_each_other_and_both_hold_are_called_impossible():
    one = claim(Value(1, 0.5), id="one", disputes=("two",))
    two = claim(Value(1, 0), id="two")
    evidence = known(LOG, ACCURACY, measured(1))
    both = audit([one, two], evidence)
    assert both.clashes == (("one", "two"),)
    assert audit([one, replace(two, expect=Value(2, 0))], evidence).clashes == ()
    alone = audit([one, two], evidence, chosen={"two"})
    assert [verdict.claim.id for verdict in alone.verdicts] == ["two"]
    assert alone.clashes == (("one", "two"),)
    assert alone.verdict_of("one").decision is REPRODUCED


def test_what_stands_beside_a_claim_does_not_decide_the_exit_code():
    one = claim(Value(1, 0), id="one", disputes=("two",))
    two = claim(Value(2, 0), id="two")
    alone = audit([one, two], known(LOG, ACCURACY, measured(1)), chosen={"one"})
    assert alone.exit_code is ExitCode.PASS


def test_how_many_verdicts_chance_makes_wrong_is_the_sum_over_decided_ones():
    of_seeds = [
        claim(Word("unstable"), id=name, subject=Subject("experiment", name), quantity=REGIME)
        for name in ("a", "b", "c")
    ]
    evidence = [
        known(Subject("experiment", "a"), REGIME, *[Measured(word="unstable")] * 6),
        known(Subject("experiment", "b"), REGIME, *[Measured(word="else")] * 6),
        known(Subject("experiment", "c"), REGIME, *[Measured(word="else")] * 2),
    ]
    found = audit([*of_seeds, *three_claims()[:2]], *evidence, three_claims()[3])
    assert [verdict.claim.id for verdict in found.by_statistics] == ["a", "b"]
    assert found.expected_wrong == pytest.approx(0.1)


def test_many_verdicts_are_counted_and_adjusted():
    decided = Judgement(REPRODUCED, "t", p=0.01, error_bound=0.05)
    arithmetic = Judgement(CONTRADICTED, "t")
    undecided = Judgement(INCONCLUSIVE, "t", p=0.04, error_bound=0.05)

    def ledger(*judgements):
        one = claim(Value(0, 0))
        return Audit((), tuple(ClaimVerdict(replace(one, id=str(n)), "d", j, ()) for n, j in enumerate(judgements)))

    assert ledger(*[decided] * 10, *[arithmetic] * 5, *[undecided] * 3).expected_wrong == pytest.approx(0.5)
    found = ledger(decided, arithmetic, undecided, Judgement(CONTRADICTED, "t", p=0.03, error_bound=0.05)).adjusted
    assert found == {"0": pytest.approx(0.03), "2": pytest.approx(0.06), "3": pytest.approx(0.06)}


def test_p_values_are_adjusted_for_all_claims_that_have_one():
    pairs = [(0, 12), (0, 8), (3, 3)]
    claims, evidence = [], []
    for index, counts in enumerate(pairs):
        ends = Subject("checkpoint", f"{index}a"), Subject("checkpoint", f"{index}b")
        claims.append(claim(Order.LOWER, id=f"c{index}", subject=ends[0], against=ends[1], quantity=ERRORS))
        evidence += [known(end, ERRORS, measured(k, k, 1000)) for end, k in zip(ends, counts, strict=True)]
    found = audit(claims, *evidence)
    # Holm by hand: p = 2/2**12, 2/2**8 and 1, times 3, 2 and 1.
    assert list(found.adjusted.values()) == pytest.approx([6 / 2**12, 4 / 2**8, 1.0])


def test_the_same_claims_and_evidence_give_the_same_audit_whatever_else_is_judged():
    yes, no, unknown, evidence = three_claims()
    all_of_them = audit([yes, no, unknown], evidence)
    assert document_of(all_of_them) == document_of(audit([yes, no, unknown], evidence))
    assert audit([yes, no, unknown], evidence, chosen={"no"}).verdicts[0] == all_of_them.verdicts[1]
    assert generator_of_id(yes).random() == generator_of_id(replace(yes, words="other")).random()
    assert generator_of_id(yes).random() != generator_of_id(no).random()


def test_experiments_that_would_settle_something_are_listed_with_what_they_would_settle():
    asked = [
        claim(Word("x"), id="a", subject=TRAINING, quantity=REGIME),
        claim(Order.EARLIER, id="b", subject=OTHER, against=TRAINING, quantity=STEP),
        claim(Value(1, 0), id="c"),
    ]
    settling = dict(audit(asked).settling)
    assert {name: [one.claim.id for one in found] for name, found in settling.items()} == {
        "e1": ["a", "b"],
        "e2": ["b"],
    }


def test_what_no_number_of_seeds_decides_is_not_listed_among_what_seeds_decide():
    """None of one seed at the source fits nearly every rate."""
    one = claim(PublishedCount(0, 1), subject=TRAINING, quantity=GROKKED)
    assert audit([one], known(TRAINING, GROKKED, *[NO] * 6)).settling == ()
    assert audit([one]).verdicts[0].settled_by == {"e1": 15}


def test_seeds_that_are_there_are_not_asked_for_again():
    one = claim(Order.MORE_OFTEN, subject=TRAINING, against=OTHER, quantity=GROKKED)
    assert audit([one]).verdicts[0].settled_by == {"e1": 3, "e2": 3}
    assert audit([one], known(TRAINING, GROKKED, YES, YES)).verdicts[0].settled_by == {"e1": 1, "e2": 3}
    assert audit([one], known(TRAINING, GROKKED, *[YES] * 4)).verdicts[0].settled_by == {"e2": 3}


def test_the_json_is_held_to_its_schema_and_says_what_the_audit_says():
    yes, no, unknown, evidence = three_claims()
    document = json.loads(as_json(audit([yes, no, unknown], evidence)))
    assert document["exit_code"] == 1
    assert document["verdicts"] == {"REPRODUCED": 1, "CONTRADICTED": 1, "INCONCLUSIVE": 1}
    assert [entry["verdict"] for entry in document["claims"]] == ["REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"]
    assert document["claims"][0]["evidence"][0]["observations"] == [
        {"origin": "evidence.json", "device": "cpu", "value": 1.0}
    ]
    document["claims"][0]["verdict"] = "MAYBE"
    with pytest.raises(InputError, match="REPRODUCED"):
        check_written(document, "audit")


# Words.


def test_numbers_are_written_as_people_write_them():
    assert [number_text(value) for value in (33700.0, 0.0, 0.351222, -5.0, 1e-7)] == [
        "33,700", "0", "0.351222", "-5", "1e-07",
    ]  # fmt: skip
    seen = Observation(LOG, ACCURACY, 0.00012, k=12, n=100_000)
    assert value_text(seen) == "0.00012, which is 12 of 100,000"
    assert value_text(Observation(LOG, STEP, time=StepInterval(None, 0, "x"))) == "0, in (start, 0]"


def test_what_has_no_region_is_not_judged_as_a_number():
    with pytest.raises(TypeError, match="no region"):
        region(Word("x"))


def test_a_pair_is_judged_by_values_on_both_sides():
    empty = Observation(LOG, ACCURACY)
    found = judge_pair([empty], [Observation(LOG, ACCURACY, 1.0)], Order.HIGHER)
    assert found.decision is INCONCLUSIVE
    assert judge_one(empty, Value(1, 0)).decision is INCONCLUSIVE
