"""The document of a trained run beyond the published keys: Fourier measures, other estimators, the two logs."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shutil

import pytest
import torch
from rich.console import Console
from test_decoder import module_of
from test_fourier import cross_entropy, projected

from reprogrok import params
from reprogrok.errors import InputError
from reprogrok.files import sha256_file
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.formats.foreign_runs import read_run
from reprogrok.metrics import fourier
from reprogrok.metrics.fourier import MEASURES, Grid
from reprogrok.metrics.logged import definitions_of
from reprogrok.metrics.registry import ANALYSED
from reprogrok.runs import checkpoint_snapshots
from reprogrok.runs.analysis import analyse, task_of
from reprogrok.runs.checkpoint_snapshots import first_test_rows, snapshots_of
from reprogrok.runs.post_analysis import post_analyse
from reprogrok.runs.post_analysis_documents import document_of
from reprogrok.runs.tables import print_analyses
from reprogrok.schema import load
from reprogrok.spec.task import ModularTask, SplitSpec
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.splits import make_split

torch.set_num_threads(1)
CPU = torch.device("cpu")

PARAMS = """
engine_version: 2
device: cpu
deterministic: bitwise
pipeline: [waves]
examined: []
analysed: [waves]
experiments:
  waves:
    title: a sum
    source: a test
    task:
      {name: modular, operation: add, modulus: 29, format: power5, loss: answer,
       split: {kind: random, seed: 42, fraction: 0.5}}
    model: {n_layer: 1, d_model: 32, n_head: 2, d_ff: 64}
    optimiser: {lr: 0.003, betas: [0.9, 0.98], eps: 1e-8, weight_decay: 1, clip: null}
    schedule: {warmup: 0, floor: 1}
    batch: {size: 210, order: reshuffled}
    steps: 301
    evaluate_every: {metrics: 20, analysis: 100, checkpoints: 100}
    seeds: [0]
    gates: []
