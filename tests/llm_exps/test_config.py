"""Run configuration: batch arithmetic, defaults that depend on the model, departures from a method."""

import dataclasses

import pytest

from llm_exps.config import RunConfig, customise, resolve, validate
from llm_exps.options import ObjectiveOptions, OptimiserOptions, RunOptions, SamplingOptions, changed_flags
from mdp_theory.methods.catalogue import get
from rino_base.messages import InputError


def options(**sections):
    return RunOptions(num_prompts=12, **sections)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (options(optimiser=OptimiserOptions(num_minibatches=5)), ["num_prompts 12", "num_minibatches 5", "96"]),
        (options(optimiser=OptimiserOptions(micro_batch_size=7)), ["micro_batch_size 7", "96 completions"]),
        (options(sampling=SamplingOptions(num_generations=0)), ["num_generations is 0", "at least 1"]),
        (options(sampling=SamplingOptions(top_p=1.5)), ["top_p is 1.5"]),
        (options(optimiser=OptimiserOptions(learning_rate=-1.0)), ["learning_rate is -1.0"]),
    ],
)
def test_numbers_that_break_a_rule_are_named(given, words):
    with pytest.raises(InputError) as error:
        validate(given)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_defaults_depend_on_the_model():
    small = resolve(RunOptions(), parameters=100_000, context=96)
    large = resolve(RunOptions(), parameters=500_000_000, context=32_768)
    assert (small.optimiser.learning_rate, small.sampling.max_completion_length) == (3e-4, 48)
    assert (large.optimiser.learning_rate, large.sampling.max_completion_length) == (1e-6, 512)
    given = resolve(options(optimiser=OptimiserOptions(learning_rate=0.5)), parameters=1, context=96)
    assert given.optimiser.learning_rate == 0.5


def test_completion_that_does_not_fit_is_refused():
    sampling = SamplingOptions(max_prompt_length=60, max_completion_length=60)
    with pytest.raises(InputError, match="60 \\+ max_completion_length 60 exceeds the model's context of 96"):
        resolve(options(sampling=sampling), parameters=1, context=96)


def test_departures_reach_the_objective():
    changed = customise(
        get("grpo"),
        ObjectiveOptions(beta=0.1, anti_kl=True, epsilon=0.3, loss_aggregation="dr_grpo", ddof=1, advantage_eps=1e-4),
        100,
    ).objective
    assert (changed.kl.beta, changed.kl.sign) == (0.1, -1)
    assert (changed.clip.low, changed.clip.high) == (0.3, 0.3)
    assert (changed.aggregation, changed.max_completion_length) == ("sequence-mean-token-sum-norm", 100)
    assert (changed.advantage.ddof, changed.advantage.eps) == (1, 1e-4)


def test_no_departure_leaves_the_method_alone():
    method = get("dapo")
    assert customise(method, ObjectiveOptions(), 7).objective == dataclasses.replace(
        method.objective, max_completion_length=7
    )


def test_beta_zero_removes_the_kl_term():
    assert customise(get("grpo-kl"), ObjectiveOptions(beta=0.0), 7).objective.kl is None


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("reinforce", ObjectiveOptions(epsilon=0.2)),
        ("grpo", ObjectiveOptions(anti_kl=True)),
        ("grpo", ObjectiveOptions(loss_aggregation="mean")),
    ],
)
def test_option_without_a_place_is_refused(method, given):
    with pytest.raises(InputError):
        customise(get(method), given, 7)


def test_static_methods_never_refresh_their_samples():
    given = resolve(RunOptions(), parameters=1, context=64)
    assert RunConfig(model="m", task="t", method="sft", options=given).refresh_every == 0
    assert RunConfig(model="m", task="t", method="grpo", options=given).refresh_every == 1


def test_flags_name_what_differs_from_the_defaults():
    given = options(seed=3, remat=True, optimiser=OptimiserOptions(learning_rate=1e-5))
    assert changed_flags(given) == ["--num-prompts", "12", "--remat", "--learning-rate", "1e-05", "--seed", "3"]
