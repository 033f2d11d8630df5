"""T9: what dividing by the length does: a bandit with reward r/L, and a drift of length that zero sums cancel."""

from collections.abc import Sequence

from sympy import Derivative, Expr, Function, Integer, Limit, Rational, S, Subs, Sum, exp, log, oo, sqrt, symbols

from proofs.instances import Rule, Tree, grpo, over_length
from proofs.notation import G, N, binomial_law, i, k, m, n, p, q, y, θ, π
from proofs.theorem import Step, Theorem, Witness

h, against = symbols("h u", positive=True)
η = symbols("eta", real=True)
w1, w0, f, f1, f0 = symbols("w_1 w_0 f f_1 f_0", real=True)
length = Function("L", integer=True, positive=True)(y)


def theorem() -> Theorem:
    return Theorem(
        id="T9",
        title="Length",
        statement=(
            "With 1/L the expected gradient is w₁ ∇E[r/L] + w₀ ∇E[(1−r)/L], where p w₁ + (1−p) w₀ = 0 for GRPO. In a "
            "model where every token ends the response with probability h = σ(η), whether it will be right or wrong, "
            "an advantage A moves η at the rate A f(h), f(h) = h(−ln h/(1−h) − 1) > 0: negatives alone lengthen, "
            "positives alone shorten, GRPO's zero-sum advantages cancel exactly. If right and wrong responses end by "
            "hazards of their own, that of the right ones rises and that of the wrong ones falls, at the rates ± p w₁ "
            "f: wrong responses get longer. Without 1/L no hazard moves in either case."
        ),
        assumptions=(
            "rewards are 0 or 1; on-policy; the weight of a token is A/L",
            "hazard model: constant hazard, no horizon, correctness independent of the length",
            "for the cancellation: one hazard for right and wrong responses",
        ),
        symbolic="group size G, number of responses N and of right ones m, lengths L(y), p, hazards, A",
        steps=(*_bandit(), *_hazard()),
        witnesses=_witnesses(),
        remark=(
            "The model has one mechanism only. It says that 1/L lengthens wrong responses exactly where the policy can "
            "end them separately; it does not say that this is what lengthens the responses of a language model. If "
            "the two hazards differ but move by one shared logit, that logit drifts at p w₁ (f(h₁) − f(h₀)), and the "
            "sign is that of f(h₁) − f(h₀): f is not monotone, so either sign occurs."
        ),
    )


def _bandit() -> tuple[Step, ...]:
    right, wrong = Sum(π(y, θ) / length, (y, 1, m)), Sum(π(y, θ) / length, (y, m + 1, N))
    spread = Sum(binomial_law(G, k) * sqrt(k) * sqrt(G - k), (k, 0, G))
    score = Derivative(log(π(y, θ)), θ)
    return (
        Step(
            "The expected gradient of the group: response i is y with probability π(y), and weighs w₁/L(y) if right, "
            "w₀/L(y) if wrong.",
            Sum(
                Sum(π(y, θ) * w1 / length * score, (y, 1, m)) + Sum(π(y, θ) * w0 / length * score, (y, m + 1, N)),
                (i, 1, G),
            )
            / G,
            w1 * Derivative(right, θ) + w0 * Derivative(wrong, θ),
            "As in T5; the right responses are numbered 1 … m. The two sums are E[r/L] and E[(1−r)/L].",
            name="gradient",
        ),
        Step(
            "GRPO weighs right and wrong responses by equal amounts.",
            p * w1 + q * w0,
            0,
            "With the w₁ and w₀ of T5, S = E[√(K(G−K))], K ∼ Bin(G, p).",
            given={w1: spread / (G * p), w0: -spread / (G * q)},
            why_given="w₁ = S/(G p) and w₀ = −S/(G q), proved in T5",
            name="zero sum",
        ),
    )


