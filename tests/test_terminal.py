"""Streams that are closed, unread, full or of a small alphabet: the work is done, and the exit code says so."""

import os
import pty
import select
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "rino", "list", "problems"]


def run(shell, **environment):
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", *COMMAND],
        capture_output=True,
        env=os.environ | environment,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("shell", "code"),
    [
        ("| head -1; exit ${PIPESTATUS[0]}", 0),
        (">&-", 0),
        (">&- 2>&- <&-", 0),
        ("> /dev/full", 2),
        ("2> /dev/full", 0),
    ],
)
def test_streams_that_take_nothing(shell, code):
    found = run(shell)
    assert found.returncode == code
    assert b"Traceback" not in found.stderr
    if code:
        assert found.stderr.decode().split("\n")[0].startswith("error: no space left")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_small_alphabets(encoding):
    found = run("", PYTHONIOENCODING=encoding)
    assert (found.returncode, found.stderr) == (0, b"")
    shown = found.stdout.decode(encoding)
    assert "two-letter-words" in shown
    assert shown.count("?") == run("").stdout.decode().count("?"), "nothing is lost"


def test_a_locale_without_utf_8():
    found = run("", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (found.returncode, found.stderr) == (0, b"")


@pytest.mark.parametrize("columns", ["0", "1", "-5", "wide"])
def test_terminals_of_absurd_widths(columns):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(COMMAND, stdout=theirs, stderr=theirs, env=os.environ | {"COLUMNS": columns})
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 60)[0] and (block := os.read(ours, 65536)):
            shown += block
    except OSError:  # Linux says so when the other side is closed
        pass
    assert process.wait(timeout=60) == 0
    assert b"Traceback" not in shown
    assert b"words" in shown or columns == "1"
    os.close(ours)
