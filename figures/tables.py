"""Tables in Markdown and LaTeX: final results by method, differences to the reference, hyperparameters."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from figures.comparison import GREEDY, PASS, PRIMARY, against_reference
from figures.curves import MissingData
from figures.runs import Arm, Results, panels, settings
from figures.statistics import Estimate, t_interval
from figures.training import final, require_arms
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

_INTERVALS = "Held-out prompts. Mean ± half-width of the 95 % t interval over seeds; no interval for one seed."


@dataclass(frozen=True)
class Table:
    """Cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def to_markdown(self) -> str:
        """A pipe table; the note below it."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        # A line break or a bar would end the cell.
        safe = ((" ".join(cell.split()).replace("|", "\\|") for cell in line) for line in lines)
        table = "\n".join("| " + " | ".join(line) + " |" for line in safe)
        return f"{table}\n\n{self.note}\n" if self.note else f"{table}\n"

    def to_latex(self, *, label: str = "") -> str:
        """A `table` environment for the booktabs package."""
        body = [" & ".join(map(latex, row)) + r" \\" for row in (self.columns, *self.rows)]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(' '.join((self.title + '.', self.note)).strip())}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                r"\toprule",
                body[0],
                r"\midrule",
                *body[1:],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )


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
        rows = tuple(
            (arm.label, ", ".join(map(str, arm.seeds)), str(_last_step(arm)), *(_cell(arm, name) for name in names))
            for arm in arms
        )
        columns = ("method", "seeds", "step", *map(measurement, names))
        tables[_suffix(groups, task, model)] = Table(f"Final results on {task}, {model}", columns, rows, _INTERVALS)
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
    rows = tuple((label, *(cells.get((label, place), "–") for place in groups)) for label in labels)
    columns = ("method", *(f"{task}, {model}" for task, model in groups))
    return {"": Table(f"Held-out {measurement(GREEDY)} by task and model", columns, rows, _INTERVALS)}


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
                str(comparison.step),
                interval(comparison.over_seeds),
                str(comparison.over_seeds.count),
                interval(comparison.over_prompts) if comparison.over_prompts else "–",
                "yes" if comparison.distinguished else "no",
            )
            for comparison in found
        )
        note = (
            "Over seeds: 95 % t interval, paired by seed. Over prompts: 95 % bootstrap interval, paired by prompt, for "
            "the trained models as they are. Distinguished: 0 is outside all intervals there are. Not corrected for "
            "the number of comparisons."
        )
        columns = (
            "method",
            "measurement",
            "step",
            "difference over seeds",
            "seeds",
            "difference over prompts",
            "distinguished",
        )
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
                *(_number(entry[name]) for name in ("credit_structure_index", "cosine", "relative_error")),
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
    cells = {name: [_plain(config[name]) if name in config else "–" for config in configs] for name in names}
    shared = {name: values[0] for name, values in cells.items() if len(set(values)) == 1}
    differing = {name: values for name, values in cells.items() if name not in shared}
    tables = {"": Table("Settings of all runs", ("setting", "value"), tuple(shared.items()))}
    if differing:
        rows = tuple((name, *values) for name, values in differing.items())
        columns = ("setting", *(arm.label for arm in arms))
        tables["by-method"] = Table("Settings that differ between methods", columns, rows)
    return tables


def measurement(name: str) -> str:
    """What a reader calls a measurement of an evaluation."""
    return MEASUREMENTS.get(name, name.removeprefix("eval/"))


def interval(estimate: Estimate) -> str:
    """Mean and both ends."""
    if estimate.low is None or estimate.high is None:
        return signed(estimate.mean)
    return f"{signed(estimate.mean)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def signed(value: float) -> str:
    """A difference with its sign; a zero has none."""
    return f"{value:+.3f}".replace("-", "−") if round(value, 3) else "0.000"


_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "⁺": r"$^+$",
    "⁻": r"$^-$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "∇": r"$\nabla$",
    "√": r"$\surd$",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
    "Φ": r"$\Phi$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "·": r"$\cdot$",
    "→": r"$\to$",
}


def latex(text: str) -> str:
    """Text with LaTeX's special characters and the signs used here written as commands."""
    return re.sub("[" + re.escape("".join(_LATEX)) + "]", lambda match: _LATEX[match.group()], text)


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
    estimate = t_interval(values)
    digits = 1 if "length" in name else 3
    half = "" if estimate.high is None else f" ± {estimate.high - estimate.mean:.{digits}f}"
    return f"{estimate.mean:.{digits}f}{half}"


def _last_step(arm: Arm) -> int:
    steps = arm.matrix(GREEDY)[0]
    return int(steps[-1]) if steps.size else 0


def _suffix(groups: Mapping[Any, Any], task: str, model: str) -> str:
    return f"{task}-{model}" if len(groups) > 1 else ""


def _numbers(values: Sequence[float | None]) -> str:
    return "  ".join(map(_number, values[:3])) + (" …" if len(values) > 3 else "")


def _number(value: float | None) -> str:
    return format_cell(value).replace("-", "−")


def _plain(value: Any) -> str:
    return "none" if value is None else format_cell(value)
