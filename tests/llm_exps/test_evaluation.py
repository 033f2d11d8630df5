"""pass@k and intervals against enumeration and known answers."""

import itertools

import numpy as np
import pytest

from llm_exps.comparison import distinguished, over_prompts, over_seeds
from llm_exps.evaluation import pass_at_k


@pytest.mark.parametrize("correct", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(correct, k):
    outcomes = [index < correct for index in range(5)]
    draws = list(itertools.combinations(outcomes, k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert pass_at_k(np.array([correct]), 5, k) == pytest.approx(expected)


@pytest.mark.parametrize("interval", [over_seeds, over_prompts])
def test_interval_covers_the_mean_about_as_often_as_it_says(interval):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        # Over prompts the models are held fixed: only the prompts vary. Over seeds only the seeds vary.
        prompts = rng.normal(size=(1, 60)) if interval is over_prompts else np.zeros((1, 60))
        seeds = rng.normal(size=(4, 1)) if interval is over_seeds else np.zeros((4, 1))
        low, high = interval(prompts + seeds)
        covered += low <= 0 <= high
    assert 180 <= covered <= 199


def test_one_seed_has_no_interval_over_seeds():
    assert over_seeds(np.zeros((1, 5))) is None


def test_distinguished_needs_both_intervals_to_exclude_zero():
    clear, unclear = [0.1, 0.3], [-0.1, 0.3]
    assert distinguished({"interval_over_seeds": clear, "interval_over_prompts": clear})
    assert distinguished({"interval_over_seeds": None, "interval_over_prompts": clear})
    assert not distinguished({"interval_over_seeds": unclear, "interval_over_prompts": clear})
    assert not distinguished({"interval_over_seeds": clear, "interval_over_prompts": unclear})
