"""What a derivation is made of: definitions, assumptions, steps that cite them by name, and witnesses.

A `Step` claims `left = right` (or `≥`, `>`). Its left side is not free: it is what the step before ended with, or what
the definition or the earlier step named in `begins` says (`proofs.joints` compares them). A hypothesis is not free
either: `given` and `where` hold names of assumptions, definitions and earlier steps.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sympy import Basic, Derivative, Expr, Integral, Limit, Subs, Symbol, sympify

from proofs.line import line
from proofs.settle import carry_out, settle
from proofs.signs import sign
from proofs.timing import Outcome, timed

Relation = Literal["=", "≥", ">"]
Equations = Mapping[Basic, Basic]

_NEGATION: Mapping[Relation, str] = {"=": "≠", "≥": "<", ">": "≤"}


@dataclass(frozen=True)
class Definition:
    """What a name means: an expression, with a letter for it or without; or equations that hold by that meaning.

    Args:
        name: What steps cite.
        words: What it is.
        body: The expression: chains begin with it.
        letter: The letter that stands for it, for steps that cite the definition in `where`.
        equations: `expression: its value`, such as that probabilities sum to 1. The theorem's model must satisfy them.
        every: The letters for all values of which the equations hold.
    """

    name: str
    words: str
    body: Expr | int | None = None
    letter: Basic | None = None
    equations: Equations = field(default_factory=dict)
    every: tuple[Symbol, ...] = ()


@dataclass(frozen=True)
class Assumption:
    """What the theorem assumes: some witness must show that it is needed.

    Args:
        name: A few words, which steps cite and witnesses drop.
        equations: `expression: its value`, where it is a formula. The theorem's model must satisfy them.
    """

    name: str
    equations: Equations = field(default_factory=dict)


@dataclass(frozen=True)
class Cited:
    """A named definition, assumption or step with values in the place of letters: what holds for all holds for one.

    Args:
        name: The name; "T5: GRPO w1" is the step "GRPO w1" of T5.
        put: `letter: value`, or `function: Lambda`.
    """

    name: str
    put: Mapping[Basic, Basic] = field(default_factory=dict)

    def __str__(self) -> str:
        values = ", ".join(
            f"{line(letter)} := {line(getattr(value, 'expr', value))}" for letter, value in self.put.items()
        )
        return f"{self.name} at {values}" if values else self.name


@dataclass(frozen=True)
class Step:
    """`left relation right`, the rule that leads to it, and what is used.

    Args:
        claim: What the step says, in words.
        left: Where it begins; usually unevaluated: the check carries it out.
        right: The result.
        rule: The rule of mathematics that leads from left to right.
        relation: How the sides compare.
        ends: An earlier step, usually of another theorem, whose right side `right` repeats.
        begins: The definition, or the earlier step whose right side it is, that `left` repeats; "" is the step before.
        given: Names of assumptions, definitions and earlier steps whose equations are used. They hold for all values of
            the variables, so they are put in before and after derivatives and limits.
        where: Names of definitions whose letters are put in for their bodies. A letter has no derivative, so they are
            put in only afterwards.
        name: Set on results, which the statement repeats; also what other steps cite.
        label: What other steps cite where the step is no result.
        over: The letter of an induction: `given` then is the base and the step of it.
    """

    claim: str
    left: Expr
    right: Expr
    rule: str
    relation: Relation = "="
    begins: str | Cited = ""
    ends: str | Cited = ""
    given: tuple[str | Cited, ...] = ()
    where: tuple[str, ...] = ()
    name: str = ""
    label: str = ""
    over: Symbol | None = None

    @property
    def citations(self) -> tuple[Cited, ...]:
        """What the step begins and ends with, if that is named, and all that it uses."""
        return tuple(cited(name) for name in (self.begins, self.ends, *self.given, *self.where) if name)

    def difference(self, given: Equations, where: Equations) -> Expr:
        """`left - right`, carried out under the hypotheses and simplified; 0 only if the sides are equal."""
        known = {**given, **where}
        left, right = (put_in(sympify(side), given) for side in (self.left, self.right))
        if left == right or (self.relation != "=" and sign(left - right) != "unknown"):
            return left - right  # Some integrals have a sign but no closed form.

        def done(side: Expr) -> Expr:
            side = side if side.has(Derivative, Integral, Limit, Subs) else put_in(side, where)
            return put_in(carry_out(put_in(carry_out(side), known)), where)

        return settle(done(left) - done(right), known)

    def check(self, given: Equations, where: Equations) -> Outcome:
        """Let SymPy verify the step under these equations."""

        def verdict() -> tuple[bool, str]:
            difference = self.difference(given, where)
            return _holds(self.relation, difference) is True, f"left − right = {difference}"

        return timed(self.claim, verdict)


@dataclass(frozen=True)
class Witness:
    """One instance on which a conclusion of the theorem holds with an assumption and fails without it.

    Args:
        dropped: The assumption, by its name; "name (aspect)" where several witnesses drop the same one.
        about: The result of the theorem whose conclusion this is.
        instance: The concrete case, in words.
        conclusion: What the two sides are, in words.
        sides: The two sides of the conclusion as exact numbers, as a function of the knob.
        knob: Name of the knob.
        intact: Value of the knob at which the assumption holds.
        broken: Value of the knob at which it does not.
        relation: How the conclusion compares the sides.
    """

    dropped: str
    about: str
    instance: str
    conclusion: str
    sides: Callable[[Expr], tuple[Expr, Expr]]
    knob: str
    intact: Expr | int
    broken: Expr | int
    relation: Relation = "="

    def check(self) -> Outcome:
        """Compute the conclusion with the assumption (it must hold) and without it (it must fail)."""

        def verdict() -> tuple[bool, str]:
            relation = self.relation
            intact, broken = (self._compare(value) for value in (self.intact, self.broken))
            numbers = ";  ".join(
                f"{self.knob} = {value}: {_number(left)} {relation if holds else _NEGATION[relation]} {_number(right)}"
                for value, (left, right, holds) in ((self.intact, intact), (self.broken, broken))
            )
            return intact[2] is True and broken[2] is False, numbers

        return timed(self.dropped, verdict)

    def _compare(self, value: Expr | int) -> tuple[Expr, Expr, bool | None]:
        """Both sides at this value of the knob, and whether the conclusion holds there; None if SymPy cannot tell."""
        left, right = map(sympify, self.sides(sympify(value)))
        return left, right, _holds(self.relation, settle(left - right))


def put_in(expression: Basic, values: Equations) -> Expr:
    """The expression with these values in the place of sums and functions, and then of letters."""
    letters = {letter: value for letter, value in values.items() if letter.is_Symbol}
    found = expression.xreplace({part: sympify(value) for part, value in values.items() if part not in letters})
    entangled = len(letters) > 1 and any(sympify(value).has(*letters) for value in letters.values())
    return found.subs(letters, simultaneous=entangled) if letters else found


def cited(citation: str | Cited) -> Cited:
    """A citation, also of a bare name."""
    return citation if isinstance(citation, Cited) else Cited(citation)


def _holds(relation: Relation, difference: Expr) -> bool | None:
    """Whether `difference relation 0`, or None where the sign is not known."""
    if relation == "=":
        return difference.is_zero if not (difference.is_positive or difference.is_negative) else False
    if difference.is_number:
        return difference.is_nonnegative if relation == "≥" else difference.is_positive
    found = sign(difference)
    return True if found == "positive" or (found == "nonnegative" and relation == "≥") else None


def _number(value: Expr) -> str:
    """Exact where that is short, with a decimal where it is irrational."""
    exact, decimal = re.sub(r"\*?sqrt\((\w+)\)", r"√\1", str(value)), f"{float(value):.6g}"
    if value.is_Rational and len(exact) <= 16:
        return exact
    return f"{exact} ≈ {decimal}" if len(exact) <= 24 else decimal
