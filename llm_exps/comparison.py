"""Methods against each other: the same prompts in the same order, the same number of samples, several seeds.

If learning rates are swept, each method picks its own on seeds of the sweep's own, by one rule: the highest mean
training reward over the last quarter of the steps. Held-out prompts play no part in the choice. The comparison then
runs on fresh seeds. Differences are paired, and have two intervals: Student's t over seeds, and a bootstrap over
prompts with the trained models held fixed. Two methods are distinguished where both exclude 0, on three seeds or more.
"""

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from llm_exps.config import RunConfig
from llm_exps.experiment import train
from llm_exps.launch import Job, Launcher, launch
from llm_exps.options import RunOptions, changed_flags
from llm_exps.run_directory import RunDirectory
from llm_exps.setup import Setup
from mdp_theory.methods.catalogue import get
from rino_base.files import complete_lines, write_json
from rino_base.messages import InputError

_RESAMPLES = 4000
_LEVEL = 0.95
_FEWEST = 3
"""Seeds: from fewer nothing is said to be distinguished."""
SELECTION_RULE = (
    "highest mean training reward over the last quarter of the steps, mean over the sweep's seeds; "
    "a tie goes to the first rate given"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared.

    Attributes:
        methods: catalogue names; the first is the one the others are compared with.
        seeds: of the comparison.
        learning_rates: tried for every method; none means the options' own.
        sweep_seeds: of the sweep; apart from `seeds`.
        sweep_steps: steps of a run of the sweep.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...] = ()
    sweep_seeds: tuple[int, ...] = (1000,)
    sweep_steps: int = 50

    def __post_init__(self) -> None:
        given: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("method", tuple(get(name).key for name in self.methods)),
            ("seed", self.seeds),
            ("learning rate", self.learning_rates),
            ("seed of the sweep", self.sweep_seeds),
        )
        for name, values in given:
            if not values and name != "learning rate":
                raise InputError(f"no {name} to compare", mend="give at least one")
            if len(set(values)) < len(values):
                raise InputError(f"a {name} is given twice: {values}", mend="give each once")
        shared = set(self.seeds) & set(self.sweep_seeds) if self.learning_rates else set()
        if shared:
            raise InputError(
                f"seed {min(shared)} serves the sweep and the comparison",
                mend="choose --sweep-seeds apart from --seeds",
            )


@dataclass(frozen=True)
class Run:
    """One run of a comparison and its place under the comparison's directory."""

    place: str
    config: RunConfig


def sweep_runs(comparison: Comparison, model: str, task: str, options: RunOptions) -> Iterator[Run]:
    """The runs that choose learning rates: no probe and no evaluation but the closing one."""
    quiet = dataclasses.replace(
        options,
        steps=comparison.sweep_steps,
        probe_every=0,
        evaluation=dataclasses.replace(options.evaluation, eval_every=0, eval_prompts=16),
    )
    for method in comparison.methods:
        for rate in comparison.learning_rates:
            for seed in comparison.sweep_seeds:
                config = _config(method, model, task, quiet, seed=seed, learning_rate=rate)
                yield Run(f"sweep/{config.resolved.key}/lr-{rate:g}/seed-{seed}", config)


def main_runs(
    comparison: Comparison, model: str, task: str, options: RunOptions, chosen: dict[str, float]
) -> Iterator[Run]:
    """The runs that are compared, at each method's chosen learning rate; seeds in the outer loop."""
    for seed in comparison.seeds:
        for method in comparison.methods:
            key = get(method).key
            config = _config(method, model, task, options, seed=seed, learning_rate=chosen.get(key))
            yield Run(f"runs/{key}/seed-{seed}", config)


