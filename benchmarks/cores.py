"""The same trainer in one process per core, each with one thread, all training at once.

Processes are spawned and build their own trainer; they stand still, holding no core, between calls of `train`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol, Self

from reprogrok.model.device import choose_device


class Trainer(Protocol):
    """Anything that advances by so many steps."""

    def train(self, steps: int) -> object:
        """Take so many steps."""


class EveryCore:
    """`count` processes, each with what `make()` returns there; a context manager that ends them."""

    def __init__(self, make: Callable[[], Trainer], count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        for _ in range(count):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_work, args=(there, make), daemon=True)
            process.start()
            there.close()  # so that a process that dies is seen as the end of its pipe
            self._pipes.append(here)
            self._processes.append(process)
        self._wait()

    def train(self, steps: int) -> None:
        """Let each of them take so many steps; returns when the last has.

        Raises:
            EOFError: one of them died; its traceback is on stderr.
        """
        for pipe in self._pipes:
            pipe.send(steps)
        self._wait()

    def _wait(self) -> None:
        for pipe in self._pipes:
            pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


def _work(orders: Connection, make: Callable[[], Trainer]) -> None:
    choose_device("cpu")  # one thread, and freed memory kept, for every contender alike
    trainer = make()
    orders.send("ready")
    while True:
        try:
            steps = orders.recv()
        except EOFError:
            return
        trainer.train(steps)
        orders.send("done")
