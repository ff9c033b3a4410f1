"""The plain training loop: what the published ones do for one seed, as a careful user of torch would write it.

    python benchmarks/reference_loop.py FAMILY [--steps N] [--seed S]     trains; prints losses and steps per second

The module of reference.py with every position computed, a dense masked softmax, autograd, torch's own AdamW, clip and
scheduler, batches drawn without a Python loop over problems, one thread. It imports torch alone and nothing of
reprogrok: it is the other side of the training benchmark, for whoever doubts it to read and to run by itself.

    family          model                                    batch            loss at positions
    addition-456    1 layer,  d 7, low rank, RMSNorm         512 drawn        21..32 of 33: answer and EOS
    addition-1128   1 layer,  d 8                            512 drawn        21..32 of 33
    llmc8-1         1 layer,  d 128, 4 heads, biases         all 4,703 rows   4 of 8: the answer
    llmc8-2         2 layers, d 128, 4 heads, biases         all 4,703 rows   4 of 8
    text9-v1        4 layers, d 256, 4 heads, dropout 0.1    256 by epochs    all 8
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from reference import Decoder, encode, hold_out
from torch import Tensor, nn
from torch.nn import functional as F

P = 97  # the modulus of the modular families


@dataclass(frozen=True)
class Family:
    """What is trained, and how.

    Attributes:
        config: of `reference.Decoder`.
        rows: (family, generator, seed) -> its training batches, (B, T + 1) tokens each, without end.
        batch: rows of a step.
        scored: the positions whose loss counts.
        tokens: how many tokens there are; an embedding may be padded with more rows.
        lr: peak learning rate of AdamW; also its `betas` and `weight_decay`.
        warmup, steps: of the published schedule; no schedule if `steps` is 0.
        clip: largest norm of the gradient; 0 for no clip.
        masked: the loss passes over every position, the other targets masked, as the published loop does it.
        uniform_biases: linear biases start uniform in +-1/sqrt(inputs) instead of at zero.
    """

    config: Mapping[str, Any]
    rows: Callable[[Family, torch.Generator, int], Iterator[Tensor]]
    batch: int
    scored: range
    tokens: int
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup: int = 0
    steps: int = 0
    clip: float = 0.0
    masked: bool = False
    uniform_biases: bool = False


def addition_batches(family: Family, generator: torch.Generator, seed: int) -> Iterator[Tensor]:
    """Problems of the phase of 1-10 digits, never from the seed's own hold-out."""
    held = pair_keys(*torch.tensor(hold_out(seed)).T).sort().values
    while True:
        yield encode(*training_pairs(family.batch, held, generator))


def training_pairs(count: int, held: Tensor, generator: torch.Generator, digits: int = 10) -> tuple[Tensor, Tensor]:
    """Operands (count,) each: one digit count n per pair, both uniform in [0, 10**n); held-out pairs drawn again.

    `held` is sorted `pair_keys`.
    """
    bound = 10 ** torch.randint(1, digits + 1, (count,), generator=generator)
    a, b = _below(bound, generator), _below(bound, generator)
    while (again := _contains(held, pair_keys(a, b)).nonzero().squeeze(1)).numel():
        a[again], b[again] = _below(bound[again], generator), _below(bound[again], generator)
    return a, b


def pair_keys(a: Tensor, b: Tensor) -> Tensor:
    """One int64 per pair. It wraps around, so that once in 1e15 draws a pair that is free is taken for a held one."""
    return a * 10**10 + b


def _contains(ordered: Tensor, keys: Tensor) -> Tensor:
    at = torch.searchsorted(ordered, keys).clamp(max=len(ordered) - 1)
    return ordered[at] == keys


def _below(bound: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2**63 - 1, bound.shape, generator=generator) % bound


def llmc8_batches(family: Family, generator: torch.Generator, _seed: int) -> Iterator[Tensor]:
    """The same rows each time: `BOS a OP b EQ c EOS EOS` and the next BOS, of half of all additions mod 97."""
    a, b = _some_of_all(0.5, generator)
    op, eq, bos, eos = (torch.full_like(a, P + token) for token in range(4))
    rows = torch.stack([bos, a, op, b, eq, (a + b) % P, eos, eos, bos], dim=1)[: family.batch]
    while True:
        yield rows


def text9_batches(family: Family, generator: torch.Generator, _seed: int) -> Iterator[Tensor]:
    """`bos a + b mod 97 = c eos`, of 80 % of all additions mod 97, shuffled each epoch; the last batch is smaller."""
    a, b = _some_of_all(0.8, generator)
    modulus, plus, mod, equals, bos, eos = (torch.full_like(a, P + token) for token in range(6))
    rows = torch.stack([bos, a, plus, b, mod, modulus, equals, (a + b) % P, eos], dim=1)
    while True:
        yield from rows[torch.randperm(len(rows), generator=generator)].split(family.batch)