def compare(
    comparison: Comparison,
    *,
    model: str,
    task: str,
    options: RunOptions,
    setup: Setup,
    out: Path,
    launcher: Launcher | None = None,
) -> dict[str, Any]:
    """Run everything that is not done yet under `out`, and write `out/comparison.json`.

    launcher: runs become jobs of their own; without one they run here, one after the other, sharing what is compiled.
    """
    sweep = list(sweep_runs(comparison, model, task, options))
    _run_all(sweep, "sweep", setup=setup, out=out, launcher=launcher)
    chosen = {get(method).key: choose_rate(comparison, method, out) for method in comparison.methods} if sweep else {}
    runs = list(main_runs(comparison, model, task, options, chosen))
    _run_all(runs, "run", setup=setup, out=out, launcher=launcher)
    result = summarise(comparison, runs, out, swept=bool(sweep))
    write_json(out / "comparison.json", result)
    return result


def _run_all(runs: Sequence[Run], what: str, *, setup: Setup, out: Path, launcher: Launcher | None) -> None:
    if launcher is not None and runs:
        launch([_job(run, out) for run in runs], launcher, description=f"{len(runs)} {what}s")
        return
    for number, run in enumerate(runs, start=1):
        short = run.place.partition("/")[2]
        train(run.config, out / run.place, setup=setup, description=f"{what} {number}/{len(runs)} {short}")


def _job(run: Run, out: Path) -> Job:
    place = (out / run.place).absolute()
    log = out.absolute() / "logs" / f"{run.place.replace('/', '-')}.log"
    return Job(tuple(words(run, place)), place, log, run.config.options.steps)


