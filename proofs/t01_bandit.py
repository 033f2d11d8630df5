"""T1: with states that are token sequences and one reward at the end, the decision process is a bandit."""

from collections.abc import Sequence

from sympy import Derivative, Expr, Function, Lambda, Product, Rational, S, Subs, Sum, Symbol, exp, log

from proofs.instances import Tree
from proofs.notation import L, N, n, t, u, y, θ, π
from proofs.parts import Assumption, Cited, Definition, Step, Witness
from proofs.theorem import Theorem

r, γ = Symbol("r", real=True), Symbol("gamma", positive=True)
M = Symbol("M", real=True)
best = Symbol("y_best", integer=True)
reward, gap = Function("r", real=True), Function("g", nonnegative=True)
ell, transition, written = Function("ℓ", real=True), Function("T", positive=True), Function("W", positive=True)


token, total = π(t, θ), Sum(π(y, θ), (y, 1, N))
trajectory = Product(token * transition(t), (t, 1, L))
to_go = Sum(γ ** (u - t) * 0, (u, t, L - 1)) + γ ** (L - t) * r
sample = Sum(Derivative(ell(t, θ), θ) * to_go, (t, 1, L))


def theorem() -> Theorem:
    return Theorem(
        id="T1",
        title="Bandit reduction",
        words=(
            "Let a state be the sequence of tokens so far, let the only reward come with the last token, and let there "
            "be no discount. Then a trajectory is a response, and the expected return is that of a bandit whose arms "
            "are whole responses; the policy gradient of one sample, the sum of scores times return-to-go, is its "
            "reward times the score of the whole response; and no policy, however it reacts to its own tokens, does "
            "better than the best fixed response."
        ),
        results=("trajectory", "return-to-go", "score", "per sample", "gradient", "shortfall", "best response"),
        definitions=_definitions(),
        assumptions=(
            Assumption("A1: appending a token determines the next state", {transition(t): S.One}),
            Assumption("the reward is terminal"),
            Assumption("γ = 1", {γ: S.One}),
        ),
        model={
            π: Lambda((y, θ), exp(y * θ) / (exp(θ) + exp(2 * θ))),
            written: Lambda((n, θ), exp(n * θ)),
            ell: Lambda((n, θ), θ),
            gap: Lambda(y, (y - 2) ** 2),
            transition: Lambda(t, 1),
            best: 2,
            γ: 1,
            N: 2,
            n: 3,
            θ: Rational(1, 3),
        },
        steps=(
            *_one_sample(),
            *_bandit(),
        ),
        witnesses=_witnesses(),
        remark=(
            "The reduction concerns what is optimal and what one sample says. It does not make the token policy a "
            "table of responses: what is learned about one response moves others that share its parameters or prefixes "
            "(T11)."
        ),
    )


def _definitions() -> tuple[Definition, ...]:
    return (
        Definition("probability of a trajectory", "tokens π and transitions T in turn", trajectory),
        Definition("return from token t", "nothing before the last token, which brings r", to_go),
        Definition(
            "log-probability", "of the first n tokens; W is the product of their probabilities", log(written(n, θ))
        ),
        Definition(
            "one token more",
            "W starts at 1 and is multiplied by exp ℓ(n) = π(a_n) with token n",
            equations={written(0, θ): S.One, written(n + 1, θ): written(n, θ) * exp(ell(n + 1, θ))},
            every=(n,),
        ),
        Definition("gradient of one sample", "scores of the tokens times the returns from them on", sample),
        Definition(
            "gradient of J",
            "J is the expected return: responses y with probability π(y) and reward r(y)",
            Derivative(Sum(π(y, θ) * reward(y), (y, 1, N)), θ),
        ),
        Definition(
            "shortfall of a policy",
            "M is the best reward and g(y) = M − r(y)",
            M - Sum(π(y, θ) * (M - gap(y)), (y, 1, N)),
        ),
        Definition("value of the plan", "that writes the best response without looking", Subs(M - gap(y), y, best)),
        Definition("policy", "the probabilities π(y) sum to 1", equations={total: S.One}),
        Definition("best", "the best response has no gap", equations={gap(best): S.Zero}),
    )


