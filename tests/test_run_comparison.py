"""Two runs: what differs between their settings, how much later the second grokked, and what is never compared."""

import dataclasses
import json
import math
from itertools import product
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.console import console
from reprogrok.errors import InputError
from reprogrok.files import pretty_json
from reprogrok.formats.foreign_runs import read_run
from reprogrok.record import Record, Series
from reprogrok.runs.comparison import COMMON, MOMENTS, compare_runs, median_of
from reprogrok.runs.comparison_documents import document_of, metrics_of
from reprogrok.runs.comparison_tables import print_run_comparison
from reprogrok.runs.identity import SettingKind, flatten, identify, run_labels

MORE = " and 1 more"
STEPS = tuple(range(0, 1_001, 100))

SPEC = {
    "name": "a",
    "task": {"name": "modular", "operation": "add", "modulus": 97, "split": {"kind": "random", "fraction": 0.8}},
    "model": {"n_layer": 2, "d_model": 128},
    "optimiser": {"lr": 0.001, "betas": [0.9, 0.98]},
    "schedule": {"warmup": 0, "floor": 1.0},
    "batch": 512,
    "steps": 1_001,
    "evaluate_every": 100,
    "seeds": [0],
}


def changed(**settings):
    """SPEC with other settings, by dotted path with __ for the dot."""
    spec = json.loads(json.dumps(SPEC))
    for path, value in settings.items():
        *groups, last = path.split("__")
        place = spec
        for group in groups:
            place = place[group]
        place[last] = value
    return spec


def ours(folder, name, *replicas, spec=SPEC, definitions=None, device="cpu", diverged=None, fingerprint=None):
    """A record of ours whose spec.json is on disk; replicas are metric -> values at `STEPS`."""
    path = folder / name
    path.mkdir(exist_ok=True)
    seeds = list(range(len(replicas)))
    document = {
        "format": "reprogrok.spec/1", "experiment": name, "digest": "0" * 64, "engine_version": 3, "seeds": seeds,
        "device": device, "spec": spec, "definitions": {}, "facts": {}, "gates": {},
    }  # fmt: skip
    (path / "spec.json").write_bytes(pretty_json(document))
    series = {
        seed: {metric: Series(STEPS[: len(values)], tuple(map(float, values))) for metric, values in metrics.items()}
        for seed, metrics in enumerate(replicas)
    }
    ids = {metric: "argmax/answer" for metrics in replicas for metric in metrics} | (definitions or {})
    return Record(path, name, "reprogrok", series, ids, diverged=diverged or {}, fingerprint=fingerprint or {})


def reaching(step, level=1.0):
    """Accuracy 0 before a step and `level` from there on; never with None."""
    return {"test_accuracy": [level if step is not None and s >= step else 0.0 for s in STEPS]}


@pytest.fixture
def recorded(fixtures_dir):
    names = {"v1": "v1_baseline", "v2a": "v2a_interpolation_regime", "v2b": "v2b_conflict_split"}
    return {short: read_run(fixtures_dir / "runs" / name) for short, name in names.items()}


# --- Identity -----------------------------------------------------------------------------------------------------


def test_settings_are_compared_by_dotted_path():
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [1, 2], "e": {}}


