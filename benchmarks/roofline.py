"""Shapes and a machine -> how fast a training step could go at most (the roofline of Williams et al. 2009).

Counted is only what one model-step must do:
  - multiply-adds of the linear maps and of attention over the keys that a query may see, each twice more for the
    backward pass; norms, softmax, GELU, sums and look-ups count nothing;
  - each distinct state once: before the first block those of one (position, token), after it those of one prefix, and
    with dropout, which makes every row differ, those of every row;
  - in the last block queries, output projection and MLP only where the loss is taken, and nothing after it;
  - of memory: weights and both moments read and written once, the batch written and read once.
Replicas share none of it, so a model-step costs the same in a stack of any R. The forms are those of the decoder: an
algebraic rewriting of two maps into one could undercut them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from reference import Decoder
from reference_loop import Family, P, addition_batches, llmc8_batches

FLOATS_KEPT = 6 * 4  # bytes per parameter: weight and two moments, read and written, in float32
TOKEN = 2 * 8  # bytes per token of the batch: written and read, in int64


@dataclass(frozen=True)
class Step:
    """The least work of one model-step."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Machine:
    """What one core can do at most: float32 operations and bytes, read or written, per second."""

    flops: float
    bandwidth: float

    def steps_per_second(self, step: Step) -> float:
        """The roofline: arithmetic and memory traffic at their ceilings, one hidden behind the other."""
        return 1 / max(step.flops / self.flops, step.bytes / self.bandwidth)


@dataclass(frozen=True)
class States:
    """How many distinct states each position has, up to the last one scored: one entry per position.

    Attributes:
        tokens: before the first block.
        prefixes: after it.
    """

    tokens: tuple[int, ...]
    prefixes: tuple[int, ...]


def least_step(family: Family) -> Step:
    """One model-step of a family."""
    parameters = sum(tensor.numel() for tensor in Decoder(family.config).parameters())
    tokens = family.batch * (int(family.config["max_seq_len"]) + 1)
    return Step(6.0 * multiply_adds(family), FLOATS_KEPT * parameters + TOKEN * tokens)


def distinct_states(family: Family) -> States:
    """The states of one batch."""
    rows = family.batch
    if family.rows is addition_batches:  # ten digits, +, ten digits, =, and of the sum at most ten digits each
        return States((10,) * 10 + (1,) + (10,) * 10 + (1,) + (10,) * 11, (rows,) * 33)
    if family.rows is llmc8_batches:  # BOS a OP b EQ
        return States((1, P, 1, P, 1), (1, P, P, rows, rows))
    return States((rows,) * family.scored.stop, (rows,) * family.scored.stop)


def multiply_adds(family: Family) -> int:
    """Of one forward pass.

    Worked value, a layer with D = 7, F = 14, ranks 3/3/2/3, V = 14, 512 rows of 33 positions, 12 scored: per scored
    position 27.5 keys * 7 * 2 + 28 (projection) + 126 (MLP) + 98 (head) = 637, times 6,144; keys of 312 (position,
    token) pairs 21 + 21 each, queries of 111 of them 21 each; position vectors 33 * 3 * 7: 3,929,856 in all.
    """
    states = distinct_states(family)
    config = {"pos_rank": 0, "qkv_rank": 0, "attn_out_rank": 0, "ffn_rank": 0, "tie_qkv": "none", **family.config}
    d, layers = config["d_model"], config["n_layer"]
    length = len(states.prefixes)
    total = length * config["pos_rank"] * d + d * family.tokens * sum(states.prefixes[t] for t in family.scored)
    for layer in range(layers):
        asked = family.scored if layer == layers - 1 else range(length)
        inputs = states.prefixes if layer else states.tokens
        queries = sum(inputs[t] for t in asked)
        total += sum(inputs) * _keys_values(config) + queries * (config["qkv_rank"] or d) * d
        total += sum(states.prefixes[t] * (t + 1) for t in asked) * d * 2
        mlp = _map(d, config["d_ff"], config["ffn_rank"]) + _map(config["d_ff"], d, config["ffn_rank"])
        total += sum(states.prefixes[t] for t in asked) * (_map(d, d, config["attn_out_rank"]) + mlp)
    return int(total)


def _map(inputs: int, outputs: int, rank: int) -> int:
    return rank * (inputs + outputs) if rank else inputs * outputs


def _keys_values(config: Mapping[str, Any]) -> int:
    d, rank = config["d_model"], config["qkv_rank"]
    shared, each = (d * rank, rank * d) if rank else (0, d * d)
    return int(shared + each * (1 if config["tie_qkv"] == "shareA_tieKV" else 2))


def measure_machine(size: int = 2048, megabytes: int = 256) -> Machine:
    """The ceilings of one core, the best of a few tries: a square float32 product and a copy; under three seconds.

    The copy is larger than the caches, and its bytes are counted twice: read and written.
    """
    left, right = torch.rand(2, size, size).unbind()
    product = torch.empty(size, size)
    source = torch.zeros(megabytes * 2**18)
    target = torch.empty_like(source)
    multiply = _best(lambda: torch.mm(left, right, out=product), tries=6)
    copy = _best(lambda: target.copy_(source), tries=8)
    return Machine(2 * size**3 / multiply, 2 * source.nbytes / copy)


def _best(act: Callable[[], object], tries: int) -> float:
    seconds = []
    for _ in range(tries):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return min(seconds)
