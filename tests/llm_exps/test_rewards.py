"""Several reward functions: the weighted sum, and what is wrong with one is said."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.tasks.registry import load_task
from llm_exps.tasks.rewards import Rewards, load_rewards
from rino import cli
from rino_base.messages import InputError

FILE = """
def brevity(prompts, completions, **columns):
    return [-float(len(text)) for text in completions]

def short_list(prompts, completions, **columns):
    return [1.0]

def not_finite(prompts, completions, **columns):
    return [float("nan") for _ in completions]

def raises(prompts, completions, target, **columns):
    raise ValueError("out of luck")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "style.py"
    path.write_text(FILE)
    return path


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.lists(st.floats(-9, 9), min_size=2, max_size=2)), min_size=1, max_size=4)
)
def test_the_reward_is_the_weighted_sum(parts):
    functions = {str(i): lambda *_, v=values, **__: v for i, (_, values) in enumerate(parts)}
    total, said = Rewards(functions, tuple(weight for weight, _ in parts))(["", ""], ["", ""])
    exact = [sum(Fraction(weight) * Fraction(values[row]) for weight, values in parts) for row in range(2)]
    assert total == pytest.approx([float(value) for value in exact], abs=1e-12)
    assert list(said.values()) == [values for _, values in parts]


def test_the_tasks_own_and_a_files(file):
    task = load_task("countdown-small")
    rewards = load_rewards(task, ("task", f"{file}:brevity"), (1.0, 0.5))
    problems = task.evaluation_problems(1)
    total, said = rewards(problems.prompts, ["abcd"], **problems.columns)
    assert said == {"task": [0.0], f"{file}:brevity": [-4.0]}
    assert total == [-2.0]


@pytest.mark.parametrize(
    ("names", "weights", "said"),
    [
        (("task", "task"), (), "each once"),
        ((), (), "at least one"),
        (("task",), (1.0, 2.0), "2 reward weights"),
        (("task",), (float("nan"),), "finite"),
        (("nothing.py:f",), (), "no reward function nothing.py:f"),
        (("tsak",), (), "no reward function tsak"),
        (("{file}:missing",), (), "no function missing"),
    ],
)
def test_what_cannot_be_loaded_is_named(file, names, weights, said):
    names = [name.format(file=file) for name in names]
    with pytest.raises(InputError) as caught:
        load_rewards(load_task("countdown-small"), names, weights)
    assert said in f"{caught.value} {caught.value.mend}"


@pytest.mark.parametrize(
    ("name", "said"), [("short_list", "1 values for 2"), ("not_finite", "2 of them"), ("raises", "out of luck")]
)
def test_what_a_function_does_wrong_is_named(file, name, said):
    task = load_task("countdown-small")
    problems = task.evaluation_problems(2)
    with pytest.raises(InputError, match=said):
        load_rewards(task, (f"{file}:{name}",), ())(problems.prompts, ["", ""], **problems.columns)


def test_a_run_logs_each_and_learns_from_the_sum(file, tmp_path):
    out = tmp_path / "run"
    command = ["train", "--steps", "1", "--num-prompts", "2", "--num-generations", "4", "--max-completion-length", "24"]
    command += ["--eval-prompts", "4", "--eval-samples", "2", "--out", str(out), "--export-every", "1"]
    command += ["--reward-functions", "task", f"{file}:brevity", "--reward-weights", "1", "0.125"]
    assert cli.run([*command, "--export-dtype", "bfloat16"]) == 0
    (line,) = [json.loads(text) for text in (out / "metrics.jsonl").read_text().split("\n") if text]
    parts = line["rewards/task/mean"] + 0.125 * line[f"rewards/{file}:brevity/mean"]
    assert line["reward"] == pytest.approx(parts, rel=1e-6)
    sizes = [(out / place / "model.safetensors").stat().st_size for place in ("model", "exports/step-1")]
    assert sizes[0] == sizes[1]
    assert json.loads((out / "model" / "config.json").read_text())["torch_dtype"] == "bfloat16"
