"""T17, second part: the noise of single rules, of values that are estimated by rollouts, and what it costs a step."""

from collections.abc import Mapping

from sympy import Basic, Expr, Function, Lambda, Rational, S, Sum, sqrt, symbols

from proofs.notation import G, binomial_law, g, i, j, k, n, p, q
from proofs.parts import Cited, Definition, Step
from proofs.t05_binomial import advantage
from proofs.t05_one_direction import RULES, rule
from proofs.theorem import specialised

μ, ν = Function("mu", positive=True), Function("nu", positive=True)
here, there = Function("x", real=True), Function("y", real=True)
credit, B = symbols("A B", real=True)
σ2, τ2, curvature, ρ = symbols("sigma_2 tau_2 C rho", positive=True)
square, step, groups = symbols("D_2 eta n_", positive=True)
coefficient = symbols("c", positive=True)
I, J = symbols("I J", integer=True, positive=True)

LAWS = {
    "right": Sum(binomial_law(g, k) * advantage(1, k + 1) ** 2, (k, 0, g)),
    "wrong": Sum(binomial_law(g, k) * advantage(0, k) ** 2, (k, 0, g)),
}
"""E[A²] of a right and of a wrong response of g + 1."""

PAIRS = Sum(
    binomial_law(g - 1, k)
    * (advantage(1, k + 2) ** 2 - 2 * advantage(1, k + 1) * advantage(0, k + 1) + advantage(0, k) ** 2),
    (k, 0, g - 1),
)

RLOO = {"right": q**2 + p * q / g, "wrong": p**2 + p * q / g, "pairs": 1 + 1 / g**2}
GRPO = rule(sqrt(g + 1 - k) / sqrt(k), -sqrt(k) / sqrt(g + 1 - k))
SQUARE = Sum(binomial_law(G, k) * k * (G - k), (k, 0, G)) / (G * p * q) ** 2

RESULTS = (
    "RLOO, right",
    "RLOO, wrong",
    "RLOO, pairs",
    "floor of RLOO",
    "floor of REINFORCE",
    "GRPO, right",
    "GRPO, wrong",
    "floor of GRPO",
    "estimated values",
    "progress",
    "best step",
)

MODEL: Mapping[Basic, Basic] = {
    μ: Lambda(i, Rational(1, 2)),
    ν: Lambda(i, Rational(1, 2)),
    here: Lambda(i, 2 * i - 3),
    there: Lambda(i, 4 * i - 6),
    σ2: 1,
    τ2: 4,
    I: 2,
    J: 2,
    step: Rational(1, 2),
    curvature: 1,
    ρ: 3,
    groups: 3,
}


def _floor(own_right: Expr, own_wrong: Expr, pairs: Expr, c: Expr) -> Expr:
    """The second moment of the mean given the outcomes over that of the gradient, less 1."""
    return ((own_right / p + own_wrong / q) / (g + 1) + g / (g + 1) * pairs) / c**2 - 1


def _gain(size: Expr) -> Expr:
    return size * square - curvature / 2 * size**2 * square * (1 + ρ / groups)


_BEST = 1 / (curvature * (1 + ρ / groups))


def _over_next(centre: Expr) -> Sum:
    return Sum(ν(j) * (centre + there(j)) ** 2, (j, 1, J))


def _estimated() -> Sum:
    return Sum(μ(i) * _over_next(credit - here(i)), (i, 1, I))


def definitions() -> tuple[Definition, ...]:
    """Moments of rules, estimated values, and the progress of a step."""
    return (
        Definition("W₁", "mean square of the advantage of a right response, by the law", LAWS["right"]),
        Definition("W₀", "the same of a wrong one", LAWS["wrong"]),
        Definition("p W₁", "times the probability of one", p * LAWS["right"]),
        Definition("q W₀", "the same of a wrong one", q * LAWS["wrong"]),
        Definition("m", "the pair factor, by the law", PAIRS),
        Definition(
            "relative variance of RLOO",
            "of the mean given the outcomes, c = 1; W₁ = q² + pq/g, W₀ = p² + pq/g, m = 1 + 1/g²",
            _floor(RLOO["right"], RLOO["wrong"], RLOO["pairs"], S.One),
        ),
        Definition("relative variance of REINFORCE", "c = W₁ = m = 1, W₀ = 0", _floor(S.One, S.Zero, S.One, S.One)),
        Definition(
            "relative variance of GRPO",
            "a group with k right ones has the mean √(k (G − k))/(G p q) times the gradient of p",
            SQUARE / coefficient**2 - 1,
        ),
        Definition("mean square over the next value", "B plus an error y, by its law", _over_next(B)),
        Definition(
            "mean square of estimated credit",
            "A plus the error y of the next value less the error x of this one, independent, by their laws",
            _estimated(),
        ),
        Definition(
            "laws of the errors",
            "means 0, variances σ² of x and τ² of y",
            equations={
                Sum(μ(i), (i, 1, I)): S.One,
                Sum(ν(j), (j, 1, J)): S.One,
                Sum(μ(i) * here(i), (i, 1, I)): S.Zero,
                Sum(ν(j) * there(j), (j, 1, J)): S.Zero,
                Sum(μ(i) * here(i) ** 2, (i, 1, I)): σ2,
                Sum(ν(j) * there(j) ** 2, (j, 1, J)): τ2,
            },
        ),
        Definition(
            "expected progress",
            "at least η D² − C η²/2 E‖ĝ‖², where E‖ĝ‖² = D² (1 + ρ/n) on n groups with the noise scale ρ",
            _gain(step),
        ),
        Definition("η of the best step", "1/(C (1 + ρ/n))", equations={step: _BEST}),
        Definition(
            "short of the best step", "progress of the best step less that of any other", _gain(_BEST) - _gain(step)
        ),
    )


