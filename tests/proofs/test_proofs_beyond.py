"""The formulas of T15 to T18 beside what the code computes: bounds of Adam, times and paths, moments of groups."""

import numpy as np
import pytest
from proofs_formulas import GRPO, SIZES, P, formula, theorem
from scipy.special import logit
from sympy import lambdify

from mdp_theory.exact import noise, population, rates, rollout_trees
from mdp_theory.exact.optimisers import Optimiser, factor_bound, longest_update
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP
from proofs import t16_pulls, t16_rates
from proofs.notation import p

REINFORCE, RLOO = METHODS["reinforce"].objective, METHODS["rloo"].objective


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize(("first", "second"), [(0.9, 0.999), (0.5, 0.9)])
def test_t15_memory(steps, first, second):
    memory = formula("T15", "memory", "beta_1", "beta_2", "n")(first, second, steps)
    found = longest_update(Optimiser(kind="adam", beta1=first, beta2=second), steps)
    assert found**2 == pytest.approx(float(memory), rel=1e-10)


def test_t15_bound():
    optimiser, factor = Optimiser(kind="adam"), np.array([1.0, 1.2, 0.9, 1.5])
    change = formula("T15", "in quotients", "c_max", "c_min")
    expected = [
        longest_update(optimiser, n + 1) * change(factor[: n + 1].max(), factor[: n + 1].min()) for n in range(4)
    ]
    np.testing.assert_allclose(factor_bound(optimiser, factor), expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "limit"), [("REINFORCE", "1"), ("GRPO", "1/√(p(1−p))"), ("log-likelihood", "1/p")])
def test_t16_times_are_those_of_the_code(name, limit):
    time = lambdify(p, t16_rates.TIMES[name])
    np.testing.assert_allclose(time(P), rates.LIMITS[limit].antiderivative(P), rtol=1e-12, atol=1e-12)
    one_over_rate = formula("T16", f"time of {name}", "p")(P)
    np.testing.assert_allclose(1 / one_over_rate, rates.LIMITS[limit].coefficient(P) * P**2 * (1 - P) ** 2, rtol=1e-12)
    pull = lambdify(t16_pulls.z, t16_pulls.DRIFTS[name][0])
    expected = rates.LIMITS[limit].coefficient(P) * P * (1 - P)
    np.testing.assert_allclose([pull(z) for z in logit(P)], expected, rtol=1e-12)


def test_t16_path_entropy_and_rate():
    times = np.linspace(0, 20, 5)
    start = rates.LIMITS["1/√(p(1−p))"].antiderivative(np.array([0.1]))
    path = lambdify(t16_rates.T, t16_rates.path)
    np.testing.assert_allclose([path(start[0] + t) for t in 2 * times], rates.grpo_path(0.1, times), rtol=1e-12)
    entropy = formula("T16", "entropy", "p", "q", "g")(P, 1 - P, 6)
    np.testing.assert_allclose(entropy, rates.response_entropy(P, 7), rtol=1e-12)
    # The rate on a problem of one token: the right one of four, and the wrong ones alike.
    mdp = TokenMDP.from_table("four", vocabulary=["a", "b", "c", "."], eos=".", horizon=1, rewards={"x": {"a": 1.0}})
    logits = (np.array([[[1.5, 0.0, 0.0, 0.0]]]),)
    slope, chance = population.success_gradient(mdp, logits), population.success_probability(mdp, logits)
    rate = formula("T16", "squared slope", "p", "q", "kappa")(chance, 1 - chance, rates.speed(4))
    np.testing.assert_allclose(tree.inner(slope, slope), rate, rtol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_t17_moments_and_floors(size):
    q, g = 1 - P, size - 1
    rloo, grpo = (noise.moments(METHODS[key].objective, P, num_generations=size) for key in ("rloo", "grpo"))
    np.testing.assert_allclose(formula("T17", "RLOO, right", "p", "q", "g")(P, q, g), rloo.right, rtol=1e-10)
    np.testing.assert_allclose(formula("T17", "RLOO, wrong", "p", "q", "g")(P, q, g), rloo.wrong, rtol=1e-10)
    np.testing.assert_allclose(formula("T17", "RLOO, pairs", "g")(g), rloo.pair, rtol=1e-10)
    np.testing.assert_allclose(formula("T17", "GRPO, right", "q", "g")(q, g), P * grpo.right, rtol=1e-10)
    np.testing.assert_allclose(formula("T17", "GRPO, wrong", "p", "g")(P, g), q * grpo.wrong, rtol=1e-10)
    for name, objective, letters in (
        ("floor of RLOO", RLOO, {"p": P, "q": q, "g": g}),
        ("floor of REINFORCE", REINFORCE, {"p": P, "q": q, "g": g}),
        ("floor of GRPO", GRPO, {"p": P, "q": q, "G": size, "c": grpo.coefficient}),
    ):
        expected = formula("T17", name, *letters)(*letters.values())
        found = noise.noise_scale(objective, P, num_generations=size)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_t17_estimated_values_are_vines():
    mdp = zoo.load("two-letter-words")
    logits = TabularPolicy().init(mdp, 0)
    result = formula("T17", "estimated values", "A", "sigma_2", "tau_2")
    assert result(2.0, 0.5, 0.25) == 4.75
    few, many = (rollout_trees.vine(mdp, logits, rollouts=n).trace for n in (1, 2))
    # The estimated variances are divided by the rollouts: twice as many halve what is above the limit.
    limit = rollout_trees.vine(mdp, logits, rollouts=10**12).trace
    np.testing.assert_allclose(few - limit, 2 * (many - limit), rtol=1e-6)


def test_t17_progress():
    gain = formula("T17", "progress", "D_2", "C", "n_", "rho")
    scale = 3.0
    needed = noise.groups_needed(scale, 0.75)
    assert gain(2.0, 0.5, needed, scale) == pytest.approx(0.75 * 2.0 / (2 * 0.5), rel=1e-12)


def test_t18_on_a_problem_with_an_environment():
    """The direction survives where the environment speaks at random, the bandit does not."""
    mdp = zoo.load("noisy-tool")
    logits = TabularPolicy().init(mdp, 3)
    success = population.success_probability(mdp, logits)
    gradient = population.expected_gradient(population.without_length(GRPO), mdp, logits, num_generations=4)
    lies = population.direction(gradient, population.success_gradient(mdp, logits))
    assert (lies.residual < 1e-12).all()
    np.testing.assert_allclose(lies.coefficient, population.coefficient(GRPO, success, num_generations=4), rtol=1e-10)
    assert theorem("T18").result("direction").has(p)
