"""T13: methods that are the same on their own samples."""

from collections.abc import Sequence

from sympy import Derivative, Expr, Integer, KroneckerDelta, Rational, S, Subs, Sum, exp, log, symbols

from proofs import t03_per_sample as t03
from proofs import t05_one_direction as t05
from proofs.instances import Rule, bandit, uniform
from proofs.notation import A, G, L, i, j, k, n, p, q, t, α, θ, θ_old
from proofs.parts import Assumption, Cited, Definition, Step, Witness
from proofs.t03_per_sample import ell, length, over_tokens
from proofs.t05_one_direction import advantage, rule, w0, w1
from proofs.theorem import Theorem, specialised

x, x_old, rest = symbols("x x_old s", real=True)
REJECTING = {
    "Reinforce-Rej ±1": rule(1 - KroneckerDelta(k, G), -(1 - KroneckerDelta(k, 0))),
    "Reinforce-Rej 0/1": rule(1 - KroneckerDelta(k, G), 0),
}
"""The advantages of Reinforce-Rej: the rewards, in groups that are neither all right nor all wrong."""


drift = Sum(ell(i, t, θ) - ell(i, t, θ_old), (t, 1, length)) / length
gspo = Subs(Derivative(Sum(t03.advantage * exp(drift), (i, 1, G)) / G, θ), θ_old, θ)
token = Derivative(exp((x - x_old + rest) / L) * A, x)
likelihood = Derivative(-Sum((1 - p) ** j / j, (j, 1, G)), p)
score = ell(i, t, θ)
raft = Sum(1 * score, (i, 1, k)) + Sum(0 * score, (i, k + 1, G))


def theorem() -> Theorem:
    return Theorem(
        id="T13",
        title="Equivalences",
        words=(
            "On its own samples the gradient of GSPO is that of GRPO, on each batch. The mean over positives climbs "
            "the log-likelihood of success, expanded up to order G, which is MaxRL's objective. Reinforce-Rej with "
            "signed rewards is twice F-ISFT± in the advantage form (half and half), and with rewards 0 and 1 it is "
            "F-ISFT⁺ in that form. RAFT is F-ISFT⁺ in the cross-entropy form."
        ),
        results=("GSPO", "GSPO weight", "MaxRL objective", *REJECTING, "RAFT"),
        definitions=(
            Definition(
                "gradient of GSPO", "at θ_old; the ratio of a response is the geometric mean of its token ratios", gspo
            ),
            Definition(
                "weight of a token in GSPO",
                "the derivative in its log-probability x; s is the drift of the other tokens",
                token,
            ),
            Definition("slope of the truncated log-likelihood", "log p = −Σ_j (1−p)^j/j, cut at order G", likelihood),
            Definition("q = 1 − p", "the probability of a wrong response", equations={q: 1 - p}),
            Definition("c(p)", "the difference of the expected advantages, as in T5", w1 - w0),
            Definition("half of c(p)", "the same, halved", (w1 - w0) / 2),
            Definition("F-ISFT⁺, cross-entropy", "r = 1 for the right responses 1 … k and 0 for the others", raft),
        ),
        assumptions=(
            Assumption("ρ = 1, for GSPO"),
            Assumption("rewards are 0 or 1, for the others"),
            Assumption("all divide by the group size, or by the same number"),
        ),
        model={p: Rational(1, 3), q: Rational(2, 3)},
        after=(t03.theorem(), t05.theorem()),
        steps=_steps(),
        witnesses=_witnesses(),
    )


