"""The formulas of T1, T2, T11, T12 and T14 on trees and iterations, beside what the code computes there."""

import math
from itertools import product

import numpy as np
import pytest
from proofs_formulas import advantages, formula, theorem

from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP
from proofs import t12_variance


@pytest.fixture(scope="module")
def words():
    mdp = zoo.load("two-letter-words")
    return mdp, TabularPolicy().init(mdp, 4)


def test_t1_gradient_of_the_bandit(words):
    """r(y) times the score of y, averaged over all responses one by one, is the gradient of the code."""
    mdp, logits = words
    probability = tree.policy(logits)
    chance, reward = tree.response_probability(probability), mdp.rewards
    total = tuple(np.zeros_like(level) for level in logits)
    tokens, lengths = mdp.responses
    for prompt, (word, length) in product(range(len(mdp.prompts)), zip(tokens, lengths, strict=True)):
        prefix = 0
        path = []
        for depth in range(length):
            path.append((depth, prefix, word[depth]))
            prefix = prefix * mdp.continuing + word[depth]
        depth, state, last = path[-1]
        weight = chance[depth][prompt, state, last] * reward[depth][prompt, state, last]
        for depth, state, token in path:
            total[depth][prompt, state] -= weight * probability[depth][prompt, state]
            total[depth][prompt, state, token] += weight
    found = population.expected_gradient(METHODS["reinforce"].objective, mdp, logits, num_generations=2)
    for left, right in zip(found, total, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-15)


def test_t2_weights_of_the_reward_to_go(words):
    """Weights r (L−t+1)/L give another expected gradient, by the amounts that T2 says are left out."""
    mdp, logits = words
    probability = tree.policy(logits)
    to_go, left_out = (formula("T2", name, "r", "L", "t") for name in ("reward-to-go", "left out"))

    def gradient(weight):
        levels = []
        for time in range(1, mdp.horizon + 1):
            rewards = tuple(weight(level, depth + 1, time) for depth, level in enumerate(mdp.rewards))
            levels.append(tree.logit_gradient(probability, tree.expectation(probability, rewards)[0])[time - 1])
        return levels

    full = population.expected_gradient(METHODS["reinforce"].objective, mdp, logits, num_generations=2)
    pairs = list(zip(full, gradient(to_go), gradient(left_out), strict=True))
    for total, rest, missing in pairs:
        np.testing.assert_allclose(rest + missing, total, rtol=1e-9, atol=1e-15)
    assert max(np.abs(missing).max() for _, _, missing in pairs) > 1e-3


def test_t11_expected_gradient_is_the_advantage(words):
    mdp, logits = words
    probability = tree.policy(logits)
    action, state = tree.expectation(probability, mdp.rewards)
    gradient = population.expected_gradient(METHODS["reinforce"].objective, mdp, logits, num_generations=2)
    expected = formula("T11", "estimator", "d", "pi_a", "Q", "V")
    for level, reach, pi, q, v in zip(gradient, tree.visits(probability), probability, action, state, strict=True):
        np.testing.assert_allclose(level, expected(reach[..., None], pi, q, v[..., None]), rtol=1e-9, atol=1e-15)


def never_ending(name, horizon, right, reward):
    """Two tokens for `horizon` steps: the end token has a probability below rounding. `right` is P(a)."""
    mdp = TokenMDP.from_function(
        name, prompts=["x"], vocabulary=["a", "b", "."], eos=".", horizon=horizon, reward=lambda _, word: reward(word)
    )
    odds = math.log(right / (1 - right))
    return mdp, tuple(np.tile([odds, 0.0, -80.0], (1, 2**depth, 1)) for depth in range(horizon))


@pytest.mark.parametrize("length", [2, 3, 6, 9])
def test_t12_ratio_of_the_additive_example(length):
    mdp, logits = never_ending("additive", length, 0.5, lambda word: word.count("a") / length)
    totals = variances(mdp, logits).totals()
    ratio = float(formula("T12", "additive ratio", "g")(length - 1))
    assert totals["state_baseline"][0] / totals["state_advantage"][0] == pytest.approx(ratio, rel=1e-9)


