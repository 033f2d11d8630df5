"""Each control breaks what it says and nothing else; its values against naive enumeration of plans and policies."""

import itertools

import numpy as np
import pytest

from mdp_theory.check.problem import assumptions, bandit_reduction
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.controls import Control, closed_loop_values, from_tree, open_loop_values, running_sum, unroll
from rino_base.messages import InputError

BROKEN = {
    "running-sum": {"A1_states_are_histories"},
    "slippery-sum": {"A1_states_are_histories", "deterministic"},
    "letter-bonus": {"A2_terminal_reward"},
    "discounted-words": {"undiscounted"},
    "two-letter-words": set(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_broken_assumption_is_found(name):
    facts = assumptions(zoo.load(name))
    assert {key for key, fact in facts.items() if not fact["holds"]} == BROKEN[name]


def naive_plan_value(control, plan, state, time=0):
    """The expected return of a fixed response, by recursion over states."""
    token = plan[0]
    value = control.reward[time, state, token]
    if token == len(control.vocabulary) - 1 or time == control.horizon - 1:
        return value
    for after, chance in enumerate(control.transition[state, token]):
        if chance:
            value += control.discount * chance * naive_plan_value(control, plan[1:], after, time + 1)
    return value


def naive_closed_loop(control, state, time=0):
    """The optimal value by recursion over everything that can happen."""
    best = -np.inf
    for token in range(len(control.vocabulary)):
        value = control.reward[time, state, token]
        if token < len(control.vocabulary) - 1 and time < control.horizon - 1:
            chances = control.transition[state, token]
            value += control.discount * sum(
                chance * naive_closed_loop(control, after, time + 1) for after, chance in enumerate(chances) if chance
            )
        best = max(best, value)
    return best


def random_control(seed, *, deterministic):
    rng = np.random.default_rng(seed)
    states, horizon = 3, 3
    if deterministic:
        transition = np.eye(states)[rng.integers(states, size=(states, 2))]
    else:
        transition = rng.dirichlet(np.ones(states), size=(states, 2))
    reward = rng.standard_normal((horizon, states, 3))
    start = rng.integers(states, size=2)
    return Control("random", ("p", "q"), np.array([0.5, 0.5]), ("a", "b", "<eos>"), start, transition, reward, 0.8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("deterministic", [True, False])
def test_optimal_values_equal_naive_recursion(seed, deterministic):
    control = random_control(seed, deterministic=deterministic)
    plans = list(itertools.product(range(3), repeat=control.horizon))
    best_plan = [max(naive_plan_value(control, plan, s) for plan in plans) for s in control.start]
    best_policy = [naive_closed_loop(control, s) for s in control.start]
    np.testing.assert_allclose(open_loop_values(control), best_plan, rtol=1e-12)
    np.testing.assert_allclose(closed_loop_values(control), best_policy, rtol=1e-12)
    if deterministic:
        np.testing.assert_allclose(best_plan, best_policy, rtol=1e-12)


def test_a_policy_that_sees_a_stochastic_state_beats_every_response():
    control = zoo.load("slippery-sum")
    assert (closed_loop_values(control) > open_loop_values(control) + 0.1).all()
    with pytest.raises(InputError, match="stochastic"):
        unroll(control)


def test_a_deterministic_control_unrolls_to_the_same_problem():
    control = running_sum("sum", modulus=3, horizon=5)
    unrolled = unroll(control)
    tokens, lengths = unrolled.mdp.responses
    for x, start in enumerate(control.start):
        for words, length, reward in zip(tokens, lengths, unrolled.mdp.response_rewards[x], strict=True):
            ended = words[length - 1] == 2
            total = (start + (words[: length - ended] + 1).sum()) % 3
            assert reward == (ended and total == 0)
    reached = control.reachable().sum(axis=1)
    assert reached.max() <= 3
    assert unrolled.mdp.rewards[-1].shape[1] == 16  # histories, where 3 states remain


def test_unrolling_a_tree_gives_it_back():
    mdp = zoo.load("two-letter-words")
    again = unroll(from_tree(mdp, name="again")).mdp
    for left, right in zip(mdp.rewards, again.rewards, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("name", "gradient_equal", "credit_equal"),
    [("running-sum", True, True), ("letter-bonus", True, False), ("discounted-words", False, False)],
)
def test_what_each_broken_assumption_breaks(name, gradient_equal, credit_equal):
    problem = zoo.load(name)
    logits = TabularPolicy().init(unroll(problem).mdp, 4)
    found = bandit_reduction(problem, logits)
    # A response decides everything as long as transitions are deterministic: the two values never part.
    np.testing.assert_allclose(found["value_sequential"], found["value_bandit"], rtol=1e-12)
    np.testing.assert_allclose(found["closed_loop_value"], found["open_loop_value"], rtol=1e-12)
    assert (max(found["gradient_relative_error"]) < 1e-12) == gradient_equal
    assert (found["return_to_go_gap"] < 1e-12) == credit_equal
    if not gradient_equal:
        assert min(found["gradient_relative_error"]) > 0.01


def test_return_to_go_gap_equals_naive_enumeration():
    problem = zoo.load("discounted-words")
    unrolled = unroll(problem)
    mdp = unrolled.mdp
    tokens, lengths = mdp.responses
    worst, largest = 0.0, 0.0
    for x in range(len(mdp.prompts)):
        for words, length in zip(tokens, lengths, strict=True):
            prefix, earned = 0, []
            for depth in range(length):
                earned.append(unrolled.step_reward[depth][x, prefix, words[depth]])
                prefix = prefix * mdp.continuing + words[depth]
            to_go = [sum(problem.discount**k * r for k, r in enumerate(earned[t:])) for t in range(length)]
            worst = max([worst, *(abs(g - to_go[0]) for g in to_go)])
            largest = max(largest, abs(to_go[0]))
    found = bandit_reduction(problem, TabularPolicy().init(mdp, 0))
    assert found["return_to_go_gap"] == pytest.approx(worst / max(largest, 1), rel=1e-12)


def test_controls_that_are_malformed():
    good = random_control(0, deterministic=True)
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
    with pytest.raises(InputError, match="no distribution"):
        Control(**fields | {"transition": good.transition * 0.9})
    with pytest.raises(InputError, match="do not fit"):
        Control(**fields | {"vocabulary": ("a", "<eos>")})
    with pytest.raises(InputError, match="discount 0"):
        Control(**fields | {"discount": 0.0})
    with pytest.raises(InputError, match="the limit is 10"):
        open_loop_values(good, max_plans=10)


def test_discounted_returns_of_a_tree():
    reward = (np.array([[[1.0, 2.0]]]), np.array([[[3.0, 4.0]]]))
    first, second = tree.returns(reward, discount=0.5)
    np.testing.assert_array_equal(first, [[[0.0, 2.0]]])
    np.testing.assert_array_equal(second, [[[2.5, 3.0]]])
