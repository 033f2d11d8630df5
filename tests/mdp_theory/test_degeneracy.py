"""The report's parts against definitions: autodiff through the whole tree, naive sums, what breaks each identity."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.check import sampled as probe
from mdp_theory.check.claims import fitted, identities, method_report
from mdp_theory.check.problem import assumptions, bandit_reduction
from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.counterpart import outcome_credit, supervised_counterpart
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.loss import loss, surrogate
from mdp_theory.methods.objectives import KL
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP

GRPO = METHODS["grpo"].objective


@pytest.fixture(scope="module")
def words():
    mdp = zoo.load("two-letter-words")
    logits = TabularPolicy().init(mdp, 3)
    return mdp, logits, probe.draw_probe(mdp, logits, num_generations=8, seed=1)


def random_mdp(seed, *, letters=2, horizon=3):
    rng = np.random.default_rng(seed)
    return TokenMDP.from_function(
        "random",
        prompts=["p", "q"],
        vocabulary=[*"abc"[:letters], "<eos>"],
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.standard_normal()),
    )


@in_float64
def gradients_through_the_tree(objective, samples, drawn, logits):
    """Ascent directions of the loss and of its supervised counterpart, by autodiff from the logits down."""
    credit = outcome_credit(assign_credit(objective, Batch(*map(jnp.asarray, samples))), jnp.asarray(samples.mask))

    def padded(theta):
        logp = tree.along(tree.log_policy(theta), drawn)
        return jnp.pad(logp, ((0, 0), (0, samples.mask.shape[1] - logp.shape[1])))

    def actual(theta):
        return -loss(objective, samples._replace(logp=padded(theta)))

    def supervised(theta):
        fixed = {"old_logp": samples.old_logp, "ref_logp": samples.ref_logp, "mask": samples.mask}
        return -surrogate(supervised_counterpart(objective), credit, logp=padded(theta), **fixed)

    theta = tuple(jnp.asarray(level) for level in logits)
    return jax.jit(jax.grad(actual))(theta), jax.jit(jax.grad(supervised))(theta)


@pytest.mark.parametrize("key", ["grpo", "gspo", "ppo"])
def test_comparison_equals_autodiff_through_the_whole_tree(words, key):
    mdp, logits, found = words
    now = tuple(level + 0.2 * step for level, step in zip(logits, TabularPolicy().init(mdp, 8), strict=True))
    samples = probe.batch(found, now, logits)
    objective = METHODS[key].objective
    comparison = probe.compare(objective, samples, found.drawn, now)
    actual, supervised = gradients_through_the_tree(objective, samples, found.drawn, now)
    for ours, theirs in ((comparison.gradient, actual), (comparison.supervised, supervised)):
        for left, right in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("key", METHODS)
def test_on_policy_every_outcome_method_is_outcome_weighted_sft(words, key):
    mdp, logits, found = words
    objective = fitted(METHODS[key].objective, mdp)
    comparison = probe.compare(objective, probe.batch(found, logits, logits), found.drawn, logits)
    if key in ("ppo", "grpo-kl"):  # a critic; a reference policy that differs
        assert comparison.relative_error > 1e-3
        assert comparison.credit_structure_index > 1e-6
    else:
        assert comparison.relative_error < 1e-12
        assert comparison.credit_structure_index < 1e-12
        assert comparison.cosine == pytest.approx(1, abs=1e-12)


def test_the_gap_opens_with_inner_steps(words):
    _, logits, found = words
    curve = probe.inner_step_curve(GRPO, found, logits, steps=6, learning_rate=1.0)
    assert curve["step"] == list(range(7))
    assert curve["relative_error"][0] < 1e-12
    assert curve["clip_fraction"][0] == curve["kl"][0] == 0
    assert 1e-3 < curve["relative_error"][1] < curve["relative_error"][-1]
    assert curve["clip_fraction"][-1] > 0
    assert curve["credit_structure_index"][-1] > 0.01
    assert (np.diff(curve["kl"]) > 0).all()
    # The cross-entropy form has no ratio: it stays its own counterpart however far it goes.
    same = probe.inner_step_curve(METHODS["f-isft-pm"].objective, found, logits, steps=3, learning_rate=1.0)
    assert max(same["relative_error"]) < 1e-12


def test_drift_and_kl_curves_start_at_the_identity(words):
    _, logits, found = words
    drift = probe.drift_curve(GRPO, found, logits, distances=(0.0, 0.1, 0.5), seed=0)
    assert drift["relative_error"][0] < 1e-12
    assert drift["relative_error"][0] < drift["relative_error"][1] < drift["relative_error"][2]
    for estimator in ("k1", "k2", "k3"):
        curve = probe.penalty_curve(GRPO, found, logits, estimator=estimator, betas=(0.0, 0.1, 1.0))
        assert curve["relative_error"][0] < 1e-12
        assert curve["relative_error"][1] < curve["relative_error"][2]
        # k1 in the loss adds the same constant to every token: still uniform, and of mean zero. k2 and k3 are not.
        assert (max(curve["credit_structure_index"]) < 1e-12) == (estimator == "k1")


def test_the_penalty_curve_takes_its_coefficient_from_the_objective(words):
    """β is passed to the compiled function as a number; the objective's own β must be the one that counts."""
    _, logits, found = words
    samples = probe.batch(found, logits, logits)
    penalised = replace(GRPO, kl=KL(beta=0.7))
    comparison = probe.compare(penalised, samples, found.drawn, logits)
    actual, _ = gradients_through_the_tree(penalised, samples, found.drawn, logits)
    for left, right in zip(comparison.gradient, actual, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-15)


