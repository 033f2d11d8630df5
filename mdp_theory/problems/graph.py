"""Problems whose states recombine, without unrolling them: running sums, bounded counters, grids, any finite graph.

All histories that lead to a state share its logits and its values. The number of responses may be astronomical; a pass
costs the number of (time, state, token) triples. Rewards on the way are added to the state, so that what a response has
earned is known where it ends.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.problems.checks import check_vocabulary
from mdp_theory.problems.controls import MAX_UNROLLED, Control
from mdp_theory.problems.levels import count_responses, ending_tokens, normalised, probabilities
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.moves import Moves
from rino_base.messages import InputError

MAX_NODES = 20_000_000
"""(prompt, time, state, token) entries of one array over a graph: 160 MB of float64."""

MAX_HORIZON = 10_000

_DIGITS = 12  # Of what was earned so far.

Step = Callable[[Hashable, str], Hashable | Mapping[Hashable, float]]
"""The state after a token that goes on, or the probabilities of several."""


def from_function(
    name: str,
    *,
    prompts: Mapping[str, Hashable],
    vocabulary: Sequence[str],
    eos: str,
    horizon: int,
    step: Step,
    reward: Callable[[Hashable, str], float],
    probability: Mapping[str, float] | None = None,
) -> TokenMDP:
    """A problem on the graph of the states that can be reached from those in which the prompts start.

    `step(state, token)` says where a token leads, `reward(state, token)` what it earns: with the end token, at the
    horizon (where every token ends the response), and, if it is not zero, on the way. A state that is a mapping is read
    as probabilities. Raises `InputError` for probabilities that do not sum to 1 and for graphs that are too large.
    """
    check_vocabulary(vocabulary, eos)
    tokens = normalised(vocabulary, eos)
    texts = tuple(prompts)
    _check_horizon(name, horizon)
    following = {}  # what `step` and `reward` say, each asked once

    def look(state: Hashable) -> tuple[list[dict[Hashable, float]], list[float]]:
        if state not in following:
            nexts = [_branches(step(state, token), f"{name}, state {state!r}, {token!r}") for token in tokens[:-1]]
            following[state] = nexts, [float(reward(state, token)) for token in tokens]
        return following[state]

    # A node is a state with what was earned on the way to it.
    number: dict[tuple[Hashable, float], int] = {}
    front = list(dict.fromkeys((state, 0.0) for state in prompts.values()))
    number.update(zip(front, range(len(front)), strict=True))
    for _ in range(horizon - 1):
        reached: list[tuple[Hashable, float]] = []
        for state, earned in front:
            nexts, gains = look(state)
            for branches, gain in zip(nexts, gains[:-1], strict=True):
                reached += [(after, round(earned + gain, _DIGITS)) for after in branches]
        front = [node for node in dict.fromkeys(reached) if node not in number]
        number.update(zip(front, range(len(number), len(number) + len(front)), strict=True))
        _check_size(name, len(texts), horizon, len(number), len(tokens))
    nodes = list(number)
    gained = np.array([look(state)[1] for state, _ in nodes])
    before = np.array([total for _, total in nodes])[:, None]
    branching = max((len(branches) for state, _ in nodes for branches in look(state)[0]), default=1)
    to = np.zeros((len(nodes), len(tokens) - 1, branching), dtype=np.int64)
    chance = np.zeros(to.shape)
    for i, (state, total) in enumerate(nodes):
        nexts, gains = look(state)
        for a, (branches, gain) in enumerate(zip(nexts, gains[:-1], strict=True)):
            for b, (after, odds) in enumerate(branches.items()):
                # Beyond the horizon nothing follows; the node stands for itself there.
                to[i, a, b] = number.get((after, round(total + gain, _DIGITS)), i)
                chance[i, a, b] = odds
    starts = np.array([number[state, 0.0] for state in prompts.values()])
    names = tuple(f"{state}" if total == 0 else f"{state} (earned {total:g})" for state, total in nodes)
    moves = Moves(starts, to, chance, names)
    ends = [ending_tokens(depth, horizon, len(tokens)) for depth in range(horizon)]
    # Sums of one value in different orders are one reward level.
    totals = tuple(_to_all(texts, np.round((before + gained) * end, _DIGITS)) for end in ends)
    on_the_way = horizon > 1 and bool(gained[:, :-1].any())
    steps = tuple(_to_all(texts, gained) for _ in ends) if on_the_way else None
    return TokenMDP(name, texts, probabilities(texts, probability), tokens, totals, moves=moves, steps=steps)


def from_control(control: Control) -> TokenMDP:
    """A control on its graph; raises `InputError` where it discounts, for the return is then no sum of what was earned.

    Its rewards may depend on the time, so the time is part of the state where they do.
    """
    if control.discount != 1:
        raise InputError(
            f"{control.name}: discount {control.discount:g}, and on a graph the return is a plain sum",
            mend="use a discount of 1, or a problem small enough to be unrolled",
        )
    timed = not (control.reward == control.reward[0]).all()
    tokens = {token: a for a, token in enumerate(control.vocabulary)}

    def step(state: Any, token: str) -> dict[Hashable, float]:
        row = control.transition[state[1], tokens[token]]
        return {(state[0] + timed, int(after)): float(row[after]) for after in np.flatnonzero(row)}

    def reward(state: Any, token: str) -> float:
        return float(control.reward[min(state[0], control.horizon - 1), state[1], tokens[token]])

    return from_function(
        control.name,
        prompts={text: (0, int(start)) for text, start in zip(control.prompts, control.start, strict=True)},
        vocabulary=control.vocabulary,
        eos=control.vocabulary[-1],
        horizon=control.horizon,
        step=step,
        reward=reward,
        probability=dict(zip(control.prompts, control.prompt_probability.tolist(), strict=True)),
    )


def unrolls(control: Control) -> bool:
    """Whether a control is better taken as a tree: its transitions are deterministic and its responses not too many."""
    count = len(control.prompts) * count_responses(len(control.vocabulary), control.horizon)
    return control.deterministic and count <= MAX_UNROLLED


def best_value(mdp: TokenMDP) -> Float[np.ndarray, " prompts"]:
    """The value of the best policy (closed loop), by backward induction; one number a prompt."""
    return mdp.at_start(_backward(mdp)[0])


def best_response_value(mdp: TokenMDP) -> Float[np.ndarray, " prompts"]:
    """The value of the best fixed response where nothing is random: the best policy's own, walked from the start.

    Raises `InputError` for random moves: what is best without seeing the state is then a search over all responses.
    """
    moves = _moves(mdp)
    if reason := random_moves(mdp):
        raise InputError(reason, mend="the best policy bounds the best fixed response from above")
    choices = _backward(mdp)[1]
    found = np.zeros(len(mdp.prompts))
    for x, state in enumerate(moves.start.tolist()):
        for depth, choice in enumerate(choices):
            token = int(choice[x, state])
            if mdp.ends(depth)[token]:
                found[x] = mdp.rewards[depth][x, state, token]
                break
            state = int(moves.to[state, token, moves.chance[state, token].argmax()])
    return found


def random_moves(mdp: TokenMDP) -> str | None:
    """Why there is no simple best response: moves are random; None where they are not."""
    return None if _moves(mdp).deterministic else f"{mdp.name}: states follow at random"


def _backward(mdp: TokenMDP) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Values and choices of the best policy in every state, from the first depth on."""
    values: list[np.ndarray] = []
    choices: list[np.ndarray] = []
    for depth in reversed(range(mdp.horizon)):
        action = mdp.rewards[depth]
        if values:
            action = np.concatenate([_moves(mdp).after(values[0]), action[..., -1:]], axis=2)
        values.insert(0, action.max(axis=2))
        choices.insert(0, action.argmax(axis=2))
    return values, choices


