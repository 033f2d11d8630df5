"""T8: what each estimator of the KL divergence does to the weights of the sampled tokens."""

from sympy import (
    Derivative,
    Expr,
    Function,
    Integer,
    Lambda,
    Matrix,
    Rational,
    S,
    Subs,
    Sum,
    Symbol,
    exp,
    log,
    symbols,
)

from proofs.instances import Tree
from proofs.notation import N, j, y, β, θ, π
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

chance = π(j, θ)
reference = Function("pi_ref", positive=True)(j)
reward = Function("r", real=True)(j)
score = Derivative(log(chance), θ)
quotient = reference / chance
log_ratio = log(chance) - log(reference)
slope, x = symbols("g x", real=True)
time = Symbol("t", real=True)
path, divergence = Function("theta", real=True)(time), Function("D", real=True)


def over_tokens(term: Expr) -> Sum:
    """Σ_j over the N tokens of the vocabulary."""
    return Sum(term, (j, 1, N))


reverse, forward = over_tokens(chance * log_ratio), over_tokens(reference * -log_ratio)
rate = Subs(Derivative(divergence(x), x), x, path)
K3 = quotient - log(reference) + log(chance) - 1
RULES = {"k1": (log_ratio, score), "k2": (log_ratio**2 / 2, log_ratio * score), "k3": (K3, (1 - quotient) * score)}
"""Each estimator, with q = π_ref/π, and what its derivative is."""


mean_score = over_tokens(chance * score)
certain = over_tokens(Derivative(chance, θ))
k1_mean = over_tokens(chance * Derivative(log_ratio, θ))
in_reward = over_tokens(chance * (reward - β * log_ratio) * score)


def theorem() -> Theorem:
    softmax = Lambda((y, θ), exp(y * θ) / (exp(θ) + exp(2 * θ)))
    return Theorem(
        id="T8",
        title="KL terms as weights",
        words=(
            "At a state where tokens are sampled from the policy, let q be the reference probability over the "
            "policy's. As a loss, k1 has an expected gradient of 0; k2 weighs the score with minus the logarithm of q "
            "and its mean is the gradient of the reverse divergence; k3 weighs it with one less q and its mean is the "
            "gradient of the forward divergence. k1 inside the reward gives the gradient of the reverse divergence. "
            "With the wrong sign, loss less k3, training climbs the forward divergence."
        ),
        results=("mean score", *RULES, "k1 in the loss", "reverse", "forward", "k1 in the reward", "wrong sign"),
        definitions=_definitions(),
        assumptions=(
            Assumption("tokens are sampled from π itself"),
            Assumption("one state: visits to it are not differentiated"),
            Assumption("the KL term is added to the loss with the sign +β, except in the last result"),
        ),
        model={
            π: softmax,
            path.func: Lambda(time, time / 2),
            divergence: Lambda(x, x),
            β: Rational(1, 2),
            N: 2,
            θ: Rational(1, 3),
            time: 1,
        },
        steps=(
            *_scores(),
            *_estimators(),
            *_elsewhere(),
        ),
        witnesses=_witnesses(),
        remark=(
            "Over a whole response, k2 and k3 sum the terms of the states visited and leave out that early tokens "
            "decide which states come later (second witness); k1 in the reward, with the return of the whole response, "
            "does not."
        ),
    )


def _definitions() -> tuple[Definition, ...]:
    return (
        Definition("sum of the slopes", "of the probabilities of the tokens", certain),
        Definition("policy", "the probabilities π(j) sum to 1", equations={over_tokens(chance): S.One}),
        Definition("mean of the scores", "of tokens sampled from π", mean_score),
        *(
            Definition(f"slope of {name}", "q = π_ref/π; π_ref does not depend on θ", Derivative(value, θ))
            for name, (value, _) in RULES.items()
        ),
        Definition("mean slope of k1", "over tokens sampled from π", k1_mean),
        Definition("gradient of the reverse divergence", "KL(π‖π_ref)", Derivative(reverse, θ)),
        Definition("gradient of the forward divergence", "KL(π_ref‖π)", Derivative(forward, θ)),
        Definition("policy gradient of r − β k1", "with the reward held constant", in_reward),
        Definition("growth of D", "the forward divergence along the training of θ", Derivative(divergence(path), time)),
        Definition("D′", "its slope, a letter", Derivative(divergence(path), path), slope),
        Definition(
            "descent of −β k3",
            "dθ/dt = −(−β D′(θ)), as D has the mean gradient of k3",
            equations={Derivative(path, time): β * rate},
        ),
    )


def _scores() -> tuple[Step, ...]:
    """The scores of the tokens have mean 0."""
    return (
        Step(
            "The slopes of the probabilities add up to the slope of their sum …",
            certain,
            Derivative(over_tokens(chance), θ),
            "Linearity.",
            begins="sum of the slopes",
        ),
        Step(
            "… which is 1.",
            Derivative(over_tokens(chance), θ),
            S.Zero,
            "Derivative of 1.",
            given=("policy",),
            label="still",
        ),
        Step(
            "So the scores have mean 0.",
            mean_score,
            S.Zero,
            "π ∂ log π = ∂π.",
            begins="mean of the scores",
            given=("still",),
            name="mean score",
        ),
    )


