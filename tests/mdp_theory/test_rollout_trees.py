"""Noise and cost of trees of rollouts against enumeration of every tree."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.exact import noise, rollout_trees
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError


def random_mdp(seed, *, horizon, letters=1):
    rng = np.random.default_rng(seed)
    return TokenMDP.from_function(
        "random",
        prompts=["p"],
        vocabulary=[*"abc"[:letters], "<eos>"],
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.integers(0, 3)),
    )


class Enumerated:
    """Distributions as lists of (probability, mean reward, gradient, tokens), written out."""

    def __init__(self, mdp, logits):
        self.mdp, self.pi = mdp, tree.policy(logits)
        sizes = [level[0].size for level in mdp.rewards]
        self.offset, self.size = np.cumsum([0, *sizes]), sum(sizes)

    def next_tokens(self, depth, prefix):
        """(probability, score, reward or None, next prefix) of every next token."""
        tokens = len(self.mdp.vocabulary)
        pi = self.pi[depth][0, prefix]
        for a in range(tokens):
            score = np.zeros(self.size)
            start = self.offset[depth] + prefix * tokens
            score[start : start + tokens] = (np.arange(tokens) == a) - pi
            ends = a == tokens - 1 or depth + 1 == self.mdp.horizon
            yield pi[a], score, self.mdp.rewards[depth][0, prefix, a] if ends else None, prefix * (tokens - 1) + a

    def rollout(self, depth, prefix, branches):
        """One rollout down to the next branching or the end: (probability, R, score, g, tokens)."""
        for chance, score, reward, child in self.next_tokens(depth, prefix):
            if reward is not None:
                yield chance, reward, score, np.zeros(self.size), 1
            elif depth + 1 in branches:
                for more, mean, g, tokens in self.branch(depth + 1, child, branches):
                    yield chance * more, mean, score, g, 1 + tokens
            else:
                for more, mean, rest, g, tokens in self.rollout(depth + 1, child, branches):
                    yield chance * more, mean, score + rest, g, 1 + tokens

    def branch(self, depth, prefix, branches):
        number = branches[depth]
        for members in product(list(self.rollout(depth, prefix, branches)), repeat=number):
            chance = np.prod([member[0] for member in members])
            rewards = np.array([member[1] for member in members])
            credit = rewards - (rewards.sum() - rewards) / (number - 1)
            g = sum(c * member[2] + member[3] for c, member in zip(credit, members, strict=True)) / number
            yield chance, rewards.mean(), g, sum(member[4] for member in members)

    def vine(self, rollouts):
        def values(depth, prefix):
            """(probability, estimated value, tokens) of the further rollouts from a state."""
            each = list(self.rollout(depth, prefix, {}))
            for members in product(each, repeat=rollouts):
                yield np.prod([m[0] for m in members]), np.mean([m[1] for m in members]), sum(m[4] for m in members)

        def walk(depth, prefix, here):
            for chance, score, reward, child in self.next_tokens(depth, prefix):
                if reward is not None:
                    yield chance, (reward - here) * score, 1
                    continue
                for more, there, cost in values(depth + 1, child):
                    for last, g, tokens in walk(depth + 1, child, there):
                        yield chance * more * last, (there - here) * score + g, 1 + cost + tokens

        for chance, here, cost in values(0, 0):
            for more, g, tokens in walk(0, 0, here):
                yield chance * more, g, cost + tokens


def summary(outcomes):
    chance = np.array([outcome[0] for outcome in outcomes])
    g, tokens = np.array([outcome[-2] for outcome in outcomes]), np.array([outcome[-1] for outcome in outcomes])
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    mean = chance @ g
    return chance @ ((g - mean) ** 2).sum(axis=1), chance @ tokens, mean


def compare(found, outcomes, mdp, logits):
    trace, tokens, mean = summary(outcomes)
    gradient = tree.logit_gradient(tree.policy(logits), tree.expectation(tree.policy(logits), mdp.rewards)[0])
    np.testing.assert_allclose(mean, np.concatenate([level.ravel() for level in gradient]), atol=1e-12)
    assert found.trace[0] == pytest.approx(trace, rel=1e-10, abs=1e-12)
    assert found.tokens[0] == pytest.approx(tokens, rel=1e-12)
    assert found.signal[0] == pytest.approx(mean @ mean, rel=1e-10, abs=1e-14)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    branches=st.sampled_from([{0: 2}, {0: 3}, {0: 2, 1: 2}, {0: 2, 2: 2}, {0: 2, 1: 3}, {0: 3, 1: 2}]),
)
def test_trees_of_rollouts_equal_enumeration(seed, branches):
    mdp = random_mdp(seed, horizon=3)
    logits = TabularPolicy().init(mdp, seed)
    outcomes = list(Enumerated(mdp, logits).branch(0, 0, branches))
    compare(rollout_trees.branching(mdp, logits, branches), outcomes, mdp, logits)


@pytest.mark.parametrize(("horizon", "letters", "branches"), [(2, 2, {0: 2, 1: 2}), (3, 1, {0: 2, 1: 2, 2: 2})])
def test_deeper_and_wider_trees_equal_enumeration(horizon, letters, branches):
    mdp = random_mdp(5, horizon=horizon, letters=letters)
    logits = TabularPolicy().init(mdp, 5)
    outcomes = list(Enumerated(mdp, logits).branch(0, 0, branches))
    compare(rollout_trees.branching(mdp, logits, branches), outcomes, mdp, logits)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), rollouts=st.integers(1, 2))
def test_vine_equals_enumeration(seed, rollouts):
    mdp = random_mdp(seed, horizon=3)
    logits = TabularPolicy().init(mdp, seed)
    outcomes = list(Enumerated(mdp, logits).vine(rollouts))
    compare(rollout_trees.vine(mdp, logits, rollouts=rollouts), outcomes, mdp, logits)


def test_a_flat_group_is_rloo_and_a_vine_without_end_is_state_credit():
    mdp = zoo.load("two-letter-words")
    logits = TabularPolicy().init(mdp, 1)
    flat = rollout_trees.flat(mdp, logits, num_generations=5)
    group = noise.group_noise(METHODS["rloo"].objective, mdp, logits, num_generations=5)
    np.testing.assert_allclose(flat.trace, group.trace, rtol=1e-12)
    np.testing.assert_allclose(flat.signal, group.signal, rtol=1e-12)
    many = rollout_trees.vine(mdp, logits, rollouts=10**9).trace
    np.testing.assert_allclose(many, variances(mdp, logits).totals()["state_advantage"], rtol=1e-6)


def test_an_environment_speaks_in_a_tree_of_rollouts():
    mdp = zoo.load("noisy-tool")
    logits = TabularPolicy().init(mdp, 2)
    group = noise.group_noise(METHODS["rloo"].objective, mdp, logits, num_generations=3)
    np.testing.assert_allclose(rollout_trees.flat(mdp, logits, num_generations=3).trace, group.trace, rtol=1e-11)


@pytest.mark.parametrize("branches", [{}, {1: 2}, {0: 1}, {0: 2, 9: 2}])
def test_trees_that_are_none_are_refused(branches):
    mdp = random_mdp(0, horizon=3)
    with pytest.raises(InputError, match="branches"):
        rollout_trees.branching(mdp, mdp.rewards, branches)
