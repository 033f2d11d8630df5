"""Countdown: reach a target from given numbers, each used exactly once.

Columns: `nums` (list of integers), `numbers` (the same as text, separated by spaces) and `target`. Data: the set of the
paper, Jiayi-Pan/Countdown-Tasks-3to4, or
a local file with `nums` and `target`; `generate` makes problems of the same shape without a network; `small` is the
task of the embedded model.

The strict grade follows the scorer of the paper's experiments (Jiayi-Pan/TinyZero): the last `<answer>…</answer>` on
the last line, 0 without one, 1 if it holds an expression that uses every number exactly once and comes to the target,
else 0.1. That scorer evaluates the text as Python, and this one departs where it is unsafe or unsound: values are exact
(there: within 1e-5), `**`, `//` and decimals such as `2.5` (there: the numbers 2 and 5) are wrong, an expression has at
most 256 characters, and blank lines at the end are no last line. `DEVIATIONS` are more lenient in one thing each.
"""

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np

from llm_exps.tasks import answers
from llm_exps.tasks.data import read_rows
from llm_exps.tasks.expression import ExpressionError, parse
from llm_exps.tasks.task import CORRECT, NO_ANSWER, WRONG, RewardFunction, Table, Task, lift
from llm_exps.tasks.templates import template
from rino_base.messages import InputError

HUB_NAME = "Jiayi-Pan/Countdown-Tasks-3to4"
TRAIN_SIZE, EVALUATION_SIZE = 7936, 1024  # the paper's experiments: the first 7,936 rows, then the next 1,024
SMALL_MAXIMUM, SMALL_TARGETS, SMALL_EVALUATION_SIZE = 12, range(1, 100), 512

_EXPRESSION = re.compile(r"[-(0-9][-+*/×÷·−()0-9\s]*")


