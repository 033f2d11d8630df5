"""Draw panels: lines with bands or seeds, forests of intervals, one legend, and axes that say what they are."""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill, wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from figures.curves import ROUNDING, Curve, Forest, Panel, Rows, Sheet
from figures.looks import GREY, Look
from figures.style import SIGNS, SMALLEST, Style, add_legend, columns_for, grid, power_of_ten

_PERCENT = FuncFormatter(lambda share, _: f"{round(100 * share, 8):g}".replace("-", "−"))


def draw_panels(sheet: Sheet | Rows, style: Style) -> Figure:
    """Panels in rows, as many side by side as the width allows, one legend above them.

    A title that all panels share is the legend's. What a neighbour's axis says already is not said again.
    """
    rows = [list(row) for row in (sheet.rows if isinstance(sheet, Sheet) else sheet)]
    total = sum(map(len, rows))
    width = style.column if total == 1 else style.page
    fitting = columns_for(max(map(len, rows)), width)
    rows = [row[start : start + fitting] for row in rows for start in range(0, len(row), fitting)]
    columns = max(map(len, rows))
    signs = int((width / columns - 0.35) * SIGNS)
    heights = [max(_height(panel, signs) for panel in row) for row in rows]
    figure, axes = grid(len(rows), columns, width=width, height=sum(heights) / len(rows), height_ratios=heights)
    titles = {panel.title for row in rows for panel in row}
    places = {(i, j): panel for i, panels in enumerate(rows) for j, panel in enumerate(panels)}
    for (i, j), ax in np.ndenumerate(axes):
        panel = places.get((i, j))
        if panel is None:
            ax.set_visible(False)
            continue
        draw(ax, panel, style, signs=signs)
        ax.set_xlabel(fill(ax.get_xlabel(), signs))
        above, below, left = (places.get(place) for place in ((i - 1, j), (i + 1, j), (i, j - 1)))
        if len(titles) > 1 and (above is None or above.title != panel.title):
            ax.set_title("\n".join(fill(line, signs) for line in panel.title.splitlines()))
        if below is not None and below.xlabel == panel.xlabel:
            ax.set_xlabel("")
        if isinstance(panel, Panel) and isinstance(left, Panel) and left.ylabel == panel.ylabel:
            ax.set_ylabel("")
    _share_scales([(places[place], ax) for place, ax in np.ndenumerate(axes) if place in places])
    heading = titles.pop() if len(titles) == 1 and style.titles else ""
    add_legend(figure, list(axes.flat), title=heading)
    return figure


def _height(panel: Panel | Forest, signs: int) -> float:
    """Inches: a forest needs room for the name and the mark of every row."""
    if isinstance(panel, Panel):
        return 1.75
    return max(1.75, 0.7 + sum(0.13 + 0.12 * len(wrap(row.label, signs)) for row in panel.rows))


def draw(ax: Axes, panel: Panel | Forest, style: Style, *, signs: int = 60) -> None:
    """One pair of axes; names in it are broken into lines of so many signs."""
    if isinstance(panel, Forest):
        draw_forest(ax, panel, style, signs=signs)
    else:
        draw_panel(ax, panel, style)


def draw_panel(ax: Axes, panel: Panel, style: Style) -> None:
    """Lines against a step or a dial."""
    floor = _floor(panel)
    for number, curve in enumerate(panel.curves):
        _draw_curve(
            ax, _lifted(_moved(curve, panel, number), panel.zero, floor), panel, style[curve.look or curve.label]
        )
    for value, name in panel.limits:
        ax.axhline(value, color=GREY, linewidth=0.7, linestyle=":", label=name)
    ax.set_xlabel(panel.xlabel)
    ax.set_ylabel(panel.ylabel)
    _x_axis(ax, panel)
    if panel.log_y:
        ax.set_yscale("log")
        _decades(ax, floor)
    elif panel.percent:
        ax.yaxis.set_major_formatter(_PERCENT)
    ax.margins(x=0.02)
    if limits := _limits(panel):
        ax.set_ylim(*limits)
    if panel.direct:
        _name_lines(ax, panel, style)


