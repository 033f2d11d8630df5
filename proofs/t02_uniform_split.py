"""T2: spreading the reward over the tokens changes nothing if each is credited with the total, and else biases."""

from sympy import Derivative, Expr, Function, Integer, Lambda, Rational, S, Sum, Symbol, exp, log, sqrt

from proofs.instances import Tree
from proofs.notation import L, N, j, t, u, y, θ, π
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

r, c = Symbol("r", real=True), Symbol("c", real=True)
γ = Symbol("gamma", positive=True)
credit = Function("c", real=True)
ell = Function("ℓ", real=True)


total = Sum(π(j, θ), (j, 1, N))
paid = Sum(γ ** (u - 1) * r / L, (u, 1, L))
sample = Sum(Derivative(ell(t, θ), θ) * paid, (t, 1, L))
to_go, left_out = Sum(r / L, (u, t, L)), Sum(r / L, (u, 1, t - 1))
baseline = Sum(π(j, θ) * c * Derivative(log(π(j, θ)), θ), (j, 1, N))
later = Sum(π(j, θ) * credit(j) * Derivative(log(π(j, θ)), θ), (j, 1, N))


def theorem() -> Theorem:
    return Theorem(
        id="T2",
        title="Uniform split",
        words=(
            "Pay every token an equal share of the reward instead of paying it at the end. If each token is credited "
            "with the total return, the gradient of every sample is the same. If it is credited with the return from "
            "itself on, token t has the weight {reward-to-go}, and the expected gradient is another one: the share "
            "depends on tokens still to come, so leaving out what was paid before is not a baseline."
        ),
        results=("total return", "reward-to-go", "left out", "baseline", "bias"),
        definitions=(
            Definition("gradient with the total return", "token u is paid γ^(u−1) r/L; ℓ(t, θ) = log π(a_t)", sample),
            Definition("return from token t", "of the shares r/L", to_go),
            Definition("what is left out", "the shares paid before token t", left_out),
            Definition("effect of leaving out c", "an amount that is settled before the action j", baseline),
            Definition("effect of leaving out c(j)", "an amount that depends on what the action leads to", later),
            Definition("policy", "the probabilities π(j) sum to 1", equations={total: S.One}),
        ),
        assumptions=(Assumption("γ = 1", {γ: S.One}), Assumption("each token is credited with the total return")),
        model={π: Lambda((y, θ), exp(y * θ) / (exp(θ) + exp(2 * θ))), N: 2, θ: Rational(1, 3), γ: 1},
        steps=(
            *_weights(),
            *_left_out(),
        ),
        witnesses=_witnesses(),
    )


def _weights() -> tuple[Step, ...]:
    """What the total return and the return from a token on weigh it with, and what lies between."""
    return (
        Step(
            "With the total return, the gradient of one sample is that of the terminal reward.",
            sample,
            r * Derivative(Sum(ell(t, θ), (t, 1, L)), θ),
            "The shares add up to r, the weight of each token.",
            begins="gradient with the total return",
            given=("γ = 1",),
            name="total return",
        ),
        Step(
            "With the return from t on, token t has the weight r (L−t+1)/L.",
            to_go,
            r * (L - t + 1) / L,
            "Sum of L − t + 1 equal terms.",
            begins="return from token t",
            name="reward-to-go",
        ),
        Step(
            "What is left out is (t − 1) r/L.",
            left_out,
            (t - 1) * r / L,
            "Sum of t − 1 equal terms.",
            begins="what is left out",
            name="left out",
        ),
    )


def _left_out() -> tuple[Step, ...]:
    """Leaving out what is settled before a token changes no mean; leaving out what follows from it does."""
    return (
        Step(
            "Leaving out an amount c that is settled before token t …",
            baseline,
            c * Derivative(total, θ),
            "π ∂ log π = ∂π; c does not depend on the action j.",
            begins="effect of leaving out c",
        ),
        Step(
            "… changes no expectation, for probabilities sum to 1.",
            c * Derivative(total, θ),
            S.Zero,
            "Derivative of 1.",
            given=("policy",),
            name="baseline",
        ),
        Step(
            "But an amount c(j) that depends on what token t leads to, as (t−1) r/L does, changes it by its own "
            "gradient.",
            later,
            Derivative(Sum(π(j, θ) * credit(j), (j, 1, N)), θ),
            "The same without taking c out of the sum.",
            begins="effect of leaving out c(j)",
            name="bias",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "γ = 1",
            "total return",
            "a response of two tokens with reward 1, paid 1/2 and γ/2",
            "total return = 1",
            lambda discount: ((1 + discount) / 2, 1),
            "γ",
            1,
            Rational(9, 10),
        ),
        Witness(
            "each token is credited with the total return",
            "total return",
            "responses '.', 'a.', 'aa' of a uniform policy with rewards 0, 0, 1; a share κ of what was paid before "
            "is left out",
            "|expected gradient − ∇J| / |∇J| = 0",
            lambda share: (_relative_bias(share), 0),
            "κ",
            0,
            1,
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
