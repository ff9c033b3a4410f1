"""`reprogrok COMMAND ...`: the one place where commands are listed and errors become exit codes.

    0 pass / GO    1 fail / NO_GO    2 the check itself failed (bad input, usage)    3 inconclusive    128+n signal n

Start-up counts: nothing here or in the command files imports torch, scipy or matplotlib at module level.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from reprogrok import __version__
from reprogrok.cli import (
    analyze,
    audit,
    certify,
    collect,
    compare,
    doctor,
    eval,  # noqa: A004 - the command's name
    forensics,
    generate,
    init,
    list_,
    loss_bounds,
    plot,
    predict,
    release,
    reproduce,
    sanity,
    split,
    train,
)
from reprogrok.cli.door import leave, open_streams

app = typer.Typer(
    name="reprogrok",
    help="A claim about training goes in, a checked verdict comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Group of the help page -> its commands, in the order of the page.
GROUPS: dict[str, dict[str, Callable[..., object]]] = {
    "Check a checkpoint": {
        "eval": eval.evaluate,
        "predict": predict.predict,
        "certify": certify.certify,
        "release": release.release,
    },
    "Judge a run or a claim": {
        "sanity": sanity.sanity,
        "audit": audit.audit,
        "forensics": forensics.forensics,
        "collect": collect.collect,
    },
    "Train": {"generate": generate.generate, "train": train.train, "reproduce": reproduce.reproduce},
    "Understand a run or a task": {
        "analyze": analyze.analyze,
        "compare": compare.compare,
        "plot": plot.plot,
        "split": split.split,
        "loss-bounds": loss_bounds.loss_bounds,
    },
    "Project": {"init": init.init, "list": list_.list_everything, "doctor": doctor.doctor},
}
# Names that commands had before; they work and are not listed.
ALIASES = {"provide": "release", "observe": "collect", "floors": "loss-bounds"}

for _group, _commands in GROUPS.items():
    for _name, _function in _commands.items():
        app.command(_name, rich_help_panel=_group)(_function)
        for _alias in (old for old, new in ALIASES.items() if new == _name):
            app.command(_alias, hidden=True)(_function)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"reprogrok {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # typer calls back before any command runs
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A claim about training goes in, a checked verdict comes out."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    open_streams()
    sys.exit(leave(lambda: app(standalone_mode=False)))
