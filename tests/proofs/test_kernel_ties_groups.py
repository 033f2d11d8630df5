"""What the kernel says of groups, ratios, plans and iterations, beside what the code and SymPy's formulas compute.

As in `test_kernel_ties_trees.py`: terms that Coq prints are evaluated, and each tie has to fail once one operation of
one definition is another.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from proofs_formulas import GRPO, advantages, formula, theorem, weights
from proofs_gallina import Kernel, strict
from proofs_ties import COORDINATES, HORIZON, RESPONSES, SHARE, TREE, at, close, with_another
from sympy import Symbol, sympify
from sympy.core.function import AppliedUndef

from mdp_theory.exact.population import without_length
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Clip
from mdp_theory.problems import tree
from mdp_theory.problems.turns import best_plan, best_policy

GROUP = [(0, 1), (0, 2), (1, 1), (0, 0)]
"""Four responses; the first, second and last share their first token."""
SHARED, MEMBERS = (0,), [0, 1, 3]
REWARD = np.array([0.1, 0.9, 0.2, 0.7])
RIGHT = np.array([SHARE.reward(y) > 0.4 for y in GROUP])
LOW, HIGH = 0.15, 0.1
"""Ends of a clip range that some of the ratios below are beyond."""
SLOPE = {place: 0.9 - 0.7 * number for number, place in enumerate(COORDINATES)}
"""A direction in the logits."""


@pytest.fixture(scope="module")
def kernel(compiled):
    found = Kernel(compiled[0])
    found.learn(
        theorems=[
            "t1_open_loop", "t11_branch", "t11_shared_prefix", "t13_gspo", "t13_gspo_weight", "t13_raft",
            "t13_raft_kept", "t14_growth",
        ],
        definitions=["sequence_ratio", "token_score", "next", "multiplier"],
    )  # fmt: skip
    return found


def policy(step):
    """The policy after a step along SLOPE, as Coq sees it."""
    moved = [np.array(level) for level in SHARE.logits]
    for (s, a), slope in SLOPE.items():
        moved[len(s)][0, int("0" + "".join(map(str, s)), 2), a] += step * slope
    probability = tree.policy(moved)
    return strict(lambda s, a: at(probability, s, a), 2)


def rates(step):
    """How fast its probabilities move there."""
    pi = policy(step)
    mean = {s: sum(pi(s, b) * SLOPE[s, b] for b in range(3)) for s, _ in COORDINATES}
    return strict(lambda s, a: pi(s, a) * (SLOPE[s, a] - mean[s]), 2)


def batch(step):
    """GROUP as the code sees it, sampled before the step."""
    mask = np.array([[t < len(y) for t in range(HORIZON)] for y in GROUP], float)
    now, old = (np.log(tokens(policy(at_step), after=1.0)) for at_step in (step, 0.0))
    return Batch(now, old, old, mask, REWARD, np.zeros(len(GROUP), int))


def tokens(value, after=0.0):
    """A number for each token of GROUP, and another one after the end."""
    return np.array([[value(y[:t], y[t]) if t < len(y) else after for t in range(HORIZON)] for y in GROUP])


def scores(step):
    pi, move = policy(step), rates(step)
    return tokens(lambda s, a: move(s, a) / pi(s, a))


def members():
    return strict(lambda i: GROUP[i], 1)


def values(step, **more):
    return TREE | {"pi": policy(step), "dpi": rates(step), "G": len(GROUP), "g": members()} | more


def slope(function, at_point, width=1e-5):
    return (function(at_point + width) - function(at_point - width)) / (2 * width)


def evaluated(form, numbers, functions):
    """A formula of SymPy with numbers for its letters, and lists for its functions of an index that begins with 1."""
    letters = {letter: numbers[letter.name] for letter in sympify(form).atoms(Symbol) if letter.name in numbers}
    form = sympify(form).subs(letters).doit()
    return float(
        form.subs({part: functions[str(part.func)][int(part.args[0]) - 1] for part in form.atoms(AppliedUndef)})
    )


def gspo(kernel, step, name, part=0, method="gspo"):
    """The derivative that Coq states, the one that its surrogate has, and the code's gradient."""
    objective = replace(METHODS[method].objective, clip=Clip(low=LOW, high=HIGH))
    advantage = advantages(GRPO, REWARD)
    given = values(step, theta=step, pi=strict(policy, 1), A=strict(lambda i: float(advantage[i]), 1))
    surrogate, stated = kernel.sides(name, part, old=policy(0.0), e_low=LOW, e_high=HIGH, **given)
    close(np.sum(weights(objective, batch(step)) * scores(step)), stated)
    close(stated, slope(surrogate, step), rtol=1e-7)
    return objective, advantage


