"""Attack a theorem: change one part of it at a time, in every way listed here, and count what the check notices.

The corruptions that matter most leave every step true: both sides of one step are changed alike, so that the step alone
still holds, and only its joints to the rest can give it away. A corruption is caught if the joints of the theorem
have a fault, or else if SymPy does not verify a step or witness that it touched.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

from sympy import Basic, Expr, Symbol, sympify

from proofs.joints import faults
from proofs.parts import Equations, Step, Witness
from proofs.theorem import Theorem

KINDS: Mapping[str, str] = {
    "both sides": "both sides of a step changed alike: doubled, negated, one added, squared",
    "swapped letters": "two letters of one kind swapped on both sides of a step",
    "one side": "the right side of a step negated, doubled, one added; the direction of an inequality reversed",
    "dropped step": "a step left out",
    "hypothesis": "the value in a hypothesis, or the body of a definition, doubled or one more",
    "missing hypothesis": "something that a step cites left out",
    "statement": "a result left out, two exchanged, or a formula typed into the words",
    "witness": "a witness left out, or its assumption never dropped or always",
    "assumption": "an assumption left out",
}
"""What is done to a theorem, one part at a time."""


@dataclass(frozen=True)
class Corruption:
    """A theorem with one part changed.

    Attributes:
        kind: one of `KINDS`.
        part: what was changed, in words.
        theorem: the theorem with the change.
        steps: the numbers of the steps whose own truth may have changed.
        witness: the number of the witness that was changed, if one was.
    """

    kind: str
    part: str
    theorem: Theorem
    steps: tuple[int, ...] = ()
    witness: int | None = None

    def caught(self) -> bool:
        """Whether the check of the theorem notices it."""
        if next(faults(self.theorem), None) is not None:
            return True
        if any(not self.theorem.check_step(number).verified for number in self.steps):
            return True
        return self.witness is not None and not self.theorem.witnesses[self.witness].check().verified


@dataclass(frozen=True)
class Attack:
    """How many corruptions of each kind were tried, and those that were not caught."""

    tried: Mapping[str, int]
    missed: tuple[Corruption, ...]

    def caught(self, kind: str) -> int:
        """How many corruptions of this kind the check noticed."""
        return self.tried[kind] - sum(corruption.kind == kind for corruption in self.missed)


def attack(theorem: Theorem) -> Attack:
    """Try every corruption of a theorem."""
    tried = dict.fromkeys(KINDS, 0)
    missed = []
    for corruption in corruptions(theorem):
        tried[corruption.kind] += 1
        if not corruption.caught():
            missed.append(corruption)
    return Attack(tried, tuple(missed))


def corruptions(theorem: Theorem) -> Iterator[Corruption]:
    """Every corruption of every part."""
    for number, step in enumerate(theorem.steps):
        yield from _of_step(theorem, number, step)
    yield from _of_hypotheses(theorem)
    yield from _of_statement(theorem)
    for number, witness in enumerate(theorem.witnesses):
        yield from _of_witness(theorem, number, witness)
    for number, assumption in enumerate(theorem.assumptions):
        rest = theorem.assumptions[:number] + theorem.assumptions[number + 1 :]
        yield Corruption("assumption", assumption.name, replace(theorem, assumptions=rest))


def _of_step(theorem: Theorem, number: int, step: Step) -> Iterator[Corruption]:
    left, right = sympify(step.left), sympify(step.right)
    part = f"step {number + 1}"
    inductions = [place for place, other in enumerate(theorem.steps) if other.over is not None and place != number]

    def changed(kind: str, how: str, other: Step) -> Corruption:
        steps = (*theorem.steps[:number], other, *theorem.steps[number + 1 :])
        return Corruption(kind, f"{part}, {how}", replace(theorem, steps=steps), (number, *inductions))

    for how, change in _changes(step):
        sides = change(left), change(right)
        if sides != (left, right):
            yield changed("both sides", how, replace(step, left=sides[0], right=sides[1]))
    for a, b in combinations(sorted(left.free_symbols | right.free_symbols, key=str), 2):
        sides = _swapped(left, a, b), _swapped(right, a, b)
        if a.assumptions0 == b.assumptions0 and sides != (left, right):
            yield changed("swapped letters", f"{a} and {b}", replace(step, left=sides[0], right=sides[1]))
    if step.relation == "=":
        for how, other in (("negated", -right), ("doubled", 2 * right), ("one more", right + 1)):
            if other != right:
                yield changed("one side", how, replace(step, right=other))
    else:
        yield changed("one side", "reversed", replace(step, left=right, right=left))
        yield changed("one side", "too much", replace(step, right=left + 1))
    rest = theorem.steps[:number] + theorem.steps[number + 1 :]
    yield Corruption("dropped step", part, replace(theorem, steps=rest))
    for name in ("given", "where"):
        citations = getattr(step, name)
        for place, citation in enumerate(citations):
            left_out = replace(step, **{name: citations[:place] + citations[place + 1 :]})
            yield changed("missing hypothesis", str(citation), left_out)


def _changes(step: Step) -> list[tuple[str, Callable[[Expr], Expr]]]:
    """Changes that keep a true step true."""
    kept: list[tuple[str, Callable[[Expr], Expr]]] = [
        ("doubled", lambda side: 2 * side),
        ("one more", lambda side: side + 1),
    ]
    if step.relation == "=":
        kept += [("negated", lambda side: -side), ("squared", lambda side: side**2)]
    return kept


def _swapped(side: Expr, a: Symbol, b: Symbol) -> Basic:
    return side.subs({a: b, b: a}, simultaneous=True)


def _of_hypotheses(theorem: Theorem) -> Iterator[Corruption]:
    """Other values in the equations of definitions and assumptions, other bodies of definitions."""
    for place, definition in enumerate(theorem.definitions):
        rest = theorem.definitions[:place], theorem.definitions[place + 1 :]
        others = [(how, replace(definition, equations=found)) for how, found in _falsified(definition.equations)]
        if definition.body is not None:
            body = sympify(definition.body)
            others += [
                ("doubled", replace(definition, body=2 * body)),
                ("one more", replace(definition, body=body + 1)),
            ]
        for how, other in others:
            changed = replace(theorem, definitions=(*rest[0], other, *rest[1]))
            users = _users(theorem, definition.name)
            yield Corruption("hypothesis", f"{definition.name}, {how}", changed, users)
    for place, assumption in enumerate(theorem.assumptions):
        before, after = theorem.assumptions[:place], theorem.assumptions[place + 1 :]
        for how, found in _falsified(assumption.equations):
            changed = replace(theorem, assumptions=(*before, replace(assumption, equations=found), *after))
            yield Corruption("hypothesis", f"{assumption.name}, {how}", changed, _users(theorem, assumption.name))


def _falsified(equations: Equations) -> Iterator[tuple[str, Equations]]:
    for left, right in equations.items():
        for how, other in (("doubled", 2 * right), ("one more", right + 1)):
            if other != right:
                yield how, {**equations, left: other}


def _users(theorem: Theorem, name: str) -> tuple[int, ...]:
    """The steps that cite this name."""
    return tuple(n for n, step in enumerate(theorem.steps) if name in {citation.name for citation in step.citations})


def _of_statement(theorem: Theorem) -> Iterator[Corruption]:
    names = theorem.results
    for place, name in enumerate(names):
        rest = names[:place] + names[place + 1 :]
        yield Corruption("statement", f"without {name}", replace(theorem, results=rest))
        for other in range(place + 1, len(names)):
            exchanged = list(names)
            exchanged[place], exchanged[other] = names[other], name
            yield Corruption("statement", f"{name} for {names[other]}", replace(theorem, results=tuple(exchanged)))
        typed = f"{theorem.words} {name} = {2 * sympify(theorem.result(name))}."
        yield Corruption("statement", f"{name}, typed", replace(theorem, words=typed))


def _of_witness(theorem: Theorem, number: int, witness: Witness) -> Iterator[Corruption]:
    rest = theorem.witnesses[:number] + theorem.witnesses[number + 1 :]

    def changed(how: str, other: Witness) -> Corruption:
        all_ = (*theorem.witnesses[:number], other, *theorem.witnesses[number + 1 :])
        return Corruption("witness", f"{witness.dropped}, {how}", replace(theorem, witnesses=all_), witness=number)

    def shifted(knob: Expr) -> tuple[Expr, Expr]:
        left, right = witness.sides(knob)
        return (sympify(left) + 1, right) if witness.relation == "=" else (right, left)

    if len([other for other in theorem.witnesses if _base(other) == _base(witness)]) == 1:
        yield Corruption("witness", f"{witness.dropped}, left out", replace(theorem, witnesses=rest))
    yield changed("never dropped", replace(witness, broken=witness.intact))
    yield changed("always dropped", replace(witness, intact=witness.broken))
    yield changed("another conclusion", replace(witness, sides=shifted))


def _base(witness: Witness) -> str:
    return witness.dropped.partition(" (")[0]
