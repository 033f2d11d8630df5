"""A theorem as text for a terminal: the expressions that were checked, printed by SymPy in two dimensions."""

import textwrap

from sympy import Eq, Ge, Gt, pretty

from proofs.line import line
from proofs.parts import Definition, Step
from proofs.timing import Outcome
from proofs.verify import Report

_WIDTH = 110
_RELATIONS = {"=": Eq, "≥": Ge, ">": Gt}


def text(report: Report) -> str:
    """The derivation line by line, in Unicode mathematics, with the verdict of each step."""
    theorem = report.theorem
    lines = [f"{theorem.id}  {theorem.title}", "", *_wrap(theorem.statement), "", "Results"]
    lines += [row for name, formula in theorem.formulas().items() for row in _wrap(f"{name}: {formula}", "  · ")]
    lines += ["", "Definitions"]
    lines += [row for part in theorem.definitions for row in _wrap(_meaning(part), "  · ")]
    lines += ["", "Assumptions"]
    lines += [row for assumption in theorem.assumptions for row in _wrap(assumption.name, "  · ")]
    lines += ["", *_wrap(f"Symbolic: {theorem.symbolic}."), *_wrap(f"Enumerated: {theorem.enumerated}.")]
    lines += ["", "Derivation"]
    for number, (step, outcome) in enumerate(zip(theorem.steps, report.steps, strict=True), start=1):
        lines += ["", *_wrap(step.claim, f"{number:3}. "), "", *_equation(step), ""]
        lines += _wrap(f"{step.begins}" or "the step before", "     begins with: ")
        lines += _wrap(step.rule, "     by: ") + _wrap(_given(step), "     given: ")
        lines.append(f"     {_verdict(outcome)}")
    lines += ["", "Witnesses: the conclusion with an assumption, and without it"]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        lines += ["", *_wrap(f"without: {witness.dropped}", "  · ")]
        about = f"conclusion ({witness.about}): {witness.conclusion}"
        for part in (witness.instance, about, outcome.detail, _verdict(outcome)):
            lines += _wrap(part, "    ")
    lines += [*(["", "Not proved here"] if theorem.not_proved else [])]
    lines += [row for part in theorem.not_proved for row in _wrap(part, "  · ")]
    if theorem.remark:
        lines += ["", *_wrap(f"Remark. {theorem.remark}")]
    lines += [row for fault in report.faults for row in ("", *_wrap(fault, "✗ NOT JOINED: "))]
    return "\n".join([*(row.rstrip() for row in lines), ""])


def failures(report: Report) -> str:
    """Every step and witness that does not hold, with both sides and their difference; empty if there is none."""
    theorem, lines = report.theorem, []
    for step, outcome in zip(theorem.steps, report.steps, strict=True):
        if not outcome.verified:
            lines += [f"{theorem.id}, step not verified: {step.claim}", *_equation(step), f"      {outcome.detail}", ""]
    for witness, outcome in zip(theorem.witnesses, report.witnesses, strict=True):
        if not outcome.verified:
            lines += [f"{theorem.id}, witness not verified: {witness.dropped}", f"      {witness.conclusion}"]
            lines += [f"      {outcome.detail}", ""]
    lines += [row for fault in report.faults for row in (*_wrap(fault, f"{theorem.id}, not joined: "), "")]
    return "\n".join([*lines, ""]) if lines else ""


def _meaning(part: Definition) -> str:
    """A definition in one line; the expressions without a letter are where the steps begin."""
    letter = [] if part.letter is None else [f"{line(part.letter)} := {line(part.body)}"]
    equations = [f"{line(left)} = {line(right)}" for left, right in part.equations.items()]
    return ": ".join(filter(None, (part.name, "; ".join(filter(None, (part.words, *letter, *equations))))))


def _given(step: Step) -> str:
    return "; ".join(map(str, (*step.given, *step.where)))


def _wrap(prose: str, bullet: str = "") -> list[str]:
    return textwrap.wrap(prose, _WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))


def _verdict(outcome: Outcome) -> str:
    return f"✓ verified in {outcome.seconds:.2f} s" if outcome.verified else f"✗ NOT VERIFIED: {outcome.detail}"


def _equation(step: Step) -> list[str]:
    """The claim in two dimensions; the right side goes below the left one where the line would be too long."""
    sides = [pretty(side, wrap_line=False).splitlines() for side in (step.left, step.right)]
    if len(sides[0][0]) + len(sides[1][0]) + 8 <= _WIDTH:
        lines = pretty(_RELATIONS[step.relation](step.left, step.right, evaluate=False), wrap_line=False).splitlines()
    else:
        lines = [*sides[0], step.relation, *sides[1]]
    return [f"      {line}" for line in lines]
