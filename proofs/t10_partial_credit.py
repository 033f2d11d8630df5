"""T10: with a third reward level, above the group mean is not correct, and the one direction of T5 is lost."""

from sympy import Derivative, Expr, Function, Integer, Rational, S, Subs, Sum, sqrt, symbols

from proofs.instances import above_mean, grpo, over_length, three_levels
from proofs.notation import g, i, θ
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

c, p0, v = symbols("c p_0 v", positive=True)
d = symbols("d", real=True)
w2, w1, w0 = symbols("w_2 w_1 w_0", real=True)
full, partial_credit = Function("p_2", positive=True)(θ), Function("p_1", positive=True)(θ)


mean = (Sum(0, (i, 1, g)) + c) / (g + 1)
advantage = sqrt(g) * d / sqrt((g + 1) * v + d**2)
deviation_squared = (g * v + g * (d / (g + 1)) ** 2 + (d * g / (g + 1)) ** 2) / (g + 1)
squared = (d - d / (g + 1)) ** 2 / deviation_squared
gradient = w0 * Derivative(1 - partial_credit - full, θ) + w1 * Derivative(partial_credit, θ) + w2 * Derivative(full, θ)
alike = Subs(advantage, (v, d), (0, c)) - Subs(advantage, (v, d), (0, -c))


def theorem() -> Theorem:
    return Theorem(
        id="T10",
        title="Three reward levels",
        words=(
            "Let rewards be 0, c (a format credit between 0 and 1) or 1, each with a positive probability. In a group "
            "of g zeros and one c, the c is above the mean, by {above the mean}: the advantage form of F-ISFT gives "
            "this wrong answer its full positive weight. The expected gradient of a rule with different mean weights "
            "of the lower two levels moves two probabilities, so it is not along that of success where their gradients "
            "are not parallel. GRPO's advantage too grows with a response's own reward, at every group size."
        ),
        results=(
            "above the mean",
            "lead",
            "chance of the group",
            "direction",
            "GRPO",
            "growth",
            "others alike",
        ),
        definitions=(
            Definition("lead of the credit", "over the mean of a group of g zeros and one c", c - mean),
            Definition("chance of g zeros", "the probability of the g others", p0**g),
            Definition("expected gradient", "as in T5, level by level, with p₀ = 1 − p₁ − p₂", gradient),
            Definition(
                "squared advantage of GRPO",
                "of a response d above the mean of g others with variance v: the group mean is d/(g+1) above theirs",
                squared,
            ),
            Definition("slope of that advantage", "in d", Derivative(advantage, d)),
            Definition("step among equals", "its values at d = c and d = −c where the others agree, v = 0", alike),
        ),
        assumptions=(
            Assumption("0 < c: partial credit is given"),
            Assumption("there are others: G = g + 1 ≥ 2"),
            Assumption("no 1/L, for the direction"),
            Assumption("the others differ: v > 0, for the growth"),
        ),
        steps=(
            *_direction(),
            *_growth(),
        ),
        witnesses=_witnesses(),
        not_proved=(
            (
                "From one group to the mean weights: under F-ISFT⁺ w₁ is a mean of terms that are not negative, of "
                "which p₀^g is one, and w₀ = 0; under GRPO w₁ > w₀ because each term of the mean grows."
            ),
        ),
        remark="The other side of the first witnesses is the binary reward (c = 0), where T5 holds.",
    )


def _direction() -> tuple[Step, ...]:
    """A response with partial credit c moves along a direction of its own."""
    return (
        Step(
            "One c among g zeros lies above the mean of the group …",
            c - mean,
            c * g / (g + 1),
            "Sum of constants. So F-ISFT⁺ gives it the weight 1 − α = 1, and a zero is never above the mean.",
            begins="lead of the credit",
            name="above the mean",
        ),
        Step(
            "… by a positive number.",
            c * g / (g + 1),
            S.Zero,
            "Quotient of such numbers.",
            relation=">",
            name="lead",
        ),
        Step(
            "The chance of that group is positive.",
            p0**g,
            S.Zero,
            "Power of a positive number.",
            relation=">",
            begins="chance of g zeros",
            name="chance of the group",
        ),
        Step(
            "The expected gradient moves two probabilities, not one.",
            gradient,
            (w1 - w0) * Derivative(partial_credit, θ) + (w2 - w0) * Derivative(full, θ),
            "Collect.",
            begins="expected gradient",
            name="direction",
        ),
    )


