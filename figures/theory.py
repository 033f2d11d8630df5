"""What exact computation on small MDPs found: c(p), Φ(p), and how the equivalence ends off-policy."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from figures.curves import Curve, MissingData, Panel, Rows, draw_panel, draw_panels
from figures.runs import Results, Row
from figures.style import PAGE, Look, add_legend, few_decades, grid, shades

MEASURES = (
    ("cosine", "cosine with the\nSFT gradient"),
    ("relative_error", "relative error to the\nSFT gradient"),
    ("credit_structure_index", "credit-structure index η"),
    ("clip_fraction", "clipped tokens"),
)


def coefficients(results: Results) -> Mapping[str, tuple[Panel, Panel, Panel]]:
    """c(p) and Φ(p) of every method, methods of equal c as one line, and c(p) of GRPO against group size.

    One figure for every group size among the checks.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, tuple[Panel, Panel, Panel]] = {}
    for check in results.checks.values():
        if curves := check.get("curves"):
            found.setdefault(f"g{curves['num_generations']}", _coefficient_panels(curves, results))
    if not found:
        raise MissingData("no check/*.json with curves of c(p)")
    return found if len(found) > 1 else {"": next(iter(found.values()))}


def draw_coefficients(panels: tuple[Panel, Panel, Panel], looks: Mapping[str, Look]) -> Figure:
    """Three panels; the legend names the methods that share a line."""
    figure, axes = grid(1, 3, width=PAGE, height=2.2)
    sizes = shades(curve.label for curve in panels[2].curves)
    for ax, panel, known in zip(axes[0], panels, (looks, looks, sizes), strict=True):
        draw_panel(ax, panel, known)
        ax.set_title(panel.title)
        if panel.log_y:
            few_decades(ax.yaxis)
            # Lines set the range: a problem that is hardly ever solved would stretch it over many decades.
            values = np.concatenate([curve.y for curve in panel.curves if not curve.points])
            ax.set_ylim(values.min() / 1.3, values.max() * 1.3)
        ax.set_xlim(0, 1)
    axes[0, 2].legend(title="group size", loc="upper center", ncols=2, handlelength=1.6, columnspacing=1.0)
    add_legend(figure, list(axes[0, :2]))
    return figure


def inner_steps(results: Results) -> Mapping[str, Rows]:
    """Cosine, relative error, η and clipping against inner steps on one batch: one figure a problem.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, Rows] = {}
    for problem, check in results.checks.items():
        curves = _titled(check.get("inner_steps", {}).get("methods", {}), results)
        panels = [
            Panel(problem, "inner step on one batch", label, _curves(curves, "step", name), markers=True)
            for name, label in MEASURES
        ]
        if any(panel.curves for panel in panels):
            found[problem] = [panels[:2], panels[2:]]
    if not found:
        raise MissingData("no check/*.json with curves against inner steps")
    return found


def departures(results: Results) -> Mapping[str, Rows]:
    """Cosine and relative error against the distance from the sampling policy, and against the KL coefficient.

    Raises:
        MissingData: no check has these curves.
    """
    found: dict[str, Rows] = {}
    for problem, check in results.checks.items():
        drift, penalties = _titled(check.get("drift", {}), results), check.get("kl", {})
        rows = [
            [
                Panel(problem, xlabel, label, lines, log_x=10, log_y=name == "relative_error", markers=True)
                for name, label in MEASURES[:2]
                if (lines := _curves(curves, x, name, positive=True))
            ]
            for curves, x, xlabel in (
                (drift, "distance", "noise on the logits after sampling"),
                ({f"GRPO with {name}": curve for name, curve in penalties.items()}, "beta", "KL coefficient β"),
            )
        ]
        if any(rows):
            found[problem] = [row for row in rows if row]
    if not found:
        raise MissingData("no check/*.json with curves against drift or the KL coefficient")
    return found


def draw_departures(rows: Rows, looks: Mapping[str, Look]) -> Figure:
    """Methods have their own looks, the three KL estimators looks of their own."""
    labels = [curve.label for row in rows for panel in row for curve in panel.curves]
    return draw_panels(rows, {**looks, **shades(label for label in labels if label not in looks)})


def _coefficient_panels(curves: Row, results: Results) -> tuple[Panel, Panel, Panel]:
    p, size = np.array(curves["p"]), curves["num_generations"]
    groups = _equal(curves["methods"])
    lines: dict[str, list[Curve]] = {"c": [], "phi": []}
    for keys in groups:
        label = " = ".join(results.titles[key] for key in keys)
        trained = [key for key in keys if any(arm.method == key for arm in results.arms)]
        look = results.titles[(trained or keys)[0]]
        for name, found in lines.items():
            found.append(Curve(label, p, np.array(curves["methods"][keys[0]][name]), look=look))
        measured = sorted(
            (prompt["p"], c)
            for check in results.checks.values()
            if check.get("reward_levels") == [0.0, 1.0] and check.get("num_generations") == size
            for prompt, c in zip(check["prompts"], check["methods"][keys[0]]["c_without_length"], strict=True)
            if c is not None
        )
        if measured:
            x, y = np.array(measured).T
            lines["c"].append(Curve("exact gradient of a small MDP", x, y, look=look, points=True))
    sizes = [
        Curve("∞" if name == "infinity" else name, p, np.array(curve["c"]))
        for name, curve in curves.get("grpo", {}).items()
    ]
    return (
        Panel(f"coefficient, G = {size}", "success probability p", "c(p)", tuple(lines["c"]), log_y=True),
        Panel(f"effective objective, G = {size}", "success probability p", "Φ(p)", tuple(lines["phi"])),
        Panel("coefficient of GRPO", "success probability p", "c(p)", tuple(sizes), log_y=True),
    )


def _equal(methods: Mapping[str, Row]) -> list[list[str]]:
    """Keys of methods whose c(p) agree to rounding, together."""
    groups: list[list[str]] = []
    for key, curve in methods.items():
        for group in groups:
            if np.allclose(curve["c"], methods[group[0]]["c"], rtol=1e-9, atol=1e-12):
                group.append(key)
                break
        else:
            groups.append([key])
    return groups


def _titled(curves: Mapping[str, Row], results: Results) -> dict[str, Row]:
    return {results.titles[key]: curve for key, curve in curves.items()}


def _curves(curves: Mapping[str, Row], x: str, name: str, *, positive: bool = False) -> tuple[Curve, ...]:
    """A line for each; missing values leave a gap. `positive` drops x = 0, which a logarithmic axis cannot show."""
    found = []
    for label, curve in curves.items():
        if curve.get(x):
            places = np.array(curve[x], dtype=float)
            values = np.array([np.nan if value is None else value for value in curve[name]], dtype=float)
            shown = places > 0 if positive else np.full(places.shape, True)
            found.append(Curve(label, places[shown], values[shown]))
    return tuple(found)
