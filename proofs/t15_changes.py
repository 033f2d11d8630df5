"""T15, last part: how much a changing coefficient changes a step."""

from sympy import Expr, Function, S, Sum, sqrt, symbols

from proofs.parts import Definition, Step
from proofs.t15_moments import a, b, d, over, s, v

λ, V, Q, Q_d, V_c, r, C = symbols("lambda V Q Q_d V_c r C", positive=True)


M, M_c, M_d, D, U = symbols("m m_c m_d D U", real=True)


δ, k1, k2, x1, x2, y1, y2, z1, z2 = symbols("delta k_1 k_2 x_1 x_2 y_1 y_2 z_1 z_2", positive=True)


most, least = symbols("c_max c_min", positive=True)


above, below = Function("h_1", positive=True), Function("h_2", positive=True)


def between(upper: Expr, lower: Expr) -> Expr:
    """Any number strictly between −1 and 1, by two positive letters."""
    return (upper - lower) / (upper + lower)


def definitions() -> tuple[Definition, ...]:
    spread = over((a(s) * d(s)) ** 2 / b(s))
    return (
        Definition(
            "moments of the change",
            "the coefficients are 1 + d(s) times a constant",
            equations={over(a(s) * d(s) * v(s)): M_d, spread: Q_d},
        ),
        Definition(
            "room for the change", "V less the square of the change of the mean over its memory", V - M_d**2 / Q_d
        ),
        Definition("memory at δ", "δ² Q less the memory of the change", δ**2 * over(a(s) ** 2 / b(s)) - spread),
        Definition(
            "root above", "V with coefficients, less (1 − δ)² V", _second() - (1 - δ) ** 2 * over(b(s) * v(s) ** 2)
        ),
        Definition(
            "root below", "(1 + δ)² V less V with coefficients", (1 + δ) ** 2 * over(b(s) * v(s) ** 2) - _second()
        ),
        Definition(
            "change of the step", "with coefficients and with the constant alone", M_c / sqrt(V_c) - M / sqrt(V)
        ),
        Definition(
            "in units of √V",
            "U is the step, D the change of the mean, r the quotient of the roots",
            equations={M: sqrt(V) * U, M_c: sqrt(V) * (U + D), V_c: V / r**2},
        ),
        Definition(
            "numbers between −1 and 1",
            "U = √Q y, D = δ √Q x, r = 1 + δ/(1 − δ) z",
            equations={
                D: δ * sqrt(Q) * between(x1, x2),
                U: sqrt(Q) * between(y1, y2),
                r: 1 + δ / (1 - δ) * between(z1, z2),
            },
        ),
        *(
            Definition(
                f"room {where} the change",
                f"the bound {words} the change of the step",
                2 * sqrt(Q) * δ / (1 - δ) + sign * (D * r + U * (r - 1)),
            )
            for where, words, sign in (("above", "less", -1), ("below", "and", 1))
        ),
        Definition(
            "δ of an interval",
            "the coefficients lie between c_min and c_max; the constant is their middle",
            equations={δ: (most - least) / (most + least)},
        ),
        Definition("bound over √Q", "of the change of a step", 2 * δ / (1 - δ)),
    )


def _second() -> Sum:
    return over(b(s) * ((1 + d(s)) * v(s)) ** 2)


_NEAR = "the coefficients are within a share δ < 1 of a constant"


def steps() -> tuple[Step, ...]:
    """The mean and the root of the second moment each change little, and so does the step."""
    return (*_mean(), *_root(), *_step())


def _mean() -> tuple[Step, ...]:
    spread = over((a(s) * d(s)) ** 2 / b(s))
    square = over((b(s) * v(s) - M_d / Q_d * (a(s) * d(s))) ** 2 / b(s))
    share = above(s) / (above(s) + below(s)), below(s) / (above(s) + below(s))
    apart = over(a(s) ** 2 / b(s) * 4 * δ**2 * share[0] * share[1])
    return (
        Step(
            "The change of the mean obeys the same inequality …",
            V - M_d**2 / Q_d,
            square,
            "Complete the square.",
            begins="room for the change",
            given=("moments of v", "moments of the change"),
        ),
        Step(
            "… with a memory of its own …",
            square,
            S.Zero,
            "Sum of squares.",
            relation="≥",
            name="longest change of the mean",
        ),
        Step(
            "… which falls short of δ² Q by a sum of products …",
            δ**2 * over(a(s) ** 2 / b(s)) - spread,
            apart,
            "δ² − d² = (δ − d)(δ + d).",
            begins="memory at δ",
            given=(_NEAR,),
        ),
        Step(
            "… of positive numbers.", apart, S.Zero, "Sum of such numbers.", relation="≥", name="memory of the change"
        ),
    )


