"""Times and paths of theorem T16 against the flow itself, integrated in the logits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mdp_theory.exact import rates
from mdp_theory.methods.catalogue import METHODS
from rino_base.messages import InputError


def integrate(c, start, times, responses):
    """θ̇ = c(p) ∇p in the logits of a softmax over responses of which the first is right."""
    theta = np.zeros(responses)
    theta[0] = np.log(start / (1 - start)) + np.log(responses - 1)

    def policy(logits):
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()

    def slope(_, logits):
        pi = policy(logits)
        return c(pi[:1])[0] * pi[0] * ((np.arange(responses) == 0) - pi)

    found = solve_ivp(slope, (0, times[-1]), theta, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-13)
    pi = np.array([policy(column) for column in found.y.T])
    return pi[:, 0], -(pi * np.log(pi)).sum(axis=1)


@pytest.mark.parametrize("key", ["reinforce", "grpo", "mean-positive", "f-isft-neg-adv"])
@pytest.mark.parametrize("responses", [2, 7])
def test_paths_and_entropies_are_those_of_the_flow(key, responses):
    c = rates.of_method(METHODS[key].objective, 4)
    times = np.linspace(0, 30, 7)
    success, entropy = integrate(c, 0.05, times, responses)
    found = rates.path(c, 0.05, times, responses=responses)
    np.testing.assert_allclose(found, success, rtol=1e-10)
    np.testing.assert_allclose(rates.response_entropy(found, responses), entropy, rtol=1e-9)
    assert rates.time_between(c, 0.05, found[-1], responses=responses) == pytest.approx(30, rel=1e-10)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(start=st.floats(1e-5, 0.99), end=st.floats(1e-5, 0.999), responses=st.integers(2, 100))
def test_closed_forms_are_the_integrals(start, end, responses):
    for flow in rates.LIMITS.values():
        closed = rates.limit_time(flow, start, end, responses=responses)
        scale = max(abs(flow.antiderivative(np.array([start, end]))).max(), 1e-3)
        found = rates.time_between(flow.coefficient, start, end, responses=responses)
        assert abs(found - closed) < 1e-11 * scale


def test_the_path_of_grpo_in_closed_form():
    times = np.linspace(0, 100, 9)
    c = rates.LIMITS["1/√(p(1−p))"].coefficient
    np.testing.assert_allclose(
        rates.grpo_path(1e-3, times, responses=50), rates.path(c, 1e-3, times, responses=50), rtol=1e-11
    )


def test_large_groups_approach_the_limits():
    for key, name in (("grpo", "1/√(p(1−p))"), ("mean-positive", "1/p"), ("maxrl", "1/p")):
        limit = rates.limit_time(rates.LIMITS[name], 0.05, 0.9)
        gaps = [
            abs(rates.time_between(rates.of_method(METHODS[key].objective, size), 0.05, 0.9) / limit - 1)
            for size in (8, 64, 512)
        ]
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 0.01


@pytest.mark.parametrize(("key", "slope"), [("reinforce", 1.0), ("grpo", 7**0.5), ("mean-positive", 8.0)])
def test_with_finite_groups_every_rule_stalls_like_one_over_p(key, slope):
    """c(0) is finite, so the time from p₀ tends to 1/(κ c(0) p₀)."""
    c = rates.of_method(METHODS[key].objective, 8)
    time = rates.time_between(c, 1e-7, 0.5, responses=50)
    assert time * rates.speed(50) * slope * 1e-7 == pytest.approx(1, rel=1e-4)


def test_sharing_costs_the_easy_prompt_and_hides_the_hard_one():
    reinforce, log_likelihood = (rates.LIMITS[name].coefficient for name in ("1", "1/p"))
    apart = rates.compete(reinforce, 0.5, 0.02, overlap=0.0)
    assert abs(apart.cost) < 1e-6
    conflict = rates.compete(reinforce, 0.5, 0.02, overlap=-0.5)
    assert conflict.cost > 0.1
    other = rates.compete(log_likelihood, 0.5, 0.02, overlap=-0.5)
    assert other.learned < conflict.learned / 5
    assert rates.compete(reinforce, 0.5, 0.02, overlap=0.5).learned < apart.learned
    # A common factor, such as a learning rate, is no difference.
    doubled = rates.compete(lambda p: 2 * reinforce(p), 0.5, 0.02, overlap=-0.5)
    np.testing.assert_allclose(doubled.hard, conflict.hard, atol=1e-7)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: rates.time_between(c, 0.0, 0.5),
        lambda c: rates.limit_time(rates.LIMITS["1"], 0.5, 1.0),
        lambda c: rates.path(c, 0.5, np.array([1e15])),
        lambda c: rates.compete(c, 0.5, 0.1, overlap=2.0),
        lambda c: rates.compete(c, 0.5, 0.1, overlap=0.0, target=0.4),
        lambda c: rates.speed(1),
    ],
)
def test_what_has_no_answer_is_refused(call):
    with pytest.raises(InputError):
        call(rates.LIMITS["1"].coefficient)
