"""Differences between released losses and the equations whose names they bear, each with a command that shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """A title, what is the case, and the command that shows it."""

    title: str
    text: str
    command: str


DIFFERENCES: tuple[Difference, ...] = ()
