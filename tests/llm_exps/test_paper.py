"""The paper's runs as one command: the plan is the paper's, and the same code carries it out on a small model."""

import json

import pytest

from llm_exps import paper
from llm_exps.options import EvaluationOptions
from llm_exps.paper import Plan, Settings, carry_out
from rino import cli


def test_the_plan_is_printed_without_fetching_anything(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["reproduce", "--paper", "gsm8k", "--size", "1.5B", "--print", "--json", "plan.json"]) == 0
    printed = capsys.readouterr().out
    commands = json.loads((tmp_path / "plan.json").read_text())["commands"]
    assert all(command in printed for command in commands)
    assert list(tmp_path.iterdir()) == [tmp_path / "plan.json"]


def test_every_printed_command_is_one_that_the_command_line_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.run(["reproduce", "--paper", "countdown", "--print", "--json", "plan.json", "--ppo", "--seeds", "0", "1"])
    commands = json.loads((tmp_path / "plan.json").read_text())["commands"]
    assert len(commands) == 2 * (len(paper.METHODS) + 2) + 1
    ppo, kl = (next(c for c in commands if f"--method {name} " in c) for name in ("ppo", "grpo-kl"))
    for command in (commands[0], ppo, kl):
        words = command.split()
        # Another model, which is not there: everything else has been read and found good when that is said.
        words[words.index("--model") + 1] = "missing/"
        assert cli.run([*words[1:], "--data", "generated"]) == 2
        assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "updates", "averaging"), [("paper", 1, None), ("code", 4, "token-mean")])
def test_settings_that_are_public(name, updates, averaging):
    options = Plan(paper="countdown", settings=name).options
    assert options.optimiser.num_minibatches == updates
    assert options.objective.loss_aggregation == averaging
    assert options.scheme == "three-level"
    assert Plan(paper="gsm8k").options.scheme == "binary"
    assert options.num_prompts * options.sampling.num_generations == {"paper": 320, "code": 1280}[name]


def test_the_cost_is_that_of_the_plan():
    cost = Plan(paper="countdown").cost()
    assert cost["completions"] == 240 * 256 * 5
    assert cost["evaluated"] == 25 * 1024 * 2
    assert cost["tokens"] == (cost["completions"] + cost["evaluated"]) * 1024


def test_a_plan_is_carried_out_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    small = Settings(
        num_prompts=2,
        num_minibatches=1,
        temperature=1.0,
        loss_aggregation="token-mean",
        steps=1,
        num_generations=4,
        eval_every=1,
    )
    small = paper.dataclasses.replace(small, max_prompt_length=None, max_completion_length=12)
    monkeypatch.setattr(paper, "SETTINGS", {"code": small})
    monkeypatch.setattr(paper, "TASKS", {"countdown-small": ("binary", 512)})
    monkeypatch.setattr(paper, "METHODS", ("grpo", "f-isft-pm"))
    # All held-out problems are one evaluation; a few say as much here.
    monkeypatch.setattr(paper, "EvaluationOptions", lambda **given: EvaluationOptions(**given | {"eval_prompts": 8}))
    plan = Plan(paper="countdown-small", model="default")
    carry_out(plan, tmp_path)
    runs = sorted(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("finished.json"))
    assert runs == ["runs/f-isft-pm/seed-0", "runs/grpo-kl/seed-0", "runs/grpo/seed-0"]
    beta = json.loads((tmp_path / "runs/grpo-kl/seed-0/config.json").read_text())["objective"]["kl"]["beta"]
    assert beta == paper.KL_BETA
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    carry_out(plan, tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}


@pytest.mark.parametrize(
    "words",
    [
        ["--quick", "--paper", "gsm8k"],
        ["--print"],
        ["--ppo"],
        ["--seeds", "3"],
        ["--size", "1.5B"],
        ["--settings", "paper"],
    ],
)
def test_options_that_do_not_belong_together(words, capsys):
    assert cli.run(["reproduce", *words]) == 2
    assert "--paper" in capsys.readouterr().err
