"""`rino figures`: every figure, every table and the report, from run files alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from figures.answer import sentences
from figures.facts import gather
from figures.paper import write_paper
from figures.reading import read_results
from figures.registry import PLOTS, TABLES
from figures.render import Page, Rendering, render
from figures.report import write_report
from figures.style import FONT, Format
from rino_base.files import write_json
from rino_base.messages import InputError, print_table
from rino_base.progress import progress_bar


def figures(
    runs: Path,
    /,
    *more: Path,
    out: Path | None = None,
    formats: tuple[Format, ...] = ("png", "pdf"),
    width: float | None = None,
    font: str = FONT,
    no_title: Annotated[bool, Parameter(negative="")] = False,
    only: tuple[str, ...] = (),
    json: Path | None = None,
) -> int:
    """Draw every figure and table that the results allow, and write the report.

    Args:
        runs: The directory of `rino reproduce` or `rino compare`, a directory of such, or of run directories.
        more: Further ones, drawn together with the first; then --out is needed.
        out: Where figures/, tables/, report.md, report.html and paper.tex go; by default next to the results.
        formats: File formats of the figures: png, pdf, svg. The report needs png. Plotted numbers are always there
            as csv.
        width: Of every figure, inches: 3.3 is a column, 5.5 the text of a one-column paper, 6.8 a page. By default
            small figures are a column wide and large ones a page.
        font: Of the figures, by family name. No text is smaller than 7 points.
        no_title: Leave out headings inside figures; panels that need a name keep it.
        only: Draw this figure or table and no other; may be repeated. Then no report is written.
        json: Write files, reasons and verdicts here.
    """
    page = Page(formats=formats, width=width, font=font, titles=not no_title, only=only)
    drawing = draw((runs, *more), out, page=page)
    out = drawing.place
    rendering = drawing.rendering
    rows = [(item.plot.id, str(item.files[0].relative_to(out))) for item in rendering.drawn]
    rows += [(item.entry.id, str(item.files[0].relative_to(out))) for item in rendering.written]
    rows += [("report", str(path.relative_to(out))) for path in drawing.report]
    rows += [(name, f"skipped: {reason}") for name, reason in rendering.skipped.items()]
    title = f"figures of {', '.join(map(str, (runs, *more)))}"
    print_table(title, ["figure", "file, or why there is none"], rows)
    if json is not None:
        write_json(json, drawing.to_json())
    return 0


@dataclass(frozen=True)
class Drawing:
    """All that was drawn, and the files of the report."""

    place: Path
    rendering: Rendering
    report: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Files, reasons and verdicts, as docs/json.md describes them."""
        drawn, written = self.rendering.drawn, self.rendering.written
        return {
            "figures": [
                {"id": item.plot.id, "files": [str(path) for path in item.files], "caption": item.caption}
                for item in drawn
            ],
            "tables": [{"id": item.entry.id, "files": [str(path) for path in item.files]} for item in written],
            "report": [str(path) for path in self.report],
            "skipped": dict(self.rendering.skipped),
            "verdicts": [
                {"figure": name, "subject": verdict.subject, "outcome": verdict.outcome, "text": verdict.text}
                for name, found in self.rendering.verdicts.items()
                for verdict in found
            ],
        }


def draw(runs: Sequence[Path], out: Path | None, *, page: Page) -> Drawing:
    """Draw what the files under `runs` allow into `out`, by default beside them.

    PNG is among the formats where the report is written.

    Raises:
        InputError: `runs` hold no results; several of them and no `out`; no such font.
    """
    if out is None and len(runs) > 1:
        raise InputError(f"{len(runs)} directories of results and no place for the figures", mend="give --out DIR")
    place = runs[0] if out is None else out
    results = read_results(*runs)
    if not page.only and "png" not in page.formats:
        page = replace(page, formats=("png", *page.formats))
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=len(PLOTS) + len(TABLES))
        rendering = render(results, place, page=page, progress=lambda _: bar.advance(task))
    if page.only:
        return Drawing(place, rendering, ())
    facts = gather(results)
    report = write_report(results, facts, rendering, place)
    return Drawing(place, rendering, (*report, write_paper(rendering, sentences(facts), place)))
