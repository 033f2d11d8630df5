"""T9: what dividing by the length does: a bandit with reward r/L, and a drift of length that zero sums cancel."""

from sympy import (
    Derivative,
    Expr,
    Function,
    Integral,
    Lambda,
    Limit,
    Rational,
    S,
    Sum,
    exp,
    log,
    oo,
    symbols,
)

from proofs import t05_one_direction as t05
from proofs import t09_witnesses
from proofs.notation import G, N, i, k, m, p, q, y, θ, π
from proofs.parts import Assumption, Definition, Step
from proofs.t05_one_direction import RULES, advantage, spread
from proofs.theorem import Theorem, specialised

h, against, v = symbols("h u v", positive=True)
tokens = symbols("n", integer=True, positive=True)
η, f, w1, w0 = symbols("eta f w_1 w_0", real=True)
f1, f0 = symbols("f_1 f_0", positive=True)
score = Function("S", real=True)
length = Function("L", integer=True, positive=True)(y)
W1, W0 = (specialised(weight, {advantage: RULES["GRPO"]}) for weight in (t05.w1, t05.w0))
logistic = 1 / (1 + exp(-η))
rate = h * (-log(h) / (1 - h) - 1)
RESULTS = (
    "gradient",
    "zero sum",
    "score of ending",
    "score of going on",
    "score of a response",
    "geometric law",
    "mean inverse length",
    "rate",
    "sign of the rate",
    "mean length",
    "rate without length",
    "shared hazard",
    "hazard of right responses",
    "hazard of wrong responses",
    "separate hazards",
    "rate near 0",
    "rate near 1",
)


def theorem() -> Theorem:
    return Theorem(
        id="T9",
        title="Length",
        words=(
            "With 1/L the expected gradient is that of a bandit with reward r/L, and GRPO weighs right and wrong "
            "responses by equal amounts. In a model where every token ends the response with probability h, the "
            "logistic function of a logit, whether it will be right or wrong, an advantage A moves the logit at A "
            "times the rate {rate}, which is positive: negatives alone lengthen, positives alone shorten, GRPO's "
            "zero-sum advantages cancel exactly. If right and wrong responses end by hazards of their own, that of the "
            "right ones does not fall and that of the wrong ones does not rise: wrong responses do not get shorter. "
            "Without 1/L no hazard moves in either case."
        ),
        results=RESULTS,
        definitions=(*_of_bandit(), *_of_hazard()),
        assumptions=(
            Assumption("rewards are 0 or 1, for the gradient"),
            Assumption("the weight of a token is A/L"),
            Assumption("hazard model: constant hazard, no horizon"),
            Assumption("hazard model: correctness is independent of the length"),
            Assumption("advantages sum to zero, for the cancellation"),
            Assumption("one hazard for right and wrong responses, for the cancellation"),
        ),
        model={
            score: Lambda(tokens, 1 - tokens / 3),
            h: Rational(1, 3),
            against: 2,
            η: -log(2),
            tokens: 2,
        },
        after=(t05.theorem(),),
        steps=(*_bandit(), *_hazard(), *_drifts()),
        witnesses=t09_witnesses.witnesses(),
        not_proved=(
            (
                "That the weights and f are put together as they are: the drift of a logit is the sum over right and "
                "wrong responses of their chance, their weight and the rate, which is linearity in words."
            ),
            (
                "Strictness for the two hazards: their drifts are products of f > 0 and a mean of √(K(G−K)), which is "
                "positive for G > 1."
            ),
        ),
        remark=(
            "The model has one mechanism only. It says that 1/L lengthens wrong responses exactly where the policy can "
            "end them separately; it does not say that this is what lengthens the responses of a language model. If "
            "the two hazards differ but move by one shared logit, that logit drifts at p w₁ (f(h₁) − f(h₀)), and the "
            "sign is that of f(h₁) − f(h₀): f is not monotone, so either sign occurs."
        ),
    )


def _group() -> Expr:
    slope = Derivative(log(π(y, θ)), θ)
    right = Sum(π(y, θ) * w1 / length * slope, (y, 1, m))
    wrong = Sum(π(y, θ) * w0 / length * slope, (y, m + 1, N))
    return Sum(right + wrong, (i, 1, G)) / G


def _law(value: Expr) -> Sum:
    """The sum over the lengths n of a response of value(n), under the geometric law."""
    return Sum(h * (1 - h) ** (tokens - 1) * value, (tokens, 1, oo))


