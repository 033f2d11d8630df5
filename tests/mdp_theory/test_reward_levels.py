"""Many reward levels and large groups: advantages from counts, and sums of powers in place of compositions."""

import itertools
import time
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from mdp_theory.check.report import report
from mdp_theory.exact import population, quadrature, rules
from mdp_theory.exact.groups import compositions, group_advantage, members_kept
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.powers import lattice
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.precision import in_float64
from mdp_theory.problems import zoo
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError

OUTCOME = {
    key: method.objective
    for key, method in METHODS.items()
    if method.objective.kl is None and method.objective.advantage.of_outcomes_alone
}
LEVELS = ([0.0, 0.1, 1.0], [-1.0, -0.5, 0.0, 2.0], [0.0, 1e-6, 1.0], [0.123, 0.5**0.5, 0.9])


def prepared(objective: Objective, horizon: int) -> Objective:
    if objective.needs_limit:
        return replace(objective, max_completion_length=horizon)
    return objective


def random_joint(levels, horizon, seed, prompts=2):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(len(levels) * horizon), size=prompts).reshape(prompts, len(levels), horizon)


@in_float64
def credited(objective, rewards):
    token = jnp.zeros((len(rewards), 1))
    batch = Batch(token, token, token, token + 1, jnp.asarray(rewards), jnp.zeros(len(rewards), dtype=jnp.int32))
    credit = assign_credit(objective, batch)
    return credit.advantage[:, 0], credit.scale[:, 0] > 0


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["reward", "correct", "above-mean"]),
    st.sampled_from(["none", "group-mean", "leave-one-out"]),
    st.sampled_from(["none", "group-std", "batch-std", "group-mean"]),
    st.sampled_from([(0, 0.0), (1, 1e-4)]),
    st.sampled_from(["all", "mixed-groups", "correct"]),
    st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.3, 1.0]), min_size=2, max_size=6),
)
def test_counts_decide_what_a_written_out_group_decides(outcome, baseline, scale, divisor, keep, rewards):
    ddof, eps = divisor
    advantage = Advantage(
        outcome=outcome, positive=0.7, negative=0.4, baseline=baseline, scale=scale, ddof=ddof, eps=eps
    )
    objective = Objective(
        advantage=advantage, surrogate="log-likelihood", aggregation="sequence-mean-token-sum", keep=keep
    )
    levels, place, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    expected, kept = credited(objective, rewards)
    np.testing.assert_allclose(group_advantage(advantage, levels, counts[None])[0, place], expected, atol=1e-12)
    np.testing.assert_array_equal(members_kept(objective, levels, counts[None])[0, place], kept)


def both(objective, levels, horizon, monkeypatch, *, size, groups=1, apart=False, joint):
    """The table by compositions and by powers."""
    tables = []
    for few in (10**9, 0):
        monkeypatch.setattr(rules, "FEW_COMPOSITIONS", few)
        rule = rules.rule_of(
            objective, levels, horizon, num_generations=size, groups=groups, apart=apart, chance=joint.sum(axis=2)
        )
        assert isinstance(rule.group, rules.Compositions) == bool(few)
        tables.append(rules.outcome_table(rule, joint, num_generations=size, groups=groups))
    return tables


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("key", sorted(OUTCOME))
def test_powers_equal_compositions(key, groups, monkeypatch):
    horizon = 3
    for number, values in enumerate(LEVELS):
        levels = np.array(values)
        joint = random_joint(levels, horizon, seed=number)
        options = {"size": 5 + number, "groups": groups, "joint": joint}
        if key.endswith("-adv") and values in (LEVELS[2], LEVELS[3]):
            with pytest.raises(AssertionError):  # no lattice: falls back on compositions
                both(prepared(OUTCOME[key], horizon), levels, horizon, monkeypatch, **options)
            continue
        one, other = both(prepared(OUTCOME[key], horizon), levels, horizon, monkeypatch, **options)
        np.testing.assert_allclose(other.weight, one.weight, atol=1e-12)
        np.testing.assert_allclose(other.share, one.share, atol=1e-12)


