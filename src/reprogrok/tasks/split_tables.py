"""The audit of a split -> tables and a summary in words, or a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reprogrok.spec.task import ModularTask, OwnSplitSpec, SplitSpec
from reprogrok.tasks.split_audit import SplitAudit
from reprogrok.text import counted

_COLUMNS = {"a": "first operand", "b": "second operand", "answer": "answer"}
# Fields of `Ceilings` in display order; only the last is about learners that generalise.
_LEARNERS = {
    "pairs": "memorises pairs",
    "swaps": "memorises pairs and swaps operands",
    "constant": "always answers {}, the most frequent in training",
    "memoriser": "memorises, swaps, else gives that answer",
    "support": "gives any answer seen in training",
}


def task_text(task: ModularTask) -> str:
    """Describe a task: `add mod 97 in llmc8` or `s5 in power5`."""
    return f"{task.operation}{'' if task.modulus is None else f' mod {task.modulus}'} in {task.format}"


def split_text(spec: SplitSpec) -> str:
    """Describe a split: `random, 0.5 of the equations train, seed 42` and so on."""
    details = []
    if spec.fraction is not None:
        details.append(f"{spec.fraction:g} of the equations train")
    for name, bounds in (("train", spec.train), ("test", spec.test)):
        if bounds is not None:
            details.append(f"answers {bounds[0]} to {bounds[1] - 1} {name}")
    if spec.held is not None:
        details.append(f"operands held out: {', '.join(map(str, spec.held))}")
    if isinstance(spec, OwnSplitSpec):
        details += [f"{name} {value}" for name, value in spec.settings.items()]
    return ", ".join([spec.kind, *details, f"seed {spec.seed}"])


def summary(audit: SplitAudit) -> list[str]:
    """Explain the numbers in one to three sentences."""
    return list(_sentences(audit))


def _sentences(audit: SplitAudit) -> Iterator[str]:
    ceilings, answers, test = audit.ceilings, audit.answers, audit.test
    if audit.pairs_on_both_sides:
        shared = _of_total(audit.pairs_on_both_sides, test)
        yield f"{shared} of the test examples are trained on: the test is not clean."
    if ceilings.support == 0:
        yield (
            "No test answer ever occurs as a training answer: the answers cannot be learned from this training set, "
            "and a learner that gives only answers it has seen scores 0."
        )
        return
    if answers.unseen:
        yield (
            f"{counted(answers.unseen, 'answer')} of the test set never occur as training answers: a learner that "
            f"gives only answers it has seen scores at most {_percent(ceilings.support, test)}."
        )
    if audit.twins:
        yield (
            f"{_of_total(audit.twins, test)} of the test examples are trained on with their operands swapped: a test "
            f"accuracy up to {_percent(ceilings.memoriser, test)} needs only that rule and one constant answer."
        )
    else:
        yield (
            f"Memorising, swapping and guessing reach at most {_percent(ceilings.memoriser, test)} of the test set: "
            "a higher accuracy takes more than memorisation."
        )


def print_split(name: str, task: ModularTask, audit: SplitAudit, console: Console) -> None:
    """Print sizes, coverage, leaks across the split, ceilings and the summary."""
    console.print(Text(f"{name}: {task_text(task)}", style="bold"), soft_wrap=True)
    console.print(f"  split: {split_text(task.split)}", soft_wrap=True)
    for line in _size_lines(audit):
        console.print(f"  {line}", soft_wrap=True)
    console.print(_coverage(audit))
    console.print(_ceilings(audit))
    for sentence in summary(audit):
        console.print(sentence)


def _size_lines(audit: SplitAudit) -> Iterator[str]:
    left_out = f" ({audit.left_out:,} of them fill no block of the batch and are never trained on)"
    parts = [f"{audit.train:,} train{left_out if audit.left_out else ''}", f"{audit.test:,} test"]
    parts += [f"{audit.validation:,} validate"] if audit.validation else []
    parts += [f"{audit.neither:,} in no part"] if audit.neither else []
    yield f"{audit.equations:,} equations: {', '.join(parts)}"
    yield f"test pairs that are also trained on: {audit.pairs_on_both_sides:,} of {audit.test:,}"
    rule = "always" if audit.commutes else "not always"
    yield f"test pairs whose swapped pair is trained on with the same answer: {audit.twins:,} of {audit.test:,}"
    yield f"swapping the operands keeps the answer: {rule}"


def _coverage(audit: SplitAudit) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("different values")
    for heading in ("all", "train", "test", "test only", "test examples with those"):
        table.add_column(heading, justify="right")
    for row in audit.coverage:
        counts = (row.possible, row.train, row.test, row.unseen)
        examples = f"{row.unseen_examples:,} of {audit.test:,}"
        table.add_row(_COLUMNS[row.column], *(f"{count:,}" for count in counts), examples)
    return table


def _ceilings(audit: SplitAudit) -> Table:
    table = Table(box=SIMPLE)
    table.add_column("a learner that")
    table.add_column("right at most", justify="right")
    table.add_column("accuracy", justify="right")
    for name, learner in _LEARNERS.items():
        count = getattr(audit.ceilings, name)
        text = learner.format(audit.ceilings.constant_answer)
        table.add_row(text, f"{count:,} of {audit.test:,}", _percent(count, audit.test))
    return table


def document_of(name: str, task: ModularTask, audit: SplitAudit) -> dict[str, object]:
    """Return the audit as plain data: counts, ceilings with accuracies, and the summary as `verdict`."""
    rights = {learner: getattr(audit.ceilings, learner) for learner in _LEARNERS}
    ceilings = {
        learner: {"right": right, "n": audit.test, "accuracy": right / audit.test} for learner, right in rights.items()
    }
    counts = {key: value for key, value in asdict(audit).items() if key not in ("coverage", "ceilings")}
    return {
        "experiment": name,
        "task": asdict(task),
        **counts,
        "coverage": [asdict(row) for row in audit.coverage],
        "ceilings": ceilings,
        "constant_answer": audit.ceilings.constant_answer,
        "verdict": " ".join(summary(audit)),
    }


def _of_total(count: int, total: int) -> str:
    return f"{count:,} of {total:,} ({_percent(count, total)})"


def _percent(count: int, total: int) -> str:
    """Write an exact percentage without interval; 0 and 100 only where they are exact."""
    if count in (0, total):
        return f"{100 * count // total} %"
    return f"{min(max(100 * count / total, 0.01), 99.99):.2f} %"
