"""T7: after the first inner step the weights are no longer those of supervised fine-tuning."""

from collections.abc import Mapping
from functools import partial

from sympy import (
    Derivative,
    Expr,
    Function,
    Integer,
    Matrix,
    Rational,
    Subs,
    Sum,
    Symbol,
    exp,
    log,
    sqrt,
    symbols,
    zeros,
)

from proofs.instances import Tree
from proofs.notation import G, L, t, ε, ρ
from proofs.t03_per_sample import clipped
from proofs.theorem import Step, Theorem, Witness

a, beyond = symbols("a b", positive=True)
x, x_old, δ = symbols("x x_old delta", real=True)
A = Symbol("A", real=True)
ratio, drift = Function("rho", positive=True)(t), Function("d", real=True)(t)
size = Function("n", positive=True)(t)
S0, S1, S2, Q0, Q1, Q2 = symbols("S_0 S_1 S_2 Q_0 Q_1 Q_2", positive=True)


def over_tokens(term: Expr) -> Sum:
    return Sum(term, (t, 1, L))


def theorem() -> Theorem:
    return Theorem(
        id="T7",
        title="Off-policy: later inner steps are not SFT",
        statement=(
            "At θ ≠ θ_old the weight of a token is ρ A/L if the clip lets it pass and 0 if not: for A > 0 it passes up "
            "to 1 + ε, for A < 0 down to 1 − ε. Within a response the weights then differ from token to token (η > 0) "
            "as soon as two ratios do, and the cosine between the gradient and the SFT gradient, both of a response, "
            "falls steadily along every drift in which the tokens' ratios differ. At the first inner step all ratios "
            "are 1 and equality holds."
        ),
        assumptions=(
            "the advantage does not depend on t",
            "for the cosine: tabular logits (scores of a response's tokens are orthogonal); ρ = exp(δ d(t)); no clip",
        ),
        symbolic="length L, group size G, ratios ρ(t), drifts d(t), squared norms n(t) of token scores, ε, advantages",
        steps=(*_weights(), *_structure(), *_cosine()),
        witnesses=(
            Witness(
                "the step is not the first (K > 1)",
                "batch 'aa' (A = 1) and 'bb' (A = −1) of the uniform policy on two tokens; K − 1 steps of size 4 log 2 "
                "on this batch; wide clip",
                "cosine of GRPO's gradient and the SFT gradient = 1",
                partial(_cosine_after_steps, clip=Integer(9)),
                "K",
                1,
                2,
            ),
            Witness(
                "the step is not the first (K > 1), with clipping",
                "the same with clip range 1/2, which the first token of either response leaves",
                "cosine of GRPO's gradient and the SFT gradient = 1",
                partial(_cosine_after_steps, clip=Rational(1, 2)),
                "K",
                1,
                2,
            ),
        ),
    )


def _weights() -> tuple[Step, ...]:
    """The derivative of the clipped surrogate in every region; inside the clip range it is that of T3."""
    return (
        Step(
            "A = a > 0, ρ below the clip range: the plain surrogate.",
            clipped(ρ, a, ε, ε),
            ρ * a,
            "The minimum takes the smaller value.",
            given={ρ: 1 - ε - beyond},
            why_given="ρ lies b > 0 below 1 − ε",
        ),
        Step(
            "A = a > 0, ρ above the clip range: a constant.",
            clipped(ρ, a, ε, ε),
            (1 + ε) * a,
            "The minimum takes the clipped value.",
            given={ρ: 1 + ε + beyond},
            why_given="ρ lies b > 0 above 1 + ε",
        ),
        Step(
            "A = −a < 0, ρ below the clip range: a constant.",
            clipped(ρ, -a, ε, ε),
            -(1 - ε) * a,
            "The minimum takes the clipped value.",
            given={ρ: 1 - ε - beyond},
            why_given="ρ lies b > 0 below 1 − ε",
        ),
        Step(
            "A = −a < 0, ρ above the clip range: the plain surrogate.",
            clipped(ρ, -a, ε, ε),
            -ρ * a,
            "The minimum takes the smaller value.",
            given={ρ: 1 + ε + beyond},
            why_given="ρ lies b > 0 above 1 + ε",
        ),
        Step(
            "Where the surrogate is plain, the weight is ρ A/(G L).",
            Subs(Derivative(exp(x - x_old) * A / (G * L), x), x_old, x - log(ρ)),
            ρ * A / (G * L),
            "Derivative in the token's own log-probability x; ρ = exp(x − x_old).",
            name="weight",
        ),
        Step(
            "Where it is constant, the weight is 0.",
            Subs(Derivative(clipped(exp(x), a, ε, ε), x), x, log(1 + ε + beyond)),
            0,
            "Derivative at a ratio that lies b > 0 above 1 + ε, for A = a > 0; below 1 − ε for A < 0 alike.",
            name="clipped weight",
        ),
    )


