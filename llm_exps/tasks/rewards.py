"""Several reward functions at once, each with a weight: the task's own, and functions of files of yours.

    rino train --reward-functions task style.py:brevity --reward-weights 1 0.1

A function has TRL's signature, `f(prompts, completions, **columns) -> list[float]`. The reward is the weighted sum, as
in TRL; evaluations go on grading by the task alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_exps.tasks.task import RewardFunction, Task
from rino_base.messages import InputError
from rino_base.user_code import call, load_file

OWN = "task"


@dataclass(frozen=True)
class Rewards:
    """Named reward functions and their weights.

    Raises (when made):
        InputError: a name given twice, weights of another number, or a weight that is not finite.
    """

    functions: Mapping[str, RewardFunction]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.functions):
            raise InputError(
                f"{len(self.functions)} reward functions and {len(self.weights)} reward weights",
                mend="give --reward-weights one number for each of --reward-functions, in their order",
            )
        if wrong := [weight for weight in self.weights if not math.isfinite(weight)]:
            raise InputError(f"a reward weight is {wrong[0]}", mend="give finite numbers")

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: Any
    ) -> tuple[list[float], dict[str, list[float]]]:
        """The weighted sum for each completion, and what each function says."""
        parts = {name: self._said(name, prompts, completions, columns) for name in self.functions}
        rows = zip(*parts.values(), strict=True)
        return [math.fsum(w * r for w, r in zip(self.weights, row, strict=True)) for row in rows], parts

    def _said(
        self, name: str, prompts: Sequence[str], completions: Sequence[str], columns: Mapping[str, Any]
    ) -> list[float]:
        try:
            values = [float(value) for value in self.functions[name](prompts, completions, **columns)]
        except Exception as error:
            raise InputError(
                f"the reward function {name} fails: {type(error).__name__}: {error}",
                mend="it gets prompts, completions and the task's columns by name, and returns a number for each",
            ) from error
        if len(values) != len(completions) or not all(map(math.isfinite, values)):
            raise InputError(
                f"the reward function {name} returned {len(values)} values for {len(completions)} completions, "
                f"{sum(not math.isfinite(value) for value in values)} of them not finite",
                mend="return one finite number for each completion",
            )
        return values


def load_rewards(task: Task, names: Sequence[str], weights: Sequence[float]) -> Rewards:
    """The rewards called `names`: `task` is the task's own, the others are FILE.py:FUNCTION. No weights: all 1.

    Raises:
        InputError: a file or function that is not there, or as `Rewards` does.
    """
    if len(set(names)) < len(names) or not names:
        raise InputError(f"--reward-functions {' '.join(names)}", mend="give at least one, and each once")
    functions = {name: task.reward if name == OWN else _from_file(name) for name in names}
    return Rewards(functions, tuple(weights) or (1.0,) * len(functions))


def _from_file(name: str) -> RewardFunction:
    file, _, wanted = name.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(
            f"no reward function {name}", mend=f"give {OWN} or FILE.py:FUNCTION, a function of a Python file"
        )
    module = call(lambda: load_file(path), path, "file")
    function = getattr(module, wanted, None)
    if not callable(function):
        raise InputError(f"{path} has no function {wanted}", mend="define it: f(prompts, completions, **columns)")
    return function
