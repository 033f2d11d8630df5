"""Statements of the theory that need more than one module: measured on small MDPs, each beside what breaks it."""

from dataclasses import replace

import numpy as np
import pytest

from mdp_theory.check import sampled as probe
from mdp_theory.exact import population, rules
from mdp_theory.exact.groups import compositions
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.weights import token_weights
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.levels import flatten

GRPO = METHODS["grpo"].objective


@pytest.fixture(scope="module")
def words():
    mdp = zoo.load("two-letter-words")
    return mdp, TabularPolicy().init(mdp, 3)


@in_float64
def weights(objective, samples):
    return token_weights(objective, Batch(*samples))


def test_uniform_split_with_the_total_return_changes_nothing(words):
    """T2: r/L a token, each token credited with the sum over all tokens, is the terminal reward."""
    mdp, logits = words
    probability = tree.policy(logits)
    terminal = tree.logit_gradient(probability, tree.expectation(probability, mdp.rewards)[0])
    share = tuple(level / (depth + 1) for depth, level in enumerate(mdp.rewards))
    total = tuple((depth + 1) * level for depth, level in enumerate(share))
    split = tree.logit_gradient(probability, tree.expectation(probability, total)[0])
    for left, right in zip(split, terminal, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-14, atol=1e-17)


def test_partial_credit_is_a_full_positive_above_the_group_mean():
    """T10: rewards (0, 0, 0, 0, 0.1) give the wrong answer weight +1 under the advantage form of F-ISFT⁺."""
    levels = np.array([0.0, 0.1, 1.0])
    rule = rules.rule_of(METHODS["f-isft-pos-adv"].objective, levels, 1, num_generations=5)
    row = compositions(5, 3).tolist().index([4, 1, 0])
    np.testing.assert_array_equal(rule.group.advantage[row, :2], [0.0, 1.0])
    correct = rules.rule_of(METHODS["f-isft-pos"].objective, levels, 1, num_generations=5)
    assert correct.group.advantage[row, 1] == 0.0


@pytest.mark.parametrize(
    ("key", "keeps"), [("f-isft-pos-adv", False), ("grpo", False), ("rloo", False), ("raft", True)]
)
def test_three_levels_lose_the_direction_unless_correct_means_correct(key, keeps):
    """T10: rules that see the reward lose the direction of T5; a rule that asks for reward 1 keeps it, at c = 1."""
    mdp = zoo.load("three-level")
    logits = TabularPolicy().init(mdp, 1)
    objective = population.without_length(METHODS[key].objective)
    gradient = population.expected_gradient(objective, mdp, logits, num_generations=5)
    found = population.direction(gradient, population.success_gradient(mdp, logits))
    assert bool(found.residual[0] < 1e-12) == keeps
    if keeps:
        assert found.coefficient[0] == pytest.approx(1, rel=1e-12)


def test_tokens_of_a_shared_prefix_cancel_unless_the_length_divides(words):
    """T11: zero-sum advantages leave nothing at a prefix whose next token all responses of the group share."""
    mdp, logits = words
    found = probe.draw_probe(mdp, logits, num_generations=8, seed=2)
    uniform = np.random.default_rng(0).random((16, mdp.horizon))
    forced = tuple(level.copy() for level in logits)
    forced[0][:, :, 1:] = -np.inf  # everybody starts with the first token
    drawn = tree.sample(uniform, tree.policy(forced), np.repeat([0, 1], 8))
    reward = np.tile([1.0, 0, 0, 1, 0, 0, 0, 1], 2)
    shared = replace(found, drawn=drawn, reward=reward, group=np.repeat([0, 1], 8))
    samples = probe.batch(shared, logits, logits)
    assert len({float(length) for length in drawn.mask.sum(axis=1)}) > 1
    for objective, cancels in ((population.without_length(GRPO), True), (GRPO, False)):
        pulled = probe.pull_back(weights(objective, samples), drawn, logits)
        assert bool(np.abs(pulled[0]).max() < 1e-14) == cancels
        assert np.abs(pulled[1]).max() > 1e-3  # where responses part, credit is assigned


