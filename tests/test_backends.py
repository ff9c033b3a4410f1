"""The backend of a run follows from its model, length and device, and from whether there is a compiler."""

import pytest

from reprogrok.cli.train import Promise
from reprogrok.schema import validator
from reprogrok.spec.model import ModelSpec
from reprogrok.train import backends

NARROW = ModelSpec(n_layer=1, d_model=7, n_head=1, d_ff=14, max_seq_len=33, vocab_size=14)
WIDE = ModelSpec(n_layer=2, d_model=128, n_head=4, d_ff=512, max_seq_len=8, vocab_size=128)


@pytest.mark.parametrize(
    ("model", "steps", "device", "backend"),
    [
        (NARROW, 54_000, "cpu", "compiled"),
        (NARROW, 200, "cpu", "eager"),
        (WIDE, 1_000, "cpu", "compiled"),
        (WIDE, 200, "cpu", "eager"),
        (NARROW, 54_000, "cuda", "compiled"),
        (WIDE, 400_000, "mps", "eager"),
    ],
)
def test_the_table(monkeypatch, model, steps, device, backend):
    monkeypatch.setattr(backends, "compiler", lambda: "g++ 12.2.0")
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    assert (
        backends.available_backend(model, steps, device) == backends.preferred_backend(model, steps, device) == backend
    )


def test_a_cpu_without_a_compiler_runs_eagerly(monkeypatch):
    monkeypatch.setattr(backends, "compiler", lambda: None)
    assert backends.available_backend(NARROW, 54_000, "cpu") == "eager"
    assert backends.preferred_backend(NARROW, 54_000, "cpu") == "compiled"


def test_cuda_without_triton_runs_eagerly(monkeypatch):
    monkeypatch.setattr(backends, "compiler", lambda: "g++ 12.2.0")
    monkeypatch.setattr(backends, "find_spec", lambda _name: None)
    assert backends.available_backend(NARROW, 54_000, "cuda") == "eager"
    assert backends.available_backend(NARROW, 54_000, "cpu") == "compiled"


def test_the_options_offer_what_there_is():
    assert [choice.value for choice in backends.Backend] == ["eager", "compiled"]
    assert [choice.value for choice in Promise] == validator("params").schema["properties"]["deterministic"]["enum"]
