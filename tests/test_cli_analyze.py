"""`reprogrok analyze`: published logs, a run of ours with checkpoints, selection, memory, and what it refuses."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from reprogrok.errors import InputError
from reprogrok.files import canonical_json, sha256_file
from reprogrok.formats.checkpoints import Origin, checkpoint_bytes
from reprogrok.formats.foreign_runs import read_run
from reprogrok.metrics.grokking import Unknown, first_above
from reprogrok.metrics.regime import find_regime
from reprogrok.model.decoder import trace
from reprogrok.model.initialise import initial_weights
from reprogrok.record import Record, Series
from reprogrok.runs import analysis
from reprogrok.runs import checkpoint_snapshots as checkpoint_states
from reprogrok.runs.analysis import analyse
from reprogrok.runs.checkpoint_snapshots import first_test_rows, snapshots_of, whole_or_in_parts
from reprogrok.runs.post_analysis import post_analyse
from reprogrok.runs.post_analysis_documents import columns, document_of
from reprogrok.runs.snapshots import logged_snapshots, select
from reprogrok.runs.tables import print_analyses
from reprogrok.schema import load
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.splits import make_split
from reprogrok.train.publication import check_target

V1, V2A, V2B = "v1_baseline", "v2a_interpolation_regime", "v2b_conflict_split"
PUBLISHED_KEYS = [
    *("t_grok", "checkpoint_steps", "relative_steps", "test_accuracy", "final_layer_rank", "avg_rank", "avg_entropy"),
    *("full_analyses", "training_metrics", "analysis_metrics"),
]
TASK = ModularTask("add", 11, "power5", "answer", SplitSpec("result_range", 42, train=(0, 5), test=(5, 11)))
MODEL = ModelSpec(n_layer=2, d_model=16, n_head=2, d_ff=32, max_seq_len=4, vocab_size=13)
SEEDS = (0, 1)


@pytest.fixture
def modular_run(tmp_path):
    """Write a run of two seeds as training leaves it, with untrained weights: training learned, its test not."""

    def write(seeds=SEEDS, folder=tmp_path / "runs" / "tiny", diverged=None):
        task = {
            "name": "modular",
            "operation": "add",
            "modulus": 11,
            "format": "power5",
            "loss": "answer",
            "split": {
                "kind": "result_range",
                "seed": 42,
                "train": [0, 5],
                "test": [5, 11],
                "fraction": None,
                "held": None,
            },
        }
        test_examples = len(make_split(TASK).test_N)
        files = {
            "spec.json": {
                "format": "reprogrok.spec/1",
                "experiment": "tiny",
                "digest": "0" * 64,
                "engine_version": 3,
                "seeds": list(seeds),
                "device": "cpu",
                "spec": {"task": task},
                "gates": {},
                "definitions": {"train_accuracy": "argmax/answer", "test_accuracy": "argmax/answer"},
                "facts": {"positions": 4, "width": 16, "test_examples": test_examples, "steps": 401},
            },
            "fingerprint.json": {"device": "cpu", "torch": "2", "python": "3"},
        }
        rows = [
            {"seed": seed, "step": step, "train_accuracy": min(1.0, step / 200), "test_accuracy": 1 / test_examples}
            | {"train_answer_loss": 0.01 if step > 100 else 2.4}
            for seed in seeds
            for step in range(0, 401, 100)
        ]
        written = {name: canonical_json(content) for name, content in files.items()}
        written["metrics.jsonl"] = b"".join(canonical_json(row) + b"\n" for row in rows)
        for seed in seeds:
            for name, step in (("best.pt", 100), ("last.pt", 400), ("step-200.pt", 200)):
                origin = Origin("tiny", None, seed, "0" * 64, TASK)
                weights = initial_weights(MODEL, 10 * seed + step)
                if seed == diverged and step == 400:
                    weights = {name: torch.full_like(tensor, 1e38) for name, tensor in weights.items()}
                written[f"seed-{seed}/{name}"] = checkpoint_bytes(MODEL, weights, origin, step, 0.1)
        for name, data in written.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        replicas = [
            {"seed": seed, "steps": 401, "best_step": 100, "best_score": 0.1, "last_score": 0.1}
            | {"first_perfect_step": None}
            | ({"diverged_step": 400} if seed == diverged else {})
            for seed in seeds
        ]
        summary = {
            "format": "reprogrok.run/2",
            "experiment": "tiny",
            "spec_digest": "0" * 64,
            "score": "test_accuracy",
            "replicas": replicas,
            "files": {name: sha256_file(folder / name) for name in written},
        }
        (folder / "summary.json").write_bytes(canonical_json(summary))
        return folder

    return write


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (V1, ("(33,600, 33,700]", "(39,800, 39,900]", "17,100 (rise 0.137, BELOW its threshold", ": undecided")),
        (V2A, ("(19,300, 19,400]", "19,500 (rise 0.178)", "fewest 14 (step 3,800)", ": undecided")),
        (V2B, ("never until step 20,000", ": cannot generalise", "probability 1.1e-16", "most 4 (step 19,800)")),
    ],
)
def test_published_logs_are_analysed_and_say_that_they_are_logs(reprogrok, fixtures_dir, tmp_path, name, words):
    result = reprogrok("analyze", fixtures_dir / "runs" / name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "analysed from its logs" in result.stdout
    assert [word for word in words if word not in result.stdout] == []
    written = load(tmp_path / "post_analysis.json", "post_analysis").data
    assert list(written) == [*PUBLISHED_KEYS, "reprogrok"]
    assert (written["reprogrok"]["source"], written["reprogrok"]["run"]["experiment"]) == ("logs", name)


def test_the_published_keys_hold_the_log_and_its_states(fixtures_dir):
    folder = fixtures_dir / "runs" / V1
    found = analyse(read_run(folder), 42, t_grok=33_700)
    written = document_of(post_analyse(found, logged_snapshots(found)))
    log = json.loads((folder / "logs" / "analysis.json").read_text("utf-8"))
    assert written["training_metrics"] == json.loads((folder / "logs" / "metrics.json").read_text("utf-8"))
    assert written["analysis_metrics"] == log
    # Checkpoints were saved every 5,000 steps: 3 before 23,700, 2 up to 43,700, 3 after.
    assert written["checkpoint_steps"] == [10_000, 15_000, 20_000, 25_000, 30_000, 45_000, 50_000, 55_000]
    assert written["relative_steps"] == [step - 33_700 for step in written["checkpoint_steps"]]
    rows = [log["step"].index(step) for step in written["checkpoint_steps"]]
    assert written["final_layer_rank"] == [log["representation_rank"][row][-1] for row in rows]
    assert written["avg_rank"] == pytest.approx([np.mean(log["representation_rank"][row]) for row in rows])
    assert written["avg_entropy"] == pytest.approx([np.mean(log["attention_entropy"][row]) for row in rows])
    assert written["full_analyses"][0]["singular_values"] is None
    ours = written["reprogrok"]
    assert ours["state_definitions"] == {
        "representation_rank": "pca99/blockin",
        "attention_entropy": "attn/all-queries",
    }
    assert (written["t_grok"], ours["selection"]["t_grok_definition"]) == (33_700, "given")


def test_published_losses_speak_against_a_memorised_phase_in_v2a_and_for_one_in_v2b(fixtures_dir):
    notes = {
        name: next(
            note for note in analyse(read_run(fixtures_dir / "runs" / name), 42).notes if "train accuracy" in note
        )
        for name in (V2A, V2B)
    }
    assert "at most 0.063 nats (step 16,800)" in notes[V2A]
    assert "speak against" in notes[V2A]
    assert "would show at least ln(97)/8 = 0.572 if not even swapped pairs are known: " in notes[V2A]
    assert "speak for" in notes[V2B]
    # By result no swapped pair is known, so nothing is left open.
    assert "guessed test answers would show at least ln(97)/8 = 0.572: " in notes[V2B]


def test_a_memoriser_that_swaps_operands_shows_a_smaller_gap():
    """v1's split knows 1,493 of 1,882 test pairs by swapping: 389/1882 x ln(97)/8 = 0.1182 nats."""
    steps, learned = (0, 100), Unknown("not logged", "first-above/0.99")
    run = Record(Path("v1"), "v1", "reprogrok", {}, {}, facts={"positions": 8})
    finding = dataclasses.replace(find_regime(None, Series(steps, (0.1, 0.2))), memorised=learned)
    for gap, word in ((0.11, "against"), (0.12, "for")):
        metrics = {"train_loss": Series(steps, (2.0, 1.0)), "test_loss": Series(steps, (2.0, 1.0 + gap))}
        said = analysis._loss_gap(metrics, run, finding, analysis.Support(97, 1.0, 1_493 / 1_882, "the split"))
        assert "but for the 0.793 that remembering reaches would show (1 - 0.793) ln(97)/8 = 0.118 or more" in said
        assert f"the losses speak {word} a memorised phase" in said


