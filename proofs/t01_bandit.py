"""T1: with states that are token sequences and one reward at the end, the decision process is a bandit."""

from collections.abc import Sequence

from sympy import Derivative, Expr, Function, Product, Rational, S, Subs, Sum, Symbol, exp, log

from proofs.instances import Tree
from proofs.notation import L, N, t, u, y, θ, π
from proofs.theorem import Step, Theorem, Witness

r, γ = Symbol("r", real=True), Symbol("gamma", positive=True)
M = Symbol("M", real=True)
best = Symbol("y_best", integer=True)
reward, gap = Function("r", real=True), Function("g", nonnegative=True)
ell, transition = Function("ℓ", real=True), Function("T", positive=True)


def theorem() -> Theorem:
    token, total = π(t, θ), Sum(π(y, θ), (y, 1, N))
    return Theorem(
        id="T1",
        title="Bandit reduction",
        statement=(
            "Let a state be the sequence of tokens so far, let the only reward r(y) come with the last token, and let "
            "γ = 1. Then the expected return is J = Σ_y π(y) r(y), a bandit whose arms are whole responses; the policy "
            "gradient of one sample, Σ_t ∇ log π(a_t) × return-to-go, is r(y) times the score of the whole response; "
            "and no policy, however it reacts to its own tokens, does better than the best fixed response."
        ),
        assumptions=(
            "A1: appending a token determines the next state (transition probability 1)",
            "the reward is terminal",
            "γ = 1",
        ),
        symbolic="length L, number of responses N, rewards r(y), policy",
        steps=(
            Step(
                "The probability of a trajectory is the product of its token probabilities.",
                Product(token * transition(t), (t, 1, L)),
                Product(token, (t, 1, L)),
                "A1: each transition has probability 1. So a trajectory is a response, and J = Σ_y π(y) r(y).",
                given={transition(t): 1},
                why_given="A1",
            ),
            Step(
                "From every token on, the return is r: nothing before the last token, and no discount.",
                Sum(γ ** (u - t) * 0, (u, t, L - 1)) + γ ** (L - t) * r,
                r,
                "Terminal reward, γ = 1.",
                given={γ: 1},
                why_given="γ = 1",
                name="return-to-go",
            ),
            Step(
                "The score of a response of one token.",
                Derivative(log(exp(ell(1, θ))), θ),
                Sum(Derivative(ell(t, θ), θ), (t, 1, 1)),
                "Start of an induction on the length; ℓ(t, θ) = log π(a_t).",
            ),
            Step(
                "The score of a response is the sum of the scores of its tokens.",
                Derivative(log(exp(Sum(ell(t, θ), (t, 1, L))) * exp(ell(L + 1, θ))), θ),
                Sum(Derivative(ell(t, θ), θ), (t, 1, L + 1)),
                "Logarithm of a product; induction from L to L + 1.",
            ),
            Step(
                "The policy gradient of one sample is r times the score of its response.",
                Sum(Derivative(ell(t, θ), θ) * r, (t, 1, L)),
                r * Derivative(Sum(ell(t, θ), (t, 1, L)), θ),
                "The return-to-go r does not depend on t.",
                name="per sample",
            ),
            Step(
                "The gradient of J is that of the bandit.",
                Derivative(Sum(π(y, θ) * reward(y), (y, 1, N)), θ),
                Sum(π(y, θ) * reward(y) * Derivative(log(π(y, θ)), θ), (y, 1, N)),
                "∂π = π ∂ log π.",
                name="gradient",
            ),
            Step(
                "Any policy falls short of the best reward M by the mean of the gaps g(y) = M − r(y).",
                M - Sum(π(y, θ) * (M - gap(y)), (y, 1, N)),
                Sum(π(y, θ) * gap(y), (y, 1, N)),
                "Probabilities sum to 1.",
                given={total: 1},
                why_given="Σ_y π(y) = 1",
                name="shortfall",
            ),
            Step(
                "No term of that mean is negative.",
                π(y, θ) * gap(y),
                S.Zero,
                "Product of two such numbers.",
                relation="≥",
            ),
            Step(
                "The plan that writes the best response without looking has no gap.",
                Subs(M - gap(y), y, best),
                M,
                "By A1 a plan fixes the response.",
                given={gap(best): 0},
                why_given="the gap of the best response is 0",
            ),
        ),
        witnesses=(
            Witness(
                "γ = 1 (gradient)",
                "response 'ab' of a uniform policy with reward 1",
                "policy gradient in the logit of the first token = return × score",
                lambda discount: _two_views((S.Zero, S.One), discount, coordinate=0),
                "γ",
                1,
                Rational(9, 10),
            ),
            Witness(
                "γ = 1 (optimum)",
                "response '.' with reward 3/5, response 'a.' with reward 1",
                "discounted value of the response with the highest reward = that of the best policy",
                _two_answers,
                "γ",
                1,
                Rational(1, 2),
            ),
            Witness(
                "the reward is terminal",
                "response 'ab' of a uniform policy with reward 1; each token costs β log(π/π_ref), with π_ref = π/2 "
                "(KL in the reward)",
                "policy gradient in the logit of the second token = return × score",
                lambda β: _two_views((-β * log(2), 1 - β * log(2)), S.One, coordinate=3),
                "β",
                0,
                Rational(1, 10),
            ),
            Witness(
                "A1: transitions are deterministic",
                "the environment shows H, or T with probability δ; the next token wins if it names what is shown",
                "best plan that does not look = best policy that does",
                _coin,
                "δ",
                0,
                Rational(1, 3),
            ),
        ),
        remark=(
            "The reduction concerns what is optimal and what one sample says. It does not make the token policy a "
            "table of responses: what is learned about one response moves others that share its parameters or prefixes "
            "(T11)."
        ),
    )


def _two_views(rewards: Sequence[Expr], discount: Expr, *, coordinate: int) -> tuple[Expr, Expr]:
    """One coordinate of Σ_t ∇ log π × return-to-go and of return × score, for 'ab' with these rewards of its tokens."""
    tree = Tree({s: {"a": Rational(1, 2), "b": Rational(1, 2)} for s in ("", "a", "b")}, {})
    to_go = [sum(discount ** (later - now) * rewards[later] for later in range(now, 2)) for now in range(2)]
    return tree.score("ab", to_go)[coordinate], (sum(rewards) * tree.score("ab"))[coordinate]


def _two_answers(discount: Expr) -> tuple[Expr, Expr]:
    rewards = {".": Rational(3, 5), "a.": S.One}
    value = {y: discount ** (len(y) - 1) * r for y, r in rewards.items()}
    return value[max(rewards, key=rewards.__getitem__)], max(value.values())


def _coin(other_side: Expr) -> tuple[Expr, Expr]:
    shown = {"H": 1 - other_side, "T": other_side}
    wins = {(state, named): chance if state == named else S.Zero for state, chance in shown.items() for named in shown}
    blind = max(sum(wins[state, named] for state in shown) for named in shown)
    seeing = sum(max(wins[state, named] for named in shown) for state in shown)
    return blind, seeing
