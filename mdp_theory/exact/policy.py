"""Policies on the prefix tree: one free logit for every edge, or a few parameters shared by all histories.

The first makes states independent, as proofs like to have them; the second is a small recurrent network, so that the
claims are also tested where a step at one history moves the probabilities at all others. Parameters are numpy arrays;
`logits` follows its arguments, so that it differentiates when given jax arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Float, Int

from mdp_theory.precision import QUICK_COMPILATION, in_float64
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import Array, EdgeLevels
from rino_base.messages import InputError
from rino_base.ranges import RANGES


class Policy(Protocol):
    """Logits on the tree as a differentiable function of parameters (a pytree of arrays)."""

    def init(self, mdp: TokenMDP, seed: int | None) -> Any:
        """Parameters in float64: uniform over tokens for None, otherwise random from the seed."""

    def logits(self, params: Any, mdp: TokenMDP) -> EdgeLevels:
        """One level `[prompts, M**d, N]` for each depth."""


@dataclass(frozen=True)
class TabularPolicy:
    """A free logit for every (prompt, prefix, token); the parameters are the logits."""

    scale: float = 1.0

    def init(self, mdp: TokenMDP, seed: int | None) -> EdgeLevels:
        """Zeros (uniform over tokens) for `seed=None`, otherwise independent normal logits of deviation `scale`."""
        if seed is None:
            return tuple(np.zeros(level.shape) for level in mdp.rewards)
        rng = np.random.default_rng(seed)
        return tuple(self.scale * rng.standard_normal(level.shape) for level in mdp.rewards)

    def logits(self, params: EdgeLevels, mdp: TokenMDP) -> EdgeLevels:
        """The parameters themselves."""
        return params


@dataclass(frozen=True)
class StatePolicy:
    """Logits shared by all histories that lead to the same state, for problems whose states recombine.

    `state` numbers the state of every prefix (`controls.Unrolled.state`); the parameters are `[states, tokens]`.
    """

    state: tuple[Int[np.ndarray, "prompts prefixes"], ...]

    def init(self, mdp: TokenMDP, seed: int | None) -> Float[np.ndarray, "states tokens"]:
        """Zeros (uniform over tokens) for `seed=None`, otherwise independent standard normal logits."""
        shape = (1 + max(int(level.max()) for level in self.state), len(mdp.vocabulary))
        return np.zeros(shape) if seed is None else np.random.default_rng(seed).standard_normal(shape)

    def logits(self, params: Float[Array, "states tokens"], mdp: TokenMDP) -> EdgeLevels:
        """Every prefix looks up its state."""
        return tuple(params[level] for level in self.state)


class Recurrent(NamedTuple):
    """Parameters of `SharedPolicy`."""

    start: Float[Array, "prompts width"]
    embedding: Float[Array, "continuing width"]
    recurrent: Float[Array, "width width"]
    head: Float[Array, "width tokens"]
    bias: Float[Array, " tokens"]


@dataclass(frozen=True)
class SharedPolicy:
    """A recurrent network read along the tree: h' = tanh(h W + E[a]), logits h U + b."""

    width: int = 8

    def init(self, mdp: TokenMDP, seed: int | None) -> Recurrent:
        """Random weights; `seed=None` zeroes the head, so that all tokens are equally likely."""
        rng = np.random.default_rng(0 if seed is None else seed)
        n, d = len(mdp.vocabulary), self.width
        start, embedding = rng.standard_normal((len(mdp.prompts), d)), rng.standard_normal((mdp.continuing, d))
        recurrent, head = rng.standard_normal((d, d)) / d**0.5, rng.standard_normal((d, n))
        bias = 0.5 * rng.standard_normal(n)
        if seed is None:
            head, bias = np.zeros_like(head), np.zeros_like(bias)
        return Recurrent(start, embedding, recurrent, head, bias)

    def logits(self, params: Recurrent, mdp: TokenMDP) -> EdgeLevels:
        """One forward pass over the tree: all prefixes of a depth at once."""
        xp = params.head.__array_namespace__()
        hidden = xp.tanh(params.start)[:, None, :]
        levels = []
        for depth in range(mdp.horizon):
            levels.append(hidden @ params.head + params.bias)
            if depth + 1 < mdp.horizon:
                child = xp.tanh((hidden @ params.recurrent)[:, :, None, :] + params.embedding)
                hidden = child.reshape(len(mdp.prompts), -1, self.width)
        return tuple(levels)


class Hazard(NamedTuple):
    """Parameters of `HazardPolicy`: logits of the first token, and the logit of ending at each later one."""

    first: Float[Array, "prompts continuing"]
    hazard: Float[Array, ""]


@dataclass(frozen=True)
class HazardPolicy:
    """The first token is free and never the end; from then on a response ends with one probability h = σ(hazard).

    The model of theorem T9: length is independent of what the first token decides.
    """

    def init(self, mdp: TokenMDP, seed: int | None) -> Hazard:
        """h = ½ and equally likely first tokens for `seed=None`, otherwise standard normal logits."""
        first = np.zeros((len(mdp.prompts), mdp.continuing))
        if seed is None:
            return Hazard(first, np.zeros(()))
        rng = np.random.default_rng(seed)
        return Hazard(rng.standard_normal(first.shape), np.asarray(rng.standard_normal()))

    def logits(self, params: Hazard, mdp: TokenMDP) -> EdgeLevels:
        """The tokens that go on share what ending leaves."""
        xp = params.first.__array_namespace__()
        never = xp.full((len(mdp.prompts), 1), -1e9)
        levels = [xp.concatenate([params.first, never], axis=1)[:, None, :]]
        end = xp.where(np.arange(mdp.continuing + 1) == mdp.continuing, params.hazard + np.log(mdp.continuing), 0.0)
        for reward in mdp.rewards[1:]:
            levels.append(xp.broadcast_to(end, reward.shape))
        return tuple(levels)


def pull_back_to(policy: Policy, params: Any, mdp: TokenMDP) -> Callable[[EdgeLevels], Any]:
    """The linear map from gradients in the logits to gradients in the parameters; compiled once, for many gradients."""

    @partial(jax.jit, compiler_options=QUICK_COMPILATION)
    def pull(at: Any, levels: EdgeLevels) -> Any:
        return jax.vjp(lambda q: policy.logits(q, mdp), at)[1](levels)[0]

    return in_float64(lambda levels: pull(params, levels))


def parse(text: str) -> tuple[TabularPolicy, int | None]:
    """`uniform` or `random:SEED` (a tabular policy with standard normal logits)."""
    if not isinstance(text, str):
        raise InputError(f"{text!r} is no policy", mend="write 'uniform' or 'random:SEED' with a whole number SEED")
    if text == "uniform":
        return TabularPolicy(), None
    kind, _, seed = text.partition(":")
    if kind != "random" or not seed.isdecimal():
        raise InputError(f"unknown policy {text!r}", mend="write 'uniform' or 'random:SEED' with a whole number SEED")
    if len(seed) > 10 or not RANGES["seed"].holds(int(seed)):
        raise InputError(f"the seed of the policy {text[:40]!r} is too large", mend=f"give {RANGES['seed']}")
    return TabularPolicy(), int(seed)
