"""T4: the two values of GRPO's advantage when rewards are right or wrong."""

from sympy import Function, Integer, Limit, Rational, S, Sum, sqrt, symbols

from proofs.instances import grpo
from proofs.notation import G, i
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

k, m = symbols("k m", integer=True, positive=True)
δ = symbols("delta", positive=True)
r = symbols("r", real=True)
p_hat, q_hat = symbols("p_hat q_hat", positive=True)


plus, minus = sqrt(m / k), -sqrt(k / m)
reward = Function("r", real=True)
average = Sum(reward(i), (i, 1, G)) / G
mean = (Sum(1, (i, 1, k)) + Sum(0, (i, k + 1, k + m))) / (k + m)
squares = Sum(q_hat**2, (i, 1, k)) + Sum(p_hat**2, (i, k + 1, k + m))
population, sample = squares / (k + m), squares / (k + m - 1)
equal = (r - Sum(r, (i, 1, G)) / G) / (sqrt(Sum((r - Sum(r, (i, 1, G)) / G) ** 2, (i, 1, G)) / G) + δ)


def theorem() -> Theorem:
    return Theorem(
        id="T4",
        title="Two advantages, with sum zero",
        words=(
            "In a group with k right and m wrong responses, the advantage, reward minus mean over deviation, takes the "
            "values {plus} for the right and {minus} for the wrong ones. Their sum over the group is zero. The sample "
            "deviation (ddof 1) makes the values {plus with ddof 1} and {minus with ddof 1}. A group of equal rewards "
            "gets 0 in the limit of a vanishing floor of the deviation."
        ),
        results=(
            "mean",
            "variance",
            "plus by the share",
            "plus",
            "minus by the share",
            "minus",
            "sum",
            "plus with ddof 1",
            "minus with ddof 1",
            "equal rewards",
            "differences",
        ),
        definitions=(
            Definition("mean of the group", "rewards 1 for the k right ones, which are numbered first, else 0", mean),
            Definition("shares", "p̂ = k/G is that mean, q̂ = 1 − p̂", equations={p_hat: k / (k + m), q_hat: m / (k + m)}),
            Definition("mean square", "of the differences 1 − p̂ = q̂ and −p̂ from the mean", population),
            Definition("advantage of a right response", "its difference over the deviation", q_hat / sqrt(population)),
            Definition("advantage of a wrong response", "its difference over the deviation", -p_hat / sqrt(population)),
            Definition("right, with ddof 1", "the squares over G − 1", q_hat / sqrt(sample)),
            Definition("wrong, with ddof 1", "the squares over G − 1", -p_hat / sqrt(sample)),
            Definition("sum of the advantages", "of the group", Sum(plus, (i, 1, k)) + Sum(minus, (i, k + 1, k + m))),
            Definition("advantage among equals", "with a floor δ of the deviation", Limit(equal, δ, 0, "+")),
            Definition("sum of the differences", "from the mean, for any rewards", Sum(reward(i) - average, (i, 1, G))),
        ),
        assumptions=(
            Assumption("rewards are 0 or 1"),
            Assumption("no floor is added to the deviation"),
        ),
        model={k: 1, m: 2, p_hat: Rational(1, 3), q_hat: Rational(2, 3)},
        steps=(
            *_right_and_wrong(),
            *_other_groups(),
        ),
        witnesses=_witnesses(),
    )


def _right_and_wrong() -> tuple[Step, ...]:
    """Mean and deviation of k ones among G rewards, and the two advantages."""
    return (
        Step(
            "The mean reward of the group is k/G.",
            mean,
            k / (k + m),
            "The responses are numbered with the right ones first.",
            begins="mean of the group",
            name="mean",
        ),
        Step(
            "The variance is p̂(1 − p̂).",
            population,
            p_hat * q_hat,
            "Sum of constants.",
            begins="mean square",
            given=("shares",),
            name="variance",
        ),
        Step(
            "The advantage of a right response.",
            q_hat / sqrt(population),
            sqrt(q_hat / p_hat),
            "The deviation is √(p̂ q̂), for k = p̂ G and m = q̂ G.",
            begins="advantage of a right response",
            given=("shares",),
            name="plus by the share",
        ),
        Step(
            "In numbers of responses.",
            sqrt(q_hat / p_hat),
            plus,
            "p̂ = k/G, q̂ = m/G.",
            given=("shares",),
            name="plus",
        ),
        Step(
            "The advantage of a wrong response.",
            -p_hat / sqrt(population),
            -sqrt(p_hat / q_hat),
            "The deviation is √(p̂ q̂), for k = p̂ G and m = q̂ G.",
            begins="advantage of a wrong response",
            given=("shares",),
            name="minus by the share",
        ),
        Step(
            "In numbers of responses.",
            -sqrt(p_hat / q_hat),
            minus,
            "p̂ = k/G, q̂ = m/G.",
            given=("shares",),
            name="minus",
        ),
        Step(
            "The advantages of the group cancel.",
            Sum(plus, (i, 1, k)) + Sum(minus, (i, k + 1, k + m)),
            S.Zero,
            "Sum of constants: k√(m/k) = m√(k/m).",
            begins="sum of the advantages",
            name="sum",
        ),
    )


def _other_groups() -> tuple[Step, ...]:
    """The sample deviation, groups of equal rewards, and any rewards at all."""
    smaller = sqrt((k + m - 1) / (k + m))
    return (
        Step(
            "The sample deviation (ddof = 1) scales the advantages by √((G−1)/G): a right response.",
            q_hat / sqrt(sample),
            plus * smaller,
            "The same squares over G − 1 instead of G.",
            begins="right, with ddof 1",
            given=("shares",),
            name="plus with ddof 1",
        ),
        Step(
            "The sample deviation (ddof = 1) scales the advantages by √((G−1)/G): a wrong response.",
            -p_hat / sqrt(sample),
            minus * smaller,
            "The same squares over G − 1 instead of G.",
            begins="wrong, with ddof 1",
            given=("shares",),
            name="minus with ddof 1",
        ),
        Step(
            "If all rewards equal r, the advantage is 0 for every floor δ > 0 of the deviation, and in the limit.",
            Limit(equal, δ, 0, "+"),
            S.Zero,
            "The mean is r.",
            begins="advantage among equals",
            name="equal rewards",
        ),
        Step(
            "Whatever the rewards, the differences from the mean cancel, and so do the advantages.",
            Sum(reward(i) - average, (i, 1, G)),
            S.Zero,
            "Linearity of the sum; the deviation is a common factor.",
            begins="sum of the differences",
            name="differences",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "no floor is added to the deviation",
            "plus by the share",
            "a group of four with one right response; the deviation is replaced by std + floor",
            "advantage of the right response = √((1−p̂)/p̂)",
            lambda floor: (Rational(3, 4) / (sqrt(Rational(3, 16)) + floor), sqrt(3)),
            "floor",
            0,
            Rational(1, 10),
        ),
        Witness(
            "rewards are 0 or 1",
            "minus by the share",
            "rewards (0, c, 1), where c is no success",
            "advantage of the second response = −√(p̂/(1−p̂)) with p̂ = 1/3",
            lambda c: (grpo((Integer(0), c, Integer(1)))[1], -sqrt(Rational(1, 2))),
            "c",
            0,
            Rational(1, 2),
        ),
    )
