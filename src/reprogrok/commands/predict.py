"""`reprogrok predict`: one problem -> the model's answer token by token, with the margin of each."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from reprogrok.console import console
from reprogrok.errors import ExitCode, InputError
from reprogrok.evaluation.examination import examinee, task_of
from reprogrok.evaluation.prediction import prediction_table
from reprogrok.formats.checkpoints import load_checkpoint
from reprogrok.model.device import choose_device
from reprogrok.params import read_params
from reprogrok.tasks.addition import Addition
from reprogrok.tasks.problems import Pairs
from reprogrok.tasks.split_modular import SplitModular


def run(path: Path, a: str, b: str, *, device: str, experiment: str | None, params: Path) -> ExitCode:
    """Ask a model for one answer; FAIL if it is wrong.

    Raises:
        InputError: the checkpoint cannot be examined, or an operand is not one of its task.
    """
    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    loaded = load_checkpoint(path)
    task = task_of(loaded, chosen)
    if isinstance(task, Addition):
        operands = [_operand(name, text, task.digits) for name, text in (("A", a), ("B", b))]
        equation, *notes = [f"{operands[0]} + {operands[1]} = {sum(operands)}"]
    else:
        operands = [_element(name, text, task.values) for name, text in (("A", a), ("B", b))]
        equation, *notes = _equation_lines(task, *operands)
    model = examinee(loaded, task, choose_device(device))
    pairs = Pairs(*(torch.tensor([value]) for value in operands))
    answer, logits = model.generate(pairs)
    expected = task.encode(pairs.a, pairs.b)[0, task.prompt_length :][: task.answer_length]
    console().print(prediction_table(task, answer[0], logits[0], expected))
    right = torch.equal(answer[0], expected)
    said = f"the model answers {task.text(answer[0].tolist())}: {'right' if right else 'WRONG'}"
    sys.stdout.write("".join(f"{line}\n" for line in (*notes, f"{equation}; {said}")))
    return ExitCode.PASS if right else ExitCode.FAIL


def _operand(name: str, text: str, digits: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > digits:
        raise InputError(field=name, expected=f"a whole number of at most {digits} digits", found=text)
    return int(text)


def _element(name: str, text: str, values: int) -> int:
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit()) or len(digits) > len(str(values)) or int(digits) >= values:
        raise InputError(field=name, expected=f"a whole number from 0 to {values - 1}", found=text)
    return int(digits)


def _equation_lines(task: SplitModular, a: int, b: int) -> list[str]:
    """Return the equation with its answer, and the side of the split it is on."""
    if task.answer(a, b) is None:
        formula = f"{task.rule.formula.split(' (mod')[0]} is not defined there"
        raise InputError(formula, field="A B", expected="operands that have an answer", found=f"{a} {b}")
    return [task.equation(a, b), f"this equation is {task.side(a, b)}"]
