"""What an optimiser makes of c(p): the optimisers themselves, and how far Adam can tell two rules apart (theorem T15).

On one prompt the expected gradient of every rule of T5 is c(p) ∇p. Adam divides a weighted mean of gradients by the
root of a weighted mean of their squares, so a constant factor leaves nothing but another ε. What it sees of c is how
much c changed within its memory, and the bounds here say by how much at most.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import optax
from jaxtyping import Float

from rino_base.messages import InputError

_NOUGHT = 1e-100  # In the place of ε = 0, so that 0/0 is 0: some logits never have a gradient.

Kind = Literal["sgd", "momentum", "adam", "adamw"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """An optimiser as data; defaults are those of the training harness.

    Attributes:
        kind: `sgd`; `momentum` (the heavy ball); `adam`, where `weight_decay` is added to the gradient (L2), or
            `adamw`, where it bypasses the moments (1711.05101). `sgd` and `momentum` add it to the gradient too.
        momentum: decay of the velocity.
        beta1, beta2: decay of Adam's moments.
        eps: what Adam adds to the root of its second moment.
        weight_decay: its coefficient.
        max_grad_norm: gradients longer than this are scaled down to it before all else; None never.
    """

    kind: Kind = "sgd"
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float | None = None

    def __post_init__(self) -> None:
        decays = {"momentum": self.momentum, "beta1": self.beta1, "beta2": self.beta2}
        for name, value in decays.items():
            if not 0 <= value < 1:
                raise InputError(f"{name} is {value:g}, the rule is 0 ≤ {name} < 1", mend="0.9 is usual")
        if self.eps < 0 or self.weight_decay < 0:
            raise InputError(f"eps is {self.eps:g} and weight_decay {self.weight_decay:g}", mend="neither is below 0")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise InputError(f"max_grad_norm is {self.max_grad_norm:g}", mend="give a positive number, or None")

    @property
    def plain(self) -> bool:
        """Whether a step is the learning rate times the gradient and nothing else."""
        return self.kind == "sgd" and self.weight_decay == 0 and self.max_grad_norm is None

    def transformation(self, learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        """The same as a transformation of descent directions, in the order of the training harness."""
        parts = [] if self.max_grad_norm is None else [optax.clip_by_global_norm(self.max_grad_norm)]
        if self.weight_decay and self.kind != "adamw":
            parts.append(optax.add_decayed_weights(self.weight_decay))
        if self.kind == "momentum":
            parts.append(optax.trace(self.momentum))
        elif self.kind != "sgd":
            parts.append(optax.scale_by_adam(b1=self.beta1, b2=self.beta2, eps=max(self.eps, _NOUGHT)))
        if self.weight_decay and self.kind == "adamw":
            parts.append(optax.add_decayed_weights(self.weight_decay))
        return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


SGD = Optimiser()
"""The learning rate times the gradient."""


def moment_weights(optimiser: Optimiser, steps: int) -> tuple[Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
    """What Adam's moments, bias correction included, weigh the gradients of steps 1 … `steps` with; each sums to 1."""
    age = np.arange(steps - 1, -1, -1)
    first, second = optimiser.beta1**age, optimiser.beta2**age
    return first / first.sum(), second / second.sum()


def longest_update(optimiser: Optimiser, steps: int | None = None) -> float:
    """√Q: no coordinate of Adam's update exceeds this many learning rates, whatever the gradients (theorem T15).

    Q = Σ a²/b over the weights of the two moments; its limit for many steps if `steps` is None. Infinite where
    β₁² ≥ β₂.
    """
    if steps is not None:
        first, second = moment_weights(optimiser, steps)
        return float(np.sqrt((first**2 / second).sum()))
    if optimiser.beta1**2 >= optimiser.beta2:
        return float("inf")
    tail = (1 - optimiser.beta2) * (1 - optimiser.beta1**2 / optimiser.beta2)
    return (1 - optimiser.beta1) / float(np.sqrt(tail))


def factor_bound(optimiser: Optimiser, factor: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """How far, at most, Adam's update with gradients c(s) v(s) is from that with the v(s): theorem T15, at ε = 0.

    `factor` holds c(1), c(2), …, all positive. Entry n is √Q min(2, max c / min c − 1) over the steps up to n, in units
    of the learning rate, for every coordinate and any v; the comparison is with the same v times a constant. Two rules
    are within it of one another on one path if `factor` is the quotient of their c.
    """
    if not (factor > 0).all():
        raise InputError("a factor is not positive", mend="Adam forgets the size of a factor, not its sign")
    change = np.maximum.accumulate(factor) / np.minimum.accumulate(factor) - 1
    longest = np.array([longest_update(optimiser, n) for n in range(1, len(factor) + 1)])
    return longest * np.minimum(change, 2.0)


def adam_updates(
    optimiser: Optimiser, gradients: Float[np.ndarray, "steps coordinates"]
) -> Float[np.ndarray, "steps coordinates"]:
    """Adam's ascent direction m̂/(√v̂ + ε) at every step of a sequence of gradients, before the learning rate."""
    first, second = np.zeros(gradients.shape[1:]), np.zeros(gradients.shape[1:])
    found = np.empty_like(gradients)
    for n, gradient in enumerate(gradients, start=1):
        first = optimiser.beta1 * first + (1 - optimiser.beta1) * gradient
        second = optimiser.beta2 * second + (1 - optimiser.beta2) * gradient**2
        root = np.sqrt(second / (1 - optimiser.beta2**n)) + optimiser.eps
        mean = first / (1 - optimiser.beta1**n)
        found[n - 1] = np.divide(mean, root, out=np.zeros_like(mean), where=root > 0)
    return found
