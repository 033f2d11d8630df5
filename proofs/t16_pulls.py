"""T16, two prompts that share one logit: how hard each rule pulls at it."""

from sympy import Derivative, S, exp, sqrt, symbols

from proofs.parts import Definition, Step

z = symbols("z", real=True)
logistic = 1 / (1 + exp(-z))


DRIFTS = {
    "REINFORCE": (logistic * (1 - logistic), logistic * (1 - logistic) * (1 - 2 * logistic)),
    "GRPO": (sqrt(logistic * (1 - logistic)), sqrt(logistic * (1 - logistic)) * (1 - 2 * logistic) / 2),
    "log-likelihood": (1 - logistic, -logistic * (1 - logistic)),
}
"""c(p) p (1 − p), with which a prompt pulls at its logit, and how the pull changes with the logit."""


def definitions() -> tuple[Definition, ...]:
    return (
        *(
            Definition(f"change of the pull of {name}", "c(p) p (1 − p) in the logit z of p", Derivative(pull, z))
            for name, (pull, _) in DRIFTS.items()
        ),
        Definition("fall of the pull", "of the log-likelihood", -DRIFTS["log-likelihood"][1]),
    )


def steps() -> tuple[Step, ...]:
    return (
        *(
            Step(
                f"{name}: how the pull of a prompt changes while its logit grows.",
                Derivative(pull, z),
                change,
                "Derivative of the logistic function.",
                begins=f"change of the pull of {name}",
                name=f"pull of {name}",
            )
            for name, (pull, change) in DRIFTS.items()
        ),
        Step(
            "The pull of the log-likelihood falls at every p: the sum over prompts has one maximum.",
            -DRIFTS["log-likelihood"][1],
            S.Zero,
            "Product of positive numbers.",
            relation=">",
            begins="fall of the pull",
            name="log-likelihood keeps both",
        ),
    )