@pytest.mark.parametrize("key", ["rloo", "dr-grpo", "maxrl", "raft", "f-isft-pm-adv", "reinforce-rej"])
def test_powers_keep_the_sides_apart(key, monkeypatch):
    levels, horizon = np.array([-0.5, 0.0, 0.25, 1.0]), 2
    joint = random_joint(levels, horizon, seed=3)
    objective = prepared(OUTCOME[key], horizon)
    one, other = both(objective, levels, horizon, monkeypatch, size=6, apart=True, joint=joint)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(right, left, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-2, 2).map(lambda x: round(x, 4)), min_size=3, max_size=5, unique=True),
    st.integers(3, 9),
    st.sampled_from([(0, 0.0), (1, 0.0), (0, 1e-4), (1, 0.3)]),
    st.integers(0, 10**6),
)
def test_any_levels_standardised(levels, size, divisor, seed):
    levels = np.sort(np.array(levels))
    ddof, eps = divisor
    rule = Advantage(baseline="group-mean", scale="group-std", ddof=ddof, eps=eps)
    objective = Objective(advantage=rule, surrogate="log-likelihood", aggregation="token-mean")
    joint = random_joint(levels, 2, seed)
    with pytest.MonkeyPatch.context() as patch:
        one, other = both(objective, levels, 2, patch, size=size, joint=joint)
    np.testing.assert_allclose(other.weight, one.weight, atol=1e-11)


def test_eleven_levels_at_64_equal_the_law_of_sums_and_squares():
    """An independent way: rewards are tenths, so the sum and the sum of squares of 63 others are whole numbers."""
    size, levels = 64, np.arange(11) / 10
    chance = np.random.default_rng(5).dirichlet(np.ones(11))
    place = np.arange(11) - 5
    law = np.zeros((2 * 5 * size + 1, 25 * size + 1))
    law[5 * size, 0] = 1.0
    for _ in range(size - 1):
        step = np.zeros_like(law)
        for z, p in zip(place, chance, strict=True):
            moved = law[:, : law.shape[1] - z * z]
            step[:, z * z :] += p * np.roll(moved, z, axis=0)
        law = step
    total, square = np.arange(law.shape[0])[:, None] - 5 * size, np.arange(law.shape[1])[None]
    expected = []
    for z in place:
        s, q = total + z, square + z * z
        spread = q / size - (s / size) ** 2
        advantage = np.where(spread > 1e-12, (z - s / size) / np.sqrt(np.where(spread > 1e-12, spread, 1.0)), 0.0)
        expected.append((law * advantage).sum())
    objective = population.without_length(METHODS["grpo"].objective)
    rule = rules.rule_of(objective, levels, 1, num_generations=size, apart=False)
    found = rules.outcome_table(rule, chance[None, :, None], num_generations=size).weight[0, :, 0]
    np.testing.assert_allclose(found, expected, atol=1e-11)


@pytest.mark.parametrize(("number", "size"), [(11, 64), (3, 1024)])
def test_many_levels_and_large_groups_are_quick(number, size):
    levels = np.linspace(0, 1, number) if number > 3 else np.array([0.0, 0.1, 1.0])
    joint = random_joint(levels, 4, seed=1, prompts=1)
    objective = METHODS["grpo"].objective
    start = time.process_time()
    rule = rules.rule_of(objective, levels, 4, num_generations=size, apart=False)
    table = rules.outcome_table(rule, joint, num_generations=size)
    assert time.process_time() - start < 10  # 0.2 s on an idle machine; enumerated groups would take years
    assert np.isfinite(table.weight).all()
    # Advantages sum to zero in every group, so that the mean over levels and lengths is zero without 1/L.
    rule = rules.rule_of(population.without_length(objective), levels, 4, num_generations=size, apart=False)
    table = rules.outcome_table(rule, joint, num_generations=size)
    assert (table.weight * joint).sum() == pytest.approx(0, abs=1e-12)


