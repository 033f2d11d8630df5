"""The formula that the kernel proved, the one that SymPy proved and the number that the code computes, side by side.

The kernel's are the terms that Coq prints, not typed here (`proofs_gallina.py`). Both sides of its equations are
computed, the left one from the definitions: sums over all outcomes of a group.
"""

from fractions import Fraction

import numpy as np
import pytest
from proofs_formulas import GRPO, advantages, formula, functions, make_batch, theorem, weights
from proofs_gallina import Kernel, strict
from sympy import Symbol, lambdify
from sympy.core.function import AppliedUndef

from mdp_theory.exact import population
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.weights import credit_structure_index
from mdp_theory.precision import in_float64

pytestmark = pytest.mark.slow  # Coq evaluates term after term: minutes; test_kernel_ties_groups.py has some every day

P = Fraction(3, 10)
SIZES = (2, 3, 4)
SCALARS = {
    "t5_reinforce": ("REINFORCE", "reinforce"),
    "t5_negatives": ("negatives", "f-isft-neg"),
    "t5_cross_entropy_pm": ("cross-entropy ±", "f-isft-pm"),
    "t5_dr_grpo": ("Dr. GRPO", "dr-grpo"),
    "t5_rloo": ("RLOO", "rloo"),
    "t5_grpo": ("GRPO", "grpo"),
    "t5_mean_over_positives": ("mean over positives", "mean-positive"),
    "t5_maxrl": ("MaxRL", "maxrl"),
    "t5_f_isft": ("F-ISFT, advantage form", "f-isft-pm-adv"),
}


@pytest.fixture(scope="module")
def kernel(compiled):
    found = Kernel(compiled[0])
    found.learn(
        theorems=["t4_advantages", *SCALARS, "t9_zero_sum", "t7_index"],
        definitions=["grpo_right", "grpo_wrong", "advantage_over_length", "off_policy_weights", "k1", "k2", "k3"],
    )
    return found


def close(*values, **tolerance):
    for value in values[1:]:
        np.testing.assert_allclose(np.array(value, float), np.array(values[0], float), **{"rtol": 1e-11} | tolerance)


@pytest.mark.parametrize("right", range(5))
def test_t4_advantages(kernel, right):
    size = 4
    outcomes = [i < right for i in range(size)]
    group = strict(lambda i: outcomes[i], 1)
    sides = np.array([kernel.sides("t4_advantages", G=size, b=group, i=i) for i in range(size)], float)
    plus, minus = (formula("T4", name, "k", "m") for name in ("plus", "minus"))
    wrong = size - right
    symbolic = [(plus if good else minus)(right, wrong) if right and wrong else 0.0 for good in outcomes]
    close(advantages(GRPO, outcomes), *sides.T, symbolic)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("claim", SCALARS)
def test_t5_scalars(kernel, claim, size):
    result, key = SCALARS[claim]
    proved = kernel.sides(claim, n=size - 1, p=P, alpha=Fraction(1, 2))
    symbolic = formula("T5", result, "p", "q", "G", "alpha")(float(P), float(1 - P), size, 0.5)
    close(
        population.coefficient(METHODS[key].objective, np.array([float(P)]), num_generations=size)[0], *proved, symbolic
    )


@pytest.mark.parametrize("size", SIZES)
def test_t9_weights(kernel, size):
    right, wrong = (kernel.constant(name, None, size - 1, P) for name in ("grpo_right", "grpo_wrong"))
    close(right, formula("T5", "GRPO w1", "p", "q", "G")(float(P), float(1 - P), size))
    close(wrong, formula("T5", "GRPO w0", "p", "q", "G")(float(P), float(1 - P), size))
    close(population.coefficient(GRPO, np.array([float(P)]), num_generations=size)[0], right - wrong)
    close(0.0, *kernel.sides("t9_zero_sum", n=size - 1, p=P), atol=1e-14)


def responses(length):
    """A token of its own for each place, so that a policy is a table of tokens."""
    return [[(i, t) for t in range(n)] for i, n in enumerate(length)]


def policy(logp):
    return strict(lambda _, token: float(np.exp(logp[token])), 2)


@pytest.mark.parametrize("seed", range(3))
def test_t3_weights(kernel, seed):
    batch, length = make_batch(seed, 5)
    members, found = responses(length), np.zeros_like(batch.mask)
    advantage = advantages(GRPO, batch.reward)
    for i, t in (place for member in members for place in member):
        given = (strict(lambda i: float(advantage[i]), 1), strict(lambda i: members[i], 1), i, t)
        found[i, t] = kernel.constant("advantage_over_length", *[None] * 5, *given) / 5
    parts = functions("T3", "weight")
    symbolic = formula("T3", "weight", "A", "L", "G", put={parts["A"]: Symbol("A"), parts["L"]: Symbol("L")})
    close(weights(GRPO, batch), found, symbolic(advantage, length, 5)[:, None] * batch.mask)


@pytest.mark.parametrize("seed", range(3))
def test_t7_weights(kernel, seed):
    batch, length = make_batch(seed, 5, drift=0.4)
    members, found = responses(length), np.zeros_like(batch.mask)
    advantage, ratio = advantages(GRPO, batch.reward), np.exp(batch.logp - batch.old_logp)
    symbolic = np.zeros_like(found)
    inside = formula("T7", "weight", "rho", "A", "L", "G")
    for i, t in (place for member in members for place in member):
        given = (strict(lambda _: policy(batch.logp), 1), None, 0.2, 0.2, policy(batch.old_logp))
        given += (strict(lambda i: float(advantage[i]), 1), strict(lambda i: members[i], 1), i, t)
        found[i, t] = kernel.constant("off_policy_weights", *[None] * 6, *given) / 5
        passes = ratio[i, t] <= 1.2 if advantage[i] > 0 else ratio[i, t] >= 0.8
        symbolic[i, t] = inside(ratio[i, t], advantage[i], length[i], 5) if passes else 0.0
    assert 0 < np.count_nonzero(found) < batch.mask.sum(), "some have to be clipped"
    close(weights(GRPO, batch), found, symbolic)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_t7_index(kernel, length):
    ratio = np.random.default_rng(length).uniform(0.5, 1.5, length)
    sides = kernel.sides("t7_index", L=length, rho=strict(lambda t: float(ratio[t]), 1), A=0.7)
    symbolic = formula("T7", "index", "S_1", "S_2", "L")(ratio.sum(), (ratio**2).sum(), length)
    coded = in_float64(credit_structure_index)(0.7 * ratio[None], np.ones((1, length)))
    close(coded, *sides, symbolic, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_t8_estimators(kernel, name):
    chance, reference = 0.3, 0.45
    step = next(step for step in theorem("T8").steps if step.name == name)
    letters = sorted(step.left.expr.atoms(AppliedUndef), key=lambda part: "ref" in str(part))
    symbolic = lambdify(letters, step.left.expr)(chance, reference)
    coded = kl_estimate(name, np.log([chance]), np.log([reference]))[0]
    close(coded, kernel.constant(name, None, chance, reference), symbolic)
