"""Lines with bands: measurements against a step or another dial, averaged over the seeds of each arm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from figures.runs import Arm
from figures.statistics import t_half_width
from figures.style import COLUMN, PAGE, Look, add_legend, grid


class MissingData(Exception):
    """A figure or table cannot be made from these results; the message is the reason."""


@dataclass(frozen=True)
class Curve:
    """A line.

    Attributes:
        half: the half-width of the interval at every point; None for exact values and for fewer than three seeds.
        seeds: the values of each seed, drawn as thin lines in place of a band: of two seeds a t interval is so wide
            that it would hide the lines.
        look: the label whose look it has; its own where empty.
        points: points without a line; they have no entry in the legend.
    """

    label: str
    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    half: Float[np.ndarray, " points"] | None = None
    seeds: Float[np.ndarray, "seeds points"] | None = None
    look: str = ""
    points: bool = False


@dataclass(frozen=True)
class Panel:
    """The contents of one pair of axes; `log_x` is the base of a logarithmic axis with a tick at every point.

    `names` stand at x = 0, 1, ... where x counts things that have names.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    log_y: bool = False
    log_x: int | None = None
    markers: bool = False
    names: tuple[str, ...] = ()


Rows: TypeAlias = list[list[Panel]]


def seed_curve(arm: Arm, name: str, *, smooth: bool = False) -> Curve | None:
    """The mean over seeds of one measurement against the step; None where the seeds share no recorded step.

    `smooth` takes a centred running mean of every seed first, over `smoothing_window` points.
    """
    steps, values = arm.matrix(name)
    if not steps.size:
        return None
    if smooth:
        values = running_mean(values, smoothing_window(steps.size))
    return mean_curve(arm.label, steps.astype(float), values)


def mean_curve(label: str, x: Float[np.ndarray, " points"], values: Float[np.ndarray, "seeds points"]) -> Curve:
    """The mean over seeds with what is drawn beside it: a t interval, or the seeds themselves where they are two."""
    half = t_half_width(values) if len(values) > 2 else None
    return Curve(label, x, values.mean(axis=0), half, values if len(values) == 2 else None)


def smoothing_window(points: int) -> int:
    """An odd number of points, about a fortieth of the curve: 1, which smooths nothing, below 60 points."""
    return 2 * round(points / 80) + 1 if points >= 60 else 1


def running_mean(values: Float[np.ndarray, "seeds points"], window: int) -> Float[np.ndarray, "seeds points"]:
    """Centred running mean; near the ends over the points that there are."""
    kernel = np.ones(window)
    count = np.convolve(np.ones(values.shape[1]), kernel, mode="same")
    return np.stack([np.convolve(row, kernel, mode="same") / count for row in values])


def draw_panels(rows: Rows, looks: Mapping[str, Look]) -> Figure:
    """Panels in rows, one legend above them. A title that all panels share is the legend's."""
    columns = max(map(len, rows))
    figure, axes = grid(len(rows), columns, width=COLUMN if columns == 1 else PAGE, height=1.9 if columns < 3 else 1.7)
    titles = {panel.title for row in rows for panel in row}
    places = {(i, j): panel for i, panels in enumerate(rows) for j, panel in enumerate(panels)}
    for (i, j), ax in np.ndenumerate(axes):
        panel = places.get((i, j))
        if panel is None:
            ax.set_visible(False)
            continue
        draw_panel(ax, panel, looks)
        # What the neighbour says already is not said again.
        above, below, left = (places.get(place) for place in ((i - 1, j), (i + 1, j), (i, j - 1)))
        if len(titles) > 1 and (above is None or above.title != panel.title):
            ax.set_title(panel.title)
        if below is not None and below.xlabel == panel.xlabel:
            ax.set_xlabel("")
        if left is not None and left.ylabel == panel.ylabel:
            ax.set_ylabel("")
    add_legend(figure, list(axes.flat), title=titles.pop() if len(titles) == 1 else "")
    return figure


def draw_panel(ax: Axes, panel: Panel, looks: Mapping[str, Look]) -> None:
    """One pair of axes."""
    for curve in panel.curves:
        look = looks[curve.look or curve.label]
        if curve.points:
            ax.scatter(curve.x, curve.y, s=11, facecolor="white", edgecolor=look.color, linewidth=0.8, zorder=3)
            continue
        marker = look.marker if panel.markers else None
        ax.plot(curve.x, curve.y, label=curve.label, marker=marker, **look.line)
        if curve.seeds is not None:
            ax.plot(curve.x, curve.seeds.T, color=look.color, linewidth=0.5, alpha=0.6)
        if curve.half is not None:
            ax.fill_between(
                curve.x, curve.y - curve.half, curve.y + curve.half, color=look.color, alpha=0.14, linewidth=0
            )
    ax.set_xlabel(panel.xlabel)
    ax.set_ylabel(panel.ylabel)
    if panel.log_y:
        ax.set_yscale("log")
    if panel.log_x:
        ax.set_xscale("log", base=panel.log_x)
        ticks = sorted({float(x) for curve in panel.curves for x in curve.x if x > 0})
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
    elif panel.names:
        ax.set_xticks(range(len(panel.names)), panel.names)
    elif all((curve.x == curve.x.round()).all() for curve in panel.curves):
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.margins(x=0.01)
    if limits := _limits(panel):
        ax.set_ylim(*limits)


ROUNDING = 1e-6
"""Lines that differ by less are drawn as equal: gradients of a float32 model agree to about 1e-7."""


def _limits(panel: Panel) -> tuple[float, float] | None:
    """Room for every line, and for bands up to the lines' own spread, which those of few seeds can far exceed."""
    drawn = [curve for curve in panel.curves if np.isfinite(curve.y).any()]
    if panel.log_y or not drawn:
        return None
    lines = np.concatenate([np.ravel(curve.y if curve.seeds is None else curve.seeds) for curve in drawn])
    low, high = float(np.nanmin(lines)), float(np.nanmax(lines))
    size = max(abs(low), abs(high))
    if high - low <= ROUNDING * max(size, 1.0):
        return low - 0.05 * max(size, 1.0), high + 0.05 * max(size, 1.0)
    room = 0.75 * max(high - low, 0.05 * size)
    bands = [(curve.y - curve.half, curve.y + curve.half) for curve in drawn if curve.half is not None]
    bottom = max(min([low, *(float(below.min()) for below, _ in bands)]), low - room)
    top = min(max([high, *(float(above.max()) for _, above in bands)]), high + room)
    margin = 0.04 * (top - bottom)
    return bottom - margin, top + margin
