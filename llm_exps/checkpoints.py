"""Training state on disk. A checkpoint counts once its seal is there: checksums of its files and of the logs.

orbax writes under a temporary name and renames; the seal is written last and removed first. So whatever has no seal is
half of something, and whatever differs from its seal is damaged and never loaded.
"""

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from llm_exps import hosts
from llm_exps.manifest import departures, take_manifest
from llm_exps.run_directory import RunDirectory
from rino_base.files import read_object, write_json
from rino_base.messages import InputError, report_warning

_KEPT = 2


@contextmanager
def _errors_of_the_system(place: Path) -> Iterator[None]:
    """tensorstore has errors of its own for a full disk and the like; what the system said is inside their text.

    Threads of orbax and callbacks of tensorstore print the same error once more, with their tracebacks: they are told
    to be quiet, and after a failure some still come late.
    """
    threads, hook = logging.getLogger("absl"), sys.unraisablehook
    level, done = threads.level, False
    threads.setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda seen: None if seen.exc_type is RuntimeError else hook(seen)
    try:
        yield
        done = True
    except Exception as error:
        said = re.search(r"os_error_code='(\d+)'", str(error))
        if isinstance(error, OSError) or said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1])), str(place)) from error
    finally:
        threads.setLevel(level)
        if done:
            sys.unraisablehook = hook


class Checkpoints:
    """The checkpoints of a run; the caller holds the run's lock."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._disk = ocp.Checkpointer(ocp.StandardCheckpointHandler())

    def save(self, step: int, state: Any) -> None:
        """Write a pytree of arrays, and remove the oldest of more than two checkpoints."""
        hosts.on_first(lambda: self._remove(step))
        with _errors_of_the_system(self._place(step)):
            self._disk.save(self._place(step).absolute(), args=ocp.args.StandardSave(state), force=True)
        hosts.on_first(lambda: self._seal_up(step))

    def _seal_up(self, step: int) -> None:
        files = take_manifest(self._place(step))
        write_json(self._seal(step), {"files": files, "logs": self._run.log_ends()})
        for old in self._steps()[_KEPT:]:
            self._remove(old)

    def resume(self, like: Callable[[], Any]) -> tuple[int, Any] | None:
        """The newest whole checkpoint as (step, state), the logs cut to where they were; None if there is none.

        like: makes a pytree of the structure, types and sharding of the state; it is let go before the state is read.

        Raises:
            InputError: there are checkpoints and all are damaged, or the logs have lost what all of them build on, or
                the newest holds another structure.
        """
        step = hosts.agree(hosts.on_first(self._choose) or 0)
        if not step:
            return None
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like())
        try:
            return step, self._disk.restore(self._place(step).absolute(), args=ocp.args.StandardRestore(target))
        except ValueError as error:
            if "tree structures do not match" not in str(error):
                raise
            # It is whole, by its checksums: what differs is what this program keeps in it.
            raise InputError(
                f"checkpoint {step} of {self._run.path} is of another version of rino, which kept other arrays",
                mend=f"go on with that version, or remove {self._run.checkpoints} to begin again at step 0",
            ) from error

    def _choose(self) -> int:
        """The newest whole checkpoint's step, 0 if there is none; clears away what is half or damaged."""
        self._remove_unsealed()
        bad: dict[int, str] = {}
        for step in self._steps():
            wrong = self._wrong(step)
            if wrong is None:
                for worse, why in bad.items():
                    report_warning(f"checkpoint {worse} of {self._run.path} is damaged ({why}); going on from {step}")
                    self._remove(worse)
                self._run.cut_logs(read_object(self._seal(step))["logs"])
                return step
            bad[step] = wrong
        if bad:
            step, why = next(iter(bad.items()))
            raise InputError(
                f"no checkpoint of {self._run.path} can be used: {step} is damaged ({why})"
                + "".join(f", and {other} ({reason})" for other, reason in list(bad.items())[1:]),
                mend=f"put the files back, or remove {self._run.checkpoints} to begin again at step 0",
            )
        self._run.cut_logs({})
        return 0

    def close(self) -> None:
        """Release what orbax holds."""
        self._disk.close()

    def _wrong(self, step: int) -> str | None:
        try:
            seal = read_object(self._seal(step))
            found = departures(self._place(step), seal["files"])
            extra = set(take_manifest(self._place(step))) - set(found)
            lost = self._run.lost_from_logs(seal["logs"])
        except (InputError, KeyError, TypeError, AttributeError):
            return "its checksums are not readable"
        wrong = [f"{name} {what}" for name, what in found.items() if what]
        wrong += [f"{name} does not belong" for name in sorted(extra)]
        return wrong[0] if wrong else lost

    def _steps(self) -> list[int]:
        """Of sealed checkpoints, the newest first."""
        seals = self._run.checkpoints.glob("*.json")
        return sorted((int(path.stem) for path in seals if path.stem.isdecimal()), reverse=True)

    def _remove_unsealed(self) -> None:
        for path in self._run.checkpoints.glob("*"):
            if path.is_dir() and not self._seal_of(path).exists():
                shutil.rmtree(path)

    def _remove(self, step: int) -> None:
        self._seal(step).unlink(missing_ok=True)
        if self._place(step).exists():
            shutil.rmtree(self._place(step))

    def _place(self, step: int) -> Path:
        return self._run.checkpoints / str(step)

    def _seal(self, step: int) -> Path:
        return self._seal_of(self._place(step))

    @staticmethod
    def _seal_of(place: Path) -> Path:
        return place.with_name(f"{place.name}.json")