@pytest.mark.parametrize(
    ("settings", "sentence", "only_split"),
    [
        ({}, "nothing differs that decides the training", False),
        ({"task__split__fraction": 0.5}, "only the split differs", True),
        (
            {"task__split__fraction": 0.5, "steps": 2_000},
            "only the split differs; apart from that, how long they ran (1,001 against 2,000 steps)",
            True,
        ),
        ({"evaluate_every": 50, "name": "b"}, "nothing differs that decides the training", False),
        ({"optimiser__lr": 0.01}, "1 setting differs, the split does not: optimiser.lr", False),
        (
            {"model__d_model": 64, "model__n_layer": 1, "batch": 2, "schedule__warmup": 5, "optimiser__lr": 0.1},
            "5 settings differ, the split does not: model.n_layer, model.d_model, optimiser.lr, schedule.warmup" + MORE,
            False,
        ),
        (
            {"optimiser__lr": 0.01, "task__split__kind": "twin_closed"},
            "1 setting differs beside the split: optimiser.lr",
            False,
        ),
        (
            {"model__d_model": 64, "batch": 256, "task__modulus": 59, "schedule__warmup": 5},
            "4 settings differ, the split does not: task.modulus, model.d_model, schedule.warmup, batch.size",
            False,
        ),
    ],
)
def test_what_differs_is_said_in_one_sentence(tmp_path, settings, sentence, only_split):
    one = ours(tmp_path, "a", reaching(300))
    other = ours(tmp_path, "b", reaching(300), spec=changed(**settings))
    identity = identify(one, other)
    assert (identity.sentence, identity.only_split_differs) == (sentence, only_split)


def test_the_length_of_a_falling_schedule_is_a_setting_of_the_training(tmp_path):
    falling = {"schedule__floor": 0.1}
    one = ours(tmp_path, "a", reaching(300), spec=changed(**falling))
    other = ours(tmp_path, "b", reaching(300), spec=changed(**falling, steps=2_000))
    (difference,) = identify(one, other).differences
    assert (difference.path, difference.first, difference.second, difference.kind) == (
        "steps", 1_001, 2_000, SettingKind.TRAINING,
    )  # fmt: skip


def test_seeds_device_and_fingerprint_are_given_apart(tmp_path):
    one = ours(tmp_path, "a", reaching(300), fingerprint={"device": "cpu", "torch": "2.10", "python": "3.11"})
    other = ours(
        tmp_path, "b", reaching(300), reaching(400), device="cuda",
        fingerprint={"device": "cuda", "torch": "2.11", "python": "3.11"},
    )  # fmt: skip
    identity = identify(one, other)
    assert identity.differences == ()
    assert identity.sentence == "nothing differs that decides the training; apart from that, the seeds"
    assert dict(identity.apart) == {
        "seeds": ((0,), (0, 1)),
        "device": ("cpu", "cuda"),
        "engine": ("reprogrok 3", "reprogrok 3"),
        "fingerprint.torch": ("2.10", "2.11"),
    }


def test_settings_of_two_projects_meet_under_our_names(tmp_path, columns_run):
    def config(document):
        del document["split_rule"]
        document["training"] = {"num_steps": 20_000, "learning_rate": 0.001, "batch_size": 256}

    theirs = read_run(columns_run("theirs", config=config))
    identity = identify(ours(tmp_path, "a", reaching(300)), theirs)
    found = {difference.path: (difference.first, difference.second) for difference in identity.differences}
    assert found == {"model.d_model": (128, 64), "batch.size": (512, 256), "steps": (1_001, 20_000)}
    assert {"task.modulus", "task.split.fraction", "optimiser.lr", "model.n_layer"} <= set(identity.same)
    assert {"model.vocab_size", "optimiser.betas"} <= set(identity.one_sided)
    assert identity.sentence.startswith("of what both state, 2 settings differ, the split does not: ")


def test_how_often_a_run_was_looked_at_is_no_setting_of_the_training(tmp_path):
    seldom = {"early": None, "analyse_every": None, "checkpoint_every": 500}
    often = {"early": {"every": 1, "until": 100}, "analyse_every": 200, "checkpoint_every": None}
    one = ours(tmp_path, "a", reaching(300), spec=changed(**seldom))
    identity = identify(one, ours(tmp_path, "b", reaching(300), spec=changed(**often)))
    assert {(d.path, d.first, d.second, d.kind) for d in identity.differences} == {
        ("early.every", "not stated", 1, SettingKind.OBSERVATION),
        ("early.until", "not stated", 100, SettingKind.OBSERVATION),
        ("analyse_every", None, 200, SettingKind.OBSERVATION),
        ("checkpoint_every", 500, None, SettingKind.OBSERVATION),
    }
    assert identity.sentence == "nothing differs that decides the training"


