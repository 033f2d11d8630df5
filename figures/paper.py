"""The skeleton of a paper: every figure and table with its caption, in one file that LaTeX compiles as it is."""

from pathlib import Path

from figures.entries import THEORY, TRAINING
from figures.latex import WIDTH, latex
from figures.render import Drawn, Rendering
from rino_base.files import write_text

_HEAD = r"""% Made by `rino figures`; figures fit the text as they are after: rino figures ... --width 5.5 --no-title
\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern}
\usepackage[textwidth=5.5in,textheight=9in]{geometry}
\usepackage{array,booktabs,graphicx}
\usepackage[font=small,labelfont=bf]{caption}
\title{Is it RL in name only?}
\author{}
\date{}
\begin{document}
\maketitle
"""

_FLOATS = 6  # Before LaTeX is asked to set those it holds.


def write_paper(rendering: Rendering, answer: list[str], out: Path) -> Path:
    """Write `out`/paper.tex and return its path; figures and tables are named relative to it."""
    parts = [_HEAD, *(_bold(sentence) + "\n" for sentence in answer)]
    for section in (THEORY, TRAINING):
        drawn = [item for item in rendering.drawn if item.plot.section == section]
        tables = [item for item in rendering.written if (item.entry.id == "exact") == (section == THEORY)]
        floats = [_figure(item, out) for item in drawn]
        floats += [f"\\input{{{item.files[1].relative_to(out).as_posix()}}}\n" for item in tables]
        if floats:
            parts.append(f"\\section{{{latex(section)}}}\n")
        for start in range(0, len(floats), _FLOATS):
            parts += [*floats[start : start + _FLOATS], "\\clearpage\n"]
    path = out / "paper.tex"
    write_text(path, "\n".join([*parts, r"\end{document}", ""]))
    return path


def _figure(item: Drawn, out: Path) -> str:
    by_form = {path.suffix: path for path in item.files}
    # Vector graphics where there are some; svg needs a package that calls another program.
    file = (by_form.get(".pdf") or by_form[".png"]).relative_to(out)
    shrink = f"[width={WIDTH}in]" if item.width > WIDTH else f"[width={item.width:g}in]"
    title = f"{item.plot.title}, {item.suffix}" if item.suffix else item.plot.title
    return "\n".join(
        [
            r"\begin{figure}[htbp]",
            r"\centering",
            f"\\includegraphics{shrink}{{{file.as_posix()}}}",
            f"\\caption{{\\textbf{{{latex(title)}.}} {latex(item.caption)}}}",
            f"\\label{{fig:{item.files[0].stem}}}",
            r"\end{figure}",
            "",
        ]
    )


def _bold(sentence: str) -> str:
    """A sentence whose first words stand between two pairs of asterisks."""
    _, words, rest = sentence.split("**", 2) if sentence.startswith("**") else ("", "", sentence)
    return (f"\\noindent\\textbf{{{latex(words)}}}" if words else "") + latex(rest)
