"""Observations from committed files, runs and manifests, and which of several counts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok import record
from reprogrok.claims import exam_quantities
from reprogrok.claims.claims import Quantity, Subject
from reprogrok.claims.collection import collect_run, collect_settings, standard
from reprogrok.claims.evidence import Evidence, gather
from reprogrok.claims.evidence_files import EvidenceEntry, read_evidence, write_evidence
from reprogrok.claims.measurements import Missing
from reprogrok.claims.replica_quantities import Replica, measure
from reprogrok.errors import InputError, RecordError
from reprogrok.exam.exam import build_exam
from reprogrok.formats.foreign_runs import read_run
from reprogrok.metrics.grokking import StepInterval
from reprogrok.params import read_params
from reprogrok.record import Record, Series

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "audit" / "evidence"
EXACT = {"metric": "test_exact_match", "measured_as": "exact/answer/validation-5000"}
ACCURACY = {"metric": "test_accuracy", "measured_as": "argmax/answer"}
PERFECT = Quantity("grokked", "first-above/1.00", **EXACT)
E1 = Subject("experiment", "e1")


@pytest.fixture(scope="module")
def params():
    return read_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def committed(params):
    return gather(FILES, None, ROOT / "checkpoints", params)


def entry_of(experiment, seeds, *, engine=2, device="cpu", best=0.5, **fields):
    """An entry of an evidence file: each seed's highest validation score."""
    item = {"quantity": Quantity("highest", EXACT["measured_as"], **EXACT).as_dict(), "value": best, "at_step": 1000}
    return {
        "subject": {"experiment": experiment.name},
        "spec_digest": experiment.digest(),
        "engine_version": engine,
        "updates": experiment.steps,
        "planned": experiment.steps,
        "ran_on": {"device": device},
        "replicas": [{"seed": seed, "measured": [item]} for seed in seeds],
    } | fields


def filed(folder, *entries):
    folder.mkdir(exist_ok=True)
    for number, entry in enumerate(entries):
        document = {"format": "reprogrok.evidence/3", "title": "t", "command": "c", "observations": [entry]}
        (folder / f"{number}.json").write_text(json.dumps(document), "utf-8")
    return folder


def test_nothing_of_the_committed_evidence_is_of_other_settings(committed):
    assert committed.left_out == ()


@pytest.mark.parametrize(
    ("experiment", "level", "k", "n"),
    [("e1", "1.00", 6, 54), ("e1", "0.99", 7, 54), ("e5", "1.00", 0, 6), ("e15", "1.00", 3, 6), ("e15", "0.99", 3, 6)],
)
def test_so_many_seeds_grokked(committed, experiment, level, k, n):
    seen = committed.observations(
        Subject("experiment", experiment), replace(PERFECT, definition=f"first-above/{level}")
    )
    assert (sum(one.value for one in seen), len(seen)) == (k, n)


def test_the_six_of_e1_reached_it_first_at_these_steps(committed):
    times = committed.observations(E1, Quantity("first_step", "first-above/1.00", **EXACT))
    reached = {one.seed: one.time for one in times if isinstance(one.time, StepInterval)}
    first = {6: 32_500, 17: 46_000, 22: 23_500, 23: 33_500, 41: 31_500, 53: 28_500}  # docs/checkpoints.md
    assert reached == {seed: StepInterval(step - 500, step, "first-above/1.00") for seed, step in first.items()}


def test_of_a_seed_that_two_engines_trained_the_newer_counts(committed):
    seen = committed.observations(E1, Quantity("highest", EXACT["measured_as"], **EXACT))
    assert [one.seed for one in seen] == list(range(54))
    assert {one.engine_version for one in seen} == {2}


def test_the_published_checkpoints_score_what_was_published(committed):
    def errors(name, exam):
        (one,) = committed.observations(Subject("checkpoint", name), Quantity("errors", exam))
        return one.k, one.n

    assert errors("best_456p_s43", "addition-100k/1") == (0, 100_000)
    seeds = (41, 100, 200, 300, 400, 500, 999, 1234, 7777, 31415)
    found = [errors("best_512params", f"addition-100k/1/{seed}") for seed in seeds]
    assert found == [(k, 10_000) for k in (2, 0, 1, 3, 1, 0, 0, 2, 2, 1)]
    assert errors("best_512params", "addition-stress/1/sum 10^10")[0] == pytest.approx(200, abs=40)  # about 2.0 %


def test_provided_checkpoints_are_known_by_their_manifests_and_by_what_was_asked_beside(committed):
    provided = Subject("checkpoint", "e15-s47")
    (exam,) = committed.observations(provided, Quantity("exact_match", "addition-100k/1"))
    assert (exam.value, exam.k, exam.n) == (1.0, 100_000, 100_000)
    (sums,) = committed.observations(provided, Quantity("errors", "round-sums/1/2000000000"))
    assert (sums.k, sums.n) == (1_022, 10_000)


