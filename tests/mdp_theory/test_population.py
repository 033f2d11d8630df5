"""The closed forms against brute force: every group enumerated, the loss itself differentiated."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pulled_back import parameter_gradient

from mdp_theory.exact import population, quadrature, rules
from mdp_theory.exact.groups import compositions
from mdp_theory.exact.policy import SharedPolicy, TabularPolicy
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.loss import loss
from mdp_theory.methods.objectives import KL, Advantage, Clip, Objective
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError

# Advantages that hold lengths are in no table over outcomes; they are refused, see below.
REFUSED = ("opo", "reinforce-pp", "reinforce-pp-baseline", "dapo-overlong")
ON_POLICY = tuple(key for key in METHODS if key not in REFUSED)


def small_mdp(levels, *, prompts: int = 1, horizon: int = 2, letters: int = 2, seed: int = 0) -> TokenMDP:
    """Random rewards from `levels` on a tree small enough to enumerate groups."""
    rng = np.random.default_rng(seed)
    vocabulary = [chr(97 + i) for i in range(letters)] + ["<eos>"]
    return TokenMDP.from_function(
        "small",
        prompts=[f"p{i}" for i in range(prompts)],
        vocabulary=vocabulary,
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.choice(levels)),
        probability={"p0": 0.3, "p1": 0.7} if prompts == 2 else None,
    )


def binomial(k, n, p):
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def prepared(objective: Objective, mdp: TokenMDP) -> Objective:
    if objective.needs_limit:
        return replace(objective, max_completion_length=mdp.horizon)
    return objective


def all_responses(mdp: TokenMDP) -> tree.Sample:
    """Every response of every prompt, as if sampled."""
    tokens, lengths = mdp.responses
    mask = (np.arange(mdp.horizon) < lengths[:, None]).astype(float)
    prefix = np.zeros_like(tokens)
    for t in range(1, mdp.horizon):
        prefix[:, t] = prefix[:, t - 1] * mdp.continuing + tokens[:, t - 1]
    prefix = np.where(mask > 0, prefix, 0)
    count = len(mdp.prompts)
    return tree.Sample(
        np.repeat(np.arange(count), len(tokens)),
        np.tile(np.where(mask > 0, tokens, 0), (count, 1)),
        np.tile(prefix, (count, 1)),
        np.tile(mask, (count, 1)),
    )


@in_float64
def enumerated_gradient(objective, mdp, logits, *, size, groups=1, old_logits=None, ref_logits=None, value=None):
    """-∇ E[loss] over all batches of `groups` groups of `size` responses; one entry a prompt, times its probability."""
    drawn = all_responses(mdp)
    old = tree.along(tree.log_policy(logits if old_logits is None else old_logits), drawn)
    given = np.exp(old.sum(axis=1))
    per_prompt = len(drawn.prompt) // len(mdp.prompts)
    one_group = [
        rows
        for x in range(len(mdp.prompts))
        for rows in itertools.product(range(x * per_prompt, (x + 1) * per_prompt), repeat=size)
    ]
    batches = np.array([sum(b, ()) for b in itertools.product(one_group, repeat=groups)])
    # The prompt is drawn once for the group, the responses given the prompt.
    chance = given[batches].prod(axis=1)
    chance *= mdp.prompt_probability[drawn.prompt[batches[:, ::size]]].prod(axis=1)
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    reward = mdp.response_rewards.ravel()
    group = jnp.repeat(jnp.arange(groups), size)
    ref = tree.along(tree.log_policy(ref_logits if ref_logits is not None else logits), drawn)
    critic = None if value is None else tree.along_states(value, drawn)

    def total(theta):
        logp = tree.along(tree.log_policy(theta), drawn)

        def one(rows):
            batch = Batch(
                logp[rows],
                jnp.asarray(old)[rows],
                jnp.asarray(ref)[rows],
                jnp.asarray(drawn.mask)[rows],
                jnp.asarray(reward)[rows],
                group,
                None if critic is None else jnp.asarray(critic)[rows],
            )
            return loss(objective, batch)

        return -(jnp.asarray(chance) * jax.lax.map(one, jnp.asarray(batches), batch_size=512)).sum()

    return jax.jit(jax.grad(total))(tuple(jnp.asarray(level) for level in logits))


def assert_same(actual, expected, mdp, rtol=1e-12):
    mixed = [level * mdp.prompt_probability[:, None, None] for level in actual]
    scale = max(np.abs(level).max() for level in expected)
    for left, right in zip(mixed, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=rtol * max(scale, 1e-3))


@pytest.mark.parametrize("key", ON_POLICY)
def test_every_catalogued_method_equals_brute_force(key):
    mdp = small_mdp([0.0, 0.1, 1.0], seed=1)
    logits = TabularPolicy().init(mdp, 5)
    objective = prepared(METHODS[key].objective, mdp)
    ref = TabularPolicy().init(mdp, 6)
    value = tree.visits(tree.policy(TabularPolicy().init(mdp, 7)))  # any numbers: a critic that is wrong
    critic = value if objective.advantage.estimator == "gae" else None
    exact = population.expected_gradient(objective, mdp, logits, num_generations=3, ref_logits=ref, value=critic)
    brute = enumerated_gradient(objective, mdp, logits, size=3, ref_logits=ref, value=critic)
    assert max(np.abs(level).max() for level in brute) > 1e-4
    assert_same(exact, brute, mdp)


OFF_POLICY = {
    key: m.objective
    for key, m in METHODS.items()
    if m.objective.advantage.of_outcomes_alone and m.objective.of_ratios_alone
}
OFF_POLICY |= {
    "dual clip": replace(METHODS["grpo"].objective, clip=Clip(low=0.1, high=0.2, dual=1.3)),
    "sequence-token ratio": replace(METHODS["gspo"].objective, importance_sampling_level="sequence-token"),
    "unclipped response ratio": Objective(
        advantage=Advantage(baseline="leave-one-out"),
        surrogate="ratio",
        importance_sampling_level="sequence-product",
        aggregation="sequence-mean-token-sum",
    ),
    "k1": replace(METHODS["grpo"].objective, kl=KL(beta=0.3, estimator="k1")),
    "k2 with the wrong sign": replace(METHODS["dapo"].objective, kl=KL(beta=0.3, estimator="k2", sign=-1)),
}


@pytest.mark.parametrize("key", OFF_POLICY)
def test_after_the_policy_has_moved_the_gradient_equals_brute_force(key):
    mdp = small_mdp([0.0, 1.0], seed=3)
    objective = prepared(OFF_POLICY[key], mdp)
    old = TabularPolicy().init(mdp, 5)
    now = tuple(level + 0.3 * step for level, step in zip(old, TabularPolicy().init(mdp, 9), strict=True))
    options = {"old_logits": old, "ref_logits": TabularPolicy().init(mdp, 6)}
    exact = population.expected_gradient(objective, mdp, now, num_generations=3, **options)
    assert_same(exact, enumerated_gradient(objective, mdp, now, size=3, **options), mdp)


@pytest.mark.parametrize("key", ["gmpo", "dppo-tv", "dppo-kl"])
def test_what_no_single_ratio_decides_is_refused_off_policy(key):
    mdp = small_mdp([0.0, 1.0], seed=3)
    old, now = (TabularPolicy().init(mdp, seed) for seed in (5, 9))
    with pytest.raises(InputError, match="not exact off-policy"):
        population.expected_gradient(prepared(METHODS[key].objective, mdp), mdp, now, num_generations=3, old_logits=old)


@pytest.mark.parametrize("key", ["grpo", "dapo", "sft", "reinforce-rej", "cispo", "dr-grpo"])
def test_two_groups_with_different_prompts_equal_brute_force(key):
    mdp = small_mdp([0.0, 1.0], prompts=2, seed=2)
    logits = TabularPolicy().init(mdp, 8)
    objective = prepared(METHODS[key].objective, mdp)
    exact = population.expected_gradient(objective, mdp, logits, num_generations=2, groups=2)
    brute = enumerated_gradient(objective, mdp, logits, size=2, groups=2)
    assert_same(exact, brute, mdp)


def table_of_theorem_5(p, size):
    """c(p) as the theory states it, with ∇p from the plain definition of each rule; independent of compositions."""
    root = sum(binomial(k, size, p) * math.sqrt(k * (size - k)) for k in range(size + 1))
    grpo = root / (size * p * (1 - p))
    return {
        "reinforce": 1.0,
        "rloo": 1.0,
        "psr": 1.0,
        "nsr": 1.0,
        "w-reinforce": 1.1,
        "raft": 1.0,
        "f-isft-pos": 1.0,
        "f-isft-neg": 1.0,
        "f-isft-pm": 2.0,
        "dr-grpo": (size - 1) / size,
        "grpo": grpo,
        "gspo": grpo,
        "dapo": grpo,
        "cispo": grpo,
        "f-isft-pos-adv": 1 - p ** (size - 1),
        "f-isft-neg-adv": 1 - (1 - p) ** (size - 1),
        "f-isft-pm-adv": 0.5 * (1 - p ** (size - 1)) + 0.5 * (1 - (1 - p) ** (size - 1)),
        "mean-positive": (1 - (1 - p) ** size) / p,
        "maxrl": (1 - (1 - p) ** (size - 1)) / p,
        "reinforce-rej": 2 - p ** (size - 1) - (1 - p) ** (size - 1),
    }


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_coefficients_are_those_of_the_table(size):
    p = np.array([1e-4, 0.05, 0.3, 0.5, 0.9, 0.999])
    tables = [table_of_theorem_5(x, size) for x in p]
    for key in tables[0]:
        actual = population.coefficient(METHODS[key].objective, p, num_generations=size)
        np.testing.assert_allclose(actual, [table[key] for table in tables], rtol=2e-12, err_msg=key)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_effective_objectives_are_those_of_theorem_6(size):
    p = np.array([0.02, 0.4, 0.97])
    expected = {
        "reinforce": p,
        "dr-grpo": p * (size - 1) / size,
        "mean-positive": sum((1 - (1 - p) ** j) / j for j in range(1, size + 1)),
        "f-isft-pos-adv": p - p**size / size,
    }
    for key, phi in expected.items():
        actual = population.effective_objective(METHODS[key].objective, p, num_generations=size)
        np.testing.assert_allclose(actual, phi, rtol=1e-12, err_msg=key)


def test_grpo_tends_to_the_arcsine():
    p = np.array([0.1, 0.5, 0.8])
    limit = 2 * np.arcsin(np.sqrt(p))
    gaps = [
        np.abs(population.effective_objective(METHODS["grpo"].objective, p, num_generations=size) - limit).max()
        for size in (4, 16, 64, 256)
    ]
    assert all(later < 0.6 * earlier for earlier, later in itertools.pairwise(gaps))


@pytest.mark.parametrize("p", [0.07, 0.5])
def test_weights_of_theorem_9(p):
    size, lengths = 5, np.array([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
    joint = (np.array([1 - p, p])[:, None] * lengths)[None]
    rule = rules.rule_of(METHODS["grpo"].objective, np.array([0.0, 1.0]), 3, num_generations=size)
    table = rules.outcome_table(rule, joint, num_generations=size)
    others = range(size)
    right = sum(binomial(k, size - 1, p) * math.sqrt((size - 1 - k) / (k + 1)) for k in others)
    wrong = -sum(binomial(k, size - 1, p) * math.sqrt(k / (size - k)) for k in others)
    np.testing.assert_allclose(table.weight[0, 1], right / np.array([1, 2, 3]), rtol=1e-12)
    np.testing.assert_allclose(table.weight[0, 0], wrong / np.array([1, 2, 3]), rtol=1e-12)
    assert p * right + (1 - p) * wrong == pytest.approx(0, abs=1e-14)


WITHOUT_LENGTH = ["grpo", "rloo", "maxrl", "f-isft-pm-adv", "dapo", "reinforce-rej", "sft"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(2, 6),
    letters=st.integers(1, 3),
    horizon=st.integers(2, 4),
    key=st.sampled_from(WITHOUT_LENGTH),
)
def test_binary_rewards_leave_one_direction(seed, size, letters, horizon, key):
    objective = population.without_length(METHODS[key].objective)
    mdp = small_mdp([0.0, 1.0], letters=letters, horizon=horizon, seed=seed)
    assume(len(mdp.reward_levels) == 2)
    logits = TabularPolicy().init(mdp, seed)
    gradient = population.expected_gradient(objective, mdp, logits, num_generations=size)
    found = population.direction(gradient, population.success_gradient(mdp, logits))
    p = population.success_probability(mdp, logits)
    c = population.coefficient(objective, p, num_generations=size)
    np.testing.assert_allclose(found.coefficient, c, rtol=1e-10)
    assert found.residual.max() < 1e-10


@pytest.mark.parametrize("key", WITHOUT_LENGTH)
def test_a_third_reward_level_loses_the_direction(key):
    mdp = small_mdp([0.0, 0.1, 1.0], horizon=3, seed=6)
    assert len(mdp.reward_levels) == 3
    logits = TabularPolicy().init(mdp, 6)
    objective = population.without_length(METHODS[key].objective)
    gradient = population.expected_gradient(objective, mdp, logits, num_generations=4)
    residual = population.direction(gradient, population.success_gradient(mdp, logits)).residual
    if key == "sft":  # correct responses alone take part, and weigh the same: partial credit is never seen
        assert residual.max() < 1e-12
    else:
        assert residual.min() > 1e-3


def test_shared_parameters_get_the_pulled_back_gradient():
    mdp = small_mdp([0.0, 1.0], prompts=2, seed=4)
    policy = SharedPolicy(width=3)
    params = policy.init(mdp, 2)
    objective = METHODS["grpo"].objective
    levels = population.expected_gradient(objective, mdp, policy.logits(params, mdp), num_generations=2)
    actual = parameter_gradient(policy, params, mdp, levels)
    brute = shared_enumerated_gradient(objective, mdp, policy, params, size=2)
    for left, right in zip(actual, brute, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-14)


@in_float64
def shared_enumerated_gradient(objective, mdp, policy, params, *, size):
    """-∇ E[loss] in shared parameters, by finite sums over groups and autodiff through the network."""
    drawn = all_responses(mdp)
    per_prompt = len(drawn.prompt) // len(mdp.prompts)
    batches = np.array(
        [
            rows
            for x in range(len(mdp.prompts))
            for rows in itertools.product(range(x * per_prompt, (x + 1) * per_prompt), repeat=size)
        ]
    )
    old = tree.along(tree.log_policy(policy.logits(params, mdp)), drawn)
    chance = np.exp(old.sum(axis=1))[batches].prod(axis=1) * mdp.prompt_probability[drawn.prompt[batches[:, 0]]]
    reward = jnp.asarray(mdp.response_rewards.ravel())

    def total(q):
        logp = tree.along(tree.log_policy(policy.logits(q, mdp)), drawn)

        def one(rows):
            old_logp = jnp.asarray(old)[rows]
            mask = jnp.asarray(drawn.mask)[rows]
            group = jnp.zeros(size, dtype=int)
            return loss(objective, Batch(logp[rows], old_logp, old_logp, mask, reward[rows], group))

        return -(chance * jax.lax.map(one, jnp.asarray(batches), batch_size=512)).sum()

    return jax.jit(jax.grad(total))(jax.tree.map(jnp.asarray, params))


def test_a_k1_term_in_the_loss_moves_nothing_unless_the_length_divides_it():
    """Its weight is the same for every token, and scores have mean zero; with 1/L it descends β E[1/L] instead."""
    mdp = small_mdp([0.0, 1.0], horizon=3, seed=5)
    logits, ref = TabularPolicy().init(mdp, 1), TabularPolicy().init(mdp, 2)
    plain = METHODS["grpo"].objective
    penalised = replace(plain, kl=KL(beta=0.3, estimator="k1"))
    options = {"num_generations": 4, "ref_logits": ref}

    def added(with_kl, without_kl):
        left = population.expected_gradient(with_kl, mdp, logits, **options)
        right = population.expected_gradient(without_kl, mdp, logits, **options)
        return tuple(a - b for a, b in zip(left, right, strict=True))

    nothing = added(population.without_length(penalised), population.without_length(plain))
    assert max(np.abs(level).max() for level in nothing) < 1e-15
    probability = tree.policy(logits)
    inverse = tree.on_endings(tuple(np.full_like(level, 1 / (d + 1)) for d, level in enumerate(logits)))
    climbs = tree.logit_gradient(probability, tree.expectation(probability, inverse)[0])
    for left, right in zip(added(penalised, plain), climbs, strict=True):
        np.testing.assert_allclose(left, -0.3 * right, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("largest", "error"), [(1, 1e-15), (7, 1e-15), (1280, 3e-15), (100_000, 1e-12)])
def test_the_quadrature_gives_reciprocals(largest, error):
    nodes, weights = quadrature.reciprocals(largest)
    for denominator in {1, 2, 3, largest // 2 + 1, largest}:
        if denominator <= largest:
            assert (weights @ nodes ** (denominator - 1)) * denominator == pytest.approx(1, abs=error)


def test_compositions_are_all_there_once():
    found = compositions(5, 3)
    assert len(found) == len({tuple(row) for row in found}) == math.comb(7, 2)
    assert (found.sum(axis=1) == 5).all()
    assert (found >= 0).all()
    with pytest.raises(InputError, match="the limit is 1,000,000"):
        compositions(64, 10)


@pytest.mark.parametrize("key", REFUSED)
def test_advantages_that_hold_lengths_are_refused(key):
    mdp = small_mdp([0.0, 1.0])
    logits = TabularPolicy().init(mdp, 0)
    with pytest.raises(InputError, match=r"lengths of the other responses|punishment of long responses"):
        population.expected_gradient(prepared(METHODS[key].objective, mdp), mdp, logits, num_generations=2)


def test_what_does_not_depend_on_outcomes_alone_is_refused():
    mdp = small_mdp([0.0, 1.0])
    logits = TabularPolicy().init(mdp, 0)
    in_reward = replace(METHODS["grpo"].objective, kl=KL(beta=0.1, placement="reward"))
    with pytest.raises(InputError, match="inside the reward"):
        population.expected_gradient(in_reward, mdp, logits, num_generations=2)
    coupled = replace(METHODS["grpo"].objective, advantage=Advantage(baseline="group-mean", scale="batch-std"))
    with pytest.raises(InputError, match="couples 2 groups"):
        population.expected_gradient(coupled, mdp, logits, num_generations=2, groups=2)
    moved = TabularPolicy().init(mdp, 1)
    with pytest.raises(InputError, match="critic"):
        population.expected_gradient(METHODS["ppo"].objective, mdp, logits, num_generations=2, old_logits=moved)


KL_IN_REWARD = [
    ("reinforce", "k1", "sequence-mean-token-sum", 1, False),
    ("rloo", "k1", "sequence-mean-token-sum", 1, False),
    ("rloo", "k3", "sequence-mean-token-mean", 1, True),
    ("rloo", "k2", "token-mean", 1, True),
    ("dr-grpo", "k1", "token-mean", 1, False),
    ("rloo", "k1", "token-mean", 2, False),
    ("reinforce", "k3", "token-mean", 2, False),
]


@pytest.mark.parametrize(("key", "estimator", "aggregation", "groups", "moved"), KL_IN_REWARD)
def test_a_kl_term_in_a_linear_reward_equals_brute_force(key, estimator, aggregation, groups, moved):
    mdp = small_mdp([0.0, 0.1, 1.0], seed=1, letters=1 if groups > 1 else 2, prompts=groups)
    kl = KL(beta=0.4, estimator=estimator, placement="reward")
    objective = replace(METHODS[key].objective, aggregation=aggregation, kl=kl)
    logits, ref = TabularPolicy().init(mdp, 5), TabularPolicy().init(mdp, 6)
    old = TabularPolicy().init(mdp, 8) if moved else None
    size = 2 if groups > 1 else 3
    options = {"ref_logits": ref, "old_logits": old, "groups": groups}
    exact = population.expected_gradient(objective, mdp, logits, num_generations=size, **options)
    plain = population.expected_gradient(replace(objective, kl=None), mdp, logits, num_generations=size, **options)
    assert max(np.abs(a - b).max() for a, b in zip(exact, plain, strict=True)) > 1e-3
    assert_same(exact, enumerated_gradient(objective, mdp, logits, size=size, **options), mdp)


def test_token_mean_over_many_groups_stays_accurate():
    # Denominators up to 9,600.
    p, horizon, size, groups = 0.3, 20, 4, 120
    rng = np.random.default_rng(0)
    lengths = rng.dirichlet(np.ones(horizon), size=2)
    joint = (np.array([1 - p, p])[:, None] * lengths)[None]
    options = {"num_generations": size, "groups": groups}
    rule = rules.rule_of(METHODS["cispo"].objective, np.array([0.0, 1.0]), horizon, **options)
    table = rules.outcome_table(rule, joint, **options)
    # Naive: the distribution of the total length of the others, by convolution; one composition of the own group.
    rest = np.array([1.0])
    one = joint[0].sum(axis=0)
    for _ in range(size * (groups - 1)):
        rest = np.convolve(rest, np.concatenate([[0.0], one]))
    expected = 0.0
    for k in range(size):  # correct ones among the others of a correct member
        others = np.array([binomial(k, size - 1, p)])
        for j in range(size - 1):
            others = np.convolve(others, np.concatenate([[0.0], lengths[int(j < k)]]))
        total = np.convolve(others, rest)
        mean = (k + 1) / size
        advantage = (1 - mean) / math.sqrt(mean * (1 - mean)) if k + 1 < size else 0.0
        expected += advantage * (total / (np.arange(len(total)) + 7)).sum()
    assert table.weight[0, 1, 6] == pytest.approx(size * groups * expected, rel=1e-12)
