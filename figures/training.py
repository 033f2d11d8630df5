"""What training did: accuracy, lengths, entropy, the probe and diagnostics against step; pass@k; sweeps of a dial."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from figures.comparison import GREEDY, PASS, against_reference
from figures.curves import (
    Curve,
    Forest,
    Interval,
    MissingData,
    Panel,
    Sheet,
    drawable,
    informative,
    mean_curve,
    seed_curve,
    smoothing_window,
)
from figures.looks import BEFORE
from figures.runs import Arm, Results, flatten, panels, settings
from figures.statistics import EXACT, FEWEST, TRAINED, t_interval

Measurements = Sequence[tuple[str, str]]

ACCURACY: Measurements = (
    ("reward", "training reward"),
    (PASS, "held-out pass@1\n(sampled, %)"),
    (GREEDY, "held-out accuracy\n(greedy, strict, %)"),
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
    ("equivalence/credit_structure_index", "credit-structure\nindex η"),
)
DIAGNOSTICS: Measurements = (
    ("grad_norm", "gradient norm"),
    ("frac_reward_zero_std", "groups of equal reward (%)"),
    ("clip_ratio/region_mean", "clipped tokens (%)"),
    ("kl", "KL to the reference\n(nats per token)"),
)
OFF_POLICY: Measurements = (*PROBE, ("clip_ratio/region_mean", "clipped tokens (%)"))
DIALS = {"refresh_every": "steps between refreshes of the samples", "num_iterations": "inner steps per batch"}
_ONE_SCALE = (LENGTH, LENGTH_BY_OUTCOME, ENTROPY)
_ROUNDING = "old_logp_tolerance"
"""Whether the sampler's log-probabilities served or were computed again: a difference of rounding, no other run."""
_LOGARITHMIC = ("equivalence/relative_error", "equivalence/credit_structure_index")


def against_step(results: Results, measurements: Measurements) -> Mapping[str, Sheet]:
    """One figure a task. With one model its panels are the measurements; else models are columns, measurements rows.

    Raises:
        MissingData: no runs, or no run recorded any of the measurements, or all that was recorded is constant.
    """
    figures: dict[str, Sheet] = {}
    by_task: dict[str, dict[str, list[Arm]]] = {}
    for (task, model), arms in panels(require_arms(results)).items():
        by_task.setdefault(task, {})[model] = arms
    scale = "shared" if measurements in _ONE_SCALE else ""
    for task, models in by_task.items():
        rows = [
            [_panel(arms, name, label, title=f"{task} · {model}", scale=scale) for model, arms in models.items()]
            for name, label in measurements
        ]
        recorded = [row for row in rows if any(panel.curves for panel in row)]
        if recorded:
            figures[task if len(by_task) > 1 else ""] = _laid_out(informative(rows), single=len(models) == 1)
    return drawable(figures, without=f"no run records {' or '.join(name for name, _ in measurements)}")


def accuracy(results: Results) -> Mapping[str, Sheet]:
    """Reward and success against step, and the paired difference from the reference at the end.

    Raises:
        MissingData: no runs, or none that recorded them.
    """
    figures = dict(against_step(results, ACCURACY))
    forests: dict[str, list[Forest]] = {}
    for (task, model), arms in panels(results.arms).items():
        if forest := paired_differences(arms, title=f"{task} · {model}"):
            forests.setdefault(task if task in figures else "", []).append(forest)
    for name, row in forests.items():
        if name in figures:
            sheet = figures[name]
            figures[name] = _laid_out(replace(sheet, rows=(*sheet.rows, tuple(row))), single=len(row) == 1)
    return figures


def paired_differences(arms: Sequence[Arm], *, title: str, name: str = PASS) -> Forest | None:
    """Each arm less the first at the last shared evaluation: a t interval over seeds, one over prompts."""
    found = against_reference(arms, name)
    rows = tuple(
        Interval(
            comparison.arm.label,
            comparison.over_seeds.mean,
            (
                comparison.over_seeds.ends if comparison.over_seeds.count >= FEWEST else None,
                comparison.over_prompts.ends if comparison.over_prompts else None,
            ),
        )
        for comparison in found
    )
    label = f"{name.removeprefix('eval/')}: difference from\n{arms[0].label}, paired (points)"
    return Forest(title, label, rows, percent=True) if rows else None


def pass_at_k(results: Results) -> Mapping[str, Sheet]:
    """What training gained in pass@k against k, paired by seed; pass@k itself where nothing was evaluated before it.

    Raises:
        MissingData: no evaluation with at least two values of k.
    """
    row, notes = [], []
    for (task, model), arms in panels(require_arms(results)).items():
        curves = [curve for arm in arms if (curve := _pass_curve(arm, -1)) is not None]
        if not curves:
            continue
        start = _pass_curve(arms[0], 0) if _from_start(arms) else None
        label = "held-out pass@k (%)"
        if start is not None:
            label = "gain in held-out\npass@k (points)"
            curves = [curve for arm in arms if (curve := _pass_curve(arm, -1, less=0)) is not None]
            levels = ", ".join(f"{100 * y:.1f} % at k = {k:g}" for k, y in zip(start.x, start.y, strict=True))
            notes.append(f"the level before training ({task}, {model}: {levels})")
            curves.append(Curve(BEFORE, start.x, np.zeros(start.x.shape)))
        row.append(
            Panel(f"{task} · {model}", "k", label, tuple(curves), log_x=2, markers=True, percent=True, dodge=True)
        )
    if not row:
        raise MissingData("no evaluation has pass@k for two values of k")
    return {"": Sheet((tuple(row),), tuple(notes))}


