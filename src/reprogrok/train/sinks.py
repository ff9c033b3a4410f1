"""Reported evaluations -> trackers: W&B, DVCLive. One series per seed.

    progress of a job, and the earlier lines of its metrics.jsonl --> points --> TrackerSeries of each seed

The record stays the truth: a sink runs in the process that reports, sees numbers that are already on the disk, and
returns nothing. One that fails is dropped with a warning, and the run continues. At a job's first report the points of
earlier sessions are read from the work and sent again, so that a resumed run has a whole series:

    W&B      a run's id is a digest of its config and seed, so the same run is resumed; points that the server has are
             left out. Offline, each session writes a folder that holds the series from its beginning.
    DVCLive  its files are written again from the first point.

The packages are optional (the extras `reprogrok[wandb]` and `reprogrok[dvclive]`) and imported when they are used.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from reprogrok import record
from reprogrok.errors import InputError
from reprogrok.files import digest
from reprogrok.spec.experiment import NO_BITS
from reprogrok.train.run import JobProgress
from reprogrok.train.work import TrainingPlan, fingerprint, folder_of

Metrics = Mapping[str, float]


class TrackerSeries(Protocol):
    """The series of one seed in a tracker."""

    def add(self, step: int, metrics: Metrics) -> None:
        """Send the metrics after the update of `step`; steps increase."""
        ...

    def close(self, *, complete: bool) -> None:
        """End this session; `complete` if the seed was trained to its end."""
        ...


def _imported(package: str) -> Any:
    """Import an optional package, which has no types that we check."""
    return import_module(package)


class WandbSeries:
    """A run of Weights & Biases; the environment (WANDB_*) decides its place and whether it is online."""

    def __init__(self, plan: TrainingPlan, seed: int) -> None:
        wandb = _imported("wandb")
        config = _config(plan, seed)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "reprogrok"),
            group=plan.experiment.name,
            name=f"{plan.experiment.name} seed {seed}",
            id=digest(config)[:16],
            config=config,
            resume="allow",
            reinit="create_new",  # the runs of many seeds are open at once
            settings=wandb.Settings(
                silent=True,
                console="off",  # the progress display uses the screen
                disable_git=True,
                save_code=False,
                x_disable_meta=True,  # no host, user or folder, as in the record
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )
        self._next = self._run.starting_step

    def add(self, step: int, metrics: Metrics) -> None:
        """Log one point, unless the server has it."""
        if step >= self._next:
            self._run.log(dict(metrics), step=step)

    def close(self, *, complete: bool) -> None:
        """Finish the run; one that will be resumed is left as failed, which W&B resumes."""
        self._run.finish(exit_code=0 if complete else 1)


class DvcliveSeries:
    """A folder of DVCLive, `dvclive/RUN/seed-N`: only its files, no DVC experiment, no dvc.yaml, nothing in git."""

    def __init__(self, plan: TrainingPlan, seed: int) -> None:
        dvclive = _imported("dvclive")
        folder = Path("dvclive") / plan.out.resolve().name / f"seed-{seed}"
        # `_init_dvc` makes a DVC repository where there is none, and runs `git add` inside `dvc exp run`; no option
        # prevents that.
        apart = type("Live", (dvclive.Live,), {"_init_dvc": lambda _live: None})
        self._live = apart(str(folder), save_dvc_exp=False, dvcyaml=None)
        self._live.log_params(_config(plan, seed))

    def add(self, step: int, metrics: Metrics) -> None:
        """Append one point to the table of every metric."""
        self._live.step = step
        for name, value in metrics.items():
            self._live.log_metric(name, value)
        self._live.next_step()

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 - DVCLive makes no difference
        """Write the summary."""
        self._live.end()


SINKS: Mapping[str, Callable[[TrainingPlan, int], TrackerSeries]] = {"wandb": WandbSeries, "dvclive": DvcliveSeries}


def installed(package: str) -> str | None:
    """Return a package's version, or None; from its metadata, because a folder `wandb` of logs can be imported, too."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_sinks(names: Sequence[str]) -> None:
    """Check that the sinks can work, before any work is done.

    Raises:
        InputError: a package is not installed, or W&B would ask for an account.
    """
    for name in names:
        if installed(name) is None:
            expected = f"pip install {name} (the extra reprogrok[{name}])"
            raise InputError(f"the package {name} is not installed", field=f"--sink {name}", expected=expected)
    if "wandb" in names:
        wandb = _imported("wandb")
        settings = wandb.setup(wandb.Settings(silent=True)).settings
        if settings.mode == "online" and not wandb.login(prompt=False, verify=False):
            expected = "`wandb login` or WANDB_API_KEY, or WANDB_MODE=offline"
            raise InputError("W&B knows no account here", field="--sink wandb", expected=expected)


