"""The witnesses of T5: expected gradients enumerated on small trees."""

from itertools import product

from sympy import (
    Expr,
    Integer,
    Rational,
    zeros,
)

from proofs.instances import Tree, bandit, grpo, over_length, proportions, three_levels, uniform
from proofs.parts import Witness


def _lengths(power: Expr) -> tuple[Expr, Expr]:
    tree = bandit((".", Rational(1, 4), 1), ("a.", Rational(1, 4), 0), ("aa", Rational(1, 2), 1))
    return proportions(tree.group_gradient(grpo, 3, over_length(power)), tree.gradient(tree.reward.__getitem__))


def _drift(shift: Expr) -> tuple[Expr, Expr]:
    half = Rational(1, 2)
    rewards = {"aa": Integer(1), "ab": Integer(0), "ba": Integer(0), "bb": Integer(0)}
    old = Tree({s: {"a": half, "b": half} for s in ("", "a", "b")}, rewards)
    new = Tree({**old.policy, "": {"a": half + shift, "b": half - shift}}, rewards)

    def ratios(y: str, advantage: Expr) -> list[Expr]:
        return [advantage * new.policy[y[:t]][a] / old.policy[y[:t]][a] for t, a in enumerate(y)]

    return proportions(old.group_gradient(grpo, 2, ratios, scores=new), new.gradient(rewards.__getitem__))


def _correlated(strength: Expr) -> tuple[Expr, Expr]:
    """Pairs of responses whose joint probability is π(y) π(u) (1 + δ h(y) h(u)); h has mean 0."""
    tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), 1), ("c", Rational(1, 2), 0))
    height = {"a": Integer(2), "b": Integer(0), "c": Integer(-1)}
    total = zeros(tree.dimension, 1)
    for pair in product(tree.reward, repeat=2):
        chance = tree.probability(pair[0]) * tree.probability(pair[1])
        chance *= 1 + strength * height[pair[0]] * height[pair[1]]
        for response, a in zip(pair, grpo([tree.reward[u] for u in pair]), strict=True):
            total += chance * a * tree.score(response) / 2
    return proportions(total, tree.gradient(tree.reward.__getitem__))


def _favourite(bonus: Expr) -> tuple[Expr, Expr]:
    tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), 1), ("c", Rational(1, 2), 0))
    gradient = tree.group_gradient(lambda rewards: rewards, 2, lambda y, a: uniform(y, a + bonus * Integer(y == "a")))
    return proportions(gradient, tree.gradient(tree.reward.__getitem__))


def witnesses() -> tuple[Witness, ...]:
    conclusion = "E[gradient] / ∇p in the coordinate where it is smallest = where it is largest"

    return (
        Witness(
            "the G responses are independent samples",
            "direction",
            "responses a, b right and c wrong with probabilities 1/4, 1/4, 1/2; pairs with joint probability "
            "π(y) π(u) (1 + δ h(y) h(u)), h = 2, 0, −1; GRPO, G = 2",
            conclusion,
            _correlated,
            "δ",
            0,
            Rational(1, 4),
        ),
        Witness(
            "the advantage depends on the rewards of the group alone",
            "direction",
            "the same responses, independent; A = r, and κ more for response a",
            conclusion,
            _favourite,
            "κ",
            0,
            1,
        ),
        Witness(
            "the weight of a token is the advantage of its response: no 1/L",
            "direction",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; GRPO, G = 3, weights A/L^λ",
            conclusion,
            _lengths,
            "λ",
            0,
            1,
        ),
        Witness(
            "rewards are 0 or 1",
            "direction",
            "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; GRPO, G = 3; p = P(r = 1)",
            conclusion,
            lambda middle: three_levels(grpo, middle),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "ρ = 1: the policy is the one that sampled",
            "direction",
            "two tokens a or b, 'aa' is right; samples of the uniform policy, gradient with token ratios where "
            "the first token is a with probability 1/2 + δ; GRPO, G = 2",
            conclusion,
            _drift,
            "δ",
            0,
            Rational(1, 4),
        ),
    )
