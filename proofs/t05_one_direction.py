"""T5: with right and wrong responses only, every outcome-driven rule pushes along ∇p; the rules differ in a scalar."""

from sympy import (
    Derivative,
    Expr,
    Function,
    Integer,
    KroneckerDelta,
    Lambda,
    Rational,
    S,
    Sum,
    exp,
    log,
    sqrt,
    symbols,
)

from proofs import t05_binomial, t05_large_groups, t05_witnesses
from proofs.notation import G, binomial_law, g, i, j, k, m, n, p, q, y, α, θ, π
from proofs.parts import Assumption, Cited, Definition, Step
from proofs.t05_binomial import advantage, own
from proofs.t05_large_groups import spread
from proofs.theorem import Theorem, specialised

N = symbols("N", integer=True, positive=True)
success = Function("p", positive=True)(θ)
π_old = Function("pi_old", positive=True)(y)
expected = Function("E", real=True)
w1 = Sum(binomial_law(G - 1, k) * advantage(1, k + 1), (k, 0, G - 1))
w0 = Sum(binomial_law(G - 1, k) * advantage(0, k), (k, 0, G - 1))
right, wrong = Sum(π(y, θ), (y, 1, m)), Sum(π(y, θ), (y, m + 1, N))
OTHERS = Cited("total probability", {n: G - 1})
ALL = Cited("total probability", {n: G})


def rule(of_right: Expr | int, of_wrong: Expr | int) -> Lambda:
    """The rule that gives a right response `of_right` and a wrong one `of_wrong` in a group with k right ones."""
    return Lambda((own, k), own * of_right + (1 - own) * of_wrong)


RULES = {
    "REINFORCE": rule(1, 0),
    "negatives": rule(0, -1),
    "cross-entropy ±": rule(1, -1),
    "Dr. GRPO": rule(1 - k / G, -k / G),
    "RLOO": rule((1 - k / (g + 1)) * (g + 1) / g, -k / (g + 1) * (g + 1) / g),
    "GRPO": rule(sqrt(G - k) / sqrt(k), -sqrt(k) / sqrt(G - k)),
    "F-ISFT, advantage form": rule((1 - α) * (1 - KroneckerDelta(k, G)), -α * (1 - KroneckerDelta(k, 0))),
    "mean over positives": rule(G / k, 0),
    "MaxRL": rule(G / k - 1, -(1 - KroneckerDelta(k, 0))),
}
"""The advantages of a right and of a wrong response among k right ones in a group of G, as the rules define them."""


def weights(name: str) -> Expr:
    """w₁ − w₀ with the advantages of this rule."""
    return specialised(w1 - w0, {advantage: RULES[name]})


group = (
    Sum(
        Sum(π(y, θ) * expected(1, G - 1, 1) * Derivative(log(π(y, θ)), θ), (y, 1, m))
        + Sum(π(y, θ) * expected(0, G - 1, 0) * Derivative(log(π(y, θ)), θ), (y, m + 1, N)),
        (i, 1, G),
    )
    / G
)
ratios = Sum(π_old * w1 * (π(y, θ) / π_old) * Derivative(log(π(y, θ)), θ), (y, 1, m)) + Sum(
    π_old * w0 * (π(y, θ) / π_old) * Derivative(log(π(y, θ)), θ), (y, m + 1, N)
)


def theorem() -> Theorem:
    softmax = exp(y * θ) / (exp(θ) + exp(2 * θ))
    return Theorem(
        id="T5",
        title="One direction: the expected gradient is c(p) ∇p",
        words=(
            "Let rewards be right or wrong, let A(1, k) and A(0, k) be the advantages that a rule, any rule, gives to "
            "a right and to a wrong response in a group with k right ones, and let the gradient be on-policy and "
            "without 1/L. Then the expected gradient of a prompt is {direction}: the gradient of the success "
            "probability times the difference of the expected advantages. The rules differ in this scalar alone, which "
            "is given below for nine of them at every group size; RLOO, which divides by the number of the others, "
            "needs a second response."
        ),
        results=(
            "counting",
            "total probability",
            "conditioning",
            "direction",
            "whole-response ratios",
            "REINFORCE",
            "negatives",
            "cross-entropy ±",
            "Dr. GRPO",
            "RLOO",
            "r − mean at G = 1",
            "GRPO w1",
            "GRPO w0",
            "GRPO",
            "F-ISFT, advantage form",
            "mean over positives",
            "MaxRL",
            "GRPO, upper bound",
            "GRPO, lower bound",
            "GRPO, G → ∞",
        ),
        definitions=_definitions(),
        assumptions=(
            Assumption("rewards are 0 or 1"),
            Assumption("the G responses are independent samples"),
            Assumption("ρ = 1: the policy is the one that sampled"),
            Assumption("the weight of a token is the advantage of its response: no 1/L"),
            Assumption("the advantage depends on the rewards of the group alone"),
        ),
        model={
            π: Lambda((y, θ), softmax),
            success.func: Lambda(θ, softmax.subs(y, 1)),
            p: softmax.subs({y: 1, θ: Rational(1, 3)}),
            q: softmax.subs({y: 2, θ: Rational(1, 3)}),
            expected: Lambda((own, n, j), 1 + own),
            advantage: Lambda((own, k), 1 + own),
            own: 1,
            n: 2,
            j: 3,
            m: 1,
            N: 2,
            θ: Rational(1, 3),
        },
        steps=(
            *t05_binomial.steps(),
            *_conditioning(),
            *_direction(),
            *_rules(),
            *t05_large_groups.steps(),
        ),
        witnesses=t05_witnesses.witnesses(),
        remark=(
            "∇p is that of the success probability of one prompt. Over several prompts the gradient is the mean of "
            "c(p_x) ∇p_x, so the rules weigh prompts differently. Off-policy the direction survives ratios of whole "
            "responses, but not ratios of tokens (witness), and not clipping. At G = 1 the difference from the mean is "
            "0 and RLOO's factor G/(G − 1) has no value; code that sets 0/0 to 0 gives c = 0 there."
        ),
    )