def test_dropout_and_the_rhythm_of_another_project_meet_ours(tmp_path, columns_run):
    def config(document):
        document["model"]["dropout"] = 0.1
        document["training"]["checkpoint_interval"] = 5_000
        document["analysis"] = {"compute_rank_interval": 500}

    theirs = read_run(columns_run("theirs", config=config))
    spec = changed(dropout=0.0, checkpoint_every=5_000, analyse_every=200)
    identity = identify(ours(tmp_path, "a", reaching(300), spec=spec), theirs)
    found = {d.path: (d.first, d.second, d.kind) for d in identity.differences}
    assert found["dropout"] == (0.0, 0.1, SettingKind.TRAINING)
    assert found["analyse_every"] == (200, 500, SettingKind.OBSERVATION)
    assert "checkpoint_every" in identity.same


def test_a_run_without_settings_cannot_be_verified(tmp_path):
    bare = Record(tmp_path, "bare", "llmc-log", {0: {}}, {})
    identity = identify(ours(tmp_path, "a", reaching(300)), bare)
    assert identity.sentence == "cannot be verified: a run says nothing of its settings"
    assert identity.notes == ("bare came without its configuration: its settings are not known",)
    assert not identity.only_split_differs


def test_of_the_recorded_runs_only_the_split_differs(recorded):
    identity = identify(recorded["v1"], recorded["v2a"])
    assert identity.only_split_differs
    assert [(d.path, d.first, d.second, d.kind) for d in identity.differences] == [
        ("data.train_split", 0.8, 0.55, SettingKind.SPLIT),
        ("training.num_steps", 200_000, 25_000, SettingKind.LENGTH),
        ("version", "not stated", "v2", SettingKind.NAME),
    ]
    assert len([path for path in identity.same if path.startswith("model.")]) == 7
    identity = identify(recorded["v2a"], recorded["v2b"])
    assert identity.only_split_differs
    assert {d.path for d in identity.of(SettingKind.SPLIT)} == {"data.train_split", "split_type", "split_rule"}
    assert identity.notes == (
        "data.train_split 0.8 of v2b_conflict_split is a left-over: its split_rule decides the split",
    )


def test_runs_of_one_name_are_called_by_their_folders():
    one = Record(Path("x/a"), "a", "columns", {}, {})
    other = dataclasses.replace(one, path=Path("y/a"))
    assert run_labels([one, other]) == ["x/a", "y/a"]
    assert run_labels([one, dataclasses.replace(other, experiment="b")]) == ["a", "b"]
    with pytest.raises(InputError, match="x/a: the same run twice"):
        run_labels([one, one])


# --- Medians ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "low", "high", "coverage", "whole"),
    [
        (2, 1, 2, 0.5, True),
        (5, 1, 5, 0.9375, True),
        (6, 1, 6, 0.96875, True),
        (8, 1, 8, 1 - 2 / 256, True),
        (9, 2, 8, 1 - 20 / 512, False),
        (20, 6, 15, 0.9586, False),  # Conover's table of the binomial: P(X <= 5) = 0.0207 for n = 20
    ],
)
def test_order_statistics_bound_the_median_with_a_known_probability(n, low, high, coverage, whole):
    found = median_of([(value, value) for value in range(1, n + 1)])
    assert (found.bounds, found.whole) == ((low, high), whole)
    assert found.coverage == pytest.approx(coverage, abs=1e-4)
    assert (found.low, found.high) == ((n + 1) / 2, (n + 1) / 2)


def test_one_value_has_no_interval_over_seeds():
    found = median_of([(3.0, 4.0)])
    assert (found.low, found.high, found.bounds, found.coverage) == (3, 4, None, None)
    assert median_of([]) is None


