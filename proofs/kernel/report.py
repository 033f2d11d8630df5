"""What Coq found, for a terminal, for JSON and for LaTeX."""

import textwrap
from collections.abc import Collection, Sequence

from proofs.kernel.check import ALLOWED_AXIOMS, KernelReport, Verdict
from proofs.kernel.source import Source

NOT_THERE = "not stated in the kernel's language yet"
_WIDTH = 110
_PAGE = 88  # Letters on a line of the LaTeX page.


def text(report: KernelReport) -> str:
    """The claims of one theorem: its words, its formal statement, its axioms, and the verdict."""
    source = report.source
    lines = [f"{source.theorem}  in Coq: {source.path.name}"]
    if report.refused:
        lines += ["", *_wrap(f"✗ REFUSED: {report.refused}", "  ")]
    for verdict in report.verdicts:
        lines += ["", *_wrap(verdict.claim.words, "  "), "", f"    {verdict.claim.name} :"]
        lines += [f"      {line}" for line in verdict.statement.splitlines()]
        lines += ["", *_wrap(f"axioms: {_axioms(verdict)}", "    "), f"    {_mark(verdict)}"]
    if source.open:
        lines += ["", *_wrap(f"Open: {source.open}", "  ")]
    return "\n".join([*lines, ""])


def refusals(report: KernelReport) -> str:
    """Every claim that does not count as proved, with the reason; empty if there is none."""
    if report.refused:
        return f"{report.source.theorem}, refused by the kernel: {report.refused}\n"
    return "".join(
        f"{verdict.claim.name}, refused by the kernel: {verdict.refused}\n"
        for verdict in report.verdicts
        if verdict.refused
    )


def row(report: KernelReport) -> tuple[object, ...]:
    """A line of the table: theorem, claims accepted, counter-examples accepted, axioms, what is open, seconds."""
    claims = [claim for claim in report.source.claims if not claim.counterexample]
    accepted = {verdict.claim.name for verdict in report.verdicts if not verdict.refused}
    counter = [claim for claim in report.source.claims if claim.counterexample]
    shares = (f"{sum(claim.name in accepted for claim in group)}/{len(group)}" for group in (claims, counter))
    axioms = sorted({axiom for verdict in report.verdicts for axiom in verdict.axioms})
    return report.source.theorem, *shares, ", ".join(axioms) or "none", report.source.open, round(report.seconds, 1)


COLUMNS = ("theorem", "claims accepted", "counter-examples", "axioms", "open", "seconds")


def as_json(reports: Sequence[KernelReport], theorems: Collection[str]) -> dict[str, object]:
    """The field `kernel` of docs/json.md; `theorems` are the ids that were asked for, open ones among them."""
    found: dict[str, object] = {theorem: _open_json(theorem) for theorem in theorems}
    return found | {report.source.theorem: _report_json(report) for report in reports}


def latex(source: Source, report: KernelReport | None) -> str:
    """The formal statements of one theorem: as Coq prints them if it was asked in this run, else from the source."""
    verdicts = {verdict.claim.name: verdict for verdict in report.verdicts} if report else {}
    lines = [r"\subsection*{In Coq}", rf"\noindent File \texttt{{{_escape(source.path.name)}}}."]
    for claim in source.claims:
        verdict = verdicts.get(claim.name)
        statement = f"{claim.name} :\n{verdict.statement}" if verdict else claim.text
        printed = [
            row for line in statement.splitlines() for row in textwrap.wrap(line, _PAGE, subsequent_indent="    ")
        ]
        lines += [r"{\footnotesize\begin{verbatim}", *printed, r"\end{verbatim}}"]
        if verdict:
            words = "Accepted by Coq in the same run; axioms: " + _axioms(verdict)
            lines.append(rf"\noindent {_escape(words if not verdict.refused else 'Refused: ' + verdict.refused)}.")
        elif report:
            lines.append(r"\noindent Refused by Coq.")
    return "\n".join(lines) + "\n"


def _report_json(report: KernelReport) -> dict[str, object]:
    return {
        "file": report.source.path.name,
        "statement": "\n\n".join(f"{verdict.claim.name} : {verdict.statement}" for verdict in report.verdicts),
        "axioms": sorted({axiom for verdict in report.verdicts for axiom in verdict.axioms}),
        "verified": report.verified,
        "claims": [_verdict_json(verdict) for verdict in report.verdicts],
        "open": report.source.open,
        "refused": report.refused,
        "seconds": report.seconds,
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    return {
        "name": verdict.claim.name,
        "words": verdict.claim.words,
        "counterexample": verdict.claim.counterexample,
        "statement": verdict.statement,
        "axioms": list(verdict.axioms),
        "verified": not verdict.refused,
        "refused": verdict.refused,
    }


def _open_json(theorem: str) -> dict[str, object]:
    return {
        "file": None,
        "statement": None,
        "axioms": [],
        "verified": False,
        "claims": [],
        "open": f"{theorem} is {NOT_THERE}",
        "refused": "",
        "seconds": 0.0,
    }


def _mark(verdict: Verdict) -> str:
    return f"✗ REFUSED: {verdict.refused}" if verdict.refused else "✓ accepted by coqc and coqchk"


def _axioms(verdict: Verdict) -> str:
    return "; ".join(f"{axiom} ({ALLOWED_AXIOMS.get(axiom, 'not allowed')})" for axiom in verdict.axioms) or "none"


def _wrap(words: str, indent: str) -> list[str]:
    return textwrap.wrap(words, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _escape(words: str) -> str:
    return words.replace("_", r"\_").replace("&", r"\&").replace("%", r"\%").replace("#", r"\#")
