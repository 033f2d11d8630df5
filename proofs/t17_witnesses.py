"""The witnesses of T17: second moments of a group's gradient, enumerated, beside the formula."""

from collections.abc import Callable, Sequence
from itertools import product
from math import comb, prod

from sympy import Expr, Integer, Rational, S

from proofs.instances import Rule, Tree, bandit, over_length, uniform
from proofs.parts import Witness

_SIZE = 3
_QUARTER, _HALF = Rational(1, 4), Rational(1, 2)
Weights = Callable[[str, Expr], list[Expr]]


def leave_one_out(rewards: Sequence[Expr]) -> list[Expr]:
    """RLOO: each reward less the mean of the others."""
    total = sum(rewards)
    return [r - (total - r) / Integer(len(rewards) - 1) for r in rewards]


def enumerated(
    tree: Tree, rule: Rule, *, weight: Weights = uniform, tilt: Callable[[tuple[str, ...]], Expr] = lambda group: S.One
) -> Expr:
    """E[ĝ²] in the first logit, over all groups; `tilt` multiplies the probability of a group."""
    found = S.Zero
    for group in product(tree.reward, repeat=_SIZE):
        chance = prod((tree.probability(y) for y in group), start=Integer(1)) * tilt(group)
        advantages = rule([tree.reward[y] for y in group])
        pairs = zip(group, advantages, strict=True)
        found += chance * (sum(tree.score(y, weight(y, a))[0] for y, a in pairs) / _SIZE) ** 2
    return found


def by_formula(tree: Tree, rule: Rule) -> Expr:
    """The second moment that T17 states, from moments of one response; rewards of 1 are right, all others wrong."""
    right = [y for y, reward in tree.reward.items() if reward == 1]
    p = sum(tree.probability(y) for y in right)
    q = 1 - p
    squares = {True: S.Zero, False: S.Zero}
    slope = S.Zero
    for y in tree.reward:
        squares[y in right] += tree.probability(y) * tree.score(y)[0] ** 2
        slope += tree.probability(y) * tree.score(y)[0] * Integer(y in right)

    def advantage(own: int, count: int) -> Expr:
        """Of a response with this outcome in a group with `count` right ones."""
        rewards = [Integer(1)] * count + [Integer(0)] * (_SIZE - count)
        return rule(rewards)[0 if own else -1]

    def over(others: int, value: Callable[[int], Expr]) -> Expr:
        return sum(comb(others, k) * p**k * q ** (others - k) * value(k) for k in range(others + 1))

    own = {
        True: over(_SIZE - 1, lambda k: advantage(1, k + 1) ** 2),
        False: over(_SIZE - 1, lambda k: advantage(0, k) ** 2),
    }
    pairs = over(
        _SIZE - 2,
        lambda k: advantage(1, k + 2) ** 2 - 2 * advantage(1, k + 1) * advantage(0, k + 1) + advantage(0, k) ** 2,
    )
    alone = sum(own[outcome] * squares[outcome] for outcome in (True, False))
    return alone / _SIZE + Rational(_SIZE - 1, _SIZE) * slope**2 * pairs


height = {"a": Integer(2), "b": Integer(0), "c": Integer(-1)}


def _three(middle: Expr | int = 1) -> Tree:
    return bandit(("a", _QUARTER, 1), ("b", _QUARTER, middle), ("c", _HALF, 0))


def _middle_reward(middle: Expr) -> tuple[Expr, Expr]:
    return enumerated(_three(middle), leave_one_out), by_formula(_three(middle), leave_one_out)


def _correlated(strength: Expr) -> tuple[Expr, Expr]:
    def tilt(group: tuple[str, ...]) -> Expr:
        return 1 + strength * height[group[0]] * height[group[1]]

    return enumerated(_three(), leave_one_out, tilt=tilt), by_formula(_three(), leave_one_out)


def _lengths(power: Expr) -> tuple[Expr, Expr]:
    tree = bandit((".", _QUARTER, 1), ("a.", _QUARTER, 0), ("aa", _HALF, 1))
    return enumerated(tree, leave_one_out, weight=over_length(power)), by_formula(tree, leave_one_out)


def _favourite(bonus: Expr) -> tuple[Expr, Expr]:
    def weight(y: str, a: Expr) -> list[Expr]:
        return uniform(y, a + bonus * Integer(y == "a"))

    return enumerated(_three(), leave_one_out, weight=weight), by_formula(_three(), leave_one_out)


def witnesses() -> tuple[Witness, ...]:
    """One for each assumption."""
    conclusion = "E[ĝ²] in the first logit, over all groups = the formula"

    arms = "responses a, b right and c wrong with probabilities 1/4, 1/4, 1/2; RLOO, G = 3"
    return (
        Witness(
            "rewards are 0 or 1",
            "second moment",
            "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; RLOO, G = 3; p = P(r = 1)",
            conclusion,
            _middle_reward,
            "c",
            0,
            _HALF,
        ),
        Witness(
            "the G responses are independent samples",
            "second moment",
            f"{arms}; the first two have the joint probability π(y) π(u) (1 + δ h(y) h(u)), h = 2, 0, −1",
            conclusion,
            _correlated,
            "δ",
            0,
            _QUARTER,
        ),
        Witness(
            "the weight of a token is the advantage of its response: no 1/L",
            "second moment",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; RLOO, G = 3, weights A/L^λ",
            conclusion,
            _lengths,
            "λ",
            0,
            1,
        ),
        Witness(
            "the advantage depends on the rewards of the group alone",
            "second moment",
            f"{arms}, and κ more for response a",
            conclusion,
            _favourite,
            "κ",
            0,
            1,
        ),
    )