def task(*, data: str = HUB_NAME, evaluation_data: str | None = None) -> Task:
    """Countdown with three or four numbers: `data` is the hub's data set, a local file, or "generated".

    Without `evaluation_data` the first 7,936 rows train and the next 1,024 evaluate; of fewer rows the last eighth
    evaluates.
    """
    size = TRAIN_SIZE + EVALUATION_SIZE
    rows = (
        generate(seed=0, n=size)
        if data == "generated"
        else _checked(read_rows(data, required=("nums", "target"), limit=size), data)
    )
    if evaluation_data is None:
        train, evaluation = rows.split(held_out=EVALUATION_SIZE if len(rows) == size else max(1, len(rows) // 8))
    else:
        held_out = read_rows(evaluation_data, required=("nums", "target"), split="test", limit=EVALUATION_SIZE)
        train, evaluation = rows, _checked(held_out, evaluation_data)
    return _task("countdown", train, evaluation, template("countdown"))


def small() -> Task:
    """The embedded model's: three ascending numbers of 1 … 12, and a target of 1 … 99 that they reach with
    `+`, `-` and `*` without parentheses. 512 of all 2,858 such problems are held out.
    """
    problems = [
        (numbers, target)
        for numbers in itertools.combinations_with_replacement(range(1, SMALL_MAXIMUM + 1), 3)
        for target in sorted({value for _, value in flat_expressions(numbers)} & set(SMALL_TARGETS))
    ]
    # Not the run's seed: every run holds out the same problems.
    order = np.random.default_rng(0).permutation(len(problems))
    rows = Table.from_rows(_row(*problems[i]) for i in order)
    train, evaluation = rows.split(held_out=SMALL_EVALUATION_SIZE)
    return _task("countdown-small", train, evaluation, template("countdown-small"))


def generate(*, seed: int, n: int) -> Table:
    """`n` distinct solvable problems shaped like the hub's: three or four numbers of 1 … 99, a target of 10 … 100, any
    of the four operators.

    A target is made by combining the numbers, so every problem has a solution; fractions and negative values on the way
    are left out, as people do.
    """
    rng = random.Random(seed)  # many single draws: numpy's generator takes ten times as long for them
    found: dict[tuple[tuple[int, ...], int], dict[str, Any]] = {}
    while len(found) < n:
        numbers = [rng.randint(1, 99) for _ in range(rng.randint(3, 4))]
        target = _combined(numbers, rng)
        if 10 <= target <= 100:
            found.setdefault(_identity(numbers, target), _row(numbers, target))
    return Table.from_rows(found.values())


def flat_expressions(numbers: Sequence[int]) -> list[tuple[str, int]]:
    """Every expression without parentheses over `+`, `-`, `*` that uses each number once, with its value; equal texts
    once.
    """
    texts = (
        " ".join(str(part) for pair in zip(order, (*operators, ""), strict=True) for part in pair).rstrip()
        for order in itertools.permutations(numbers)
        for operators in itertools.product("+-*", repeat=len(numbers) - 1)
    )
    return [(text, int(parse(text).value)) for text in dict.fromkeys(texts)]


def solve(numbers: Sequence[int], target: int) -> Iterator[str]:
    """Every way found to reach `target`, as expressions with parentheses: two terms are combined until one is left."""
    yield from _search([(Fraction(number), str(number)) for number in numbers], target)


def _search(terms: list[tuple[Fraction, str]], target: int) -> Iterator[str]:
    if len(terms) == 1:
        if terms[0][0] == target:
            yield terms[0][1]
        return
    for i, j in itertools.permutations(range(len(terms)), 2):
        rest = [term for k, term in enumerate(terms) if k not in (i, j)]
        (left, left_text), (right, right_text) = terms[i], terms[j]
        values = {"-": left - right}
        if i < j:  # + and * commute
            values |= {"+": left + right, "*": left * right}
        if right:
            values["/"] = left / right
        for operator, value in values.items():
            yield from _search([*rest, (value, f"({left_text} {operator} {right_text})")], target)


def _combined(numbers: Sequence[int], rng: random.Random) -> int:
    terms = rng.sample(numbers, len(numbers))
    while len(terms) > 1:
        left, right = terms.pop(), terms.pop()
        values = [left + right, left * right]
        if left > right:
            values.append(left - right)
        if left % right == 0:
            values.append(left // right)
        terms.append(rng.choice(values))
        rng.shuffle(terms)
    return terms[0]


def _grade(answer: str | None, nums: Sequence[int], target: int, *, synonyms: bool) -> float:
    if answer is None:
        return NO_ANSWER
    try:
        expression = parse(answer, synonyms=synonyms)
    except ExpressionError:
        return WRONG
    return CORRECT if expression.value == target and sorted(expression.numbers) == sorted(nums) else WRONG


def _grader(*, last_line_only: bool = True, innermost: bool = False, synonyms: bool = False) -> RewardFunction:
    def grade(completion: str, *, nums: Sequence[int], target: int, **_: Any) -> float:
        found = answers.tagged(completion, last_line_only=last_line_only, innermost=innermost)
        return _grade(found, nums, target, synonyms=synonyms)

    return lift(grade)


DEVIATIONS = MappingProxyType(
    {
        "any-line": _grader(last_line_only=False),
        "nested-tags": _grader(innermost=True),
        "synonyms": _grader(synonyms=True),
    }
)


def grade_strict(completion: str, *, nums: Sequence[int], target: int, **_: Any) -> float:
    """1 correct, 0.1 answered, 0 no `<answer>…</answer>` on the last line."""
    found = answers.tagged(completion, last_line_only=True, innermost=False)
    return _grade(found, nums, target, synonyms=False)


def grade_flexible(completion: str, *, nums: Sequence[int], target: int, **_: Any) -> float:
    """Like strict with every deviation, and the answer may end in `= value`, a full stop, or, without tags, be the last
    expression with an operator.
    """
    answer = answers.tagged(completion, last_line_only=False)
    if answer is None:
        candidates = (found.strip() for found in _EXPRESSION.findall(completion))
        answer = next(
            (text for text in reversed(list(candidates)) if any(sign in text[1:] for sign in "+-*/×÷·−")), None
        )
    return _grade(answer and answer.partition("=")[0].rstrip(" ."), nums, target, synonyms=True)


def _task(name: str, train: Table, evaluation: Table, prompt_template: str) -> Task:
    # The same numbers in another order are the same problem, though not the same prompt.
    held_out = {_identity(row["nums"], row["target"]) for row in evaluation.rows()}
    return Task(
        name=name,
        train=train.without(lambda row: _identity(row["nums"], row["target"]) in held_out),
        evaluation=evaluation,
        template=prompt_template,
        strict=lift(grade_strict),
        flexible=lift(grade_flexible),
        deviations=DEVIATIONS,
        required=("target",),
    )


def _identity(nums: Sequence[int], target: int) -> tuple[tuple[int, ...], int]:
    return tuple(sorted(nums)), target


def _row(nums: Sequence[int], target: int) -> dict[str, Any]:
    return {"nums": list(nums), "numbers": " ".join(map(str, nums)), "target": target}


def _checked(table: Table, source: str) -> Table:
    for count, row in enumerate(table.rows(), start=1):
        nums, target = row["nums"], row["target"]
        if not (isinstance(nums, list) and nums and all(type(value) is int for value in [*nums, target])):
            raise InputError(
                f"{source}, row {count}: nums = {nums!r}, target = {target!r}",
                mend="nums is a list of integers and target is an integer",
            )
    return Table.from_rows(_row(row["nums"], row["target"]) for row in table.rows())
