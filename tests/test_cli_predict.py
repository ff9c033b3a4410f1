"""`reprogrok predict`: one sum, digit by digit; the exit code says whether it is right."""

from __future__ import annotations

import pytest


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
