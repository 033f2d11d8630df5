"""The report: three sentences and a table of claims first, then a verdict for everything shown.

It is one Markdown text, and the same as one self-contained HTML file. The Markdown points at the pictures beside it;
the HTML carries them inside, and lets a reader go through the sampled responses with the weight of every token.
"""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from figures.answer import sentences
from figures.claims import claims_table
from figures.entries import THEORY, TRAINING
from figures.facts import Facts
from figures.page import TITLE, Html, Picture, page
from figures.render import Drawn, Rendering
from figures.runs import Results, Row, panels
from figures.samples import browser_data, browser_html
from figures.statistics import CONFIDENCE, FEWEST
from figures.tables import Table
from figures.verdicts import Verdict
from rino_base.files import write_json, write_text

_SHOWN = 8  # Verdicts of one figure before the rest is folded away.

_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # how HTML begins in Markdown


def write_report(results: Results, facts: Facts, rendering: Rendering, out: Path) -> tuple[Path, Path, Path]:
    """Write `out`/report.md, `out`/report.html and `out`/answer.json; returns their paths."""
    answer, blocks = first_screen(facts), compose(results, rendering, out)
    paths = out / "report.md", out / "report.html", out / "answer.json"
    head = [f"# {TITLE}", *answer]
    plain = (block if isinstance(block, Html) else _TAG.sub("&lt;", block) for block in [*head, *blocks])
    write_text(paths[0], "\n\n".join(block.strip() for block in plain) + "\n")
    samples = browser_data(results)
    browser = ["## Samples", _SAMPLES, Html(browser_html(samples))] if samples else []
    top = [f"# {TITLE}", Html('<div class="answer">'), *answer[:-1], Html("</div>"), _claims_html(claims_table(facts))]
    # Before the settings and what is not shown.
    place = next((i for i, block in enumerate(blocks) if block in ("## Settings", "## Not shown")), len(blocks))
    write_text(paths[1], page(top, [*blocks[:place], *browser, *blocks[place:]]))
    write_json(paths[2], facts.to_json())
    return paths


def first_screen(facts: Facts) -> list[str]:
    """The sentences, and the table of claims last."""
    told = sentences(facts) or ["Nothing here was decided by the data."]
    return [*told, claims_table(facts).to_markdown()]


def compose(results: Results, rendering: Rendering, out: Path) -> list[str]:
    """The details in Markdown blocks; pictures are named relative to `out`."""
    parts = ["## Details", _inputs(results), _READING, *_summary(rendering)]
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


def _claims_html(table: Table) -> Html:
    """The table of claims; on a narrow screen every row becomes a card, whose cells say what they are."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td data-name="{html.escape(name)}">{html.escape(cell)}</td>'
            for name, cell in zip(table.columns, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    note = f"<p><small>{html.escape(table.note)}</small></p>" if table.note else ""
    return Html(
        f'<div class="claims"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n{note}'
    )


_SAMPLES = (
    "Responses sampled in training, with every token coloured by its weight: minus the derivative of the loss by the "
    "token's log-probability. Before the first update all methods of one seed sample the same responses."
)


_TABLE_ORDER = ("overview", "final-results", "differences", "hyperparameters")

_READING = f"""**How to read this.** Every sentence with a bold first word was decided by the data when this report was
made. *Equal* is said only of gradients that agree to a stated tolerance. Between trained models the words are
*distinguished* and *not distinguished*: the second does not mean equal, and the largest difference that the data leave
possible stands beside it. Intervals are {CONFIDENCE:.0%} intervals of paired differences: Student's t over seeds, and a
bootstrap over held-out prompts with the trained models held fixed. *Distinguished* means that both exclude 0, with at
least {FEWEST} seeds that have some spread, and that the p-value over seeds stays below {1 - CONFIDENCE:.2g} by Holm's
rule for all comparisons with the same reference."""


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
    parts: list[str] = []
    for plot in dict.fromkeys(item.plot for item in rendering.drawn if item.plot.section == section):
        drawn = [item for item in rendering.drawn if item.plot is plot]
        pictures = [_picture(item, out, first=item is drawn[0]) for item in drawn]
        parts += [f"### {plot.title}", pictures[0], drawn[0].caption]
        if pictures[1:]:
            parts += _folded(f"{len(pictures) - 1} more", *pictures[1:])
        parts += _lines(rendering.verdicts.get(plot.id, ()))
    return parts


def _picture(item: Drawn, out: Path, *, first: bool) -> Picture:
    name = " ".join(_name(item).split())
    sign = "".join(f"\\{letter}" if letter in "[]\\`*_<>&!" else letter for letter in name)
    file = next(path for path in item.files if path.suffix == ".png")
    link = file.relative_to(out).as_posix()
    return Picture.of(f"![{sign}]({link})", file=file, link=link, name=name, first=first)


def _name(item: Drawn) -> str:
    return f"{item.plot.title}: {item.suffix}" if item.suffix else item.plot.title


def _folded(title: str, *blocks: str) -> list[str]:
    return [Html(f"<details><summary>{html.escape(title)}</summary>"), *blocks, Html("</details>")]


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
