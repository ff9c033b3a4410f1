"""`reprogrok release`: a run's best checkpoint, or a certificate of one, -> files for others.

    RUN, SEED --best checkpoint, examined--> NAME.pt, NAME.json
    certificate of that or of an earlier release --> NAME.certificate.json, and its statement in NAME.json

Nothing is written before everything is checked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reprogrok.certificate.certified import Certified, read_certified
from reprogrok.certificate.document import beside
from reprogrok.console import console
from reprogrok.errors import ExitCode, InputError
from reprogrok.evaluation.evaluation import Evaluation
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.evaluation.manifest import Manifest, best_checkpoint, manifest_of_run, read_manifest
from reprogrok.evaluation.progress import counting
from reprogrok.evaluation.tables import print_evaluation
from reprogrok.exam.exam import build_exam, suites_of
from reprogrok.files import pretty_json, sha256_file, write_bytes
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.device import choose_device, environment
from reprogrok.schema import read_bytes


def run(folder: Path | None, seed: int | None, *, out: Path, certificate: Path | None, device: str) -> ExitCode:
    """Release a checkpoint, or add a certificate to a released one.

    Raises:
        InputError: the arguments do not fit together, or a file cannot be used.
    """
    if out.suffix != ".pt":
        raise InputError(field="--out", expected="a name that ends in .pt", found=str(out))
    certified = None if certificate is None else read_certified(certificate)
    if folder is not None and seed is not None:
        _release(folder, seed, out, certified, device)
    elif folder is None and certified is not None:
        _add(out, certified)
    else:
        expected = "RUN and SEED, or --certificate alone for a checkpoint that was released before"
        raise InputError("which checkpoint?", expected=expected)
    return ExitCode.PASS


def _release(folder: Path, seed: int, out: Path, certified: Certified | None, device_name: str) -> None:
    source = best_checkpoint(folder, seed)
    checkpoint = load_checkpoint(source)
    task, device = task_of(checkpoint, None), choose_device(device_name)
    if certified is not None:  # before the examination, which takes minutes
        certified.check_is_of(checkpoint.sha256, source)
        certified.check_is_for(task)
    model = examinee(checkpoint, task, device)
    exams = [build_exam(suite, task) for suite in suites_of(task)]
    with counting("problems", sum(map(len, exams))) as advance:
        results = {exam.suite: model.examine(exam, "forward", 2_000, advance) for exam in exams}
    evaluation = Evaluation(checkpoint, task, results, environment(device))
    document = _document(manifest_of_run(folder, seed, evaluation, out.name), certified)
    write_bytes(out, read_bytes(source))
    written = [out, *_write(out, document, certified)]
    print_evaluation(evaluation, console(), hint="")
    sys.stdout.write(f"wrote {' and '.join(map(str, written))}\n")


def _add(out: Path, certified: Certified) -> None:
    """Add a certificate to a released checkpoint.

    Raises:
        InputError: there is no such checkpoint, or the certificate is of another file.
    """
    manifest = read_manifest(out.with_suffix(".json"))
    found = sha256_file(out) if out.is_file() else "no such file"
    if found != manifest.sha256:
        raise InputError("not the file of its manifest", path=out, expected=manifest.sha256, found=found)
    written = _write(out, _document(manifest, certified), certified)
    sys.stdout.write(f"wrote {' and '.join(map(str, written))}\n")


def _document(manifest: Manifest, certified: Certified | None) -> dict[str, object]:
    return (manifest if certified is None else manifest.with_certificate(certified)).as_document()


def _write(out: Path, document: dict[str, object], certified: Certified | None) -> list[Path]:
    """Write the certificate, if any, and then the manifest that names it; return their paths, manifest first."""
    paths = [out.with_suffix(".json")]
    if certified is not None:
        paths.append(beside(out))
        write_bytes(beside(out), read_bytes(certified.path))
    write_bytes(paths[0], pretty_json(document))
    return paths
