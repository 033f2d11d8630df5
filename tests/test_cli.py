"""The front door: help, unknown commands and options, exit codes."""

import pytest

from rino import cli


def test_help_lists_every_command(capsys):
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "problem", "mend"),
    [
        (["chekc"], "unknown command 'chekc'", "rino check"),
        (["prove", "--no-such-option"], "no-such-option", "rino prove --help"),
        (["prove", "T99"], "T99", "T"),
        (["check", "no-such-problem"], "no-such-problem", ""),
        (["check", "missing.toml"], "missing.toml", ""),
        (["train", "--method", "grop"], "unknown method 'grop'", "'grpo' is nearest"),
        (["train", "--model", "/no/such/directory"], "/no/such/directory", ""),
        (["train", "--num-prompts", "8", "--num-minibatches", "3"], "num_prompts 8", "choose a divisor"),
        (["train", "--num-prompts", "8", "--micro-batch-size", "5"], "micro_batch_size 5", "num_generations 8"),
        (["train", "--temperature", "0"], "--temperature 0", "positive"),
        (["train", "--steps", "many"], "many", "rino train --help"),
        (["compare", "--methods", "grpo", "grpo"], "given twice", "once"),
        (["figures", "/no/such/directory"], "/no/such/directory", ""),
        (["audit", "nowhere.py:loss"], "nowhere.py", ""),
    ],
)
def test_bad_input_is_two_lines_and_exit_code_2(arguments, problem, mend, capsys):
    assert cli.run(arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 2, shown
    assert problem in shown[0]
    assert mend in shown[1]
    assert shown[1].startswith("  try: ")
