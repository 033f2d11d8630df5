"""Tables and text for LaTeX: everything fits the text of a one-column paper, 5.5 inches.

Widths are estimated from the letters, a little too wide rather than too narrow. A table that is too wide has its long
words broken into lines first, and is then cut into blocks of columns that repeat the first one.
"""

import re
import textwrap
from collections.abc import Collection, Sequence
from math import ceil

WIDTH = 5.5
_SIGN = 0.057  # Inches: a small letter of Computer Modern at 8 points, and a margin.
_GAP = 0.115  # Between two columns.
_TEXT = 26  # Letters from which a column may be broken into lines.

_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "⁺": r"$^+$",
    "⁻": r"$^-$",
    "−": "$-$",
    "–": "--",
    "“": "``",
    "”": "''",
    "×": r"$\times$",
    "≤": r"$\le$",
    "∇": r"$\nabla$",
    "√": r"$\surd$",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
    "Φ": r"$\Phi$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "ρ": r"$\rho$",
    "λ": r"$\lambda$",
    "·": r"$\cdot$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    **{sign: f"$^{digit}$" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}


def latex(text: str) -> str:
    """Text with LaTeX's special characters and the signs used here as commands; what it cannot set, by its number."""
    return re.sub(r"[^A-Za-z0-9\s]", lambda match: _sign(match.group()), text)


def tabular(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, bold: Collection[tuple[int, int]] = ()
) -> list[str]:
    """`tabular` environments, each no wider than WIDTH; `bold` holds (row, column) of cells."""
    natural = [max((_width(row[place]) for row in rows), default=1) for place in range(len(columns))]
    headed = [max(map(_width, name.split()), default=1) for name in columns]
    widths = [max(pair) for pair in zip(natural, headed, strict=True)]
    breakable = [place for place, letters in enumerate(natural) if letters > _TEXT]
    cells = [
        [rf"\textbf{{{latex(cell)}}}" if (i, j) in bold else latex(cell) for j, cell in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    return [_block(columns, cells, block, widths, breakable) for block in _blocks(widths, breakable)]


def _blocks(widths: Sequence[int], breakable: Sequence[int]) -> list[list[int]]:
    """The columns of each block: the first column, and as many others as fit."""
    least = [min(letters, _TEXT) if place in breakable else letters for place, letters in enumerate(widths)]
    room = WIDTH / _SIGN

    def taken(places: Sequence[int]) -> float:
        return sum(least[place] for place in places) + len(places) * _GAP / _SIGN

    others = range(1, len(widths))
    blocks: list[list[int]] = [[0]]
    for place in others:
        if len(blocks[-1]) > 1 and taken([*blocks[-1], place]) > room:
            blocks.append([0])
        blocks[-1].append(place)
    # As many in every block, where that fits too: a last block of a single column looks forgotten.
    each = -(-len(others) // len(blocks))
    even = [[0, *others[start : start + each]] for start in range(0, len(others), each or 1)]
    return even if even and all(taken(block) <= room for block in even) else blocks


def _block(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    block: Sequence[int],
    widths: Sequence[int],
    breakable: Sequence[int],
) -> str:
    wide = [place for place in block if place in breakable]
    rest = WIDTH / _SIGN - sum(widths[place] for place in block if place not in wide) - len(block) * _GAP / _SIGN
    asked = sum(widths[place] for place in wide)
    if asked <= rest:
        wide = []
    # What is left goes to the columns of text by what each of them asks for, at most what it needs.
    shares = {place: max(8.0, min(widths[place], rest * widths[place] / asked)) * _SIGN for place in wide}
    kinds = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{shares[place]:.2f}in}}" if place in wide else "l" if place == 0 else "r"
        for place in block
    )
    head = " & ".join(_head(columns[place], widths[place], left=place == 0 or place in wide) for place in block)
    lines = [rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", r"\toprule", head + r" \\", r"\midrule"]
    body = [" & ".join(row[place] for place in block) + r" \\" for row in cells]
    return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}"])


def _head(name: str, width: int, *, left: bool) -> str:
    """The name of a column on lines no longer than its cells, or than its longest word."""
    lines = [latex(line) for line in textwrap.wrap(name, max(width, 1), break_long_words=False)]
    if len(lines) < 2:
        return latex(name)
    return rf"\begin{{tabular}}[b]{{@{{}}{'l' if left else 'r'}@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _width(text: str) -> int:
    """In small letters; capitals and the like are wider, and bold type a little."""
    return ceil(sum(1.7 if sign.isupper() or sign in "mw@%±−∇" else 1.0 for sign in text))


def _sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    # Latin letters with accents are in every font; for the rest the number is better than no paper.
    return sign if sign.isascii() or ord(sign) < 0x180 else rf"[U+{ord(sign):04X}]"
