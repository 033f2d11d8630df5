"""What holds a derivation together: every step begins where something named ends, and everything named is used.

A step that is true by itself proves nothing about the theorem unless it is joined to it. So its left side has to be,
letter for letter, what the step before ended with, or what the definition or step that it cites says; what it ends with
has to be used by a later step or to be a result of the statement; and what it uses has to have a name. These
comparisons are structural and cost next to nothing.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from sympy import Basic, Derivative, Expr, Lambda, Symbol, sympify
from sympy.core.function import AppliedUndef, UndefinedFunction

from proofs.parts import Cited, cited, put_in
from proofs.signs import sign
from proofs.theorem import Theorem, specialised

_FORMULA = re.compile(r"[=√∇Σ∂≥≤<>^+*]")
_PROPERTIES = ("is_integer", "is_real", "is_nonnegative", "is_positive")


def faults(theorem: Theorem) -> Iterator[str]:
    """Everything that is not joined, in words; nothing if the derivation is a whole."""
    yield from _names(theorem)
    for number, step in enumerate(theorem.steps):
        yield from (f"step {number + 1} ({step.claim[:60]}): {fault}" for fault in _step(theorem, number))
    yield from _unused(theorem)
    yield from _statement(theorem)
    yield from _witnesses(theorem)
    yield from _model(theorem)


def _names(theorem: Theorem) -> Iterator[str]:
    names = [part.name for part in theorem.definitions] + [part.name for part in theorem.assumptions]
    names += [name for step in theorem.steps for name in (step.name, step.label) if name]
    yield from (f"two parts are named {name!r}" for name in sorted({name for name in names if names.count(name) > 1}))
    letters = [part.letter for part in theorem.definitions if part.letter is not None]
    for part in theorem.definitions:
        if part.letter is not None and (letters.count(part.letter) > 1 or sympify(part.body).has(part.letter)):
            yield f"the letter of {part.name!r} already has a meaning"
        if part.letter is not None and not _admits(part.letter, sympify(part.body)):
            yield f"the letter {part.letter} is more than what {part.name!r} is known to be"


def _step(theorem: Theorem, number: int) -> Iterator[str]:
    step = theorem.steps[number]
    try:
        begins = theorem.meaning(step.begins, number) if step.begins else sympify(theorem.steps[number - 1].right)
    except KeyError:
        yield f"there is nothing named {step.begins!s} to begin with"
    else:
        if number == 0 and not step.begins:
            yield "the first step does not say what it begins with"
        elif begins != sympify(step.left):
            yield f"it does not begin with {step.begins or 'what the step before ends with'}"
    if step.ends:
        try:
            if theorem.meaning(step.ends, number) != sympify(step.right):
                yield f"it does not end with {step.ends}"
        except KeyError:
            yield f"there is nothing named {step.ends!s} to end with"
    for citation in map(cited, step.given):
        try:
            theorem.equations(citation, number)
        except KeyError:
            yield f"it uses {citation.name!r}, which is no assumption, definition or earlier step"
    for citation in step.citations:
        yield from _specialisation(theorem, citation)
        yield from _foreign(theorem, citation)


def _specialisation(theorem: Theorem, citation: Cited) -> Iterator[str]:
    """Values may be put in only where the letter stands for all of them, and no hypothesis is about the letter."""
    for letter, value in citation.put.items():
        if isinstance(letter, Symbol) and not _admits(letter, sympify(value)):
            yield f"{value} is not one of the values that {letter} stands for"
        if isinstance(letter, UndefinedFunction) and not isinstance(value, Lambda):
            yield f"what is put in for {letter} is no function"
    if not citation.put:
        return
    every = {part.name: set(part.every) for part in theorem.definitions}
    used = theorem.rests_on(citation.name)
    for name, equations in theorem.hypotheses().items():
        if name not in used or every.get(name, set()) >= set(citation.put):
            continue
        for left, right in equations.items():
            put = specialised(left - right, citation.put)
            if put not in (0, left - right) and put.expand() != 0:
                yield f"{name!r} is about a letter that {citation} replaces"


def _foreign(theorem: Theorem, citation: Cited) -> Iterator[str]:
    """A step of another theorem rests on that one's hypotheses: they have to hold here."""
    for other in theorem.after:
        prefix = f"{other.id}: "
        if not citation.name.startswith(prefix):
            continue
        for name in other.rests_on(citation.name.removeprefix(prefix)):
            for left, right in other.hypotheses()[name].items():
                if not any(put_in(left - right, own).expand() == 0 for own in theorem.hypotheses().values()):
                    yield f"{citation} rests on {name!r}, which is not known here"


