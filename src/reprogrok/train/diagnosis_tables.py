"""A diagnosis of this machine -> the tables of `reprogrok doctor`."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from reprogrok.model.shapes import count_parameters
from reprogrok.text import counted, duration
from reprogrok.train.diagnosis import Compilation, Diagnosis


def print_diagnosis(diagnosis: Diagnosis, screen: Console) -> None:
    """Print versions, devices with their promises, compiler, sinks, disk and training rates; then the conclusion."""
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("versions", ", ".join(f"{name} {number or '(none)'}" for name, number in diagnosis.versions.items()))
    for device in diagnosis.devices:
        name = device.name
        if device.device == "cpu":
            name += f", {counted(diagnosis.cores, 'core')} usable"
        if device.memory_bytes is not None:
            name += f", {device.memory_bytes / 2**30:.0f} GiB, compute capability {device.capability}"
        facts.add_row(device.device, f"{name}\n{device.promise}")
    kinds = {device.device.partition(":")[0] for device in diagnosis.devices}
    if missing := [kind for kind in ("cuda", "mps") if kind not in kinds]:
        facts.add_row("no device", f"{' or '.join(missing)}: none that this torch can use")
    facts.add_row("C++ compiler", diagnosis.compiler or "none: training runs eagerly, several times slower")
    facts.add_row("torch.compile", _compilation(diagnosis.compilation))
    for name, number in diagnosis.extras.items():
        facts.add_row(f"--sink {name}", f"{name} {number}" if number else f"needs pip install {name}")
    facts.add_row("work", f"in {diagnosis.folder}, with {diagnosis.free_bytes / 1e9:,.1f} GB free on its disk")
    screen.print(facts)
    if diagnosis.paces:
        screen.print()
        screen.print(_expectation(diagnosis))
    for fault in diagnosis.faults:
        screen.print(f"FAULT: {fault}", soft_wrap=True)
    screen.print("this machine cannot train" if diagnosis.faults else "this machine can train on its CPU")


def _compilation(tried: Compilation | None) -> str:
    if tried is None:
        return "not tried (--compile tries it)"
    took = f"({tried.seconds:.0f} s with an empty cache)"
    return f"works {took}" if tried.problem is None else f"does not work {took}: {tried.problem}"


def _expectation(diagnosis: Diagnosis) -> Table:
    cores = counted(diagnosis.cores, "core")
    title = "expected on the CPU (seconds of training on one core, evaluations not counted)"
    table = Table(box=SIMPLE, title=title, title_justify="left", title_style="")
    for name in ("experiment", "parameters", "steps/s", "steps", "per seed", f"seeds/hour, {cores}"):
        table.add_column(name, justify="left" if name == "experiment" else "right")
    for pace in diagnosis.paces:
        table.add_row(
            pace.experiment.name,
            f"{count_parameters(pace.experiment.model):,}",
            f"{pace.steps_per_second:,.0f}",
            f"{pace.experiment.steps:,}",
            duration(pace.seconds_per_seed),
            f"{diagnosis.seeds_per_hour(pace):,.1f}",
        )
    return table
