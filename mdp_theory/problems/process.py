"""Process rewards on a tree: what a response earns on its way, per step or per turn, besides the reward at its end."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError


def with_steps(mdp: TokenMDP, rewards: Mapping[str, Mapping[str, float]]) -> TokenMDP:
    """The problem with `{prompt: {beginning: reward}}` earned when a transcript has got so far.

    A beginning is the tokens so far, separated by spaces, the environment's included. Outcome methods see the sum of
    all that a response earned; a critic sees each reward where it comes. Raises `InputError` for beginnings that end
    the response or are longer than the horizon allows.
    """
    steps = tuple(level.copy() for level in mdp.rewards)
    for prompt, table in rewards.items():
        x = mdp.prompts.index(prompt)
        for beginning, reward in table.items():
            words, where = beginning.split(), f"{mdp.name}, prompt {prompt!r}: the step reward of {beginning!r}"
            unknown = next((word for word in words if word not in mdp.vocabulary[:-1]), None)
            if unknown is not None or not 1 <= len(words) < mdp.horizon:
                raise InputError(
                    f"{where} is no beginning that a response goes on from",
                    mend=f"write 1 to {mdp.horizon - 1} of {' '.join(mdp.vocabulary[:-1])}, tokens apart by spaces",
                )
            prefix = 0
            for word in words[:-1]:
                prefix = prefix * mdp.continuing + mdp.vocabulary.index(word)
            steps[len(words) - 1][x, prefix, mdp.vocabulary.index(words[-1])] = reward
    if not all(np.isfinite(level).all() for level in steps):
        raise InputError(f"{mdp.name}: a step reward is not finite", mend="give finite numbers")
    # Sums of one value in different orders are one reward level.
    return replace(mdp, rewards=tuple(level.round(12) for level in tree.returns(steps)), steps=steps)