def off_policy(results: Results) -> Mapping[str, Sheet]:
    """The probe and the clipped share of runs with several passes over a batch or stale samples, beside those without.

    One figure a task and model.

    Raises:
        MissingData: no such runs, or they were not probed.
    """
    if not results.ablations:
        raise MissingData("no runs beside the compared ones that differ in inner steps or staleness")
    figures = {}
    for (task, model), arms in panels(results.ablations).items():
        if any(arm.matrix(PROBE[0][0])[0].size for arm in arms):
            rows = [[_panel(arms, name, label, title=f"{task} · {model}") for name, label in OFF_POLICY]]
            figures[f"{task}-{model}"] = _laid_out(informative(rows), single=True)
    if not figures:
        raise MissingData("the runs that differ in inner steps or staleness were not probed")
    return drawable(_named(figures), without="nothing was measured")


def by_layer(results: Results) -> Mapping[str, Sheet]:
    """The probe's cosine and relative error of every layer, averaged over the probes of a run: one figure a model.

    Raises:
        MissingData: no run was probed layer by layer.
    """
    figures: dict[str, Sheet] = {}
    for (task, model), arms in panels(results.all_arms).items():
        rows = [run.metrics for arm in arms for run in arm.runs]
        found = {name.split("/")[1] for row in itertools.chain(*rows) for name in row if name.count("/") == 2}
        layers = sorted(found, key=_depth)
        row = []
        for measure, label in (("cosine", PROBE[0][1]), ("relative_error", PROBE[1][1])):
            curves = [_layer_curve(arm, [f"equivalence/{layer}/{measure}" for layer in layers]) for arm in arms]
            names = tuple(layer.removeprefix("layers.").replace("_tokens", "") for layer in layers)
            kept = tuple(curve for curve in curves if curve is not None)
            log = measure == "relative_error"
            row.append(Panel(f"{task} · {model}", "layer", label, kept, markers=True, names=names, log_y=log))
        if layers and row[0].curves:
            figures[f"{task}-{model}"] = informative([row])
    return drawable(_named(figures), without="no run records the probe layer by layer")


def dials(results: Results) -> Mapping[str, Sheet]:
    """Final success and probe against a dial, where runs differ in nothing else: one figure a dial.

    Raises:
        MissingData: no method was run at three values of a dial.
    """
    require_arms(results)
    figures = {dial: informative(_dial_panels(results.all_arms, dial, label)) for dial, label in DIALS.items()}
    return drawable(figures, without=f"no method was run at three values of {' or '.join(DIALS)}")


