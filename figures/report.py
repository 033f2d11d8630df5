"""The report: one Markdown text with a verdict for everything shown, and the same as one self-contained HTML file.

The Markdown points at the pictures beside it; the HTML carries them inside, and shows token weights as coloured text.

Names, titles and numbers come from files that anybody may have written. So the only HTML in the page is what this
module wrote (`_Html`); every other block is rendered with HTML switched off, pictures are those that were drawn, and
the page forbids itself scripts and everything from elsewhere.
"""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from figures.heatmap import Pair, weights_html
from figures.registry import THEORY, TRAINING
from figures.render import Drawn, Rendering
from figures.runs import Results, Row, panels
from figures.statistics import CONFIDENCE
from figures.tables import Table
from figures.verdicts import Verdict
from rino_base.files import write_text

_SHOWN = 8  # Verdicts of one figure before the rest is folded away.

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.85em; display: block; overflow-x: auto; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table.weights td { width: 50%; line-height: 1.9; font-family: ui-monospace, monospace; }
table.weights span { padding: 0.1rem 0.25rem; border-radius: 2px; white-space: pre; }
summary { cursor: pointer; color: #555; }
"""


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # how HTML begins in Markdown


class _Html(str):
    """A block of HTML of our own making; all other blocks are Markdown."""


def write_report(results: Results, rendering: Rendering, out: Path) -> tuple[Path, Path]:
    """Write `out`/report.md and `out`/report.html; returns both paths."""
    blocks = compose(results, rendering, out)
    pages = out / "report.md", out / "report.html"
    plain = (block if isinstance(block, _Html) else _TAG.sub("&lt;", block) for block in blocks)
    write_text(pages[0], "\n\n".join(block.strip() for block in plain) + "\n")
    write_text(pages[1], to_html(blocks, rendering, out))
    return pages


def compose(results: Results, rendering: Rendering, out: Path) -> list[str]:
    """The blocks of the report in Markdown; pictures are named relative to `out`."""
    parts = ["# Is it RL in name only?", _inputs(results), "## In short", *_summary(rendering), _READING]
    if results.proof is not None:
        parts += ["## Proofs", *_proofs(results.proof["theorems"])]
    if results.checks:
        parts += [f"## {THEORY}", *_exact(results, rendering), *_figures(rendering, THEORY, out)]
    if results.runs:
        tables = {name: [item.table for item in rendering.written if item.entry.id == name] for name in _TABLE_ORDER}
        parts += [f"## {TRAINING}", _setup(results)]
        parts += [_titled(table) for name in ("overview", "final-results", "differences") for table in tables[name]]
        parts += _figures(rendering, TRAINING, out)
        parts.append("## Settings")
        for table in tables["hyperparameters"]:
            parts += _folded(table.title, table.to_markdown())
    if rendering.skipped:
        rows = tuple(rendering.skipped.items())
        parts += ["## Not shown", Table("", ("figure or table", "why"), rows).to_markdown()]
    return parts


def to_html(blocks: Sequence[str], rendering: Rendering, out: Path) -> str:
    """The report as one file that needs no other: pictures inside, token weights as coloured text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    ours: dict[str, str] = {}
    for item in rendering.drawn:
        picture = base64.b64encode(_png(item).read_bytes()).decode()
        shown = f'<p><img src="data:image/png;base64,{picture}" alt="{html.escape(_name(item))}"></p>'
        ours[_picture(item, out)] = shown + (weights_html(item.data) if isinstance(item.data, Pair) else "")
    body = "\n".join(
        ours[block] if block in ours else block if isinstance(block, _Html) else markdown.render(block)
        for block in blocks
    )
    title = "Is it RL in name only?"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


_TABLE_ORDER = ("overview", "final-results", "differences", "hyperparameters")

_READING = f"""**How to read this.** Every sentence below with a bold first word was decided by the data when this
report was made. *Equal* is said only of gradients that agree to a stated tolerance. Between trained models the words
are *distinguished* and *not distinguished*: the second does not mean equal, and the largest difference that the data
leave possible stands beside it. Intervals are {CONFIDENCE:.0%} intervals of paired differences: Student's t over seeds,
and a bootstrap over held-out prompts with the trained models held fixed; *distinguished* means that both exclude 0.
They are not corrected for the number of comparisons."""


def _inputs(results: Results) -> str:
    found = []
    if results.proof is not None:
        found.append(f"{len(results.proof['theorems'])} theorems")
    if results.checks:
        found.append(f"exact checks on small MDPs ({', '.join(results.checks)})")
    for (task, model), arms in panels(results.arms).items():
        runs = sum(len(arm.runs) for arm in arms)
        found.append(f"{runs} training runs of {len(arms)} methods on {task} with the model {model}")
    return f"Made by `rino figures` from run files alone: {'; '.join(found)}."


def _summary(rendering: Rendering) -> list[str]:
    """How the proofs came out, and the headlines of everything else."""
    lines = []
    proved = rendering.verdicts.get("proofs", ())
    if proved:
        failed = [verdict.subject for verdict in proved if verdict.outcome == "failed"]
        word, end = ("Failed", f"; not {', '.join(failed)}") if failed else ("Verified", ", every step and witness")
        lines.append(f"- **{word}.** {len(proved) - len(failed)} of {len(proved)} theorems{end}.")
    lines += [_line(verdict) for found in rendering.verdicts.values() for verdict in found if verdict.headline]
    return ["\n".join(lines)] if lines else ["Nothing here was decided by the data."]


def _proofs(theorems: Sequence[Row]) -> list[str]:
    """A table of the theorems, their statements, and what the witnesses computed."""

    def share(parts: Sequence[Row]) -> str:
        return f"{sum(bool(part['verified']) for part in parts)}/{len(parts)}"

    rows = tuple(
        (
            str(theorem["id"]),
            str(theorem.get("title", "")),
            "verified" if theorem["verified"] else "**failed**",
            share(theorem["steps"]),
            share(theorem["witnesses"]),
            str(theorem.get("symbolic", "–")),
            str(theorem.get("enumerated", "–")),
        )
        for theorem in theorems
    )
    columns = ("theorem", "", "result", "steps", "witnesses", "symbolic", "value by value")
    witnesses = tuple(
        (str(theorem["id"]), str(witness.get("dropped", "")), str(witness.get("numbers", "")))
        for theorem in theorems
        for witness in theorem["witnesses"]
    )
    return [
        Table("Proofs", columns, rows).to_markdown(),
        "\n".join(f"- **{theorem['id']}.** {theorem['statement']}" for theorem in theorems),
        *_folded(
            "What happens without each assumption",
            Table("Witnesses", ("theorem", "assumption", "with it; without it"), witnesses).to_markdown(),
        ),
    ]


def _exact(results: Results, rendering: Rendering) -> list[str]:
    """The assumptions that hold on each problem, the identities they promise, and all methods in folded tables."""
    names = list(dict.fromkeys(name for check in results.checks.values() for name in check.get("assumptions", {})))

    def cell(fact: Row | None) -> str:
        if fact is None:
            return "–"
        return "holds" if fact["holds"] else f"**does not hold**: {fact['evidence']}"

    rows = tuple(
        (problem, *(cell(check.get("assumptions", {}).get(name)) for name in names))
        for problem, check in results.checks.items()
    )
    columns = ("problem", *(name.replace("_", " ") for name in names))
    parts = [Table("Assumptions", columns, rows).to_markdown()]
    parts += _lines(rendering.verdicts.get("identities", ()))
    for item in rendering.written:
        if item.entry.id == "exact":
            parts += _folded(item.table.title, item.table.to_markdown())
    return parts


def _setup(results: Results) -> str:
    """What the seeds share, and which runs are not finished."""
    lines = []
    for (task, model), arms in panels(results.arms).items():
        seeds = sorted({seed for arm in arms for seed in arm.seeds})
        lines.append(
            f"On {task}, all runs start from the one model {model}; the seeds ({', '.join(map(str, seeds))}) decide "
            f"the order of prompts and the sampling. The reference is {arms[0].label}."
        )
    selections = [comparison["selection"] for comparison in results.comparisons if comparison.get("selection")]
    for selection in selections:
        rates, swept = (", ".join(f"{x:g}" for x in selection[name]) for name in ("learning_rates", "seeds"))
        lines.append(
            f"The learning rate of each method was chosen among {rates} by the {selection['rule']} (seeds {swept})."
        )
    if results.comparisons and not selections:
        lines.append("All methods were trained at one learning rate, which was not tuned for any of them here.")
    unfinished = [run for run in results.runs if run.last_step < run.num_steps]
    if unfinished:
        names = [f"{run.title} seed {run.seed} ({run.last_step} of {run.num_steps} steps)" for run in unfinished]
        lines.append(
            f"**Not finished:** {', '.join(names)}; curves end at the last step that all seeds of a method share."
        )
    return " ".join(lines)


def _figures(rendering: Rendering, section: str, out: Path) -> list[str]:
    parts = []
    for plot in dict.fromkeys(item.plot for item in rendering.drawn if item.plot.section == section):
        drawn = [item for item in rendering.drawn if item.plot is plot]
        pictures = [_picture(item, out) for item in drawn]
        parts += [f"### {plot.title}", pictures[0], drawn[0].caption]
        if pictures[1:]:
            parts += _folded(f"{len(pictures) - 1} more", *pictures[1:])
        parts += _lines(rendering.verdicts.get(plot.id, ()))
    return parts


def _picture(item: Drawn, out: Path) -> str:
    sign = "".join(f"\\{letter}" if letter in "[]\\`*_<>&!" else letter for letter in " ".join(_name(item).split()))
    return f"![{sign}]({_png(item).relative_to(out).as_posix()})"


def _png(item: Drawn) -> Path:
    return next(path for path in item.files if path.suffix == ".png")


def _name(item: Drawn) -> str:
    return f"{item.plot.title}: {item.suffix}" if item.suffix else item.plot.title


def _folded(title: str, *blocks: str) -> list[str]:
    return [_Html(f"<details><summary>{html.escape(title)}</summary>"), *blocks, _Html("</details>")]


def _lines(verdicts: Sequence[Verdict]) -> list[str]:
    shown, folded = verdicts[:_SHOWN], verdicts[_SHOWN:]
    parts = ["\n".join(map(_line, shown))] if shown else []
    if folded:
        parts += _folded(f"{len(folded)} more", "\n".join(map(_line, folded)))
    return parts


def _line(verdict: Verdict) -> str:
    word = verdict.outcome[0].upper() + verdict.outcome[1:]
    return f"- **{word}.** {verdict.text}"


def _titled(table: Table) -> str:
    return f"**{table.title}**\n\n{table.to_markdown()}"
