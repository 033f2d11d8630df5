"""T12: the variance of the degenerate estimator against that of true token advantages, and when it is no loss."""

from sympy import Expr, Function, Lambda, Limit, Rational, S, Subs, Sum, oo, symbols

from proofs import t12_witnesses
from proofs.notation import L, N, g, i, j, t, u
from proofs.parts import Assumption, Definition, Step
from proofs.theorem import Theorem

Z = symbols("Z", integer=True, positive=True)
V, mean, b, ν_bar = symbols("V m b nubar", real=True)
d, w_sum, δ = symbols("d W delta", positive=True)
M, Q1, Q2 = symbols("M Q_1 Q_2", real=True)
π_a, success = symbols("pi_a s", positive=True)
μ, R = Function("mu", positive=True)(i, j), Function("R", real=True)(i, j)
w, q, ν = Function("w", nonnegative=True)(j), Function("Q", real=True)(j), Function("nu", nonnegative=True)(j)
LENGTH = g + 1
UNIT = 1 / (16 * LENGTH**2)


def over_outcomes(term: Expr) -> Sum:
    """Σ_i μ(i, j) term: the mean given the state and the action j."""
    return Sum(μ * term, (i, 1, Z))


def over_actions(term: Expr) -> Sum:
    return Sum(term, (j, 1, N))


def theorem() -> Theorem:
    return Theorem(
        id="T12",
        title="What uniform credit costs",
        words=(
            "Three estimators of the policy gradient with equal means weigh the score of token t with the advantage of "
            "the action, with R less V, or with R. In the logit of each state and action, the second has the variance "
            "of the first plus {excess}, where w is the chance of an action times its squared score and ν the variance "
            "of the reward after it: never less. If the reward is the share of right ones among fair tokens, or if all "
            "tokens have to be right, the ratio is given below; the first grows linearly with the length, the second "
            "exponentially. Plain R has the smaller second moment in a coordinate exactly where {against plain} is "
            "positive: where success is likely."
        ),
        results=(
            "mean of the weight",
            "excess",
            "never less",
            "ratio",
            "tokens to come",
            "variance with A, first example",
            "excess, first example",
            "additive ratio",
            "growth of the ratio",
            "variance with A, second example",
            "needle ratio",
            "against plain",
            "baseline against plain",
            "b",
            "last token",
        ),
        definitions=(*_of_one_coordinate(), *_of_examples(), *_of_plain()),
        assumptions=(
            Assumption("tabular logits on a prefix tree: a logit acts at one state, which is visited at most once"),
            Assumption("exact V and A"),
        ),
        model={
            μ.func: Lambda((i, j), Rational(1, 2)),
            R.func: Lambda((i, j), i + j),
            q.func: Lambda(j, j + Rational(3, 2)),
            w.func: Lambda(j, 1),
            ν.func: Lambda(j, j),
            N: 2,
            Z: 2,
            w_sum: 2,
            b: 3,
            ν_bar: Rational(3, 2),
            j: 2,
            π_a: Rational(3, 4),
            δ: Rational(1, 12),
        },
        steps=(*_rao_blackwell(), *_growth(), *_plain()),
        witnesses=t12_witnesses.witnesses(),
        not_proved=(
            (
                "That the variances of different coordinates add up to the totals of the first example, and that d, A² "
                "and Var(R|s, a) have there the values that the definitions name."
            ),
        ),
        remark=(
            "The comparison is with exact advantages, which no trainer has; a critic shared by histories learns V from "
            "more samples, at the price of a bias. Against plain R the baseline V(s) can hurt because the best "
            "constant baseline of a coordinate is b, which weighs the actions by the squared score: of two actions it "
            "takes the value of the other one."
        ),
    )


def _differing() -> Expr:
    """Second moment of a coordinate with R − V less that with A."""
    return d * over_actions(w * over_outcomes((R - V) ** 2)) - d * over_actions(w * (q - V) ** 2)


def _of_one_coordinate() -> tuple[Definition, ...]:
    return (
        Definition("mean of R − V", "given the state and the action", over_outcomes(R - V)),
        Definition(
            "law of the reward",
            "μ(i, j) is the chance of outcome i after action j, and Q(j) the mean reward",
            equations={over_outcomes(1): S.One, over_outcomes(R): q},
            every=(j,),
        ),
        Definition("mean square of R − V", "given the state and the action", over_outcomes((R - V) ** 2)),
        Definition(
            "difference of the second moments",
            "a coordinate (s, b) gets X (1[a = b] − π_b) if s is visited, with chance d; w = π (1[a = b] − π_b)²",
            _differing(),
        ),
        Definition("ν", "the variance of the reward after action j", over_outcomes((R - q) ** 2), ν),
        Definition(
            "ratio of the variances",
            "both with the mean m; M = Σ w A², ν̄ = Σ w ν",
            (d * (M + ν_bar) - mean**2) / (d * M - mean**2),
        ),
    )


