"""`python tests/campaign certificates [--short] [--broken]`: certificates against what models really do.

    sets      small models, every problem tried: verdicts, counts, statuses and bounds of every leaf
    moved     proved models moved along random directions until they break: the certificate breaks no later
    sampled   ten digits: uniform problems and every stress stratum against each leaf's box and bounds

--broken puts mistakes into the checker, one at a time, and wants each to be found. Exit code 1 if a statement failed
(or, with --broken, a mistake was not found). What is compared stands in tests/certificate_statements.py.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from certificate_models import SmallModel, drawn, kept, moved
from certificate_mutants import FOUND_BY_TRIALS, NOT_SEEN, Case
from certificate_oracle import Problems, every_problem, tried
from certificate_statements import Bounded, Comparison, agreement, compare, searched

from reprogrok.certificate.checker.enclosure import Enclosure
from reprogrok.certificate.checker.rounding import FLOAT32, REAL
from reprogrok.exam.stress import strata
from reprogrok.formats.checkpoints import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SEED = 20_261_121
DRAWN = {2: 110, 3: 8}  # models with random weights, by digits
MOVED = {2: 6, 3: 3}  # models that are moved, those wrong on nothing
DIRECTIONS = {2: 2, 3: 1}
SHARES = tuple(0.001 * 1.6**step for step in range(11))  # of a tensor's root mean square
CHECKPOINTS = ("best_456p_s43", "e1-s22", "best_512params", "e15-s42", "e15-s47")
SAMPLED, OF_STRATUM, AT_ONCE, PATIENCE = 1_000_000, 10_000, 50_000, 30.0
_problems: dict[int, Problems] = {}
_sampled: dict[str, tuple[SmallModel, list[Bounded]]] = {}


@dataclass(frozen=True)
class Row:
    """A model's agreement without its arrays, as it comes back from another process."""

    name: str
    kind: str
    digits: int
    arithmetic: str
    verdict: str
    at_least: int
    at_most: int
    wrong: int
    leaves: int
    closest: float
    gap: float
    faults: tuple[str, ...]


def judge(job):
    """Try every problem of a model and compare its certificate, in both arithmetics."""
    model, seed = job
    _prepare(model.digits)
    seen = tried(model, *every_problem(model.digits), outputs=model.digits == 2)
    rows = []
    for arithmetic in (FLOAT32, REAL):
        rng, strays = np.random.default_rng([SEED, seed]), 0.2 if model.digits == 2 else 0.05
        found = agreement(model, _problems[model.digits], seen, rng, arithmetic, strays=strays, patience=5.0)
        gaps = np.concatenate([np.zeros(0), *found.bounds.gaps])
        rows.append(
            Row(
                model.name, model.kind, model.digits, arithmetic.name, found.verdict, found.at_least, found.at_most,
                found.double if arithmetic is REAL else found.single, found.bounds.leaves, found.bounds.closest,
                float(np.median(gaps)) if len(gaps) else np.nan, found.faults,
            )
        )  # fmt: skip
    return rows


def _prepare(digits):
    if digits not in _problems:
        _problems[digits] = Problems(digits, *(column.numpy() for column in every_problem(digits)))


def jobs(digits, *, short):
    """All small models of so many digits, each with a seed of its own."""
    trained = list(kept(digits))
    right = [model for model in trained if model.name in RIGHT][: 1 if short else MOVED[digits]]
    models = [drawn(digits, seed) for seed in range(4 if short else DRAWN[digits])]
    models += trained[-3:] if short else trained
    shares = SHARES[::4] if short else SHARES
    models += [moved(m, k, share) for m, k, share in itertools.product(right, range(DIRECTIONS[digits]), shares)]
    return [(model, 1_000 * digits + seed) for seed, model in enumerate(models)]


RIGHT = (
    "two full 1 step 2500", "two tied 4 step 2500", "two full 1 step 1550", "two tied 4 step 2150",
    "three full 4 step 4000", "three rms 3 step 4000", "three full 2 step 4000",
)  # fmt: skip


def carried_out(work, many, processes=None):
    """The results of a function on all cores, in order; who forks has no threads but its own."""
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(work, many)


def certificates(*, short, broken, say):
    """Carry out the campaign, or see that mistakes are found; the exit code."""
    torch.set_num_threads(1)
    began = time.monotonic()
    if broken:
        return find_mistakes(say)
    faults = small_models(say, (2,) if short else (2, 3), short=short) + sampled(say, short=short)
    for fault in faults:
        say(f"FAULT: {fault}")
    say(f"{len(faults)} faults; {time.monotonic() - began:.0f} s, torch {torch.__version__}, {os.cpu_count()} cores")
    return int(bool(faults))


def small_models(say, all_digits, *, short):
    """The tables of small models; returns what failed."""
    rows = []
    say(
        f"{'digits':<7}{'kind':<9}{'arithmetic':<11}{'sets':>5}{'proved':>7}{'decided':>8}{'partial':>8}"
        f"{'wrong problems':>18}{'equal':>7}{'contained':>10}{'leaves':>11}{'closest':>10}{'median gap':>11}"
    )
    for digits in all_digits:
        _prepare(digits)
        found = [row for pair in carried_out(judge, jobs(digits, short=short)) for row in pair]
        rows += found
        for kind, arithmetic in itertools.product(("drawn", "trained", "moved"), ("float32", "real")):
            say(_line(digits, kind, [row for row in found if (row.kind, row.arithmetic) == (kind, arithmetic)]))
    directions = {}
    for row in rows:
        if row.kind == "moved" and row.arithmetic == "float32":
            name, share = row.name.rsplit(" by ", 1)
            directions.setdefault(name, []).append((float(share), row))
    say(f"{'direction':<44}{'certificate breaks at':>22}{'model breaks at':>17}")
    for name, steps in directions.items():
        breaks = [
            next((f"{share:.4f}" for share, row in steps if test(row)), "-")
            for test in (lambda row: row.verdict != "proved", lambda row: row.wrong > 0)
        ]
        say(f"{name:<44}{breaks[0]:>22}{breaks[1]:>17}")
    return [f"{row.digits} digits, {row.name}, {row.arithmetic}: {fault}" for row in rows for fault in row.faults]


