"""One least-squares fit of logarithms: which powers of what make up a quantity, by the smallest model within noise."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Column = Float[np.ndarray, " rows"]

RECOGNISED = 1e-6
"""What a fit may leave of a loss without rounding: room for one that computes in float32."""

_MOST = 4


@dataclass(frozen=True)
class Fit:
    """`quantity = scale · Π feature^exponent`.

    Attributes:
        exponents: of the features that it takes, with no more digits than the noise left over bears out.
        scale: what is left in front.
        residual: relative distance left over.
    """

    exponents: Mapping[str, float]
    scale: float
    residual: float


def powers(features: Mapping[str, Column], wanted: Column, share: Column, *, room: float) -> Fit | None:
    """The smallest model that fits.

    A logarithm that is off by δ is off by δ of its quantity, so that with quantities as `share` the residual is their
    own relative distance, as if they and not their logarithms had been fitted.

    Args:
        features: logarithms of what may enter with a power.
        wanted: logarithms of the quantity.
        share: weight of each row: the quantity itself, in whatever unit its probe has.
        room: the residual that may be noise.

    Returns:
        None where no model of up to four features leaves less. Of several as small, one whose exponents are halves is
        preferred, then the nearest.
    """
    names = [name for name, column in features.items() if np.ptp(column) > 0]
    triangle = _triangle([features[name] for name in names], wanted, share)
    if _left(triangle, range(len(names) + 1))[0] > room:
        return None
    for size in range(min(_MOST, len(names)) + 1):
        found = []
        for chosen in itertools.combinations(range(1, len(names) + 1), size):
            error, solution, doubt = _left(triangle, (0, *chosen))
            if error < room:
                exponents = [_short(x, d) for x, d in zip(solution[1:], doubt[1:], strict=True)]
                odd = sum(not (2 * x).is_integer() for x in exponents)
                fit = Fit({names[i - 1]: x for i, x in zip(chosen, exponents, strict=True)}, solution[0], error)
                found.append((odd, error, fit))
        if found:
            fit = min(found, key=lambda each: each[:2])[2]
            return Fit(fit.exponents, float(np.exp(fit.scale)), fit.residual)
    return None


def least(columns: list[Column], wanted: Column, share: Column) -> float:
    """The residual with all the columns."""
    return _left(_triangle(columns, wanted, share), range(len(columns) + 1))[0]


def _triangle(columns: list[Column], wanted: Column, share: Column) -> np.ndarray:
    """What a subset of the columns leaves of `wanted`, it leaves in this too, which is a hundred times smaller."""
    table = np.stack([np.ones_like(wanted), *columns, wanted], axis=1)
    return np.asarray(np.linalg.qr(table * (share / np.linalg.norm(share))[:, None], mode="r"))


def _left(triangle: np.ndarray, chosen: range | tuple[int, ...]) -> tuple[float, np.ndarray, np.ndarray]:
    """The residual of some columns, their coefficients, and how far the residual may have moved each of these."""
    columns = triangle[:, list(chosen)]
    solution = np.linalg.lstsq(columns, triangle[:, -1], rcond=None)[0]
    error = float(np.linalg.norm(triangle[:, -1] - columns @ solution))
    doubt = error * np.linalg.norm(np.linalg.pinv(columns), axis=1) + 1e-9
    return error, solution, doubt


def _short(number: float, doubt: float) -> float:
    """The number of fewest digits within `doubt`, a half before all others."""
    half = round(2 * number) / 2
    if abs(half - number) <= doubt:
        return half
    shorter = (float(f"{number:.{count}g}") for count in range(1, 12))
    return next((short for short in shorter if abs(short - number) <= doubt), float(number))


def digits(number: float, count: int = 6) -> float:
    """The number without its rounding."""
    return float(f"{number:.{count}g}") if abs(number) > 1e-12 else 0.0
