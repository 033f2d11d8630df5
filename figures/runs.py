"""Run files into frozen records: training runs, exact checks, proofs and comparisons below one directory.

Runs are any directories with a `config.json` and a `metrics.jsonl`, at whatever depth. Runs whose configurations agree
in everything but the seed are repetitions of one `Arm`; runs that differ in anything else are never averaged.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from figures.words import told, words
from rino_base.messages import InputError
from rino_base.progress import track

Row: TypeAlias = Mapping[str, Any]

INDIVIDUAL = ("seed", "versions", "hardware")
"""Entries of a configuration in which repetitions of one experiment may differ."""

CLAIM = ("grpo", "f-isft-pm")
"""The methods that the claim under test says are one: shown first where no comparison gives an order."""

COMPARED, SWEEP = "runs", "sweep"
"""The directories of the runs that are compared, and of those that choose learning rates."""

REFERENCE_PROBLEM = "two-letter-words"
"""Of the exactly checked problems the one that is shown first."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: a method, a seed, and what the run wrote. Rows are ordered by step, one row a step."""

    path: Path
    config: Row
    metrics: tuple[Row, ...]
    evaluations: tuple[Row, ...]
    samples: tuple[Row, ...]
    timings: tuple[Row, ...]

    @property
    def method(self) -> str:
        """The method's key."""
        return str(self.config["method"])

    @property
    def title(self) -> str:
        """The method's name in figures and tables; its key where the configuration has none."""
        return str(self.config.get("title", self.method))

    @property
    def seed(self) -> int:
        """What repetitions of one experiment differ in."""
        return int(self.config["seed"])

    @property
    def task(self) -> str:
        """What it trains on."""
        return _short(self.config.get("task"))

    @property
    def model(self) -> str:
        """What it trains: the last part of a directory, or a hub name."""
        return _short(self.config.get("model"))

    @property
    def batch_size(self) -> int:
        """Responses of a step; 1 where the configuration is silent."""
        return int(self.config.get("num_prompts", 1)) * int(self.config.get("num_generations", 1))

    @property
    def num_steps(self) -> int:
        """Optimisation steps that were asked for, or the last one that was written when the configuration is silent."""
        for key in ("steps", "num_steps"):
            if isinstance(self.config.get(key), int):
                return int(self.config[key])
        return self.last_step

    @property
    def last_step(self) -> int:
        """The last step with metrics; 0 when there is none."""
        return int(self.metrics[-1]["step"]) if self.metrics else 0

    def series(self, name: str) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Steps and values of one measurement, from the evaluations when its name starts with `eval/`."""
        rows = self.evaluations if name.startswith("eval/") else self.metrics
        points = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
        steps, values = zip(*points, strict=True) if points else ((), ())
        return np.array(steps, dtype=int), np.array(values, dtype=float)


@dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed alone, by seed."""

    label: str
    runs: tuple[Run, ...]

    @property
    def method(self) -> str:
        """The method's key."""
        return self.runs[0].method

    @property
    def title(self) -> str:
        """The method's title."""
        return self.runs[0].title

    @property
    def task(self) -> str:
        """What they train on."""
        return self.runs[0].task

    @property
    def model(self) -> str:
        """What they train."""
        return self.runs[0].model

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(run.seed for run in self.runs)

    def matrix(self, name: str) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
        """One measurement at the steps that every seed has reached and recorded; no points where they share none."""
        series = [run.series(name) for run in self.runs]
        shared = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in series)))
        rows = [values[np.isin(steps, shared)] for steps, values in series]
        return np.array(shared, dtype=int), np.array(rows, dtype=float)