def _hazard() -> tuple[Step, ...]:
    response = h * (1 - h) ** (n - 1)
    stop = {h: 1 / (1 + against)}
    odds = "0 < h < 1, so h = 1/(1 + u) with u > 0"
    logistic = 1 / (1 + exp(-η))
    rate = h * (-log(h) / (1 - h) - 1)
    above = -log(h) - (1 - h)
    return (
        Step(
            "The score of ending, in the logit of h = σ(η) …",
            Derivative(log(logistic), η),
            1 - logistic,
            "Derivative of log σ.",
        ),
        Step("… and of going on.", Derivative(log(1 - logistic), η), -logistic, "Derivative of log(1 − σ)."),
        Step(
            "A response of n tokens has gone on n − 1 times and ended once.",
            Sum(-h, (k, 1, n - 1)) + (1 - h),
            1 - n * h,
            "Sum of the scores.",
        ),
        Step(
            "Its lengths have the geometric law.",
            Sum(response, (n, 1, oo)),
            1,
            "Geometric series.",
            given=stop,
            why_given=odds,
        ),
        Step(
            "The mean of 1/L.",
            Sum(response / n, (n, 1, oo)),
            -h * log(h) / (1 - h),
            "Σ x^n/n = −ln(1 − x).",
            given=stop,
            why_given=odds,
            name="mean inverse length",
        ),
        Step(
            "With 1/L, an advantage A moves η at A times the mean of (1 − L h)/L = 1/L − h.",
            Sum(response / n, (n, 1, oo)) - h * Sum(response, (n, 1, oo)),
            rate,
            "The two sums above.",
            given=stop,
            why_given=odds,
            name="rate",
        ),
        Step(
            "The rate has the sign of −ln h − (1 − h) …",
            rate * (1 - h) / h,
            above,
            "Multiply by (1 − h)/h > 0.",
        ),
        Step("… which is 0 at h = 1 …", Subs(above, h, 1), 0, "ln 1 = 0."),
        Step(
            "… and falls towards it, so it is positive for h < 1.",
            -Derivative(above, h),
            0,
            "Derivative −1/h + 1 = −u in the odds u against ending.",
            relation=">",
            given=stop,
            why_given=odds,
        ),
        Step(
            "The mean length is 1/h.",
            Sum(response * n, (n, 1, oo)),
            1 / h,
            "Derivative of the geometric series.",
            given=stop,
            why_given=odds,
        ),
        Step(
            "Without 1/L the hazard does not move at all: the mean of 1 − L h is 0.",
            Sum(response, (n, 1, oo)) - h * Sum(response * n, (n, 1, oo)),
            0,
            "The two sums above.",
            given=stop,
            why_given=odds,
            name="rate without length",
        ),
        Step(
            "One hazard for right and wrong responses: the drifts cancel.",
            p * w1 * f + q * w0 * f,
            0,
            "The zero sum above, times the common rate f(h).",
            given={w0: -p * w1 / q},
            why_given="p w₁ + q w₀ = 0",
            name="shared hazard",
        ),
        Step(
            "Hazards of their own, h₁ of the right and h₀ of the wrong responses: the logit of h₁ moves at p w₁ f(h₁) "
            "and that of h₀ at",
            q * w0 * f0,
            -p * w1 * f0,
            "f > 0 and w₁ > 0: wrong responses get longer, right ones shorter.",
            given={w0: -p * w1 / q},
            why_given="p w₁ + q w₀ = 0",
            name="hazard of wrong responses",
        ),
        Step(
            "Hazards h₁ of the right and h₀ of the wrong responses that move together: what is left is the difference "
            "of the rates.",
            p * w1 * f1 + q * w0 * f0,
            p * w1 * (f1 - f0),
            "The same with f₁ = f(h₁), f₀ = f(h₀).",
            given={w0: -p * w1 / q},
            why_given="p w₁ + q w₀ = 0",
            name="separate hazards",
        ),
        Step("The rate f vanishes like −h ln h near 0 …", Limit(rate / (-h * log(h)), h, 0, "+"), 1, "Limit."),
        Step(
            "… and like (1−h)/2 near 1; positive between, it is not monotone, and f₁ − f₀ can have either sign.",
            Limit(rate / (1 - h), h, 1, "-"),
            S.Half,
            "Limit; −ln h = (1−h) + (1−h)²/2 + …",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    def drift(weight_power: Expr, right: Expr, wrong: Expr, rule: Rule = grpo) -> Expr:
        """Drift of the logit that all hazards share; the first token decides what is right."""
        policy = {"": {"r": Rational(1, 2), "w": Rational(1, 2)}}
        rewards = {}
        for kind, hazard in (("r", right), ("w", wrong)):
            for tail in ("", "a"):
                policy[kind + tail] = {".": hazard, "a": 1 - hazard}
            rewards.update({kind + tail: Integer(kind == "r") for tail in (".", "a.", "aa")})
        tree = Tree(policy, rewards)
        gradient = tree.group_gradient(rule, 2, over_length(weight_power))
        ending = [token == "." for actions in policy.values() for token in actions]
        return sum((g for g, ends in zip(gradient, ending, strict=True) if ends), S.Zero)

    def negatives(rewards: Sequence[Expr]) -> list[Expr]:
        return [r - 1 for r in rewards]

    third = Rational(1, 3)
    instance = "token r (right) or w (wrong), each 1/2, then a hazard of ending at each of two more tokens; GRPO, G = 2"
    return (
        Witness(
            "one hazard for right and wrong responses",
            f"{instance}; hazard 1/3 if right, 1/3 − δ if wrong",
            "drift of the logit shared by all hazards = 0",
            lambda less: (drift(S.One, third, third - less), S.Zero),
            "δ",
            0,
            Rational(1, 6),
        ),
        Witness(
            "advantages sum to zero",
            f"{instance.replace('GRPO', 'r − b as advantage')}; hazard 1/3 for both",
            "drift of the logit shared by all hazards = 0",
            lambda offset: (drift(S.One, third, third, lambda rewards: [a - offset for a in grpo(rewards)]), S.Zero),
            "b",
            0,
            Rational(1, 2),
        ),
        Witness(
            "the weight of a token is A/L",
            f"{instance.replace('GRPO', 'negatives alone, A = −(1 − r)')}; hazard 1/3 for both; weights A/L^λ",
            "0 > drift of the logit shared by all hazards (longer responses)",
            lambda power: (S.Zero, drift(power, third, third, negatives)),
            "λ",
            1,
            0,
            relation=">",
        ),
    )
