r"""MATH-500: competition problems whose answer stands in `\boxed{…}`; they evaluate only.

Columns: `problem` and `answer`. Data: HuggingFaceH4/MATH-500 on the hub, or local files with those two columns. It has
no training problems; `data` names some, such as the train split of MATH with the same columns.

Grades: 1 correct, 0.1 answered, 0 no answer. Strict compares the inside of the last `\boxed{…}` with the answer, both
in the normal form of Hendrycks et al. (`strip_string`). Flexible also takes equal numbers, and the last number where
there is no box. `DEVIATIONS` are the places where lm-evaluation-harness looks for the answer. All of them parse text;
none evaluates it.

Sources: Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset (2021), the repository
hendrycks/math, modeling/math_equivalence.py; EleutherAI/lm-evaluation-harness, lm_eval/tasks/hendrycks_math/utils.py
and lm_eval/tasks/minerva_math/utils.py.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from llm_exps.tasks import answers
from llm_exps.tasks.data import read_rows
from llm_exps.tasks.task import CORRECT, NO_ANSWER, WRONG, Table, Task, lift
from llm_exps.tasks.templates import template

HUB_NAME = "HuggingFaceH4/MATH-500"
COLUMNS = ("problem", "answer")
_BRACE = re.compile(r"[{}]")
_SLASH = re.compile(r"(0|-?[1-9][0-9]*)/(0|-?[1-9][0-9]*)")
# Commas only between groups of three digits: `1,2` is a list, and not 12.
_DECIMAL = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?")
_FRACTION = re.compile(r"(-?)\\frac\{([^{}]*)\}\{([^{}]*)\}")
_MAX_CHARACTERS = 64  # of a number; Python refuses to read very long integers
_FINAL, _HOPE = "Final Answer: The final answer is", " I hope it is correct"


def task(*, data: str | None = None, evaluation_data: str = HUB_NAME) -> Task:
    """MATH-500 from the hub or from local files `evaluation_data`; training problems are those of `data`, or none."""
    return Task(
        name="math-500",
        train=Table({}) if data is None else read_rows(data, required=COLUMNS, split="train"),
        evaluation=read_rows(evaluation_data, required=COLUMNS, split="test"),
        template=template("math-500"),
        strict=lift(grade_strict),
        flexible=lift(grade_flexible),
        deviations=DEVIATIONS,
        required=("problem",),
    )


def grade_strict(completion: str, *, answer: object, **_: Any) -> float:
    r"""1 if the inside of the last `\boxed{…}` equals `answer` in normal form, 0.1 for another one, 0 without a box."""
    return _grade(boxed(completion), answer)


def grade_flexible(completion: str, *, answer: object, **_: Any) -> float:
    """As strict, or equal as a number; without a box, the last number of the text."""
    found, expected = boxed(completion), _number(str(answer))
    if found is not None:
        equal = expected is not None and _number(found) == expected
        return CORRECT if equal else _grade(found, answer)
    last = answers.last_number(completion)
    if last is None:
        return NO_ANSWER
    return CORRECT if last == expected else WRONG


def grade_any_box(completion: str, *, answer: object, **_: Any) -> float:
    r"""As strict, but `\boxed 7` up to a `$` counts before any other box, and `\fbox{7}` where there is no `\boxed`.

    Source: lm-evaluation-harness, hendrycks_math, last_boxed_only_string, which reads the reference solutions so.
    """
    __, spaced, rest = completion.rpartition("\\boxed ")
    if spaced:
        return _grade(rest.partition("$")[0], answer)
    return _grade(boxed(completion if "\\boxed" in completion else completion.replace("\\fbox", "\\boxed")), answer)


def grade_between_dollars(completion: str, *, answer: object, **_: Any) -> float:
    """As strict, but the answer is all between the first and the last `$`, or the whole text if there are not two.

    Source: lm-evaluation-harness, hendrycks_math, process_results.
    """
    first, last = completion.find("$"), completion.rfind("$")
    return _grade(completion[first + 1 : last] if first < last else completion, answer)


def grade_final_answer(completion: str, *, answer: object, **_: Any) -> float:
    """As strict, but of the sentence "Final Answer: The final answer is …. I hope it is correct.", without its `$`.

    Source: lm-evaluation-harness, minerva_math, get_unnormalized_answer; its comparison by SymPy is not followed.
    """
    for line in (completion + _HOPE[1:] + ".").split("\n"):
        rest = line.partition(_FINAL)[2]
        end = rest.find(_HOPE, 1)
        if 0 < end < len(rest) - len(_HOPE):  # one character, of any kind, stands on either side of the hope
            return _grade(rest[: end - 1].strip().strip("$"), answer)
    return NO_ANSWER


DEVIATIONS = MappingProxyType(
    {
        "any-box": lift(grade_any_box),
        "between-dollars": lift(grade_between_dollars),
        "final-answer": lift(grade_final_answer),
    }
)


def boxed(text: str) -> str | None:
    r"""The inside of the last `\boxed{…}`, in linear time; None without one, or if its braces never close."""
    _, found, rest = text.rpartition("\\boxed{")
    depth = 1
    for brace in _BRACE.finditer(rest) if found else ():
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return rest[: brace.start()]
    return None


def same(left: str, right: str) -> bool:
    """Equal in normal form; as they stand if one of them has none."""
    forms = normal_form(left), normal_form(right)
    return left == right if None in forms else forms[0] == forms[1]


def normal_form(text: str) -> str | None:
    r"""The text as Hendrycks et al. compare it; None where their program fails (two `\text{ `, a `\sqrt` or `\frac` of
    nothing), and the texts are compared as they stand.

    Source: hendrycks/math, modeling/math_equivalence.py, _strip_string, step by step. lm-evaluation-harness has the
    same but that it compares `x/y` as it stands where x or y is no integer. Here a bare `%` is dropped like `\%`; both
    keep it, for they write `"\%"` twice.
    """
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for dropped in ("\\left", "\\right", "^{\\circ}", "^\\circ", "\\$"):
        text = text.replace(dropped, "")
    text, *units = text.split("\\text{ ")
    if len(units) > 1:
        return None
    text = text.replace("\\%", "").replace("%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = "0" + text
    name, *values = text.split("=")
    if len(values) == 1 and len(name) <= 2:
        text = values[0]
    braced = _arguments(text, "\\sqrt", _root)
    if braced is None:
        return None
    braced = _arguments(braced.replace(" ", ""), "\\frac", _fraction)
    if braced == "0.5":
        return "\\frac{1}{2}"
    slash = None if braced is None else _SLASH.fullmatch(braced)
    return braced if slash is None else f"\\frac{{{slash[1]}}}{{{slash[2]}}}"


def _arguments(text: str, command: str, brace: Callable[[str], str]) -> str | None:
    head, *tails = text.split(command)
    for tail in tails:
        if not tail:
            return None
        if command == "\\frac" and len(tail) < 2 and tail != "{":
            return text  # a single argument: theirs leaves all as they are
    return head + "".join(command + brace(tail) for tail in tails)


def _root(tail: str) -> str:
    return tail if tail[0] == "{" else f"{{{tail[0]}}}{tail[1:]}"


def _fraction(tail: str) -> str:
    if tail[0] == "{":
        return tail
    return f"{{{tail[0]}}}{tail[1:]}" if tail[1] == "{" else f"{{{tail[0]}}}{{{tail[1]}}}{tail[2:]}"


def _number(text: str) -> Fraction | None:
    r"""The normal form as an exact number: a decimal, `\frac{1}{2}` or `1/2` of decimals."""
    form = normal_form(text)
    if form is None or len(form) > _MAX_CHARACTERS:
        return None
    form = form.replace("$", "").replace("{,}", ",").replace("−", "-").rstrip(".")
    if fraction := _FRACTION.fullmatch(form):
        sign, above, below = fraction[1], _decimal(fraction[2]), _decimal(fraction[3])
    else:
        left, slash, right = form.partition("/")
        sign, above, below = "", _decimal(left), _decimal(right) if slash else Fraction(1)
    if above is None or not below:
        return None
    return -above / below if sign else above / below


def _decimal(text: str) -> Fraction | None:
    return Fraction(text.replace(",", "")) if _DECIMAL.fullmatch(text) else None


def _grade(found: str | None, answer: object) -> float:
    if found is None:
        return NO_ANSWER
    return CORRECT if same(found, str(answer)) else WRONG
