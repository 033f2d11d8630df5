"""What the processes of one run have to agree on: one of them writes, all of them decide alike.

Every process runs the same program (jax's multi-controller runtime). Whatever is read from a disk, a clock or a signal
may differ between them, and goes through here before it decides anything.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import jax
import numpy as np

from rino_base.messages import CheckFailed, InputError

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process writes the run's files and speaks."""
    return jax.process_index() == 0


def several() -> bool:
    """Whether there are others."""
    return jax.process_count() > 1


def agree(value: T) -> T:
    """The first process's number, in all of them."""
    if not several():
        return value
    from jax.experimental import multihost_utils

    return type(value)(multihost_utils.broadcast_one_to_all(np.asarray(value)).item())  # type: ignore[call-arg]


def anywhere(flag: bool) -> bool:
    """Whether it is true in some process."""
    if not several():
        return flag
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def on_first(action: Callable[[], T]) -> T | None:
    """What `action` returns in the first process; None in the others, which wait for it.

    Raises:
        InputError: where `action` failed: in the first process what it raised, and this in the others.
    """
    result: T | None = None
    failure: Exception | None = None
    if is_first():
        try:
            result = action()
        except (InputError, OSError) as error:
            failure = error
    if agree(failure is not None):
        raise failure or InputError("the first process refused", mend="see what it says")
    return result


def rows_of_this(rows: int) -> slice:
    """This process's share of so many rows, a run of neighbours."""
    count, index = jax.process_count(), jax.process_index()
    return slice(rows * index // count, rows * (index + 1) // count)


def gather_rows(values: Sequence[float], rows: int) -> np.ndarray:
    """All rows in order, from every process's share as `rows_of_this` cuts it."""
    mine = np.zeros(rows)
    mine[rows_of_this(rows)] = values
    if not several():
        return mine
    from jax.experimental import multihost_utils

    # The shares are disjoint, and everything else is 0.
    return np.asarray(multihost_utils.process_allgather(mine)).sum(axis=0)


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Only the first process prints."""
    if is_first():
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Within it, the loss of another process is said in words.

    Raises:
        CheckFailed: another process was lost.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not several():
            raise
        why = str(error).splitlines()[0][:200]
        raise CheckFailed(
            f"process {jax.process_index()} of {jax.process_count()} lost another one: {why}",
            mend="give the same command again in every process; the run goes on from its newest checkpoint",
        ) from None
