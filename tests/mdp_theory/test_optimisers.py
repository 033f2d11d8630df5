"""Optimisers on exact gradients against plain loops, and what theorem T15 says of them."""

from dataclasses import replace

import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.exact import population
from mdp_theory.exact.dynamics import Run, exact_run, exact_runs, sampled_runs
from mdp_theory.exact.optimisers import Optimiser, adam_updates, factor_bound, longest_update, moment_weights
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import zoo
from rino_base.messages import InputError

RULES = {key: population.without_length(METHODS[key].objective) for key in ("reinforce", "f-isft-pm", "rloo", "grpo")}


@pytest.fixture(scope="module")
def words():
    return zoo.load("two-letter-words")


@pytest.fixture(scope="module")
def one_prompt():
    return zoo.load("one-token")


def train(mdp, rules, optimiser, *, steps=6, rate=0.05, seed=3):
    start = TabularPolicy().init(mdp, seed)
    runs = [Run(RULES[rule], rate, optimiser=optimiser) for rule in rules]
    found, last = exact_runs(runs, mdp, start, steps=steps, num_generations=4)
    return found, np.concatenate([level.reshape(len(runs), -1) for level in last], axis=1)


def plain_loop(mdp, objective, optimiser, *, steps, rate, seed=3):
    """The update rules of the papers, in numpy on one long vector."""
    start = TabularPolicy().init(mdp, seed)
    shapes = [level.shape for level in start]
    theta = np.concatenate([level.ravel() for level in start])
    velocity = first = second = np.zeros_like(theta)
    for n in range(1, steps + 1):
        logits, at = [], 0
        for shape in shapes:
            logits.append(theta[at : at + np.prod(shape)].reshape(shape))
            at += np.prod(shape)
        slope = population.expected_gradient(objective, mdp, tuple(logits), num_generations=4)
        g = -np.concatenate([(mdp.prompt_probability[:, None, None] * level).ravel() for level in slope])
        if optimiser.max_grad_norm is not None:
            g = g * min(1.0, optimiser.max_grad_norm / np.linalg.norm(g))
        if optimiser.kind != "adamw":
            g = g + optimiser.weight_decay * theta
        if optimiser.kind == "momentum":
            g = velocity = optimiser.momentum * velocity + g
        elif optimiser.kind != "sgd":
            first = optimiser.beta1 * first + (1 - optimiser.beta1) * g
            second = optimiser.beta2 * second + (1 - optimiser.beta2) * g**2
            root = np.sqrt(second / (1 - optimiser.beta2**n)) + optimiser.eps
            g = first / (1 - optimiser.beta1**n) / root
        if optimiser.kind == "adamw":
            g = g + optimiser.weight_decay * theta
        theta = theta - rate * g
    return theta


@pytest.mark.parametrize(
    "optimiser",
    [
        Optimiser(max_grad_norm=0.1),
        Optimiser(kind="momentum", weight_decay=0.1),
        Optimiser(kind="adam", weight_decay=0.01, beta2=0.99, eps=1e-3),
        Optimiser(kind="adamw", weight_decay=0.1, max_grad_norm=0.05),
    ],
)
def test_optimisers_equal_a_plain_loop(words, optimiser):
    _, last = train(words, ["grpo", "reinforce"], optimiser)
    for row, rule in zip(last, ("grpo", "reinforce"), strict=True):
        expected = plain_loop(words, RULES[rule], optimiser, steps=6, rate=0.05)
        np.testing.assert_allclose(row, expected, rtol=1e-10, atol=1e-12)


def test_runs_of_several_optimisers_keep_their_places(one_prompt):
    start = TabularPolicy().init(one_prompt, 3)
    adam = Optimiser(kind="adam")
    runs = [Run(RULES[a], 0.1, optimiser=o) for a, o in (("grpo", adam), ("rloo", Optimiser()), ("rloo", adam))]
    together, _ = exact_runs(runs, one_prompt, start, steps=4, num_generations=4)
    for run, curve in zip(runs, together.success, strict=True):
        alone, _ = exact_run(run, one_prompt, start, steps=4, num_generations=4)
        np.testing.assert_allclose(curve, alone.success, rtol=1e-12)


def test_a_constant_factor_is_another_epsilon(one_prompt):
    """Cross-entropy ± is twice REINFORCE in expectation: Adam's runs agree if ε is doubled with it, SGD's do not."""
    adam = Optimiser(kind="adam", eps=1e-3)
    _, single = train(one_prompt, ["reinforce"], adam)
    _, double = train(one_prompt, ["f-isft-pm"], replace(adam, eps=2e-3))
    np.testing.assert_allclose(double, single, rtol=1e-10, atol=1e-12)
    _, other = train(one_prompt, ["f-isft-pm"], adam)
    assert np.abs(other - single).max() > 1e-4  # ε is seen
    _, plain = train(one_prompt, ["reinforce", "f-isft-pm"], Optimiser())
    assert np.abs(plain[0] - plain[1]).max() > 1e-2


