"""Where states recombine: which state follows which, so that a pass visits every state once and no history twice.

On the prefix tree the next state is the prefix one token longer, and a pass is a reshape. On a graph it is looked up;
arrays over (prompt, state, token) keep their layout, with the same states at every depth in the place of prefixes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Array = Any
"""A numpy or a jax array."""


@dataclass(frozen=True, eq=False)
class Moves:
    """The transitions of a graph of states.

    Attributes:
        start: the state in which each prompt starts.
        to: the states that may follow a token that goes on.
        chance: their probabilities; 0 for branches that are not there.
        names: what the states are called.
    """

    start: Int[np.ndarray, " prompts"]
    to: Int[np.ndarray, "states continuing branches"]
    chance: Float[np.ndarray, "states continuing branches"]
    names: tuple[str, ...]

    @property
    def deterministic(self) -> bool:
        """Whether every token has one next state."""
        return bool((self.chance.max(axis=2, initial=0.0) == 1).all())

    def first(self, like: Array) -> Float[Array, "prompts states"]:
        """1 at the state in which a prompt starts."""
        xp = like.__array_namespace__()
        return xp.asarray(np.eye(len(self.to))[self.start])

    def after(self, state: Float[Array, "prompts states"]) -> Float[Array, "prompts states continuing"]:
        """The expectation of a function of the next state, for every state and token that goes on."""
        return (state[:, self.to] * self.chance).sum(axis=-1)

    def pushed(self, mass: Float[Array, "prompts states continuing"]) -> Float[Array, "prompts states"]:
        """Where the mass that leaves every state by every token arrives."""
        rows, states = len(mass), len(self.to)
        spread = mass[..., None] * self.chance
        if isinstance(spread, np.ndarray):
            where = self.to.ravel()
            return np.stack([np.bincount(where, spread[x].ravel(), minlength=states) for x in range(rows)])
        xp = spread.__array_namespace__()
        return xp.zeros((rows, states)).at[:, self.to].add(spread)

    def met(self, horizon: int) -> list[np.ndarray]:
        """For each depth, which states `[prompts, states]` can be met."""
        levels = [self.first(self.chance) > 0]
        for _ in range(horizon - 1):
            levels.append(self.pushed(np.repeat(levels[-1][..., None], self.to.shape[1], axis=2).astype(float)) > 0)
        return levels