def t13_gspo(kernel):
    """On its own samples, GSPO's surrogate and GRPO's."""
    gspo(kernel, 0.0, "t13_gspo")
    gspo(kernel, 0.0, "t13_gspo", part=1, method="grpo")


def t13_gspo_weight(kernel):
    """After a step that takes some of the ratios out of the clip range; and SymPy's weight where they are in it."""
    step = 0.4
    objective, advantage = gspo(kernel, step, "t13_gspo_weight")
    found, samples = weights(objective, batch(step)) * len(GROUP), batch(step)
    inside = formula("T13", "GSPO weight", "x", "x_old", "s", "L", "A")
    passed = 0
    for i, y in enumerate(GROUP):
        drift = samples.logp[i] - samples.old_logp[i]
        close(
            np.exp(drift.sum() / len(y)), kernel.constant("sequence_ratio", None, None, 2, policy(0), policy(step), y)
        )
        for t in range(len(y)):
            symbolic = inside(samples.logp[i, t], samples.old_logp[i, t], drift.sum() - drift[t], len(y), advantage[i])
            if found[i, t]:
                close(found[i, t], symbolic)
                passed += 1
    assert 0 < passed < sum(map(len, GROUP)), "some have to be clipped"


def t13_raft(kernel):
    """The code's RAFT, SymPy's sum of the scores of the right ones, and both forms that Coq states."""
    given = values(0.0, r=strict(lambda y: SHARE.reward(y) > 0.4, 1))
    outcomes = batch(0.0)._replace(reward=RIGHT.astype(float))
    for name, key in (("t13_raft", "raft"), ("t13_raft_kept", "mean-positive")):
        coded = np.sum(weights(without_length(METHODS[key].objective), outcomes) * scores(0.0))
        close(coded, *kernel.sides(name, **given))
    form, right_first = theorem("T13").result("RAFT"), scores(0.0)[np.argsort(~RIGHT)]
    total = sum(evaluated(form, {"k": int(RIGHT.sum())}, {"ℓ": right_first[:, t]}) for t in range(HORIZON))
    close(total / len(GROUP), kernel.sides("t13_raft", **given)[0])


def t1_open_loop(kernel):
    """Each plan is worth its reward, the best one is worth the best policy, and this policy falls short of it."""
    worth = {y: kernel.sides("t1_open_loop", y=y, **SHARE.values) for y in RESPONSES}
    for y, sides in worth.items():
        close(SHARE.reward(y), *sides)
    close(best_plan(SHARE.mdp)[0], best_policy(SHARE.mdp)[0], max(plan for plan, _ in worth.values()))
    best = max(RESPONSES, key=SHARE.reward)
    expected, bound = kernel.sides("t1_open_loop", 1, y=best, **SHARE.values)
    chance = [math.prod(SHARE.pi(y[:t], y[t]) for t in range(len(y))) for y in RESPONSES]
    gap = [bound - SHARE.reward(y) for y in RESPONSES]
    form = next(one.body for one in theorem("T1").definitions if one.name == "shortfall of a policy")
    close(bound - expected, evaluated(form, {"N": len(RESPONSES), "M": bound}, {"pi": chance, "g": gap}))
    assert expected < bound


