"""T15, first part: Adam's moments are weighted sums of all gradients, and how much of them it can remember."""

from collections.abc import Callable

from sympy import Expr, Function, S, Sum, symbols

from proofs.notation import n
from proofs.parts import Cited, Definition, Step

s = symbols("s", integer=True)
β, β1, β2 = symbols("beta beta_1 beta_2", positive=True)
gradient = Function("g", real=True)
first, second = Function("m", real=True), Function("v_", real=True)
a, b = Function("a", positive=True), Function("b", positive=True)
d, v = Function("d", real=True), Function("v", real=True)


def over(summand: Expr) -> Sum:
    """The sum over the steps 1 … n."""
    return Sum(summand, (s, 1, n))


def weights(decay: Expr, size: Expr = n) -> Sum:
    """Σ (1 − β) β^(n−s) over the steps."""
    return Sum((1 - decay) * decay ** (size - s), (s, 1, size))


def _moment(decay: Expr, term: Expr, size: Expr) -> Expr:
    return (1 - decay) * Sum(decay ** (size - s) * term, (s, 1, size))


_MOMENTS = (("first", first, β1, 1), ("second", second, β2, 2))


def _quotients(size: Expr = n) -> Sum:
    """Σ (β₁²/β₂)^(n−s) over the steps."""
    return Sum(β1 ** (2 * size - 2 * s) * β2 ** (s - size), (s, 1, size))


_QUOTIENTS = (1 - β1 ** (2 * n) * β2 ** (-n)) / (1 - β1**2 / β2)


def _corrected() -> Sum:
    mean = (1 - β1) * β1 ** (n - s) / (1 - β1**n)
    square = (1 - β2) * β2 ** (n - s) / (1 - β2**n)
    return over(mean**2 / square)


def definitions() -> tuple[Definition, ...]:
    """The recursions, and the memory of the two moments."""
    return (
        *(
            Definition(
                f"{name} moment",
                "0 before the first step; each step keeps the share β and adds the rest of the gradient"
                + ("" if power == 1 else ", squared"),
                moment(n),
                equations={
                    moment(0): S.Zero,
                    moment(n + 1): decay * moment(n) + (1 - decay) * gradient(n + 1) ** power,
                },
                every=(n,),
            )
            for name, moment, decay, power in _MOMENTS
        ),
        Definition("sum of the weights", "of all gradients up to step n", weights(β)),
        Definition("sum of the quotients", "(β₁²/β₂)^(n−s)", _quotients()),
        Definition(
            "memory at step n", "Σ a²/b of the weights, each divided by their sum (bias correction)", _corrected()
        ),
    )


def steps() -> tuple[Step, ...]:
    """Each moment by induction; the weights sum to 1 − β^n; the memory in closed form."""
    found: list[Step] = []
    for name, moment, decay, power in _MOMENTS:
        begins = f"{name} moment"
        found += [
            Step(
                "Before the first step nothing is summed.",
                moment(0),
                _moment(decay, gradient(s) ** power, S.Zero),
                "The empty sum.",
                begins=Cited(begins, {n: S.Zero}),
                given=(begins,),
                label=f"{begins} at 0",
            ),
            Step(
                "One step more.",
                moment(n + 1),
                decay * moment(n) + (1 - decay) * gradient(n + 1) ** power,
                "The recursion.",
                begins=Cited(begins, {n: n + 1}),
                given=(begins,),
                label=f"{begins} at n + 1",
            ),
            Step(
                f"So the {begins} is a weighted sum over all steps.",
                moment(n),
                _moment(decay, gradient(s) ** power, n),
                "Induction on n.",
                begins=begins,
                given=(f"{begins} at 0", f"{begins} at n + 1"),
                over=n,
                name=begins + " as a sum",
            ),
        ]
    return (
        *found,
        *_geometric(
            "sum of the weights",
            weights,
            lambda total: β * total + 1 - β,
            1 - β**n,
            "The weights sum to this: what bias correction divides by.",
            name="weights sum",
        ),
        *_geometric(
            "sum of the quotients",
            lambda decay, size=n: _quotients(size),
            lambda total: β1**2 / β2 * total + 1,
            _QUOTIENTS,
            "The quotients a²/b, but for a factor, sum to this.",
            label="quotients sum",
        ),
        Step(
            "The memory Q of the two moments at step n.",
            _corrected(),
            (1 - β1) ** 2 * (1 - β2**n) / ((1 - β2) * (1 - β1**n) ** 2) * _QUOTIENTS,
            "A geometric sum.",
            begins="memory at step n",
            given=("quotients sum",),
            name="memory",
        ),
    )


def _geometric(
    definition: str,
    total: Callable[..., Sum],
    onward: Callable[[Expr], Expr],
    value: Expr,
    claim: str,
    *,
    name: str = "",
    label: str = "",
) -> tuple[Step, ...]:
    """A geometric sum by induction on its number of terms."""
    return (
        Step(
            "No steps, no terms.",
            total(β, S.Zero),
            S.Zero,
            "The empty sum.",
            begins=Cited(definition, {n: S.Zero}),
            label=f"{definition} at 0",
        ),
        Step(
            "One step more.",
            total(β, n + 1),
            onward(total(β)),
            "The last term; one factor more for the others.",
            begins=Cited(definition, {n: n + 1}),
            label=f"{definition} at n + 1",
        ),
        Step(
            claim,
            total(β),
            value,
            "Induction on n.",
            begins=definition,
            given=(f"{definition} at 0", f"{definition} at n + 1"),
            over=n,
            name=name,
            label=label,
        ),
    )
