"""Is RL post-training of language models more than outcome-weighted supervised fine-tuning?

The Python side of the front door; the command line is the other (`rino --help`):

    import rino
    print(rino.check(rino.problem("countdown")))          # the claim on a small problem, exactly
    rino.coefficient("grpo", 0.25, num_generations=8)     # c(p): what GRPO makes of ∇p
    rino.samples_needed("grpo", 0.05)                     # whatever the model, a step needs at least so many
    rino.audit(my_loss)                                   # is this loss outcome-driven SFT?
    run = rino.train(method="f-isft-pm", steps=50)        # train the embedded small model
    rino.figures(run)                                     # and draw it

Importing rino loads no numerical library; each function loads the room that it needs. Wrong input raises `InputError`,
whose two lines name the value, the rule and the mend.
"""

from rino.experiments import compare, figures, train
from rino.results import (
    AuditResult,
    CheckResult,
    ComparisonResult,
    FiguresResult,
    GradientResult,
    MethodChoice,
    ProofResult,
    RunResult,
)
from rino.theory import check, coefficient, gradient, method, problem, samples_needed
from rino.verdicts import audit, audited, prove
from rino_base.messages import InputError

__version__ = "0.1.0"

__all__ = [
    "AuditResult",
    "CheckResult",
    "ComparisonResult",
    "FiguresResult",
    "GradientResult",
    "InputError",
    "MethodChoice",
    "ProofResult",
    "RunResult",
    "audit",
    "audited",
    "check",
    "coefficient",
    "compare",
    "figures",
    "gradient",
    "method",
    "problem",
    "prove",
    "samples_needed",
    "train",
]
