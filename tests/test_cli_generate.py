"""`reprogrok generate`: data that anyone can draw again, byte for byte, and that nobody can change unnoticed."""

from __future__ import annotations

import shutil

import pytest
import safetensors.torch

FILES = ("exam-stress", "exam-uniform", "seed-0", "seed-1")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_bytes_twice_in_any_folder(generated, reprogrok, project):
    result = reprogrok("generate", "smoke", "--out", "elsewhere", cwd=project, PYTHONHASHSEED="3", TZ="Asia/Tokyo")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(contents(generated / "data" / "smoke")) == [f"{name}.safetensors" for name in FILES]
    assert contents(project / "elsewhere") == contents(generated / "data" / "smoke")
    assert "elsewhere/seed-1.safetensors: 5,000 validation and 10,000 test pairs" in result.stdout
    assert "elsewhere/exam-uniform.safetensors: 100,000 problems of addition-100k/1, digest " in result.stdout


def test_the_files_hold_pairs_that_anyone_can_read(generated):
    sets = safetensors.torch.load_file(generated / "data" / "smoke" / "exam-uniform.safetensors")
    assert {name: tuple(pairs.shape) for name, pairs in sets.items()} == dict.fromkeys(
        ("41", "100", "200", "300", "400", "500", "999", "1234", "7777", "31415"), (10_000, 2)
    )
    # The first published error of the 512 parameters is in the test set of seed 41.
    assert [3009960256, 5837006374] in sets["41"].tolist()


def another_pair(path):
    sets = safetensors.torch.load_file(path)
    sets["validation"][0, 0] += 1
    safetensors.torch.save_file(sets, path)


def one_set_less(path):
    sets = safetensors.torch.load_file(path)
    del sets["test"]
    safetensors.torch.save_file(sets, path)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (another_pair, " validation: not the problems that the protocol draws; run `reprogrok generate` again"),
        (one_set_less, ": other sets of problems: expected test, validation, found validation"),
        (cut_short, ": not a file of problems: "),
    ],
)
def test_tampered_data_is_not_trained_on(request, reprogrok, one_error, tamper, expected):
    generated, project = (request.getfixturevalue(name) for name in ("generated", "project"))
    shutil.copytree(generated / "data", project / "data")
    words = ("train", "smoke", "--data", "data/smoke", "--dry-run")
    tamper(project / "data" / "smoke" / "seed-1.safetensors")
    assert one_error(reprogrok(*words, cwd=project)).startswith(f"data/smoke/seed-1.safetensors{expected}")


def test_untouched_data_is_trained_on(generated, reprogrok):
    result = reprogrok("train", "smoke", "--data", "data/smoke", "--dry-run", cwd=generated)
    assert result.returncode == 0, result.stderr
