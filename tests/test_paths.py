"""The path of a run follows from its model, length and device, and from whether there is a compiler."""

import pytest

from reprogrok.cli.train import ExecutionPath, Promise
from reprogrok.schema import validator
from reprogrok.spec import ModelSpec
from reprogrok.train import backends as paths

NARROW = ModelSpec(n_layer=1, d_model=7, n_head=1, d_ff=14, max_seq_len=33, vocab_size=14)
WIDE = ModelSpec(n_layer=2, d_model=128, n_head=4, d_ff=512, max_seq_len=8, vocab_size=128)


@pytest.mark.parametrize(
    ("model", "steps", "device", "path"),
    [
        (NARROW, 54_000, "cpu", "compiled"),
        (NARROW, 200, "cpu", "eager"),
        (WIDE, 1_000, "cpu", "compiled"),
        (WIDE, 200, "cpu", "eager"),
        (NARROW, 54_000, "cuda", "compiled"),
        (WIDE, 400_000, "mps", "eager"),
    ],
)
def test_the_table(monkeypatch, model, steps, device, path):
    monkeypatch.setattr(paths, "compiler", lambda: "g++ 12.2.0")
    monkeypatch.setattr(paths, "find_spec", lambda name: name)
    assert paths.path_of(model, steps, device) == paths.wanted_path(model, steps, device) == path


def test_a_cpu_without_a_compiler_takes_the_eager_path(monkeypatch):
    monkeypatch.setattr(paths, "compiler", lambda: None)
    assert paths.path_of(NARROW, 54_000, "cpu") == "eager"
    assert paths.wanted_path(NARROW, 54_000, "cpu") == "compiled"


def test_cuda_without_triton_takes_the_eager_path(monkeypatch):
    monkeypatch.setattr(paths, "compiler", lambda: "g++ 12.2.0")
    monkeypatch.setattr(paths, "find_spec", lambda _name: None)
    assert paths.path_of(NARROW, 54_000, "cuda") == "eager"
    assert paths.path_of(NARROW, 54_000, "cpu") == "compiled"


def test_the_options_offer_what_there_is():
    assert [choice.value for choice in ExecutionPath] == list(paths.PATHS)
    assert [choice.value for choice in Promise] == validator("params").schema["properties"]["deterministic"]["enum"]
