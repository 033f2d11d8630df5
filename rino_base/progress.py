"""Progress of anything over two seconds: a bar with rates on a terminal, one plain line a step in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from rino_base.messages import format_cell, printable

T = TypeVar("T")


def progress_bar() -> Progress:
    """Progress on stderr: a bar with counts and rates, or plain lines where there is no terminal.

    `update(task, facts=...)` shows more than the count: a text, see `facts`.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        return _Lines()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        _Facts(),
    )
    return Progress(*columns, console=console)


def track(items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
    """Iterate over `items` under a progress bar."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar() as bar:
        task = bar.add_task(printable(description), total=total)
        for item in items:
            yield item
            bar.advance(task)


def facts(values: Mapping[str, object]) -> str:
    """Names and values in one line: `reward 0.31, length 24.1`."""
    return ", ".join(f"{name} {format_cell(value)}" for name, value in values.items())


class _Rate(ProgressColumn):
    """Items a second, so that a long wait can be judged."""

    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="progress.data.speed")


class _Facts(ProgressColumn):
    """What the last update told besides the count."""

    def render(self, task: Any) -> Text:
        return Text(task.fields.get("facts", ""))


class _Lines(Progress):
    """For log files: a line for each update, but no more than one a second, and none for what is over in two."""

    _PATIENCE = 2.0
    _PAUSE = 1.0

    def __init__(self) -> None:
        super().__init__(disable=True)
        self._added: dict[TaskID, float] = {}
        self._first: dict[TaskID, tuple[float, float]] = {}  # when the first update came, and how much was done then
        self._said: dict[TaskID, tuple[float, str]] = {}

    def add_task(self, *words: Any, **settings: Any) -> TaskID:
        task_id = super().add_task(*words, **settings)
        self._added[task_id] = time.monotonic()
        return task_id

    def update(self, task_id: TaskID, **changes: Any) -> None:  # type: ignore[override]
        super().update(task_id, **changes)
        self._say(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        task, now = self._tasks[task_id], time.monotonic()
        # What is left is judged from the first update on, which in a resumed run says how far it had come.
        first, done = self._first.setdefault(task_id, (now, task.completed))
        over = task.total is not None and task.completed >= task.total
        added = self._added[task_id]
        last, before = self._said.get(task_id, (added, ""))
        if now - added < self._PATIENCE or (now - last < self._PAUSE and not over):
            return
        words = [task.description, f"{task.completed:g}/{task.total:g}" if task.total else f"{task.completed:g}"]
        if task.fields.get("facts"):
            words.append(task.fields["facts"])
        if over:
            words.append(f"{_duration(now - added)} in all")
        elif task.total and task.completed > done:
            left = (now - first) / (task.completed - done) * (task.total - task.completed)
            words.append(f"ETA {_duration(left)}")
        line = "  ".join(words)
        if line != before:
            self._said[task_id] = now, line
            print(line, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
