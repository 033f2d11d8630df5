"""The expected gradients of T5, T6, T9 and T13 are those that the code computes from the population."""

import math

import numpy as np
import pytest
from proofs_formulas import GRPO, SIZES, P, formula, theorem
from sympy import Symbol, lambdify

from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import zoo
from mdp_theory.problems.mdp import TokenMDP

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
    "raft-pp": ("T5", "REINFORCE", 1.0),
    "gpg": ("T5", "Dr. GRPO", 1.0),
    "sapo": ("T5", "GRPO", 1.0),
    "luspo": ("T5", "GRPO", 1.0),
    "vespo": ("T5", "GRPO", 1.0),
    "gmpo": ("T5", "GRPO", 1.0),
    "tis": ("T5", "GRPO", 1.0),
    "dppo-tv": ("T5", "Dr. GRPO", 1.0),
    "dppo-kl": ("T5", "Dr. GRPO", 1.0),
    "reinforce-rej": ("T13", "Reinforce-Rej ±1", 2.0),
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
    """Left are the critic, the KL term (grpo-kl is GRPO for c), a mixture of two rules, static SFT's token mean, and
    advantages with the lengths of others in them."""
    lengths = {"opo", "reinforce-pp", "reinforce-pp-baseline", "dapo-overlong"}
    assert set(METHODS) - set(RULES) == {"ppo", "grpo-kl", "w-reinforce", "sft"} | lengths


@pytest.mark.parametrize("size", [2, 8, 64, 512])
def test_t5_bounds_of_large_groups(size):
    """The lower one is what the last step lets G grow in."""
    found = population.coefficient(GRPO, P, num_generations=size)
    below = theorem("T5").step("GRPO, G → ∞", before=len(theorem("T5").steps)).left.args[0]
    by_name = {letter.name: letter for letter in below.free_symbols}
    lower = lambdify([by_name[name] for name in ("p", "q", "G")], below)(P, 1 - P, size)
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


def test_t5_rloo_begins_with_two_responses():
    """T5 states it for G = g + 1; alone in its group, a response equals the mean, and the code says 0."""
    assert theorem("T5").result("r − mean at G = 1") == 0
    assert {str(letter) for letter in theorem("T5").equation("RLOO")[0].free_symbols} == {"g", "p", "q"}
    np.testing.assert_array_equal(population.coefficient(METHODS["rloo"].objective, P, num_generations=1), 0)