def _definitions() -> tuple[Definition, ...]:
    one_more = Sum(π(y, θ) * expected(own, n, j + 1), (y, 1, m)) + Sum(π(y, θ) * expected(own, n, j), (y, m + 1, N))
    return (
        *t05_binomial.definitions(),
        Definition(
            "expected advantage",
            "E(o, n, j): of a response with outcome o, if j + K are right, K of n others",
            expected(own, n, j),
        ),
        Definition(
            "independent responses",
            "E(o, 0, j) = A(o, j), and one more response is y with probability π(y), whatever the others are",
            equations={expected(own, 0, j): advantage(own, j), expected(own, n + 1, j): one_more},
            every=(own, n, j),
        ),
        Definition("chances", "p of a right and q of a wrong response", equations={right: p, wrong: q}),
        Definition("q = 1 − p", "some response is given", equations={q: 1 - p}),
        Definition("p = 1 − q", "the same", equations={p: 1 - q}),
        Definition(
            "expected gradient of the group",
            "response i is y with probability π(y), y ≤ m are right; its score has the expected advantage",
            group,
        ),
        Definition(
            "success probability",
            "p(θ) is the probability of a right response",
            equations={right: success, wrong: 1 - success},
        ),
        Definition(
            "gradient with ratios of responses",
            "samples of π_old; w₁ and w₀ are taken at its success probability; no ratio is clipped",
            ratios,
        ),
        Definition("w₁", "expected advantage of a right response", w1),
        Definition("w₀", "expected advantage of a wrong response", w0),
        Definition("c(p)", "the difference of the expected advantages", w1 - w0),
        *t05_large_groups.definitions(),
    )


def _conditioning() -> tuple[Step, ...]:
    """The expected advantage, given one response, is a mean over a binomial number of right ones."""
    return (
        Step(
            "No others: the expected advantage is that of the group so far.",
            expected(own, 0, j),
            Sum(binomial_law(S.Zero, k) * advantage(own, j + k), (k, 0, 0)),
            "The one term.",
            begins=Cited("expected advantage", {n: S.Zero}),
            given=("independent responses",),
            label="no others",
        ),
        Step(
            "Condition on one more response: it is right with probability p, and then one more is.",
            expected(own, n + 1, j),
            p * expected(own, n, j + 1) + q * expected(own, n, j),
            "Law of total expectation; the expectation depends on the outcome of the response alone.",
            begins=Cited("expected advantage", {n: n + 1}),
            given=("independent responses", "chances"),
            label="one more",
        ),
        Step(
            "So any rule that sees outcomes alone has the expected advantage of a binomial number of right ones.",
            expected(own, n, j),
            Sum(binomial_law(n, k) * advantage(own, j + k), (k, 0, n)),
            "Induction on n, for all j; Pascal's rule.",
            begins="expected advantage",
            given=("no others", "one more"),
            over=n,
            name="conditioning",
        ),
    )


def _direction() -> tuple[Step, ...]:
    """The expected gradient, on-policy and with ratios of responses, is c(p) ∇p."""
    return (
        Step(
            "The expected gradient of the group: the G responses are alike.",
            group,
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            "π ∂ log π = ∂π.",
            begins="expected gradient of the group",
            given=(
                Cited("conditioning", {own: S.One, n: G - 1, j: S.One}),
                Cited("conditioning", {own: S.Zero, n: G - 1, j: S.Zero}),
            ),
            label="two sums",
        ),
        Step(
            "Both sums move along ∇p, in opposite directions.",
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            (w1 - w0) * Derivative(success, θ),
            "Probabilities sum to 1.",
            given=("success probability",),
            name="direction",
        ),
        Step(
            "Off-policy, ratios of whole responses keep the direction, if none is clipped.",
            ratios,
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            "Importance sampling.",
            begins="gradient with ratios of responses",
        ),
        Step(
            "So that gradient is along ∇p too.",
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            (w1 - w0) * Derivative(success, θ),
            "Probabilities sum to 1.",
            given=("success probability",),
            name="whole-response ratios",
        ),
    )


