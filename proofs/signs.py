"""The sign of an expression, where sums and integrals of terms of one sign have that sign too."""

from typing import Literal

from sympy import Add, Dummy, Expr, Integral, Mul, Sum, expand, fraction, together

Sign = Literal["positive", "nonnegative", "unknown"]


def sign(expression: Expr) -> Sign:
    """Whether the expression is known to be positive, or not negative.

    SymPy does not look into sums and integrals. A sum is decided by its summand where its range is known to be
    whole: beyond that, the convention for reversed ranges turns the sign around.
    """
    if expression.is_positive:
        return "positive"
    if expression.is_nonnegative:
        return "nonnegative"
    if isinstance(expression, Sum | Integral):
        return _of_range(expression)
    found = _of_parts(expression) if isinstance(expression, Add | Mul) else "unknown"
    if found == "unknown" and not expression.has(Sum, Integral):
        numerator, denominator = fraction(counted_from_0(together(expression)))
        counted = expand(numerator) / expand(denominator)
        return _of_parts(counted) if isinstance(counted, Add | Mul) else "unknown"
    return found


def counted_from_0(expression: Expr) -> Expr:
    """The expression with n + 1 for each positive integer, n ≥ 0: then SymPy knows that G + m − 1 is positive."""
    letters = [x for x in expression.free_symbols if x.is_integer and x.is_positive]
    return expression.xreplace({x: Dummy(x.name, integer=True, nonnegative=True) + 1 for x in letters})


def _of_range(total: Sum | Integral) -> Sign:
    """Over at least one term, or a length that is positive, a sum or an integral keeps the sign; else the weak one."""
    inner = sign(total.function)
    if inner == "unknown" and len(total.limits) == 1:
        inner = sign(_inside(total))
    lengths = [high - low + (1 if isinstance(total, Sum) else 0) for _, low, high in total.limits]
    if inner == "unknown" or not all(length.is_nonnegative for length in lengths):
        return "unknown"
    return inner if all(length.is_positive for length in lengths) else "nonnegative"


def _inside(total: Sum | Integral) -> Expr:
    """The summand with letters that know that the index lies between the ends: k - low ≥ 0 and high - k ≥ 0."""
    index, low, high = total.limits[0]
    counts = isinstance(total, Sum)
    after, left = (Dummy(name, integer=counts or None, nonnegative=True) for name in ("after", "left"))
    size, more = high.as_independent(*high.free_symbols, as_Add=True)[::-1]
    summand = total.function
    if size.is_Symbol and not low.has(size):
        summand = summand.subs({size: low + after + left - more, index: low + after}, simultaneous=True)
    else:
        summand = summand.xreplace({high - index: left}).subs(index, low + after)
    return summand


def _of_parts(expression: Add | Mul) -> Sign:
    numbers = [part for part in expression.args if part.is_number]
    signs = [_known(part) for part in expression.args if not part.is_number]
    signs += [_known(expression.func(*numbers))] if numbers else []
    if "unknown" in signs:
        return "unknown"
    decided = all if isinstance(expression, Mul) else any
    return "positive" if decided(found == "positive" for found in signs) else "nonnegative"


def _known(part: Expr) -> Sign:
    """The sign of a part of a sum or product: of a sum or an integral by its summand."""
    if part.is_positive:
        return "positive"
    if part.is_nonnegative:
        return "nonnegative"
    if isinstance(part, Add | Mul) and not part.is_number:
        return _of_parts(part)
    return _of_range(part) if isinstance(part, Sum | Integral) else "unknown"
