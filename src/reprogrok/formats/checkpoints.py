"""Weights on disk <-> a checked `Checkpoint` in memory: `.pt`, `.safetensors` and llm.c's `.bin`, ours and others'.

    bytes --sizes, names called--> archive --weights_only--> dict --names, shapes, finite values--> Checkpoint

Loading never executes anything: archives are stored without compression, so that a small file cannot become a large
one, their checksums are compared, the pickle inside may call only what rebuilds tensors, it is loaded by `weights_only`
without a fallback, and every tensor is held against what `model_config` says before a number of it is used.
What is refused is refused by name. Our own files carry their task, experiment and seed, and a digest of their weights;
one in a run's folder is compared with the hash in the run's summary, and a saved state with the one in its name, before
a byte of it is parsed.

All hold: model_config, model_state, and optionally train_config, step, val_exact, params (a safetensors file keeps all
but the tensors as JSON in its metadata; a `.bin` has no more than the first two: `llmc_models`).
"""

from __future__ import annotations

import hashlib
import io
import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from reprogrok import record
from reprogrok.errors import CheckpointError
from reprogrok.files import canonical_json, sha256_bytes
from reprogrok.formats.limits import MAX_FILE_BYTES, MAX_PARAMETERS, MAX_SHAPE, MAX_WIDTH
from reprogrok.formats.llmc_models import read_content
from reprogrok.formats.origins import Origin, kind_of, read_origin, shown
from reprogrok.model.shapes import count_parameters, parameter_shapes
from reprogrok.schema import read_bytes
from reprogrok.spec import MAX_SEED, ModelSpec

MAX_STATE_BYTES = 64 * 2**30  # of a training state, which is ours: thousands of replicas side by side
PICKLE_SHARE = 64  # of a file, its pickle may be this part: names and shapes, every byte of which can cost a hundred
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_COMPRESSIONS = {zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}

# All that a pickle may call. torch's own list is longer: with `bytearray` or an untyped storage on it, a file of a
# kilobyte asks for gigabytes.
_STORAGES = (
    *("Double", "Float", "Half", "BFloat16", "ComplexDouble", "ComplexFloat"),
    *("Long", "Int", "Short", "Char", "Byte", "Bool"),
)
_CALLABLE = {
    "collections OrderedDict", "torch Size", "torch device", "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2", *(f"torch {name}Storage" for name in _STORAGES),
    *(str(dtype).replace(".", " ") for dtype in DTYPES),
}  # fmt: skip

