"""`python tests/campaign [calibration|certificates|attacks] [--short] [--broken] [--only PART]`: attack the promises.

calibration simulates studies whose truth is known and counts how often the statistics are wrong (calibration.py);
certificates are compared with every problem of small models, and samples of large ones (certificates.py); attacks are
made on a training run, and what was lost is counted. Without a word all are carried out.

PART, of the attacks, is `operations` (faults at every operation, every byte flipped), `kills` (random ones), `repro`
(DVC's), or `slots` (no attack: eight replicas in a stack against each of them alone). --short takes a sample that fits
into the tests. --broken runs, on builds with one guard taken out each and on rules that are wrong on purpose, what has
to find them: a campaign that cannot fail says nothing. Exit code 1 if anything was lost, missed, or not found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import resource_tracker
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # what the campaign shares with the tests
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))  # the plain decoder that judges ours

import torch
from attacks import (
    KINDS,
    Attack,
    damage_attacks,
    fault_attack,
    faults,
    flip_attacks,
    operations,
    stopped_work,
)
from builds import BROKEN, sound
from calibration import calibrate
from certificates import certificates
from kills import killed_repro, random_kills
from slots import slots_against_replicas_alone
from victim import Victim, make_victim

SHORT_EVERY = {"flip": 193, "fault": 53}  # of the bytes, of the faults
KILLS = 100
SLOT_STEPS = 200
PARTS = ("operations", "kills", "repro", "slots")
_prepared: list[Attack] = []


def main() -> int:
    """Carry out the campaign that was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", nargs="?", choices=("calibration", "certificates", "attacks"), help="one of them")
    parser.add_argument("--short", action="store_true", help="a sample")
    parser.add_argument("--broken", action="store_true", help="see that builds without a guard are found")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part of it")
    asked = parser.parse_args()
    failed = 0
    for name, campaign in (("calibration", calibrate), ("certificates", certificates)):
        if asked.campaign in {None, name} and not asked.only:
            failed = max(failed, campaign(short=asked.short, broken=asked.broken, say=say))
    return failed if asked.campaign in {"calibration", "certificates"} else max(failed, attack(asked))


def attack(asked: argparse.Namespace) -> int:
    """The attacks on a training run; the exit code."""
    torch.set_num_threads(1)
    _start_tracker()
    # A victim that was killed may have left a worker behind that still writes while its folder is removed.
    with tempfile.TemporaryDirectory(prefix="campaign-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        victim = make_victim(folder)
        if asked.broken:
            return find_broken_builds(victim, folder, short=asked.short)
        return attack_sound_build(victim, folder, asked.only or PARTS[: 1 if asked.short else None], short=asked.short)


def _start_tracker() -> None:
    """Let all children share one tracker of semaphores, whose word about those of the killed nobody needs."""
    errors = os.dup(2)
    with open(os.devnull, "wb") as null:  # noqa: PTH123 - not a path of the project
        os.dup2(null.fileno(), 2)
    resource_tracker.ensure_running()
    os.dup2(errors, 2)
    os.close(errors)


def attacks_on(victim: Victim, folder: Path, build: Callable[[], None], every: int) -> list[Attack]:
    """All attacks on a build, with every `every`-th byte flipped."""
    stopped = stopped_work(victim, folder)
    points = operations(victim, folder, build)
    return [
        *(fault_attack(victim, folder, build, fault) for fault in faults(points)),
        *damage_attacks(victim, folder, build),
        *flip_attacks(stopped, folder, build, every),
    ]


def attack_sound_build(victim: Victim, folder: Path, parts: Sequence[str], *, short: bool) -> int:
    """The campaign itself: everything, or a sample; prints what was tried, survived and lost."""
    began = time.monotonic()
    tried: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    if "operations" in parts:
        attacks = attacks_on(victim, folder, sound, SHORT_EVERY["flip"] if short else 1)
        for attack, reason in carry_out(sample(attacks) if short else attacks):
            tried[KINDS[attack.kind]] += attack.tries
            if reason is not None:
                lost[KINDS[attack.kind]] += 1
                say(f"LOST: {attack.name}: {reason}")
    for part, what, campaign, times in (
        ("kills", "killed at a random time", random_kills, KILLS),
        ("repro", "dvc repro killed while it trained", killed_repro, 2),
        ("slots", "a replica alone against its slot of eight", slots_against_replicas_alone, SLOT_STEPS),
    ):
        if part in parts:
            tried[what], reasons = campaign(folder / part, times)
            lost[what] = len(reasons)
            for reason in reasons:
                say(f"LOST: {reason}")
    say(f"{'attack':<44}{'tried':>8}{'survived':>10}{'lost':>6}")
    for what in tried:
        say(f"{what:<44}{tried[what]:>8,}{tried[what] - lost[what]:>10,}{lost[what]:>6,}")
    say(f"{'all':<44}{tried.total():>8,}{tried.total() - lost.total():>10,}{lost.total():>6,}")
    say(f"{time.monotonic() - began:.0f} s, torch {torch.__version__}, {os.cpu_count()} cores")
    return int(lost.total() > 0)


def sample(attacks: list[Attack]) -> Iterator[Attack]:
    """The flips, which are a sample already, every damage, and some of every other kind."""
    by_kind: Counter[str] = Counter()
    for attack in attacks:
        if attack.kind in {"flip", "damage"} or by_kind[attack.kind] % SHORT_EVERY["fault"] == 0:
            yield attack
        by_kind[attack.kind] += 1


def find_broken_builds(victim: Victim, folder: Path, *, short: bool) -> int:
    """Each broken build against the attacks that have to find it, in short until one has; prints which one did."""
    missed = 0
    for build, pattern in BROKEN.items():
        place = folder / build.__name__
        place.mkdir()
        attacks = [attack for attack in attacks_on(victim, place, build, 97) if re.search(pattern, attack.name)]
        tried, found = 0, []
        for attack, reason in carry_out(attacks):
            tried += 1
            if reason is not None:
                found.append((attack.name, reason))
                if short:
                    break
        say(f"{build.__name__}: {len(found)} of {tried} attacks found it")
        if found:
            say(f"    {found[0][0]}: {found[0][1].splitlines()[-1]}")
        missed += not found
    return int(missed > 0)


def carry_out(attacks: Iterable[Attack]) -> Iterable[tuple[Attack, str | None]]:
    """Every attack with the reason why something was lost, on all cores; who forks has no threads but its own."""
    _prepared[:] = attacks
    with multiprocessing.get_context("fork").Pool() as pool:
        for index, reason in pool.imap_unordered(_one, range(len(_prepared))):
            yield _prepared[index], reason


def _one(index: int) -> tuple[int, str | None]:
    return index, _prepared[index].run()


def say(line: str) -> None:
    """Print at once: the campaign takes minutes."""
    print(line, flush=True)  # noqa: T201 - its report


if __name__ == "__main__":
    sys.exit(main())
