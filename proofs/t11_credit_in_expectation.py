"""T11: the estimator gives every token the same credit; its expectation does not."""

from collections.abc import Sequence

from sympy import Derivative, Expr, Function, Integer, Rational, S, Sum, exp, symbols

from proofs.instances import Rule, bandit, grpo, over_length, proportions
from proofs.notation import G, i
from proofs.parts import Assumption, Definition, Step, Witness
from proofs.theorem import Theorem

z = symbols("z", real=True)
R, d, π_a = symbols("R d pi_a", positive=True)
T, Q, V, J_else = symbols("T Q V J_else", real=True)
b = symbols("b", integer=True, positive=True)
reward = Function("r", real=True)


chance = exp(z) / (exp(z) + R)
value = (Q * exp(z) + T) / (exp(z) + R)
mean = Sum(reward(i), (i, 1, G)) / G
estimate = d * (π_a * (1 - π_a) * Q - π_a * (V - π_a * Q))


def theorem() -> Theorem:
    return Theorem(
        id="T11",
        title="Uniform credit still assigns credit in expectation",
        words=(
            "With tabular logits the expected gradient of the bandit view in the logit of action a in state s is "
            "{estimator}, the chance of the state and action times the true advantage of the action, as if each token "
            "had been judged. Within a group whose advantages sum to zero, tokens of a prefix that all share get "
            "weight {shared prefix}, and tokens of a prefix that b of the G share get in sum b times what their branch "
            "is better than the group. The degeneracy is in the estimator, one number for a response, not in the "
            "expected direction."
        ),
        results=("probability", "value", "gradient", "estimator", "shared prefix", "branch"),
        definitions=_definitions(),
        assumptions=(
            Assumption("tabular logits: those of s act nowhere else, and s is visited at most once"),
            Assumption("on-policy"),
            Assumption("no 1/L"),
            Assumption("advantages sum to zero, for shared prefixes"),
        ),
        steps=(
            *_tabular(),
            *_shared_tokens(),
        ),
        witnesses=_witnesses(),
    )


def _definitions() -> tuple[Definition, ...]:
    return (
        Definition(
            "slope of a probability",
            "in its logit z: softmax, R is the sum of exp(logit) over the other actions",
            Derivative(chance, z),
        ),
        Definition(
            "slope of the value of the state",
            "T is the sum of Q exp(logit) over the other actions",
            Derivative(value, z),
        ),
        Definition(
            "slope of J",
            "responses that do not pass s, and d(s) V(s); the logits of s change neither d(s) nor the rest",
            Derivative(J_else + d * value, z),
        ),
        Definition(
            "mean of reward × score",
            "the score is 1 − π_a if a is taken and −π_a if not; other actions contribute V − π_a Q to the value",
            estimate,
        ),
        Definition("weights of a shared prefix", "of all responses of the group", Sum(reward(i) - mean, (i, 1, G))),
        Definition("weights of a branch", "that responses 1 … b share", Sum(reward(i) - mean, (i, 1, b))),
    )


def _tabular() -> tuple[Step, ...]:
    """In tabular logits the gradient is d π A, and so is the mean of reward × score."""
    return (
        Step(
            "The probability of an action grows with its logit z at the rate π(1 − π).",
            Derivative(chance, z),
            chance * (1 - chance),
            "Quotient rule.",
            begins="slope of a probability",
            name="probability",
        ),
        Step(
            "The value of the state grows at the rate π_a (Q_a − V).",
            Derivative(value, z),
            chance * (Q - value),
            "Quotient rule.",
            begins="slope of the value of the state",
            name="value",
        ),
        Step(
            "So the gradient of J is d(s) π(a|s) A(s, a).",
            Derivative(J_else + d * value, z),
            d * chance * (Q - value),
            "Linearity.",
            begins="slope of J",
            name="gradient",
        ),
        Step(
            "The mean of reward × score is the same.",
            estimate,
            d * π_a * (Q - V),
            "Collect.",
            begins="mean of reward × score",
            name="estimator",
        ),
    )


