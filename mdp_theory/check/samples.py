"""`rino samples`: how many samples a training step needs where success is rare, and how long learning takes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from rino_base.files import write_json
from rino_base.messages import print_table


def samples(
    *methods: str,
    p: float = 0.05,
    num_generations: Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative=())] = (4, 8, 16, 64),
    progress: float = 0.5,
    score_noise: float = 0.0,
    target: float = 0.9,
    json: Path | None = None,
) -> int:
    """Samples that one step needs at success probability p, by method and group size, from theorem T17.

    With on-policy samples, rewards 0 and 1 and no division by lengths, a group's gradient has a noise that no model is
    below: the part that the outcomes alone cause, a function of p, the group size and the method. It is what is shown
    for a score noise of 0; real scores add theirs in proportion.

    Args:
        methods: of the catalogue. Default: those whose c(p) differ.
        p: success probability of the prompt.
        num_generations: responses in one group.
        progress: of the progress that the best step would make without noise, the share that is wanted. At 0.5 noise
            and signal are equal.
        score_noise: how much scores vary among responses of one outcome, over how much their mean varies between
            right and wrong.
        target: success probability up to which the time of the gradient flow is given.
        json: write the rows here.
    """
    from mdp_theory.check.beyond import RULES, samples_record
    from mdp_theory.methods.catalogue import get

    keys = [get(name).key for name in methods or RULES]
    rows = samples_record(keys, p, num_generations, progress=progress, score_noise=score_noise, target=target)
    print_table(
        f"One step at p = {p:g} that makes {progress:.0%} of the progress of a step without noise",
        [
            "method",
            "G",
            "c(p)",
            "groups without signal",
            "noise / signal of a group",
            "groups",
            "samples",
            "time to target",
        ],
        [list(row.values()) for row in rows],
    )
    kind = "at least so many, whatever the model" if score_noise == 0 else f"at a score noise of {score_noise:g}"
    print(f"Samples: {kind}. Time: of the gradient flow to p = {target:g}, in learning rates (many responses).")
    if json is not None:
        write_json(json, rows)
    return 0
