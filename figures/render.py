"""Draw everything in the registry that the results allow, and say of the rest why not."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from figures.curves import MissingData, Sheet
from figures.entries import Plot, TableEntry
from figures.formats import FONT, Format
from figures.looks import known_looks
from figures.numbers import COLUMNS, plotted_numbers, to_csv
from figures.registry import PLOTS, TABLES
from figures.runs import Results
from figures.style import Style, paper_style, save
from figures.tables import Table
from figures.verdicts import Verdict, identities, proofs
from rino_base.files import write_text
from rino_base.messages import InputError


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page asks of pictures.

    Attributes:
        formats: of the files.
        width: inches, of every picture; None leaves each at a column's or a page's.
        font: its family; signs that it lacks are taken from DejaVu Sans.
        titles: whether pictures carry headings.
        only: ids of figures and tables; empty for all.
    """

    formats: tuple[Format, ...] = ("png",)
    width: float | None = None
    font: str = FONT
    titles: bool = True
    only: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.width is not None and not 2.5 <= self.width <= 20:
            raise InputError(
                f"--width {self.width:g} is no width of a picture in inches",
                mend="give 3.3 (a column), 5.5 (text of a one-column paper), 6.8 (a page) or another from 2.5 to 20",
            )
        known = [entry.id for entry in (*PLOTS, *TABLES)]
        for name in self.only:
            if name not in known:
                raise InputError(f"no figure or table {name!r}", mend=f"there are {', '.join(known)}")

    def wants(self, name: str) -> bool:
        """Whether this figure or table is asked for."""
        return not self.only or name in self.only


@dataclass(frozen=True)
class Drawn:
    """One picture on disk, by format, and the numbers in it.

    Attributes:
        caption: what it shows, how to read it, and what it was measured on.
        width: inches.
    """

    plot: Plot
    suffix: str
    files: tuple[Path, ...]
    data: Any
    caption: str
    width: float


@dataclass(frozen=True)
class Written:
    """One table on disk."""

    entry: TableEntry
    table: Table
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Rendering:
    """All that was made: `skipped` gives the reason by id; `verdicts` are by figure, or of `proofs`, `identities`."""

    drawn: tuple[Drawn, ...]
    written: tuple[Written, ...]
    skipped: Mapping[str, str]
    verdicts: Mapping[str, tuple[Verdict, ...]]


def render(results: Results, out: Path, *, page: Page, progress: Callable[[str], None] = lambda _: None) -> Rendering:
    """Write pictures to `out`/figures and tables to `out`/tables; `progress` hears every id when it is done.

    Raises:
        InputError: no such font.
    """
    drawn: list[Drawn] = []
    written: list[Written] = []
    skipped: dict[str, str] = {}
    verdicts: dict[str, tuple[Verdict, ...]] = {}
    style = Style(known=known_looks(results), width=page.width, titles=page.titles)
    for name, judge in (("proofs", proofs), ("identities", identities)):
        try:
            verdicts[name] = tuple(judge(results))
        except MissingData as reason:
            skipped[name] = str(reason)
    with paper_style(page.font):
        for plot in PLOTS:
            try:
                for suffix, data in plot.prepare(results).items() if page.wants(plot.id) else ():
                    figure = plot.draw(data, style)
                    path = out / "figures" / file_name(plot.id, suffix)
                    files = (*save(figure, path, page.formats), _numbers(plot, data, figure, path))
                    caption = _caption(plot, results, suffix, data)
                    drawn.append(Drawn(plot, suffix, files, data, caption, figure.get_figwidth()))
                if plot.judge:
                    verdicts[plot.id] = tuple(plot.judge(results))
            except MissingData as reason:
                # A figure without a verdict is still a figure; only one that was not drawn is skipped.
                if page.wants(plot.id) and not any(picture.plot is plot for picture in drawn):
                    skipped[plot.id] = str(reason)
            progress(plot.id)
    for entry in TABLES:
        try:
            for suffix, table in entry.prepare(results).items() if page.wants(entry.id) else ():
                path = out / "tables" / file_name(entry.id, suffix)
                files = path.with_name(path.name + ".md"), path.with_name(path.name + ".tex")
                write_text(files[0], f"**{table.title}**\n\n{table.to_markdown()}")
                write_text(files[1], table.to_latex(label=path.name))
                written.append(Written(entry, table, files))
        except MissingData as reason:
            skipped[entry.id] = str(reason)
        progress(entry.id)
    return Rendering(tuple(drawn), tuple(written), skipped, verdicts)


def file_name(identifier: str, suffix: str) -> str:
    """A file name without the signs that file systems or LaTeX's \\includegraphics dislike."""
    name = f"{identifier}-{suffix}" if suffix else identifier
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)


def _numbers(plot: Plot, data: Any, figure: Figure, path: Path) -> Path:
    """What the picture shows, as comma-separated values beside it."""
    columns, rows = plot.numbers(data) if plot.numbers else (COLUMNS, plotted_numbers(figure))
    target = path.with_name(f"{path.name}.csv")
    write_text(target, to_csv(rows, columns))
    return target


def _caption(plot: Plot, results: Results, suffix: str, data: Any) -> str:
    """How to read it, what was left out of it, and what it was measured on."""
    left_out = data.notes if isinstance(data, Sheet) else ()
    sentences = [plot.caption, f"Left out: {'; '.join(left_out)}." if left_out else "", plot.context(results, suffix)]
    return " ".join(sentence for sentence in sentences if sentence)