def _of_bandit() -> tuple[Definition, ...]:
    return (
        Definition(
            "expected gradient with 1/L",
            "response i is y with probability π(y); w₁ and w₀ are the expected advantages of T5; y ≤ m are right",
            _group(),
        ),
        Definition("weights of right and wrong responses", "of GRPO, with their chances", p * W1 + q * W0),
    )


def _of_hazard() -> tuple[Definition, ...]:
    one_by_one = Sum(Derivative(log(1 - logistic), η), (k, 1, tokens - 1)) + Derivative(log(logistic), η)
    return (
        Definition("slope of ending", "in the logit η of h = σ(η)", Derivative(log(logistic), η)),
        Definition("slope of going on", "in the same logit", Derivative(log(1 - logistic), η)),
        Definition("S(n)", "gone on n − 1 times, ended once", equations={score(tokens): one_by_one}, every=(tokens,)),
        Definition("score of n tokens", "in the logit η", score(tokens)),
        Definition("h", "the hazard", logistic, h),
        Definition("0 < h < 1", "h = 1/(1 + u) with the odds u > 0 against ending", equations={h: 1 / (1 + against)}),
        Definition("sum of the law", "h (1−h)^(n−1) over all lengths n", _law(S.One)),
        Definition("mean of 1/L", "under that law", _law(1 / tokens)),
        Definition("drift with 1/L, A = 1", "the mean of the score over the length", _law(score(tokens) / tokens)),
        Definition("mean of L", "under that law", _law(tokens)),
        Definition("drift without 1/L, A = 1", "the mean of the score", _law(score(tokens))),
        Definition("drift of one hazard", "for right and wrong responses, f = f(h)", p * W1 * f + q * W0 * f),
        Definition("rise of the hazard of right responses", "at f₁ = f(h₁)", p * W1 * f1),
        Definition("fall of the hazard of wrong responses", "at f₀ = f(h₀)", -q * W0 * f0),
        Definition("drift of two hazards", "that move by one logit", p * W1 * f1 + q * W0 * f0),
        Definition("quotient near 0", "of the rate and −h ln h", Limit(rate / (-h * log(h)), h, 0, "+")),
        Definition("quotient near 1", "of the rate and 1 − h", Limit(rate / (1 - h), h, 1, "-")),
    )


def _bandit() -> tuple[Step, ...]:
    right, wrong = Sum(π(y, θ) / length, (y, 1, m)), Sum(π(y, θ) / length, (y, m + 1, N))
    return (
        Step(
            "The expected gradient of the group is w₁ ∇E[r/L] + w₀ ∇E[(1−r)/L].",
            _group(),
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            "As in T5; the two sums are E[r/L] and E[(1−r)/L].",
            begins="expected gradient with 1/L",
            name="gradient",
        ),
        Step(
            "GRPO weighs right and wrong responses by equal amounts.",
            p * W1 + q * W0,
            S.Zero,
            "w₁ = S/(G p) and w₀ = −S/(G q) with S = E[√(K(G−K))], K ∼ Bin(G, p).",
            begins="weights of right and wrong responses",
            given=("T5: GRPO w1",),
            name="zero sum",
        ),
    )


inside = ("0 < h < 1",)


def _hazard() -> tuple[Step, ...]:
    return (
        *_responses_of_one_hazard(),
        *_rate_with_length(),
        *_rate_without_length(),
    )


def _responses_of_one_hazard() -> tuple[Step, ...]:
    """Scores, the law of the lengths, and the mean of 1/L."""
    return (
        Step(
            "The score of ending, in the logit of h = σ(η) …",
            Derivative(log(logistic), η),
            1 - logistic,
            "Derivative of log σ.",
            begins="slope of ending",
            name="score of ending",
        ),
        Step(
            "… and of going on.",
            Derivative(log(1 - logistic), η),
            -logistic,
            "Derivative of log(1 − σ).",
            begins="slope of going on",
            name="score of going on",
        ),
        Step(
            "A response of n tokens has gone on n − 1 times and ended once …",
            score(tokens),
            1 - tokens * logistic,
            "Sum of the scores.",
            begins="score of n tokens",
            given=("S(n)",),
        ),
        Step(
            "… so its score is 1 − n h.",
            1 - tokens * logistic,
            1 - tokens * h,
            "h = σ(η).",
            where=("h",),
            name="score of a response",
        ),
        Step(
            "Its lengths have the geometric law.",
            _law(S.One),
            S.One,
            "Geometric series.",
            begins="sum of the law",
            given=inside,
            name="geometric law",
        ),
        Step(
            "The mean of 1/L.",
            _law(1 / tokens),
            -h * log(h) / (1 - h),
            "Σ x^n/n = −ln(1 − x).",
            begins="mean of 1/L",
            given=inside,
            name="mean inverse length",
        ),
    )