def test_a_censored_half_leaves_the_median_without_an_upper_end():
    never = (1_001.0, math.inf)
    assert median_of([(1.0, 100.0), never, never]).high == math.inf
    found = median_of([(1.0, 100.0), (101.0, 200.0), never])
    assert (found.low, found.high, found.bounds) == (101, 200, (1, math.inf))


@given(st.integers(2, 40))
def test_the_coverage_is_that_of_counting_every_way_the_seeds_can_fall(n):
    """Each seed lies above or below the law's median with probability 1/2: count the falls that the bounds contain."""
    found = median_of([(float(value), float(value)) for value in range(n)])
    rank = int(found.bounds[0]) + 1
    if n <= 10:
        inside = sum(rank <= sum(fall) <= n - rank for fall in product((0, 1), repeat=n))
    else:
        inside = sum(comb(n, k) for k in range(rank, n - rank + 1))
    assert found.coverage == pytest.approx(inside / 2**n)


# --- Grok times and factors ---------------------------------------------------------------------------------------


def timing(comparison, name):
    return next(found for found in comparison.timings if found.name == name)


def test_the_recorded_delay_factors_are_those_of_the_intervals(recorded):
    comparison = compare_runs([recorded["v1"], recorded["v2a"]])
    factors = {found.name: found.factor for found in comparison.timings}
    # (33,600, 33,700] and (19,300, 19,400], in whole steps
    eighty = factors["generalised (80 %)"]
    assert (eighty.low, eighty.high) == (19_301 / 33_700, 19_400 / 33_601)
    ninety = factors["generalised (90 %)"]
    assert (ninety.low, ninety.high) == (19_301 / 39_900, 19_400 / 39_801)
    assert (ninety.bounds, ninety.coverage) == (None, None)
    rise = timing(comparison, "max-rise5")
    assert [event.median.low for event in rise.runs] == [17_100, 19_500]
    assert (rise.factor, rise.reason) == (None, "a rise below 0.15 need not be a transition")
    assert rise.notes == ("rise 0.137, below 0.15", "rise 0.178")


def test_a_run_that_never_groks_leaves_a_bound(recorded):
    factor = timing(compare_runs([recorded["v1"], recorded["v2b"]]), "generalised (90 %)").factor
    assert (factor.low, factor.high) == (20_001 / 39_900, None)
    factor = timing(compare_runs([recorded["v2b"], recorded["v1"]]), "generalised (90 %)").factor
    assert (factor.low, factor.high) == (None, 39_900 / 20_001)


def test_two_runs_that_never_grok_have_no_factor(tmp_path):
    found = compare_runs([ours(tmp_path, "a", reaching(None)), ours(tmp_path, "b", reaching(None))])
    entry = timing(found, "generalised (99 %)")
    assert (entry.factor, entry.reason) == (None, "neither got there")


def test_over_seeds_the_factor_is_of_medians_and_its_bounds_of_their_intervals(tmp_path):
    one = ours(tmp_path, "a", *map(reaching, (100, 200, 300)))
    other = ours(tmp_path, "b", *map(reaching, (400, 600, None)))
    entry = timing(compare_runs([one, other]), "generalised (90 %)")
    first, second = (event.median for event in entry.runs)
    assert (first.low, first.high, first.bounds) == (101, 200, (1, 300))
    assert (second.low, second.high, second.bounds) == (501, 600, (301, math.inf))
    assert (entry.factor.low, entry.factor.high) == (501 / 200, 600 / 101)
    assert entry.factor.bounds == (301 / 300, None)
    assert entry.factor.coverage == pytest.approx(1 - 2 * 0.25)  # each range of three misses in a quarter of cases
    assert [(event.rate.k, event.rate.n) for event in entry.runs] == [(3, 3), (2, 3)]
    assert entry.runs[1].rate.low == pytest.approx(0.0943, abs=1e-4)  # Clopper and Pearson, 2 of 3


