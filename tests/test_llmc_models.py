"""Models of llm.c: read as the format says, without a number lost, and every damage refused at its byte."""

import math
import random
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from llmc_files import model_bytes
from torch.nn import functional as F

from reprogrok.errors import CheckpointError, InputError
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.formats.llmc_models import padded
from reprogrok.model.decoder import logits
from reprogrok.model.shapes import count_parameters, parameter_shapes
from reprogrok.spec.model import ModelSpec

TINY = ModelSpec(
    n_layer=2, d_model=4, n_head=2, d_ff=16, max_seq_len=3, vocab_size=5, bias=True, gelu="tanh"
)  # fmt: skip
GROK = replace(TINY, d_model=128, n_head=4, d_ff=512, max_seq_len=8, vocab_size=101)


def plain_file(*, T, V, L, heads, C, seed=0, V_padded=None):
    """A second, plain writer: the header and the tensors in the order of the description; also its tensors by name."""
    rows = V_padded or math.ceil(V / 128) * 128
    draw = random.Random(seed)  # noqa: S311 - numbers to be told apart, nothing more

    def numbers(count):
        return [struct.unpack("<f", struct.pack("<f", draw.gauss(0, 1)))[0] for _ in range(count)]

    tensors = {"wte": [*numbers(V * C), *[0.0] * ((rows - V) * C)], "wpe": numbers(T * C)}
    sizes = {"ln1w": C, "ln1b": C, "qkvw": 3 * C * C, "qkvb": 3 * C, "attprojw": C * C, "attprojb": C, "ln2w": C}
    sizes |= {"ln2b": C, "fcw": 4 * C * C, "fcb": 4 * C, "fcprojw": 4 * C * C, "fcprojb": C}
    for name, size in sizes.items():
        tensors[name] = numbers(L * size)
    tensors |= {"lnfw": numbers(C), "lnfb": numbers(C)}
    header = [20240326, 3, T, V, L, heads, C, rows]
    data = struct.pack("<256i", *header, *[0] * 248)
    return data + b"".join(struct.pack(f"<{len(values)}f", *values) for values in tensors.values()), tensors


SMALL = {"T": 3, "V": 5, "L": 2, "heads": 2, "C": 4}
DATA, TENSORS = plain_file(**SMALL)
WTE, PAD = 1024, 1024 + 4 * 5 * 4


def read(path):
    found = load_checkpoint(path)
    return found.spec, found.weights


@pytest.fixture
def refusal(tmp_path):
    def message(data):
        path = tmp_path / "model.bin"
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{tmp_path}/")

    return message


def put(data, byte, form, value):
    """The file with one number in the place of another."""
    new = struct.pack(form, value)
    return data[:byte] + new + data[byte + len(new) :]


def test_parameters_are_those_of_the_published_models():
    assert (count_parameters(GROK), count_parameters(replace(GROK, n_layer=1))) == (410_752, 212_480)
    weights = {name: torch.zeros(shape) for name, shape in parameter_shapes(GROK).items()}
    assert len(model_bytes(GROK, weights)) == 1_024 + 4 * (410_752 + 27 * 128)
    assert [padded(vocabulary) for vocabulary in (1, 101, 128, 129)] == [128, 128, 128, 256]


