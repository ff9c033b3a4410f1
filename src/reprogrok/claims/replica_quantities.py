"""One replica or one recorded log -> its quantities: times, values, changes, events, regimes.

    Record + seed --series, cut at `until`--> entry of SERIES ----> Measured, or Missing with the reason
                  --the replica as a whole--> entry of REPLICAS -/

Each quantity is one entry of a table: its name, the ids of its definition, its unit and its function. `docs/claims.md`
lists them all, and a test holds the list to the tables. A metric of another definition than the requested one is not
used, and the reason says so.

A run that ended before its schedule counts as far as it went: an event, a time, the value at a step. A quantity of the
whole run is missing, unless `until` asks for less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from reprogrok.claims.claims import Quantity
from reprogrok.claims.exam_quantities import ERRORS, EXACT_MATCH, measure_exam
from reprogrok.claims.measurements import Measured, Measurement, Missing, is_followed, misasked, reached
from reprogrok.claims.series_quantities import SERIES, cut, first_step
from reprogrok.metrics.grokking import Censored, Delay, right_answers
from reprogrok.metrics.regime import DEFINITION as REGIME
from reprogrok.metrics.regime import RegimeResult, find_regime
from reprogrok.metrics.registry import GENERALISATION, MEMORISATION
from reprogrok.record import Record, Series
from reprogrok.runs.analysis import support_of

DELAY = "delay/0.99-0.99"
OURS = "reprogrok"


@dataclass(frozen=True)
class Replica:
    """One seed of a run, and how far it was trained.

    Attributes:
        run: the record of the run.
        seed: the seed of the replica; a recorded log has one.
    """

    run: Record
    seed: int

    @property
    def planned(self) -> int | None:
        """Updates of the schedule; None where the record does not say."""
        return self.run.facts.get("steps")

    @property
    def last(self) -> int | None:
        """The last step at which anything was evaluated."""
        return max((s.steps[-1] for s in self.run.replicas[self.seed].values() if s.steps), default=None)

    @property
    def diverged(self) -> bool:
        """Whether it was stopped because it had diverged, which completes it."""
        return self.seed in self.run.diverged

    @property
    def ended(self) -> bool:
        """Whether its schedule is complete; False where the record does not say how long that is."""
        return self.reaches(None)

    def reaches(self, until: int | None) -> bool:
        """Return whether it was followed to step `until`, or (None) to its end."""
        return self.diverged or (self.last is not None and is_followed(self.last, self.planned, until))

    def short(self, until: int | None) -> Missing:
        """Return the reason why it does not reach."""
        if until is None and self.planned is None:
            return Missing("the record does not say how long the run was meant to be")
        asked = f"its {self.planned:,} updates" if until is None else f"step {until:,}"
        return Missing(f"it was followed until step {'-' if self.last is None else format(self.last, ',')} of {asked}")


def measure(replica: Replica, quantity: Quantity) -> Measurement:
    """Return the measurement of a quantity in one replica or log."""
    if quantity.name in SERIES:
        entry = SERIES[quantity.name]
        series = series_of(replica, quantity)
        if isinstance(series, Missing):
            return series
        if entry.whole and not replica.reaches(quantity.until):
            return replica.short(quantity.until)
        found = entry.measure(cut(series, quantity.until), quantity)
        return _counted(_to_the_end(found, replica, quantity.until), replica, quantity)
    if quantity.name in REPLICAS:
        return REPLICAS[quantity.name].measure(replica, quantity)
    return misasked(f"{quantity.name} is no quantity of a run: there are {', '.join([*SERIES, *REPLICAS])}")


def series_of(replica: Replica, quantity: Quantity) -> Series | Missing:
    """Return the series of a quantity's metric, if it was measured by the requested definition."""
    metrics, asked = replica.run.replicas[replica.seed], quantity.measured_as
    if quantity.metric is None or asked is None:
        return misasked(f"{quantity.name} is asked of a metric, and none is named")
    if quantity.metric not in metrics:
        return Missing(f"{quantity.metric} was not logged")
    if (found := replica.run.definitions.get(quantity.metric)) != asked:
        return Missing(f"{quantity.metric} was measured as {found}, not as {asked}: these are different quantities")
    return metrics[quantity.metric]


def _to_the_end(found: Measurement, replica: Replica, until: int | None) -> Measurement:
    """Extend a censored time of a diverged replica to its planned end, since it will not get there any more."""
    if not isinstance(found, Measured) or not isinstance(found.time, Censored) or not replica.diverged:
        return found
    last = max(found.time.at, (replica.planned or 0) - 1)
    return replace(found, time=replace(found.time, at=last if until is None else min(last, max(until, found.time.at))))


