"""T14: GRPO with a KL term, each iteration solved exactly, multiplies the odds over the reference (2503.06639)."""

from sympy import Derivative, Expr, Function, Integer, Limit, Rational, Subs, Sum, cosh, exp, log, oo, sqrt, symbols

from proofs.notation import N, j, p, β, ε, π
from proofs.theorem import Step, Theorem, Witness

chance = π(j)
reference, best = Function("pi_ref", positive=True)(j), Function("pi_best", positive=True)(j)
advantage = Function("A", real=True)(j)
Z = symbols("Z", positive=True)
A_plus, A_minus = symbols("A_plus A_minus", real=True)
p_ref, q_ref = symbols("p_ref q_ref", positive=True)
x, odds, above = symbols("x o s", positive=True)
half_logit = symbols("v", real=True)


def gain(p: Expr, β: Expr, ε: Expr) -> Expr:
    """What an iteration adds to the logit of p_ref."""
    return 1 / (β * sqrt(p * (1 - p) + ε))


def logit(p: Expr) -> Expr:
    return log(p) - log(1 - p)


def theorem() -> Theorem:
    return Theorem(
        id="T14",
        title="Amplification",
        statement=(
            "Let iteration n maximise E_π[A] − β KL(π‖π_ref) over all policies, with GRPO's advantages at the success "
            "probability p of iteration n − 1 and the variance floor ε. Then odds(p_n) = odds(p_ref) exp(1/(β √(p(1−p) "
            "+ ε))), so p_n > p_ref for every n ≥ 1. Every fixed point lies above p_ref, and for ε > 0 there is one. "
            "For p_ref ≥ 1/2 and ε > 0 the p_n grow and converge to a fixed point. In general they do neither."
        ),
        assumptions=(
            "the maximum over all policies is reached in each iteration",
            "rewards are 0 or 1; population mean and deviation",
            "β is finite; 0 < p_ref < 1",
            "ε > 0, for the existence of a fixed point",
            "p_ref ≥ 1/2, for growth and convergence",
        ),
        symbolic="number of responses N, reference policy, p, p_ref, β, ε",
        steps=(*_best_policy(), *_odds(), *_fixed_points()),
        witnesses=_witnesses(),
        remark=(
            "The statement that p_n is amplified to a fixed point above p_ref is right as to where the fixed points "
            "are, and wrong if it is read as convergence: the map from p to the next p falls where p < 1/2, and where "
            "its slope at the fixed point is below −1 the iteration turns away from it. Without a floor, ε = 0, there "
            "may be no fixed point below 1."
        ),
    )


def _best_policy() -> tuple[Step, ...]:
    def over_responses(term: Expr) -> Sum:
        return Sum(term, (j, 1, N))

    sums_to_1 = {over_responses(chance): Integer(1), over_responses(best): Integer(1)}
    log_best = log(reference) + advantage / β - log(Z)
    return (
        Step(
            "The objective is β log Z − β KL(π‖π_best) with π_best = π_ref exp(A/β)/Z, for every policy π.",
            over_responses(chance * advantage) - β * over_responses(chance * (log(chance) - log(reference))),
            β * log(Z) - β * over_responses(chance * (log(chance) - log_best)),
            "Insert log π_best = log π_ref + A/β − log Z.",
            given=sums_to_1,
            why_given="Σ π = 1",
        ),
        Step(
            "The divergence is a mean of x − 1 − log x with x = π_best/π …",
            over_responses(chance * (log(chance) - log(best))),
            over_responses(chance * (best / chance - 1 - log(best) + log(chance))),
            "Both policies sum to 1.",
            given=sums_to_1,
            why_given="Σ π = Σ π_best = 1",
        ),
        Step("… a convex function …", Derivative(x - 1 - log(x), x, 2), 0, "Second derivative 1/x².", relation=">"),
        Step("… whose slope vanishes at x = 1 …", Derivative(x - 1 - log(x), x), 1 - 1 / x, "Derivative."),
        Step("… where it is 0. So π_best is the maximum.", Subs(x - 1 - log(x), x, 1), 0, "ln 1 = 0."),
    )


