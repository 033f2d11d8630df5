"""One process at a time in a directory.

The kernel holds the lock (`flock`) and lets go of it when the process ends, however it ends. Whether a holder lives is
therefore never guessed from a process id or from a clock; the file's text only tells people who it is.
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rino_base.messages import InputError, report_warning

LOCK = ".lock"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory`, which is made if it is not there; nothing of the lock is left afterwards.

    Raises:
        InputError: another process holds it; the message names host, process and since when.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    handle = _take(path)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = json.dumps({"host": platform.node(), "process": os.getpid(), "since": since})
    os.ftruncate(handle, 0)
    os.pwrite(handle, holder.encode(), 0)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _take(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 4096, 0)
            os.close(handle)
            raise InputError(
                f"{path.parent} is in use by {_holder(text)}", mend="wait for it to end, or choose another --out"
            ) from None
        except OSError as error:
            report_warning(f"{path.parent} cannot be locked ({error.strerror}): let no second process write there")
            return handle
        # The holder before us may have removed the file between our opening and our locking it.
        if _is_at(path, handle):
            return handle
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    # One call decides: a file that exists when asked may be gone at the next call.
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _holder(text: bytes) -> str:
    try:
        known = json.loads(text)
        return f"process {known['process']} on {known['host']} since {known['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
