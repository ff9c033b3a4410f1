"""The plain way: what the published scripts do, written anew from the definitions and from nothing of reprogrok.

    python benchmarks/reference.py CKPT     ten hold-outs, greedy generation, errors per test set

An ordinary module of one model, whole sequences, every position, full recompute for every digit: 100,000 problems, 512
at a time, float32, one thread. It is the other side of `make bench`, and an independent judge of our decoder in the
tests: it imports torch alone. Its tensors bear the names of the published checkpoints. reference_loop.py trains it.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEEDS = (41, 100, 200, 300, 400, 500, 999, 1234, 7777, 31415)
BATCH = 512
PLUS, EQUALS, EOS = 10, 11, 13


class LowRank(nn.Module):
    """x A B."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(inputs, rank))
        self.B = nn.Parameter(torch.zeros(rank, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return (x @ self.A) @ self.B


class LowRankPositions(LowRank):
    """A[pos] B."""

    def forward(self, x: Tensor) -> Tensor:
        """Positions -> their vectors."""
        return self.A[x] @ self.B


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + 1e-8) * weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-8) * self.weight


def linear(inputs: int, outputs: int, rank: int, *, bias: bool) -> nn.Module:
    """A matrix of full rank (0), with or without a bias, or of two factors."""
    return LowRank(inputs, outputs, rank) if rank else nn.Linear(inputs, outputs, bias=bias)


