"""A limit on the time that one check may take, and the outcome of a check under it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TIME_LIMIT = 20.0
"""Seconds of processor time that one step or witness may take. What SymPy has not settled by then counts as not proved.
Not seconds of a clock: on a busy machine the same steps have to come out.
"""


@dataclass(frozen=True)
class Outcome:
    """What SymPy found.

    Attributes:
        claim: the step's claim, or the assumption that the witness drops.
        verified: whether it came out.
        detail: the difference of a step's sides, a witness's numbers, or why there is no answer.
        seconds: how long it took.
    """

    claim: str
    verified: bool
    detail: str
    seconds: float


class OutOfTime(BaseException):
    """Not an `Exception`: SymPy catches those on its way, and would carry on."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` inside the block after `seconds` of processor time, or at its end where the platform cannot
    interrupt.

    Only the main thread of a POSIX process can be interrupted; elsewhere an overlong block runs to its end, and fails.
    """
    start = time.process_time()
    interruptible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not interruptible:
        yield
    else:

        def interrupt(*_: object) -> None:
            raise OutOfTime

        previous = signal.signal(signal.SIGPROF, interrupt)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
    if time.process_time() - start > seconds:
        raise OutOfTime


def timed(claim: str, verdict: Callable[[], tuple[bool, str]]) -> Outcome:
    """The verdict and its detail, or that there was none within the limit."""
    start = time.perf_counter()
    try:
        with time_limit(TIME_LIMIT):
            verified, detail = verdict()
    except OutOfTime:
        verified, detail = False, f"no answer within {TIME_LIMIT:g} s of processor time"
    except Exception as error:  # SymPy raises all kinds where it cannot decide; none of them is a proof.
        verified, detail = False, f"no answer: {type(error).__name__}: {error}"
    return Outcome(claim, verified, detail, time.perf_counter() - start)
