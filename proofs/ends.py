"""Whether an identity that a tactic found also holds at the ends of ranges and at the smallest sizes.

The tactics divide one term by another and compare what is left. A quotient of binomials that is right for every size
large enough may be wrong, or 0/0, where an argument leaves its range: `binomial(k-1, k-2)` is `k - 1` but not at k = 0.
So what they call zero is evaluated once more with every sum written out, at the smallest admissible sizes and the
next: there the first and the last terms of every range are met, k = 0 and k = G among them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice, product

from sympy import (
    Add,
    Derivative,
    Expr,
    Integer,
    Integral,
    Limit,
    Mul,
    Product,
    Rational,
    Subs,
    Sum,
    Symbol,
    nan,
    oo,
    zoo,
)
from sympy.core.function import AppliedUndef

_POINTS = 40
_DIGITS = 40
_LONGEST = 12


def refuted_at(expression: Expr) -> Mapping[Symbol, Expr] | None:
    """Return sizes at which `expression`, claimed to be zero, is not zero or has no value; None if there are none.

    Expressions that still hold a derivative of something other than an unknown function, a limit or an integral
    cannot be written out, and are not judged.
    """
    if expression.has(Limit, Integral, Subs) or any(not d.expr.is_Function for d in expression.atoms(Derivative)):
        return None
    for sizes in _sizes(expression):
        written = _written_out(expression.subs(sizes))
        if written is not None and not _is_zero(written):
            return sizes
    return None


def _sizes(expression: Expr) -> Iterator[Mapping[Symbol, Expr]]:
    """The smallest values of the free integers first, then the next ones."""
    integers = sorted((letter for letter in expression.free_symbols if letter.is_integer), key=str)
    starts = [_smallest(letter) for letter in integers]
    offsets = sorted(product(range(4), repeat=len(integers)), key=lambda offset: (max(offset, default=0), sum(offset)))
    for offset in islice(offsets, _POINTS):
        yield {letter: Integer(start + more) for letter, start, more in zip(integers, starts, offset, strict=True)}


def _smallest(letter: Symbol) -> int:
    if letter.is_positive:
        return 1
    return 0 if letter.is_nonnegative else -1


def _written_out(expression: Expr) -> Expr | None:
    """The expression with its sums and products written out; None where a range has no known number of terms."""
    if not expression.has(Sum, Product):
        return expression
    if isinstance(expression, Sum | Product):
        terms = _terms(expression)
        combine = Add if isinstance(expression, Sum) else Mul
        return None if terms is None else combine(*terms)
    parts = [_written_out(part) for part in expression.args]
    return None if any(part is None for part in parts) else expression.func(*parts)


def _terms(total: Sum | Product) -> list[Expr] | None:
    """The terms of the outermost range, each written out; a reversed range counts backwards (Karr's convention)."""
    *inner, (index, low, high) = total.limits
    low, high = _counted(low), _counted(high)
    if not (low.is_Integer and high.is_Integer) or abs(high - low) > _LONGEST:
        return None
    term = total.func(total.function, *inner) if inner else total.function
    backwards = high < low - 1
    points = range(int(high) + 1, int(low)) if backwards else range(int(low), int(high) + 1)
    written = [_written_out(term.subs(index, point)) for point in points]
    if any(part is None for part in written):
        return None
    inverse = (lambda part: -part) if isinstance(total, Sum) else (lambda part: 1 / part)
    return [inverse(part) for part in written] if backwards else written


def _counted(bound: Expr) -> Expr:
    """A bound with a small integer in the place of each unknown function of integer values, such as a length."""
    return bound.xreplace({part: Integer(1 + _hash(str(part)) % 2) for part in bound.atoms(AppliedUndef)})


def _is_zero(expression: Expr) -> bool:
    """Unknown functions and letters become numbers of their own; the value is exact, or has 40 digits."""
    unknown = sorted(expression.atoms(Derivative) | expression.atoms(AppliedUndef), key=str)
    numbers = {part: _number(part) for part in unknown}
    outer = expression.xreplace(numbers)
    value = outer.subs({letter: _number(letter) for letter in outer.free_symbols})
    if value.has(nan, zoo, oo, -oo):
        return False
    if value.is_Rational:
        return bool(value == 0)
    return abs(complex(value.evalf(_DIGITS))) < 10 ** (-_DIGITS / 2)


def _number(part: Expr) -> Expr:
    """A number between 0 and 1 that depends on the name alone, so that a rerun does the same; of integers a small "
    "one."""
    if isinstance(part, AppliedUndef) and part.is_integer:
        return _counted(part)
    return Rational(1 + _hash(str(part)) % 997, 1009)


def _hash(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
