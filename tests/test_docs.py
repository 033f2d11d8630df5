"""The documents are true as far as a machine can tell: their blocks run, their links lead somewhere, the site builds.

docs/hooks.py says how a block is marked. Every page is one session in a folder of its own.
"""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from itertools import groupby
from pathlib import Path

import pytest
import yaml
from cyclopts import CycloptsError

import rino
from rino import cli

ROOT = Path(__file__).parent.parent


def _hooks():
    spec = importlib.util.spec_from_file_location("rino_docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hooks = _hooks()
PAGES = {page.relative_to(ROOT).as_posix(): list(hooks.blocks(page)) for page in hooks.pages()}
BLOCKS = [block for found in PAGES.values() for block in found]
READERS = {"toml": tomllib.loads, "json": lambda text: [json.loads(line) for line in text.splitlines()]}
LANGUAGES = {"sh", "python", *READERS, "bibtex", "text", ""}


def named(block):
    return f"{block.page}:{block.line}"


def with_code(*modes):
    """Pages that have something to run in one of the modes."""
    return sorted({block.page for block in BLOCKS if block.mode in modes and block.language in ("sh", "python")})


def commands(text, folder):
    """What bash would start, one list of words each: it expands everything, but finds no program to start."""
    log = folder / "commands.log"
    log.unlink(missing_ok=True)
    script = (
        f"exec 9>{log}\n"
        "command_not_found_handle() { printf '%s\\0' \"$@\" >&9; printf '\\1\\0' >&9; }\n"
        "PATH=/nowhere\n" + text.replace(".venv/bin/", "")
    )
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    words = log.read_bytes().decode().split("\0")[:-1]
    return [list(group) for end, group in groupby(words, lambda word: word == "\1") if not end]


def parse(text, folder):
    """Hold every rino command of a block against the command line itself."""
    for words in commands(text, folder):
        if "rino" in words:
            rest = words[words.index("rino") + 1 :]
            assert not rest or rest[0].startswith("-") or rest[0] in cli.COMMANDS, rest
            cli.build_app().parse_args(rest, exit_on_error=False, print_error=False)
        elif words[0] == "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            asked = re.findall(r"\.\[([\w,]+)\]", " ".join(words))
            assert {name for group in asked for name in group.split(",")} <= set(extras), words


def run_shell(text, folder):
    started = commands(text, folder)
    plain = not re.search(r"[|<>&]|^\s*(export )?\w+=", text, re.MULTILINE)  # no pipes, no variables of the environment
    if plain and all(words[0] == "rino" for words in started):
        for words in started:  # in this process, which has imported most of what they need
            assert cli.run(words[1:]) == 0, words
        return
    shim = folder / ".bin" / "rino"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m rino "$@"\n')
    shim.chmod(0o755)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(shim.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
    }
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def session(page, folder, modes):
    """Run the blocks of a page in the modes given, and parse the others."""
    names = {"__name__": "__main__"}
    for block in PAGES[page]:
        if block.mode == "file":
            (folder / block.note).write_text(block.text, encoding="utf-8")
        elif block.language == "python" and block.mode in modes:
            exec(compile(block.text, named(block), "exec"), names)
        elif block.language == "sh":
            (run_shell if block.mode in modes else parse)(block.text, folder)


@contextlib.contextmanager
def inside(folder):
    """In the folder, and first on the path, as a script is that somebody starts there."""
    with contextlib.chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))


@pytest.mark.parametrize("page", with_code(*hooks.MODES))
def test_a_page_does_what_it_says(page, tmp_path):
    with inside(tmp_path):
        session(page, tmp_path, modes=("run",))


@pytest.mark.slow
@pytest.mark.parametrize("page", with_code("slow"))
def test_a_page_does_what_it_says_slow_blocks_too(page, tmp_path):
    # What a reader of the checkout finds there.
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "study").symlink_to(ROOT / "results" / "study")
    with inside(tmp_path):
        session(page, tmp_path, modes=("run", "slow"))


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_a_block_is_of_a_known_kind(block):
    assert block.language in LANGUAGES
    assert block.mode in hooks.MODES
    assert bool(block.note) == (block.mode in ("parse", "file")), "say why it is not run, or the name of the file"
    if block.language in READERS:
        READERS[block.language](block.text)
    if block.language == "python":
        compile(block.text, named(block), "exec")


@pytest.mark.parametrize("name", hooks.ROOT_PAGES)
def test_links_of_the_pages_outside_the_site_lead_somewhere(name):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_a_field_of_a_result_is_described_once():
    for part in re.split(r"\n\n", (ROOT / "docs" / "json.md").read_text(encoding="utf-8")):
        cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
        assert [name for name in set(names) if names.count(name) > 1] == []


def test_the_api_page_has_every_name_of_the_api():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines()
    assert [name for name in rino.__all__ if f"::: rino.{name}" not in page] == []


def test_what_is_cited_is_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "cite.md").read_text(encoding="utf-8")
    assert citation["version"] == rino.__version__
    assert f"version = {{{rino.__version__}}}" in page
    (paper,) = citation["references"]
    assert " and ".join(f"{who['family-names']}, {who['given-names']}" for who in paper["authors"]) in page


def test_a_wrong_command_is_noticed(tmp_path):
    parse("for size in 0.5B 1.5B; do srun rino train --model Qwen/Qwen2.5-$size; done", tmp_path)
    with pytest.raises(AssertionError, match="trian"):
        parse("rino trian", tmp_path)
    with pytest.raises(CycloptsError, match="stpes"):
        parse("rino train --stpes 3", tmp_path)
    with pytest.raises(CycloptsError, match="many"):
        parse("for G in 4 many; do srun rino check --num-generations $G; done", tmp_path)
    with pytest.raises(AssertionError, match="dta"):
        parse("pip install '.[dta]'", tmp_path)


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement for the successor of mkdocs-material
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "outcome-weighted" in home
    listed = (tmp_path / "site" / "checked" / "index.html").read_text(encoding="utf-8")
    assert all(block.note in listed for block in BLOCKS if block.mode == "parse")
