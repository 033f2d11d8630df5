"""Exact variances against the definition, and the order that theorem T12 states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.check.sampled import pull_back
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.levels import flatten
from mdp_theory.problems.mdp import TokenMDP


def random_mdp(seed, *, horizon=3, letters=2):
    rng = np.random.default_rng(seed)
    return TokenMDP.from_function(
        "random",
        prompts=["p"],
        vocabulary=[*"abc"[:letters], "<eos>"],
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.standard_normal()),
    )


def naive_variances(mdp, logits):
    """Each response's gradient written out, then the variance over responses."""
    tokens, lengths = mdp.responses
    probability = tree.policy(logits)
    chance = flatten(tree.response_probability(probability))[0]
    action, state = tree.expectation(probability, mdp.rewards)
    prefix = np.zeros_like(tokens)
    for t in range(1, mdp.horizon):
        prefix[:, t] = prefix[:, t - 1] * mdp.continuing + tokens[:, t - 1]
    mask = (np.arange(mdp.horizon) < lengths[:, None]).astype(float)
    clean = [np.where(mask > 0, x, 0) for x in (tokens, prefix)]
    drawn = tree.Sample(np.zeros(len(tokens), dtype=int), *clean, mask)
    reward = mdp.response_rewards[0][:, None]
    weights = {
        "reward": reward * mask,
        "baseline": (reward - state[0][0, 0]) * mask,
        "state_baseline": (reward - tree.along_states(state, drawn)) * mask,
        "state_advantage": tree.along(action, drawn) - tree.along_states(state, drawn),
    }
    found = {}
    for name, weight in weights.items():
        rows = []
        for i in range(len(tokens)):
            alone = tree.Sample(*(field[i : i + 1] for field in drawn))
            rows.append(np.concatenate([level.ravel() for level in pull_back(weight[i : i + 1], alone, logits)]))
        gradients = np.array(rows)
        mean = chance @ gradients
        found[name] = (mean, chance @ (gradients - mean) ** 2)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_variances_equal_the_definition(seed):
    mdp = random_mdp(seed)
    logits = TabularPolicy().init(mdp, seed)
    exact = variances(mdp, logits)
    naive = naive_variances(mdp, logits)
    mean = naive["reward"][0]
    for name, (same_mean, expected) in naive.items():
        np.testing.assert_allclose(same_mean, mean, atol=1e-13)  # all four are unbiased
        actual = np.concatenate([level.ravel() for level in getattr(exact, name)])
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-14)
        assert exact.totals()[name][0] == pytest.approx(expected.sum(), rel=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), letters=st.integers(1, 3), horizon=st.integers(1, 4))
def test_state_advantages_never_vary_more_than_the_state_baseline_in_any_logit(seed, letters, horizon):
    mdp = random_mdp(seed, letters=letters, horizon=horizon)
    found = variances(mdp, TabularPolicy(scale=2.0).init(mdp, seed))
    for advantage, baseline in zip(found.state_advantage, found.state_baseline, strict=True):
        assert (advantage <= baseline + 1e-12).all()


def test_against_the_plain_reward_the_order_can_reverse():
    reversed_somewhere = 0
    for seed in range(200):
        mdp = random_mdp(seed, horizon=2)
        totals = variances(mdp, TabularPolicy().init(mdp, seed)).totals()
        assert totals["state_advantage"] <= totals["state_baseline"]
        reversed_somewhere += bool(totals["state_advantage"] > totals["reward"])
    assert 0 < reversed_somewhere < 100


@pytest.mark.parametrize(("p", "reversed_order"), [(0.6, False), (0.66, False), (0.67, True), (0.95, True)])
def test_with_two_arms_the_order_reverses_at_two_thirds(p, reversed_order):
    """Advantages p - 1 and p against rewards 0 and 1: the plain reward varies less as soon as p > 2/3."""
    mdp = TokenMDP.from_table("arms", vocabulary=["a", "<eos>"], eos="<eos>", horizon=1, rewards={"p": {"a": 1.0}})
    totals = variances(mdp, (np.log([[[p, 1 - p]]]),)).totals()
    assert bool(totals["state_advantage"] > totals["reward"]) == reversed_order


def test_uniform_credit_costs_more_the_longer_the_response():
    ratios = []
    for horizon in (1, 2, 4, 8):
        mdp = TokenMDP.from_function(
            "parity",
            prompts=["p"],
            vocabulary=["a", "b", "<eos>"],
            eos="<eos>",
            horizon=horizon,
            reward=lambda prompt, tokens: float(tokens[-1] == "b"),
        )
        totals = variances(mdp, TabularPolicy().init(mdp, None)).totals()
        ratios.append((totals["baseline"] / totals["state_advantage"]).item())
    assert ratios[0] == pytest.approx(1, rel=1e-12)
    assert ratios == sorted(ratios)
    assert ratios[-1] > 2


def test_a_bandit_has_nothing_to_gain_from_states():
    mdp = zoo.load("one-token")
    totals = variances(mdp, TabularPolicy().init(mdp, 3)).totals()
    assert totals["state_advantage"] == pytest.approx(totals["baseline"], rel=1e-12)
