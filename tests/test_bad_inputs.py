"""The table of bad inputs (`bad_inputs/*.txt`): a command or a call of the Python API, and the two lines that it earns.

    $ rino check one-token --seed -1
    error: --seed is -1; it has to be a whole number …
      try: --seed … is the least

`>>>` in the place of `$` is a call of the Python API, whose InputError has to have the two lines. A `…` in an expected
line stands for any text. Rows run in a directory with the files of `bad_input_files.py`, and nothing may change in it.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import bad_input_files
import numpy as np
import pytest

import rino
from rino import cli

TABLE = Path(__file__).parent / "bad_inputs"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    place: str
    prompt: str
    words: str
    error: str
    mend: str


def read(file):
    """The rows of one file; blank lines and lines that begin with # are for the reader."""
    lines = [line for line in file.read_text().split("\n") if line.strip() and not line.startswith("#")]
    for number in range(0, len(lines), 3):
        asked, error, mend = lines[number : number + 3]
        prompt, _, words = asked.partition(" ")
        assert prompt in ("$", ">>>"), f"{file.name}: {asked}"
        assert error.startswith("error: "), f"{file.name}: {asked}"
        assert mend.startswith("  try: "), f"{file.name}: {asked}"
        yield Row(file.stem, prompt, words, error, mend)


ROWS = [row for file in sorted(TABLE.glob("*.txt")) for row in read(file)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad")
    bad_input_files.make_all(place)
    before = listing(place)
    yield place
    assert listing(place) == before


def listing(place):
    """Every file with its time, every directory."""
    found = (path for path in place.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(place)): path.is_file() and path.stat().st_mtime_ns for path in found}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.place}: {row.words[:80]}")
def test_bad_input_is_two_lines(row, place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    shown = ask(row.prompt, row.words, capsys)
    assert len(shown) == 2, shown
    assert fits(row.error, shown[0]), shown
    assert fits(row.mend, shown[1]), shown


def ask(prompt, words, capsys):
    """The lines that a command prints to stderr (exit code 2), or those of the InputError that a call raises."""
    if prompt == ">>>":
        with pytest.raises(rino.InputError) as caught:
            eval(words, {"rino": rino, "np": np, "Path": Path})
        return [f"error: {caught.value.problem}", f"  try: {caught.value.mend}"]
    arguments = shlex.split(words)
    assert arguments[0] == "rino"
    assert cli.run(arguments[1:]) == 2, capsys.readouterr().err
    shown = capsys.readouterr().err.rstrip("\n").split("\n")
    # A long start may have told of its progress.
    return [line for line in shown if line.startswith(("error: ", "  try: "))] if len(shown) > 2 else shown


def fits(expected, shown):
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), shown) is not None


def test_the_table_is_large_and_covers_every_command():
    commands = {row.words.split()[1] for row in ROWS if row.prompt == "$"}
    calls = {row.words.split("(")[0].removeprefix("rino.") for row in ROWS if row.prompt == ">>>"}
    assert len(ROWS) >= 300
    assert set(cli.COMMANDS) <= commands
    assert {
        "audit",
        "check",
        "coefficient",
        "compare",
        "figures",
        "gradient",
        "method",
        "problem",
        "prove",
        "train",
    } <= calls
    assert os.path.isdir(TABLE)
