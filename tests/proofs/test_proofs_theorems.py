"""All theorems hold as wholes, and nothing in them can be changed unnoticed."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from sympy import sympify

from proofs.command import MODULES, load
from proofs.corrupt import KINDS, attack, corruptions
from proofs.joints import faults
from proofs.notation import j, p, q, α
from proofs.tex import LETTERS
from proofs.theorem import Theorem
from proofs.verify import verify

THEOREMS = {name: load(name) for name in MODULES}
each_theorem = pytest.mark.parametrize("theorem", THEOREMS.values(), ids=THEOREMS)
LONG = ("T5", "T7", "T9", "T12", "T15", "T17")  # half a minute to a minute each
each_attacked = pytest.mark.parametrize(
    "theorem",
    [pytest.param(THEOREMS[name], id=name, marks=[pytest.mark.slow] * (name in LONG)) for name in THEOREMS],
)


@cache
def attacked(name: str):
    return attack(THEOREMS[name])


@each_theorem
def test_theorems_hold(theorem: Theorem):
    report = verify(theorem)
    for step, outcome in zip(theorem.steps, report.steps, strict=True):
        assert outcome.verified, f"{step.claim}\n{step.left}\n{step.relation} {step.right}\n{outcome.detail}"
    for outcome in report.witnesses:
        assert outcome.verified, f"{outcome.claim}: {outcome.detail}"
    assert report.faults == ()
    assert report.verified


@each_attacked
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


def changed_step(theorem: Theorem, name: str, change) -> Theorem:
    """The step of this name with `change` of its two sides."""
    steps = []
    for step in theorem.steps:
        sides = change(step.left, step.right) if name in (step.name, step.label) else (step.left, step.right)
        steps.append(replace(step, left=sides[0], right=sides[1]))
    return replace(theorem, steps=tuple(steps))


@pytest.mark.parametrize(
    ("theorem", "step", "change"),
    [
        ("T5", "direction", lambda left, right: (left, -right)),
        ("T5", "conditioning", lambda left, right: (left, right.subs(j, j + 1))),
        ("T5", "GRPO w0", lambda left, right: (-left, -right)),
        ("T6", "mean over positives", lambda left, right: (2 * left, 2 * right)),
        ("T6", "F-ISFT, advantage form", lambda left, right: (left.xreplace({α: 1 - α}), right.xreplace({α: 1 - α}))),
        ("T8", "reverse", lambda left, right: (-left, -right)),
        ("T8", "wrong sign", lambda left, right: (-left, right)),
        ("T9", "score of a response", lambda left, right: (left - p, right - p)),
        ("T9", "rate", lambda left, right: (2 * left, 2 * right)),
        ("T12", "excess", lambda left, right: (2 * left, 2 * right)),
        ("T12", "against plain", lambda left, right: (-left, -right)),
        ("T14", "odds", lambda left, right: (1 / left, 1 / right)),
    ],
)
def test_changes_that_a_referee_would_try(theorem, step, change):
    """Most of them keep the step true; none keeps the theorem whole."""
    assert not verify(changed_step(THEOREMS[theorem], step, change)).verified


def test_a_rule_that_both_sides_misstate_does_not_join_t5():
    """T6 with another Φ *and* another c, in the definition and in the step: true, but not the c(p) of T5."""
    theorem = THEOREMS["T6"]
    definitions = tuple(
        replace(part, body=2 * part.body) if part.name == "Φ′ of mean over positives" else part
        for part in theorem.definitions
    )
    doubled = changed_step(
        replace(theorem, definitions=definitions), "mean over positives", lambda left, right: (2 * left, 2 * right)
    )
    report = verify(doubled)
    assert all(outcome.verified for outcome in report.steps)
    assert len(report.faults) == 1
    assert "does not end with T5: mean over positives" in report.faults[0]


def test_what_a_cited_theorem_rests_on_is_known_where_it_is_cited():
    theorem = THEOREMS["T13"]
    definitions = tuple(
        replace(part, equations={q: 1 - 2 * p}) if part.name == "q = 1 − p" else part for part in theorem.definitions
    )
    found = list(faults(replace(theorem, definitions=definitions)))
    assert any("T5: total probability at n := G − 1 rests on 'p = 1 − q', which is not known here" in f for f in found)
