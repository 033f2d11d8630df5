"""T16: how fast each rule learns one prompt under gradient flow, and where it stalls."""

from sympy import Derivative, Expr, Function, Integer, Lambda, Limit, Rational, S, Sum, exp, log, sqrt, symbols

from proofs import t16_pulls
from proofs.instances import bandit, grpo, over_length, proportions
from proofs.notation import N, g, j, p, q
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.t16_pulls import z
from proofs.theorem import Theorem

c, bound, κ = symbols("c C kappa", positive=True)
slack = symbols("s", nonnegative=True)
slope = Function("d", real=True)
w, T = symbols("w T", real=True)
rest = symbols("R", positive=True)
moving, squared = Sum(slope(j) * (c * slope(j)), (j, 1, N)), Sum(slope(j) ** 2, (j, 1, N))
NORM = (p * q) ** 2 + Sum((-p * (q / g)) ** 2, (j, 1, g))
path = (1 + T / sqrt(16 + T**2)) / 2

TIMES = {
    "REINFORCE": 1 / (1 - p) - 1 / p + 2 * log(p / (1 - p)),
    "GRPO": 2 * (2 * p - 1) / sqrt(p * (1 - p)),
    "log-likelihood": log(p / (1 - p)) + 1 / (1 - p),
}
"""κ t as a function of p, but for a constant, of the rules whose flow has a closed form."""

COEFFICIENTS = {"REINFORCE": S.One, "GRPO": 1 / sqrt(p * (1 - p)), "log-likelihood": 1 / p}
"""Their c(p); of the last two as the groups grow."""

STALLS = {
    "REINFORCE": (p, Integer(1)),
    "GRPO": (sqrt(p), Integer(2)),
    "log-likelihood": (1 / log(1 / p), Integer(1)),
}
"""What the time from p is multiplied with to have a limit as p tends to 0, and that limit."""


def theorem() -> Theorem:
    return Theorem(
        id="T16",
        title="Rates",
        words=(
            "Under gradient flow with c(p) times the gradient of p the success probability moves at the rate {rate}, "
            "and the parameters run along one curve, whatever the rule is: entropies and lengths are functions of p "
            "alone. For a tabular softmax with one right response and the others alike the rate is {tabular rate}. The "
            "time from p is then known in closed form for three rules, as given below: near 0 it grows like one over p "
            "for REINFORCE, like one over its root for GRPO in groups without end, and like the logarithm for the "
            "log-likelihood. Whatever has a bounded coefficient, as every rule at a finite group size, takes at least "
            "the time of REINFORCE over the bound. With one logit for two prompts, the pull of a hard one grows as it "
            "is learned, except for the log-likelihood, where it falls at every p."
        ),
        results=(
            "rate",
            "one curve",
            "slope of the right logit",
            "slope of a wrong logit",
            "squared slope",
            "tabular rate",
            "entropy",
            "time of REINFORCE",
            "time of GRPO",
            "time of log-likelihood",
            "path of GRPO",
            "path obeys the flow",
            "stall of REINFORCE",
            "stall of GRPO",
            "stall of log-likelihood",
            "bounded coefficient",
            "pull of REINFORCE",
            "pull of GRPO",
            "pull of log-likelihood",
            "log-likelihood keeps both",
        ),
        definitions=(*_of_flow(), *_of_times(), *t16_pulls.definitions()),
        assumptions=(
            Assumption("the gradient of every rule is c(p) ∇p"),
            Assumption("steps are small: θ moves along the gradient continuously"),
            Assumption("tabular softmax: one right response, the others alike"),
            Assumption("c(p) is at most C", equations={bound: c + slack}),
        ),
        model={
            slope: Lambda(j, j),
            N: 2,
            c: 3,
            slack: 2,
            bound: 5,
            κ: Rational(3, 2),
            g: 2,
            p: Rational(1, 4),
            q: Rational(3, 4),
        },
        steps=(*_flow(), *_times(), *t16_pulls.steps()),
        witnesses=_witnesses(),
        not_proved=(
            "That wrong responses which are alike stay so: they have equal slopes (uniqueness of the flow).",
            "That a function whose derivative is one over the rate is the time, but for a constant (calculus).",
            "That times compare as their integrands do (monotony of the integral).",
        ),
        remark=(
            "What a rule changes is the clock: a plot of entropy, or of length, against p is the same for all of them "
            "on one prompt, and a plot against steps is not. The closed forms of GRPO and of the log-likelihood are "
            "limits of large groups; at a finite G the coefficient is bounded, and below p ≈ 1/G every rule stalls as "
            "REINFORCE does, only later."
        ),
    )


