"""Figures of exact computation, heat map and scaled advantages: contents, not pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_files import make_run

from figures import verdicts
from figures.credit import credit_variances, draw_credit_variances
from figures.curves import MissingData
from figures.dynamics import critics, staleness
from figures.heatmap import draw_weights, visible, weight_pairs
from figures.length import draw_scaled_advantages, scaled_advantages
from figures.looks import NEGATIVE, POSITIVE, known_looks
from figures.reading import read_results
from figures.runs import Results
from figures.style import Style
from figures.theory import coefficients, departures, draw_coefficients, draw_departures, inner_steps
from figures.tree import draw_tree, trees


def test_methods_of_equal_c_share_a_line(results: Results) -> None:
    c, phi, sizes = coefficients(results)[""]
    lines = [curve for curve in c.curves if not curve.points]
    assert [curve.label for curve in lines] == ["REINFORCE = F-ISFT⁺", "F-ISFT±", "GRPO"]
    # A line of several methods looks like the first of them, whatever was trained.
    assert [curve.look for curve in lines] == ["reinforce", "f-isft-pm", "grpo"]
    assert [curve.label for curve in sizes.curves] == ["G = 8", "G = ∞"]
    np.testing.assert_allclose(phi.curves[2].y, 2 * np.arcsin(np.sqrt(phi.curves[2].x)))


def test_measured_coefficients_lie_on_the_lines(results: Results) -> None:
    c, _, _ = coefficients(results)[""]
    points = [curve for curve in c.curves if curve.points]
    assert [(curve.x.tolist(), curve.look) for curve in points] == [
        ([0.25], "reinforce"),
        ([0.25], "f-isft-pm"),
        ([0.25], "grpo"),
    ]
    figure = draw_coefficients(coefficients(results)[""], Style(known=known_looks(results)))
    (ax,) = [ax for ax in figure.axes if ax.get_title() == c.title]
    assert len(ax.lines) == 3
    assert len(ax.collections) == 3


def test_inner_steps_leave_gaps_where_nothing_was_measured(results: Results) -> None:
    sheet = inner_steps(results)["tiny-words"]
    rows = sheet.rows
    assert [panel.measure for row in rows for panel in row][-1] == "credit-structure index η"
    assert sheet.notes == ("clipped tokens (%) (tiny-words): 0 throughout",)
    assert rows[0][0].curves[0].label == "GRPO"
    assert rows[0][0].curves[0].y.tolist() == [1.0, 0.99, 0.7]


def test_departures_leave_out_zero_which_a_logarithmic_axis_cannot_show(results: Results) -> None:
    sheet = departures(results)["tiny-words"]
    drift, penalty = sheet.rows
    assert [panel.xlabel for panel in (*drift, *penalty)] == ["noise on the logits after sampling"] * 2 + [
        "KL coefficient β"
    ] * 2
    assert drift[1].curves[0].x.tolist() == [0.1, 1.0]
    assert drift[1].curves[0].y.tolist() == [0.05, 0.8]
    figure = draw_departures(sheet, Style(known=known_looks(results)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["GRPO", "GRPO with k3"]


def test_ages_of_samples_are_lines_and_methods_are_columns(results: Results) -> None:
    success, length = staleness(results)["tiny-words"]
    assert [panel.title for panel in success] == ["GRPO"]
    assert [(curve.label, curve.y.tolist()) for curve in success[0].curves] == [
        ("refreshed every step", [0.1, 0.9]),
        ("never refreshed", [0.1, 0.2]),
    ]
    assert length[0].curves[0].y.tolist() == [2.0, 3.0]
    assert "0.900 refreshed every step, 0.200 never refreshed" in verdicts.staleness(results)[0].text


def test_critics_are_compared_with_the_exact_limit(results: Results) -> None:
    ((panel,),) = critics(results)[""]
    assert [curve.y.tolist() for curve in panel.curves] == [[0.6, 0.5], [0.5, 0.3], [0.25, 0.25]]
    assert (
        "0.500 and 0.600 after 4, 0.300 and 0.500 after 16 responses to each prompt; 0.250 with exact"
        in verdicts.critics(results)[0].text
    )


def test_variances_are_relative_to_state_advantages(results: Results) -> None:
    ratios = credit_variances(results)[""]
    assert ratios["tiny-words"] == pytest.approx(
        {"reward": 4.0, "baseline": 3.0, "state_baseline": 2.0, "state_advantage": 1.0}
    )
    figure = draw_credit_variances(ratios, Style(known={}))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["tiny-words"]


def test_the_tree_has_a_row_and_an_arm_for_every_response(results: Results) -> None:
    (tree,) = trees(results).values()
    figure = draw_tree(tree, Style(known={}))
    left, right = figure.axes
    bars = right.patches
    assert len(bars) == 7
    assert sum(bar.get_width() for bar in bars) == pytest.approx(1.0)
    words = [text.get_text().strip() for text in right.texts]
    assert sorted(words) == ["<eos>", "a <eos>", "a a", "a b", "b <eos>", "b a", "b b"]
    # Each response is in the same row of both halves.
    rows = {round(bar.get_y() + bar.get_height() / 2) for bar in bars}
    assert rows == set(range(7))
    assert "3 states" in left.get_title(loc="left")
    colors = [bar.get_facecolor() for bar in bars]
    assert len(set(colors)) == 2


def test_the_heat_map_pairs_the_same_responses(results: Results) -> None:
    pair = weight_pairs(results)[""]
    assert pair.labels == ("GRPO", "F-ISFT±")
    assert pair.same
    assert [(row[0].correct, len(row[0].tokens)) for row in pair.rows] == [
        (True, 6),
        (True, 22),
        (False, 4),
        (False, 14),
    ]
    assert all(left.tokens == right.tokens for left, right in pair.rows)
    figure = draw_weights(pair, Style(known={}))
    boxes = [patch for ax in figure.axes[:-1] for patch in ax.patches]
    assert len(boxes) == 2 * (6 + 22 + 4 + 14)
    # Correct tokens are blue (pushed up), wrong ones red, and the shortest response is the darkest.
    up, down = figure.axes[0].patches[0].get_facecolor(), figure.axes[4].patches[0].get_facecolor()
    assert up[2] > up[0]
    assert down[0] > down[2]


def test_the_heat_map_never_pairs_a_method_with_itself(tmp_path: Path) -> None:
    for passes in (1, 2):
        make_run(tmp_path / str(passes), num_iterations=passes)
    with pytest.raises(MissingData, match="no two methods have samples"):
        weight_pairs(read_results(tmp_path))


def test_tokens_of_the_heat_map_are_text(results: Results) -> None:
    pair = weight_pairs(results)[""]
    response = replace(pair.rows[0][0], tokens=("<b>", "$x$", "a&b", "\n"), weights=(1.0, -1.0, 0.0, 0.5))
    figure = draw_weights(replace(pair, rows=((response, response),)), Style(known={}))
    figure.canvas.draw()
    drawn = [text.get_text() for text in figure.axes[0].texts]
    assert drawn == ["correct, 4 tokens, weight −1 … +1", "<b>", "$x$", "a&b", "⏎"]


@pytest.mark.parametrize(("token", "shown"), [("Ġthe", " the"), ("a\n", "a⏎"), ("Ċ", "⏎"), ("", "∅"), ("x", "x")])
def test_white_space_of_tokens_is_visible(token: str, shown: str) -> None:
    assert visible(token) == shown


def test_scaled_advantages_are_a_over_l(results: Results) -> None:
    arms = scaled_advantages(results)[""]
    grpo = arms[0]
    np.testing.assert_allclose(grpo.weight * grpo.length, np.where(grpo.correct, 1.0, -1.0))
    figure = draw_scaled_advantages(arms, Style(known={}))
    assert [ax.get_title() for ax in figure.axes] == ["GRPO", "F-ISFT±", "F-ISFT⁻", "F-ISFT⁺"]
    right, wrong = figure.axes[0].collections
    assert len(right.get_offsets()) == grpo.correct.sum()
    assert len(wrong.get_offsets()) == (1 - grpo.correct).sum()
    assert POSITIVE != NEGATIVE
