"""T6: each rule climbs a function of the success probability alone, whose derivative is its c(p)."""

from itertools import product

from sympy import (
    Derivative,
    Expr,
    Function,
    Integer,
    Limit,
    Matrix,
    Rational,
    S,
    Subs,
    Sum,
    asin,
    diff,
    exp,
    log,
    oo,
    sqrt,
    symbols,
)

from proofs import t05_one_direction as t05
from proofs.instances import grpo
from proofs.notation import G, binomial_law, j, k, n, p, q, α, θ
from proofs.parts import Assumption, Cited, Definition, Step, Witness
from proofs.theorem import Theorem

success, climbed = Function("p", positive=True)(θ), Function("Phi", real=True)
x, decay, a = symbols("x s a", positive=True)
CLIMBED = {
    "REINFORCE": (p, S.One),
    "Dr. GRPO": ((G - 1) / G * p, (G - 1) / G),
    "F-ISFT, advantage form": (
        (1 - α) * (p - p**G / G) + α * (p + (1 - p) ** G / G),
        (1 - α) * (1 - p ** (G - 1)) + α * (1 - q ** (G - 1)),
    ),
    "mean over positives": (-Sum((1 - p) ** j / j, (j, 1, G)), (1 - q**G) / p),
    "MaxRL": (-Sum((1 - p) ** j / j, (j, 1, G - 1)), (1 - q ** (G - 1)) / p),
}
"""What each rule climbs, and its c(p) of T5."""


def theorem() -> Theorem:
    return Theorem(
        id="T6",
        title="Effective objectives",
        words=(
            "A gradient c(p) times that of p is the gradient of the function of p whose derivative is c. So REINFORCE "
            "and RLOO climb p, F-ISFT in the advantage form climbs a polynomial, the mean over positives climbs the "
            "logarithm of p truncated at order G, and GRPO climbs a weighted sum of chances of k right ones among the "
            "others, which becomes twice the arcsine of the root of p as G grows."
        ),
        results=(
            "chain rule",
            *CLIMBED,
            "log p",
            "tail",
            "GRPO",
            "GRPO, G → ∞",
            "distance of the bounds",
            "large groups",
            "small p",
        ),
        definitions=(
            Definition("gradient of Φ", "at p = p(θ)", Derivative(climbed(success), θ)),
            *(Definition(f"Φ′ of {name}", "", Derivative(value, p)) for name, (value, _) in CLIMBED.items()),
            Definition("limit of the mean over positives", "for large groups", Limit((1 - q**G) / p, G, oo)),
            *_functions(),
            Definition("q = 1 − p", "the probability of a wrong response", equations={q: 1 - p}),
            Definition("0 < q < 1", "q = exp(−s) with s > 0", equations={q: exp(-decay)}),
        ),
        assumptions=(Assumption("the expected gradient of a prompt is c(p) ∇p, as in T5 without 1/L"),),
        model={p: Rational(1, 2), q: Rational(1, 2), decay: log(2)},
        after=(t05.theorem(),),
        steps=_steps(),
        witnesses=(
            Witness(
                "the expected gradient of a prompt is c(p) ∇p, as in T5 without 1/L",
                "chain rule",
                "three responses with probabilities x, y and 1 − x − y, the first two right, the second of length 2, "
                "the others of length 1; GRPO with weights A/L^λ, G = 2, at x = y = 1/4",
                "∂(gradient in x)/∂y = ∂(gradient in y)/∂x, as for the gradient of any function",
                _mixed_derivatives,
                "λ",
                0,
                1,
            ),
        ),
        not_proved=(
            (
                "Monotonicity of the integral and the fundamental theorem of calculus: by them 2 arcsin √p − Φ_G(p) "
                "lies between 0 and 2 arcsin √a + (B(p) − B(a))/G for all 0 < a < p, from the bounds on c(p) in T5; "
                "the limit of this bound is what is proved."
            ),
        ),
        remark=(
            "With several prompts the climbed function is the mean of Φ(p_x) over prompts. The witness says more than "
            "T5: with 1/L, GRPO is not gradient ascent on any function at all."
        ),
    )


def _steps() -> tuple[Step, ...]:
    """Φ′ is c(p), rule by rule."""
    return (
        Step(
            "The gradient of Φ(p(θ)) is Φ′(p) ∇p.",
            Derivative(climbed(success), θ),
            Subs(Derivative(climbed(x), x), x, success) * Derivative(success, θ),
            "Chain rule.",
            begins="gradient of Φ",
            name="chain rule",
        ),
        *(
            Step(
                f"{name}: Φ′ is the c(p) of T5.",
                Derivative(value, p),
                coefficient,
                "Derivative, term by term; geometric sum.",
                begins=f"Φ′ of {name}",
                ends=f"T5: {name}",
                given=("q = 1 − p",) if coefficient.has(q) else (),
                name=name,
            )
            for name, (value, coefficient) in CLIMBED.items()
        ),
        Step(
            "The c(p) of the mean over positives tends to that of log p.",
            Limit((1 - q**G) / p, G, oo),
            Derivative(log(p), p),
            "The powers of q < 1 vanish.",
            begins="limit of the mean over positives",
            given=("0 < q < 1",),
            name="log p",
        ),
        *_grpo(),
    )


def _tail(size: Expr) -> Expr:
    """P(Bin(size, p) ≥ k) as a function of p alone."""
    return Sum(binomial_law(size, j).subs(q, 1 - p), (j, k, size))


def _antiderivative(at: Expr) -> Expr:
    """B, whose derivative is 1/(2 (p(1 − p))^(3/2))."""
    return (2 * at - 1) / sqrt(at * (1 - at))