def _root() -> tuple[Step, ...]:
    share = above(s) / (above(s) + below(s)), below(s) / (above(s) + below(s))
    lower = over(b(s) * v(s) ** 2 * 2 * δ * share[0] * (2 * k2 / (k1 + k2) + 2 * δ * share[0]))
    upper = over(b(s) * v(s) ** 2 * 2 * δ * share[1] * (2 + 2 * δ * share[0]))
    return (
        Step(
            "The root of the second moment shrinks by at most the share δ …",
            _second() - (1 - δ) ** 2 * over(b(s) * v(s) ** 2),
            lower,
            "(1 + d)² − (1 − δ)² is a product.",
            begins="root above",
            given=(_NEAR,),
        ),
        Step("… for no term is negative …", lower, S.Zero, "Sum of such terms.", relation="≥", name="least root"),
        Step(
            "… and grows by at most that share.",
            (1 + δ) ** 2 * over(b(s) * v(s) ** 2) - _second(),
            upper,
            "(1 + δ)² − (1 + d)² is a product.",
            begins="root below",
            given=(_NEAR,),
        ),
        Step("Here, too, no term is negative.", upper, S.Zero, "Sum of such terms.", relation="≥", name="largest root"),
    )


def _step() -> tuple[Step, ...]:
    inside = "numbers between −1 and 1"
    steps = [
        Step(
            "A step changes with its mean and with its root.",
            M_c / sqrt(V_c) - M / sqrt(V),
            D * r + U * (r - 1),
            "In units of √V.",
            begins="change of the step",
            given=("in units of √V",),
            name="split",
        ),
    ]
    for where, name, sign in (("above", "bound", -1), ("below", "bound below", 1)):
        room = _room(sign)
        steps += [
            Step(
                "What the bound leaves is a multiple of 1 ± x w + 1 ± y z, w = (1 − δ) r, each in products …",
                2 * sqrt(Q) * δ / (1 - δ) + sign * (D * r + U * (r - 1)),
                room,
                "2 (1 − x w) = (1 − x)(1 + w) + (1 + x)(1 − w).",
                begins=f"room {where} the change",
                given=(_NEAR, inside),
            ),
            Step("… of positive numbers.", room, S.Zero, "Sum of such numbers.", relation=">", name=name),
        ]
    return (
        *steps,
        Step(
            "With the middle of the interval as the constant the bound is √Q times this.",
            2 * δ / (1 - δ),
            most / least - 1,
            "Cancel.",
            begins="bound over √Q",
            given=("δ of an interval",),
            name="in quotients",
        ),
    )


def _room(sign: int) -> Expr:
    """δ√Q/(1 − δ) times (1 ± x w) + (1 ± y z) in products of positive numbers."""
    gap = k1 / (k1 + k2)
    low, high = (x2, x1) if sign < 0 else (x1, x2)
    less, more = 2 * low / (x1 + x2), 2 * high / (x1 + x2)
    w_less, w_more = 2 * gap * z2 / (z1 + z2), 2 * k2 / (k1 + k2) + 2 * gap * z1 / (z1 + z2)
    y_low, y_high = (y2, y1) if sign < 0 else (y1, y2)
    y_less, y_more = 2 * y_low / (y1 + y2), 2 * y_high / (y1 + y2)
    z_less, z_more = 2 * z2 / (z1 + z2), 2 * z1 / (z1 + z2)
    both = less * w_more + more * w_less + y_less * z_more + y_more * z_less
    return k1 / k2 * sqrt(Q) * both / 2
