"""Word problems of GSM8K's shape: two to four steps over small whole numbers, with a worked answer that ends in `####
n`.

For training without a network; evaluation belongs to questions that no one here wrote.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from llm_exps.tasks.task import Table

# fmt: off
_NAMES = (
    "Ada", "Ben", "Carla", "Dmitri", "Elif", "Femi", "Grace", "Hiro", "Ines", "Jonas", "Kavya", "Liam", "Mei",
    "Nora", "Omar", "Priya", "Rosa", "Sam", "Uma", "Zoe",
)
_THINGS = (
    "apples", "books", "candles", "cookies", "eggs", "flowers", "marbles", "muffins", "notebooks", "oranges",
    "pencils", "shells", "toys",
)
# fmt: on

Draw = Callable[[int, int], int]  # a whole number between two bounds, both included


@dataclass(frozen=True)
class Family:
    """One family of problems. `{…}` are names, things and the values; `[{a} * {b} = {c}]` is a step of arithmetic,
    written with GSM8K's calculator mark.
    """

    question: str
    working: str
    values: Callable[[Draw], Mapping[str, int]]  # the value `answer` is the answer

    def make(self, rng: np.random.Generator) -> dict[str, str]:
        """One problem: `question` and `answer`."""
        name, other = rng.choice(_NAMES, size=2, replace=False)
        values = self.values(lambda low, high: int(rng.integers(low, high + 1)))
        words = {"name": name, "other": other, "things": rng.choice(_THINGS)}
        parts = self.working.format_map({**values, **words}).replace("]", "[").split("[")
        working = "".join(_marked(part) if i % 2 else part for i, part in enumerate(parts))
        return {
            "question": self.question.format_map({**values, **words}),
            "answer": f"{working}\n#### {values['answer']}",
        }


def generate(*, seed: int, n: int) -> Table:
    """`n` problems with distinct questions: columns `question` and `answer`, as in openai/gsm8k."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < n:
        row = FAMILIES[rng.integers(len(FAMILIES))].make(rng)
        rows.setdefault(row["question"], row)
    return Table.from_rows(rows.values())


def _marked(step: str) -> str:
    """`3 + 4 = 7` as `3 + 4 = <<3+4=7>>7`."""
    terms, _, value = step.partition(" = ")
    return f"{terms} = <<{terms.replace(' ', '')}={value}>>{value}"


def _gift(draw: Draw) -> dict[str, int]:
    start, found = draw(20, 90), draw(5, 40)
    given = draw(3, start - 5)
    return {"start": start, "found": found, "given": given, "left": start - given, "answer": start - given + found}


def _boxes(draw: Draw) -> dict[str, int]:
    boxes, each, broken = draw(3, 12), draw(4, 24), draw(2, 10)
    return {"boxes": boxes, "each": each, "broken": broken, "total": boxes * each, "answer": boxes * each - broken}


def _change(draw: Draw) -> dict[str, int]:
    count, price, answer = draw(2, 9), draw(2, 9), draw(1, 40)
    return {"count": count, "price": price, "cost": count * price, "paid": count * price + answer, "answer": answer}


def _share(draw: Draw) -> dict[str, int]:
    children, answer, kept = draw(3, 9), draw(3, 15), draw(2, 12)
    return {
        "children": children,
        "kept": kept,
        "shared": children * answer,
        "total": children * answer + kept,
        "answer": answer,
    }


def _wages(draw: Draw) -> dict[str, int]:
    wage, friday, saturday = draw(8, 25), draw(4, 9), draw(2, 8)
    hours = friday + saturday
    return {"wage": wage, "friday": friday, "saturday": saturday, "hours": hours, "answer": hours * wage}


def _sales(draw: Draw) -> dict[str, int]:
    monday, times, fewer = draw(6, 30), draw(2, 5), draw(1, 5)
    tuesday = times * monday
    wednesday = tuesday - fewer
    answer = monday + tuesday + wednesday
    return {
        "monday": monday,
        "times": times,
        "fewer": fewer,
        "tuesday": tuesday,
        "wednesday": wednesday,
        "answer": answer,
    }


def _discount(draw: Draw) -> dict[str, int]:
    percent, price, count = draw(1, 9) * 10, draw(2, 30) * 10, draw(2, 6)
    off = price * percent // 100
    return {
        "percent": percent,
        "price": price,
        "count": count,
        "off": off,
        "each": price - off,
        "answer": count * (price - off),
    }


