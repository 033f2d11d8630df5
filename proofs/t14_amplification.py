"""T14: GRPO with a KL term, each iteration solved exactly, multiplies the odds over the reference (2503.06639)."""

from sympy import (
    Derivative,
    Expr,
    Function,
    Integer,
    Integral,
    Lambda,
    Limit,
    Rational,
    S,
    Subs,
    Sum,
    cosh,
    exp,
    log,
    oo,
    sqrt,
    symbols,
)

from proofs import t14_witnesses
from proofs.notation import N, j, p, β, ε, π
from proofs.parts import Assumption, Cited, Definition, Step
from proofs.t14_witnesses import gain, logit
from proofs.theorem import Theorem

chance = π(j)
reference = Function("pi_ref", positive=True)(j)
advantage, lead = Function("A", real=True)(j), Function("v", real=True)(j)
Z = symbols("Z", positive=True)
p_ref, q_ref = symbols("p_ref q_ref", positive=True)
odds, above = symbols("o s", positive=True)
v = symbols("v", real=True)
part = symbols("t", nonnegative=True)


def over_responses(term: Expr) -> Sum:
    return Sum(term, (j, 1, N))


def excess(v: Expr) -> Expr:
    """e^v − 1 − v as a product that is not negative."""
    return v**2 * Integral((1 - part) * exp(part * v), (part, 0, 1))


def theorem() -> Theorem:
    return Theorem(
        id="T14",
        title="Amplification",
        words=(
            "Let each iteration maximise the expected advantage less β times the divergence from the reference over "
            "all policies, with GRPO's advantages at the success probability p of the iteration before and the "
            "variance floor ε. Then the odds of the next iteration are {odds}, above those of the reference, in every "
            "iteration. Every fixed point lies above the reference. With a floor the odds at p overtake the right side "
            "as p tends to 1; without one they need not, and there may be no fixed point. For p above one half the "
            "right side grows with p; in general it does not, and a fixed point where the slope is below minus one "
            "repels."
        ),
        results=(
            "objective",
            "divergence",
            "odds",
            "above the reference",
            "logit slope",
            "large β",
            "existence",
            "without a floor",
            "no fixed point",
            "gain slope",
            "growth",
            "logistic slope",
            "map slope",
        ),
        definitions=(*_of_policies(), *_of_odds(), *_of_fixed_points()),
        assumptions=(
            Assumption("the maximum over all policies is reached in each iteration"),
            Assumption("rewards are 0 or 1; population mean and deviation"),
            Assumption("β is finite"),
            Assumption("0 < p_ref < 1"),
            Assumption("ε > 0, for a fixed point"),
            Assumption("p_ref ≥ 1/2, for growth and convergence"),
        ),
        model={
            π: Lambda(j, Rational(1, 2)),
            reference.func: Lambda(j, Rational(1, 2)),
            advantage.func: Lambda(j, Integer(3) - 2 * j),
            lead.func: Lambda(j, Integer(3) - 2 * j - log((exp(1) + exp(-1)) / 2)),
            Z: (exp(1) + exp(-1)) / 2,
            β: 1,
            N: 2,
            j: 1,
            p: Rational(3, 4),
            odds: Rational(1, 3),
            above: 2,
        },
        steps=(*_best_policy(), *_odds(), *_fixed_points()),
        witnesses=t14_witnesses.witnesses(),
        not_proved=(
            (
                "Convergence for p_ref ≥ 1/2: the growth of the right side is proved; that a growing, bounded sequence "
                "converges, and that a continuous map has its limit as a fixed point, is taken from analysis."
            ),
            (
                "Existence of a fixed point for ε > 0: that the odds are below the right side at p_ref and outgrow it "
                "near 1 is proved; the intermediate value theorem is taken from analysis."
            ),
            "That a fixed point with a slope below −1 repels, for which only the slope is proved.",
            "That the policy of the objective is the only maximum: the divergence is proved to be at least 0.",
        ),
        remark=(
            "The statement that p_n is amplified to a fixed point above p_ref is right as to where the fixed points "
            "are, and wrong if it is read as convergence: the map from p to the next p falls where p < 1/2, and where "
            "its slope at the fixed point is below −1 the iteration turns away from it. Without a floor, ε = 0, there "
            "may be no fixed point below 1."
        ),
    )


def _objective() -> Expr:
    return over_responses(chance * advantage) - β * over_responses(chance * (log(chance) - log(reference)))


def _divergence() -> Sum:
    """KL(π‖π_best), with π_best = π e^v."""
    return over_responses(chance * (log(chance) - log(chance * exp(lead))))


