"""One style for every figure: the widths of a paper, type of 7 points or more at that width, legends that fit.

Figures are made without pyplot, so no global state is touched and nothing needs closing.
"""

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from figures.formats import FONT, Format
from figures.looks import BEFORE, DASHED, GREY, Look, method_look
from rino_base.files import atomic_path
from rino_base.messages import InputError

COLUMN, TEXT, PAGE = 3.3, 5.5, 6.8
"""Inches: one column of a two-column paper, the text of a one-column paper, both columns."""
SMALLEST = 7.0
"""Points: no text in a figure is smaller, so that it can be read at the width it is made for."""
SIGNS = 14
"""Of type of 7 to 8 points on an inch, for where lines are broken."""

_DATED = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}

RC: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "legend.fontsize": SMALLEST,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
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
    "text.parse_math": False,  # A dollar in the name of a task is a dollar.
    "pdf.fonttype": 42,  # TrueType: text stays text, as journals ask.
    "svg.fonttype": "none",
    "svg.hashsalt": "rino",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Style(Mapping[str, Look]):
    """The look of every label, and what the page asks for.

    Attributes:
        known: looks by label. A label that is not among them is read as a method's key.
        width: of every picture, inches; None leaves each at its own, a column's or a page's.
        titles: whether pictures carry headings; in a paper the caption does.
    """

    known: Mapping[str, Look]
    width: float | None = None
    titles: bool = True

    def __getitem__(self, label: str) -> Look:
        return self.known[label] if label in self.known else _UNTRAINED if label == BEFORE else method_look(label)

    def __contains__(self, label: object) -> bool:
        return label in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def plus(self, looks: Mapping[str, Look]) -> "Style":
        """The same with further looks, where these labels have none yet."""
        return replace(self, known={**looks, **self.known})

    @property
    def column(self) -> float:
        """The width of a small picture, inches."""
        return self.width or COLUMN

    @property
    def page(self) -> float:
        """The width of a large picture, inches."""
        return self.width or PAGE


_UNTRAINED = Look(GREY, DASHED, "o")


@contextmanager
def paper_style(font: str = FONT) -> Iterator[None]:
    """The style, while figures are drawn and saved; signs that `font` lacks are taken from DejaVu Sans.

    Raises:
        InputError: no such font on this machine.
    """
    names = {*font_manager.fontManager.get_font_names(), "serif", "sans-serif", "monospace"}
    if font not in names:
        near = difflib.get_close_matches(font, names, n=3, cutoff=0.4) or ["serif", "sans-serif"]
        raise InputError(f"no font {font!r} on this machine", mend=f"nearest: {', '.join(near)}")
    with matplotlib.rc_context({**RC, "font.family": [font, FONT]}):
        yield


def grid(
    rows: int, columns: int, *, width: float = PAGE, height: float = 1.75, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` x `columns` axes; `height` is one row's, inches. Returns the axes as a 2-D array."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def columns_for(panels: int, width: float) -> int:
    """How many of `panels` stand side by side: none is narrower than 1.6 inches, and no row is left nearly empty."""
    fitting = max(1, min(panels, int(width / 1.6)))
    return ceil(panels / ceil(panels / fitting))


def add_legend(figure: Figure, axes: Sequence[Axes], *, title: str = "") -> None:
    """One legend above all axes, each label once, in as many columns as fit. The figure grows by it."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries or title:
        place_legend(figure, entries, title=title)


def place_legend(figure: Figure, entries: Mapping[str, Any], *, title: str = "") -> None:
    """Handles by label above the axes. The figure grows by what the legend takes."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    room = figure.bbox.width
    signs = int(figure.get_figwidth() * SIGNS)
    labels = [textwrap.fill(label, signs - 8) for label in entries]
    heading = textwrap.fill(title, signs) or None
    for rows in range(1, max(len(labels), 1) + 1):
        columns = ceil(len(labels) / rows) or 1
        legend = figure.legend(list(entries.values()), labels, title=heading, loc="outside upper center", ncols=columns)
        size = legend.get_window_extent(renderer)
        if size.width <= room or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + size.height / figure.dpi)


def few_decades(axis: Axis) -> None:
    """Plain numbers at 1, 2, 5, 10, ... on a logarithmic axis that spans a decade or two."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def plain_powers(figure: Figure) -> None:
    """Powers of ten on logarithmic axes with raised signs: mathematical type would set them smaller than all else."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_formatter(), LogFormatter):
            axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        if isinstance(axis.get_minor_formatter(), LogFormatter):
            axis.set_minor_formatter(NullFormatter())


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(value: float) -> str:
    """0.01, 1, 100 as they are, 10⁻⁶ beyond, and any other number in digits."""
    exponent = round(float(np.log10(value))) if value > 0 else 0
    if value <= 0 or not np.isclose(value, 10.0**exponent):
        return f"{value:g}"
    return f"{value:g}" if -2 <= exponent <= 2 else f"10{str(exponent).translate(_RAISED)}"


def save(figure: Figure, path: Path, formats: Sequence[Format]) -> list[Path]:
    """Write `path`.png, .pdf, ... whole or not at all, the same bytes for the same data."""
    plain_powers(figure)
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
