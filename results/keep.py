"""What a repository keeps of a comparison: its summary, the learning rates' scores, and each run without its model.

    python results/keep.py COMPARISON DIRECTORY [EVERY]

Of the metrics every tenth step (or EVERY) and the last stay; evaluations stay whole but for the greedy answers by
problem. A model is named without the directory that it lay in.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from rino_base.files import complete_lines, write_json

EVERY = 10


def keep(comparison: Path, kept: Path, every: int = EVERY) -> None:
    """Copy what is finished; nothing is read from what is not."""
    for done in sorted((comparison / "runs").rglob("finished.json")):
        run, place = done.parent, kept / done.parent.relative_to(comparison)
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / "config.json", _portable(run / "config.json"))
        metrics = _rows(run / "metrics.jsonl")
        _write(place / "metrics.jsonl", [row for row in metrics if row["step"] % every == 0 or row is metrics[-1]])
        evaluations = _rows(run / "eval.jsonl")
        _write(
            place / "eval.jsonl",
            [{name: value for name, value in row.items() if name != "eval/greedy_correct"} for row in evaluations],
        )
    if (comparison / "comparison.json").exists():
        write_json(kept / "comparison.json", _portable(comparison / "comparison.json"))
    if (comparison / "sweep").is_dir():
        write_json(kept / "sweep.json", _scores(comparison / "sweep"))


def _portable(file: Path) -> dict[str, Any]:
    """The record with its model by name: the directory it lay in is a matter of one machine."""
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record | {"model": Path(record["model"]).name}


def _scores(sweep: Path) -> dict[str, Any]:
    """By method and learning rate: the mean training reward over the last quarter of the steps, seed by seed."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for done in sorted(sweep.rglob("finished.json")):
        method, rate, _ = done.parent.relative_to(sweep).parts
        rewards = [row["reward"] for row in _rows(done.parent / "metrics.jsonl")]
        last = rewards[-max(len(rewards) // 4, 1) :]
        found[method][rate.removeprefix("lr-")].append(round(sum(last) / len(last), 5))
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in complete_lines(file)]


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