def test_a_probe_has_something_to_learn_from():
    mdp = zoo.load("needle")
    logits = TabularPolicy().init(mdp, None)
    found = probe.draw_probe(mdp, logits, num_generations=4, seed=0)
    grouped = found.reward.reshape(-1, 4)
    assert (grouped[:, 0] == 1).all()
    assert (grouped[:, 1] == 0).all()
    assert found.drawn.mask.sum(axis=1).min() >= 1
    alike = probe.draw_probe(mdp, logits, num_generations=4, seed=0)
    np.testing.assert_array_equal(found.drawn.token, alike.drawn.token)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), letters=st.integers(1, 3), horizon=st.integers(1, 4))
def test_every_token_mdp_is_a_bandit(seed, letters, horizon):
    mdp = random_mdp(seed, letters=letters, horizon=horizon)
    found = bandit_reduction(mdp, TabularPolicy(scale=2.0).init(mdp, seed))
    checks = identities(assumptions(mdp), found, {}, {}, binary=False)
    assert len(checks) == 4
    assert all(check["holds"] for check in checks), checks
    # Reward-to-go of a reward spread over the tokens is another gradient as soon as there is more than one token.
    assert (max(found["reward_to_go_split_error"]) > 1e-3) == (horizon > 1)


def test_an_identity_that_does_not_hold_is_said_not_to():
    facts = assumptions(zoo.load("two-letter-words"))
    broken = bandit_reduction(zoo.load("discounted-words"), TabularPolicy().init(zoo.load("two-letter-words"), 0))
    checks = identities(facts, broken, {}, {}, binary=False)
    assert [check["holds"] for check in checks] == [True, True, False, False]


def test_the_split_with_reward_to_go_is_biased_as_theorem_2_says():
    mdp = random_mdp(5)
    logits = TabularPolicy().init(mdp, 5)
    probability = tree.policy(logits)
    # Naive: weight (L - t) / L on token t of each response, summed over all responses.
    tokens, lengths = mdp.responses
    gradient = [np.zeros(level.shape) for level in logits]
    log_pi = tree.log_policy(logits)
    for x in range(2):
        for row, (words, length) in enumerate(zip(tokens, lengths, strict=True)):
            path, prefix = [], 0
            for t in range(length):
                path.append(prefix)
                prefix = prefix * mdp.continuing + words[t]
            chance = np.exp(sum(log_pi[t][x, path[t], words[t]] for t in range(length)))
            for t in range(length):
                weight = chance * mdp.response_rewards[x, row] * (length - t) / length
                gradient[t][x, path[t]] -= weight * probability[t][x, path[t]]
                gradient[t][x, path[t], words[t]] += weight
    truth = tree.logit_gradient(probability, tree.expectation(probability, mdp.rewards)[0])
    expected = [
        np.sqrt(
            sum(((g[x] - true[x]) ** 2).sum() for g, true in zip(gradient, truth, strict=True))
            / sum((true[x] ** 2).sum() for true in truth)
        )
        for x in range(2)
    ]
    np.testing.assert_allclose(bandit_reduction(mdp, logits)["reward_to_go_split_error"], expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("key", "by_outcome", "by_length"),
    [("grpo", True, True), ("rloo", True, False), ("dapo", True, True), ("raft", True, True), ("psr", True, False)],
)
def test_weights_depend_on_outcome_and_length_as_their_formulas_say(words, key, by_outcome, by_length):
    mdp, logits, found = words
    record = method_report(METHODS[key].objective, mdp, logits, found, num_generations=8)
    assert (record["outcome_dependence"] > 1e-6) == by_outcome
    assert (record["length_dependence"] > 1e-6) == by_length
    table = record["expected_weight"]
    assert np.shape(table) == (2, 2, 4)
    assert table[0][1][3] is None  # no correct answer to the first prompt has four tokens
    assert table[0][1][2] > 0
    if key == "grpo":
        assert table[0][0][1] == pytest.approx(2 * table[0][0][3], rel=1e-12)  # 1/L


def test_the_method_report_says_where_the_direction_is_lost(words):
    mdp, logits, found = words
    grpo = method_report(GRPO, mdp, logits, found, num_generations=8)
    assert grpo["c"] == grpo["phi"] == [None, None]
    np.testing.assert_allclose(grpo["c_without_length"], grpo["c_of_binary_reward"], rtol=1e-12)
    p = population.success_probability(mdp, logits)
    phi = population.effective_objective(GRPO, p, num_generations=8)
    np.testing.assert_allclose(grpo["phi_without_length"], phi, rtol=1e-14)
    critic = method_report(METHODS["ppo"].objective, mdp, logits, found, num_generations=8)
    assert critic["expected_weight"] is critic["outcome_dependence"] is None
    rloo = method_report(METHODS["rloo"].objective, mdp, logits, found, num_generations=8)
    np.testing.assert_allclose(rloo["c"], 1, rtol=1e-12)
    three = zoo.load("three-level")
    start = TabularPolicy().init(three, None)
    lost = method_report(
        METHODS["rloo"].objective,
        three,
        start,
        probe.draw_probe(three, start, num_generations=8, seed=0),
        num_generations=8,
    )
    assert lost["c"] == lost["c_without_length"] == [None]
    assert lost["off_direction"][0] > 0.05
