"""`reprogrok init [DIR]`: a folder in which an installed reprogrok trains, judges and audits, as the templates have it.

    templates/project/** --written aside--> DIR/.reprogrok-init-XXXX/ --each moved into place--> DIR   then `dvc init`

Nothing is overwritten: a folder that has one of the files is refused before anything is written. What fails in the
middle, `dvc init` included, is taken back.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from reprogrok.errors import InputError
from reprogrok.files import write_bytes, writing

# Git and setuptools would act on files of these names inside the package.
_DOTTED = {"gitignore": ".gitignore", "dvcignore": ".dvcignore"}


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder, new or without any of these files.")
    ] = Path(),
    no_dvc: Annotated[bool, typer.Option("--no-dvc", help="Write the files alone, without `dvc init`.")] = False,
) -> None:
    """Make a project: an experiment of a minute, its gate, a claim, a pipeline and a README.

    Then `dvc repro` trains and judges, and `reprogrok audit` says what became of the claim. Nothing is overwritten.
    """
    files = project_files()
    with writing(directory):
        if taken := [name for name in files if os.path.lexists(directory / name)]:
            expected = "a folder without them (`reprogrok init NEW-FOLDER` makes one)"
            raise InputError(f"already has {', '.join(taken)}", path=directory, expected=expected)
        with _taken_back(directory) as made:
            _write(directory, files, made)
            said = "" if no_dvc else _set_up_dvc(directory, made)
    place = "." if directory.resolve() == Path.cwd() else str(directory)
    typer.echo(f"wrote {len(files)} files to {place}{said}; README.md says what each is for\n\nnext:")
    if place != ".":
        typer.echo(f"  cd {shlex.quote(f'./{place}' if place.startswith('-') else place)}")
    typer.echo("  dvc repro          # data, training of six seeds, gate, analysis: about a minute on two cores")
    typer.echo("  reprogrok audit    # judge the claim by these runs")
    if missing := [program for program in ("dvc", "reprogrok") if shutil.which(program) is None]:
        typer.echo(f"note: {' and '.join(missing)} must be on PATH for that; activate the environment first", err=True)


def project_files() -> dict[str, bytes]:
    """Path inside the project -> content, as the package has it."""
    root = resources.files("reprogrok").joinpath("templates", "project")
    return {
        "/".join((*parts[:-1], _DOTTED.get(parts[-1], parts[-1]))): file.read_bytes()
        for parts, file in sorted(_walk(root, ()), key=lambda found: found[0])
    }


def _walk(folder: Traversable, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, (*above, entry.name))
        else:
            yield (*above, entry.name), entry


@contextmanager
def _taken_back(directory: Path) -> Iterator[list[Path]]:
    """Collect what was made, and remove it all if the block fails: files, and folders that are empty again."""
    made = [path for path in (directory, *directory.parents) if not path.exists()][::-1]
    try:
        yield made
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # of what was never made, and of folders that hold something else
                if path.name == ".dvc":
                    shutil.rmtree(path)
                elif path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()
        raise


def _write(directory: Path, files: dict[str, bytes], made: list[Path]) -> None:
    """Write everything aside, then move each file into its place."""
    directory.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".reprogrok-init-", dir=directory))
    try:
        for name, content in files.items():
            write_bytes(aside / name, content)
        for name in files:
            place = directory / name
            made += [path for path in place.parents if not path.exists()][::-1]
            place.parent.mkdir(parents=True, exist_ok=True)
            (aside / name).rename(place)
            made.append(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _set_up_dvc(directory: Path, made: list[Path]) -> str:
    """Run `dvc init`, unless the folder lies in a DVC repository already; says what was done.

    Raises:
        InputError: DVC is not installed, or refused.
    """
    above = (directory.resolve(), *directory.resolve().parents)
    if root := next((path for path in above if (path / ".dvc").is_dir()), None):
        return f", in the DVC repository {root}"
    git = next((path for path in above if (path / ".git").exists()), None)
    how = ["--no-scm"] if git is None else [] if git == above[0] else ["--subdir"]
    made.append(directory / ".dvc")
    command = [sys.executable, "-m", "dvc", "init", *how]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(  # noqa: S603 - the DVC that is installed beside us, words of our own
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("ERROR: failed to initiate DVC - ")
        message = f"`{' '.join(['dvc', 'init', *how])}` failed, nothing was written: {reason}"
        raise InputError(message, path=directory, expected="--no-dvc, or what DVC asks for")
    return f" and ran `{' '.join(['dvc', 'init', *how])}`"