def draw_forest(ax: Axes, forest: Forest, style: Style, *, signs: int = 60) -> None:
    """A row a difference: a mark and its intervals under its name, on lines of so many signs."""
    for row, entry in enumerate(forest.rows):
        look = style[entry.look or entry.label]
        for number, ends in enumerate(entry.ranges):
            if ends is None:
                continue
            name = f"_{entry.label}: interval {number + 1}"
            ax.hlines(row, *ends, color=look.color, linewidth=(2.2, 0.9)[min(number, 1)], label=name)
        ax.plot([entry.mean], [row], marker=look.marker, color=look.color, markersize=4, label=f"_{entry.label}")
        ax.text(
            0,
            row - 0.22,
            fill(entry.label, signs),
            transform=ax.get_yaxis_transform(),
            fontsize=SMALLEST,
            color=look.color,
        )
    ax.axvline(0, color="#333333", linewidth=0.7)
    ax.set_yticks([])
    ax.set_ylim(len(forest.rows) - 0.6, -0.75)
    ax.set_xlabel(forest.xlabel)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    if forest.percent:
        ax.xaxis.set_major_formatter(_PERCENT)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)


def _draw_curve(ax: Axes, curve: Curve, panel: Panel, look: Look) -> None:
    if curve.points:
        marks = ax.scatter(curve.x, curve.y, s=11, zorder=3, label=f"_{curve.label}")
        marks.set(facecolor="white", edgecolor=look.color, linewidth=0.8)
        return
    if curve.raw is not None:
        ax.plot(curve.x, curve.raw, color=look.color, linewidth=0.5, alpha=0.3, label=f"_{curve.label}: not smoothed")
    marker = look.marker if panel.markers else None
    # A line between things that only have names would say that there is something between them.
    line = {**look.line, **({"linewidth": 0.5, "alpha": 0.9} if panel.names else {})}
    label = f"_{curve.label}" if panel.direct or panel.unnamed else curve.label
    ax.plot(curve.x, curve.y, label=label, marker=marker, **line)
    for number, values in enumerate(curve.seeds if curve.seeds is not None else ()):
        name = f"_{curve.label}: seed {number + 1}"
        ax.plot(curve.x, values, color=look.color, linewidth=0.5, alpha=0.55, label=name)
    if curve.band is not None:
        band = ax.fill_between(curve.x, *curve.band, label=f"_{curve.label}: interval")
        band.set(color=look.color, alpha=0.14, linewidth=0)


def _moved(curve: Curve, panel: Panel, number: int) -> Curve:
    """Beside its neighbours, where marks would lie on one another."""
    if not (panel.names or panel.dodge):
        return curve
    place = (number - (len(panel.curves) - 1) / 2) / max(len(panel.curves), 2)
    if panel.names:
        return replace(curve, x=curve.x + 0.6 * place)
    ticks = np.unique(np.concatenate([each.x for each in panel.curves]))
    if ticks.size < 2:
        return curve
    if panel.log_x:
        return replace(curve, x=curve.x * np.exp(0.4 * place * np.diff(np.log(ticks)).min()))
    return replace(curve, x=curve.x + 0.4 * place * np.diff(ticks).min())


def _floor(panel: Panel) -> float | None:
    """Where a logarithmic axis shows 0: half a decade or more below what is positive; None if nothing is 0."""
    if not panel.log_y:
        return None
    values = np.concatenate([np.ravel(part) for curve in panel.curves for part in _values(curve)])
    positive = values[values > panel.zero]
    if not (values <= panel.zero).any() or not positive.size:
        return None
    return float(10.0 ** np.floor(np.log10(positive.min()) - 0.5))


def _values(curve: Curve) -> list[np.ndarray]:
    return [part for part in (curve.y, curve.band, curve.seeds, curve.raw) if part is not None]


def _lifted(curve: Curve, zero: float, floor: float | None) -> Curve:
    """With what is 0 at the place of 0."""
    if floor is None:
        return curve
    parts: dict[str, Any] = {name: getattr(curve, name) for name in ("y", "band", "seeds", "raw")}
    lifted: dict[str, Any] = {
        name: np.where(part <= zero, floor, part) for name, part in parts.items() if part is not None
    }
    return replace(curve, **lifted)


