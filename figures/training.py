"""What training did: accuracy, lengths, entropy, the probe and diagnostics against step; pass@k; sweeps of a dial."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from figures.comparison import GREEDY, PASS
from figures.curves import Curve, MissingData, Panel, Rows, mean_curve, seed_curve, smoothing_window
from figures.runs import SWEEP, Arm, Results, flatten, panels, settings
from figures.statistics import t_interval
from figures.style import BEFORE

Measurements = Sequence[tuple[str, str]]

ACCURACY: Measurements = (
    ("reward", "training reward"),
    (PASS, "held-out pass@1\n(sampled)"),
    (GREEDY, "held-out accuracy\n(greedy, strict)"),
)
LENGTH: Measurements = (
    ("completions/mean_length", "response length in\ntraining (tokens)"),
    ("eval/mean_length", "response length on\nheld-out prompts (tokens)"),
)
LENGTH_BY_OUTCOME: Measurements = (
    ("completions/correct_mean_length", "correct, in training\n(tokens)"),
    ("completions/incorrect_mean_length", "incorrect, in training\n(tokens)"),
    ("eval/correct_mean_length", "correct, held-out\nprompts (tokens)"),
    ("eval/incorrect_mean_length", "incorrect, held-out\nprompts (tokens)"),
)
ENTROPY: Measurements = (
    ("entropy", "entropy in training\n(nats per token)"),
    ("eval/entropy", "entropy on held-out\nprompts (nats per token)"),
)
PROBE: Measurements = (
    ("equivalence/cosine", "cosine with the\nSFT gradient"),
    ("equivalence/relative_error", "relative error to the\nSFT gradient"),
    ("equivalence/credit_structure_index", "credit-structure index η"),
)
DIAGNOSTICS: Measurements = (
    ("grad_norm", "gradient norm"),
    ("frac_reward_zero_std", "groups of equal reward"),
    ("clip_ratio/region_mean", "clipped tokens"),
    ("kl", "KL to the reference"),
)
DIALS = {"refresh_every": "steps between refreshes of the samples", "num_iterations": "inner steps per batch"}


def against_step(results: Results, measurements: Measurements) -> Mapping[str, Rows]:
    """One figure a task. With one model its panels are the measurements; else models are columns, measurements rows.

    Raises:
        MissingData: no runs, or no run recorded any of the measurements.
    """
    figures: dict[str, Rows] = {}
    by_task: dict[str, dict[str, list[Arm]]] = {}
    for (task, model), arms in panels(require_arms(results)).items():
        by_task.setdefault(task, {})[model] = arms
    for task, models in by_task.items():
        table = [
            [_panel(arms, name, label, title=f"{task} · {model}") for model, arms in models.items()]
            for name, label in measurements
        ]
        rows = [row for row in table if any(panel.curves for panel in row)]
        if rows and len(models) == 1:
            flat = [row[0] for row in rows]
            columns = 2 if len(flat) in (2, 4) else min(3, len(flat))
            rows = [flat[start : start + columns] for start in range(0, len(flat), columns)]
        if rows:
            figures[task if len(by_task) > 1 else ""] = rows
    if not figures:
        raise MissingData(f"no run records {' or '.join(name for name, _ in measurements)}")
    return figures


def pass_at_k(results: Results) -> Mapping[str, Rows]:
    """pass@k against k at the last shared evaluation, and before training where there is an evaluation at step 0.

    Raises:
        MissingData: no evaluation with at least two values of k.
    """
    row = []
    for (task, model), arms in panels(require_arms(results)).items():
        curves = [curve for arm in arms if (curve := _pass_curve(arm, -1)) is not None]
        if not curves:
            continue
        start = _pass_curve(arms[0], 0)
        if start is not None and arms[0].matrix("eval/pass@1")[0][0] == 0:
            curves.append(Curve(BEFORE, start.x, start.y))
        row.append(Panel(f"{task} · {model}", "k", "held-out pass@k", tuple(curves), log_x=2, markers=True))
    if not row:
        raise MissingData("no evaluation has pass@k for two values of k")
    return {"": [row[start : start + 3] for start in range(0, len(row), 3)]}


def off_policy(results: Results) -> Mapping[str, Rows]:
    """The probe and the clipped share of runs with several passes over a batch or stale samples, beside those without.

    Raises:
        MissingData: no such runs, or they were not probed.
    """
    if not results.ablations:
        raise MissingData("no runs beside the compared ones that differ in inner steps or staleness")
    (task, model), arms = next(iter(panels(results.ablations).items()))
    measurements = (*PROBE, ("clip_ratio/region_mean", "clipped tokens"))
    drawn = [_panel(arms, name, label, title=f"{task} · {model}") for name, label in measurements]
    # The compared runs look here as they do everywhere, though the label says what sets them apart.
    known = {arm.label: main.label for arm in arms for main in results.arms if set(arm.runs) == set(main.runs)}
    row = [
        replace(panel, curves=tuple(replace(curve, look=known.get(curve.label, "")) for curve in panel.curves))
        for panel in drawn
        if panel.curves
    ]
    if not any(arm.matrix(PROBE[0][0])[0].size for arm in arms):
        raise MissingData("the runs that differ in inner steps or staleness were not probed")
    return {"": [row[:2], row[2:]] if len(row) > 3 else [row]}


def by_layer(results: Results) -> Mapping[str, Rows]:
    """The probe's cosine and relative error of every layer, averaged over the probes of a run: one figure a model.

    Raises:
        MissingData: no run was probed layer by layer.
    """
    figures: dict[str, Rows] = {}
    for (task, model), arms in panels(results.all_arms).items():
        rows = [run.metrics for arm in arms for run in arm.runs]
        found = {name.split("/")[1] for row in itertools.chain(*rows) for name in row if name.count("/") == 2}
        layers = sorted(found, key=_depth)
        row = []
        for measure, label in (("cosine", "cosine with the\nSFT gradient"), ("relative_error", PROBE[1][1])):
            curves = [_layer_curve(arm, [f"equivalence/{layer}/{measure}" for layer in layers]) for arm in arms]
            names = tuple(layer.removeprefix("layers.").replace("_tokens", "") for layer in layers)
            kept = tuple(curve for curve in curves if curve is not None)
            row.append(Panel(f"{task} · {model}", "layer", label, kept, markers=True, names=names))
        if layers and row[0].curves:
            figures[f"{task}-{model}"] = [row]
    if not figures:
        raise MissingData("no run records the probe layer by layer")
    return figures if len(figures) > 1 else {"": next(iter(figures.values()))}


def dials(results: Results) -> Mapping[str, Rows]:
    """Final success and probe against a dial, where runs differ in nothing else: one figure a dial.

    Raises:
        MissingData: no method was run at three values of a dial.
    """
    require_arms(results)
    figures = {dial: rows for dial, label in DIALS.items() if (rows := _dial_panels(results.all_arms, dial, label))}
    if not figures:
        raise MissingData(f"no method was run at three values of {' or '.join(DIALS)}")
    return figures


def learning_rates(results: Results) -> Mapping[str, Rows]:
    """Mean training reward over the last quarter of the steps against the learning rate, from the sweep.

    Raises:
        MissingData: no sweep.
    """
    swept: dict[str, dict[float, list[float]]] = {}
    for run in results.others.get(SWEEP, ()):
        _, rewards = run.series("reward")
        if rewards.size:
            last = float(rewards[-max(rewards.size // 4, 1) :].mean())
            swept.setdefault(run.title, {}).setdefault(float(run.config["learning_rate"]), []).append(last)
    if not swept:
        raise MissingData("no learning-rate sweep")
    curves = []
    for title, by_rate in sorted(swept.items(), key=lambda entry: results.labels.index(entry[0])):
        rates = sorted(by_rate)
        curves.append(Curve(title, np.array(rates), np.array([np.mean(by_rate[rate]) for rate in rates])))
    panel = Panel("", "learning rate", "training reward", tuple(curves), log_x=10, markers=True)
    return {"": [[panel]]}


def require_arms(results: Results) -> tuple[Arm, ...]:
    """The arms, or `MissingData` when there are none."""
    if not results.arms:
        raise MissingData("no training runs")
    return results.arms


def final(arm: Arm, name: str) -> np.ndarray | None:
    """`[seeds]` values at the last step that all seeds evaluated or recorded; None without one."""
    steps, values = arm.matrix(name)
    return values[:, -1] if steps.size else None


def _panel(arms: Sequence[Arm], name: str, label: str, *, title: str) -> Panel:
    # Evaluations are few and each is a mean over all held-out prompts; training measurements are noisy batch means.
    smooth = not name.startswith(("eval/", "equivalence/"))
    curves = tuple(curve for arm in arms if (curve := seed_curve(arm, name, smooth=smooth)) is not None)
    window = max((smoothing_window(curve.x.size) for curve in curves), default=1) if smooth else 1
    note = f"\n(mean of {window} steps)" if window > 1 else ""
    return Panel(title, "step", label + note, curves, markers=name.startswith(("eval/", "equivalence/")))


def _pass_curve(arm: Arm, point: int) -> Curve | None:
    names = {name for run in arm.runs for row in run.evaluations for name in row if name.startswith("eval/pass@")}
    by_k = {int(name.removeprefix("eval/pass@")): arm.matrix(name) for name in names}
    ks = sorted(k for k, (steps, _) in by_k.items() if steps.size)
    if len(ks) < 2:
        return None
    return mean_curve(arm.label, np.array(ks, dtype=float), np.stack([by_k[k][1][:, point] for k in ks], axis=1))


def _depth(layer: str) -> tuple[int, int, str]:
    """Embedding, layers by number, then what follows them."""
    if layer.startswith("layers."):
        return 1, int(layer.removeprefix("layers.")), layer
    return 0 if layer.startswith("embed") else 2, 0, layer


def _layer_curve(arm: Arm, names: Sequence[str]) -> Curve | None:
    values = [arm.matrix(name)[1] for name in names]
    if not values or any(not value.size for value in values):
        return None
    return mean_curve(arm.label, np.arange(len(names), dtype=float), np.stack([v.mean(axis=1) for v in values], axis=1))


def _dial_panels(arms: Sequence[Arm], dial: str, label: str) -> Rows:
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        rest = {key: value for key, value in settings(arm.runs[0]).items() if key != dial}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(arm)
    swept = [group for group in groups.values() if len(group) > 2]
    row = []
    for name, ylabel in (ACCURACY[1], PROBE[0], PROBE[1]):
        curves = tuple(curve for group in swept if (curve := _dial_curve(group, dial, name)) is not None)
        if curves:
            row.append(Panel("", label, ylabel, curves, log_x=2, markers=True))
    return [row] if row else []


def _dial_curve(group: Sequence[Arm], dial: str, name: str) -> Curve | None:
    points = []
    for arm in group:
        values, setting = final(arm, name), flatten(arm.runs[0].config).get(dial)
        if values is not None and isinstance(setting, int | float) and setting > 0:
            points.append((float(setting), t_interval(values)))
    if len(points) < 3:
        return None
    points.sort(key=lambda point: point[0])
    x = np.array([setting for setting, _ in points])
    y = np.array([estimate.mean for _, estimate in points])
    single = any(estimate.high is None for _, estimate in points)
    half = None if single else np.array([(e.high or e.mean) - e.mean for _, e in points])
    return Curve(group[0].title, x, y, half)