def _coefficient(name: str, advantages: str, value: Expr, how: str, known: Cited = OTHERS, last: bool = True) -> Step:
    return Step(
        f"{name}: A = {advantages}.",
        weights(name),
        value,
        how,
        begins=Cited("c(p)", {advantage: RULES[name]}),
        given=(known,),
        name=name if last else "",
    )


def _rules() -> tuple[Step, ...]:
    """c(p) of each rule: w₁ − w₀ with its advantages."""

    return (
        *_differences_alike(),
        *_grpo(),
        *_groups_left_out(),
    )


def _differences_alike() -> tuple[Step, ...]:
    """Rules whose two advantages differ by a constant."""
    constant = "The difference of the advantages does not depend on k."
    alone = {advantage: rule(1 - k, -k), G: S.One}
    several = {advantage: RULES["RLOO"], G: g + 1}
    return (
        _coefficient("REINFORCE", "r", S.One, constant),
        _coefficient("negatives", "−(1 − r)", S.One, constant),
        _coefficient("cross-entropy ±", "r − (1 − r)", Integer(2), constant),
        _coefficient("Dr. GRPO", "r − mean", (G - 1) / G, constant),
        Step(
            "RLOO: A = G/(G−1) (r − mean), G = g + 1 with g others.",
            specialised(w1 - w0, several),
            S.One,
            constant,
            begins=Cited("c(p)", several),
            given=(Cited("total probability", {n: g}),),
            name="RLOO",
        ),
        Step(
            "At G = 1 there is nothing to divide: r − mean is 0 for a right response, and so is G − 1.",
            specialised(w1, alone),
            S.Zero,
            "RLOO is 0/0 there: the statement about it begins with G = 2.",
            begins=Cited("w₁", alone),
            name="r − mean at G = 1",
        ),
    )


def _grpo() -> tuple[Step, ...]:
    of_right, of_wrong = ({advantage: RULES["GRPO"]} for _ in range(2))
    return (
        Step(
            "GRPO, a right response: A = √((G−k)/k) in a group with k right ones.",
            specialised(w1, of_right),
            spread / (G * p),
            "k → k − 1; k C(G, k) = G C(G−1, k−1); the term k = 0 on the right is 0.",
            begins=Cited("w₁", of_right),
            name="GRPO w1",
        ),
        Step(
            "GRPO, a wrong response: A = −√(k/(G−k)).",
            specialised(w0, of_wrong),
            -spread / (G * q),
            "(G − k) C(G, k) = G C(G−1, k); the term k = G on the right is 0.",
            begins=Cited("w₀", of_wrong),
            name="GRPO w0",
        ),
        Step(
            "GRPO: A = (r − mean)/std.",
            weights("GRPO"),
            spread / (G * p) + spread / (G * q),
            "The two weights.",
            begins=Cited("c(p)", {advantage: RULES["GRPO"]}),
            given=("GRPO w1",),
        ),
        Step(
            "Together they are over pq.",
            spread / (G * p) + spread / (G * q),
            spread / (G * p * q),
            "1/p + 1/q = 1/(pq).",
            given=("q = 1 − p",),
            name="GRPO",
        ),
    )


def _groups_left_out() -> tuple[Step, ...]:
    """Rules that give no advantage to some groups."""
    return (
        _coefficient(
            "F-ISFT, advantage form",
            "1 − α above the mean, −α below it, 0 if all are equal",
            (1 - α) * (1 - p ** (G - 1)) + α * (1 - q ** (G - 1)),
            "Groups that are all right (k = G) or all wrong (k = 0) have no advantages.",
        ),
        _coefficient(
            "mean over positives",
            "r/mean",
            (1 - q**G) / p,
            "G C(G−1, k)/(k+1) = C(G, k+1): the sum is that of Bin(G, p) without k = 0, divided by p.",
            ALL,
        ),
        _coefficient(
            "MaxRL",
            "(r − mean)/mean, and 0 if none is right",
            (1 - q**G) / p - q ** (G - 1),
            "As before, less 1, plus the groups with at least one right response.",
            ALL,
            last=False,
        ),
        Step(
            "It is the mean over positives in a group of G − 1.",
            (1 - q**G) / p - q ** (G - 1),
            (1 - q ** (G - 1)) / p,
            "q^G = q^(G−1) (1 − p).",
            given=("p = 1 − q",),
            name="MaxRL",
        ),
    )
