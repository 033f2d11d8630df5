"""What a group gives each of its members, as a function of the reward levels and of how many members are on each.

The loss sees a group as a list of rewards (`methods.credit`); the order is nothing to it, so counts say all there is.
"""

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.problems.checks import count_in_words
from rino_base.messages import InputError

MAX_COMPOSITIONS = 1_000_000
"""Ways to spread a group over the reward levels; each is a term of a sum."""


def count_compositions(total: int, parts: int) -> int:
    """In how many ways `total` is an ordered sum of `parts` counts."""
    return math.comb(total + parts - 1, parts - 1)


def compositions(total: int, parts: int) -> Int[np.ndarray, "compositions parts"]:
    """All ways to write `total` as an ordered sum of `parts` counts."""
    number = count_compositions(total, parts)
    if number > MAX_COMPOSITIONS:
        raise InputError(
            f"{parts} reward levels and groups of {total} make {count_in_words(number)} compositions, the limit is "
            f"{MAX_COMPOSITIONS:,}",
            mend="lower the group size, or round the rewards to fewer levels",
        )
    rows = np.zeros((1, 0), dtype=np.int64)
    for _ in range(parts - 1):
        left = total - rows.sum(axis=1)
        repeated = np.repeat(rows, left + 1, axis=0)
        # 0 ... n for each n of `left`, one after the other.
        last = np.arange(len(repeated)) - np.repeat(np.cumsum(left + 1) - (left + 1), left + 1)
        rows = np.concatenate([repeated, last[:, None]], axis=1)
    return np.concatenate([rows, (total - rows.sum(axis=1))[:, None]], axis=1)


def of_one_group(rule: Advantage) -> None:
    """See that an advantage is a function of its own group's outcomes.

    Raises:
        InputError: the lengths of other responses enter it, or other groups do.
    """
    if rule.baseline == "length-weighted" or rule.whiten == "tokens":
        raise InputError(
            "the lengths of the other responses enter the advantage, which no table over outcomes holds",
            mend="take a baseline of the group's outcomes alone, or average over samples",
        )
    if rule.overlong is not None:
        raise InputError(
            "a punishment of long responses makes every length an outcome of its own",
            mend="put it into the problem's rewards, or average over samples",
        )
    if rule.whiten != "none":
        raise InputError(
            "whitening over the batch couples its groups",
            mend="scale by the group's own deviation, or average over samples",
        )


def group_advantage(
    rule: Advantage, levels: Float[np.ndarray, " levels"], counts: Int[np.ndarray, "groups levels"]
) -> Float[np.ndarray, "groups levels"]:
    """The advantage of a member on each level, in groups with these counts; of no meaning where the count is 0.

    The same as `methods.credit` on a group written out, for the `outcome` estimator and batches of one group.
    """
    of_one_group(rule)
    size = counts.sum(axis=1, keepdims=True)
    outcome = _outcome(rule, levels, counts)
    mean = (counts * outcome).sum(axis=1, keepdims=True) / size
    differs = _spread(outcome, counts) > 0
    advantage = np.where(differs, outcome - mean, 0.0) if rule.baseline != "none" else outcome
    if rule.baseline == "leave-one-out":
        advantage = advantage * size / np.maximum(size - 1, 1)
    if rule.scale == "group-mean":
        return _divide(advantage, mean + rule.eps)
    if rule.scale != "none":
        squares = (counts * (outcome - mean) ** 2).sum(axis=1, keepdims=True)
        std = np.sqrt(squares / np.maximum(size - rule.ddof, 1))
        return np.where(differs, _divide(advantage, std + rule.eps), 0.0)
    return advantage


def members_kept(
    objective: Objective, levels: Float[np.ndarray, " levels"], counts: Int[np.ndarray, "groups levels"]
) -> Bool[np.ndarray, "groups levels"]:
    """Whether a member on each level takes part, in groups with these counts."""
    if objective.keep == "correct":
        kept = levels >= objective.advantage.threshold
    elif objective.keep == "mixed-groups":
        kept = (counts > 0).sum(axis=1, keepdims=True) > 1
    else:
        kept = np.full(1, True)
    return np.broadcast_to(kept, counts.shape)


def fixed_outcome(rule: Advantage, levels: Float[np.ndarray, " levels"]) -> Float[np.ndarray, " levels"] | None:
    """u on each level, where it is a function of the reward alone; None for `above-mean`, which compares."""
    if rule.outcome == "reward":
        return levels
    if rule.outcome == "correct":
        return np.where(levels >= rule.threshold, rule.positive, -rule.negative)
    return None


def _outcome(rule: Advantage, levels: np.ndarray, counts: np.ndarray) -> Float[np.ndarray, "groups levels"]:
    fixed = fixed_outcome(rule, levels)
    if fixed is not None:
        return np.broadcast_to(fixed, counts.shape)
    above = levels - (counts * levels).sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)
    spread = _spread(np.broadcast_to(levels, counts.shape), counts)
    # A deviation that is rounding alone is none, as in `methods.credit`.
    above = np.where((spread > 0) & (np.abs(above) > 1e-6 * spread), above, 0.0)
    return np.where(above > 0, rule.positive, np.where(above < 0, -rule.negative, 0.0))


def _spread(values: np.ndarray, counts: np.ndarray) -> Float[np.ndarray, "groups 1"]:
    highest = np.where(counts > 0, values, -np.inf).max(axis=1, keepdims=True)
    return highest - np.where(counts > 0, values, np.inf).min(axis=1, keepdims=True)


def _divide(numerator: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    return np.where(divisor != 0, numerator / np.where(divisor != 0, divisor, 1.0), 0.0)
