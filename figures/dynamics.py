"""Exact training on small MDPs with samples of several ages, and how fast critics of states and of histories learn."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from figures.curves import Curve, MissingData, Panel, Rows, line_labels
from figures.looks import shades
from figures.panels import draw_panels
from figures.runs import Results
from figures.style import Style

_MEASURES = {"success": "success probability\n(exact, %)", "length_wrong": "length of wrong\nresponses (exact, tokens)"}
CRITICS = {"history": "critic of histories", "state": "critic of states", "exact": "exact advantages"}


def staleness(results: Results) -> Mapping[str, Rows]:
    """Success and length of wrong responses against step: a column a method, a line an age. One figure a problem.

    Raises:
        MissingData: no check has exact training runs.
    """
    found: dict[str, Rows] = {}
    for problem, check in results.checks.items():
        if data := check.get("staleness"):
            ages = [age_name(age) for age in data["refresh_every"]]
            found[problem] = [
                [
                    Panel(
                        results.titles[key],
                        "step",
                        label,
                        tuple(map(_line, ages, curves[name])),
                        percent=name == "success",
                        scale=name,
                    )
                    for key, curves in data["methods"].items()
                ]
                for name, label in _MEASURES.items()
            ]
    if not found:
        raise MissingData("no check/*.json with exact training runs")
    return found


def draw_staleness(rows: Rows, style: Style) -> Figure:
    """The fresher the samples, the darker the line."""
    return draw_panels(rows, style.plus(shades(line_labels(rows))))


def critics(results: Results) -> Mapping[str, Rows]:
    """Error of the gradient against the responses a critic has learned from: a panel a problem.

    Raises:
        MissingData: no checked problem has states that several histories lead to.
    """
    row: list[Panel] = []
    for problem, check in results.checks.items():
        if data := check.get("critic"):
            x = np.array(data["responses"], dtype=float)
            values = {**data["relative_error"], "exact": [data["exact"]] * x.size}
            lines = tuple(Curve(label, x, np.array(values[name])) for name, label in CRITICS.items())
            label = "error of the gradient,\nrelative to uniform credit"
            row.append(Panel(problem, "responses to each prompt", label, lines, log_x=2, markers=True))
    if not row:
        raise MissingData("no check/*.json of a problem whose states recombine")
    return {"": [row[start : start + 3] for start in range(0, len(row), 3)]}


def draw_critics(rows: Rows, style: Style) -> Figure:
    """Looks of their own: critics are no methods."""
    return draw_panels(rows, style.plus(shades(CRITICS.values())))


def age_name(refresh_every: int | None) -> str:
    """How often samples are refreshed, in words; None is never."""
    if refresh_every is None:
        return "never refreshed"
    return "refreshed every step" if refresh_every == 1 else f"refreshed every {refresh_every} steps"


def _line(age: str, values: list[float]) -> Curve:
    return Curve(age, np.arange(len(values), dtype=float), np.array(values))
