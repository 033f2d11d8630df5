"""A process that runs one `rino` command and has one fault: it is killed at a file operation, or its clock jumps, …

The processes are forked from one that has imported everything (multiprocessing's forkserver), so that a hundred of them
take minutes. A kill is a real SIGKILL of a real process.
"""

import itertools
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass

PRELOAD = ["fault_child", "llm_exps.command", "llm_exps.experiment", "llm_exps.prepare", "transformers"]

# Audit events of Python that change files; what tensorstore writes in C++ is not among them: random kills meet that.
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Fault:
    """What happens to a process.

    Attributes:
        kill_at: it is killed right before its file operation of this number, from 1; 0 never.
        count_to: a file that gets the number of file operations.
        jump: seconds that the wall clock jumps, forth and back, at every look at it.
        largest_file: bytes; a longer file cannot be written.
    """

    kill_at: int = 0
    count_to: str | None = None
    jump: float = 0.0
    largest_file: int | None = None


def run(words: list[str], place: str, log: str, fault: Fault) -> None:
    """Run a command line whose files are under `place`; what it prints goes into `log`."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = sys.stderr = os.fdopen(handle, "w", buffering=1)
    operations = _watch(place, fault.kill_at)
    if fault.jump:
        _jump(fault.jump)
    if fault.largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest_file, resource.RLIM_INFINITY))
    from rino import cli

    code = cli.run(words)
    if fault.count_to:
        with open(fault.count_to, "w") as file:
            file.write(str(len(operations)))
    sys.stdout.flush()
    os._exit(code)


def _watch(place: str, kill_at: int) -> list[str]:
    operations: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            counts = not isinstance(path, int) and bool((flags or 0) & _WRITING)
        else:
            path, counts = (arguments[0] if arguments else None), event in _CHANGES
        if not counts:
            return
        # An open file, or a name relative to an open directory: the lock's, and those of shutil.rmtree.
        name = place if isinstance(path, int) else os.fsdecode(path)
        if name.startswith(place) or not os.path.isabs(name):
            operations.append(event)
            if len(operations) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return operations


def _jump(seconds: float) -> None:
    real, signs = time.time, itertools.cycle((1, -1))
    time.time = lambda: real() + next(signs) * seconds
