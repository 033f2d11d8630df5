"""T5, first part: how many of the other responses are right, by conditioning on one response at a time."""

from collections.abc import Callable

from sympy import Expr, Function, Lambda, S, Sum, symbols, sympify

from proofs.notation import binomial_law, k, n, p, q
from proofs.parts import Cited, Definition, Step

own = symbols("o", integer=True, nonnegative=True)
advantage = Function("A", real=True)


def definitions() -> tuple[Definition, ...]:
    """The binomial law and what is summed over it."""
    return (
        Definition("binomial law", "of k right ones among n responses", binomial_law(n + 1, k)),
        Definition("mean of a function", "of the number of right ones among n + 1", mean(n + 1, advantage(own, k))),
        Definition("sum of the law", "over all k", mean(n, S.One)),
        Definition("mean of the law", "of n responses", mean(n, k)),
        Definition("second moment of the law", "E[K²] of n responses", mean(n, k**2)),
    )


def _onward(value: Expr, claim: str, result: Expr, label: str, *known: str) -> tuple[Step, ...]:
    """From n to n + 1 for the mean of `value`, by the recursion and p + q = 1."""
    put = {advantage: Lambda((own, k), value)}
    shifted = _split(lambda count: sympify(value).subs(k, count))
    return (
        Step(
            claim,
            mean(n + 1, value),
            shifted,
            "One response more.",
            begins=Cited("mean of a function", put),
            given=(Cited("one response more", put),),
        ),
        Step("Together.", shifted, result, "p + q = 1.", given=("p = 1 − q", *known), label=label),
    )


def _induction(value: Expr, claim: str, definition: str, result: Expr, steps: tuple[str, str], name: str = "") -> Step:
    label = "" if name else definition + " for all n"
    return Step(
        claim,
        mean(n, value),
        result,
        "Induction on n.",
        begins=definition,
        given=steps,
        over=n,
        name=name,
        label=label,
    )


def _start(value: Expr, claim: str, definition: str, result: Expr, label: str) -> Step:
    return Step(claim, mean(S.Zero, value), result, "The one term.", begins=Cited(definition, {n: S.Zero}), label=label)


def steps() -> tuple[Step, ...]:
    """How many of the other responses are right: the law, its sum, its mean and its second moment."""

    return (
        Step(
            "Of n + 1 responses k are right if the last is right and k − 1 before it, or wrong and k before it.",
            binomial_law(n + 1, k),
            p * binomial_law(n, k - 1) + q * binomial_law(n, k),
            "Pascal's rule.",
            begins="binomial law",
            name="counting",
        ),
        Step(
            "So a mean over n + 1 responses consists of two, over the first n.",
            mean(n + 1, advantage(own, k)),
            _split(lambda count: advantage(own, count)),
            "Pascal's rule; C(n, −1) = C(n, n + 1) = 0.",
            begins="mean of a function",
            label="one response more",
        ),
        _start(S.One, "No responses, none right.", "sum of the law", S.One, "sum at 0"),
        *_onward(S.One, "The sum for n + 1 responses …", mean(n, S.One), "sum at n + 1"),
        _induction(
            S.One,
            "The probabilities sum to 1 for every n.",
            "sum of the law",
            S.One,
            ("sum at 0", "sum at n + 1"),
            "total probability",
        ),
        _start(k, "The mean for no responses.", "mean of the law", S.Zero, "mean at 0"),
        *_onward(k, "The mean for n + 1 responses …", mean(n, k) + p, "mean at n + 1", "total probability"),
        _induction(k, "The mean is n p.", "mean of the law", n * p, ("mean at 0", "mean at n + 1")),
        _start(k**2, "The second moment for no responses.", "second moment of the law", S.Zero, "second at 0"),
        *_onward(
            k**2,
            "The second moment for n + 1 responses …",
            mean(n, k**2) + 2 * n * p**2 + p,
            "second at n + 1",
            "mean of the law for all n",
            "total probability",
        ),
        _induction(
            k**2,
            "The second moment is n p + n (n − 1) p².",
            "second moment of the law",
            n * p + n * (n - 1) * p**2,
            ("second at 0", "second at n + 1"),
        ),
    )


def mean(size: Expr, value: Expr) -> Sum:
    """E[value] over the number k of right ones among `size` responses."""
    return Sum(binomial_law(size, k) * value, (k, 0, size))


def _split(value: Callable[[Expr], Expr]) -> Expr:
    """The mean of value(k) over n + 1 responses by that of the last."""
    return p * mean(n, value(k + 1)) + q * mean(n, value(k))
