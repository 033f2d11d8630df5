"""Predictions of steps: the rule's weights are exact, and on one prompt theory, learner and brute force agree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from llm_exps.evidence import Evidence, Rollout
from llm_exps.gradient import forward
from llm_exps.learner import Learner
from llm_exps.options import OptimiserOptions, RunOptions, SamplingOptions
from llm_exps.prediction import (
    Prompts,
    after_steps,
    mean_update,
    measured_change,
    moved_params,
    predicted_change,
    prompt_gradients,
    response_weights,
)
from llm_exps.rollout import Actor, collect, step_key
from llm_exps.setup import prepare
from llm_exps.update import Weights
from mdp_theory.exact.population import coefficient
from mdp_theory.methods.catalogue import get

SAMPLING = SamplingOptions(num_generations=8, max_prompt_length=12, max_completion_length=24)

NOTHING = Evidence(None, None)


@pytest.fixture(scope="module")
def setup():
    return prepare("default", "countdown-small", RunOptions())


def learner(setup, method="grpo"):
    options = OptimiserOptions(optimiser="sgd", learning_rate=1e-3, max_grad_norm=0.0, micro_batch_size=0)
    objective = get(method).objective
    return Learner(graph=setup.graph, objective=objective, options=options, temperature=1.0, chunk=1024)


def sample(setup, *, stream=0, prompts=2):
    actor = Actor(setup.graph, setup.tokenizer, setup.stop_tokens, SAMPLING)
    problems = setup.task.prompts_for_step(0, 0, prompts)
    return Prompts.of(collect(actor, setup.params, problems, setup.rewards, step_key(0, 0, stream))[0])


def of(right, length):
    """A sample with these outcomes and lengths, which is all that the rule looks at."""
    rows, time = right.size, int(length.max())
    mask = (np.arange(time) < length.reshape(-1, 1)).astype(np.float32)
    group = np.repeat(np.arange(len(right)), right.shape[1])
    nothing = np.zeros((rows, time))
    return Prompts.of(Rollout(nothing, nothing, mask, nothing, right.ravel(), group))


@pytest.mark.parametrize("method", ["grpo", "rloo", "maxrl", "f-isft-pos", "f-isft-neg"])
def test_the_weights_of_outcomes_differ_by_c(method):
    objective = dataclasses.replace(get(method).objective, aggregation="sequence-mean-token-sum")
    right, p = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0.2, 0.7])
    weight = response_weights(objective, of(right, np.full((2, 2), 5)), p, num_generations=8)
    found = np.array([weight[0, 1] - weight[0, 0], weight[1, 0] - weight[1, 1]])
    np.testing.assert_allclose(found, coefficient(objective, p, num_generations=8), rtol=1e-12)


def test_the_weight_of_a_token_is_divided_by_the_length():
    prompts = of(np.ones((1, 2)), np.array([[3, 6]]))
    short, long = response_weights(get("grpo").objective, prompts, np.array([0.5]), num_generations=8)[0]
    assert short == pytest.approx(2 * long)


def test_joined_samples_keep_their_prompts(setup):
    one, other = sample(setup), sample(setup, stream=1)
    both = Prompts.joined([one, other])
    np.testing.assert_array_equal(both.right, np.concatenate([one.right, other.right], axis=1))
    np.testing.assert_array_equal(both.length, np.concatenate([one.length, other.length], axis=1))


def test_the_prediction_is_the_directional_derivative(setup):
    """Of the sampled mean itself: the same responses predict and measure, and only the size of the step is left."""
    prompts, own = sample(setup), learner(setup)
    gradient = prompt_gradients(own, setup.params, prompts, prompts.length)
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    # Both ways, so that what is quadratic in the step drops out and the step can stand out from float32's rounding.
    rate = 1e-4
    forth, back = (
        measured_change(own, setup.params, after, prompts, prompts.length)
        for after in (moved_params(setup.params, sign * rate * direction.mean(axis=0)) for sign in (1, -1))
    )
    each = prompts.length.shape[1]  # the gradient leaves a response out of its own baseline
    predicted = predicted_change(gradient, direction, rate) * (each - 1) / each
    np.testing.assert_allclose(predicted, (forth - back) / 2, rtol=0.01)


def test_the_learner_moves_by_its_own_weights(setup):
    """The update on one batch is the learning rate times Σ weight ∇log π, with the weights that the learner states."""
    prompts, own = sample(setup), learner(setup)
    stated = jnp.asarray(own.weights(setup.params, prompts.rollout, NOTHING)[0])

    def total(params):
        logp = forward(own.program, Weights(params, None), prompts.rollout)[0]
        return (stated * logp * prompts.rollout.mask).sum()

    expected = ravel_pytree(jax.grad(total)(setup.params))[0]
    step = mean_update(own, setup.params, [prompts.rollout, prompts.rollout])
    np.testing.assert_allclose(step, 1e-3 * expected, atol=2e-7)


def test_several_steps_are_taken_one_after_the_other(setup):
    prompts, own = sample(setup), learner(setup)
    seen = []

    def draw(params, number):
        seen.append((number, ravel_pytree(params)[0]))
        return prompts.rollout

    after = ravel_pytree(after_steps(own, setup.params, 2, draw))[0]
    (zero, start), (one, middle) = seen
    assert (zero, one) == (0, 1)
    np.testing.assert_array_equal(start, ravel_pytree(setup.params)[0])
    np.testing.assert_allclose(middle - start, mean_update(own, setup.params, [prompts.rollout]), atol=1e-9)
    assert float(jnp.abs(after - middle).max()) > 0
