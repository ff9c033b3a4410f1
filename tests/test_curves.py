"""Curves: every value drawn as it was measured, definitions kept apart, the grok step where the log has it."""

import csv
import math
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprogrok.errors import InputError
from reprogrok.metrics.registry import Scale
from reprogrok.record import Record, Series
from reprogrok.runs.curves import choose_metrics, median_line, one_definition_each, panels_of, write_csv
from reprogrok.runs.pictures import PALETTE, draw, grok_steps, write_picture

STEPS = (0, 10, 20, 30)


def run(name, *replicas, definitions=None, diverged=None):
    """A record whose seeds 0, 1, ... have these metrics: name -> values at `STEPS` (fewer: it ended there)."""
    series = {
        seed: {metric: Series(STEPS[: len(values)], tuple(map(float, values))) for metric, values in metrics.items()}
        for seed, metrics in enumerate(replicas)
    }
    ids = {metric: f"{metric}/1" for metrics in replicas for metric in metrics} | (definitions or {})
    return Record(Path("runs") / name, name, "reprogrok", series, ids, diverged=diverged or {})


def table(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def drawn(axes):
    """The data of every line of a panel, marks and markers left out."""
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    return [(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in lines]


def marks(axes):
    return [line.get_xdata()[0] for line in axes.lines if list(line.get_xdata()) == [line.get_xdata()[0]] * 2]


GROKS = {"test_accuracy": (0.1, 0.2, 0.95, 1.0), "train_accuracy": (0.2, 1.0, 1.0, 1.0)}
NEVER = {"test_accuracy": (0.0, 0.0, 0.1, 0.0), "train_accuracy": (0.5, 1.0, 1.0, 1.0)}


# --- CSV ----------------------------------------------------------------------------------------------------------


def test_every_row_says_how_many_seeds_are_behind_it(tmp_path):
    record = run("a", {"train_loss": (4, 3, 2, 1)}, {"train_loss": (6, 5)}, {"train_loss": (9, math.nan, 4, 8)})
    write_csv({"a": record}, ["train_loss"], tmp_path / "a.csv")
    rows = table(tmp_path / "a.csv")
    assert list(rows[0]) == ["step", "train_loss_lowest", "train_loss_median", "train_loss_highest", "train_loss_seeds"]
    values = [(4, 6, 9), (3, 5), (2, 4), (1, 8)]
    for row, step, at in zip(rows, STEPS, values, strict=True):
        assert [float(row[name]) for name in row] == [step, min(at), median(at), max(at), len(at)]


def test_a_step_without_a_finite_value_keeps_its_row(tmp_path):
    write_csv({"a": run("a", {"train_loss": (4, math.nan, 2)})}, ["train_loss"], tmp_path / "a.csv")
    row = table(tmp_path / "a.csv")[1]
    assert (row["step"], row["train_loss_median"], row["train_loss_seeds"]) == ("10", "", "0")


def test_several_runs_are_told_apart_by_a_column(tmp_path):
    runs = {name: run(name, {"train_loss": (value, value)}) for name, value in (("a", 1), ("b", 2))}
    write_csv(runs, ["train_loss"], tmp_path / "two.csv")
    rows = table(tmp_path / "two.csv")
    assert [(row["run"], row["step"], row["train_loss_median"]) for row in rows] == [
        ("a", "0", "1.0"), ("a", "10", "1.0"), ("b", "0", "2.0"), ("b", "10", "2.0"),
    ]  # fmt: skip


def test_a_column_never_holds_two_definitions(tmp_path):
    runs = {"a": run("a", GROKS), "b": run("b", NEVER, definitions={"test_accuracy": "other/2"})}
    with pytest.raises(InputError, match=r"test_accuracy does not mean the same.*test_accuracy/1 in a, other/2 in b"):
        write_csv(runs, ["test_accuracy"], tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()
    write_csv(runs, ["train_accuracy"], tmp_path / "x.csv")


def test_metrics_of_one_definition_are_told_from_those_of_several():
    runs = {
        "x": run("x", {"train_loss": (1, 1), "test_loss": (1, 1)}, definitions={"train_loss": "ce/a"}),
        "y": run("y", {"train_loss": (1, 1)}, definitions={"train_loss": "ce/b"}),
    }
    assert one_definition_each(runs, ["test_loss", "train_loss"]) == (
        ("test_loss",), {"train_loss": "ce/a in x, ce/b in y"},
    )  # fmt: skip


# --- What is drawn ------------------------------------------------------------------------------------------------


def test_the_known_metrics_are_chosen_in_their_order_and_others_on_request():
    record = run(
        "a", {"weight_norm": (1, 2), "final_layer_rank": (3, 4), "train_loss": (1, 1), "test_accuracy": (0, 1)}
    )
    assert choose_metrics([record]) == ("test_accuracy", "train_loss", "final_layer_rank")
    assert choose_metrics([record], ["weight_norm", "train_loss", "weight_norm"]) == ("weight_norm", "train_loss")


@pytest.mark.parametrize(
    ("record", "asked", "message"),
    [
        (run("a", GROKS), ["test_acuracy"], r"--metric: no run has this metric: .*\(did you mean test_accuracy\?\)"),
        (run("a", {"weight_norm": (1, 2)}), [], "runs/a: nothing to draw in this run: .*found weight_norm"),
        (run("a", {}), ["x"], "nothing was measured"),
    ],
)
def test_what_no_run_has_cannot_be_drawn(record, asked, message):
    with pytest.raises(InputError, match=message):
        choose_metrics([record], asked)


def test_training_and_held_out_share_axes_while_they_can_be_told_apart():
    (panel,) = panels_of([run("a", GROKS), run("b", NEVER)], tuple(GROKS))
    assert (panel.title, panel.paired, panel.scale) == (
        "accuracy: held-out solid, training dashed",
        True,
        Scale.FRACTION,
    )
    assert [(line.run, line.metric, line.dashed) for line in panel.lines] == [
        (0, "test_accuracy", False), (0, "train_accuracy", True),
        (1, "test_accuracy", False), (1, "train_accuracy", True),
    ]  # fmt: skip
    for crowd in ([run("a", GROKS, NEVER)], [run(name, GROKS) for name in "abcde"]):
        panels = panels_of(crowd, tuple(GROKS))
        assert [panel.title for panel in panels] == ["accuracy on held-out equations", "accuracy on training equations"]
        assert not any(panel.paired for panel in panels)


def test_two_definitions_never_share_axes():
    runs = [run("a", GROKS), run("b", GROKS, definitions={"test_accuracy": "other/2"}), run("c", NEVER)]
    panels = panels_of(runs, ("test_accuracy",))
    assert [(panel.definitions, [line.run for line in panel.lines]) for panel in panels] == [
        (("test_accuracy/1",), [0, 2]), (("other/2",), [1]),
    ]  # fmt: skip


def test_a_run_that_lacks_a_metric_joins_the_axes_of_those_that_have_it():
    foreign = run("b", {"test_accuracy": (0, 1)})
    (panel,) = panels_of([run("a", GROKS), foreign], tuple(GROKS))
    assert [line.run for line in panel.lines] == [0, 0, 1]


def test_the_median_is_of_the_seeds_with_a_value_at_that_step():
    found = median_line([Series((0, 1), (0.0, math.nan)), Series((0, 1), (1.0, 0.0)), Series((0,), (5.0,))])
    assert found == Series((0, 1), (1.0, 0.0))


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=9))
def test_the_median_lies_between_the_seeds_and_in_the_middle_of_their_order(seeds):
    found = median_line([Series(STEPS, tuple(values)) for values in seeds])
    for index, value in enumerate(found.values):
        at = [values[index] for values in seeds]
        assert sum(x < value for x in at) <= len(at) / 2 >= sum(x > value for x in at)


# --- Pictures -----------------------------------------------------------------------------------------------------


def test_nothing_is_smoothed_or_left_out():
    noisy = {"test_accuracy": (0.1, 0.9, 0.2, 1.0), "train_loss": (1, 5, 2, 3)}
    figure = draw({"a": run("a", noisy)}, tuple(noisy))
    assert [drawn(axes) for axes in figure.axes] == [[(STEPS, tuple(map(float, noisy[name])))] for name in noisy]


def test_all_panels_have_the_same_steps_and_shares_the_same_scale():
    figure = draw({"a": run("a", GROKS, GROKS), "b": run("b", NEVER)}, tuple(GROKS))
    assert {axes.get_xlim() for axes in figure.axes} == {figure.axes[0].get_xlim()}
    assert {axes.get_ylim() for axes in figure.axes} == {(-0.03, 1.03)}


def test_one_run_has_a_colour_per_seed_and_several_have_one_each():
    one = draw({"a": run("a", GROKS, NEVER)}, ("test_accuracy",)).axes[0]
    assert [line.get_color() for line in one.lines if len(line.get_xdata()) > 2] == list(PALETTE[:2])
    two = draw({"a": run("a", GROKS, NEVER), "b": run("b", NEVER)}, ("test_accuracy",)).axes[0]
    lines = [(line.get_color(), line.get_linewidth()) for line in two.lines if len(line.get_xdata()) > 2]
    thin, thick, alone = 0.7, 2.2, 1.3
    assert lines == [(PALETTE[0], thin), (PALETTE[0], thin), (PALETTE[0], thick), (PALETTE[1], alone)]


def test_runs_beyond_the_palette_still_have_a_colour_of_their_own():
    figure = draw({str(i): run(str(i), NEVER) for i in range(9)}, ("test_accuracy",))
    assert len({line.get_color() for line in figure.axes[0].lines}) == 9


def test_the_grok_step_is_a_line_through_every_panel():
    record = run("a", GROKS, NEVER)
    assert grok_steps(record) == {0: 20, 1: math.inf}
    figure = draw({"a": record}, tuple(GROKS))
    assert [marks(axes) for axes in figure.axes] == [[20], [20]]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "seed 0: 90 % at 20", "seed 1: never 90 %", "first evaluation with held-out accuracy of at least 90 %",
    ]  # fmt: skip


