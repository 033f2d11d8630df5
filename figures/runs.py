"""Frozen records of what was found: training runs, exact checks, proofs, comparisons.

Runs are any directories with a `config.json` and a `metrics.jsonl`, at whatever depth. Runs whose configurations agree
in everything but the seed are repetitions of one `Arm`; runs that differ in anything else are never averaged.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from figures.words import told, words
from rino_base.messages import InputError

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
        predictions: what theory said of steps of training, and what they did (results/prediction.py).
    """

    directory: Path
    runs: tuple[Run, ...]
    others: Mapping[str, tuple[Run, ...]]
    checks: Mapping[str, Row]
    proof: Row | None
    comparisons: tuple[Row, ...] = ()
    predictions: tuple[Row, ...] = ()

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
