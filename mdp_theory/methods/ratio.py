"""The probability ratio: whose it is, where it is clipped, and what it multiplies a token's weight with."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mdp_theory.methods.batch import TokenArray
from mdp_theory.methods.objectives import Clip, Gate, Objective, TrustRegion


class Ratio(NamedTuple):
    """How the ratio enters the weight, as numbers. `token` and `sequence` say whose ratio; neither: none.

    Attributes:
        mean: 1 is the geometric mean over a response's tokens, 0 the product.
        truncated: 1 holds the ratio at its bounds; 0 leaves no gradient beyond them.
        low, high, dual: the bounds; -inf and inf where there are none.
        temperature, power, decay: of a smooth gate, for A > 0 and for A < 0; 0 where there is none.
    """

    token: Any
    sequence: Any
    mean: Any
    truncated: Any
    low: Any
    high: Any
    dual: Any
    temperature_above: Any = 0.0
    temperature_below: Any = 0.0
    power_above: Any = 0.0
    power_below: Any = 0.0
    decay_above: Any = 0.0
    decay_below: Any = 0.0


def ratio_of(objective: Objective) -> Ratio:
    """How the ratio enters an objective."""
    level = objective.importance_sampling_level
    # The bounds of a geometric mean are those of its tokens, not of the ratio.
    clip = None if objective.surrogate == "clipped-geometric-mean" else objective.clip
    enters = objective.surrogate != "log-likelihood"
    gate = objective.gate or Gate()
    pairs = (gate.temperature or (0.0, 0.0), gate.power or (0.0, 0.0), gate.decay or (0.0, 0.0))
    return Ratio(
        token=float(enters and level == "token"),
        sequence=float(enters and level != "token"),
        mean=float(level != "sequence-product"),
        truncated=float(objective.surrogate == "truncated-weight"),
        low=-np.inf if clip is None or clip.low is None else 1 - clip.low,
        high=np.inf if clip is None or clip.high is None else 1 + clip.high,
        dual=np.inf if clip is None or clip.dual is None else clip.dual,
        temperature_above=pairs[0][0],
        temperature_below=pairs[0][1],
        power_above=pairs[1][0],
        power_below=pairs[1][1],
        decay_above=pairs[2][0],
        decay_below=pairs[2][1],
    )


def importance_ratio(objective: Objective, logp: TokenArray, old_logp: TokenArray, mask: TokenArray) -> TokenArray:
    """ρ of every token at the objective's level, differentiable in `logp`; 1 on padding of a token level.

    numpy in, numpy out, but for `sequence-token`.
    """
    xp = logp.__array_namespace__()
    log_ratio = xp.where(mask > 0, logp - old_logp, 0.0)
    level = objective.importance_sampling_level
    if level == "token":
        return xp.exp(log_ratio)
    total = log_ratio.sum(axis=1, keepdims=True)
    if level != "sequence-product":
        total = total / xp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    sequence = xp.broadcast_to(xp.exp(total), log_ratio.shape)
    if level == "sequence-token":
        # One in value; its gradient is the token's own.
        return jax.lax.stop_gradient(sequence) * xp.exp(logp - jax.lax.stop_gradient(logp))
    return sequence


def clipped(clip: Clip | None, ratio: TokenArray) -> TokenArray:
    """The ratio held within the clip range."""
    if clip is None:
        return ratio
    low = None if clip.low is None else 1 - clip.low
    high = None if clip.high is None else 1 + clip.high
    return jnp.clip(ratio, low, high)


def clipped_log_ratio(clip: Clip, log_ratio: Float[Array, "..."], *, above: Any) -> Float[Array, "..."]:
    """Log-ratios held on the side that pays, for advantages above or below zero; numpy in, numpy out."""
    xp = log_ratio.__array_namespace__()
    low = -np.inf if clip.low is None else -clip.low
    high = np.inf if clip.high is None else clip.high
    return xp.where(above, xp.minimum(log_ratio, high), xp.maximum(log_ratio, low))


# Keeps the logarithm finite where a token is certain; the constant of the authors' code.
_CERTAIN = 1e-8


def inside_trust(
    trust: TrustRegion, logp: Float[Array, "..."], old_logp: Float[Array, "..."], *, above: Any
) -> Bool[Array, "..."]:
    """Where the gradient passes, for advantages above or below zero; numpy in, numpy out."""
    xp = logp.__array_namespace__()
    new, old = xp.exp(logp), xp.exp(old_logp)
    rise = new - old
    distance = xp.abs(rise)
    if trust.measure == "kl":
        others = xp.log((1 - old + _CERTAIN) / (1 - new + _CERTAIN))
        distance = old * (old_logp - logp) + (1 - old) * others
    return xp.where(above, (rise <= 0) | (distance <= trust.high), (rise >= 0) | (distance <= trust.low))


def inside_bounds(ratio: Ratio, value: Float[Array, "..."], *, above: bool) -> Bool[Array, "..."]:
    """Where the gradient passes, for advantages above or below zero: min(ρA, clip(ρ)A) stops each on one side only."""
    return value <= ratio.high if above else (value >= ratio.low) & (value <= ratio.dual)


def ratio_factor(ratio: Ratio, value: Float[Array, "..."], *, above: bool) -> Float[Array, "..."]:
    """What a ratio multiplies the on-policy weight with, for advantages above or below zero; numpy in, numpy out."""
    xp = value.__array_namespace__()
    stopped = xp.where(inside_bounds(ratio, value, above=above), value, 0.0)
    held = xp.clip(value, ratio.low, ratio.high)
    factor = xp.where(ratio.truncated > 0, held, stopped)
    temperature = ratio.temperature_above if above else ratio.temperature_below
    power, decay = (ratio.power_above, ratio.decay_above) if above else (ratio.power_below, ratio.decay_below)
    open_ = _sigmoid(temperature * (value - 1))
    factor = xp.where(temperature > 0, 4 * open_ * (1 - open_) * value, factor)
    return xp.where(decay > 0, soft_weight(value, power, decay), factor)


def _sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    xp = x.__array_namespace__()
    return 0.5 * (1 + xp.tanh(x / 2))


def soft_weight(value: Float[Array, "..."], power: Any, decay: Any) -> Float[Array, "..."]:
    """e^λ ρ^k e^(-λρ), VESPO's weight: 1 at ρ = 1; numpy in, numpy out."""
    xp = value.__array_namespace__()
    return xp.exp(decay + power * xp.log(value) - decay * value)


def gated(gate: Gate, ratio: TokenArray, advantage: TokenArray) -> TokenArray:
    """The gate of every token, by the sign of its advantage, as its source writes it."""

    def sided(pair: tuple[float, float]) -> TokenArray:
        return jnp.where(advantage > 0, pair[0], pair[1])

    if gate.temperature is not None:
        temperature = sided(gate.temperature)
        return 4 / temperature * jax.nn.sigmoid(temperature * (ratio - 1))
    if gate.power is None or gate.decay is None:
        raise ValueError("a gate has a temperature, or a power and a decay")
    power, decay = sided(gate.power), sided(gate.decay)
    return jnp.exp(decay) * ratio**power * jnp.exp(-decay * ratio)
