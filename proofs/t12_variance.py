"""T12: the variance of the degenerate estimator against that of true token advantages, and when it is no loss."""

from collections.abc import Callable
from itertools import product

from sympy import Expr, Function, Integer, Limit, Rational, Subs, Sum, oo, symbols

from proofs.instances import Tree
from proofs.notation import L, N, i, j, t, u
from proofs.theorem import Step, Theorem, Witness

Z = symbols("Z", integer=True, positive=True)
V, g, b, ν_bar = symbols("V g b nubar", real=True)
d, w_sum, δ = symbols("d W delta", positive=True)
M, Q, Q1, Q2 = symbols("M Q Q_1 Q_2", real=True)
π_a, success = symbols("pi_a s", positive=True)
μ, R = Function("mu", positive=True)(i), Function("R", real=True)(i)
w, q, ν = Function("w", nonnegative=True)(j), Function("Q", real=True)(j), Function("nu", nonnegative=True)(j)


def theorem() -> Theorem:
    return Theorem(
        id="T12",
        title="What uniform credit costs",
        statement=(
            "Three estimators of the policy gradient with equal means weigh the score of token t with the advantage "
            "A(s, a), with R − V(s), or with R. In the logit of each (s, b), the second has the variance of the first "
            "plus d Σ_a w_a Var(R|s, a), w_a = π_a (1[a=b] − π_b)²: never less. If the reward is the share of right "
            "ones among L fair tokens, the total variance is 1 + L(L−1)/(2L − 4 + 4/2^L) times as large, growing as "
            "L/2; if all L tokens have to be right, the ratio at the first token grows like s^(−L). Against plain R "
            "the order reverses in a coordinate if and only if V (V − 2b) exceeds the mean of Var(R|s, a), where b is "
            "the mean of Q, both with weights w: where success is likely."
        ),
        assumptions=(
            "prefix tree: each state is visited at most once",
            "tabular logits",
            "exact V and A; on-policy; terminal reward",
        ),
        symbolic="numbers of actions N and of outcomes Z, rewards, policy, visits d(s); L and s of the two examples",
        steps=(*_rao_blackwell(), *_growth(), *_plain()),
        witnesses=_witnesses(),
        remark=(
            "The comparison is with exact advantages, which no trainer has. Against plain R the baseline V(s) can hurt "
            "because the best constant baseline of a coordinate is b, which weighs the actions by the squared score: "
            "of two actions it takes the value of the other one."
        ),
    )


def _rao_blackwell() -> tuple[Step, ...]:
    def mean(term: Expr) -> Sum:
        return Sum(μ * term, (i, 1, Z))

    def over_actions(term: Expr) -> Sum:
        return Sum(term, (j, 1, N))

    given = {mean(1): Integer(1), mean(R): Q}
    why = "μ is the law of the reward after (s, a), and Q its mean"
    return (
        Step(
            "Given the state and the action, R − V has the mean A = Q − V.",
            mean(R - V),
            Q - V,
            "Linearity.",
            given=given,
            why_given=why,
        ),
        Step(
            "Its mean square is A² plus the variance of the reward.",
            mean((R - V) ** 2),
            (Q - V) ** 2 + mean((R - Q) ** 2),
            "Expand around Q.",
            given=given,
            why_given=why,
        ),
        Step(
            "A coordinate (s, b) gets X (1[a = b] − π_b) if s is visited, once; so the second moments differ by this "
            "sum.",
            d * over_actions(w * ((q - V) ** 2 + ν)) - d * over_actions(w * (q - V) ** 2),
            d * over_actions(w * ν),
            "Sum over the action with w = π (1[a = b] − π_b)², ν = Var(R|s, a), q = Q(s, a).",
            name="excess",
        ),
        Step("No term of it is negative.", d * w * ν, 0, "Product of such numbers.", relation="≥"),
        Step(
            "With equal means g, the ratio of the variances.",
            (d * (M + ν_bar) - g**2) / (d * M - g**2),
            1 + d * ν_bar / (d * M - g**2),
            "M = Σ w A², ν̄ = Σ w ν.",
            name="ratio",
        ),
    )


def _growth() -> tuple[Step, ...]:
    unit = 1 / (16 * L**2)
    smaller = L * 2 - 4 * (1 - 2**-L)
    Q_root, value = success ** (L - 1), success**L
    w_right, w_wrong = success * (1 - success) ** 2, (1 - success) * success**2
    mean = success * (Q_root - value)
    square = w_right * (Q_root - value) ** 2 + w_wrong * (0 - value) ** 2
    return (
        Step(
            "First example: fair tokens, reward = share of right ones. After token t the reward varies by the tokens "
            "to come.",
            Sum(1 / (4 * L**2), (u, t + 1, L)),
            (L - t) / (4 * L**2),
            "Variance of L − t independent fair tokens, each worth 1/L.",
        ),
        Step(
            "Total variance with A: 2^t coordinates at depth t, each visited with d = 2^(1−t), A² = 1/(4L²), Σw = 1/4.",
            Sum(2**t * (2 ** (1 - t) * unit - (2 ** (1 - t)) ** 2 * unit), (t, 1, L)),
            smaller * unit,
            "g = ± d/(4L). Geometric sum.",
        ),
        Step(
            "Excess with R − V.",
            Sum(2**t * 2 ** (1 - t) * Rational(1, 4) * (L - t) / (4 * L**2), (t, 1, L)),
            L * (L - 1) * unit,
            "d Σ w ν; arithmetic sum.",
        ),
        Step(
            "The ratio of the total variances.",
            (smaller * unit + L * (L - 1) * unit) / (smaller * unit),
            1 + L * (L - 1) / (2 * L - 4 + 4 / 2**L),
            "Divide.",
            name="additive ratio",
        ),
        Step(
            "It grows as L/2.", Limit((1 + L * (L - 1) / (2 * L - 4 + 4 / 2**L)) / L, L, oo), Rational(1, 2), "Limit."
        ),
        Step(
            "Second example: the reward is 1 if all L tokens are right, each with chance s. Variance with A in the "
            "logit of the right first token.",
            square - mean**2,
            success ** (2 * L - 1) * (1 - success) * (1 - 2 * success) ** 2,
            "Q = s^(L−1) after a right token, 0 after a wrong one, V = s^L; w = s(1−s)² and (1−s)s².",
        ),
        Step(
            "The ratio there grows like s^(−L).",
            1 + w_right * Q_root * (1 - Q_root) / (success ** (2 * L - 1) * (1 - success) * (1 - 2 * success) ** 2),
            1 + (1 - success) * (success ** (1 - L) - 1) / (1 - 2 * success) ** 2,
            "Var(R|s, right) = Q(1 − Q); s ≠ 1/2.",
            name="needle ratio",
        ),
    )


