"""Token weights of catalogued objectives in numpy, `methods.weights` once more without jax.

An audit compares a loss with some forty objectives. In jax each would be traced and compiled for one evaluation, which
takes longer than everything else together; the tests hold the two forms against each other.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.audit.rules import advantages, kept_responses
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.credit import overlong_penalty
from mdp_theory.methods.kl import penalty_of, penalty_slope
from mdp_theory.methods.objectives import KL, Advantage, Objective
from mdp_theory.methods.ratio import clipped_log_ratio, inside_trust, ratio_factor, ratio_of

Tokens = Float[np.ndarray, "batch time"]


def token_weights(objective: Objective, batch: Batch) -> Tokens:
    """`-d loss / d logp` of every token; a critic says 0 everywhere."""
    mask = np.asarray(batch.mask, float)
    length = np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    share, advantage = _share(objective, batch, mask, length), _credit(objective, batch, mask)
    log_ratio = np.where(mask > 0, batch.logp - batch.old_logp, 0.0)
    log_q: Any = np.where(mask > 0, batch.ref_logp - batch.logp, 0.0)
    weight = share * advantage
    if objective.surrogate == "clipped-geometric-mean":
        assert objective.clip is not None
        moved: Any = log_ratio
        held: Any = clipped_log_ratio(objective.clip, moved, above=advantage > 0)
        mean = np.exp((mask * held).sum(axis=1, keepdims=True) / length)
        weight = (weight * mean).sum(axis=1, keepdims=True) / length * mask * (held == log_ratio)
    elif objective.surrogate != "log-likelihood":
        level, form = objective.importance_sampling_level, ratio_of(objective)
        if level != "token":
            log_ratio = np.broadcast_to(log_ratio.sum(axis=1, keepdims=True), mask.shape)
            log_ratio = log_ratio if level == "sequence-product" else log_ratio / length
        ratio: Any = np.exp(log_ratio)
        above, below = (ratio_factor(form, ratio, above=side) for side in (True, False))
        weight = weight * np.where(advantage > 0, above, below)
        if not objective.weighs_log_likelihood and level in ("sequence", "sequence-product"):
            weight = mask * weight.sum(axis=1, keepdims=True) / (length if level == "sequence" else 1.0)
    if objective.trust is not None:
        new, old = (np.where(mask > 0, x, 0.0) for x in (batch.logp, batch.old_logp))
        probable: Any = (new, old)
        weight = weight * inside_trust(objective.trust, *probable, above=advantage > 0)
    found: Tokens = weight - share * penalty_slope(penalty_of(objective), log_q)
    return found


def _share(objective: Objective, batch: Batch, mask: Tokens, length: Tokens) -> Tokens:
    kept = kept_responses(batch, objective.keep, objective.advantage.threshold)
    mask = mask * kept[:, None]
    responses = max(kept.sum(), 1.0)
    if objective.aggregation == "sequence-mean-token-mean":
        return mask / (responses * length)
    if objective.aggregation == "token-mean":
        return mask / max(mask.sum(), 1.0)
    return mask / (responses * (objective.max_completion_length or 1.0))


def _credit(objective: Objective, batch: Batch, mask: Tokens) -> Tokens:
    rule, reward, kl = objective.advantage, np.asarray(batch.reward, float), objective.kl
    if rule.overlong is not None:
        length: Any = mask.sum(axis=1)
        reward = reward - overlong_penalty(objective, length)
    if kl is not None and kl.placement == "reward":
        reward = reward - kl.sign * kl.beta * _estimate(kl, batch, mask)
    if rule.estimator == "gae":
        return mask * _decayed(rule, reward, mask)
    return mask * advantages(rule, reward, np.asarray(batch.group), length=mask.sum(axis=1))[:, None]


def _estimate(kl: KL, batch: Batch, mask: Tokens) -> Float[np.ndarray, " batch"]:
    """The KL estimate of each response under the policy that sampled it."""
    log_q = np.where(mask > 0, batch.ref_logp - batch.old_logp, 0.0)
    tokens = {"k1": -log_q, "k2": log_q**2 / 2, "k3": np.expm1(log_q) - log_q}[kl.estimator]
    found: Float[np.ndarray, " batch"] = tokens.sum(axis=1)
    return found


def _decayed(rule: Advantage, reward: Float[np.ndarray, " batch"], mask: Tokens) -> Tokens:
    """The generalised advantage where the critic says 0: the reward, decayed from the last token on."""
    to_go = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] - mask
    return reward[:, None] * (rule.discount * rule.gae_lambda) ** to_go