def _structure() -> tuple[Step, ...]:
    """η: how much the weights vary within a response."""
    return (
        Step(
            "The squared deviations of the ratios from their mean.",
            over_tokens((ratio - S1 / L) ** 2),
            S2 - S1**2 / L,
            "Expand the square.",
            where={over_tokens(ratio): S1, over_tokens(ratio**2): S2},
            why_given="S₁ = Σ_t ρ(t), S₂ = Σ_t ρ(t)²",
        ),
        Step(
            "So the credit-structure index of an unclipped response is 1 − S₁²/(L S₂), whatever A is …",
            (A / L) ** 2 * (S2 - S1**2 / L) / ((A / L) ** 2 * S2),
            1 - S1**2 / (L * S2),
            "η = Σ_t (w − w̄)² / Σ_t w² with w = ρA/L.",
            name="index",
        ),
        Step(
            "… and no term of its numerator is negative: it is 0 if and only if all ratios are equal.",
            (ratio - S1 / L) ** 2,
            0,
            "Square of a real number.",
            relation="≥",
        ),
    )


def _cosine() -> tuple[Step, ...]:
    """cos² = (Σ n ρ)² / (Σ n Σ n ρ²) for orthogonal scores, in terms of K(δ) = log Σ n exp(δ d)."""
    tilted = size * exp(δ * drift)
    spread = Q2 / Q0 - (Q1 / Q0) ** 2
    log_sum = Function("K", real=True)
    sums = {over_tokens(tilted): Q0, over_tokens(drift * tilted): Q1, over_tokens(drift**2 * tilted): Q2}
    letters = "Q_i = Σ_t n(t) d(t)^i exp(δ d(t))"
    return (
        Step(
            "K(δ) = log Σ_t n(t) exp(δ d(t)) bends upwards by a variance …",
            Derivative(log(over_tokens(tilted)), δ, 2),
            spread,
            "Differentiate twice.",
            where=sums,
            why_given=letters,
        ),
        Step(
            "… that of d under the weights n exp(δd), which is positive unless all drifts are equal.",
            over_tokens((drift - Q1 / Q0) ** 2 * tilted) / Q0,
            spread,
            "Expand the square.",
            where=sums,
            why_given=letters,
        ),
        Step(
            "The logarithm of cos² = (Σ n ρ)²/(Σ n · Σ n ρ²) falls at the rate 2(K′(2δ) − K′(δ)), positive for δ > 0 "
            "as K′ increases.",
            Derivative(2 * log_sum(δ) - log_sum(2 * δ) - log_sum(0), δ),
            2 * Derivative(log_sum(δ), δ) - 2 * Subs(Derivative(log_sum(x), x), x, 2 * δ),
            "Chain rule.",
        ),
        Step(
            "Near the old policy the squared cosine is 1 − δ² × that variance at δ = 0: half of its second derivative.",
            Subs(
                Derivative(
                    over_tokens(tilted) ** 2 / (over_tokens(size) * over_tokens(size * exp(2 * δ * drift))), δ, 2
                ),
                δ,
                0,
            )
            / 2,
            -(S2 / S0 - (S1 / S0) ** 2),
            "Differentiate twice.",
            where={over_tokens(size): S0, over_tokens(size * drift): S1, over_tokens(size * drift**2): S2},
            why_given="S_i = Σ_t n(t) d(t)^i",
            name="cosine",
        ),
    )


def _cosine_after_steps(steps: Expr, *, clip: Expr) -> tuple[Expr, Expr]:
    """The cosine of the two gradients of the fixed batch at inner step K."""
    half, batch = Rational(1, 2), {"aa": Integer(1), "bb": Integer(-1)}
    old = Tree({s: {"a": half, "b": half} for s in ("", "a", "b")}, {})
    now = old
    for _ in range(int(steps) - 1):
        now = _moved(now, 4 * log(2) * _gradient(now, old, batch, clip))
    ours, theirs = _gradient(now, old, batch, clip), _gradient(now, now, batch, clip)
    return ours.dot(theirs) / sqrt(ours.dot(ours) * theirs.dot(theirs)), Integer(1)


def _gradient(now: Tree, old: Tree, batch: Mapping[str, Expr], clip: Expr) -> Matrix:
    """GRPO's gradient at `now` of samples of `old`; with the same tree twice it is the SFT gradient."""
    total = zeros(now.dimension, 1)
    for response, advantage in batch.items():
        weights = []
        for position, token in enumerate(response):
            ratio = now.policy[response[:position]][token] / old.policy[response[:position]][token]
            passes = ratio <= 1 + clip if advantage > 0 else ratio >= 1 - clip
            weights.append(ratio * advantage / len(response) if passes else Integer(0))
        total += now.score(response, weights) / len(batch)
    return total


def _moved(tree: Tree, step: Matrix) -> Tree:
    """The tree after its logits moved by `step`."""
    moves, policy = iter(step), {}
    for state, actions in tree.policy.items():
        masses = {token: chance * exp(next(moves)) for token, chance in actions.items()}
        policy[state] = {token: mass / sum(masses.values()) for token, mass in masses.items()}
    return Tree(policy, tree.reward)