def choose_rate(comparison: Comparison, method: str, out: Path) -> float:
    """The learning rate that the rule picks for one method."""
    key = get(method).key

    def score(rate: float) -> float:
        rewards = []
        for seed in comparison.sweep_seeds:
            log = RunDirectory(out / f"sweep/{key}/lr-{rate:g}/seed-{seed}").path / "metrics.jsonl"
            curve = [json.loads(line)["reward"] for line in complete_lines(log)]
            rewards.append(np.mean(curve[-max(len(curve) // 4, 1) :]))
        return float(np.mean(rewards))

    return max(comparison.learning_rates, key=score)


def summarise(comparison: Comparison, runs: Sequence[Run], out: Path, *, swept: bool) -> dict[str, Any]:
    """Final held-out results by method, with intervals, and paired differences from the first method."""
    finals = {run.place: _last(out / run.place / "eval.jsonl") for run in runs}
    options, any_final = runs[0].config.options, finals[runs[0].place]
    methods, rates = [], {}
    for key in (get(name).key for name in comparison.methods):
        own = [run for run in runs if run.config.resolved.key == key]
        results = [finals[run.place] for run in own]
        rates[key] = np.array([result["eval/correct_counts"] for result in results]) / results[0]["eval/samples"]
        methods.append(_row(own, results, rates[key], out))
    return {
        "model": runs[0].config.model,
        "task": runs[0].config.task,
        "seeds": list(comparison.seeds),
        "steps": options.steps,
        "completions_per_step": options.num_prompts * options.sampling.num_generations,
        "eval_prompts": any_final["eval/prompts"],
        "eval_samples": any_final["eval/samples"],
        "initial_pass@1": _mean([_first(out / run.place / "eval.jsonl")["eval/pass@1"] for run in runs]),
        "selection": _selection(comparison) if swept else None,
        "interval": f"{_LEVEL:.0%}: Student's t over seeds; bootstrap over prompts, {_RESAMPLES} resamples",
        "methods": methods,
        "paired": _paired(rates),
    }


def _row(
    runs: Sequence[Run], results: Sequence[dict[str, Any]], rates: Float[np.ndarray, "seeds prompts"], out: Path
) -> dict[str, Any]:
    """One method: means over seeds, and the interval of pass@1."""
    method, largest = runs[0].config.resolved, _largest_k(results[0])
    lengths = ("mean_length", "correct_mean_length", "incorrect_mean_length")
    fields = ("accuracy_strict", "accuracy_flexible", f"pass@{largest}", "entropy", *lengths)
    return {
        "key": method.key,
        "title": method.title,
        "learning_rate": runs[0].config.options.optimiser.learning_rate,
        "sampled_tokens": _mean([_last(out / run.place / "metrics.jsonl")["num_tokens"] for run in runs]),
        "pass@1": float(rates.mean()),
        "pass@1_interval": over_seeds(rates),
        "pass@1_by_seed": rates.mean(axis=1).tolist(),
        **{field: _mean([result[f"eval/{field}"] for result in results]) for field in fields},
    }


def _paired(rates: Mapping[str, Float[np.ndarray, "seeds prompts"]]) -> list[dict[str, Any]]:
    """Differences from the first method, prompt by prompt and seed by seed."""
    (first, baseline), *others = rates.items()
    return [
        {
            "method": key,
            "baseline": first,
            "difference": float((counts - baseline).mean()),
            "seeds": len(counts),
            "interval_over_seeds": over_seeds(counts - baseline),
            "interval_over_prompts": over_prompts(counts - baseline),
        }
        for key, counts in others
    ]


def _selection(comparison: Comparison) -> dict[str, Any]:
    return {
        "rule": SELECTION_RULE,
        "learning_rates": list(comparison.learning_rates),
        "seeds": list(comparison.sweep_seeds),
        "steps": comparison.sweep_steps,
    }


def over_seeds(values: Float[np.ndarray, "seeds prompts"]) -> list[float] | None:
    """Student's t interval of the mean over seeds; None for a single seed, or seeds without any spread."""
    means = values.mean(axis=1)
    if len(means) < 2 or np.ptp(means) <= 1e-12:
        return None
    reach = stats.t.ppf((1 + _LEVEL) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return [float(means.mean() - reach), float(means.mean() + reach)]


def over_prompts(values: Float[np.ndarray, "seeds prompts"]) -> list[float]:
    """Percentile bootstrap over prompts of the mean over seeds; the draws come from a fixed seed."""
    by_prompt = values.mean(axis=0)
    draws = np.random.default_rng(0).integers(len(by_prompt), size=(_RESAMPLES, len(by_prompt)))
    tail = (1 - _LEVEL) / 2
    return [float(bound) for bound in np.quantile(by_prompt[draws].mean(axis=1), [tail, 1 - tail])]


def distinguished(pair: Mapping[str, Any]) -> bool:
    """Whether neither interval of a paired difference covers 0, and the seeds are enough to have one that says so."""
    intervals = (pair["interval_over_seeds"], pair["interval_over_prompts"])
    if pair["seeds"] < _FEWEST or None in intervals:
        return False
    return not any(low <= 0 <= high for low, high in intervals)


def command_line(run: Run, out: Path) -> str:
    """The `rino train` command of one run: a line of a job array."""
    return shlex.join(["rino", *words(run, out / run.place)])


def words(run: Run, place: Path) -> list[str]:
    """What follows `rino` in the command of one run."""
    chosen = ["train", "--model", run.config.model, "--task", run.config.task, "--method", run.config.method]
    return [*chosen, "--out", str(place), *changed_flags(run.config.options)]


def _config(
    method: str, model: str, task: str, options: RunOptions, *, seed: int, learning_rate: float | None
) -> RunConfig:
    optimiser = options.optimiser
    if learning_rate is not None:
        optimiser = dataclasses.replace(optimiser, learning_rate=learning_rate)
    options = dataclasses.replace(options, seed=seed, optimiser=optimiser)
    return RunConfig(model=model, task=task, method=method, options=options)


def _last(file: Path) -> dict[str, Any]:
    return json.loads(complete_lines(file)[-1])


def _first(file: Path) -> dict[str, Any]:
    return json.loads(complete_lines(file)[0])


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _largest_k(result: dict[str, Any]) -> int:
    return max(int(name.split("@")[1]) for name in result if name.startswith("eval/pass@"))
