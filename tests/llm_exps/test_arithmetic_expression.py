"""The grammar accepts ordinary arithmetic with the right value, and nothing else, whatever a model writes."""

import contextlib
import operator
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.tasks.expression import MAX_DEPTH, MAX_DIGITS, MAX_LENGTH, ExpressionError, parse

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


@st.composite
def written(draw, depth=3):
    """An expression's text with redundant parentheses, its value (None: divides by zero), its integers."""
    if depth == 0 or draw(st.booleans()):
        value = draw(st.integers(0, 120))
        return str(value), Fraction(value), [value]
    left, left_value, left_numbers = draw(written(depth=depth - 1))
    right, right_value, right_numbers = draw(written(depth=depth - 1))
    sign = draw(st.sampled_from("+-*/"))
    text = f"({left}{draw(st.sampled_from(['', ' ']))}{sign} {right})"
    undefined = left_value is None or right_value is None or (sign == "/" and right_value == 0)
    value = None if undefined else OPERATORS[sign](left_value, right_value)
    return text, value, left_numbers + right_numbers


@given(written())
def test_values_and_numbers(case):
    text, value, numbers = case
    if value is None:
        with pytest.raises(ExpressionError, match="zero"):
            parse(text)
    else:
        assert parse(text) == (value, tuple(numbers))


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), min_size=1, max_size=8), st.integers(0, 99))
def test_precedence_without_parentheses(tail, head):
    text = f"{head}" + "".join(f" {sign} {number}" for sign, number in tail)
    assert parse(text).value == eval(text)  # the text was made here, of digits and signs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8 - 3 - 2", 3),
        ("8 / 4 / 2", 1),
        ("2 × 3 ÷ 4 − 1", Fraction(1, 2)),
        ("1 / 3 + 1 / 3 + 1 / 3", 1),
        ("-3 + 5", 2),
        ("2 * -3", -6),
        ("- - 4", 4),
        ("((((7))))", 7),
        ("\t1\n+ 2 ", 3),
    ],
)
def test_by_hand(text, value):
    assert parse(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "9 ** 9",
        "7 // 2",
        "__import__('os').system('true')",
        "1 if 1 else 2",
        "1e9",
        "0x10",
        "3.0",
        "1,000",
        "2(3)",
        "(2)(3)",
        "3 4",
        "٣ + ٤",  # Arabic-Indic digits: int() would take them
        "²",
        "１ + ２",  # full-width digits
        "1 + 2 = 3",
        "",
        " ",
        "+",
        "1 +",
        "(1",
        "1)",
        ")(",
        "1 / 0",
        "1 / (2 - 2)",
        "0 / 0",
        "1\x00+ 2",
    ],
)
def test_refused(text):
    with pytest.raises(ExpressionError):
        parse(text)


def test_limits():
    assert parse("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH).value == 1
    assert parse("9" * MAX_DIGITS).value == 10**MAX_DIGITS - 1
    for text in (
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
        "-" * (MAX_DEPTH + 1) + "1",
        "9" * (MAX_DIGITS + 1),
    ):
        with pytest.raises(ExpressionError):
            parse(text)
    with pytest.raises(ExpressionError, match="characters"):
        parse("1" + "+1" * MAX_LENGTH)


@pytest.mark.parametrize(
    "text", ["(" * 10**6, "9" * 10**6, "-" * 10**6, "1+" * 10**6, "9" * 200 + "*9", "9*" * 127 + "9"]
)
def test_long_texts_take_no_time(text):
    start = time.process_time()
    with contextlib.suppress(ExpressionError):
        parse(text)
    assert time.process_time() - start < 2  # microseconds where a limit stops it, hours where none does


@given(st.text(alphabet="0123456789+-*/()×÷−· \n", max_size=300) | st.text(max_size=300))
def test_any_text_parses_or_is_refused(text):
    try:
        expression = parse(text)
    except ExpressionError:
        return
    assert isinstance(expression.value, Fraction)
    assert all(number >= 0 for number in expression.numbers)
