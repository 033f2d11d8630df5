"""Files that are written whole or not at all, lines that are complete or not read, and what tells that one changed."""

import hashlib
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rino_base.messages import InputError

_TEMPORARY = ".tmp"


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends without an error.

    A link stays and what it leads to is replaced; a device or a pipe is written to as it is.
    """
    if is_stream(path):
        yield path
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether `path` is a device, a pipe or a socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_temporary(path: Path) -> bool:
    """Whether `path` is what `atomic_path` writes to: a kill leaves it behind."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def remove_temporaries(directory: Path) -> None:
    """Remove what killed writers left anywhere under `directory`; the caller knows that none is at work."""
    for path in directory.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def read_object(path: Path, *, mend: str = "put the file back as it was") -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        InputError: there is none; `mend` says what to do about it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is not JSON ({error})", mend=mend) from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object", mend=mend)
    return value


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add an object to a file of JSON lines; numbers that are not finite become null."""
    line = json.dumps({name: _plain(value) for name, value in record.items()}, allow_nan=False, ensure_ascii=False)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line + "\n")


def complete_lines(path: Path) -> list[str]:
    """The lines of a file that end in a newline; a kill may have cut the last one short.

    Only a line feed ends a line: texts of models hold U+2028, U+0085 and others that `str.splitlines` takes for one.
    """
    return path.read_bytes().decode("utf-8").split("\n")[:-1]


def sha256(path: Path, *, size: int | None = None) -> str:
    """The SHA-256 of a file, or of its first `size` bytes, in hexadecimal digits."""
    digest, left = hashlib.sha256(), math.inf if size is None else size
    with path.open("rb") as file:
        while left > 0 and (block := file.read(int(min(left, 2**20)))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def user_cache(name: str, environment: Mapping[str, str]) -> Path:
    """`rino/NAME` in the user's cache folder: $XDG_CACHE_HOME, or the system's custom.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if base := environment.get("XDG_CACHE_HOME"):
        return Path(base) / "rino" / name
    custom = Path("Library") / "Caches" if sys.platform == "darwin" else Path(".cache")
    return Path.home() / custom / "rino" / name