"""


@pytest.fixture(scope="session")
def waves(made_once, reprogrok):
    """A project with a run that is on its way to rotating, runs/waves; not to be changed."""

    def make(folder):
        folder.mkdir()
        (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
        result = reprogrok("train", "waves", "--workers", "1", "--quiet", cwd=folder)
        assert result.returncode == 0, result.stderr

    return made_once("waves", make) / "runs" / "waves"


@pytest.fixture(scope="session")
def measured(waves):
    """Its post-analysis, with every snapshot: near the transition, after it, and the last one."""
    found = analyse(read_run(waves), 0, t_grok=150)
    return post_analyse(found, snapshots_of(found, CPU), window=60)


@pytest.fixture(scope="session")
def written(measured):
    """The document of `measured`."""
    return document_of(measured)


@pytest.fixture
def another(waves, tmp_path):
    """The same run as if its task had been another one."""

    def write(spec_changes=(), **changes):
        folder = tmp_path / "another"
        shutil.copytree(waves, folder)
        spec, summary = folder / "spec.json", folder / "summary.json"
        content = json.loads(spec.read_text("utf-8"))
        content["spec"]["task"] |= changes
        content["spec"] |= dict(spec_changes)
        spec.write_text(json.dumps(content), encoding="utf-8")
        content = json.loads(summary.read_text("utf-8"))
        content["files"]["spec.json"] = sha256_file(spec)
        summary.write_text(json.dumps(content), encoding="utf-8")
        return folder

    return write


def shown(found, width=80):
    stream = io.StringIO()
    print_analyses([found], Console(file=stream, width=width, highlight=False, markup=False))
    return stream.getvalue()


def plain_grid(path):
    """All answers of a checkpoint by a module of plain torch, row after row."""
    checkpoint = load_checkpoint(path)
    a, b = (side.flatten() for side in torch.meshgrid(torch.arange(29), torch.arange(29), indexing="ij"))
    tokens_NT = torch.stack([a, torch.full_like(a, 29), b, torch.full_like(a, 30)], dim=1)
    plain_NV = module_of(checkpoint.spec, checkpoint.weights)(tokens_NT)[:, 3].detach()
    return Grid(plain_NV[:, :29].double(), (a + b) % 29), checkpoint.weights["token_emb.weight"][:29].double()


def test_every_snapshot_has_the_waves_of_a_plain_computation_by_the_keys_of_the_last(waves, written):
    found = written["reprogrok"]["fourier"]
    last, _ = plain_grid(waves / "seed-0" / "last.pt")
    varying = (last.logits_NC - last.logits_NC.mean(0)).square().sum()
    shares = [float(projected(last, (k,)).square().sum() / varying) for k in range(1, 15)]
    keys = [k for k, share in enumerate(shares, 1) if share > 2 / 14]
    assert keys != []
    assert found["keys"] == {
        "definition": "key-frequencies/logits/twice-even", "modulus": 29, "of_step": 300, "frequencies": keys,
    }  # fmt: skip
    split = make_split(task_of(read_run(waves)))
    assert written["checkpoint_steps"] == [0, 100, 200, 300]
    for state in found["states"]:
        grid, embedding_PD = plain_grid(waves / "seed-0" / f"step-{state['step']}.pt")
        waves_NC, varying_NC = projected(grid, keys), grid.logits_NC - grid.logits_NC.mean(0)
        expected = {
            "key_energy": float(waves_NC.square().sum() / varying_NC.square().sum()),
            "full_loss_train": cross_entropy(grid.logits_NC, grid.sum_N, split.train_N),
            "full_loss_test": cross_entropy(grid.logits_NC, grid.sum_N, split.test_N),
            "full_loss_all": cross_entropy(grid.logits_NC, grid.sum_N),
            "restricted_loss_test": cross_entropy(waves_NC + grid.logits_NC.mean(0), grid.sum_N, split.test_N),
            "restricted_loss_all": cross_entropy(waves_NC + grid.logits_NC.mean(0), grid.sum_N),
            "excluded_loss_train": cross_entropy(grid.logits_NC - waves_NC, grid.sum_N, split.train_N),
        }
        assert {name: state[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-6)
        transformed = torch.fft.fft(embedding_PD, dim=0).abs().square().sum(1)[1:15]
        own = [k for k, share in enumerate((transformed / transformed.sum()).tolist(), 1) if share > 2 / 14]
        assert state["embedding_keys"] == own
    assert found["states"][-1] == found["last"]
    assert found["states"][-1]["logit_keys"] == keys
    assert [state["step"] for state in found["states"]] == written["checkpoint_steps"]


def test_each_measure_says_its_definition_and_the_set_it_was_taken_on(written):
    measures = written["reprogrok"]["fourier"]["measures"]
    assert measures["excluded_loss_train"] == {"definition": "ce/excluded/cos+sin-of-sum", "set": "train", "n": 420}
    assert measures["restricted_loss_test"] == {"definition": "ce/restricted/cos+sin-of-sum", "set": "test", "n": 421}
    assert measures["full_loss_all"] == {"definition": "ce/residues", "set": "all", "n": 841}
    assert measures["embedding_keys"] == {
        "definition": "key-frequencies/embedding/twice-even", "set": "residues", "n": 29,
    }  # fmt: skip
    assert set(measures) | {"step"} == set(written["reprogrok"]["fourier"]["last"])


def test_other_estimators_of_a_snapshot_are_those_that_training_logged(written):
    log = written["analysis_metrics"]
    states = written["reprogrok"]["alternatives"]
    assert [state["step"] for state in states] == written["checkpoint_steps"]
    for state in states:
        row = log["step"].index(state["step"])
        values = state["values"]
        assert state["examples"] == 421
        for definition, metric in (
            ("pca99/blockin/T4", "final_layer_rank"),
            ("pca99/blockout/T4", "final_layer_rank_after"),
            ("entropy-rank/blockin/T4", "final_layer_entropy_rank"),
            ("participation-ratio/blockin/T4", "final_layer_participation_ratio"),
        ):
            assert values[definition][-1] == pytest.approx(log[metric][row], rel=1e-5)
        for definition, metric in (
            ("attn/all-queries/T4", "attention_entropy"),
            ("attn/answer-query-normalised/T4", "answer_entropy"),
        ):
            (heads,) = values[definition]
            assert math.fsum(heads) / len(heads) == pytest.approx(log[metric][row], rel=1e-5)
        assert len(values) == 6


def test_the_published_keys_stay_those_of_the_first_batch(waves, written):
    task = task_of(read_run(waves))
    tokens_TB, answer = first_test_rows(task)
    assert tokens_TB.shape == (5, 256)
    checkpoint = load_checkpoint(waves / "seed-0" / "step-200.pt")
    weights = {name: tensor.unsqueeze(0) for name, tensor in checkpoint.weights.items()}
    first = checkpoint_snapshots.represent(checkpoint.spec, weights, tokens_TB, answer)
    state = written["full_analyses"][2]
    assert state["representation_rank"] == first.rank()[0].tolist()
    assert state["attention_entropy"] == first.entropy_clamped_RLH[0].tolist()
    everywhere = written["reprogrok"]["alternatives"][2]["values"]["attn/all-queries/T4"]
    assert state["attention_entropy"] != pytest.approx(everywhere[0], rel=1e-5)  # 256 rows are not 421


def test_waves_are_shown_in_eighty_columns_with_the_last_snapshot_named(measured, written):
    text = shown(measured)
    keys = ", ".join(map(str, written["reprogrok"]["fourier"]["keys"]["frequencies"]))
    assert f"Fourier, by the key frequencies of the last snapshot: {keys}\n" in text
    table = text[text.index("Fourier, by") : text.index("energy: fraction")].splitlines()
    assert max(map(len, table)) <= 80
    assert "…" not in "".join(table)
    assert [line.split()[0] for line in table if line.strip()[:1].isdigit()] == ["0", "100", "200", "300"]
    assert "420 train, 421 test of 841 pairs; guessing one of 29 costs 3.37) [key-frequencies/logits" in text


def test_the_last_snapshot_is_shown_where_it_was_not_selected(waves):
    found = analyse(read_run(waves), 0, t_grok=150)
    chosen = post_analyse(found, snapshots_of(found, CPU))  # the first two near 150: 0 and 100
    assert [state["step"] for state in document_of(chosen)["reprogrok"]["fourier"]["states"]] == [0, 100]
    text = shown(chosen)
    assert "\n  300  " in text[text.index("Fourier, by") :]


def test_keys_that_are_missing_are_said_to_be(waves, monkeypatch):
    monkeypatch.setattr(fourier, "key_frequencies", lambda _fraction_K: ())
    found = analyse(read_run(waves), 0)
    without = post_analyse(found, snapshots_of(found, CPU))
    (state, *_) = document_of(without)["reprogrok"]["fourier"]["states"]
    assert state["key_energy"] == 0.0
    assert state["excluded_loss_train"] == state["full_loss_train"]
    assert "by the key frequencies of the last snapshot: it has none\n" in shown(without)


def test_an_operation_without_waves_says_so_in_one_line_and_keeps_the_rest(reprogrok, another, tmp_path):
    folder = another(operation="mul")
    result = reprogrok("analyze", folder, "--output", "a.json", cwd=tmp_path, PYTHONWARNINGS="error::UserWarning")
    assert (result.returncode, result.stderr) == (0, "")
    why = (
        "Fourier measures are of sums and differences: expected a + b or a - b mod 29 for all 841 pairs, "
        "found other answers (mul)"
    )
    assert f"\nnot measured: {why}\n" in result.stdout
    found = load(tmp_path / "a.json", "post_analysis").data
    assert found["reprogrok"]["fourier"] == {"unknown": why, "keys": None, "measures": {}, "states": [], "last": None}
    assert len(found["reprogrok"]["alternatives"]) == len(found["checkpoint_steps"])


def test_training_pairs_of_waves_are_those_that_fill_a_block(another):
    """Blocks of 100 of 420 rows: 400 are trained on, and the losses of training are over these."""
    folder = another({"batches": "blocks", "batch": 100})
    run = read_run(folder)
    found = document_of(post_analyse(analyse(run, 0), snapshots_of(analyse(run, 0), CPU)))["reprogrok"]["fourier"]
    assert found["measures"]["excluded_loss_train"]["n"] == 400
    grid, _ = plain_grid(folder / "seed-0" / "last.pt")
    expected = cross_entropy(grid.logits_NC, grid.sum_N, make_split(task_of(run)).train_N[:400])
    assert found["last"]["full_loss_train"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_differences_are_measured_too(another):
    found = analyse(read_run(another(operation="sub")), 0)
    states = document_of(post_analyse(found, snapshots_of(found, CPU)))["reprogrok"]["fourier"]["states"]
    assert len(states) == 2


@pytest.mark.parametrize(
    ("operation", "modulus", "why"),
    [("s5", None, "expected a modulus, found none (s5)"), ("add", 1_000, "found 1,000,000,000 (add)")],
)
def test_what_has_no_waves_or_too_many_logits_is_not_read(operation, modulus, why):
    task = ModularTask(operation, modulus, "power5", "answer", SplitSpec("random", 42, fraction=0.5))
    reason = checkpoint_snapshots._waves_of(task, {}, CPU)
    assert reason.endswith(why)


def test_runs_without_checkpoints_have_no_waves_and_no_line_of_them(columns_run):
    found = analyse(read_run(columns_run()), 42)
    without = post_analyse(found, snapshots_of(found, CPU))
    document = document_of(without)["reprogrok"]
    assert document["fourier"]["unknown"] == "no checkpoints"
    assert document["alternatives"] == []
    assert "Fourier" not in shown(without)


def test_answers_that_fill_the_memory_are_read_in_parts_and_say_so(waves, written, monkeypatch):
    answer_logits, tried = fourier.answer_logits, []

    def small_memory(spec, weights, task, rows):
        tried.append(rows)
        if rows > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return answer_logits(spec, weights, task, rows)

    monkeypatch.setattr(fourier, "answer_logits", small_memory)
    found = analyse(read_run(waves), 0, t_grok=150)
    parts = document_of(post_analyse(found, snapshots_of(found, CPU), window=60))["reprogrok"]
    assert tried[:3] == [512, 256, 128]
    assert "memory did not suffice for 512 pairs at once; read 128 at a time" in parts["notes"]
    whole = written["reprogrok"]["fourier"]
    assert parts["fourier"]["keys"] == whole["keys"]
    for state, other in zip(parts["fourier"]["states"], whole["states"], strict=True):
        numbers = [name for name in other if not name.endswith("_keys")]
        assert [state[name] for name in numbers] == pytest.approx([other[name] for name in numbers], rel=1e-4, abs=1e-6)
        assert (state["logit_keys"], state["embedding_keys"]) == (other["logit_keys"], other["embedding_keys"])


def test_a_last_snapshot_that_was_changed_is_refused(another):
    folder = another()
    shutil.copy(folder / "seed-0" / "step-100.pt", folder / "seed-0" / "step-300.pt")
    with pytest.raises(InputError, match="changed since the run wrote it"):
        snapshots_of(analyse(read_run(folder), 0), CPU)


@pytest.mark.parametrize(
    ("operation", "modulus", "loss"), [("add", 31, "answer"), ("mul", 31, "all"), ("s5", None, "answer")]
)
def test_every_metric_of_a_modular_run_lands_on_its_side(waves, operation, modulus, loss):
    run = read_run(waves)
    experiment = params.read_params(waves.parents[1] / "params.yaml").experiments["waves"]
    layout = "llmc8" if loss == "all" else "power5"
    task = ModularTask(operation, modulus, layout, loss, SplitSpec("random", 42, fraction=0.5))
    definitions = definitions_of(dataclasses.replace(experiment, analyse_every=100, task=task))
    series = run.replicas[0]["test_loss"]
    # grad_norm and its like are of every run, whatever its task.
    metrics = dict.fromkeys((*definitions, "grad_norm", "learning_rate"), series)
    as_if = dataclasses.replace(run, definitions=run.definitions | definitions, replicas={0: metrics})
    candidates = checkpoint_snapshots.RunSnapshots("none", (), lambda _step: None, {}, ())
    written = document_of(post_analyse(analyse(as_if, 0), candidates))
    analysed = {
        *("final_layer_rank", "average_rank", "final_layer_rank_after", "final_layer_entropy_rank"),
        *("final_layer_participation_ratio", "attention_entropy", "answer_entropy"),
    }
    assert set(ANALYSED) == analysed
    assert set(written["analysis_metrics"]) == {"step", *analysed}
    assert set(written["training_metrics"]) == {"step", *metrics} - analysed


def test_first_rows_are_copies_that_may_be_written(recwarn):
    task = ModularTask("add", 29, "power5", "answer", SplitSpec("random", 42, fraction=0.5))
    tokens_TB, _ = first_test_rows(task)
    tokens_TB += 1
    assert Modular("add", 29, "power5").equations().a_N.max() == 28
    assert list(recwarn) == []


def test_every_field_of_the_fourier_measures_has_a_definition():
    assert set(MEASURES) == set(fourier.FourierMeasures.__dataclass_fields__)
