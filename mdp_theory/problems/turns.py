"""Whose turn it is, in the passes over a problem: where the environment speaks, its own logits, no gradient, no length.

Without an environment these are the problem's own logits, levels and lengths.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdp_theory.problems.mdp import TokenMDP


def speak(mdp: TokenMDP, logits: Any) -> Any:
    """The logits with the environment's own where it speaks; the same logits where there is no environment."""
    if mdp.environment is None:
        return logits
    xp = logits[0].__array_namespace__()
    parts = zip(logits, mdp.environment.speaks, mdp.environment.log_chance, strict=True)
    return tuple(xp.where(speaks, log, level) for level, speaks, log in parts)


def learned(mdp: TokenMDP, levels: Any) -> Any:
    """Edge levels with zeros where the environment speaks: no gradient flows there."""
    if mdp.environment is None:
        return levels
    return tuple(level * ~speaks for level, speaks in zip(levels, mdp.environment.speaks, strict=True))


def own_lengths(mdp: TokenMDP) -> tuple[Int[np.ndarray, "prefixes 1"], ...]:
    """The learner's tokens in a response that ends with the next token, whoever says that one."""
    if mdp.environment is None:
        return tuple(np.array([[depth + 1]]) for depth in range(mdp.horizon))
    return tuple(own + ~speaks for own, speaks in zip(mdp.environment.own, mdp.environment.speaks, strict=True))


def own_positions(mdp: TokenMDP) -> tuple[Int[np.ndarray, "prefixes 1"], ...]:
    """The learner's tokens before the next one."""
    if mdp.environment is None:
        return tuple(np.array([[depth]]) for depth in range(mdp.horizon))
    return mdp.environment.own


def own_tokens(mdp: TokenMDP, drawn: Any) -> Any:
    """Sampled transcripts (`tree.Sample`) with a mask that leaves out what the environment said."""
    if mdp.environment is None:
        return drawn
    xp = drawn.mask.__array_namespace__()
    said = [xp.asarray(level[:, 0])[drawn.prefix[:, t]] for t, level in enumerate(mdp.environment.speaks)]
    return drawn._replace(mask=drawn.mask * ~xp.stack(said, axis=1))


def best_policy(mdp: TokenMDP) -> Float[np.ndarray, " prompts"]:
    """The value of the best policy (closed loop): the learner maximises, the environment is averaged over."""
    value: Any = None
    for depth in reversed(range(mdp.horizon)):
        action = mdp.rewards[depth]
        if value is not None:
            action = np.concatenate([value.reshape(*action.shape[:2], -1), action[..., -1:]], axis=-1)
        value = action.max(axis=-1)
        if mdp.environment is not None:
            said = (mdp.environment.chance[mdp.environment.state[depth]] * action).sum(axis=-1)
            value = np.where(mdp.environment.speaks[depth][:, 0], said, value)
    return value[:, 0]


def best_plan(mdp: TokenMDP) -> Float[np.ndarray, " prompts"]:
    """The value of the best fixed plan (open loop): the learner's k-th token is the same whatever the environment says.

    A plan is cut off where a transcript reaches the horizon. Linear in the number of prefixes: the rewards of all
    transcripts of a plan are added up at its last token, and the plans compared from their ends.
    """
    if mdp.environment is None:
        return mdp.response_rewards.max(axis=1)
    m, prompts = mdp.continuing, len(mdp.prompts)
    earned = [np.zeros((prompts, m**k * (m + 1))) for k in range(mdp.horizon)]
    plan, last, chance = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), np.ones(1)
    for depth, reward in enumerate(mdp.rewards):
        state, own = mdp.environment.state[depth], mdp.environment.own[depth][:, 0]
        speaks = state > 0
        step = np.where(speaks[:, None], mdp.environment.chance[state], 1.0) * chance[:, None]
        # `plan` numbers the learner's tokens so far, `last` the edge at which its latest token was chosen.
        edge = np.where(speaks[:, None], last[:, None], plan[:, None] * (m + 1) + np.arange(m + 1))
        when = np.where(speaks, own - 1, own)
        ends = mdp.ends(depth)
        for k in np.unique(when):
            rows = when == k
            for x in range(prompts):
                gain = (step * reward[x])[rows][:, ends].ravel()
                earned[k][x] += np.bincount(edge[rows][:, ends].ravel(), gain, minlength=earned[k].shape[1])
        plan = np.where(speaks[:, None], plan[:, None], plan[:, None] * m + np.arange(m)).reshape(-1)
        last, chance = edge[:, :-1].reshape(-1), step[:, :-1].reshape(-1)
    best: Any = None
    for k in reversed(range(mdp.horizon)):
        total = earned[k].reshape(prompts, -1, m + 1)
        if best is not None:
            total[..., :-1] += best.reshape(prompts, -1, m)
        best = total.max(axis=-1)
    return best[:, 0]