def _odds() -> tuple[Step, ...]:
    inside = {p: 1 / (1 + odds)}
    why = "0 < p < 1, so p = 1/(1 + o) with o > 0"
    return (
        Step(
            "The two advantages are one over the deviation apart.",
            (1 - p) / sqrt(p * (1 - p) + ε) - (0 - p) / sqrt(p * (1 - p) + ε),
            1 / sqrt(p * (1 - p) + ε),
            "A = (r − p)/√(p(1−p) + ε).",
        ),
        Step(
            "π_best multiplies the odds by exp((A⁺ − A⁻)/β): right responses weigh exp(A⁺/β)/Z, wrong ones "
            "exp(A⁻/β)/Z.",
            (p_ref * exp(A_plus / β) / Z) / (q_ref * exp(A_minus / β) / Z),
            p_ref / q_ref * exp((A_plus - A_minus) / β),
            "Sum π_best over the right and over the wrong responses; Z cancels.",
        ),
        Step(
            "So these are the odds of the next iteration.",
            p_ref / q_ref * exp((A_plus - A_minus) / β),
            p_ref / q_ref * exp(gain(p, β, ε)),
            "The two steps above.",
            given={A_plus: A_minus + 1 / sqrt(p * (1 - p) + ε)},
            why_given="A⁺ − A⁻ = 1/√(p(1−p) + ε)",
            name="odds",
        ),
        Step(
            "They exceed those of π_ref: the logit grows by a positive number.",
            gain(p, β, ε),
            0,
            "One over positive numbers.",
            relation=">",
            given=inside,
            why_given=why,
        ),
        Step(
            "The logit increases with p, so p_n > p_ref.",
            Derivative(logit(p), p),
            0,
            "Derivative 1/p + 1/(1 − p).",
            relation=">",
            given=inside,
            why_given=why,
        ),
        Step("As β grows, nothing is amplified.", Limit(exp(gain(p, β, ε)), β, oo), 1, "Limit."),
    )


