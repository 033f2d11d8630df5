"""What the kernel's definitions say of a token tree, beside what the code and SymPy's formulas compute on it.

Each tie evaluates terms that Coq prints (`proofs_gallina.py`). At the end each is shown to fail once one
operation of one definition is another.
"""

import itertools
import math

import numpy as np
import pytest
from proofs_formulas import GRPO, advantages, formula, theorem
from proofs_gallina import Kernel, X, strict
from proofs_ties import (
    COORDINATES,
    EOS,
    HORIZON,
    RESPONSES,
    SHARE,
    SIZE,
    TOKENS,
    TREE,
    Tree,
    at,
    close,
    with_another,
)
from sympy import Rational, expand

from mdp_theory.exact import population
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree

pytestmark = pytest.mark.slow  # Coq evaluates term after term: minutes; test_kernel_ties_groups.py has some every day

SOME = COORDINATES[::4]
"""One of each state, where all groups are gone through."""

CREDIT = 0.25
BINARY = Tree(lambda word: float(word in ("a.", "ba", "bb")))
LEVELS = Tree(lambda word: {"aa": 1.0, "b": 1.0, "ab": CREDIT, "": CREDIT}.get(word.rstrip("."), 0.0))
LEVEL = strict(lambda y: [0.0, CREDIT, 1.0].index(LEVELS.reward(y)), 1)


@pytest.fixture(scope="module")
def kernel(compiled):
    found = Kernel(compiled[0])
    found.learn(
        theorems=[
            "t1_value", "t1_trajectories", "t1_gradient", "t1_policy_gradient", "t2_reward_to_go", "t2_bias", "t6_grpo",
            "t10_levels", "t10_lead", "t11_tabular", "t11_outcome_rules", "t12_excess", "t12_against_plain",
            "t13_reinforce_rej_signed", "t13_reinforce_rej", "t13_mean_over_positives", "t14_iteration",
        ],
        definitions=[
            "complete", "climbed", "f_isft_plus", "grpo", "variance", "with_advantage", "with_value", "with_reward",
            "truncated_log", "tilted", "next", "advantage_right", "advantage_wrong",
        ],
    )  # fmt: skip
    return found


def complete(kernel):
    words = itertools.chain(*(itertools.product(TOKENS, repeat=length) for length in range(HORIZON + 2)))
    assert [y for y in words if kernel.constant("complete", None, EOS, HORIZON, y)] == sorted(
        RESPONSES, key=lambda y: (len(y), y)
    )


def t1_value(kernel):
    coded = tree.expectation(SHARE.probability, SHARE.mdp.rewards)[1][0][0, 0]
    close(coded, *kernel.sides("t1_value", **SHARE.values))


def t1_discount(kernel):
    """Rewards on the way, and a discount."""
    pay = tuple(np.random.default_rng(1).normal(size=level.shape) for level in SHARE.mdp.rewards)
    coded = tree.expectation(SHARE.probability, tree.returns(pay, discount=0.7))[1][0][0, 0]
    given = SHARE.values | {"gamma": 0.7, "pay": strict(lambda s, a: at(pay, s, a), 2)}
    close(coded, *kernel.sides("t1_trajectories", **given))


def t1_gradient(kernel):
    proved = [kernel.sides("t1_gradient", dpi=SHARE.rates(*place), **SHARE.values) for place in COORDINATES]
    close(SHARE.gradient("reinforce", COORDINATES), *np.array(proved).T)


def t2_shares(kernel):
    symbolic = formula("T2", "reward-to-go", "r", "L", "t")
    for y in RESPONSES:
        for t in range(len(y)):
            close(symbolic(SHARE.reward(y), len(y), t + 1), *kernel.sides("t2_reward_to_go", y=y, t=t, r=SHARE.reward))


def t2_bias(kernel):
    """Each level of the gradient is that of its tokens' share of the reward."""
    proved = [kernel.sides("t2_bias", dpi=SHARE.rates(*place), **SHARE.values) for place in COORDINATES]
    share = formula("T2", "reward-to-go", "r", "L", "t")
    levels = []
    for time in range(1, HORIZON + 1):
        rewards = tuple(share(level, depth + 1, time) for depth, level in enumerate(SHARE.mdp.rewards))
        action = tree.expectation(SHARE.probability, rewards)[0]
        levels.append(tree.logit_gradient(SHARE.probability, action)[time - 1])
    close([at(levels, *place) for place in COORDINATES], *np.array(proved).T)


