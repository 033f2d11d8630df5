"""What GRPO makes of many reward levels, by group size."""

from collections.abc import Mapping

import numpy as np

from figures.critics import first_of
from figures.curves import Curve, Panel, Rows
from figures.runs import Results


def reward_levels(results: Results) -> Mapping[str, Rows]:
    """GRPO's expected advantage against the reward: a panel without noise and one with, a line a G.

    Raises:
        MissingData: no check has curves over reward levels.
    """
    data = first_of(results, "level_curves", "no check/*.json with curves over reward levels")
    levels = np.array(data["levels"])
    row = [
        Panel(
            "rewards as they are" if noise == 0 else f"with normal noise of deviation {noise:g}",
            "reward",
            "expected advantage",
            tuple(
                Curve("G → ∞" if size == "infinity" else f"G = {size}", levels, np.array(values))
                for size, values in data["advantage"][str(noise)].items()
            ),
            scale="advantage",
        )
        for noise in data["noise"]
    ]
    return {"": [row]}
