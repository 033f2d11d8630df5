"""T4: the two values of GRPO's advantage when rewards are right or wrong."""

from sympy import Function, Integer, Limit, Rational, Sum, sqrt, symbols

from proofs.instances import grpo
from proofs.notation import G, i
from proofs.theorem import Step, Theorem, Witness

k, m = symbols("k m", integer=True, positive=True)
factor, δ = symbols("f delta", positive=True)
r = symbols("r", real=True)


def theorem() -> Theorem:
    share = k / (k + m)
    deviation = sqrt(share * (1 - share))
    plus, minus = sqrt(m / k), -sqrt(k / m)
    reward = Function("r", real=True)
    mean = Sum(reward(i), (i, 1, G)) / G
    return Theorem(
        id="T4",
        title="Two advantages, with sum zero",
        statement=(
            "In a group with k right and m = G − k wrong responses, the advantage (r − mean)/std takes the values "
            "√(m/k) for the right and −√(k/m) for the wrong ones, that is √((1−p̂)/p̂) and −√(p̂/(1−p̂)) with p̂ = "
            "k/G. Their sum over the group is zero. The sample deviation (ddof = 1) multiplies both by √((G−1)/G). A "
            "group of equal rewards gets 0 in the limit of a vanishing floor of the deviation."
        ),
        assumptions=(
            "rewards are 0 or 1",
            "no floor is added to the deviation",
            "0 < k < G, except for equal rewards",
        ),
        symbolic="k and m, hence the group size G = k + m; the rewards, in the last step",
        steps=(
            Step(
                "The mean reward of the group is p̂ = k/G.",
                (Sum(1, (i, 1, k)) + Sum(0, (i, k + 1, k + m))) / (k + m),
                share,
                "The responses are numbered with the right ones first.",
            ),
            Step(
                "The variance is p̂(1 − p̂).",
                (Sum((1 - share) ** 2, (i, 1, k)) + Sum(share**2, (i, k + 1, k + m))) / (k + m),
                share * (1 - share),
                "Sum of constants.",
            ),
            Step("The advantage of a right response.", (1 - share) / deviation, plus, "Definition.", name="plus"),
            Step("The advantage of a wrong response.", (0 - share) / deviation, minus, "Definition.", name="minus"),
            Step("The first is √((1−p̂)/p̂).", plus, sqrt((1 - share) / share), "p̂ = k/(k + m)."),
            Step("The second is −√(p̂/(1−p̂)).", minus, -sqrt(share / (1 - share)), "p̂ = k/(k + m)."),
            Step(
                "The advantages of the group cancel.",
                Sum(plus, (i, 1, k)) + Sum(minus, (i, k + 1, k + m)),
                0,
                "Sum of constants: k√(m/k) = m√(k/m).",
                name="sum",
            ),
            Step(
                "The sample variance (ddof = 1) is G/(G−1) times the variance.",
                (k * (1 - share) ** 2 + m * share**2) / (k + m - 1),
                (k + m) / (k + m - 1) * share * (1 - share),
                "The same squares over G − 1 instead of G.",
            ),
            Step(
                "So the sample deviation scales the advantages by √((G−1)/G): the right ones …",
                (1 - share) / sqrt(factor * share * (1 - share)),
                plus / sqrt(factor),
                "f stands for G/(G−1).",
                name="plus with ddof 1",
            ),
            Step(
                "… and the wrong ones.",
                (0 - share) / sqrt(factor * share * (1 - share)),
                minus / sqrt(factor),
                "The same.",
                name="minus with ddof 1",
            ),
            Step(
                "If all rewards equal r, the advantage is 0 for every floor δ > 0 of the deviation, and in the limit.",
                Limit(
                    (r - Sum(r, (i, 1, G)) / G) / (sqrt(Sum((r - Sum(r, (i, 1, G)) / G) ** 2, (i, 1, G)) / G) + δ),
                    δ,
                    0,
                    "+",
                ),
                0,
                "The mean is r.",
                name="equal rewards",
            ),
            Step(
                "Whatever the rewards, the differences from the mean cancel, and so do the advantages.",
                Sum(reward(i) - mean, (i, 1, G)),
                0,
                "Linearity of the sum; the deviation is a common factor.",
            ),
        ),
        witnesses=(
            Witness(
                "no floor is added to the deviation",
                "a group of four with one right response; the deviation is replaced by std + floor",
                "advantage of the right response = √((1−p̂)/p̂)",
                lambda floor: (Rational(3, 4) / (sqrt(Rational(3, 16)) + floor), sqrt(3)),
                "floor",
                0,
                Rational(1, 10),
            ),
            Witness(
                "rewards are 0 or 1",
                "rewards (0, c, 1), where c is no success",
                "advantage of the second response = −√(p̂/(1−p̂)) with p̂ = 1/3",
                lambda c: (grpo((Integer(0), c, Integer(1)))[1], -sqrt(Rational(1, 2))),
                "c",
                0,
                Rational(1, 2),
            ),
        ),
    )
