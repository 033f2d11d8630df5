"""The witnesses of T7: weights of two tokens, and steps on one batch computed exactly."""

from collections.abc import Mapping
from functools import partial

from sympy import (
    Expr,
    Integer,
    Matrix,
    Rational,
    exp,
    log,
    sqrt,
    zeros,
)

from proofs.instances import Tree
from proofs.parts import Witness


def _index_with(extra: Expr) -> tuple[Expr, Expr]:
    """η of weights A(t) ρ(t)/L with A = 1, 1 + δ and ρ = 1, 3/2, and the formula for it."""
    ratios, advantages = (Integer(1), Rational(3, 2)), (Integer(1), 1 + extra)
    found = [r * b / 2 for r, b in zip(ratios, advantages, strict=True)]
    mean = sum(found) / 2
    s1, s2 = sum(ratios), sum(r**2 for r in ratios)
    return sum((w - mean) ** 2 for w in found) / sum(w**2 for w in found), 1 - s1**2 / (2 * s2)


def _shared(share: Expr) -> tuple[Expr, Expr]:
    """cos² of the two gradients with ratios 1 and 2 and scores (1, 0) and (κ, 1 − κ), and the formula for it."""
    scores = Matrix([1, 0]), Matrix([share, 1 - share])
    ours, theirs = scores[0] + 2 * scores[1], scores[0] + scores[1]
    norms = [s.dot(s) for s in scores]
    formula = (norms[0] + 2 * norms[1]) ** 2 / (sum(norms) * (norms[0] + 4 * norms[1]))
    return ours.dot(theirs) ** 2 / (ours.dot(ours) * theirs.dot(theirs)), formula


def _clip(ratio_now: Expr) -> tuple[Expr, Expr]:
    """η of two tokens with ratios 1 and ρ, A > 0, under the clip range [1/2, 3/2], and the formula without."""
    found = [Integer(1), ratio_now if ratio_now <= Rational(3, 2) else Integer(0)]
    mean = sum(found) / 2
    formula = 1 - (1 + ratio_now) ** 2 / (2 * (1 + ratio_now**2))
    return sum((w - mean) ** 2 for w in found) / sum(w**2 for w in found), formula


def witnesses() -> tuple[Witness, ...]:
    half = Rational(1, 2)

    first = "the first inner step, where the index is 0 and the two gradients are parallel"
    batch = "batch 'aa' (A = 1) and 'bb' (A = −1) of the uniform policy on two tokens"
    parallel = "cosine of GRPO's gradient and the SFT gradient = 1"
    return (
        Witness(
            "the advantage does not depend on t",
            "index",
            "a response of two tokens with ratios 1 and 3/2 and advantages 1 and 1 + δ",
            "η = 1 − S₁²/(L S₂)",
            _index_with,
            "δ",
            0,
            1,
        ),
        Witness(
            first,
            "first inner step",
            f"{batch}; K − 1 steps of size 4 log 2 on this batch; wide clip",
            parallel,
            partial(_cosine_after_steps, clip=Integer(9)),
            "K",
            1,
            2,
        ),
        Witness(
            f"{first} (with clipping)",
            "first inner step",
            "the same with clip range 1/2, which the first token of either response leaves",
            parallel,
            partial(_cosine_after_steps, clip=half),
            "K",
            1,
            2,
        ),
        Witness(
            "tabular logits: scores of a response's tokens are orthogonal, for the cosine",
            "fall",
            "two tokens with ratios 1 and 2 and scores (1, 0) and (κ, 1 − κ)",
            "squared cosine of the two gradients = (Σ n ρ)²/(Σ n Σ n ρ²)",
            _shared,
            "κ",
            0,
            half,
        ),
        Witness(
            "no clip, for the index and the cosine",
            "index",
            "a response of two tokens with ratios 1 and ρ, A > 0; the clip range ends at 3/2",
            "η = 1 − S₁²/(L S₂)",
            _clip,
            "ρ",
            Rational(5, 4),
            2,
        ),
    )


def _cosine_after_steps(steps: Expr, *, clip: Expr) -> tuple[Expr, Expr]:
    """The cosine of the two gradients of the fixed batch at inner step K."""
    half, batch = Rational(1, 2), {"aa": Integer(1), "bb": Integer(-1)}
    old = Tree({s: {"a": half, "b": half} for s in ("", "a", "b")}, {})
    now = old
    for _ in range(int(steps) - 1):
        now = _moved(now, 4 * log(2) * _gradient(now, old, batch, clip))
    ours, theirs = _gradient(now, old, batch, clip), _gradient(now, now, batch, clip)
    return ours.dot(theirs) / sqrt(ours.dot(ours) * theirs.dot(theirs)), Integer(1)


def _gradient(now: Tree, old: Tree, batch: Mapping[str, Expr], clip: Expr) -> Matrix:
    """GRPO's gradient at `now` of samples of `old`; with the same tree twice it is the SFT gradient."""
    total = zeros(now.dimension, 1)
    for response, advantage in batch.items():
        weights = []
        for position, token in enumerate(response):
            ratio = now.policy[response[:position]][token] / old.policy[response[:position]][token]
            passes = ratio <= 1 + clip if advantage > 0 else ratio >= 1 - clip
            weights.append(ratio * advantage / len(response) if passes else Integer(0))
        total += now.score(response, weights) / len(batch)
    return total


def _moved(tree: Tree, step: Matrix) -> Tree:
    """The tree after its logits moved by `step`."""
    moves, policy = iter(step), {}
    for state, actions in tree.policy.items():
        masses = {token: chance * exp(next(moves)) for token, chance in actions.items()}
        policy[state] = {token: mass / sum(masses.values()) for token, mass in masses.items()}
    return Tree(policy, tree.reward)
