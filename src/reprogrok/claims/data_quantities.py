"""An experiment of params.yaml -> quantities that need no training: sizes, splits, loss bounds, shapes, settings.

    Experiment --split audit, loss bounds, shapes--> entry of DATA --> Measured, or Missing with the reason

Everything is counted or computed exactly, so there are no intervals and no device matters. A count has the definition
`count`, a fraction of a count `share`; any other number is defined by its formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from reprogrok.claims.claims import Quantity
from reprogrok.claims.measurements import Measured, Measurement, misasked
from reprogrok.formats.llmc_models import padded
from reprogrok.metrics.bounds import largest_entropy
from reprogrok.model.shapes import count_parameters
from reprogrok.runs.identity import flatten
from reprogrok.spec.experiment import Experiment
from reprogrok.spec.task import FORMATS, ModularTask
from reprogrok.tasks.loss_bounds import CHANCE, MEMORISED, TASK_KNOWN, LossBounds, loss_bounds
from reprogrok.tasks.modular import Modular
from reprogrok.tasks.split_audit import SplitAudit, audit_split

COUNT, SHARE, UNIQUE = "count", "share", "unique-after-tying"
LARGEST_ENTROPY, ONE_OF_T, LN_P = "ln(T!)/T", "1/T", "ln(p)"


@dataclass(frozen=True)
class DataQuantity:
    """A quantity of an experiment that needs no training.

    Attributes:
        definitions: ids that it answers to; none for a setting, whose definition is its path.
        unit: unit of the value.
        measure: (experiment, quantity) -> measurement.
        says: the definition, for people.
    """

    definitions: tuple[str, ...]
    unit: str
    measure: Callable[[Experiment, Quantity], Measurement]
    says: str


def measure_data(experiment: Experiment, quantity: Quantity) -> Measurement:
    """Return the measurement of a quantity for an experiment.

    Raises:
        InputError: its split cannot be made.
    """
    if (entry := DATA.get(quantity.name)) is None:
        return misasked(f"{quantity.name} does not follow from data: what does is {', '.join(DATA)}")
    if entry.definitions and quantity.definition not in entry.definitions:
        return misasked(f"the definition of {quantity.name} is {' or '.join(entry.definitions)}")
    return entry.measure(experiment, quantity)


@cache
def _audit(task: ModularTask, block: int | None) -> SplitAudit:
    return audit_split(task, block=block)


@cache
def _loss_bounds(task: ModularTask, block: int | None) -> LossBounds:
    return loss_bounds(task, block=block)


def _of_split(count: Callable[[SplitAudit], int]) -> Callable[[Experiment, Quantity], Measurement]:
    def counted(experiment: Experiment, _quantity: Quantity) -> Measurement:
        if not isinstance(experiment.task, ModularTask):
            return misasked("the examples of addition are drawn, not split")
        return Measured(float(count(_audit(experiment.task, experiment.block))))

    return counted


def _fraction_of_test(count: Callable[[SplitAudit], int]) -> Callable[[Experiment, Quantity], Measurement]:
    def measured(experiment: Experiment, _quantity: Quantity) -> Measurement:
        if not isinstance(experiment.task, ModularTask):
            return misasked("the examples of addition are drawn, not split")
        audit = _audit(experiment.task, experiment.block)
        return Measured(count(audit) / audit.test, k=count(audit), n=audit.test)

    return measured


def _parameters(experiment: Experiment, _quantity: Quantity) -> Measurement:
    return Measured(float(count_parameters(experiment.model)))


def _vocabulary(experiment: Experiment, quantity: Quantity) -> Measurement:
    rows = experiment.task.vocab_size
    return Measured(float(padded(rows) if quantity.name == "padded_vocabulary" else rows))


def _positions(experiment: Experiment) -> int:
    task = experiment.task
    return FORMATS[task.format].positions if isinstance(task, ModularTask) else task.max_seq_len


def _scored(experiment: Experiment, _quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask):
        return misasked("asked of modular tasks only")
    return Measured(float(len(experiment.task.scored)))


def _predicted(experiment: Experiment, _quantity: Quantity) -> Measurement:
    """Return the number of positions that predict a token of the same equation."""
    task = experiment.task
    if not isinstance(task, ModularTask):
        return misasked("asked of modular tasks only")
    predicted = Modular(task.operation, task.modulus, task.format).predicted
    return Measured(float(len(predicted) - (predicted[-1] == "bos")))


def _batch_fraction(experiment: Experiment, _quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask):
        return misasked("the examples of addition are drawn without end")
    rows = _audit(experiment.task, None).train
    return Measured(min(1.0, experiment.batch / rows), k=min(experiment.batch, rows), n=rows)


def _block_rows(experiment: Experiment, _quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask) or experiment.block is None:
        return misasked("its batches are not fixed blocks")
    audit = _audit(experiment.task, experiment.block)
    return Measured(float(audit.train - audit.left_out))


def _loss_bound(experiment: Experiment, quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask):
        return misasked("loss bounds are known for modular tasks only")
    bounds = _loss_bounds(experiment.task, experiment.block)
    found = bounds.bound(quantity.definition, quantity.side or "training")
    nats = found.mean(bounds.windows[quantity.window or bounds.window])
    if math.isnan(nats):
        return misasked("what is known does not say what follows some prefix")
    return misasked("it is infinite: some token never follows its prefix") if math.isinf(nats) else Measured(nats)


def _largest_entropy(experiment: Experiment, _quantity: Quantity) -> Measurement:
    return Measured(largest_entropy(_positions(experiment)))


def _answer_fraction(experiment: Experiment, _quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask):
        return misasked("asked of modular tasks only")
    scored = len(experiment.task.scored)
    return Measured(1 / scored, k=1, n=scored)


def _uniform_loss(experiment: Experiment, _quantity: Quantity) -> Measurement:
    if not isinstance(experiment.task, ModularTask):
        return misasked("asked of modular tasks only")
    return Measured(math.log(_audit(experiment.task, experiment.block).answers.possible))


def settings(experiment: Experiment) -> dict[str, object]:
    """Return dotted path -> value of every setting of params.yaml, by the names of `reprogrok.spec`."""
    names = ("name", "seeds", "gates")
    return flatten({name: value for name, value in experiment.as_dict().items() if name not in names})


def _setting(experiment: Experiment, quantity: Quantity) -> Measurement:
    known = settings(experiment)
    if quantity.definition not in known:
        return misasked(f"there is no setting {quantity.definition}: there are {', '.join(known)}")
    value = known[quantity.definition]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Measured(word="none" if value is None else str(value).lower())
    return Measured(float(value))


def _trained_operands(audit: SplitAudit) -> int:
    """Return the operands that are trained, in the column with fewer of them."""
    return min(column.train for column in audit.coverage[:2])


DATA: Mapping[str, DataQuantity] = {
    "parameters": DataQuantity((UNIQUE,), "numbers", _parameters, "of the model, tied ones once"),
    "equations": DataQuantity((COUNT,), "equations", _of_split(lambda audit: audit.equations), "of the task, all"),
    "train_examples": DataQuantity((COUNT,), "equations", _of_split(lambda audit: audit.train), "of the split"),
    "test_examples": DataQuantity((COUNT,), "equations", _of_split(lambda audit: audit.test), "of the split"),
    "validation_examples": DataQuantity(
        (COUNT,), "equations", _of_split(lambda audit: audit.validation), "of the split"
    ),
    "left_out": DataQuantity(
        (COUNT,), "equations", _of_split(lambda audit: audit.left_out), "training examples that fill no block"
    ),
    "block_rows": DataQuantity((COUNT,), "equations", _block_rows, "training examples that fill a block"),
    "vocabulary": DataQuantity((COUNT,), "tokens", _vocabulary, "different tokens"),
    "padded_vocabulary": DataQuantity((COUNT,), "tokens", _vocabulary, "the same up to the next multiple of 128"),
    "positions": DataQuantity(
        (COUNT,), "positions", lambda experiment, _: Measured(float(_positions(experiment))), "T, that the model reads"
    ),
    "scored_positions": DataQuantity((COUNT,), "positions", _scored, "that the loss is the mean over"),
    "equation_positions": DataQuantity(
        (COUNT,), "positions", _predicted, "that predict a token of the same equation, not the next one's beginning"
    ),
    "operands_trained": DataQuantity(
        (COUNT,), "values", _of_split(_trained_operands), "different operands in training, in the column with fewer"
    ),
    "answers_possible": DataQuantity(
        (COUNT,), "values", _of_split(lambda audit: audit.answers.possible), "different answers of all equations"
    ),
    "answers_trained": DataQuantity(
        (COUNT,), "values", _of_split(lambda audit: audit.answers.train), "different answers in training"
    ),
    "answers_tested": DataQuantity(
        (COUNT,), "values", _of_split(lambda audit: audit.answers.test), "different answers in the test set"
    ),
    "answers_unseen": DataQuantity(
        (COUNT,), "values", _of_split(lambda audit: audit.answers.unseen), "of the test set, that training never has"
    ),
    "answers_shared": DataQuantity(
        (COUNT,), "values", _of_split(lambda audit: audit.answers.test - audit.answers.unseen), "that both sides have"
    ),
    "seen_answer_ceiling": DataQuantity(
        (SHARE,), "fraction", _fraction_of_test(lambda audit: audit.ceilings.support),
        "test examples whose answer occurs in training",
    ),
    "twin_share": DataQuantity(
        (SHARE,), "fraction", _fraction_of_test(lambda audit: audit.twins),
        "test examples whose swapped pair is trained on",
    ),
    "memoriser_ceiling": DataQuantity(
        (SHARE,), "fraction", _fraction_of_test(lambda audit: audit.ceilings.memoriser),
        "test examples that pairs, swapped pairs and one constant answer get right",
    ),
    "batch_share": DataQuantity((SHARE,), "fraction", _batch_fraction, "training examples in one batch"),
    "floor": DataQuantity(
        (TASK_KNOWN, CHANCE, MEMORISED), "nats", _loss_bound, "the least mean loss over `window` on `side`"
    ),
    "largest_entropy": DataQuantity(
        (LARGEST_ENTROPY,), "nats", _largest_entropy, "of attention, in the mean over T causal positions"
    ),
    "answer_share": DataQuantity(
        (ONE_OF_T,), "fraction", _answer_fraction, "of the loss's positions, the one of the answer"
    ),
    "uniform_loss": DataQuantity((LN_P,), "nats", _uniform_loss, "of guessing among p answers"),
    "setting": DataQuantity((), "as in params.yaml", _setting, "the setting whose path the definition is"),
}  # fmt: skip
