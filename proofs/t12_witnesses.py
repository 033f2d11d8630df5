"""T12 without its assumptions."""

from collections.abc import Callable

from sympy import Expr, Integer, Rational, S

from proofs.instances import Tree
from proofs.parts import Witness


def witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "tabular logits on a prefix tree: a logit acts at one state, which is visited at most once",
            "never less",
            "two tokens, a with chance 4/5 at each; only 'aa' has reward 1; the coordinate is the first token's logit "
            "plus κ times the second's (κ = 1: one parameter for both, or one state that is visited twice)",
            "variance with R − V ≥ variance with A",
            _tied,
            "κ",
            0,
            1,
            relation="≥",
        ),
        Witness(
            "exact V and A",
            "never less",
            "one token, uniform on two, rewards 1 and 0; the advantages ± 1/2 are known up to ± κ, each with chance "
            "1/2, independent of the token",
            "variance with R − V ≥ variance with A",
            _noisy,
            "κ",
            0,
            1,
            relation="≥",
        ),
    )


def _noisy(error: Expr) -> tuple[Expr, Expr]:
    """Variances in the logit of the first action; R − V is ± 1/2 exactly, and the known A is A ± κ."""
    half = S.Half

    def variance(errors: tuple[Expr, ...]) -> Expr:
        values = [(a + e) * score for a, score in ((half, half), (-half, -half)) for e in errors]
        return sum(x**2 for x in values) / len(values) - (sum(values) / len(values)) ** 2

    return variance((S.Zero,)), variance((error, -error))


def _tied(share: Expr) -> tuple[Expr, Expr]:
    right = {"a": Rational(4, 5), "b": Rational(1, 5)}
    tree = Tree(
        {"": right, "a": right, "b": right}, {"aa": Integer(1), "ab": Integer(0), "ba": Integer(0), "bb": Integer(0)}
    )

    def value(prefix: str) -> Expr:
        return (
            sum(chance * value(prefix + token) for token, chance in right.items())
            if len(prefix) < 2
            else tree.reward[prefix]
        )

    def variance(credit: Callable[[str, int], Expr]) -> Expr:
        def coordinate(y: str) -> Expr:
            first, second = (credit(y, t) * (Integer(y[t] == "a") - right["a"]) for t in range(2))
            return first + share * second

        return tree.expectation(lambda y: coordinate(y) ** 2) - tree.expectation(coordinate) ** 2

    return (
        variance(lambda y, t: tree.reward[y] - value(y[:t])),
        variance(lambda y, t: value(y[: t + 1]) - value(y[:t])),
    )
