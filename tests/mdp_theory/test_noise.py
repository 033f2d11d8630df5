"""The noise of a group's gradient against enumeration of every group, and what theorem T17 says of it."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mdp_theory.check.claims import fitted
from mdp_theory.exact import noise, population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.controls import running_sum
from mdp_theory.problems.graph import from_control
from mdp_theory.problems.levels import flatten
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError

OUTCOME = [key for key, m in METHODS.items() if m.objective.advantage.of_outcomes_alone]
EXACT = [key for key in OUTCOME if METHODS[key].objective.aggregation != "token-mean"]


def random_mdp(seed, rewards):
    rng = np.random.default_rng(seed)
    return TokenMDP.from_function(
        "random",
        prompts=["p", "q"],
        vocabulary=["a", "<eos>"],
        eos="<eos>",
        horizon=3,
        reward=lambda prompt, tokens: float(rng.choice(rewards)),
    )


@in_float64
def enumerated(objective, mdp, logits, size, prompt):
    """Mean and second moment of the gradient over all groups; and of its mean given outcomes and lengths."""
    tokens, lengths = mdp.responses
    pi = tree.policy(logits)
    chance = flatten(tree.response_probability(pi))[prompt]
    scores = np.zeros((len(tokens), sum(level[0].size for level in logits)))
    for i, (row, length) in enumerate(zip(tokens, lengths, strict=True)):
        at, prefix = 0, 0
        for t in range(mdp.horizon):
            if t < length:
                start = at + prefix * len(mdp.vocabulary)
                scores[i, start : start + len(mdp.vocabulary)] -= pi[t][prompt, prefix]
                scores[i, start + row[t]] += 1
                prefix = prefix * mdp.continuing + row[t]
            at += logits[t][prompt].size
    rewards = mdp.response_rewards[prompt]
    mask = (np.arange(mdp.horizon) < lengths[:, None]).astype(float)
    mean, square = 0.0, 0.0
    given_outcomes = {}
    for group in product(range(len(tokens)), repeat=size):
        picked = list(group)
        zeros = np.zeros((size, mdp.horizon))
        credit = assign_credit(
            objective, Batch(zeros, zeros, zeros, mask[picked], rewards[picked], np.zeros(size, int))
        )
        weight = np.asarray(credit.advantage * credit.scale)[:, 0]
        p, g = chance[picked].prod(), weight @ scores[picked]
        mean, square = mean + p * g, square + p * g**2
        key = tuple(
            sorted(zip(rewards[picked], lengths[picked] if _uses_length(objective) else [0] * size, strict=True))
        )
        total, mass = given_outcomes.get(key, (0.0, 0.0))
        given_outcomes[key] = total + p * g, mass + p
    between = sum((total**2).sum() / mass for total, mass in given_outcomes.values()) - (mean**2).sum()
    return mean, square - mean**2, between


def _uses_length(objective):
    return objective.aggregation == "sequence-mean-token-mean"


@pytest.mark.parametrize("key", EXACT)
def test_every_rule_equals_the_enumeration_of_groups(key):
    mdp = random_mdp(1, [0.0, 1.0])
    logits = TabularPolicy().init(mdp, 1)
    objective = fitted(METHODS[key].objective, mdp)
    found = noise.group_noise(objective, mdp, logits, num_generations=3)
    for prompt in range(2):
        mean, variance, _ = enumerated(objective, mdp, logits, 3, prompt)
        exact = np.concatenate([level[prompt].ravel() for level in found.variance])
        np.testing.assert_allclose(exact, variance, rtol=1e-10, atol=1e-13)
        assert found.trace[prompt] == pytest.approx(variance.sum(), rel=1e-10, abs=1e-13)
        assert found.signal[prompt] == pytest.approx(mean @ mean, rel=1e-10, abs=1e-14)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), key=st.sampled_from(["grpo", "rloo", "maxrl", "f-isft-pm-adv", "reinforce-rej"]))
def test_three_reward_levels_equal_the_enumeration_of_groups(seed, key):
    mdp = random_mdp(seed, [0.0, 0.25, 1.0])
    logits = TabularPolicy().init(mdp, seed)
    found = noise.group_noise(METHODS[key].objective, mdp, logits, num_generations=2)
    mean, variance, _ = enumerated(METHODS[key].objective, mdp, logits, 2, 0)
    exact = np.concatenate([level[0].ravel() for level in found.variance])
    np.testing.assert_allclose(exact, variance, rtol=1e-10, atol=1e-13)
    assert found.signal[0] == pytest.approx(mean @ mean, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("key", ["grpo", "rloo", "mean-positive"])
def test_the_part_of_the_outcomes_equals_the_enumeration(key):
    mdp = random_mdp(4, [0.0, 1.0])
    logits = TabularPolicy().init(mdp, 4)
    objective = population.without_length(METHODS[key].objective)
    found = noise.group_noise(objective, mdp, logits, num_generations=3)
    for prompt in range(2):
        between = enumerated(objective, mdp, logits, 3, prompt)[2]
        assert found.outcome[prompt] == pytest.approx(between, rel=1e-9, abs=1e-13)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 12), key=st.sampled_from(OUTCOME))
def test_no_problem_is_below_the_floor(seed, size, key):
    mdp = random_mdp(seed, [0.0, 1.0])
    logits = TabularPolicy().init(mdp, seed)
    objective = population.without_length(METHODS[key].objective)
    p = population.success_probability(mdp, logits)
    assume(((p > 1e-6) & (p < 1 - 1e-6)).all())
    found = noise.group_noise(objective, mdp, logits, num_generations=size)
    floor = noise.noise_scale(objective, p, num_generations=size)
    np.testing.assert_allclose(found.outcome / found.signal, floor, rtol=1e-8, atol=1e-10)
    assert (found.scale >= floor * (1 - 1e-9)).all()


def test_a_problem_of_two_responses_has_no_other_noise():
    """One logit difference: the score is a function of the outcome, so the floor is reached."""
    mdp = zoo.load("one-token")
    two = TokenMDP.from_function(
        "coin", prompts=["p"], vocabulary=["a", "<eos>"], eos="<eos>", horizon=1, reward=lambda x, y: float(y == ("a",))
    )
    assert mdp.horizon == 1
    logits = (np.array([[[-2.0, 0.0]]]),)
    p = population.success_probability(two, logits)
    for key in ("grpo", "rloo", "reinforce"):
        objective = population.without_length(METHODS[key].objective)
        found = noise.group_noise(objective, two, logits, num_generations=6)
        np.testing.assert_allclose(found.scale, noise.noise_scale(objective, p, num_generations=6), rtol=1e-10)


@pytest.mark.parametrize("size", [2, 5, 16])
def test_floors_in_closed_form(size):
    p = np.array([0.01, 0.2, 0.5, 0.9])
    q = 1 - p

    def floor(key):
        return noise.noise_scale(METHODS[key].objective, p, num_generations=size)

    np.testing.assert_allclose(floor("reinforce"), q / (size * p), rtol=1e-10)
    np.testing.assert_allclose(
        floor("rloo"), 1 / (size * p * q) - (4 * size - 6) / (size * (size - 1)), rtol=1e-9, atol=1e-12
    )
    c = population.coefficient(METHODS["grpo"].objective, p, num_generations=size)
    np.testing.assert_allclose(floor("grpo"), (size - 1) / (size * p * q * c**2) - 1, rtol=1e-8, atol=1e-12)


def test_moments_have_the_coefficient_of_theorem_5_and_count_silent_groups():
    p = np.array([0.05, 0.4])
    for key in OUTCOME:
        found = noise.moments(METHODS[key].objective, p, num_generations=7)
        expected = population.coefficient(METHODS[key].objective, p, num_generations=7)
        np.testing.assert_allclose(found.coefficient, expected, rtol=1e-12)
    np.testing.assert_allclose(
        noise.moments(METHODS["grpo"].objective, p, num_generations=7).silent, p**7 + (1 - p) ** 7
    )
    np.testing.assert_allclose(noise.moments(METHODS["raft"].objective, p, num_generations=7).silent, (1 - p) ** 7)


def test_score_noise_adds_what_the_scores_add():
    """Scores of right and wrong responses that vary alike around their means, by construction: the formula is exact."""
    p, chi, size = 0.3, 2.5, 4
    rng = np.random.default_rng(0)
    objective = METHODS["rloo"].objective
    found = noise.noise_scale(objective, np.array([p]), num_generations=size, score_noise=chi)[0]
    # In the units of ‖∇p‖: a right score is 1/p, a wrong one −1/(1−p), and across them a variance of χ/(p(1−p)).
    draws = 400_000
    right = rng.random((draws, size)) < p
    along = np.where(right, 1 / p, -1 / (1 - p))
    across = rng.standard_normal((draws, size)) * (chi / (p * (1 - p))) ** 0.5
    advantage = size / (size - 1) * (right - right.mean(axis=1, keepdims=True))
    g = np.stack([(advantage * along).mean(axis=1), (advantage * across).mean(axis=1)], axis=1)
    assert g.var(axis=0).sum() == pytest.approx(found, rel=0.01)


def test_batches_of_prompts_equal_their_definition():
    mdp = zoo.load("prompt-mixture")
    logits = TabularPolicy().init(mdp, 0)
    found = noise.group_noise(METHODS["rloo"].objective, mdp, logits, num_generations=4)
    gradient = population.expected_gradient(METHODS["rloo"].objective, mdp, logits, num_generations=4)
    mean = sum(((mdp.prompt_probability[:, None, None] * level) ** 2).sum() for level in gradient)
    one, many = (noise.batch_noise(found, mdp, prompts=n) for n in (1, 10))
    assert one["signal"] == pytest.approx(mean, rel=1e-12)
    assert one["trace"] == pytest.approx(mdp.prompt_probability @ (found.trace + found.signal) - mean, rel=1e-12)
    assert many["scale"] == pytest.approx(one["scale"] / 10, rel=1e-12)


def test_groups_needed():
    assert noise.groups_needed(2.0, 0.5) == 2.0
    assert noise.groups_needed(2.0, 0.9) == pytest.approx(18.0)
    with pytest.raises(InputError):
        noise.groups_needed(2.0, 1.0)


@pytest.mark.parametrize(("key", "match"), [("ppo", "critic"), ("dapo", "denominator")])
def test_what_is_not_exact_is_refused(key, match):
    mdp = random_mdp(0, [0.0, 1.0])
    with pytest.raises(InputError, match=match):
        noise.group_noise(METHODS[key].objective, mdp, mdp.rewards, num_generations=2)
    with pytest.raises(InputError, match="0 and at 1"):
        noise.noise_scale(METHODS["grpo"].objective, np.array([0.0]), num_generations=2)


def paths(mdp, logits, depth, state):
    """(probability, reward, score in all logits) of every way on from a state of a graph."""
    pi = tree.policy(logits)[depth][0, state]
    for token, chance in enumerate(pi):
        score = [np.zeros_like(level[0]) for level in logits]
        score[depth][state] = (np.arange(len(pi)) == token) - pi
        own = np.concatenate([level.ravel() for level in score])
        if mdp.ends(depth)[token]:
            yield chance, mdp.rewards[depth][0, state, token], own
            continue
        for after, move in zip(mdp.moves.to[state, token], mdp.moves.chance[state, token], strict=True):
            for more, reward, rest in paths(mdp, logits, depth + 1, after):
                yield chance * move * more, reward, own + rest


@pytest.mark.parametrize("slip", [0.0, 0.25])
def test_states_that_recombine_equal_the_enumeration_of_groups(slip):
    """Histories share logits here, and the environment moves at random."""
    mdp = from_control(running_sum("sum", modulus=2, horizon=3, slip=slip))
    rng = np.random.default_rng(1)
    logits = tuple(rng.standard_normal(level.shape) for level in mdp.rewards)
    found = noise.group_noise(METHODS["rloo"].objective, mdp, logits, num_generations=2)
    outcomes = list(paths(mdp, logits, 0, mdp.moves.start[0]))
    assert sum(chance for chance, _, _ in outcomes) == pytest.approx(1, abs=1e-12)
    mean, square = 0.0, 0.0
    for (p1, r1, s1), (p2, r2, s2) in product(outcomes, repeat=2):
        g = ((r1 - r2) * s1 + (r2 - r1) * s2) / 2
        mean, square = mean + p1 * p2 * g, square + p1 * p2 * g**2
    exact = np.concatenate([level[0].ravel() for level in found.variance])
    np.testing.assert_allclose(exact, square - mean**2, rtol=1e-10, atol=1e-13)
    assert found.signal[0] == pytest.approx(mean @ mean, rel=1e-10)