class Attention(nn.Module):
    """Causal self-attention with one matrix for q, k and v, or with one shared left factor and k = v."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        d, rank, bias = config["d_model"], config["qkv_rank"], config["bias"]
        self.heads, self.shared, self.dropout = config["n_head"], config["tie_qkv"] == "shareA_tieKV", config["dropout"]
        if self.shared:
            self.qkv_A = nn.Parameter(torch.zeros(d, rank))
            self.qkv_Bq = nn.Parameter(torch.zeros(rank, d))
            self.qkv_Bkv = nn.Parameter(torch.zeros(rank, d))
        else:
            self.qkv = linear(d, 3 * d, rank, bias=bias)
        self.proj = linear(d, d, config["attn_out_rank"], bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        B, T, d = x.shape
        if self.shared:
            h = x @ self.qkv_A
            q, k = h @ self.qkv_Bq, h @ self.qkv_Bkv
            v = k
        else:
            q, k, v = self.qkv(x).split(d, dim=-1)
        q, k, v = (part.view(B, T, self.heads, d // self.heads).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        future = torch.ones(T, T, dtype=torch.bool).triu(1)
        shares = F.dropout(scores.masked_fill(future, -math.inf).softmax(-1), self.dropout, self.training)
        mixed = shares @ v
        return self.proj(mixed.transpose(1, 2).reshape(B, T, d))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """fc2(gelu(fc1(x)))."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        rank, bias = config["ffn_rank"], config["bias"]
        self.gelu, self.dropout = {"erf": "none", "tanh": "tanh"}[config["gelu"]], config["dropout"]
        self.fc1 = linear(config["d_model"], config["d_ff"], rank, bias=bias)
        self.fc2 = linear(config["d_ff"], config["d_model"], rank, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        hidden = F.gelu(self.fc1(x), approximate=self.gelu)
        return self.fc2(F.dropout(hidden, self.dropout, self.training))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        norm = RMSNorm if config["use_rmsnorm"] else nn.LayerNorm
        self.ln1, self.attn = norm(config["d_model"]), Attention(config)
        self.ln2, self.mlp = norm(config["d_model"]), MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Tokens (B, T) -> logits (B, T, V); the head is the token embedding.

    Beside the published fields, `config` may ask for `bias` in the full-rank linears, for a `gelu` by "tanh" ("erf" is
    the exact one), and for `dropout` on the summed embeddings, the attention weights and after the GELU.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        older = {"pos_rank": 0, "qkv_rank": 0, "attn_out_rank": 0, "ffn_rank": 0, "use_rmsnorm": False}
        config = {**older, "tie_qkv": "none", "bias": False, "gelu": "erf", "dropout": 0.0, **config}
        self.dropout = config["dropout"]
        d, length, rank = config["d_model"], config["max_seq_len"], config["pos_rank"]
        self.token_emb = nn.Embedding(config["vocab_size"], d)
        self.pos_emb = LowRankPositions(length, d, rank) if rank else nn.Embedding(length, d)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["n_layer"]))
        self.ln_f = RMSNorm(d) if config["use_rmsnorm"] else nn.LayerNorm(d)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.token_emb(tokens) + self.pos_emb(torch.arange(tokens.shape[1]))
        x = F.dropout(x, self.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        return self.ln_f(x) @ self.token_emb.weight.T  # type: ignore[no-any-return]


def load(path: Path) -> Decoder:
    """The model of a published checkpoint."""
    content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - as the published script does
    model = Decoder(content["model_config"])
    model.load_state_dict({k: v for k, v in content["model_state"].items() if k != "lm_head.weight"})
    return model.eval()


def hold_out(seed: int, digits: int = 10) -> list[tuple[int, int]]:
    """The 15,000 pairs of a seed, by the walk that the protocol describes; the last 10,000 are the test set."""
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    while len(pairs) < 15_000:
        n = max(2 * (15_000 - len(pairs)), 4096)
        a = torch.randint(0, 10**digits, (n,), generator=generator, dtype=torch.int64)
        b = torch.randint(0, 10**digits, (n,), generator=generator, dtype=torch.int64)
        for pair in zip(a.tolist(), b.tolist(), strict=True):
            if pair not in seen:
                seen.add(pair)
                pairs.append(pair)
                if len(pairs) == 15_000:
                    break
    return pairs


def encode(a: Tensor, b: Tensor, digits: int = 10) -> Tensor:
    """Operands (N,) -> rows (N, 3 * digits + 4): a and b from the left, the sum from the right, EOS."""
    powers = 10 ** torch.arange(digits + 1)
    left, answer = powers[:-1].flip(0), (a + b).unsqueeze(1) // powers % 10
    plus, equals, eos = (torch.full((len(a), 1), token) for token in (PLUS, EQUALS, EOS))
    a_digits, b_digits = (x.unsqueeze(1) // left % 10 for x in (a, b))
    return torch.cat([a_digits, plus, b_digits, equals, answer, eos], dim=1)


@torch.inference_mode()
def right(model: Decoder, rows: Tensor, digits: int = 10) -> Tensor:
    """Which of (N, T + 1) rows the model gets right by greedy generation: (N,) bools."""
    prompt = 2 * digits + 2
    outcome = []
    for part in rows.split(BATCH):
        tokens = part[:, :prompt]
        for _ in range(digits + 1):
            tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)], dim=1)
        outcome.append((tokens[:, prompt:] == part[:, prompt:-1]).all(1))
    return torch.cat(outcome)


def exam_rows(seed: int) -> Tensor:
    """The encoded test set of one seed."""
    a, b = torch.tensor(hold_out(seed)[5_000:]).T
    return encode(a, b)


def main() -> None:
    """Examine one checkpoint and print its errors."""
    parser = argparse.ArgumentParser(description="Examine one checkpoint the plain way.")
    parser.add_argument("checkpoint", type=Path)
    path = parser.parse_args().checkpoint
    torch.set_num_threads(1)
    model = load(path)
    errors, model_time = [], 0.0
    for seed in SEEDS:
        rows = exam_rows(seed)
        began = time.perf_counter()
        outcome = right(model, rows)
        model_time += time.perf_counter() - began
        errors.append(int((~outcome).sum()))
        print(f"seed {seed}: {errors[-1]} errors in {len(rows):,}")
    print(f"all: {sum(errors)} errors in {len(SEEDS) * len(rows):,}; model time {model_time:.2f} s")


if __name__ == "__main__":
    main()
