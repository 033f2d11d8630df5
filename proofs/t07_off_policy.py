"""T7: after the first inner step the weights are no longer those of supervised fine-tuning."""

from sympy import (
    Derivative,
    Expr,
    Function,
    Integral,
    Lambda,
    Rational,
    S,
    Subs,
    Sum,
    Symbol,
    exp,
    log,
    symbols,
)

from proofs import t07_witnesses
from proofs.notation import G, L, t, ε
from proofs.parts import Assumption, Cited, Definition, Step
from proofs.t03_per_sample import clipped
from proofs.theorem import Theorem

a, beyond, ρ, below, above = symbols("a b rho rho_below rho_above", positive=True)
x, x_old = symbols("x x_old", real=True)
δ = symbols("delta", positive=True)
A = Symbol("A", real=True, nonzero=True)
ratio, drift = Function("rho", positive=True)(t), Function("d", real=True)(t)
size = Function("n", positive=True)(t)
log_sum = Function("K", real=True)
S1, S2, M0 = symbols("S_1 S_2 M_0", positive=True)
M1, M2 = symbols("M_1 M_2", real=True)


def over_tokens(term: Expr) -> Sum:
    return Sum(term, (t, 1, L))


def theorem() -> Theorem:
    return Theorem(
        id="T7",
        title="Off-policy: later inner steps are not SFT",
        words=(
            "Away from the sampling policy the weight of a token is {weight} if the clip lets it pass and {clipped "
            "weight} if not: a positive advantage passes up to the upper end of the clip range, a negative one down to "
            "the lower end. Within a response the weights then differ from token to token, by the index given below, "
            "which is 0 at the first inner step. The cosine between the gradient and the SFT gradient, both of a "
            "response, never rises along a drift of the tokens' ratios, and at first falls by the variance of the "
            "drifts."
        ),
        results=(
            "passes below",
            "constant above",
            "constant below",
            "passes above",
            "weight",
            "clipped weight",
            "index",
            "sign of the index",
            "first inner step",
            "rate of fall",
            "fall",
            "cosine",
        ),
        definitions=(*_definitions(), *_sums()),
        assumptions=(
            Assumption("the advantage does not depend on t"),
            Assumption("the first inner step, where the index is 0 and the two gradients are parallel"),
            Assumption("tabular logits: scores of a response's tokens are orthogonal, for the cosine"),
            Assumption("no clip, for the index and the cosine"),
        ),
        model={ε: Rational(1, 5), beyond: Rational(1, 10), below: Rational(7, 10), above: Rational(13, 10)},
        steps=(*_weights(), *_structure(), *_cosine()),
        witnesses=t07_witnesses.witnesses(),
        not_proved=(
            (
                "That the index is positive, and the fall strict, if two ratios or drifts differ: what is proved is "
                "that they are sums of squares of the differences, divided by positive numbers."
            ),
        ),
    )


def _index(weight: Expr, mean: Expr) -> Expr:
    """η of a response: Σ (w − w̄)²/Σ w²."""
    return over_tokens((A / L * (weight - mean)) ** 2) / over_tokens((A / L * weight) ** 2)


def _definitions() -> tuple[Definition, ...]:
    plain = Subs(Derivative(exp(x - x_old) * A / (G * L), x), x_old, x - log(ρ))
    out = Subs(Derivative(clipped(exp(x), a, ε, ε), x), x, log(1 + ε + beyond))
    return (
        Definition("surrogate below, A > 0", "A = a, at a ratio below the clip range", clipped(below, a, ε, ε)),
        Definition("surrogate above, A > 0", "A = a, at a ratio above the clip range", clipped(above, a, ε, ε)),
        Definition("surrogate below, A < 0", "A = −a, at a ratio below the clip range", clipped(below, -a, ε, ε)),
        Definition("surrogate above, A < 0", "A = −a, at a ratio above the clip range", clipped(above, -a, ε, ε)),
        Definition("below the range", "by b > 0", equations={below: 1 - ε - beyond}),
        Definition("above the range", "by b > 0", equations={above: 1 + ε + beyond}),
        Definition(
            "weight where the surrogate is plain",
            "the derivative of the objective in the token's own log-probability x, where ρ = exp(x − x_old)",
            plain,
        ),
        Definition("weight where it is constant", "A = a, at a ratio that lies b > 0 above the range", out),
        Definition("S₁", "sum of the ratios", over_tokens(ratio), S1),
        Definition("S₂", "sum of their squares", over_tokens(ratio**2), S2),
        Definition("spread of the ratios", "squared differences from their mean", over_tokens((ratio - S1 / L) ** 2)),
        Definition("η", "the credit-structure index: Σ (w − w̄)²/Σ w² of a response, w = ρ A/L", _index(ratio, S1 / L)),
        Definition("η at ρ = 1", "the same where all ratios are 1", _index(S.One, S.One)),
    )


def _weights() -> tuple[Step, ...]:
    """The derivative of the clipped surrogate in every region; inside the clip range it is that of T3."""

    def region(name: str, begins: str, left: Expr, right: Expr, given: str) -> Step:
        what = "the plain surrogate" if name.startswith("passes") else "a constant"
        claim = f"{begins[10:].capitalize()}: {what}."
        rule = "The minimum takes the smaller value."
        return Step(claim, left, right, rule, begins=begins, given=(given,), name=name)

    low, high = "below the range", "above the range"
    plain = Subs(Derivative(exp(x - x_old) * A / (G * L), x), x_old, x - log(ρ))
    out = Subs(Derivative(clipped(exp(x), a, ε, ε), x), x, log(1 + ε + beyond))
    return (
        region("passes below", "surrogate below, A > 0", clipped(below, a, ε, ε), below * a, low),
        region("constant above", "surrogate above, A > 0", clipped(above, a, ε, ε), (1 + ε) * a, high),
        region("constant below", "surrogate below, A < 0", clipped(below, -a, ε, ε), -(1 - ε) * a, low),
        region("passes above", "surrogate above, A < 0", clipped(above, -a, ε, ε), -above * a, high),
        Step(
            "Where the surrogate is plain, the weight is ρ A/(G L).",
            plain,
            ρ * A / (G * L),
            "Derivative of the exponential.",
            begins="weight where the surrogate is plain",
            name="weight",
        ),
        Step(
            "Where it is constant, the weight is 0.",
            out,
            S.Zero,
            "Derivative of a constant.",
            begins="weight where it is constant",
            name="clipped weight",
        ),
    )