def _x_axis(ax: Axes, panel: Panel) -> None:
    """Ticks where something was measured: at evaluations, at the values of a dial, at things with names."""
    if panel.names:
        every = -(-len(panel.names) // 12)
        ax.set_xticks(range(0, len(panel.names), every), panel.names[::every])
        return
    places = sorted({float(x) for curve in panel.curves for x in curve.x if panel.log_x is None or x > 0})
    if panel.log_x:
        ax.set_xscale("log", base=panel.log_x)
        ax.set_xticks(places, [f"{place:g}" for place in places])
        ax.xaxis.set_minor_locator(NullLocator())
        _thin(ax, places)
    elif panel.markers and len(places) <= 24:
        every = -(-(len(places) - 1) // 5) or 1
        ax.xaxis.set_major_locator(FixedLocator(places[::every]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    elif all((curve.x == curve.x.round()).all() for curve in panel.curves):
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _thin(ax: Axes, places: Sequence[float]) -> None:
    """Leave out tick labels of a logarithmic axis that would run into the one before."""
    width = ax.get_figure().get_size_inches()[0] * ax.get_position().width  # type: ignore[union-attr]
    span = np.log(places[-1] / places[0]) if len(places) > 1 else 1.0
    shown: list[float] = []
    for place in places:
        # A sign is about 0.07 inches wide; what follows needs half of both labels and a gap.
        room = 0.07 * (len(f"{place:g}") + len(f"{shown[-1]:g}")) / 2 + 0.08 if shown else 0.0
        if not shown or np.log(place / shown[-1]) / span * width * 0.8 > room:
            shown.append(place)
    ax.set_xticks(places, [f"{place:g}" if place in shown else "" for place in places])


def _decades(ax: Axes, floor: float | None) -> None:
    """Powers of ten at the size of all other type, and a 0 where zeros are drawn."""

    def name(value: float, _: int) -> str:
        if floor is not None and np.isclose(value, floor, atol=0):
            return "0"
        return power_of_ten(value)

    ax.yaxis.set_major_formatter(FuncFormatter(name))


def _share_scales(drawn: Sequence[tuple[Panel | Forest, Axes]]) -> None:
    """One y axis for the panels that are to be compared."""
    scales: dict[str, list[Axes]] = {}
    for panel, ax in drawn:
        if isinstance(panel, Panel) and panel.scale:
            scales.setdefault(panel.scale, []).append(ax)
    for group in scales.values():
        ends = [ax.get_ylim() for ax in group]
        for ax in group:
            ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))


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
    bands = [curve.band for curve in drawn if curve.band is not None]
    bottom = max(min([low, *(float(below.min()) for below, _ in bands)]), low - room)
    top = min(max([high, *(float(above.max()) for _, above in bands)]), high + room)
    margin = 0.04 * (top - bottom)
    return bottom - margin, top + margin


def _name_lines(ax: Axes, panel: Panel, style: Style) -> None:
    """The name of every line at its end, moved apart where they would touch."""
    named = [curve for curve in panel.curves if not curve.points]
    low, high = ax.get_ylim()
    scaled = (lambda y: np.log(y)) if panel.log_y else (lambda y: y)

    def place(value: float) -> float:
        return float((scaled(value) - scaled(low)) / (scaled(high) - scaled(low)))

    # A line of type, in heights of the axes, which the layout makes a little lower yet.
    line = 0.125 / (ax.get_figure().get_size_inches()[1] * ax.get_position().height * 0.95)  # type: ignore[union-attr]
    ordered = sorted(named, key=lambda curve: place(float(curve.y[-1])))
    sizes = [line * (curve.label.count("\n") + 1.15) for curve in ordered]
    heights = spread([min(max(place(float(curve.y[-1])), 0.0), 1.0) for curve in ordered], sizes)
    for curve, height in zip(ordered, heights, strict=True):
        look = style[curve.look or curve.label]
        arrow = {
            "arrowstyle": "-",
            "relpos": (0, 0.5),
            "color": look.color,
            "linewidth": 0.5,
            "shrinkA": 0,
            "shrinkB": 1,
        }
        ax.annotate(
            curve.label,
            xy=(float(curve.x[-1]), float(curve.y[-1])),
            xytext=(1.06, height),
            textcoords="axes fraction",
            color=look.color,
            va="center",
            fontsize=SMALLEST,
            arrowprops=arrow,
            annotation_clip=False,
        )


def spread(places: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Ascending places moved as little as it takes for things of these sizes not to overlap, cluster by cluster."""
    clusters: list[tuple[float, list[float]]] = []  # The centre, and the sizes of what is in it.
    for place, size in zip(places, sizes, strict=True):
        clusters.append((place, [size]))
        while len(clusters) > 1:
            (left, few), (right, many) = clusters[-2:]
            if right - left >= (sum(few) + sum(many)) / 2:
                break
            # Both move so that the mean place of all stays where it is.
            centre = (left * len(few) + right * len(many)) / (len(few) + len(many))
            clusters[-2:] = [(centre, few + many)]
    found = []
    for centre, within in clusters:
        edge = centre - sum(within) / 2
        for size in within:
            found.append(edge + size / 2)
            edge += size
    return found