def test_answers_are_those_that_occur(modular_run):
    """Squares mod 8 are 0, 1 and 4, so their sums are 0, 1, 2, 4 and 5: five answers of eight elements."""
    folder = modular_run()
    spec = json.loads((folder / "spec.json").read_bytes())
    split = {"kind": "random", "seed": 42, "fraction": 0.5}
    spec["spec"]["task"] |= {"operation": "squares", "modulus": 8, "split": split}
    (folder / "spec.json").write_bytes(canonical_json(spec))
    summary = json.loads((folder / "summary.json").read_bytes())
    summary["files"]["spec.json"] = sha256_file(folder / "spec.json")
    (folder / "summary.json").write_bytes(canonical_json(summary))
    assert analysis.support_of(read_run(folder)).classes == 5


@pytest.mark.parametrize(
    ("steps", "holds", "answer"),
    [
        (22_000, True, "yes (at most 100 steps between evaluations"),
        (10_000, False, "no (at most 100 steps between evaluations"),
        (50, None, "cannot be decided, the evaluations are 100 steps apart (up to 100 steps"),
    ],
)
def test_a_claim_is_judged_as_finely_as_it_was_evaluated(fixtures_dir, steps, holds, answer):
    """v2a reached 99 % in (19,700, 19,800] and was evaluated every 100 steps until 25,000."""
    found = analyse(read_run(fixtures_dir / "runs" / V2A), 42, claim=steps)
    judged = post_analyse(found, logged_snapshots(found))
    claim = document_of(judged)["reprogrok"]["claim"]
    assert (claim["steps"], claim["holds"], claim["definition"]) == (steps, holds, "first-above/0.99")
    stream = io.StringIO()
    print_analyses([judged], Console(file=stream, width=80))
    assert f"claim: test learned within {steps:,} steps: {answer}" in stream.getvalue()


