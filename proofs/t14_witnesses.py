"""The witnesses of T14: iterations of the exact optimum, computed from its definition."""

from collections.abc import Sequence

from sympy import Expr, Integer, Rational, S, exp, log, sqrt

from proofs.notation import p
from proofs.parts import Witness


def gain(p: Expr, β: Expr, ε: Expr) -> Expr:
    """What an iteration adds to the logit of p_ref."""
    return 1 / (β * sqrt(p * (1 - p) + ε))


def logit(p: Expr) -> Expr:
    return log(p) - log(1 - p)


def _iterate(start: Expr, inverse_β: Expr, steps: int) -> Expr:
    """p after this many iterations from p_ref = start, at ε = 1/100."""
    p_now = start
    for _ in range(steps):
        ratio = start / (1 - start) * exp(inverse_β / sqrt(p_now * (1 - p_now) + Rational(1, 100)))
        p_now = ratio / (1 + ratio)
    return p_now


def _repelling(distance: Expr) -> tuple[Expr, Expr]:
    """1 and |slope of the map| at the fixed point 1/10, ε = 0, whose logit is `distance` above p_ref's."""
    fixed = Rational(1, 10)
    β_there = 1 / (distance * sqrt(fixed * (1 - fixed)))
    step = 1 / (1 + exp(-(logit(fixed) - distance + gain(p, β_there, Integer(0)))))
    return Integer(1), abs(step.diff(p).subs(p, fixed))


def _best_odds(chances: Sequence[Expr], rewards: Sequence[Expr], share: Expr | int = 1) -> Expr:
    """Odds of reward 1 of π_ref exp(κ A/β)/Z at β = 1, ε = 0, with A from π_ref itself."""
    mean = sum(c * r for c, r in zip(chances, rewards, strict=True))
    deviation = sqrt(sum(c * (r - mean) ** 2 for c, r in zip(chances, rewards, strict=True)))
    masses = [c * exp(share * (r - mean) / deviation) for c, r in zip(chances, rewards, strict=True)]
    right = sum(mass for mass, r in zip(masses, rewards, strict=True) if r == 1)
    return right / (sum(masses) - right)


def witnesses() -> tuple[Witness, ...]:
    """One or more for each assumption."""

    near, quarter = 1 - Rational(1, 10**6), Rational(1, 4)
    three = (quarter, quarter, S.Half)
    of_quarter = Rational(1, 3) * exp(gain(quarter, Integer(1), Integer(0)))
    growing = "p_ref ≥ 1/2, for growth and convergence"
    return (
        Witness(
            "the maximum over all policies is reached in each iteration",
            "odds",
            "p = p_ref = 1/4, β = 1, ε = 0; the policy is π_ref exp(κ A/β)/Z",
            "odds = 1/3 × exp(1/√(p(1−p)))",
            lambda share: (_best_odds((quarter, 1 - quarter), (S.One, S.Zero), share), of_quarter),
            "κ",
            1,
            S.Half,
        ),
        Witness(
            "rewards are 0 or 1; population mean and deviation",
            "odds",
            "three responses with chances 1/4, 1/4, 1/2 and rewards 1, c, 0; β = 1, ε = 0",
            "odds of reward 1 = 1/3 × exp(1/√(p(1−p))), p = 1/4",
            lambda middle: (_best_odds(three, (S.One, middle, S.Zero)), of_quarter),
            "c",
            0,
            S.Half,
        ),
        Witness(
            "β is finite",
            "above the reference",
            "p_ref = 1/2, ε = 1/100; the coefficient is given as 1/β",
            "p₁ > p_ref",
            lambda inverse: (_iterate(Rational(1, 2), inverse, 1), Rational(1, 2)),
            "1/β",
            1,
            0,
            relation=">",
        ),
        Witness(
            "0 < p_ref < 1",
            "above the reference",
            "β = 1, ε = 1/100",
            "p₁ > p_ref",
            lambda start: (_iterate(start, Integer(1), 1), start),
            "p_ref",
            Rational(1, 2),
            0,
            relation=">",
        ),
        Witness(
            "ε > 0, for a fixed point",
            "existence",
            "p_ref = 1/2, β = 1, p = 1 − 10⁻⁶",
            "log odds(p) ≥ log of the right side",
            lambda floor: (logit(near), gain(near, Integer(1), floor)),
            "ε",
            Rational(1, 100),
            0,
            relation="≥",
        ),
        Witness(
            f"{growing} (growth)",
            "growth",
            "β = 1, ε = 1/100",
            "p₂ ≥ p₁",
            lambda start: (_iterate(start, Integer(1), 2), _iterate(start, Integer(1), 1)),
            "p_ref",
            Rational(1, 2),
            Rational(1, 100),
            relation="≥",
        ),
        Witness(
            f"{growing} (convergence)",
            "map slope",
            "fixed point p = 1/10 at ε = 0, β such that its logit is D above that of p_ref",
            "1 ≥ |slope of the map at the fixed point|",
            _repelling,
            "D",
            2,
            4,
            relation="≥",
        ),
    )
