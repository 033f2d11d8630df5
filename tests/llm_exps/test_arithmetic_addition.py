"""Additions: all of them, none twice, and their two parsers."""

import pytest

from llm_exps.tasks import CORRECT, NO_ANSWER, WRONG, load_task
from llm_exps.tasks import addition as room


@pytest.mark.parametrize(
    ("completion", "strict", "flexible"),
    [
        ("12", CORRECT, CORRECT),
        (" 12\n13+", CORRECT, CORRECT),
        ("12+1=", NO_ANSWER, CORRECT),
        ("is 12", NO_ANSWER, CORRECT),
        ("13", WRONG, WRONG),
        ("\n", NO_ANSWER, NO_ANSWER),
    ],
)
def test_grades(completion, strict, flexible):
    assert room.grade_strict(completion, a=5, b=7) == strict
    assert room.grade_flexible(completion, a=5, b=7) == flexible


@pytest.mark.parametrize(("name", "count"), [("addition", 20 * 10), ("addition-two-digit", 90 * 90)])
def test_every_addition_is_in_one_split(name, count):
    task = load_task(name)
    pairs = [(row["a"], row["b"]) for table in (task.train, task.evaluation) for row in table.rows()]
    assert len(pairs) == len(set(pairs)) == count
    a, b = pairs[0]
    assert task.prompts_for_step(0, 0, count).prompts.count(f"{a}+{b}=") in (1, 2)  # the order starts a second epoch
