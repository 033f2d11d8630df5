"""What uniform credit costs: exact variances of per-sample policy gradients with tabular logits (theorem T12).

Every estimator here has the form Σ_t X_t ∇ log π(a_t | s_t) and mean ∇J; they differ in what a token is credited with.
A state of the tree is visited at most once, so the second moment in the logit of (s, b) is
d(s) Σ_a π(a|s) E[X² | s, a] (1[a = b] - π(b|s))², and everything follows from backward passes for E[r] and E[r²].
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.moves import Moves
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import learned, speak


class Variances(NamedTuple):
    """Variance of each estimator in every logit, by what a token is credited with.

    Attributes:
        reward: the reward of the response, r.
        baseline: r - V(prompt): uniform credit with the best constant a group mean can estimate.
        state_baseline: r - V(s_t): the outcome against what the prefix promised.
        state_advantage: A(s_t, a_t): credit for the token alone.
    """

    reward: EdgeLevels
    baseline: EdgeLevels
    state_baseline: EdgeLevels
    state_advantage: EdgeLevels

    def totals(self) -> dict[str, Float[np.ndarray, " prompts"]]:
        """The trace of each covariance, for each prompt."""
        return {
            name: sum(level.sum(axis=(1, 2)) for level in levels)
            for name, levels in zip(self._fields, self, strict=True)
        }


def variances(mdp: TokenMDP, logits: EdgeLevels) -> Variances:
    """Exact variances of one sample's gradient, given the prompt."""
    probability = tree.policy(speak(mdp, logits))
    action, state = tree.expectation(probability, mdp.rewards, moves=mdp.moves)
    square = tree.expectation(
        probability, tree.on_endings(tuple(reward**2 + mdp.noise**2 for reward in mdp.rewards)), moves=mdp.moves
    )[0]
    mean = tree.logit_gradient(probability, action, moves=mdp.moves)
    start = mdp.at_start(state)[:, None, None]

    def around(centre: EdgeLevels) -> EdgeLevels:
        """E[(r - v)² | s, a]."""
        return tuple(q2 - 2 * v * q + v**2 for q2, q, v in zip(square, action, centre, strict=True))

    def spread(second: EdgeLevels) -> EdgeLevels:
        """Variance in every logit, from E[X² | s, a]."""
        return learned(
            mdp, tuple(m - g**2 for m, g in zip(second_moment(probability, second, moves=mdp.moves), mean, strict=True))
        )

    values = tuple(v[..., None] for v in state)
    return Variances(
        reward=spread(square),
        baseline=spread(around(tuple(start for _ in action))),
        state_baseline=spread(around(values)),
        state_advantage=spread(tuple((q - v) ** 2 for q, v in zip(action, values, strict=True))),
    )


def squared_error(mdp: TokenMDP, logits: EdgeLevels, credit: EdgeLevels) -> Float[np.ndarray, " prompts"]:
    """E‖Σ_t X(s_t, a_t) ∇ log π(a_t | s_t) - ∇J‖² for any credit X, bias included, given the prompt."""
    probability = tree.policy(speak(mdp, logits))
    action = tree.expectation(probability, mdp.rewards, moves=mdp.moves)[0]
    truth = tree.logit_gradient(probability, action, moves=mdp.moves)
    expected = tree.logit_gradient(probability, credit, moves=mdp.moves)
    second = second_moment(probability, tuple(x**2 for x in credit), moves=mdp.moves)
    error = tuple(m - 2 * e * g + g**2 for m, e, g in zip(second, expected, truth, strict=True))
    return sum(level.sum(axis=(1, 2)) for level in learned(mdp, error))


def second_moment(probability: EdgeLevels, square: EdgeLevels, *, moves: Moves | None = None) -> EdgeLevels:
    """E of the squared estimator in every logit, from E[X² | s, a]."""
    levels = []
    for reach, pi, x2 in zip(tree.visits(probability, moves=moves), probability, square, strict=True):
        mass = pi * x2
        others = mass.sum(axis=-1, keepdims=True) - mass
        levels.append(reach[..., None] * (mass * (1 - pi) ** 2 + pi**2 * others))
    return tuple(levels)
