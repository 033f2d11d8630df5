"""Training runs against a plain Python loop, sampling against expectation, and what the theorems say of whole runs."""

from dataclasses import replace

import numpy as np
import pytest
from pulled_back import parameter_gradient

from mdp_theory.exact import population
from mdp_theory.exact.critics import Critic, critic_curve, fit, history_critic, temporal_difference
from mdp_theory.exact.dynamics import Run, exact_run, exact_runs, measure, sampled_runs
from mdp_theory.exact.policy import HazardPolicy, StatePolicy, TabularPolicy
from mdp_theory.exact.variance import squared_error, variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.controls import running_sum, unroll
from mdp_theory.problems.levels import flatten
from rino_base.messages import InputError

GRPO = METHODS["grpo"].objective


@pytest.fixture(scope="module")
def words():
    return zoo.load("two-letter-words")


def test_metrics_equal_sums_over_responses(words):
    logits = TabularPolicy().init(words, 2)
    found = measure(words, logits)
    chance = flatten(tree.response_probability(tree.policy(logits))) * words.prompt_probability[:, None]
    lengths = np.broadcast_to(words.responses[1], chance.shape)
    right = words.response_rewards >= 1
    given = chance / words.prompt_probability[:, None]
    assert found.success == pytest.approx(chance[right].sum(), rel=1e-12)
    assert found.length == pytest.approx((chance * lengths).sum(), rel=1e-12)
    assert found.length_correct == pytest.approx(np.average(lengths[right], weights=chance[right]), rel=1e-12)
    assert found.length_wrong == pytest.approx(np.average(lengths[~right], weights=chance[~right]), rel=1e-12)
    assert found.entropy == pytest.approx(-(chance * np.log(given)).sum(), rel=1e-12)