def test_a_claim_is_asked_for_on_the_command_line(reprogrok, modular_run, tmp_path):
    modular_run()
    result = reprogrok("analyze", "tiny", "--seed", 0, "--claim", 50, "--output", "a.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "within 50 steps: cannot be decided, the evaluations are 100 steps apart" in result.stdout


def test_what_an_evaluation_shows_decides_however_few_there_are():
    test = Series((0, 50, 500), (0.0, 1.0, 1.0))
    assert analysis.judge(test, first_above(test, 0.99), 100).holds is True
    late = Series((0, 500, 1_000), (0.0, 1.0, 1.0))
    assert [analysis.judge(late, first_above(late, 0.99), steps).holds for steps in (100, 500)] == [None, True]
    never = Series((0, 500), (0.0, 0.5))
    assert [analysis.judge(never, first_above(never, 0.99), steps).holds for steps in (500, 600)] == [False, None]
    assert analysis.judge(None, first_above(None, 0.99), 100).holds is None


def test_no_claim_is_judged_unasked(fixtures_dir):
    assert analyse(read_run(fixtures_dir / "runs" / V2A), 42).claim is None


def test_a_rule_that_looks_only_before_the_transition_is_noted(fixtures_dir):
    found = analyse(read_run(fixtures_dir / "runs" / V2A), 42)
    written = document_of(post_analyse(found, logged_snapshots(found)))
    assert written["checkpoint_steps"] == [5_000, 10_000, 15_000]
    assert (
        "holds no snapshot at or after t_grok 19,500; candidates there: 20,000, 25,000"
        in written["reprogrok"]["notes"][-1]
    )


@pytest.mark.parametrize(
    ("t_grok", "chosen"),
    [
        (33_700, (10_000, 15_000, 20_000, 25_000, 30_000, 45_000, 50_000, 55_000)),
        (30_000, (5_000, 10_000, 15_000, 20_000, 25_000, 45_000, 50_000, 55_000)),  # both ends of the window are near
        (0, (5_000, 10_000, 15_000, 20_000, 25_000)),
        (500_000, (50_000, 55_000, 60_000)),
        (None, tuple(range(5_000, 60_001, 5_000))),
    ],
)
def test_three_before_two_near_three_after(t_grok, chosen):
    assert select(range(5_000, 60_001, 5_000), t_grok) == chosen


def test_states_without_a_transition_near_them_are_all_looked_at():
    assert select((), 100) == ()
    assert select((10, 20, 30), None) == (10, 20, 30)


def test_a_run_of_ours_is_analysed_from_its_checkpoints_in_its_folder(reprogrok, modular_run, tmp_path):
    folder = modular_run()
    result = reprogrok("analyze", "tiny", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 seeds: 2 cannot generalise" in result.stdout
    for seed in SEEDS:
        written = load(folder / f"post_analysis-seed-{seed}.json", "post_analysis").data
        assert written["checkpoint_steps"] == [100, 200]  # the first two near; 400 is near, too
        ours = written["reprogrok"]
        assert (ours["source"], ours["seed"], ours["support"]["ceiling"]) == ("checkpoints", seed, 0.0)
        assert ours["state_definitions"]["representation_rank"] == "pca99/blockin-first-batch/T4"
        assert ours["regime"]["memorised"] == {
            "definition": "first-above/0.99", "after": 100, "by": 200, "censored_at": None, "unknown": None,
        }  # fmt: skip
    read_run(folder)  # a document beside the run's own files changes none of them
    check_target(folder)  # and goes with the run when it is replaced


def test_a_file_that_is_no_analysis_is_still_not_replaced(modular_run):
    folder = modular_run()
    (folder / "post_analysis-mine.json").touch()
    with pytest.raises(InputError, match="not part of the run that would be replaced"):
        check_target(folder)


def test_ranks_and_entropies_are_those_of_a_plain_computation(modular_run):
    folder = modular_run()
    found = analyse(read_run(folder), 0)
    state = snapshots_of(found, torch.device("cpu")).measure(200)
    tokens_TB, answer = first_test_rows(TASK)
    weights = {name: tensor.unsqueeze(0) for name, tensor in initial_weights(MODEL, 200).items()}
    seen = trace(MODEL, weights, tokens_TB[:-1].unsqueeze(0))
    for layer in range(2):
        rows = seen.hidden_RLDTB[0, layer].permute(1, 2, 0).reshape(-1, 16).double().numpy()
        singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
        shares = np.cumsum(singular**2) / np.sum(singular**2)
        assert state.representation_rank[layer] == np.sum(shares < 0.99) + 1
        assert state.singular_values[layer] == pytest.approx(singular.tolist(), rel=1e-3, abs=1e-4)
        p = seen.weights_RLHQTB[0, layer].double().numpy()
        entropy = -(p * np.log(np.maximum(p, 1e-9))).sum(2).mean((1, 2))
        assert state.attention_entropy[layer] == pytest.approx(entropy.tolist(), abs=1e-5)
    assert answer == Modular("add", 11, "power5").first_answer


def test_the_first_batch_is_the_first_256_rows_of_the_split():
    task = ModularTask("add", 97, "text9", "all", SplitSpec("result_range", 42, train=(0, 48), test=(48, 97)))
    tokens_TB, answer = first_test_rows(task)
    order = np.random.RandomState(42).permutation([n for n in range(9_409) if (n // 97 + n % 97) % 97 >= 48])[:256]
    assert tokens_TB[1].tolist() == [n // 97 for n in order]
    assert tokens_TB[3].tolist() == [n % 97 for n in order]
    assert tokens_TB[answer + 1].tolist() == [(n // 97 + n % 97) % 97 for n in order]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_full_memory_is_tried_again_with_half_the_rows(error):
    tried = []

    def work(rows):
        tried.append(rows)
        if rows > 64:
            raise error
        return "done"

    assert whole_or_in_parts(work, 256) == ("done", 64)
    assert tried == [256, 128, 64]


def test_memory_for_no_row_at_all_is_an_error_with_advice():
    def work(_rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match="even for one row at a time: expected another device"):
        whole_or_in_parts(work, 256)


def test_another_fault_is_not_taken_for_a_full_memory():
    def work(_rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        whole_or_in_parts(work, 256)


def test_states_read_in_parts_are_the_same_and_say_so(modular_run, monkeypatch):
    found = analyse(read_run(modular_run()), 0)
    whole = snapshots_of(found, torch.device("cpu")).measure(400)
    represent = checkpoint_states.represent

    def small_memory(*words, rows, **others):
        if rows > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return represent(*words, rows=rows, **others)

    monkeypatch.setattr(checkpoint_states, "represent", small_memory)
    states = snapshots_of(found, torch.device("cpu"))
    parts = states.measure(400)
    assert parts.representation_rank == whole.representation_rank
    assert parts.attention_entropy == [pytest.approx(heads, abs=1e-6) for heads in whole.attention_entropy]
    assert "read 16 at a time" in parts.note
    assert parts.note in document_of(post_analyse(found, states))["reprogrok"]["notes"]


def test_an_unknown_experiment_is_answered_with_the_nearest_names(reprogrok, modular_run, project, one_error):
    modular_run(folder=project / "runs" / "tiny")
    words = one_error(reprogrok("analyze", "tinny", cwd=project))
    assert words.startswith("tinny: experiment not found: expected a run's folder, or one of tiny, ")
    assert words.endswith("(did you mean tiny?)")
    assert "`reprogrok train smoke` first" in one_error(reprogrok("analyze", "smoke", cwd=project))


def test_a_narrower_window_tells_before_from_after_in_a_short_run(reprogrok, modular_run, tmp_path):
    modular_run()
    words = ("tiny", "--seed", 0, "--t-grok", 200, "--window", 50, "--output", "a.json")
    assert reprogrok("analyze", *words, cwd=tmp_path).returncode == 0
    written = load(tmp_path / "a.json", "post_analysis").data
    assert (written["checkpoint_steps"], written["relative_steps"]) == ([100, 200, 400], [-100, 0, 200])
    assert written["reprogrok"]["selection"]["definition"] == "around/50-3-2-3"


def test_an_unknown_seed_is_refused(reprogrok, modular_run, tmp_path, one_error):
    modular_run()
    words = one_error(reprogrok("analyze", "tiny", "--seed", 7, cwd=tmp_path))
    assert "this run has no such seed: expected one of 0, 1, found 7" in words


def test_an_analysis_of_another_run_is_not_replaced_unasked(reprogrok, fixtures_dir, tmp_path, one_error):
    assert reprogrok("analyze", fixtures_dir / "runs" / V2A, cwd=tmp_path).returncode == 0
    assert reprogrok("analyze", fixtures_dir / "runs" / V2A, cwd=tmp_path).returncode == 0
    before = (tmp_path / "post_analysis.json").read_bytes()
    words = one_error(reprogrok("analyze", fixtures_dir / "runs" / V2B, cwd=tmp_path))
    assert words == "post_analysis.json: is not an analysis of this run; it would be replaced: expected --output FILE"
    assert (tmp_path / "post_analysis.json").read_bytes() == before
    assert reprogrok("analyze", fixtures_dir / "runs" / V2B, "--output", "b.json", cwd=tmp_path).returncode == 0


def test_several_seeds_go_to_several_files_and_one_json(reprogrok, modular_run, tmp_path):
    modular_run()
    result = reprogrok("analyze", "runs/tiny", "--output", "out/a.json", "--format", "json", cwd=tmp_path)
    shown = json.loads(result.stdout)
    assert [one["reprogrok"]["seed"] for one in shown["analyses"]] == [0, 1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-seed-0.json", "a-seed-1.json"]
    one = reprogrok("analyze", "runs/tiny", "--seed", 1, "--output", "b.json", "--format", "json", cwd=tmp_path)
    assert json.loads(one.stdout) == shown["analyses"][1]


def test_a_diverged_seed_leaves_null_and_the_other_its_numbers(reprogrok, modular_run, tmp_path):
    folder = modular_run(diverged=1)
    result = reprogrok("analyze", "tiny", "--t-grok", 200, "--window", 50, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    sound, lost = (load(folder / f"post_analysis-seed-{seed}.json", "post_analysis").data for seed in SEEDS)
    assert sound["checkpoint_steps"] == lost["checkpoint_steps"] == [100, 200, 400]
    for name in ("final_layer_rank", "avg_rank", "avg_entropy"):
        assert None not in sound[name]
        assert [value is None for value in lost[name]] == [False, False, True]
        assert lost["full_analyses"][-1][name] is None


def test_a_changed_checkpoint_is_refused(reprogrok, modular_run, tmp_path, one_error):
    folder = modular_run()
    shutil.copy(folder / "seed-0" / "best.pt", folder / "seed-0" / "step-200.pt")
    assert "seed-0/step-200.pt: changed since the run wrote it" in one_error(reprogrok("analyze", "tiny", cwd=tmp_path))


def test_a_run_of_another_task_is_analysed_from_its_evaluations(reprogrok, trained, tmp_path):
    result = reprogrok("analyze", trained / "runs" / "smoke", "--output", "a.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    written = load(tmp_path / "a-seed-0.json", "post_analysis").data
    assert (written["reprogrok"]["source"], written["checkpoint_steps"]) == ("none", [])
    assert written["reprogrok"]["metrics"] == {"train": "train_exact_match", "test": "test_exact_match"}


def test_holes_in_a_log_become_null_and_stay_visible(columns_run):
    def drill(metrics):
        metrics["test_accuracy"][49] = math.nan

    def drill_analysis(analysis):
        analysis["representation_rank"][9] = None
        analysis["attention_entropy"][9][0][1] = None

    folder = columns_run(metrics=drill, analysis=drill_analysis)
    found = analyse(read_run(folder), 42, t_grok=15_000)
    written = document_of(post_analyse(found, logged_snapshots(found)))
    index = written["checkpoint_steps"].index(5_000)
    assert written["test_accuracy"][index] is None
    assert (written["final_layer_rank"][index], written["avg_rank"][index], written["avg_entropy"][index]) == (
        None,
    ) * 3
    assert written["training_metrics"]["test_accuracy"][49] is None
    assert any("passed over 5" in note or "passed over 6" in note for note in written["reprogrok"]["notes"])


def test_without_a_logged_analysis_there_are_no_states(columns_run):
    folder = columns_run()
    (folder / "logs" / "analysis.json").unlink()
    found = analyse(read_run(folder), 42)
    written = document_of(post_analyse(found, logged_snapshots(found)))
    assert (written["full_analyses"], written["analysis_metrics"], written["reprogrok"]["source"]) == ([], {}, "none")


def test_columns_share_their_steps_and_leave_holes():
    metrics = {"a": Series((0, 100), (0.5, math.nan)), "b": Series((100,), (3.0,))}
    found = columns(metrics)
    assert found | {"a": None} == {"step": [0, 100], "a": None, "b": [None, 3.0]}
    assert found["a"] == [0.5, pytest.approx(math.nan, nan_ok=True)]
    assert columns({}) == {}
