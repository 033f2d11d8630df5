"""Where curves go beside the JSONL files: TensorBoard always, Weights & Biases or trackio if asked for."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tensorboardX import SummaryWriter

from rino_base.messages import InputError

_SHOWN = ("prompt", "completion", "reward", "advantage")


class Tracker(Protocol):
    """Takes the numbers of one step, and its samples."""

    def log(self, step: int, record: Mapping[str, Any]) -> None: ...

    def samples(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Show a table of completions, where there is a service that has tables."""


class _Tracker:
    def __init__(self, board: SummaryWriter, service: Any | None) -> None:
        self.board, self.service = board, service

    def log(self, step: int, record: Mapping[str, Any]) -> None:
        numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
        for name, value in numbers.items():
            self.board.add_scalar(name, value, step)
        if self.service is not None:
            self.service.log(numbers, step=step)

    def samples(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        if self.service is not None:
            rows = [[record[name] for name in _SHOWN] for record in records]
            self.service.log({"samples": self.service.Table(columns=list(_SHOWN), data=rows)}, step=step)


class _Nowhere:
    def log(self, step: int, record: Mapping[str, Any]) -> None:
        pass

    def samples(self, step: int, records: Sequence[Mapping[str, Any]]) -> None:
        pass


@contextmanager
def tracker(path: Path | None, *, resume_at: int, report_to: str, config: Mapping[str, Any]) -> Iterator[Tracker]:
    """A tracker of the run in `path`; what TensorBoard holds from after `resume_at` is superseded.

    path: None in a process that writes nothing.

    Raises:
        InputError: `report_to` names a service whose package is not installed.
    """
    if path is None:
        yield _Nowhere()
        return
    service = None if report_to == "none" else _service(report_to)
    if service is not None:
        service.init(project="rino", name="/".join(path.parts[-3:]), config=dict(config))
    with SummaryWriter(str(path / "tensorboard"), purge_step=resume_at) as board:
        yield _Tracker(board, service)
    if service is not None:
        service.finish()


def _service(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"--report-to {name}: the package is not installed", mend=f"pip install {name}") from None