def _growth() -> tuple[Step, ...]:
    """GRPO's advantage grows with the reward, but for others that agree."""
    return (
        Step(
            "GRPO: against g others whose mean lies d below it and whose variance is v, a response has the "
            "advantage √g d/√((g+1) v + d²).",
            squared,
            advantage**2,
            "Squares of both; the sign is that of d.",
            begins="squared advantage of GRPO",
            name="GRPO",
        ),
        Step(
            "This grows with d, so with a response's own reward where the others differ.",
            Derivative(advantage, d),
            S.Zero,
            "Derivative √g (g+1) v/((g+1) v + d²)^(3/2).",
            relation=">",
            begins="slope of that advantage",
            name="growth",
        ),
        Step(
            "Where the others agree (v = 0) it is √g times the sign of d.",
            alike,
            2 * sqrt(g),
            "d/|d| = ±1.",
            begins="step among equals",
            name="others alike",
        ),
    )


def _among_zeros(others: int, credit: Expr) -> tuple[Expr, Expr]:
    return above_mean((S.Zero,) * others + (credit,))[others], S.Zero


def _spread(smallest: Expr, largest: Expr) -> tuple[Expr, Expr]:
    return largest, smallest


def _slope(variance: Expr) -> tuple[Expr, Expr]:
    """GRPO's squared advantage of a response 2 above four others less that of one 1 above them."""

    def squared(lead: int) -> Expr:
        half = sqrt(variance)
        return grpo([half, -half, half, -half, Integer(lead)])[4] ** 2

    return squared(2) - squared(1), S.Zero


credit = "0 < c: partial credit is given"


def _witnesses() -> tuple[Witness, ...]:

    away = "E[gradient] / ∇p₂ in the coordinate where it is largest > where it is smallest"
    instance = "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; G = 3"
    return (
        Witness(
            f"{credit} (weight of a wrong answer)",
            "lead",
            "rewards (0, 0, 0, 0, c)",
            "weight of the last, wrong answer under F-ISFT⁺ (advantage form) > 0",
            lambda level: _among_zeros(4, level),
            "c",
            Rational(1, 10),
            0,
            relation=">",
        ),
        Witness(
            f"{credit} (direction of F-ISFT⁺, advantage form)",
            "direction",
            instance,
            away,
            lambda level: _spread(*three_levels(above_mean, level)),
            "c",
            Rational(1, 10),
            0,
            relation=">",
        ),
        Witness(
            f"{credit} (direction of GRPO)",
            "direction",
            instance,
            away,
            lambda level: _spread(*three_levels(grpo, level)),
            "c",
            Rational(1, 10),
            0,
            relation=">",
        ),
        Witness(
            "there are others: G = g + 1 ≥ 2",
            "lead",
            "g rewards 0 and one of 1/10",
            "weight of the last, wrong answer under F-ISFT⁺ (advantage form) > 0",
            lambda others: _among_zeros(int(others), Rational(1, 10)),
            "g",
            1,
            0,
            relation=">",
        ),
        Witness(
            "no 1/L, for the direction",
            "direction",
            "right responses '.' and 'a.' with the same advantage, weights A/L^λ",
            "weight of a token of the first = of the second, as one w₂ for the level needs",
            lambda power: (over_length(power)(".", S.One)[0], over_length(power)("a.", S.One)[0]),
            "λ",
            0,
            1,
        ),
        Witness(
            "the others differ: v > 0, for the growth",
            "growth",
            "a response 1 or 2 above the mean of four others ±√v, ±√v",
            "GRPO's squared advantage grows from the one to the other",
            _slope,
            "v",
            1,
            0,
            relation=">",
        ),
    )
