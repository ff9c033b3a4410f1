"""`reprogrok provide RUN SEED`: hand out a run's best checkpoint with a manifest of where it comes from.

RUN, SEED --best checkpoint, examined--> NAME.pt, NAME.json
certificate, of that or of what was provided before --> NAME.certificate.json, and its statement in NAME.json

Nothing is written before all of it holds together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reprogrok.cli.options import DEVICE
from reprogrok.errors import InputError

if TYPE_CHECKING:
    from reprogrok.certificate.certified import Certified


def provide(
    out: Annotated[Path, typer.Option(help="The .pt file to write; the manifest goes beside it as .json.")],
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A finished run's folder.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Argument(metavar="SEED", help="One of its seeds.", show_default=False)] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `certify` wrote of that checkpoint; goes beside it, too.")
    ] = None,
    device: DEVICE = "auto",
) -> None:
    """Copy the best checkpoint of a seed, examine it on every suite of its task, and write its manifest.

    Without RUN and SEED, a certificate is added to a checkpoint that was provided before. A certificate is taken at its
    word; `reprogrok certify --check` checks it.
    """
    from reprogrok.certificate.certified import read_certified

    if out.suffix != ".pt":
        raise InputError(field="--out", expected="a name that ends in .pt", found=str(out))
    certified = None if certificate is None else read_certified(certificate)
    if run is not None and seed is not None:
        _provide(run, seed, out, certified, device)
    elif run is None and certified is not None:
        _add(out, certified)
    else:
        expected = "RUN and SEED, or --certificate alone for a checkpoint that was provided before"
        raise InputError("which checkpoint?", expected=expected)


def _provide(run: Path, seed: int, out: Path, certified: Certified | None, device: str) -> None:
    from reprogrok.console import console
    from reprogrok.evaluation.examination import document, examinee, task_of
    from reprogrok.evaluation.manifest import best_checkpoint, manifest
    from reprogrok.evaluation.progress import counting
    from reprogrok.evaluation.tables import print_evaluation
    from reprogrok.exam.exam import build_exam, suites_of
    from reprogrok.files import write_bytes
    from reprogrok.formats.checkpoints import load_checkpoint
    from reprogrok.model.device import choose_device
    from reprogrok.schema import read_bytes

    source = best_checkpoint(run, seed)
    checkpoint = load_checkpoint(source)
    task, where = task_of(checkpoint, None), choose_device(device)
    if certified is not None:  # before minutes are spent
        certified.check_is_of(checkpoint.sha256, source)
        certified.check_is_for(task)
    model = examinee(checkpoint, task, where)
    exams = [build_exam(suite, task) for suite in suites_of(task)]
    with counting("problems", sum(len(pairs) for exam in exams for pairs in exam.sets().values())) as advance:
        results = [model.examine(exam, "forward", 2_000, advance) for exam in exams]
    evaluation = document(checkpoint, results, where)
    about = _described(manifest(run, evaluation, out.name), certified)
    write_bytes(out, read_bytes(source))
    _write(out, about, certified)
    print_evaluation(evaluation, console(), hint="")
    typer.echo(f"wrote {' and '.join(map(str, (out, *_beside(out, certified))))}")


def _add(out: Path, certified: Certified) -> None:
    """Add a certificate to what was provided before.

    Raises:
        InputError: nothing was, or it is of another file.
    """
    from reprogrok.files import sha256_file
    from reprogrok.schema import load

    about = load(out.with_suffix(".json"), "manifest").data
    found = sha256_file(out) if out.is_file() else "no such file"
    if found != about["sha256"]:
        raise InputError("not what its manifest speaks of", path=out, expected=about["sha256"], found=found)
    _write(out, _described(about, certified), certified)
    typer.echo(f"wrote {' and '.join(map(str, _beside(out, certified)))}")


def _described(about: dict[str, Any], certified: Certified | None) -> dict[str, Any]:
    """The manifest, with what is certified, if anything is, held to its schema."""
    from reprogrok.evaluation.manifest import with_certificate
    from reprogrok.schema import check_written

    written = about if certified is None else with_certificate(about, certified)
    check_written(written, "manifest")
    return written


def _write(out: Path, about: dict[str, Any], certified: Certified | None) -> None:
    """Write the certificate first: a manifest never speaks of one that is not there."""
    from reprogrok.certificate.document import beside
    from reprogrok.files import pretty_json, write_bytes
    from reprogrok.schema import read_bytes

    if certified is not None:
        write_bytes(beside(out), read_bytes(certified.path))
    write_bytes(out.with_suffix(".json"), pretty_json(about))


def _beside(out: Path, certified: Certified | None) -> list[Path]:
    """The manifest, and the certificate where there is one."""
    from reprogrok.certificate.document import beside

    return [out.with_suffix(".json"), *([] if certified is None else [beside(out)])]