def _some_of_all(share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.randperm(P * P, generator=generator)[: int(P * P * share)]
    return chosen // P, chosen % P


def _addition(lr: float, steps: int, **config: Any) -> Family:
    return Family(
        config | {"n_layer": 1, "n_head": 1, "max_seq_len": 33, "vocab_size": 14},
        addition_batches,
        batch=512,
        scored=range(21, 33),
        masked=True,
        tokens=14,
        lr=lr,
        weight_decay=0.01,
        warmup=1350,
        steps=steps,
        clip=1.0,
    )


def _llmc8(layers: int) -> Family:
    config = {"n_layer": layers, "d_model": 128, "n_head": 4, "d_ff": 512, "max_seq_len": 8, "vocab_size": 128}
    return Family(
        config | {"bias": True, "gelu": "tanh"},
        llmc8_batches,
        batch=4_703,
        scored=range(4, 5),
        tokens=101,
        lr=1e-3,
        betas=(0.9, 0.98),
        weight_decay=1.0,
        uniform_biases=True,
    )


def _text9() -> Family:
    config = {"n_layer": 4, "d_model": 256, "n_head": 4, "d_ff": 1024, "max_seq_len": 16, "vocab_size": 104}
    return Family(
        config | {"bias": True, "dropout": 0.1}, text9_batches, batch=256, scored=range(8), tokens=104, lr=1e-3
    )


_RANKS = {"pos_rank": 3, "qkv_rank": 3, "attn_out_rank": 2, "ffn_rank": 3}
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "addition-456": _addition(0.02, 54_000, d_model=7, d_ff=14, use_rmsnorm=True, tie_qkv="shareA_tieKV", **_RANKS),
        "addition-1128": _addition(0.015, 30_000, d_model=8, d_ff=28),
        "llmc8-1": _llmc8(1),
        "llmc8-2": _llmc8(2),
        "text9-v1": _text9(),
    }
)


def initialise(model: Decoder, family: Family, generator: torch.Generator) -> None:
    """The published rules: N(0, 0.02), or sqrt(2 / (rows + cols)) for low-rank factors that are not positions."""
    for name, tensor in model.named_parameters():
        if tensor.dim() == 2:
            low_rank = not name.endswith(".weight") and not name.startswith("pos_emb.")
            nn.init.normal_(tensor, std=math.sqrt(2 / sum(tensor.shape)) if low_rank else 0.02, generator=generator)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            bound = module.in_features**-0.5 if family.uniform_biases else 0.0
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    with torch.no_grad():
        model.token_emb.weight[family.tokens :] = 0.0


class Loop:
    """One model in training.

    Dropout draws from torch's global stream, which has no other way in; all else comes from `seed`.
    """

    def __init__(self, family: Family, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.family, self.model = family, Decoder(family.config)
        initialise(self.model, family, generator)
        self._rows = family.rows(family, generator, seed)
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=family.lr, betas=family.betas, weight_decay=family.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._share) if family.steps else None

    def train(self, steps: int) -> float:
        """Take so many steps; the loss of the last one, in nats."""
        loss = torch.tensor(math.nan)
        for _ in range(steps):
            loss = self.loss(next(self._rows))
            self._optimiser.zero_grad()
            loss.backward()
            if self.family.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.family.clip)
            self._optimiser.step()
            if self._schedule:
                self._schedule.step()
        return loss.item()

    def loss(self, rows: Tensor) -> Tensor:
        """Mean loss of rows (B, T + 1) at the scored positions."""
        scored = slice(self.family.scored.start, self.family.scored.stop)
        logits, targets = self.model(rows[:, :-1])[..., : self.family.tokens], rows[:, 1:]
        if self.family.masked:
            masked = torch.full_like(targets, -100)
            masked[:, scored] = targets[:, scored]
            return F.cross_entropy(logits.flatten(0, 1), masked.flatten(), ignore_index=-100)
        return F.cross_entropy(logits[:, scored].flatten(0, 1), targets[:, scored].flatten())

    def _share(self, step: int) -> float:
        """Linear warm-up, then a cosine down to a tenth."""
        warmup, steps = self.family.warmup, self.family.steps
        if step < warmup:
            return (step + 1) / warmup
        return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def main() -> None:
    """Train one family and print what came of it."""
    parser = argparse.ArgumentParser(description="Train one family the plain way, on one thread.")
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--steps", type=int, default=200, help="default 200")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)  # noqa: TID251 - dropout has no generator of its own
    loop = Loop(FAMILIES[options.family], options.seed)
    parameters = sum(tensor.numel() for tensor in loop.model.parameters())
    print(f"{options.family}: {parameters:,} parameters, batch {loop.family.batch:,}, torch {torch.__version__}")
    done, seconds = 0, 0.0
    while done < options.steps:
        part = min(max(options.steps // 10, 1), options.steps - done)
        began = time.perf_counter()
        loss = loop.train(part)
        seconds += time.perf_counter() - began
        done += part
        print(f"step {done:6,}  loss {loss:.4f}  {done / seconds:8.2f} steps/s")


if __name__ == "__main__":
    main()
