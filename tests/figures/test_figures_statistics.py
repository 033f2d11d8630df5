"""Intervals against numbers from a table, and coverage where it can be simulated."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from figures.statistics import (
    Estimate,
    calibration,
    factorial_effects,
    holm,
    paired_bootstrap,
    smallest_detectable,
    t_interval,
)


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


@pytest.mark.parametrize("values", [[0.023, 0.023], [0.1 + 0.2, 0.3, 0.3], [0.0] * 5])
def test_values_without_spread_have_no_interval_and_decide_nothing(values: list[float]) -> None:
    estimate = t_interval(values)
    assert (estimate.low, estimate.high, estimate.p_value, estimate.detectable) == (None, None, None, None)
    assert not estimate.excludes_zero
    assert not estimate.conclusive


def test_two_values_have_an_interval_and_are_too_few_to_decide() -> None:
    estimate = t_interval([1.0, 1.001])
    assert estimate.excludes_zero
    assert not estimate.conclusive
    assert t_interval([1.0, 1.001, 1.002]).conclusive


@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=3, max_size=9, unique=True))
def test_p_values_are_those_of_the_t_test(values: list[float]) -> None:
    estimate = t_interval(values)
    assert estimate.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-12)
    assert (estimate.p_value < 0.05) == estimate.excludes_zero


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        # The rule itself: from the smallest on, while p is at most level / (those left).
        rejected: set[int] = set()
        for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[place] * (len(p_values) - rank) > level:
                break
            rejected.add(place)
        assert {place for place, p in enumerate(adjusted) if p <= level} == rejected


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([0.04, None, 0.01]) == [0.04, None, 0.02]


@pytest.mark.parametrize("count", [2, 3, 8, 30])
def test_the_smallest_detectable_effect_is_found_four_times_in_five(count: int) -> None:
    effect = smallest_detectable(2.0, count)
    sample = np.random.default_rng(0).normal(effect, 2.0, (20_000, count))
    found = stats.ttest_1samp(sample, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.012)


def test_effects_of_a_factorial_are_the_coefficients_of_its_linear_model() -> None:
    generator = np.random.default_rng(2)
    levels = (("none", "1/L"), ("all", "right", "wrong"))
    cells = {cell: generator.normal(size=5) for cell in itertools.product(*levels)}
    effects = factorial_effects(cells, ("length", "credit"))
    # Main effects are contrasts of marginal means; interactions are differences of differences.
    table = np.array([[cells[a, b] for b in levels[1]] for a in levels[0]])
    assert effects["length: 1/L"] == t_interval((table[1] - table[0]).mean(axis=0))
    assert effects["credit: wrong"].mean == pytest.approx((table[:, 2] - table[:, 0]).mean())
    cross = table[1, 1] - table[0, 1] - table[1, 0] + table[0, 0]
    assert effects["length: 1/L × credit: right"].mean == pytest.approx(cross.mean())
    assert len(effects) == 1 + 2 + 2


def test_a_factorial_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="every combination"):
        factorial_effects({("a", "x"): np.zeros(3), ("b", "y"): np.ones(3)}, ("one", "two"))


def test_calibration_is_the_line_of_least_squares() -> None:
    predicted = np.array([0.0, 1.0, 2.0, 3.0])
    measured = np.array([1.0, 2.9, 5.2, 6.9])
    expected = stats.linregress(predicted, measured)
    assert calibration(predicted, measured) == pytest.approx((expected.slope, expected.intercept, expected.rvalue**2))
    with pytest.raises(ValueError, match="three predictions"):
        calibration(np.ones(4), measured)
