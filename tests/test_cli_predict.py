"""`reprogrok predict`: one answer, token by token; the exit code says whether it is right."""

from __future__ import annotations

import pytest
import torch

from reprogrok.formats.checkpoints import checkpoint_bytes
from reprogrok.formats.origins import Origin
from reprogrok.model.shapes import parameter_shapes
from reprogrok.spec.model import ModelSpec
from reprogrok.spec.task import ModularTask, SplitSpec


@pytest.fixture
def predict(fixtures_dir, reprogrok, tmp_path):
    def run(a, b):
        return reprogrok("predict", fixtures_dir / "checkpoints" / "best_512params.pt", a, b, cwd=tmp_path)

    return run


def test_a_right_answer_is_exit_code_0(predict):
    result = predict("0005", "7")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "5 + 7 = 12; the model answers 00000000012: right"
    rows = [line.split() for line in result.stdout.splitlines() if "10^" in line]
    assert [row[0] for row in rows] == [f"10^{place}" for place in range(11)]
    assert [row[1] for row in rows] == [row[2] for row in rows] == list("21000000000")
    assert all(float(row[3]) > 0 for row in rows)


def test_a_wrong_answer_is_exit_code_1_and_shows_the_digit_with_its_negative_margin(predict):
    result = predict("3009960256", "5837006374")  # one of the twelve published errors
    assert result.returncode == 1
    last = result.stdout.splitlines()[-1]
    assert last == "3009960256 + 5837006374 = 8846966630; the model answers 08746966630: WRONG"
    wrong = [row for line in result.stdout.splitlines() if "10^" in line and (row := line.split())[1] != row[2]]
    ((place, right, model, margin, other),) = wrong
    assert (place, right, model, other) == ("10^8", "8", "7", "7")
    assert float(margin) < 0


# --- Modular tasks --------------------------------------------------------------------------------------------------


@pytest.fixture
def always_4(reprogrok, tmp_path):
    """Ask a model of x / y mod 7 that always answers 4: the norm's bias is that token's embedding."""
    spec = ModelSpec(1, 11, 1, 4, 8, 11)
    weights = {name: torch.zeros(shape) for name, shape in parameter_shapes(spec).items()}
    weights["token_emb.weight"] = torch.eye(11)
    weights["ln_f.bias"][4], weights["ln_f.bias"][5] = 2.0, 0.5
    task = ModularTask("div", 7, "llmc8", "all", SplitSpec("random", 42, fraction=0.5))
    origin = Origin("tiny", None, 0, "0" * 64, task)
    (tmp_path / "model.pt").write_bytes(checkpoint_bytes(spec, weights, origin, 7, 0.5))
    return lambda a, b: reprogrok("predict", "model.pt", a, b, cwd=tmp_path)


def test_a_residue_is_one_answer_with_its_margin(always_4):
    result = always_4("05", "3")  # 4 * 3 = 12 = 5 mod 7
    assert (result.returncode, result.stderr) == (0, "")
    (row,) = [line.split() for line in result.stdout.splitlines() if "answer " in line and "model" not in line]
    assert row == ["answer", "4", "4", "1.5000", "5"]
    *_, side, last = result.stdout.splitlines()
    assert side in {"this equation is trained on", "this equation is held out, a new pair"}
    assert last == "5 / 3 = 4 (mod 7); the model answers 4: right"


def test_a_wrong_residue_is_exit_code_1(always_4):
    result = always_4("5", "1")
    assert result.returncode == 1
    assert ["answer", "5", "4", "-1.5000", "4"] in [line.split() for line in result.stdout.splitlines()]
    assert result.stdout.endswith("5 / 1 = 5 (mod 7); the model answers 4: WRONG\n")


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("7", "1", "A: expected a whole number from 0 to 6, found 7"),
        ("1", "9" * 30, f"B: expected a whole number from 0 to 6, found {'9' * 30}"),
        ("1", "x", "B: expected a whole number from 0 to 6, found x"),
        ("\u0664", "1", "A: expected a whole number from 0 to 6, found \u0664"),
        ("3", "0", "A B: x / y is not defined there: expected operands that have an answer, found 3 0"),
    ],
)
def test_operands_that_are_none(always_4, one_error, a, b, message):
    assert one_error(always_4(a, b)) == message