@contextmanager
def streaming(
    plan: TrainingPlan,
    names: Sequence[str],
    warn: Callable[[str], None],
    sinks: Mapping[str, Callable[[TrainingPlan, int], TrackerSeries]] = SINKS,
) -> Iterator[Callable[[JobProgress], None]]:
    """Yield a callback that sends evaluations to the sinks, which are closed at the end.

    Args:
        plan: the plan of the run.
        names: keys of `sinks`; duplicates are ignored.
        warn: called once, with one sentence, when a sink fails and is dropped.
        sinks: name -> a function that opens the series of one seed.
    """
    outlets = [_Outlet(plan, name, sinks[name], warn) for name in dict.fromkeys(names)]

    def report(progress: JobProgress) -> None:
        for outlet in outlets:
            outlet.take(progress)

    try:
        yield report
    finally:
        for outlet in outlets:
            outlet.close()


class _Outlet:
    """A sink with its open series, until it fails."""

    def __init__(
        self,
        plan: TrainingPlan,
        name: str,
        opener: Callable[[TrainingPlan, int], TrackerSeries],
        warn: Callable[[str], None],
    ) -> None:
        self._plan, self._name, self._opener, self._warn = plan, name, opener, warn
        self._series: dict[int, TrackerSeries] = {}
        self._working = True

    def take(self, progress: JobProgress) -> None:
        """Send a report that has an evaluation, or that of a job trained before."""
        complete = progress.step == self._plan.experiment.steps
        if progress.evaluation is not None or complete:
            self._guarded(partial(self._send, progress, complete=complete))

    def close(self) -> None:
        """Close the series that are still open: the run was stopped, or it failed."""
        for series in list(self._series.values()):
            self._guarded(partial(series.close, complete=False))

    def _send(self, progress: JobProgress, *, complete: bool) -> None:
        earlier = self._earlier(progress) if self._series.keys().isdisjoint(progress.seeds) else {}
        for replica, seed in enumerate(progress.seeds):
            if seed not in self._series:
                self._series[seed] = self._opener(self._plan, seed)
                for step, metrics in earlier.get(seed, ()):
                    self._series[seed].add(step, metrics)
            if progress.evaluation is not None and not progress.evaluation.diverged[replica]:
                metrics = {name: values[replica] for name, values in progress.evaluation.metrics.items()}
                self._series[seed].add(progress.evaluation.step, metrics)
            if complete:
                self._series.pop(seed).close(complete=True)

    def _earlier(self, progress: JobProgress) -> dict[int, list[tuple[int, Metrics]]]:
        """Return, for each seed, the points in its job's work from before this report."""
        path = folder_of(self._plan, progress.seeds) / record.METRICS
        whole = path.read_bytes().rpartition(b"\n")[0]  # the job is running, and may be writing a line
        points: dict[int, list[tuple[int, Metrics]]] = {}
        for line in whole.splitlines():
            row = json.loads(line)
            seed, step = row.pop("seed"), row.pop("step")
            if progress.evaluation is None or step < progress.evaluation.step:
                values = {name: math.nan if value is None else value for name, value in row.items()}
                points.setdefault(seed, []).append((step, values))
        return points

    def _guarded(self, action: Callable[[], None]) -> None:
        if not self._working:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - a tracker may raise anything, and the run continues
            self._working = False
            first = (str(error) or type(error).__name__).splitlines()[0]
            self._warn(f"the sink {self._name} failed and is dropped; the run and its record continue ({first})")
            for series in self._series.values():
                with suppress(Exception):
                    series.close(complete=False)


def _config(plan: TrainingPlan, seed: int) -> dict[str, object]:
    """Return the facts that decide the numbers of a series, as plain JSON; their digest names the series."""
    experiment = plan.experiment
    config = {
        "experiment": experiment.name,
        "seed": seed,
        "spec": {key: value for key, value in experiment.as_dict().items() if key not in NO_BITS},
        "spec_digest": experiment.digest(),
        "engine_version": plan.engine_version,
        "fingerprint": fingerprint(plan),
    }
    plain: dict[str, object] = json.loads(json.dumps(config))
    return plain
