"""What every room says to a person: clear errors and tables."""

import sys
from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 200

# Escape sequences begin with a control character; U+202A to U+202E and U+2066 to U+2069 turn the text around.
_CONTROLS = (*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))
_WRITTEN_OUT = {code: repr(chr(code))[1:-1] for code in _CONTROLS if chr(code) not in "\n\t"}


class InputError(Exception):
    """The user's input is wrong. The front door prints it in two lines, without a traceback, and exits with code 2.

    `problem` names the value and the rule it breaks; `mend` says what to do about it.
    """

    exit_code = 2

    def __init__(self, problem: str, *, mend: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.problem}\n{self.mend}"


class CheckFailed(InputError):
    """What was computed broke a rule, though the input kept all of them; the exit code is 1."""

    exit_code = 1


def printable(text: str) -> str:
    """`text` with nothing in it that a terminal obeys: control characters and changes of direction are written out.

    Texts of users and models hold escape sequences; shown as they are, they would move the cursor or set the title.
    """
    return text.translate(_WRITTEN_OUT)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def report_warning(text: str) -> None:
    """Print to stderr what a person should know though the work goes on."""
    print(printable(f"warning: {text}"), file=sys.stderr)


def report_error(error: InputError) -> None:
    """Print an input error to stderr: what is wrong, then the mend."""
    for line in (f"error: {error.problem}", f"  try: {error.mend}"):
        print(printable(" ".join(line.split("\n"))), file=sys.stderr)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout; numbers are right-aligned and floats get four significant digits."""
    stdout = Console()
    # A pipe or a file has no width of its own: rich would fold the table at 80 columns there.
    console = Console(width=stdout.width if stdout.is_terminal else _WIDTH, highlight=False)
    console.print(Text(printable(title), style="bold"), _table(columns, rows))


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table that `print_table` prints, as plain text."""
    page = StringIO()
    Console(file=page, width=_WIDTH, highlight=False, force_terminal=False, force_jupyter=False).print(
        _table(columns, rows)
    )
    return page.getvalue().rstrip("\n")


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table()
    cells = [[format_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(cells) and all(_is_number(row[index]) for row in cells)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        # As text, not as markup: what a user or a model wrote is never interpreted.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def format_cell(value: object) -> str:
    """A value as every table shows it: nothing as a dash, truth in words, floats with four significant digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def format_numbers(values: Sequence[float | None] | None, *, most: int = 4) -> str | None:
    """Several numbers in one cell, at most `most` of them."""
    if values is None:
        return None
    return " ".join(format_cell(value) for value in values[:most]) + (" …" if len(values) > most else "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "–"
    return True
