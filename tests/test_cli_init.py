"""`reprogrok init`: whole or not at all, nothing overwritten, and what it writes fits together, from a wheel, too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reprogrok.claims.claims import load_citations
from reprogrok.cli.init import init
from reprogrok.commands.init import project_files, run
from reprogrok.errors import InputError
from reprogrok.gates.gate_files import load_gate
from reprogrok.params import read_params
from reprogrok.schema import load

ROOT = Path(__file__).resolve().parents[1]
NAME = "add-mod-23"
FILES = [
    ".dvcignore",
    ".gitignore",
    "README.md",
    f"audit/claims/{NAME}.yaml",
    f"audit/criteria/{NAME}.yaml",
    f"audit/criteria/controls/{NAME}.yaml",
    "dvc.yaml",
    "params.yaml",
]


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def make(folder, **options):
    run(folder, **({"dvc": False} | options))


def test_a_new_folder_gets_every_file_and_is_told_what_comes_next(tmp_path, capsys):
    folder = tmp_path / "a" / "study"
    make(folder)
    assert files_of(folder) == FILES == sorted(project_files())
    printed = capsys.readouterr().out
    assert printed.startswith(f"wrote 8 files to {folder}; README.md says what each is for\n")
    commands = [line.split("#")[0].strip() for line in printed.splitlines() if line.startswith("  ")]
    assert commands == [f"cd {folder}", "dvc repro", "reprogrok audit"]


@pytest.mark.parametrize("name", ["my study", "1 ü!", "it's", "-x"])
def test_the_way_into_the_folder_can_be_copied_into_a_shell(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    make(Path(name))
    way = next(line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  cd "))
    done = subprocess.run(f"{way} && pwd", shell=True, capture_output=True, text=True, check=True)  # noqa: S602 - ours
    assert done.stdout.strip() == str(tmp_path / name)


def test_the_folder_that_one_is_in_needs_no_cd(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(Path())
    assert files_of(tmp_path) == FILES
    printed = capsys.readouterr().out
    assert printed.startswith("wrote 8 files to .;")
    assert "cd " not in printed


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "notes.txt").write_text("mine", "utf-8")
    make(tmp_path)
    assert (tmp_path / "audit" / "notes.txt").read_text("utf-8") == "mine"
    assert files_of(tmp_path) == sorted([*FILES, "audit/notes.txt"])


@pytest.mark.parametrize("name", FILES)
def test_a_folder_with_one_of_the_files_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine", "utf-8")
    with pytest.raises(InputError) as error:
        make(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: already has {name}: expected a folder without them")
    assert files_of(tmp_path) == [name]
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_every_file_in_the_way_is_named_a_link_that_leads_nowhere_too(tmp_path):
    (tmp_path / "params.yaml").symlink_to("nowhere")
    (tmp_path / "README.md").mkdir()
    with pytest.raises(InputError, match=r"already has README\.md, params\.yaml: "):
        make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "params.yaml"]


@pytest.mark.parametrize("blocked", ["", "audit", "audit/criteria"])
def test_where_a_folder_cannot_be_made_nothing_stays(tmp_path, blocked):
    folder = tmp_path / "study"
    (folder / blocked).parent.mkdir(parents=True, exist_ok=True)
    (folder / blocked).write_text("a file where a folder should be", "utf-8")
    before = files_of(tmp_path)
    with pytest.raises(InputError, match="cannot be written: "):
        make(folder)
    assert files_of(tmp_path) == before


def test_a_failure_in_the_middle_takes_everything_back(tmp_path, monkeypatch):
    rename, calls = Path.rename, []

    def refuse_the_fifth(self, target):
        calls.append(target)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_fifth)
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError, match="No space left on device"):
        make(tmp_path / "kept" / "new" / "study")
    assert len(calls) == 5
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


@pytest.mark.parametrize(
    ("git", "inside", "said"),
    [
        (False, "", " and ran `dvc init --no-scm`"),
        (True, "", " and ran `dvc init`"),
        (True, "studies/one", " and ran `dvc init --subdir`"),
    ],
)
def test_dvc_is_set_up_as_the_folder_needs_it(tmp_path, capsys, *, git, inside, said):
    if git:
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    make(tmp_path / inside, dvc=True)
    assert said in capsys.readouterr().out
    config = (tmp_path / inside / ".dvc" / "config").read_text("utf-8")
    assert ("no_scm = True" in config) == (not git)
    # What `dvc init` would have written there is ours, and kept.
    assert (tmp_path / inside / ".dvcignore").read_bytes() == project_files()[".dvcignore"]


def test_inside_a_dvc_repository_none_is_made(tmp_path, capsys):
    (tmp_path / ".dvc").mkdir()
    make(tmp_path / "study", dvc=True)
    assert f", in the DVC repository {tmp_path.resolve()};" in capsys.readouterr().out
    assert not (tmp_path / "study" / ".dvc").exists()


def test_where_dvc_refuses_nothing_stays(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".git" / "info").mkdir(exist_ok=True)
    (tmp_path / ".git" / "info" / "exclude").write_text(".dvc\n", "utf-8")
    with pytest.raises(InputError, match=r"`dvc init` failed, nothing was written: .*ignored by your SCM tool"):
        make(tmp_path, dvc=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git"]


def test_the_options_are_these():
    import typer

    app = typer.Typer()
    app.command()(init)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "NO_COLOR": "1"}).output
    assert "[DIR]" in shown
    assert "--no-dvc" in shown


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    make(folder)
    return folder


def test_the_parts_name_each_other(written):
    params = read_params(written / "params.yaml")
    assert params.pipeline == tuple(params.experiments) == (NAME,)
    experiment = params.experiments[NAME]
    assert experiment.gates == (NAME,)
    assert 4 <= len(experiment.seeds) <= 6
    # The engine that the wheel holds is the one that this repository's own results were made with.
    assert params.engine_version == read_params(ROOT / "params.yaml").engine_version
    gate = load_gate(written / "audit" / "criteria" / f"{NAME}.yaml")  # with its control traces
    logged = set(experiment.evaluation_steps())
    assert all(set(criterion.grid) <= logged for criterion in gate.criteria)
    stages = load(written / "dvc.yaml").data["stages"]
    assert list(stages) == ["generate", "train", "gate", "analyse"]


def test_the_claim_is_a_sentence_of_the_readme(written):
    (source,) = load_citations([written / "audit" / "claims" / f"{NAME}.yaml"])
    (claim,) = source.claims
    assert (written / source.file).read_text("utf-8").splitlines()[claim.at - 1] == claim.words
    assert claim.subject.name == NAME
    assert (claim.expect.low, claim.expect.high) == (0.5, 1)


def test_six_of_six_seeds_are_enough_for_the_claim_and_five_are_not():
    # Clopper-Pearson by the beta distribution's closed form where all seeds succeed: low = 0.025^(1/n).
    assert round(0.025 ** (1 / 6), 2) == 0.54
    assert round(0.025 ** (1 / 5), 2) == 0.48


def test_every_command_of_the_readme_is_there(written):
    text = (written / "README.md").read_text("utf-8")
    assert {word for word in ("dvc repro", "reprogrok audit", "reprogrok list") if f"    {word} " in text} == {
        "dvc repro",
        "reprogrok audit",
        "reprogrok list",
    }
    named = {line.split()[0].rstrip("/") for line in text.splitlines() if line.startswith("    audit/")}
    assert named == {"audit/criteria/NAME.yaml", "audit/criteria/controls", "audit/claims/NAME.yaml"}


@pytest.mark.long(quick="test_a_new_folder_gets_every_file_and_is_told_what_comes_next")
def test_a_wheel_installed_elsewhere_makes_a_project_that_it_reads(tmp_path):
    if find_spec("setuptools") is None:
        pytest.skip("no setuptools here, which builds the wheel")
    source, wheels, installed = tmp_path / "source", tmp_path / "wheels", tmp_path / "installed"
    keep = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=keep)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index", "--no-cache-dir"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, source], check=True)
    (wheel,) = wheels.glob("reprogrok-*.whl")
    subprocess.run([*pip, "install", *offline, "--target", installed, wheel], check=True)
    # -S: site-packages are seen as plain folders, so that an editable installation of this checkout is not.
    paths = [str(installed), *dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": os.pathsep.join(paths)}

    def python(code, cwd):
        command = [sys.executable, "-S", "-c", code]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python("import reprogrok; print(reprogrok.__file__)", tmp_path)
    assert Path(where.strip()).is_relative_to(installed)
    folder = tmp_path / "study"
    python(
        f"from pathlib import Path; from reprogrok.commands.init import run; run(Path({str(folder)!r}), dvc=False)",
        tmp_path,
    )
    assert files_of(folder) == FILES
    listed = python("import sys; from reprogrok.cli.main import main; sys.argv = ['reprogrok', 'list']; main()", folder)
    assert sum(line.split()[:1] == [NAME] for line in listed.splitlines()) == 2  # the experiment and its gate
