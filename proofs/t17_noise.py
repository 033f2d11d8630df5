"""T17: the noise of a whole group's gradient, and the part of it that no model can avoid."""

from sympy import Expr, Function, Integer, Lambda, Rational, S, Sum, symbols

from proofs import t17_rules, t17_witnesses
from proofs.notation import N, binomial_law, g, i, j, k, m, n, p, q, y, π
from proofs.parts import Assumption, Cited, Definition, Step
from proofs.t05_binomial import advantage, own
from proofs.t05_one_direction import theorem as t05
from proofs.theorem import Theorem

value, expected = Function("f", real=True), Function("E", real=True)
score, other = Function("s", real=True), Function("t", real=True)
chance = π(y)
F1, F0, W1, W0 = symbols("F_1 F_0 W_1 W_0", nonnegative=True)
slope, slope_other = symbols("D D_t", real=True)
v1, v0 = symbols("v_1 v_0", nonnegative=True)
size = g + 1

WHAT = {
    1: (advantage(1, k) ** 2, "A² of a right response"),
    0: (advantage(0, k) ** 2, "A² of a wrong one"),
    2: (advantage(1, k) ** 2, "A A' of two right ones"),
    3: (advantage(1, k) * advantage(0, k), "A A' of a right and a wrong one"),
    4: (advantage(0, k) ** 2, "A A' of two wrong ones"),
}
"""What is averaged over the outcomes of the other responses, by its number."""


def right(term: Expr) -> Sum:
    """The sum over right responses, y ≤ m."""
    return Sum(chance * term, (y, 1, m))


def wrong(term: Expr) -> Sum:
    """The sum over wrong responses."""
    return Sum(chance * term, (y, m + 1, N))


def averaged(number: int, among: Expr, so_far: int) -> Expr:
    """E of quantity `number` over the others, `so_far` of the members themselves being right."""
    return expected(number, among, so_far)


OWN: dict[int, tuple[Expr, int]] = {1: (g, 1), 0: (g, 0), 2: (g - 1, 2), 3: (g - 1, 1), 4: (g - 1, 0)}
PAIR = averaged(2, *OWN[2]) - 2 * averaged(3, *OWN[3]) + averaged(4, *OWN[4])


def law(number: int) -> Sum:
    """The same by the binomial law of the number of right ones among the others."""
    among, so_far = OWN[number]
    return Sum(binomial_law(among, k) * WHAT[number][0].subs(k, so_far + k), (k, 0, among))


def theorem() -> Theorem:
    return Theorem(
        id="T17",
        title="The noise of a group's gradient",
        words=(
            "Let rewards be right or wrong, and let A(1, k) and A(0, k) be the advantages of a rule in a group with g "
            "others, of which k are right. The second moment of the group's gradient in two coordinates is {second "
            "moment}, where the E are the means of squared advantages and of products of two over a binomial number of "
            "right ones among the others, as given below; F and D are the second moments and the means of the scores "
            "of right and wrong responses. In one coordinate it exceeds what the outcomes alone cause by {within}, "
            "which is not negative: no model has less noise than that floor, which is a function of p, the group and "
            "the rule. With n groups the best step makes the progress {progress}."
        ),
        results=(
            "over the others",
            "own, right",
            "own, wrong",
            "pairs",
            "second moment",
            "within",
            "floor",
            "given the outcomes",
            *t17_rules.RESULTS,
        ),
        definitions=(*_of_others(), *_of_groups(), *t17_rules.definitions()),
        assumptions=(
            Assumption("rewards are 0 or 1"),
            Assumption("the G responses are independent samples"),
            Assumption("the weight of a token is the advantage of its response: no 1/L"),
            Assumption("the advantage depends on the rewards of the group alone"),
        ),
        model=_model(),
        steps=(*_others(), *_groups(), *t17_rules.steps()),
        witnesses=t17_witnesses.witnesses(),
        after=(t05(),),
        not_proved=(
            (
                "That the trace of the covariance is the sum over coordinates (linearity), and that the floor is the "
                "variance of the mean given the outcomes (law of total variance): the difference is computed and is "
                "a mean of variances."
            ),
            "The bound on the progress of a step, for a loss of curvature at most C, from which 'progress' begins.",
        ),
        remark=(
            "The floor is what a model with one parameter a prompt would have. Real scores vary much more among right "
            "answers than between right and wrong ones, so real noise lies above it. Rules that use negatives alone "
            "have a low floor at small p and pay for it within the outcomes."
        ),
    )