def test_adamw_does_not_see_a_factor_and_l2_does(one_prompt):
    for kind, seen in (("adamw", False), ("adam", True)):
        optimiser = Optimiser(kind=kind, weight_decay=0.1, eps=0.0)
        _, last = train(one_prompt, ["reinforce", "f-isft-pm"], optimiser)
        gap = np.abs(last[0] - last[1]).max()
        assert gap > 1e-3 if seen else gap < 1e-12


def test_a_clip_that_is_always_active_leaves_one_trajectory(one_prompt):
    """On one prompt a normalised gradient does not know c(p), however it changes; on several prompts it does."""
    clipped = Optimiser(max_grad_norm=1e-6)
    _, last = train(one_prompt, RULES, clipped, rate=1e5, steps=20)
    np.testing.assert_allclose(last, np.broadcast_to(last[0], last.shape), rtol=1e-9, atol=1e-11)
    mixture = zoo.load("prompt-mixture")
    _, last = train(mixture, ["reinforce", "grpo"], clipped, rate=1e5, steps=5)
    assert np.abs(last[0] - last[1]).max() > 1e-3


def test_adam_on_a_table_does_not_see_the_ratios_of_prompts():
    """Each logit belongs to one prompt, so Adam divides c(p_x) out prompt by prompt; SGD keeps the ratios."""
    mixture = zoo.load("prompt-mixture")
    sign = Optimiser(kind="adam", beta1=0.0, beta2=0.0, eps=0.0)
    start = TabularPolicy().init(mixture, 3)
    runs = [Run(rule, 0.01, optimiser=sign) for rule in RULES.values()]
    _, last = exact_runs(runs, mixture, start, steps=3, num_generations=4)
    # A gradient that is nought in exact arithmetic has a sign in floating point; all others agree.
    slope = population.success_gradient(mixture, start)
    for level, part in zip(last, slope, strict=True):
        kept = np.abs(part) > 1e-12
        for row in level[1:]:
            np.testing.assert_allclose(row[kept], level[0][kept], rtol=1e-9, atol=1e-12)


positive = st.floats(0.2, 5.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    data=st.lists(st.tuples(st.floats(-3, 3), positive), min_size=1, max_size=30),
    beta1=st.sampled_from([0.0, 0.5, 0.9]),
    beta2=st.sampled_from([0.9, 0.99, 0.999]),
)
def test_the_bound_of_theorem_15_holds(data, beta1, beta2):
    optimiser = Optimiser(kind="adam", beta1=beta1, beta2=beta2, eps=0.0)
    v, c = (np.array(column) for column in zip(*data, strict=True))
    without, with_factor = (adam_updates(optimiser, g[:, None])[:, 0] for g in (v, c * v))
    assert (np.abs(with_factor - without) <= factor_bound(optimiser, c) * (1 + 1e-9) + 1e-12).all()
    longest = [longest_update(optimiser, n + 1) for n in range(len(v))]
    assert (np.abs(without) <= np.array(longest) * (1 + 1e-9)).all()


def test_the_bound_is_nought_for_a_constant_and_can_be_reached():
    optimiser = Optimiser(kind="adam", eps=0.0)
    assert not factor_bound(optimiser, np.full(5, 0.3)).any()
    # The gradients that Adam answers with the longest step: v = a/b.
    first, second = moment_weights(optimiser, 400)
    reached = adam_updates(optimiser, (first / second)[:, None])[-1, 0]
    assert reached == pytest.approx(longest_update(optimiser, 400), rel=1e-9)
    assert longest_update(optimiser, 5000) == pytest.approx(longest_update(optimiser), rel=0.02)
    assert longest_update(replace(optimiser, beta1=0.99, beta2=0.9)) == np.inf


def test_updates_are_those_of_optax():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((7, 3)).astype(np.float32)
    adam = optax.scale_by_adam(eps=1e-3)
    state = adam.init(gradients[0])
    for gradient, expected in zip(gradients, adam_updates(Optimiser(kind="adam", eps=1e-3), gradients), strict=True):
        update, state = adam.update(gradient, state)
        np.testing.assert_allclose(update, expected, rtol=2e-5, atol=1e-6)


def test_sampled_runs_take_an_optimiser(one_prompt):
    """RLOO is G/(G−1) times Dr. GRPO's difference from the mean, sample by sample: one run under Adam."""
    doctor = population.without_length(METHODS["dr-grpo"].objective)
    adam = Optimiser(kind="adam", eps=1e-10)
    options = {"steps": 5, "num_generations": 4, "groups": 2, "seeds": range(2)}
    found = [sampled_runs(Run(rule, 0.05, optimiser=adam), one_prompt, **options) for rule in (doctor, RULES["rloo"])]
    np.testing.assert_allclose(found[0].success, found[1].success, rtol=1e-7)
    plain = sampled_runs(Run(doctor, 0.05), one_prompt, **options)
    assert np.abs(plain.success - found[0].success).max() > 1e-4


@pytest.mark.parametrize("wrong", [{"beta1": 1.0}, {"momentum": -0.1}, {"eps": -1.0}, {"max_grad_norm": 0.0}])
def test_optimisers_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Optimiser(**wrong)


def test_a_factor_that_is_not_positive_is_refused():
    with pytest.raises(InputError, match="positive"):
        factor_bound(Optimiser(kind="adam"), np.array([1.0, 0.0]))
