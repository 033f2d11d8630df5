"""The precision that a loss computes in, read off its weights: a number of few digits shows that it was rounded."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mdp_theory.audit.probes import EQUAL, ROWS

Precision = Literal["float64", "float16", "bfloat16"]

# Significant binary digits, the leading one included; and what a few roundings leave, relative to the largest weight.
_DIGITS: dict[Precision, int] = {"bfloat16": 8, "float16": 11}
ROUNDING: dict[Precision, float] = {"float64": 0.0, "float16": 2.0**-9, "bfloat16": 2.0**-6}

# A loss may round first and divide afterwards, by what an aggregation divides by.
_DIVISORS = (1, ROWS, int(EQUAL[0]), ROWS * int(EQUAL[0]))


def precision_of(weights: Sequence[np.ndarray]) -> Precision:
    """The lowest precision in which every weight, times one of the usual denominators, is a number without rounding.

    Chance makes a float64 number one of 8 digits once in 10^13; a handful of equal weights (+1 and -1, say) decide
    nothing, so at least five different sizes are asked for.
    """
    found = np.abs(np.concatenate([row[np.isfinite(row)] for row in weights]))
    found = found[found > 1e-6 * found.max(initial=0)]
    if len(np.unique(np.float32(found))) < 5:
        return "float64"
    for precision, digits in _DIGITS.items():
        if any(_in_digits(found * divisor, digits) for divisor in _DIVISORS):
            return precision
    return "float64"


def _in_digits(numbers: np.ndarray, digits: int) -> bool:
    # The product with a denominator rounds in float32 at the worst; a number of so few digits is still the nearest.
    mantissa, _ = np.frexp(numbers)
    scaled = mantissa * 2.0**digits
    return bool((np.abs(scaled - np.round(scaled)) < 2.0 ** (digits - 20)).all())
