"""T5: with right and wrong responses only, every outcome-driven rule pushes along ∇p; the rules differ in a scalar."""

from sympy import Derivative, Expr, Function, Integer, Limit, Rational, S, Subs, Sum, log, oo, sqrt, symbols

from proofs.instances import Tree, bandit, grpo, over_length, proportions, uniform
from proofs.notation import G, binomial_law, certain, i, k, m, n, p, q, y, α, θ, π
from proofs.theorem import Step, Theorem, Witness

w1, w0 = symbols("w_1 w_0", real=True)
x, x_bar = symbols("x xbar", positive=True)
N = symbols("N", integer=True, positive=True)
success = Function("p", positive=True)(θ)
π_old = Function("pi_old", positive=True)(y)


def others(value: Expr, first: Expr = S.Zero, last: Expr = G - 1) -> Sum:
    """E[value(K)] for the number K of right ones among the other G − 1; `first` and `last` leave terms out."""
    return Sum(binomial_law(G - 1, k) * value, (k, first, last))


def theorem() -> Theorem:
    right, wrong = Sum(π(y, θ), (y, 1, m)), Sum(π(y, θ), (y, m + 1, N))
    spread = Sum(binomial_law(G, k) * sqrt(k) * sqrt(G - k), (k, 0, G))
    return Theorem(
        id="T5",
        title="One direction: the expected gradient is c(p) ∇p",
        statement=(
            "Let rewards be right or wrong, let A₁(k) and A₀(k) be the advantages that a rule gives to a right and to "
            "a wrong response in a group with k right ones, and let the gradient be on-policy and without 1/L. Then "
            "the expected gradient of a prompt is (w₁ − w₀) ∇p with w₁ = E[A₁(K+1)], w₀ = E[A₀(K)], K ∼ Bin(G−1, p). "
            "The rules differ in this scalar c(p) alone."
        ),
        assumptions=(
            "rewards are 0 or 1",
            "the G responses are independent samples of the current policy: ρ = 1",
            "the weight of a token is the advantage of its response: no 1/L",
            "the advantage depends on the rewards of the group alone",
        ),
        symbolic="group size G, number of responses N and of right ones m, their probabilities π(y, θ), p, α",
        steps=(
            *_counting(),
            Step(
                "The expected gradient of the group: response i is y with probability π(y), and weighs w₁ if right, w₀ "
                "if wrong.",
                Sum(
                    Sum(π(y, θ) * w1 * Derivative(log(π(y, θ)), θ), (y, 1, m))
                    + Sum(π(y, θ) * w0 * Derivative(log(π(y, θ)), θ), (y, m + 1, N)),
                    (i, 1, G),
                )
                / G,
                w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
                "π ∂ log π = ∂π; the G responses are alike. The right responses are numbered 1 … m.",
            ),
            Step(
                "Both sums move along ∇p, in opposite directions.",
                w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
                (w1 - w0) * Derivative(success, θ),
                "Probabilities sum to 1.",
                given={right: success, wrong: 1 - success},
                why_given="p(θ) is the probability of a right response, and some response is given",
                name="direction",
            ),
            Step(
                "Off-policy, ratios of whole responses keep the direction, if none is clipped.",
                Sum(π_old * w1 * (π(y, θ) / π_old) * Derivative(log(π(y, θ)), θ), (y, 1, m))
                + Sum(π_old * w0 * (π(y, θ) / π_old) * Derivative(log(π(y, θ)), θ), (y, m + 1, N)),
                w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
                "Importance sampling; w₁ and w₀ are taken at the success probability of the sampling policy.",
                name="whole-response ratios",
            ),
            *_rules(spread),
            *_large_groups(),
        ),
        witnesses=_witnesses(),
        remark=(
            "∇p is that of the success probability of one prompt. Over several prompts the gradient is the mean of "
            "c(p_x) ∇p_x, so the rules weigh prompts differently. Off-policy the direction survives ratios of whole "
            "responses, but not ratios of tokens (last witness), and not clipping."
        ),
    )


def _counting() -> tuple[Step, ...]:
    """How many of the other responses are right."""
    return (
        Step("No responses, none right.", Subs(binomial_law(n, k), (n, k), (0, 0)), 1, "Start of an induction on n."),
        Step(
            "Of n + 1 responses k are right if the last is right and k − 1 before it, or wrong and k before it.",
            p * binomial_law(n, k - 1) + q * binomial_law(n, k),
            binomial_law(n + 1, k),
            "Pascal's rule. So the number of right ones is binomial, by induction on n.",
        ),
        Step(
            "These probabilities sum to the same for n + 1 and for n responses, so to 1.",
            p * Sum(binomial_law(n, k - 1), (k, 1, n + 1)) + q * Sum(binomial_law(n, k), (k, 0, n)),
            Sum(binomial_law(n, k), (k, 0, n)),
            "Both sums on the left run over all of Bin(n, p); p + q = 1. Induction on n.",
            given={p: 1 - q},
            why_given="q = 1 − p",
        ),
    )


