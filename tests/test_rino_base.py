"""What every room says to a person."""

import json

import pytest

from rino_base.files import write_json
from rino_base.messages import InputError, print_table, report_error
from rino_base.progress import track


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
