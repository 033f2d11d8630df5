"""The weight of every token, `-d loss / d logp`, in closed form.

Nothing here differentiates, so that autodiff of `loss` can check it. What ratio, clip and KL term multiply a weight
with is defined once, in `ratio` and `kl`; the exact computations read the same functions.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdp_theory.methods.batch import Batch, TokenArray
from mdp_theory.methods.credit import Credit, assign_credit
from mdp_theory.methods.kl import penalty_of, penalty_slope
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.ratio import (
    clipped_log_ratio,
    importance_ratio,
    inside_bounds,
    inside_trust,
    ratio_factor,
    ratio_of,
)


def token_weights(objective: Objective, batch: Batch) -> TokenArray:
    """`-d loss / d logp` of every token: positive weights make a token more likely."""
    return weigh(objective, batch, assign_credit(objective, batch))


def weigh(objective: Objective, batch: Batch, credit: Credit) -> TokenArray:
    """The same, given what the batch decides; numpy in, numpy out."""
    advantage, scale = credit
    xp = batch.mask.__array_namespace__()
    seen = batch.mask > 0
    weight = scale * advantage
    logp, old_logp = (xp.where(seen, x, 0.0) for x in (batch.logp, batch.old_logp))
    if objective.surrogate == "clipped-geometric-mean":
        assert objective.clip is not None
        held = clipped_log_ratio(objective.clip, logp - old_logp, above=advantage > 0)
        tokens = xp.maximum(batch.mask.sum(axis=1, keepdims=True), 1.0)
        mean = xp.exp(xp.where(seen, held, 0.0).sum(axis=1, keepdims=True) / tokens)
        weight = (weight * mean).sum(axis=1, keepdims=True) / tokens * (seen & (held == logp - old_logp))
    elif objective.surrogate != "log-likelihood":
        form = ratio_of(objective)
        ratio = importance_ratio(objective, logp, old_logp, batch.mask)
        weight = weight * xp.where(
            advantage > 0, ratio_factor(form, ratio, above=True), ratio_factor(form, ratio, above=False)
        )
        level = objective.importance_sampling_level
        if not objective.weighs_log_likelihood and level in ("sequence", "sequence-product"):
            # Every token moves the ratio of the whole response, and with it every token's term; the mean by 1/L.
            length = xp.maximum(batch.mask.sum(axis=1, keepdims=True), 1.0) if level == "sequence" else 1.0
            weight = seen * weight.sum(axis=1, keepdims=True) / length
    if objective.trust is not None:
        weight = weight * inside_trust(objective.trust, logp, old_logp, above=advantage > 0)
    log_q = xp.where(seen, batch.ref_logp - batch.logp, 0.0)
    return weight - scale * penalty_slope(penalty_of(objective), log_q)


def passes_clip(
    objective: Objective, credit: Credit, *, logp: TokenArray, old_logp: TokenArray, mask: TokenArray
) -> Bool[Array, "batch time"]:
    """True where clipping leaves the token alone: its gradient not stopped, its truncated weight not truncated."""
    logp, old_logp = (jnp.where(mask > 0, x, 0.0) for x in (logp, old_logp))
    above = credit.advantage > 0
    if objective.surrogate == "clipped-geometric-mean":
        assert objective.clip is not None
        return clipped_log_ratio(objective.clip, logp - old_logp, above=above) == logp - old_logp
    if objective.trust is not None:
        return inside_trust(objective.trust, logp, old_logp, above=above)
    form = ratio_of(objective)
    ratio = importance_ratio(objective, logp, old_logp, mask)
    if objective.surrogate == "truncated-weight":
        return (ratio >= form.low) & (ratio <= form.high)
    advantage = credit.advantage
    stopped = (advantage > 0) & ~inside_bounds(form, ratio, above=True)
    return ~(stopped | (advantage < 0) & ~inside_bounds(form, ratio, above=False))


def credit_structure_index(weights: TokenArray, mask: TokenArray) -> Float[Array, ""]:
    """η = Σ (w_it - mean_t w_it)² / Σ w_it²: 0 when every response weights its tokens alike (or not at all).

    numpy in, numpy out.
    """
    xp = weights.__array_namespace__()
    weights = xp.where(mask > 0, weights, 0.0)
    mean = weights.sum(axis=1, keepdims=True) / xp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    spread = (xp.where(mask > 0, weights - mean, 0.0) ** 2).sum()
    total = (weights**2).sum()
    return xp.where(total > 0, spread / xp.where(total > 0, total, 1.0), 0.0)