def _structure() -> tuple[Step, ...]:
    """η: how much the weights vary within a response."""
    return (
        Step(
            "The squared differences of the ratios from their mean.",
            over_tokens((ratio - S1 / L) ** 2),
            S2 - S1**2 / L,
            "Expand the square.",
            begins="spread of the ratios",
            where=("S₁", "S₂"),
            label="spread",
        ),
        Step(
            "In the credit-structure index of an unclipped response, A/L cancels …",
            _index(ratio, S1 / L),
            over_tokens((ratio - S1 / L) ** 2) / over_tokens(ratio**2),
            "A common factor of all weights.",
            begins="η",
        ),
        Step(
            "… and it is 1 − S₁²/(L S₂), whatever A is …",
            over_tokens((ratio - S1 / L) ** 2) / over_tokens(ratio**2),
            1 - S1**2 / (L * S2),
            "The sum of squares above.",
            given=("spread",),
            where=("S₂",),
            name="index",
        ),
        Step(
            "… and never negative: no term of its numerator is.",
            _index(ratio, S1 / L),
            S.Zero,
            "Sum of squares.",
            relation="≥",
            begins="η",
            name="sign of the index",
        ),
        Step(
            "At the first inner step all ratios are 1, and it is 0.",
            _index(S.One, S.One),
            S.Zero,
            "All weights equal their mean.",
            begins="η at ρ = 1",
            name="first inner step",
        ),
    )


def _tilted(at: Expr, power: int = 0) -> Sum:
    """Σ n d^power exp(at d)."""
    return over_tokens(size * drift**power * exp(at * drift))


def _variance(at: Expr) -> Expr:
    """The variance of the drifts under the weights n exp(at d)."""
    mean = _tilted(at, 1) / _tilted(at)
    return over_tokens((drift - mean) ** 2 * size * exp(at * drift)) / _tilted(at)


def _squared_cosine() -> Expr:
    return _tilted(δ) ** 2 / (over_tokens(size) * _tilted(2 * δ))


def _sums() -> tuple[Definition, ...]:
    falling = -Derivative(2 * log_sum(δ) - log_sum(2 * δ) - log_sum(S.Zero), δ)
    curvature = Subs(Derivative(_squared_cosine(), δ, 2), δ, 0) / 2
    return (
        Definition(
            "bend of K",
            "K(x) = log Σ n exp(x d), n the squared norms of scores, d the drifts",
            Derivative(log(_tilted(x)), (x, 2)),
        ),
        Definition(
            "minus the slope of log cos²",
            "cos² = (Σ n ρ)²/(Σ n Σ n ρ²) for orthogonal scores and ρ = exp(δ d), so log cos² = 2K(δ) − K(2δ) − K(0)",
            falling,
        ),
        Definition("M₀", "sum of the squared norms", over_tokens(size), M0),
        Definition("M₁", "the same with d", over_tokens(size * drift), M1),
        Definition("M₂", "the same with d²", over_tokens(size * drift**2), M2),
        Definition("curvature of cos²", "half the second derivative at δ = 0", curvature),
    )


def _cosine() -> tuple[Step, ...]:
    """cos² in terms of K(δ) = log Σ n exp(δ d)."""
    falling = -Derivative(2 * log_sum(δ) - log_sum(2 * δ) - log_sum(S.Zero), δ)
    gain = Integral(2 * Derivative(log_sum(x), (x, 2)), (x, δ, 2 * δ))
    here = {log_sum: Lambda(x, log(_tilted(x)))}
    variances = Integral(2 * _variance(x), (x, δ, 2 * δ))
    return (
        Step(
            "K bends upwards by the variance of the drifts under the weights n exp(x d).",
            Derivative(log(_tilted(x)), (x, 2)),
            _variance(x),
            "Differentiate twice; expand the square.",
            begins="bend of K",
            label="bend",
        ),
        Step(
            "The logarithm of cos² falls at the rate 2(K′(2δ) − K′(δ)), an integral of the bend.",
            falling,
            gain,
            "Chain rule; fundamental theorem of calculus.",
            begins="minus the slope of log cos²",
            name="rate of fall",
        ),
        Step(
            "So of variances …",
            Integral(2 * Derivative(log(_tilted(x)), (x, 2)), (x, δ, 2 * δ)),
            variances,
            "K(x) = log Σ n exp(x d).",
            begins=Cited("rate of fall", here),
            given=("bend",),
        ),
        Step(
            "… which are never negative: the cosine does not rise.",
            variances,
            S.Zero,
            "Integral of quotients of such sums, δ > 0.",
            relation="≥",
            name="fall",
        ),
        Step(
            "Near the old policy the squared cosine is 1 − δ² × that variance at δ = 0: half of its second derivative.",
            Subs(Derivative(_squared_cosine(), δ, 2), δ, 0) / 2,
            -(M2 / M0 - (M1 / M0) ** 2),
            "Differentiate twice.",
            begins="curvature of cos²",
            where=("M₀", "M₁", "M₂"),
            name="cosine",
        ),
    )