@pytest.mark.parametrize(("length", "right"), [(2, 0.3), (5, 0.7), (8, 0.9)])
def test_t12_ratio_of_the_needle(length, right):
    mdp, logits = never_ending("needle", length, right, lambda word: float(set(word) == {"a"}))
    found = variances(mdp, logits)
    ratio = float(formula("T12", "needle ratio", "s", "L")(right, float(length)))
    assert found.state_baseline[0][0, 0, 0] / found.state_advantage[0][0, 0, 0] == pytest.approx(ratio, rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_t12_variances_coordinate_by_coordinate(seed):
    """The excess over token advantages, and when plain R has the smaller variance, on a random policy."""
    mdp = zoo.load("two-letter-words")
    logits = tuple(2 * level for level in TabularPolicy().init(mdp, seed))
    probability = tree.policy(logits)
    action, state = tree.expectation(probability, mdp.rewards)
    square = tree.expectation(probability, tuple(level**2 for level in mdp.rewards))[0]
    found = variances(mdp, logits)
    against_plain = formula("T12", "against plain", "W", "V", "b", "nubar")
    reversed_order = set()
    for depth, reach in enumerate(tree.visits(probability)):
        pi, q, v = probability[depth], action[depth], state[depth][..., None]
        noise = square[depth] - q**2
        for token in range(pi.shape[-1]):
            w = pi * (np.eye(pi.shape[-1])[token] - pi[..., token, None]) ** 2
            excess = reach * (w * noise).sum(axis=-1)
            np.testing.assert_allclose(
                found.state_baseline[depth][..., token] - found.state_advantage[depth][..., token], excess, atol=1e-14
            )
            total = w.sum(axis=-1)
            b, nubar = (w * q).sum(axis=-1) / total, (w * noise).sum(axis=-1) / total
            expected = reach * against_plain(total, v[..., 0], b, nubar)
            difference = found.state_advantage[depth][..., token] - found.reward[depth][..., token]
            np.testing.assert_allclose(difference, expected, atol=1e-13)
            reversed_order |= set(np.sign(np.round(difference, 12)).ravel())
    assert {-1.0, 1.0} <= reversed_order, "both orders must occur"


def test_t12_excess_is_the_formula_that_was_compared():
    excess = theorem("T12").result("excess")
    assert excess == t12_variance.d * excess.args[1]
    assert excess.args[1].function == t12_variance.w * t12_variance.ν


@pytest.mark.parametrize(("p_ref", "p_old", "beta", "floor"), [(0.2, 0.4, 0.5, 0.0), (0.6, 0.1, 1.0, 0.01)])
def test_t14_best_policy_multiplies_the_odds(p_ref, p_old, beta, floor):
    """Against the maximum of E[A] − β KL over policies on five responses, in closed form and by random search."""
    rng = np.random.default_rng(0)
    right = np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    reference = np.where(right > 0, p_ref / 2, (1 - p_ref) / 3)
    advantage = (right - p_old) / math.sqrt(p_old * (1 - p_old) + floor)

    def objective(policy):
        return policy @ advantage - beta * policy @ np.log(policy / reference)

    best = reference * np.exp(advantage / beta)
    best /= best.sum()
    others = rng.dirichlet(50 * best, size=200)
    assert all(objective(policy) < objective(best) for policy in others)
    odds = formula("T14", "odds", "p", "p_ref", "q_ref", "beta", "epsilon")(p_old, p_ref, 1 - p_ref, beta, floor)
    assert best @ right / (1 - best @ right) == pytest.approx(float(odds), rel=1e-12)
    population_rule = Objective(
        advantage=Advantage(baseline="group-mean", scale="group-std"), surrogate="log-likelihood"
    )
    share = round(p_old * 10)
    found = advantages(population_rule, [1.0] * share + [0.0] * (10 - share))
    assert found[0] - found[-1] == pytest.approx(1 / math.sqrt(p_old * (1 - p_old)), rel=1e-12)


def test_t14_the_iteration_need_not_converge():
    """The map of T14 with a repelling fixed point at 0.1: iterates that start beside it never settle, above p_ref."""
    odds = formula("T14", "odds", "p", "p_ref", "q_ref", "beta", "epsilon")
    slope = formula("T14", "map slope", "p", "beta", "epsilon")
    beta = 1 / (4 * math.sqrt(0.1 * 0.9))
    p_ref = 1 / (1 + math.exp(-(math.log(0.1 / 0.9) - 4)))

    def following(p):
        value = float(odds(p, p_ref, 1 - p_ref, beta, 0.0))
        return value / (1 + value)

    assert following(0.1) == pytest.approx(0.1, rel=1e-12)
    assert (following(0.1 + 1e-6) - following(0.1 - 1e-6)) / 2e-6 == pytest.approx(
        float(slope(0.1, beta, 0.0)), rel=1e-5
    )
    iterates = [0.1001]
    for _ in range(500):
        iterates.append(following(iterates[-1]))
    assert min(iterates) > p_ref
    assert np.ptp(iterates[-100:]) > 0.1
