"""Evaluate what the kernel proved: the terms of Coq's statements and definitions, as `Set Printing All` writes them.

Coq prints a closed term without notations: constants, variables, applications, functions. Each constant is either one
of the operations of MathComp in PRIMITIVES, which Python carries out, or it is unfolded to the body that Coq prints.
Rational numbers stay exact up to the first irrational root or logarithm. Arguments are evaluated when they are needed,
so types never are, except to go through a finite one.
"""

import itertools
import math
import re
import subprocess
import tempfile
from fractions import Fraction
from functools import reduce
from pathlib import Path

from sympy import Symbol, diff, sympify

from proofs.kernel.check import find_coq
from proofs.kernel.source import read_all

_TOKEN = re.compile(r"=>|:=|[()@,:]|[^\s()@,:]+")
RELATIONS = {"eq", "le", "lt", "is_derive"}
JOINTS = {"and", "ex", "is_true"}
"""What a statement may end with, and what may stand in front of that."""

_ENDS = {")", ",", "=>", ":", "then", "else", "in", ":=", "return", "as", "with", "|", "end", None}


class Kernel:
    """A folder of compiled files: statements of theorems and bodies of definitions, as terms."""

    def __init__(self, folder: Path):
        self.coq, self.folder = find_coq(), folder
        self.order = [name for name in read_all() if (folder / f"{name}.vo").exists()]
        self.terms: dict[str, tuple] = {}

    def learn(self, theorems=(), definitions=()):
        """Have Coq print these statements and definitions, and all that they stand on."""
        self._print(list(theorems), "Check @")
        self._print(list(definitions), "Print ")

    def sides(self, theorem, part=0, **values):
        """Both sides of the relation that a theorem states, for these values of its variables: an equation, an order,
        or a function and its derivative. `part` is the place of the statement among several that are joined."""
        term, env = self.terms[theorem], {}
        while term[0] != "app" or (head := last(term[1][1])) not in RELATIONS:
            if term[0] in ("forall", "fun"):
                env |= {name: values.get(name) for name in term[1]}
                term = term[2]
            else:
                assert head in JOINTS, f"{theorem} ends with {head}, not with a relation"
                term = term[2][part if head == "and" else -1]
        return tuple(self.value(side, env) for side in term[2][-2:])

    def constant(self, name, *values):
        """A definition, applied to these values."""
        return apply(self.value(self.terms[name], {}), *values)

    def value(self, term, env):
        kind = term[0]
        if kind == "name":
            name = term[1]
            if name in env:
                return env[name]() if isinstance(env[name], Thunk) else env[name]
            primitive = PRIMITIVES.get(last(name))
            return self.value(self.terms[name], {}) if primitive is None else primitive
        if kind == "app":
            return apply(self.value(term[1], env), *(Thunk(self, part, env) for part in term[2]))
        if kind == "fun":
            return native(
                lambda *values: self.value(term[2], env | dict(zip(term[1], values, strict=True))), len(term[1])
            )
        if kind == "match":
            constructor, *parts = destruct(self.value(term[1], env))
            names, body = term[2][constructor]
            return self.value(body, env | dict(zip(names, parts, strict=True)))
        if kind == "fix":
            name, names, body = term[1:]
            itself = native(
                lambda *values: self.value(body, env | {name: itself} | dict(zip(names, values, strict=True))),
                len(names),
            )
            return itself
        if kind == "let":
            return self.value(term[3], env | {term[1]: Thunk(self, term[2], env)})
        raise AssertionError(term)

    def _print(self, names, command):
        """Have Coq print these and, in turn, all that they mention and Python does not know."""
        while names := [name for name in names if name not in self.terms]:
            lines = [
                f"From Rino Require Import {' '.join(self.order)}.",
                "Set Printing All. Set Printing Depth 100000.",
            ]
            lines += [f'Redirect "{name}" {command}{name}.' for name in names]
            # In a folder of its own: the compiled files are shared by the workers of a session.
            with tempfile.TemporaryDirectory(prefix="rino-ask-") as place:
                (Path(place) / "ask.v").write_text("\n".join(lines) + "\n", encoding="utf-8")
                asked = subprocess.run(
                    [self.coq / "coqc", "-q", "-w", "none", "-Q", self.folder, "Rino", "ask.v"],
                    cwd=place,
                    capture_output=True,
                    text=True,
                )
                assert not asked.returncode, asked.stderr
                printed = {name: (Path(place) / f"{name}.out").read_text(encoding="utf-8") for name in names}
            for name, text in printed.items():
                body = text.partition(" = " if command == "Print " else "\n     : ")[2]
                self.terms[name] = Parser(body.partition("\n     : ")[0]).term()
            names = sorted({free for name in names for free in mentioned(self.terms[name], frozenset())})
            command = "Print "


