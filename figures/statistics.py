"""Intervals and paired differences: what a handful of seeds and a fixed set of prompts can and cannot tell apart.

Two sources of chance are kept apart. Over *seeds* (sampling, order of prompts): Student's t interval of the mean. Over
*prompts*, the trained models held fixed: bootstrap of the prompts, paired, percentile interval. Several comparisons
with one reference are a family, and their p-values are corrected by Holm's step-down rule (Scandinavian Journal of
Statistics 6, 1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, stdtr, stdtrit

CONFIDENCE = 0.95

FEWEST = 3
"""Seeds: from fewer no difference is said to be there. A t interval of two is 12.7 standard errors wide either way."""

EXACT = 1e-12
"""Relative error up to which float64 gradients count as equal; the two sides are sums in different orders."""

TRAINED = {"float32": 1e-4, "bfloat16": 3e-2}
"""The same for gradients of a model trained in this precision."""


@dataclass(frozen=True)
class Estimate:
    """A mean of `count` independent values and its interval; None for one value, and for values that are all the same.

    Values without any spread are one value written down several times: they say nothing of what others would be.

    Attributes:
        deviation: the sample deviation of the values; 0 without an interval.
    """

    mean: float
    low: float | None
    high: float | None
    count: int
    deviation: float = 0.0

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {(self.high - self.low) / 2:.3f}"

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def excludes_zero(self) -> bool:
        """True where there is an interval and 0 lies outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def conclusive(self) -> bool:
        """True where the interval excludes 0 and rests on enough values."""
        return self.excludes_zero and self.count >= FEWEST

    @property
    def p_value(self) -> float | None:
        """Of Student's t test that the mean is 0, both sides; None without an interval."""
        if self.deviation == 0:
            return None
        statistic = abs(self.mean) / (self.deviation / np.sqrt(self.count))
        return float(2 * stdtr(self.count - 1, -statistic))

    @property
    def detectable(self) -> float | None:
        """The smallest true mean that so many values with this deviation would show in four of five studies."""
        return smallest_detectable(self.deviation, self.count) if self.deviation else None


def t_interval(values: Sequence[float] | Float[np.ndarray, " seeds"]) -> Estimate:
    """Mean and Student's t interval of independent values.

    Raises:
        ValueError: no values.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ValueError("an estimate needs at least one value")
    mean = float(sample.mean())
    # The same number, computed in different orders, differs in its last digits.
    if np.ptp(sample) <= 1e-12 * max(1.0, float(np.abs(sample).max())):
        return Estimate(mean, None, None, sample.size)
    half = float(t_half_width(sample[:, None])[0])
    return Estimate(mean, mean - half, mean + half, sample.size, float(sample.std(ddof=1)))


def t_half_width(values: Float[np.ndarray, "seeds points"]) -> Float[np.ndarray, " points"]:
    """Half the width of the t interval of every column; two rows at least."""
    count = values.shape[0]
    quantile = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return quantile * values.std(axis=0, ddof=1) / np.sqrt(count)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, in the order given: below α they may all be called significant at the level α.

    What has no p-value was not tested, and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (p, place) in enumerate(tested):
        reached = max(reached, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = reached
    return adjusted


def smallest_detectable(deviation: float, count: int, *, power: float = 0.8) -> float:
    """The true mean at which a two-sided t test of `count` values at the level 1 − CONFIDENCE has this power.

    Raises:
        ValueError: fewer than two values.
    """
    if count < 2:
        raise ValueError("a t test needs two values at least")
    freedom = count - 1
    critical = stdtrit(freedom, (1 + CONFIDENCE) / 2)

    # The sample deviation over the true one, at evenly spaced quantiles: the power is the mean over it.
    ratio = np.sqrt(2 * gammaincinv(freedom / 2, (np.arange(4000) + 0.5) / 4000) / freedom)

    def gap(shift: float) -> float:
        return float(np.mean(ndtr(shift - critical * ratio) + ndtr(-shift - critical * ratio))) - power

    return float(brentq(gap, 0.0, 10 * critical + 10)) * deviation / np.sqrt(count)


def factorial_effects(
    cells: Mapping[tuple[str, ...], Float[np.ndarray, " seeds"]], factors: Sequence[str]
) -> dict[str, Estimate]:
    """Main effects and interactions of two factors with two levels or of more, paired by seed, with t intervals.

    Args:
        cells: the outcome of every seed, by the level of each factor; every combination of levels, one seed order.
        factors: their names. The first level that occurs is the one compared with.

    Returns:
        By name: `factor: level` is the mean over the other factors of the change from the first level, and
        `one: level × two: level` how much the change in one is larger at that level of the other.

    Raises:
        ValueError: a combination is missing.
    """
    levels = [list(dict.fromkeys(cell[place] for cell in cells)) for place in range(len(factors))]
    if len(cells) != np.prod([len(found) for found in levels]):
        raise ValueError("a factorial needs every combination of levels")

    def mean_at(chosen: Mapping[int, str]) -> Float[np.ndarray, " seeds"]:
        return np.mean([v for cell, v in cells.items() if all(cell[i] == level for i, level in chosen.items())], axis=0)

    found: dict[str, Estimate] = {}
    for place, name in enumerate(factors):
        for level in levels[place][1:]:
            found[f"{name}: {level}"] = t_interval(mean_at({place: level}) - mean_at({place: levels[place][0]}))
    for one, two in combinations(range(len(factors)), 2):
        for first in levels[one][1:]:
            for second in levels[two][1:]:
                low, high = (
                    mean_at({one: first, two: at}) - mean_at({one: levels[one][0], two: at})
                    for at in (levels[two][0], second)
                )
                found[f"{factors[one]}: {first} × {factors[two]}: {second}"] = t_interval(high - low)
    return found


def calibration(
    predicted: Float[np.ndarray, " prompts"], measured: Float[np.ndarray, " prompts"]
) -> tuple[float, float, float]:
    """Slope and intercept of the least-squares line of measured on predicted, and the share of variance explained.

    Raises:
        ValueError: fewer than three values, or predictions that are all the same.
    """
    if predicted.size < 3 or np.ptp(predicted) == 0:
        raise ValueError("a line needs three predictions that differ")
    slope, intercept = np.polyfit(predicted, measured, 1)
    left = measured - slope * predicted - intercept
    spread = float(((measured - measured.mean()) ** 2).sum())
    return float(slope), float(intercept), 1.0 - float((left**2).sum()) / spread if spread else 1.0


def paired_bootstrap(differences: Float[np.ndarray, " prompts"], *, resamples: int = 10_000, seed: int = 0) -> Estimate:
    """Mean of differences by prompt and its percentile interval under resampling of the prompts."""
    generator = np.random.default_rng(seed)
    count = differences.size
    # In blocks: resamples x prompts indices at once would be large for a thousand prompts.
    means = np.concatenate(
        [differences[generator.integers(0, count, (size, count))].mean(axis=1) for size in _blocks(resamples, 500)]
    )
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(differences.mean()), float(low), float(high), count)


def _blocks(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]
