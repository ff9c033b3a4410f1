"""`reprogrok COMMAND ...`: the one place where commands are listed and errors become exit codes.

    0 pass / GO    1 fail / NO_GO    2 the check itself failed (bad input, usage)    3 inconclusive    128+n signal n

Start-up counts: nothing here or in the command files imports torch, scipy or matplotlib at module level.
"""

from __future__ import annotations

import sys
import traceback
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
from reprogrok.errors import ExitCode, ReprogrokError

app = typer.Typer(
    name="reprogrok",
    help="A claim about training goes in, a checked verdict comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("eval")(eval.evaluate)
app.command("certify")(certify.certify)
app.command("predict")(predict.predict)
app.command("sanity")(sanity.sanity)
app.command("compare")(compare.compare)
app.command("generate")(generate.generate)
app.command("split")(split.split)
app.command("loss-bounds")(loss_bounds.loss_bounds)
app.command("floors", hidden=True)(loss_bounds.loss_bounds)
app.command("analyze")(analyze.analyze)
app.command("plot")(plot.plot)
app.command("audit")(audit.audit)
app.command("reproduce")(reproduce.reproduce)
app.command("collect")(collect.collect)
app.command("observe", hidden=True)(collect.collect)
app.command("forensics")(forensics.forensics)
app.command("release")(release.release)
app.command("provide", hidden=True)(release.release)
app.command("init")(init.init)
app.command("list")(list_.list_everything)
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)


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
    """Run the command line; an error that we raise on purpose is one line on stderr and exit code 2."""
    try:
        app()
    except ReprogrokError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(ExitCode.ERROR)
    except SystemExit as end:
        # typer and rich leave with 1 when whoever read our output has gone; a verdict nobody read is no "fail".
        sys.exit(ExitCode.ERROR if isinstance(end.__context__, BrokenPipeError) else end.code)
    except OSError as error:  # the machine refused something (a full disk, no permission): no fault of ours to trace
        typer.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
        sys.exit(ExitCode.ERROR)
    except Exception:  # noqa: BLE001 - a fault of ours must not leave with Python's exit code 1, which means "fail"
        traceback.print_exc()
        typer.echo("error: a fault in reprogrok itself (see above); nothing was decided", err=True)
        sys.exit(ExitCode.ERROR)
