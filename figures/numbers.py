"""The numbers that a picture shows, read from the picture itself: what is drawn is what is written."""

import csv
import io
import math
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

COLUMNS = ("panel", "x axis", "y axis", "series", "kind", "x", "y", "low", "high")
"""`kind` is line, points, bar, band (`low` to `high` at x) or interval (`low` to `high` along the other axis)."""

Number = tuple[object, ...]


def plotted_numbers(figure: Figure) -> list[Number]:
    """A row for every point, bar and end of an interval, panel by panel; guides across a whole panel are left out."""
    return [row for ax in figure.axes if ax.get_visible() for row in _panel(ax)]


def to_csv(rows: Iterable[Number], columns: Iterable[str] = COLUMNS) -> str:
    """Comma-separated values; floats to the last digit, what does not exist empty."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return page.getvalue()


def _panel(ax: Axes) -> Iterator[Number]:
    title = ax.get_title() or ax.get_title(loc="left")
    head = tuple(" ".join(text.split()) for text in (title, ax.get_xlabel(), ax.get_ylabel()))
    guides = (ax.get_xaxis_transform(), ax.get_yaxis_transform())
    for line in ax.lines:
        if any(line.get_transform() is guide for guide in guides):
            continue
        kind = "points" if line.get_linestyle() == "None" else "line"
        for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True):
            yield (*head, _name(line.get_label()), kind, x, y, None, None)
    for item in ax.collections:
        name = _name(item.get_label())
        if isinstance(item, FillBetweenPolyCollection):
            for x, low, high in _band(np.asarray(item.get_paths()[0].vertices)):
                yield (*head, name, "band", x, None, low, high)
        elif isinstance(item, LineCollection) and name:
            for (x0, y0), *_, (x1, y1) in item.get_segments():
                if y0 == y1:
                    yield (*head, name, "interval", None, y0, min(x0, x1), max(x0, x1))
                elif x0 == x1:
                    yield (*head, name, "interval", x0, None, min(y0, y1), max(y0, y1))
        elif isinstance(item, PathCollection):
            for x, y in np.asarray(item.get_offsets()):
                yield (*head, name, "points", x, y, None, None)
    for bars in ax.containers:
        if isinstance(bars, BarContainer):
            for bar in bars.patches:
                along = bars.orientation == "horizontal"
                x, y = bar.get_x(), bar.get_y()
                ends = (
                    (bar.get_width(), y + bar.get_height() / 2)
                    if along
                    else (x + bar.get_width() / 2, bar.get_height())
                )
                yield (*head, _name(bars.get_label()), "bar", *ends, None, None)


def _band(vertices: np.ndarray) -> Iterator[tuple[float, float, float]]:
    """x, low and high: the outline goes along one side and back along the other, which may begin twice."""
    ends: dict[float, list[float]] = {}
    for x, y in vertices:
        ends.setdefault(float(x), []).append(float(y))
    for x, values in ends.items():
        yield x, min(values), max(values)


def _name(label: object) -> str:
    """What `Figure.legend` would hide begins with a line; names that matplotlib made up are none."""
    text = str(label).removeprefix("_")
    return "" if text.startswith(("child", "nolegend_")) else " ".join(text.split())


def _cell(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return "" if value is None else value