def _admits(letter: Basic, value: Expr) -> bool:
    """Whether all that is assumed of the letter is known of the value."""
    if letter.is_positive and not letter.is_integer:
        return sign(value) == "positive"
    if letter.is_nonnegative and not letter.is_integer:
        return sign(value) != "unknown"
    if isinstance(value, Derivative) and value.expr.is_real:
        return not (letter.is_positive or letter.is_nonnegative or letter.is_integer)
    return all(getattr(value, known) for known in _PROPERTIES if getattr(letter, known))


def _unused(theorem: Theorem) -> Iterator[str]:
    """Steps and definitions that nothing cites are left over from another theorem."""
    citations = {citation.name for step in theorem.steps for citation in step.citations}
    for number, step in enumerate(theorem.steps):
        following = theorem.steps[number + 1] if number + 1 < len(theorem.steps) else None
        joined = following is not None and not following.begins
        if not step.name and not joined and not (step.label and step.label in citations):
            yield f"nothing uses step {number + 1} ({step.claim[:60]})"
    for part in theorem.definitions:
        if part.name not in citations:
            yield f"nothing uses the definition {part.name!r}"
    for assumption in theorem.assumptions:
        if assumption.equations and assumption.name not in citations:
            yield f"nothing uses the equation of the assumption {assumption.name!r}"


def _statement(theorem: Theorem) -> Iterator[str]:
    named = tuple(step.name for step in theorem.steps if step.name)
    if named != theorem.results:
        yield f"the statement has the results {theorem.results}, and the steps prove {named}"
    places = re.findall(r"\{([^{}]*)\}", theorem.words)
    yield from (f"the statement quotes {place!r}, which is no result" for place in places if place not in named)
    typed = _FORMULA.search(re.sub(r"\{[^{}]*\}", "", theorem.words))
    if typed:
        yield f"the statement has a formula typed as text, at {theorem.words[max(0, typed.start() - 10) :][:25]!r}"


def _witnesses(theorem: Theorem) -> Iterator[str]:
    dropped = {re.sub(r" \([^()]*\)$", "", witness.dropped) for witness in theorem.witnesses}
    dropped |= {witness.dropped for witness in theorem.witnesses}
    names = {part.name for part in theorem.assumptions}
    yield from (f"no witness drops the assumption {name!r}" for name in sorted(names - dropped))
    for witness in theorem.witnesses:
        if not names & {witness.dropped, re.sub(r" \([^()]*\)$", "", witness.dropped)}:
            yield f"a witness drops {witness.dropped!r}, which is not assumed"
        if witness.about not in theorem.results:
            yield f"the witness of {witness.dropped!r} is about {witness.about!r}, which is no result"


def _model(theorem: Theorem) -> Iterator[str]:
    """Definitions and assumptions have to hold where every letter and function has a value."""
    for name, equations in theorem.hypotheses().items():
        for left, right in equations.items():
            if not _holds_in(left - sympify(right), _hashable(theorem.model)):
                yield f"{name!r} does not hold in the theorem's own model: {left} = {right}"


def _hashable(model: Mapping[Basic, Basic]) -> tuple[tuple[Basic, Basic], ...]:
    return tuple((key, sympify(value)) for key, value in model.items())


@cache
def _holds_in(difference: Expr, model: tuple[tuple[Basic, Basic], ...]) -> bool:
    functions = {key: value for key, value in model if isinstance(value, Lambda)}
    letters = {key: value for key, value in model if not isinstance(value, Lambda)}
    # Derivatives are taken before their letters become numbers.
    value = specialised(specialised(difference, functions).doit(), letters).doit()
    if value.free_symbols or value.atoms(AppliedUndef):
        return False
    return abs(complex(value.evalf(40))) < 1e-20
