"""T3: on its own samples GRPO's gradient is the gradient of a weighted log-likelihood, token by token."""

from sympy import Derivative, Expr, Function, Max, Min, Rational, Subs, Sum, exp, log, symbols

from proofs.notation import A, G, i, t, ε, θ, θ_old, ρ
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

advantage = Function("A", real=True)(i)
length = Function("L", integer=True, positive=True)(i)
ell = Function("ℓ", real=True)
below, above = symbols("a b", positive=True)
x, x_old = symbols("x x_old", real=True)


def clipped(ratio: Expr, advantage: Expr, low: Expr, high: Expr) -> Expr:
    """PPO's pessimistic minimum of the plain and the clipped surrogate."""
    return Min(ratio * advantage, Min(Max(ratio, 1 - low), 1 + high) * advantage)


def over_tokens(term: Expr) -> Expr:
    """(1/G) Σ_i (1/L_i) Σ_t term."""
    return Sum(term / length, (t, 1, length), (i, 1, G)) / G


new, old = ell(i, t, θ), ell(i, t, θ_old)
ratio = exp(new - old)
moving = Derivative(ratio, θ)
objective = Subs(Derivative(over_tokens(ratio * advantage), θ), θ_old, θ)
token = Subs(Derivative(exp(x - x_old) * advantage / (G * length), x), x_old, x)


def theorem() -> Theorem:
    return Theorem(
        id="T3",
        title="GRPO is weighted SFT, sample by sample",
        words=(
            "On the samples of the current policy and without a KL term, the gradient of the GRPO objective is minus "
            "the gradient of a cross-entropy loss on the same samples in which every token of response i has the "
            "weight {weight} (the loss is divided by G). This holds for each batch, not only on average."
        ),
        results=("clip", "slope", "ratio", "cross-entropy", "weight"),
        definitions=(
            Definition("clipped surrogate", "PPO's pessimistic minimum", clipped(ρ, A, ε, ε)),
            Definition("slope of the surrogate", "inside the clip range, where it is ρ A", Derivative(ρ * A, ρ)),
            Definition("movement of a ratio", "ρ = exp(ℓ(θ) − ℓ(θ_old)), ℓ = log π of token t of response i", moving),
            Definition(
                "gradient of the objective",
                "inside the clip range; the mean over responses and over their tokens, at θ_old = θ",
                objective,
            ),
            Definition(
                "weight of a token",
                "the derivative in its own log-probability x = ℓ(i, t), at x_old = x",
                token,
            ),
            Definition(
                "|ρ − 1| < ε",
                "a, b > 0 parametrise all such pairs: a = ρ − 1 + ε, b = 1 + ε − ρ; ρ = 1 is a = b",
                equations={ε: (below + above) / 2, ρ: 1 + (below - above) / 2},
            ),
        ),
        assumptions=(
            Assumption("ρ = 1: the gradient is taken at θ = θ_old"),
            Assumption("β = 0: there is no KL term"),
            Assumption("A2: the advantage A(i) does not depend on t"),
            Assumption("the advantage does not depend on θ"),
        ),
        model={ε: Rational(1, 5), ρ: Rational(11, 10), below: Rational(3, 10), above: Rational(1, 10)},
        steps=_steps(),
        witnesses=_witnesses(),
        remark=(
            "That some weights exist says nothing: any loss that sees θ through the log-probabilities of the sampled "
            "tokens alone has a gradient of this form. What is claimed is that the weights are constant within a "
            "response and are functions of the outcomes and lengths of the group."
        ),
    )


def _steps() -> tuple[Step, ...]:
    """From the clipped surrogate to the cross-entropy, at ρ = 1."""
    gradient = over_tokens(advantage * Derivative(new, θ))
    return (
        Step(
            "Inside the clip range the clipped surrogate is the plain one, whatever the sign of A.",
            clipped(ρ, A, ε, ε),
            ρ * A,
            "Order on the real line: a and b are the distances of ρ from 1 − ε and from 1 + ε.",
            begins="clipped surrogate",
            given=("|ρ − 1| < ε",),
            name="clip",
        ),
        Step(
            "Its derivative in ρ there is A, so at ρ = 1 as well.",
            Derivative(ρ * A, ρ),
            A,
            "Derivative of a linear function.",
            begins="slope of the surrogate",
            name="slope",
        ),
        Step(
            "The ratio moves by its value times the score of the token.",
            moving,
            ratio * Derivative(new, θ),
            "Chain rule.",
            begins="movement of a ratio",
            name="ratio",
        ),
        Step(
            "At θ_old = θ each ratio moves by the score alone: the gradient of the objective on its own samples …",
            objective,
            gradient,
            "The derivative passes through the sums; exp(0) = 1.",
            begins="gradient of the objective",
            label="gradient",
        ),
        Step(
            "… is minus the gradient of the cross-entropy with weights A(i)/L(i).",
            gradient,
            -Derivative(-over_tokens(advantage * new), θ),
            "Both sides are carried out and compared summand by summand.",
            name="cross-entropy",
        ),
        Step(
            "The weight of one token is what multiplies its score.",
            token,
            advantage / (G * length),
            "Derivative of the token's own term.",
            begins="weight of a token",
            name="weight",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "ρ = 1: the gradient is taken at θ = θ_old",
            "weight",
            "one response of two tokens, A = 1, ε = 1/5; the ratio of its first token is ρ",
            "weight of the first token = A/L",
            lambda ratio: (token_weight(ratio, β=0), Rational(1, 2)),
            "ρ",
            1,
            Rational(11, 10),
        ),
        Witness(
            "ρ = 1: the gradient is taken at θ = θ_old (beyond the clip range)",
            "weight",
            "the same response; the ratio of its first token leaves [4/5, 6/5]",
            "weight of the first token = A/L",
            lambda ratio: (token_weight(ratio, β=0), Rational(1, 2)),
            "ρ",
            1,
            Rational(13, 10),
        ),
        Witness(
            "β = 0: there is no KL term",
            "weight",
            "the same response at ρ = 1, with the KL estimator k3 against a reference that gives the first token "
            "half of π",
            "weight of the first token = A/L",
            lambda coefficient: (token_weight(1, β=coefficient), Rational(1, 2)),
            "β",
            0,
            Rational(1, 10),
        ),
        Witness(
            "A2: the advantage A(i) does not depend on t",
            "weight",
            "two tokens, with the advantages 1 and 1 + δ of a critic",
            "weight of the first token = weight of the second",
            lambda extra: (token_weight(1, β=0), token_weight(1, β=0, advantage=1 + extra)),
            "δ",
            0,
            Rational(1, 3),
        ),
        Witness(
            "the advantage does not depend on θ",
            "weight",
            "one response of two tokens, each worth A + κ log π(a) at ρ = 1, as with a reward that holds the policy",
            "weight of the first token = A/L",
            lambda share: (
                Subs(Derivative(exp(x - x_old) * (1 + share * x) / 2, x), x_old, x).doit().subs(x, -1),
                Rational(1, 2) * (1 - share),
            ),
            "κ",
            0,
            1,
        ),
    )


def token_weight(ratio: Expr, *, β: Expr, advantage: Expr = 1) -> Expr:
    """∂J/∂ℓ of a token in a response of two, at ε = 1/5 and π_ref/π = 1/2, straight from the clipped objective."""
    surrogate = clipped(exp(x), advantage, Rational(1, 5), Rational(1, 5))
    k3 = exp(-x) / 2 * ratio - log(exp(-x) / 2 * ratio) - 1
    return Subs(Derivative((surrogate - β * k3) / 2, x), x, log(ratio)).doit()
