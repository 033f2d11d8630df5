"""T5, last part: GRPO's c(p) between two bounds that meet as the group grows."""

from sympy import Limit, Rational, S, oo, sqrt

from proofs.notation import G, k, n, p, q
from proofs.parts import Cited, Definition, Step
from proofs.t05_binomial import mean

spread = mean(G, sqrt(k) * sqrt(G - k))
"""E[√(K(G − K))], K the number of right ones in the group."""


def definitions() -> tuple[Definition, ...]:
    """What the bounds of GRPO's c(p) begin with."""
    above, below = 1 / sqrt(p * q), (1 - 1 / (2 * G * p * q)) / sqrt(p * q)
    return (
        Definition("distance to the limit", "of GRPO's c(p), which is below it", above - spread / (G * p * q)),
        Definition("distance to the lower bound", "of GRPO's c(p), which is above it", spread / (G * p * q) - below),
        Definition("limit of the lower bound", "for large groups", Limit(below, G, oo)),
    )


def steps() -> tuple[Step, ...]:
    """GRPO's c(p) tends to 1/√(pq): √(x(1−x)) lies below its tangent at p by a square, and that by the variance."""
    bend = (sqrt(k) * sqrt(q) - sqrt(G - k) * sqrt(p)) ** 2
    rest = k * q**2 + (G - k) * p**2 + 2 * sqrt(k) * sqrt(G - k) * sqrt(p) * sqrt(q)
    above, below = 1 / sqrt(p * q), (1 - 1 / (2 * G * p * q)) / sqrt(p * q)
    missing = mean(G, bend) / (2 * G * (p * q) ** Rational(3, 2))
    excess = mean(G, bend * rest) / (2 * G**2 * (p * q) ** Rational(5, 2))
    moments = (
        Cited("total probability", {n: G}),
        Cited("mean of the law for all n", {n: G}),
        Cited("second moment of the law for all n", {n: G}),
    )
    return (
        Step(
            "√(x(1−x)), x = K/G, lies below its tangent at p, whose mean is √(pq), by a square …",
            above - spread / (G * p * q),
            missing,
            "Complete the square under the mean.",
            begins="distance to the limit",
            given=(*moments[:2], "q = 1 − p"),
        ),
        Step(
            "… so GRPO's c(p) is at most 1/√(pq).",
            missing,
            S.Zero,
            "Mean of squares.",
            relation="≥",
            name="GRPO, upper bound",
        ),
        Step(
            "That square is at most (x − p)²/(pq), whose mean is 1/G: above the lower bound there are …",
            spread / (G * p * q) - below,
            excess,
            "(x − p)² is the square times (√(xq) + √((1−x)p))², which exceeds pq.",
            begins="distance to the lower bound",
            given=(*moments, "q = 1 − p"),
        ),
        Step(
            "… products of squares and positive numbers.",
            excess,
            S.Zero,
            "Sum of such terms, 0 ≤ k ≤ G.",
            relation="≥",
            name="GRPO, lower bound",
        ),
        Step(
            "As G grows the lower bound tends to the upper one, and c(p) between them.",
            Limit(below, G, oo),
            above,
            "Limit.",
            begins="limit of the lower bound",
            name="GRPO, G → ∞",
        ),
    )
