"""Reading what lies below a directory of results: runs, exact checks, proofs, comparisons, predictions."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from figures.runs import COMPARED, REFERENCE_PROBLEM, Results, Row, Run
from rino_base.messages import InputError
from rino_base.progress import track


def read_results(first: Path, *more: Path) -> Results:
    """Read everything below each directory: runs at any depth, `check/*.json`, `prove.json`,
    `comparison.json`, `prediction.json`.

    A directory with a `comparison.json` of its own, at whatever depth, is a comparison of its own, and all are read.

    Raises:
        InputError: no such directory, nothing to draw in it, or a malformed file (named, with its line).
    """
    found = [_read_directory(directory) for directory in dict.fromkeys((first, *more))]
    others: dict[str, tuple[Run, ...]] = {}
    for results in found:
        for name, runs in results.others.items():
            others[name] = _once((*others.get(name, ()), *runs))
    checks = {name: check for results in reversed(found) for name, check in results.checks.items()}
    return Results(
        first,
        _once([run for results in found for run in results.runs]),
        others,
        {name: checks[name] for name in sorted(checks, key=lambda name: (name != REFERENCE_PROBLEM, name))},
        next((results.proof for results in found if results.proof is not None), None),
        tuple(comparison for results in found for comparison in results.comparisons),
        tuple(prediction for results in found for prediction in results.predictions),
    )


def _read_directory(directory: Path) -> Results:
    if not directory.is_dir():
        what = "is a file" if directory.exists() else "does not exist"
        raise InputError(
            f"{directory} {what}; a directory of results is needed",
            mend="give the --out directory of `rino reproduce` or `rino compare`, or one run directory",
        )
    roots = {directory, *(path.parent for path in directory.rglob("comparison.json"))}
    paths = sorted(path.parent for path in directory.rglob("config.json") if (path.parent / "metrics.jsonl").exists())
    reading: Sequence[Path] | Iterator[Path] = track(paths, description="runs") if len(paths) > 8 else paths
    places: dict[str, list[Run]] = {}
    for path in reading:
        root = max((root for root in roots if path.is_relative_to(root)), key=lambda root: len(root.parts))
        name = path.relative_to(root).parts[0] if path != root and (root / COMPARED).is_dir() else COMPARED
        places.setdefault(name, []).append(read_run(path))
    runs = tuple(places.pop(COMPARED, ()))
    checks = _read_checks(directory / "check")
    proof = _read_optional(directory / "prove.json")
    comparisons = tuple(_read_object(path) for path in sorted(directory.rglob("comparison.json")))
    predictions = tuple(_read_object(path) for path in sorted(directory.rglob("prediction.json")))
    if not (runs or places or checks or proof or comparisons or predictions):
        raise InputError(
            f"{directory} holds nothing to draw: no run (config.json beside metrics.jsonl), no check/*.json, "
            "no prove.json, no comparison.json",
            mend="make some results first: rino reproduce --quick --out DIR",
        )
    others = {name: tuple(found) for name, found in places.items()}
    return Results(directory, runs, others, checks, proof, comparisons, predictions)


def _once(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Directories may lie in one another; a run counts once."""
    return tuple({run.path.resolve(): run for run in runs}.values())


def _read_checks(directory: Path) -> dict[str, Row]:
    """Reports by problem; a file holds one, or a list of them."""
    found: dict[str, Row] = {}
    for path in sorted(directory.glob("*.json")):
        value = _read_json(path)
        for report in value if isinstance(value, list) else [value]:
            if not isinstance(report, dict) or not isinstance(report.get("methods"), dict):
                raise InputError(
                    f"{path} holds no report of `rino check`: 'methods' is missing",
                    mend=f"write it again: rino check {path.stem} --json {path}",
                )
            found[str(report.get("problem", path.stem))] = report
    return found


def read_run(path: Path) -> Run:
    """Read one run directory; a line that a killed run left half-written at the end of a file is ignored.

    Raises:
        InputError: a malformed file, or a configuration without `method` or `seed`.
    """
    config = _read_object(path / "config.json")
    if missing := [key for key in ("method", "seed") if key not in config]:
        raise InputError(
            f"{path / 'config.json'} lacks {' and '.join(map(repr, missing))}",
            mend="train it again, or move the directory out of the way",
        )
    for key, kind in (("method", str), ("seed", int)):
        if not isinstance(config[key], kind):
            raise InputError(
                f"{path / 'config.json'} has {key} = {str(config[key])[:60]!r}, which is no {key}",
                mend="train it again, or move the directory out of the way",
            )
    metrics, evaluations, timings = (
        _by_step(_read_lines(path / name)) for name in ("metrics.jsonl", "eval.jsonl", "timing.jsonl")
    )
    samples = tuple(row for _, row in _read_lines(path / "samples.jsonl"))
    return Run(path, config, metrics, evaluations, samples, timings)


def _by_step(rows: Sequence[tuple[str, Row]]) -> tuple[Row, ...]:
    # A run that was killed and resumed may have written a step twice: the later row is the one it went on from.
    by_step: dict[int, Row] = {}
    for where, row in rows:
        if not isinstance(row.get("step"), int):
            raise InputError(f"{where} has no whole number 'step'", mend="every row names the step it belongs to")
        by_step[row["step"]] = row
    return tuple(by_step[step] for step in sorted(by_step))


def _read_optional(path: Path) -> Row | None:
    return _read_object(path) if path.exists() else None


def _read_object(path: Path) -> Row:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, not an object", mend="write it again")
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{line} is not JSON: {error}", mend="write it again, or move it away") from error


def _read_lines(path: Path) -> list[tuple[str, Row]]:
    """The rows of a JSONL file with the place of each; a file that does not exist has none."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rows: list[tuple[str, Row]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # No newline after it: the write was cut short.
                continue
            raise InputError(
                f"{where} is not JSON: {error}", mend="remove that line, or train the run again"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{where} holds a {type(row).__name__}, not an object", mend="remove that line")
        rows.append((where, row))
    return rows


def _no_number(name: str) -> None:
    """NaN and infinities are no JSON; a foreign writer's are read as missing values."""
