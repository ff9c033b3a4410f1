"""A path or the name of an experiment -> the run that it names, for the commands that read runs."""

from __future__ import annotations

import difflib
from pathlib import Path

from reprogrok.errors import RecordError
from reprogrok.params import read_params

_RUNS, _PARAMS = Path("runs"), Path("params.yaml")


def find_run(run: Path) -> Path:
    """Return the folder (or log) of the run that is named by its path or by its experiment.

    Raises:
        RecordError: there is none; the message names the nearest ones and the experiments that could be trained.
    """
    if run.exists():
        return run
    if (_RUNS / run).exists():
        return _RUNS / run
    trained = sorted(path.name for path in _RUNS.iterdir() if path.is_dir()) if _RUNS.is_dir() else []
    known = list(read_params(_PARAMS).experiments) if _PARAMS.is_file() else []
    if run.as_posix() in known:
        raise RecordError("experiment not trained yet", path=run, expected=f"`reprogrok train {run}` first")
    names = list(dict.fromkeys((*trained, *known)))
    near = difflib.get_close_matches(run.name, names, n=3, cutoff=0.5)
    found = f" (did you mean {' or '.join(near)}?)" if near else ""
    expected = f"a run's folder, or one of {', '.join(names)}" if names else "a run's folder"
    raise RecordError("experiment not found", path=run, expected=expected + found)