# Fields that older files lack, with what their absence meant.
_LEGACY = {
    "pos_rank": 0, "qkv_rank": 0, "attn_out_rank": 0, "ffn_rank": 0, "use_rmsnorm": False, "tie_qkv": "none",
    "bias": False, "gelu": "erf",
}  # fmt: skip
_UNSUPPORTED_TYING = (
    "all", "qk", "kv", "shareA", "shareA_tieQK", "shareB", "shareB_tieQK", "shareB_tieKV",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """One model from a file.

    Attributes:
        path: the file.
        sha256: of the file.
        spec: the decoder's shape.
        weights: float32 tensors by published name, without the replica axis, on the CPU.
        stored_dtype: how the file stores them.
        step: of training, if the file says so.
        claimed_parameters: what the file says it has, if it does.
        claimed_score: validation exact match that the file claims, if it does.
        origin: what our own files say of themselves; None for those of others.
    """

    path: Path
    sha256: str
    spec: ModelSpec
    weights: Mapping[str, torch.Tensor]
    stored_dtype: str
    step: int | None
    claimed_parameters: int | None
    claimed_score: float | None
    origin: Origin | None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint; the format follows from the file's suffix.

    Raises:
        InputError: no such file.
        RecordError: it lies in a run's folder and is not what the run wrote there; not a byte of it was parsed.
        CheckpointError: refused, and why.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    record.check_listed(path, data)
    readers = {".pt": _read_pt, ".pth": _read_pt, ".safetensors": _read_safetensors, ".bin": read_content}
    if path.suffix not in readers:
        raise CheckpointError(
            "unknown format", path=path, expected=f"a suffix of {', '.join(readers)}", found=path.suffix
        )
    content = readers[path.suffix](path, data)
    for key in ("model_config", "model_state"):
        if not isinstance(content.get(key), dict):
            raise CheckpointError(
                f"no {key} in this checkpoint", path=path, expected="a dict", found=kind_of(content.get(key))
            )
    spec = _spec(path, content["model_config"])
    weights, dtype = _weights(path, spec, content["model_state"])
    return Checkpoint(
        path=path,
        sha256=sha256_bytes(data),
        spec=spec,
        weights=weights,
        stored_dtype=dtype,
        step=_optional(path, content, "step", int),
        claimed_parameters=_optional(path, content, "params", int),
        claimed_score=_optional(path, content, "val_exact", float),
        origin=_origin(path, content, spec, weights),
    )


def checkpoint_bytes(
    spec: ModelSpec, weights: Mapping[str, torch.Tensor], origin: Origin, step: int, score: float | None
) -> bytes:
    """The bytes of a `.pt` checkpoint in the published layout: equal bytes for equal content.

    Published loaders want the tied head as a tensor of its own, so it is stored as one. A model that was never
    evaluated has no score.
    """
    state = {name: weights[name].detach().cpu().contiguous().clone() for name in parameter_shapes(spec)}
    content = {
        "model_config": spec.as_dict() | {"dropout": 0.0},
        "model_state": state | {"lm_head.weight": state["token_emb.weight"]},
        "step": step,
        **({} if score is None else {"val_exact": score}),
        "params": count_parameters(spec),
        "reprogrok": origin.as_written(content_digest(spec, state)),
    }
    buffer = io.BytesIO()  # saving to a path would write the path's name into the file
    torch.save(content, buffer)
    return buffer.getvalue()


def content_digest(spec: ModelSpec, weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the shape of a model and of all its float32 weights, little-endian, in the order of their names."""
    hasher = hashlib.sha256(canonical_json(spec.as_dict()))
    for name in sorted(parameter_shapes(spec)):
        hasher.update(name.encode() + b"\0" + weights[name].numpy().astype("<f4").tobytes())
    return hasher.hexdigest()


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """The bytes of a training state: tensors, numbers and text in plain containers."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def load_state(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """A training state; with `sha256`, bytes of another hash are refused before any of them is parsed.

    Raises:
        InputError: no such file, or it cannot be read.
        CheckpointError: the file is not one of ours, or is damaged.
    """
    data = read_bytes(path, MAX_STATE_BYTES)
    if sha256 is not None and (found := sha256_bytes(data)) != sha256:
        raise CheckpointError(
            "damaged: its bytes are not those that were saved", path=path,
            expected=f"sha256 {sha256[:16]}…", found=f"{found[:16]}…",
        )  # fmt: skip
    return _read_pt(path, data, MAX_STATE_BYTES)


def _read_pt(path: Path, data: bytes, limit: int = MAX_FILE_BYTES) -> dict[str, Any]:
    plain = _repacked(path, data, limit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(plain), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises many types here; each of them means that this file is not taken.
        raise CheckpointError(f"refused by the weights_only loader: {_reason(error)}", path=path) from error
    if not isinstance(content, dict):
        raise CheckpointError(path=path, expected="a dict with model_config and model_state", found=kind_of(content))
    return content


def _repacked(path: Path, data: bytes, limit: int) -> bytes:
    """The same archive, checked entry by entry: sizes, checksums, and what its pickle would call.

    torch's own reader compares no checksums, and two readers may find different archives in one file: what was
    measured and checked here is what the loader gets.
    """
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as plain:
            _check_sizes(path, archive.infolist(), limit)
            for name, entry in {entry.filename: entry for entry in archive.infolist()}.items():
                content = archive.read(entry)
                if name.lower().endswith("data.pkl"):  # torch's reader takes any case for it
                    _check_calls(path, content, limit // PICKLE_SHARE)
                plain.writestr(name, content)
    except CheckpointError:
        raise
    except Exception as error:
        # zipfile and pickletools, too, raise many types for damaged data.
        raise CheckpointError(
            f"not a checkpoint, or damaged: {_reason(error)}", path=path,
            expected="a zip archive as torch.save writes it", found=_begins(data),
        ) from error  # fmt: skip
    return buffer.getvalue()


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo], limit: int) -> None:
    """What torch.save writes is stored as it is; only of compressed entries can a directory lie about the size."""
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            method = _COMPRESSIONS.get(entry.compress_type, f"method {entry.compress_type}")
            raise CheckpointError(
                f"compressed archive: {_named(entry.filename)}", path=path,
                expected="entries that are stored as torch.save stores them", found=method,
            )  # fmt: skip
    if (unpacked := sum(entry.file_size for entry in entries)) > limit:
        raise CheckpointError("archive too large", path=path, expected=f"at most {limit} bytes", found=f"{unpacked}")


def _check_calls(path: Path, pickled: bytes, limit: int) -> None:
    """Refuse a pickle that would call, or only name, what no checkpoint needs; reading its opcodes runs none."""
    if len(pickled) > limit:
        raise CheckpointError("pickle too large", path=path, expected=f"at most {limit} bytes", found=f"{len(pickled)}")
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in {"GLOBAL", "INST", "STACK_GLOBAL"} and argument not in _CALLABLE:
            name = _named((argument or opcode.name).replace(" ", "."))
            raise CheckpointError(f"calls what no checkpoint needs: {name}", path=path)


def _read_safetensors(path: Path, data: bytes) -> dict[str, Any]:
    try:
        state = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"not a safetensors file: {_reason(error)}", path=path, found=_begins(data)) from error
    content: dict[str, Any] = {}
    for key, text in header.get("__metadata__", {}).items():
        try:
            content[key] = json.loads(text)
        except (ValueError, RecursionError):
            content[key] = text
    return content | {"model_state": state}


def _spec(path: Path, config: dict[str, Any]) -> ModelSpec:
    known = [field.name for field in fields(ModelSpec)]
    if unknown := [key for key in config if key not in (*known, "dropout")]:
        raise CheckpointError(
            "unknown field", path=path, field=f"$.model_config.{_named(unknown[0])}",
            expected=f"one of {', '.join(known)}",
        )  # fmt: skip
    values: dict[str, Any] = {**_LEGACY, **{key: value for key, value in config.items() if key != "dropout"}}
    for field in fields(ModelSpec):
        at = f"$.model_config.{field.name}"
        if field.name not in values:
            raise CheckpointError("missing field", path=path, field=at)
        value = values[field.name]
        if type(value).__name__ != field.type:  # exactly: a bool is no int here
            raise CheckpointError(path=path, field=at, expected=f"a value of type {field.type}", found=shown(value))
        least, most = int(not field.name.endswith("_rank")), MAX_SHAPE.get(field.name, MAX_WIDTH)
        if field.type == "int" and not least <= value <= most:
            raise CheckpointError(path=path, field=at, expected=f"{least} to {most}", found=shown(value))
    if values["tie_qkv"] in _UNSUPPORTED_TYING:
        raise CheckpointError(
            f"tie_qkv mode {values['tie_qkv']} is not supported (no published checkpoint is known to use it)",
            path=path, field="$.model_config.tie_qkv",
        )  # fmt: skip
    spec = ModelSpec(**values)
    if (problem := spec.problem()) is not None:
        name, expected, found = problem
        raise CheckpointError(path=path, field=f"$.model_config.{name}", expected=expected, found=shown(found))
    if (parameters := count_parameters(spec)) > MAX_PARAMETERS:
        raise CheckpointError(
            "too large", path=path, field="$.model_config", expected=f"at most {MAX_PARAMETERS} parameters",
            found=f"{parameters}",
        )  # fmt: skip
    return spec


def _weights(path: Path, spec: ModelSpec, state: dict[str, Any]) -> tuple[dict[str, torch.Tensor], str]:
    expected = parameter_shapes(spec)
    tied = {"lm_head.weight": expected["token_emb.weight"]}
    for name in state:
        if name not in expected and name not in tied:
            raise CheckpointError(
                "unknown tensor", path=path, field=f"$.model_state.{_named(name)}",
                expected="those that model_config implies",
            )  # fmt: skip
    for name, shape in expected.items():
        if name not in state:
            raise CheckpointError("missing tensor", path=path, field=f"$.model_state.{name}", expected=f"shape {shape}")
    for name, tensor in state.items():
        _check_tensor(path, name, tensor, (expected | tied)[name])
    weights = {name: tensor.detach().float().contiguous() for name, tensor in state.items()}
    head = weights.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, weights["token_emb.weight"]):
        raise CheckpointError(
            "the head is not tied", path=path, field="$.model_state.lm_head.weight", expected="token_emb.weight"
        )
    dtypes = sorted({str(state[name].dtype).removeprefix("torch.") for name in expected})
    return {name: weights[name] for name in expected}, ", ".join(dtypes)


def _check_tensor(path: Path, name: str, tensor: Any, shape: tuple[int, ...]) -> None:
    at = f"$.model_state.{name}"
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(path=path, field=at, expected="a tensor", found=kind_of(tensor))
    if tensor.layout != torch.strided or tensor.is_nested or tensor.dtype not in DTYPES:
        found = f"{tensor.layout}, {tensor.dtype}{', nested' * tensor.is_nested}".replace("torch.", "")
        raise CheckpointError(path=path, field=at, expected="a dense tensor of 16 to 64 bit floats", found=found)
    if tuple(tensor.shape) != shape:
        raise CheckpointError(path=path, field=at, expected=f"shape {shape}", found=f"{tuple(tensor.shape)}")
    # In single precision, where it is used: a double may overflow there.
    if tensor.device.type != "cpu" or not bool(tensor.float().isfinite().all()):
        raise CheckpointError(path=path, field=at, expected="finite numbers", found="NaN, infinity or no data")


def _origin(path: Path, content: dict[str, Any], spec: ModelSpec, weights: Mapping[str, torch.Tensor]) -> Origin | None:
    block = content.get("reprogrok")
    if block is None:
        return None
    origin, written = read_origin(path, block)
    if written != (found := content_digest(spec, weights)):
        raise CheckpointError(
            "the contents do not match the file's own digest", path=path, field="$.reprogrok.content_digest",
            expected=written, found=found,
        )  # fmt: skip
    return origin


def _optional(path: Path, content: dict[str, Any], key: str, kind: type) -> Any:
    value = content.get(key)
    if value is None:
        return None
    number = not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= MAX_SEED
    if not number or (kind is int and int(value) != value):
        raise CheckpointError(
            path=path, field=f"$.{key}", expected=f"a value of type {kind.__name__}", found=shown(value)
        )
    return kind(value)


def _named(key: Any) -> str:
    """A key from a file for a message: as it is when it looks like a name."""
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,80}", key) else shown(key)


def _begins(data: bytes) -> str:
    return f"{len(data)} bytes that begin with {data[:12]!r}"


def _reason(error: Exception) -> str:
    """A library's message in one line; torch wraps its own into advice that would make loading unsafe."""
    lines = [line.strip() for line in str(error).split("\n\nCheck the documentation")[0].splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    line = lines[-1] if lines[0].startswith("Weights only load failed") else lines[0]
    return line.removeprefix("WeightsUnpickler error: ").split(" Please use")[0][:200]