def _line(digits, kind, rows):
    verdicts = [sum(row.verdict == name for row in rows) for name in ("proved", "decided", "partial")]
    equal = sum(row.at_least == row.wrong == row.at_most for row in rows)
    contained = sum(row.at_least <= row.wrong <= row.at_most for row in rows)
    wrong = f"{min(row.wrong for row in rows):,}..{max(row.wrong for row in rows):,}"
    return (
        f"{digits:<7}{kind:<9}{rows[0].arithmetic:<11}{len(rows):>5}{verdicts[0]:>7}{verdicts[1]:>8}{verdicts[2]:>8}"
        f"{wrong:>18}{equal:>7}{contained:>10}{sum(row.leaves for row in rows):>11,}"
        f"{min(row.closest for row in rows):>10.2g}{np.nanmedian([row.gap for row in rows]):>11.2g}"
    )


def sampled(say, *, short):
    """Problems of ten-digit checkpoints against the bounds; returns what failed."""
    fixtures = ROOT / os.environ.get("REPROGROK_FIXTURES", "../shared/fixtures") / "checkpoints"
    found = {path.stem: path for folder in (fixtures, ROOT / "checkpoints") for path in folder.glob("*.pt")}
    faults = []
    say(
        f"{'checkpoint':<18}{'problems':>11}{'leaves':>9}{'closest':>10}{'median gap':>12}"
        f"{'fullest box':>13}{'faults':>8}"
    )
    for name in CHECKPOINTS[: 1 if short else None]:
        if name not in found:
            say(f"{name:<18} is not here")
            continue
        checkpoint = load_checkpoint(found[name])
        model = SmallModel(name, "published", 10, checkpoint.spec, checkpoint.weights)
        enclosure = Enclosure(model.spec, model.weights, 10)
        proofs = searched(model, enclosure, 0.0 if short else PATIENCE)
        _sampled[name] = model, [Bounded.of(enclosure, proof, box=True) for proof in proofs]
        parts = [(name, *part) for part in _ten_digits(20_000 if short else SAMPLED, 100 if short else OF_STRATUM)]
        seen = list(carried_out(_sample, parts))
        gaps = np.concatenate([np.concatenate(each.gaps) for each in seen])
        leaves = sum(len(each.leaves) for each in _sampled.pop(name)[1])
        mine = [fault for each in seen for fault in each.faults]
        say(
            f"{name:<18}{sum(len(part[1]) for part in parts):>11,}{leaves:>9,}"
            f"{min(each.closest for each in seen):>10.2g}"
            f"{np.median(gaps):>12.2g}{max(each.fullest for each in seen):>13.4%}{len(mine):>8}"
        )
        faults += [f"{name}: {fault}" for fault in mine]
    return faults


def _ten_digits(count, of_stratum):
    """Operands in portions: uniform ones, then those of every stress stratum."""
    uniform = torch.randint(0, 10**10, (2, count), generator=torch.Generator().manual_seed(SEED))
    stress = [torch.stack([each.pairs.a, each.pairs.b]) for each in strata(10, of_stratum)]
    return [portion.unbind() for portion in torch.cat([uniform, *stress], dim=1).split(AT_ONCE, dim=1)]


def _sample(part):
    name, a_B, b_B = part
    model, blocks = _sampled[name]
    seen, problems, comparison = (
        tried(model, a_B, b_B, outputs=True), Problems(10, a_B.numpy(), b_B.numpy()), Comparison()
    )  # fmt: skip
    for bounded in blocks:
        compare(comparison, bounded, problems, seen)
    return replace(comparison, gaps=[np.concatenate(comparison.gaps)[::50]])


def find_mistakes(say):
    """Every mistake against models that may show it; the exit code."""
    few = torch.randint(0, 1_000, (2, 50_000), generator=torch.Generator().manual_seed(1))
    some, rng = Problems(3, *(column.numpy() for column in few)), np.random.default_rng(3)
    _prepare(2)
    trained = {model.name: model for digits in (2, 3) for model in kept(digits)}
    chosen = [(drawn(2, 9), REAL), (trained[RIGHT[2]], REAL), (drawn(2, 10), FLOAT32), (drawn(2, 79), REAL)]
    known = [Case(model, _problems[2], every_problem(2), rng, arithmetic) for model, arithmetic in chosen]
    known.append(Case(trained[RIGHT[5]], some, few, rng, REAL, top=3))
    missed = 0
    for mistake in (*FOUND_BY_TRIALS, *NOT_SEEN):
        with mistake():
            found = [fault for case in known for fault in case.faults()]
        say(f"{mistake.__name__}: {len(found)} faults" + ", as is known" * (mistake in NOT_SEEN))
        if found:
            say(f"    {found[0]}")
        missed += not found and mistake not in NOT_SEEN
    return int(missed > 0)
