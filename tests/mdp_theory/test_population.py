"""The closed forms against brute force: every group enumerated, the loss itself differentiated."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdp_theory import population, tree
from mdp_theory.catalogue import METHODS
from mdp_theory.mdp import TokenMDP
from mdp_theory.objectives import KL, Advantage, Batch, Clip, Objective, loss
from mdp_theory.policy import TabularPolicy
from mdp_theory.precision import in_float64

ON_POLICY = tuple(METHODS)


def small_mdp(levels, *, prompts: int = 1, horizon: int = 2, letters: int = 2, seed: int = 0) -> TokenMDP:
    """Random rewards from `levels` on a tree small enough to enumerate groups."""
    rng = np.random.default_rng(seed)
    vocabulary = [chr(97 + i) for i in range(letters)] + ["<eos>"]
    return TokenMDP.from_function(
        "small",
        prompts=[f"p{i}" for i in range(prompts)],
        vocabulary=vocabulary,
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.choice(levels)),
        probability={"p0": 0.3, "p1": 0.7} if prompts == 2 else None,
    )


def prepared(objective: Objective, mdp: TokenMDP) -> Objective:
    if objective.aggregation == "sequence-mean-token-sum-norm":
        return replace(objective, max_completion_length=mdp.horizon)
    return objective


def all_responses(mdp: TokenMDP) -> tree.Sample:
    """Every response of every prompt, as if sampled."""
    tokens, lengths = mdp.responses
    mask = (np.arange(mdp.horizon) < lengths[:, None]).astype(float)
    prefix = np.zeros_like(tokens)
    for t in range(1, mdp.horizon):
        prefix[:, t] = prefix[:, t - 1] * mdp.continuing + tokens[:, t - 1]
    prefix = np.where(mask > 0, prefix, 0)
    count = len(mdp.prompts)
    return tree.Sample(
        np.repeat(np.arange(count), len(tokens)),
        np.tile(np.where(mask > 0, tokens, 0), (count, 1)),
        np.tile(prefix, (count, 1)),
        np.tile(mask, (count, 1)),
    )


@in_float64
def enumerated_gradient(objective, mdp, logits, *, size, groups=1, old_logits=None, ref_logits=None, value=None):
    """-∇ E[loss] over all batches of `groups` groups of `size` responses; one entry a prompt, times its probability."""
    drawn = all_responses(mdp)
    old = tree.along(tree.log_policy(logits if old_logits is None else old_logits), drawn)
    given = np.exp(old.sum(axis=1))
    per_prompt = len(drawn.prompt) // len(mdp.prompts)
    one_group = [
        rows
        for x in range(len(mdp.prompts))
        for rows in itertools.product(range(x * per_prompt, (x + 1) * per_prompt), repeat=size)
    ]
    batches = np.array([sum(b, ()) for b in itertools.product(one_group, repeat=groups)])
    # The prompt is drawn once for the group, the responses given the prompt.
    chance = given[batches].prod(axis=1)
    chance *= mdp.prompt_probability[drawn.prompt[batches[:, ::size]]].prod(axis=1)
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    reward = mdp.response_rewards.ravel()
    group = jnp.repeat(jnp.arange(groups), size)
    ref = tree.along(tree.log_policy(ref_logits if ref_logits is not None else logits), drawn)
    critic = None if value is None else tree.along_states(value, drawn)

    def total(theta):
        logp = tree.along(tree.log_policy(theta), drawn)

        def one(rows):
            batch = Batch(
                logp[rows],
                jnp.asarray(old)[rows],
                jnp.asarray(ref)[rows],
                jnp.asarray(drawn.mask)[rows],
                jnp.asarray(reward)[rows],
                group,
                None if critic is None else jnp.asarray(critic)[rows],
            )
            return loss(objective, batch)

        return -(jnp.asarray(chance) * jax.lax.map(one, jnp.asarray(batches), batch_size=512)).sum()

    return jax.jit(jax.grad(total))(tuple(jnp.asarray(level) for level in logits))


def assert_same(actual, expected, mdp, rtol=1e-12):
    mixed = [level * mdp.prompt_probability[:, None, None] for level in actual]
    scale = max(np.abs(level).max() for level in expected)
    for left, right in zip(mixed, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=rtol * max(scale, 1e-3))


@pytest.mark.parametrize("key", ON_POLICY)
def test_every_catalogued_method_equals_brute_force(key):
    mdp = small_mdp([0.0, 0.1, 1.0], seed=1)
    logits = TabularPolicy().init(mdp, 5)
    objective = prepared(METHODS[key].objective, mdp)
    ref = TabularPolicy().init(mdp, 6)
    value = tree.visits(tree.policy(TabularPolicy().init(mdp, 7)))  # any numbers: a critic that is wrong
    critic = value if objective.advantage.estimator == "gae" else None
    exact = population.expected_gradient(objective, mdp, logits, num_generations=3, ref_logits=ref, value=critic)
    brute = enumerated_gradient(objective, mdp, logits, size=3, ref_logits=ref, value=critic)
    assert max(np.abs(level).max() for level in brute) > 1e-4
    assert_same(exact, brute, mdp)


OFF_POLICY = {key: method.objective for key, method in METHODS.items() if method.objective.advantage.estimator != "gae"}
OFF_POLICY |= {
    "dual clip": replace(METHODS["grpo"].objective, clip=Clip(low=0.1, high=0.2, dual=1.3)),
    "sequence-token ratio": replace(METHODS["gspo"].objective, importance_sampling_level="sequence-token"),
    "unclipped response ratio": Objective(
        advantage=Advantage(baseline="leave-one-out"),
        surrogate="ratio",
        importance_sampling_level="sequence-product",
        aggregation="sequence-mean-token-sum",
    ),
    "k1": replace(METHODS["grpo"].objective, kl=KL(beta=0.3, estimator="k1")),
    "k2 with the wrong sign": replace(METHODS["dapo"].objective, kl=KL(beta=0.3, estimator="k2", sign=-1)),
}


@pytest.mark.parametrize("key", OFF_POLICY)
def test_after_the_policy_has_moved_the_gradient_equals_brute_force(key):
    mdp = small_mdp([0.0, 1.0], seed=3)
    objective = prepared(OFF_POLICY[key], mdp)
    old = TabularPolicy().init(mdp, 5)
    now = tuple(level + 0.3 * step for level, step in zip(old, TabularPolicy().init(mdp, 9), strict=True))
    options = {"old_logits": old, "ref_logits": TabularPolicy().init(mdp, 6)}
    exact = population.expected_gradient(objective, mdp, now, num_generations=3, **options)
    assert_same(exact, enumerated_gradient(objective, mdp, now, size=3, **options), mdp)


@pytest.mark.parametrize("key", ["grpo", "dapo", "sft", "reinforce-rej", "cispo", "dr-grpo"])
def test_two_groups_with_different_prompts_equal_brute_force(key):
    mdp = small_mdp([0.0, 1.0], prompts=2, seed=2)
    logits = TabularPolicy().init(mdp, 8)
    objective = prepared(METHODS[key].objective, mdp)
    exact = population.expected_gradient(objective, mdp, logits, num_generations=2, groups=2)
    brute = enumerated_gradient(objective, mdp, logits, size=2, groups=2)
    assert_same(exact, brute, mdp)