def _journey(draw: Draw) -> dict[str, int]:
    speed, hours, answer = draw(30, 80), draw(2, 6), draw(10, 90)
    return {"speed": speed, "hours": hours, "driven": speed * hours, "way": speed * hours + answer, "answer": answer}


def _friends(draw: Draw) -> dict[str, int]:
    half, times = draw(5, 40), draw(2, 4)
    return {"total": 2 * half, "half": half, "times": times, "third": times * half, "answer": 3 * half + times * half}


def _savings(draw: Draw) -> dict[str, int]:
    weeks, income, spent = draw(4, 12), draw(10, 30), draw(2, 9)
    return {
        "weeks": weeks,
        "income": income,
        "spent": spent,
        "kept": income - spent,
        "answer": weeks * (income - spent),
    }


FAMILIES = (
    Family(
        "{name} has {start} {things} and gives {given} of them to {other}. Later {name} finds {found} more. "
        "How many {things} does {name} have now?",
        "After the gift [{start} - {given} = {left}] {things} are left.\nThen there are [{left} + {found} = {answer}].",
        _gift,
    ),
    Family(
        "{name} buys {boxes} boxes with {each} {things} in each. {broken} of the {things} are damaged and thrown away. "
        "How many {things} are left?",
        "The boxes hold [{boxes} * {each} = {total}] {things}.\nOf these [{total} - {broken} = {answer}] are left.",
        _boxes,
    ),
    Family(
        "At a fair {things} cost ${price} each. {name} buys {count} of them and pays with ${paid}. "
        "How many dollars of change does {name} get?",
        "The price is [{count} * {price} = {cost}] dollars.\nThe change is [{paid} - {cost} = {answer}] dollars.",
        _change,
    ),
    Family(
        "{name} has {total} {things}, keeps {kept} of them and shares the rest equally among {children} children. "
        "How many {things} does each child get?",
        "To share there are [{total} - {kept} = {shared}] {things}.\n"
        "Each child gets [{shared} / {children} = {answer}].",
        _share,
    ),
    Family(
        "{name} earns ${wage} an hour. On Friday {name} works {friday} hours and on Saturday {saturday} hours. "
        "How many dollars does {name} earn on the two days together?",
        "Together these are [{friday} + {saturday} = {hours}] hours.\nThey earn [{hours} * {wage} = {answer}] dollars.",
        _wages,
    ),
    Family(
        "On Monday {name} sells {monday} {things}, on Tuesday {times} times as many, and on Wednesday {fewer} fewer "
        "than on Tuesday. How many {things} does {name} sell in the three days?",
        "On Tuesday [{times} * {monday} = {tuesday}] are sold.\n"
        "On Wednesday [{tuesday} - {fewer} = {wednesday}] are sold.\n"
        "Together these are [{monday} + {tuesday} + {wednesday} = {answer}].",
        _sales,
    ),
    Family(
        "A jacket costs ${price}. In a sale it is {percent}% cheaper. "
        "How many dollars do {count} jackets cost in the sale?",
        "The discount is [{price} * {percent} / 100 = {off}] dollars.\n"
        "A jacket then costs [{price} - {off} = {each}] dollars.\n"
        "All of them cost [{count} * {each} = {answer}] dollars.",
        _discount,
    ),
    Family(
        "{name} drives to a town {way} miles away at {speed} miles an hour. "
        "How many miles are left after {hours} hours?",
        "In that time [{speed} * {hours} = {driven}] miles are driven.\n"
        "Then [{way} - {driven} = {answer}] miles are left.",
        _journey,
    ),
    Family(
        "{name} has {total} {things}. {other} has half as many, and a third friend {times} times as many as {other}. "
        "How many {things} do the three have together?",
        "{other} has [{total} / 2 = {half}].\nThe third friend has [{times} * {half} = {third}].\n"
        "Together they have [{total} + {half} + {third} = {answer}].",
        _friends,
    ),
    Family(
        "Every week {name} gets ${income} of pocket money and spends ${spent} of it. "
        "How many dollars has {name} saved after {weeks} weeks?",
        "Each week [{income} - {spent} = {kept}] dollars are kept.\n"
        "After {weeks} weeks these are [{weeks} * {kept} = {answer}] dollars.",
        _savings,
    ),
)