def _fixed_points() -> tuple[Step, ...]:
    bound = p_ref / q_ref * exp(gain(p, β, ε))
    bare = p_ref / q_ref * exp(gain(p, β, Integer(0)))
    upper = {p: (1 + above) / (2 + above)}
    return (
        Step(
            "At a fixed point logit(p) − logit(p_ref) is this positive number, so it lies above p_ref.",
            log(bound) - log(p_ref / q_ref),
            gain(p, β, ε),
            "Logarithm of the right side, which is odds(p) at a fixed point.",
            where={p: 1 / (1 + odds)},
            why_given="0 < p < 1, so p = 1/(1 + o) with o > 0",
        ),
        Step(
            "For ε > 0 the odds p/(1−p) outgrow the right side as p tends to 1, and are below it at p_ref: by "
            "continuity they meet.",
            Limit(bound * (1 - p) / p, p, 1, "-"),
            0,
            "The exponent stays below 1/(β√ε).",
        ),
        Step(
            "For ε = 0 the right side outgrows them instead, so that argument fails.",
            Limit(p / (1 - p) / bare, p, 1, "-"),
            0,
            "exp(−1/(β√(1−p))) vanishes faster than 1 − p.",
        ),
        Step(
            "For ε = 0, β = 1, p_ref = 1/2 the logit of the right side exceeds logit(p) = 2v by 2 cosh v − 2v …",
            Subs(gain(p, Integer(1), Integer(0)) - logit(p), p, exp(2 * half_logit) / (1 + exp(2 * half_logit))),
            2 * cosh(half_logit) - 2 * half_logit,
            "√(p(1−p)) = 1/(2 cosh v).",
        ),
        Step(
            "… which is positive, as x − 1 − log x ≥ 0 for x = e^v/2 (above) and log 2 < 1: no fixed point.",
            2 * cosh(half_logit) - 2 * half_logit,
            exp(-half_logit) + 2 * Subs(x - 1 - log(x), x, exp(half_logit) / 2) + 2 * (1 - log(2)),
            "2 cosh v = e^v + e^(−v).",
            name="no fixed point",
        ),
        Step(
            "How the gain changes with p.",
            Derivative(gain(p, β, ε), p),
            -(1 - 2 * p) / (2 * β * (p * (1 - p) + ε) ** Rational(3, 2)),
            "Chain rule.",
            name="gain slope",
        ),
        Step(
            "It grows for p > 1/2. So from p_ref ≥ 1/2 on the p_n grow, bounded by 1, and converge; their limit is a "
            "fixed point.",
            Derivative(gain(p, β, ε), p),
            0,
            "Product of positive numbers. p₁ > p₀ = p_ref, and a growing map keeps the order.",
            relation=">",
            where=upper,
            why_given="1/2 < p < 1, so p = (1 + s)/(2 + s) with s > 0",
        ),
        Step(
            "The next p as a function of its logit has this slope.",
            Derivative(1 / (1 + exp(-above)), above),
            1 / (1 + exp(-above)) * (1 - 1 / (1 + exp(-above))),
            "Derivative of the logistic function.",
        ),
        Step(
            "So at a fixed point whose logit is D above that of p_ref, the map has the slope −(1 − 2p) D/2 × "
            "p(1−p)/(p(1−p) + ε).",
            p * (1 - p) * -(1 - 2 * p) / (2 * β * (p * (1 - p) + ε) ** Rational(3, 2)),
            -(1 - 2 * p) / 2 * gain(p, β, ε) * p * (1 - p) / (p * (1 - p) + ε),
            "D = 1/(β√(p(1−p) + ε)). Below −1 the fixed point repels.",
            name="map slope",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    def iterate(start: Expr, inverse_β: Expr, steps: int) -> Expr:
        """p after this many iterations from p_ref = start, at ε = 1/100."""
        p_now = start
        for _ in range(steps):
            ratio = start / (1 - start) * exp(inverse_β / sqrt(p_now * (1 - p_now) + Rational(1, 100)))
            p_now = ratio / (1 + ratio)
        return p_now

    def repelling(distance: Expr) -> tuple[Expr, Expr]:
        """1 and |slope of the map| at the fixed point 1/10, ε = 0, whose logit is `distance` above p_ref's."""
        fixed = Rational(1, 10)
        β_there = 1 / (distance * sqrt(fixed * (1 - fixed)))
        step = 1 / (1 + exp(-(logit(fixed) - distance + gain(p, β_there, Integer(0)))))
        return Integer(1), abs(step.diff(p).subs(p, fixed))

    near = 1 - Rational(1, 10**6)
    return (
        Witness(
            "β is finite",
            "p_ref = 1/2, ε = 1/100; the coefficient is given as 1/β",
            "p₁ > p_ref",
            lambda inverse: (iterate(Rational(1, 2), inverse, 1), Rational(1, 2)),
            "1/β",
            1,
            0,
            relation=">",
        ),
        Witness(
            "ε > 0 (existence)",
            "p_ref = 1/2, β = 1, p = 1 − 10⁻⁶",
            "log odds(p) ≥ log of the right side",
            lambda floor: (logit(near), gain(near, Integer(1), floor)),
            "ε",
            Rational(1, 100),
            0,
            relation="≥",
        ),
        Witness(
            "p_ref ≥ 1/2 (growth)",
            "β = 1, ε = 1/100",
            "p₂ ≥ p₁",
            lambda start: (iterate(start, Integer(1), 2), iterate(start, Integer(1), 1)),
            "p_ref",
            Rational(1, 2),
            Rational(1, 100),
            relation="≥",
        ),
        Witness(
            "p_ref ≥ 1/2 (convergence)",
            "fixed point p = 1/10 at ε = 0, β such that its logit is D above that of p_ref",
            "1 ≥ |slope of the map at the fixed point|",
            repelling,
            "D",
            2,
            4,
            relation="≥",
        ),
    )
