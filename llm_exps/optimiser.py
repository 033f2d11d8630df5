"""The optimiser of the learner: optax's, with a schedule, and a decay that leaves norms and biases alone.

The learning rate is an argument of every update and not compiled in, so that sweeps and schedules share a compilation.
"""

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import optax
from jaxtyping import Array, Float

from llm_exps.options import OptimiserOptions

Name: TypeAlias = Literal["adamw", "sgd", "momentum", "lion", "adafactor"]
Part: TypeAlias = Literal["policy", "critic"]


class Settings(NamedTuple):
    """What of the options is compiled in."""

    name: Name
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    max_grad_norm: float
    critic_learning_rate: float

    @classmethod
    def of(cls, options: OptimiserOptions) -> "Settings":
        """Those of a run."""
        return cls(
            options.optimiser,
            options.adam_beta1,
            options.adam_beta2,
            options.adam_epsilon,
            options.weight_decay,
            options.max_grad_norm,
            options.critic_learning_rate,
        )


def transformation(settings: Settings, rate: Float[Array, ""] | float, part: Part) -> optax.GradientTransformation:
    """The optimiser of a part of the weights; the critic's is Adam at a rate of its own. It does not clip."""
    if part == "policy":
        return _policy(settings, rate)
    return optax.adam(settings.critic_learning_rate, b1=settings.beta1, b2=settings.beta2)


def learning_rate(options: OptimiserOptions, *, update: int, updates: int) -> float:
    """The rate of an update, counted from 0, of a run of so many: it rises over `warmup_steps` updates, then follows
    `lr_scheduler_type` down to 0 at the end (transformers' schedules of those names).
    """
    peak, warmup = options.learning_rate or 0.0, options.warmup_steps
    if update < warmup:
        return peak * (update + 1) / warmup
    if options.lr_scheduler_type == "constant":
        return peak
    gone = (update - warmup) / max(updates - warmup, 1)
    return peak * (1 - gone if options.lr_scheduler_type == "linear" else (1 + math.cos(math.pi * gone)) / 2)


def decays(params: Any) -> Any:
    """True for matrices, False for norms and biases: those a decay would only make smaller, as transformers has it."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _policy(settings: Settings, rate: Float[Array, ""] | float) -> optax.GradientTransformation:
    decay: dict[str, Any] = {"weight_decay": settings.weight_decay, "mask": _mask}
    match settings.name:
        case "adamw":
            return optax.adamw(rate, b1=settings.beta1, b2=settings.beta2, eps=settings.eps, **decay)
        case "lion":
            return optax.lion(rate, b1=settings.beta1, b2=settings.beta2, **decay)
        case "adafactor":
            # Without the scaling by the size of a parameter the rate means what it means elsewhere.
            return optax.chain(
                optax.adafactor(rate, multiply_by_parameter_scale=False, clipping_threshold=None),
                optax.masked(optax.add_decayed_weights(-rate * settings.weight_decay), _mask),
            )
        case "sgd" | "momentum":
            momentum = settings.beta1 if settings.name == "momentum" else None
            return optax.chain(optax.add_decayed_weights(settings.weight_decay, _mask), optax.sgd(rate, momentum))


def _mask(weights: Any) -> Any:
    return decays(weights)
