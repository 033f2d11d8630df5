"""A theorem is a list of equations that SymPy verifies, and of witnesses that show which assumption each of them needs.

A `Step` claims `left = right` (or `>`, `≥`). Its left side usually is an unevaluated derivative, sum or limit; checking
the step means to carry that operation out and to bring the difference of the two sides to zero. A `Witness` is a family
of concrete instances with one knob: at one value of the knob the assumption holds and the conclusion is computed to
hold, at the other the assumption is dropped and the conclusion is computed to fail. The first value is the control: it
shows that this assumption, and nothing else about the instance, decides.

Nothing here is taken on trust except SymPy itself and the hypotheses that a step names in `given`.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from sympy import Basic, Expr, sympify

from proofs.settle import carry_out, settle

Relation = Literal["=", "≥", ">"]

_NEGATION: Mapping[Relation, str] = {"=": "≠", "≥": "<", ">": "≤"}

TIME_LIMIT = 20.0
"""Seconds that one step or witness may take. What SymPy has not settled by then counts as not proved."""


@dataclass(frozen=True)
class Step:
    """`left relation right`, the rule that leads to it, and the hypotheses used.

    Args:
        claim: What the step says, in words.
        left: Usually unevaluated: the check carries it out.
        right: The result.
        rule: The rule of mathematics that leads from left to right.
        relation: How the sides compare.
        given: Hypotheses `expression: its value`. They hold for all values of the variables, so they are put in before
            and after derivatives and limits.
        where: Abbreviations `expression: its letter`. A letter has no derivative, so they are put in only afterwards.
        why_given: Where the hypotheses come from and what the letters mean.
        name: Set on results: makes the step part of the statement, and lets tests find it.
    """

    claim: str
    left: Expr
    right: Expr
    rule: str
    relation: Relation = "="
    given: Mapping[Basic, Basic] = field(default_factory=dict)
    where: Mapping[Basic, Basic] = field(default_factory=dict)
    why_given: str = ""
    name: str = ""

    def difference(self) -> Expr:
        """`left - right`, carried out under the hypotheses and simplified; 0 only if the sides are equal."""
        left, right = (self._carry_out(sympify(side)) for side in (self.left, self.right))
        return settle(left - right, {**self.given, **self.where})

    def check(self) -> "Outcome":
        """Let SymPy verify the step."""

        def verdict() -> tuple[bool, str]:
            difference = self.difference()
            return _holds(self.relation, difference) is True, f"left − right = {difference}"

        return _timed(self.claim, verdict)

    def _carry_out(self, side: Expr) -> Expr:
        done = carry_out(side.subs(self.given))
        known = {**self.given, **self.where}
        return carry_out(done.subs(known, simultaneous=True)) if known else done


@dataclass(frozen=True)
class Witness:
    """One instance on which the conclusion holds with an assumption and fails without it.

    Args:
        dropped: The assumption.
        instance: The concrete case, in words.
        conclusion: What the two sides are, in words.
        sides: The two sides of the conclusion as exact numbers, as a function of the knob.
        knob: Name of the knob.
        intact: Value of the knob at which the assumption holds.
        broken: Value of the knob at which it does not.
        relation: How the conclusion compares the sides.
    """

    dropped: str
    instance: str
    conclusion: str
    sides: Callable[[Expr], tuple[Expr, Expr]]
    knob: str
    intact: Expr | int
    broken: Expr | int
    relation: Relation = "="

    def check(self) -> "Outcome":
        """Compute the conclusion with the assumption (it must hold) and without it (it must fail)."""

        def verdict() -> tuple[bool, str]:
            sign = self.relation
            intact, broken = (self._compare(value) for value in (self.intact, self.broken))
            numbers = ";  ".join(
                f"{self.knob} = {value}: {_number(left)} {sign if holds else _NEGATION[sign]} {_number(right)}"
                for value, (left, right, holds) in ((self.intact, intact), (self.broken, broken))
            )
            return intact[2] is True and broken[2] is False, numbers

        return _timed(self.dropped, verdict)

    def _compare(self, value: Expr | int) -> tuple[Expr, Expr, bool | None]:
        """Both sides at this value of the knob, and whether the conclusion holds there; None if SymPy cannot tell."""
        left, right = map(sympify, self.sides(sympify(value)))
        return left, right, _holds(self.relation, settle(left - right))


@dataclass(frozen=True)
class Theorem:
    """A statement with its derivation and the witnesses of its assumptions.

    Args:
        id: "T1", "T2", …
        title: A few words.
        statement: What is claimed, in words; the named steps are its formulas.
        assumptions: All that is assumed.
        symbolic: What the derivation leaves symbolic, so that it holds for every value.
        enumerated: What it goes through value by value; the theorem is claimed for these values only.
        steps: The derivation.
        witnesses: One for each assumption that can be dropped.
        remark: What is *not* claimed, or where the literature says otherwise.
    """

    id: str
    title: str
    statement: str
    assumptions: tuple[str, ...]
    symbolic: str
    steps: tuple[Step, ...]
    witnesses: tuple[Witness, ...]
    enumerated: str = "nothing"
    remark: str = ""

    def result(self, name: str) -> Expr:
        """The right side of the step of this name: a formula of the statement."""
        return next(step.right for step in self.steps if step.name == name)

    def check(self, done: Callable[[], None] = lambda: None) -> "Report":
        """Verify every step and witness; `done` is called after each."""
        start = time.perf_counter()

        def run(part: Step | Witness) -> Outcome:
            outcome = part.check()
            done()
            return outcome

        steps, witnesses = tuple(map(run, self.steps)), tuple(map(run, self.witnesses))
        return Report(self, steps, witnesses, time.perf_counter() - start)


@dataclass(frozen=True)
class Outcome:
    """What SymPy found.

    Attributes:
        claim: the step's claim, or the assumption that the witness drops.
        verified: whether it came out.
        detail: the difference of a step's sides, a witness's numbers, or why there is no answer.
        seconds: how long it took.
    """

    claim: str
    verified: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """The outcomes of one theorem, in the order of its steps and witnesses."""

    theorem: Theorem
    steps: tuple[Outcome, ...]
    witnesses: tuple[Outcome, ...]
    seconds: float

    @property
    def verified(self) -> bool:
        return all(outcome.verified for outcome in (*self.steps, *self.witnesses))


class OutOfTime(BaseException):
    """Not an `Exception`: SymPy catches those on its way, and would carry on."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` inside the block after `seconds`, or at its end where the platform cannot interrupt.

    Only the main thread of a POSIX process can be interrupted; elsewhere an overlong block runs to its end, and fails.
    """
    start = time.perf_counter()
    interruptible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not interruptible:
        yield
    else:

        def interrupt(*_: object) -> None:
            raise OutOfTime

        previous = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    if time.perf_counter() - start > seconds:
        raise OutOfTime


def _holds(relation: Relation, difference: Expr) -> bool | None:
    """Whether `difference relation 0`, or None where SymPy does not know the sign."""
    if relation == "=":
        return difference.is_zero if not (difference.is_positive or difference.is_negative) else False
    return difference.is_nonnegative if relation == "≥" else difference.is_positive


def _timed(claim: str, verdict: Callable[[], tuple[bool, str]]) -> Outcome:
    start = time.perf_counter()
    try:
        with time_limit(TIME_LIMIT):
            verified, detail = verdict()
    except OutOfTime:
        verified, detail = False, f"no answer within {TIME_LIMIT:g} s"
    except Exception as error:  # SymPy raises all kinds where it cannot decide; none of them is a proof.
        verified, detail = False, f"no answer: {type(error).__name__}: {error}"
    return Outcome(claim, verified, detail, time.perf_counter() - start)


def _number(value: Expr) -> str:
    """Exact where that is short, with a decimal where it is irrational."""
    exact, decimal = re.sub(r"\*?sqrt\((\w+)\)", r"√\1", str(value)), f"{float(value):.6g}"
    if value.is_Rational and len(exact) <= 16:
        return exact
    return f"{exact} ≈ {decimal}" if len(exact) <= 24 else decimal
