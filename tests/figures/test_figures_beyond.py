"""Figures of noise, rollouts, rates and optimisers: what they take from the files, and what they do without."""

import numpy as np
import pytest
from run_files import make_check

from figures import beyond
from figures.curves import MissingData
from figures.reading import read_results


@pytest.fixture
def results(tmp_path):
    make_check(tmp_path / "check")
    return read_results(tmp_path)


def test_rollouts_are_relative_to_the_flat_group(results):
    ((panel,),) = beyond.rollouts(results)[""]
    assert panel.names == ("flat group of 8", "VinePPO, K = 1")
    np.testing.assert_allclose(panel.curves[0].y, [1.0, 3.0])  # the mean over prompts of 80/40 and 240/60


def test_noise_has_gaps_where_there_is_none(results):
    ((rules, sizes),) = beyond.noise_floors(results)[""]
    assert np.isnan(rules.curves[0].y[-1])
    assert [curve.label for curve in sizes.curves] == ["RLOO, G = 2", "RLOO, G = 8"]


def test_rates_and_optimisers_have_a_panel_each(results):
    ((by_start, closed, hard),) = beyond.rates(results)[""]
    assert (len(by_start.curves), len(closed.curves)) == (1, 3)
    np.testing.assert_allclose(hard.curves[0].y, [0.01, 0.8])
    ((row,),) = beyond.optimisers(results).values()
    assert [panel.title for panel in row] == ["sgd, learning rate 2", "adam, learning rate 0.05"]


@pytest.mark.parametrize("prepare", [beyond.noise_floors, beyond.rollouts, beyond.rates, beyond.optimisers])
def test_without_the_section_there_is_a_reason(results, prepare):
    for check in results.checks.values():
        for section in ("noise", "rates", "optimiser"):
            check.pop(section)
    with pytest.raises(MissingData, match="check/"):
        prepare(results)
