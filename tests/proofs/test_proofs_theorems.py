"""All theorems hold as wholes, and nothing in them can be changed unnoticed."""

import re
from functools import cache
from itertools import pairwise

import pytest
from sympy import sympify

from proofs.command import MODULES, load
from proofs.corrupt import KINDS, attack, corruptions
from proofs.joints import faults
from proofs.tex import LETTERS
from proofs.theorem import Theorem

THEOREMS = {name: load(name) for name in MODULES}
each_theorem = pytest.mark.parametrize("theorem", THEOREMS.values(), ids=THEOREMS)


@cache
def attacked(name: str):
    return attack(THEOREMS[name])


@each_theorem
def test_theorems_hold(theorem: Theorem):
    report = theorem.check()
    for step, outcome in zip(theorem.steps, report.steps, strict=True):
        assert outcome.verified, f"{step.claim}\n{step.left}\n{step.relation} {step.right}\n{outcome.detail}"
    for outcome in report.witnesses:
        assert outcome.verified, f"{outcome.claim}: {outcome.detail}"
    assert report.faults == ()
    assert report.verified


@each_theorem
def test_every_corruption_is_noticed(theorem: Theorem):
    found = attacked(theorem.id)
    assert not found.missed, [f"{missed.kind}: {missed.part}" for missed in found.missed]


@each_theorem
def test_every_step_is_corrupted_in_every_way(theorem: Theorem):
    """Both sides alike, one side, left out; each hypothesis; and both sides in a way that leaves the step true."""
    tried: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for corruption in corruptions(theorem):
        tried[corruption.kind].append(corruption.part.partition(",")[0])
    steps = {f"step {number}" for number in range(1, len(theorem.steps) + 1)}
    for kind in ("both sides", "one side", "dropped step"):
        assert set(tried[kind]) == steps
    assert len(tried["missing hypothesis"]) == sum(len((*step.given, *step.where)) for step in theorem.steps)
    assert len(tried["assumption"]) == len(theorem.assumptions)
    assert len(tried["witness"]) >= 3 * len(theorem.witnesses)
    assert len(tried["hypothesis"]) >= len(theorem.definitions)


@each_theorem
def test_consistent_corruptions_leave_the_step_true_and_break_a_joint(theorem: Theorem):
    """It is the joints that catch them: SymPy would let most of them pass."""
    seen = 0
    for corruption in corruptions(theorem):
        if corruption.kind == "both sides":
            assert next(faults(corruption.theorem), None) is not None, corruption.part
            number = corruption.steps[0]
            step = corruption.theorem.steps[number]
            if step.over is None and corruption.part.endswith(("doubled", "negated")) and seen < 6:
                seen += 1
                assert corruption.theorem.check_step(number).verified, corruption.part
    assert seen


@each_theorem
def test_no_step_is_empty(theorem: Theorem):
    for step in theorem.steps:
        assert step.relation != "=" or step.left != step.right, "SymPy made both sides the same before any check"
        assert step.claim
        assert step.rule


@each_theorem
def test_theorems_say_what_they_are_about(theorem: Theorem):
    assert theorem.results
    assert theorem.witnesses
    assert theorem.assumptions
    assert theorem.symbolic
    assert "{" not in theorem.statement
    for part in (*theorem.definitions, *theorem.not_proved):
        assert part
    for name, formula in theorem.formulas().items():
        assert re.search(r" [=≥>] ", formula), name


def test_ids_are_in_order():
    assert [theorem.id for theorem in THEOREMS.values()] == list(MODULES)
    assert all(int(a[1:]) + 1 == int(b[1:]) for a, b in pairwise(MODULES))


@each_theorem
def test_latex_knows_every_letter(theorem: Theorem):
    words = [theorem.title, theorem.statement, theorem.symbolic, theorem.enumerated, theorem.remark]
    words += [*theorem.results, *theorem.not_proved, *(part.name for part in theorem.assumptions)]
    for step in theorem.steps:
        words += [step.claim, step.rule, *map(str, (*step.given, *step.where))]
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
