"""What every room says to a person."""

import json
import os
import sys

import pytest

from rino_base import progress
from rino_base.files import write_json
from rino_base.messages import (
    InputError,
    first_line,
    format_numbers,
    print_table,
    printable,
    report_error,
    report_warning,
)
from rino_base.outputs import try_outputs
from rino_base.progress import facts, progress_bar, track
from rino_base.user_code import load_file


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [child.name for child in path.parent.iterdir()] == ["result.json"]


def test_error_names_problem_and_mend(capsys):
    report_error(InputError("the value 3 is odd", mend="give an even one"))
    assert capsys.readouterr().err == "error: the value 3 is odd\n  try: give an even one\n"


def test_table_shows_every_cell(capsys):
    print_table("numbers", ["name", "value"], [["pi", 3.14159265], ["nothing", None], ["truth", True]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("numbers", "name", "3.142", "–", "yes"))


def test_track_yields_everything():
    assert list(track(range(3), description="counting")) == [0, 1, 2]


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test turns."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_log_files_get_a_line_a_step_with_count_facts_and_what_is_left(clock, capsys):
    with progress_bar() as bar:
        task = bar.add_task("GRPO", total=4)
        for step in range(1, 5):
            clock[0] += 10
            bar.update(task, completed=step, facts=facts({"reward": 0.25, "length": 12.0}))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "GRPO  1/4  reward 0.25, length 12",
        "GRPO  2/4  reward 0.25, length 12  ETA 20 s",
        "GRPO  3/4  reward 0.25, length 12  ETA 10 s",
        "GRPO  4/4  reward 0.25, length 12  40 s in all",
    ]


def test_a_few_long_stages_leave_a_line_each(clock, capsys):
    def stages():
        for stage in ("sampling", "update"):
            clock[0] += 60
            yield stage

    assert len(list(track(stages(), description="bench", total=2))) == 2
    assert capsys.readouterr().err.splitlines() == ["bench  1/2", "bench  2/2  2 min 00 s in all"]


def test_a_resumed_run_is_judged_by_its_own_steps(clock, capsys):
    with progress_bar() as bar:
        task = bar.add_task("GRPO", total=100)
        for step in (81, 82, 83):
            clock[0] += 5
            bar.update(task, completed=step)
    assert capsys.readouterr().err.splitlines()[-1] == "GRPO  83/100  ETA 1 min 25 s"


def test_what_is_over_at_once_leaves_no_line(clock, capsys):
    assert list(track(range(1000), description="counting")) == list(range(1000))
    assert capsys.readouterr().err == ""


def test_fast_steps_share_lines(clock, capsys):
    def slow():
        for item in range(100):
            clock[0] += 0.1
            yield item

    assert len(list(track(slow(), description="counting", total=100))) == 100
    assert 5 <= len(capsys.readouterr().err.splitlines()) <= 11


def test_several_numbers_in_a_cell():
    assert format_numbers([0.25, None, 1 / 3]) == "0.25 – 0.3333"
    assert format_numbers([1.0] * 5, most=2) == "1 1 …"
    assert format_numbers(None) is None


def test_brackets_are_text(capsys):
    print_table("[red]title", ["[/x]"], [["see [/x] and [red]"]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[red]title", "see [/x] and [red]"))


def test_nothing_in_a_text_moves_the_terminal(capsys):
    hostile = "\x1b]0;title\x07 \x1b[31mred\x1b[0m \x9b2J \r\b \u202eright\u2066 \u2028 \ud800"
    print_table(hostile, ["column"], [[hostile]])
    report_error(InputError(hostile + "\nsecond", mend=hostile))
    report_warning(hostile)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert not set("\x1b\x07\x9b\r\b\u202e\u2066\u2028\ud800") & set(shown)
    assert "\\x1b[31mred" in shown
    assert len(captured.err.splitlines()) == 3


def test_ordinary_text_is_shown_as_it_is():
    text = "naïve ☃ 🙂 日本語 c(p) ∇p – “quoted”\n\tindented"
    assert printable(text) == text


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("a\nb"), "a"), (KeyError(), "KeyError"), (OSError(""), "OSError")]
)
def test_the_first_line_of_an_error_is_never_missing(error, line):
    assert first_line(error) == line


def test_a_link_stays_and_a_device_is_not_replaced(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert target.read_text() == '{\n  "a": 1\n}\n'
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json(pipe, 3)
    assert os.read(reader, 10) == b"3\n"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["new.json", "new/folder/new.json", "there.json"])
def test_trying_an_output_leaves_nothing(tmp_path, name):
    (tmp_path / "there.json").write_text("before")
    before = sorted(tmp_path.rglob("*"))
    try_outputs({"json": tmp_path / name, "out": str(tmp_path / "run"), "steps": 3, "latex": None})
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.json").read_text() == "before"


@pytest.mark.parametrize("option", ["json", "out", "latex"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path, option):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file / "x", tmp_path / ("n" * 300), "a\0b", "/proc/none/x"):
        with pytest.raises(InputError, match=f"--{option} .* cannot be written"):
            try_outputs({option: path}, write=lambda name: f"--{name}")


def test_a_users_file_finds_its_neighbours_and_its_own_classes(tmp_path):
    (tmp_path / "neighbour.py").write_text("VALUE = 3\n")
    (tmp_path / "json.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from neighbour import VALUE\n"
        "@dataclass\n"
        "class Kept:\n"
        "    value: int = VALUE\n"
    )
    path = list(sys.path)
    assert load_file(tmp_path / "json.py").Kept().value == 3
    assert sys.modules["json"] is json, "a file of the user's never hides a module"
    assert sys.path == path