def _counted(found: Measurement, replica: Replica, quantity: Quantity) -> Measurement:
    """Add k of n to a fraction of all test or training examples."""
    side = {"test": "test_examples", "train": "train_examples"}.get((quantity.metric or "").split("_")[0], "")
    shares = (*GENERALISATION, *MEMORISATION)
    n = replica.run.facts.get(side)
    if isinstance(found, Missing) or quantity.metric not in shares or quantity.definition != quantity.measured_as:
        return found
    if n is None or found.value is None or (k := right_answers(found.value, n)) is None:
        return found
    return replace(found, k=k, n=n)


@dataclass(frozen=True)
class ReplicaQuantity:
    """A quantity of a replica as a whole; the fields are those of `SeriesQuantity`."""

    definitions: tuple[str, ...]
    unit: str
    measure: Callable[[Replica, Quantity], Measurement]
    says: str


def _exam(replica: Replica, quantity: Quantity) -> Measurement:
    if replica.run.layout != OURS:
        return Missing("its weights are not at hand")
    return measure_exam(replica.run.path, replica.seed, quantity) if replica.ended else replica.short(None)


def _grokked(replica: Replica, quantity: Quantity) -> Measurement:
    series = series_of(replica, quantity)
    if isinstance(series, Missing):
        return series
    found = first_step(series, quantity)
    if isinstance(found, Missing) or found.time is None:
        return found
    # This metric may have been measured less far than others were.
    at = found.time.at if isinstance(found.time, Censored) else found.time.by
    complete = replica.diverged or is_followed(at, replica.planned, quantity.until)
    return reached(found.time, quantity.until, complete=complete)


def _diverged(replica: Replica, quantity: Quantity) -> Measurement:
    if quantity.definition != "not-finite":
        return misasked("the definition of diverged is not-finite")
    step = replica.run.diverged.get(replica.seed)
    if step is not None and (quantity.until is None or step <= quantity.until):
        return Measured(1.0, at_step=step)
    return Measured(0.0) if replica.reaches(quantity.until) else replace(replica.short(quantity.until), open=True)


def _regime_finding(replica: Replica, until: int | None) -> RegimeResult:
    metrics = replica.run.replicas[replica.seed]
    test, train = (
        next((cut(metrics[name], until) for name in names if name in metrics), None)
        for names in (GENERALISATION, MEMORISATION)
    )
    support, diverged = support_of(replica.run), replica.run.diverged.get(replica.seed)
    if until is not None and diverged is not None and diverged > until:
        diverged = None
    return find_regime(train, test, ceiling=support.ceiling, memoriser=support.memoriser, diverged=diverged)


def _regime(replica: Replica, quantity: Quantity) -> Measurement:
    if quantity.definition != REGIME:
        return misasked(f"the definition of regime is {REGIME}")
    if not replica.reaches(quantity.until):
        return replica.short(quantity.until)
    return Measured(word=_regime_finding(replica, quantity.until).regime.value)


def _delay_factor(replica: Replica, quantity: Quantity) -> Measurement:
    if quantity.definition != DELAY:
        return misasked(f"the definition of {quantity.name} is {DELAY}")
    later = _regime_finding(replica, quantity.until).delay
    if not isinstance(later, Delay):
        return Missing(later.reason)
    value = later.factor_low if quantity.name == "delay_factor" else later.factor_high
    return Missing("nothing bounds it: one of the two was not reached") if value is None else Measured(value)


REPLICAS: Mapping[str, ReplicaQuantity] = {
    "grokked": ReplicaQuantity(
        ("first-above/X", "first-below/X"), "event", _grokked,
        "1 if an evaluation up to `until`, or to the end of the schedule, had got there, else 0",
    ),
    "diverged": ReplicaQuantity(("not-finite",), "event", _diverged, "1 if it was stopped for values not finite"),
    "regime": ReplicaQuantity((REGIME,), "word", _regime, "the kind of learning (docs/measures.md)"),
    "delay_factor": ReplicaQuantity(
        (DELAY,), "times", _delay_factor, "the least factor that fits between learning the test and the training set"
    ),
    ERRORS: ReplicaQuantity(("the exam's id",), "problems", _exam, "wrong answers of the best checkpoint"),
    EXACT_MATCH: ReplicaQuantity(("the exam's id",), "fraction", _exam, "right answers of the best checkpoint"),
    "delay_factor_most": ReplicaQuantity((DELAY,), "times", _delay_factor, "the largest factor that fits"),
}  # fmt: skip