def _rao_blackwell() -> tuple[Step, ...]:
    return (
        Step(
            "Given the state and the action, R − V has the mean A = Q − V.",
            over_outcomes(R - V),
            q - V,
            "Linearity.",
            begins="mean of R − V",
            given=("law of the reward",),
            name="mean of the weight",
        ),
        Step(
            "Its mean square is A² plus the variance of the reward.",
            over_outcomes((R - V) ** 2),
            (q - V) ** 2 + over_outcomes((R - q) ** 2),
            "Expand around Q.",
            begins="mean square of R − V",
            given=("law of the reward",),
            label="mean square",
        ),
        Step(
            "So the second moments of a coordinate differ by a sum of variances …",
            _differing(),
            d * over_actions(w * ν),
            "Sum over the action; the equal means drop out.",
            begins="difference of the second moments",
            given=("mean square",),
            where=("ν",),
            name="excess",
        ),
        Step(
            "… of which no term is negative.",
            d * over_actions(w * ν),
            S.Zero,
            "Products of such numbers.",
            relation="≥",
            name="never less",
        ),
        Step(
            "With equal means, the ratio of the variances.",
            (d * (M + ν_bar) - mean**2) / (d * M - mean**2),
            1 + d * ν_bar / (d * M - mean**2),
            "Divide.",
            begins="ratio of the variances",
            name="ratio",
        ),
    )


def _with_advantage() -> Sum:
    """2^t coordinates at depth t, d = 2^(1−t), A² = 1/(4L²), Σw = 1/4, mean ± d/(4L)."""
    return Sum(2**t * (2 ** (1 - t) * UNIT - (2 ** (1 - t)) ** 2 * UNIT), (t, 1, LENGTH))


def _noise() -> Sum:
    """The same coordinates, with the variance (L − t)/(4L²) of the reward."""
    return Sum(2**t * 2 ** (1 - t) * Rational(1, 4) * (LENGTH - t) / (4 * LENGTH**2), (t, 1, LENGTH))


SMALLER = (LENGTH * 2 - 4 * (1 - 2**-LENGTH)) * UNIT
LARGER = LENGTH * (LENGTH - 1) * UNIT
ADDITIVE = 1 + LENGTH * (LENGTH - 1) / (2 * LENGTH - 4 + 4 / 2**LENGTH)


def _needle() -> tuple[Expr, Expr, Expr]:
    """Variance with A in the logit of the right first token, the same simplified, and the excess."""
    Q_root, value = success ** (L - 1), success**L
    w_right, w_wrong = success * (1 - success) ** 2, (1 - success) * success**2
    first = success * (Q_root - value)
    square = w_right * (Q_root - value) ** 2 + w_wrong * (0 - value) ** 2
    result = success ** (2 * L - 1) * (1 - success) * (1 - 2 * success) ** 2
    return square - first**2, result, w_right * Q_root * (1 - Q_root)


def _of_examples() -> tuple[Definition, ...]:
    direct, _, excess = _needle()
    return (
        Definition(
            "variance of the tokens to come", "after token t; each is worth 1/L", Sum(1 / (4 * L**2), (u, t + 1, L))
        ),
        Definition(
            "total variance with A",
            "L = g + 1: 2^t coordinates at depth t, each visited with 2^(1−t), A² = 1/(4L²), Σw = 1/4, mean ± d/(4L)",
            _with_advantage(),
        ),
        Definition("total excess with R − V", "d Σ w ν in the same coordinates", _noise()),
        Definition("ratio of the totals", "of the first example", (_with_advantage() + _noise()) / _with_advantage()),
        Definition("ratio per token", "of the first example, as L grows", Limit(ADDITIVE / LENGTH, g, oo)),
        Definition(
            "variance of the right first token",
            "all L tokens have to be right, each with chance s: Q = s^(L−1) after a right token, 0 after a wrong one, "
            "V = s^L; w = s(1−s)² and (1−s)s²",
            direct,
        ),
        Definition("ratio of the second example", "Var(R|s, right) = Q(1 − Q); s ≠ 1/2", (direct + excess) / direct),
    )