def test_a_file_is_read_into_our_names_and_written_again(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    spec, weights = read(path)
    assert spec == TINY
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == parameter_shapes(TINY)
    assert list(weights) == list(parameter_shapes(TINY))
    assert weights["token_emb.weight"].flatten().tolist() == TENSORS["wte"][:20]
    # Layer 1, second block of three: the key matrix, out by in; channel 2 out, channel 3 in.
    assert weights["blocks.1.attn.qkv.weight"][4 + 2, 3] == TENSORS["qkvw"][48 + (4 + 2) * 4 + 3]
    assert weights["blocks.1.mlp.fc2.weight"][1, 15] == TENSORS["fcprojw"][64 + 1 * 16 + 15]
    assert weights["blocks.0.mlp.fc1.bias"].tolist() == TENSORS["fcb"][:16]
    assert weights["ln_f.bias"].tolist() == TENSORS["lnfb"]
    assert model_bytes(spec, weights) == DATA


def test_it_is_a_checkpoint_without_a_step_a_score_or_a_task(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    found = load_checkpoint(path)
    assert (found.spec, found.stored_dtype) == (TINY, "float32")
    assert (found.step, found.claimed_score, found.claimed_parameters, found.origin) == (None, None, None, None)


@given(
    st.fixed_dictionaries({"T": st.integers(1, 9), "V": st.integers(1, 300), "L": st.integers(1, 3)}),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_every_file_comes_back_byte_for_byte(tmp_path_factory, sizes, heads, width, seed):
    data, _ = plain_file(**sizes, heads=heads, C=heads * width, seed=seed)
    path = tmp_path_factory.mktemp("models") / "model.bin"
    path.write_bytes(data)
    spec, weights = read(path)
    assert {"T": spec.max_seq_len, "V": spec.vocab_size, "L": spec.n_layer} == sizes
    assert (spec.n_head, spec.d_model) == (heads, heads * width)
    assert model_bytes(spec, weights) == data


SIZE = len(DATA)
NO_MODEL = "byte 0: not a model of llm.c: expected the magic number 20240326, found"
DAMAGE = {
    b"": "byte 0: cut short: expected a header of 1024 bytes, found 0 bytes",
    DATA[:1_000]: "byte 1000: cut short: expected a header of 1024 bytes, found 1000 bytes",
    DATA[:1_024]: f"byte 1024: cut short: expected {SIZE} bytes, found 1024",
    DATA[:-1]: f"byte {SIZE - 1}: cut short: expected {SIZE} bytes, found {SIZE - 1}",
    DATA + b"..": f"byte {SIZE}: longer than its header says: expected {SIZE} bytes, found {SIZE + 2}",
    put(DATA, 0, "<i", 1): f"{NO_MODEL} 1",
    put(DATA, 0, "<i", 20240520): f"{NO_MODEL} 20240520 (a shard of tokens)",
    put(DATA, 4, "<i", 5): "byte 4: another version of the format: expected 3 (float32), found 5",
    put(DATA, 8, "<i", 0): "byte 8: max_seq_len: expected 1 to 4096, found 0",
    put(DATA, 12, "<i", -5): "byte 12: vocab_size: expected 1 to 65536, found -5",
    put(DATA, 16, "<i", 2**31 - 1): "byte 16: n_layer: expected 1 to 64, found 2147483647",
    put(DATA, 20, "<i", 3): "byte 20: n_head: expected a divisor of d_model = 4, found 3",
    put(DATA, 24, "<i", 8): f"byte {SIZE}: cut short: expected 12256 bytes, found {SIZE}",
    plain_file(**SMALL, V_padded=64)[0]: (
        "byte 28: padded vocabulary: expected 128 (5 and up to a multiple of 128), found 64"
    ),
    put(DATA, 32, "<i", 9): "byte 32: unused part of the header: expected 0, found 9",
    put(DATA, WTE + 28, "<f", math.nan): f"byte {WTE + 28}: wte: expected a finite number, found nan",
    put(DATA, SIZE - 4, "<f", -math.inf): f"byte {SIZE - 4}: lnfb: expected a finite number, found -inf",
    put(DATA, PAD + 36, "<f", 0.5): f"byte {PAD + 36}: wte, row 7 of the padding: expected 0.0, found 0.5",
    put(DATA, PAD, "<f", -0.0): f"byte {PAD}: wte, row 5 of the padding: expected 0.0, found -0.0",
    put(DATA, PAD, "<f", math.nan): f"byte {PAD}: wte, row 5 of the padding: expected 0.0, found nan",
}


@pytest.mark.parametrize(("data", "words"), DAMAGE.items(), ids=range(len(DAMAGE)))
def test_a_damaged_model_is_refused_at_its_byte(refusal, data, words):
    assert refusal(data) == f"model.bin {words}"


def test_no_file_and_a_folder_have_one_error_each(tmp_path):
    (tmp_path / "folder.bin").mkdir()
    with pytest.raises(InputError, match=r"none\.bin: No such file or directory$"):
        load_checkpoint(tmp_path / "none.bin")
    with pytest.raises(InputError, match=r"folder\.bin: Is a directory$"):
        load_checkpoint(tmp_path / "folder.bin")


def plain_logits(tensors, tokens_BT, *, T, V, L, heads, C):
    """llm.c's forward pass in the plainest form, on the tensors as they lie in the file: (B, T, padded V)."""
    B = len(tokens_BT)
    at = {name: torch.tensor(values) for name, values in tensors.items()}
    split = {name: at[name].reshape(L, *shape) for name, shape in {
        "ln1w": (C,), "ln1b": (C,), "qkvw": (3 * C, C), "qkvb": (3 * C,), "attprojw": (C, C), "attprojb": (C,),
        "ln2w": (C,), "ln2b": (C,), "fcw": (4 * C, C), "fcb": (4 * C,), "fcprojw": (C, 4 * C), "fcprojb": (C,),
    }.items()}  # fmt: skip
    table = at["wte"].reshape(-1, C)
    assert len(table) == 128 >= V
    x = table[tokens_BT] + at["wpe"].reshape(T, C)
    for layer in range(L):
        w = {name: tensor[layer] for name, tensor in split.items()}
        qkv = F.linear(F.layer_norm(x, (C,), w["ln1w"], w["ln1b"]), w["qkvw"], w["qkvb"])
        q, k, v = (part.reshape(B, T, heads, C // heads).transpose(1, 2) for part in qkv.split(C, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
        x = x + F.linear(mixed, w["attprojw"], w["attprojb"])
        hidden = F.linear(F.layer_norm(x, (C,), w["ln2w"], w["ln2b"]), w["fcw"], w["fcb"])
        x = x + F.linear(F.gelu(hidden, approximate="tanh"), w["fcprojw"], w["fcprojb"])
    return F.layer_norm(x, (C,), at["lnfw"], at["lnfb"]) @ table.T


def test_what_is_read_computes_what_llm_c_computes(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    spec, weights = read(path)
    tokens_BT = torch.tensor([[4, 0, 1], [2, 2, 3]])
    expected = plain_logits(TENSORS, tokens_BT, **SMALL)
    found_VTB = logits(spec, {name: tensor[None] for name, tensor in weights.items()}, tokens_BT.T[None], 0)[0]
    torch.testing.assert_close(found_VTB.permute(2, 1, 0), expected[..., :5], rtol=1e-5, atol=1e-5)
    assert (expected[..., 5:] == 0).all()
