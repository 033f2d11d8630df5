"""T15: what an optimiser sees of c(p): of a constant nothing but another ε, of a changing one how much it changes."""

from sympy import Function, Lambda, Rational, S, Sum, sqrt, symbols

from proofs import t15_changes, t15_moments, t15_witnesses
from proofs.notation import N, j, n
from proofs.parts import Assumption, Definition, Step
from proofs.t15_changes import (
    C,
    D,
    M,
    M_c,
    M_d,
    Q,
    Q_d,
    U,
    V,
    V_c,
    above,
    below,
    between,
    k1,
    k2,
    least,
    most,
    r,
    x1,
    x2,
    y1,
    y2,
    z1,
    z2,
    δ,
    λ,
)
from proofs.t15_moments import a, b, d, gradient, over, s, v, β, β1, β2
from proofs.theorem import Theorem

ε = symbols("epsilon", nonnegative=True)
slope, decay, θ = symbols("u mu theta", real=True)
ω, ratio, coefficient = (Function(name, positive=True) for name in ("omega", "k", "c"))
direction = Function("u", real=True)


def theorem() -> Theorem:
    return Theorem(
        id="T15",
        title="Optimisers and c(p)",
        words=(
            "Let one coordinate of the gradients of steps 1 to n be c(s) times v(s), where the c(s) are the "
            "coefficients of a rule. Adam's moments are weighted sums of them and of their squares. A constant "
            "coefficient leaves Adam's step {factor}: nothing but another ε, and nothing at all where ε is 0. A "
            "gradient that is divided by its norm, as clipping does while it is active, knows no coefficient, however "
            "it changes. With weights a and b of the two moments no step is longer than the root of Q, the memory, "
            "which is {memory} at step n. If the coefficients are within a share δ of a constant, the step differs "
            "from that with the constant by no more than twice the root of Q times δ over one less δ; if they lie "
            "between two numbers, by the root of Q times {in quotients}. Over several prompts a factor that is common "
            "to all drops out, and the quotients of the coefficients stay. Weight decay in the gradient, unlike decay "
            "beside it, is divided by the coefficient."
        ),
        results=(
            "first moment as a sum",
            "second moment as a sum",
            "weights sum",
            "memory",
            "factor",
            "constant factor",
            "what ε does",
            "normalised",
            "longest step",
            "longest change of the mean",
            "memory of the change",
            "least root",
            "largest root",
            "split",
            "bound",
            "bound below",
            "in quotients",
            "several prompts",
            "decay in the gradient",
        ),
        definitions=(*t15_moments.definitions(), *_of_factors(), *t15_changes.definitions(), *_of_prompts()),
        assumptions=(
            Assumption("c > 0"),
            Assumption("the gradient of every rule is c(p) ∇p"),
            Assumption("one prompt: all gradients share the coefficient"),
            Assumption("ε = 0", equations={ε: S.Zero}),
            Assumption(
                "the coefficients are within a share δ < 1 of a constant",
                equations={d(s): δ * between(above(s), below(s)), δ: k1 / (k1 + k2)},
            ),
        ),
        model=_model(),
        steps=(*t15_moments.steps(), *_factors(), *t15_changes.steps(), *_prompts()),
        witnesses=t15_witnesses.witnesses(),
        not_proved=(
            (
                "That the change D of the mean, the step U and the quotient r of the roots are of the form given in "
                "'numbers between −1 and 1' is what the steps on the longest step, the change of the mean and the two "
                "roots say, in words."
            ),
            (
                "What differs in one step moves the next gradient: the bound is for one path, and over many steps "
                "differences may grow. Where the coefficients have a constant quotient and ε = 0 they are 0, and the "
                "trajectories are the same."
            ),
        ),
        remark=(
            "With a table of logits each coordinate belongs to one prompt, so Adam divides out the coefficient of each "
            "prompt by itself, and not even the quotients stay; with shared parameters they do. A global norm for "
            "clipping couples all coordinates and keeps the quotients in either case. SGD and momentum see c as a "
            "learning rate."
        ),
    )