def test_the_paper_says_that_it_scores_the_answer_and_trains_on_a_ninth_of_its_half(committed):
    paper = Subject("publication", "power-2022")
    (loss,) = committed.observations(paper, Quantity("setting", "task.loss"))
    (share,) = committed.observations(paper, Quantity("batch_share", "share"))
    assert loss.word == "answer"
    assert (share.k, share.n) == (512, 4_704)


def test_the_recorded_logs_are_written_down_as_they_are_read(fixtures_dir, reprogrok, tmp_path):
    names = ("v1_baseline", "v2a_interpolation_regime", "v2b_conflict_split")
    committed = json.loads((FILES / "recorded-logs.json").read_bytes())
    output, folders = tmp_path / "audit/evidence/recorded-logs.json", [fixtures_dir / "runs" / name for name in names]
    words = ("--title", committed["title"], "--note", *committed["notes"], "--output", output)
    result = reprogrok("collect", *folders, *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(output.read_bytes())["observations"] == committed["observations"]


def test_recorded_logs_differ_in_nothing_but_the_split(fixtures_dir):
    runs = [read_run(path) for path in sorted((fixtures_dir / "runs").iterdir())]
    values = [found.value for entry in collect_settings(runs) for found in entry.measured[None].values()]
    assert values == [0] * 6


def test_evidence_of_other_settings_is_left_out_and_named(params, tmp_path):
    entry = entry_of(params.experiments["e1"], [0], spec_digest="0" * 64)
    known = gather(filed(tmp_path, entry), params=params)
    assert known.observations(E1, PERFECT) == ()
    missing = known.missing(E1, PERFECT)
    assert "other settings" in missing
    assert "000000000000" in missing
    assert "reprogrok train e1" in missing


def test_one_device_can_be_asked_for(params, tmp_path):
    experiment = params.experiments["e1"]
    entries = entry_of(experiment, [0], best=0.1), entry_of(experiment, [0, 1], device="cuda", best=0.2)
    known = gather(filed(tmp_path, *entries), params=params)
    asked = Quantity("highest", EXACT["measured_as"], **EXACT)
    assert [(one.seed, one.value) for one in known.observations(E1, asked)] == [(0, 0.1), (1, 0.2)]
    assert [(one.seed, one.value) for one in known.observations(E1, asked, "cuda")] == [(0, 0.2), (1, 0.2)]
    assert known.seeds("e1") == {0, 1}


def test_an_older_engine_counts_where_the_newer_one_measured_nothing(params, tmp_path):
    experiment = params.experiments["e1"]
    other = {"quantity": Quantity("parameters", "unique-after-tying").as_dict(), "value": 1}
    newer = entry_of(experiment, [0], engine=2) | {"replicas": [{"seed": 0, "measured": [other]}]}
    known = gather(filed(tmp_path, newer, entry_of(experiment, [0], engine=1)), params=params)
    (one,) = known.observations(E1, Quantity("highest", EXACT["measured_as"], **EXACT))
    assert one.engine_version == 1


def test_runs_are_found_and_say_what_their_evidence_says(trained, params, tmp_path):
    run = record.read(trained / "runs" / "smoke")
    live = gather(tmp_path / "none", trained / "runs", None, params)
    write_evidence(tmp_path / "files" / "smoke.json", "t", "c", [collect_run(run)])
    written = gather(tmp_path / "files", None, None, params)
    subject = Subject("experiment", "smoke")
    asked = standard(run, 0)
    assert len(asked) > 15
    for quantity in asked:
        of_run, of_file = ([plain(one) for one in known.observations(subject, quantity)] for known in (live, written))
        assert of_run == of_file, quantity
    (first, *_) = live.observations(subject, Quantity("highest", EXACT["measured_as"], **EXACT))
    assert (first.updates, first.planned, first.n) == (200, 200, 5_000)
    assert first.ran_on["device"] == "cpu"


def test_the_score_of_a_training_is_that_of_its_best_checkpoint(trained, params, reprogrok, monkeypatch):
    monkeypatch.setattr(exam_quantities, "build_exam", partial(build_exam, limit=50))  # the same way, in less time
    known = gather(None, trained / "runs", None, params)
    words = ("--suite", "uniform", "--limit", "50", "--format", "json", "--device", "cpu")
    result = reprogrok("eval", "runs/smoke/seed-1/best.pt", *words, cwd=trained)
    suite = json.loads(result.stdout)["suites"]["uniform"]
    subject = Subject("experiment", "smoke")
    (_, one) = known.observations(subject, Quantity("errors", suite["exam"]))
    assert (one.seed, one.k, one.n) == (1, suite["total"]["errors"], 500)
    (first, _) = known.observations(subject, Quantity("exact_match", f"{suite['exam']}/41"))
    assert first.n == 50
    assert "no exam of this task is called x" in known.missing(subject, Quantity("errors", "x"))


def plain(observation):
    return replace(observation, origin="", ran_on={})


def test_a_run_that_was_changed_is_refused_when_it_is_asked(trained, params, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    with (tmp_path / "runs" / "smoke" / record.METRICS).open("a", encoding="ascii") as file:
        file.write("\n")
    known = gather(tmp_path / "none", tmp_path / "runs", None, params)
    with pytest.raises(RecordError, match="changed since the run wrote it"):
        known.observations(Subject("experiment", "smoke"), PERFECT)


def test_what_is_missing_says_what_would_make_it(committed):
    asked = Quantity("highest", "argmax/answer", **ACCURACY)
    assert "`reprogrok train v2b`" in committed.missing(Subject("experiment", "v2b"), asked)
    other = replace(asked, definition="ce/all-8", measured_as="ce/all-8")
    assert "measured as argmax/answer, not as ce/all-8" in committed.missing(Subject("log", "v1_baseline"), other)
    early = committed.missing(Subject("experiment", "c12-5"), Quantity("regime", "regime/1"))
    assert "until step 1,000 only (seeds 0, 1, 2, 1337)" in early


def test_a_question_at_fault_is_no_matter_of_training(trained, params):
    known = gather(None, trained / "runs", None, params)
    missing = known.missing(Subject("experiment", "smoke"), Quantity("grokked", "first-above/1", **EXACT))
    assert "X as 0.80" in missing
    assert "reprogrok train" not in missing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item.pop("value"), "came to nothing"),
        (lambda item: item["quantity"].pop("definition"), r"observations\[0\].replicas\[0\].measured\[0\].quantity"),
        (lambda item: item["quantity"].update(name="Highest"), "name"),
        (lambda item: item.update(value="many"), "value"),
    ],
)
def test_a_broken_file_of_evidence_is_refused_with_its_place(params, tmp_path, change, message):
    entry = json.loads(json.dumps(entry_of(params.experiments["e1"], [0])))
    change(entry["replicas"][0]["measured"][0])
    document = {"format": "reprogrok.evidence/3", "title": "t", "command": "c", "observations": [entry]}
    (tmp_path / "x.json").write_text(json.dumps(document), "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        gather(tmp_path, params=params)
    assert "x.json" in str(caught.value)


def test_the_same_twice_and_neither_are_refused(params, tmp_path):
    entry = entry_of(params.experiments["e1"], [0, 0])
    with pytest.raises(InputError, match="seed 0 twice"):
        gather(filed(tmp_path / "seed", entry))
    entry["replicas"] = [entry["replicas"][0] | {"measured": entry["replicas"][0]["measured"] * 2}]
    with pytest.raises(InputError, match=r"highest .* twice"):
        gather(filed(tmp_path / "quantity", entry))
    del entry["replicas"]
    with pytest.raises(InputError, match="either `measured` or"):
        gather(filed(tmp_path / "neither", entry))


def test_a_count_that_is_not_its_value_is_refused(params, tmp_path):
    entry = entry_of(params.experiments["e1"], [0])
    entry["replicas"][0]["measured"][0] |= {"value": 12, "k": 99, "n": 100_000}
    with pytest.raises(InputError, match="is 12 and also 99 of 100000"):
        gather(filed(tmp_path, entry))


def test_one_name_means_one_file(tmp_path):
    errors = {"quantity": {"name": "errors", "definition": "addition-100k/1"}, "value": 1, "k": 1, "n": 100_000}
    entries = [
        {"subject": {"checkpoint": "one"}, "sha256": {"one.pt": digit * 64}, "measured": [errors]} for digit in "ab"
    ]
    with pytest.raises(InputError, match=r"one\.pt is another file here than in"):
        gather(filed(tmp_path, *entries))


def test_no_folder_holds_nothing(tmp_path):
    assert gather(tmp_path / "evidence", tmp_path / "runs", tmp_path / "checkpoints", None) == Evidence(())


values = st.lists(st.sampled_from([0.0, 0.3, 0.79, 0.8, 0.95, 1.0]), min_size=2, max_size=20)


@given(values, st.integers(0, 250), st.integers(0, 30))
def test_what_a_file_derives_is_what_the_run_says(tmp_path_factory, values, until, more):
    steps = tuple(range(0, 10 * len(values), 10))
    series = {"test_accuracy": Series(steps, tuple(values))}
    facts = {"steps": steps[-1] + 1 + more}
    run = Record(Path("x"), "x", "given", {0: series}, {"test_accuracy": "argmax/answer"}, facts)
    asked = [quantity for quantity in standard(run, 0) if quantity.metric]
    known = {
        quantity: found for quantity in asked if not isinstance(found := measure(Replica(run, 0), quantity), Missing)
    }
    file = tmp_path_factory.getbasetemp() / "derived.json"
    write_evidence(file, "t", "c", [EvidenceEntry(Subject("log", "x"), {None: known}, planned=facts["steps"])])
    (of_file,) = read_evidence(file)
    events = [replace(one, name="grokked") for one in asked if one.name == "first_step"]
    for quantity in (*asked, *events):
        for limited in (quantity, replace(quantity, until=until)):
            derived, direct = of_file.measure(None, limited), measure(Replica(run, 0), limited)
            if isinstance(derived, Missing):
                continue
            assert not isinstance(direct, Missing), (limited, derived, direct)
            assert (derived.value, _reached(derived.time)) == (direct.value, _reached(direct.time)), limited


def _reached(time):
    """A censored time in a file may lie between two evaluations."""
    return time if isinstance(time, StepInterval) else None
