"""Tables in Markdown and LaTeX: final results by method, differences to the reference, hyperparameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figures.comparison import GREEDY, PASS, PRIMARY, against_reference
from figures.curves import MissingData
from figures.latex import latex, tabular
from figures.published import SOURCE, published
from figures.runs import Arm, Results, panels, settings
from figures.statistics import EXACT, FEWEST, Estimate, t_interval
from figures.training import final, require_arms
from figures.words import SETTINGS, told, words
from rino_base.messages import format_cell

MEASUREMENTS = {
    PASS: "pass@1",
    GREEDY: "accuracy (strict)",
    "eval/accuracy_flexible": "accuracy (flexible)",
    "eval/reward": "reward",
    "eval/mean_length": "length",
    "eval/correct_mean_length": "length, correct",
    "eval/incorrect_mean_length": "length, incorrect",
    "eval/entropy": "entropy",
}
"""Columns of the table of results, in order; the largest pass@k that was measured follows pass@1."""

_INTERVALS = (
    f"Held-out prompts. Mean ± half-width of the 95 % t interval over seeds, from {FEWEST} seeds on; best in bold."
)


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        bold: (row, column) of what is best.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    bold: frozenset[tuple[int, int]] = frozenset()

    def to_markdown(self) -> str:
        """A pipe table; the note below it."""
        rows = [
            [f"**{cell}**" if (i, j) in self.bold else cell for j, cell in enumerate(row)]
            for i, row in enumerate(self.rows)
        ]
        lines = [self.columns, ("---",) * len(self.columns), *rows]
        # A line break or a bar would end the cell.
        safe = ((" ".join(cell.split()).replace("|", "\\|") for cell in line) for line in lines)
        table = "\n".join("| " + " | ".join(line) + " |" for line in safe)
        return f"{table}\n\n{self.note}\n" if self.note else f"{table}\n"

    def to_latex(self, *, label: str) -> str:
        """A `table` environment for the packages booktabs and array, no wider than 5.5 inches."""
        caption = latex(" ".join((self.title + ".", self.note)).strip())
        blocks = tabular(self.columns, self.rows, bold=self.bold)
        head = [r"\begin{table}[htbp]", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{4pt}"]
        parts = [rf"\caption{{{caption}}}", rf"\label{{tab:{label}}}", "\n\n\\medskip\n".join(blocks)]
        return "\n".join([*head, *parts, r"\end{table}", ""])


def final_results(results: Results) -> Mapping[str, Table]:
    """Held-out results at the last shared evaluation, mean and interval over seeds: one table a task and model.

    Raises:
        MissingData: no runs, or none of them was evaluated.
    """
    tables = {}
    groups = panels(require_arms(results))
    for (task, model), arms in groups.items():
        names = [name for name in _columns(arms) if any(final(arm, name) is not None for arm in arms)]
        if not names:
            continue
        beside = [published(task, model, arm.method) for arm in arms]
        rows = [(arm.label, *(_cell(arm, name) for name in names)) for arm in arms]
        columns = ["method", *map(_heading, names)]
        note = f"{_INTERVALS} {_evaluated(arms)}"
        if any(value is not None for value in beside):
            place = 1 + names.index(GREEDY) + 1 if GREEDY in names else 2
            columns.insert(place, "published (%)")
            cells = ("–" if value is None else f"{value:.2f}" for value in beside)
            rows = [(*row[:place], cell, *row[place:]) for row, cell in zip(rows, cells, strict=True)]
            note = f"{note} {SOURCE}"
        best = {
            place for place, name in enumerate(columns) if name in {_heading(name) for name in names if _share(name)}
        }
        bold = frozenset(cell for place in best for cell in _best(rows, place))
        title = f"Final results on {task}, {model}"
        tables[_suffix(groups, task, model)] = Table(title, tuple(columns), tuple(rows), note, bold)
    if not tables:
        raise MissingData("no run was evaluated at a step that all its seeds share")
    return tables


def overview(results: Results) -> Mapping[str, Table]:
    """Greedy accuracy of every method (row) on every task with every model (column).

    Raises:
        MissingData: no runs, or one task with one model, for which the final results say it all.
    """
    groups = panels(require_arms(results))
    if len(groups) < 2:
        raise MissingData("one task and one model")
    cells = {(arm.label, place): _cell(arm, GREEDY) for place, arms in groups.items() for arm in arms}
    labels = dict.fromkeys(arm.label for arm in results.arms)
    rows = [(label, *(cells.get((label, place), "–") for place in groups)) for label in labels]
    columns = ("method", *(f"{task}, {model} (%)" for task, model in groups))
    bold = frozenset(cell for place in range(1, len(columns)) for cell in _best(rows, place))
    title = f"Held-out {measurement(GREEDY)} by task and model"
    return {"": Table(title, columns, tuple(rows), _INTERVALS, bold)}


def differences(results: Results) -> Mapping[str, Table]:
    """Success of every arm minus that of the first, by task and model.

    Raises:
        MissingData: no two arms of a task and model share a seed and an evaluation step.
    """
    tables = {}
    groups = panels(require_arms(results))
    for (task, model), arms in groups.items():
        found = [comparison for name in PRIMARY for comparison in against_reference(arms, name)]
        if not found:
            continue
        rows = tuple(
            (
                comparison.arm.label,
                measurement(comparison.name),
                str(comparison.over_seeds.count),
                in_points(comparison.over_seeds),
                "–" if comparison.adjusted is None else f"{comparison.adjusted:.2g}",
                in_points(comparison.over_prompts) if comparison.over_prompts else "–",
                "yes" if comparison.distinguished else "no",
            )
            for comparison in found
        )
        steps = ", ".join(dict.fromkeys(str(comparison.step) for comparison in found))
        note = (
            f"In points of a per cent, after {steps} steps. Over seeds: 95 % t interval, paired by seed; p by Holm's "
            "rule for the comparisons of one measurement. Over prompts: 95 % bootstrap interval, paired by prompt, for "
            "the trained models as they are. Distinguished: 3 seeds or more, 0 outside both intervals, p below 0.05."
        )
        columns = ("method", "measurement", "n", "over seeds", "p", "over prompts", "distinguished")
        title = f"Difference to {found[0].reference.label} on {task}, {model}"
        tables[_suffix(groups, task, model)] = Table(title, columns, rows, note)
    if not tables:
        raise MissingData("no two arms share a seed and an evaluation step")
    return tables


def exact(results: Results) -> Mapping[str, Table]:
    """What `rino check` found for every method, one table a problem; of many prompts the first three.

    Raises:
        MissingData: no check of a problem with methods.
    """
    tables = {}
    for problem, check in results.checks.items():
        rows = tuple(
            (
                results.titles[key],
                *(_numbers(entry[name]) for name in ("c", "c_without_length", "phi_without_length")),
                *(_number(_rounding(entry[name])) for name in ("credit_structure_index", "cosine", "relative_error")),
            )
            for key, entry in check["methods"].items()
        )
        if rows:
            prompts = ", ".join(f"{prompt['p']:.3g}" for prompt in check["prompts"][:3])
            more = ", …" if len(check["prompts"]) > 3 else ""
            note = (
                f"Success probabilities of the prompts: {prompts}{more}; groups of {check['num_generations']}, "
                f"{check.get('policy', '')} policy. c and Φ by prompt; – where the expected gradient is not parallel "
                "to ∇p. η, cosine and relative error: the on-policy loss, by autodiff on sampled groups, against "
                "outcome-weighted SFT."
            )
            columns = ("method", "c(p)", "c(p) without 1/L", "Φ(p) without 1/L", "η", "cosine", "relative error")
            tables[problem] = Table(f"Methods on {problem}", columns, rows, note)
    if not tables:
        raise MissingData("no check/*.json with methods")
    return tables


def hyperparameters(results: Results) -> Mapping[str, Table]:
    """What all runs share, and what they differ in, from their configurations.

    Raises:
        MissingData: no runs.
    """
    arms = require_arms(results)
    configs = [settings(arm.runs[0]) for arm in arms]
    listed = dict.fromkeys(name for config in configs for name in config if name not in ("method", "title"))
    # `clip: none` of one method and `clip.low: 0.2` of another say the same thing twice.
    names = [name for name in listed if not any(other.startswith(f"{name}.") for other in listed)]
    order = {name: place for place, name in enumerate(SETTINGS)}
    names.sort(key=lambda name: order.get(name, len(order)))
    cells = {name: [told(config[name]) if name in config else "–" for config in configs] for name in names}
    shared = {name: values[0] for name, values in cells.items() if len(set(values)) == 1}
    differing = {name: values for name, values in cells.items() if name not in shared}
    # What differs is always told; of what is shared, what a paper would print.
    rows = tuple((words(name), value) for name, value in shared.items() if name in SETTINGS)
    note = "The config.json of every run has the rest."
    tables = {"": Table("Settings of all runs", ("setting", "value"), rows, note)}
    if differing:
        by_method = tuple((words(name), *values) for name, values in differing.items())
        columns = ("setting", *(arm.label for arm in arms))
        tables["by-method"] = Table("Settings that differ between methods", columns, by_method)
    return tables


def measurement(name: str) -> str:
    """What a reader calls a measurement of an evaluation."""
    return MEASUREMENTS.get(name, name.removeprefix("eval/"))


def interval(estimate: Estimate) -> str:
    """Mean and both ends."""
    if estimate.low is None or estimate.high is None:
        return signed(estimate.mean)
    return f"{signed(estimate.mean)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def in_points(estimate: Estimate) -> str:
    """A difference of shares in points of a per cent, with both ends; of too few seeds without them."""
    ends = estimate.ends if estimate.count >= FEWEST else None
    told = f" [{points(ends[0])}, {points(ends[1])}]" if ends else ""
    return points(estimate.mean) + told


def points(difference: float) -> str:
    """A difference of two shares in points of a per cent, with its sign; a zero has none."""
    return f"{100 * difference:+.1f}".replace("-", "−") if round(100 * difference, 1) else "0.0"


def signed(value: float) -> str:
    """A difference with its sign; a zero has none."""
    return f"{value:+.3f}".replace("-", "−") if round(value, 3) else "0.000"


def _columns(arms: Sequence[Arm]) -> list[str]:
    """Names of the columns; the largest k of pass@k that every arm has is put behind pass@1."""
    names = {name for arm in arms for run in arm.runs for row in run.evaluations for name in row}
    ks = sorted(int(name.removeprefix("eval/pass@")) for name in names if name.startswith("eval/pass@"))
    columns = list(MEASUREMENTS)
    if ks and ks[-1] > 1:
        columns.insert(columns.index(PASS) + 1, f"eval/pass@{ks[-1]}")
    return columns


def _cell(arm: Arm, name: str) -> str:
    values = final(arm, name)
    if values is None:
        return "–"
    estimate = t_interval(100 * values if _share(name) else values)
    digits = 1 if _share(name) or "length" in name else 3
    shown = estimate.high is not None and estimate.count >= FEWEST
    half = f" ± {(estimate.high or 0.0) - estimate.mean:.{digits}f}" if shown else ""
    return f"{estimate.mean:.{digits}f}{half}"


def _share(name: str) -> bool:
    """Whether a measurement is a share of 1, told in per cent, of which more is better."""
    return name.startswith(("eval/pass@", "eval/accuracy"))


def _heading(name: str) -> str:
    return f"{measurement(name)} (%)" if _share(name) else measurement(name)


def _best(rows: Sequence[Sequence[str]], place: int) -> list[tuple[int, int]]:
    """Cells of the largest value of a column, as it is printed; of one row none is best."""
    values = {number: float(row[place].split(" ± ")[0]) for number, row in enumerate(rows) if row[place] != "–"}
    largest = max(values.values(), default=0.0)
    return [(number, place) for number, value in values.items() if value == largest and len(values) > 1]


def _evaluated(arms: Sequence[Arm]) -> str:
    """Steps and seeds of the methods; by method where they differ."""
    told = {arm.label: f"n = {len(arm.runs)}, {_last_step(arm)} steps" for arm in arms}
    alike = set(told.values())
    if len(alike) == 1:
        return f"{alike.pop()}."
    return f"{'; '.join(f'{label}: {text}' for label, text in told.items())}."


def _last_step(arm: Arm) -> int:
    steps = arm.matrix(GREEDY)[0]
    return int(steps[-1]) if steps.size else 0


def _suffix(groups: Mapping[Any, Any], task: str, model: str) -> str:
    return f"{task}-{model}" if len(groups) > 1 else ""


def _numbers(values: Sequence[float | None]) -> str:
    return "  ".join(map(_number, values[:3])) + (" …" if len(values) > 3 else "")


def _rounding(value: float | None) -> float | None:
    """0 where it is 0 up to rounding."""
    return 0.0 if value is not None and abs(value) <= EXACT else value


def _number(value: float | None) -> str:
    return format_cell(value).replace("-", "−")
