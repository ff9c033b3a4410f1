"""Forensics of logs and evaluations: honest numbers give no finding, planted inconsistencies are found."""

import json
import math
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from draws import draws
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import ExitCode, InputError
from reprogrok.forensics.evaluations import examine_evaluation
from reprogrok.forensics.findings import Flaw, Grade, chance_of_repeat, grim, parse_printed
from reprogrok.forensics.logs import examine_log, least_set_loss

DATA = {"modulus_p": 97, "train_split": 0.8, "seed": 42}
N = 1_882  # 9,409 - int(9,409 x 0.8)


# --- numbers as they are printed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("0.116", Fraction(116, 1000), Fraction(1, 1000)),
        ("~4,705", 4705, 1),
        ("~33,700", 33_700, 100),
        ("33,700", 33_700, 1),
        ("99.967%", Fraction(99_967, 100_000), Fraction(1, 100_000)),
        ("1e-3", Fraction(1, 1000), Fraction(1, 1000)),
        ("+1.45", Fraction(145, 100), Fraction(1, 100)),
        ("0", 0, 1),
        ("~0%", 0, Fraction(1, 100)),
    ],
)
def test_a_number_is_read_with_the_digits_that_it_is_printed_with(text, value, unit):
    assert (parse_printed(text).value, parse_printed(text).unit) == (value, unit)


@pytest.mark.parametrize("text", ["", "many", "1.", "0.1.2", "1e999999999"])
def test_a_text_that_is_not_a_number_is_refused(text):
    with pytest.raises(ValueError, match="not a printed number"):
        parse_printed(text)


def test_numbers_agree_that_can_be_one_number():
    assert parse_printed("1.384").agrees(parse_printed("~1.38"))
    assert parse_printed("33,700").agrees(parse_printed("~33,700"))
    assert not parse_printed("4,704").agrees(parse_printed("4,705"))


# --- k of n -------------------------------------------------------------------------------------------------------


def test_twelve_in_ten_thousand_is_no_fraction_of_4753():
    result = grim(parse_printed("0.0012"), 4_753)
    assert not result.possible
    assert result.cut_off  # 6/4,753 = 0.00126, if somebody drops its last digits
    assert (result.below, result.above) == ((5, 5 / 4_753), (6, 6 / 4_753))


@pytest.mark.parametrize(
    ("text", "n", "possible"),
    [("0.203", 5_000, True), ("0.0002", 5_000, True), ("0.0003", 5_000, False), ("99.967%", 100_000, True),
     ("99.967%", 10_000, False), ("0.35", 1_882, True)],
)  # fmt: skip
def test_published_fractions_are_compared_with_their_n(text, n, possible):
    assert grim(parse_printed(text), n).possible is possible


@given(n=st.integers(1, 3_000), digits=st.integers(2, 6), data=st.data())
@draws(200)
def test_every_fraction_of_n_is_possible_in_float32_and_float64_at_any_number_of_digits(n, digits, data):
    k = data.draw(st.integers(0, n))
    for share in (k / n, float(np.float32(k) / np.float32(n)), float(np.float32(k / n))):
        assert grim(parse_printed(f"{share:.{digits}f}"), n).possible
        assert grim(parse_printed(f"{100 * share:.{digits - 2}f}%"), n).possible
        assert grim(parse_printed(f"{share:.12f}"), n).possible


@given(n=st.integers(1, 400), digits=st.integers(1, 3), data=st.data())
@draws(200)
def test_a_printed_value_is_possible_exactly_if_some_k_is_within_half_a_digit(n, digits, data):
    text = f"{data.draw(st.integers(0, 10**digits)) / 10**digits:.{digits}f}"
    half, value = Fraction(1, 2 * 10**digits), Fraction(text)
    gaps = [abs(Fraction(k, n) - value) for k in range(n + 1)]
    possible = grim(parse_printed(text), n).possible
    assert possible or min(gaps) > half
    assert not possible or min(gaps) <= half + Fraction(1, 10**6)  # the room that float32 is given


@given(digits=st.integers(1, 3), more=st.integers(0, 50), data=st.data())
@draws(50)
def test_with_as_many_examples_as_printable_values_every_value_is_possible_and_telling_is_0(digits, more, data):
    n = 10**digits + more
    number = parse_printed(f"{data.draw(st.integers(0, 10**digits)) / 10**digits:.{digits}f}")
    assert grim(number, n).possible
    assert grim(number, n).telling == 0


