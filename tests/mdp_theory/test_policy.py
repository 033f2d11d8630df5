"""Policies on the tree, and that float64 stays where it is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pulled_back import parameter_gradient

from mdp_theory.exact import population
from mdp_theory.exact.policy import SharedPolicy, TabularPolicy, parse
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree, zoo
from rino_base.messages import InputError


def test_uniform_is_uniform_and_a_seed_decides_the_rest():
    mdp = zoo.load("two-letter-words")
    for policy in (TabularPolicy(), SharedPolicy()):
        uniform = tree.policy(policy.logits(policy.init(mdp, None), mdp))
        assert all(np.allclose(level, 1 / 3, atol=1e-15) for level in uniform)
        first, again, other = (policy.logits(policy.init(mdp, seed), mdp) for seed in (1, 1, 2))
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert not (first[0] == other[0]).all()
        assert [level.shape for level in first] == [level.shape for level in mdp.rewards]
        assert first[0].dtype == np.float64


def test_shared_parameters_move_other_histories():
    mdp = zoo.load("two-letter-words")
    policy = SharedPolicy(width=4)
    params = policy.init(mdp, 0)
    before = policy.logits(params, mdp)
    moved = params._replace(embedding=params.embedding + np.array([[0.1], [0.0]]))
    after = policy.logits(moved, mdp)
    assert (before[0] == after[0]).all()  # the empty prefix has read no token
    for depth in (1, 2, 3):
        changed = (before[depth] != after[depth]).any(axis=(0, 2))
        # Every history with an `a` in it moves; b, bb, bbb do not.
        assert changed.tolist() == [True] * (2**depth - 1) + [False]


def test_parameter_gradient_of_the_table_is_the_mixture_over_prompts():
    mdp = zoo.load("prompt-mixture")
    policy = TabularPolicy()
    params = policy.init(mdp, 0)
    slope = population.success_gradient(mdp, params)
    pulled = parameter_gradient(policy, params, mdp, slope)
    for left, right in zip(pulled, slope, strict=True):
        np.testing.assert_allclose(left, right * mdp.prompt_probability[:, None, None], rtol=1e-15)


def test_parameter_gradient_equals_finite_differences():
    mdp = zoo.load("two-letter-words")
    policy = SharedPolicy(width=2)
    params = policy.init(mdp, 3)
    slope = population.success_gradient(mdp, policy.logits(params, mdp))
    pulled = parameter_gradient(policy, params, mdp, slope)

    def value(head):
        logits = policy.logits(params._replace(head=head), mdp)
        return mdp.prompt_probability @ population.success_probability(mdp, logits)

    step = np.zeros_like(params.head)
    step[1, 2] = 1e-5
    numeric = (value(params.head + step) - value(params.head - step)) / 2e-5
    assert pulled.head[1, 2] == pytest.approx(numeric, rel=1e-8)


@pytest.mark.parametrize("text", ["greedy", "random", "random:", "random:-1", "random:x", "uniform:1"])
def test_an_unknown_policy_is_refused(text):
    with pytest.raises(InputError, match="unknown policy"):
        parse(text)
    assert parse("random:7") == (TabularPolicy(), 7)


def test_double_precision_ends_with_the_call():
    @in_float64
    def third():
        return {"x": jnp.ones(()) / 3}

    assert third()["x"] == 1 / 3
    assert isinstance(third()["x"], np.ndarray)
    assert jnp.ones(()).dtype == jnp.float32
    with pytest.raises(ZeroDivisionError):
        in_float64(lambda: 1 / 0)()
    assert not jax.config.jax_enable_x64
    assert jnp.ones(()).dtype == jnp.float32