def t6_polynomial(kernel):
    """F-ISFT in the advantage form: the polynomial of the kernel less that of SymPy is a constant."""
    alpha, step = Rational(1, 3), next(step for step in theorem("T6").steps if step.name == "F-ISFT, advantage form")
    letters = {letter.name: letter for letter in step.left.expr.free_symbols}
    for size in (2, 3, 5):
        rule = strict(lambda k: (1 - alpha) * int(k != size), 1), strict(lambda k: -alpha * int(k != 0), 1)  # noqa: B023
        proved = kernel.constant("climbed", None, size - 1, *rule)
        symbolic = step.left.expr.subs({letters["p"]: X, letters["G"]: size, letters["alpha"]: alpha})
        assert expand(proved - symbolic).is_number, size


def t6_grpo(kernel):
    for size in (2, 3, 5):
        coded = population.coefficient(GRPO, np.array([0.3]), num_generations=size)[0]
        close(coded, *kernel.sides("t6_grpo", n=size - 1, p=0.3))


def t10_levels(kernel):
    rule = kernel.constant("f_isft_plus", None, SIZE, CREDIT)
    given = TREE | {"pi": LEVELS.pi, "O": TOKENS, "G": SIZE, "level": LEVEL, "A": rule}
    proved = [kernel.sides("t10_levels", dpi=LEVELS.rates(*place), **given) for place in SOME]
    close(LEVELS.gradient("f-isft-pos-adv", SOME), *np.array(proved).T)


def t10_lead(kernel):
    symbolic = formula("T10", "above the mean", "c", "g")
    for size in (2, 3, 5):
        close(symbolic(CREDIT, size - 1), *kernel.sides("t10_lead", G=size, c=CREDIT, i=1))


def t11_tabular(kernel):
    proved = [kernel.sides("t11_tabular", **SHARE.values | {"s": s, "a": a}) for s, a in COORDINATES]
    action, state = tree.expectation(SHARE.probability, SHARE.mdp.rewards)
    estimator = formula("T11", "estimator", "d", "pi_a", "Q", "V")
    terms = zip(tree.visits(SHARE.probability), SHARE.probability, action, state, strict=True)
    symbolic = [estimator(d[..., None], pi, q, v[..., None]) for d, pi, q, v in terms]
    coded = SHARE.gradient("reinforce", COORDINATES)
    close(coded, *np.array(proved).T, [at(symbolic, *place) for place in COORDINATES])


def t11_outcome_rules(kernel):
    right = strict(lambda y: BINARY.reward(y) > 0.5, 1)
    given = BINARY.values | {"G": SIZE, "A": kernel.constant("grpo", None, SIZE, 0), "right": right}
    proved = [kernel.sides("t11_outcome_rules", **given | {"s": s, "a": a}) for s, a in SOME]
    close(BINARY.gradient("grpo", SOME), *np.array(proved).T)


def t12_variances(kernel):
    coded = variances(SHARE.mdp, SHARE.logits)
    against = {"with_advantage": coded.state_advantage, "with_value": coded.state_baseline, "with_reward": coded.reward}
    for s, a in SOME:
        rates = SHARE.rates(s, a)
        for name, levels in against.items():
            # with_reward does not look at the horizon.
            given = (
                (SHARE.pi, rates, SHARE.reward) if name == "with_reward" else (HORIZON, SHARE.pi, rates, SHARE.reward)
            )
            estimate = strict(lambda y: kernel.constant(name, None, TOKENS, EOS, *given, y), 1)  # noqa: B023
            close(at(levels, s, a), kernel.constant("variance", None, TOKENS, EOS, HORIZON, SHARE.pi, estimate))
        excess = at(coded.state_baseline, s, a) - at(coded.state_advantage, s, a)
        close(excess, *kernel.sides("t12_excess", dpi=rates, s=s, **SHARE.values))
        plain = at(coded.state_advantage, s, a) - at(coded.reward, s, a)
        close(plain, *kernel.sides("t12_against_plain", dpi=rates, s=s, **SHARE.values))


