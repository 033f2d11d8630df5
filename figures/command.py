"""`rino figures`: every figure, every table and the report, from run files alone."""

from pathlib import Path

from figures.registry import PLOTS, TABLES
from figures.render import render
from figures.report import write_report
from figures.runs import read_results
from figures.style import Format
from rino_base.files import write_json
from rino_base.messages import print_table
from rino_base.progress import progress_bar


def figures(
    runs: Path,
    /,
    *,
    out: Path | None = None,
    formats: tuple[Format, ...] = ("png", "pdf"),
    json: Path | None = None,
) -> int:
    """Draw every figure and table that the results allow, and write the report.

    Args:
        runs: The directory of `rino reproduce` or `rino compare`, or a directory of run directories.
        out: Where figures/, tables/, report.md and report.html go; by default next to the results.
        formats: File formats of the figures: png, pdf, svg. The report needs png.
        json: Write files, reasons and verdicts here.
    """
    results = read_results(runs)
    out = runs if out is None else out
    wanted: tuple[Format, ...] = formats if "png" in formats else ("png", *formats)
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=len(PLOTS) + len(TABLES))
        rendering = render(results, out, formats=wanted, progress=lambda _: bar.advance(task))
    report = write_report(results, rendering, out)
    rows = [(item.plot.id, str(item.files[0].relative_to(out))) for item in rendering.drawn]
    rows += [(item.entry.id, str(item.files[0].relative_to(out))) for item in rendering.written]
    rows += [("report", str(path.relative_to(out))) for path in report]
    rows += [(name, f"skipped: {reason}") for name, reason in rendering.skipped.items()]
    print_table(f"figures of {runs}", ["figure", "file, or why there is none"], rows)
    if json is not None:
        write_json(
            json,
            {
                "figures": [
                    {"id": item.plot.id, "files": [str(path) for path in item.files]} for item in rendering.drawn
                ],
                "tables": [
                    {"id": item.entry.id, "files": [str(path) for path in item.files]} for item in rendering.written
                ],
                "report": [str(path) for path in report],
                "skipped": dict(rendering.skipped),
                "verdicts": [
                    {"figure": name, "subject": verdict.subject, "outcome": verdict.outcome, "text": verdict.text}
                    for name, found in rendering.verdicts.items()
                    for verdict in found
                ],
            },
        )
    return 0
