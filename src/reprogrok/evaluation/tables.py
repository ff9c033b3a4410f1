"""Evaluations (as their documents) -> tables: one checkpoint stratum by stratum, or several side by side.

No line of a table is wider than 80 columns; several checkpoints are numbered, so that long paths stand in one place.
Where a suite is a sample its error rate has an interval; where every problem was asked the accuracy is a plain number,
and the first line says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.certificate.certified_lines import certificate_lines, short_text
from reprogrok.evaluation.comparison import LEVEL
from reprogrok.exam.exam import CLOSE, TRAIN
from reprogrok.spec import modular_task
from reprogrok.stats.statistics import Proportion, interval_text, proportion
from reprogrok.tasks.split_modular import SplitModular
from reprogrok.tasks.split_tables import split_text, task_text
from reprogrok.text import counted

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_FAILURES = 5
_CHECKPOINTS_ABREAST = 5
_FIRST_COLUMN = {"uniform": "test set"}
_RANKS = {"pos": "pos_rank", "qkv": "qkv_rank", "attention out": "attn_out_rank", "MLP": "ffn_rank"}
_METHODS = {"forward": "decided by one forward pass", "generate": "decided by greedy decoding"}


def print_evaluation(evaluation: dict[str, Any], console: Console, *, hint: str = "; --output writes all") -> None:
    """One checkpoint: what it is, its score per suite and stratum, and its first failures.

    Args:
        evaluation: as `eval` writes it.
        console: where to.
        hint: where all failures are to be had, if anywhere.
    """
    console.print(Text(evaluation["checkpoint"]["path"], style="bold"), soft_wrap=True)
    for line in (*describe_lines(evaluation), *environment_lines(evaluation), *certificate_lines(evaluation)):
        console.print(Text(line), soft_wrap=True)
    for suite, result in evaluation["suites"].items():
        total = result["total"]
        console.print()
        style = "yellow" if total["errors"] else "green"
        headline = f"{suite}: {counted(total['errors'], 'error')} in {total['n']:,}; {_rate_clause(result)}"
        console.print(Text(headline, style=style), soft_wrap=True)
        for line in _suite_lines(result):
            console.print(line, soft_wrap=True)
        if (chance := result.get("chance")) is not None and chance["probability"] <= LEVEL:
            for line in _chance_lines(chance, total["n"]):
                console.print(line, soft_wrap=True)
        if suite != TRAIN:  # which has one stratum, itself
            console.print(_strata_table(suite, result))
        if total["errors"]:
            console.print(f"  first failures (of {total['errors']:,}{hint}):")
            for line in islice(_failure_lines(result, _equation(evaluation)), SHOWN_FAILURES):
                console.print(Text(line), soft_wrap=True)


def print_evaluations(evaluations: list[dict[str, Any]], console: Console) -> None:
    """Several checkpoints: what each is, then their scores and the errors by stratum under their numbers."""
    for number, evaluation in enumerate(evaluations, 1):
        console.print(Text(f"[{number}] {evaluation['checkpoint']['path']}", style="bold"), soft_wrap=True)
        for line in (*describe_lines(evaluation), *certificate_lines(evaluation)):
            console.print(Text(line), soft_wrap=True)
    for line in environment_lines(evaluations[0]):
        console.print(line, soft_wrap=True)
    for suite, result in evaluations[0]["suites"].items():
        console.print()
        console.print(Text(f"{suite}: errors in {result['total']['n']:,}", style="bold"))
        for line in _common_lines(result):
            console.print(line, soft_wrap=True)
        console.print(_totals_table(suite, evaluations))
        for number, evaluation in enumerate(evaluations, 1):
            seen = evaluation["suites"][suite]
            if (chance := seen.get("chance")) is not None and chance["probability"] <= LEVEL:
                below, probability = _chance_lines(chance, seen["total"]["n"])
                console.print(Text(f"  [{number}]{below[1:]}\n      {probability.lstrip()}"), soft_wrap=True)
        if suite == TRAIN:
            continue
        for first in range(0, len(evaluations), _CHECKPOINTS_ABREAST):
            console.print(_abreast_table(suite, evaluations, range(first, first + _CHECKPOINTS_ABREAST)))


def describe_lines(evaluation: dict[str, Any]) -> list[str]:
    """What the file holds, beside what it claims."""
    checkpoint = evaluation["checkpoint"]
    config = checkpoint["model_config"]
    claimed = checkpoint["claimed_parameters"]
    claim = "no claim in the file" if claimed is None else f"the file claims {claimed:,}"
    if claimed not in (None, checkpoint["parameters"]):
        claim += ": WRONG"
    ranks = [f"{name} {config[field] or 'full'}" for name, field in _RANKS.items()]
    shape = (
        counted(config["n_layer"], "layer"),
        f"width {config['d_model']}",
        f"MLP {config['d_ff']}",
        counted(config["n_head"], "head"),
        "RMSNorm" if config["use_rmsnorm"] else "LayerNorm",
        *(["biases"] if config.get("bias") else []),
        *([f"GELU {config['gelu']}"] if "gelu" in config else []),
        f"tie_qkv {config['tie_qkv']}",
    )
    step = "unknown" if checkpoint["step"] is None else f"{checkpoint['step']:,}"
    return [
        *_task_lines(evaluation),
        f"  {checkpoint['parameters']:,} unique parameters ({claim})",
        f"  {', '.join(shape)}",
        f"  ranks: {', '.join(ranks)}",
        f"  step {step}, claimed {_claimed_score(evaluation)}",
        f"  sha256 {checkpoint['sha256']}",
    ]


def _claimed_score(evaluation: dict[str, Any]) -> str:
    """What the file says it scored; our modular runs choose their best state by the very equations of the exam."""
    checkpoint = evaluation["checkpoint"]
    score, origin = checkpoint["claimed_val_exact"], checkpoint["origin"]
    if score is None or origin is None or origin.get("task") is None:
        return f"validation score {'none' if score is None else score}"
    chosen = ", by which it was chosen" if PurePath(checkpoint["path"]).name == "best.pt" else ""
    return f"held-out accuracy {score:.6f}{chosen}"


def environment_lines(evaluation: dict[str, Any]) -> list[str]:
    """What it was examined on."""
    ran_on = evaluation["environment"]
    versions = ", ".join(f"{name} {ran_on[name]}" for name in ("torch", "numpy", "python"))
    where = f"{ran_on['device']} ({ran_on['device_name']}), {ran_on['dtype']}, {counted(ran_on['threads'], 'thread')}"
    return [f"  examined on {where}", f"  with {versions}"]


def errors_of(score: dict[str, Any]) -> Proportion:
    """The error rate of a stored score, with its interval."""
    return proportion(score["errors"], score["n"])


def rate_text(score: dict[str, Any]) -> str:
    """The interval of a stored error rate, where it has one."""
    return "by stratum, below" if score["error_rate_interval"] is None else interval_text(errors_of(score))


def margin_text(score: dict[str, Any]) -> str:
    """The smallest margin in logits, or that there is none."""
    return "none right" if score["smallest_margin"] is None else f"{score['smallest_margin']:.4f}"


def accuracy_text(score: dict[str, Any]) -> str:
    """The share of right answers, six places: one error in 100,000 is not 1."""
    return f"{1 - score['errors'] / score['n']:.6f}"


def _task_lines(evaluation: dict[str, Any]) -> list[str]:
    """What a modular checkpoint is examined as."""
    if (task := evaluation.get("task")) is None:
        return []
    spec = modular_task({**task, "loss": "answer"})  # which the exam does not ask about
    return [f"  {task_text(spec)}", f"  split: {split_text(spec.split)}"]


def _rate_clause(result: dict[str, Any]) -> str:
    score = result["total"]
    if "population" in result:
        return f"accuracy {accuracy_text(score)}"
    if score["error_rate_interval"] is None:
        return "the error rate differs by stratum"
    return f"error rate {rate_text(score)} (95 %, exact)"


def _suite_lines(result: dict[str, Any]) -> list[str]:
    """How the suite was decided, of one checkpoint."""
    total = result["total"]
    margin = "no right answer" if total["smallest_margin"] is None else f"{margin_text(total)} logits"
    margin = f"smallest margin of a right answer: {margin}"
    digits = "" if "population" in result else f"{total['token_accuracy']:.6f} of the digits right; "
    rechecked = counted(result["rechecked"], "close answer")
    return [
        *_common_lines(result),
        f"  {digits}{margin}",
        f"  {rechecked} (margin under {CLOSE:g}) decided again by greedy decoding",
    ]


def _common_lines(result: dict[str, Any]) -> list[str]:
    """What holds for every checkpoint that sat the suite."""
    digest, method = f"digest {result['exam_digest'][:16]}", _METHODS[result["method"]]
    if (population := result.get("population")) is None:
        return [f"  {result['exam']}, {digest}, {method}"]
    n = result["total"]["n"]
    asked = "every equation is" if n == population else f"{n:,} of {population:,} equations are"
    lines = [result["exam"], f"{digest}, {method}", f"{asked} asked: no sample, so no interval", *result["notes"]]
    return [f"  {line}" for line in lines]


def _chance_lines(chance: dict[str, Any], n: int) -> list[str]:
    """A score that guessing would hardly fall to."""
    k, classes = chance["right"], chance["classes"]
    return [
        f"  below chance: {k:,} of {n:,} right, at chance 1/{classes} it would be {n / classes:.1f}",
        f"  probability of {f'{k:,} or fewer' if k else 'none'} right by guessing: {chance['probability']:.2g}",
    ]


def _equation(evaluation: dict[str, Any]) -> Callable[[int, int], str]:
    """How a problem with its right answer is written."""
    if (task := evaluation.get("task")) is None:
        return lambda a, b: f"{a} + {b} = {a + b}"
    return SplitModular.of(modular_task({**task, "loss": "answer"})).equation


def _failure_lines(result: dict[str, Any], equation: Callable[[int, int], str]) -> Iterator[str]:
    for stratum in result["strata"]:
        columns = stratum["failures"]
        for a, b, answer in zip(columns["a"], columns["b"], columns["answer"], strict=True):
            yield f"    [{stratum['name']}] {equation(a, b)}, answered {answer}"


def _strata_table(suite: str, result: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(_FIRST_COLUMN.get(suite, "stratum"))
    for name in ("n", "errors", _rate_heading(result), "smallest margin"):
        table.add_column(name, justify="right")
    for stratum in result["strata"]:
        k, rate = stratum["errors"], accuracy_text(stratum) if "population" in result else rate_text(stratum)
        cells = (stratum["name"], f"{stratum['n']:,}", f"{k:,}", rate, margin_text(stratum))
        table.add_row(*cells, style="yellow" if k else "")
    return table


def _totals_table(suite: str, evaluations: list[dict[str, Any]]) -> Table:
    certified = any("certificate" in evaluation for evaluation in evaluations)
    table = Table(box=SIMPLE, padding=0 if certified else (0, 1))  # six columns leave no room for more
    for name in ("checkpoint", "parameters", "errors", _rate_heading(evaluations[0]["suites"][suite])):
        table.add_column(name, justify="right")
    table.add_column("smallest margin", justify="right")
    if certified:
        table.add_column("certificate", justify="right")
    for number, evaluation in enumerate(evaluations, 1):
        result = evaluation["suites"][suite]
        total = result["total"]
        rate = accuracy_text(total) if "population" in result else rate_text(total)
        cells = [f"{total['errors']:,}", rate, margin_text(total)]
        cells += [short_text(evaluation.get("certificate"))] if certified else []
        size = f"{evaluation['checkpoint']['parameters']:,}"
        table.add_row(f"[{number}]", size, *cells, style="yellow" if total["errors"] else "")
    return table


def _rate_heading(result: dict[str, Any]) -> str:
    return "accuracy" if "population" in result else "error rate, 95 %"


def _abreast_table(suite: str, evaluations: list[dict[str, Any]], which: range) -> Table:
    shown = [(number + 1, evaluations[number]) for number in which if number < len(evaluations)]
    table = Table(box=SIMPLE)
    table.add_column(_FIRST_COLUMN.get(suite, "stratum"))
    table.add_column("n", justify="right")
    for number, _ in shown:
        table.add_column(f"[{number}]", justify="right")
    for index, stratum in enumerate(evaluations[0]["suites"][suite]["strata"]):
        errors = [evaluation["suites"][suite]["strata"][index]["errors"] for _, evaluation in shown]
        cells = (f"{k:,}" for k in errors)
        table.add_row(stratum["name"], f"{stratum['n']:,}", *cells, style="yellow" if any(errors) else "")
    return table
