"""When two runs are one: every file but what the clock decides."""

import json

CLOCK = ("timing.jsonl", "tensorboard")


def what_must_be_equal(path, *, but=()):
    """Every file of a run but what the clock decides: timing and TensorBoard, and the line of each in the manifest."""
    apart = (*CLOCK, *but)
    files = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    kept = {name.as_posix(): data for name, data in files.items() if name.parts[0] not in apart}
    manifest = json.loads(kept["finished.json"])
    manifest["files"] = {name: what for name, what in manifest["files"].items() if name.split("/")[0] not in apart}
    return {**kept, "finished.json": manifest}