def test_every_response_may_have_a_reward_of_its_own():
    """A continuous reward: 93 responses, as many levels; checked by the definition, a group at a time."""
    rng = np.random.default_rng(2)
    mdp = TokenMDP.from_function(
        "continuous",
        prompts=["p"],
        vocabulary=["a", "b", "<eos>"],
        eos="<eos>",
        horizon=3,
        reward=lambda prompt, tokens: float(rng.random()),
    )
    logits = TabularPolicy().init(mdp, 4)
    objective = population.without_length(METHODS["grpo"].objective)
    size = 4
    found = population.expected_gradient(objective, mdp, logits, num_generations=size)
    # By hand: 15 responses, 15^4 groups.
    reward, chance, scores = mdp.response_rewards[0], [], []
    probability = [level[0] for level in _policy(logits)]
    tokens, lengths = mdp.responses
    for words, length in zip(tokens, lengths, strict=True):
        score, p, prefix = [np.zeros(level.shape) for level in probability], 1.0, 0
        for depth in range(length):
            p *= probability[depth][prefix, words[depth]]
            score[depth][prefix] -= probability[depth][prefix]
            score[depth][prefix, words[depth]] += 1
            prefix = prefix * mdp.continuing + words[depth]
        chance.append(p)
        scores.append(np.concatenate([part.ravel() for part in score]))
    group = np.array(list(itertools.product(range(len(reward)), repeat=size)))
    r = reward[group]
    std = r.std(axis=1, keepdims=True)
    advantage = np.where(r.max(axis=1, keepdims=True) > r.min(axis=1, keepdims=True), (r - r.mean(1)[:, None]), 0.0)
    advantage = advantage / np.where(std > 0, std, 1.0)
    odds = np.array(chance)[group].prod(axis=1)
    weight = np.zeros(len(reward))
    for i in range(size):
        np.add.at(weight, group[:, i], odds * advantage[:, i] / size)
    expected = weight @ np.stack(scores)
    np.testing.assert_allclose(np.concatenate([level[0].ravel() for level in found]), expected, atol=1e-12)


def _policy(logits):
    odds = [np.exp(level - level.max(axis=-1, keepdims=True)) for level in logits]
    return [level / level.sum(axis=-1, keepdims=True) for level in odds]


def test_a_rule_that_is_neither_few_compositions_nor_powers_is_refused_with_the_reason():
    levels = np.sqrt(np.arange(2.0, 13.0))
    objective = METHODS["f-isft-pos-adv"].objective
    with pytest.raises(InputError, match="multiples of one step"):
        rules.rule_of(objective, levels, 1, num_generations=64)
    with pytest.raises(InputError, match=r"11 reward levels.*compositions.*apart"):
        rules.rule_of(METHODS["grpo"].objective, np.arange(11) / 10, 1, num_generations=64, apart=True)


@pytest.mark.parametrize("offset", [0.0, 1e-6, 0.5])
def test_roots_as_integrals(offset):
    t, weight = quadrature.inverse_root(1e-4, 40.0, offset=offset)
    for q in (1e-4, 3e-3, 1.0, 40.0):
        assert weight @ np.exp(-(t**2) * q) * (q**0.5 + offset) == pytest.approx(1, abs=1e-13)
    node, weight = quadrature.inverse(1e-3, 60.0)
    for x in (1e-3, 0.5, 60.0):
        assert weight @ np.exp(-x * node) * x == pytest.approx(1, abs=1e-13)


def test_trimmed_reciprocals_are_as_good():
    nodes, weights = quadrature.reciprocals(5000, 64)
    assert len(nodes) < len(quadrature.reciprocals(5000)[0])
    for denominator in (64, 65, 1000, 5000):
        assert weights @ nodes ** (denominator - 1) * denominator == pytest.approx(1, abs=1e-13)


def test_rewards_on_a_lattice():
    place, step = lattice(np.array([-0.1, 0.2, 0.35]))
    assert step == pytest.approx(0.15)
    np.testing.assert_array_equal(place, [0, 2, 3])
    with pytest.raises(InputError, match="round the rewards"):
        lattice(np.array([0.0, 2**0.5, 3**0.5]))


def test_compositions_equal_products():
    found = {tuple(row) for row in compositions(4, 3).tolist()}
    assert found == {row for row in itertools.product(range(5), repeat=3) if sum(row) == 4}


