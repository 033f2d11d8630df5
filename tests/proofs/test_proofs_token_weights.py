"""The weights of single tokens and the advantages that the theorems state are those that the code computes."""

from dataclasses import replace

import numpy as np
import pytest
from proofs_formulas import GRPO, SIZES, advantages, formula, functions, make_batch, theorem, weights
from sympy import Derivative, Symbol, sympify

from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import KL
from mdp_theory.methods.weights import credit_structure_index
from mdp_theory.precision import in_float64


@pytest.mark.parametrize("size", SIZES)
def test_t3_weights_on_own_samples(size):
    batch, length = make_batch(size, size)
    parts = functions("T3", "weight")
    weight = formula("T3", "weight", "A", "L", "G", put={parts["A"]: Symbol("A"), parts["L"]: Symbol("L")})
    expected = weight(advantages(GRPO, batch.reward), length, size)[:, None] * batch.mask
    np.testing.assert_allclose(weights(GRPO, batch), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_t7_weights_off_policy(seed):
    batch, length = make_batch(seed, 6, drift=0.4)
    ratio, advantage = np.exp(batch.logp - batch.old_logp), advantages(GRPO, batch.reward)[:, None]
    passes = np.where(advantage > 0, ratio <= 1.2, ratio >= 0.8)
    inside = formula("T7", "weight", "rho", "A", "L", "G")(ratio, advantage, length[:, None], 6)
    clipped = float(theorem("T7").result("clipped weight"))
    expected = np.where(passes, inside, clipped) * batch.mask
    assert 0 < (passes & (batch.mask > 0)).sum() < batch.mask.sum(), "both cases must occur"
    np.testing.assert_allclose(weights(GRPO, batch), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_t7_credit_structure_index(seed):
    """Of one response, for that is what the formula is about; another one of reward 0 makes the group."""
    batch, length = make_batch(seed, 2, drift=0.1, reward=[1.0, 0.0])
    objective = replace(GRPO, surrogate="ratio", clip=None)
    first = batch.mask * [[1.0], [0.0]]
    ratio = np.exp(batch.logp - batch.old_logp)[0, : length[0]]
    index = formula("T7", "index", "S_1", "S_2", "L")(ratio.sum(), (ratio**2).sum(), length[0])
    found = in_float64(credit_structure_index)(weights(objective, batch) * first, first)
    np.testing.assert_allclose(found, index, rtol=1e-8, atol=1e-14)


def test_t7_cosine_near_the_old_policy():
    """Half the second derivative of the squared cosine along a drift, against the cosine of the code's own weights."""
    batch, length = make_batch(3, 2, reward=[1.0, 0.0])
    steps = int(length[0])
    drift, norm = np.random.default_rng(1).normal(size=steps), np.random.default_rng(2).uniform(0.5, 2, steps)
    sums = [(norm * drift**power).sum() for power in range(3)]
    curvature = formula("T7", "cosine", "M_0", "M_1", "M_2")(*sums)

    def squared_cosine(size):
        moved = batch._replace(old_logp=batch.logp - size * np.pad(drift, (0, 6 - steps)) * np.array([[1.0], [0.0]]))
        w = weights(replace(GRPO, surrogate="ratio", clip=None), moved)[0, :steps]
        plain = weights(GRPO, batch)[0, :steps]
        return (w * plain * norm).sum() ** 2 / ((w**2 * norm).sum() * (plain**2 * norm).sum())

    assert (squared_cosine(1e-3) + squared_cosine(-1e-3) - 2) / 2e-6 == pytest.approx(float(curvature), rel=1e-4)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_t8_weights_of_the_kl_term(estimator):
    batch, length = make_batch(5, 4, reference=0.5)
    parts = functions("T8", estimator)
    score = next(iter(sympify(theorem("T8").result(estimator)).atoms(Derivative)))
    put = {score: 1, **{part: Symbol(name) for name, part in parts.items()}}
    slope = formula("T8", estimator, "pi", "pi_ref", put=put)(np.exp(batch.logp), np.exp(batch.ref_logp))
    beta = 0.3
    with_term = replace(GRPO, kl=KL(beta=beta, estimator=estimator))
    found = weights(with_term, batch) - weights(GRPO, batch)
    np.testing.assert_allclose(found, -beta * slope * batch.mask / (4 * length[:, None]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("drift", [0.0, 1e-4])
def test_t13_gspo(drift):
    batch, length = make_batch(7, 5, drift=drift)
    # One token's log-ratio x − x_old, and s, the sum of the others: together the drift of the response.
    total = ((batch.logp - batch.old_logp) * batch.mask).sum(axis=1)
    weight = formula("T13", "GSPO weight", "x", "x_old", "s", "L", "A")
    expected = weight(0.5 * total, 0.0, 0.5 * total, length, advantages(GRPO, batch.reward))[:, None] * batch.mask / 5
    np.testing.assert_allclose(weights(METHODS["gspo"].objective, batch), expected, rtol=1e-10)
    same = np.allclose(weights(METHODS["gspo"].objective, batch), weights(GRPO, batch), rtol=1e-8)
    assert same == (drift == 0.0)


def test_t13_raft_is_f_isft():
    batch, _ = make_batch(2, 6, drift=0.3)
    np.testing.assert_array_equal(
        weights(METHODS["raft"].objective, batch), weights(METHODS["f-isft-pos"].objective, batch)
    )


@pytest.mark.parametrize(("right", "wrong"), [(1, 1), (1, 4), (3, 2), (7, 1)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_t4_binary_advantages(right, wrong, ddof):
    suffix = " with ddof 1" if ddof else ""
    rule = replace(GRPO, advantage=replace(GRPO.advantage, ddof=ddof))
    found = advantages(rule, [1.0] * right + [0.0] * wrong)
    for value, name in ((found[0], "plus"), (found[-1], "minus")):
        assert value == pytest.approx(float(formula("T4", name + suffix, "k", "m")(right, wrong)), rel=1e-12)


def test_t4_equal_rewards():
    assert theorem("T4").result("equal rewards") == 0
    np.testing.assert_array_equal(advantages(GRPO, [1.0] * 4), 0)
    np.testing.assert_array_equal(advantages(GRPO, [0.0] * 4), 0)


@pytest.mark.parametrize("seed", range(4))
def test_t10_grpo_sees_the_others_through_mean_and_variance(seed):
    reward = np.random.default_rng(seed).choice([0.0, 0.1, 1.0], size=6)
    reward[:2] = 0.1, 1.0
    others = reward[1:]
    squared = formula("T10", "GRPO", "d", "g", "v")(reward[0] - others.mean(), len(others), others.var())
    assert advantages(GRPO, reward)[0] ** 2 == pytest.approx(float(squared), rel=1e-10)


def test_t10_above_the_mean():
    gap = formula("T10", "above the mean", "c", "g")(0.1, 4)
    assert gap > 0
    np.testing.assert_array_equal(advantages(METHODS["f-isft-pos-adv"].objective, [0, 0, 0, 0, 0.1]), [0, 0, 0, 0, 1])
