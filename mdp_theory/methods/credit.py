"""What a batch decides before any policy is evaluated: the advantage of each token and its share of the loss.

Denominators are global, so that micro-batches add up to the full batch exactly, whatever their layout.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

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
    kept = _kept(objective, batch)
    mask = batch.mask * kept[:, None]
    length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    responses = jnp.maximum(kept.sum(), 1.0)
    if objective.aggregation == "sequence-mean-token-mean":
        scale = mask / (responses * length)
    elif objective.aggregation == "token-mean":
        scale = mask / jnp.maximum(mask.sum(), 1.0)
    elif objective.aggregation == "sequence-mean-token-sum":
        scale = mask / responses
    elif objective.max_completion_length is None:
        raise ValueError(f"aggregation {objective.aggregation!r} needs max_completion_length")
    else:
        scale = mask / (responses * objective.max_completion_length)
    return jax.lax.stop_gradient(Credit(_advantage(objective, batch), scale))


def _advantage(objective: Objective, batch: Batch) -> TokenArray:
    rule = objective.advantage
    reward = _reward(objective, batch)
    if rule.estimator == "gae":
        return _generalised_advantage(rule, reward, batch)
    same = batch.group[:, None] == batch.group[None, :]
    outcome = _outcome(rule, reward, same)
    mean = _group_sum(same, outcome) / same.sum(axis=1)
    differs = _spread(same, outcome) > 0
    advantage = outcome
    length = batch.mask.sum(axis=1)
    if rule.baseline == "length-weighted":
        mean = _group_sum(same, outcome * length) / jnp.maximum(_group_sum(same, length), 1.0)
    if rule.baseline != "none":
        # Equal outcomes are exactly at their mean; rounding must not turn them into a signal.
        advantage = jnp.where(differs, outcome - mean, 0.0)
    if rule.baseline == "leave-one-out":
        size = same.sum(axis=1)
        advantage = advantage * size / jnp.maximum(size - 1, 1)
    if rule.scale == "group-mean":
        advantage = _divide(advantage, mean + rule.eps)
    elif rule.scale != "none":
        pool = same if rule.scale == "group-std" else jnp.ones_like(same)
        centre = _group_sum(pool, outcome) / pool.sum(axis=1)
        squares = (jnp.where(pool, (outcome[None, :] - centre[:, None]) ** 2, 0.0)).sum(axis=1)
        std = jnp.sqrt(squares / jnp.maximum(pool.sum(axis=1) - rule.ddof, 1))
        advantage = jnp.where(_spread(pool, outcome) > 0, _divide(advantage, std + rule.eps), 0.0)
    if rule.whiten != "none":
        advantage = _whitened(rule, advantage, length if rule.whiten == "tokens" else jnp.ones_like(advantage))
    return jnp.broadcast_to(advantage[:, None], batch.mask.shape)


def _whitened(rule: Advantage, advantage: ResponseArray, count: ResponseArray) -> ResponseArray:
    """Mean 0 and standard deviation 1 over the batch, response i counting `count[i]` times."""
    total = jnp.maximum(count.sum(), 1.0)
    centred = advantage - (count * advantage).sum() / total
    std = jnp.sqrt((count * centred**2).sum() / jnp.maximum(total - rule.ddof, 1.0))
    return jnp.where(_spread(jnp.ones((len(count),) * 2, bool), advantage) > 0, _divide(centred, std + rule.eps), 0.0)


def _reward(objective: Objective, batch: Batch) -> ResponseArray:
    reward, kl = batch.reward.astype(batch.logp.dtype), objective.kl
    if objective.advantage.overlong is not None:
        reward = reward - overlong_penalty(objective, batch.mask.sum(axis=1))
    if kl is None or kl.placement != "reward":
        return reward
    estimate = kl_estimate(kl.estimator, batch.old_logp, batch.ref_logp)
    return reward - kl.sign * kl.beta * jnp.where(batch.mask > 0, estimate, 0.0).sum(axis=1)


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
    if rule.outcome == "correct":
        return jnp.where(reward >= rule.threshold, rule.positive, -rule.negative).astype(reward.dtype)
    above = reward - _group_sum(same, reward) / same.sum(axis=1)
    spread = _spread(same, reward)
    # A deviation that is rounding alone is none: equal rewards such as 0.1 need not average to 0.1 in binary.
    above = jnp.where((spread > 0) & (jnp.abs(above) > 1e-6 * spread), above, 0.0)
    return jnp.where(above > 0, rule.positive, jnp.where(above < 0, -rule.negative, 0.0)).astype(reward.dtype)


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


def _kept(objective: Objective, batch: Batch) -> ResponseArray:
    if objective.keep == "correct":
        kept = batch.reward >= objective.advantage.threshold
    elif objective.keep == "mixed-groups":
        kept = _spread(batch.group[:, None] == batch.group[None, :], batch.reward) > 0
    else:
        kept = jnp.ones_like(batch.reward, dtype=bool)
    return kept.astype(batch.mask.dtype)


def _group_sum(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    # A masked sum, not a matrix product: accelerators multiply float32 matrices in fewer bits.
    return jnp.where(same, x[None, :], 0.0).sum(axis=1)


def _spread(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    highest = jnp.where(same, x[None, :], -jnp.inf).max(axis=1)
    return highest - jnp.where(same, x[None, :], jnp.inf).min(axis=1)


def _divide(numerator: ResponseArray, divisor: ResponseArray) -> ResponseArray:
    return jnp.where(divisor != 0, numerator / jnp.where(divisor != 0, divisor, 1.0), 0.0)
