"""Small models of the addition family, two and three digits, whose every problem can be tried.

    drawn      weights at random, norms and biases too, scaled so that attention and answers are far from uniform
    trained    kept in golden/small_adders.safetensors: right on everything, or wrong on thousands, hundreds, a few
    moved      a trained one, every tensor moved in a random direction by a share of its own size

The kept ones were trained by this file, `python tests/certificate_models.py` (about half an hour), which writes them
anew: whole stacks of seeds, and of each seed the first states that were wrong on less than so many problems. They are
rounded to float16 before they are judged and kept, one flat vector a model in the order of `parameter_shapes`.

Axes: R replicas, B problems, V vocabulary, Q answer places.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch.nn import functional as F

from reprogrok.files import write_bytes
from reprogrok.model.decoder import logits
from reprogrok.model.initialise import initial_weights
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.model import ModelSpec
from reprogrok.tasks.addition import VOCABULARY, Addition
from reprogrok.tasks.streams import Purpose, standard_normal

KEPT = Path(__file__).parent / "golden" / "small_adders.safetensors"
SEEDS = (1, 2, 3, 4)
MARKS = (0.05, 0.005, 0.0005, 0)  # of each seed the first state that is wrong on no larger a share
LEARNT = 0.3  # the last state is kept if it is wrong on less


@dataclass(frozen=True)
class SmallModel:
    """One set of weights: `kind` is drawn, trained or moved; `name` says which, for a table."""

    name: str
    kind: str
    digits: int
    spec: ModelSpec
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one stack of seeds is trained."""

    name: str
    digits: int
    spec: ModelSpec
    steps: int
    lr: float = 0.02
    batch: int = 256


def small_spec(digits, width, hidden, ranks=(0, 0, 0, 0), *, norm="layer", tie="none"):
    """A spec of the family: one layer, one head; ranks of positions, query-key-value, output, MLP."""
    return ModelSpec(
        1, width, 1, hidden, 3 * digits + 3, VOCABULARY, *ranks, use_rmsnorm=norm == "rms", tie_qkv=tie
    )  # fmt: skip


TIED = "shareA_tieKV"
RECIPES = (
    Recipe("two full", 2, small_spec(2, 7, 28), 2_500),
    Recipe("two narrow rms", 2, small_spec(2, 6, 20, norm="rms"), 2_500),
    Recipe("two tied", 2, small_spec(2, 8, 24, (0, 3, 0, 0), norm="rms", tie=TIED), 2_500),
    Recipe("two ranks", 2, small_spec(2, 7, 16, (3, 3, 3, 0)), 4_000),
    Recipe("three full", 3, small_spec(3, 7, 28), 4_000),
    Recipe("three rms", 3, small_spec(3, 7, 16, norm="rms"), 4_000),
    Recipe("three tied", 3, small_spec(3, 8, 24, (3, 3, 0, 0), norm="rms", tie=TIED), 4_000),
)


def drawn(digits, seed):
    """Shape and weights at random: both norms, both tie modes, ranks 0 to 3, one head; scales from 1 to 50 times.

    Scales are of what an initialisation has (0.02 for embeddings): with 1 hardly anything is decided, with 50 attention
    looks at single tokens and the MLP saturates.
    """
    generator = torch.Generator().manual_seed(1_000 * digits + seed)

    def pick(*values):
        return values[int(torch.randint(len(values), (), generator=generator))]

    ranks = tuple(pick(0, 1, 2, 3) for _ in range(4))
    tie = pick("none", TIED) if ranks[1] else "none"
    spec = small_spec(digits, pick(4, 5, 6, 7, 8), pick(8, 14, 20, 28), ranks, norm=pick("layer", "rms"), tie=tie)
    embeddings, attention, mlp = (pick(1.0, 4.0, 15.0, 50.0) for _ in range(3))
    weights = {}
    for name, tensor in initial_weights(spec, seed).items():
        if tensor.dim() == 1:
            noise = standard_normal(seed, Purpose.STRESS, len(weights), tensor.numel()).float()
            weights[name] = tensor + 0.3 * noise
        else:
            scale = embeddings if "emb" in name else attention if "attn" in name else mlp
            factors = 2 if name.rsplit(".", 1)[1] != "weight" else 1
            weights[name] = tensor * scale ** (1 / factors)
    return SmallModel(f"drawn {seed}", "drawn", digits, spec, weights)


def moved(model, seed, share):
    """Every tensor of a model moved by `share` of its root mean square along a random direction, the seed's own."""
    weights = {}
    for label, (name, tensor) in enumerate(model.weights.items()):
        noise = standard_normal(seed, Purpose.STRESS, label, tensor.numel()).float().reshape(tensor.shape)
        weights[name] = tensor + share * float(tensor.square().mean().sqrt()) * noise
    return replace(model, name=f"{model.name} moved {seed} by {share:g}", kind="moved", weights=weights)


