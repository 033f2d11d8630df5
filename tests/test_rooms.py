"""rino's rooms are rino's own, whatever the modules in a user's folder are called."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from fnmatch import fnmatch
from pathlib import Path

import pytest
from test_house import ALLOWED

from rino.rooms import STANDS_ON

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path):
    """A folder with modules named like rooms, and like what used to be rino's; each says so when it is imported."""
    for name in (*STANDS_ON, "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"print('MINE: {name}')\nvalue = 1\n")
    for name in ("console", "reproduction"):
        (tmp_path / f"{name}.py").write_text(f"print('MINE: {name}')\n")
    return tmp_path


def python(folder, *arguments):
    """Run Python in the folder, which is then first on its path, with this checkout's rino further down."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_api_uses_its_own_rooms(folder):
    done = python(folder, "-c", "import rino; print(rino.coefficient('grpo', 0.5), rino.method('grpo').key)")
    assert done.returncode == 0, done.stderr
    assert "MINE" not in done.stdout


def test_the_command_line_uses_its_own_rooms(folder):
    done = python(folder, "-m", "rino", "check", "no-such-problem")
    assert done.returncode == 2, done.stderr
    assert "no problem is called" in done.stderr
    assert "MINE" not in done.stdout


def test_the_users_module_keeps_its_name_until_the_room_is_needed(folder):
    done = python(folder, "-c", "import rino; rino.method('grpo'); import figures; print(figures.value)")
    assert done.stdout.splitlines() == ["MINE: figures", "1"]


def test_a_name_that_is_taken_is_an_error_in_two_lines(folder):
    script = "import figures, rino\ntry: rino.figures('runs')\nexcept rino.InputError as error: print(error)"
    done = python(folder, "-c", script)
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == 2
    assert f"'figures' that is already imported is not rino's: {folder / 'figures'}" in lines[0]
    assert "rename yours" in lines[1]


def test_rooms_stand_on_each_other_as_the_house_says():
    assert {name: set(below) | {"rino_base"} for name, below in STANDS_ON.items()} == {
        name: allowed for name, allowed in ALLOWED.items() if name != "rino_base"
    }


def test_every_file_of_a_room_is_in_the_wheel():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    for room in ALLOWED | {"rino": set()}:
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                assert any(fnmatch(path.name, pattern) for pattern in patterns), path


@pytest.mark.slow
def test_a_wheel_works_in_a_folder_with_modules_of_the_same_names(folder, tmp_path_factory):
    """Built from a copy of this checkout, installed into a new environment, and used from a folder of the user's."""
    place = tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "reproduction", "runs", "site")
    shutil.copytree(ROOT, place / "source", ignore=ignore)
    venv.create(place / "venv", with_pip=True)
    binaries = place / "venv" / "bin"

    def call(*command, code=0):
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "MINE" not in done.stdout, done.stdout
        return done.stdout

    call(binaries / "pip", "wheel", "--no-deps", place / "source", "--wheel-dir", place)
    (wheel,) = place.glob("rino_rl-*.whl")
    call(binaries / "pip", "install", "-c", ROOT / "constraints.txt", wheel)
    assert "f-isft-pm" in call(binaries / "rino", "list", "methods")
    assert "identities hold" in call(binaries / "rino", "check", "two-letter-words")
    call(binaries / "python", "-m", "rino", "prove", "T4")
    script = "import rino; print(rino.check(rino.problem('two-letter-words')))"
    assert "identities hold" in call(binaries / "python", "-c", script)
    small = ("--steps", "1", "--num-prompts", "2", "--num-generations", "2", "--eval-prompts", "4")
    call(binaries / "rino", "train", *small, "--out", "run")
    call(binaries / "rino", "figures", "run")
    call(binaries / "python", "-c", "import rino; print(rino.figures('run'))")
    assert (folder / "run" / "report.html").is_file()
