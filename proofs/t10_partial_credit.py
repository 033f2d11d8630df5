"""T10: with a third reward level, above the group mean is not correct, and the one direction of T5 is lost."""

from sympy import Derivative, Expr, Function, Integer, Rational, S, Subs, Sum, sqrt, symbols

from proofs.instances import Rule, above_mean, bandit, grpo, proportions, uniform
from proofs.notation import i, θ
from proofs.theorem import Step, Theorem, Witness

c, p0, v = symbols("c p_0 v", positive=True)
d = symbols("d", real=True)
g = symbols("g", integer=True, positive=True)
w2, w1, w0 = symbols("w_2 w_1 w_0", real=True)
full, partial_credit = Function("p_2", positive=True)(θ), Function("p_1", positive=True)(θ)


def theorem() -> Theorem:
    mean = (Sum(0, (i, 1, g)) + c) / (g + 1)
    advantage = sqrt(g) * d / sqrt((g + 1) * v + d**2)
    deviation_squared = (g * v + g * (d / (g + 1)) ** 2 + (d * g / (g + 1)) ** 2) / (g + 1)
    return Theorem(
        id="T10",
        title="Three reward levels",
        statement=(
            "Let rewards be 0, c (a format credit, 0 < c < 1) or 1, with probabilities p₀, p₁, p₂. In a group of g "
            "zeros and one c, the c is above the mean: the advantage form of F-ISFT⁺ gives this wrong answer its full "
            "positive weight. The expected gradient of a rule with mean weights w₀, w₁, w₂ of the three levels is (w₁ "
            "− w₀) ∇p₁ + (w₂ − w₀) ∇p₂, so it is not along ∇p₂ where w₁ ≠ w₀ and ∇p₁ is not parallel to ∇p₂. For "
            "F-ISFT⁺ (advantage form) w₁ − w₀ ≥ p₀^g > 0, and for GRPO w₁ − w₀ > 0 too, at every group size."
        ),
        assumptions=("rewards 0, c, 1 with 0 < c < 1", "on-policy, no 1/L", "g + 1 = G ≥ 2; p₀ > 0"),
        symbolic="group size G = g + 1, format credit c, probabilities, mean and variance v of the other rewards",
        steps=(
            Step(
                "One c among g zeros lies above the mean of the group.",
                c - mean,
                0,
                "The difference is c g/(g + 1).",
                relation=">",
            ),
            Step(
                "So F-ISFT⁺ gives it the weight 1 − α = 1, while a zero is never above the mean and has 0: the chance "
                "of that group is p₀^g.",
                c - mean,
                c * g / (g + 1),
                "Sum of constants. Hence w₁ ≥ p₀^g and w₀ = 0.",
                name="above the mean",
            ),
            Step("p₀^g is positive.", p0**g, 0, "Power of a positive number.", relation=">"),
            Step(
                "The expected gradient moves two probabilities, not one.",
                w0 * Derivative(1 - partial_credit - full, θ)
                + w1 * Derivative(partial_credit, θ)
                + w2 * Derivative(full, θ),
                (w1 - w0) * Derivative(partial_credit, θ) + (w2 - w0) * Derivative(full, θ),
                "As in T5, level by level; p₀ = 1 − p₁ − p₂.",
                name="direction",
            ),
            Step(
                "GRPO: against g others whose mean lies d below it and whose variance is v, a response is d g/(g+1) "
                "above the mean …",
                d - d / (g + 1),
                d * g / (g + 1),
                "The group mean is d/(g+1) above the mean of the others.",
            ),
            Step(
                "… and the deviation of the group makes its advantage √g d/√((g+1) v + d²).",
                (d * g / (g + 1)) ** 2 / deviation_squared,
                advantage**2,
                "Squares of both; the sign is that of d. The others are v around their mean, which is d/(g+1) below "
                "the group's.",
                name="GRPO",
            ),
            Step(
                "This grows with d, so with a response's own reward where the others differ (v > 0): w₁ > w₀.",
                Derivative(advantage, d),
                0,
                "Derivative √g (g+1) v/((g+1) v + d²)^(3/2).",
                relation=">",
            ),
            Step(
                "Where the others agree (v = 0) it is √g times the sign of d.",
                Subs(advantage, (v, d), (0, c)) - Subs(advantage, (v, d), (0, -c)),
                2 * sqrt(g),
                "d/|d| = ±1.",
            ),
        ),
        witnesses=_witnesses(),
        remark="The control of each witness is the binary reward (c = 0), for which the conclusions of T5 come back.",
    )


def _witnesses() -> tuple[Witness, ...]:
    def arms(credit: Expr, rule: Rule) -> tuple[Expr, Expr]:
        tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), credit), ("c", Rational(1, 2), 0))
        success = tree.gradient(lambda y: Integer(tree.reward[y] == 1))
        return proportions(tree.group_gradient(rule, 3, uniform), success)

    parallel = "E[gradient] / ∇p₂ in the coordinate where it is smallest = where it is largest"
    instance = "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; G = 3"
    return (
        Witness(
            "rewards are 0 or 1 (weight of a wrong answer)",
            "rewards (0, 0, 0, 0, c)",
            "weight of the last, wrong answer under F-ISFT⁺ (advantage form) = 0",
            lambda credit: (above_mean((S.Zero,) * 4 + (credit,))[4], S.Zero),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "rewards are 0 or 1 (F-ISFT⁺, advantage form)",
            instance,
            parallel,
            lambda credit: arms(credit, above_mean),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "rewards are 0 or 1 (GRPO)", instance, parallel, lambda credit: arms(credit, grpo), "c", 0, Rational(1, 10)
        ),
    )