def _rate_with_length() -> tuple[Step, ...]:
    """With 1/L the hazard moves by the mean of (1 − L h)/L, which is positive."""
    positive = Integral(v / (1 + v) ** 2, (v, 0, against)) / against
    return (
        Step(
            "With 1/L, an advantage A moves η at A times the mean of (1 − L h)/L …",
            _law(score(tokens) / tokens),
            _law((1 - tokens * h) / tokens),
            "The score of a response.",
            begins="drift with 1/L, A = 1",
            given=("score of a response",),
        ),
        Step(
            "… which is the mean of 1/L less h.",
            _law((1 - tokens * h) / tokens),
            rate,
            "The two series above.",
            given=inside,
            name="rate",
        ),
        Step(
            "In the odds u against ending this is a mean over 0 … u …",
            rate,
            positive,
            "ln(1 + u) − u/(1 + u) has the derivative u/(1 + u)².",
            given=inside,
        ),
        Step(
            "… of positive numbers.",
            positive,
            S.Zero,
            "Integral of a positive function.",
            relation=">",
            name="sign of the rate",
        ),
    )


def _rate_without_length() -> tuple[Step, ...]:
    """Without 1/L it does not move."""
    return (
        Step(
            "The mean length is 1/h.",
            _law(tokens),
            1 / h,
            "Derivative of the geometric series.",
            begins="mean of L",
            given=inside,
            name="mean length",
        ),
        Step(
            "Without 1/L the drift is the mean of 1 − L h …",
            _law(score(tokens)),
            _law(1 - tokens * h),
            "The score of a response.",
            begins="drift without 1/L, A = 1",
            given=("score of a response",),
        ),
        Step(
            "… which is 0: the hazard does not move at all.",
            _law(1 - tokens * h),
            S.Zero,
            "The mean length is 1/h.",
            given=inside,
            name="rate without length",
        ),
    )


def _drifts() -> tuple[Step, ...]:
    """GRPO's drift in the hazard model, with one hazard and with two."""
    return (
        Step(
            "One hazard for right and wrong responses: the drifts cancel.",
            p * W1 * f + q * W0 * f,
            S.Zero,
            "The zero sum above, times the common rate f(h).",
            begins="drift of one hazard",
            given=("T5: GRPO w1",),
            name="shared hazard",
        ),
        *_apart(),
        *_together(),
    )


def _apart() -> tuple[Step, ...]:
    """Right and wrong responses with hazards of their own, each moved by its own."""
    return (
        Step(
            "Hazards of their own: that of the right responses moves at p w₁ f(h₁) …",
            p * W1 * f1,
            spread * f1 / G,
            "w₁ = S/(G p).",
            begins="rise of the hazard of right responses",
        ),
        Step(
            "… and does not fall.",
            spread * f1 / G,
            S.Zero,
            "Mean of roots, 0 ≤ k ≤ G, times f > 0.",
            relation="≥",
            name="hazard of right responses",
        ),
        Step(
            "That of the wrong responses falls at −q w₀ f(h₀) …",
            -q * W0 * f0,
            spread * f0 / G,
            "w₀ = −S/(G q).",
            begins="fall of the hazard of wrong responses",
        ),
        Step(
            "… and does not rise: wrong responses do not get shorter.",
            spread * f0 / G,
            S.Zero,
            "Mean of roots, 0 ≤ k ≤ G, times f > 0.",
            relation="≥",
            name="hazard of wrong responses",
        ),
    )


def _together() -> tuple[Step, ...]:
    """Two hazards that move together, and the rate near its ends."""
    return (
        Step(
            "Hazards h₁ of the right and h₀ of the wrong responses that move together: what is left is the difference "
            "of the rates.",
            p * W1 * f1 + q * W0 * f0,
            spread / G * (f1 - f0),
            "The same with f₁ = f(h₁), f₀ = f(h₀).",
            begins="drift of two hazards",
            given=("T5: GRPO w1",),
            name="separate hazards",
        ),
        Step(
            "The rate f vanishes like −h ln h near 0 …",
            Limit(rate / (-h * log(h)), h, 0, "+"),
            S.One,
            "Limit.",
            begins="quotient near 0",
            name="rate near 0",
        ),
        Step(
            "… and like (1−h)/2 near 1; positive between, it is not monotone, and f₁ − f₀ can have either sign.",
            Limit(rate / (1 - h), h, 1, "-"),
            S.Half,
            "Limit; −ln h = (1−h) + (1−h)²/2 + …",
            begins="quotient near 1",
            name="rate near 1",
        ),
    )