@pytest.mark.parametrize(("n", "digits"), [(7, 2), (97, 2), (97, 3), (250, 3)])
def test_telling_is_the_fraction_of_printable_values_that_no_k_prints_as(n, digits):
    printable = {f"{k / n:.{digits}f}" for k in range(n + 1)}
    assert grim(parse_printed(f"{0:.{digits}f}"), n).telling == pytest.approx(1 - len(printable) / (10**digits + 1))


def test_three_times_the_same_value_is_rare_with_three_digits_and_nothing_with_one():
    assert chance_of_repeat(parse_printed("0.116"), 3) == pytest.approx((0.001 / 0.0232) ** 2)
    assert chance_of_repeat(parse_printed("0.0001"), 3) == 1


# --- honest logs --------------------------------------------------------------------------------------------------


def test_the_least_loss_of_distinct_rows_is_their_entropy():
    assert least_set_loss(4_703, None, 8) == pytest.approx(1.0570, abs=5e-5)
    weights = np.array([1 / 8 / 256] * 1_792 + [1 / 8 / 90] * 90)
    assert least_set_loss(1_882, 256, 8) == pytest.approx(-(weights * np.log(weights)).sum() / 8)


def write_columns(folder, config, metrics, analysis=None):
    (folder / "logs").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "logs" / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    if analysis is not None:
        (folder / "logs" / "analysis.json").write_text(json.dumps(analysis), "utf-8")
    return folder


def honest_log(rng):
    """A run as training writes it: k of n in float32 or float64, printed with 2 to 6 places or in full.

    Losses are those of a minibatch and of a set; some runs never learn, some saturate, and some stand still from some
    step on because their weights do.
    """
    modulus, fraction = int(rng.integers(5, 120)), float(rng.uniform(0.05, 0.95))
    test = modulus**2 - int(modulus**2 * fraction)
    count = int(rng.integers(3, 400))
    steps = np.arange(1, count + 1)
    z = (steps - rng.uniform(0, 2 * count)) / rng.uniform(0.1, count / 3)
    learned = rng.uniform(0, 1.2) / (1 + np.exp(-np.clip(z, -50, 50)))
    right = rng.binomial(test, np.clip(learned, 0, 1))
    single = bool(rng.integers(2))
    share = (right.astype(np.float32) / np.float32(test)).astype(float) if single else right / test
    base = 1.8 + 3 * (1 - np.clip(learned, 0, 1))
    gap = {"train_loss": 0.0, "test_loss": 10 ** rng.uniform(-3, 0)}
    noise = 10 ** rng.uniform(-5, -1)
    losses = {name: np.float32(base * (1 + gap[name]) + noise * rng.standard_normal(count)) for name in gap}
    if rng.random() < 0.2:  # the weights stand still, and with them all that is measured on one set
        still = int(rng.integers(count))
        share[still:], losses["test_loss"][still:] = share[still], losses["test_loss"][still]
    if rng.random() < 0.5:
        places = rng.integers(2, 7)
        share = np.array([float(f"{value:.{places}f}") for value in share])
    if rng.random() < 0.3:
        losses = {name: [float(f"{value:.4f}") for value in column] for name, column in losses.items()}
    config = {
        "data": {"modulus_p": modulus, "train_split": fraction, "seed": 0},
        "model": {"vocab_size": modulus + 7, "max_seq_len": 16, "n_layers": 1},
        "training": {"batch_size": 256, "learning_rate": 0.001},
    }
    metrics = {
        "step": [100 * int(step) for step in steps],
        "test_accuracy": [float(value) for value in share],
        "learning_rate": [0.001] * count,
    } | {name: [float(value) for value in column] for name, column in losses.items()}
    return config, metrics


@given(seed=st.integers(0, 2**32 - 1))
@draws(60)
def test_an_honest_log_gives_no_finding(seed):
    with tempfile.TemporaryDirectory() as folder:
        run = write_columns(Path(folder) / "run", *honest_log(np.random.default_rng(seed)))
        findings = examine_log(run).findings
    # A slow or early transition has as many steps as it has definitions; that is said, and is true of an honest log.
    assert [finding for finding in findings if finding.kind is not Flaw.GROK_STEPS] == []


@given(seed=st.integers(0, 2**32 - 1))
@draws(30)
def test_an_honest_llmc_log_that_converges_gives_no_finding(seed):
    rng = np.random.default_rng(seed)
    floor = rng.choice([0, 1.057, 1.1437])
    decays = dict(zip(("tel", "trl"), rng.uniform(0.5, 0.999, 2), strict=True))
    lines = []
    for step in range(0, 20_000, 100):
        for kind in ("tel", "trl"):
            value = floor + 4 * decays[kind] ** (step / 10) + 1e-5 * rng.random()
            lines.append(f"s:{step} {kind}:{value:.4f}\n")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        log.write_text("".join(lines), "utf-8")
        assert examine_log(log).findings == ()