@dataclass(frozen=True)
class Results:
    """All that was found below one directory.

    Attributes:
        runs: what is compared: the runs below `runs/`, or all runs where there is no such directory.
        others: the runs below other directories, by the name of the directory: sweeps and single ablations.
        checks: by the name of the problem, the reference problem first.
        comparisons: what `rino compare` said of them.
    """

    directory: Path
    runs: tuple[Run, ...]
    others: Mapping[str, tuple[Run, ...]]
    checks: Mapping[str, Row]
    proof: Row | None
    comparisons: tuple[Row, ...] = ()

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The compared runs as repetitions of experiments, in the order of the comparison; the reference is first."""
        order = dict.fromkeys(row["key"] for comparison in self.comparisons for row in comparison["methods"])
        rank = {method: place for place, method in enumerate(order or CLAIM)}
        return tuple(sorted(group_runs(self.runs), key=lambda arm: rank.get(arm.method, len(rank))))

    @cached_property
    def ablations(self) -> tuple[Arm, ...]:
        """The other runs except the learning-rate sweep, together with the compared runs of the same methods."""
        others = [run for name, runs in self.others.items() if name != SWEEP for run in runs]
        methods = {run.method for run in others}
        return group_runs([*(run for run in self.runs if run.method in methods), *others])

    @cached_property
    def sweep(self) -> tuple[Arm, ...]:
        """The runs that chose learning rates."""
        return group_runs(self.others.get(SWEEP, ()))

    @cached_property
    def all_arms(self) -> tuple[Arm, ...]:
        """The compared arms, then those ablations that are not among them."""
        return (*self.arms, *(arm for arm in self.ablations if not set(arm.runs) & set(self.runs)))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The keys of all methods that occur: those that were trained, those with curves of their own, the others."""
        trained = (arm.method for arm in self.arms)
        drawn = (key for check in self.checks.values() for key in check.get("inner_steps", {}).get("methods", {}))
        checked = (key for check in self.checks.values() for key in check["methods"])
        return tuple(dict.fromkeys((*trained, *drawn, *checked)))

    @cached_property
    def titles(self) -> Mapping[str, str]:
        """The title of every method; its key where no file gives a title."""
        checked = {
            key: entry.get("title", key) for check in self.checks.values() for key, entry in check["methods"].items()
        }
        return {**checked, **{run.method: run.title for run in self.runs}}


def read_results(first: Path, *more: Path) -> Results:
    """Read everything below each directory: runs at any depth, `check/*.json`, `prove.json`, `comparison.json`.

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
    if not (runs or places or checks or proof or comparisons):
        raise InputError(
            f"{directory} holds nothing to draw: no run (config.json beside metrics.jsonl), no check/*.json, "
            "no prove.json, no comparison.json",
            mend="make some results first: rino reproduce --quick --out DIR",
        )
    others = {name: tuple(found) for name, found in places.items()}
    return Results(directory, runs, others, checks, proof, comparisons)


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


def group_runs(runs: Sequence[Run]) -> tuple[Arm, ...]:
    """Group the repetitions of each experiment. Arms of one method, task and model are labelled by what they differ in.

    Raises:
        InputError: two runs agree in everything, the seed included.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(settings(run), sort_keys=True), []).append(run)
    arms = []
    for group in groups.values():
        first = group[0]
        rivals = [
            other[0]
            for other in groups.values()
            if (other[0].method, other[0].config.get("task"), other[0].config.get("model"))
            == (first.method, first.config.get("task"), first.config.get("model"))
        ]
        label = first.title + _difference(first, rivals)
        ordered = tuple(sorted(group, key=lambda run: run.seed))
        for left, right in itertools.pairwise(ordered):
            if left.seed == right.seed:
                raise InputError(
                    f"{left.path} and {right.path} are the same experiment with the same seed {left.seed}",
                    mend="remove one of them: a repeated seed is no repetition",
                )
        arms.append(Arm(label, ordered))
    return tuple(arms)


def panels(arms: Sequence[Arm]) -> dict[tuple[str, str], list[Arm]]:
    """Arms by (task, model): what can be compared in one picture."""
    grouped: dict[tuple[str, str], list[Arm]] = {}
    for arm in arms:
        grouped.setdefault((arm.task, arm.model), []).append(arm)
    return grouped


def flatten(config: Row, prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def settings(run: Run) -> dict[str, Any]:
    """All that decides the run, except what repetitions may differ in, with dotted names."""
    return flatten({key: value for key, value in run.config.items() if key not in INDIVIDUAL})


def _difference(run: Run, rivals: Sequence[Run]) -> str:
    others = [settings(rival) for rival in rivals]
    own = settings(run)
    differing = [key for key in own if any(other.get(key) != own[key] for other in others)]
    return f" ({', '.join(f'{words(key)}: {told(own[key])}' for key in differing)})" if differing else ""


def _short(name: Any) -> str:
    if not name:
        return "–"
    return Path(str(name)).name or str(name)


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
