"""pass@k and the bootstrap against enumeration and known answers."""

import itertools

import numpy as np
import pytest

from llm_exps.comparison import bootstrap
from llm_exps.evaluation import pass_at_k


@pytest.mark.parametrize("correct", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(correct, k):
    outcomes = [index < correct for index in range(5)]
    draws = list(itertools.combinations(outcomes, k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert pass_at_k(np.array([correct]), 5, k) == pytest.approx(expected)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(40):
        values = rng.normal(size=(8, 60)) + rng.normal(size=(8, 1)) * 0.5
        low, high = bootstrap(values)
        covered += low <= 0 <= high
    assert 30 <= covered <= 40


def test_bootstrap_of_equal_values_has_no_width():
    assert bootstrap(np.full((3, 10), 0.25)) == [0.25, 0.25]
