"""`rino figures`: every figure, every table and the report, from run files alone.

What draws is imported when the command runs, so that `--help` is there at once.
"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from figures.formats import FONT, Format
from rino_base.files import write_json
from rino_base.messages import print_table


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
    from figures.drawing import draw
    from figures.render import Page

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
