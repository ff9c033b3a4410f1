"""Two runs -> the differences between their settings, and whether only the split differs.

    spec.json (ours) or config.json (another project's) --flatten--> dotted paths --compare--> Identity

Attributing a difference in outcome to the split requires that nothing else differs. Each setting has a kind: split,
training, length, observation or name. Seeds, device, engine and fingerprint are no settings and are given apart.

Runs of two projects name their settings differently. Known equivalents are compared under our name; a setting that only
one project states is listed as one-sided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from reprogrok.errors import InputError
from reprogrok.formats.foreign_runs import COLUMNS, CONFIG
from reprogrok.record import SPEC, SUMMARY, Record
from reprogrok.schema import load

NOT_STATED = "not stated"
OURS = "reprogrok"

# Names in the layout of columns -> our names of the same settings.
_OUR_NAMES = {
    "data.modulus_p": "task.modulus",
    "data.train_split": "task.split.fraction",
    "model.n_layers": "model.n_layer",
    "model.n_heads": "model.n_head",
    "training.learning_rate": "optimiser.lr",
    "training.weight_decay": "optimiser.weight_decay",
    "training.batch_size": "batch.size",
    "training.num_steps": "steps",
    "train.train_steps": "steps",
    "training.log_interval": "evaluate_every.metrics",
    "training.checkpoint_interval": "checkpoint_every",
    "analysis.compute_rank_interval": "analyse_every",
    "model.dropout": "dropout",
}
# Ours may be written short: a number where there could be a table.
_LONG_NAMES = {"batch": "batch.size", "evaluate_every": "evaluate_every.metrics"}


class SettingKind(StrEnum):
    """The aspect of a run that a setting decides."""

    SPLIT = "split"
    TRAINING = "training"
    LENGTH = "length"
    OBSERVATION = "observation"
    NAME = "name"


_SETTINGS = {
    SettingKind.SPLIT: ("task.split", "task.hold_out", "hold_out", "data.train_split", "split_rule", "split_type"),
    SettingKind.LENGTH: ("steps", "stopped_at", "training.num_steps", "train.train_steps"),
    SettingKind.OBSERVATION: (
        *("evaluate_every", "early", "analyse_every", "checkpoint_every", "metrics", "gates", "checkpoints"),
        "analysis",
        *("training.log_interval", "training.checkpoint_interval", "training.eval_num_batches"),
    ),
    SettingKind.NAME: ("name", "version"),
}
_SEEDS = ("seeds", "data.seed", "train.seed")


@dataclass(frozen=True)
class SettingDifference:
    """One setting by its dotted path, its value in either run (`NOT_STATED` where there is none), and its kind."""

    path: str
    first: object
    second: object
    kind: SettingKind


@dataclass(frozen=True)
class Identity:
    """The settings that two runs share and those that differ.

    Attributes:
        differences: settings that differ, in the order of `SettingKind`.
        same: paths of the settings that are equal.
        one_sided: paths that only one of two projects states; empty between runs of one layout.
        apart: seeds, device, engine, ... -> their values in either run.
        notes: settings that were left out, with the reason, one sentence each.
        verified: whether both runs state any settings.
    """

    differences: tuple[SettingDifference, ...]
    same: tuple[str, ...]
    one_sided: tuple[str, ...]
    apart: Mapping[str, tuple[object, object]]
    notes: tuple[str, ...]
    verified: bool = True

    def of(self, *kinds: SettingKind) -> tuple[SettingDifference, ...]:
        """Return the differences of these kinds."""
        return tuple(difference for difference in self.differences if difference.kind in kinds)

    @property
    def only_split_differs(self) -> bool:
        """Whether the split differs and no other setting of the training does."""
        return self.verified and bool(self.of(SettingKind.SPLIT)) and not self.of(SettingKind.TRAINING)

    @property
    def sentence(self) -> str:
        """The identity in one sentence."""
        if not self.verified:
            return "cannot be verified: a run says nothing of its settings"
        scope = "of what both state, " if self.one_sided else ""
        return f"{scope}{self._what_differs()}{self._also()}"

    def _what_differs(self) -> str:
        training, split = self.of(SettingKind.TRAINING), self.of(SettingKind.SPLIT)
        if not training:
            return "only the split differs" if split else "nothing differs that decides the training"
        names = ", ".join(difference.path for difference in training[:4])
        more = f" and {len(training) - 4} more" if len(training) > 4 else ""
        settings = "1 setting differs" if len(training) == 1 else f"{len(training)} settings differ"
        scope = " beside the split" if split else ", the split does not"
        return f"{settings}{scope}: {names}{more}"

    def _also(self) -> str:
        words = [
            f"how long they ran ({_steps(difference.first)} against {_steps(difference.second)} steps)"
            for difference in self.of(SettingKind.LENGTH)
        ]
        first, second = self.apart["seeds"]
        words += [] if first == second else ["the seeds"]
        return f"; apart from that, {' and '.join(words)}" if words else ""


def _steps(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def run_labels(records: Sequence[Record]) -> list[str]:
    """Return a label for each run: its experiment, or its folder where two share that name.

    Raises:
        InputError: one folder is given twice.
    """
    folders = [record.path.resolve() for record in records]
    if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
        raise InputError("the same run twice", path=records[folders.index(twice)].path)
    names = [record.experiment for record in records]
    return [record.path.as_posix() if names.count(record.experiment) > 1 else record.experiment for record in records]


def identify(first: Record, second: Record) -> Identity:
    """Compare the settings of two runs.

    Raises:
        InputError: a configuration cannot be read.
    """
    notes: list[str] = []
    asked = [_settings(record, notes) for record in (first, second)]
    mixed = first.layout != second.layout
    if mixed:
        asked = [_in_our_names(settings) for settings in asked]
    one, other = asked = [_without_empty(*pair) for pair in (asked, asked[::-1])]
    paths = [path for path in dict.fromkeys((*one, *other)) if path not in _SEEDS]
    shared = [path for path in paths if path in one and path in other]
    # Within one layout, a setting that only one run states is a difference: both were written by the same program.
    kinds = {path: _kind(path, asked) for path in paths}
    found = [
        SettingDifference(path, one.get(path, NOT_STATED), other.get(path, NOT_STATED), kinds[path])
        for path in (shared if mixed else paths)
        if path not in one or path not in other or one[path] != other[path]
    ]
    return Identity(
        differences=tuple(sorted(found, key=lambda difference: list(SettingKind).index(difference.kind))),
        same=tuple(path for path in shared if one[path] == other[path]),
        one_sided=tuple(path for path in paths if path not in shared) if mixed else (),
        apart=_apart(first, second),
        notes=tuple(notes),
        verified=all(asked),
    )


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the dotted path of each value in nested mappings; a list is one value.

    Worked value: {"optimiser": {"lr": 0.02, "betas": [0.9, 0.999]}} gives optimiser.lr and optimiser.betas.
    """
    flat: dict[str, object] = {}
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, Mapping) and item:
            flat |= flatten(item, f"{path}.")
        else:
            flat[path] = item
    return flat


