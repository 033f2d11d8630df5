"""Output paths are tried before the work starts, so that nothing is computed that cannot be written."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rino_base.files import is_stream
from rino_base.messages import InputError

FILES = frozenset({"json"})
"""Options that name a file to write."""

DIRECTORIES = frozenset({"out", "latex", "directory"})
"""Options that name a directory to write in."""


def try_outputs(options: Mapping[str, object], *, write: Callable[[str], str] = str) -> None:
    """Try every output path among a command's options; nothing is left behind.

    `write` turns an option's name into what the reader writes: a flag on the command line.

    Raises:
        InputError: a path that cannot be written, with the reason.
    """
    for name, value in options.items():
        if isinstance(value, str | os.PathLike) and name in FILES:
            try_file(Path(value), write(name))
        elif isinstance(value, str | os.PathLike) and name in DIRECTORIES:
            try_directory(Path(value), write(name))


def try_file(path: Path, name: str) -> None:
    """Raise InputError unless a file can be written at `path`; `name` is the option that names it."""
    try:
        if path.is_dir():
            raise InputError(f"{name} {path} is a directory", mend="name the file to write, such as result.json")
        if is_stream(path):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            return
        _try_in(path.parent)
    except (OSError, ValueError) as error:
        raise _refused(name, path, error) from None


def try_directory(path: Path, name: str) -> None:
    """Raise InputError unless files can be written in the directory `path`, which need not be there yet."""
    try:
        _try_in(path)
    except (OSError, ValueError) as error:
        raise _refused(name, path, error) from None


def _try_in(directory: Path) -> None:
    """Write a file in the directory, or in the nearest one above it that is there."""
    place = Path(os.path.abspath(directory))
    while True:
        try:
            kind = os.stat(place).st_mode
            break
        except FileNotFoundError:
            place = place.parent
    if not stat.S_ISDIR(kind):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    with tempfile.TemporaryFile(dir=place) as file:
        file.write(b"\0")


def _refused(name: str, path: Path, error: OSError | ValueError) -> InputError:
    reason = str(error)
    if isinstance(error, OSError):
        there = f" ({error.filename})" if error.filename and str(error.filename) != str(path) else ""
        reason = f"{error.strerror or error}{there}"
    return InputError(f"{name} {str(path)[:200]!r} cannot be written: {reason}", mend=f"give {name} another path")
