"""The formulas of the theorems are those that the code computes: evaluated at random numbers and compared.

Every right side is taken from the theorem's own verified step by name, made a function of numbers, and put beside
`mdp_theory` on random batches, policies and group sizes.
"""

import math
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from sympy import Derivative, Symbol, lambdify, sympify
from sympy.core.function import AppliedUndef

from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.objectives import KL, Advantage, Objective
from mdp_theory.methods.weights import credit_structure_index, token_weights
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP
from proofs import t12_variance
from proofs.command import load

SIZES = (2, 3, 5, 8)
P = np.linspace(0.05, 0.95, 7)
GRPO = METHODS["grpo"].objective

theorem = cache(load)


def formula(name, result, *letters, put=()):
    """The right side of a named step as a function of these letters; `put` replaces parts of it by letters first."""
    expression = sympify(theorem(name).result(result)).subs(dict(put), simultaneous=True)
    by_name = {letter.name: letter for letter in expression.free_symbols}
    assert set(by_name) <= set(letters), f"{name} {result} still has {set(by_name) - set(letters)}"
    symbols = [by_name.get(letter, Symbol(letter)) for letter in letters]
    function = lambdify(symbols, expression, modules=["scipy", "numpy"])
    return np.vectorize(function, otypes=[float])


def functions(name, result):
    """The undefined functions in a formula, by name: letters are put in their place."""
    return {str(part.func): part for part in sympify(theorem(name).result(result)).atoms(AppliedUndef)}


