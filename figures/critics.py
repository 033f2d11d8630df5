"""What the error of a critic costs, how many responses it has to learn from, and where it beats groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures.curves import Curve, MissingData, Panel, Rows, line_labels
from figures.looks import shades
from figures.panels import draw_panels
from figures.runs import Results
from figures.style import Style
from figures.verdicts import Verdict

SHOWN_DECAYS = (0.0, 0.9, 0.95, 1.0)
GROUP = 8
"""The group size at which critics are compared with groups, problem by problem."""


def learned_critics(results: Results) -> Mapping[str, Rows]:
    """Squared error of G responses' gradient against the critic's error: a panel a problem, a line a λ.

    Raises:
        MissingData: no check has learned critics.
    """
    panels: list[Panel] = []
    for problem, check in results.checks.items():
        data = check.get("learned_critic")
        if not data or GROUP not in data["num_generations"]:
            continue
        place = data["num_generations"].index(GROUP)
        errors = np.array(data["errors"])
        lines = tuple(
            Curve(_decay(decay), errors[1:], np.array([row[place] for row in rows])[1:])
            for decay, rows in zip(data["gae_lambda"], data["squared_error"], strict=True)
            if decay in SHOWN_DECAYS
        )
        panels.append(
            Panel(
                problem,
                "error of the critic\n(deviations of the return)",
                "squared error of the gradient,\nrelative to ‖∇J‖²",
                lines,
                log_y=True,
                log_x=10,
                markers=True,
                limits=((data["leave_one_out"][place], f"leave-one-out, G = {GROUP}"),),
            )
        )
    if not panels:
        raise MissingData("no check/*.json with learned critics")
    return {"": [panels[start : start + 3] for start in range(0, min(len(panels), 9), 3)]}


def fitted_critics(results: Results) -> Mapping[str, Rows]:
    """Squared error of G responses' gradient against the responses that the critic learned from; panels as above.

    Raises:
        MissingData: no check has learned critics.
    """
    panels: list[Panel] = []
    for problem, check in results.checks.items():
        data = check.get("learned_critic")
        if not data or GROUP not in data["num_generations"]:
            continue
        counts = np.array(data["fitted"]["responses"], dtype=float)
        lines = tuple(
            Curve(_decay(decay), counts, np.array(found["bias"]) + np.array(found["variance"]) / GROUP)
            for decay, found in zip(data["gae_lambda"], data["fitted"]["by_lambda"], strict=True)
            if decay in SHOWN_DECAYS
        )
        limit = data["leave_one_out"][data["num_generations"].index(GROUP)]
        label = "squared error of the gradient,\nrelative to ‖∇J‖²"
        limits = ((limit, f"leave-one-out, G = {GROUP}"),)
        panels.append(Panel(problem, "responses learned from", label, lines, log_x=2, markers=True, limits=limits))
    if not panels:
        raise MissingData("no check/*.json with learned critics")
    return {"": [panels[start : start + 3] for start in range(0, min(len(panels), 9), 3)]}


def critic_map(results: Results) -> Mapping[str, Rows]:
    """The break-even error against the horizon: a panel a λ, a line a G.

    Raises:
        MissingData: no check has the map.
    """
    data = first_of(results, "critic_map", "no check/*.json with a map of critics")
    row = []
    for number, decay in enumerate(data["gae_lambda"]):
        if decay in SHOWN_DECAYS:
            found = np.array([[_number(error) for error in rows[number]] for rows in data["break_even"]])
            lines = tuple(
                Curve(f"G = {size}", np.array(data["horizons"], dtype=float), found[:, column])
                for column, size in enumerate(data["num_generations"])
            )
            label = "break-even error of the critic,\nin deviations of the return"
            row.append(Panel(_decay(decay), "horizon (tokens)", label, lines, log_x=2, markers=True, scale="error"))
    return {"": [row[:2], row[2:]]}


def draw_shaded(rows: Rows, style: Style) -> Figure:
    """Lines are dials, not methods: shades in their order."""
    return draw_panels(rows, style.plus(shades(line_labels(rows))))


def judge_critics(results: Results) -> list[Verdict]:
    """Below which error of its critic PPO has the smaller squared error at equal responses, problem by problem."""
    found = []
    for problem, check in results.checks.items():
        if data := check.get("learned_critic"):
            place = data["num_generations"].index(GROUP) if GROUP in data["num_generations"] else 0
            size = data["num_generations"][place]
            listed = ", ".join(
                f"{_words(rows[place])} at λ = {decay:g}"
                for decay, rows in zip(data["gae_lambda"], data["break_even"], strict=True)
            )
            text = (
                f"{problem}, G = {size}: credit by a critic has a smaller squared error than leave-one-out groups if "
                f"the critic's error, in deviations of the return, is below {listed}."
            )
            found.append(Verdict(problem, "measured", text))
    return found


def first_of(results: Results, name: str, reason: str) -> Any:
    """The section `name` of the first check that has it; for what does not depend on the problem.

    Raises:
        MissingData: no check has it, for this reason.
    """
    for check in results.checks.values():
        if check.get(name):
            return check[name]
    raise MissingData(reason)


def _decay(decay: float) -> str:
    return f"λ = {decay:g}"


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _words(error: float | None) -> str:
    return "any size" if error is None else f"{error:.2f}"
