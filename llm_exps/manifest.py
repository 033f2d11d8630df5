"""Sizes and checksums of the files in a directory, and what has become of them since."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rino_base.files import is_temporary, sha256

Manifest = dict[str, dict[str, Any]]
"""Name of a file, relative to the directory -> `bytes` and `sha256`."""


def take_manifest(directory: Path, *, leave_out: Callable[[str], bool] = lambda name: False) -> Manifest:
    """Every file under `directory`; `leave_out` tells by the first part of its name what does not belong."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and not is_temporary(path))
    names = {path.relative_to(directory): path for path in files}
    return {
        name.as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for name, path in names.items()
        if not leave_out(name.parts[0])
    }


def departures(directory: Path, manifest: Mapping[str, Any]) -> dict[str, str | None]:
    """What is wrong with each file of the manifest; None where nothing is."""
    return {name: _departure(directory / name, there) for name, there in manifest.items()}


def _departure(path: Path, expected: Any) -> str | None:
    if not path.is_file():
        return "missing"
    try:
        size, digest = expected["bytes"], expected["sha256"]
    except (KeyError, TypeError):
        return "not described by a readable manifest"
    if path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes instead of {size}"
    return None if sha256(path) == digest else "changed"
