"""Advantage rules with every way in which ε may enter; the rules themselves are those of `methods.credit`, in numpy."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from mdp_theory.methods import credit
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


def fraction(rule: Advantage, reward: Any, group: Any, *, length: Any) -> tuple[Rows, Rows]:
    """Numerator and divisor of the rule's last division, without its ε."""
    numerator, divisor = credit.fraction(rule, reward, group, length=length)
    return np.asarray(numerator), np.asarray(divisor)


def kept_responses(keep: Keep, threshold: float, batch: Batch) -> Rows:
    """1 for a response that takes part, else 0."""
    return np.asarray(credit.kept_responses(keep, threshold, batch))


def advantages(rule: Advantage, reward: Any, group: Any, *, length: Any, form: EpsForm = "added") -> Rows:
    """The advantages where no critic is at work; `form` says how ε enters the divisor."""
    numerator, divisor = fraction(rule, reward, group, length=length)
    value: Any = EPS_FORMS[form](divisor, rule.eps) if credit.divides(rule) else divisor
    over: Any = numerator
    return np.asarray(credit.divide(over, value))
