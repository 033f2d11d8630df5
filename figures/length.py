"""What a response's length does to the weight of its tokens: the scaled advantage A/L, as training used it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from figures.curves import MissingData
from figures.runs import Arm, Results, panels
from figures.style import COLUMN, GREY, NEGATIVE, PAGE, POSITIVE, Look, grid
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


def draw_scaled_advantages(arms: tuple[Weights, ...], _: Mapping[str, Look]) -> Figure:
    """A panel a method, a point a response, and ±1/L for orientation."""
    columns = 2 if len(arms) == 4 else min(3, len(arms))
    rows = -(-len(arms) // columns)
    figure, axes = grid(rows, columns, width=COLUMN if columns == 1 else PAGE, height=1.75, sharex=True)
    longest = max(float(weights.length.max()) for weights in arms)
    lengths = np.linspace(1, longest * 1.05, 200)
    for place, ax in enumerate(axes.flat):
        if place >= len(arms):
            ax.set_visible(False)
            continue
        weights = arms[place]
        for sign in (1, -1):
            ax.plot(lengths, sign / lengths, color=GREY, linewidth=0.7, linestyle=":", label="±1/L")
        for correct, color, marker, label in ((1, POSITIVE, "o", "correct"), (0, NEGATIVE, "x", "wrong")):
            chosen = weights.correct == correct
            ax.scatter(
                weights.length[chosen],
                weights.weight[chosen],
                s=9,
                color=color,
                marker=marker,
                linewidth=0.8,
                label=label,
            )
        ax.axhline(0, color="#333333", linewidth=0.5)
        reach = max(float(np.abs(weights.weight).max()), 1e-12)
        ax.set_ylim(-1.15 * reach, 1.15 * reach)
        ax.set_title(weights.label)
        if place // columns == rows - 1 or place + columns >= len(arms):
            ax.set_xlabel("response length L (tokens)")
            ax.tick_params(labelbottom=True)
        if place % columns == 0:
            ax.set_ylabel("weight of a token\n× batch size")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.set_figheight(figure.get_figheight() + 0.2)
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=3)
    return figure


def _weights(arm: Arm) -> Weights | None:
    points = []
    for run in arm.runs:
        batch = int(run.config.get("num_prompts", 1)) * int(run.config.get("num_generations", 1))
        for row in run.samples:
            if row.get("weights"):
                weight = batch * float(np.mean(row["weights"]))
                points.append((len(row["weights"]), weight, float(row["reward"] >= 1)))
    if not points:
        return None
    return Weights(arm.label, *np.array(points, dtype=float).T)