law = Cited("T5: total probability", {n: g})
rloo, grpo = ({advantage: rule_} for rule_ in (RULES["RLOO"], GRPO))


def steps() -> tuple[Step, ...]:
    """RLOO and GRPO in closed form, VinePPO's estimator, and how much of its progress a noisy step keeps."""
    return (
        *_rloo(),
        *_grpo(),
        *_values(),
        *_best_step(),
    )


def _rloo() -> tuple[Step, ...]:
    mean, second = (Cited(f"T5: {name} of the law for all n", {n: g}) for name in ("mean", "second moment"))
    return (
        *(
            Step(
                f"RLOO: the mean square of the advantage of a {outcome} response.",
                specialised(LAWS[outcome], rloo),
                RLOO[outcome],
                "Mean and second moment of the binomial law.",
                begins=Cited(letter, rloo),
                given=(*known, "q = 1 − p"),
                name=f"RLOO, {outcome}",
            )
            for outcome, letter, known in (("right", "W₁", (law, mean, second)), ("wrong", "W₀", (second,)))
        ),
        Step(
            "RLOO: the pair factor does not depend on p.",
            specialised(PAIRS, rloo),
            RLOO["pairs"],
            "The summand is constant.",
            begins=Cited("m", rloo),
            given=(Cited("T5: total probability", {n: g - 1}),),
            name="RLOO, pairs",
        ),
        Step(
            "RLOO: what the outcomes alone cause, relative to the squared gradient.",
            _floor(RLOO["right"], RLOO["wrong"], RLOO["pairs"], S.One),
            1 / ((g + 1) * p * q) - (4 * g - 2) / (g * (g + 1)),
            "Collect.",
            begins="relative variance of RLOO",
            given=("q = 1 − p",),
            name="floor of RLOO",
        ),
        Step(
            "REINFORCE, the same.",
            _floor(S.One, S.Zero, S.One, S.One),
            q / ((g + 1) * p),
            "Collect.",
            begins="relative variance of REINFORCE",
            given=("q = 1 − p",),
            name="floor of REINFORCE",
        ),
    )


def _grpo() -> tuple[Step, ...]:
    whole = (Cited("T5: mean of the law for all n", {n: G}), Cited("T5: second moment of the law for all n", {n: G}))
    return (
        *(
            step
            for outcome, own, other, letter, first, last, how in (
                ("right", p, q, "p W₁", 1, g, "(g − k) C(g, k)/(k + 1) = C(g, k + 1)."),
                ("wrong", q, p, "q W₀", 0, g - 1, "k C(g, k)/(g + 1 − k) = C(g, k − 1)."),
            )
            for step in (
                Step(
                    f"GRPO: the mean square of a {outcome} response's advantage, times its probability …",
                    own * specialised(LAWS[outcome], grpo),
                    other * Sum(binomial_law(g, k), (k, first, last)),
                    how,
                    begins=Cited(letter, grpo),
                ),
                Step(
                    "… leaves the groups that are all alike.",
                    other * Sum(binomial_law(g, k), (k, first, last)),
                    other * (1 - other**g),
                    "All terms but one.",
                    given=(law,),
                    name=f"GRPO, {outcome}",
                ),
            )
        ),
        Step(
            "GRPO: what the outcomes alone cause.",
            SQUARE / coefficient**2 - 1,
            (G - 1) / (G * p * q * coefficient**2) - 1,
            "E[k (G − k)] = G (G − 1) p q.",
            begins="relative variance of GRPO",
            given=(*whole, "q = 1 − p"),
            name="floor of GRPO",
        ),
    )


def _values() -> tuple[Step, ...]:
    """Credit by estimated values: their variances, and no more."""
    return (
        Step(
            "An error of mean 0 adds its variance.",
            _over_next(B),
            B**2 + τ2,
            "Expand.",
            begins="mean square over the next value",
            given=("laws of the errors",),
            label="over the next value",
        ),
        Step(
            "Credit by estimated values varies by their variances, and by no more.",
            _estimated(),
            credit**2 + σ2 + τ2,
            "Errors of mean 0, independent.",
            begins="mean square of estimated credit",
            given=(Cited("over the next value", {B: credit - here(i)}), "laws of the errors"),
            name="estimated values",
        ),
    )


def _best_step() -> tuple[Step, ...]:
    """The step on n groups that makes most progress."""
    short = curvature / 2 * square * (1 + ρ / groups) * (step - _BEST) ** 2
    return (
        Step(
            "The best step on n groups.",
            _gain(step),
            square / (2 * curvature) * (groups / (groups + ρ)),
            "Insert η.",
            begins="expected progress",
            given=("η of the best step",),
            name="progress",
        ),
        Step(
            "No other step makes more: the difference is a square …",
            _gain(_BEST) - _gain(step),
            short,
            "Complete the square.",
            begins="short of the best step",
        ),
        Step("… and not negative.", short, S.Zero, "Product with a square.", relation="≥", name="best step"),
    )