def test_a_log_that_sees_honest_birthdays_gives_no_finding(columns_run):
    rng = np.random.default_rng(0)

    def crowd(column):
        crowded = (1.15 + 0.002 * rng.random(200)).astype(np.float32)  # 17,000 float32 numbers for 200 draws
        crowded[[50, 60, 70, 80, 90, 100]] = crowded[[7, 20, 33, 9, 41, 3]]  # six more than chance made
        column[:] = crowded.astype(float).tolist()

    assert examine_log(columns_run(config=honest, metrics=change("train_loss", crowd))).findings == ()


def test_a_few_equal_losses_among_many_are_not_enough(columns_run):
    def repeat_five(column):
        for index in (50, 60, 70, 80, 90):
            column[index] = column[index * 2]

    assert examine_log(columns_run(config=honest, metrics=change("train_loss", repeat_five))).findings == ()


# --- what is planted is found --------------------------------------------------------------------------------------


def plain(document):
    """Make the fixture's columns those of an honest run of v1's split that never learns."""
    rng = np.random.RandomState(1)
    count = len(document["step"])
    document["test_accuracy"] = (rng.binomial(N, 0.01, count) / N).tolist()
    for name, level in (("train_loss", 1.5), ("test_loss", 2.5)):
        document[name] = (level + 0.1 * rng.random_sample(count)).astype(np.float32).astype(float).tolist()
    return {}


def honest(document):
    del document["split_rule"]
    document["training"]["batch_size"] = 256
    document["training"]["learning_rate"] = 0.001


def change(name, edit):
    def changed(document):
        plain(document)
        edit(document[name])

    return changed


def set_at(index, value):
    def edit(column):
        column[index] = value

    return edit


def set_slice(where, value):
    def edit(column):
        column[where] = value

    return edit


@pytest.mark.parametrize(
    ("edits", "kind", "sure", "words"),
    [
        ({"metrics": change("test_accuracy", set_at(9, 0.0125))}, Flaw.NOT_K_OF_N, Grade.CERTAIN,
         "23/1,882 = 0.01222104 and 24/1,882 = 0.01275239"),
        ({"metrics": change("test_accuracy", set_at(9, 1.25))}, Flaw.BOUND, Grade.CERTAIN, "[0, 1]"),
        ({"metrics": change("test_loss", set_at(9, 0.9))}, Flaw.BOUND, Grade.CERTAIN, "at least 0.9367 nats"),
        ({"metrics": change("test_loss", set_slice(slice(30, 36), [2.5625] * 6))}, Flaw.REPEATED, Grade.TELLING,
         "6 evaluations in a row, while test_accuracy changes"),
        ({"metrics": lambda document: plain(document) or document["train_loss"].__setitem__(
            slice(100, 103), document["train_loss"][10:13])}, Flaw.REPEATED, Grade.TELLING,
         "three losses in a row from step 1,100 repeat"),
        ({"metrics": lambda document: plain(document) or document.update(test_loss=document["train_loss"])},
         Flaw.REPEATED, Grade.TELLING, "200 of 200 evaluations agree"),
        ({"metrics": lambda document: plain(document) or document.update(learning_rate=[0.002] * 200)},
         Flaw.SCHEDULE, Grade.CERTAIN, "logged at 0.002, but 0.001 is configured"),
        ({"metrics": lambda document: plain(document) or document["step"].__setitem__(5, 500)},
         Flaw.STEPS, Grade.CERTAIN, "500 follows 500 again"),
        ({"metrics": plain, "analysis": lambda document: document["representation_rank"].__setitem__(3, [50.0, 39.5])},
         Flaw.BOUND, Grade.CERTAIN, "a count"),
        ({"metrics": plain, "analysis": lambda document: document["attention_entropy"].__setitem__(
            3, [[2.0, 2.0], [2.0, 2.0]])}, Flaw.BOUND, Grade.CERTAIN, "ln(8!)/8 = 1.3256"),
    ],
)  # fmt: skip
def test_an_inconsistency_planted_in_an_honest_log_is_found(columns_run, edits, kind, sure, words):
    honest_run = columns_run("honest", config=honest, metrics=plain)
    assert examine_log(honest_run).findings == ()
    report = examine_log(columns_run("planted", config=honest, **edits))
    (finding,) = report.findings
    assert (finding.kind, finding.grade) == (kind, sure)
    assert words in finding.arithmetic
    assert report.exit_code is ExitCode.FAIL


