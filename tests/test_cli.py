"""The front door: help, unknown commands and options, exit codes."""

import json
import subprocess
import sys

import pytest

from llm_exps.models.import_command import SOURCES
from llm_exps.tasks.registry import TASKS
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems.zoo import ZOO
from proofs.command import MODULES
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
        (["train", "--temperature", "0"], "--temperature is 0.0", "nearly greedily"),
        (["train", "--steps", "many"], "many", "rino train --help"),
        (["compare", "--methods", "grpo", "grpo"], "given twice", "once"),
        (["figures", "/no/such/directory"], "/no/such/directory", ""),
        (["audit", "nowhere.py:loss"], "nowhere.py", ""),
        (["list", "method"], "methods", "rino list --help"),
        # A command takes what it uses and nothing else.
        (["evaluate", "--learning-rate", "99"], "--learning-rate", "rino evaluate --help"),
        (["evaluate", "--anti-kl"], "--anti-kl", "rino evaluate --help"),
        (["generate", "--steps", "3"], "--steps", "rino generate --help"),
        (["compare", "--seed", "7"], "--seed", "rino compare --help"),
    ],
)
def test_bad_input_is_two_lines_and_exit_code_2(arguments, problem, mend, capsys):
    assert cli.run(arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 2, shown
    assert problem in shown[0]
    assert mend in shown[1]
    assert shown[1].startswith("  try: ")


@pytest.mark.parametrize(
    ("what", "names"),
    [("methods", METHODS), ("tasks", TASKS), ("problems", ZOO), ("theorems", MODULES), ("models", ["default"])],
)
def test_list_names_everything_with_its_source(what, names, tmp_path, capsys):
    assert cli.run(["list", what, "--json", str(tmp_path / "list.json")]) == 0
    rows = json.loads((tmp_path / "list.json").read_text())
    assert set(names) <= {row["name"] for row in rows}
    assert all(row["what it is"] and row["source"] for row in rows)


def test_packaged_models_are_listed(capsys):
    assert cli.run(["list", "models"]) == 0
    shown = capsys.readouterr().out
    assert all(f"rino import {name}" in shown for name in SOURCES)


def test_json_dash_puts_the_json_alone_on_stdout(capsys):
    for words in (["--json", "-"], ["--json=-"]):
        assert cli.run(["list", "tasks", *words]) == 0
        captured = capsys.readouterr()
        assert {row["name"] for row in json.loads(captured.out)} >= set(TASKS)
        assert "countdown-small" in captured.err


def test_json_dash_leaves_stdout_empty_on_bad_input(capsys):
    assert cli.run(["check", "no-such-problem", "--json", "-"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_help_imports_nothing_heavy(command):
    script = (
        f"import sys; from rino import cli; cli.run(['{command}', '--help']); "
        "print([m for m in ('jax', 'flax', 'transformers', 'optax', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "[]"


def test_help_is_in_groups_and_points_to_the_lists(capsys):
    assert cli.run(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    groups = ["Model", "Task", "Method", "Run", "Sampling", "Optimiser", "Evaluation", "Logging and output"]
    places = [shown.index(f"─ {group} ─") for group in groups]
    assert places == sorted(places)
    assert "rino list methods" in " ".join(shown.replace("│", " ").split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_commands_and_options(shell, capsys):
    assert cli.run(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert "compare" in shown
    assert "learning-rate" in shown