def test_rates_are_tested_at_a_step_that_both_runs_reached(tmp_path):
    shorter = [{"test_accuracy": [0.0] * 6}] * 4  # until step 500
    comparison = compare_runs(
        [ours(tmp_path, "a", *shorter), ours(tmp_path, "b", *map(reaching, (300, 500, 600, 600)))]
    )
    assert comparison.common_steps == 500
    first, second, p = timing(comparison, "generalised (90 %)").by_common
    assert ((first.k, first.n), (second.k, second.n)) == ((0, 4), (2, 4))
    # Fisher by hand: C(4,2) C(4,0) / C(8,2) = 6/28 at this table, twice for the other side
    assert p == pytest.approx(12 / 28)


def test_a_diverged_seed_did_not_get_there_and_does_not_shorten_the_comparison(tmp_path):
    one = ours(tmp_path, "a", reaching(300), {"test_accuracy": [0.0, 0.0]}, diverged={1: 150})
    comparison = compare_runs([one, ours(tmp_path, "b", reaching(300), reaching(400))])
    assert comparison.common_steps == 1_000
    first, second, _ = timing(comparison, "generalised (80 %)").by_common
    assert ((first.k, first.n), (second.k, second.n)) == ((1, 2), (2, 2))


def test_memorisation_is_timed_where_it_was_recorded(tmp_path):
    both = reaching(800) | {"train_accuracy": reaching(200)["test_accuracy"]}
    comparison = compare_runs([ours(tmp_path, "a", both), ours(tmp_path, "b", reaching(800))])
    entry = timing(comparison, "memorised (99 %)")
    assert (entry.runs[0].median.low, entry.runs[0].median.high, entry.runs[1].median) == (101, 200, None)
    assert (entry.factor, entry.reason) == (None, "not recorded in both")


# --- Before and after ---------------------------------------------------------------------------------------------


def test_rank_and_entropy_are_read_at_the_first_evaluation_the_grok_step_and_the_end(recorded):
    comparison = compare_runs([recorded["v1"], recorded["v2a"]])
    (rank,) = [course for course in comparison.courses if course.metric == "final_layer_rank"]
    # 39,900 lies between the analyses at 39,500 and 40,000; 19,400 between 19,000 and 19,500.
    assert [[(level.median.low, level.steps) for level in levels] for levels in rank.runs] == [
        [(5, (500,)), (2, (40_000,)), (4, (25_000,)), (1, (200_000,))],
        [(5, (500,)), (23, (19_500,)), (28, (25_000,)), (28, (25_000,))],
    ]
    assert MOMENTS == ("first", "at grok", COMMON, "end")


def test_a_run_that_never_groks_has_no_value_at_the_grok_step(recorded):
    comparison = compare_runs([recorded["v1"], recorded["v2b"]])
    for course in comparison.courses:
        assert course.runs[1][1].median is None
        assert course.runs[1][1].steps == ()


# --- Definitions --------------------------------------------------------------------------------------------------


def test_metrics_of_different_definitions_are_listed_and_not_compared(tmp_path):
    values = reaching(300) | {"final_layer_rank": [5.0] * 11}
    one = ours(tmp_path, "a", values, definitions={"final_layer_rank": "pca99/blockin"})
    other = ours(tmp_path, "b", values, definitions={"final_layer_rank": "pca99/blockin-first"})
    comparison = compare_runs([one, other])
    assert [course.metric for course in comparison.courses] == ["test_accuracy"]
    assert [vars(entry) for entry in comparison.not_compared] == [
        {"metric": "final_layer_rank", "first": "pca99/blockin", "second": "pca99/blockin-first"}
    ]


