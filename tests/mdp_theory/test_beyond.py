"""What `rino check` and `rino samples` say of noise, rates and optimisers, against the functions they stand on."""

import json

import numpy as np
import pytest

import rino
from mdp_theory.check import beyond
from mdp_theory.check.samples import samples
from mdp_theory.exact import noise, population, rollout_trees
from mdp_theory.exact.optimisers import Optimiser
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import zoo
from rino.cli import run
from rino_base.messages import InputError


@pytest.fixture(scope="module")
def words():
    return zoo.load("two-letter-words")


@pytest.fixture(scope="module")
def uniform(words):
    return TabularPolicy().init(words, None)


def test_noise_is_that_of_one_method_at_a_time(words, uniform):
    record = beyond.noise_record(words, uniform, num_generations=5)
    for key in ("grpo", "rloo", "dr-grpo", "reinforce-rej"):
        objective = beyond.fitted(METHODS[key].objective, words)
        plain = noise.group_noise(population.without_length(objective), words, uniform, num_generations=5)
        whole = noise.group_noise(objective, words, uniform, num_generations=5)
        np.testing.assert_allclose(record["methods"][key]["scale_without_length"], plain.scale, rtol=1e-10)
        drawn = noise.batch_noise(plain, words, prompts=1)["scale"]
        assert record["methods"][key]["prompts_without_length"] == pytest.approx(drawn, rel=1e-10)
        np.testing.assert_allclose(record["methods"][key]["scale"], whole.scale, rtol=1e-10)
    assert record["methods"]["dapo"]["scale"] is None
    assert "ppo" not in record["methods"]
    flat = rollout_trees.flat(words, uniform, num_generations=5)
    np.testing.assert_allclose(record["rollouts"][0]["tokens_for_unit_noise"], flat.tokens_for_unit_noise)


def test_rates_are_finite_and_fall_with_the_start():
    record = beyond.rates_record(8)
    for method in record["methods"].values():
        assert method["times"] == sorted(method["times"])
        assert method["easy"] == sorted(method["easy"])
        # One of these times brings the easy prompt to the target: times are in that unit.
        at_one = int(np.argmin(np.abs(np.array(method["relative_time"]) - 1.0)))
        assert method["easy"][at_one] == pytest.approx(record["target"], abs=1e-9)
    assert set(record["limits"]) == {"1", "1/√(p(1−p))", "1/p"}


def test_an_optimiser_beside_gradient_ascent(words, uniform):
    record = beyond.optimiser_record(
        words, uniform, Optimiser(kind="adam"), num_generations=4, steps=12, learning_rate=None
    )
    plain, adam = record["runs"]["sgd"], record["runs"]["adam"]
    assert adam["constant_factor"] < 1e-5 < plain["constant_factor"]
    assert adam["spread"] < plain["spread"]
    assert len(adam["methods"]["grpo"]["success"]) == 13


def test_samples_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "samples.json"
    command = ["samples", "grpo", "rloo", "--p", "0.05", "--num-generations", "4", "8", "--json", str(path)]
    assert run(command) == 0
    assert "at least so many, whatever the model" in capsys.readouterr().out
    rows = json.loads(path.read_text())
    assert [(row["method"], row["num_generations"]) for row in rows] == [
        ("grpo", 4), ("grpo", 8), ("rloo", 4), ("rloo", 8),
    ]  # fmt: skip
    for row in rows:
        assert row["samples"] == rino.samples_needed(row["method"], 0.05, num_generations=row["num_generations"])
        assert row["samples"] == row["groups"] * row["num_generations"]


def test_more_score_noise_needs_more_samples():
    few, many = (rino.samples_needed("rloo", 0.05, progress=0.9, score_noise=chi) for chi in (0.0, 100.0))
    assert few == 160
    assert many > few


@pytest.mark.parametrize(
    "call",
    [
        lambda: rino.samples_needed("grpo", 0.0),
        lambda: rino.samples_needed("grpo", 0.5, progress=1.0),
        lambda: rino.samples_needed("ppo", 0.5),
        lambda: samples("no-such-method"),
        lambda: rino.check("one-token", optimiser="adagrad"),
    ],
)
def test_what_has_no_answer_is_refused(call):
    with pytest.raises(InputError):
        call()
