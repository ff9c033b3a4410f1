"""The body of `reprogrok init`: the templates of the package -> a folder that is a project.

    templates/project/** --written aside--> DIR/.reprogrok-init-XXXX/ --each moved into place--> DIR   then `dvc init`

Nothing is overwritten: a folder that has one of the files is refused before anything is written. If a step fails,
`dvc init` included, everything that was made is removed again.
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

from reprogrok.console import remark, write
from reprogrok.errors import ExitCode, InputError
from reprogrok.files import write_bytes, writing

# Git and setuptools would act on files of these names inside the package.
_DOTTED = {"gitignore": ".gitignore", "dvcignore": ".dvcignore"}


def run(directory: Path, *, dvc: bool) -> ExitCode:
    """Write the files of a project into `directory`, run `dvc init` there if `dvc`, and print the next steps.

    Raises:
        InputError: one of the files is there already, or the folder or DVC refuses.
    """
    files = project_files()
    with writing(directory):
        if taken := [name for name in files if os.path.lexists(directory / name)]:
            expected = "a folder without them (`reprogrok init NEW-FOLDER` makes one)"
            raise InputError(f"already has {', '.join(taken)}", path=directory, expected=expected)
        with _undone_on_failure(directory) as made:
            _write(directory, files, made)
            done = _set_up_dvc(directory, made) if dvc else ""
    place = "." if directory.resolve() == Path.cwd() else str(directory)
    write(f"wrote {len(files)} files to {place}{done}; README.md says what each is for\n\nnext:\n")
    if place != ".":
        write(f"  cd {shlex.quote(f'./{place}' if place.startswith('-') else place)}\n")
    write("  dvc repro          # data, training of six seeds, gate, analysis: about a minute on two cores\n")
    write("  reprogrok audit    # judge the claim by these runs\n")
    if missing := [program for program in ("dvc", "reprogrok") if shutil.which(program) is None]:
        remark(f"note: {' and '.join(missing)} must be on PATH for that; activate the environment first")
    return ExitCode.PASS


def project_files() -> dict[str, bytes]:
    """Return path inside the project -> content, as the package has it."""
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
def _undone_on_failure(directory: Path) -> Iterator[list[Path]]:
    """Yield a list for the paths that are made; if the block fails, remove them: files, and folders left empty."""
    made = [path for path in (directory, *directory.parents) if not path.exists()][::-1]
    try:
        yield made
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # never made, or a folder that holds something else
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
    """Run `dvc init`, unless the folder lies in a DVC repository already; return what was done, in words.

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
    done = subprocess.run(  # noqa: S603 - the DVC installed with this package, fixed arguments
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("ERROR: failed to initiate DVC - ")
        message = f"`{' '.join(['dvc', 'init', *how])}` failed, nothing was written: {reason}"
        raise InputError(message, path=directory, expected="--no-dvc, or what DVC asks for")
    return f" and ran `{' '.join(['dvc', 'init', *how])}`"
