"""The run directory: `config.json`, append-only JSONL, and checkpoints from which a killed run resumes bit for bit.

Every line carries the number of updates done so far as `step`. Resuming at a checkpoint drops the lines after it, and a
last line that a kill cut short; the steps that follow write them again, equal.
"""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from rino_base.files import write_json, write_text
from rino_base.messages import InputError

_LOGS = ("metrics", "timing", "eval", "samples")


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run and what is done with them."""

    path: Path

    @property
    def model(self) -> Path:
        """The trained model, a Hugging Face directory; there once the run is finished."""
        return self.path / "model"

    @property
    def finished(self) -> bool:
        """True if the run has come to its end."""
        return (self.path / "finished.json").exists()

    def begin(self, config: Mapping[str, Any], *, provenance: Mapping[str, Any]) -> None:
        """Write `config.json`, or check that the one that is there describes the same run.

        Raises:
            InputError: the directory holds another run, or something that is no run.
        """
        file = self.path / "config.json"
        if not file.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise InputError(f"{self.path} is not empty and holds no run", mend="choose another --out")
            write_json(file, {**config, **provenance})
            return
        there = json.loads(file.read_text(encoding="utf-8"))
        wanted = json.loads(json.dumps(config))
        different = sorted(name for name, value in wanted.items() if there.get(name) != value)
        if different:
            name = different[0]
            raise InputError(
                f"{self.path} holds another run: {name} is {there.get(name)!r} there and {wanted[name]!r} here",
                mend="choose another --out, or give the same options to resume it",
            )

    def append(self, log: str, record: Mapping[str, Any]) -> None:
        """Add one object to a log; numbers that are not finite become null."""
        line = json.dumps({name: _plain(value) for name, value in record.items()}, allow_nan=False, ensure_ascii=False)
        with (self.path / f"{log}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def truncate(self, step: int) -> None:
        """Drop every line written after `step` updates."""
        for log in _LOGS:
            file = self.path / f"{log}.jsonl"
            if file.exists():
                kept = [line for line in complete_lines(file) if json.loads(line)["step"] <= step]
                write_text(file, "".join(kept))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Mark the run as finished; its checkpoints have served their purpose."""
        write_json(self.path / "finished.json", dict(record))
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)


class Checkpoints:
    """Training state on disk, written by orbax under a temporary name and renamed when whole."""

    def __init__(self, run: RunDirectory) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager((run.path / "checkpoints").absolute(), options=options)

    @property
    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any) -> None:
        """Write a pytree of arrays."""
        self._manager.save(step, args=ocp.args.StandardSave(state), force=True)

    def restore(self, step: int, like: Any) -> Any:
        """Read a pytree of the structure, types and sharding of `like`."""
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._manager.restore(step, args=ocp.args.StandardRestore(target))

    def close(self) -> None:
        """Release the directory."""
        self._manager.close()


def complete_lines(file: Path) -> Iterable[str]:
    """The lines of a file that end in a newline; a kill may have cut the last one short."""
    return [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
