"""`rino audit` from the command line: exit codes, the page it prints, and the file it writes."""

import json
from pathlib import Path

import pytest

from rino.cli import run

LOSSES = Path(__file__).parent / "losses"
KL_MAXIMISED = f"{LOSSES / 'faulty_jax.py'}:kl_maximised"


def test_one_page_and_one_file(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert run(["audit", KL_MAXIMISED, "--json", str(file)]) == 0
    page = capsys.readouterr().out
    assert len(page.splitlines()) < 60
    for word in ("SIGN: the KL is maximised", "grpo-kl with", "std_G", "ddof 0", "0.04 k3", "not outcome-driven"):
        assert word in page
    answers = json.loads(file.read_text())
    assert answers["target"] == KL_MAXIMISED
    assert not answers["outcome_driven"]
    assert answers["nearest"]["method"] == "grpo-kl"


@pytest.mark.parametrize(
    ("target", "expected", "code"),
    [
        ("f-isft+", "raft", 0),
        ("raft", "outcome-driven", 0),
        ("grpo", "dapo", 1),
        (KL_MAXIMISED, "outcome-driven", 1),
        (f"{LOSSES / 'faulty_jax.py'}:reward_minimised", "grpo", 1),
    ],
)
def test_expectations_decide_the_exit_code(target, expected, code, capsys):
    assert run(["audit", target, "--expect", expected]) == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere.py:loss"],
        [f"{LOSSES / 'broken_jax.py'}:returns_nan"],
        ["gropo"],
        ["grpo", "--expect", "gropo"],
        ["grpo", "--json", "."],
        [],
    ],
)
def test_bad_input_is_two_lines_and_exit_code_2(arguments, capsys):
    assert run(["audit", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert len(captured.err.strip().splitlines()) == 2
    assert "Traceback" not in captured.err