def _moves(mdp: TokenMDP) -> Moves:
    if mdp.moves is None:
        raise ValueError(f"{mdp.name} is a tree")
    return mdp.moves


def _branches(told: Any, where: str) -> dict[Hashable, float]:
    if not isinstance(told, Mapping):
        return {told: 1.0}
    for after, odds in told.items():
        if isinstance(odds, bool) or not isinstance(odds, int | float) or not 0 <= odds <= 1:
            raise InputError(f"{where}: the probability of {after!r} is {odds!r}", mend="give a number in [0, 1]")
    total = sum(told.values())
    if not abs(total - 1) <= 1e-9:
        raise InputError(f"{where}: the probabilities sum to {total:.12g}, not to 1", mend="make them sum to 1")
    return {after: odds / total for after, odds in told.items() if odds > 0}


def _to_all(prompts: Sequence[str], level: np.ndarray) -> np.ndarray:
    return np.broadcast_to(level, (len(prompts), *level.shape))


def _check_horizon(name: str, horizon: object) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= MAX_HORIZON:
        raise InputError(
            f"{name}: the horizon is {horizon!r}, the rule is a whole number from 1 to {MAX_HORIZON:,}",
            mend="the horizon is the largest number of tokens in a response, the end token included",
        )


def _check_size(name: str, prompts: int, horizon: int, states: int, tokens: int) -> None:
    size = prompts * horizon * states * tokens
    if size > MAX_NODES:
        raise InputError(
            f"{name}: {prompts} prompts x horizon {horizon} x {states:,} states or more x {tokens} tokens make "
            f"{size:,} entries, the limit is {MAX_NODES:,}",
            mend="lower the horizon, or let more histories share a state (rewards on the way are part of the state)",
        )
