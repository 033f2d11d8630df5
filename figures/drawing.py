"""Draw all that results allow, and write the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from figures.answer import sentences
from figures.facts import gather
from figures.paper import write_paper
from figures.reading import read_results
from figures.registry import PLOTS, TABLES
from figures.render import Page, Rendering, render
from figures.report import write_report
from rino_base.messages import InputError
from rino_base.progress import progress_bar


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
