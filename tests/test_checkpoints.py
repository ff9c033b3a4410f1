"""Weights on disk: what must be taken is taken as it was, and each part that cannot be is refused by its name."""

import json
import math
from dataclasses import asdict, fields, replace
from functools import partial

import pytest
import safetensors.torch
import torch
from checkpoint_files import ORIGIN, OWN, WEIGHTS, content_of, load_from, refusal_from, reopened
from test_decoder import D7, P456

from reprogrok.errors import InputError
from reprogrok.formats import checkpoints
from reprogrok.formats.checkpoints import (
    checkpoint_bytes,
    content_digest,
    load_checkpoint,
    load_state,
    state_bytes,
)
from reprogrok.model.initialise import initial_weights
from reprogrok.spec.model import ModelSpec


@pytest.fixture
def load(tmp_path):
    return partial(load_from, tmp_path)


@pytest.fixture
def refusal(tmp_path):
    return partial(refusal_from, tmp_path)


# --- What must be taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [D7, P456, replace(P456, n_layer=2, n_head=7)])
def test_our_own_come_back_as_they_were(load, spec):
    weights = initial_weights(spec, 3)
    found = load(checkpoint_bytes(spec, weights, ORIGIN, step=7, score=0.25))
    assert (found.spec, found.origin, found.step, found.claimed_score) == (spec, ORIGIN, 7, 0.25)
    assert found.stored_dtype == "float32"
    assert list(found.weights) == list(weights)
    assert all(torch.equal(found.weights[name], weights[name]) for name in weights)


def test_equal_content_gives_equal_bytes_and_other_content_does_not():
    views = {name: torch.stack([tensor, tensor])[1] for name, tensor in reversed(WEIGHTS.items())}
    assert checkpoint_bytes(P456, views, ORIGIN, step=7, score=0.25) == OWN
    nudged = WEIGHTS | {"ln_f.weight": WEIGHTS["ln_f.weight"] + 1e-7}
    assert checkpoint_bytes(P456, nudged, ORIGIN, step=7, score=0.25) != OWN


