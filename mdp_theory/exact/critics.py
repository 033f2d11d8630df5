"""What dropping A1 buys: a critic that is shared by histories with the same state learns from fewer samples.

With states that are whole histories, a critic has a value of its own for every prefix, and most prefixes are never seen
twice. Where states recombine, all histories that lead to a state teach the same value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdp_theory.exact.variance import squared_error, variances
from mdp_theory.problems import tree
from mdp_theory.problems.controls import Unrolled
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels, Sample, StateLevels


@dataclass(frozen=True)
class Critic:
    """A table of values, one for each state.

    Attributes:
        state: the number of the state of every prefix. Numbers of their own make a critic of histories; numbers shared
            by recombining histories (`controls.Unrolled.state`) make one that learns from all of them.
        learning_rate: how far a value moves to the mean return of its visits in a batch (`dynamics.sampled_runs`).
    """

    state: tuple[Int[np.ndarray, "prompts prefixes"], ...]
    learning_rate: float = 0.5

    @property
    def size(self) -> int:
        """The number of values."""
        return 1 + max(int(level.max()) for level in self.state)


def history_critic(mdp: TokenMDP, learning_rate: float = 0.5) -> Critic:
    """One value for each prefix of each prompt."""
    shapes = [reward.shape[:2] for reward in mdp.rewards]
    offsets = np.cumsum([0, *(prompts * prefixes for prompts, prefixes in shapes)])
    state = tuple(
        offset + np.arange(prompts * prefixes).reshape(prompts, prefixes)
        for offset, (prompts, prefixes) in zip(offsets, shapes, strict=False)
    )
    return Critic(state, learning_rate)


def fit(critic: Critic, drawn: Sample, reward: Float[np.ndarray, " batch"]) -> StateLevels:
    """Values from samples: the mean reward of the responses that passed a state; the overall mean where none did."""
    return fit_to_go(critic, drawn, np.broadcast_to(reward[:, None], drawn.mask.shape))


def fit_to_go(critic: Critic, drawn: Sample, to_go: Float[np.ndarray, "batch time"]) -> StateLevels:
    """Values from samples: the mean of what was still to come in a state; the mean return where none passed."""
    visited = np.stack([level[drawn.prompt, drawn.prefix[:, t]] for t, level in enumerate(critic.state)], axis=1)
    seen = drawn.mask > 0
    weight = np.bincount(visited[seen], minlength=critic.size)
    total = np.bincount(visited[seen], to_go[seen], minlength=critic.size)
    table = np.where(weight > 0, total / np.maximum(weight, 1), to_go[:, 0].mean())
    return tuple(table[level] for level in critic.state)


def temporal_difference(mdp: TokenMDP, value: StateLevels) -> EdgeLevels:
    """δ(s, a) = r + V(s') - V(s): the credit a critic gives to a token (γ = 1)."""
    never = tuple(np.zeros_like(reward) for reward in mdp.rewards)  # λ = 0 looks no further than the next state
    share = tuple(np.ones_like(reward) for reward in mdp.rewards)
    return tree.generalised_advantage(never, mdp.rewards, share, value, decay=0.0, discount=1.0)


def critic_curve(
    unrolled: Unrolled, logits: EdgeLevels, *, responses: Sequence[int], seeds: int = 16
) -> dict[str, Any]:
    """Error of the policy gradient against the number of responses to each prompt that a critic has learned from.

    The error is E‖ĝ - ∇J‖² of one further response's gradient with the critic's credit (bias and variance, exact given
    the critic), averaged over prompts and over `seeds` draws of the critic's samples; relative to uniform credit with
    the exact baseline. `exact` is the limit: credit by the true state advantages.
    """
    mdp, probability = unrolled.mdp, tree.policy(logits)
    totals = variances(mdp, logits).totals()
    uniform = float(totals["baseline"].mean())
    critics = {"history": history_critic(mdp), "state": Critic(unrolled.state)}
    curves: dict[str, list[float]] = {name: [] for name in critics}
    for count in responses:
        errors: dict[str, list[float]] = {name: [] for name in critics}
        for seed in range(seeds):
            rng = np.random.default_rng([seed, count])
            prompt = np.repeat(np.arange(len(mdp.prompts)), count)
            drawn = tree.sample(rng.random((len(prompt), mdp.horizon)), probability, prompt)
            reward = tree.along(mdp.rewards, drawn).sum(axis=1)
            for name, critic in critics.items():
                credit = temporal_difference(mdp, fit(critic, drawn, reward))
                errors[name].append(float(squared_error(mdp, logits, credit).mean()))
        for name, found in errors.items():
            curves[name].append(float(np.mean(found)) / uniform)
    return {
        "responses": list(responses),
        "states": {name: critic.size for name, critic in critics.items()},
        "relative_error": curves,
        "exact": float(totals["state_advantage"].mean()) / uniform,
    }
