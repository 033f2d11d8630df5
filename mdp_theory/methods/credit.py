"""What a batch decides before any policy is evaluated: the advantage of each token and its share of the loss.

Denominators are global, so that micro-batches add up to the full batch exactly, whatever their layout.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdp_theory.methods.batch import Batch, ResponseArray, TokenArray
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.objectives import Advantage, Objective


class Credit(NamedTuple):
    """What a batch decides before any policy is evaluated.

    Attributes:
        advantage: A of each token; the same for all tokens of a response unless a critic is at work.
        scale: the share of each token's term in the loss; 0 outside `mask` and on dropped responses.
    """

    advantage: TokenArray
    scale: TokenArray


def assign_credit(objective: Objective, batch: Batch) -> Credit:
    """Advantages and denominators of a whole batch; constants with respect to the current policy.

    Raises:
        ValueError: the aggregation lacks its `max_completion_length`, or the estimator its `batch.value`.
    """
    return jax.lax.stop_gradient(Credit(_advantage(objective, batch), share(objective, batch)))


def share(objective: Objective, batch: Batch) -> TokenArray:
    """The share of each token's term in the loss; numpy in, numpy out.

    Raises:
        ValueError: the aggregation lacks its `max_completion_length`.
    """
    xp = batch.mask.__array_namespace__()
    kept = kept_responses(objective.keep, objective.advantage.threshold, batch)
    mask = batch.mask * kept[:, None]
    responses = xp.maximum(kept.sum(), 1.0)
    if objective.aggregation == "sequence-mean-token-mean":
        return mask / (responses * xp.maximum(mask.sum(axis=1, keepdims=True), 1.0))
    if objective.aggregation == "token-mean":
        return mask / xp.maximum(mask.sum(), 1.0)
    if objective.aggregation == "sequence-mean-token-sum":
        return mask / responses
    if objective.max_completion_length is None:
        raise ValueError(f"aggregation {objective.aggregation!r} needs max_completion_length")
    return mask / (responses * objective.max_completion_length)


def _advantage(objective: Objective, batch: Batch) -> TokenArray:
    rule = objective.advantage
    if rule.estimator == "gae":
        return _generalised_advantage(rule, reward_of(objective, batch), batch)
    advantage = outcome_advantage(objective, batch)
    return jnp.broadcast_to(advantage[:, None], batch.mask.shape)


def outcome_advantage(objective: Objective, batch: Batch) -> ResponseArray:
    """The advantage of each response where no critic is at work; numpy in, numpy out."""
    rule = objective.advantage
    length = batch.mask.sum(axis=1)
    numerator, divisor = fraction(rule, reward_of(objective, batch), batch.group, length=length)
    return divide(numerator, divisor + rule.eps) if divides(rule) else numerator


def divides(rule: Advantage) -> bool:
    """Whether the rule has a divisor, and with it a place for ε."""
    return rule.scale != "none" or rule.whiten != "none"


def fraction(
    rule: Advantage, reward: ResponseArray, group: Int[Array, " batch"], *, length: ResponseArray
) -> tuple[ResponseArray, ResponseArray]:
    """Numerator and divisor of the rule's last division, without its ε; numpy in, numpy out."""
    xp = reward.__array_namespace__()
    same = group[:, None] == group[None, :]
    outcome = _outcome(rule, reward, same)
    mean = _group_sum(same, outcome) / same.sum(axis=1)
    differs = _spread(same, outcome) > 0
    advantage, divisor = outcome, xp.ones_like(outcome)
    if rule.baseline == "length-weighted":
        mean = _group_sum(same, outcome * length) / xp.maximum(_group_sum(same, length), 1.0)
    if rule.baseline != "none":
        # Equal outcomes are exactly at their mean; rounding must not turn them into a signal.
        advantage = xp.where(differs, outcome - mean, 0.0)
    if rule.baseline == "leave-one-out":
        size = same.sum(axis=1)
        advantage = advantage * size / xp.maximum(size - 1, 1)
    if rule.scale == "group-mean":
        divisor = mean
    elif rule.scale != "none":
        pool = same if rule.scale == "group-std" else xp.ones_like(same)
        centre = _group_sum(pool, outcome) / pool.sum(axis=1)
        squares = (xp.where(pool, (outcome[None, :] - centre[:, None]) ** 2, 0.0)).sum(axis=1)
        divisor = xp.sqrt(squares / xp.maximum(pool.sum(axis=1) - rule.ddof, 1))
        advantage = xp.where(_spread(pool, outcome) > 0, advantage, 0.0)
    if rule.whiten == "none":
        return advantage, divisor
    if rule.scale != "none":
        advantage = divide(advantage, divisor + rule.eps)
    count = length if rule.whiten == "tokens" else xp.ones_like(advantage)
    total = xp.maximum(count.sum(), 1.0)
    centred = advantage - (count * advantage).sum() / total
    divisor = xp.sqrt((count * centred**2).sum() / xp.maximum(total - rule.ddof, 1.0)) * xp.ones_like(advantage)
    return xp.where(_spread(xp.ones_like(same), advantage) > 0, centred, 0.0), divisor