def kept(digits):
    """The trained models of the file, in its order."""
    with safetensors.safe_open(KEPT, framework="pt") as file:
        known = json.loads(file.metadata()["models"])
        for name, entry in known.items():
            if entry["digits"] == digits:
                spec = ModelSpec(**entry["spec"])
                yield SmallModel(name, "trained", digits, spec, _unflattened(spec, file.get_tensor(name).float()))


def _unflattened(spec, flat):
    shapes = parameter_shapes(spec)
    parts = flat.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.reshape(shape).clone() for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def train(recipe):
    """Train a stack of seeds; yields (seed, step, share of problems that are wrong, weights) of the states to keep.

    Plain AdamW on uniform problems, gradient norms clipped at 1, warm-up and a cosine as in the family's training.
    """
    spec, task, R = recipe.spec, Addition(recipe.digits), len(SEEDS)
    starts = [initial_weights(spec, seed) for seed in SEEDS]
    weights = {name: torch.stack([start[name] for start in starts]).requires_grad_() for name in starts[0]}
    optimiser = torch.optim.AdamW(weights.values(), lr=recipe.lr, weight_decay=0.01)
    generator = torch.Generator().manual_seed(recipe.digits)
    marks = [list(MARKS) for _ in SEEDS]
    for step in range(1, recipe.steps + 1):
        phase = min(20 * step / recipe.steps, 1) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / recipe.steps)))
        optimiser.param_groups[0]["lr"] = recipe.lr * phase
        tokens = task.columns(*torch.randint(0, 10**recipe.digits, (2, R, recipe.batch), generator=generator))
        found_RVQB = logits(spec, weights, tokens[:, :-1], task.first_answer)[:, :, :-1]
        loss = F.cross_entropy(found_RVQB.transpose(0, 1).flatten(1).T, tokens[:, task.prompt_length : -1].flatten())
        optimiser.zero_grad()
        (loss * R).backward()
        squares_R = sum(each.grad.flatten(1).square().sum(1) for each in weights.values())
        for each in weights.values():
            each.grad.mul_((1 / squares_R.sqrt().clamp(min=1)).reshape([R] + [1] * (each.dim() - 1)))
        optimiser.step()
        if step % 50 == 0 or step == recipe.steps:
            now = {name: tensor.detach().half().float() for name, tensor in weights.items()}
            shares = _wrong_shares(task, spec, now, generator)
            for slot, (seed, share) in enumerate(zip(SEEDS, shares, strict=True)):
                if (marks[slot] and share <= marks[slot][0]) or (step == recipe.steps and share < LEARNT):
                    marks[slot] = [mark for mark in marks[slot] if mark < share]
                    yield seed, step, share, {name: tensor[slot] for name, tensor in now.items()}


def _wrong_shares(task, spec, weights, generator):
    """Of each replica, on all problems of two digits or a sample of 50,000 of three."""
    if task.digits == 2:
        a, b = torch.arange(10_000) // 100, torch.arange(10_000) % 100
    else:
        a, b = torch.randint(0, 10**task.digits, (2, 50_000), generator=generator)
    tokens = task.columns(*torch.stack([a, b]).unsqueeze(1).expand(-1, len(SEEDS), -1))
    with torch.no_grad():
        answers = logits(spec, weights, tokens[:, :-1], task.first_answer)[:, :, :-1].argmax(1)
    return (answers != tokens[:, task.prompt_length : -1]).any(1).double().mean(1).tolist()


def main(names: Iterator[str]) -> None:
    """Train the recipes that are named, all without a name, and put what they leave into the file."""
    torch.set_num_threads(1)
    wanted = set(names)
    for recipe in RECIPES:
        if wanted and recipe.name not in wanted:
            continue
        known, flat = {}, {}
        for seed, step, share, weights in train(recipe):
            name = f"{recipe.name} {seed} step {step}"
            print(f"{name}: wrong {share:.5f}", flush=True)  # noqa: T201 - its report
            known[name] = {"digits": recipe.digits, "spec": recipe.spec.as_dict()}
            flat[name] = torch.cat([weights[each].flatten() for each in parameter_shapes(recipe.spec)]).half()
        _keep(known, flat)


def _keep(known, flat):
    if KEPT.exists():
        with safetensors.safe_open(KEPT, framework="pt") as file:
            known = json.loads(file.metadata()["models"]) | known
            flat = {name: file.get_tensor(name) for name in file.keys()} | flat  # noqa: SIM118 - not a mapping
    flat = {name: flat[name] for name in known}
    write_bytes(KEPT, safetensors.torch.save(flat, {"models": json.dumps(known)}))


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
