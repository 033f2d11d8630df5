"""The witnesses of T15: two steps of Adam, or one, computed from its recursion."""

from collections.abc import Sequence

from sympy import Expr, Rational, S, sign, sqrt

from proofs.instances import bandit, grpo, over_length, proportions
from proofs.parts import Witness


def adam(gradients: Sequence[Expr], ε: Expr = S.Zero) -> Expr:
    """The last step, in learning rates, with β₁ = β₂ = 1/2 and bias correction."""
    half = Rational(1, 2)
    first = second = S.Zero
    for gradient in gradients:
        first, second = half * first + half * gradient, half * second + half * gradient**2
    correction = 1 - half ** len(gradients)
    return (first / correction) / (sqrt(second / correction) + ε)


gradients = (Rational(1), Rational(-3))
quarter, half = Rational(1, 4), Rational(1, 2)


def _lengths(power: Expr) -> tuple[Expr, Expr]:
    tree = bandit((".", quarter, 1), ("a.", quarter, 0), ("aa", half, 1))
    gradient = tree.group_gradient(grpo, 3, over_length(power))
    truth = tree.gradient(tree.reward.__getitem__)
    return proportions(gradient / sqrt(gradient.dot(gradient)), truth / sqrt(truth.dot(truth)))


def _changed(first: Expr) -> tuple[Expr, Expr]:
    """2√Q δ/(1 − δ) at δ = 1/10 with β₁ = β₂ = 1/2, and how far coefficients 1 ± … move the second step."""
    share = Rational(1, 10)
    weights = (Rational(1, 3), Rational(2, 3))
    memory = sum(weights)  # Σ a²/b with a = b
    bound = 2 * sqrt(memory) * share / (1 - share)
    moved = adam([first * gradients[0], gradients[1]]) - adam(gradients)
    return bound, abs(moved)


def witnesses() -> tuple[Witness, ...]:
    """One for each assumption."""

    return (
        Witness(
            "c > 0",
            "constant factor",
            "gradients 1 and −3, times λ; β₁ = β₂ = 1/2, ε = 0",
            "Adam's second step with the factor = without it",
            lambda factor: (adam([factor * g for g in gradients]), adam(gradients)),
            "λ",
            2,
            -2,
        ),
        Witness(
            "ε = 0",
            "constant factor",
            "the same gradients, times 2",
            "Adam's second step with the factor = without it",
            lambda ε: (adam([2 * g for g in gradients], ε), adam(gradients, ε)),
            "ε",
            0,
            Rational(1, 10),
        ),
        Witness(
            "the gradient of every rule is c(p) ∇p",
            "normalised",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; GRPO, G = 3, weights A/L^λ; "
            "gradients divided by their norms",
            "E[gradient] / ∇p in the coordinate where it is smallest = where it is largest",
            _lengths,
            "λ",
            0,
            1,
        ),
        Witness(
            "one prompt: all gradients share the coefficient",
            "constant factor",
            "two prompts push one parameter by 1 and by −1/2, the second with weight ω; coefficients 1 and 4",
            "Adam's first step = with equal coefficients",
            lambda weight: (adam([1 - weight * 4 * half]), sign(1 - weight * half)),
            "ω",
            0,
            1,
        ),
        Witness(
            "the coefficients are within a share δ < 1 of a constant",
            "bound",
            "the same gradients, the first times c; δ = 1/10, β₁ = β₂ = 1/2",
            "bound ≥ change of the second step",
            _changed,
            "c",
            Rational(11, 10),
            9,
            relation="≥",
        ),
    )
