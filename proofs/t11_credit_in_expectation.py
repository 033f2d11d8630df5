"""T11: the estimator gives every token the same credit; its expectation does not."""

from sympy import Derivative, Expr, Function, Integer, Rational, S, Sum, exp, symbols

from proofs.instances import bandit, grpo, over_length, proportions
from proofs.notation import G, i
from proofs.theorem import Step, Theorem, Witness

z = symbols("z", real=True)
R, d, π_a = symbols("R d pi_a", positive=True)
T, Q, V, J_else = symbols("T Q V J_else", real=True)
b = symbols("b", integer=True, positive=True)
reward = Function("r", real=True)


def theorem() -> Theorem:
    chance = exp(z) / (exp(z) + R)
    value = (Q * exp(z) + T) / (exp(z) + R)
    mean = Sum(reward(i), (i, 1, G)) / G
    branch = Sum(reward(i), (i, 1, b)) / b
    return Theorem(
        id="T11",
        title="Uniform credit still assigns credit in expectation",
        statement=(
            "With tabular logits the expected gradient of the bandit view in the logit of action a in state s is d(s) "
            "π(a|s) A^π(s, a): the true advantage of the action, as if each token had been judged. Within a group "
            "whose advantages sum to zero, tokens of a prefix that all share get weight 0, and tokens of a prefix that "
            "b of the G share get in sum b times what their branch is better than the group. The degeneracy is in the "
            "estimator, one number for a response, not in the expected direction."
        ),
        assumptions=(
            "tabular logits: those of s act nowhere else, and s is visited at most once",
            "terminal reward; on-policy; no 1/L",
        ),
        symbolic="number of actions (through R and T), group size G, size b of the branch, rewards, visits d(s)",
        steps=(
            Step(
                "The probability of an action grows with its logit z at the rate π(1 − π).",
                Derivative(chance, z),
                chance * (1 - chance),
                "Softmax: π_a = e^z/(e^z + R), where R is the sum of exp(logit) over the other actions.",
            ),
            Step(
                "The value of the state grows at the rate π_a (Q_a − V).",
                Derivative(value, z),
                chance * (Q - value),
                "V = (Q_a e^z + T)/(e^z + R), where T is the sum of Q exp(logit) over the other actions.",
            ),
            Step(
                "So the gradient of J is d(s) π(a|s) A(s, a).",
                Derivative(J_else + d * value, z),
                d * chance * (Q - value),
                "J = (responses that do not pass s) + d(s) V(s); the logits of s change neither d(s) nor the rest.",
                name="gradient",
            ),
            Step(
                "The mean of reward × score is the same: the score is 1 − π_a if a is taken and −π_a if not.",
                d * (π_a * (1 - π_a) * Q - π_a * (V - π_a * Q)),
                d * π_a * (Q - V),
                "The other actions contribute V − π_a Q to the value.",
                name="estimator",
            ),
            Step(
                "Tokens that the whole group shares: their weights cancel.",
                Sum(reward(i) - mean, (i, 1, G)),
                0,
                "Linearity. Dividing by the deviation keeps the zero.",
                name="shared prefix",
            ),
            Step(
                "Tokens that responses 1 … b share: their weights add up to b times the lead of the branch over the "
                "group.",
                Sum(reward(i) - mean, (i, 1, b)),
                b * (branch - mean),
                "Linearity. So a group estimates the advantage of the prefix, without a critic.",
                name="branch",
            ),
        ),
        witnesses=_witnesses(),
    )


def _witnesses() -> tuple[Witness, ...]:
    def shared(power: Expr) -> tuple[Expr, Expr]:
        responses, advantages = ("a.", "ab."), grpo((Integer(1), Integer(0)))
        weights = [over_length(power)(y, advantage)[0] for y, advantage in zip(responses, advantages, strict=True)]
        return sum(weights, S.Zero), S.Zero

    def direction(power: Expr) -> tuple[Expr, Expr]:
        tree = bandit((".", Rational(1, 4), 1), ("a.", Rational(1, 4), 0), ("aa", Rational(1, 2), 1))
        state_advantages = tree.gradient(tree.reward.__getitem__)
        return proportions(tree.group_gradient(lambda rewards: rewards, 1, over_length(power)), state_advantages)

    return (
        Witness(
            "no 1/L (within a group)",
            "group 'a.' (right) and 'ab.' (wrong), GRPO, weights A/L^λ",
            "weights of the shared first token add up to 0",
            shared,
            "λ",
            0,
            1,
        ),
        Witness(
            "no 1/L (in expectation)",
            "responses '.', 'a.', 'aa' with probabilities 1/4, 1/4, 1/2, the second wrong; REINFORCE, weights r/L^λ",
            "E[gradient] / (d π A) in the coordinate where it is smallest = where it is largest",
            direction,
            "λ",
            0,
            1,
        ),
    )