def _estimators() -> tuple[Step, ...]:
    """What each estimator moves, as a term of the loss."""
    return (
        *(
            Step(
                f"{name}: the derivative is a weight times the score.",
                Derivative(value, θ),
                weighted,
                "Chain rule; ∂q = −q ∂ log π.",
                begins=f"slope of {name}",
                name=name,
            )
            for name, (value, weighted) in RULES.items()
        ),
        Step(
            "k1: its expected gradient is 0.",
            k1_mean,
            S.Zero,
            "Mean of the score.",
            begins="mean slope of k1",
            given=("still",),
            name="k1 in the loss",
        ),
        Step(
            "k2: its expected gradient is that of the reverse divergence.",
            Derivative(reverse, θ),
            over_tokens(chance * RULES["k2"][1]),
            "Product rule; the derivative of the logarithm has mean 0.",
            begins="gradient of the reverse divergence",
            given=("still",),
            name="reverse",
        ),
        Step(
            "k3: its expected gradient is that of the forward divergence.",
            Derivative(forward, θ),
            over_tokens(chance * RULES["k3"][1]),
            "π q = π_ref, and the score has mean 0.",
            begins="gradient of the forward divergence",
            given=("still",),
            name="forward",
        ),
    )


def _elsewhere() -> tuple[Step, ...]:
    """k1 inside the reward, and k3 with the sign turned round."""
    return (
        Step(
            "k1 inside the reward: the expected policy gradient of r − β k1, held constant, is that of E[r] − β "
            "KL(π‖π_ref).",
            in_reward,
            Derivative(over_tokens(chance * reward) - β * reverse, θ),
            "The score with the reward as weight; the reverse divergence as above.",
            begins="policy gradient of r − β k1",
            given=("still",),
            name="k1 in the reward",
        ),
        Step(
            "Descending −β k3 moves the forward divergence D at the rate β D′².",
            Derivative(divergence(path), time),
            β * slope**2,
            "Chain rule.",
            begins="growth of D",
            given=("descent of −β k3",),
            where=("D′",),
        ),
        Step(
            "So it grows.",
            β * slope**2,
            S.Zero,
            "Product of a positive number and a square.",
            relation="≥",
            name="wrong sign",
        ),
    )


half = Rational(1, 2)


def _stale_samples(shift: Expr) -> tuple[Expr, Expr]:
    now = Tree({"": {"a": half, "b": half}}, {"a": Integer(0), "b": Integer(0)})
    sampler = Tree({"": {"a": half + shift, "b": half - shift}}, now.reward)
    return sampler.expectation(now.score)[0], Integer(0)


def _two_tokens(later: Expr) -> tuple[Expr, Expr]:
    """The coordinate of the first token, with a divergence after token a if `later` is not 0."""
    tree = Tree(
        {s: {"a": half, "b": half} for s in ("", "a", "b")}, dict.fromkeys(("aa", "ab", "ba", "bb"), Integer(0))
    )
    reference = {
        "": {"a": Rational(1, 4), "b": Rational(3, 4)},
        "a": {"a": half + later, "b": half - later},
        "b": tree.policy["b"],
    }

    def log_ratios(y: str) -> list[Expr]:
        return [log(tree.policy[y[:t]][token] / reference[y[:t]][token]) for t, token in enumerate(y)]

    k2 = tree.expectation(lambda y: tree.score(y, log_ratios(y)))
    return k2[0], tree.gradient(lambda y: sum(log_ratios(y)))[0]


def _with_sign(sign: Expr) -> tuple[Expr, Expr]:
    """The forward divergence before and after a small step down the loss sign × k3."""
    z = symbols("z", real=True)
    policy = Matrix([exp(z), 1]) / (exp(z) + 1)
    reference = Matrix([Rational(1, 4), Rational(3, 4)])
    divergence = sum(r * log(r / c) for r, c in zip(reference, policy, strict=True))
    mean_slope = sum(c * (1 - r / c) * log(c).diff(z) for r, c in zip(reference, policy, strict=True)).subs(z, 0)
    return divergence.subs(z, 0), divergence.subs(z, -sign * mean_slope / 10)


def _witnesses() -> tuple[Witness, ...]:

    return (
        Witness(
            "tokens are sampled from π itself",
            "k1 in the loss",
            "π is uniform on two tokens, the sampler gives the first one 1/2 + δ",
            "expected gradient of k1 in the logit of the first token = 0",
            _stale_samples,
            "δ",
            0,
            Rational(1, 10),
        ),
        Witness(
            "one state: visits to it are not differentiated",
            "reverse",
            "two tokens, uniform policy; π_ref gives the first token a with 1/4 and, after a, the second with 1/2 + δ",
            "expected gradient of k2 in the first token's logit = that of KL(π‖π_ref) of the whole response",
            _two_tokens,
            "δ",
            0,
            Rational(1, 4),
        ),
        Witness(
            "the KL term is added to the loss with the sign +β, except in the last result",
            "forward",
            "π(a) = 1/2, π_ref(a) = 1/4; one step of size 1/10 down the expected gradient of sign × k3",
            "KL(π_ref‖π) before the step > after it",
            _with_sign,
            "sign",
            1,
            -1,
            relation=">",
        ),
    )