def test_over_several_seeds_the_median_is_marked_and_one_that_never_groks_counts_as_late():
    later = {"test_accuracy": (0, 0, 0, 1)}
    runs = {"a": run("a", GROKS, NEVER, later), "b": run("b", NEVER, NEVER, GROKS)}
    figure = draw(runs, ("test_accuracy",))
    assert marks(figure.axes[0]) == [30]  # 20, 30, never; and 20, never, never has no middle
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["a: 2 of 3 seeds at 90 %, median 30", "b: 1 of 3 seeds at 90 %"]


def test_a_diverged_seed_is_marked_where_it_was_last_seen():
    record = run("a", {"train_loss": (4, 3, math.nan)}, {"train_loss": (4, 3, 2, 1)}, diverged={0: 20})
    figure = draw({"a": record}, ("train_loss",))
    (cross,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([10], [3.0])
    assert figure.legends[0].get_texts()[-1].get_text() == "diverged"


def test_logarithmic_steps_keep_the_evaluation_at_step_0():
    figure = draw({"a": run("a", GROKS)}, ("test_accuracy",), log_steps=True)
    (axes,) = figure.axes
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlabel() == "step (optimiser updates); logarithmic, but linear from 0 to 10"
    assert [tick for tick in axes.get_xticks() if tick <= 30] == [0, 10]
    later = Record(Path("b"), "b", "columns", {0: {"test_loss": Series((100, 200, 300), (3.0, 2.0, 1.0))}}, {})
    (axes,) = draw({"b": later}, ("test_loss",), log_steps=True).axes
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "step (optimiser updates)")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_the_same_bytes_twice_and_names_no_date_and_no_version(tmp_path, kind, monkeypatch):
    import matplotlib as mpl

    runs = {"a": run("a", GROKS, NEVER), "b": run("b", NEVER)}
    write_picture(runs, tuple(GROKS), tmp_path / "one", kind=kind)
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 7)  # a style of the user's
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "yellow")
    write_picture(runs, tuple(GROKS), tmp_path / "two", kind=kind)
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    for word in (b"dc:date", b"Matplotlib v", b"Software", mpl.__version__.encode()):
        assert word not in data


def test_the_recorded_runs_are_marked_where_their_logs_say(fixtures_dir):
    from reprogrok.formats.foreign_runs import read_run

    names = ("v1_baseline", "v2a_interpolation_regime", "v2b_conflict_split")
    runs = {name: read_run(fixtures_dir / "runs" / name) for name in names}
    figure = draw(runs, choose_metrics(list(runs.values())))
    assert marks(figure.axes[0]) == [39_900, 19_400]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "accuracy on held-out equations",
        "loss (nats): held-out solid, training dashed",
        "rank before the last block (components)",
        "attention entropy (nats)",
    ]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[2] == "v2b_conflict_split: never 90 %"
