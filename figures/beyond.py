"""Noise, rates and optimisers: what tells rules apart where their expected gradients have one direction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from figures.curves import Curve, MissingData, Panel, Rows, line_labels
from figures.looks import shades
from figures.panels import draw_panels
from figures.runs import Results
from figures.style import Style

_CLOSED = {"1": "REINFORCE, any G", "1/√(p(1−p))": "GRPO, G → ∞", "1/p": "log-likelihood, G → ∞"}


def noise_floors(results: Results) -> Mapping[str, Rows]:
    """The least noise of a group against p, by rule; and the samples at which it equals the signal, by group size.

    Raises:
        MissingData: no check has noise.
    """
    data = _first(results, "noise")["floor"]
    p, size = np.array(data["p"]), data["num_generations"]
    rules = tuple(_curve(results, key, p, values) for key, values in data["methods"].items())
    sizes = tuple(
        Curve(f"RLOO, G = {size}", p, np.array(values, dtype=float)) for size, values in data["samples_by_size"].items()
    )
    return {
        "": [
            [
                Panel(f"G = {size}", "success probability p", "least noise / signal\nof a group", rules, log_y=True),
                Panel("any model", "success probability p", "samples at which\nnoise = signal", sizes, log_y=True),
            ]
        ]
    }


def draw_noise_floors(rows: Rows, style: Style) -> Figure:
    """Rules have their own looks, group sizes go from dark to light."""
    return draw_panels(rows, style.plus(shades(label for label in line_labels(rows) if label.startswith("RLOO, G"))))


def rollouts(results: Results) -> Mapping[str, Rows]:
    """Tokens that each way to roll out needs, relative to a flat group: a line a problem.

    Raises:
        MissingData: no check has noise of rollouts.
    """
    found: dict[str, dict[str, float]] = {}
    for problem, check in results.checks.items():
        ways = {way["name"]: way["tokens_for_unit_noise"] for way in (check.get("noise") or {}).get("rollouts") or []}
        flat = next((tokens for name, tokens in ways.items() if name.startswith("flat")), [None])
        if None not in flat:
            found[problem] = {
                name: float(np.mean([x / one for x, one in zip(tokens, flat, strict=True)]))
                for name, tokens in ways.items()
            }
    if not found:
        raise MissingData("no check/*.json with the noise of rollouts")
    names = max((tuple(shares) for shares in found.values()), key=len)
    curves = tuple(
        Curve(
            problem,
            np.array([float(names.index(name)) for name in shares if name in names]),
            np.array([share for name, share in shares.items() if name in names]),
        )
        for problem, shares in found.items()
    )
    label = "tokens, relative\nto a flat group"
    return {"": [[Panel("", "", label, curves, names=names, log_y=True, markers=True, limits=((1.0, ""),))]]}


def draw_rollouts(rows: Rows, style: Style) -> Figure:
    """Problems are no methods: looks of their own."""
    figure = draw_panels(rows, style.plus(shades(line_labels(rows))))
    for ax in figure.axes:
        ax.tick_params(axis="x", rotation=35)
        for tick in ax.get_xticklabels():
            tick.set_horizontalalignment("right")
            tick.set_rotation_mode("anchor")
    return figure


def rates(results: Results) -> Mapping[str, Rows]:
    """Time to learn a prompt against where it starts; an easy and a hard prompt against time.

    Raises:
        MissingData: no check has rates.
    """
    data = _first(results, "rates")
    starts = np.array(data["starts"])
    size, target = data["num_generations"], data["target"]
    times = tuple(_curve(results, key, starts, method["times"]) for key, method in data["methods"].items())
    closed = tuple(
        Curve(_CLOSED[name], starts, np.array(values)) for name, values in data["limits"].items() if name in _CLOSED
    )
    hard = tuple(
        _curve(results, key, np.array(method["relative_time"]), method["hard"])
        for key, method in data["methods"].items()
    )
    unit = f"time, in times from p = {starts[0]:g} to {target:g}"
    return {
        "": [
            [
                Panel(
                    f"G = {size}",
                    "success probability at first",
                    f"time to p = {target:g}",
                    times,
                    log_x=10,
                    log_y=True,
                ),
                Panel(
                    "closed forms",
                    "success probability at first",
                    f"time to p = {target:g}",
                    closed,
                    log_x=10,
                    log_y=True,
                ),
                Panel(f"from p = {starts[1]:g}", unit, "success probability", hard),
            ]
        ]
    }


def draw_rates(rows: Rows, style: Style) -> Figure:
    """Rules have their own looks, closed forms looks of their own."""
    return draw_panels(rows, style.plus(shades(_CLOSED.values())))


def optimisers(results: Results) -> Mapping[str, Rows]:
    """Exact success against step under each optimiser, and entropy against success: one figure a problem.

    Raises:
        MissingData: no check was asked to train under an optimiser.
    """
    found: dict[str, Rows] = {}
    for problem, check in results.checks.items():
        if not check.get("optimiser"):
            continue
        runs = check["optimiser"]["runs"]
        found[problem] = [
            [
                Panel(
                    f"{name}, learning rate {run['learning_rate']:g}",
                    "step",
                    "success probability",
                    tuple(
                        _curve(results, key, np.arange(len(curves["success"]), dtype=float), curves["success"])
                        for key, curves in run["methods"].items()
                    ),
                )
                for name, run in runs.items()
            ]
        ]
    if not found:
        raise MissingData("no check/*.json was made with --optimiser")
    return found


def _first(results: Results, section: str) -> Any:
    """That section of the first check that has it: it does not depend on the problem."""
    for check in results.checks.values():
        if check.get(section):
            return check[section]
    raise MissingData(f"no check/*.json with {section}")


def _curve(results: Results, key: str, x: np.ndarray, values: list[float | None]) -> Curve:
    return Curve(results.titles.get(key, key), x, np.array(values, dtype=float), look=key)