def _of_policies() -> tuple[Definition, ...]:
    return (
        Definition("E_π[A] − β KL", "E_π[A] − β KL(π‖π_ref)", _objective()),
        Definition("policy", "the probabilities π(j) sum to 1", equations={over_responses(chance): S.One}),
        Definition("e^v − 1 − v", "x − 1 − log x at x = e^v", exp(v) - 1 - v),
        Definition(
            "divergence from the best", "KL(π‖π_best), where π_best = π exp(v) is any other policy", _divergence()
        ),
        Definition("best policy", "π exp(v) sums to 1", equations={over_responses(chance * exp(lead)): S.One}),
    )


def _best_policy() -> tuple[Step, ...]:
    log_best = log(reference) + advantage / β - log(Z)
    terms = over_responses(chance * (exp(lead) - 1 - lead))
    return (
        Step(
            "The objective is β log Z − β KL(π‖π_best) with π_best = π_ref exp(A/β)/Z, for every policy π.",
            _objective(),
            β * log(Z) - β * over_responses(chance * (log(chance) - log_best)),
            "Insert log π_best = log π_ref + A/β − log Z.",
            begins="E_π[A] − β KL",
            given=("policy",),
            name="objective",
        ),
        Step(
            "e^v − 1 − v is not negative: v² times an integral of positive numbers.",
            exp(v) - 1 - v,
            excess(v),
            "Taylor's formula with the integral remainder.",
            begins="e^v − 1 − v",
            label="excess",
        ),
        Step(
            "The divergence is a mean of e^v − 1 − v with e^v = π_best/π …",
            _divergence(),
            terms,
            "Both policies sum to 1.",
            begins="divergence from the best",
            given=("policy", "best policy"),
        ),
        Step(
            "… that is, of those products …",
            terms,
            over_responses(chance * excess(lead)),
            "The step on e^v − 1 − v, in each term.",
            given=(Cited("excess", {v: lead}),),
        ),
        Step(
            "… so it is at least 0, and π_best, where it is 0, is a maximum.",
            over_responses(chance * excess(lead)),
            S.Zero,
            "Mean of such numbers.",
            relation="≥",
            name="divergence",
        ),
    )


def _multiplied() -> Expr:
    """The right responses weigh exp(A⁺/β)/Z, the wrong ones exp(A⁻/β)/Z."""
    deviation = sqrt(p * (1 - p) + ε)
    right, wrong = (1 - p) / deviation, (0 - p) / deviation
    return (p_ref * exp(right / β) / Z) / (q_ref * exp(wrong / β) / Z)


def _of_odds() -> tuple[Definition, ...]:
    bound = p_ref / q_ref * exp(gain(p, β, ε))
    return (
        Definition(
            "odds of the best policy",
            "π_best summed over the right and over the wrong responses; A = (r − p)/√(p(1−p) + ε)",
            _multiplied(),
        ),
        Definition("0 < p < 1", "p = 1/(1 + o) with the odds o > 0 against", equations={p: 1 / (1 + odds)}),
        Definition("rise of the logit", "of the next iteration over the reference", log(bound) - log(p_ref / q_ref)),
        Definition("slope of the logit", "in p", Derivative(logit(p), p)),
        Definition("factor of the odds for large β", "", Limit(exp(gain(p, β, ε)), β, oo)),
    )


def _odds() -> tuple[Step, ...]:
    bound = p_ref / q_ref * exp(gain(p, β, ε))
    inside = ("0 < p < 1",)
    return (
        Step(
            "π_best multiplies the odds of the reference; Z cancels, and A⁺ − A⁻ is one over the deviation.",
            _multiplied(),
            bound,
            "Quotient of exponentials.",
            begins="odds of the best policy",
            name="odds",
        ),
        Step(
            "The logit grows by this …",
            log(bound) - log(p_ref / q_ref),
            gain(p, β, ε),
            "Logarithm of a product.",
            begins="rise of the logit",
            given=inside,
        ),
        Step(
            "… a positive number: every p_n, and every fixed point, lies above p_ref, as the logit increases with p.",
            gain(p, β, ε),
            S.Zero,
            "One over positive numbers.",
            relation=">",
            given=inside,
            name="above the reference",
        ),
        Step(
            "The logit increases with p.",
            Derivative(logit(p), p),
            S.Zero,
            "Derivative 1/p + 1/(1 − p).",
            relation=">",
            begins="slope of the logit",
            given=inside,
            name="logit slope",
        ),
        Step(
            "As β grows, nothing is amplified.",
            Limit(exp(gain(p, β, ε)), β, oo),
            S.One,
            "Limit.",
            begins="factor of the odds for large β",
            name="large β",
        ),
    )


def _without_floor() -> Expr:
    """The logit of the right side less that of p = e^(2v)/(1 + e^(2v)), for ε = 0, β = 1, p_ref = 1/2."""
    return Subs(gain(p, Integer(1), Integer(0)) - logit(p), p, exp(2 * v) / (1 + exp(2 * v)))