def _shared_tokens() -> tuple[Step, ...]:
    """What the weights of tokens that responses share add up to."""
    branch = Sum(reward(i), (i, 1, b)) / b
    return (
        Step(
            "Tokens that the whole group shares: their weights cancel.",
            Sum(reward(i) - mean, (i, 1, G)),
            S.Zero,
            "Linearity. Dividing by the deviation keeps the zero.",
            begins="weights of a shared prefix",
            name="shared prefix",
        ),
        Step(
            "Tokens that responses 1 … b share: their weights add up to b times the lead of the branch over the group.",
            Sum(reward(i) - mean, (i, 1, b)),
            b * (branch - mean),
            "Linearity. So a group estimates the advantage of the prefix, without a critic.",
            begins="weights of a branch",
            name="branch",
        ),
    )


def _shared(power: Expr, rule: Rule = grpo) -> tuple[Expr, Expr]:
    responses, advantages = ("a.", "ab."), rule((Integer(1), Integer(0)))
    weights = [over_length(power)(y, advantage)[0] for y, advantage in zip(responses, advantages, strict=True)]
    return sum(weights, S.Zero), S.Zero


def _with_offset(offset: Expr) -> tuple[Expr, Expr]:
    def rule(rewards: Sequence[Expr]) -> list[Expr]:
        return [a + offset for a in grpo(rewards)]

    return _shared(S.Zero, rule)


def _direction(power: Expr) -> tuple[Expr, Expr]:
    tree = bandit((".", Rational(1, 4), 1), ("a.", Rational(1, 4), 0), ("aa", Rational(1, 2), 1))
    state_advantages = tree.gradient(tree.reward.__getitem__)
    return proportions(tree.group_gradient(lambda rewards: rewards, 1, over_length(power)), state_advantages)


def _tied(share: Expr) -> tuple[Expr, Expr]:
    """J = P(a) P(a again), with logits z and κ z at the two tokens, at z = 0; the first state's d π A."""
    first, second = (exp(logit) / (exp(logit) + 1) for logit in (z, share * z))
    half = S.Half
    return (first * second).diff(z).subs(z, 0), half * (half - half * half)


def _stale(shift: Expr) -> tuple[Expr, Expr]:
    """Mean of reward × score under a sampler that takes a with 1/2 + δ; rewards 1 and 0, π uniform."""
    half = S.Half
    return (half + shift) * (1 - half), half * (1 - half)


def _witnesses() -> tuple[Witness, ...]:

    return (
        Witness(
            "tabular logits: those of s act nowhere else, and s is visited at most once",
            "gradient",
            "two tokens, both have to be a; the logit of the first is z, of the second κ z; at z = 0",
            "∂J/∂z = d π A of the first token",
            _tied,
            "κ",
            0,
            1,
        ),
        Witness(
            "on-policy",
            "estimator",
            "one token, a has reward 1, π is uniform on two; the sampler takes a with probability 1/2 + δ",
            "mean of reward × score of π = d π A",
            _stale,
            "δ",
            0,
            Rational(1, 4),
        ),
        Witness(
            "advantages sum to zero, for shared prefixes",
            "shared prefix",
            "group 'a.' (right) and 'ab.' (wrong), GRPO's advantages plus b, no 1/L",
            "weights of the shared first token add up to 0",
            _with_offset,
            "b",
            0,
            1,
        ),
        Witness(
            "no 1/L (within a group)",
            "shared prefix",
            "group 'a.' (right) and 'ab.' (wrong), GRPO, weights A/L^λ",
            "weights of the shared first token add up to 0",
            _shared,
            "λ",
            0,
            1,
        ),
        Witness(
            "no 1/L (in expectation)",
            "estimator",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; REINFORCE, weights r/L^λ",
            "E[gradient] / (d π A) in the coordinate where it is smallest = where it is largest",
            _direction,
            "λ",
            0,
            1,
        ),
    )