def test_our_own_load_with_the_published_loader(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(OWN)
    content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - as others do
    assert torch.equal(content["model_state"]["lm_head.weight"], WEIGHTS["token_emb.weight"])
    published = {key: value for key, value in asdict(P456).items() if key not in ("bias", "gelu")}
    assert content["model_config"] == published | {"dropout": 0.0}
    assert (content["step"], content["val_exact"], content["params"]) == (7, 0.25, 456)


def test_published_files_are_read_and_what_they_lack_has_its_meaning(load, fixtures_dir):
    new, old = (load_checkpoint(fixtures_dir / "checkpoints" / f"best_{n}.pt") for n in ("456p_s43", "512params"))
    assert new.spec == P456
    assert (old.spec.use_rmsnorm, old.spec.tie_qkv) == (False, "none")
    assert (new.claimed_parameters, old.claimed_parameters) == (456, 512)
    assert (new.origin, old.origin) == (None, None)
    content = content_of(D7)
    for name in ("pos_rank", "qkv_rank", "attn_out_rank", "ffn_rank", "use_rmsnorm", "tie_qkv"):
        del content["model_config"][name]
    content["model_config"]["dropout"] = 0.1
    assert load(content).spec == D7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_into_single(load, dtype):
    found = load(content_of(weights={name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}))
    assert found.stored_dtype == str(dtype).removeprefix("torch.")
    for name, tensor in WEIGHTS.items():
        assert torch.equal(found.weights[name], tensor.to(dtype).float())


def test_parameters_and_non_contiguous_tensors_are_plain_weights_afterwards(load):
    weights = {name: torch.nn.Parameter(tensor) for name, tensor in WEIGHTS.items()}
    weights["token_emb.weight"] = torch.nn.Parameter(WEIGHTS["token_emb.weight"].T.contiguous().T)
    found = load(content_of(weights=weights))
    assert not any(tensor.requires_grad or not tensor.is_contiguous() for tensor in found.weights.values())
    assert torch.equal(found.weights["token_emb.weight"], WEIGHTS["token_emb.weight"])


def test_safetensors_carry_the_rest_as_json(load):
    block = ORIGIN.as_written(content_digest(P456, WEIGHTS))
    texts = {"model_config": asdict(P456), "step": 7, "val_exact": 0.25, "params": 456, "reprogrok": block}
    metadata = {key: json.dumps(value) for key, value in texts.items()} | {"author": "nobody", "deep": "[" * 10**5}
    found = load(safetensors.torch.save(WEIGHTS, metadata), "model.safetensors")
    assert (found.spec, found.step, found.claimed_score, found.origin) == (P456, 7, 0.25, ORIGIN)
    assert all(torch.equal(found.weights[name], WEIGHTS[name]) for name in WEIGHTS)


def test_what_others_keep_beside_the_weights_is_no_reason_to_refuse(load):
    kept = {"size": torch.Size([2]), "device": torch.device("cpu"), "dtype": torch.float16, "losses": [0.5] * 10**5}
    assert load(content_of(train_config=kept, optimizer={"state": {0: torch.zeros(3)}})).spec == P456


def test_a_training_state_may_be_larger_than_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MAX_FILE_BYTES", 1_000)
    path = tmp_path / "state.pt"
    path.write_bytes(state_bytes({"weights": torch.ones(1_000), "step": 3}))
    assert load_state(path)["step"] == 3
    with pytest.raises(InputError, match="file too large"):
        load_checkpoint(path)


# --- model_config -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_embd": 7}, "$.model_config.n_embd: unknown field: expected one of n_layer, d_model"),
        ({("a", 1): 7}, "$.model_config.tuple: unknown field"),
        ({"\x1b[31m" * 99: 7}, '$.model_config."\\u001b[31m'),
        ({10**600: 7}, "$.model_config.int: unknown field"),
        ({"n_layer": True}, "$.model_config.n_layer: expected a value of type int, found true"),
        ({"n_layer": "1"}, '$.model_config.n_layer: expected a value of type int, found "1"'),
        ({"n_layer": 1.0}, "$.model_config.n_layer: expected a value of type int, found 1.0"),
        ({"d_model": None}, "$.model_config.d_model: expected a value of type int, found null"),
        ({"d_ff": torch.tensor(14)}, "$.model_config.d_ff: expected a value of type int, found Tensor"),
        ({"use_rmsnorm": 1}, "$.model_config.use_rmsnorm: expected a value of type bool, found 1"),
        ({"tie_qkv": None}, "$.model_config.tie_qkv: expected a value of type str, found null"),
        ({"tie_qkv": "sharea_tiekv"}, "$.model_config.tie_qkv: expected one of none, shareA_tieKV"),
        ({"qkv_rank": 0}, "$.model_config.qkv_rank: expected more than 0, which tie_qkv shareA_tieKV needs, found 0"),
        ({"n_head": 2}, "$.model_config.n_head: expected a divisor of d_model = 7, found 2"),
        ({"n_head": 0}, "$.model_config.n_head: expected 1 to 256, found 0"),
        ({"n_layer": -1}, "$.model_config.n_layer: expected 1 to 64, found -1"),
        ({"pos_rank": -1}, "$.model_config.pos_rank: expected 0 to 4096, found -1"),
        ({"n_layer": 2**20}, "$.model_config.n_layer: expected 1 to 64"),
        ({"d_model": 10**600}, "$.model_config.d_model: expected 1 to 4096, found int"),
        ({"n_layer": 64, "d_model": 4096, "d_ff": 16384, "n_head": 1, "ffn_rank": 0}, "too large: expected at most"),
    ],
)
def test_a_config_that_cannot_be(refusal, change, message):
    content = content_of()
    content["model_config"] |= change
    assert message in refusal(content)


@pytest.mark.parametrize("field", ["n_layer", "d_model", "n_head", "d_ff", "max_seq_len", "vocab_size"])
def test_a_config_without_a_field(refusal, field):
    content = content_of()
    del content["model_config"][field]
    assert f"$.model_config.{field}: missing field" in refusal(content)


@pytest.mark.parametrize(
    "mode", ["all", "qk", "kv", "shareA", "shareA_tieQK", "shareB", "shareB_tieQK", "shareB_tieKV"]
)
def test_a_published_tying_mode_that_is_not_supported_is_refused_by_name(refusal, mode):
    content = content_of()
    content["model_config"]["tie_qkv"] = mode
    assert f"$.model_config.tie_qkv: tie_qkv mode {mode} is not supported" in refusal(content)


def test_every_change_of_one_number_of_the_config_is_noticed(refusal):
    # Only the number of heads leaves all shapes as they are; of our own files, the digest covers it.
    for field in fields(ModelSpec):
        content = reopened()
        value = content["model_config"].get(field.name, field.default)
        other = {bool: lambda v: not v, int: lambda v: v + 1, str: lambda v: {"erf": "tanh"}.get(v, "none")}[
            type(value)
        ](value)
        content["model_config"][field.name] = 7 if field.name == "n_head" else other
        assert refusal(content)


# --- model_state --------------------------------------------------------------------------------------------------


