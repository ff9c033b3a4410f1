"""Weights on disk <-> a checked `Checkpoint` in memory: `.pt`, `.safetensors` and llm.c's `.bin`, ours and others'.

    bytes --sizes, names called--> archive --weights_only--> dict --names, shapes, finite values--> Checkpoint

Loading never executes anything: archives must be uncompressed, so that a small file cannot become a large one; their
checksums are compared; the pickle may call only the functions that rebuild tensors and is loaded by `weights_only`
without a fallback; and every tensor is compared with `model_config` before its numbers are used. Every refusal names
its reason. Our own files carry their task, experiment and seed, and a digest of their weights. A file in a run's folder
is compared with the hash in the run's summary, and a saved state with the hash in its name, before it is parsed.

All formats hold model_config and model_state, and optionally train_config, step, val_exact and params. A safetensors
file keeps all but the tensors as JSON in its metadata; a `.bin` has the first two only (`llmc_models`).
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
from reprogrok.formats.limits import MAX_FILE_BYTES, MAX_PARAMETERS, field_range
from reprogrok.formats.llmc_models import read_content
from reprogrok.formats.origins import Origin, kind_of, read_origin, shown
from reprogrok.model.shapes import count_parameters, parameter_shapes
from reprogrok.schema import read_bytes
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.ranges import MAX_SEED

MAX_STATE_BYTES = 64 * 2**30  # limit of our own training states, with thousands of replicas side by side
PICKLE_PART = 64  # a pickle may be 1/64 of the limit: it holds names and shapes, and each byte can cost a hundred
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_COMPRESSIONS = {zipfile.ZIP_DEFLATED: "deflate", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}

# The callables that a pickle may name. torch's own list also has `bytearray` and untyped storages, with which a file of
# a kilobyte can request gigabytes.
_STORAGES = (
    *("Double", "Float", "Half", "BFloat16", "ComplexDouble", "ComplexFloat"),
    *("Long", "Int", "Short", "Char", "Byte", "Bool"),
)
_CALLABLE = {
    "collections OrderedDict", "torch Size", "torch device", "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2", *(f"torch {name}Storage" for name in _STORAGES),
    *(str(dtype).replace(".", " ") for dtype in DTYPES),
}  # fmt: skip

# Fields that older files lack, with the values they imply.
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
        path: path of the file.
        sha256: SHA-256 of the file.
        spec: shape of the decoder.
        weights: float32 tensors by published name, without the replica axis, on the CPU.
        stored_dtype: dtype of the tensors in the file.
        step: training step, if the file states it.
        claimed_parameters: parameter count that the file states, if any.
        claimed_score: validation exact match that the file states, if any.
        origin: origin block of our own files; None for other files.
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
    """Read and check a checkpoint; the suffix determines the format.

    Raises:
        InputError: the file cannot be read.
        RecordError: it is in a run's folder and is not the file that the run wrote; nothing was parsed.
        CheckpointError: the file was refused.
    """
    data = read_bytes(path, MAX_FILE_BYTES)
    record.check_listed(path, data)
    readers = {".pt": _read_pt, ".pth": _read_pt, ".safetensors": _read_safetensors, ".bin": read_content}
    if path.suffix not in readers:
        raise CheckpointError(
            "unknown format", path=path, expected=f"a suffix of {', '.join(readers)}", found=path.suffix
        )
    content = readers[path.suffix](path, data)
    spec = _spec(path, _dict(path, content, "model_config"))
    weights, dtype = _weights(path, spec, _dict(path, content, "model_state"))
    step, parameters = (_optional_number(path, content, name, whole=True) for name in ("step", "params"))
    return Checkpoint(
        path=path,
        sha256=sha256_bytes(data),
        spec=spec,
        weights=weights,
        stored_dtype=dtype,
        step=None if step is None else int(step),
        claimed_parameters=None if parameters is None else int(parameters),
        claimed_score=_optional_number(path, content, "val_exact", whole=False),
        origin=_origin(path, content, spec, weights),
    )


def checkpoint_bytes(
    spec: ModelSpec, weights: Mapping[str, torch.Tensor], origin: Origin, step: int, score: float | None
) -> bytes:
    """Return the bytes of a `.pt` checkpoint in the published layout: equal bytes for equal content.

    The tied head is stored as a tensor of its own, as published loaders require. A model that was never evaluated has
    no score.
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
    buffer = io.BytesIO()  # saving to a path would write its name into the file
    torch.save(content, buffer)
    return buffer.getvalue()