def _of_others() -> tuple[Definition, ...]:
    one_more = right(expected(own, n, j + 1)) + wrong(expected(own, n, j))
    return (
        Definition(
            "mean over the others", "E(o, n, j): of quantity o, if j + K are right, K of n others", expected(own, n, j)
        ),
        Definition(
            "independent responses",
            "E(o, 0, j) = f(o, j), and one more response is y with probability π(y), whatever the others are",
            equations={expected(own, 0, j): value(own, j), expected(own, n + 1, j): one_more},
            every=(own, n, j),
        ),
        Definition("chances", "p of a right and q of a wrong response", equations={right(S.One): p, wrong(S.One): q}),
        Definition("q = 1 − p", "some response is given", equations={q: 1 - p}),
        Definition(
            "quantities",
            "; ".join(f"{number}: {words}" for number, (_, words) in WHAT.items()),
            equations={value(number, k): what for number, (what, _) in WHAT.items()},
            every=(k,),
        ),
        *(
            Definition(name, words, averaged(number, *OWN[number]))
            for name, words, number in (
                ("mean square, right", "of the advantage of a right response", 1),
                ("mean square, wrong", "of the advantage of a wrong response", 0),
            )
        ),
        Definition(
            "pair factor", "E A A' of two right ones, less twice that of unlike ones, and of two wrong ones", PAIR
        ),
    )


def _others() -> tuple[Step, ...]:
    def specialised_to(number: int) -> tuple[Cited, Cited]:
        among, so_far = OWN[number]
        known = Cited("over the others", {own: Integer(number), n: among, j: Integer(so_far)})
        return known, Cited("quantities", {k: k + so_far}) if so_far else Cited("quantities")

    return (
        Step(
            "No others: the quantity itself.",
            expected(own, 0, j),
            Sum(binomial_law(S.Zero, k) * value(own, j + k), (k, 0, 0)),
            "The one term.",
            begins=Cited("mean over the others", {n: S.Zero}),
            given=("independent responses",),
            label="no others",
        ),
        Step(
            "Condition on one more response.",
            expected(own, n + 1, j),
            p * expected(own, n, j + 1) + q * expected(own, n, j),
            "Law of total expectation.",
            begins=Cited("mean over the others", {n: n + 1}),
            given=("independent responses", "chances"),
            label="one more",
        ),
        Step(
            "So every quantity has its mean over a binomial number of right ones.",
            expected(own, n, j),
            Sum(binomial_law(n, k) * value(own, j + k), (k, 0, n)),
            "Induction on n, for all j; Pascal's rule.",
            begins="mean over the others",
            given=("no others", "one more"),
            over=n,
            name="over the others",
        ),
        *(
            Step(
                f"{words}.",
                averaged(number, *OWN[number]),
                law(number),
                "A binomial number of right ones among the others.",
                begins=begins,
                given=specialised_to(number),
                name=name,
            )
            for number, words, begins, name in (
                (1, "The mean square of a right response's advantage", "mean square, right", "own, right"),
                (0, "The mean square of a wrong one's", "mean square, wrong", "own, wrong"),
            )
        ),
        Step(
            "What two members contribute.",
            PAIR,
            law(2) - 2 * law(3) + law(4),
            "A binomial number of right ones among the others.",
            begins="pair factor",
            given=tuple(known for number in (2, 3, 4) for known in specialised_to(number)),
            name="pairs",
        ),
    )


