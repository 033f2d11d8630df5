"""All theorems hold, and the check of each step and witness can fail: it does when the claim is corrupted."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from sympy import Add, Basic, Expr, S, Symbol, preorder_traversal, sympify

from proofs.command import MODULES, load
from proofs.tex import LETTERS
from proofs.theorem import Step, Theorem, Witness

THEOREMS = {name: load(name) for name in MODULES}
STEPS = [
    pytest.param(step, id=f"{name}-{number}")
    for name, theorem in THEOREMS.items()
    for number, step in enumerate(theorem.steps, start=1)
]
WITNESSES = [
    pytest.param(witness, id=f"{name}-{number}")
    for name, theorem in THEOREMS.items()
    for number, witness in enumerate(theorem.witnesses, start=1)
]


@pytest.mark.parametrize("step", STEPS)
def test_steps_hold(step: Step):
    outcome = step.check()
    assert outcome.verified, f"{step.claim}\n{step.left}\n{step.relation} {step.right}\n{outcome.detail}"


@pytest.mark.parametrize("witness", WITNESSES)
def test_witnesses_break(witness: Witness):
    outcome = witness.check()
    assert outcome.verified, f"{witness.dropped}: {outcome.detail}"


@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_empty(step: Step):
    assert step.relation != "=" or step.left != step.right, "SymPy made both sides the same before any check"
    assert step.claim
    assert step.rule
    assert bool(step.why_given) == bool(step.given or step.where)


@pytest.mark.parametrize("step", STEPS)
def test_a_corrupted_step_fails(step: Step):
    """Sign, factor, exponent of the right side; where it is 0, of a term of the left side; for `>`, the direction."""
    for kind, corrupted in corruptions(step):
        assert not corrupted.check().verified, f"{kind}: {corrupted.left} {corrupted.relation} {corrupted.right}"


@pytest.mark.parametrize("step", [step for step in STEPS if step.values[0].given or step.values[0].where])
def test_a_step_fails_without_its_hypotheses(step: Step):
    assert not replace(step, given={}, where={}).check().verified


@pytest.mark.parametrize("witness", WITNESSES)
def test_a_corrupted_witness_fails(witness: Witness):
    assert not replace(witness, broken=witness.intact).check().verified
    assert not replace(witness, intact=witness.broken).check().verified

    def other_sides(knob: Expr) -> tuple[Expr, Expr]:
        left, right = witness.sides(knob)
        return (left + 1, right) if witness.relation == "=" else (right, left)

    assert not replace(witness, sides=other_sides).check().verified


def corruptions(step: Step) -> Iterator[tuple[str, Step]]:
    left, right = sympify(step.left), sympify(step.right)
    if step.relation != "=":
        yield "direction", replace(step, left=right - left, right=S.Zero)
        yield "overclaim", replace(step, right=left + 1)
    elif right == 0:
        yield "constant", replace(step, right=S.One)
        yield "term", replace(step, left=visible(step))
    else:
        yield "sign", replace(step, right=-right)
        yield "factor", replace(step, right=2 * right)
        # The exponent of 1 is 0: corrupted, some letter appears.
        yield "exponent", replace(step, right=Symbol("z", positive=True) if right == 1 else right**2)


def visible(step: Step) -> Expr:
    """The left side with one term's sign, factor or exponent changed, such that the check sees it."""
    for changed in variants(sympify(step.left)):
        if not replace(step, left=changed).check().verified:
            return changed
    raise AssertionError(f"no change of {step.left} is seen: is anything checked?")


def variants(expression: Basic) -> Iterator[Basic]:
    """The expression with one term of one sum inside of it negated, doubled or squared, or one letter squared."""
    for part in preorder_traversal(expression):
        if isinstance(part, Add):
            first, *others = part.args
            for changed in (-first, 2 * first, first**2):
                yield expression.xreplace({part: Add(changed, *others)})
        elif isinstance(part, Expr) and part.is_Function and part != expression:
            yield expression.xreplace({part: part**2})


@pytest.mark.parametrize("theorem", THEOREMS.values(), ids=THEOREMS)
def test_theorems_say_what_they_are_about(theorem: Theorem):
    names = [step.name for step in theorem.steps if step.name]
    assert len(set(names)) == len(names) > 0
    assert theorem.witnesses
    assert theorem.assumptions
    assert theorem.symbolic
    for name in names:
        theorem.result(name)


def test_ids_are_in_order():
    assert [theorem.id for theorem in THEOREMS.values()] == list(MODULES)
    assert all(int(a[1:]) + 1 == int(b[1:]) for a, b in pairwise(MODULES))


@pytest.mark.parametrize("theorem", THEOREMS.values(), ids=THEOREMS)
def test_latex_knows_every_letter(theorem: Theorem):
    words = [theorem.title, theorem.statement, theorem.symbolic, theorem.enumerated, theorem.remark]
    words += [*theorem.assumptions, *(word for s in theorem.steps for word in (s.claim, s.rule, s.why_given))]
    words += [word for w in theorem.witnesses for word in (w.dropped, w.instance, w.conclusion, w.knob)]
    unknown = set(re.sub(r"\w[\u0302\u0304]", "", "".join(words), flags=re.ASCII)) - set(LETTERS)
    unknown = {letter for letter in unknown if ord(letter) > 127 and letter not in "\u0302\u0304"}
    assert not unknown


def test_exact_integers_only():
    """Floating-point numbers in a derivation would make its checks approximate."""
    for theorem in THEOREMS.values():
        for step in theorem.steps:
            for side in (sympify(step.left), sympify(step.right)):
                assert not any(atom.is_Float for atom in side.atoms()), step.claim