def _distance() -> Expr:
    """Between 2 arcsin √p and GRPO's Φ there is at most this, for every a between 0 and p."""
    return 2 * asin(sqrt(a)) + (_antiderivative(p) - _antiderivative(a)) / G


def _functions() -> tuple[Definition, ...]:
    climbed_by_grpo = Sum(Derivative(_tail(G - 1), p) / (sqrt(k) * sqrt(G - k)), (k, 1, G - 1))
    bounds = (1 / sqrt(p * q) - (1 - 1 / (2 * G * p * q)) / sqrt(p * q)).subs(q, 1 - p)
    return (
        Definition("Φ′ of a tail", "the chance of at least k right ones among n", Derivative(_tail(n), p)),
        Definition("Φ′ of GRPO", "Φ is the sum over k of P(Bin(G−1, p) ≥ k)/√(k(G−k))", climbed_by_grpo),
        Definition("Φ′ of GRPO in the limit", "", Derivative(2 * asin(sqrt(p)), p)),
        Definition("distance of the bounds of c(p)", "the upper less the lower one of T5", bounds),
        Definition(
            "largest distance", "2 arcsin √a up to a, from there on 1/G times an integral", Limit(_distance(), G, oo)
        ),
        Definition("what is left of it", "for small a", Limit(2 * asin(sqrt(a)), a, 0, "+")),
    )


def _grpo() -> tuple[Step, ...]:
    """Φ of GRPO at every G, and in the limit."""
    return (
        *_finite_groups(),
        *_growing_groups(),
    )


def _finite_groups() -> tuple[Step, ...]:
    """Φ of GRPO is a sum of tails of binomial laws."""
    below = binomial_law(n - 1, j).subs(q, 1 - p)
    moving = n * Sum(below, (j, k - 1, n - 1)) - n * Sum(below, (j, k, n - 1))
    last = n * binomial_law(n - 1, k - 1).subs(q, 1 - p)
    mixed = Sum((G - 1) * binomial_law(G - 2, k - 1).subs(q, 1 - p) / (sqrt(k) * sqrt(G - k)), (k, 1, G - 1))
    spread = Sum(binomial_law(G, k) * sqrt(k) * sqrt(G - k), (k, 0, G))
    return (
        Step(
            "The chance of j right ones among n moves with p by the difference of two such chances; C(n−1, n) = 0.",
            Derivative(_tail(n), p),
            moving,
            "Product rule; j C(n, j) = n C(n−1, j−1), (n−j) C(n, j) = n C(n−1, j).",
            begins="Φ′ of a tail",
        ),
        Step(
            "Summed from k to n, the differences cancel but for the first.",
            moving,
            last,
            "Telescope.",
            name="tail",
        ),
        Step(
            "So the sum over k of P(Bin(G−1, p) ≥ k)/√(k(G−k)) has this derivative …",
            Sum(Derivative(_tail(G - 1), p) / (sqrt(k) * sqrt(G - k)), (k, 1, G - 1)),
            mixed,
            "Term by term with n = G − 1.",
            begins="Φ′ of GRPO",
            given=(Cited("tail", {n: G - 1}),),
        ),
        Step(
            "… which is the c(p) of GRPO.",
            mixed,
            spread / (G * p * q),
            "k (G−k) C(G, k) = G (G−1) C(G−2, k−1).",
            ends="T5: GRPO",
            given=("q = 1 − p",),
            name="GRPO",
        ),
    )


def _growing_groups() -> tuple[Step, ...]:
    """As G grows it tends to 2 arcsin √p, as the bounds of its slope show."""
    distance = _distance()
    return (
        Step(
            "The limit of c(p) is the derivative of 2 arcsin √p.",
            Derivative(2 * asin(sqrt(p)), p),
            1 / sqrt(p * q),
            "Derivative.",
            begins="Φ′ of GRPO in the limit",
            ends="T5: GRPO, G → ∞",
            given=("q = 1 − p",),
            name="GRPO, G → ∞",
        ),
        Step(
            "The bounds of c(p) are 1/G times the derivative of B(p) = (2p − 1)/√(p(1−p)) apart.",
            (1 / sqrt(p * q) - (1 - 1 / (2 * G * p * q)) / sqrt(p * q)).subs(q, 1 - p),
            Derivative(_antiderivative(p), p) / G,
            "Derivative 1/(2 (p(1−p))^(3/2)).",
            begins="distance of the bounds of c(p)",
            name="distance of the bounds",
        ),
        Step(
            "As G grows, the distance from a on vanishes.",
            Limit(distance, G, oo),
            2 * asin(sqrt(a)),
            "Limit.",
            begins="largest distance",
            name="large groups",
        ),
        Step(
            "And what is left vanishes with a: Φ tends to 2 arcsin √p.",
            Limit(2 * asin(sqrt(a)), a, 0, "+"),
            S.Zero,
            "Limit.",
            begins="what is left of it",
            name="small p",
        ),
    )


def _mixed_derivatives(power: Expr) -> tuple[Expr, Expr]:
    """∂F_x/∂y and ∂F_y/∂x of the expected gradient F, by going through the nine groups of two."""
    x, y = symbols("x y", positive=True)
    arms = ((x, Integer(1), 1), (y, Integer(1), 2), (1 - x - y, Integer(0), 1))
    field = Matrix([0, 0])
    for group in product(arms, repeat=2):
        for advantage, (chance, _, length) in zip(grpo([reward for _, reward, _ in group]), group, strict=True):
            score = Matrix([diff(log(chance), x), diff(log(chance), y)])
            field += group[0][0] * group[1][0] * advantage / Integer(length) ** power * score / 2
    at = {x: Rational(1, 4), y: Rational(1, 4)}
    return diff(field[0], y).subs(at), diff(field[1], x).subs(at)
