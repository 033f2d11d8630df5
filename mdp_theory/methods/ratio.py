"""The probability ratio: whose it is, where it is clipped, and what it multiplies a token's weight with."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdp_theory.methods.batch import TokenArray
from mdp_theory.methods.objectives import Clip, Objective


class Ratio(NamedTuple):
    """How the ratio enters the weight, as numbers. `token` and `sequence` say whose ratio; neither: none.

    Attributes:
        mean: 1 is the geometric mean over a response's tokens, 0 the product.
        truncated: 1 holds the ratio at its bounds; 0 leaves no gradient beyond them.
        low, high, dual: the bounds; -inf and inf where there are none.
    """

    token: Any
    sequence: Any
    mean: Any
    truncated: Any
    low: Any
    high: Any
    dual: Any


def ratio_of(objective: Objective) -> Ratio:
    """How the ratio enters an objective."""
    clip, level = objective.clip, objective.importance_sampling_level
    enters = objective.surrogate != "log-likelihood"
    return Ratio(
        token=float(enters and level == "token"),
        sequence=float(enters and level != "token"),
        mean=float(level != "sequence-product"),
        truncated=float(objective.surrogate == "truncated-weight"),
        low=-np.inf if clip is None or clip.low is None else 1 - clip.low,
        high=np.inf if clip is None or clip.high is None else 1 + clip.high,
        dual=np.inf if clip is None or clip.dual is None else clip.dual,
    )


def importance_ratio(objective: Objective, logp: TokenArray, old_logp: TokenArray, mask: TokenArray) -> TokenArray:
    """ρ of every token at the objective's level, differentiable in `logp`; 1 on padding of a token level."""
    log_ratio = jnp.where(mask > 0, logp - old_logp, 0.0)
    level = objective.importance_sampling_level
    if level == "token":
        return jnp.exp(log_ratio)
    total = log_ratio.sum(axis=1, keepdims=True)
    if level != "sequence-product":
        total = total / jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    sequence = jnp.broadcast_to(jnp.exp(total), log_ratio.shape)
    if level == "sequence-token":
        # One in value; its gradient is the token's own.
        return jax.lax.stop_gradient(sequence) * jnp.exp(logp - jax.lax.stop_gradient(logp))
    return sequence


def clipped(clip: Clip | None, ratio: TokenArray) -> TokenArray:
    """The ratio held within the clip range."""
    if clip is None:
        return ratio
    low = None if clip.low is None else 1 - clip.low
    high = None if clip.high is None else 1 + clip.high
    return jnp.clip(ratio, low, high)


def inside_bounds(ratio: Ratio, value: Float[Array, "..."], *, above: bool) -> Bool[Array, "..."]:
    """Where the gradient passes, for advantages above or below zero: min(ρA, clip(ρ)A) stops each on one side only."""
    return value <= ratio.high if above else (value >= ratio.low) & (value <= ratio.dual)


def ratio_factor(ratio: Ratio, value: Float[Array, "..."], *, above: bool) -> Float[Array, "..."]:
    """What a ratio multiplies the on-policy weight with, for advantages above or below zero; numpy in, numpy out."""
    xp = value.__array_namespace__()
    stopped = xp.where(inside_bounds(ratio, value, above=above), value, 0.0)
    held = xp.clip(value, ratio.low, ratio.high)
    return xp.where(ratio.truncated > 0, held, stopped)
