"""What a task is: training and evaluation problems, a prompt template, and how a completion is graded.

    task = load_task("countdown-small")                      # or "gsm8k", a .py file, a .jsonl file: see registry.py
    batch = task.prompts_for_step(seed, step, 32).repeat(8)  # Problems: .prompts, .columns; the 8 samples of a prompt
    are neighbours
    rewards = task.reward(batch.prompts, completions, **batch.columns)             # under task.scheme
    grades = task.strict(batch.prompts, completions, **batch.columns)              # raw grades: a grade >= 1 is a
    correct answer
    held_out = task.evaluation_problems(128)                 # the first 128, the same for every seed and method

Reward functions have TRL's signature, `f(prompts, completions, **columns) -> list[float]`; `lift` makes one from a
function that grades one completion.
A task whose evaluation prompts occur among its training prompts cannot be made: `check_disjoint` runs when it is.
"""

import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from rino_base.messages import InputError

Scheme = Literal["binary", "three-level"]

# The grades of the built-in verifiers; under the scheme "three-level" they are the rewards.
NO_ANSWER, WRONG, CORRECT = 0.0, 0.1, 1.0


class RewardFunction(Protocol):
    """TRL's: one number for each completion, from the prompts, the completions and the columns of the problems."""

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]: ...


def lift(grade: Callable[..., float]) -> RewardFunction:
    """A reward function from `grade(completion, **row) -> float`, which gets the columns of one problem by name (end
    its parameters with `**_`).
    """

    def reward(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        rows = Table(columns).rows() if columns else ({} for _ in completions)
        return [float(grade(completion, **row)) for completion, row in zip(completions, rows, strict=True)]

    return reward


class Table:
    """Rows of problems, kept as columns of one length; immutable.

    Raises:
        InputError: columns of different lengths.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns: dict[str, list[Any]] = {name: list(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns of different lengths: {lengths}", mend="give every row every column")

    @classmethod
    def from_rows(
        cls, rows: Iterable[Mapping[str, Any]], *, required: Iterable[str] = (), source: str = "the rows"
    ) -> "Table":
        """Keep the columns that all rows have, which must include `required`."""
        rows = list(rows)
        if not rows:
            raise InputError(f"{source} holds no rows", mend="give at least one row")
        shared = [name for name in rows[0] if all(name in row for row in rows)]
        if missing := [name for name in required if name not in shared]:
            present = ", ".join(shared) or "none"
            raise InputError(
                f"{source} lacks the column(s) {', '.join(missing)}; every row has: {present}",
                mend=f"give every row: {', '.join(required)}",
            )
        return cls({name: [row[name] for row in rows] for name in shared})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> Iterator[dict[str, Any]]:
        names = tuple(self.columns)
        return (dict(zip(names, values, strict=True)) for values in zip(*self.columns.values(), strict=True))

    def take(self, indices: Iterable[int]) -> "Table":
        indices = list(indices)
        return Table({name: [values[i] for i in indices] for name, values in self.columns.items()})

    def split(self, *, held_out: int) -> tuple["Table", "Table"]:
        """All rows but the last `held_out`, and those."""
        cut = len(self) - held_out
        return self.take(range(cut)), self.take(range(cut, len(self)))

    def without(self, drop: Callable[[dict[str, Any]], bool]) -> "Table":
        """The rows for which `drop(row)` is false."""
        return self.take(i for i, row in enumerate(self.rows()) if not drop(row))


@dataclass(frozen=True)
class Problems:
    """Rendered problems: their prompts, and the columns that reward functions need."""

    prompts: list[str]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.prompts)

    def repeat(self, times: int) -> "Problems":
        """Every problem `times` times, repetitions next to each other."""
        columns = {name: [value for value in values for _ in range(times)] for name, values in self.columns.items()}
        return Problems([prompt for prompt in self.prompts for _ in range(times)], columns)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task. `strict` and `flexible` grade completions (>= 1 is correct); `required` names the fields that no template
    may leave out. Without rows in `train` it only evaluates. `deviations` are other rules by name, each strict but for
    one thing: an evaluation reports them all.

    Raises (when made):
        InputError: the template names a column that the problems lack or leaves out a required one; an evaluation
        prompt occurs in training.
    """

    name: str
    train: Table
    evaluation: Table
    template: str
    strict: RewardFunction
    flexible: RewardFunction
    scheme: Scheme = "binary"
    required: tuple[str, ...] = field(default=())
    deviations: Mapping[str, RewardFunction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.evaluation):
            raise InputError(
                f"task {self.name} has no evaluation problems", mend="give it at least one evaluation problem"
            )
        for table in (self.train, self.evaluation) if len(self.train) else (self.evaluation,):
            check_template(self.template, available=table.columns, required=self.required)
        check_disjoint(self.render(self.train).prompts, self.render(self.evaluation).prompts)

    def render(self, table: Table) -> Problems:
        """The prompts of the rows of `table`."""
        return Problems([self.template.format_map(row) for row in table.rows()], table.columns)

    def training_problems(self) -> Table:
        """`train`; InputError if there are none."""
        if not len(self.train):
            raise InputError(
                f"task {self.name} has no training problems", mend="give it at least one: more rows, or --data"
            )
        return self.train

    def prompts_for_step(self, seed: int, step: int, n: int) -> Problems:
        """The `n` training problems of step `step` = 0, 1, …: every problem once an epoch, in an order that derives
        from the seed alone.

        Raises:
            InputError: the task has no training problems.
        """
        size = len(self.training_problems())
        orders: dict[int, np.ndarray] = {}
        indices = []
        for position in range(step * n, (step + 1) * n):
            epoch, place = divmod(position, size)
            if epoch not in orders:
                orders[epoch] = np.random.default_rng([seed, epoch]).permutation(size)
            indices.append(int(orders[epoch][place]))
        return self.render(self.train.take(indices))

    def evaluation_problems(self, n: int | None = None) -> Problems:
        """The first `n` held-out problems (all of them for None, or if there are fewer)."""
        size = len(self.evaluation)
        return self.render(self.evaluation.take(range(size if n is None else min(n, size))))

    def reward(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        """The training reward: the strict grade, and under the scheme "binary" 1 for a correct answer and 0 for any
        other.
        """
        grades = self.strict(prompts, completions, **columns)
        return grades if self.scheme == "three-level" else [float(grade >= CORRECT) for grade in grades]


def check_disjoint(train: Iterable[str], evaluation: Iterable[str]) -> None:
    """Raise InputError if an evaluation prompt occurs among the training prompts, case and spacing aside."""
    seen = {_plain(prompt) for prompt in train}
    if leaked := [prompt for prompt in evaluation if _plain(prompt) in seen]:
        raise InputError(
            f"{len(leaked)} evaluation prompt(s) occur in training, the first is {leaked[0][:200]!r}",
            mend="remove them from the training problems: a score on problems trained on says nothing",
        )


def check_template(template: str, *, available: Iterable[str], required: Iterable[str] = ()) -> None:
    """Raise InputError unless `template` is a format string with fields out of `available`, among them `required`."""
    available = sorted(available)
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise InputError(
            f"the prompt template is malformed: {error}", mend="write a literal brace as {{ or }}"
        ) from error
    # Conversions and formats stay in the name and are refused with it, like {nums[0]} and {nums.__class__}.
    fields = {
        f"{name}" + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
        for _, name, spec, conversion in parts
    }
    if unknown := sorted(fields.difference(available)):
        raise InputError(
            f"the prompt template asks for {_fields(unknown)}, which the problems lack",
            mend=f"use these fields: {_fields(available)}; a literal brace is {{{{ or }}}}",
        )
    if absent := sorted(set(required).difference(fields)):
        raise InputError(f"the prompt template leaves out {_fields(absent)}", mend="name each of them in the template")


def _fields(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