def learning_rates(results: Results) -> Mapping[str, Sheet]:
    """Mean training reward over the last quarter of the steps against the learning rate: a panel a task and model.

    Raises:
        MissingData: no sweep.
    """
    row = []
    for (task, model), arms in panels(results.sweep).items():
        swept: dict[str, dict[float, list[float]]] = {}
        for run in (run for arm in arms for run in arm.runs):
            _, rewards = run.series("reward")
            if rewards.size:
                last = float(rewards[-max(rewards.size // 4, 1) :].mean())
                swept.setdefault(run.method, {}).setdefault(float(run.config["learning_rate"]), []).append(last)
        curves = tuple(_rate_curve(results.titles.get(key, key), key, by_rate) for key, by_rate in swept.items())
        if curves:
            row.append(
                Panel(
                    f"{task} · {model}", "learning rate", "training reward", curves, log_x=10, markers=True, dodge=True
                )
            )
    if not row:
        raise MissingData("no learning-rate sweep")
    return {"": Sheet((tuple(row),))}


def _rate_curve(label: str, key: str, by_rate: Mapping[float, Sequence[float]]) -> Curve:
    rates = sorted(by_rate)
    if len({len(values) for values in by_rate.values()}) == 1:
        curve = mean_curve(label, np.array(rates), np.array([by_rate[rate] for rate in rates]).T)
    else:
        curve = Curve(label, np.array(rates), np.array([np.mean(by_rate[rate]) for rate in rates]))
    return replace(curve, look=key)


def _named(figures: Mapping[str, Sheet]) -> dict[str, Sheet]:
    """By task and model; a single one needs no name."""
    return dict(figures) if len(figures) != 1 else {"": next(iter(figures.values()))}


def _laid_out(sheet: Sheet, *, single: bool) -> Sheet:
    """Measurements of a single model side by side: two and two, else up to three."""
    if not single or not sheet.rows:
        return sheet
    flat = [panel for row in sheet.rows for panel in row]
    columns = 2 if len(flat) in (2, 4) else min(3, len(flat))
    return replace(sheet, rows=tuple(tuple(flat[start : start + columns]) for start in range(0, len(flat), columns)))


def require_arms(results: Results) -> tuple[Arm, ...]:
    """The arms, or `MissingData` when there are none."""
    if not results.arms:
        raise MissingData("no training runs")
    return results.arms


def final(arm: Arm, name: str) -> np.ndarray | None:
    """`[seeds]` values at the last step that all seeds evaluated or recorded; None without one."""
    steps, values = arm.matrix(name)
    return values[:, -1] if steps.size else None


def _panel(arms: Sequence[Arm], name: str, label: str, *, title: str, scale: str = "") -> Panel:
    # Evaluations are few and each is a mean over all held-out prompts; training measurements are noisy batch means.
    sparse = name.startswith(("eval/", "equivalence/"))
    measured = [arm for arm in arms if name != "kl" or _has_reference(arm)]
    log = name in _LOGARITHMIC
    found = (seed_curve(arm, name, smooth=not sparse, log=log) for arm in measured)
    curves = tuple(curve for curve in found if curve is not None)
    window = max((smoothing_window(curve.x.size) for curve in curves if curve.raw is not None), default=1)
    note = f"\n(mean of {window} steps)" if window > 1 else ""
    limits = (
        tuple((TRAINED[dtype], f"tolerance, {dtype}") for dtype in _precisions(arms)) if name == PROBE[1][0] else ()
    )
    return Panel(
        title,
        "step",
        label + note,
        curves,
        markers=sparse,
        log_y=log,
        percent=label.endswith("%)"),
        scale=scale,
        limits=limits,
        zero=EXACT if name == PROBE[2][0] else 0.0,
    )


def _has_reference(arm: Arm) -> bool:
    """Whether a KL was measured: without one in the objective there is no reference policy, and 0 is written."""
    objective = arm.runs[0].config.get("objective")
    return not isinstance(objective, Mapping) or objective.get("kl") is not None


def _precisions(arms: Sequence[Arm]) -> list[str]:
    found = (str(arm.runs[0].config.get("dtype", "float32")) for arm in arms)
    return [dtype for dtype in dict.fromkeys(found) if dtype in TRAINED]


def _from_start(arms: Sequence[Arm]) -> bool:
    """Whether every arm was evaluated before its first step."""
    firsts = [arm.matrix(PASS)[0] for arm in arms]
    return all(steps.size > 1 and steps[0] == 0 for steps in firsts)


def _pass_curve(arm: Arm, point: int, *, less: int | None = None) -> Curve | None:
    """pass@k against k at one evaluation, or its difference from that at another, by seed."""
    names = {name for run in arm.runs for row in run.evaluations for name in row if name.startswith("eval/pass@")}
    by_k = {int(name.removeprefix("eval/pass@")): arm.matrix(name) for name in names}
    ks = sorted(k for k, (steps, _) in by_k.items() if steps.size)
    if len(ks) < 2:
        return None
    values = np.stack([by_k[k][1][:, point] for k in ks], axis=1)
    if less is not None:
        values = values - np.stack([by_k[k][1][:, less] for k in ks], axis=1)
    return mean_curve(arm.label, np.array(ks, dtype=float), values)


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


def _dial_panels(arms: Sequence[Arm], dial: str, label: str) -> list[list[Panel]]:
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        rest = {key: value for key, value in settings(arm.runs[0]).items() if key not in (dial, _ROUNDING)}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(arm)
    swept = [group for group in groups.values() if len(group) > 2]
    row = []
    for name, ylabel in (ACCURACY[1], PROBE[0], PROBE[1]):
        curves = tuple(curve for group in swept if (curve := _dial_curve(group, dial, name)) is not None)
        if curves:
            percent, log = ylabel.endswith("%)"), name in _LOGARITHMIC
            row.append(Panel("", label, ylabel, curves, log_x=2, markers=True, percent=percent, log_y=log, dodge=True))
    return [row] if row else []


def _dial_curve(group: Sequence[Arm], dial: str, name: str) -> Curve | None:
    points = []
    for arm in group:
        config = flatten(arm.runs[0].config)
        values, setting = final(arm, name), config.get(dial)
        if dial == "refresh_every" and setting == 0:
            setting = config.get("steps")  # never is: once, for all steps
        if values is not None and isinstance(setting, int | float) and setting > 0:
            points.append((float(setting), t_interval(values)))
    if len(points) < 3:
        return None
    points.sort(key=lambda point: point[0])
    x = np.array([setting for setting, _ in points])
    y = np.array([estimate.mean for _, estimate in points])
    single = any(estimate.high is None for _, estimate in points)
    band = None if single else np.array([e.ends or (e.mean, e.mean) for _, e in points]).T
    return Curve(group[0].title, x, y, band, look=group[0].method)
