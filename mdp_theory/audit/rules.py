"""Advantage rules in numpy: `methods.credit` once more without jax, for an audit tries hundreds of them."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.objectives import Advantage

Rows = Float[np.ndarray, " batch"]
Keep = Literal["all", "mixed-groups", "correct"]
EpsForm = Literal["added", "under the root", "floor"]

# How ε may enter a divisor D; the first is the field's custom, the others are met in public code.
EPS_FORMS: dict[EpsForm, Callable[[np.ndarray, float], np.ndarray]] = {
    "added": lambda divisor, eps: divisor + eps,
    "under the root": lambda divisor, eps: np.sqrt(divisor**2 + eps),
    "floor": lambda divisor, eps: np.maximum(divisor, eps),
}


def advantages(
    rule: Advantage, reward: Rows, group: np.ndarray, *, length: np.ndarray, form: EpsForm = "added"
) -> Rows:
    """The advantages of `methods.credit` where no critic is at work; `form` says how ε enters the divisor."""
    numerator, divisor = fraction(rule, reward, group, length=length)
    return _divide(numerator, EPS_FORMS[form](divisor, rule.eps) if divides(rule) else divisor)


def fraction(rule: Advantage, reward: Rows, group: np.ndarray, *, length: np.ndarray) -> tuple[Rows, Rows]:
    """Numerator and divisor of the rule's last division, without its ε; a numerator of 0 where the rule says so."""
    same = group[:, None] == group
    outcome = _outcome(rule, reward, same)
    advantage, spread = outcome, _spread(same, outcome)
    if rule.baseline != "none":
        weight = length if rule.baseline == "length-weighted" else np.ones(len(reward))
        centre = _mean(same, outcome * weight) / _mean(same, weight)
        advantage = np.where(spread > 0, outcome - centre, 0.0)
    if rule.baseline == "leave-one-out":
        size = same.sum(axis=1)
        advantage = advantage * size / np.maximum(size - 1, 1)
    divisor = np.ones(len(reward))
    if rule.scale == "group-mean":
        divisor = _mean(same, outcome)
    elif rule.scale != "none":
        pool = same if rule.scale == "group-std" else np.ones_like(same)
        divisor = _std(pool, outcome, np.ones(len(reward)), rule.ddof)
        advantage = np.where(_spread(pool, outcome) > 0, advantage, 0.0)
    if rule.whiten == "none":
        return advantage, divisor
    if rule.scale != "none":
        advantage = _divide(advantage, divisor + rule.eps)
    count = length if rule.whiten == "tokens" else np.ones(len(reward))
    everyone = np.ones_like(same)
    centred = advantage - (count * advantage).sum() / count.sum()
    return centred * (np.ptp(advantage) > 0), _std(everyone, advantage, count, rule.ddof)


def divides(rule: Advantage) -> bool:
    """Whether the rule has a divisor, and with it a place for ε."""
    return rule.scale != "none" or rule.whiten != "none"


def _outcome(rule: Advantage, reward: Rows, same: np.ndarray) -> Rows:
    if rule.outcome == "correct":
        return np.where(reward >= rule.threshold, rule.positive, -rule.negative)
    if rule.outcome == "above-mean":
        above, spread = reward - _mean(same, reward), _spread(same, reward)
        above = np.where(np.abs(above) > 1e-6 * spread, above, 0.0) * (spread > 0)
        return np.select([above > 0, above < 0], [rule.positive, -rule.negative], 0.0)
    return reward


def _mean(pool: np.ndarray, x: Rows) -> Rows:
    found: Rows = (pool * x).sum(axis=1) / pool.sum(axis=1)
    return found


def _std(pool: np.ndarray, x: Rows, count: Rows, ddof: int) -> Rows:
    total = (pool * count).sum(axis=1)
    centre = (pool * count * x).sum(axis=1) / total
    squares = (pool * count * (x - centre[:, None]) ** 2).sum(axis=1)
    found: Rows = np.sqrt(squares / np.maximum(total - ddof, 1))
    return found


def _spread(pool: np.ndarray, x: Rows) -> Rows:
    found: Rows = np.where(pool, x, -np.inf).max(axis=1) - np.where(pool, x, np.inf).min(axis=1)
    return found


def _divide(numerator: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    return np.where(divisor != 0, numerator / np.where(divisor != 0, divisor, 1.0), 0.0)


def kept_responses(batch: Batch, keep: Keep, threshold: float) -> Rows:
    """1 for a response that takes part, else 0."""
    reward, group = np.asarray(batch.reward), np.asarray(batch.group)
    if keep == "correct":
        return (reward >= threshold).astype(float)
    if keep == "mixed-groups":
        return np.array([float(np.ptp(reward[group == label]) > 0) for label in group])
    return np.ones(len(reward))