def _of_fixed_points() -> tuple[Definition, ...]:
    bound = p_ref / q_ref * exp(gain(p, β, ε))
    bare = p_ref / q_ref * exp(gain(p, β, Integer(0)))
    nearby = p * (1 - p) * Derivative(gain(p, β, ε), p)
    return (
        Definition("right side over the odds", "as p tends to 1, ε > 0", Limit(bound * (1 - p) / p, p, 1, "-")),
        Definition("odds over the right side", "as p tends to 1, ε = 0", Limit(p / (1 - p) / bare, p, 1, "-")),
        Definition(
            "distance of the logits",
            "ε = 0, β = 1, p_ref = 1/2: right side less p = e^(2v)/(1 + e^(2v))",
            _without_floor(),
        ),
        Definition("slope of the gain", "in p", Derivative(gain(p, β, ε), p)),
        Definition("1/2 < p < 1", "p = (1 + s)/(2 + s) with s > 0", equations={p: (1 + above) / (2 + above)}),
        Definition("slope of the logistic function", "p in its logit s", Derivative(1 / (1 + exp(-above)), above)),
        Definition(
            "slope of the map at a fixed point",
            "slope of p in its logit, p(1 − p), times that of the gain in p",
            nearby,
        ),
    )


def _fixed_points() -> tuple[Step, ...]:
    return (
        *_floor(),
        *_no_fixed_point(),
        *_slopes(),
    )


def _floor() -> tuple[Step, ...]:
    """With ε > 0 a fixed point below 1 exists; without, the right side outgrows the left."""
    bound = p_ref / q_ref * exp(gain(p, β, ε))
    bare = p_ref / q_ref * exp(gain(p, β, Integer(0)))
    return (
        Step(
            "For ε > 0 the odds p/(1−p) outgrow the right side as p tends to 1.",
            Limit(bound * (1 - p) / p, p, 1, "-"),
            S.Zero,
            "The exponent stays below 1/(β√ε).",
            begins="right side over the odds",
            name="existence",
        ),
        Step(
            "For ε = 0 the right side outgrows them instead.",
            Limit(p / (1 - p) / bare, p, 1, "-"),
            S.Zero,
            "exp(−1/(β√(1−p))) vanishes faster than 1 − p.",
            begins="odds over the right side",
            name="without a floor",
        ),
    )


def _no_fixed_point() -> tuple[Step, ...]:
    """Without a floor there may be none at all."""
    positive = exp(-v) + 2 * excess(v - log(2)) + 2 * (1 - log(2))
    return (
        Step(
            "For ε = 0, β = 1, p_ref = 1/2 the logit of the right side exceeds logit(p) = 2v by 2 cosh v − 2v …",
            _without_floor(),
            2 * cosh(v) - 2 * v,
            "√(p(1−p)) = 1/(2 cosh v).",
            begins="distance of the logits",
        ),
        Step(
            "… which is e^(−v), twice e^w − 1 − w at w = v − log 2, and twice 1 − log 2 …",
            2 * cosh(v) - 2 * v,
            positive,
            "2 cosh v = e^v + e^(−v); e^w − 1 − w as above.",
        ),
        Step(
            "… positive: no fixed point.",
            positive,
            S.Zero,
            "Sum of such numbers, log 2 < 1.",
            relation=">",
            name="no fixed point",
        ),
    )


def _slopes() -> tuple[Step, ...]:
    """How fast the map moves, and so which fixed points attract."""
    logistic = 1 / (1 + exp(-above))
    slope = -(1 - 2 * p) / (2 * β * (p * (1 - p) + ε) ** Rational(3, 2))
    return (
        Step(
            "How the gain changes with p.",
            Derivative(gain(p, β, ε), p),
            slope,
            "Chain rule.",
            begins="slope of the gain",
            name="gain slope",
        ),
        Step(
            "It grows for p > 1/2, and so does the right side.",
            slope,
            S.Zero,
            "Product of positive numbers.",
            relation=">",
            given=("1/2 < p < 1",),
            name="growth",
        ),
        Step(
            "The next p as a function of its logit has the slope p(1 − p).",
            Derivative(logistic, above),
            logistic * (1 - logistic),
            "Derivative of the logistic function.",
            begins="slope of the logistic function",
            name="logistic slope",
        ),
        Step(
            "So at a fixed point whose logit is D above that of p_ref, the map has the slope −(1 − 2p) D/2 × "
            "p(1−p)/(p(1−p) + ε).",
            p * (1 - p) * Derivative(gain(p, β, ε), p),
            -(1 - 2 * p) / 2 * gain(p, β, ε) * p * (1 - p) / (p * (1 - p) + ε),
            "D = 1/(β√(p(1−p) + ε)). Below −1 the fixed point repels.",
            begins="slope of the map at a fixed point",
            name="map slope",
        ),
    )
