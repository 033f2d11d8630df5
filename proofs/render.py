"""A theorem as text for a terminal and as LaTeX, both printed by SymPy from the expressions that were checked."""

import re
import textwrap

from sympy import Eq, Ge, Gt, latex, pretty

from proofs.theorem import Outcome, Report, Step

_WIDTH = 110


def text(report: Report) -> str:
    """The derivation line by line, in Unicode mathematics, with the verdict of each step."""
    theorem = report.theorem
    lines = [f"{theorem.id}  {theorem.title}", "", *_wrap(theorem.statement), "", "Assumptions"]
    lines += [line for assumption in theorem.assumptions for line in _wrap(assumption, "  · ")]
    lines += [
        "",
        *_wrap(f"Symbolic: {theorem.symbolic}."),
        *_wrap(f"Enumerated: {theorem.enumerated}."),
        "",
        "Derivation",
    ]
    for number, (step, outcome) in enumerate(zip(theorem.steps, report.steps, strict=True), start=1):
        lines += ["", *_wrap(step.claim, f"{number:3}. "), "", *_equation(step), "", *_wrap(step.rule, "     by: ")]
        if step.why_given:
            lines += _wrap(step.why_given, "     given: ")
        lines.append(f"     {_verdict(outcome)}")
    lines += ["", "Witnesses: the conclusion with an assumption, and without it"]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        lines += ["", *_wrap(f"without: {witness.dropped}", "  · ")]
        for part in (witness.instance, f"conclusion: {witness.conclusion}", outcome.detail, _verdict(outcome)):
            lines += _wrap(part, "    ")
    if theorem.remark:
        lines += ["", *_wrap(f"Remark. {theorem.remark}")]
    return "\n".join(line.rstrip() for line in lines)


def failures(report: Report) -> str:
    """Every step and witness that does not hold, with both sides and their difference; empty if there is none."""
    theorem, lines = report.theorem, []
    for step, outcome in zip(theorem.steps, report.steps, strict=True):
        if not outcome.verified:
            lines += [f"{theorem.id}, step not verified: {step.claim}", *_equation(step), f"      {outcome.detail}", ""]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        if not outcome.verified:
            lines += [f"{theorem.id}, witness not verified: {witness.dropped}", f"      {witness.conclusion}"]
            lines += [f"      {outcome.detail}", ""]
    return "\n".join([*lines, ""]) if lines else ""


def latex_theorem(report: Report) -> str:
    """The theorem, its proof and its witnesses, to be read by the file that `latex_main` writes."""
    theorem = report.theorem
    results = [step for step in theorem.steps if step.name]
    lines = [
        rf"\section*{{{theorem.id}. {_prose(theorem.title)}}}",
        r"\begin{theorem}",
        _prose(theorem.statement),
        *(line for step in results for line in _display(step)),
        r"\end{theorem}",
        r"\begin{assumptions}",
        *(rf"\item {_prose(assumption)}" for assumption in theorem.assumptions),
        r"\end{assumptions}",
        rf"\noindent\emph{{Symbolic:}} {_prose(theorem.symbolic)}. \emph{{Enumerated:}} {_prose(theorem.enumerated)}.",
        r"\begin{proof}",
        r"\begin{enumerate}",
    ]
    for step in theorem.steps:
        lines += [rf"\item {_prose(step.claim)}", *_display(step), rf"\emph{{By:}} {_prose(step.rule)}"]
        if step.why_given:
            lines.append(rf"\emph{{Given:}} {_prose(step.why_given)}.")
    lines += [r"\qedhere", r"\end{enumerate}", r"\end{proof}", r"\begin{witnesses}"]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        lines.append(
            rf"\item Without \emph{{{_prose(witness.dropped)}}}: {_prose(witness.instance)}. "
            rf"Conclusion: {_prose(witness.conclusion)}. \\ {_prose(outcome.detail)}."
        )
    lines.append(r"\end{witnesses}")
    if theorem.remark:
        lines += [r"\begin{remark}", _prose(theorem.remark), r"\end{remark}"]
    verdict = "verified" if report.verified else r"\textbf{not verified}"
    lines.append(
        rf"\noindent{{\small SymPy: {verdict}; {len(report.steps)} steps, {len(report.witnesses)} witnesses.}}"
    )
    return "\n".join(lines) + "\n"


