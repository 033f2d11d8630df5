"""Critics by description: exact, wrong by a given amount, or fitted to sampled responses."""

import re

import numpy as np

from mdp_theory.exact.critics import Critic, fit_to_go, history_critic
from mdp_theory.exact.process import return_deviation
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels, StateLevels
from mdp_theory.problems.turns import own_tokens, speak
from rino_base.messages import InputError

MAX_FITTED = 20_000_000
"""Tokens, at the horizon, of the responses that a critic is fitted to, over all prompts."""


def critic_values(mdp: TokenMDP, logits: EdgeLevels, description: str) -> StateLevels:
    """V(s) of a critic of the policy `logits`.

    Args:
        description: `exact`: the expected rewards-to-go. `zero`: no critic, so that credit with λ = 1 is rewards-to-go.
            `noisy:ERROR:SEED`: the exact values plus independent normal errors, of deviation ERROR in units of the
            standard deviation of the return. `fitted:N:SEED`: the mean rewards-to-go over N sampled responses to each
            prompt; states that none of them passed have the mean return. Where states recombine, all histories of a
            state teach one value.

    Raises:
        InputError: none of these, or too many responses.
    """
    kind, *rest = description.split(":")
    probability = tree.policy(speak(mdp, logits))
    exact = tree.expectation(probability, mdp.earned, moves=mdp.moves)[1]
    if kind == "exact" and not rest:
        return exact
    if kind == "zero" and not rest:
        return tuple(np.zeros_like(level) for level in exact)
    if kind == "noisy" and len(rest) == 2 and re.fullmatch(r"\d{1,9}(\.\d*)?(e-\d{1,3})?", rest[0]) and _whole(rest[1]):
        rng, unit = np.random.default_rng(int(rest[1])), float(rest[0]) * return_deviation(mdp, logits)
        return tuple(level + unit[:, None] * rng.standard_normal(level.shape) for level in exact)
    if kind == "fitted" and len(rest) == 2 and _whole(rest[0]) and _whole(rest[1]) and int(rest[0]) > 0:
        return fitted_values(mdp, logits, responses=int(rest[0]), seed=int(rest[1]))
    raise InputError(
        f"unknown critic {description!r}",
        mend="write exact, zero, noisy:ERROR:SEED (such as noisy:0.3:0) or fitted:N:SEED (such as fitted:64:0)",
    )


def fitted_values(mdp: TokenMDP, logits: EdgeLevels, *, responses: int, seed: int) -> StateLevels:
    """The critic that `responses` sampled responses to each prompt teach."""
    if responses * len(mdp.prompts) * mdp.horizon > MAX_FITTED:
        raise InputError(
            f"{responses:,} responses to each of {len(mdp.prompts)} prompts at horizon {mdp.horizon}: the limit is "
            f"{MAX_FITTED:,} tokens in all",
            mend="take fewer; with more the critic is next to exact",
        )
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(len(mdp.prompts)), responses)
    numbers = mdp.horizon * (2 if mdp.moves is not None else 1)
    probability = tree.policy(speak(mdp, logits))
    drawn = tree.sample(rng.random((len(prompt), numbers)), probability, prompt, moves=mdp.moves)
    to_go = np.cumsum(tree.along(mdp.earned, drawn)[:, ::-1], axis=1)[:, ::-1]
    if mdp.noise:
        to_go = to_go + mdp.noise * rng.standard_normal((len(prompt), 1))
    return fit_to_go(state_critic(mdp), own_tokens(mdp, drawn), to_go)


def state_critic(mdp: TokenMDP) -> Critic:
    """One value for each prefix of a tree, for each (time, state) of a graph."""
    if mdp.moves is None:
        return history_critic(mdp)
    states, prompts = len(mdp.moves.to), len(mdp.prompts)
    rows = [depth * states + np.arange(states) for depth in range(mdp.horizon)]
    return Critic(tuple(np.tile(row, (prompts, 1)) for row in rows))


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16
