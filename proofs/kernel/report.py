"""What Coq found, for a terminal, for JSON and for LaTeX."""

import textwrap
from collections.abc import Mapping, Sequence

from proofs.kernel.check import ALLOWED_AXIOMS, KernelReport, Verdict
from proofs.kernel.covers import open_results
from proofs.kernel.source import Source

NOT_THERE = "not stated in the kernel's language yet"
_WIDTH = 110
_PAGE = 88  # Letters on a line of the LaTeX page.


def missing(report: KernelReport | None, theorem: str, results: Sequence[str]) -> str:
    """What of a theorem the kernel does not have: the results that no accepted claim states, and what the file says."""
    accepted = {verdict.claim.name for verdict in report.verdicts if not verdict.refused} if report else set()
    found = open_results(theorem, results, accepted)
    if not found:
        words = ""
    elif len(found) == len(results):
        words = f"all: {NOT_THERE}" if report is None or report.refused else "all results as SymPy states them"
    else:
        words = "; ".join(found)
    return ". ".join(filter(None, (words, report.source.open if report else "")))


def text(report: KernelReport, results: Sequence[str]) -> str:
    """The claims of one theorem: its words, its formal statement, its axioms, the verdict, and what is open."""
    source = report.source
    lines = [f"{source.theorem}  in Coq: {source.path.name}"]
    if report.refused:
        lines += ["", *_wrap(f"✗ REFUSED: {report.refused}", "  ")]
    for verdict in report.verdicts:
        lines += ["", *_wrap(verdict.claim.words, "  "), "", f"    {verdict.claim.name} :"]
        lines += [f"      {line}" for line in verdict.statement.splitlines()]
        lines += ["", *_wrap(f"axioms: {_axioms(verdict)}", "    "), f"    {_mark(verdict)}"]
    if still := missing(report, source.theorem, results):
        lines += ["", *_wrap(f"Open: {still}", "  ")]
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


def row(report: KernelReport, results: Sequence[str]) -> tuple[object, ...]:
    """A line of the table: theorem, claims accepted, counter-examples accepted, axioms, what is open, seconds."""
    claims = [claim for claim in report.source.claims if not claim.counterexample]
    accepted = {verdict.claim.name for verdict in report.verdicts if not verdict.refused}
    counter = [claim for claim in report.source.claims if claim.counterexample]
    shares = (f"{sum(claim.name in accepted for claim in group)}/{len(group)}" for group in (claims, counter))
    axioms = sorted({axiom for verdict in report.verdicts for axiom in verdict.axioms})
    theorem = report.source.theorem
    covered = len(results) - len(open_results(theorem, results, accepted))
    values = f"{covered}/{len(results)}", ", ".join(axioms) or "none", missing(report, theorem, results)
    return theorem, *shares, *values, round(report.seconds, 1)


COLUMNS = ("theorem", "claims accepted", "counter-examples", "results", "axioms", "open", "seconds")


def as_json(reports: Sequence[KernelReport], theorems: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The field `kernel` of docs/json.md; `theorems` are those that were asked for with their results' names."""
    found: dict[str, object] = {theorem: _open_json(theorem, results) for theorem, results in theorems.items()}
    return found | {
        report.source.theorem: _report_json(report, theorems[report.source.theorem])
        for report in reports
        if report.source.theorem in theorems
    }


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


def _report_json(report: KernelReport, results: Sequence[str]) -> dict[str, object]:
    accepted = {verdict.claim.name for verdict in report.verdicts if not verdict.refused}
    return {
        "file": report.source.path.name,
        "statement": "\n\n".join(f"{verdict.claim.name} : {verdict.statement}" for verdict in report.verdicts),
        "axioms": sorted({axiom for verdict in report.verdicts for axiom in verdict.axioms}),
        "verified": report.verified,
        "claims": [_verdict_json(verdict) for verdict in report.verdicts],
        "open": missing(report, report.source.theorem, results),
        "open_results": list(open_results(report.source.theorem, results, accepted)),
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


def _open_json(theorem: str, results: Sequence[str]) -> dict[str, object]:
    return {
        "file": None,
        "statement": None,
        "axioms": [],
        "verified": False,
        "claims": [],
        "open": f"{theorem} is {NOT_THERE}",
        "open_results": list(results),
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
