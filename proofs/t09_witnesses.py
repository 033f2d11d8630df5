"""The witnesses of T9: hazards of ending on small trees, enumerated, and one infinite sum."""

from collections.abc import Sequence

from sympy import Expr, Integer, Rational, S, Sum, log, oo, symbols

from proofs.instances import Rule, Tree, grpo, over_length, three_levels
from proofs.parts import Witness

tokens = symbols("n", integer=True, positive=True)


def _drift(weight_power: Expr, right: Expr, wrong: Expr, rule: Rule = grpo, *, by_length: Expr | int = 0) -> Expr:
    """Drift of the logit that all hazards share; the first token decides what is right, or the length does."""
    policy = {"": {"r": Rational(1, 2), "w": Rational(1, 2)}}
    rewards = {}
    for kind, hazard in (("r", right), ("w", wrong)):
        for tail in ("", "a"):
            policy[kind + tail] = {".": hazard, "a": 1 - hazard}
        for tail in (".", "a.", "aa"):
            rewards[kind + tail] = Integer(tail == "." if by_length else kind == "r")
    tree = Tree(policy, rewards)
    gradient = tree.group_gradient(rule, 2, over_length(weight_power))
    ending = [token == "." for actions in policy.values() for token in actions]
    return sum((g for g, ends in zip(gradient, ending, strict=True) if ends), S.Zero)


def _negatives(rewards: Sequence[Expr]) -> list[Expr]:
    return [r - 1 for r in rewards]


def _horizon(inverse: Expr) -> tuple[Expr, Expr]:
    """The mean of score/L at h = 1/2, if responses are cut after T tokens, and f(1/2)."""
    half, formula = S.Half, log(2) - S.Half
    if inverse == 0:
        return Sum(half**tokens * (1 / tokens - half), (tokens, 1, oo)).doit(), formula
    last = 1 / inverse
    ended = sum(half**size * (Rational(1, size) - half) for size in range(1, int(last) + 1))
    return ended - half**last * half, formula


def witnesses() -> tuple[Witness, ...]:
    """One for each assumption."""

    third = Rational(1, 3)
    instance = "token r (right) or w (wrong), each 1/2, then a hazard of ending at each of two more tokens; GRPO, G = 2"
    return (
        Witness(
            "rewards are 0 or 1, for the gradient",
            "gradient",
            "three responses of one token with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; GRPO, G = 3",
            "E[gradient] / ∇E[r/L], r = 1 for success, in the coordinate where it is smallest = where it is largest",
            lambda middle: three_levels(grpo, middle),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "hazard model: constant hazard, no horizon",
            "rate",
            "h = 1/2, A = 1, responses cut after T tokens",
            "mean of score/L = f(1/2)",
            _horizon,
            "1/T",
            0,
            S.Half,
        ),
        Witness(
            "hazard model: correctness is independent of the length",
            "shared hazard",
            f"{instance}; hazard 1/3 for both; at κ = 1 instead, a response is right if it ends at once",
            "drift of the logit shared by all hazards = 0",
            lambda other: (_drift(S.One, third, third, by_length=other), S.Zero),
            "κ",
            0,
            1,
        ),
        Witness(
            "one hazard for right and wrong responses, for the cancellation",
            "shared hazard",
            f"{instance}; hazard 1/3 if right, 1/3 − δ if wrong",
            "drift of the logit shared by all hazards = 0",
            lambda less: (_drift(S.One, third, third - less), S.Zero),
            "δ",
            0,
            Rational(1, 6),
        ),
        Witness(
            "advantages sum to zero, for the cancellation",
            "shared hazard",
            f"{instance.replace('GRPO', 'GRPO less b as advantage')}; hazard 1/3 for both",
            "drift of the logit shared by all hazards = 0",
            lambda offset: (_drift(S.One, third, third, lambda rewards: [a - offset for a in grpo(rewards)]), S.Zero),
            "b",
            0,
            Rational(1, 2),
        ),
        Witness(
            "the weight of a token is A/L",
            "sign of the rate",
            f"{instance.replace('GRPO', 'negatives alone, A = −(1 − r)')}; hazard 1/3 for both; weights A/L^λ",
            "0 > drift of the logit shared by all hazards (longer responses)",
            lambda power: (S.Zero, _drift(power, third, third, _negatives)),
            "λ",
            1,
            0,
            relation=">",
        ),
    )
