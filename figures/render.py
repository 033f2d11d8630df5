"""Draw everything in the registry that the results allow, and say of the rest why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.curves import MissingData
from figures.registry import PLOTS, TABLES, Plot, TableEntry
from figures.runs import Results
from figures.style import Format, looks, paper_style, save
from figures.tables import Table
from figures.verdicts import Verdict, identities, proofs
from rino_base.files import write_text


@dataclass(frozen=True)
class Drawn:
    """One picture on disk, by format."""

    plot: Plot
    suffix: str
    files: tuple[Path, ...]
    data: Any


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


def render(
    results: Results, out: Path, *, formats: Sequence[Format], progress: Callable[[str], None] = lambda _: None
) -> Rendering:
    """Write pictures to `out`/figures and tables to `out`/tables; `progress` hears every id when it is done."""
    drawn: list[Drawn] = []
    written: list[Written] = []
    skipped: dict[str, str] = {}
    verdicts: dict[str, tuple[Verdict, ...]] = {}
    known = looks(results.labels)
    for name, judge in (("proofs", proofs), ("identities", identities)):
        try:
            verdicts[name] = tuple(judge(results))
        except MissingData as reason:
            skipped[name] = str(reason)
    with paper_style():
        for plot in PLOTS:
            try:
                for suffix, data in plot.prepare(results).items():
                    path = out / "figures" / file_name(plot.id, suffix)
                    drawn.append(Drawn(plot, suffix, tuple(save(plot.draw(data, known), path, formats)), data))
                if plot.judge:
                    verdicts[plot.id] = tuple(plot.judge(results))
            except MissingData as reason:
                # A figure without a verdict is still a figure; only one that was not drawn is skipped.
                if not any(picture.plot is plot for picture in drawn):
                    skipped[plot.id] = str(reason)
            progress(plot.id)
    for entry in TABLES:
        try:
            for suffix, table in entry.prepare(results).items():
                path = out / "tables" / file_name(entry.id, suffix)
                files = path.with_name(path.name + ".md"), path.with_name(path.name + ".tex")
                write_text(files[0], f"**{table.title}**\n\n{table.to_markdown()}")
                write_text(files[1], table.to_latex())
                written.append(Written(entry, table, files))
        except MissingData as reason:
            skipped[entry.id] = str(reason)
        progress(entry.id)
    return Rendering(tuple(drawn), tuple(written), skipped, verdicts)


def file_name(identifier: str, suffix: str) -> str:
    """A file name without the signs that file systems or LaTeX's \\includegraphics dislike."""
    name = f"{identifier}-{suffix}" if suffix else identifier
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)
