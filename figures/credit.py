"""The price of uniform credit: exact variances of gradients that differ in what a token is credited with."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from figures.curves import MissingData
from figures.runs import Results
from figures.style import COLUMN, MARKERS, PALETTE, Look, few_decades, grid

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


def draw_credit_variances(ratios: dict[str, dict[str, float]], _: Mapping[str, Look]) -> Figure:
    """A row a problem, a point a credit."""
    figure, axes = grid(1, 1, width=COLUMN + 1.6, height=0.9 + 0.24 * len(ratios))
    ax = axes[0, 0]
    rows = range(len(ratios))
    ends = [(min(ratio.values()), max(ratio.values())) for ratio in ratios.values()]
    ax.hlines(rows, [low for low, _ in ends], [high for _, high in ends], color="#C8C8C8", linewidth=1, zorder=1)
    for (name, label), color, marker in zip(CREDITS.items(), PALETTE, MARKERS, strict=False):
        ax.scatter([ratio[name] for ratio in ratios.values()], rows, s=16, color=color, marker=marker, label=label)
    ax.set_yticks(rows, list(ratios))
    ax.set_ylim(len(ratios) - 0.5, -0.5)
    ax.set_xscale("log")
    few_decades(ax.xaxis)
    ax.set_xlabel("variance relative to crediting A(prefix, token)")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper center", ncols=2, title="a token is credited with")
    return figure
