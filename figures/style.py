"""One style for every figure: paper widths, colours that colour-blind readers can tell apart, one look per method.

Figures are made without pyplot, so no global state is touched and nothing needs closing.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from rino_base.files import atomic_path

Format = Literal["png", "pdf", "svg"]

COLUMN = 3.3
"""Width of one column of a paper, inches."""
PAGE = 6.8
"""Width of a page of a paper, inches."""

# Okabe and Ito (2008), without its yellow, which is lost on white paper.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DATED = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}
GREY = "#6B6B6B"
POSITIVE, PARTIAL, NEGATIVE = "#0072B2", "#E69F00", "#D55E00"
"""Right, partly right and wrong responses."""

BEFORE = "before training"
"""The label of the untrained model, which is no method and grey."""

RC: Any = {
    "font.family": "DejaVu Sans",  # Ships with matplotlib and has every sign used here, so figures look alike anywhere.
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#333333",
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # TrueType: text stays text, as journals ask.
    "svg.fonttype": "none",
    "svg.hashsalt": "rino",
}


@dataclass(frozen=True)
class Look:
    """How one method is drawn, everywhere."""

    color: str
    dash: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments for a line."""
        return {"color": self.color, "linestyle": self.dash}


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for every label, in the order of the data: colours first, then dashes; all differ up to 32 labels."""
    colors, markers = len(PALETTE), len(MARKERS)
    chosen = {
        label: Look(PALETTE[i % colors], DASHES[i // colors % len(DASHES)], MARKERS[(i + i // markers) % markers])
        for i, label in enumerate(dict.fromkeys(labels))
    }
    return {**chosen, BEFORE: Look(GREY, DASHES[1], "o")}


def shades(labels: Iterable[str]) -> dict[str, Look]:
    """Looks for settings that have an order: from dark to light, the first the darkest."""
    known = list(dict.fromkeys(labels))
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(known)))
    return {label: Look(to_hex(colors[i]), "-", MARKERS[i % len(MARKERS)]) for i, label in enumerate(known)}


@contextmanager
def paper_style() -> Iterator[None]:
    """The style, while figures are drawn and saved."""
    with matplotlib.rc_context(RC):
        yield


def grid(
    rows: int, columns: int, *, width: float = PAGE, height: float = 1.75, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` x `columns` axes; `height` is one row's, inches. Returns the axes as a 2-D array."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def width_for(columns: int) -> float:
    """A column's width for one panel, a page's for three or more."""
    return min(PAGE, COLUMN if columns == 1 else 2.45 * columns)


def add_legend(figure: Figure, axes: Sequence[Axes], *, title: str = "") -> None:
    """One legend for all axes, each label once: beside a single pair of axes, above several. The figure grows by it."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        return
    handles, labels, heading = list(entries.values()), list(entries), title or None
    if len(axes) == 1:
        figure.set_figwidth(figure.get_figwidth() + _legend_width(labels, 1))
        figure.legend(handles, labels, title=heading, loc="outside right center", alignment="left")
        return
    fitting = [n for n in range(1, len(labels) + 1) if _legend_width(labels, n) <= figure.get_figwidth()]
    columns = max(fitting, default=1)
    rows = ceil(len(labels) / columns)
    columns = ceil(len(labels) / rows)
    figure.set_figheight(figure.get_figheight() + 0.16 * (rows + bool(title)))
    figure.legend(handles, labels, title=heading, loc="outside upper center", ncols=columns)


def _legend_width(labels: Sequence[str], columns: int) -> float:
    """Inches: about 15 characters each at the legend's font size, and 8 for a handle and the gap beside it."""
    parts = np.array_split(np.array([len(label) + 8 for label in labels]), columns)
    return sum(int(part.max()) for part in parts if part.size) / 15


def few_decades(axis: Axis) -> None:
    """Plain numbers at 1, 2, 5, 10, ... on a logarithmic axis that spans a decade or two."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, path: Path, formats: Sequence[Format]) -> list[Path]:
    """Write `path`.png, .pdf, ... whole or not at all, the same bytes for the same data."""
    # Laid out once: every saving would do it again, and it is most of the time.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    written = []
    for form in formats:
        # Dates and versions in a file would make every redrawing look like a change.
        metadata: dict[str, Any] = {_DATED[form]: None}
        target = path.with_name(f"{path.name}.{form}")
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=form, metadata=metadata)
        written.append(target)
    return written
