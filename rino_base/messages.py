"""What every room says to a person: clear errors and tables."""

import sys
from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 200


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


def report_warning(text: str) -> None:
    """Print to stderr what a person should know though the work goes on."""
    print(f"warning: {text}", file=sys.stderr)


def report_error(error: InputError) -> None:
    """Print an input error to stderr: what is wrong, then the mend."""
    print(f"error: {error.problem}", file=sys.stderr)
    print(f"  try: {error.mend}", file=sys.stderr)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout; numbers are right-aligned and floats get four significant digits."""
    stdout = Console()
    # A pipe or a file has no width of its own: rich would fold the table at 80 columns there.
    console = Console(width=stdout.width if stdout.is_terminal else _WIDTH, highlight=False)
    console.print(Text(title, style="bold"), _table(columns, rows))


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
        table.add_row(*map(Text, row))
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