def test_many_equal_losses_are_compared_with_their_density(columns_run):
    def repeat(column):
        column[100:160:2] = column[0:60:2]

    (finding,) = examine_log(columns_run(config=honest, metrics=change("train_loss", repeat))).findings
    assert (finding.kind, finding.grade) == (Flaw.REPEATED, Grade.TELLING)
    assert finding.arithmetic.startswith("30 pairs of equal losses")
    assert finding.probability < 1e-6


def test_a_loss_that_stands_still_with_the_model_is_honest(columns_run):
    def freeze(document):
        plain(document)
        for name in ("test_loss", "test_accuracy"):
            document[name][50:] = [document[name][50]] * 150

    assert examine_log(columns_run(config=honest, metrics=freeze)).findings == ()


def test_a_left_over_fraction_beside_a_rule_is_two_statements_of_n(columns_run):
    def of_the_rule(document):
        plain(document)
        document["test_accuracy"] = [k / 4_753 for k in range(200)]

    (finding,) = examine_log(columns_run(metrics=of_the_rule)).findings
    assert (finding.kind, finding.grade) == (Flaw.TWO_STATEMENTS, Grade.CERTAIN)
    assert "9,409 - int(9,409 x 0.8) = 1,882 test rows, split_rule 4,753" in finding.arithmetic
    assert "199 of 199 accuracies above 0 are k of 4,753; 0 of 199" in finding.arithmetic


def test_a_slow_transition_has_several_grok_steps_and_a_sharp_one_does_not(columns_run):
    def curve(width):
        def grok(document):
            plain(document)
            right = [round(N / (1 + math.exp(min((10_000 - step) / width, 700)))) for step in document["step"]]
            document["test_accuracy"] = [k / N for k in right]

        return grok

    (slow,) = examine_log(columns_run("slow", config=honest, metrics=curve(4_000))).findings
    assert (slow.kind, slow.grade) == (Flaw.GROK_STEPS, Grade.TELLING)
    assert slow.printed.endswith("(max-rise5)")
    (middling,) = examine_log(columns_run("middling", config=honest, metrics=curve(300))).findings
    assert (middling.kind, middling.grade) == (Flaw.GROK_STEPS, Grade.WEAK)
    assert examine_log(columns_run("sharp", config=honest, metrics=curve(1))).findings == ()


def test_two_seeds_with_one_curve_are_found():
    from reprogrok.forensics.repeats import equal_seeds
    from reprogrok.record import Record, Series

    losses = Series((0, 1, 2), (1.5123456789, 1.4123456789, 1.3123456789))
    other = Series((0, 1, 2), (1.5223456789, 1.4123456789, 1.3123456789))
    replicas = {1: {"train_loss": losses}, 2: {"train_loss": other}, 3: {"train_loss": losses}}
    record = Record(Path("run"), "run", "reprogrok", replicas, {"train_loss": "ce/answer/batch"})
    (finding,) = equal_seeds(record)
    assert finding.where == "seed 3, train_loss"
    assert "those of seed 1" in finding.arithmetic


def test_a_column_with_few_places_reports_where_the_test_cannot_decide(columns_run):
    def rounded(document):
        plain(document)
        document["test_accuracy"] = [round(value, 2) for value in document["test_accuracy"]]

    report = examine_log(columns_run(config=honest, metrics=rounded))
    assert report.findings == ()
    check = report.checks[0]
    assert (check.name, check.looked_at, check.silent) == ("k of n", 200, 200)
    assert "undecidable" in check.note


# --- logs of other layouts ------------------------------------------------------------------------------------------

HEADER = "step,train_loss,val_exact,val_token_acc,lr,elapsed_sec"
PEER = {
    "best_val_exact": 0.203, "best_step": 1_000, "train_steps": 1_500, "run_name": "peer", "params": 763,
    "elapsed_sec": 1.0, "model_config": {"n_layer": 1, "d_model": 7, "n_head": 1, "d_ff": 14, "max_seq_len": 33},
}  # fmt: skip


def write_peer(folder, rows, summary=None):
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    return folder


ROWS = ("0,2.5,0.0,0.09,0.001,1.5", "500,1.25,0.1998,0.8,0.0074,2.5", "1000,1.0,0.203,0.85,0.0148,3.5")


