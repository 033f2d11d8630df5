"""Intervals against numbers from a table, and coverage where it can be simulated."""

import numpy as np
import pytest

from figures.statistics import Estimate, paired_bootstrap, t_interval


def test_t_interval_of_three_values() -> None:
    estimate = t_interval([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    # t(0.975, 2 degrees of freedom) = 4.30265; the standard error is 1/√3.
    assert estimate.high - estimate.mean == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    assert estimate.low == pytest.approx(4.0 - estimate.high)


def test_a_single_value_has_no_interval_and_decides_nothing() -> None:
    estimate = t_interval([5.0])
    assert (estimate.low, estimate.high, estimate.excludes_zero) == (None, None, False)
    assert str(estimate) == "5.000"


def test_no_values_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        t_interval([])


def test_an_end_on_zero_does_not_exclude_it() -> None:
    assert not Estimate(0.1, 0.0, 0.2, 3).excludes_zero
    assert Estimate(-0.1, -0.2, -0.001, 3).excludes_zero


def test_t_interval_covers_as_often_as_it_says() -> None:
    sample = np.random.default_rng(0).normal(1.0, 1.0, (2000, 4))
    covered = [(e.low < 1.0 < e.high) for e in map(t_interval, sample)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_bootstrap_has_the_width_of_the_normal_approximation() -> None:
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 400)
    estimate = paired_bootstrap(differences)
    half = 1.96 * differences.std() / np.sqrt(400)
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.05)
    assert estimate.mean == differences.mean()
    assert estimate == paired_bootstrap(differences)