def _settings(record: Record, notes: list[str]) -> dict[str, object]:
    if record.layout == OURS:
        document = load(record.path / SPEC, "run").data
        stopped = {"stopped_at": document["stopped_at"]} if "stopped_at" in document else {}
        flat = flatten(document["spec"]) | stopped
        return {_LONG_NAMES.get(path, path): value for path, value in flat.items()}
    flat = flatten(_configuration(record))
    if not flat:
        notes.append(f"{record.experiment} came without its configuration: its settings are not known")
    if "split_rule" in flat and "data.train_split" in flat:
        left = flat.pop("data.train_split")
        notes.append(f"data.train_split {left} of {record.experiment} is a left-over: its split_rule decides the split")
    return flat


def _configuration(record: Record) -> dict[str, object]:
    """Return the settings that a foreign run states: its configuration, else the model's shape in a summary."""
    if (record.path / CONFIG).is_file():
        document = load(record.path / CONFIG, "foreign_config" if record.layout == COLUMNS else None).data
        return document if isinstance(document, dict) else {}
    if (record.path / SUMMARY).is_file():
        summary = load(record.path / SUMMARY).data
        return {"model": summary["model_config"]} if "model_config" in summary else {}
    return {}


def _without_empty(settings: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """Drop an absent table (`early: null`) where the other run states its fields."""
    return {
        path: value
        for path, value in settings.items()
        if value is not None or not any(name.startswith(f"{path}.") for name in other)
    }


def _in_our_names(settings: Mapping[str, object]) -> dict[str, object]:
    return {_OUR_NAMES.get(path, path): value for path, value in settings.items()}


def _kind(path: str, asked: Sequence[Mapping[str, object]]) -> SettingKind:
    for kind, names in _SETTINGS.items():
        if any(path == name or path.startswith(f"{name}.") for name in names):
            # A falling schedule is stretched over the steps: another length means other learning rates.
            stretched = any(settings.get("schedule.floor", 1) != 1 for settings in asked)
            return SettingKind.TRAINING if path == "steps" and stretched else kind
    return SettingKind.TRAINING


def _apart(first: Record, second: Record) -> dict[str, tuple[object, object]]:
    seeds = tuple(sorted(first.replicas)), tuple(sorted(second.replicas))
    one, other = _engine(first), _engine(second)
    apart: dict[str, tuple[object, object]] = {"seeds": seeds} | {name: (one[name], other[name]) for name in one}
    if first.fingerprint and second.fingerprint:
        for name in sorted({*first.fingerprint, *second.fingerprint} - {"device", "earlier"}):
            values = first.fingerprint.get(name, NOT_STATED), second.fingerprint.get(name, NOT_STATED)
            if values[0] != values[1]:
                apart[f"fingerprint.{name}"] = values
    return apart


def _engine(record: Record) -> dict[str, str]:
    if record.layout != OURS:
        return {"device": NOT_STATED, "engine": f"another project's ({record.layout})"}
    document = load(record.path / SPEC, "run").data
    return {"device": document["device"], "engine": f"{OURS} {document['engine_version']}"}