def test_expected_credit_is_the_advantage_of_the_state(words):
    """T11: the expected REINFORCE gradient is d(s) π(a|s) A(s, a); per response the weights know no state."""
    mdp, logits = words
    probability = tree.policy(logits)
    action, state = tree.expectation(probability, mdp.rewards)
    gradient = population.expected_gradient(METHODS["reinforce"].objective, mdp, logits, num_generations=4)
    pieces = zip(gradient, tree.visits(probability), probability, action, state, strict=True)
    for level, reach, pi, q, v in pieces:
        np.testing.assert_allclose(level, reach[..., None] * pi * (q - v[..., None]), rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize(
    ("left", "right", "factor"),
    [
        ("gspo", "grpo", 1.0),
        ("cispo", "dapo", 1.0),
        ("raft", "f-isft-pos", 1.0),
        ("reinforce-rej", "f-isft-pm-adv", 2.0),
        ("psr", "reinforce", 1.0),
    ],
)
def test_methods_that_are_one_method_on_policy(words, left, right, factor):
    """T13, in expectation and on every batch in which all groups are mixed; GSPO's and GRPO's ways part off-policy."""
    mdp, logits = words
    gradients = [
        population.expected_gradient(METHODS[key].objective, mdp, logits, num_generations=6) for key in (left, right)
    ]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, factor * b, rtol=1e-10, atol=1e-15)
    found = probe.draw_probe(mdp, logits, num_generations=6, seed=0)  # every group has a right and a wrong response
    samples = probe.batch(found, logits, logits)
    first, second = (weights(METHODS[key].objective, samples) for key in (left, right))
    np.testing.assert_allclose(first, factor * second, rtol=1e-10, atol=1e-15)
    if left == "gspo":
        moved = tuple(level + 0.3 * step for level, step in zip(logits, TabularPolicy().init(mdp, 9), strict=True))
        samples = probe.batch(found, moved, logits)
        first, second = (weights(METHODS[key].objective, samples) for key in (left, right))
        assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("beta", [0.5, 5.0])
def test_amplification_of_the_odds(words, beta):
    """T14: the policy that maximises E[A] - β KL to the reference has odds(p_ref) exp(1 / (β √(p (1 - p)))).

    A is the standardised reward at the previous policy's p. The maximiser is built from whole responses; its gradient
    on the tree vanishes, and its odds of success are the formula's.
    """
    mdp, reference = words
    before = TabularPolicy().init(mdp, 11)
    p = population.success_probability(mdp, before)
    spread = np.sqrt(p * (1 - p))[:, None, None]
    advantage = tree.on_endings(tuple((level - p[:, None, None]) / spread for level in population.success(mdp)))
    base = tree.policy(reference)
    # π ∝ π_ref exp(A / β) on responses is, step by step, π_ref(a|s) E[exp(A / β) | s, a] / E[exp(A / β) | s].
    tilt = tree.on_endings(tuple(np.exp(level / beta) for level in advantage))
    action, state = tree.expectation(base, tilt)
    best = tuple(pi * q / v[..., None] for pi, q, v in zip(base, action, state, strict=True))
    log_ratio = tuple(np.log(a) - np.log(b) for a, b in zip(best, base, strict=True))
    value = tuple(a - beta * k for a, k in zip(advantage, tree.returns(log_ratio), strict=True))
    slope = tree.logit_gradient(best, tree.expectation(best, value)[0])
    assert max(np.abs(level).max() for level in slope) < 1e-13
    p_ref = population.success_probability(mdp, reference)
    odds = p_ref / (1 - p_ref) * np.exp(1 / (beta * np.sqrt(p * (1 - p))))
    chance = flatten(tree.response_probability(best))
    right = mdp.response_rewards >= 1
    np.testing.assert_allclose((chance * right).sum(axis=1) / (chance * ~right).sum(axis=1), odds, rtol=1e-11)
    assert (odds > p_ref / (1 - p_ref)).all()
