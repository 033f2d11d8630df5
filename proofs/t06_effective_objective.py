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

from proofs.instances import grpo
from proofs.notation import G, binomial_law, j, k, n, p, q, α, θ
from proofs.theorem import Step, Theorem, Witness

success, climbed = Function("p", positive=True)(θ), Function("Phi", real=True)
x, decay = symbols("x s", positive=True)


def theorem() -> Theorem:
    return Theorem(
        id="T6",
        title="Effective objectives",
        statement=(
            "A gradient c(p) ∇p is the gradient of Φ(p) with Φ′ = c. So REINFORCE and RLOO climb p, F-ISFT in the "
            "advantage form climbs a polynomial, the mean over positives climbs the logarithm of p truncated at order "
            "G, and GRPO climbs Σ_k P(Bin(G−1, p) ≥ k)/√(k(G−k)), which becomes 2 arcsin √p as G grows."
        ),
        assumptions=("the direction of T5: the expected gradient of a prompt is c(p) ∇p",),
        symbolic="group size G, p, α, and the dependence of p on θ",
        steps=(
            Step(
                "The gradient of Φ(p(θ)) is Φ′(p) ∇p.",
                Derivative(climbed(success), θ),
                Subs(Derivative(climbed(x), x), x, success) * Derivative(success, θ),
                "Chain rule.",
            ),
            Step("REINFORCE, RLOO: c = 1.", Derivative(p, p), Integer(1), "Derivative.", name="REINFORCE"),
            Step("Dr. GRPO: c = (G−1)/G.", Derivative((G - 1) / G * p, p), (G - 1) / G, "Derivative.", name="Dr. GRPO"),
            Step(
                "F-ISFT, advantage form.",
                Derivative((1 - α) * (p - p**G / G) + α * (p + (1 - p) ** G / G), p),
                (1 - α) * (1 - p ** (G - 1)) + α * (1 - (1 - p) ** (G - 1)),
                "Derivative; the c(p) of T5.",
                name="F-ISFT, advantage form",
            ),
            Step(
                "Mean over positives.",
                Derivative(-Sum((1 - p) ** j / j, (j, 1, G)), p),
                (1 - (1 - p) ** G) / p,
                "Term by term, then the geometric sum.",
                name="mean over positives",
            ),
            Step(
                "Its c(p) tends to that of log p.",
                Limit((1 - q**n) / p, n, oo),
                Derivative(log(p), p),
                "The powers of q = 1 − p < 1 vanish.",
                given={q: exp(-decay)},
                why_given="0 < q < 1, so q = exp(−s) with s > 0",
                name="log p",
            ),
            Step(
                "MaxRL as released.",
                Derivative(-Sum((1 - p) ** j / j, (j, 1, G - 1)), p),
                (1 - (1 - p) ** (G - 1)) / p,
                "The same at order G − 1.",
                name="MaxRL",
            ),
            *_grpo(),
        ),
        witnesses=(
            Witness(
                "no 1/L",
                "three responses with probabilities x, y and 1 − x − y, the first two right, the second of length 2, "
                "the others of length 1; GRPO with weights A/L^λ, G = 2, at x = y = 1/4",
                "∂(gradient in x)/∂y = ∂(gradient in y)/∂x, as for the gradient of any function",
                _mixed_derivatives,
                "λ",
                0,
                1,
            ),
        ),
        remark=(
            "With several prompts the climbed function is the mean of Φ(p_x) over prompts. The witness says more than "
            "T5: with 1/L, GRPO is not gradient ascent on any function at all."
        ),
    )


def _grpo() -> tuple[Step, ...]:
    """Φ of GRPO at every G, and in the limit."""
    law, below = binomial_law(n, j), binomial_law(n - 1, j)
    return (
        Step(
            "The chance of j right ones among n moves with p by the difference of two such chances.",
            Derivative(law.subs(q, 1 - p), p),
            n * (binomial_law(n - 1, j - 1) - below),
            "Product rule; j C(n, j) = n C(n−1, j−1), (n−j) C(n, j) = n C(n−1, j).",
            given={q: 1 - p},
            why_given="q = 1 − p",
        ),
        Step(
            "Summed from k to n, the differences cancel but for the first.",
            Sum(below, (j, k - 1, n - 1)) - Sum(below, (j, k, n - 1)),
            binomial_law(n - 1, k - 1),
            "Telescope; the term j = n is 0, for C(n−1, n) = 0. So ∂P(Bin(n, p) ≥ k)/∂p = n C(n−1, k−1) p^(k−1) "
            "q^(n−k).",
        ),
        Step(
            "So the sum over k of P(Bin(G−1, p) ≥ k)/√(k(G−k)) has the derivative c(p) of GRPO.",
            Sum((G - 1) * binomial_law(G - 2, k - 1) / (sqrt(k) * sqrt(G - k)), (k, 1, G - 1)),
            Sum(binomial_law(G, k) * sqrt(k) * sqrt(G - k), (k, 1, G - 1)) / (G * p * q),
            "k (G−k) C(G, k) = G (G−1) C(G−2, k−1), term by term with n = G − 1; on the right is the c(p) of T5.",
            name="GRPO",
        ),
        Step(
            "In the limit of large groups GRPO climbs 2 arcsin √p.",
            Derivative(2 * asin(sqrt(p)), p),
            1 / sqrt(p * (1 - p)),
            "Derivative; the limit of c(p) is that of T5.",
            name="GRPO, G → ∞",
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
