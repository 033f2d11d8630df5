"""Trees of rollouts against flat groups: the exact noise and the exact cost of credit that is sampled.

A flat group credits every token of a response with its reward less the mean of the others. A *tree of rollouts*
branches at some depths: each branch, down to the next branching, is credited with the mean reward below it less that of
its siblings (leave-one-out). VinePPO (2410.01679) draws K further rollouts from every state of a response, and credits
a token with the difference of the estimated values. All have the mean ∇J; here are their variances and the tokens that
they cost, by backward passes over the prefix tree. What n repetitions buy is the variance divided by n at n times the
cost: compare *noise per token*, the trace times the tokens.

Logits of different states are different parameters, and a state is visited at most once in a response, so that tokens
of different depths share no coordinate; responses that pass the same state do, and are accounted for.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mdp_theory.exact.variance import second_moment
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import learned, speak
from rino_base.messages import InputError

State = Float[np.ndarray, "prompts prefixes"]
Edges = Float[np.ndarray, "prompts prefixes tokens"]


class RolloutNoise(NamedTuple):
    """One gradient estimate, for each prompt.

    Attributes:
        trace: the trace of its covariance.
        tokens: the expected number of tokens that the policy has to generate for it; a shared prefix is generated once.
        signal: ‖∇J‖², of which it is an unbiased estimate.
    """

    trace: Float[np.ndarray, " prompts"]
    tokens: Float[np.ndarray, " prompts"]
    signal: Float[np.ndarray, " prompts"]

    @property
    def tokens_for_unit_noise(self) -> Float[np.ndarray, " prompts"]:
        """Tokens for a squared relative error of 1: trace × tokens / ‖∇J‖²; what estimators are compared by."""
        return self.trace * self.tokens / np.where(self.signal > 0, self.signal, np.nan)


class _Below(NamedTuple):
    """What a rollout collects from a state down to the next branching, with R the mean reward found there.

    Attributes:
        mean, square: E[R], E[R²].
        score, weighed, squared: E[‖S‖²], E[R‖S‖²], E[R²‖S‖²] of the score S of the tokens in between.
        pull: ‖E[R S]‖².
        later: E‖g‖², g the gradient estimate of what follows the branching.
        common: Σ_s' P(s')² ‖E g(s')‖²: what two rollouts that come to one branching have in common.
        tokens: the expected number of tokens, those after the branching included.
    """

    mean: State
    square: State
    score: State
    weighed: State
    squared: State
    pull: State
    later: State
    common: State
    tokens: State


def branching(mdp: TokenMDP, logits: EdgeLevels, branches: Mapping[int, int]) -> RolloutNoise:
    """The tree of rollouts that takes `branches[d]` tokens, independently, at every prefix of d tokens that it reaches.

    `{0: G}` is a flat group with leave-one-out baselines (RLOO). Depths that are not named continue each rollout by one
    token.

    Raises:
        InputError: no branching at depth 0, a depth beyond the horizon, fewer than two branches, or a problem on a
            graph of states.
    """
    for depth, number in branches.items():
        if not 0 <= depth < mdp.horizon or number < 2:
            raise InputError(
                f"{number} branches after {depth} tokens",
                mend=f"branch at depths 0 to {mdp.horizon - 1} into 2 or more, or siblings have no baseline",
            )
    if 0 not in branches:
        raise InputError("a tree without branches at its root", mend="branch at depth 0, as a flat group does")
    _refuse_graphs(mdp)
    probability = tree.policy(speak(mdp, logits))
    mine = learned(mdp, tuple(np.ones_like(level) for level in probability))
    below: _Below | None = None
    slope: State | None = None  # ‖∇V‖² of the subtree's own logits
    for depth in reversed(range(mdp.horizon)):
        pi, own, reward = probability[depth], mine[depth], mdp.rewards[depth]
        after = _after(reward, below)
        below = _step(pi, own, after)
        gradient = (((after.mean - below.mean[..., None]) * pi * own) ** 2).sum(axis=-1)
        slope = gradient if slope is None else gradient + _gather(pi**2, slope)
        if depth in branches:
            below = _branched(below, branches[depth], slope)
    assert below is not None
    assert slope is not None
    return RolloutNoise(below.later[:, 0] - slope[:, 0], below.tokens[:, 0], slope[:, 0])


def _after(reward: Edges, below: _Below | None) -> _Below:
    """What is collected after each next token: the reward where it ends the response, else what the next state has."""
    ends = _Below(reward, reward**2, *[np.zeros_like(reward)] * 7)
    if below is None:
        return ends
    return _Below(*(_joined(child, end) for child, end in zip(below, ends, strict=True)))


def _step(pi: Edges, own: Edges, after: _Below) -> _Below:
    """One token further up."""
    size = (1 - 2 * pi + (pi**2).sum(axis=-1, keepdims=True)) * own  # ‖∇ log π(a | s)‖²
    mean = (pi * after.mean).sum(axis=-1)

    def expected(value: Edges) -> State:
        return (pi * value).sum(axis=-1)

    here = ((pi * (after.mean - mean[..., None]) * own) ** 2).sum(axis=-1)
    return _Below(
        mean=mean,
        square=expected(after.square),
        score=expected(size + after.score),
        weighed=expected(size * after.mean + after.weighed),
        squared=expected(size * after.square + after.squared),
        pull=here + (pi**2 * after.pull).sum(axis=-1),
        later=expected(after.later),
        common=(pi**2 * after.common).sum(axis=-1),
        tokens=expected(own + after.tokens),
    )


def _branched(down: _Below, number: int, slope: State) -> _Below:
    """A branching as the end of what comes from above: `number` rollouts, each credited against its siblings."""
    variance = down.square - down.mean**2
    own = down.squared - 2 * down.mean * down.weighed + down.score * (down.mean**2 + variance / (number - 1))
    pairs = down.pull * (1 + 1 / (number - 1) ** 2) + down.common
    later = (own + down.later) / number + (number - 1) / number * pairs
    nothing = np.zeros_like(variance)
    return _Below(
        mean=down.mean,
        square=down.mean**2 + variance / number,
        score=nothing,
        weighed=nothing,
        squared=nothing,
        pull=nothing,
        later=later,
        common=slope,
        tokens=number * down.tokens,
    )


def vine(mdp: TokenMDP, logits: EdgeLevels, *, rollouts: int) -> RolloutNoise:
    """VinePPO: one response, and `rollouts` more from each of its states, its first among them, to estimate V there.

    A token is credited with V̂(next) − V̂(here), a last one with r − V̂(here). The cost is of the response and all
    further rollouts. Raises `InputError` for fewer than one rollout, and for a problem on a graph of states.
    """
    mdp.refuse_graph("a tree of rollouts")
    mdp.refuse_noise("a tree of rollouts")
    if rollouts < 1:
        raise InputError(f"{rollouts} rollouts from a state", mend="take at least 1")
    _refuse_graphs(mdp)
    probability = tree.policy(speak(mdp, logits))
    action, state = tree.expectation(probability, mdp.rewards)
    square = tree.expectation(probability, tuple(reward**2 for reward in mdp.rewards))[1]
    estimate = [(s2 - v**2) / rollouts for s2, v in zip(square, state, strict=True)]
    steps = learned(mdp, tuple(np.ones_like(level) for level in probability))
    # Length is a sum over tokens, so the recursion for rewards on edges gives what is left to generate.
    left = tree.expectation(probability, steps)[1]
    second, tokens = [], left[0][:, 0].copy()
    for depth, (q, v, noise) in enumerate(zip(action, state, estimate, strict=True)):
        after = np.zeros_like(q)
        if depth + 1 < mdp.horizon:
            after[..., :-1] = estimate[depth + 1].reshape(*q.shape[:2], -1)
        second.append((q - v[..., None]) ** 2 + noise[..., None] + after)
    for reach, remaining in zip(tree.visits(probability), left, strict=True):
        tokens = tokens + rollouts * (reach * remaining).sum(axis=1)
    gradient = learned(mdp, tree.logit_gradient(probability, action))
    signal = tree.inner(gradient, gradient)
    squares = learned(mdp, second_moment(probability, tuple(second)))
    return RolloutNoise(sum(level.sum(axis=(1, 2)) for level in squares) - signal, tokens, signal)


def flat(mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int) -> RolloutNoise:
    """A flat group with leave-one-out baselines."""
    return branching(mdp, logits, {0: num_generations})


def _refuse_graphs(mdp: TokenMDP) -> None:
    mdp.refuse_noise("the noise of rollouts")
    if mdp.moves is not None:
        raise InputError(
            f"{mdp.name}: its states recombine, and rollouts from one state share more than their beginning",
            mend="unroll it (controls.unroll), or look at exact.variance, which takes graphs",
        )


def _joined(child: State, end: Edges) -> Edges:
    """Values at the next states on the edges that go on, those of the endings on the others."""
    inner = child.reshape(*end.shape[:2], -1)
    return np.concatenate([inner, end[..., -1:]], axis=-1)


def _gather(weight: Edges, child: State) -> State:
    return (weight[..., :-1] * child.reshape(*weight.shape[:2], -1)).sum(axis=-1)