class Parser:
    """Terms: name, app(f, args), fun(names, body), forall(names, body), fix(name, names, body), match, let."""

    def __init__(self, text):
        self.tokens, self.at = _TOKEN.findall(text), 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, expected=None):
        token = self.peek()
        assert expected in (None, token), f"{expected} expected, not {token}"
        self.at += 1
        return token

    def term(self):
        if self.peek() in ("fun", "forall"):
            kind = self.take()
            names = self.binders("=>" if kind == "fun" else ",")
            return kind, names, self.term()
        if self.peek() == "fix":
            self.take()
            name, names = self.take(), self.binders("{struct")
            self.take()
            self.take(":")
            self.term()
            self.take(":=")
            return "fix", name, names, self.term()
        if self.peek() == "let":
            self.take()
            name = self.take()
            if self.peek() == ":":
                self.take()
                self.term()
            self.take(":=")
            bound = self.term()
            self.take("in")
            return "let", name, bound, self.term()
        parts = []
        while self.peek() not in _ENDS:
            parts.append(self.atom())
        return parts[0] if len(parts) == 1 else ("app", parts[0], parts[1:])

    def choice(self):
        """A match on a boolean, a number or a sequence."""
        self.take("match")
        condition = self.term()
        while self.peek() in ("as", "in", "return"):
            self.take()
            self.term()
        self.take("with")
        branches = {}
        while self.peek() == "|":
            self.take()
            constructor, *names = iter(self.take, "=>")
            branches[constructor] = names, self.term()
        self.take("end")
        return "match", condition, branches

    def atom(self):
        if self.peek() == "match":
            return self.choice()
        if self.peek() == "@":
            self.take()
        if self.peek() != "(":
            return "name", self.take()
        self.take("(")
        inner = self.term()
        if self.peek() == ":":
            self.take()
            self.term()
        self.take(")")
        return inner

    def binders(self, end):
        names = []
        while self.peek() != end:
            bracket = self.peek() == "("
            if bracket:
                self.take()
            while self.peek() != ":":
                names.append(self.take())
            self.take(":")
            self.term()
            if bracket:
                self.take(")")
        self.take(end)
        return names


def mentioned(term, bound):
    """The constants of a term that Python does not know; types and proofs are never evaluated, and not followed."""
    kind = term[0]
    if kind == "name":
        name = term[1]
        known = name in bound or last(name) in PRIMITIVES or not relevant(name)
        return set() if known else {name}
    if kind == "app":
        parts = term[2][: RECORDS.get(term[1][1], len(term[2]))]
        return set().union(*(mentioned(part, bound) for part in (term[1], *parts)))
    if kind in ("fun", "forall"):
        return mentioned(term[2], bound | set(term[1]))
    if kind == "fix":
        return mentioned(term[3], bound | {term[1], *term[2]})
    if kind == "let":
        return mentioned(term[2], bound) | mentioned(term[3], bound | {term[1]})
    branches = (mentioned(body, bound | set(names)) for names, body in term[2].values())
    return mentioned(term[1], bound).union(*branches)


def relevant(name):
    """Whether a constant may be one of this development: those of MathComp have a module in front."""
    module = name.rpartition(".")[0]
    return (not module or last(module) in read_all()) and last(name) not in TYPES


def last(name):
    """A constant's name without its module."""
    return name.rpartition(".")[2]


def destruct(value):
    """The constructor of a boolean, a number or a sequence, and what it was given."""
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, int):
        return ("S", value - 1) if value else ("O",)
    return ("cons", value[0], value[1:]) if value else ("nil",)


class Thunk:
    """A value that is computed when it is needed, once."""

    def __init__(self, kernel, term, env):
        self.parts, self.found = (kernel, term, env), None

    def __call__(self):
        if self.found is None:
            kernel, term, env = self.parts
            self.found = kernel.value(term, env)
        return self.found


def force(value):
    return value() if isinstance(value, Thunk) else value


def apply(function, *values):
    return force(function)(*values) if values else force(function)


def native(function, arity, given=()):
    """A Python function of so many arguments that takes them one by one or all at once."""

    def curried(*values):
        together = (*given, *values)
        if len(together) < arity:
            return native(function, arity, together)
        return apply(function(*together[:arity]), *together[arity:])

    return curried


def strict(function, arity, skip=0):
    """A function of `arity` arguments, the first `skip` of which, types and structures, are not looked at."""
    return native(lambda *values: function(*map(force, values[skip:])), arity)


def _root(x):
    x = Fraction(x) if isinstance(x, int) else x
    if isinstance(x, Fraction) and x >= 0:
        above, below = math.isqrt(x.numerator), math.isqrt(x.denominator)
        if above**2 == x.numerator and below**2 == x.denominator:
            return Fraction(above, below)
    return math.sqrt(x) if x > 0 else 0


def _inverse(x):
    return 0 if x == 0 else 1 / (Fraction(x) if isinstance(x, int) else x)


def _bigop(first, members, body):
    total = first
    for member in reversed(members):
        operation, holds, summand = apply(body, member)
        total = apply(operation, force(summand), total) if force(holds) else total
    return total


def _functions(domain, codomain):
    return [
        native(lambda i, values=values: values[domain.index(force(i))], 1)
        for values in itertools.product(codomain, repeat=len(domain))
    ]


