"""`reprogrok predict CKPT A B`: one answer, token by token, with how sure the model was of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reprogrok.cli.options import DEVICE, PARAMS
from reprogrok.errors import ExitCode, InputError

if TYPE_CHECKING:
    from reprogrok.tasks.split_modular import SplitModular


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .pt, .safetensors or llm.c .bin file.", show_default=False)
    ],
    a: Annotated[str, typer.Argument(metavar="A", help="First operand.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Second operand.", show_default=False)],
    device: DEVICE = "auto",
    experiment: Annotated[str | None, typer.Option(help="Whose task it is, if the file does not say.")] = None,
    params: PARAMS = Path("params.yaml"),
) -> None:
    """Ask a model for one answer; exit 0 if it is right, 1 if it is wrong.

    The operands of a modular task are residues, or the numbers of elements of S5. A margin is the model's lead, in
    logits, for the right digit or residue over the best other token.
    """
    from reprogrok.evaluation.examination import examinee, task_of
    from reprogrok.evaluation.prediction import prediction_table
    from reprogrok.formats.checkpoints import load_checkpoint
    from reprogrok.model.device import choose_device
    from reprogrok.params import read_params
    from reprogrok.tasks.addition import Addition
    from reprogrok.tasks.problems import Pairs

    chosen = None if experiment is None else read_params(params).experiment(experiment, params)
    loaded = load_checkpoint(checkpoint)
    task = task_of(loaded, chosen)
    if isinstance(task, Addition):
        operands = [_operand(name, text, task.digits) for name, text in (("A", a), ("B", b))]
        lines = [f"{operands[0]} + {operands[1]} = {sum(operands)}"]
    else:
        operands = [_element(name, text, task.values) for name, text in (("A", a), ("B", b))]
        lines = _equation_lines(task, *operands)
    model = examinee(loaded, task, choose_device(device))

    import torch

    from reprogrok.console import console

    pairs = Pairs(*(torch.tensor([value]) for value in operands))
    answer, logits = model.generate(pairs)
    expected = task.encode(pairs.a, pairs.b)[0, task.prompt_length :][: task.answer_length]
    console().print(prediction_table(task, answer[0], logits[0], expected))
    right = torch.equal(answer[0], expected)
    said = f"the model answers {task.text(answer[0].tolist())}: {'right' if right else 'WRONG'}"
    typer.echo("\n".join([*lines[1:], f"{lines[0]}; {said}"]))
    raise typer.Exit(ExitCode.PASS if right else ExitCode.FAIL)


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
    """The equation with its answer, and on which side of the split it stands."""
    if task.answer(a, b) is None:
        formula = f"{task.rule.formula.split(' (mod')[0]} is not defined there"
        raise InputError(formula, field="A B", expected="operands that have an answer", found=f"{a} {b}")
    return [task.equation(a, b), f"this equation is {task.side(a, b)}"]