def _rules(spread: Sum) -> tuple[Step, ...]:
    """c(p) of each rule: w₁ − w₀ with its advantages."""
    given, why = certain(G - 1) | certain(G), "Bin(G−1, p) and Bin(G, p) sum to 1"

    def rule(name: str, advantages: str, left: Expr, c: Expr, how: str) -> Step:
        return Step(f"{name}: A = {advantages}.", left, c, how, given=given, why_given=why, name=name)

    constant = "The difference of the advantages does not depend on k."
    none_right, all_right = S.Zero, G - 1
    return (
        rule("REINFORCE", "r", others(1), Integer(1), constant),
        rule("negatives", "−(1 − r)", -others(-1), Integer(1), constant),
        rule("cross-entropy ±", "r − (1 − r)", others(1) - others(-1), Integer(2), constant),
        rule("Dr. GRPO", "r − mean", others(1 - (k + 1) / G) - others(-k / G), (G - 1) / G, constant),
        rule(
            "RLOO", "G/(G−1) (r − mean)", G / (G - 1) * (others(1 - (k + 1) / G) - others(-k / G)), Integer(1), constant
        ),
        Step(
            "GRPO, a right response: A = √((G−k)/k) in a group with k right ones.",
            others(sqrt(G - 1 - k) / sqrt(k + 1)),
            spread / (G * p),
            "k → k − 1; k C(G, k) = G C(G−1, k−1); the term k = 0 on the right is 0.",
            name="GRPO w1",
        ),
        Step(
            "GRPO, a wrong response: A = −√(k/(G−k)).",
            others(-sqrt(k) / sqrt(G - k)),
            -spread / (G * q),
            "(G − k) C(G, k) = G C(G−1, k); the term k = G on the right is 0.",
            name="GRPO w0",
        ),
        Step(
            "GRPO: A = (r − mean)/std.",
            spread / (G * p) - (-spread / (G * q)),
            spread / (G * p * q),
            "1/p + 1/q = 1/(pq).",
            given={q: 1 - p},
            why_given="q = 1 − p",
            name="GRPO",
        ),
        rule(
            "F-ISFT, advantage form",
            "1 − α above the mean, −α below it, 0 if all are equal",
            others(1 - α, last=all_right - 1) - others(-α, first=none_right + 1),
            (1 - α) * (1 - p ** (G - 1)) + α * (1 - q ** (G - 1)),
            "Groups that are all right or all wrong are left out of the sums.",
        ),
        rule(
            "mean over positives",
            "r/mean",
            others(G / (k + 1)),
            (1 - q**G) / p,
            "G C(G−1, k)/(k+1) = C(G, k+1): the sum is that of Bin(G, p) without k = 0, divided by p.",
        ),
        Step(
            "MaxRL: A = (r − mean)/mean.",
            others(G / (k + 1) - 1) - others(-1, first=none_right + 1),
            (1 - q**G) / p - q ** (G - 1),
            "As before, less 1, plus the groups with at least one right response.",
            given=given,
            why_given=why,
        ),
        Step(
            "It is the mean over positives in a group of G − 1.",
            (1 - q**G) / p - q ** (G - 1),
            (1 - q ** (G - 1)) / p,
            "q^G = q^(G−1) (1 − p).",
            given={p: 1 - q},
            why_given="q = 1 − p",
            name="MaxRL",
        ),
    )


