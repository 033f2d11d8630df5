"""What every room says to a person."""

import json

import pytest

from rino_base import progress
from rino_base.files import write_json
from rino_base.messages import InputError, format_numbers, print_table, report_error
from rino_base.progress import facts, progress_bar, track


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
