"""What the division by the length and the choice of method do to lengths, where every combination was trained."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from figures.comparison import change
from figures.curves import Forest, Interval, MissingData, Sheet
from figures.runs import Arm, Results, panels, settings
from figures.statistics import FEWEST, Estimate, factorial_effects, holm

FACTORS = ("method", "averaging of the loss")
OUTCOMES = {
    "eval/incorrect_mean_length": "wrong responses: change of\nthe length (tokens)",
    "eval/correct_mean_length": "right responses: change of\nthe length (tokens)",
}


def length_factorial(results: Results) -> Mapping[str, Sheet]:
    """Effects on how lengths changed in training, paired by seed: a figure a task and model, a panel an outcome.

    Raises:
        MissingData: no task and model on which two methods or more were trained with two averagings or more, all with
            the same three seeds at least.
    """
    found = {}
    for (task, model), arms in panels(results.all_arms).items():
        forests = tuple(
            Forest(f"{task} · {model}", label, _rows(factorial_effects(cells, FACTORS)))
            for name, label in OUTCOMES.items()
            if (cells := _cells(arms, name))
        )
        if forests:
            found[f"{task}-{model}"] = Sheet((forests,))
    if not found:
        raise MissingData("no two methods were trained with two averagings of the loss on the same three seeds")
    return found if len(found) > 1 else {"": next(iter(found.values()))}


def _cells(arms: list[Arm], name: str) -> dict[tuple[str, ...], Float[np.ndarray, " seeds"]]:
    """The change of every seed by method and averaging; empty unless all combinations are there with the same seeds."""
    cells: dict[tuple[str, ...], Float[np.ndarray, " seeds"]] = {}
    seeds = set()
    for arm in arms:
        place = arm.title, str(settings(arm.runs[0]).get("objective.aggregation", ""))
        moved = change(arm, name)
        if place in cells or moved is None or len(arm.runs) < FEWEST:
            continue  # Of variants of one combination the first counts, which is the compared one.
        _, values = arm.matrix(name)
        cells[place] = values[:, -1] - values[:, 0]
        seeds.add(arm.seeds)
    methods, averagings = ({place[i] for place in cells} for i in range(2))
    whole = len(cells) == len(methods) * len(averagings) and len(methods) > 1 and len(averagings) > 1
    return cells if whole and len(seeds) == 1 else {}


def _rows(effects: Mapping[str, Estimate]) -> tuple[Interval, ...]:
    """An effect a row; a star where Holm's rule for all of them leaves it below 0.05."""
    adjusted = holm([effect.p_value for effect in effects.values()])
    return tuple(
        Interval(name + (" *" if p is not None and p < 0.05 else ""), effect.mean, (effect.ends,), look="reinforce")
        for (name, effect), p in zip(effects.items(), adjusted, strict=True)
    )
