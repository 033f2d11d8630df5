"""What the lines, bands and legends of figures hold."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from run_files import make_run

from figures.curves import Curve, MissingData, Panel, draw_panels, running_mean, smoothing_window
from figures.runs import Results, read_results
from figures.statistics import t_interval
from figures.style import BEFORE, DASHES, MARKERS, PALETTE, looks
from figures.training import (
    ACCURACY,
    LENGTH_BY_OUTCOME,
    PROBE,
    against_step,
    by_layer,
    dials,
    learning_rates,
    off_policy,
    pass_at_k,
)


def legend(figure: Figure) -> list[str]:
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_accuracy_lines_are_means_over_seeds_with_t_bands(results: Results) -> None:
    (panels,) = against_step(results, ACCURACY)[""]
    figure = draw_panels([panels], looks(results.labels))
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == [
        "training reward",
        "held-out pass@1",
        "held-out accuracy",
    ]
    ax = figure.axes[2]
    for line, band, arm in zip(ax.lines, ax.collections, results.arms, strict=True):
        values = np.array([[row["eval/accuracy_strict"] for row in run.evaluations] for run in arm.runs])
        np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
        np.testing.assert_array_equal(line.get_xdata(), [0, 10, 20, 30, 40])
        last = t_interval(values[:, -1])
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() <= max(t_interval(column).high for column in values.T) + 1e-12
        assert last.low == pytest.approx(heights[np.isclose(band.get_paths()[0].vertices[:, 0], 40)].min())
    assert legend(figure) == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"]


def test_one_method_has_one_look_in_every_figure(results: Results) -> None:
    known = looks(results.labels)
    colors = [
        {line.get_label(): line.get_color() for ax in draw_panels(rows, known).axes for line in ax.lines}
        for measurements in (ACCURACY, LENGTH_BY_OUTCOME, PROBE)
        for rows in against_step(results, measurements).values()
    ]
    assert colors[0] == colors[1] == colors[2]
    assert len(set(colors[0].values())) == 4


def test_thirty_two_labels_all_look_different() -> None:
    labels = [f"method {i}" for i in range(len(PALETTE) * len(DASHES))]
    known = looks(labels)
    assert len({(known[label].color, str(known[label].dash)) for label in labels}) == len(labels)
    assert len({(known[label].color, known[label].marker) for label in labels[: 2 * len(MARKERS)]}) == 2 * len(MARKERS)
    assert known[BEFORE].color not in PALETTE


def test_measurements_that_nobody_made_are_named(results: Results) -> None:
    with pytest.raises(MissingData, match="no run records eval/nothing or nothing"):
        against_step(results, (("eval/nothing", ""), ("nothing", "")))


def test_pass_at_k_shows_the_untrained_model_once(results: Results) -> None:
    ((panel,),) = pass_at_k(results)[""]
    assert [curve.label for curve in panel.curves] == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺", BEFORE]
    assert panel.curves[0].x.tolist() == [1, 2, 4, 8]
    assert panel.curves[-1].y[0] == pytest.approx(0.25)


def test_layers_are_in_the_order_of_the_model(results: Results) -> None:
    ((cosine, _),) = by_layer(results)[""]
    assert cosine.names == ("embed", "2", "10", "norm")
    np.testing.assert_allclose(cosine.curves[0].y, [0.1, 0.2, 0.3, 0.4])


def test_the_off_policy_figure_shows_the_ablations(results: Results) -> None:
    (panels,) = off_policy(results)[""]
    assert [curve.label for curve in panels[0].curves] == [arm.label for arm in results.ablations]


def test_a_dial_needs_three_values(results: Results) -> None:
    (panels,) = dials(results)["num_iterations"]
    assert panels[0].curves[0].x.tolist() == [1, 2, 4]
    assert panels[0].curves[0].label == "GRPO"


def test_the_sweep_is_the_mean_of_the_last_quarter(results: Results) -> None:
    ((panel,),) = learning_rates(results)[""]
    (curve,) = panel.curves
    rewards = {run.config["learning_rate"]: run.series("reward")[1] for run in results.others["sweep"]}
    assert curve.x.tolist() == [1e-4, 3e-4]
    assert curve.y.tolist() == pytest.approx([rewards[rate][-10:].mean() for rate in (1e-4, 3e-4)])


def test_smoothing_keeps_constants_and_short_curves() -> None:
    assert smoothing_window(59) == 1
    assert smoothing_window(200) % 2 == 1
    np.testing.assert_allclose(running_mean(np.full((2, 50), 3.0), 5), 3.0)
    np.testing.assert_allclose(running_mean(np.arange(5.0)[None], 3), [[0.5, 1, 2, 3, 3.5]])


def test_lines_that_differ_by_rounding_look_equal() -> None:
    cosine = Curve("a", np.arange(3.0), np.array([1.0, 1.0 - 1e-7, 1.0 + 1e-7]))
    figure = draw_panels([[Panel("", "x", "y", (cosine,))]], looks(["a"]))
    assert figure.axes[0].get_ylim() == pytest.approx((0.95, 1.05), abs=1e-6)


def test_two_seeds_are_drawn_as_lines_and_not_as_a_band(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / str(seed), seed=seed)
    found = read_results(tmp_path)
    ((panel, *_),) = against_step(found, ACCURACY)[""]
    figure = draw_panels([[panel]], looks(found.labels))
    mean, first, second = (np.asarray(line.get_ydata()) for line in figure.axes[0].lines)
    np.testing.assert_allclose(mean, (first + second) / 2)
    assert not figure.axes[0].collections
    assert figure.axes[0].get_ylim()[0] < min(first.min(), second.min())
    assert legend(figure) == ["GRPO"]


def test_a_wide_band_does_not_flatten_the_lines() -> None:
    curve = Curve("a", np.arange(3.0), np.array([0.0, 1.0, 0.5]), np.array([100.0, 100.0, 100.0]))
    figure = draw_panels([[Panel("", "x", "y", (curve,))]], looks(["a"]))
    low, high = figure.axes[0].get_ylim()
    assert high - low < 4
