"""Joints: a derivation that is not a whole has a fault, in words that name it."""

from dataclasses import replace

import pytest
from sympy import Function, Integer, Lambda, S, Sum, symbols

from proofs.joints import faults
from proofs.parts import Assumption, Cited, Definition, Step, Witness
from proofs.theorem import Theorem
from proofs.verify import verify

x, y, s = symbols("x y s", positive=True)
z = symbols("z", real=True)
k = symbols("k", integer=True)
n = symbols("n", integer=True, positive=True)
f = Function("f", positive=True)
g = Function("g", real=True)
TOTAL = Sum(f(k), (k, 1, n))


def theorem(**options) -> Theorem:
    """2 Σ f x + x = 3x, with a letter and an assumption."""
    whole = Theorem(
        id="T0",
        title="title",
        words="The value is {value}.",
        results=("value", "square"),
        definitions=(
            Definition("amount", "twice the weighted total and one more", 2 * TOTAL * x + x),
            Definition("weights", "they sum to 1", equations={TOTAL: S.One}),
            Definition("letter", "a letter for the square", x**2, y),
            Definition("another", "the square and one more", x**2 + 1),
        ),
        assumptions=(Assumption("x is two", {x: Integer(2)}), Assumption("in words")),
        model={f: Lambda(k, 1 / S(4)), n: 4, x: 2},
        steps=(
            Step("Insert.", 2 * TOTAL * x + x, 3 * x, "Sum.", begins="amount", given=("weights",)),
            Step("Value.", 3 * x, Integer(6), "x = 2.", given=("x is two",), name="value"),
            Step("Square.", x**2 + 1, y + 1, "Letter.", begins="another", where=("letter",), name="square"),
        ),
        witnesses=tuple(
            Witness(name, "value", "x", "x = 0", lambda δ: (δ, 0), "δ", 0, 1) for name in ("x is two (a)", "in words")
        ),
    )
    return replace(whole, **options)


def with_step(number, **options) -> Theorem:
    steps = list(theorem().steps)
    steps[number] = replace(steps[number], **options)
    return theorem(steps=tuple(steps))


def only_fault(changed: Theorem) -> str:
    found = list(faults(changed))
    assert len(found) == 1, found
    return found[0]


def test_a_whole_theorem_has_no_fault():
    assert list(faults(theorem())) == []
    assert verify(theorem()).verified


def test_a_step_begins_where_the_one_before_ended():
    assert "does not begin with what the step before ends with" in only_fault(
        with_step(1, left=6 * x, right=Integer(12))
    )
    assert "does not begin with amount" in only_fault(with_step(0, left=2 * TOTAL * x))
    assert "nothing named amounts" in next(faults(with_step(0, begins="amounts")))
    assert "does not say what it begins with" in next(faults(with_step(0, begins="")))


def test_what_is_used_has_a_name_that_comes_before():
    assert "'x is three', which is no assumption" in next(faults(with_step(1, given=("x is three",))))
    assert any("'square', which is no assumption" in fault for fault in faults(with_step(1, given=("square",))))


def test_everything_is_used():
    assert "nothing uses step 2 (Value.)" in list(faults(with_step(1, name="")))
    assert "nothing uses the definition 'weights'" in only_fault(with_step(0, given=()))
    assert "nothing uses the equation of the assumption 'x is two'" in only_fault(with_step(1, given=()))


def test_the_statement_has_the_results_and_no_typed_formula():
    assert "steps prove ('value', 'square')" in only_fault(theorem(results=("square", "value")))
    assert "'values', which is no result" in only_fault(theorem(words="The value is {values}."))
    assert "formula typed as text" in only_fault(theorem(words="The value is {value} = 6."))


def test_every_assumption_has_a_witness_about_a_result():
    witnesses = theorem().witnesses
    assert only_fault(theorem(witnesses=witnesses[1:])) == "no witness drops the assumption 'x is two'"
    other = replace(witnesses[1], dropped="in other words")
    assert "drops 'in other words', which is not assumed" in next(faults(theorem(witnesses=(*witnesses, other))))
    assert "is about 'x', which is no result" in only_fault(
        theorem(witnesses=(witnesses[0], replace(witnesses[1], about="x")))
    )


def test_hypotheses_hold_in_the_model():
    parts = list(theorem().definitions)
    parts[1] = replace(parts[1], equations={TOTAL: Integer(7)})
    assert "'weights' does not hold in the theorem's own model" in only_fault(theorem(definitions=tuple(parts)))
    assert "'x is two' does not hold" in only_fault(theorem(model={**theorem().model, x: 3}))
    assert "'weights' does not hold" in next(faults(theorem(model={x: 2})))


def test_names_and_letters_have_one_meaning():
    parts = theorem().definitions
    assert "two parts are named 'amount'" in next(faults(theorem(definitions=(*parts, parts[0]))))
    own = (*parts[:2], replace(parts[2], body=x + y), parts[3])
    assert "the letter of 'letter' already has a meaning" in next(faults(theorem(definitions=own)))
    signed = (*parts[:2], replace(parts[2], body=z**3), parts[3])
    assert "the letter y is more than what 'letter' is known to be" in next(faults(theorem(definitions=signed)))


@pytest.mark.parametrize(
    ("letter", "value", "allowed"),
    [(s, x + 1, True), (s, z, False), (s, x - 1, False), (n, n + 1, True), (n, n - 1, False), (n, S.Half, False),
     (g, Lambda(k, k), True), (g, x, False)],
)  # fmt: skip
def test_a_letter_stands_for_certain_values_only(letter, value, allowed):
    body = s + g(n)
    cited = Cited("body", {letter: value})
    steps = (Step("", theorem().meaning("amount", 0), x, "", begins="amount", given=(cited,)),)
    changed = theorem(definitions=(*theorem().definitions, Definition("body", "", body)), steps=steps)
    found = [fault for fault in faults(changed) if "not one of the values" in fault or "is no function" in fault]
    assert (not found) == allowed


def test_a_proved_step_is_not_for_other_values_of_what_its_hypothesis_is_about():
    step = Step("", 3 * x, 3 * s, "", begins=Cited("value", {x: s}), name="other")
    changed = theorem(steps=(*theorem().steps[:2], theorem().steps[2], step), results=("value", "square", "other"))
    assert any("'x is two' is about a letter" in fault for fault in faults(changed))
