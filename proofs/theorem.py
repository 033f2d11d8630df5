"""A theorem: a statement whose formulas are the results of a chain of steps, and witnesses of its assumptions.

It is verified if each step is, if the steps join to chains that begin with definitions and end with the statement
(`proofs.joints`), and if each witness shows that its assumption is needed. Nothing is taken on trust except SymPy, the
reading of words as expressions, and what `not_proved` lists.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sympy import Basic, Expr, Lambda, Number, Symbol, Wild, sympify
from sympy.core.function import AppliedUndef

from proofs.line import line
from proofs.parts import Assumption, Cited, Definition, Equations, Relation, Step, Witness, cited, put_in
from proofs.settle import carry_out, settle
from proofs.timing import Outcome

_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Theorem:
    """A statement with its derivation and the witnesses of its assumptions.

    Args:
        id: "T1", "T2", …
        title: A few words.
        words: What is claimed, in words without formulas; `{name}` is the right side of the result of that name.
        results: The names of the results in the order of the steps: their equations belong to the statement.
        definitions: What the letters and names mean.
        assumptions: All that is assumed.
        steps: The derivation.
        witnesses: At least one for each assumption.
        model: A value for each letter and function in the equations of definitions and assumptions, which all hold
            there: it shows that they do not contradict each other and that none is misstated.
        after: Earlier theorems that steps cite.
        not_proved: What the words might seem to say but no step proves, each by name.
        remark: What is *not* claimed, or where the literature says otherwise.
    """

    id: str
    title: str
    words: str
    results: tuple[str, ...]
    definitions: tuple[Definition, ...]
    assumptions: tuple[Assumption, ...]
    steps: tuple[Step, ...]
    witnesses: tuple[Witness, ...]
    model: Mapping[Basic, Basic] = field(default_factory=dict)
    after: tuple["Theorem", ...] = ()
    not_proved: tuple[str, ...] = ()
    remark: str = ""

    @property
    def statement(self) -> str:
        """The words, with the formulas of results in their places; `formulas` has the rest of the statement."""
        return _PLACE.sub(lambda match: line(self.result(match[1])), self.words)

    def formulas(self) -> dict[str, str]:
        """Each result as one line: where its chain begins, the relation, and where it ends."""
        equations = {name: self.equation(name) for name in self.results}
        return {name: f"{line(a)} {relation} {line(b)}" for name, (a, relation, b) in equations.items()}

    def equation(self, name: str) -> tuple[Expr, Relation, Expr]:
        """The beginning and the end of the chain that leads to the step of this name or label."""
        number = next(number for number, step in enumerate(self.steps) if name in (step.name, step.label))
        end, relations = self.steps[number].right, {self.steps[number].relation}
        while not self.steps[number].begins:
            number -= 1
            relations.add(self.steps[number].relation)
        relation: Relation = ">" if ">" in relations else "≥" if "≥" in relations else "="
        return sympify(self.steps[number].left), relation, sympify(end)

    def result(self, name: str) -> Expr:
        """The right side of the step of this name: a formula of the statement."""
        return next(step.right for step in self.steps if step.name == name)

    @cached_property
    def symbolic(self) -> str:
        """The letters and functions of the results: they hold for all of their values."""
        sides = [side for name in self.results for side in self.equation(name)[::2]]
        letters = sorted({letter for side in sides for letter in side.free_symbols}, key=lambda letter: letter.name)
        functions = sorted({line(part.func) for side in sides for part in side.atoms(AppliedUndef)})
        integers = [line(letter) for letter in letters if letter.is_integer]
        numbers = [line(letter) for letter in letters if not letter.is_integer]
        kinds = (("integers", integers), ("numbers", numbers), ("functions", functions))
        return "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds if names)

    @cached_property
    def enumerated(self) -> str:
        """The letters that a step puts a number in for, with the numbers."""
        puts = [citation.put for step in self.steps for citation in step.citations]
        inductions = {step.over for step in self.steps}
        values: dict[str, set[str]] = {}
        for letter, value in (pair for put in puts for pair in put.items()):
            if isinstance(letter, Symbol) and letter not in inductions and isinstance(sympify(value), Number):
                values.setdefault(line(letter), set()).add(str(value))
        return ", ".join(f"{letter} = {', '.join(sorted(found))}" for letter, found in values.items()) or "nothing"

    def hypotheses(self) -> Mapping[str, Equations]:
        """The equations of each definition and assumption."""
        parts: tuple[Definition | Assumption, ...] = (*self.definitions, *self.assumptions)
        return {part.name: part.equations for part in parts}

    def meaning(self, citation: str | Cited, before: int) -> Expr:
        """What a chain that begins with this citation begins with; KeyError if step number `before` cannot cite it."""
        name, put = cited(citation).name, cited(citation).put
        for definition in self.definitions:
            if definition.name == name and definition.body is not None:
                return specialised(sympify(definition.body), put)
        return specialised(sympify(self.step(name, before).right), put)

    def equations(self, citation: str | Cited, before: int) -> Equations:
        """The equations that step number `before` uses by this citation; KeyError if it cannot."""
        name, put = cited(citation).name, cited(citation).put
        known = self.hypotheses()
        if name in known:
            equations = known[name]
        else:
            theorem, step = self.find(name, before)
            start, relation, end = theorem.equation(step.name or step.label)
            equations = {sympify(step.left): end} | {start: end} if relation == "=" else {}
        return {specialised(left, put): specialised(sympify(right), put) for left, right in equations.items()}

    def step(self, name: str, before: int) -> Step:
        """The step of this name or label before number `before`, or of an earlier theorem; else KeyError."""
        return self.find(name, before)[1]

    def find(self, name: str, before: int) -> tuple["Theorem", Step]:
        """The step as in `step`, and the theorem that it is a step of."""
        for theorem in self.after:
            if name.startswith(f"{theorem.id}: "):
                return theorem, theorem.step(name.removeprefix(f"{theorem.id}: "), len(theorem.steps))
        for step in self.steps[:before]:
            if name and name in (step.name, step.label):
                return self, step
        raise KeyError(name)

    def rests_on(self, name: str) -> frozenset[str]:
        """The definitions and assumptions whose equations the step of this name uses, itself or through others."""
        number = next((n for n, step in enumerate(self.steps) if name in (step.name, step.label)), None)
        if number is None:
            return frozenset([name]) if self.hypotheses().get(name) else frozenset()
        step = self.steps[number]
        found: set[str] = set()
        for citation in step.citations:
            found |= self.rests_on(citation.name)
        while not step.begins:
            number -= 1
            step = self.steps[number]
            for citation in step.citations:
                found |= self.rests_on(citation.name)
        return frozenset(found)

    def check_step(self, number: int) -> Outcome:
        """Let SymPy verify one step under what it cites."""
        step = self.steps[number]
        try:
            equations = [pair for citation in step.given for pair in self.equations(citation, number).items()]
            # What is known of letters is put into what is known of sums.
            letters = {left: right for left, right in equations if left.is_Symbol}
            others = {left: right for left, right in equations if left not in letters}
            given = letters | {left.subs(letters): right.subs(letters) for left, right in others.items()}
            bodies = {d.name: {sympify(d.body): d.letter} for d in self.definitions if d.letter is not None}
            where = {body: letter for name in step.where for body, letter in bodies[name].items()}
        except KeyError as missing:
            return Outcome(step.claim, False, f"nothing that can be cited is named {missing}", 0.0)
        if step.over is not None:
            return _induction(self, number)
        return step.check(given, where)


def specialised(expression: Basic, put: Mapping[Basic, Basic]) -> Basic:
    """The expression with values in the place of letters, and with lambdas in the place of functions."""
    for function, value in put.items():
        if isinstance(value, Lambda):
            expression = expression.replace(function, value)
    return put_in(expression, {letter: value for letter, value in put.items() if not isinstance(value, Lambda)})


def _induction(theorem: Theorem, number: int) -> Outcome:
    """f(0) = c(0) and f(n+1) = h, where h under the hypothesis f(n) = c(n) is c(n+1): so f = c."""
    step = theorem.steps[number]
    n = step.over
    assert n is not None
    base, onward = (theorem.equation(cited(name).name) for name in step.given)
    left, right = sympify(step.left), sympify(step.right)
    smallest = 1 if n.is_positive else 0
    # The hypothesis of the induction is for all values of the other arguments.
    others = {part: Wild(part.name) for part in left.args if isinstance(part, Symbol) and part != n}
    supposed = onward[2].replace(left.xreplace(others), right.xreplace(others))
    joined = (
        (base[1], onward[1], step.relation) == ("=", "=", "=")
        and n.is_nonnegative
        and (base[0], base[2]) == (left.subs(n, smallest), right.subs(n, smallest))
        and onward[0] == left.subs(n, n + 1)
        and settle(carry_out(supposed) - right.subs(n, n + 1)) == 0
    )
    return Outcome(step.claim, bool(joined), "base and step of the induction" + ("" if joined else " do not fit"), 0.0)
