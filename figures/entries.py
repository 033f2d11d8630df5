"""What a figure or a table of the registry is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from figures.numbers import Number
from figures.runs import Results
from figures.style import Style
from figures.tables import Table
from figures.verdicts import Verdict

THEORY, TRAINING = "Exact computation", "Training"

Context: TypeAlias = Callable[[Results, str], str]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure.

    Attributes:
        id: its name on disk.
        section: the part of the report that it belongs to.
        title, caption: what it shows, and how to read it.
        prepare: from results to the data of one or several pictures, by suffix of the file name ("" for one).
        draw: from data and style to a picture, as wide as `style.column` or `style.page` says.
        judge: the sentences about it that the data decide.
        context: what its caption says of task, model, seeds, group size, learning rate and batch.
        numbers: columns and rows for the file of numbers beside it; None reads them off the picture.
    """

    id: str
    section: str
    title: str
    caption: str
    prepare: Callable[[Results], Mapping[str, Any]]
    draw: Callable[[Any, Style], Figure]
    judge: Callable[[Results], list[Verdict]] | None = None
    context: Context
    numbers: Callable[[Any], tuple[tuple[str, ...], list[Number]]] | None = None


@dataclass(frozen=True)
class TableEntry:
    """A table, or one for each task and model."""

    id: str
    prepare: Callable[[Results], Mapping[str, Table]]
