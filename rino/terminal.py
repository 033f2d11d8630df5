"""Standard streams that take all that is written: closed ones, pipes that nobody reads any more, small alphabets.

What was computed is never lost to the place where it is shown: `rino … | head -1` ends no work, and a terminal that
knows ASCII or Latin-1 alone gets look-alikes of what it cannot show.
"""

import codecs
import io
import os
import sys
from typing import TextIO

_LOOK_ALIKES = str.maketrans({"–": "-", "−": "-", "…": "...", "×": "x", "·": ".", "≤": "<=", "≥": ">=", "’": "'"})
_PLAINLY = "rino-plainly"


def ready_streams() -> None:
    """Make `sys.stdout` and `sys.stderr` such streams; called once, before anything is opened or printed."""
    codecs.register_error(_PLAINLY, _plainly)
    if not (os.environ.get("COLUMNS", "80").isdecimal() and int(os.environ.get("COLUMNS", "80"))):
        del os.environ["COLUMNS"]  # Lines of no width show nothing at all.
    for number in range(3):
        _open_if_closed(number)
    sys.stdout = _patient(sys.stdout, 1)
    sys.stderr = _patient(sys.stderr, 2)


class _Patient(io.FileIO):
    """A file that drops what its reader no longer wants."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def, override]
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return len(memoryview(data).cast("B"))


def _patient(stream: TextIO | None, number: int) -> TextIO:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    file = _Patient(number, "w", closefd=False)
    # As Python opens them: lines appear at once on a terminal, and errors at once everywhere.
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding=encoding, errors=_PLAINLY, line_buffering=file.isatty() or number == 2
    )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        # Otherwise the next file that is opened gets this number, and a library's message ends up in it.
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end].translate(_LOOK_ALIKES)
    return wrong.encode("ascii", "backslashreplace").decode("ascii"), error.end