def _steps() -> tuple[Step, ...]:
    others = Cited("T5: total probability", {n: G - 1})
    signed, plain = ({advantage: REJECTING[name]} for name in REJECTING)
    half, zero = Cited("T5: F-ISFT, advantage form", {α: S.Half}), Cited("T5: F-ISFT, advantage form", {α: S.Zero})
    advantage_form = (1 - α) * (1 - p ** (G - 1)) + α * (1 - q ** (G - 1))
    return (
        Step(
            "GSPO's gradient at θ_old is the gradient of GRPO in T3.",
            gspo,
            over_tokens(t03.advantage * Derivative(ell(i, t, θ), θ)),
            "Chain rule, ρ = 1.",
            begins="gradient of GSPO",
            ends="T3: gradient",
            name="GSPO",
        ),
        Step(
            "Away from θ_old, GSPO gives each token of a response the same weight, A/L times the ratio of the "
            "response.",
            token,
            exp((x - x_old + rest) / L) * A / L,
            "Derivative of the exponential. So η = 0; GRPO gives ρ A/L.",
            begins="weight of a token in GSPO",
            name="GSPO weight",
        ),
        Step(
            "The truncated log-likelihood has the c(p) of the mean over positives, whose weights are r/mean.",
            likelihood,
            (1 - q**G) / p,
            "Geometric sum.",
            begins="slope of the truncated log-likelihood",
            ends="T5: mean over positives",
            given=("q = 1 − p",),
            name="MaxRL objective",
        ),
        Step(
            "Reinforce-Rej, rewards ±1: half its c(p) is that of F-ISFT±, for the groups that are all right (k = "
            "G) or all wrong (k = 0) are left out by both.",
            specialised((w1 - w0) / 2, signed),
            advantage_form.subs(α, S.Half),
            "Sum of the law without its last or first term.",
            begins=Cited("half of c(p)", signed),
            ends=half,
            given=(others,),
            name="Reinforce-Rej ±1",
        ),
        Step(
            "With rewards 0 and 1 it is that of F-ISFT⁺ (α = 0).",
            specialised(w1 - w0, plain),
            advantage_form.subs(α, S.Zero),
            "Wrong responses weigh 0 in both.",
            begins=Cited("c(p)", plain),
            ends=zero,
            given=(others,),
            name="Reinforce-Rej 0/1",
        ),
        Step(
            "RAFT sums the scores of the right responses, which it keeps; F-ISFT⁺ weighs all responses with r.",
            raft,
            Sum(score, (i, 1, k)),
            "Terms with r = 0 drop out.",
            begins="F-ISFT⁺, cross-entropy",
            name="RAFT",
        ),
    )


def _ratio_gradients(ratio: Expr) -> tuple[Expr, Expr]:
    """∂/∂x of both objectives, exp((x + 0)/2) and (exp(x) + 1)/2, on tokens with log-ratios x and 0."""
    at = {x: log(ratio)}
    return exp(x / 2).diff(x).subs(at), ((exp(x) + 1) / 2).diff(x).subs(at)


def _kept(rewards: Sequence[Expr]) -> list[Expr]:
    return [Integer(r == 1) for r in rewards]


def _mixed(rewards: Sequence[Expr]) -> list[Expr]:
    """Reinforce-Rej: a success counts 1, all else −1, if the group has both."""
    successes = sum(_kept(rewards))
    return [(2 * r - 1) * Integer(bool(0 < successes < len(rewards))) for r in _kept(rewards)]


def _both_signs(rewards: Sequence[Expr]) -> list[Expr]:
    """Twice F-ISFT± in the advantage form."""
    mean = sum(rewards) / Integer(len(rewards))
    return [Integer(bool(r > mean)) - Integer(bool(r < mean)) for r in rewards]


def _averaged(share: Expr) -> Rule:
    """RAFT where the sum over the kept responses is divided by (1 − κ) G + κ (number kept)."""

    def rule(rewards: Sequence[Expr]) -> list[Expr]:
        size, number = Integer(len(rewards)), sum(_kept(rewards))
        return [r * size / ((1 - share) * size + share * number) if r else S.Zero for r in _kept(rewards)]

    return rule


def _first(rule: Rule, middle: Expr | int) -> Expr:
    """The expected gradient in the second arm's logit: rewards 1, `middle`, 0, chances 1/4, 1/4, 1/2, G = 3."""
    tree = bandit(("a", Rational(1, 4), 1), ("b", Rational(1, 4), middle), ("c", Rational(1, 2), 0))
    return tree.group_gradient(rule, 3, uniform)[1]


def _witnesses() -> tuple[Witness, ...]:

    instance = "three responses with probabilities 1/4, 1/4, 1/2 and rewards 1, c, 0; G = 3"
    return (
        Witness(
            "ρ = 1, for GSPO",
            "GSPO",
            "a response of two tokens with A = 1; its first token has the ratio ρ, the second 1",
            "GSPO's gradient in the first token's log-probability = GRPO's",
            _ratio_gradients,
            "ρ",
            1,
            Rational(11, 10),
        ),
        Witness(
            "rewards are 0 or 1, for the others (RAFT)",
            "RAFT",
            instance,
            "E[gradient] of RAFT = of F-ISFT⁺ with the reward as outcome, in the second response's logit",
            lambda middle: (_first(_kept, middle), _first(list, middle)),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "rewards are 0 or 1, for the others (Reinforce-Rej)",
            "Reinforce-Rej ±1",
            instance,
            "E[gradient] of Reinforce-Rej ±1 = twice that of F-ISFT± in the advantage form, in the second logit",
            lambda middle: (_first(_mixed, middle), _first(_both_signs, middle)),
            "c",
            0,
            Rational(1, 10),
        ),
        Witness(
            "all divide by the group size, or by the same number",
            "RAFT",
            f"{instance}, c = 0; RAFT divides by (1 − κ) G + κ times the number that it keeps",
            "E[gradient] of RAFT = of F-ISFT⁺, in the second response's logit",
            lambda share: (_first(_averaged(share), 0), _first(list, 0)),
            "κ",
            0,
            1,
        ),
    )