def make_batch(seed, size, *, drift=0.0, time=6, reward=None, reference=0.0):
    """One group of random lengths; the old policy differs by `drift`, the reference by `reference`."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, time + 1, size)
    mask = (np.arange(time) < length[:, None]).astype(float)
    logp = -rng.exponential(1.0, (size, time)) * mask
    old = logp - drift * rng.normal(size=(size, time)) * mask
    ref = logp - reference * rng.normal(size=(size, time)) * mask
    reward = (rng.permutation(size) < rng.integers(1, size)).astype(float) if reward is None else np.asarray(reward)
    return Batch(logp, old, ref, mask, reward, np.zeros(size, int)), length


@in_float64
def weights(objective, batch):
    return np.asarray(token_weights(objective, batch))


@in_float64
def advantages(objective, reward):
    size = len(reward)
    one = np.ones((size, 1))
    batch = Batch(0 * one, 0 * one, 0 * one, one, np.asarray(reward, float), np.zeros(size, int))
    return np.asarray(assign_credit(objective, batch).advantage)[:, 0]


# T3, T7, T8, T13: weights of single tokens


@pytest.mark.parametrize("size", SIZES)
def test_t3_weights_on_own_samples(size):
    batch, length = make_batch(size, size)
    parts = functions("T3", "weight")
    weight = formula("T3", "weight", "A", "L", "G", put={parts["A"]: Symbol("A"), parts["L"]: Symbol("L")})
    expected = weight(advantages(GRPO, batch.reward), length, size)[:, None] * batch.mask
    np.testing.assert_allclose(weights(GRPO, batch), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_t7_weights_off_policy(seed):
    batch, length = make_batch(seed, 6, drift=0.4)
    ratio, advantage = np.exp(batch.logp - batch.old_logp), advantages(GRPO, batch.reward)[:, None]
    passes = np.where(advantage > 0, ratio <= 1.2, ratio >= 0.8)
    inside = formula("T7", "weight", "rho", "A", "L", "G")(ratio, advantage, length[:, None], 6)
    clipped = float(theorem("T7").result("clipped weight"))
    expected = np.where(passes, inside, clipped) * batch.mask
    assert 0 < (passes & (batch.mask > 0)).sum() < batch.mask.sum(), "both cases must occur"
    np.testing.assert_allclose(weights(GRPO, batch), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_t7_credit_structure_index(seed):
    """Of one response, for that is what the formula is about; another one of reward 0 makes the group."""
    batch, length = make_batch(seed, 2, drift=0.1, reward=[1.0, 0.0])
    objective = replace(GRPO, surrogate="ratio", clip=None)
    first = batch.mask * [[1.0], [0.0]]
    ratio = np.exp(batch.logp - batch.old_logp)[0, : length[0]]
    index = formula("T7", "index", "S_1", "S_2", "L")(ratio.sum(), (ratio**2).sum(), length[0])
    found = in_float64(credit_structure_index)(weights(objective, batch) * first, first)
    np.testing.assert_allclose(found, index, rtol=1e-8, atol=1e-14)


def test_t7_cosine_near_the_old_policy():
    """Half the second derivative of the squared cosine along a drift, against the cosine of the code's own weights."""
    batch, length = make_batch(3, 2, reward=[1.0, 0.0])
    steps = int(length[0])
    drift, norm = np.random.default_rng(1).normal(size=steps), np.random.default_rng(2).uniform(0.5, 2, steps)
    sums = [(norm * drift**power).sum() for power in range(3)]
    curvature = formula("T7", "cosine", "S_0", "S_1", "S_2")(*sums)

    def squared_cosine(size):
        moved = batch._replace(old_logp=batch.logp - size * np.pad(drift, (0, 6 - steps)) * np.array([[1.0], [0.0]]))
        w = weights(replace(GRPO, surrogate="ratio", clip=None), moved)[0, :steps]
        plain = weights(GRPO, batch)[0, :steps]
        return (w * plain * norm).sum() ** 2 / ((w**2 * norm).sum() * (plain**2 * norm).sum())

    assert (squared_cosine(1e-3) + squared_cosine(-1e-3) - 2) / 2e-6 == pytest.approx(float(curvature), rel=1e-4)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_t8_weights_of_the_kl_term(estimator):
    batch, length = make_batch(5, 4, reference=0.5)
    parts = functions("T8", estimator)
    score = next(iter(sympify(theorem("T8").result(estimator)).atoms(Derivative)))
    put = {score: 1, **{part: Symbol(name) for name, part in parts.items()}}
    slope = formula("T8", estimator, "pi", "pi_ref", put=put)(np.exp(batch.logp), np.exp(batch.ref_logp))
    beta = 0.3
    with_term = replace(GRPO, kl=KL(beta=beta, estimator=estimator))
    found = weights(with_term, batch) - weights(GRPO, batch)
    np.testing.assert_allclose(found, -beta * slope * batch.mask / (4 * length[:, None]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("drift", [0.0, 1e-4])
def test_t13_gspo(drift):
    batch, length = make_batch(7, 5, drift=drift)
    # One token's log-ratio x − x_old, and s, the sum of the others: together the drift of the response.
    total = ((batch.logp - batch.old_logp) * batch.mask).sum(axis=1)
    weight = formula("T13", "GSPO weight", "x", "x_old", "s", "L", "A")
    expected = weight(0.5 * total, 0.0, 0.5 * total, length, advantages(GRPO, batch.reward))[:, None] * batch.mask / 5
    np.testing.assert_allclose(weights(METHODS["gspo"].objective, batch), expected, rtol=1e-10)
    same = np.allclose(weights(METHODS["gspo"].objective, batch), weights(GRPO, batch), rtol=1e-8)
    assert same == (drift == 0.0)


def test_t13_raft_is_f_isft():
    batch, _ = make_batch(2, 6, drift=0.3)
    np.testing.assert_array_equal(
        weights(METHODS["raft"].objective, batch), weights(METHODS["f-isft-pos"].objective, batch)
    )


# T4, T10: advantages


@pytest.mark.parametrize(("right", "wrong"), [(1, 1), (1, 4), (3, 2), (7, 1)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_t4_binary_advantages(right, wrong, ddof):
    suffix = " with ddof 1" if ddof else ""
    rule = replace(GRPO, advantage=replace(GRPO.advantage, ddof=ddof))
    found = advantages(rule, [1.0] * right + [0.0] * wrong)
    factor = (right + wrong) / (right + wrong - 1)
    for value, name in ((found[0], "plus"), (found[-1], "minus")):
        letters = ("k", "m", "f") if ddof else ("k", "m")
        numbers = (right, wrong, factor) if ddof else (right, wrong)
        assert value == pytest.approx(float(formula("T4", name + suffix, *letters)(*numbers)), rel=1e-12)


def test_t4_equal_rewards():
    assert theorem("T4").result("equal rewards") == 0
    np.testing.assert_array_equal(advantages(GRPO, [1.0] * 4), 0)
    np.testing.assert_array_equal(advantages(GRPO, [0.0] * 4), 0)


@pytest.mark.parametrize("seed", range(4))
def test_t10_grpo_sees_the_others_through_mean_and_variance(seed):
    reward = np.random.default_rng(seed).choice([0.0, 0.1, 1.0], size=6)
    reward[:2] = 0.1, 1.0
    others = reward[1:]
    squared = formula("T10", "GRPO", "d", "g", "v")(reward[0] - others.mean(), len(others), others.var())
    assert advantages(GRPO, reward)[0] ** 2 == pytest.approx(float(squared), rel=1e-10)


def test_t10_above_the_mean():
    gap = formula("T10", "above the mean", "c", "g")(0.1, 4)
    assert gap > 0
    np.testing.assert_array_equal(advantages(METHODS["f-isft-pos-adv"].objective, [0, 0, 0, 0, 0.1]), [0, 0, 0, 0, 1])


# T5, T6, T9, T13: expected gradients of binary rewards

RULES = {
    "reinforce": ("T5", "REINFORCE", 1.0),
    "rloo": ("T5", "RLOO", 1.0),
    "grpo": ("T5", "GRPO", 1.0),
    "dapo": ("T5", "GRPO", 1.0),
    "gspo": ("T5", "GRPO", 1.0),
    "cispo": ("T5", "GRPO", 1.0),
    "dr-grpo": ("T5", "Dr. GRPO", 1.0),
    "raft": ("T5", "REINFORCE", 1.0),
    "f-isft-pos": ("T5", "REINFORCE", 1.0),
    "f-isft-neg": ("T5", "negatives", 1.0),
    "f-isft-pm": ("T5", "cross-entropy ±", 1.0),
    "f-isft-pos-adv": ("T5", "F-ISFT, advantage form", 1.0),
    "f-isft-pm-adv": ("T5", "F-ISFT, advantage form", 1.0),
    "f-isft-neg-adv": ("T5", "F-ISFT, advantage form", 1.0),
    "mean-positive": ("T5", "mean over positives", 1.0),
    "maxrl": ("T5", "MaxRL", 1.0),
    "psr": ("T5", "REINFORCE", 1.0),
    "nsr": ("T5", "negatives", 1.0),
    "iw-sft": ("T5", "mean over positives", 1.0),
    "reinforce-rej": ("T13", "Reinforce-Rej ±1", 1.0),
}
ALPHA = {"f-isft-pos-adv": 0.0, "f-isft-pm-adv": 0.5, "f-isft-neg-adv": 1.0}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", RULES)
def test_t5_coefficients(key, size):
    name, result, factor = RULES[key]
    expected = factor * formula(name, result, "p", "q", "G", "alpha")(P, 1 - P, size, ALPHA.get(key, 0.0))
    found = population.coefficient(METHODS[key].objective, P, num_generations=size)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_t5_every_outcome_rule_of_the_catalogue_is_compared():
    """Left are the critic, the KL term (grpo-kl is GRPO for c), a mixture of two rules, and static SFT's token mean."""
    assert set(METHODS) - set(RULES) == {"ppo", "grpo-kl", "w-reinforce", "sft"}


@pytest.mark.parametrize("size", [2, 8, 64, 512])
def test_t5_bounds_of_large_groups(size):
    found = population.coefficient(GRPO, P, num_generations=size)
    lower = formula("T5", "GRPO, lower bound", "p", "q", "G")(P, 1 - P, size)
    upper = formula("T5", "GRPO, G → ∞", "p", "q")(P, 1 - P)
    assert np.all(found <= upper * (1 + 1e-12))
    assert np.all(found >= lower * (1 - 1e-12))


@pytest.mark.parametrize("key", ["reinforce", "rloo", "grpo", "dr-grpo", "f-isft-pm", "f-isft-neg-adv", "maxrl"])
def test_t5_direction_on_a_tree(key):
    mdp = zoo.load("two-letter-words")
    logits = TabularPolicy().init(mdp, 11)
    objective = population.without_length(METHODS[key].objective)
    gradient = population.expected_gradient(objective, mdp, logits, num_generations=4)
    p = population.success_probability(mdp, logits)
    name, result, _ = RULES[key]
    c = formula(name, result, "p", "q", "G", "alpha")(p, 1 - p, 4, ALPHA.get(key, 0.0))
    for found, slope in zip(gradient, population.success_gradient(mdp, logits), strict=True):
        np.testing.assert_allclose(found, c[:, None, None] * slope, rtol=1e-9, atol=1e-15)


CLIMBED = {
    "reinforce": "REINFORCE",
    "dr-grpo": "Dr. GRPO",
    "f-isft-pos-adv": "F-ISFT, advantage form",
    "f-isft-pm-adv": "F-ISFT, advantage form",
    "f-isft-neg-adv": "F-ISFT, advantage form",
    "mean-positive": "mean over positives",
    "maxrl": "MaxRL",
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", CLIMBED)
def test_t6_effective_objectives(key, size):
    """Φ is what the step of T6 differentiates; the code integrates c from 0."""
    step = next(step for step in theorem("T6").steps if step.name == CLIMBED[key])
    by_name = {letter.name: letter for letter in step.left.expr.free_symbols}
    letters = [by_name.get(name, Symbol(name)) for name in ("p", "G", "alpha")]
    climbed = np.vectorize(lambdify(letters, step.left.expr), otypes=[float])
    alpha = ALPHA.get(key, 0.0)
    expected = climbed(P, size, alpha) - climbed(0.0, size, alpha)
    found = population.effective_objective(METHODS[key].objective, P, num_generations=size)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("size", SIZES)
def test_t6_effective_objective_of_grpo(size):
    """The sum over k of P(Bin(G−1, p) ≥ k)/√(k(G−k))."""
    n = size - 1
    tails = [sum(math.comb(n, j) * P**j * (1 - P) ** (n - j) for j in range(k, n + 1)) for k in range(1, size)]
    expected = sum(tail / math.sqrt(k * (size - k)) for k, tail in enumerate(tails, start=1))
    found = population.effective_objective(GRPO, P, num_generations=size)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_t6_large_groups_climb_the_arcsine():
    """Away from p = 0, near which no group is large: what is missing there vanishes like 1/√G."""
    found, limit = population.effective_objective(GRPO, P, num_generations=400), 2 * np.arcsin(np.sqrt(P))
    np.testing.assert_allclose(np.diff(found), np.diff(limit), rtol=0.01)


@pytest.mark.parametrize("size", SIZES)
def test_t9_weights_of_grpo_sum_to_zero(size):
    """w₁ and w₀ of T5 are the difference and the zero sum of the code's expected weights."""
    w1 = formula("T5", "GRPO w1", "p", "q", "G")(P, 1 - P, size)
    w0 = formula("T5", "GRPO w0", "p", "q", "G")(P, 1 - P, size)
    np.testing.assert_allclose(P * w1 + (1 - P) * w0, float(theorem("T9").result("zero sum")), atol=1e-14)
    np.testing.assert_allclose(w1 - w0, population.coefficient(GRPO, P, num_generations=size), rtol=1e-11)


@pytest.mark.parametrize("hazard", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("key", "sign"), [("f-isft-pos", 1.0), ("f-isft-neg", -1.0)])
def test_t9_drift_of_the_hazard(hazard, key, sign):
    """One token besides the end, a long horizon: the drift of the shared hazard logit is ± f(h)."""
    mdp = TokenMDP.from_function(
        "hazard", prompts=["x"], vocabulary=["a", "."], eos=".", horizon=120, reward=lambda *_: float(sign > 0)
    )
    logits = tuple(np.array([[[0.0, math.log(hazard / (1 - hazard))]]]) for _ in range(mdp.horizon))
    rate = float(formula("T9", "rate", "h")(hazard))
    gradient = population.expected_gradient(METHODS[key].objective, mdp, logits, num_generations=2)
    assert sum(level[0, 0, 1] for level in gradient) == pytest.approx(sign * rate, rel=1e-9)
    whole = population.expected_gradient(
        population.without_length(METHODS[key].objective), mdp, logits, num_generations=2
    )
    without = float(theorem("T9").result("rate without length"))
    assert sum(level[0, 0, 1] for level in whole) == pytest.approx(without, abs=1e-9)


# T1, T2, T11, T12: the tree


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
    ratio = float(formula("T12", "additive ratio", "L")(length))
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


# T14: the iteration


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