def content_digest(spec: ModelSpec, weights: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a model's shape and float32 weights, little-endian, in the order of their names."""
    hasher = hashlib.sha256(canonical_json(spec.as_dict()))
    for name in sorted(parameter_shapes(spec)):
        hasher.update(name.encode() + b"\0" + weights[name].numpy().astype("<f4").tobytes())
    return hasher.hexdigest()


def state_bytes(state: Mapping[str, object]) -> bytes:
    """Return the bytes of a training state: tensors, numbers and text in plain containers."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def load_state(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """Read a training state; with `sha256`, a file of another hash is refused before it is parsed.

    Raises:
        InputError: the file cannot be read.
        CheckpointError: the file is not one of ours, or is damaged.
    """
    data = read_bytes(path, MAX_STATE_BYTES)
    if sha256 is not None and (found := sha256_bytes(data)) != sha256:
        raise CheckpointError(
            "damaged: its bytes are not those that were saved", path=path,
            expected=f"sha256 {sha256[:16]}…", found=f"{found[:16]}…",
        )  # fmt: skip
    return _read_pt(path, data, MAX_STATE_BYTES)


def _read_pt(path: Path, data: bytes, limit: int = MAX_FILE_BYTES) -> dict[str, object]:
    plain = _repacked(path, data, limit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(plain), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises many types here, and wraps its reason into advice to load without `weights_only`.
        reason = _reason(error.__context__ or error)
        raise CheckpointError(f"refused by the weights_only loader: {reason}", path=path) from error
    if not isinstance(content, dict):
        raise CheckpointError(path=path, expected="a dict with model_config and model_state", found=kind_of(content))
    return content


def _repacked(path: Path, data: bytes, limit: int) -> bytes:
    """Check an archive entry by entry (sizes, checksums, calls of its pickle) and write it again for the loader.

    torch's reader compares no checksums, and two readers may find different archives in one file: the loader gets
    exactly the entries that were checked.
    """
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(buffer, "w") as plain:
            _check_sizes(path, archive.infolist(), limit)
            for name, entry in {entry.filename: entry for entry in archive.infolist()}.items():
                content = archive.read(entry)
                if name.lower().endswith("data.pkl"):  # torch's reader takes any case for it
                    _check_calls(path, content, limit // PICKLE_PART)
                plain.writestr(name, content)
    except CheckpointError:
        raise
    except Exception as error:
        # zipfile and pickletools raise many types for damaged data.
        raise CheckpointError(
            f"not a checkpoint, or damaged: {_reason(error)}", path=path,
            expected="a zip archive as torch.save writes it", found=_begins(data),
        ) from error  # fmt: skip
    return buffer.getvalue()


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo], limit: int) -> None:
    """Refuse compressed entries, whose size the directory may misstate (torch.save writes none), and large archives."""
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
    """Refuse a pickle that names a callable no checkpoint needs; its opcodes are read and not run."""
    if len(pickled) > limit:
        raise CheckpointError("pickle too large", path=path, expected=f"at most {limit} bytes", found=f"{len(pickled)}")
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in {"GLOBAL", "INST", "STACK_GLOBAL"} and argument not in _CALLABLE:
            name = _named((argument or opcode.name).replace(" ", "."))
            raise CheckpointError(f"calls what no checkpoint needs: {name}", path=path)


def _read_safetensors(path: Path, data: bytes) -> dict[str, object]:
    try:
        state = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"not a safetensors file: {_reason(error)}", path=path, found=_begins(data)) from error
    content: dict[str, object] = {}
    for key, text in header.get("__metadata__", {}).items():
        try:
            content[key] = json.loads(text)
        except (ValueError, RecursionError):
            content[key] = text
    return content | {"model_state": state}


def _dict(path: Path, content: Mapping[str, object], key: str) -> dict[str, object]:
    value = content.get(key)
    if not isinstance(value, dict):
        raise CheckpointError(f"no {key} in this checkpoint", path=path, expected="a dict", found=kind_of(value))
    return value


def _spec(path: Path, config: Mapping[str, object]) -> ModelSpec:
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
        if type(value).__name__ != field.type:  # exactly: a bool is not accepted as an int
            raise CheckpointError(path=path, field=at, expected=f"a value of type {field.type}", found=shown(value))
        least, most = field_range(field.name)
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


def _weights(path: Path, spec: ModelSpec, state: Mapping[str, object]) -> tuple[dict[str, torch.Tensor], str]:
    expected = parameter_shapes(spec)
    tied = {"lm_head.weight": expected["token_emb.weight"]}
    for name in state:
        if name not in expected and name not in tied:
            raise CheckpointError(
                "unknown tensor", path=path, field=f"$.model_state.{_named(name)}",
                expected="the tensors that model_config implies",
            )  # fmt: skip
    for name, shape in expected.items():
        if name not in state:
            raise CheckpointError("missing tensor", path=path, field=f"$.model_state.{name}", expected=f"shape {shape}")
    tensors = {name: _tensor(path, name, value, (expected | tied)[name]) for name, value in state.items()}
    weights = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
    head = weights.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, weights["token_emb.weight"]):
        raise CheckpointError(
            "the head is not tied", path=path, field="$.model_state.lm_head.weight", expected="token_emb.weight"
        )
    dtypes = sorted({str(tensors[name].dtype).removeprefix("torch.") for name in expected})
    return {name: weights[name] for name in expected}, ", ".join(dtypes)


def _tensor(path: Path, name: str, tensor: object, shape: tuple[int, ...]) -> torch.Tensor:
    at = f"$.model_state.{name}"
    if not isinstance(tensor, torch.Tensor):
        raise CheckpointError(path=path, field=at, expected="a tensor", found=kind_of(tensor))
    if tensor.layout != torch.strided or tensor.is_nested or tensor.dtype not in DTYPES:
        found = f"{tensor.layout}, {tensor.dtype}{', nested' * tensor.is_nested}".replace("torch.", "")
        raise CheckpointError(path=path, field=at, expected="a dense tensor of 16 to 64 bit floats", found=found)
    if tuple(tensor.shape) != shape:
        raise CheckpointError(path=path, field=at, expected=f"shape {shape}", found=f"{tuple(tensor.shape)}")
    # In single precision, in which it is used: a double may overflow there.
    if tensor.device.type != "cpu" or not bool(tensor.float().isfinite().all()):
        raise CheckpointError(path=path, field=at, expected="finite numbers", found="NaN, infinity or no data")
    return tensor


def _origin(
    path: Path, content: Mapping[str, object], spec: ModelSpec, weights: Mapping[str, torch.Tensor]
) -> Origin | None:
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


def _optional_number(path: Path, content: Mapping[str, object], key: str, *, whole: bool) -> float | None:
    value = content.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_SEED
    if not isinstance(value, int | float) or not number or (whole and int(value) != value):
        expected = f"a value of type {'int' if whole else 'float'}"
        raise CheckpointError(path=path, field=f"$.{key}", expected=expected, found=shown(value))
    return int(value) if whole else float(value)


def _named(key: object) -> str:
    """Return a key of a file for a message: unquoted if it looks like a name."""
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,80}", key) else shown(key)


def _begins(data: bytes) -> str:
    return f"{len(data)} bytes that begin with {data[:12]!r}"


def _reason(error: BaseException) -> str:
    """Return the first line of a library's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
