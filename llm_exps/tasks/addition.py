"""Additions: the smallest task on which a pretrained model of a hundred million parameters moves within minutes.
Columns: `a`, `b`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from llm_exps.tasks import answers
from llm_exps.tasks.task import CORRECT, NO_ANSWER, WRONG, Table, Task, lift
from llm_exps.tasks.templates import template


def small() -> Task:
    """a = 0 … 19 and b = 0 … 9: 160 additions to train on, 40 held out."""
    return _task("addition", range(20), range(10), held_out=40)


def two_digit() -> Task:
    """a, b = 10 … 99: 7,588 additions to train on, 512 held out."""
    return _task("addition-two-digit", range(10, 100), range(10, 100), held_out=512)


def grade_strict(completion: str, *, a: int, b: int, **_: Any) -> float:
    """1 if the first line is the sum and nothing else, 0.1 for another number, 0 for anything else."""
    return _grade(answers.number(completion.strip().partition("\n")[0]), a, b)


def grade_flexible(completion: str, *, a: int, b: int, **_: Any) -> float:
    """The same for the first number anywhere in the completion: what follows it is often the next question."""
    return _grade(answers.first_number(completion), a, b)


def _grade(found: Fraction | None, a: int, b: int) -> float:
    if found is None:
        return NO_ANSWER
    return CORRECT if found == a + b else WRONG


def _task(name: str, left: Sequence[int], right: Sequence[int], *, held_out: int) -> Task:
    rows = Table.from_rows({"a": a, "b": b} for a in left for b in right)
    # not the run's seed: every run holds out the same additions
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    return Task(
        name=name,
        train=rows.take(order[held_out:]),
        evaluation=rows.take(order[:held_out]),
        template=template("addition"),
        strict=lift(grade_strict),
        flexible=lift(grade_flexible),
        required=("a", "b"),
    )
