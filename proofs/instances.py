"""Exact rational arithmetic on small prefix trees: what the witnesses compute with.

Everything is enumerated, responses and groups alike, and nothing uses the formulas of the theorems.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from sympy import Expr, Integer, Matrix, Rational, S, simplify, sqrt, sympify, zeros

Group = Sequence[Expr]
Rule = Callable[[Group], Sequence[Expr]]


@dataclass(frozen=True)
class Tree:
    """A token policy and a terminal reward on a prefix tree.

    Args:
        policy: For each prefix the probability of each next token. Tokens are single characters.
        reward: The reward of each complete response; all its proper prefixes are in `policy`.
    """

    policy: Mapping[str, Mapping[str, Expr]]
    reward: Mapping[str, Expr]

    def probability(self, response: str) -> Expr:
        """π(y), the product of the token probabilities."""
        return prod((self.policy[response[:t]][token] for t, token in enumerate(response)), start=Integer(1))

    def token_score(self, prefix: str, token: str) -> Matrix:
        """∇ log π(token | prefix) in the logits of the tree: one coordinate for each prefix and token."""
        return Matrix(
            [
                Integer(other == token) - chance if state == prefix else 0
                for state, actions in self.policy.items()
                for other, chance in actions.items()
            ]
        )

    def score(self, response: str, weights: Sequence[Expr] | None = None) -> Matrix:
        """Σ_t w_t ∇ log π(a_t | prefix); all weights 1 unless given."""
        weights = weights or [S.One] * len(response)
        tokens = zip(weights, enumerate(response), strict=True)
        return sum((w * self.token_score(response[:t], token) for w, (t, token) in tokens), zeros(self.dimension, 1))

    @property
    def dimension(self) -> int:
        return sum(len(actions) for actions in self.policy.values())

    def expectation(self, value: Callable[[str], Expr | Matrix]) -> Expr | Matrix:
        """E_y[value(y)] over the responses."""
        terms = [self.probability(y) * value(y) for y in self.reward]
        return sum(terms[1:], terms[0])

    def gradient(self, value: Callable[[str], Expr]) -> Matrix:
        """∇ E_y[value(y)], by E[value · score]."""
        return self.expectation(lambda y: value(y) * self.score(y))

    def group_gradient(
        self, rule: Rule, size: int, weight: Callable[[str, Expr], Sequence[Expr]], scores: "Tree | None" = None
    ) -> Matrix:
        """The exact mean, over all groups of this size, of (1/G) Σ_i Σ_t w_it ∇ log π; `weight(y, A)` gives the w_it.

        The scores are those of another policy on the same tree if `scores` is given (off-policy).
        """
        scores = scores or self
        total = zeros(self.dimension, 1)
        for group in product(self.reward, repeat=size):
            advantages = rule([self.reward[y] for y in group])
            chance = prod((self.probability(y) for y in group), start=Integer(1))
            parts = (scores.score(y, weight(y, a)) for y, a in zip(group, advantages, strict=True) if a != 0)
            total += sum(parts, zeros(self.dimension, 1)) * chance / size
        return total


def uniform(response: str, advantage: Expr) -> list[Expr]:
    """Every token of a response gets its advantage."""
    return [advantage] * len(response)


def over_length(power: Expr) -> Callable[[str, Expr], list[Expr]]:
    """Every token gets A / L^power: power 1 is GRPO's 1/L, power 0 has none."""
    return lambda response, advantage: [advantage / Integer(len(response)) ** power] * len(response)


def grpo(rewards: Group) -> list[Expr]:
    """(r − mean) / std with the population deviation; 0 in a group of equal rewards."""
    mean = sum(rewards) / Integer(len(rewards))
    deviation = sqrt(sum((r - mean) ** 2 for r in rewards) / Integer(len(rewards)))
    return [S.Zero if deviation == 0 else (r - mean) / deviation for r in rewards]


def above_mean(rewards: Group) -> list[Expr]:
    """F-ISFT⁺ in the advantage form: 1 above the group mean, 0 otherwise."""
    mean = sum(rewards) / Integer(len(rewards))
    return [Integer(bool(reward > mean)) for reward in rewards]


def bandit(*arms: tuple[str, Expr, Expr | int]) -> Tree:
    """A tree whose responses are given as (tokens, probability, reward): the token probabilities follow."""
    policy: dict[str, dict[str, Expr]] = {}
    for response, _, _ in arms:
        for t in range(len(response)):
            mass = {n: sum(chance for y, chance, _ in arms if y.startswith(response[: t + n])) for n in (0, 1)}
            policy.setdefault(response[:t], {})[response[t]] = mass[1] / mass[0]
    return Tree(policy, {response: sympify(reward) for response, _, reward in arms})


def proportions(vector: Matrix, other: Matrix) -> tuple[Expr, Expr]:
    """The smallest and the largest quotient of the coordinates: equal exactly when the vectors are parallel."""
    if any(a != 0 and b == 0 for a, b in zip(vector, other, strict=True)):
        raise ValueError("a coordinate of the second vector vanishes alone")
    quotients = sorted({simplify(a / b) for a, b in zip(vector, other, strict=True) if b != 0}, key=float)
    return quotients[0], quotients[-1]


def three_levels(rule: Rule, middle: Expr) -> tuple[Expr, Expr]:
    """The extreme quotients of E[gradient] and ∇p for rewards 1, `middle`, 0 with chances 1/4, 1/4, 1/2 and G = 3."""
    tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), middle), ("c", Rational(1, 2), 0))
    success = tree.gradient(lambda y: Integer(tree.reward[y] == 1))
    return proportions(tree.group_gradient(rule, 3, uniform), success)
