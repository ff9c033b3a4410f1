"""Evaluations (as their documents) -> tables: one checkpoint stratum by stratum, or several side by side.

No line of a table is wider than 80 columns; several checkpoints are numbered, so that long paths stand in one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.measure.exam import CLOSE
from reprogrok.measure.statistics import Proportion, interval_text, proportion
from reprogrok.report.words import counted

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
    for line in (*describe_lines(evaluation), *environment_lines(evaluation)):
        console.print(line, soft_wrap=True)
    for suite, result in evaluation["suites"].items():
        total = result["total"]
        console.print()
        style = "yellow" if total["errors"] else "green"
        headline = f"{suite}: {counted(total['errors'], 'error')} in {total['n']:,}; {_rate_clause(total)}"
        console.print(Text(headline, style=style), soft_wrap=True)
        for line in _suite_lines(result):
            console.print(line, soft_wrap=True)
        console.print(_strata_table(suite, result))
        if total["errors"]:
            console.print(f"  first failures (of {total['errors']:,}{hint}):")
            for line in islice(_failure_lines(result), SHOWN_FAILURES):
                console.print(line, soft_wrap=True)


def print_evaluations(evaluations: list[dict[str, Any]], console: Console) -> None:
    """Several checkpoints: what each is, then their scores and the errors by stratum under their numbers."""
    for number, evaluation in enumerate(evaluations, 1):
        console.print(Text(f"[{number}] {evaluation['checkpoint']['path']}", style="bold"), soft_wrap=True)
        for line in describe_lines(evaluation):
            console.print(line, soft_wrap=True)
    for line in environment_lines(evaluations[0]):
        console.print(line, soft_wrap=True)
    for suite, result in evaluations[0]["suites"].items():
        console.print()
        console.print(Text(f"{suite}: errors in {result['total']['n']:,}", style="bold"))
        for line in _suite_lines(result)[:1]:
            console.print(line, soft_wrap=True)
        console.print(_totals_table(suite, evaluations))
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
        f"tie_qkv {config['tie_qkv']}",
    )
    score = "none" if checkpoint["claimed_val_exact"] is None else checkpoint["claimed_val_exact"]
    step = "unknown" if checkpoint["step"] is None else f"{checkpoint['step']:,}"
    return [
        f"  {checkpoint['parameters']:,} unique parameters ({claim})",
        f"  {', '.join(shape)}",
        f"  ranks: {', '.join(ranks)}",
        f"  step {step}, claimed validation score {score}",
        f"  sha256 {checkpoint['sha256']}",
    ]


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


def _rate_clause(score: dict[str, Any]) -> str:
    if score["error_rate_interval"] is None:
        return "the error rate differs by stratum"
    return f"error rate {rate_text(score)} (95 %, exact)"


def _suite_lines(result: dict[str, Any]) -> list[str]:
    """How the suite was decided; the last lines speak of one checkpoint alone."""
    total = result["total"]
    margin = "no right answer" if total["smallest_margin"] is None else f"{margin_text(total)} logits"
    rechecked = counted(result["rechecked"], "close answer")
    return [
        f"  {result['exam']}, digest {result['exam_digest'][:16]}, {_METHODS[result['method']]}",
        f"  {total['token_accuracy']:.6f} of the digits right; smallest margin of a right answer: {margin}",
        f"  {rechecked} (margin under {CLOSE:g}) decided again by greedy decoding",
    ]


def _failure_lines(result: dict[str, Any]) -> Iterator[str]:
    for stratum in result["strata"]:
        columns = stratum["failures"]
        for a, b, answer in zip(columns["a"], columns["b"], columns["answer"], strict=True):
            yield f"    [{stratum['name']}] {a} + {b} = {a + b}, answered {answer}"


def _strata_table(suite: str, result: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(_FIRST_COLUMN.get(suite, "stratum"))
    for name in ("n", "errors", "error rate, 95 %", "smallest margin"):
        table.add_column(name, justify="right")
    for stratum in result["strata"]:
        rate = errors_of(stratum)
        cells = (stratum["name"], f"{rate.n:,}", f"{rate.k:,}", interval_text(rate), margin_text(stratum))
        table.add_row(*cells, style="yellow" if rate.k else "")
    return table


def _totals_table(suite: str, evaluations: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE)
    for name in ("checkpoint", "parameters", "errors", "error rate, 95 %", "smallest margin"):
        table.add_column(name, justify="right")
    for number, evaluation in enumerate(evaluations, 1):
        total = evaluation["suites"][suite]["total"]
        cells = (f"{total['errors']:,}", rate_text(total), margin_text(total))
        size = f"{evaluation['checkpoint']['parameters']:,}"
        table.add_row(f"[{number}]", size, *cells, style="yellow" if total["errors"] else "")
    return table


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
