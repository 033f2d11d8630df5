"""LaTeX: escaping, widths, and a paper that compiles without an overfull box."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_files import make_results

from figures.command import figures
from figures.latex import latex, tabular
from figures.tables import Table

LATEXMK = shutil.which("latexmk")
needs_latex = pytest.mark.skipif(LATEXMK is None, reason="LaTeX is not installed")
_PAGE = (
    r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{lmodern,array,booktabs}"
    r"\usepackage[textwidth=5.5in,textheight=9in]{geometry}\begin{document}"
)


def compiled(folder: Path, name: str) -> str:
    """Compile `folder`/`name`.tex and return the log."""
    command = [str(LATEXMK), "-pdf", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    log = (folder / f"{name}.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    return log


def test_signs_become_commands() -> None:
    table = Table("50 % of a_b", ("x|y", "F-ISFT⁺"), (("p & q", "−1 ± 2"),), "Note.", frozenset({(0, 1)}))
    text = table.to_latex(label="t")
    assert r"\caption{50 \% of a\_b. Note.}" in text
    assert r"\label{tab:t}" in text
    assert r"p \& q & \textbf{$-$1 $\pm$ 2} \\" in text
    assert r"x\textbar{}y & F-ISFT$^+$ \\" in text


def test_a_backslash_is_escaped_once() -> None:
    assert latex("\\{") == r"\textbackslash{}\{"


def test_what_no_font_has_is_told_by_number() -> None:
    assert latex("é中") == "é[U+4E2D]"


@given(st.text())
def test_nothing_that_a_name_says_is_a_command(text: str) -> None:
    # After all that this module writes is taken out, no sign is left that LaTeX would act on.
    left = re.sub(r"\\text[a-z]+\{\}|\$[^$]*\$|\\dots\{\}|\\[&%$#_{}]", "", latex(text))
    assert not set(left) & set("\\{}$&#^_~%")


def test_wide_tables_are_cut_into_blocks_that_repeat_the_first_column() -> None:
    columns = ("method", *(f"measure {i}" for i in range(12)))
    blocks = tabular(columns, [("GRPO", *("12.3 ± 4.5",) * 12)])
    assert len(blocks) > 1
    assert all(block.count("GRPO") == 1 for block in blocks)
    counts = [block.splitlines()[-3].count("&") for block in blocks]
    assert sum(counts) == 12
    assert max(counts) - min(counts) <= 1


@needs_latex
def test_tables_of_any_shape_fit(tmp_path: Path) -> None:
    many = tuple(f"measurement number {i} (%)" for i in range(9))
    five = ("claim", "proved", "exact", "measured", "verdict")
    long = "a sentence that goes on for much longer than a column of a table can, as evidence does"
    tables = [
        Table("Many columns", ("method", *many), (("M" * 24, *["99.9 ± 9.9"] * 9),)),
        Table("Long texts", five, ((long, "T1", long, long, "holds"),) * 3),
        Table("One column", ("x",), (("w" * 24,),)),
        Table("Signs", ("⁺⁻±", "∇Φηαβερλ·→∞"), (("10⁻¹⁶ ≤ “x”", "\\$&#{}~^<>|\"'`中é"),)),
    ]
    body = "\n".join(table.to_latex(label=f"t{i}") for i, table in enumerate(tables))
    (tmp_path / "tables.tex").write_text(f"{_PAGE}\n{body}\n\\end{{document}}\n")
    assert "Overfull" not in compiled(tmp_path, "tables")


@needs_latex
def test_the_paper_shows_everything_and_compiles_without_an_overfull_box(directory: Path, tmp_path: Path) -> None:
    assert figures(directory, out=tmp_path, formats=("png",), width=5.5, no_title=True) == 0
    text = (tmp_path / "paper.tex").read_text()
    pictures = {f"figures/{path.name}" for path in (tmp_path / "figures").glob("*.png")}
    assert set(re.findall(r"\\includegraphics\[[^]]*\]\{([^}]+)\}", text)) == pictures
    tables = {f"tables/{path.name}" for path in (tmp_path / "tables").glob("*.tex")}
    assert set(re.findall(r"\\input\{([^}]+)\}", text)) == tables
    log = compiled(tmp_path, "paper")
    assert "Overfull" not in log
    assert "multiply defined" not in log
    assert "undefined" not in log


@needs_latex
def test_a_paper_with_hostile_names_compiles(tmp_path: Path) -> None:
    attack = "\\input{/etc/passwd} \\write18{x} $ & % # _ { } ~ ^ \\ 中 <b>"
    make_results(tmp_path, seeds=1, finals={"grpo": 0.5, "f-isft-pm": 0.4})
    for path in tmp_path.rglob("config.json"):
        config = json.loads(path.read_text())
        path.write_text(json.dumps(config | {"title": config["method"] + attack, "model": attack, "task": attack}))
    figures(tmp_path, formats=("png",))
    assert "\\input{/etc" not in (tmp_path / "paper.tex").read_text()
    compiled(tmp_path, "paper")
