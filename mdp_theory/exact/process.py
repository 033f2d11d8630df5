"""Process rewards and learned critics: what credit by rewards-to-go and by a critic does to the gradient, exactly.

The estimator is Σ_t Â_t ∇log π(a_t | s_t) of one response, Â_t = Σ_l (γλ)^l δ_{t+l}, δ = r + γV(s') - V(s) (1506.02438
eq. 16). Backward passes give E[Â | s, a] and E[Â² | s, a]; a state is visited at most once in a response, so these give
bias and variance in every logit. With V = 0 and λ = 1 the credit is the reward-to-go.

The bias is linear in the critic's error e = V - V^π, and at γ = 1 it is (1 - λ) times the gradient of
E Σ_t Σ_{l≥0} λ^l e(s_{t+l+1}): nothing at λ = 1, whatever the critic. At λ < 1 no number of responses removes it, while
the noise of leave-one-out baselines falls with G: so a critic wins where its error is below a break-even.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import Array, EdgeLevels, StateLevels
from mdp_theory.problems.turns import learned, speak


class _Ahead(NamedTuple):
    """Moments of what follows a token: S, the rewards and the value promised next; Y, the credit of the next token."""

    s: Array
    y: Array
    ss: Array
    sy: Array
    yy: Array


@dataclass(frozen=True)
class Estimate:
    """An estimator of ∇J from one response, for each prompt.

    Attributes:
        signal: ‖∇J‖², J the expected return without discount.
        bias: ‖E ĝ - ∇J‖².
        variance: the trace of the covariance of ĝ.
    """

    signal: Float[np.ndarray, " prompts"]
    bias: Float[np.ndarray, " prompts"]
    variance: Float[np.ndarray, " prompts"]

    def squared_error(self, responses: int) -> Float[np.ndarray, " prompts"]:
        """E‖mean of ĝ over independent responses - ∇J‖²."""
        return self.bias + self.variance / responses


def credit_moments(
    mdp: TokenMDP, probability: EdgeLevels, value: StateLevels, *, decay: float, discount: float = 1.0
) -> tuple[EdgeLevels, EdgeLevels]:
    """E[Â | s, a] and E[Â² | s, a] of generalised advantages with a critic's `value`.

    Arrays may hold several rows a prompt, such as several critics, as long as all have them. Where an environment
    speaks, what it earns belongs to the token before, and no time passes for the critic.
    """
    speaks = None if mdp.environment is None else mdp.environment.speaks
    rows = len(value[0]) // len(mdp.prompts)
    first: list[Array] = [None] * mdp.horizon
    second: list[Array] = [None] * mdp.horizon
    after: _Ahead | None = None
    for depth in reversed(range(mdp.horizon)):
        reward = np.tile(mdp.earned[depth], (rows, 1, 1))
        pi = np.tile(probability[depth], (rows, 1, 1))
        ahead = _on_edges(after, reward, mdp)
        own = reward - value[depth][..., None]
        later = discount * decay
        first[depth] = own + ahead.s + later * ahead.y
        second[depth] = (
            own**2 + 2 * own * (ahead.s + later * ahead.y) + ahead.ss + 2 * later * ahead.sy + later**2 * ahead.yy
        )
        promised = discount * value[depth]
        credit, square = (pi * first[depth]).sum(axis=-1), (pi * second[depth]).sum(axis=-1)
        after = _Ahead(promised, credit, promised**2, promised * credit, square)
        if speaks is not None:
            said = _Ahead(
                (pi * (reward + ahead.s)).sum(axis=-1),
                (pi * ahead.y).sum(axis=-1),
                (pi * (reward**2 + 2 * reward * ahead.s + ahead.ss)).sum(axis=-1),
                (pi * (reward * ahead.y + ahead.sy)).sum(axis=-1),
                (pi * ahead.yy).sum(axis=-1),
            )
            where = speaks[depth][:, 0]
            after = _Ahead(*(np.where(where, a, b) for a, b in zip(said, after, strict=True)))
    return tuple(first), tuple(second)


def estimate(mdp: TokenMDP, logits: EdgeLevels, value: StateLevels, *, decay: float, discount: float = 1.0) -> Estimate:
    """Bias and variance of the gradient with a critic's `value`; `value` may hold several critics, then so has this."""
    mdp.refuse_noise("the variance of a critic's credit")
    probability = tree.policy(speak(mdp, logits))
    first, second = credit_moments(mdp, probability, value, decay=decay, discount=discount)
    rows = len(value[0]) // len(mdp.prompts)
    truth = _slope(mdp, probability, tree.expectation(probability, mdp.earned, moves=mdp.moves)[0], 1)
    mean = _slope(mdp, probability, first, rows)
    gap = tuple(a - np.tile(b, (rows, 1, 1)) for a, b in zip(mean, truth, strict=True))
    squares = []
    for reach, pi, x2 in zip(tree.visits(probability, moves=mdp.moves), probability, second, strict=True):
        pi = np.tile(pi, (rows, 1, 1))
        # Σ_b (1[a = b] - π(b))² for every token a.
        size = 1 - 2 * pi + (pi**2).sum(axis=-1, keepdims=True)
        squares.append(np.tile(reach, (rows, 1))[..., None] * pi * x2 * size)
    total = sum(level.sum(axis=(1, 2)) for level in learned(mdp, tuple(squares)))
    return Estimate(np.tile(tree.inner(truth, truth), rows), tree.inner(gap, gap), total - tree.inner(mean, mean))


