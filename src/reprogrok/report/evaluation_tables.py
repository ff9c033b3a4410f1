"""Evaluations (as their documents) -> tables: one checkpoint stratum by stratum, or several side by side."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reprogrok.measure.statistics import Proportion, interval_text, proportion

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_FAILURES = 5


def print_evaluation(evaluation: dict[str, Any], console: Console) -> None:
    """One checkpoint: what it is, its score per suite and stratum, and its first failures."""
    checkpoint = evaluation["checkpoint"]
    console.print(Text(checkpoint["path"], style="bold"), soft_wrap=True)
    for line in describe_lines(evaluation):
        console.print(line, soft_wrap=True)
    for suite, result in evaluation["suites"].items():
        total = result["total"]
        rate = errors_of(total)
        style = "green" if rate.k == 0 else "yellow"
        console.print()
        headline = f"{suite}: {rate.k:,} errors in {rate.n:,}; error rate {rate_text(total)}"
        console.print(Text(headline, style=style), soft_wrap=True)
        facts = (
            f"{result['exam']}, digest {result['exam_digest'][:16]}, by {result['method']}",
            f"digits right {total['token_accuracy']:.6f}",
            f"smallest margin {margin_text(total)}",
            f"{result['rechecked']} close rows re-checked",
        )
        console.print(f"  {'; '.join(facts)}", soft_wrap=True)
        console.print(_strata_table(result))
        if total["errors"]:
            console.print(f"  first failures (of {total['errors']:,}; --output writes all):")
            for line in islice(_failure_lines(result), SHOWN_FAILURES):
                console.print(line, soft_wrap=True)


def _failure_lines(result: dict[str, Any]) -> Iterator[str]:
    for stratum in result["strata"]:
        columns = stratum["failures"]
        for a, b, answer in zip(columns["a"], columns["b"], columns["answer"], strict=True):
            yield f"    [{stratum['name']}] {a} + {b} = {a + b}, answered {answer}"


def describe_lines(evaluation: dict[str, Any]) -> list[str]:
    """What the file holds beside what it claims, and what it was examined on."""
    checkpoint, ran_on = evaluation["checkpoint"], evaluation["environment"]
    config = checkpoint["model_config"]
    claimed = checkpoint["claimed_parameters"]
    claim = "no claim in the file" if claimed is None else f"the file claims {claimed:,}"
    if claimed not in (None, checkpoint["parameters"]):
        claim += ": WRONG"
    ranks = "/".join(str(config[name]) for name in ("pos_rank", "qkv_rank", "attn_out_rank", "ffn_rank"))
    shape = (
        f"{config['n_layer']} layer(s), width {config['d_model']}, MLP {config['d_ff']}, {config['n_head']} head(s)",
        f"ranks {ranks}",
        "RMSNorm" if config["use_rmsnorm"] else "LayerNorm",
        f"tie_qkv {config['tie_qkv']}",
    )
    score = "none" if checkpoint["claimed_val_exact"] is None else checkpoint["claimed_val_exact"]
    versions = ", ".join(f"{name} {ran_on[name]}" for name in ("torch", "numpy", "python"))
    threads = f"{ran_on['threads']} thread(s)"
    return [
        f"  {checkpoint['parameters']:,} unique parameters ({claim}); {', '.join(shape)}",
        f"  step {checkpoint['step']}, claimed validation score {score}, sha256 {checkpoint['sha256']}",
        f"  on {ran_on['device']} ({ran_on['device_name']}), {ran_on['dtype']}, {versions}, {threads}",
    ]


def comparison_table(evaluations: list[dict[str, Any]]) -> Table:
    """Several checkpoints on the same exams: errors per stratum, one column a checkpoint."""
    table = Table(box=SIMPLE, title="errors of n, by stratum", title_justify="left")
    table.add_column("")
    for evaluation in evaluations:
        table.add_column(evaluation["checkpoint"]["path"], justify="right", overflow="fold")
    table.add_row("unique parameters", *(f"{e['checkpoint']['parameters']:,}" for e in evaluations))
    for suite in evaluations[0]["suites"]:
        table.add_section()
        results = [evaluation["suites"][suite] for evaluation in evaluations]
        rates = [errors_of(result["total"]) for result in results]
        table.add_row(Text(suite, style="bold"), *(Text(f"{r.k:,} of {r.n:,}", style="bold") for r in rates))
        table.add_row("  error rate", *(rate_text(result["total"]) for result in results))
        table.add_row("  smallest margin", *(margin_text(result["total"]) for result in results))
        for index, stratum in enumerate(results[0]["strata"]):
            cells = [f"{r['strata'][index]['errors']:,} of {r['strata'][index]['n']:,}" for r in results]
            table.add_row(f"  {stratum['name']}", *cells)
    return table


def errors_of(score: dict[str, Any]) -> Proportion:
    """The error rate of a stored score, with its interval."""
    return proportion(score["errors"], score["n"])


def rate_text(score: dict[str, Any]) -> str:
    """The interval of a stored error rate, where it has one."""
    if score["error_rate_interval"] is None:
        return "differs by stratum, see there"
    return f"{interval_text(errors_of(score))} (95 %, exact)"


def margin_text(score: dict[str, Any]) -> str:
    """The smallest margin in logits, or that there is none."""
    return "none (nothing right)" if score["smallest_margin"] is None else f"{score['smallest_margin']:.4f}"


def _strata_table(result: dict[str, Any]) -> Table:
    table = Table(box=SIMPLE)
    for name in ("stratum", "n", "errors", "error rate, 95 %", "smallest margin"):
        table.add_column(name, justify="left" if name == "stratum" else "right")
    for stratum in result["strata"]:
        rate = errors_of(stratum)
        cells = (stratum["name"], f"{rate.n:,}", f"{rate.k:,}", interval_text(rate), margin_text(stratum))
        table.add_row(*cells, style="yellow" if rate.k else "")
    return table