def t11_branch(kernel):
    """The tokens that some members share, weighted with r − mean; SymPy's lead of the branch."""
    given = values(0.0, c=SHARED, x=strict(lambda i: float(REWARD[i]), 1), B=strict(lambda i: i in MEMBERS, 1))
    sampled = weights(without_length(METHODS["dr-grpo"].objective), batch(0.0)) * scores(0.0) * len(GROUP)
    close(sampled[MEMBERS, : len(SHARED)].sum(), *kernel.sides("t11_branch", **given))
    order = [*MEMBERS, *(i for i in range(len(GROUP)) if i not in MEMBERS)]
    form, numbers = theorem("T11").result("branch"), {"b": len(MEMBERS), "G": len(GROUP)}
    lead = evaluated(form, numbers, {"r": REWARD[order]})
    token = kernel.constant("token_score", None, None, 2, policy(0.0), rates(0.0), SHARED, 0)
    close(lead * token, kernel.sides("t11_branch", **given)[1])


def t11_shared_prefix(kernel):
    """All members begin with the same token; the advantages of the code sum to 0, and so do these weights."""
    alike = [(0, 1), (0, 2), (0, 0)]
    advantage = advantages(GRPO, [SHARE.reward(y) for y in alike])
    given = values(0.0, c=SHARED, A=strict(lambda i: float(advantage[i]), 1), g=strict(lambda i: alike[i], 1), G=3)
    close(theorem("T11").result("shared prefix"), *kernel.sides("t11_shared_prefix", **given))


def t14_growth(kernel):
    """Exact iterations from the definition of the best policy, SymPy's odds, and its slope of the gain."""
    p_ref, beta, floor = 0.55, 2.0, 0.01
    reference, right = np.array([p_ref / 2, p_ref / 2, 1 - p_ref]), np.array([1, 1, 0], bool)
    given = (None, strict(math.exp, 1), beta, floor)
    odds = formula("T14", "odds", "p", "p_ref", "q_ref", "beta", "epsilon")
    bend = formula("T14", "gain slope", "p", "beta", "epsilon")
    p = p_ref
    for n in range(4):
        now, later = kernel.sides("t14_growth", E=given[1], beta=beta, epsilon=floor, p_ref=p_ref, n=n)
        best = reference * np.exp((right - p) / math.sqrt(p * (1 - p) + floor) / beta)
        ratio = odds(p, p_ref, 1 - p_ref, beta, floor)
        close(now, p)
        close(later, best[right].sum() / best.sum(), ratio / (1 + ratio), kernel.constant("next", *given, p_ref, p))
        close(bend(p, beta, floor), slope(lambda x: math.log(kernel.constant("multiplier", *given, x)), p), rtol=1e-6)
        assert now <= later
        p = float(later)


ADD, MUL, INV, OPP = (f"ssralg.GRing.{name}" for name in ("add", "mul", "inv", "opp"))
TIES = {
    t13_gspo: ("sequence_ratio", OPP, INV),
    t13_gspo_weight: ("passes", "orb", "andb"),
    t13_raft: ("kept_scores", ADD, MUL),
    t1_open_loop: ("plan_prob", "ssralg.GRing.one", "ssralg.GRing.zero"),
    t11_branch: ("prefix_gradient", MUL, ADD),
    t11_shared_prefix: ("prefix_gradient", MUL, ADD),
    t14_growth: ("next", MUL, ADD),
}
"""Ties, and for each a definition, an operation in it and another one, with which the tie has to fail."""


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie.__name__)
def test_the_forms_agree(kernel, tie):
    tie(kernel)


@pytest.mark.parametrize("tie", TIES, ids=lambda tie: tie.__name__)
def test_with_another_definition_they_do_not(kernel, tie):
    with pytest.raises((AssertionError, ArithmeticError)):
        tie(with_another(kernel, *TIES[tie]))
