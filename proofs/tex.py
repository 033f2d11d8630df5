"""A theorem as LaTeX: the expressions that were checked, printed by SymPy, for plain pdfLaTeX."""

import re
from collections.abc import Sequence

from sympy import Expr, latex

from proofs.notation import ε
from proofs.parts import Relation
from proofs.verify import Report

_WIDTH = 60  # Letters and signs that fit on a line of the page.

_COMMANDS = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "ν": "nu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "ω": "omega",
    "Σ": "Sigma", "Φ": "Phi", "ℓ": "ell", "∇": "nabla", "∂": "partial", "√": "surd", "∞": "infty", "≤": "leq",
    "≥": "geq", "≠": "neq", "≈": "approx", "→": "to", "∼": "sim", "½": "frac12", "·": "cdot", "×": "times", "±": "pm",
    "−": "mathord{-}", "‖": "Vert", "…": "ldots",
}  # fmt: skip
_RAISED = {"⁺": "+", "⁻": "-", "²": "2", "⁶": "6", "′": r"\prime"}
_LOWERED = {"₀": "0", "₁": "1", "₂": "2", "ᵢ": "i"}
_ACCENTS = {"\u0302": "hat", "\u0304": "bar"}
LETTERS = (
    {letter: rf"\ensuremath{{\{name}}}" for letter, name in _COMMANDS.items()}
    | {letter: rf"\ensuremath{{{{}}^{{{raised}}}}}" for letter, raised in _RAISED.items()}
    | {letter: rf"\ensuremath{{{{}}_{{{lowered}}}}}" for letter, lowered in _LOWERED.items()}
)
"""What the letters beyond Latin-1 mean to LaTeX: the theorems are written with them, and the preamble declares them."""

_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath,amssymb,amsthm,graphicx}
% A formula as it is, or made as narrow as the line.
\newsavebox{\formula}
\newcommand{\fit}[1]{\sbox{\formula}{$\displaystyle #1$}%
  \ifdim\wd\formula>.96\linewidth\resizebox{.96\linewidth}{!}{\usebox{\formula}}\else\usebox{\formula}\fi}
LETTERS
\allowdisplaybreaks
\sloppy
\newtheorem*{theorem}{Theorem}
\theoremstyle{remark}
\newtheorem*{remark}{Remark}
\newenvironment{assumptions}{\noindent\emph{Assumptions}\begin{itemize}}{\end{itemize}}
\newenvironment{witnesses}{\noindent\emph{With an assumption, and without it}\begin{itemize}}{\end{itemize}}
\title{RL in name only? The theorems and their witnesses}
\author{Written by \texttt{rino prove --latex}. SymPy verified each formula in the same run.}
\date{}
\begin{document}
\maketitle
INPUTS
\end{document}
"""


def theorem_file(report: Report) -> str:
    """The theorem, its proof and its witnesses, to be read by the file that `main_file` writes."""
    theorem = report.theorem
    lines = [
        rf"\section*{{{theorem.id}. {_prose(theorem.title)}}}",
        r"\begin{theorem}",
        _prose(theorem.statement),
        *(
            row
            for name in theorem.results
            for row in (rf"\par\noindent {_prose(name)}:", *_equation(*theorem.equation(name)))
        ),
        r"\end{theorem}",
        r"\begin{assumptions}",
        *(rf"\item {_prose(assumption.name)}" for assumption in theorem.assumptions),
        r"\end{assumptions}",
        rf"\noindent\emph{{Symbolic:}} {_prose(theorem.symbolic)}. \emph{{Enumerated:}} {_prose(theorem.enumerated)}.",
        r"\begin{proof}\leavevmode",
        r"\begin{enumerate}",
    ]
    for step, outcome in zip(theorem.steps, report.steps, strict=True):
        cited = "; ".join(map(str, (*step.given, *step.where)))
        given = rf" \emph{{Given:}} {_prose(cited)}." if cited else ""
        failed = "" if outcome.verified else r" \textbf{Not verified.}"
        lines += [
            rf"\item {_prose(step.claim)}",
            *_equation(step.left, step.relation, step.right),
            rf"\emph{{By:}} {_prose(step.rule)}{given}{failed}",
        ]
    lines += [r"\qedhere", r"\end{enumerate}", r"\end{proof}", r"\begin{witnesses}"]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        failed = "" if outcome.verified else r" \textbf{Not verified.}"
        lines.append(
            rf"\item \emph{{{_prose(witness.dropped)}}}: {_prose(witness.instance)}. "
            rf"Conclusion: {_prose(witness.conclusion)}. \\ {_prose(outcome.detail)}.{failed}"
        )
    lines.append(r"\end{witnesses}")
    if theorem.not_proved:
        lines += [r"\noindent\emph{Not proved here}", r"\begin{itemize}"]
        lines += [*(rf"\item {_prose(part)}" for part in theorem.not_proved), r"\end{itemize}"]
    if theorem.remark:
        lines += [r"\begin{remark}", _prose(theorem.remark), r"\end{remark}"]
    return "\n".join(lines) + "\n"


def main_file(names: Sequence[str]) -> str:
    """The document that reads the files of these theorems."""
    letters = "\n".join(rf"\DeclareUnicodeCharacter{{{ord(letter):04X}}}{{{code}}}" for letter, code in LETTERS.items())
    inputs = "\n".join(rf"\input{{{name}}}" for name in names)
    return _PREAMBLE.replace("LETTERS", letters).replace("INPUTS", inputs)


def _equation(left: Expr, relation: Relation, right: Expr) -> list[str]:
    """A claim as a display, on two lines where it is long."""
    sides = [
        latex(side, long_frac_ratio=1, mul_symbol=r"\,", symbol_names={ε: r"\varepsilon"}) for side in (left, right)
    ]
    sign = {"=": "=", "≥": r"\geq", ">": ">"}[relation]
    if len(re.sub(r"\\[a-zA-Z]+|[\s{}^_]", "", "".join(sides))) < _WIDTH:
        return [r"\[", f"{sides[0]} {sign} {sides[1]}", r"\]"]
    return [r"\begin{multline*}", rf"\fit{{{sides[0]}}} \\", rf"\fit{{{{}} {sign} {sides[1]}}}", r"\end{multline*}"]


def _prose(words: str) -> str:
    """Escape what LaTeX reads as commands, and set indices, exponents and accents."""
    words = re.sub(r"[%&#${}]", lambda match: f"\\{match[0]}", words)
    words = re.sub(r"_(\w+)", r"\\textsubscript{\1}", words)
    words = re.sub(r"\^(\([^)]*\)|[−\w]+)", r"\\textsuperscript{\1}", words)
    return re.sub("(\\w)([\u0302\u0304])", lambda match: rf"\ensuremath{{\{_ACCENTS[match[2]]}{{{match[1]}}}}}", words)