def _second_moment() -> Expr:
    """Σ over members and over pairs of members, by their outcomes, over the squared size of the group."""
    E = {number: averaged(number, *OWN[number]) for number in WHAT}
    alone = Sum(right(E[1] * score(y) * other(y)) + wrong(E[0] * score(y) * other(y)), (i, 1, size))
    pairs = (
        E[2] * right(score(y)) * right(other(y))
        + E[3] * (right(score(y)) * wrong(other(y)) + wrong(score(y)) * right(other(y)))
        + E[4] * wrong(score(y)) * wrong(other(y))
    )
    return alone / size**2 + size * g * pairs / size**2


def _of_groups() -> tuple[Definition, ...]:
    both = score(y) * other(y)
    outcomes = slope**2 * ((W1 / p + W0 / q) / size + g / size * PAIR)
    return (
        Definition(
            "second moment of the group's gradient",
            "in two coordinates, with the scores s and t: G members alone, and G (G − 1) pairs",
            _second_moment(),
        ),
        Definition(
            "scores",
            "second moments p F₁ and q F₀, means D and −D: probabilities sum to 1",
            equations={
                right(both): p * F1,
                wrong(both): q * F0,
                right(score(y)): slope,
                wrong(score(y)): -slope,
                right(other(y)): slope_other,
                wrong(other(y)): -slope_other,
            },
        ),
        Definition(
            "excess over the outcomes",
            "in one coordinate, W₁ and W₀ the mean squares: the second moment less that of the mean given the outcomes",
            (p * W1 * F1 + q * W0 * F0) / size + g / size * slope**2 * PAIR - outcomes,
        ),
        Definition(
            "variances within",
            "F is the square of the mean score of that outcome, and a variance v",
            equations={F1: (slope / p) ** 2 + v1, F0: (slope / q) ** 2 + v0},
        ),
        Definition(
            "mean given the outcomes",
            "of a group with k right ones",
            (k * advantage(1, k) * (slope / p) + (size - k) * advantage(0, k) * (-slope / q)) / size,
        ),
    )


def _groups() -> tuple[Step, ...]:
    E = {number: averaged(number, *OWN[number]) for number in WHAT}
    within = (p * W1 * v1 + q * W0 * v0) / size
    outcomes = slope**2 * ((W1 / p + W0 / q) / size + g / size * PAIR)
    return (
        Step(
            "The second moment of the group's gradient, by members and pairs.",
            _second_moment(),
            (p * E[1] * F1 + q * E[0] * F0) / size + g / size * slope * slope_other * PAIR,
            "The members are alike, and so are the pairs.",
            begins="second moment of the group's gradient",
            given=("scores",),
            name="second moment",
        ),
        Step(
            "In one coordinate it exceeds that of the mean given the outcomes by the variances within them …",
            (p * W1 * F1 + q * W0 * F0) / size + g / size * slope**2 * PAIR - outcomes,
            within,
            "The pairs cancel.",
            begins="excess over the outcomes",
            given=("variances within",),
            name="within",
        ),
        Step("… which are not negative.", within, S.Zero, "Products of such numbers.", relation="≥", name="floor"),
        Step(
            "Given the outcomes, the mean is a multiple of the gradient of p: nothing but the multiple is random.",
            (k * advantage(1, k) * (slope / p) + (size - k) * advantage(0, k) * (-slope / q)) / size,
            slope * (k * advantage(1, k) / p - (size - k) * advantage(0, k) / q) / size,
            "Pull D out.",
            begins="mean given the outcomes",
            name="given the outcomes",
        ),
    )


def _model() -> dict:
    """Two responses, one right with 1/3, scores 2 and −1, and a rule whose quantities do not depend on the others."""
    third = Rational(1, 3)
    return {
        π: Lambda(y, y * third),
        expected: Lambda((own, n, j), 1),
        value: Lambda((own, k), 1),
        advantage: Lambda((own, k), 1),
        score: Lambda(y, 5 - 3 * y),
        other: Lambda(y, 5 - 3 * y),
        m: 1,
        N: 2,
        p: third,
        q: 2 * third,
        F1: 4,
        F0: 1,
        v1: 0,
        v0: 0,
        slope: 2 * third,
        slope_other: 2 * third,
        own: 1,
        n: 2,
        j: 3,
        k: 1,
        g: 3,
        **t17_rules.MODEL,
    }