def _of_flow() -> tuple[Definition, ...]:
    right = exp(z) / (exp(z) + exp(w) + rest)
    return (
        Definition(
            "rate of p",
            "d(j) is the derivative of p in parameter j, which moves at the rate c d(j)",
            moving,
        ),
        Definition(
            "direction of the curve",
            "how far parameter j moves while p moves by one",
            c * slope(j) / moving,
        ),
        Definition(
            "change in the right logit",
            "p = e^z/(e^z + e^w + R), z the right logit, w a wrong one",
            Derivative(right, z),
        ),
        Definition("change in a wrong logit", "of the same", Derivative(right, w)),
        Definition("squared norm", "of ∇p: p q in the right logit, −p q/n in each of n wrong ones", NORM),
        Definition("κ", "N/(N − 1) with n = N − 1 wrong responses", equations={κ: (g + 1) / g}),
        Definition("tabular rate of p", "c times the squared norm", c * NORM),
        Definition(
            "entropy of the responses",
            "p for the right one, q/n for each of n wrong ones",
            -p * log(p) - Sum(q / g * log(q / g), (j, 1, g)),
        ),
    )


def _flow() -> tuple[Step, ...]:
    right = exp(z) / (exp(z) + exp(w) + rest)
    wrong = exp(w) / (exp(z) + exp(w) + rest)
    return (
        Step(
            "The success probability moves by the chain rule.",
            moving,
            c * squared,
            "Chain rule.",
            begins="rate of p",
            name="rate",
        ),
        Step(
            "Per change of p, no parameter knows c.",
            c * slope(j) / moving,
            slope(j) / squared,
            "Divide the rates.",
            begins="direction of the curve",
            name="one curve",
        ),
        Step(
            "In the right logit the slope is p (1 − p) …",
            Derivative(right, z),
            right * (1 - right),
            "Quotient rule.",
            begins="change in the right logit",
            name="slope of the right logit",
        ),
        Step(
            "… and in a wrong one minus p times its probability.",
            Derivative(right, w),
            -right * wrong,
            "Quotient rule.",
            begins="change in a wrong logit",
            name="slope of a wrong logit",
        ),
        Step(
            "The squares add up.",
            NORM,
            κ * p**2 * q**2,
            "n equal terms.",
            begins="squared norm",
            given=("κ",),
            name="squared slope",
        ),
        Step(
            "So p moves at this rate.",
            c * NORM,
            c * κ * p**2 * q**2,
            "n equal terms.",
            begins="tabular rate of p",
            given=("κ",),
            name="tabular rate",
        ),
        Step(
            "The entropy is a function of p.",
            -p * log(p) - Sum(q / g * log(q / g), (j, 1, g)),
            -p * log(p) - q * log(q / g),
            "n equal terms.",
            begins="entropy of the responses",
            name="entropy",
        ),
    )


def _of_times() -> tuple[Definition, ...]:
    slopes = (
        Definition(f"slope of the time of {name}", "in p, κ = 1", Derivative(time, p)) for name, time in TIMES.items()
    )
    stalls = (
        Definition(
            f"stalling of {name}",
            "minus the antiderivative at p, scaled, as p tends to 0",
            Limit(-TIMES[name] * scale, p, 0, "+"),
        )
        for name, (scale, _) in STALLS.items()
    )
    return (
        *slopes,
        Definition("slope of the path", "p as a function of T = κ t + constant", Derivative(path, T)),
        Definition("right side of the flow", "(p (1 − p))^(3/2) on the path", (path * (1 - path)) ** Rational(3, 2)),
        *stalls,
        Definition(
            "more time than with C",
            "time per p at the coefficient c less that at C",
            1 / (c * κ * p**2 * q**2) - 1 / (bound * κ * p**2 * q**2),
        ),
    )


