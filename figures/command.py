"""`rino figures`: every figure, every table and the report, from run files alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.registry import PLOTS, TABLES
from figures.render import Rendering, render
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
    out = runs if out is None else out
    drawing = draw(runs, out, formats=formats)
    rendering = drawing.rendering
    rows = [(item.plot.id, str(item.files[0].relative_to(out))) for item in rendering.drawn]
    rows += [(item.entry.id, str(item.files[0].relative_to(out))) for item in rendering.written]
    rows += [("report", str(path.relative_to(out))) for path in drawing.report]
    rows += [(name, f"skipped: {reason}") for name, reason in rendering.skipped.items()]
    print_table(f"figures of {runs}", ["figure", "file, or why there is none"], rows)
    if json is not None:
        write_json(json, drawing.to_json())
    return 0


@dataclass(frozen=True)
class Drawing:
    """All that was drawn, and the files of the report."""

    rendering: Rendering
    report: tuple[Path, Path]

    def to_json(self) -> dict[str, Any]:
        """Files, reasons and verdicts, as docs/json.md describes them."""
        drawn, written = self.rendering.drawn, self.rendering.written
        return {
            "figures": [{"id": item.plot.id, "files": [str(path) for path in item.files]} for item in drawn],
            "tables": [{"id": item.entry.id, "files": [str(path) for path in item.files]} for item in written],
            "report": [str(path) for path in self.report],
            "skipped": dict(self.rendering.skipped),
            "verdicts": [
                {"figure": name, "subject": verdict.subject, "outcome": verdict.outcome, "text": verdict.text}
                for name, found in self.rendering.verdicts.items()
                for verdict in found
            ],
        }


def draw(runs: Path, out: Path, *, formats: Sequence[Format]) -> Drawing:
    """Draw what the files under `runs` allow into `out`; PNG is always among the formats, for the report.

    Raises:
        InputError: `runs` holds no results.
    """
    results = read_results(runs)
    wanted = tuple(formats) if "png" in formats else ("png", *formats)
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=len(PLOTS) + len(TABLES))
        rendering = render(results, out, formats=wanted, progress=lambda _: bar.advance(task))
    return Drawing(rendering, write_report(results, rendering, out))
