"""What the lines, bands, forests and legends of figures hold."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from run_files import make_predictions, make_results, make_run

from figures.comparison import PASS, compare
from figures.curves import Curve, Forest, MissingData, Panel, informative, running_mean, smoothing_window
from figures.factorial import length_factorial
from figures.looks import BEFORE, known_looks
from figures.panels import draw_panels, spread
from figures.prediction import predicted_changes
from figures.reading import read_results
from figures.runs import Results
from figures.statistics import t_interval
from figures.style import Style, power_of_ten
from figures.training import (
    ACCURACY,
    DIAGNOSTICS,
    ENTROPY,
    LENGTH_BY_OUTCOME,
    PROBE,
    accuracy,
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


def lines(ax) -> dict[str, np.ndarray]:
    """Of a pair of axes, by label; what begins with a line is in no legend."""
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.lines}


def style(results: Results) -> Style:
    return Style(known=known_looks(results))


def test_accuracy_lines_are_means_over_seeds_with_the_seeds_beside_them(results: Results) -> None:
    figure = draw_panels(against_step(results, ACCURACY)[""], style(results))
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == [
        "training reward",
        "held-out pass@1",
        "held-out accuracy",
    ]
    drawn = lines(figure.axes[2])
    assert not figure.axes[2].collections
    for arm in results.arms:
        values = np.array([[row["eval/accuracy_strict"] for row in run.evaluations] for run in arm.runs])
        np.testing.assert_allclose(drawn[arm.label], values.mean(axis=0))
        for number, seed in enumerate(values):
            np.testing.assert_allclose(drawn[f"_{arm.label}: seed {number + 1}"], seed)
    assert list(figure.axes[2].get_xticks()) == [0, 10, 20, 30, 40]
    assert legend(figure) == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"]


def test_five_seeds_are_drawn_as_a_t_band(tmp_path: Path) -> None:
    found = read_results(make_results(tmp_path, seeds=5, finals={"grpo": 0.5}))
    figure = draw_panels(against_step(found, ACCURACY)[""], style(found))
    (band,) = figure.axes[2].collections
    values = np.array([[row["eval/accuracy_strict"] for row in run.evaluations] for run in found.arms[0].runs])
    edge = band.get_paths()[0].vertices
    last = t_interval(values[:, -1])
    heights = edge[np.isclose(edge[:, 0], 40), 1]
    assert (heights.min(), heights.max()) == pytest.approx(last.ends)
    assert not any("seed" in label for label in lines(figure.axes[2]))


def test_training_reward_is_smoothed_with_the_raw_mean_behind(results: Results) -> None:
    ((panel, *_), *_) = against_step(results, ACCURACY)[""].rows
    _, rewards = results.arms[0].matrix("reward")
    window = smoothing_window(40)
    np.testing.assert_allclose(panel.curves[0].raw, rewards.mean(axis=0))
    np.testing.assert_allclose(panel.curves[0].y, running_mean(rewards, window).mean(axis=0))
    assert f"(mean of {window} steps)" in panel.ylabel


def test_differences_from_the_reference_are_a_panel_of_their_own(results: Results) -> None:
    forest = accuracy(results)[""].rows[-1][-1]
    assert isinstance(forest, Forest)
    assert [row.label for row in forest.rows] == ["F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"]
    worst = forest.rows[1]
    expected = compare(results.arms[0], results.arms[2], PASS)
    assert worst.mean == expected.over_seeds.mean < -0.3
    assert worst.ranges == (expected.over_seeds.ends, expected.over_prompts.ends)
    figure = draw_panels(accuracy(results)[""], style(results))
    drawn = figure.axes[-1]
    assert {text.get_text() for text in drawn.texts} == {"F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"}
    assert len(drawn.collections) == 6


def test_two_seeds_give_a_difference_no_interval_over_seeds(tmp_path: Path) -> None:
    found = read_results(make_results(tmp_path, seeds=2, finals={"grpo": 0.5, "f-isft-pm": 0.4}))
    ((over_seeds, over_prompts),) = [row.ranges for row in accuracy(found)[""].rows[-1][-1].rows]
    assert over_seeds is None
    assert over_prompts is not None


def test_every_method_has_one_look_in_every_figure(results: Results) -> None:
    colors = [
        {line.get_label(): line.get_color() for ax in draw_panels(sheet, style(results)).axes for line in ax.lines}
        for measurements in (ACCURACY, LENGTH_BY_OUTCOME, PROBE)
        for sheet in against_step(results, measurements).values()
    ]
    shown = [{label: color for label, color in each.items() if not label.startswith("_")} for each in colors]
    arms = {arm.label for arm in results.arms}
    assert all({label: each[label] for label in arms} == {label: shown[0][label] for label in arms} for each in shown)
    assert len({shown[0][label] for label in arms}) == 4


def test_measurements_that_nobody_made_are_named(results: Results) -> None:
    with pytest.raises(MissingData, match="no run records eval/nothing or nothing"):
        against_step(results, (("eval/nothing", ""), ("nothing", "")))


def test_panels_that_say_nothing_are_left_out_and_named(results: Results) -> None:
    sheet = against_step(results, DIAGNOSTICS)[""]
    shown = [panel.measure.split(" (")[0] for row in sheet.rows for panel in row]
    assert shown == ["groups of equal reward"]
    where = "countdown-small · tiny"
    assert f"gradient norm (mean of 5 steps) ({where}): 0.5 throughout" in sheet.notes
    assert f"clipped tokens (%) ({where}): not measured" in sheet.notes
    assert f"KL to the reference (nats per token) ({where}): not measured" in sheet.notes


def test_a_kl_without_a_reference_policy_is_not_measured(tmp_path: Path) -> None:
    measured = {"clip": None, "kl": {"beta": 0.1, "estimator": "k3"}}
    for method, objective in (("grpo", measured), ("f-isft-pm", {"kl": None})):
        run = make_run(tmp_path / method, method=method, objective=objective)
        rows = [json.loads(line) | {"kl": 0.01 * i} for i, line in enumerate((run / "metrics.jsonl").open())]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sheet = against_step(read_results(tmp_path), DIAGNOSTICS)[""]
    (kl,) = [panel for row in sheet.rows for panel in row if panel.ylabel.startswith("KL")]
    assert [curve.label.split()[0] for curve in kl.curves] == ["GRPO"]


def test_an_equivalence_that_never_breaks_is_told_in_a_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = [
        {"step": step, "equivalence/cosine": 1.0, "equivalence/relative_error": 0.0} | {"reward": 0.1 * step}
        for step in (1, 2)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        MissingData, match=r"cosine with the SFT gradient \(.*\): 1 throughout; relative error .*: 0 thr"
    ):
        against_step(read_results(tmp_path), PROBE)


def test_errors_of_rounding_stay_on_a_logarithmic_axis_with_the_tolerance(results: Results) -> None:
    errors = Curve("a", np.arange(3.0), np.array([1e-7, 0.0, 3e-8]))
    panel = Panel("", "step", "relative error", (errors,), log_y=True, markers=True, limits=((1e-4, "tolerance"),))
    assert informative([[panel]]).rows == ((panel,),)
    figure = draw_panels([[panel]], Style(known={}))
    ax = figure.axes[0]
    assert ax.get_yscale() == "log"
    shown = lines(ax)["a"]
    assert shown[[0, 2]].tolist() == [1e-7, 3e-8]
    # 0 is drawn half a decade or more below all else, and the axis calls it 0.
    assert 0 < shown[1] < 1e-8
    assert ax.yaxis.get_major_formatter()(shown[1], 0) == "0"
    assert legend(figure) == ["a", "tolerance"]


def test_measurements_to_be_compared_share_a_scale(results: Results) -> None:
    for measurements in (LENGTH_BY_OUTCOME, ENTROPY):
        figure = draw_panels(against_step(results, measurements)[""], style(results))
        assert len({ax.get_ylim() for ax in figure.axes}) == 1


def test_pass_at_k_is_the_gain_over_the_untrained_model(results: Results) -> None:
    sheet = pass_at_k(results)[""]
    ((panel,),) = sheet.rows
    assert [curve.label for curve in panel.curves] == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺", BEFORE]
    assert panel.curves[0].x.tolist() == [1, 2, 4, 8]
    assert panel.curves[-1].y.tolist() == [0, 0, 0, 0]
    _, values = results.arms[0].matrix("eval/pass@4")
    assert panel.curves[0].y[2] == pytest.approx((values[:, -1] - values[:, 0]).mean())
    assert "25.0 % at k = 1" in sheet.notes[0]


def test_layers_are_in_the_order_of_the_model_and_beside_one_another(results: Results) -> None:
    ((cosine, _),) = by_layer(results)[""].rows
    assert cosine.names == ("embed", "2", "10", "norm")
    np.testing.assert_allclose(cosine.curves[0].y, [0.1, 0.2, 0.3, 0.4])
    figure = draw_panels(by_layer(results)[""], style(results))
    places = [np.asarray(line.get_xdata())[0] for line in figure.axes[0].lines if "seed" not in line.get_label()]
    assert len(set(places)) == len(places) == len(results.all_arms)


def test_the_off_policy_figure_shows_the_ablations(results: Results) -> None:
    sheet = off_policy(results)[""]
    labels = [curve.label for curve in sheet.rows[0][0].curves]
    assert labels == [arm.label for arm in results.ablations]


def test_a_dial_needs_three_values(results: Results) -> None:
    (panels,) = dials(results)["num_iterations"].rows
    assert panels[0].curves[0].x.tolist() == [1, 2, 4]
    assert panels[0].curves[0].label == "GRPO"


def test_the_sweep_is_the_mean_of_the_last_quarter(results: Results) -> None:
    ((panel,),) = learning_rates(results)[""].rows
    (curve,) = panel.curves
    rewards = {run.config["learning_rate"]: run.series("reward")[1] for run in results.others["sweep"]}
    assert curve.x.tolist() == [1e-4, 3e-4]
    assert curve.y.tolist() == pytest.approx([rewards[rate][-10:].mean() for rate in (1e-4, 3e-4)])


def test_smoothing_keeps_constants_and_short_curves() -> None:
    assert smoothing_window(19) == 1
    assert smoothing_window(200) % 2 == 1
    np.testing.assert_allclose(running_mean(np.full((2, 50), 3.0), 5), 3.0)
    np.testing.assert_allclose(running_mean(np.arange(5.0)[None], 3), [[0.5, 1, 2, 3, 3.5]])


def test_lines_that_differ_by_rounding_look_equal() -> None:
    cosine = Curve("a", np.arange(3.0), np.array([1.0, 1.0 - 1e-7, 1.0 + 1e-7]))
    figure = draw_panels([[Panel("", "x", "y", (cosine,))]], Style(known={}))
    assert figure.axes[0].get_ylim() == pytest.approx((0.95, 1.05), abs=1e-6)


def test_a_wide_band_does_not_flatten_the_lines() -> None:
    curve = Curve("a", np.arange(3.0), np.array([0.0, 1.0, 0.5]), np.array([[-99.0] * 3, [101.0] * 3]))
    figure = draw_panels([[Panel("", "x", "y", (curve,))]], Style(known={}))
    low, high = figure.axes[0].get_ylim()
    assert high - low < 4


def test_names_at_lines_are_moved_apart_and_no_further_than_needed() -> None:
    assert spread([0.1, 0.5, 0.9], [0.1, 0.1, 0.1]) == [0.1, 0.5, 0.9]
    places = spread([0.5, 0.5, 0.52, 0.9], [0.1, 0.3, 0.1, 0.1])
    gaps = np.diff(places) - [0.2, 0.2, 0.1]
    assert (gaps > -1e-12).all()
    assert np.isclose(gaps[:2], 0).all()
    assert places[3] == 0.9


def test_powers_of_ten_are_no_smaller_type() -> None:
    assert [power_of_ten(x) for x in (1e-7, 0.01, 1.0, 100.0, 1e4, 0.3)] == ["10⁻⁷", "0.01", "1", "100", "10⁴", "0.3"]


def test_effects_on_the_length_are_those_of_a_factorial(tmp_path: Path) -> None:
    growth = {("grpo", "sequence-mean-token-mean"): 10.0, ("grpo", "token-mean"): 20.0}
    growth |= {("f-isft-pm", "sequence-mean-token-mean"): 30.0, ("f-isft-pm", "token-mean"): 60.0}
    for (method, averaging), length in growth.items():
        for seed in range(3):
            place = tmp_path / "runs" / f"{method}-{averaging}" / str(seed)
            objective = {"aggregation": averaging, "clip": None, "kl": None}
            make_run(place, method=method, seed=seed, length=length * (1 + 0.01 * seed), objective=objective)
    wrong, right = length_factorial(read_results(tmp_path))[""].rows[0]
    # The fixture lets wrong responses grow by 0.6 of their length times 1 - e^-4, right ones by 0.3.
    scale = 1.01 * 0.6 * (1 - np.exp(-4))
    means = {row.label.removesuffix(" *"): row.mean / scale for row in wrong.rows}
    assert means == pytest.approx(
        {
            "method: F-ISFT±": 30.0,
            "averaging of the loss: token-mean": 20.0,
            "method: F-ISFT± × averaging of the loss: token-mean": 20.0,
        }
    )
    assert right.rows[0].mean == pytest.approx(wrong.rows[0].mean / 2)
    assert all(row.label.endswith(" *") for row in wrong.rows)


def test_a_factorial_with_a_hole_or_few_seeds_is_not_drawn(results: Results) -> None:
    with pytest.raises(MissingData, match="two averagings"):
        length_factorial(results)


def test_predictions_are_a_panel_a_method_with_slope_and_share_explained(tmp_path: Path) -> None:
    make_predictions(tmp_path / "deep" / "prediction.json", slope=0.5)
    ((grpo, other),) = predicted_changes(read_results(tmp_path))["default-success-one-step"].rows
    assert grpo.title == "GRPO, r² 1.00\nslope 0.50"
    line, points = other.curves
    np.testing.assert_allclose(points.y, 0.5 * points.x)
    np.testing.assert_allclose(line.y, line.x)


def test_results_without_predictions_say_how_to_make_them(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "grpo" / "0")
    with pytest.raises(MissingData, match=r"results/prediction\.py"):
        predicted_changes(read_results(tmp_path))