def _plain() -> tuple[Step, ...]:
    def over_actions(term: Expr) -> Sum:
        return Sum(term, (j, 1, N))

    letters = {over_actions(w): w_sum, over_actions(w * q): w_sum * b, over_actions(w * ν): w_sum * ν_bar}
    why = "W = Σ w, b = Σ w q/W, ν̄ = Σ w ν/W"
    return (
        Step(
            "A against plain R: the second moments differ by W (V (V − 2b) − ν̄).",
            over_actions(w * (q - V) ** 2) - over_actions(w * (q**2 + ν)),
            w_sum * (V * (V - 2 * b) - ν_bar),
            "E[R²|s, a] = q² + ν. Positive where plain R is the better one.",
            where=letters,
            why_given=why,
            name="against plain",
        ),
        Step(
            "R − V against plain R: by W V (V − 2b), so a baseline V > 0 hurts where V > 2b.",
            over_actions(w * ((q - V) ** 2 + ν)) - over_actions(w * (q**2 + ν)),
            w_sum * V * (V - 2 * b),
            "The same.",
            where=letters,
            why_given=why,
        ),
        Step(
            "With two actions, b takes the value of the other action.",
            (π_a * (1 - π_a) ** 2 * Q1 + (1 - π_a) * π_a**2 * Q2) / (π_a * (1 - π_a) ** 2 + (1 - π_a) * π_a**2),
            (1 - π_a) * Q1 + π_a * Q2,
            "w₁ = π (1−π)², w₂ = (1−π) π².",
            name="b",
        ),
        Step(
            "At a last token with rewards 1 and 0, V (V − 2b) = π (3π − 2): plain R has the smaller variance where π > "
            "2/3.",
            Subs(V * (V - 2 * b), (V, b), (π_a, 1 - π_a)),
            π_a * (3 * π_a - 2),
            "V = π, b = 1 − π, ν̄ = 0.",
        ),
        Step(
            "There it is positive.",
            π_a * (3 * π_a - 2),
            0,
            "Product of positive numbers.",
            relation=">",
            given={π_a: Rational(2, 3) + δ},
            why_given="π = 2/3 + δ with δ > 0",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "tabular logits",
            "two tokens, a with chance 4/5 at each; only 'aa' has reward 1; the coordinate is the first token's logit "
            "plus κ times the second's (κ = 1: one parameter for both)",
            "variance with R − V ≥ variance with A",
            _tied,
            "κ",
            0,
            1,
            relation="≥",
        ),
        Witness(
            "prefix tree: each state has one history",
            "V(s) = 1/3 is learned from 4 sampled outcomes; M histories lead to s and share them evenly; a tree has a "
            "critic for each",
            "mean square error of the tree's critic = of a critic shared by the histories",
            _critics,
            "M",
            1,
            2,
        ),
    )


def _tied(share: Expr) -> tuple[Expr, Expr]:
    right = {"a": Rational(4, 5), "b": Rational(1, 5)}
    tree = Tree(
        {"": right, "a": right, "b": right}, {"aa": Integer(1), "ab": Integer(0), "ba": Integer(0), "bb": Integer(0)}
    )

    def value(prefix: str) -> Expr:
        return (
            sum(chance * value(prefix + token) for token, chance in right.items())
            if len(prefix) < 2
            else tree.reward[prefix]
        )

    def variance(credit: Callable[[str, int], Expr]) -> Expr:
        def coordinate(y: str) -> Expr:
            first, second = (credit(y, t) * (Integer(y[t] == "a") - right["a"]) for t in range(2))
            return first + share * second

        return tree.expectation(lambda y: coordinate(y) ** 2) - tree.expectation(coordinate) ** 2

    return (
        variance(lambda y, t: tree.reward[y] - value(y[:t])),
        variance(lambda y, t: value(y[: t + 1]) - value(y[:t])),
    )


def _critics(histories: Expr) -> tuple[Expr, Expr]:
    def error(samples: int) -> Expr:
        chance = {1: Rational(1, 3), 0: Rational(2, 3)}
        total = Integer(0)
        for outcomes in product(chance, repeat=samples):
            probability = Integer(1)
            for outcome in outcomes:
                probability *= chance[outcome]
            total += probability * (Rational(sum(outcomes), samples) - chance[1]) ** 2
        return total

    return error(4 // int(histories)), error(4)