def _large_groups() -> tuple[Step, ...]:
    """GRPO's c(p) tends to 1/√(pq): X = K/G has mean p and variance pq/G, and √(x(1−x)) bends little between."""
    law = binomial_law(G, k)
    bend = sqrt(x * q) - sqrt(x_bar * p)
    slope = (x * q + x_bar * p) / (2 * sqrt(p * q))
    return (
        Step(
            "Mean of K ∼ Bin(G, p).",
            Sum(k * law, (k, 0, G)),
            G * p,
            "k C(G, k) = G C(G−1, k−1).",
            given=certain(G - 1),
            why_given="Bin(G−1, p) sums to 1",
        ),
        Step(
            "Its second factorial moment.",
            Sum(k * (k - 1) * law, (k, 0, G)),
            G * (G - 1) * p**2,
            "k (k−1) C(G, k) = G (G−1) C(G−2, k−2).",
            given=certain(G - 2),
            why_given="Bin(G−2, p) sums to 1 (G = 1 is immediate)",
        ),
        Step(
            "So the variance of X = K/G is pq/G.",
            (G * (G - 1) * p**2 + G * p - (G * p) ** 2) / G**2,
            p * q / G,
            "E[K(K−1)] + E[K] − E[K]².",
            given={q: 1 - p},
            why_given="q = 1 − p",
        ),
        Step(
            "√(x x̄), where x̄ = 1 − x, lies below its tangent at p by a square …",
            slope - sqrt(x * x_bar),
            bend**2 / (2 * sqrt(p * q)),
            "Complete the square.",
        ),
        Step(
            "… the tangent being a linear function of x, with the value √(pq) at x = p.",
            slope,
            (p + x * (1 - 2 * p)) / (2 * sqrt(p * q)),
            "Collect x.",
            given={q: 1 - p, x_bar: 1 - x},
            why_given="q = 1 − p, x̄ = 1 − x",
        ),
        Step(
            "… and that square is a quotient of (x − p)²",
            bend**2 * (sqrt(x * q) + sqrt(x_bar * p)) ** 2,
            (x - p) ** 2,
            "Difference of squares.",
            given={q: 1 - p, x_bar: 1 - x},
            why_given="q = 1 − p, x̄ = 1 − x",
        ),
        Step(
            "… by something larger than pq.",
            x * q * (p + q) + x_bar * p * (p + q) + 2 * sqrt(x * x_bar * p * q),
            p * q * (x + x_bar),
            "Expand: what is left are products of positive letters. On the left is (√(xq) + √(x̄p))², as p + q = 1 = x "
            "+ x̄.",
            relation=">",
        ),
        Step(
            "So E√(X(1−X)) lies between √(pq) − (pq/G)/(2 pq √(pq)) and √(pq), and c(p) = E√(X(1−X))/(pq) between",
            (sqrt(p * q) - (p * q / G) / (2 * p * q * sqrt(p * q))) / (p * q),
            (1 - 1 / (2 * G * p * q)) / sqrt(p * q),
            "Expectation of the steps above; the tangent has the mean √(pq).",
            name="GRPO, lower bound",
        ),
        Step(
            "and 1/√(pq), which both tend to as G grows.",
            Limit((1 - 1 / (2 * G * p * q)) / sqrt(p * q), G, oo),
            1 / sqrt(p * q),
            "Limit of the lower bound; the upper one is constant.",
            name="GRPO, G → ∞",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    conclusion = "E[gradient] / ∇p in the coordinate where it is smallest = where it is largest"

    def lengths(power: Expr) -> tuple[Expr, Expr]:
        tree = bandit((".", Rational(1, 4), 1), ("a.", Rational(1, 4), 0), ("aa", Rational(1, 2), 1))
        return proportions(tree.group_gradient(grpo, 3, over_length(power)), tree.gradient(tree.reward.__getitem__))

    def levels(middle: Expr) -> tuple[Expr, Expr]:
        tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), middle), ("c", Rational(1, 2), 0))
        success = tree.gradient(lambda y: Integer(tree.reward[y] == 1))
        return proportions(tree.group_gradient(grpo, 3, uniform), success)

    def drift(shift: Expr) -> tuple[Expr, Expr]:
        half = Rational(1, 2)
        rewards = {"aa": Integer(1), "ab": Integer(0), "ba": Integer(0), "bb": Integer(0)}
        old = Tree({s: {"a": half, "b": half} for s in ("", "a", "b")}, rewards)
        new = Tree({**old.policy, "": {"a": half + shift, "b": half - shift}}, rewards)

        def ratios(y: str, advantage: Expr) -> list[Expr]:
            return [advantage * new.policy[y[:t]][a] / old.policy[y[:t]][a] for t, a in enumerate(y)]

        return proportions(old.group_gradient(grpo, 2, ratios, scores=new), new.gradient(rewards.__getitem__))

    return (
        Witness(
            "no 1/L",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; GRPO, G = 3, weights A/L^λ",
            conclusion,
            lengths,
            "λ",
            0,
            1,
        ),
        Witness(
            "rewards are 0 or 1",
            "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; GRPO, G = 3; p = P(r = 1)",
            conclusion,
            levels,
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "ρ = 1",
            "two tokens a or b, 'aa' is right; samples of the uniform policy, gradient with token ratios where "
            "the first token is a with probability 1/2 + δ; GRPO, G = 2",
            conclusion,
            drift,
            "δ",
            0,
            Rational(1, 4),
        ),
    )
