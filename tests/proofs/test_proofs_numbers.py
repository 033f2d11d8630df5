"""Every equation of numbers holds at numbers, computed without the simplifier that the checks rely on.

A wrong tactic could call something zero that is not. Here both sides are evaluated by brute force at one point: sizes
are put in first, so that sums have a known number of terms, then SymPy's own `doit`, then the other letters.
"""

import pytest
from sympy import Expr, Integer, Limit, Rational, Symbol, sympify
from sympy.core.function import AppliedUndef

from proofs.command import MODULES, load
from proofs.parts import Equations, Step

SIZES = {
    "G": 6, "N": 5, "L": 3, "k": 2, "m": 3, "n": 4, "j": 1, "g": 4, "b": 2, "t": 2, "u": 3, "i": 1, "Z": 3, "o": 1,
}  # fmt: skip


def of_numbers(step: Step) -> bool:
    """Whether both sides become numbers when numbers are put in: no undefined functions, no letters with a meaning."""
    sides = sympify(step.left), sympify(step.right)
    return step.relation == "=" and not step.where and not any(side.atoms(AppliedUndef) for side in sides)


def letters(name: str, number: int) -> Equations:
    """What the step uses of single letters."""
    theorem = load(name)
    citations = [] if theorem.steps[number].over else theorem.steps[number].given
    known = {}
    for citation in citations:
        known |= {left: right for left, right in theorem.equations(citation, number).items() if left.is_Symbol}
    return known


STEPS = [
    pytest.param(step, letters(name, number), id=f"{name}-{number + 1}")
    for name in MODULES
    for number, step in enumerate(load(name).steps)
    if of_numbers(step)
]


def letter_value(letter: Symbol) -> Expr:
    """A number between 0 and 1, another one for each letter, except that p + q = 1."""
    if letter.name == "q":
        return 1 - letter_value(Symbol("p", positive=True))
    return Rational(1, 7) + Rational(sum(map(ord, letter.name)) % 61, 100)


def value(side: Expr, known: Equations) -> complex:
    side = sympify(side).subs(known).subs(known)
    side = side.doit() if side.has(Limit) else side
    sizes = {x: Integer(SIZES[x.name]) for x in side.free_symbols if x.is_integer}
    side = side.subs(sizes).doit()
    return complex(side.subs({x: letter_value(x) for x in side.free_symbols}).evalf(30))


@pytest.mark.parametrize(("step", "known"), STEPS)
def test_both_sides_have_the_same_value(step: Step, known: Equations):
    assert value(step.left, known) == pytest.approx(value(step.right, known), rel=1e-12, abs=1e-12)


def test_most_equations_of_numbers_are_covered():
    assert len(STEPS) >= 100