def complete_responses(vocabulary, eos, horizon):
    """The responses within the horizon. A test holds the definition in Coq to be this."""
    if not horizon:
        return [()]
    longer = complete_responses(vocabulary, eos, horizon - 1)
    return [(a, *rest) for a in vocabulary for rest in ([()] if a == eos else longer)]


X = Symbol("X")
"""The variable of Coq's polynomials, which are SymPy's expressions here."""

PRIMITIVES = {
    "zero": strict(lambda: 0, 1, 1),
    "one": strict(lambda: 1, 1, 1),
    "add": strict(lambda x, y: x + y, 3, 1),
    "mul": strict(lambda x, y: x * y, 3, 1),
    "opp": strict(lambda x: -x, 2, 1),
    "inv": strict(_inverse, 2, 1),
    "exp": strict(lambda x, n: x**n, 3, 1),
    "natmul": strict(lambda x, n: x * n, 3, 1),
    "sqrtr": strict(_root, 2, 1),
    "ln": strict(math.log, 2, 1),
    "lt": strict(lambda x, y: x < y, 4, 2),
    "le": strict(lambda x, y: x <= y, 4, 2),
    "min": strict(min, 4, 2),
    "max": strict(max, 4, 2),
    "eq_op": strict(lambda x, y: x == y, 3, 1),
    "bigop": strict(_bigop, 5, 2),
    "BigBody": native(lambda *values: values[3:], 6),
    "index_enum": strict(list, 1),
    "ordinal_finType": strict(range, 1),
    "bool_finType": [True, False],
    "finfun_finType": strict(_functions, 2),
    "exp_finIndexType": strict(range, 1),
    "finfun_of_finType": strict(_functions, 2),
    "finfun": strict(lambda f: f, 3, 2),
    "fun_of_fin": strict(lambda f: f, 4, 3),
    "nat_of_ord": strict(lambda i: i, 2, 1),
    "nat_of_bool": strict(int, 1),
    "ord0": strict(lambda: 0, 1, 1),
    "O": 0,
    "S": strict(lambda n: n + 1, 1),
    "predn": strict(lambda n: max(n - 1, 0), 1),
    "addn": strict(lambda m, n: m + n, 2),
    "subn": strict(lambda m, n: max(m - n, 0), 2),
    "muln": strict(lambda m, n: m * n, 2),
    "leq": strict(lambda m, n: m <= n, 2),
    "binomial": strict(math.comb, 2),
    "true": True,
    "false": False,
    "negb": strict(lambda b: not b, 1),
    "andb": native(lambda a, b: force(a) and force(b), 2),
    "orb": native(lambda a, b: force(a) or force(b), 2),
    "card": strict(lambda members, holds: sum(bool(apply(holds, x)) for x in members), 2),
    "mem": strict(lambda holds: holds, 3, 2),
    "finset": strict(lambda holds: holds, 2, 1),
    "pred_of_set": strict(lambda holds: holds, 2, 1),
    "in_mem": strict(lambda x, holds: bool(apply(holds, x)), 3, 1),
    "setTfor": native(lambda *_: native(lambda _: True, 1), 2),
    "iter": strict(lambda n, f, x: reduce(lambda y, _: apply(f, y), range(n), x), 4, 1),
    "response_finType": strict(complete_responses, 3),
    "nil": native(lambda _: (), 1),
    "cons": strict(lambda a, y: (a, *y), 3, 1),
    "rcons": strict(lambda y, a: (*y, a), 3, 1),
    "index_iota": strict(range, 2),
    "polyX": native(lambda _: X, 1),
    "scale": strict(lambda c, f: c * f, 4, 2),
    "deriv": strict(lambda f: diff(f, X), 2, 1),
    "horner": strict(lambda f, x: sympify(f).subs(X, x), 3, 1),
    "expR": strict(math.exp, 2, 1),
    "size": strict(len, 2, 1),
    "take": strict(lambda n, y: y[:n], 3, 1),
    "nth": strict(lambda default, y, n: y[n] if n < len(y) else default, 4, 1),
    "tokens": strict(lambda y: y, 4, 3),
    "token_prob": strict(lambda policy: policy, 3, 2),
    "dtoken_prob": strict(lambda rates: rates, 4, 3),
    "Variation": native(lambda *values: force(values[3]), 6),
    "Policy": native(lambda *values: force(values[2]), 5),
}
"""What Python carries out, with the number of arguments that Coq gives it; division by 0 is 0, as in Coq."""

RECORDS = {"Variation": 4, "Policy": 3}
"""How many arguments of a record's constructor are data; the others are proofs, and never evaluated."""

TYPES = {
    "nat", "bool", "policy", "variation", "response", "token_weights", "outcome_rule", "rcfType",
    "is_true", "and", "ex", "eq", "Type", "Prop", "list", "_", "response_eqType", "sampled", "realType", "level_rule",
}  # fmt: skip
"""Names of types, which are not unfolded."""
