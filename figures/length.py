"""What a response's length does to the weight of its tokens: the scaled advantage A/L, as training used it."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from figures.curves import MissingData
from figures.looks import GREY, NEGATIVE, POSITIVE
from figures.runs import Arm, Results, panels
from figures.style import SIGNS, Style, add_legend, columns_for, grid
from figures.training import require_arms


@dataclass(frozen=True)
class Weights:
    """Sampled responses of one arm: mean weight of a token, times the responses in a batch, and length in tokens."""

    label: str
    length: Float[np.ndarray, " responses"]
    weight: Float[np.ndarray, " responses"]
    correct: Float[np.ndarray, " responses"]


def scaled_advantages(results: Results) -> Mapping[str, tuple[Weights, ...]]:
    """The weights in the samples of every arm, by task and model; under a mean over sequences they are A/L.

    Raises:
        MissingData: no samples with token weights.
    """
    found = {}
    for (task, model), arms in panels(require_arms(results)).items():
        if weights := tuple(each for arm in arms if (each := _weights(arm)) is not None):
            found[f"{task}-{model}"] = weights
    if not found:
        raise MissingData("no samples.jsonl with token weights")
    return found if len(found) > 1 else {"": next(iter(found.values()))}


def draw_scaled_advantages(arms: tuple[Weights, ...], style: Style) -> Figure:
    """A panel a method, a point a response, ±1/L for orientation; one scale, so that magnitudes can be compared."""
    width = style.column if len(arms) == 1 else style.page
    columns = columns_for(len(arms), width)
    signs = int((width / columns - 0.35) * SIGNS)
    rows = -(-len(arms) // columns)
    figure, axes = grid(rows, columns, width=width, height=1.6, sharex=True, sharey=True)
    lengths = np.linspace(1, max(float(weights.length.max()) for weights in arms) * 1.05, 200)
    reach = max(float(np.abs(weights.weight).max()) for weights in arms) or 1.0
    for place, ax in enumerate(axes.flat):
        if place >= len(arms):
            ax.set_visible(False)
            continue
        weights = arms[place]
        for sign in (1, -1):
            ax.plot(lengths, sign / lengths, color=GREY, linewidth=0.7, linestyle=":", label="±1/L")
        for correct, color, marker, label in ((1, POSITIVE, "o", "correct"), (0, NEGATIVE, "x", "wrong")):
            chosen = weights.correct == correct
            x, y = weights.length[chosen], weights.weight[chosen]
            ax.scatter(x, y, s=9, color=color, marker=marker, linewidth=0.8, label=label)
        ax.axhline(0, color="#333333", linewidth=0.5)
        ax.set_ylim(-1.15 * reach, 1.15 * reach)
        ax.set_title(textwrap.fill(weights.label, signs))
        if place + columns >= len(arms):
            ax.set_xlabel(textwrap.fill("response length L (tokens)", signs))
            ax.tick_params(labelbottom=True)
        if place % columns == 0:
            ax.set_ylabel("weight of a token\n× batch size")
    add_legend(figure, list(axes.flat))
    return figure


def _weights(arm: Arm) -> Weights | None:
    points = []
    for run in arm.runs:
        for row in run.samples:
            if row.get("weights"):
                weight = run.batch_size * float(np.mean(row["weights"]))
                points.append((len(row["weights"]), weight, float(row["reward"] >= 1)))
    if not points:
        return None
    return Weights(arm.label, *np.array(points, dtype=float).T)
