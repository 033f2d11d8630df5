"""The price of uniform credit: exact variances of gradients that differ in what a token is credited with."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from figures.curves import MissingData
from figures.looks import MARKERS, PALETTE
from figures.runs import Results
from figures.style import Style, add_legend, few_decades, grid

CREDITS = {
    "reward": "reward of the response",
    "baseline": "reward − V(prompt)",
    "state_baseline": "reward − V(prefix)",
    "state_advantage": "A(prefix, token)",
}
"""What a token is credited with, from nothing but the outcome to the token's own effect."""


def credit_variances(results: Results) -> Mapping[str, dict[str, dict[str, float]]]:
    """By problem and credit: the variance summed over prompts, relative to that of state advantages.

    Raises:
        MissingData: no check has variances.
    """
    found: dict[str, dict[str, float]] = {}
    for problem, check in results.checks.items():
        totals = {name: sum(check["variance"][name]) for name in CREDITS} if check.get("variance") else {}
        if totals and totals["state_advantage"] > 0:
            found[problem] = {name: total / totals["state_advantage"] for name, total in totals.items()}
    if not found:
        raise MissingData("no check/*.json with variances")
    return {"": found}


def draw_credit_variances(ratios: dict[str, dict[str, float]], style: Style) -> Figure:
    """A row a problem, a point a credit; the credits of a row are set apart so that none hides another."""
    figure, axes = grid(1, 1, width=style.column, height=0.6 + 0.34 * len(ratios))
    ax = axes[0, 0]
    rows = np.arange(len(ratios))
    for place, (name, label) in enumerate(CREDITS.items()):
        values = [ratio[name] for ratio in ratios.values()]
        shift = 0.18 * (place - (len(CREDITS) - 1) / 2)
        ax.hlines(rows + shift, 1, values, color=PALETTE[place], linewidth=0.6)
        ax.scatter(values, rows + shift, s=13, color=PALETTE[place], marker=MARKERS[place], label=label)
    ax.set_yticks(rows, list(ratios))
    ax.set_ylim(len(ratios) - 0.5, -0.5)
    ax.set_xscale("log")
    few_decades(ax.xaxis)
    ax.set_xlabel("variance relative to crediting A(prefix, token)")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    add_legend(figure, [ax], title="a token is credited with")
    return figure