def latex_main(names: list[str]) -> str:
    """The document that reads one file for each theorem; plain pdfLaTeX compiles it."""
    letters = "\n".join(rf"\DeclareUnicodeCharacter{{{ord(char):04X}}}{{{code}}}" for char, code in _LETTERS.items())
    inputs = "\n".join(rf"\input{{{name}}}" for name in names)
    return _PREAMBLE.replace("LETTERS", letters).replace("INPUTS", inputs)


def _wrap(prose: str, bullet: str = "") -> list[str]:
    return textwrap.wrap(prose, _WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))


def _verdict(outcome: Outcome) -> str:
    return f"✓ verified in {outcome.seconds:.2f} s" if outcome.verified else f"✗ NOT VERIFIED: {outcome.detail}"


def _equation(step: Step) -> list[str]:
    """The claim in two dimensions; the right side goes below the left one where the line would be too long."""
    sides = [pretty(side, wrap_line=False).splitlines() for side in (step.left, step.right)]
    if len(sides[0][0]) + len(sides[1][0]) + 8 <= _WIDTH:
        lines = pretty(_RELATIONS[step.relation](step.left, step.right, evaluate=False), wrap_line=False).splitlines()
    else:
        lines = [*sides[0], step.relation, *sides[1]]
    return [f"      {line}" for line in lines]


def _display(step: Step) -> list[str]:
    """The claim as a LaTeX display, on two lines where it is long."""
    sides = [latex(side) for side in (step.left, step.right)]
    relation = {"=": "=", "≥": r"\geq", ">": ">"}[step.relation]
    if sum(map(len, sides)) < 180:
        return [r"\[", f"{sides[0]} {relation} {sides[1]}", r"\]"]
    return [r"\begin{multline*}", rf"{sides[0]} \\", f"{relation} {sides[1]}", r"\end{multline*}"]


def _prose(words: str) -> str:
    """Escape what LaTeX reads as commands; letters that it lacks are declared in the preamble."""
    words = re.sub(r"[\\{}]", lambda match: f"\\{match[0]}" if match[0] != "\\" else r"\textbackslash ", words)
    words = re.sub(r"[%&#$]", lambda match: f"\\{match[0]}", words)
    words = re.sub(r"_(\w+)", r"\\textsubscript{\1}", words)
    words = re.sub(r"\^(\([^)]*\)|[−\w]+)", r"\\textsuperscript{\1}", words)
    words = re.sub(r"(\w)\u0302", r"$\\hat \1$", words)
    return re.sub(r"(\w)\u0304", r"$\\bar \1$", words).replace("~", r"\textasciitilde{}")


_RELATIONS = {"=": Eq, "≥": Ge, ">": Gt}

_COMMANDS = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "ν": "nu", "π": "pi", "ρ": "rho", "σ": "sigma", "Σ": "Sigma", "Φ": "Phi", "ℓ": "ell",
    "∇": "nabla", "∂": "partial", "√": "surd", "∞": "infty", "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx",
    "→": "to", "·": "cdot", "×": "times", "±": "pm", "−": "mathord{-}", "‖": "Vert", "…": "ldots",
}  # fmt: skip
_RAISED = {"⁺": "+", "⁻": "-", "²": "2", "⁶": "6", "′": r"\prime"}
_LOWERED = {"₀": "0", "₁": "1", "₂": "2", "ᵢ": "i"}
_LETTERS = (
    {char: rf"\ensuremath{{\{name}}}" for char, name in _COMMANDS.items()}
    | {char: rf"\ensuremath{{{{}}^{{{digit}}}}}" for char, digit in _RAISED.items()}
    | {char: rf"\ensuremath{{{{}}_{{{digit}}}}}" for char, digit in _LOWERED.items()}
)

_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath,amssymb,amsthm}
LETTERS
\allowdisplaybreaks
\sloppy
\newtheorem*{theorem}{Theorem}
\theoremstyle{remark}
\newtheorem*{remark}{Remark}
\newenvironment{assumptions}{\noindent\emph{Assumptions}\begin{itemize}}{\end{itemize}}
\newenvironment{witnesses}{\noindent\emph{What breaks without an assumption}\begin{itemize}}{\end{itemize}}
\title{RL in name only? The theorems and their witnesses}
\author{written by \texttt{rino prove --latex}; every formula was verified by SymPy in the same run}
\date{}
\begin{document}
\maketitle
INPUTS
\end{document}
"""