def test_a_peers_log_is_out_of_5000_pairs(tmp_path):
    assert examine_log(write_peer(tmp_path / "honest", ROWS, PEER)).findings == ()
    wrong = (*ROWS[:1], ROWS[1].replace("0.1998", "0.1999"), *ROWS[2:])
    (finding,) = examine_log(write_peer(tmp_path / "wrong", wrong)).findings
    assert finding.kind is Flaw.NOT_K_OF_N
    assert "999/5,000 = 0.199800 and 1,000/5,000 = 0.200000" in finding.arithmetic


def test_a_summary_that_contradicts_its_log_is_a_finding(tmp_path):
    (finding,) = examine_log(write_peer(tmp_path / "peer", ROWS, PEER | {"best_val_exact": 0.3})).findings
    assert (finding.kind, finding.grade) == (Flaw.TWO_STATEMENTS, Grade.CERTAIN)


def test_steps_that_go_back_are_found_in_every_layout(tmp_path):
    run = write_peer(tmp_path / "peer", (*ROWS, "700,1.0,0.2,0.8,0.01,4.5"))
    (finding,) = examine_log(run).findings
    assert (finding.kind, finding.printed) == (Flaw.STEPS, "700")
    assert finding.where.endswith("metrics.csv after line 4")
    log = tmp_path / "log.txt"
    log.write_text("s:0 tel:4.8520\ns:100 tel:1.2000\ns:100 trl:1.2000\ns:50 tel:1.1000\n", "utf-8")
    (finding,) = examine_log(log).findings
    assert finding.arithmetic == "50 follows 100"


@pytest.mark.parametrize("name", ["main.log", "log.txt", "run-7.out"])
def test_steps_of_an_llmc_log_that_go_back_are_found_under_every_name_that_is_read(tmp_path, name):
    log = tmp_path / "run" / name
    log.parent.mkdir()
    log.write_text("s:0 tel:4.8520\ns:100 tel:1.2000\ns:50 tel:1.1000\n", "utf-8")
    paths = [log] if log.suffix == ".out" else [log, log.parent]
    for path in paths:
        (finding,) = examine_log(path).findings
        assert (finding.kind, finding.arithmetic) == (Flaw.STEPS, "50 follows 100")


def test_a_file_that_is_not_a_log_is_refused(tmp_path):
    (tmp_path / "log.txt").write_text("hello\n", "utf-8")
    with pytest.raises(InputError, match=r"not a line of an llm\.c log"):
        examine_log(tmp_path / "log.txt")


def evaluation(**changes):
    errors = [2, 0, 1, 3, 1, 0, 0, 2, 2, 1]  # of best_512params.pt
    seeds = (41, 100, 200, 300, 400, 500, 999, 1234, 7777, 31415)
    per_seed = {
        str(seed): {"exact_match": (10_000 - wrong) / 10_000, "errors": wrong}
        for seed, wrong in zip(seeds, errors, strict=True)
    }
    block = {
        "total_examples": 100_000, "num_test_sets": 10, "aggregate_exact_match": 0.99988, "aggregate_errors": 12,
        "per_seed": per_seed,
    }  # fmt: skip
    return {"multi_seed_validation": block | changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"aggregate_exact_match": 0.9998}, "1 - 12/100,000 = 0.99988, not 0.9998"),
        ({"aggregate_errors": 13, "aggregate_exact_match": 0.99987}, "add up to 12, not 13"),
        ({"num_test_sets": 9}, "per_seed has 10"),
    ],
)
def test_an_evaluation_keeps_its_sums_or_is_found_out(tmp_path, changes, words):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(evaluation(**changes)), "utf-8")
    findings = examine_evaluation(path).findings
    assert [words in finding.arithmetic for finding in findings] == ([] if words is None else [True])


# --- the recorded logs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "n", "expected"),
    [
        ("v1_baseline", 2_000, [(Flaw.GROK_STEPS, Grade.TELLING, "39,900 / 17,100 = 2.33")]),
        ("v2a_interpolation_regime", 250, [(Flaw.GROK_STEPS, Grade.WEAK, "19,500 / 19,400 = 1.01")]),
        ("v2b_conflict_split", 200, [(Flaw.TWO_STATEMENTS, Grade.CERTAIN, "1,882 test rows, split_rule 4,753")]),
    ],
)
def test_in_the_recorded_logs_a_careful_reader_finds_this_and_no_more(fixtures_dir, run, n, expected):
    report = examine_log(fixtures_dir / "runs" / run)
    found = [(finding.kind, finding.grade) for finding in report.findings]
    assert found == [(kind, sure) for kind, sure, _ in expected]
    for finding, (_, _, words) in zip(report.findings, expected, strict=True):
        assert words in finding.arithmetic
    assert (report.checks[0].looked_at, report.checks[0].silent) == (n, 0)
