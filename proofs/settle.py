"""Bring an expression to zero if it is zero: the one simplifier behind every check.

SymPy's `simplify` alone does not see that two sums over a symbolic range agree when their indices are shifted, or that
two terms with binomials differ by a rational factor. The tactics below do, each by an identity of generic terms; what
they find is then written out at the smallest sizes, where the first and last terms of every range are (`proofs.ends`).
Whatever is left when they are through is returned, and the step that asked fails with it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Literal

from sympy import (
    Add,
    Basic,
    Derivative,
    Dummy,
    Expr,
    Integral,
    KroneckerDelta,
    Limit,
    Mul,
    Ne,
    Piecewise,
    S,
    Subs,
    Sum,
    binomial,
    expand,
    factor,
    fraction,
    gammasimp,
    powsimp,
    simplify,
    solve,
    together,
)
from sympy.core.function import AppliedUndef

from proofs.ends import refuted_at
from proofs.signs import counted_from_0, sign

Hypotheses = Mapping[Sum, Expr]
Anchor = Literal["none", "low", "high", "argument"]


def carry_out(expression: Expr) -> Expr:
    """Do the derivatives, substitutions, limits, integrals and elementary sums that the expression asks for.

    Like `doit`, but sums with binomials or without a closed form stay sums: SymPy answers those by case distinctions.
    """
    if not expression.args or not expression.has(Derivative, Integral, Limit, Subs, Sum):
        return expression
    done = expression.func(*map(carry_out, expression.args))
    if isinstance(done, Sum):
        if len(done.limits) == 1 and done.function.has(KroneckerDelta):
            return Add(*(_picked_out(term, done.limits[0]) for term in Add.make_args(expand(done.function))))
        if len(done.limits) == 1 and done.function.has(Sum):
            return Add(*(_pulled_out(term, done.limits[0]) for term in Add.make_args(expand(done.function))))
        # SymPy searches long for the sum of a function that it knows nothing of.
        unknown = done.has(binomial) or done.function.atoms(AppliedUndef)
        countable = all(bound.is_Integer for _, *bounds in done.limits for bound in bounds)
        closed = done.doit(deep=False) if countable or not unknown else done
        if closed.has(Piecewise) or closed == done:
            return _pulled_out(done.function, done.limits[0]) if len(done.limits) == 1 else done
        return closed
    if isinstance(done, Derivative | Integral | Limit | Subs):
        result = done.doit(deep=False)
        return result if result == done else carry_out(result)
    return done


def _picked_out(term: Expr, range_: tuple) -> Expr:
    """The sum of one term; a Kronecker delta picks the one index that it allows, where that is in the range."""
    index, low, high = range_
    for delta in Mul.make_args(term):
        if isinstance(delta, KroneckerDelta) and (delta.args[0] - delta.args[1]).coeff(index) in (1, -1):
            (chosen,) = solve(delta.args[0] - delta.args[1], index)
            if (chosen - low).is_nonnegative and (high - chosen).is_nonnegative:
                return (term / delta).subs(index, chosen)
    return Sum(term, range_)


def _pulled_out(term: Expr, range_: tuple) -> Expr:
    """The sum of one term, its constant factors in front of it."""
    index, low, high = range_
    constant, rest = term.as_independent(index, as_Add=False)
    return constant * (high - low + 1 if rest == 1 else Sum(rest, range_))


def settle(expression: Expr, given: Mapping[Basic, Basic] | None = None) -> Expr:
    """Return 0 if a tactic reduces `expression` to 0; else a form whose sign is manifest, or else the shortest one.

    `given` holds hypotheses `sum: its value`; they are subtracted from the expression in the multiple that cancels it.
    A form that a tactic found counts only if it also holds at the ends of ranges and at the smallest sizes.
    """
    sums = frozenset((left, right) for left, right in (given or {}).items() if isinstance(left, Sum))
    return _settled(expression, sums)


@cache
def _settled(expression: Expr, given: frozenset[tuple[Sum, Expr]]) -> Expr:
    if expression.is_number and (expression.is_positive or expression.is_negative):
        return expression
    forms = [expression]
    for form, used in _forms(expression, dict(sorted(given, key=str))):
        if form == expression:
            continue
        if (form == 0 or sign(form) != "unknown") and refuted_at(expression - used - form) is None:
            return form
        forms.append(form)
    return min((form for form in forms if form != 0), key=lambda form: form.count_ops(), default=expression)


def _forms(expression: Expr, sums: Hypotheses) -> Iterator[tuple[Expr, Expr]]:
    """Other forms of the expression, the cheapest first, each with what the hypotheses took off (a sum of zeros).

    `simplify` is no help with sums: it takes minutes.
    """
    yield expand(expression), S.Zero
    if expression.has(Sum):
        for anchor in _anchors((expression, *sums)):
            yield _merge(expression, sums, anchor)
    else:
        yield _divide_out(expression), S.Zero
        yield factor(expression), S.Zero
        if expression.has(Piecewise):
            yield _by_cases(expression), S.Zero
        simple = simplify(expression)
        yield simple, S.Zero
        if simplify(counted_from_0(simple)) == 0:
            yield S.Zero, S.Zero


def _by_cases(expression: Expr) -> Expr:
    """0 if the expression is 0 for letters that are not 0 and for those that are; SymPy integrates by such cases."""
    conditions = {condition for part in expression.atoms(Piecewise) for _, condition in part.args}
    for condition in conditions:
        if not isinstance(condition, Ne) or len(condition.free_symbols) != 1:
            continue
        (letter,) = condition.free_symbols
        for point in solve(condition.lhs - condition.rhs, letter):
            other = expression.subs(letter, point + Dummy(letter.name, real=True, nonzero=True))
            if not other.has(Piecewise) and settle(other) == 0 and settle(expression.subs(letter, point)) == 0:
                return S.Zero
    return expression


def _anchors(expressions: Iterable[Expr]) -> Iterator[Anchor]:
    """How the indices can be moved to make the ranges of the sums agree, where they do not, or what is summed."""
    expressions = tuple(expressions)
    ranges = [range_ for expression in expressions for total in expression.atoms(Sum) for range_ in total.limits]
    yield "none"
    if len({low for _, low, _ in ranges}) > 1:
        yield "low"
    if len({high.as_coeff_Add()[0] for *_, high in ranges}) > 1:
        yield "high"
    if any(total.function.atoms(AppliedUndef) for expression in expressions for total in expression.atoms(Sum)):
        yield "argument"


def _divide_out(expression: Expr) -> Expr:
    """Divide the terms of the numerator by the first: with binomials and symbolic powers, quotients are rational."""
    numerator, denominator = fraction(together(expression))
    first, *others = Add.make_args(expand(numerator))
    return first * factor(Add(S.One, *(_quotient(term, first) for term in others))) / denominator


def _quotient(term: Expr, other: Expr) -> Expr:
    return powsimp(gammasimp(powsimp(term / other)))


def _merge(expression: Expr, sums: Hypotheses, anchor: Anchor) -> tuple[Expr, Expr]:
    """Write sums over nearly the same range as one, simplify its summand, and use the hypotheses on what remains."""
    used = S.Zero
    merged = _merge_sums(expression, anchor)
    for hypothesis, value in sums.items():
        (range_,), summand = _canonical(hypothesis, anchor)
        multiple = S.Zero
        for term in Add.make_args(merged):
            total = _sum_in(term)
            if total is not None and len(total.limits) == 1 and _span(total.limits[0]) == _span(range_):
                function = term / total * total.function.subs(total.limits[0][0], range_[0])
                whole = _quotient(factor(function), summand)
                parts = (
                    [whole]
                    if not whole.has(range_[0])
                    else [_quotient(f, summand) for f in Add.make_args(expand(function))]
                )
                multiple += Add(*(part for part in parts if not part.has(range_[0])))
        if multiple != 0:
            taken = multiple * (hypothesis - value)
            merged, used = _merge_sums(merged - taken, anchor), used + taken
    return merged, used


def _merge_sums(expression: Expr, anchor: Anchor) -> Expr:
    """Sums whose limits differ by numbers share their common range; the terms outside of it are written out.

    `anchor` says how the indices are moved first: not at all, or so that the lower or the upper ends agree.
    Splitting a sum at either end is valid whatever the limits are (Karr's convention, which SymPy follows).
    """
    summands = defaultdict(list)
    rest = []
    for term in Add.make_args(expand(expression)):
        total = _sum_in(term)
        if total is None:
            rest.append(term)
        else:
            ranges, summand = _canonical(total, anchor)
            summands[tuple(map(_span, ranges))].append((ranges, summand * term / total))
    merged = S.Zero
    for members in summands.values():
        if len(members[0][0]) > 1 and len({ranges for ranges, _ in members}) == 1:
            merged += _sum(_divide_out(Add(*(summand for _, summand in members))), members[0][0])
        elif len(members[0][0]) > 1:
            merged += Add(*(_sum(summand, ranges) for ranges, summand in members))
        else:
            common, ends = _common_range([(ranges[0], summand) for ranges, summand in members])
            merged += common
            rest.append(ends)
    return merged + _divide_out(Add(*rest))


def _sum_in(term: Expr) -> Sum | None:
    return next((part for part in Mul.make_args(term) if isinstance(part, Sum)), None)


def _canonical(total: Sum, anchor: Anchor) -> tuple[tuple, Expr]:
    """The ranges and the summand of a sum, its indices renamed by position and moved to the anchor."""
    summand, limits = _flatten(total)
    ranges: list[tuple] = []
    for position, (index, low, high) in enumerate(limits):
        name = Dummy(f"k{position}", integer=True, dummy_index=position)
        offset = _offset(anchor, summand, (index, low, high))
        summand = summand.subs(index, name + offset)
        ranges = [(k, a.subs(index, name), b.subs(index, name)) for k, a, b in ranges]
        ranges.append((name, low - offset, high - offset))
    return tuple(ranges), summand


def _offset(anchor: Anchor, summand: Expr, range_: tuple) -> Expr:
    """How far an index moves: to the anchor, or so that an unknown function has no number in its argument."""
    index, low, high = range_
    if anchor == "argument":
        arguments = [x for part in summand.atoms(AppliedUndef) for x in part.args if x.has(index)]
        return -min((x.as_coeff_Add()[0] for x in arguments if not (x - index).has(index)), default=S.Zero)
    return {"none": S.Zero, "low": low, "high": high.as_coeff_Add()[0]}[anchor]


def _flatten(total: Sum) -> tuple[Expr, tuple]:
    """Write a sum over a multiple of a sum as one sum with more ranges."""
    inner = _sum_in(total.function)
    if inner is None:
        return total.function, total.limits
    summand, limits = _flatten(inner)
    names = {index: Dummy(index.name, integer=True) for index, *_ in limits}
    limits = tuple((names[index], low.xreplace(names), high.xreplace(names)) for index, low, high in limits)
    return total.function / inner * summand.xreplace(names), (*limits, *total.limits)


def _common_range(members: list[tuple[tuple, Expr]]) -> tuple[Expr, Expr]:
    """One sum over the range that all members share, and the terms at the ends that it leaves out."""
    low = max((range_[1] for range_, _ in members), key=lambda bound: bound.as_coeff_Add()[0])
    high = min((range_[2] for range_, _ in members), key=lambda bound: bound.as_coeff_Add()[0])
    index = members[0][0][0]
    ends = [
        summand.subs(index, point)
        for (_, first, last), summand in members
        for point in (*(first + j for j in range(int(low - first))), *(high + 1 + j for j in range(int(last - high))))
    ]
    return _sum(_divide_out(Add(*(summand for _, summand in members))), ((index, low, high),)), Add(*ends)


def _span(range_: tuple) -> tuple[Expr, Expr]:
    """The ends of a range without the numbers in them: ranges of one span overlap but for a known number of terms."""
    _, low, high = range_
    return low - low.as_coeff_Add()[0], high - high.as_coeff_Add()[0]


def _sum(summand: Expr, ranges: tuple) -> Expr:
    index, low, high = ranges[0]
    if summand == 0:
        return S.Zero
    return Sum(summand, *ranges) if summand.has(index) or len(ranges) > 1 else summand * (high - low + 1)