def huge(tensor):
    return torch.zeros(1).expand(10**9, tensor.shape[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:-1], "expected shape (14, 7), found (13, 7)"),
        (lambda w: w.T, "expected shape (14, 7), found (7, 14)"),
        (lambda w: w.unsqueeze(0), "expected shape (14, 7), found (1, 14, 7)"),
        (huge, "expected shape (14, 7), found (1000000000, 7)"),
        (lambda w: w.tolist(), "expected a tensor, found list"),
        (lambda w: w.int(), "expected a dense tensor of 16 to 64 bit floats, found strided, int32"),
        (lambda w: w.to(torch.complex64), "found strided, complex64"),
        (lambda w: w * math.nan, "expected finite numbers"),
        (lambda w: w.double() * 1e300, "expected finite numbers"),
    ],
)
def test_a_tensor_that_is_not_what_the_config_says(refusal, change, message):
    content = content_of()
    content["model_state"]["token_emb.weight"] = change(content["model_state"]["token_emb.weight"])
    found = refusal(content)
    assert "$.model_state.token_emb.weight: " in found
    assert message in found


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda w: w.to(torch.float8_e4m3fn), "torch._utils._rebuild_tensor_v3"),
        (lambda w: w.to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (lambda w: w.to("meta"), "torch._utils._rebuild_meta_tensor_no_storage"),
    ],
)
def test_a_tensor_that_takes_more_than_a_storage_to_rebuild(refusal, change, name):
    content = content_of()
    content["model_state"]["token_emb.weight"] = change(content["model_state"]["token_emb.weight"])
    assert f"calls what no checkpoint needs: {name}" in refusal(content)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_tensor_is_missing_or_has_one_bad_number(refusal, name):
    content = content_of()
    tensor = content["model_state"].pop(name)
    assert f"$.model_state.{name}: missing tensor: expected shape {tuple(tensor.shape)}" in refusal(content)
    for bad in (math.nan, math.inf, -math.inf):
        spoilt = tensor.clone()
        spoilt.view(-1)[-1] = bad
        content["model_state"][name] = spoilt
        assert f"$.model_state.{name}: expected finite numbers" in refusal(content)


def test_a_tensor_too_many(refusal):
    content = content_of()
    content["model_state"]["blocks.1.ln1.weight"] = torch.ones(7)
    assert "$.model_state.blocks.1.ln1.weight: unknown tensor" in refusal(content)
    content = content_of()
    content["model_state"][7] = torch.ones(7)
    assert "$.model_state.7: unknown tensor" in refusal(content)


def test_a_head_of_its_own(refusal, load):
    content = content_of()
    content["model_state"]["lm_head.weight"] = WEIGHTS["token_emb.weight"].clone()
    assert load(content).spec == P456
    content["model_state"]["lm_head.weight"][3, 3] += 1e-3
    assert "$.model_state.lm_head.weight: the head is not tied: expected token_emb.weight" in refusal(content)
    content["model_state"]["lm_head.weight"] = torch.zeros(14, 8)
    assert "$.model_state.lm_head.weight: expected shape (14, 7), found (14, 8)" in refusal(content)


# --- The rest of the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["step", "params", "val_exact"])
@pytest.mark.parametrize("value", ["7", True, math.nan, math.inf, 10**400, torch.tensor(1), [1]])
def test_a_claim_that_is_no_number(refusal, key, value):
    assert f"$.{key}: expected a value of type" in refusal(content_of(**{key: value}))


@pytest.mark.parametrize(("key", "value"), [("step", 7.5), ("params", 456.5)])
def test_a_count_that_is_not_whole(refusal, key, value):
    assert f"$.{key}: expected a value of type int, found {value}" in refusal(content_of(**{key: value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda block: block | {"digits": 2}, "$.reprogrok.digits: expected 3 to 10, found 2"),
        (lambda block: block | {"digits": 10**600}, "found int"),
        (lambda block: block | {"seed": -1}, "$.reprogrok.seed: expected 0 to 9223372036854775807, found -1"),
        (
            lambda block: block | {"digits": True},
            "expected the block that reprogrok.checkpoint/1 or reprogrok.checkpoint/2 defines",
        ),
        (lambda block: block | {"format": "reprogrok.checkpoint/2"}, "expected the block that"),
        (lambda block: block | {"more": 1}, "expected the block that"),
        (lambda block: block | {("a", 1): 1}, "expected the block that"),
        (lambda block: {k: v for k, v in block.items() if k != "seed"}, "expected the block that"),
        (lambda _: [], "expected the block that"),
        (lambda block: block | {"content_digest": "a\n\x1b[31m" * 10**5}, "expected the block that"),
        (lambda block: block | {"spec_digest": "\x1b[31m"}, "expected the block that"),
        (lambda block: block | {"experiment": "two\nlines"}, "expected the block that"),
        (lambda block: block | {"content_digest": "0" * 64}, "the contents do not match the file's own digest"),
    ],
)
def test_a_block_of_our_own_that_is_not_ours(refusal, change, message):
    content = reopened()
    content["reprogrok"] = change(content["reprogrok"])
    assert message in refusal(content)


def test_a_content_that_contains_itself(refusal):
    content = content_of()
    content["model_config"]["d_ff"] = content
    assert "$.model_config.d_ff: expected a value of type int, found dict" in refusal(content)