def noisy_weight(key, levels, chance, *, size, noise):
    objective = population.without_length(METHODS[key].objective)
    rule = rules.rule_of(objective, levels, 1, num_generations=size, apart=False, noise=noise)
    return rules.outcome_table(rule, chance[None, :, None], num_generations=size).weight[0, :, 0]


@pytest.mark.parametrize("noise", [1e-3, 0.2, 30.0])
def test_two_noisy_rewards_are_a_comparison(noise):
    """At G = 2 the advantage is the sign of the difference, whose expectation is in closed form."""
    levels, chance = np.array([0.0, 0.1, 1.0]), np.array([0.5, 0.2, 0.3])
    gap = levels[:, None] - levels
    expected = (2 * ndtr(gap / (noise * 2**0.5)) - 1) @ chance
    np.testing.assert_allclose(noisy_weight("grpo", levels, chance, size=2, noise=noise), expected, atol=1e-11)
    above = ndtr(gap / (noise * 2**0.5)) @ chance
    np.testing.assert_allclose(noisy_weight("f-isft-pos-adv", levels, chance, size=2, noise=noise), above, atol=1e-12)


def test_three_noisy_rewards_equal_an_integral_by_angles():
    """At G = 3 a group's deviation is an angle; the law of the angle is integrated by itself."""
    levels, chance, noise = np.array([0.0, 1.0]), np.array([0.6, 0.4]), 0.7
    angle = (np.arange(4000) + 0.5) * 2 * np.pi / 4000
    one, two = np.array([1, -1, 0]) / 2**0.5, np.array([1, 1, -2]) / 6**0.5
    around = np.cos(angle)[:, None] * one + np.sin(angle)[:, None] * two  # unit deviations from the mean
    expected = np.zeros(2)
    for own, i, j in itertools.product(range(2), repeat=3):
        mean = levels[[own, i, j]]
        a, centre = around @ mean / noise, np.array([mean @ one, mean @ two]) / noise
        # The density of the angle of a normal vector in the plane with this centre.
        density = (
            np.exp(-(centre @ centre) / 2) / (2 * np.pi)
            + a * np.exp((a**2 - centre @ centre) / 2) * ndtr(a) / (2 * np.pi) ** 0.5
        )
        expected[own] += chance[i] * chance[j] * (density * around[:, 0]).mean() * 2 * np.pi * 3**0.5
    np.testing.assert_allclose(noisy_weight("grpo", levels, chance, size=3, noise=noise), expected, atol=1e-10)


def test_noise_leaves_linear_rules_alone_and_vanishes():
    levels, chance = np.array([0.0, 0.1, 1.0]), np.array([0.5, 0.2, 0.3])
    for key in ("rloo", "dr-grpo", "reinforce"):
        np.testing.assert_allclose(
            noisy_weight(key, levels, chance, size=5, noise=0.3),
            noisy_weight(key, levels, chance, size=5, noise=0.0),
            atol=1e-14,
        )
    little, none = (noisy_weight("grpo", levels, chance, size=8, noise=noise) for noise in (1e-6, 0.0))
    np.testing.assert_allclose(little, none, atol=1e-9)
    with pytest.raises(InputError, match="continuous noise"):
        noisy_weight("maxrl", levels, chance, size=8, noise=0.1)


def test_a_problem_file_with_reward_noise(tmp_path):
    path = tmp_path / "noisy.toml"
    path.write_text(
        'name = "noisy"\nvocabulary = ["a", "<eos>"]\neos = "<eos>"\nhorizon = 2\nreward_noise = 0.5\n'
        '[[prompt]]\ntext = "p"\nrewards = { "a <eos>" = 1.0 }\n'
    )
    found = report(zoo.load(str(path)), num_generations=4, inner_steps=1)
    assert found["verified"]
    assert found["methods"]["maxrl"]["refused"]
    c = found["methods"]["grpo"]["c_without_length"][0]  # two levels leave one direction, noise or not
    assert 0 < c < population.coefficient(METHODS["grpo"].objective, np.array([0.25]), num_generations=4)[0]
