"""Arithmetic expressions, parsed by a grammar and valued in exact rational arithmetic; nothing is ever evaluated as
code.

    sum     := product (("+" | "-") product)*
    product := signed (("*" | "/") signed)*
    signed  := ("+" | "-")* atom
    atom    := integer | "(" sum ")"

With `synonyms`, `×`, `·` and `÷` mean `*` and `/`, the minus sign `−` means `-`, and an integer may begin with zeros.
Without, a full stop may end an integer, as in Python: `(3 + 4.) * 2.`. What a model writes is hostile until shown
otherwise: the length of the text, the
depth of nesting and the digits of a number are limited, so that neither time nor memory depends on what it wrote.
Integers are ASCII digits only
(`str.isdigit` also accepts `²` and `٣`). There is no `**`, no `//`, no decimal point and no implied product.
"""

import re
from fractions import Fraction
from typing import NamedTuple

MAX_LENGTH = 256
MAX_DEPTH = 32
MAX_DIGITS = 12

_SYNONYMS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_STOP = re.compile(r"(?<=[0-9])\.(?![0-9.])")
_ZEROS = re.compile(r"(?<![0-9])0+[1-9](?![0-9]*\.)")  # Python refuses `03`, but reads `03.` and `00`
_STRAY = re.compile(r"[^-+*/()0-9\s]")


class ExpressionError(ValueError):
    """The text is no expression of the grammar, exceeds a limit, or divides by zero."""


class Expression(NamedTuple):
    """What an expression comes to, and the integers written in it, in the order of the text."""

    value: Fraction
    numbers: tuple[int, ...]


def parse(text: str, *, synonyms: bool = True) -> Expression:
    """Parse `text` and value it exactly; `synonyms` reads what people write, else only what Python reads.

    Raises:
        ExpressionError: not in the grammar, longer than `MAX_LENGTH` characters, nested deeper than `MAX_DEPTH` signs
        and parentheses, a number of more
            than `MAX_DIGITS` digits, or a division by zero.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{len(text)} characters; at most {MAX_LENGTH} are read")
    parser = _Parser(_tokens(text.translate(_SYNONYMS) if synonyms else _STOP.sub("", text)))
    value = parser.sum(0)
    if parser.next is not None:
        raise ExpressionError(f"unexpected {parser.next!r}")
    if not synonyms and _ZEROS.search(text):
        raise ExpressionError("an integer begins with a zero")
    return Expression(value, tuple(parser.numbers))


def _tokens(text: str) -> list[str]:
    if stray := _STRAY.search(text):
        raise ExpressionError(f"unexpected {stray.group()!r}")
    return _TOKEN.findall(text)


class _Parser:
    """Recursive descent over the tokens; `depth` counts signs and open parentheses, which bounds Python's recursion."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0
        self.numbers: list[int] = []

    @property
    def next(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while self.next in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            value += sign * self._product(depth)
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._signed(depth)
        while self.next in ("*", "/"):
            if self._take() == "*":
                value *= self._signed(depth)
                continue
            divisor = self._signed(depth)
            if divisor == 0:
                raise ExpressionError("division by zero")
            value /= divisor
        return value

    def _signed(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        token = self._take()
        if token == "-":
            return -self._signed(depth + 1)
        if token == "+":
            return self._signed(depth + 1)
        if token == "(":
            value = self.sum(depth + 1)
            if self._take() != ")":
                raise ExpressionError("a parenthesis is not closed")
            return value
        if token is None or token in "+-*/()":
            raise ExpressionError("ends too early" if token is None else f"unexpected {token!r}")
        if len(token) > MAX_DIGITS:
            raise ExpressionError(f"a number of {len(token)} digits; at most {MAX_DIGITS} are read")
        self.numbers.append(int(token))
        return Fraction(self.numbers[-1])

    def _take(self) -> str | None:
        token = self.next
        self._position += 1
        return token
