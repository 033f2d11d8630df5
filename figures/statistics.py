"""Intervals and paired differences: what a handful of seeds and a fixed set of prompts can and cannot tell apart.

Two sources of chance are kept apart. Over *seeds* (sampling, order of prompts): Student's t interval of the mean. Over
*prompts*, the trained models held fixed: bootstrap of the prompts, paired, percentile interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

CONFIDENCE = 0.95

FEWEST = 3
"""Seeds: from fewer no difference is said to be there. A t interval of two is 12.7 standard errors wide either way."""

EXACT = 1e-12
"""Relative error up to which float64 gradients count as equal; the two sides are sums in different orders."""

TRAINED = {"float32": 1e-4, "bfloat16": 3e-2}
"""The same for gradients of a model trained in this precision."""


@dataclass(frozen=True)
class Estimate:
    """A mean of `count` independent values and its interval; no interval (None) for a single value."""

    mean: float
    low: float | None
    high: float | None
    count: int

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


def t_interval(values: Sequence[float] | Float[np.ndarray, " seeds"]) -> Estimate:
    """Mean and Student's t interval of independent values.

    Raises:
        ValueError: no values.
    """
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        raise ValueError("an estimate needs at least one value")
    mean = float(sample.mean())
    if sample.size == 1:
        return Estimate(mean, None, None, 1)
    half = t_half_width(sample[:, None])[0]
    return Estimate(mean, mean - half, mean + half, sample.size)


def t_half_width(values: Float[np.ndarray, "seeds points"]) -> Float[np.ndarray, " points"]:
    """Half the width of the t interval of every column; two rows at least."""
    count = values.shape[0]
    quantile = stdtrit(count - 1, (1 + CONFIDENCE) / 2)
    return quantile * values.std(axis=0, ddof=1) / np.sqrt(count)


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
