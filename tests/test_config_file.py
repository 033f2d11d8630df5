"""`--config`: a file fills in what the command line leaves open, and says so when it cannot."""

import json
from pathlib import Path

import pytest
from cyclopts import App

from llm_exps.config import RunConfig, resolve
from llm_exps.options import CompareOptions, ObjectiveOptions, RunOptions
from rino import cli
from rino.config_file import provider


def parsed(command_line: str, config: Path | None, *, default=RunOptions()) -> tuple[dict, object]:
    """What a command with a run's options would get."""
    app, seen = App(), []

    def train(*, model: str = "default", method: str = "grpo", options: type(default) = default) -> None:  # type: ignore[valid-type]
        seen.append(({"model": model, "method": method}, options))

    app.command(train)
    if config:
        app.config = [provider(config, "train")]
    app(["train", *command_line.split()], exit_on_error=False, print_error=False, result_action="return_value")
    return seen[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'model = "m"\nsteps = 7\n[sampling]\ntemperature = 0.6\n[optimiser]\nlearning_rate = 1e-5\n'),
        ("a.yaml", "model: m\nsteps: 7\nsampling:\n  temperature: 0.6\nlearning-rate: 1.0e-5\n"),
        ("a.json", '{"model": "m", "steps": 7, "temperature": 0.6, "learning_rate": 1e-5}'),
    ],
)
def test_file_fills_in_and_the_command_line_wins(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    names, options = parsed("--steps 9", file)
    assert names["model"] == "m"
    assert (options.steps, options.sampling.temperature, options.optimiser.learning_rate) == (9, 0.6, 1e-5)
    assert options.num_prompts == RunOptions().num_prompts


def test_a_runs_own_record_makes_the_same_run(tmp_path):
    objective = ObjectiveOptions(beta=0.04, kl_estimator="k2", anti_kl=True, ddof=1)
    options = resolve(RunOptions(seed=3, steps=5, objective=objective), parameters=1, context=64)
    run = RunConfig(model="m", task="addition", method="dapo", options=options)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**run.to_json(), "versions": {}, "hardware": {}}))
    names, found = parsed("", file)
    assert names == {"model": "m", "method": "dapo"}
    assert found == options
    # A comparison takes the rest of the record; method and seed it decides itself.
    assert parsed("", file, default=CompareOptions())[1].steps == 5


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.toml", "stepz = 3", "stepz"),
        ("a.toml", "steps = ", "a.toml"),
        ("a.toml", "steps = 'many'", "many"),
        ("a.yaml", "steps: [1", "a.yaml"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "a.yaml"),
        ("a.json", "[1, 2]", "no table"),
        ("a.json", '{"objective": {}, "versions": {}, "objective_options": 3}', "objective_options"),
        ("a.toml", "steps = 1\n[run]\nsteps = 2", "twice"),
        ("a.toml", "[a.b]\nsteps = 2", "table"),
        ("a.ini", "steps = 1", "no known kind"),
        ("a.toml", b"\xff\xfe", "cannot be read"),
    ],
)
def test_bad_files_are_two_lines(tmp_path, capsys, name, text, problem):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert cli.run(["train", "--config", str(file)]) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 2, shown
    assert problem in shown[0], shown


def test_missing_file_is_named(capsys):
    assert cli.run(["train", "--config=/no/such/file.toml"]) == 2
    assert "/no/such/file.toml" in capsys.readouterr().err