def _model() -> dict:
    """Two steps, n = 2: a = b = 1/2, v(s) = s, and coefficients 7/6 of the constant, δ = 1/2."""
    root = sqrt(Rational(5, 2))
    x, y = 1 / (2 * root), Rational(3, 2) / root
    half = Rational(1, 2)
    return {
        a: Lambda(s, half),
        b: Lambda(s, half),
        v: Lambda(s, s),
        d: Lambda(s, Rational(1, 6)),
        above: Lambda(s, 2),
        below: Lambda(s, 1),
        gradient: Lambda(s, 1),
        t15_moments.first: Lambda(s, 1 - half**s),
        t15_moments.second: Lambda(s, 1 - Rational(1, 3) ** s),
        coefficient: Lambda(j, 3 * j),
        ratio: Lambda(j, j),
        C: 3,
        most: 3,
        least: 1,
        β: half,
        β1: half,
        β2: Rational(1, 3),
        n: 2,
        M: Rational(3, 2),
        V: Rational(5, 2),
        Q: 1,
        M_d: Rational(1, 4),
        Q_d: Rational(1, 36),
        M_c: Rational(7, 4),
        V_c: Rational(245, 72),
        ε: 0,
        δ: half,
        k1: 1,
        k2: 1,
        D: x / 2,
        U: y,
        r: Rational(6, 7),
        x1: 1 + x,
        x2: 1 - x,
        y1: 1 + y,
        y2: 1 - y,
        z1: 3,
        z2: 4,
        j: 2,
        s: 1,
    }


def _of_factors() -> tuple[Definition, ...]:
    return (
        Definition(
            "moments of v",
            "m and V with the weights a and b of the steps, and their memory Q",
            equations={over(a(s) * v(s)): M, over(b(s) * v(s) ** 2): V, over(a(s) ** 2 / b(s)): Q},
        ),
        Definition(
            "Adam's step with the coefficient λ",
            "in learning rates",
            over(a(s) * (λ * v(s))) / (sqrt(over(b(s) * (λ * v(s)) ** 2)) + ε),
        ),
        Definition("what ε takes", "Adam's step at ε = 0 less that at ε", M / sqrt(V) - M / (sqrt(V) + ε)),
        Definition(
            "gradient over its norm",
            "N coordinates u(j), and the coefficient λ",
            λ * direction(j) / sqrt(Sum((λ * direction(j)) ** 2, (j, 1, N))),
        ),
        Definition("room for the step", "V less m²/Q", V - M**2 / Q),
    )


def _factors() -> tuple[Step, ...]:
    step = over(a(s) * (λ * v(s))) / (sqrt(over(b(s) * (λ * v(s)) ** 2)) + ε)
    unit = Sum(direction(j) ** 2, (j, 1, N))
    room = over((b(s) * v(s) - M / Q * a(s)) ** 2 / b(s))
    return (
        Step(
            "A coefficient that is the same in all steps divides ε, and does nothing else.",
            step,
            M / (sqrt(V) + ε / λ),
            "Pull λ out of both sums.",
            begins="Adam's step with the coefficient λ",
            given=("moments of v",),
            name="factor",
        ),
        Step(
            "At ε = 0 it does nothing.",
            M / (sqrt(V) + ε / λ),
            M / sqrt(V),
            "0/λ = 0.",
            given=("ε = 0",),
            name="constant factor",
        ),
        Step(
            "What ε takes from a step, as a share of it.",
            M / sqrt(V) - M / (sqrt(V) + ε),
            M / sqrt(V) * (ε / (sqrt(V) + ε)),
            "Common denominator.",
            begins="what ε takes",
            name="what ε does",
        ),
        Step(
            "A gradient divided by its norm knows no coefficient.",
            λ * direction(j) / sqrt(Sum((λ * direction(j)) ** 2, (j, 1, N))),
            direction(j) / sqrt(unit),
            "Cancel λ.",
            begins="gradient over its norm",
            name="normalised",
        ),
        Step(
            "V is m²/Q and a sum of squares …",
            V - M**2 / Q,
            room,
            "Complete the square.",
            begins="room for the step",
            given=("moments of v",),
        ),
        Step("… so (m/√V)² is at most Q.", room, S.Zero, "Sum of squares.", relation="≥", name="longest step"),
    )


def _of_prompts() -> tuple[Definition, ...]:
    return (
        Definition(
            "gradient over prompts",
            "prompt j has the probability ω(j) and the coefficient c(j)",
            Sum(ω(j) * coefficient(j) * direction(j), (j, 1, N)),
        ),
        Definition(
            "quotients", "k(j) is c(j) over that of one prompt, C", equations={coefficient(j): C * ratio(j)}, every=(j,)
        ),
        Definition("gradient with decay", "L2: μ θ is added to it", λ * slope + decay * θ),
    )


def _prompts() -> tuple[Step, ...]:
    return (
        Step(
            "Over several prompts a common factor drops out, and the quotients stay.",
            Sum(ω(j) * coefficient(j) * direction(j), (j, 1, N)),
            C * Sum(ω(j) * ratio(j) * direction(j), (j, 1, N)),
            "Pull C out: a factor that is the same in all steps.",
            begins="gradient over prompts",
            given=("quotients",),
            name="several prompts",
        ),
        Step(
            "A decay inside the gradient is divided by the coefficient.",
            λ * slope + decay * θ,
            λ * (slope + decay / λ * θ),
            "Pull λ out.",
            begins="gradient with decay",
            name="decay in the gradient",
        ),
    )
