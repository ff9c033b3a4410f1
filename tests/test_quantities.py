"""What a claim may ask of a run, a log or an experiment's data: published figures, plain second rules, holes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.claims.certificate_quantities import CERTIFICATE
from reprogrok.claims.claims import Quantity
from reprogrok.claims.data_quantities import DATA, measure_data
from reprogrok.claims.measurements import Measured, Missing
from reprogrok.claims.replica_quantities import REPLICAS, Replica, measure
from reprogrok.claims.series_quantities import SERIES
from reprogrok.formats.foreign_runs import read_run
from reprogrok.metrics.grokking import Censored, StepInterval
from reprogrok.params import read_params
from reprogrok.record import Record, Series

ROOT = Path(__file__).resolve().parents[1]
ACCURACY = {"metric": "test_accuracy", "measured_as": "argmax/answer"}
RANK = {"metric": "final_layer_rank", "measured_as": "pca99/blockin"}
ENTROPY = {"metric": "attention_entropy", "measured_as": "attn/all-queries"}


def record_of(values, *, steps=None, planned=None, diverged=None, metric="test_accuracy", definition="argmax/answer"):
    """A foreign record of one replica, seed 0, evaluated every 10 steps."""
    series = Series(tuple(steps or range(0, 10 * len(values), 10)), tuple(values))
    facts = {} if planned is None else {"steps": planned}
    gone = {} if diverged is None else {0: diverged}
    return Record(Path("x"), "x", "given", {0: {metric: series}}, {metric: definition}, facts, diverged=gone)


def ask(record, name, definition, **fields):
    return measure(Replica(record, 0), Quantity(name, definition, **{**ACCURACY, **fields}))


@pytest.fixture(scope="module")
def experiments():
    return read_params(ROOT / "params.yaml").experiments


@pytest.fixture(scope="module")
def logs(fixtures_dir):
    return {path.name.split("_")[0]: read_run(path) for path in sorted((fixtures_dir / "runs").iterdir())}


@pytest.mark.parametrize(
    ("log", "quantity", "expected"),
    [
        ("v1", Quantity("first_step", "first-above/0.80", **ACCURACY), 33_700),
        ("v1", Quantity("first_step", "first-above/0.90", **ACCURACY), 39_900),
        ("v1", Quantity("steepest_step", "max-rise5", **ACCURACY), 17_100),
        ("v1", Quantity("steepest_rise", "max-rise5", **ACCURACY), pytest.approx(0.137, abs=5e-4)),
        ("v2a", Quantity("first_step", "first-above/0.90", **ACCURACY), 19_400),
        ("v2a", Quantity("steepest_step", "max-rise5", **ACCURACY), 19_500),
        ("v2b", Quantity("highest", "argmax/answer", **ACCURACY), pytest.approx(0.00084, abs=5e-6)),
        ("v2b", Quantity("lowest", "pca99/blockin", **RANK), 13),
        ("v2b", Quantity("highest", "pca99/blockin", **RANK), 32),
        ("v2b", Quantity("lowest", "attn/all-queries", **ENTROPY), pytest.approx(0.095, abs=5e-4)),
        ("v2b", Quantity("highest", "attn/all-queries", **ENTROPY), pytest.approx(0.365, abs=5e-4)),
        ("v2b", Quantity("grokked", "first-above/0.90", **ACCURACY), 0),
        ("v2a", Quantity("grokked", "first-above/0.90", **ACCURACY), 1),
        ("v2a", Quantity("grokked", "first-above/0.90", **ACCURACY, until=19_300), 0),
    ],
)
def test_the_recorded_logs_say_what_was_published(logs, log, quantity, expected):
    (run,) = [found for name, found in logs.items() if name == log]
    (seed,) = run.replicas
    found = measure(Replica(run, seed), quantity)
    assert isinstance(found, Measured), found
    assert found.value == expected


def test_an_accuracy_is_k_of_n(logs):
    run = logs["v2b"]
    (seed,) = run.replicas
    found = measure(Replica(run, seed), Quantity("highest", "argmax/answer", **ACCURACY))
    assert (found.k, found.n) == (4, 4753)


@pytest.mark.parametrize(
    ("experiment", "quantity", "expected"),
    [
        ("e1", Quantity("parameters", "unique-after-tying"), 456),
        ("e5", Quantity("parameters", "unique-after-tying"), 512),
        ("e8", Quantity("parameters", "unique-after-tying"), 763),
        ("e9", Quantity("parameters", "unique-after-tying"), 959),
        ("e10", Quantity("parameters", "unique-after-tying"), 1_128),
        ("d10-3", Quantity("parameters", "unique-after-tying"), 410_752),
        ("c12-5", Quantity("parameters", "unique-after-tying"), 212_480),
        ("v1", Quantity("parameters", "unique-after-tying"), 3_190_272),
        ("v2b", Quantity("equations", "count"), 9_409),
        ("v2b", Quantity("train_examples", "count"), 4_656),
        ("v2b", Quantity("test_examples", "count"), 4_753),
        ("v1", Quantity("train_examples", "count"), 7_527),
        ("v1", Quantity("test_examples", "count"), 1_882),
        ("v2a", Quantity("train_examples", "count"), 5_174),
        ("c12-1", Quantity("validation_examples", "count"), 2_352),
        ("c12-1", Quantity("test_examples", "count"), 2_353),
        ("c12-1", Quantity("left_out", "count"), 96),
        ("d10-3", Quantity("block_rows", "count"), 4_688),
        ("d10-3", Quantity("vocabulary", "count"), 101),
        ("d10-3", Quantity("padded_vocabulary", "count"), 128),
        ("v1", Quantity("vocabulary", "count"), 104),
        ("d10-3", Quantity("positions", "count"), 8),
        ("d10-3", Quantity("scored_positions", "count"), 1),
        ("d10-1", Quantity("scored_positions", "count"), 8),
        ("d10-1", Quantity("equation_positions", "count"), 7),
        ("e1", Quantity("positions", "count"), 33),
        ("v2b", Quantity("operands_trained", "count"), 97),
        ("v2b", Quantity("answers_possible", "count"), 97),
        ("v2b", Quantity("answers_trained", "count"), 48),
        ("v2b", Quantity("answers_tested", "count"), 49),
        ("v2b", Quantity("answers_unseen", "count"), 49),
        ("v2b", Quantity("answers_shared", "count"), 0),
        ("v2a", Quantity("answers_shared", "count"), 97),
        ("v2b", Quantity("seen_answer_ceiling", "share"), 0),
        ("v1", Quantity("twin_share", "share"), 1_493 / 1_882),
        ("v2a", Quantity("memoriser_ceiling", "share"), 2_251 / 4_235),
        ("power-add", Quantity("batch_share", "share"), 512 / 4_704),
        ("v2b", Quantity("largest_entropy", "ln(T!)/T"), math.log(math.factorial(8)) / 8),
        ("d10-1", Quantity("answer_share", "1/T"), 1 / 8),
        ("v2b", Quantity("uniform_loss", "ln(p)"), math.log(97)),
        ("d10-1", Quantity("floor", "floor/task-known", window="all"), 2 * math.log(97) / 8),
        ("d10-1", Quantity("floor", "floor/chance", window="all"), 3 * math.log(97) / 8),
        ("d10-3", Quantity("setting", "optimiser.weight_decay"), 1),
        ("power-add", Quantity("setting", "schedule.warmup"), 10),
    ],
)
def test_what_follows_from_data_is_what_is_known_of_it(experiments, experiment, quantity, expected):
    found = measure_data(experiments[experiment], quantity)
    assert isinstance(found, Measured), found
    assert found.value == pytest.approx(expected, abs=1e-3 if quantity.name == "floor" else 1e-12)


def test_a_setting_that_is_no_number_is_a_word(experiments):
    assert measure_data(experiments["v2b"], Quantity("setting", "task.loss")).word == "all"
    assert measure_data(experiments["v2b"], Quantity("setting", "optimiser.clip")).word == "none"
    assert measure_data(experiments["v2b"], Quantity("setting", "model.bias")).word == "true"


def test_data_that_is_asked_the_wrong_way_says_what_the_right_way_is(experiments):
    wrong = measure_data(experiments["v2b"], Quantity("parameters", "all"))
    assert wrong == Missing("the definition of parameters is unique-after-tying", again=False)
    unknown = measure_data(experiments["v2b"], Quantity("colour", "count"))
    assert "colour does not follow from data" in unknown.reason
    setting = measure_data(experiments["v2b"], Quantity("setting", "optimiser.momentum"))
    assert "optimiser.weight_decay" in setting.reason


def test_a_metric_of_another_definition_is_not_used_and_both_are_named():
    found = ask(record_of([0.1, 0.9], definition="argmax/position"), "highest", "argmax/answer")
    assert isinstance(found, Missing)
    assert "argmax/position" in found.reason
    assert "argmax/answer" in found.reason


@pytest.mark.parametrize("definition", ["first-above/0.8", "first-above/x", "first-over/0.80", "first-above/nan"])
def test_a_threshold_has_one_spelling(definition):
    assert isinstance(ask(record_of([0.1, 0.9]), "first_step", definition), Missing)


def test_a_run_that_ended_early_counts_for_an_event_only_if_it_was_seen():
    early = record_of([0.1, 0.2, 0.95], planned=1_000)
    assert ask(early, "grokked", "first-above/0.90").value == 1
    assert isinstance(ask(early, "grokked", "first-above/0.99"), Missing)
    assert ask(early, "grokked", "first-above/0.99", until=20).value == 0
    for name in ("final", "lowest", "highest"):
        assert isinstance(ask(early, name, "argmax/answer"), Missing)
        assert isinstance(ask(early, name, "argmax/answer", until=20), Measured)
    assert ask(early, "first_step", "first-above/0.99").time == Censored(20, "first-above/0.99")


def test_an_event_until_a_step_beyond_the_run_is_not_known():
    whole = record_of([0.1, 0.2, 0.3], planned=21)
    assert ask(whole, "grokked", "first-above/0.90").value == 0
    assert isinstance(ask(whole, "grokked", "first-above/0.90", until=50), Missing)


def test_a_replica_that_diverged_is_watched_to_its_end():
    gone = record_of([0.1, 0.2], planned=1_000, diverged=15)
    assert ask(gone, "grokked", "first-above/0.90").value == 0
    assert ask(gone, "first_step", "first-above/0.90").time == Censored(999, "first-above/0.90")
    assert ask(gone, "first_step", "first-above/0.90", until=500).time == Censored(500, "first-above/0.90")
    assert measure(Replica(gone, 0), Quantity("diverged", "not-finite")).value == 1
    assert measure(Replica(gone, 0), Quantity("diverged", "not-finite", until=10)).value == 0


def test_a_hole_at_the_end_leaves_an_event_open():
    assert isinstance(ask(record_of([0.1, 0.2, math.nan], planned=21), "grokked", "first-above/0.90"), Missing)


def test_below_is_strict_and_an_interval():
    losses = {"metric": "test_loss", "measured_as": "ce/answer"}
    record = record_of([0.3, 0.1, 0.09], planned=21, metric="test_loss", definition="ce/answer")
    found = ask(record, "first_step", "first-below/0.10", **losses)
    assert found.time == StepInterval(10, 20, "first-below/0.10")
    assert found.value == 20


def test_a_step_without_an_evaluation_names_the_nearest():
    found = ask(record_of([0.1, 0.2, 0.3]), "at_step", "argmax/answer", step=14)
    assert "nearest evaluation is at 10" in found.reason


def test_spikes_of_a_loss_at_the_answer_are_counted_with_their_height():
    losses = {"metric": "test_loss", "measured_as": "ce/answer"}
    record = record_of([3.0, 0.1, 4.4, 0.1, 0.7, 0.1, 1.3, 0.1], planned=71, metric="test_loss", definition="ce/answer")
    assert ask(record, "spikes", "spikes/0.5-1", **losses).value == 2
    highest = ask(record, "highest_spike", "spikes/0.5-1", **losses)
    assert (highest.value, highest.at_step) == (4.4, 20)


numbers = st.lists(st.floats(0, 1), min_size=2, max_size=30)


@given(numbers)
def test_changes_are_those_of_a_plain_search(values):
    record = record_of(values, planned=10 * len(values) - 9)
    pairs = [(i, j) for j in range(len(values)) for i in range(j)]
    drop = ask(record, "largest_drop", "change/argmax/answer")
    assert drop.value == max(values[i] - values[j] for i, j in pairs)
    assert ask(record, "largest_rise", "change/argmax/answer").value == max(values[j] - values[i] for i, j in pairs)


@given(numbers, st.sampled_from(["0.25", "0.50", "0.99"]))
def test_stretches_above_are_those_of_a_plain_count(values, level):
    record = record_of(values, planned=10 * len(values) - 9)
    above = "".join("x" if value >= float(level) else " " for value in values)
    assert ask(record, "times_above", f"times-above/{level}").value == len(above.split())


@given(numbers, st.sampled_from(["0.25", "0.50", "1.00"]), st.integers(0, 300))
def test_an_event_is_a_plain_look_at_the_evaluations_until_a_step(values, level, until):
    record = record_of(values, planned=10 * len(values) - 9)
    found = ask(record, "grokked", f"first-above/{level}", until=until)
    seen = [value >= float(level) for step, value in enumerate(values) if 10 * step <= until]
    if any(seen):
        assert found.value == 1
    elif until <= 10 * len(values) - 9:  # a run of N updates is followed until N
        assert found.value == 0
    else:
        assert isinstance(found, Missing)


def test_every_quantity_is_documented_with_its_definitions():
    text = (ROOT / "docs" / "claims.md").read_text("utf-8")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| `")}
    for name, entry in (*SERIES.items(), *REPLICAS.items(), *DATA.items(), *CERTIFICATE.items()):
        assert f"`{name}`" in rows, name
        for definition in entry.definitions:
            assert definition in rows[f"`{name}`"], (name, definition)
