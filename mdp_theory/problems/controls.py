"""Problems that break one assumption each: recombining states, stochastic transitions, per-step rewards, discounting.

They are finite-horizon MDPs with a token for an action. Where transitions are deterministic, a response determines all
that happens, and `unroll` gives the token MDP of the same responses; where they are not, a policy that sees the state
can beat every fixed response, and no such token MDP exists.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mdp_theory.problems import tree
from mdp_theory.problems.levels import empty_levels, ending_tokens
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from rino_base.messages import InputError

MAX_UNROLLED = 2_000_000
"""Responses, over all prompts, of a control that is made a tree."""


@dataclass(frozen=True)
class Control:
    """A finite-horizon MDP over tokens; the last token ends the response.

    Attributes:
        name: the problem's name.
        prompts, prompt_probability, vocabulary: as in `TokenMDP`.
        start: the state in which each prompt starts.
        transition: probability of the next state, for each state and each token that goes on.
        reward: of taking a token in a state at a time; the horizon is its first axis.
        discount: γ.
    """

    name: str
    prompts: tuple[str, ...]
    prompt_probability: Float[np.ndarray, " prompts"]
    vocabulary: tuple[str, ...]
    start: Int[np.ndarray, " prompts"]
    transition: Float[np.ndarray, "states continuing states"]
    reward: Float[np.ndarray, "time states tokens"]
    discount: float = 1.0

    def __post_init__(self) -> None:
        states, tokens = self.reward.shape[1:]
        if self.transition.shape != (states, tokens - 1, states) or tokens != len(self.vocabulary):
            raise InputError(
                f"{self.name}: transitions {self.transition.shape} and rewards {self.reward.shape} do not fit "
                f"{len(self.vocabulary)} tokens",
                mend="give transitions [states, tokens - 1, states] and rewards [time, states, tokens]",
            )
        if (self.transition < 0).any() or np.abs(self.transition.sum(axis=2) - 1).max() > 1e-9:
            raise InputError(f"{self.name}: a row of transitions is no distribution", mend="make every row sum to 1")
        if not np.isfinite(self.reward).all() or not 0 < self.discount <= 1:
            raise InputError(
                f"{self.name}: a reward is not finite or the discount {self.discount} not in (0, 1]",
                mend="use finite rewards and a discount in (0, 1]",
            )

    def __repr__(self) -> str:
        prompts, states, tokens = len(self.prompts), self.reward.shape[1], len(self.vocabulary)
        shape = f"{prompts} prompts, {states} states, {tokens} tokens, horizon {self.horizon}"
        return f"<Control {self.name!r}: {shape}, discount {self.discount:g}>"

    @property
    def horizon(self) -> int:
        """The largest response length, the end token included."""
        return len(self.reward)

    @property
    def deterministic(self) -> bool:
        """Whether every transition has one outcome."""
        return bool((self.transition.max(axis=2) == 1).all())

    def reachable(self) -> Bool[np.ndarray, "time states"]:
        """Which states can be met at which time, over all prompts and tokens."""
        now = np.zeros(self.reward.shape[1], dtype=bool)
        now[self.start] = True
        rows = [now]
        for _ in range(self.horizon - 1):
            now = np.any(self.transition[now] > 0, axis=(0, 1))
            rows.append(now)
        return np.stack(rows)


class Unrolled(NamedTuple):
    """A deterministic control as a tree.

    Attributes:
        mdp: the same responses, with the undiscounted sum of rewards as the outcome.
        step_reward: the reward of every edge.
        state: the number of the (time, state) pair that each prefix leads to; equal for histories that recombine.
    """

    mdp: TokenMDP
    step_reward: EdgeLevels
    state: tuple[Int[np.ndarray, "prompts prefixes"], ...]


def unroll(control: Control) -> Unrolled:
    """The token MDP of all responses; raises `InputError` for stochastic transitions."""
    if not control.deterministic:
        raise InputError(
            f"{control.name}: its transitions are stochastic, so a response does not determine its outcome",
            mend="unroll deterministic problems only",
        )
    tokens, horizon = len(control.vocabulary), control.horizon
    levels = empty_levels(len(control.prompts), tokens, horizon, max_responses=MAX_UNROLLED, name=control.name)
    successor = control.transition.argmax(axis=2)
    state, pairs = control.start[:, None], []
    for depth, level in enumerate(levels):
        level[...] = control.reward[depth][state]
        pairs.append(depth * len(successor) + state)
        state = successor[state].reshape(len(control.prompts), -1)
    # Sums of one value in different orders are one reward level.
    totals = tuple(level.round(12) for level in tree.returns(levels))
    mdp = TokenMDP(control.name, control.prompts, control.prompt_probability, control.vocabulary, totals)
    return Unrolled(mdp, levels, tuple(pairs))


def closed_loop_values(control: Control) -> Float[np.ndarray, " prompts"]:
    """The optimal value of policies that see the state, by backward induction."""
    value = np.zeros(control.reward.shape[1])
    for time in reversed(range(control.horizon)):
        action = control.reward[time].copy()
        if time + 1 < control.horizon:
            action[:, :-1] += control.discount * control.transition @ value
        value = action.max(axis=1)
    return value[control.start]


def open_loop_values(control: Control, *, max_plans: int = 1_000_000) -> Float[np.ndarray, " prompts"]:
    """The value of the best fixed response: the expected return of every plan, from the belief it leads to."""
    states, m = control.reward.shape[1], len(control.vocabulary) - 1
    if not few_plans(control, max_plans=max_plans):
        raise InputError(
            f"{control.name}: {m} tokens, horizon {control.horizon} and {states} states need "
            f"{m ** (control.horizon - 1) * states:,} numbers, the limit is {max_plans:,}",
            mend="lower the horizon",
        )
    belief = np.eye(states)[control.start][:, None, :]
    earned = np.zeros((len(control.prompts), 1))
    best = np.full(len(control.prompts), -np.inf)
    for time in range(control.horizon):
        gained = earned[..., None] + control.discount**time * (belief @ control.reward[time])
        ends = ending_tokens(time, control.horizon, m + 1)
        best = np.maximum(best, gained[..., ends].max(axis=(1, 2)))
        belief = np.einsum("xjs,sat->xjat", belief, control.transition).reshape(len(control.prompts), -1, states)
        earned = gained[..., :-1].reshape(len(control.prompts), -1)
    return best


def few_plans(control: Control, *, max_plans: int = 1_000_000) -> bool:
    """Whether all plans can be tried."""
    states, m = control.reward.shape[1], len(control.vocabulary) - 1
    return m ** (control.horizon - 1) * states <= max_plans


def running_sum(name: str, *, modulus: int, horizon: int, slip: float = 0.0) -> Control:
    """Add 1 or 2 until the sum is 0 modulo `modulus`, then end; with probability `slip` the other number is added.

    The state is the sum alone, so histories recombine: there are `modulus` states at every time, whatever the horizon.
    """
    shift = [np.roll(np.eye(modulus), step, axis=1) for step in (1, 2)]
    transition = np.stack([(1 - slip) * shift[a] + slip * shift[1 - a] for a in range(2)], axis=1)
    reward = np.zeros((horizon, modulus, 3))
    reward[:, 0, 2] = 1.0
    start = np.arange(1, modulus)
    prompts = tuple(f"the sum is {k}, make it 0 modulo {modulus}" for k in start)
    chance = np.full(len(start), 1 / len(start))
    return Control(name, prompts, chance, ("1", "2", "<eos>"), start, transition, reward)


def from_tree(mdp: TokenMDP, *, name: str, bonus: float = 0.0, discount: float = 1.0) -> Control:
    """The same tree, with `bonus` for every first-listed token on the way, or with discounting."""
    sizes = [len(mdp.prompts) * mdp.continuing**depth for depth in range(mdp.horizon)]
    offset = np.cumsum([0, *sizes])
    states, m = int(offset[-1]), mdp.continuing
    transition = np.zeros((states, m, states))
    reward = np.zeros((mdp.horizon, states, m + 1))
    for depth, level in enumerate(mdp.rewards):
        here = np.arange(offset[depth], offset[depth + 1])
        reward[depth, here] = level.reshape(len(here), -1)
        reward[depth, here, 0] += bonus
        if depth + 1 < mdp.horizon:
            transition[here[:, None], np.arange(m), offset[depth + 1] + np.arange(len(here) * m).reshape(-1, m)] = 1.0
        else:
            transition[here, :, here] = 1.0  # never taken: every token ends the response here
    start = np.arange(len(mdp.prompts))
    return Control(name, mdp.prompts, mdp.prompt_probability, mdp.vocabulary, start, transition, reward, discount)