def _times() -> tuple[Step, ...]:
    slopes = (
        Step(
            f"{name}: c(p) = {shown}.",
            Derivative(TIMES[name], p),
            1 / (COEFFICIENTS[name] * p**2 * (1 - p) ** 2),
            "Derivative: one over the rate.",
            begins=f"slope of the time of {name}",
            name=f"time of {name}",
        )
        for name, shown in (("REINFORCE", "1"), ("GRPO", "1/√(p(1−p)), G → ∞"), ("log-likelihood", "1/p, G → ∞"))
    )
    stalls = (
        Step(
            f"{name}: how the time grows as p tends to 0.",
            Limit(-TIMES[name] * scale, p, 0, "+"),
            limit,
            "Limit.",
            begins=f"stalling of {name}",
            name=f"stall of {name}",
        )
        for name, (scale, limit) in STALLS.items()
    )
    ratio = 8 / (16 + T**2) ** Rational(3, 2)
    return (
        *slopes,
        Step(
            "GRPO's time can be solved for p; the path has this slope …",
            Derivative(path, T),
            ratio,
            "Derivative.",
            begins="slope of the path",
            name="path of GRPO",
        ),
        Step(
            "… which is what the flow asks for.",
            (path * (1 - path)) ** Rational(3, 2),
            ratio,
            "p (1 − p) = 4/(16 + T²).",
            begins="right side of the flow",
            ends="path of GRPO",
            name="path obeys the flow",
        ),
        *stalls,
        Step(
            "Where c is at most C, every step of p takes at least as long as at C …",
            1 / (c * κ * p**2 * q**2) - 1 / (bound * κ * p**2 * q**2),
            slack / (c * (c + slack) * κ * p**2 * q**2),
            "C = c + s.",
            begins="more time than with C",
            given=("c(p) is at most C",),
        ),
        Step(
            "… which is REINFORCE's time over C.",
            slack / (c * (c + slack) * κ * p**2 * q**2),
            S.Zero,
            "Quotient of such numbers.",
            relation="≥",
            name="bounded coefficient",
        ),
    )


half, quarter = Rational(1, 2), Rational(1, 4)


def _lengths(power: Expr) -> tuple[Expr, Expr]:
    tree = bandit((".", quarter, 1), ("a.", quarter, 0), ("aa", half, 1))
    return proportions(tree.group_gradient(grpo, 3, over_length(power)), tree.gradient(tree.reward.__getitem__))


def _finite(step: Expr) -> tuple[Expr, Expr]:
    """REINFORCE on two responses, logits z and 0: the change of p over the step, and ‖∇p‖², at p = 1/2."""
    squares = 2 * quarter**2
    if step == 0:
        return squares, squares
    # The logit difference moves by the step times p q − (−p q).
    return (1 / (1 + exp(-step * half)) - half) / step, squares


def _uneven(shift: Expr) -> tuple[Expr, Expr]:
    """‖∇p‖² and κ p²q² of three responses: right with 1/2, wrong with 1/4 ± δ."""
    tree = bandit(("r", half, 1), ("u", quarter + shift, 0), ("v", quarter - shift, 0))
    gradient = tree.gradient(tree.reward.__getitem__)
    return gradient.dot(gradient), Rational(3, 2) * half**4


def _unbounded(power: Expr) -> tuple[Expr, Expr]:
    """The time from 1/100 to 1/2 with c = p^−λ, and that of REINFORCE; κ = 1."""
    name = "log-likelihood" if power == 1 else "REINFORCE"

    def time(of: str) -> Expr:
        return TIMES[of].subs(p, half) - TIMES[of].subs(p, Rational(1, 100))

    return time(name), time("REINFORCE")


def _witnesses() -> tuple[Witness, ...]:

    return (
        Witness(
            "the gradient of every rule is c(p) ∇p",
            "one curve",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; GRPO, G = 3, weights A/L^λ",
            "E[gradient] / ∇p in the coordinate where it is smallest = where it is largest",
            _lengths,
            "λ",
            0,
            1,
        ),
        Witness(
            "steps are small: θ moves along the gradient continuously",
            "rate",
            "two responses, p = 1/2, one step of REINFORCE of size η (for η = 0 the derivative)",
            "change of p over η = ‖∇p‖²",
            _finite,
            "η",
            0,
            4,
        ),
        Witness(
            "tabular softmax: one right response, the others alike",
            "tabular rate",
            "three responses, right with 1/2, wrong with 1/4 + δ and 1/4 − δ",
            "‖∇p‖² = κ p² q²",
            _uneven,
            "δ",
            0,
            Rational(1, 8),
        ),
        Witness(
            "c(p) is at most C",
            "bounded coefficient",
            "c = p^−λ and C = 1, from p = 1/100 to 1/2",
            "time ≥ that of REINFORCE over C",
            _unbounded,
            "λ",
            0,
            1,
            relation="≥",
        ),
    )
