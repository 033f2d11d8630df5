"""T18: an environment that speaks changes nothing about the loss, and everything about the bandit."""

from sympy import Derivative, Expr, Function, Integer, Lambda, Rational, S, Sum, diff, exp, log, symbols, zeros

from proofs.instances import Tree, grpo, proportions
from proofs.notation import A, L, N, i, m, t, y, θ, π
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.t05_one_direction import success, w0, w1
from proofs.theorem import Theorem

outcomes = symbols("K", integer=True, positive=True)
turn, says, said = Function("pi_t", positive=True), Function("e_t", positive=True), Function("e", positive=True)
chance, plan, more = Function("mu", positive=True), Function("r", real=True), Function("b", nonnegative=True)
own, theirs = log(turn(t, θ)), log(says(t))
own_score = Sum(Derivative(own, θ), (t, 1, L))
right, wrong = Sum(π(y, θ) * said(y), (y, 1, m)), Sum(π(y, θ) * said(y), (y, m + 1, N))
W1, W0 = symbols("w_1 w_0", real=True)
EXPECTED = Sum(π(y, θ) * said(y) * W1 * Derivative(log(π(y, θ)), θ), (y, 1, m)) + Sum(
    π(y, θ) * said(y) * W0 * Derivative(log(π(y, θ)), θ), (y, m + 1, N)
)


def theorem() -> Theorem:
    return Theorem(
        id="T18",
        title="Turns and tools",
        words=(
            "Let an environment speak between the policy's tokens, at random. The score of a transcript is the sum "
            "over the policy's own tokens, so a loss that gives each response one advantage is a log-likelihood of "
            "those tokens with the gradient {weighted likelihood}, sample by sample. With right and wrong transcripts "
            "the expected gradient of every outcome rule is still {direction}, with the weights of T5. What is lost is "
            "the bandit: a policy that hears the environment is worth {value of hearing} more than a fixed plan, which "
            "is not negative, and is nothing where the environment has one thing to say."
        ),
        results=(
            "score of a transcript",
            "weighted likelihood",
            "direction",
            "value of hearing",
            "closed loop",
            "one thing to say",
        ),
        definitions=(*_of_transcripts(), *_of_values()),
        assumptions=(
            Assumption("the environment does not depend on θ"),
            Assumption("the environment's tokens are masked"),
            Assumption("rewards are 0 or 1"),
            Assumption("one outcome, and the plan is the best answer to it", equations={more(1): S.Zero}),
        ),
        model=_model(),
        steps=(*_transcripts(), *_values()),
        witnesses=_witnesses(),
        remark=(
            "That the loss is weighted fine-tuning and that the problem is a bandit are two claims. Neither the first "
            "nor T5 uses that transitions are deterministic; the second does. Rewards may depend on all that the "
            "environment said. Where lengths divide, a length is that of the policy's own tokens."
        ),
    )


def _model() -> dict:
    """Two transcripts, the first right: the environment says either with 1/2 after any token."""
    softmax = 2 * exp(y * θ) / (exp(θ) + exp(2 * θ))
    return {
        π: Lambda((y, θ), softmax),
        said: Lambda(y, Rational(1, 2)),
        success.func: Lambda(θ, softmax.subs(y, 1) / 2),
        more: Lambda(i, i - 1),
        m: 1,
        N: 2,
        θ: Rational(1, 3),
    }


def _of_transcripts() -> tuple[Definition, ...]:
    return (
        Definition(
            "slope of a transcript's log-probability",
            "the policy's token t has the probability π_t(t, θ), and what the environment says after it e_t(t)",
            Derivative(Sum(own + theirs, (t, 1, L)), θ),
        ),
        Definition(
            "slope of a masked loss",
            "A times the log-probabilities of the policy's tokens; A is fixed",
            Derivative(A * Sum(own, (t, 1, L)), θ),
        ),
        Definition(
            "expected gradient of a group",
            "transcript y has the probability π(y, θ) e(y), π of the policy's tokens and e of the environment's; y ≤ m "
            "are right; w₁ and w₀ are the expected advantages",
            EXPECTED,
        ),
        Definition("w₁", "expected advantage of a right transcript, by the conditioning of T5", w1, W1),
        Definition("w₀", "expected advantage of a wrong one", w0, W0),
        Definition(
            "success probability",
            "p(θ) is the probability of a right transcript",
            equations={right: success, wrong: 1 - success},
        ),
    )


def _transcripts() -> tuple[Step, ...]:
    return (
        Step(
            "What the environment says has no slope.",
            Derivative(Sum(own + theirs, (t, 1, L)), θ),
            own_score,
            "The derivative passes through the sum.",
            begins="slope of a transcript's log-probability",
            name="score of a transcript",
        ),
        Step(
            "The gradient of the loss is the advantage times that score.",
            Derivative(A * Sum(own, (t, 1, L)), θ),
            A * own_score,
            "The same.",
            begins="slope of a masked loss",
            name="weighted likelihood",
        ),
        Step(
            "The expected gradient of the group: both sums are slopes of probabilities …",
            EXPECTED,
            W1 * Derivative(right, θ) + W0 * Derivative(wrong, θ),
            "π ∂ log π = ∂π, and e has no slope.",
            begins="expected gradient of a group",
        ),
        Step(
            "… which move in opposite directions along ∇p.",
            W1 * Derivative(right, θ) + W0 * Derivative(wrong, θ),
            (W1 - W0) * Derivative(success, θ),
            "Probabilities sum to 1.",
            given=("success probability",),
        ),
        Step(
            "The coefficient is that of T5.",
            (W1 - W0) * Derivative(success, θ),
            (w1 - w0) * Derivative(success, θ),
            "Insert the expected advantages.",
            where=("w₁", "w₀"),
            name="direction",
        ),
    )


