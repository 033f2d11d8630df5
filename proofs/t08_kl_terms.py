"""T8: what each estimator of the KL divergence does to the weights of the sampled tokens."""

from sympy import Derivative, Expr, Function, Integer, Matrix, Rational, Subs, Sum, Symbol, exp, log, symbols

from proofs.instances import Tree
from proofs.notation import N, j, β, θ, π
from proofs.theorem import Step, Theorem, Witness

chance = π(j, θ)
reference = Function("pi_ref", positive=True)(j)
reward = Function("r", real=True)(j)
score = Derivative(log(chance), θ)
quotient = reference / chance
slope, x = symbols("g x", real=True)
time = Symbol("t", real=True)
path, divergence = Function("theta", real=True)(time), Function("D", real=True)


def over_tokens(term: Expr) -> Sum:
    """Σ_j over the N tokens of the vocabulary."""
    return Sum(term, (j, 1, N))


def theorem() -> Theorem:
    certain = {over_tokens(chance): Integer(1)}
    no_drift = {over_tokens(Derivative(chance, θ)): Integer(0)}
    still = "probabilities sum to 1, so their derivatives sum to 0"
    log_ratio = log(chance) - log(reference)
    reverse, forward = over_tokens(chance * log_ratio), over_tokens(reference * -log_ratio)
    rate = Subs(Derivative(divergence(x), x), x, path)
    k3 = quotient - log(reference) + log(chance) - 1
    return Theorem(
        id="T8",
        title="KL terms as weights",
        statement=(
            "At a state where tokens are sampled from π, let q = π_ref/π. As a loss, k1 = −log q has an expected "
            "gradient of 0; k2 = (log q)²/2 weighs the score with −log q and its mean is the gradient of the reverse "
            "divergence KL(π‖π_ref); k3 = q − 1 − log q weighs it with 1 − q and its mean is the gradient of the "
            "forward divergence KL(π_ref‖π). k1 inside the reward gives the gradient of the reverse divergence. With "
            "the wrong sign, loss − β k3, training climbs the forward divergence."
        ),
        assumptions=(
            "tokens are sampled from π itself",
            "one state: the divergence is that of the next token; visits to the state are not differentiated",
            "the KL term is added to the loss with the sign +β",
        ),
        symbolic="vocabulary size N, policy π(j, θ), reference policy, rewards, β",
        steps=(
            Step(
                "The scores have mean 0.",
                over_tokens(chance * score),
                Derivative(over_tokens(chance), θ),
                "π ∂ log π = ∂π.",
            ),
            Step(
                "For π sums to 1.",
                Derivative(over_tokens(chance), θ),
                0,
                "Derivative of 1.",
                given=certain,
                why_given="Σ_j π(j) = 1",
            ),
            Step(
                "k1 = −log q weighs the score with 1 …",
                Derivative(log_ratio, θ),
                score,
                "π_ref does not depend on θ.",
                name="k1",
            ),
            Step(
                "… so its expected gradient is 0.",
                over_tokens(chance * Derivative(log_ratio, θ)),
                0,
                "Mean of the score.",
                given=no_drift,
                why_given=still,
            ),
            Step(
                "k2 = (log q)²/2 weighs the score with −log q.",
                Derivative(log_ratio**2 / 2, θ),
                log_ratio * score,
                "Chain rule.",
                name="k2",
            ),
            Step(
                "Its expected gradient is that of the reverse divergence.",
                Derivative(reverse, θ),
                over_tokens(chance * log_ratio * score),
                "Product rule; the derivative of the logarithm has mean 0.",
                given=no_drift,
                why_given=still,
                name="reverse",
            ),
            Step(
                "k3 = q − 1 − log q weighs the score with 1 − q.",
                Derivative(k3, θ),
                (1 - quotient) * score,
                "∂q = −q ∂ log π.",
                name="k3",
            ),
            Step(
                "Its expected gradient is that of the forward divergence.",
                Derivative(forward, θ),
                over_tokens(chance * (1 - quotient) * score),
                "π q = π_ref, and the score has mean 0.",
                given=no_drift,
                why_given=still,
                name="forward",
            ),
            Step(
                "k1 inside the reward: the expected policy gradient of r − β k1, held constant, is that of E[r] − β "
                "KL(π‖π_ref).",
                over_tokens(chance * (reward - β * log_ratio) * score),
                Derivative(over_tokens(chance * reward) - β * reverse, θ),
                "The score with the reward as weight; the reverse divergence as above.",
                given=no_drift,
                why_given=still,
                name="k1 in the reward",
            ),
            Step(
                "Descending −β k3 moves the forward divergence D, whose mean gradient k3 has, at the rate β D′².",
                Derivative(divergence(path), time),
                β * rate**2,
                "Chain rule.",
                given={Derivative(path, time): β * rate},
                why_given="dθ/dt = −(−β D′(θ))",
            ),
            Step("So it grows.", β * slope**2, 0, "Product of a positive number and a square.", relation="≥"),
        ),
        witnesses=_witnesses(),
        remark=(
            "Over a whole response, k2 and k3 sum the terms of the states visited and leave out that early tokens "
            "decide which states come later (second witness); k1 in the reward, with the return of the whole response, "
            "does not."
        ),
    )


def _witnesses() -> tuple[Witness, ...]:
    half = Rational(1, 2)

    def stale_samples(shift: Expr) -> tuple[Expr, Expr]:
        now = Tree({"": {"a": half, "b": half}}, {"a": Integer(0), "b": Integer(0)})
        sampler = Tree({"": {"a": half + shift, "b": half - shift}}, now.reward)
        return sampler.expectation(now.score)[0], Integer(0)

    def two_tokens(later: Expr) -> tuple[Expr, Expr]:
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

    def sign(sign: Expr) -> tuple[Expr, Expr]:
        """The forward divergence before and after a small step down the loss sign × k3."""
        z = symbols("z", real=True)
        policy = Matrix([exp(z), 1]) / (exp(z) + 1)
        reference = Matrix([Rational(1, 4), Rational(3, 4)])
        divergence = sum(r * log(r / c) for r, c in zip(reference, policy, strict=True))
        mean_slope = sum(c * (1 - r / c) * log(c).diff(z) for r, c in zip(reference, policy, strict=True)).subs(z, 0)
        return divergence.subs(z, 0), divergence.subs(z, -sign * mean_slope / 10)

    return (
        Witness(
            "tokens are sampled from π itself",
            "π is uniform on two tokens, the sampler gives the first one 1/2 + δ",
            "expected gradient of k1 in the logit of the first token = 0",
            stale_samples,
            "δ",
            0,
            Rational(1, 10),
        ),
        Witness(
            "one state",
            "two tokens, uniform policy; π_ref gives the first token a with 1/4 and, after a, the second with 1/2 + δ",
            "expected gradient of k2 in the first token's logit = that of KL(π‖π_ref) of the whole response",
            two_tokens,
            "δ",
            0,
            Rational(1, 4),
        ),
        Witness(
            "the KL term is added with the sign +β",
            "π(a) = 1/2, π_ref(a) = 1/4; one step of size 1/10 down the expected gradient of sign × k3",
            "KL(π_ref‖π) before the step > after it",
            sign,
            "sign",
            1,
            -1,
            relation=">",
        ),
    )
