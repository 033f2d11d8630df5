"""The loss of an objective as its source writes it; differentiable in the log-probabilities of the current policy."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdp_theory.methods.batch import Batch, TokenArray
from mdp_theory.methods.credit import Credit, assign_credit
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.ratio import clipped, clipped_log_ratio, gated, importance_ratio, inside_trust


def loss(objective: Objective, batch: Batch) -> Float[Array, ""]:
    """The loss to minimise, differentiable in `batch.logp`."""
    credit = assign_credit(objective, batch)
    return surrogate(
        objective,
        credit,
        logp=batch.logp,
        old_logp=batch.old_logp,
        ref_logp=batch.ref_logp,
        mask=batch.mask,
    )


def surrogate(
    objective: Objective,
    credit: Credit,
    *,
    logp: TokenArray,
    old_logp: TokenArray,
    ref_logp: TokenArray,
    mask: TokenArray,
) -> Float[Array, ""]:
    """The rows' part of the loss. Parts of a batch add up to the loss of the whole; rows must be whole responses."""
    # Padding may hold anything, infinities included; 0 * inf would poison the sum and its gradient.
    seen = mask > 0
    logp, old_logp, ref_logp = (jnp.where(seen, x, 0.0) for x in (logp, old_logp, ref_logp))
    advantage = credit.advantage
    ratio = importance_ratio(objective, logp, old_logp, mask)
    if objective.surrogate == "log-likelihood":
        term = advantage * logp
    elif objective.surrogate == "ratio":
        term = advantage * ratio
    elif objective.surrogate == "clipped-ratio":
        term = jnp.minimum(advantage * ratio, advantage * clipped(objective.clip, ratio))
        if objective.clip is not None and objective.clip.dual is not None:
            term = jnp.where(advantage < 0, jnp.maximum(term, objective.clip.dual * advantage), term)
    elif objective.surrogate == "clipped-geometric-mean":
        assert objective.clip is not None
        held = clipped_log_ratio(objective.clip, logp - old_logp, above=advantage > 0)
        length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
        term = advantage * jnp.exp(jnp.where(seen, held, 0.0).sum(axis=1, keepdims=True) / length)
    elif objective.gate is None:
        term = advantage * jax.lax.stop_gradient(clipped(objective.clip, ratio)) * logp
    else:
        gate = gated(objective.gate, ratio, advantage)
        term = advantage * (gate if objective.surrogate == "soft-clip" else jax.lax.stop_gradient(gate) * logp)
    if objective.trust is not None:
        term = term * jax.lax.stop_gradient(inside_trust(objective.trust, logp, old_logp, above=advantage > 0))
    total = -(credit.scale * term).sum()
    if objective.kl is not None and objective.kl.placement == "loss":
        penalty = kl_estimate(objective.kl.estimator, logp, ref_logp)
        total += objective.kl.sign * objective.kl.beta * (credit.scale * penalty).sum()
    return total