def _one_sample() -> tuple[Step, ...]:
    """What is sampled: the probability of a response, the return from each token on, and the gradient."""
    tokens = Sum(ell(t, θ), (t, 1, n))
    return (
        Step(
            "The probability of a trajectory is the product of its token probabilities.",
            trajectory,
            Product(token, (t, 1, L)),
            "Each transition has probability 1. So a trajectory is a response.",
            begins="probability of a trajectory",
            given=("A1: appending a token determines the next state",),
            name="trajectory",
        ),
        Step(
            "From every token on, the return is r: nothing before the last token, and no discount.",
            to_go,
            r,
            "Terminal reward, γ = 1.",
            begins="return from token t",
            given=("γ = 1",),
            name="return-to-go",
        ),
        Step(
            "The log-probability of no tokens.",
            log(written(0, θ)),
            tokens.subs(n, 0),
            "Start of an induction on the length.",
            begins=Cited("log-probability", {n: S.Zero}),
            given=("one token more",),
            label="no tokens",
        ),
        Step(
            "The log-probability of one token more.",
            log(written(n + 1, θ)),
            log(written(n, θ)) + ell(n + 1, θ),
            "Logarithm of a product.",
            begins=Cited("log-probability", {n: n + 1}),
            given=("one token more",),
            label="one more",
        ),
        Step(
            "The log-probability of a response is the sum of those of its tokens.",
            log(written(n, θ)),
            tokens,
            "Induction on n.",
            begins="log-probability",
            given=("no tokens", "one more"),
            over=n,
            name="score",
        ),
        Step(
            "In the gradient of one sample the return does not depend on t.",
            sample,
            r * Derivative(Sum(ell(t, θ), (t, 1, L)), θ),
            "Return-to-go r, linearity.",
            begins="gradient of one sample",
            given=("γ = 1",),
        ),
        Step(
            "So it is r times the score of the response.",
            r * Derivative(Sum(ell(t, θ), (t, 1, L)), θ),
            r * Derivative(log(written(L, θ)), θ),
            "The sum of the token scores is the score of the response.",
            given=(Cited("score", {n: L}),),
            name="per sample",
        ),
    )


def _bandit() -> tuple[Step, ...]:
    """The gradient of J and its largest value are those of the bandit."""
    return (
        Step(
            "The gradient of J is that of the bandit.",
            Derivative(Sum(π(y, θ) * reward(y), (y, 1, N)), θ),
            Sum(π(y, θ) * reward(y) * Derivative(log(π(y, θ)), θ), (y, 1, N)),
            "∂π = π ∂ log π.",
            begins="gradient of J",
            name="gradient",
        ),
        Step(
            "Any policy falls short of the best reward M by the mean of the gaps g(y) = M − r(y).",
            M - Sum(π(y, θ) * (M - gap(y)), (y, 1, N)),
            Sum(π(y, θ) * gap(y), (y, 1, N)),
            "Probabilities sum to 1.",
            begins="shortfall of a policy",
            given=("policy",),
        ),
        Step(
            "No term of that mean is negative.",
            Sum(π(y, θ) * gap(y), (y, 1, N)),
            S.Zero,
            "Sum of products of such numbers.",
            relation="≥",
            name="shortfall",
        ),
        Step(
            "The plan that writes the best response without looking has no gap.",
            Subs(M - gap(y), y, best),
            M,
            "By A1 a plan fixes the response.",
            begins="value of the plan",
            given=("best",),
            name="best response",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    return (
        Witness(
            "γ = 1 (gradient)",
            "per sample",
            "response 'ab' of a uniform policy with reward 1",
            "policy gradient in the logit of the first token = return × score",
            lambda discount: _two_views((S.Zero, S.One), discount, coordinate=0),
            "γ",
            1,
            Rational(9, 10),
        ),
        Witness(
            "γ = 1 (optimum)",
            "best response",
            "response '.' with reward 3/5, response 'a.' with reward 1",
            "discounted value of the response with the highest reward = that of the best policy",
            _two_answers,
            "γ",
            1,
            Rational(1, 2),
        ),
        Witness(
            "the reward is terminal",
            "per sample",
            "response 'ab' of a uniform policy with reward 1; each token costs β log(π/π_ref), with π_ref = π/2 "
            "(KL in the reward)",
            "policy gradient in the logit of the second token = return × score",
            lambda β: _two_views((-β * log(2), 1 - β * log(2)), S.One, coordinate=3),
            "β",
            0,
            Rational(1, 10),
        ),
        Witness(
            "A1: appending a token determines the next state",
            "shortfall",
            "the environment shows H, or T with probability δ; the next token wins if it names what is shown",
            "best plan that does not look = best policy that does",
            _coin,
            "δ",
            0,
            Rational(1, 3),
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
