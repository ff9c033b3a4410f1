"""A plain writer of llm.c's `model.bin`, from weights by our published names."""

import math
import struct

PARTS = ("ln1", "attn.qkv", "attn.proj", "ln2", "mlp.fc1", "mlp.fc2")


def model_bytes(spec, weights):
    """The bytes of a model of llm.c: full ranks, biases, LayerNorm, GELU by tanh, d_ff = 4 d_model."""
    rows = math.ceil(spec.vocab_size / 128) * 128
    sizes = (spec.max_seq_len, spec.vocab_size, spec.n_layer, spec.n_head, spec.d_model, rows)
    leaves = [f"{part}.{leaf}" for part in PARTS for leaf in ("weight", "bias")]
    layers = [f"blocks.{layer}.{leaf}" for leaf in leaves for layer in range(spec.n_layer)]
    table, *others = (
        weights[name].numpy().astype("<f4").tobytes()
        for name in ("token_emb.weight", "pos_emb.weight", *layers, "ln_f.weight", "ln_f.bias")
    )
    padding = bytes(4 * (rows - spec.vocab_size) * spec.d_model)
    return struct.pack("<256i", 20240326, 3, *sizes, *[0] * 248) + b"".join([table, padding, *others])