def test_grok_times_of_different_accuracies_are_not_compared(tmp_path):
    values = reaching(300) | {"train_loss": [1.0] * 11}
    other = ours(tmp_path, "b", values, definitions={"test_accuracy": "greedy/2"})
    assert compare_runs([ours(tmp_path, "a", values), other]).timings == ()


def test_runs_with_nothing_in_common_are_refused_and_both_ids_named(tmp_path):
    other = ours(tmp_path, "b", reaching(300), definitions={"test_accuracy": "greedy/2"})
    with pytest.raises(InputError, match=r"a and b cannot be compared.*argmax/answer against greedy/2"):
        compare_runs([ours(tmp_path, "a", reaching(300)), other])


def test_a_metric_without_a_definition_equals_nothing(tmp_path):
    one, other = (dataclasses.replace(ours(tmp_path, name, reaching(300)), definitions={}) for name in ("a", "b"))
    with pytest.raises(InputError, match="no definition"):
        compare_runs([one, other])


def test_runs_are_compared_two_at_a_time(tmp_path):
    with pytest.raises(InputError, match="two at a time: expected RUN_A RUN_B, found 1"):
        compare_runs([ours(tmp_path, "a", reaching(300))])


# --- Reports ------------------------------------------------------------------------------------------------------


def test_the_document_is_json_and_the_metrics_are_numbers_alone(tmp_path):
    one = ours(tmp_path, "a", *map(reaching, (100, 200, None)))
    comparison = compare_runs([one, ours(tmp_path, "b", *map(reaching, (400, None, None)))])
    document = json.loads(json.dumps(document_of(comparison), allow_nan=False))
    entry = next(found for found in document["grok_times"] if found["event"] == "generalised (90 %)")
    assert entry["runs"][1]["seeds"]["0"] == {"after": 300, "by": 400}
    assert entry["runs"][1]["seeds"]["1"] == {"not_until": 1_000}
    assert entry["runs"][1]["median"]["high"] is None
    assert entry["delay_factor"]["low"] == 1_001 / 200
    assert entry["delay_factor"]["high"] is None

    def leaves(value):
        return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]

    numbers = metrics_of(comparison)
    assert {type(leaf) for leaf in leaves(numbers)} <= {int, float}
    assert numbers["grok step"]["a"]["generalised (90 %)"] == {"from": 101, "to": 200, "reached": 2, "seeds": 3}


def test_the_tables_say_how_the_interval_came_about(tmp_path, capsys):
    one = ours(tmp_path, "a", *map(reaching, (100, 200, 300)))
    print_run_comparison(compare_runs([one, ours(tmp_path, "b", *map(reaching, (400, 600, None)))]), console())
    out = capsys.readouterr().out
    assert "experimental identity: nothing differs that decides the training\n" in out
    assert "3 of 3; median 101 to 200 [1 to 300; 75.0 %]" in out
    assert "2 of 3; median 501 to 600 [at least 301; 75.0 %]" in out
    assert "2.505 to 5.941 [at least 1.003; 50.0 %]" in out
    assert "2 of 3 (0.0943 to 0.992)" in out
    assert "1 [1; 50.0 %] (2 of 3 seeds)" in out  # accuracy at the grok step, of those that grokked
    assert "memorised: neither run recorded accuracy in training" in out


def test_the_tables_name_what_was_not_compared(tmp_path, capsys):
    values = reaching(300) | {"final_layer_rank": [5.0] * 11, "weight_norm": [1.0] * 11}
    one = ours(tmp_path, "a", values, definitions={"final_layer_rank": "pca99/blockin"})
    less = reaching(300) | {"final_layer_rank": [5.0] * 11}
    other = ours(tmp_path, "b", less, definitions={"final_layer_rank": "pca99/blockin-first"})
    print_run_comparison(compare_runs([one, other]), console())
    out = capsys.readouterr().out
    assert "not compared: final_layer_rank (pca99/blockin against pca99/blockin-first)\n" in out
    assert "not compared: weight_norm (not in b)\n" in out
