"""The run directory: `config.json`, append-only JSONL, and checkpoints from which a killed run resumes bit for bit.

A checkpoint remembers how long every log was and its checksum. Resuming cuts the logs to that length; the steps that
follow write the rest again, equal. A finished run holds sizes and checksums of its files in `finished.json`.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_exps.manifest import departures, take_manifest
from rino_base.files import append_line, is_temporary, read_object, remove_temporaries, sha256, write_json
from rino_base.lock import LOCK
from rino_base.messages import InputError

_LOGS = ("metrics", "timing", "eval", "samples")
_FINISHED = "finished.json"


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run and what is done with them."""

    path: Path

    @property
    def model(self) -> Path:
        """The trained model, a Hugging Face directory; there once the run is finished."""
        return self.path / "model"

    @property
    def exports(self) -> Path:
        """Models written on the way, `step-N` each."""
        return self.path / "exports"

    @property
    def checkpoints(self) -> Path:
        """Training state; gone once the run is finished."""
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """True if the run has come to its end."""
        return (self.path / _FINISHED).exists()

    def begin(self, config: Mapping[str, Any], *, provenance: Mapping[str, Any]) -> None:
        """Write `config.json`, or check that the one that is there describes the same run. The caller holds the lock.

        Raises:
            InputError: the directory holds another run, something that is no run, or a finished run that is damaged.
        """
        file = self.path / "config.json"
        if not file.exists():
            if any(path.name != LOCK and not is_temporary(path) for path in self.path.iterdir()):
                raise InputError(f"{self.path} is not empty and holds no run", mend="choose another --out")
            remove_temporaries(self.path)
            write_json(file, {**config, **provenance})
            return
        there = read_object(file)
        wanted = json.loads(json.dumps(config))
        different = sorted(name for name, value in wanted.items() if there.get(name) != value)
        if different:
            name = different[0]
            raise InputError(
                f"{self.path} holds another run: {name} is {there.get(name)!r} there and {wanted[name]!r} here",
                mend="choose another --out, or give the same options to resume it",
            )
        remove_temporaries(self.path)
        if self.finished:
            self._check_finished()
            self._remove_checkpoints()

    def append(self, log: str, record: Mapping[str, Any]) -> None:
        """Add one object to a log; numbers that are not finite become null."""
        append_line(self.path / f"{log}.jsonl", record)

    def log_ends(self) -> dict[str, dict[str, Any]]:
        """How long every log is now, and the checksum of what it holds."""
        files = {log: self.path / f"{log}.jsonl" for log in _LOGS}
        return {
            log: {"bytes": file.stat().st_size, "sha256": sha256(file)} for log, file in files.items() if file.exists()
        }

    def lost_from_logs(self, ends: Mapping[str, Any]) -> str | None:
        """What the logs lack of what they held at `ends`; None if nothing."""
        for log, end in ends.items():
            file = self.path / f"{log}.jsonl"
            if not file.is_file():
                return f"{file.name} is missing"
            if file.stat().st_size < end["bytes"]:
                return f"{file.name} has {file.stat().st_size} bytes, and had {end['bytes']}"
            if sha256(file, size=end["bytes"]) != end["sha256"]:
                return f"{file.name} was changed"
        return None

    def cut_logs(self, ends: Mapping[str, Any]) -> None:
        """Drop from every log what was written after `ends`."""
        for log in _LOGS:
            file = self.path / f"{log}.jsonl"
            if log in ends:
                os.truncate(file, ends[log]["bytes"])
            else:
                file.unlink(missing_ok=True)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Mark the run as finished; its checkpoints have served their purpose."""
        files = take_manifest(self.path, leave_out=lambda name: name in (LOCK, _FINISHED, self.checkpoints.name))
        write_json(self.path / _FINISHED, {**record, "files": files})
        self._remove_checkpoints()

    def departures(self) -> dict[str, str | None]:
        """What is wrong with each file that the finished run held; None where nothing is.

        Raises:
            InputError: the run is not finished, or it was finished before sizes and checksums were kept.
        """
        if not self.finished:
            raise InputError(
                f"{self.path} holds no finished run",
                mend="name a run directory; an unfinished run goes on with its command",
            )
        try:
            files = read_object(self.path / _FINISHED).get("files")
        except InputError:
            return {_FINISHED: "not readable"}
        if not isinstance(files, dict):
            raise InputError(
                f"{self.path} was finished before checksums were kept: there is nothing to compare with",
                mend="train it again to have them",
            )
        return departures(self.path, files)

    def _check_finished(self) -> None:
        if "files" not in read_object(self.path / _FINISHED):
            return
        wrong = {name: what for name, what in self.departures().items() if what}
        if wrong:
            name, what = next(iter(wrong.items()))
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise InputError(
                f"{self.path} is finished and damaged: {name} {_said(what)}{more}",
                mend=f"rino verify {self.path} lists all; put the files back, or train again in another --out",
            )

    def _remove_checkpoints(self) -> None:
        if self.checkpoints.exists():
            shutil.rmtree(self.checkpoints)


def _said(what: str) -> str:
    return f"is {what}" if what in ("missing", "not readable") else f"was {what}" if what == "changed" else what