def test_exact_runs_equal_a_plain_loop(words):
    """Methods, rates and refreshments in one compiled program, against one step at a time, written out and packaged."""
    start = TabularPolicy().init(words, 3)
    runs = [
        Run(GRPO, 2.0),
        Run(GRPO, 4.0, refresh_every=3),
        Run(METHODS["dapo"].objective, 3.0, refresh_every=2),
        Run(METHODS["grpo-kl"].objective, 2.0, refresh_every=2),
        Run(METHODS["gspo"].objective, 1.0, refresh_every=2),
        Run(METHODS["sft"].objective, 1.0, refresh_every=100),
    ]
    found, last = exact_runs(runs, words, start, steps=7, num_generations=4)
    assert found.success.shape == (6, 8)
    assert found.success.dtype == np.float64
    for index, run in enumerate(runs):
        stepwise, same = exact_run(run, words, start, steps=7, num_generations=4)
        np.testing.assert_allclose(found.success[index], stepwise.success, rtol=1e-10)
        np.testing.assert_allclose(found.length_wrong[index], stepwise.length_wrong, rtol=1e-10)
        now = old = start
        for step in range(7):
            old = now if step % run.refresh_every == 0 else old
            assert found.success[index, step] == pytest.approx(measure(words, now).success, rel=1e-10)
            slope = population.expected_gradient(
                run.objective, words, now, num_generations=4, old_logits=old, ref_logits=start
            )
            rate = run.learning_rate * words.prompt_probability[:, None, None]
            now = tuple(level + rate * part for level, part in zip(now, slope, strict=True))
        for left, middle, right in zip(last, same, now, strict=True):
            np.testing.assert_allclose(left[index], right, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(middle, right, rtol=1e-9, atol=1e-12)


def test_a_critic_has_no_exact_run(words):
    run = Run(METHODS["ppo"].objective, 1.0)
    with pytest.raises(InputError, match="no exact run"):
        exact_runs([run], words, words.rewards, steps=1, num_generations=2)
    with pytest.raises(InputError, match="no exact run"):
        exact_run(run, words, words.rewards, steps=1, num_generations=2)


def test_sampled_runs_scatter_around_the_exact_one(words):
    """One step of many seeds: the mean change of success is that of the exact gradient, to first order in the rate."""
    rate, seeds = 1e-3, range(600)
    options = {"steps": 1, "num_generations": 4}
    sampled = sampled_runs(Run(GRPO, rate), words, groups=2, seeds=seeds, **options)
    exact, _ = exact_run(Run(GRPO, rate), words, TabularPolicy().init(words, None), **options)
    change = sampled.success[:, 1] - sampled.success[:, 0]
    expected = exact.success[1] - exact.success[0]
    error = change.std(ddof=1) / len(change) ** 0.5
    assert abs(change.mean() - expected) < 4 * error
    assert expected > 8 * error  # the test would notice a gradient of half the size


def test_stale_samples_stop_helping(words):
    runs = [Run(METHODS["raft"].objective, 4.0, refresh_every=n) for n in (1, 4, 16, 10**9)]
    start = TabularPolicy().init(words, None)
    found = [exact_run(run, words, start, steps=200, num_generations=8)[0] for run in runs]
    assert (np.diff([curve.success[-1] for curve in found]) < 0).all()
    # Static positives imitate the first policy's correct responses, each as often as it was sampled.
    assert found[-1].entropy[-1] > found[0].entropy[-1]


@pytest.mark.parametrize("key", ["grpo", "f-isft-pos", "f-isft-neg"])
def test_a_shared_hazard_moves_as_theorem_9_says(key):
    mdp = zoo.load("eos-hazard")
    policy = HazardPolicy()
    params = policy.init(mdp, 4)
    objective = METHODS[key].objective
    slope = population.expected_gradient(objective, mdp, policy.logits(params, mdp), num_generations=4)
    drift = parameter_gradient(policy, params, mdp, slope).hazard
    if key == "grpo":
        assert abs(drift) < 1e-15  # zero-sum advantages cancel
    else:
        assert np.sign(drift) == (1 if key == "f-isft-pos" else -1)  # positives alone shorten, negatives lengthen
        assert abs(drift) > 1e-3
    without = population.expected_gradient(
        population.without_length(objective), mdp, policy.logits(params, mdp), num_generations=4
    )
    # Without 1/L nothing moves the hazard: the score of a stopping time has mean zero, whatever its response is worth.
    assert abs(parameter_gradient(policy, params, mdp, without).hazard) < 1e-14


def test_the_hazard_drift_of_long_responses_is_the_closed_form():
    """On a tree of horizon H the drift tends to A h (-ln h / (1 - h) - 1), per unit of advantage."""
    h, lengths = 0.35, np.arange(1.0, 400.0)
    chance = h * (1 - h) ** (lengths - 1)
    assert (chance * (1 - h * lengths) / lengths).sum() == pytest.approx(h * (-np.log(h) / (1 - h) - 1), rel=1e-12)
    # The same from the tree, where the first token is the answer and the clock starts at the second.
    policy, hazard = HazardPolicy(), np.log(h / (1 - h))
    mdp = zoo.load("eos-hazard")
    params = policy.init(mdp, None)._replace(hazard=np.asarray(hazard))
    slope = population.expected_gradient(METHODS["psr"].objective, mdp, policy.logits(params, mdp), num_generations=2)
    pulled = parameter_gradient(policy, params, mdp, slope)
    assert abs(pulled.hazard) < 1e-15
    assert pulled.first[0, 0] > 0


def test_critic_values_are_means_over_visits():
    unrolled = unroll(running_sum("sum", modulus=3, horizon=4))
    mdp = unrolled.mdp
    prompt = np.repeat(np.arange(len(mdp.prompts)), 40)
    logits = TabularPolicy().init(mdp, 1)
    drawn = tree.sample(np.random.default_rng(0).random((len(prompt), 4)), tree.policy(logits), prompt)
    reward = tree.along(mdp.rewards, drawn).sum(axis=1)
    shared = fit(Critic(unrolled.state), drawn, reward)
    own = fit(history_critic(mdp), drawn, reward)
    for depth in range(4):
        for x in range(len(mdp.prompts)):
            for j in range(mdp.rewards[depth].shape[1]):
                alive = drawn.mask[:, depth] > 0
                here = alive & (drawn.prompt == x) & (drawn.prefix[:, depth] == j)
                same = alive & (
                    unrolled.state[depth][drawn.prompt, drawn.prefix[:, depth]] == unrolled.state[depth][x, j]
                )
                for value, visits in ((own, here), (shared, same)):
                    expected = reward[visits].mean() if visits.any() else reward.mean()
                    assert value[depth][x, j] == pytest.approx(expected, rel=1e-12)


def test_the_error_of_a_credit_is_bias_and_variance():
    unrolled = unroll(running_sum("sum", modulus=3, horizon=3))
    mdp, logits = unrolled.mdp, TabularPolicy().init(unrolled.mdp, 1)
    exact = tree.expectation(tree.policy(logits), mdp.rewards)[1]
    advantages = temporal_difference(mdp, exact)
    np.testing.assert_allclose(
        squared_error(mdp, logits, advantages), variances(mdp, logits).totals()["state_advantage"], rtol=1e-12
    )
    nothing = tuple(np.zeros_like(level) for level in mdp.rewards)
    slope = population.success_gradient(mdp, logits)
    np.testing.assert_allclose(squared_error(mdp, logits, nothing), tree.inner(slope, slope), rtol=1e-12)


def test_a_critic_of_states_learns_from_fewer_responses():
    unrolled = unroll(running_sum("sum", modulus=5, horizon=7))
    logits = TabularPolicy().init(unrolled.mdp, None)
    found = critic_curve(unrolled, logits, responses=(64, 256, 1024), seeds=4)
    state, history = (np.array(found["relative_error"][name]) for name in ("state", "history"))
    assert (state < history).all()
    assert state[-1] == pytest.approx(found["exact"], rel=0.02)
    assert history[-1] > 1.08 * found["exact"]
    assert found["states"]["state"] < found["states"]["history"] / 10


def test_a_learned_critic_trains_a_policy():
    unrolled = unroll(running_sum("sum", modulus=3, horizon=4))
    ppo = METHODS["ppo"].objective
    objective = replace(ppo, aggregation="sequence-mean-token-sum")
    options = {"steps": 60, "num_generations": 2, "groups": 4, "seeds": [3, 3, 4]}
    arms = {"policy": StatePolicy(unrolled.state), "critic": Critic(unrolled.state, learning_rate=0.3)}
    found = sampled_runs(Run(objective, 1.0), unrolled.mdp, **options, **arms)
    assert (found.success[:, -1] > found.success[:, 0] + 0.3).all()
    np.testing.assert_array_equal(found.success[0], found.success[1])  # the seed decides a run
    assert not (found.success[0] == found.success[2]).all()
    with pytest.raises(ValueError, match=r"batch\.value"):
        sampled_runs(Run(objective, 1.0), unrolled.mdp, **options)