def _of_values() -> tuple[Definition, ...]:
    return (
        Definition(
            "hearing less a plan",
            "the environment says i with the chance μ(i); a plan is worth r(i) then, and the best answer b(i) more",
            Sum(chance(i) * (plan(i) + more(i)), (i, 1, outcomes)) - Sum(chance(i) * plan(i), (i, 1, outcomes)),
        ),
        Definition("the same with one outcome", "", Sum(chance(i) * more(i), (i, 1, 1))),
    )


def _values() -> tuple[Step, ...]:
    gap = Sum(chance(i) * more(i), (i, 1, outcomes))
    return (
        Step(
            "A policy that hears what was said gives the best answer to it.",
            Sum(chance(i) * (plan(i) + more(i)), (i, 1, outcomes)) - Sum(chance(i) * plan(i), (i, 1, outcomes)),
            gap,
            "Linearity.",
            begins="hearing less a plan",
            name="value of hearing",
        ),
        Step(
            "No term of the mean is negative.",
            gap,
            S.Zero,
            "Products of such numbers.",
            relation="≥",
            name="closed loop",
        ),
        Step(
            "With one outcome the plan that answers it best loses nothing.",
            Sum(chance(i) * more(i), (i, 1, 1)),
            S.Zero,
            "The one term.",
            begins="the same with one outcome",
            given=("one outcome, and the plan is the best answer to it",),
            name="one thing to say",
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    half = Rational(1, 2)

    def tied(share: Expr) -> tuple[Expr, Expr]:
        """The policy says a with the logit x, the environment ok with κ x; at x = 1, the transcript 'a ok'."""
        x = symbols("x", real=True)
        ours, its = -log(1 + exp(-x)), -log(1 + exp(-share * x))
        return diff(ours + its, x).subs(x, 1), diff(ours, x).subs(x, 1)

    def unmasked(weight: Expr) -> tuple[Expr, Expr]:
        """The logit of the environment's token, which the policy would say with 1/2; the advantage is 1."""
        tree = Tree({s: {"a": half, "b": half} for s in ("", "a", "b")}, {})
        return tree.score("ab", [S.One, weight])[2], tree.score("ab", [S.One, S.Zero])[2]

    def coin(other_side: Expr) -> tuple[Expr, Expr]:
        shown = {"H": 1 - other_side, "T": other_side}
        worth = {(state, named): chance * Integer(state == named) for state, chance in shown.items() for named in shown}
        blind = max(sum(worth[state, named] for state in shown) for named in shown)
        return blind, sum(max(worth[state, named] for named in shown) for state in shown)

    return (
        Witness(
            "the environment does not depend on θ",
            "score of a transcript",
            "the policy says a with the logit x, and the environment ok with the logit κ x; at x = 1",
            "slope of the transcript's log-probability = score of the policy's token",
            tied,
            "κ",
            0,
            1,
        ),
        Witness(
            "the environment's tokens are masked",
            "weighted likelihood",
            "the policy says a, the environment b; the policy itself would say b with 1/2; A = 1, the mask is κ there",
            "slope of the loss in the logit of the environment's token = A times the score of the policy's tokens",
            unmasked,
            "κ",
            0,
            1,
        ),
        Witness(
            "rewards are 0 or 1",
            "direction",
            "the policy says a, b or d, each with 1/3; the environment o with 1/3, 3/4, 1/2, else x; 'ao' has the "
            "reward 1, 'bo' c and 'do' 1; GRPO, G = 2",
            "E[gradient] / ∇p in the coordinate where it is smallest = where it is largest",
            _third_level,
            "c",
            0,
            half,
        ),
        Witness(
            "one outcome, and the plan is the best answer to it",
            "one thing to say",
            "the environment shows H, or T with probability δ; the next token wins if it names what is shown",
            "best plan that does not look = best policy that does",
            coin,
            "δ",
            0,
            Rational(1, 3),
        ),
    )


def _third_level(middle: Expr) -> tuple[Expr, Expr]:
    ok = {"a": Rational(1, 3), "b": Rational(3, 4), "d": Rational(1, 2)}
    policy = {"": dict.fromkeys(ok, Rational(1, 3))} | {s: {"o": chance, "x": 1 - chance} for s, chance in ok.items()}
    rewards = {"ao": S.One, "bo": middle, "do": S.One} | {f"{s}x": S.Zero for s in ok}
    tree = Tree(policy, rewards)
    gradient = tree.group_gradient(grpo, 2, lambda y, advantage: [advantage, S.Zero])
    chances = ((y, tree.probability(y) * Integer(reward == 1)) for y, reward in rewards.items())
    slope = sum((chance * tree.score(y, [S.One, S.Zero]) for y, chance in chances), zeros(tree.dimension, 1))
    return proportions(gradient, slope)