def t13_rejection(kernel):
    """Twice F-ISFT±, and F-ISFT⁺; the code leaves out uniform groups of Reinforce-Rej later, with all their weights."""
    for outcome in itertools.product([False, True], repeat=3):
        group = strict(lambda i: outcome[i], 1)  # noqa: B023
        signed, plain = (
            np.array([kernel.sides(name, G=3, b=group, i=i) for i in range(3)], float)
            for name in ("t13_reinforce_rej_signed", "t13_reinforce_rej")
        )
        close(2 * advantages(METHODS["f-isft-pm-adv"].objective, outcome), *signed.T)
        close(advantages(METHODS["f-isft-pos-adv"].objective, outcome), *plain.T)
        if len(set(outcome)) > 1:
            close(advantages(METHODS["reinforce-rej"].objective, outcome), signed[:, 0])


def t13_likelihood(kernel):
    step = next(step for step in theorem("T6").steps if step.name == "mean over positives")
    letters = {letter.name: letter for letter in step.left.expr.free_symbols}
    for size in (2, 3, 5):
        symbolic = step.left.expr.subs({letters["p"]: X, letters["G"]: size}).doit()
        assert expand(kernel.constant("truncated_log", None, size) - symbolic) == 0
        coded = population.coefficient(METHODS["mean-positive"].objective, np.array([0.3]), num_generations=size)[0]
        close(coded, *kernel.sides("t13_mean_over_positives", n=size - 1, p=Rational(3, 10)))


def t14_tilt(kernel):
    """The best policy by its definition, one iteration, and SymPy's odds."""
    p, p_ref, beta, floor = 0.4, 0.3, 0.8, 0.01
    right, reference = np.array([1, 1, 0, 0, 0], bool), np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    best = reference * np.exp((right - p) / math.sqrt(p * (1 - p) + floor) / beta)
    best /= best.sum()
    E, ref, r = strict(math.exp, 1), strict(lambda y: float(reference[y]), 1), strict(lambda y: bool(right[y]), 1)
    up, down = (math.exp(kernel.constant(f"advantage_{name}", None, floor, p) / beta) for name in ("right", "wrong"))
    close(best, [kernel.constant("tilted", None, range(5), ref, r, up, down, y) for y in range(5)])
    odds = formula("T14", "odds", "p", "p_ref", "q_ref", "beta", "epsilon")(p, p_ref, 1 - p_ref, beta, floor)
    given = {"E": E, "beta": beta, "epsilon": floor, "p_ref": p_ref, "p": p, "Y": range(5), "ref": ref, "r": r}
    close(odds / (1 + odds), best @ right, *kernel.sides("t14_iteration", **given))


ADD, MUL = "ssralg.GRing.add", "ssralg.GRing.mul"
TIES = {
    complete: ("complete", "true", "false"),
    t1_value: ("value", ADD, MUL),
    t1_discount: ("return_to_go", MUL, ADD),
    t1_gradient: ("dvalue", ADD, MUL),
    t2_shares: ("token_share", "ssralg.GRing.inv", "ssralg.GRing.opp"),
    t2_bias: ("weighted_score", MUL, ADD),
    t6_polynomial: ("binomial_poly", "ssrnat.subn", "ssrnat.addn"),
    t6_grpo: ("others_prob", ADD, MUL),
    t10_levels: ("level_reward", "ssralg.GRing.one", "ssralg.GRing.zero"),
    t10_lead: ("group_mean", "ssralg.GRing.inv", "ssralg.GRing.opp"),
    t11_tabular: ("logit_prob", ADD, MUL),
    t11_outcome_rules: ("token_score", "ssralg.GRing.inv", "ssralg.GRing.opp"),
    t12_variances: ("advantage", ADD, MUL),
    t13_rejection: ("mixed", "andb", "orb"),
    t13_likelihood: ("truncated_log", "ssralg.GRing.inv", "ssralg.GRing.opp"),
    t14_tilt: ("deviation", ADD, MUL),
}
"""Ties, and for each a definition, an operation in it and another one, with which the tie has to fail."""


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie.__name__)
def test_the_forms_agree(kernel, tie):
    tie(kernel)


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie.__name__)
def test_with_another_definition_they_do_not(kernel, tie):
    with pytest.raises((AssertionError, ArithmeticError)):
        tie(with_another(kernel, *TIES[tie]))