def _growth() -> tuple[Step, ...]:
    direct, result, excess = _needle()
    return (
        Step(
            "First example: fair tokens, reward = share of right ones. After token t the reward varies by the tokens "
            "to come.",
            Sum(1 / (4 * L**2), (u, t + 1, L)),
            (L - t) / (4 * L**2),
            "Variance of L − t independent fair tokens.",
            begins="variance of the tokens to come",
            name="tokens to come",
        ),
        Step(
            "Total variance with A.",
            _with_advantage(),
            SMALLER,
            "Geometric sum.",
            begins="total variance with A",
            name="variance with A, first example",
        ),
        Step(
            "Excess with R − V.",
            _noise(),
            LARGER,
            "Arithmetic sum.",
            begins="total excess with R − V",
            name="excess, first example",
        ),
        Step(
            "The ratio of the total variances, for L ≥ 2: with one token both are 0.",
            (_with_advantage() + _noise()) / _with_advantage(),
            ADDITIVE,
            "Divide.",
            begins="ratio of the totals",
            name="additive ratio",
        ),
        Step(
            "It grows as L/2.",
            Limit(ADDITIVE / LENGTH, g, oo),
            Rational(1, 2),
            "Limit.",
            begins="ratio per token",
            name="growth of the ratio",
        ),
        Step(
            "Second example: variance with A in the logit of the right first token.",
            direct,
            result,
            "Collect.",
            begins="variance of the right first token",
            name="variance with A, second example",
        ),
        Step(
            "The ratio there grows like s^(−L).",
            (direct + excess) / direct,
            1 + (1 - success) * (success ** (1 - L) - 1) / (1 - 2 * success) ** 2,
            "Divide.",
            begins="ratio of the second example",
            name="needle ratio",
        ),
    )


def _of_plain() -> tuple[Definition, ...]:
    weights = π_a * (1 - π_a) ** 2, (1 - π_a) * π_a**2
    return (
        Definition(
            "weighted means",
            "W = Σ w, b = Σ w q/W, ν̄ = Σ w ν/W",
            equations={over_actions(w): w_sum, over_actions(w * q): w_sum * b, over_actions(w * ν): w_sum * ν_bar},
        ),
        Definition(
            "A against plain R",
            "difference of the second moments; E[R²|s, a] = q² + ν",
            over_actions(w * (q - V) ** 2) - over_actions(w * (q**2 + ν)),
        ),
        Definition(
            "R − V against plain R",
            "difference of the second moments",
            over_actions(w * ((q - V) ** 2 + ν)) - over_actions(w * (q**2 + ν)),
        ),
        Definition(
            "b with two actions",
            "w₁ = π (1−π)², w₂ = (1−π) π²",
            (weights[0] * Q1 + weights[1] * Q2) / (weights[0] + weights[1]),
        ),
        Definition(
            "V (V − 2b) at a last token",
            "with rewards 1 and 0: V = π, b = 1 − π, ν̄ = 0",
            Subs(V * (V - 2 * b), (V, b), (π_a, 1 - π_a)),
        ),
        Definition("π > 2/3", "by δ > 0", equations={π_a: Rational(2, 3) + δ}),
    )


def _plain() -> tuple[Step, ...]:
    weights = π_a * (1 - π_a) ** 2, (1 - π_a) * π_a**2
    return (
        Step(
            "A against plain R: the second moments differ by W (V (V − 2b) − ν̄).",
            over_actions(w * (q - V) ** 2) - over_actions(w * (q**2 + ν)),
            w_sum * (V * (V - 2 * b) - ν_bar),
            "Expand. Positive where plain R is the better one.",
            begins="A against plain R",
            given=("weighted means",),
            name="against plain",
        ),
        Step(
            "R − V against plain R: by W V (V − 2b), so a baseline V > 0 hurts where V > 2b.",
            over_actions(w * ((q - V) ** 2 + ν)) - over_actions(w * (q**2 + ν)),
            w_sum * V * (V - 2 * b),
            "The same.",
            begins="R − V against plain R",
            given=("weighted means",),
            name="baseline against plain",
        ),
        Step(
            "With two actions, b takes the value of the other action.",
            (weights[0] * Q1 + weights[1] * Q2) / (weights[0] + weights[1]),
            (1 - π_a) * Q1 + π_a * Q2,
            "Cancel π (1 − π).",
            begins="b with two actions",
            name="b",
        ),
        Step(
            "At a last token with rewards 1 and 0, V (V − 2b) = π (3π − 2).",
            Subs(V * (V - 2 * b), (V, b), (π_a, 1 - π_a)),
            π_a * (3 * π_a - 2),
            "Insert.",
            begins="V (V − 2b) at a last token",
        ),
        Step(
            "So plain R has the smaller variance where π > 2/3.",
            π_a * (3 * π_a - 2),
            S.Zero,
            "Product of positive numbers.",
            relation=">",
            given=("π > 2/3",),
            name="last token",
        ),
    )