def reward_of(objective: Objective, batch: Batch) -> ResponseArray:
    """The reward of each response with what the objective takes off it; numpy in, numpy out."""
    reward, kl = batch.reward.astype(batch.logp.dtype), objective.kl
    if objective.advantage.overlong is not None:
        reward = reward - overlong_penalty(objective, batch.mask.sum(axis=1))
    if kl is None or kl.placement != "reward":
        return reward
    estimate = kl_estimate(kl.estimator, batch.old_logp, batch.ref_logp)
    return reward - kl.sign * kl.beta * batch.mask.__array_namespace__().where(batch.mask > 0, estimate, 0.0).sum(
        axis=1
    )


def overlong_penalty(objective: Objective, length: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """What a response of this length loses of its reward; numpy in, numpy out."""
    overlong, limit = objective.advantage.overlong, objective.max_completion_length
    assert overlong is not None
    if limit is None:
        raise ValueError("the punishment of overlong responses needs max_completion_length")
    xp = length.__array_namespace__()
    found: Array = overlong.penalty * xp.clip(1 - (limit - length) / (overlong.share * limit), 0.0, 1.0)
    return found


def _outcome(rule: Advantage, reward: ResponseArray, same: Bool[Array, "batch batch"]) -> ResponseArray:
    if rule.outcome == "reward":
        return reward
    xp = reward.__array_namespace__()
    if rule.outcome == "correct":
        return xp.where(reward >= rule.threshold, rule.positive, -rule.negative).astype(reward.dtype)
    above = reward - _group_sum(same, reward) / same.sum(axis=1)
    spread = _spread(same, reward)
    # A deviation that is rounding alone is none: equal rewards such as 0.1 need not average to 0.1 in binary.
    above = xp.where((spread > 0) & (xp.abs(above) > 1e-6 * spread), above, 0.0)
    return xp.where(above > 0, rule.positive, xp.where(above < 0, -rule.negative, 0.0)).astype(reward.dtype)


def _generalised_advantage(rule: Advantage, reward: ResponseArray, batch: Batch) -> TokenArray:
    if batch.value is None:
        raise ValueError("the advantage estimator 'gae' needs batch.value, a critic's estimates")
    value = jnp.where(batch.mask > 0, batch.value, 0.0)

    # The mask may have holes, where an environment spoke: what a token led to is carried over them.
    def backward(carry: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        target, later = carry
        now, inside = step
        credit = target - now + rule.discount * rule.gae_lambda * later
        carry = (jnp.where(inside > 0, rule.discount * now, target), jnp.where(inside > 0, credit, later))
        return carry, jnp.where(inside > 0, credit, 0.0)

    start = (reward, jnp.zeros_like(reward))
    _, advantage = jax.lax.scan(backward, start, (value.T, batch.mask.T), reverse=True)
    return advantage.T


def kept_responses(keep: Literal["all", "mixed-groups", "correct"], threshold: float, batch: Batch) -> ResponseArray:
    """1 for a response that takes part, else 0; numpy in, numpy out."""
    if keep == "correct":
        kept = batch.reward >= threshold
    elif keep == "mixed-groups":
        kept = _spread(batch.group[:, None] == batch.group[None, :], batch.reward) > 0
    else:
        kept = batch.reward.__array_namespace__().ones_like(batch.reward, dtype=bool)
    return kept.astype(batch.mask.dtype)


def _group_sum(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    # A masked sum, not a matrix product: accelerators multiply float32 matrices in fewer bits.
    return x.__array_namespace__().where(same, x[None, :], 0.0).sum(axis=1)


def _spread(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    xp = x.__array_namespace__()
    highest = xp.where(same, x[None, :], -xp.inf).max(axis=1)
    return highest - xp.where(same, x[None, :], xp.inf).min(axis=1)


def divide(numerator: ResponseArray, divisor: ResponseArray) -> ResponseArray:
    """The quotient, 0 where the divisor is 0; numpy in, numpy out."""
    xp = numerator.__array_namespace__()
    return xp.where(divisor != 0, numerator / xp.where(divisor != 0, divisor, 1.0), 0.0)
