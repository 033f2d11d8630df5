"""T13: methods that are the same on their own samples."""

from sympy import Derivative, Eq, Expr, Integer, Piecewise, Rational, S, Subs, Sum, exp, log, symbols

from proofs.instances import above_mean
from proofs.notation import A, G, L, certain, i, j, k, p, q, t, α, θ, θ_old
from proofs.t03_per_sample import advantage, ell, length, over_tokens
from proofs.t05_one_direction import others
from proofs.theorem import Step, Theorem, Witness

r = symbols("r", real=True)
x, x_old, rest = symbols("x x_old s", real=True)


def theorem() -> Theorem:
    drift = Sum(ell(i, t, θ) - ell(i, t, θ_old), (t, 1, length)) / length
    given, why = certain(G - 1) | certain(G), "Bin(G−1, p) and Bin(G, p) sum to 1"
    advantage_form = (1 - α) * (1 - p ** (G - 1)) + α * (1 - q ** (G - 1))
    score, kept = ell(i, t, θ), Piecewise((1, Eq(r, 1)), (0, True))
    return Theorem(
        id="T13",
        title="Equivalences",
        statement=(
            "At θ_old the gradient of GSPO is that of GRPO, on each batch. The mean over positives climbs the "
            "log-likelihood log p expanded in 1 − p up to order G, which is MaxRL's objective. Reinforce-Rej with "
            "rewards ±1 is twice F-ISFT± in the advantage form (α = ½), and with rewards 0 and 1 it is F-ISFT⁺ in that "
            "form (α = 0). RAFT is F-ISFT⁺ in the cross-entropy form."
        ),
        assumptions=(
            "ρ = 1, for GSPO",
            "rewards are 0 or 1, for the others",
            "all divide by the group size, or by the same number",
        ),
        symbolic="group size G, lengths, advantages, token log-probabilities, p",
        steps=(
            Step(
                "GSPO's gradient at θ_old: the ratio of a response is the geometric mean of its token ratios.",
                Subs(Derivative(Sum(advantage * exp(drift), (i, 1, G)) / G, θ), θ_old, θ),
                over_tokens(advantage * Derivative(ell(i, t, θ), θ)),
                "Chain rule, ρ = 1. On the right is the gradient of GRPO (T3).",
                name="GSPO",
            ),
            Step(
                "Away from θ_old, GSPO gives each token of a response the same weight, A/L times the ratio of the "
                "response.",
                Derivative(exp((x - x_old + rest) / L) * A, x),
                exp((x - x_old + rest) / L) * A / L,
                "Derivative in the log-probability x of one token; s is the drift of the others. So η = 0; GRPO gives "
                "ρ A/L.",
                name="GSPO weight",
            ),
            Step(
                "The log-likelihood log p = −Σ_j (1−p)^j/j, cut at order G, has this derivative.",
                Derivative(-Sum((1 - p) ** j / j, (j, 1, G)), p),
                (1 - (1 - p) ** G) / p,
                "Geometric sum.",
                name="MaxRL objective",
            ),
            Step(
                "It is the c(p) of the mean over positives, whose weights are r/mean.",
                others(G / (k + 1)),
                (1 - q**G) / p,
                "G C(G−1, k)/(k+1) = C(G, k+1).",
                given=given,
                why_given=why,
                name="mean over positives",
            ),
            Step(
                "Reinforce-Rej, rewards ±1: in a mixed group a right response weighs twice 1 − α, α = ½ …",
                2 * (1 - α),
                1,
                "Definitions.",
                given={α: S.Half},
                why_given="α = ½",
            ),
            Step(
                "… and a wrong one twice −α. Other groups are left out by both.",
                2 * (-α),
                -1,
                "Definitions.",
                given={α: S.Half},
                why_given="α = ½",
            ),
            Step(
                "So its c(p) is twice that of F-ISFT±.",
                others(1, last=G - 2) - others(-1, first=Integer(1)),
                2 * advantage_form.subs(α, S.Half),
                "Without the groups that are all right (k = G − 1 others) or all wrong (k = 0).",
                given=given,
                why_given=why,
                name="Reinforce-Rej ±1",
            ),
            Step(
                "With rewards 0 and 1 it is that of F-ISFT⁺ (α = 0).",
                others(1, last=G - 2),
                advantage_form.subs(α, 0),
                "Wrong responses weigh 0 in both.",
                given=given,
                why_given=why,
                name="Reinforce-Rej 0/1",
            ),
            Step(
                "RAFT sums the scores of the right responses, which it keeps; F-ISFT⁺ weighs all responses with r.",
                Sum(1 * score, (i, 1, k)) + Sum(0 * score, (i, k + 1, G)),
                Sum(score, (i, 1, k)),
                "r = 1 for the right responses 1 … k and 0 for the others.",
                name="RAFT",
            ),
        ),
        witnesses=(
            Witness(
                "ρ = 1 (GSPO)",
                "a response of two tokens with A = 1; its first token has the ratio ρ, the second 1",
                "GSPO's weight of the first token = GRPO's",
                _ratio_weights,
                "ρ",
                1,
                Rational(11, 10),
            ),
            Witness(
                "rewards are 0 or 1 (RAFT)",
                "a response of reward c; RAFT filters, F-ISFT⁺ with the reward as outcome weighs",
                "RAFT's weight = F-ISFT⁺'s",
                lambda reward: (kept.subs(r, reward), reward),
                "c",
                1,
                Rational(1, 10),
            ),
            Witness(
                "rewards are 0 or 1 (Reinforce-Rej)",
                "group with rewards (0, c, 0), c no success",
                "Reinforce-Rej's 0/1 weight of the second response = F-ISFT⁺'s in the advantage form",
                lambda reward: (kept.subs(r, reward), above_mean((S.Zero, reward, S.Zero))[1]),
                "c",
                0,
                Rational(1, 10),
            ),
        ),
    )


def _ratio_weights(ratio: Expr) -> tuple[Expr, Expr]:
    """∂/∂x of both objectives, exp((x + 0)/2) and (exp(x) + 1)/2, on tokens with log-ratios x and 0."""
    at = {x: log(ratio)}
    return exp(x / 2).diff(x).subs(at), ((exp(x) + 1) / 2).diff(x).subs(at)
