"""T2: spreading the reward over the tokens changes nothing if each is credited with the total, and else biases."""

from sympy import Derivative, Expr, Function, Integer, Rational, Sum, Symbol, log, sqrt

from proofs.instances import Tree
from proofs.notation import L, N, j, t, u, θ, π
from proofs.theorem import Step, Theorem, Witness

r, c = Symbol("r", real=True), Symbol("c", real=True)
credit = Function("c", real=True)
ell = Function("ℓ", real=True)


def theorem() -> Theorem:
    total = Sum(π(j, θ), (j, 1, N))
    return Theorem(
        id="T2",
        title="Uniform split",
        statement=(
            "Pay every token r/L instead of paying r at the end. If each token is credited with the total return, the "
            "gradient of every sample is the same. If it is credited with the return from itself on, token t has the "
            "weight (L−t+1)/L, and the expected gradient is another one: r/L depends on tokens still to come, so "
            "leaving out what was paid before is not a baseline."
        ),
        assumptions=("γ = 1", "each token is credited with the total return"),
        symbolic="length L, reward r, number of actions N, policy",
        steps=(
            Step("The split reward adds up to r.", Sum(r / L, (u, 1, L)), r, "Sum of L equal terms."),
            Step(
                "With the total return, the gradient of one sample is that of the terminal reward.",
                Sum(Derivative(ell(t, θ), θ) * Sum(r / L, (u, 1, L)), (t, 1, L)),
                r * Derivative(Sum(ell(t, θ), (t, 1, L)), θ),
                "The weight of each token is r; ℓ(t, θ) = log π(a_t).",
                name="total return",
            ),
            Step(
                "With the return from t on, token t has the weight r (L−t+1)/L.",
                Sum(r / L, (u, t, L)),
                r * (L - t + 1) / L,
                "Sum of L − t + 1 equal terms.",
                name="reward-to-go",
            ),
            Step(
                "What is left out is (t − 1) r/L.",
                Sum(r / L, (u, 1, L)) - Sum(r / L, (u, t, L)),
                (t - 1) * r / L,
                "Difference of the two.",
                name="left out",
            ),
            Step(
                "Leaving out an amount c that is settled before token t changes no expectation.",
                Sum(π(j, θ) * c * Derivative(log(π(j, θ)), θ), (j, 1, N)),
                c * Derivative(total, θ),
                "π ∂ log π = ∂π; c does not depend on the action j.",
            ),
            Step(
                "For probabilities sum to 1.",
                c * Derivative(total, θ),
                0,
                "Derivative of 1.",
                given={total: 1},
                why_given="Σ_j π(j) = 1",
            ),
            Step(
                "But an amount c(j) that depends on what token t leads to, as (t−1) r/L does, changes it by its own "
                "gradient.",
                Sum(π(j, θ) * credit(j) * Derivative(log(π(j, θ)), θ), (j, 1, N)),
                Derivative(Sum(π(j, θ) * credit(j), (j, 1, N)), θ),
                "The same without taking c out of the sum.",
                name="bias",
            ),
        ),
        witnesses=(
            Witness(
                "each token is credited with the total return",
                "responses '.', 'a.', 'aa' of a uniform policy with rewards 0, 0, 1; a share κ of what was paid before "
                "is left out",
                "|expected gradient − ∇J| / |∇J| = 0",
                lambda share: (_relative_bias(share), 0),
                "κ",
                0,
                1,
            ),
        ),
    )


def _relative_bias(share: Expr) -> Expr:
    half = Rational(1, 2)
    tree = Tree({s: {"a": half, ".": half} for s in ("", "a")}, {".": Integer(0), "a.": Integer(0), "aa": Integer(1)})

    def weights(y: str) -> list[Expr]:
        return [tree.reward[y] * (1 - share * Rational(t, len(y))) for t in range(len(y))]

    true = tree.gradient(tree.reward.__getitem__)
    bias = tree.expectation(lambda y: tree.score(y, weights(y))) - true
    return sqrt(bias.dot(bias) / true.dot(true))