def leave_one_out(mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> Float[np.ndarray, " prompts"]:
    """The trace of the covariance of a group's gradient with leave-one-out baselines (RLOO without 1/L), unbiased.

    A U-statistic with kernel (r₁ - r₂)(s₁ - s₂)/2, r the return; so two moments of the scores are enough at every G.
    """
    mdp.refuse_noise("the variance of a group's gradient")
    probability, size = tree.policy(speak(mdp, logits)), num_generations
    powers = [
        tree.expectation(probability, tree.on_endings(tuple(level**n for level in mdp.rewards)), moves=mdp.moves)
        for n in (1, 2)
    ]
    scored = []
    for action in ([np.ones_like(level) for level in probability], *(found[0] for found in powers)):
        levels = []
        for reach, pi, x in zip(tree.visits(probability, moves=mdp.moves), probability, action, strict=True):
            length = 1 - 2 * pi + (pi**2).sum(axis=-1, keepdims=True)
            levels.append(reach[..., None] * pi * x * length)
        scored.append(sum(level.sum(axis=(1, 2)) for level in learned(mdp, tuple(levels))))
    plain, weighed, squared = scored  # E‖s‖², E r‖s‖², E r²‖s‖²
    mean, square = (mdp.at_start(found[1]) for found in powers)
    slope = _slope(mdp, probability, powers[0][0], 1)
    signal = tree.inner(slope, slope)
    one = (squared - 2 * mean * weighed + mean**2 * plain - signal) / 4
    two = (2 * squared + 2 * square * plain - 4 * mean * weighed + 4 * signal) / 4 - signal
    return 2 / (size * (size - 1)) * (2 * (size - 2) * one + two)


@dataclass(frozen=True)
class BreakEven:
    """PPO with a critic whose error is noise, against leave-one-out groups; means over prompts, relative to ‖∇J‖².

    The squared error of G responses with a critic of error ε is `variance`/G + ε² (`bias` + `noise`/G).

    Attributes:
        decay: λ.
        variance: of one response with the exact critic.
        bias, noise: what a critic of error 1 adds to the squared bias, and to the variance.
        groups: the variance of a leave-one-out group, by G.
    """

    decay: float
    variance: float
    bias: float
    noise: float
    groups: dict[int, float]

    def squared_error(self, error: float, size: int) -> float:
        """Of G responses with a critic of this error."""
        return self.variance / size + error**2 * (self.bias + self.noise / size)

    def error(self, size: int) -> float:
        """The error at which both are equal; 0 where the exact critic loses already, infinite where none does."""
        room, cost = self.groups[size] - self.variance / size, self.bias + self.noise / size
        if room <= 0:
            return 0.0
        return math.sqrt(room / cost) if cost > 0 else math.inf


def break_even(
    mdp: TokenMDP,
    logits: EdgeLevels,
    *,
    decays: Sequence[float],
    group_sizes: Sequence[int],
    draws: int = 4,
    seed: int = 0,
) -> list[BreakEven]:
    """For each λ, what the error of a critic costs.

    The error is normal and independent from state to state, in units of the standard deviation of the return. All is
    exact given the error but for the mean over `draws` of it, each with both signs, so that odd powers cancel.
    """
    probability = tree.policy(speak(mdp, logits))
    value = tree.expectation(probability, mdp.earned, moves=mdp.moves)[1]
    rng = np.random.default_rng(seed)
    unit = return_deviation(mdp, logits)
    noise = [rng.standard_normal((draws, *level.shape)) * unit[:, None] for level in value]
    critics = tuple(
        np.concatenate([v[None], v + z, v - z]).reshape(-1, v.shape[1]) for v, z in zip(value, noise, strict=True)
    )
    chance = mdp.prompt_probability
    groups = {size: leave_one_out(mdp, logits, num_generations=size) for size in group_sizes}
    found = []
    for decay in decays:
        now = estimate(mdp, logits, critics, decay=decay)
        bias, variance = (part.reshape(1 + 2 * draws, -1) @ chance for part in (now.bias, now.variance))
        signal = float(now.signal[: len(chance)] @ chance)
        scale = 1 / signal if signal > 0 else math.nan
        found.append(
            BreakEven(
                decay,
                float(variance[0]) * scale,
                float(bias[1:].mean() - bias[0]) * scale,
                float(variance[1:].mean() - variance[0]) * scale,
                {size: float(chance @ total) * scale for size, total in groups.items()},
            )
        )
    return found


def return_deviation(mdp: TokenMDP, logits: EdgeLevels) -> Float[np.ndarray, " prompts"]:
    """The standard deviation of the return, for each prompt."""
    probability = tree.policy(speak(mdp, logits))
    squares = tree.on_endings(tuple(level**2 for level in mdp.rewards))
    mean, square = (
        mdp.at_start(tree.expectation(probability, level, moves=mdp.moves)[1]) for level in (mdp.rewards, squares)
    )
    return np.sqrt(np.maximum(square - mean**2, 0.0))


def _slope(mdp: TokenMDP, probability: EdgeLevels, credit: EdgeLevels, rows: int) -> EdgeLevels:
    """`tree.logit_gradient` for several rows a prompt."""
    levels = []
    for reach, pi, u in zip(tree.visits(probability, moves=mdp.moves), probability, credit, strict=True):
        pi = np.tile(pi, (rows, 1, 1))
        pull = pi * u
        levels.append(np.tile(reach, (rows, 1))[..., None] * (pull - pi * pull.sum(axis=-1, keepdims=True)))
    return learned(mdp, tuple(levels))


def _on_edges(after: _Ahead | None, reward: Array, mdp: TokenMDP) -> _Ahead:
    """The moments at the next state, on the edges that lead there; 0 on those that end the response."""
    if after is None:
        return _Ahead(*(np.zeros_like(reward) for _ in _Ahead._fields))
    stop = np.zeros_like(reward[..., -1:])
    parts: list[Any] = [tree.children(part, reward, mdp.moves) for part in after]
    return _Ahead(*(np.concatenate([part, stop], axis=-1) for part in parts))
