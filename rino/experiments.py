"""The training half of the Python API: runs, comparisons, and what is drawn from their files.

Imports of the rooms are inside the functions, so that `import rino` stays quick.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rino.options import as_list, as_path, build
from rino.results import ComparisonResult, FiguresResult, MethodChoice, RunResult
from rino.rooms import claim
from rino_base.messages import InputError
from rino_base.outputs import try_outputs
from rino_base.ranges import hold


def train(
    *,
    model: str | os.PathLike[str] = "default",
    task: str | os.PathLike[str] = "countdown-small",
    method: str | MethodChoice = "grpo",
    out: str | os.PathLike[str] | None = None,
    **options: object,
) -> RunResult:
    """Train a model under one method; a run that was cut off goes on where its newest checkpoint is.

    Args:
        model: a Hugging Face directory or hub name; `default` is the embedded small model.
        task: a task's name (`rino list tasks`), or your own .py or .jsonl file (docs/tasks.md).
        method: a name of the catalogue, or from `method()`: its dials are then those of the run.
        out: run directory. Default: runs/TASK/METHOD/seed-SEED.
        options: any option of `rino train --help`, with underscores: `steps`, `num_prompts`, `num_generations`,
            `learning_rate`, `seed`, …

    Raises:
        InputError: no such model, task, method or option (the mend names the nearest), a value out of its range, or a
            directory that holds another run.
    """
    claim("llm_exps")
    _without_advice_of_tqdm()
    from llm_exps.config import RunConfig
    from llm_exps.experiment import train as train_run
    from llm_exps.options import RunOptions
    from llm_exps.prepare import prepare_run
    from mdp_theory.methods.catalogue import get

    dials = method.dials if isinstance(method, MethodChoice) else {}
    name = get(method.key if isinstance(method, MethodChoice) else str(method)).key
    own = ("model", "task", "method", "out")
    chosen = build(RunOptions, {**dials, **options}, what="rino.train", others=own)
    hold("train", {"options": chosen})
    model, task = as_path(model, "model"), as_path(task, "task")
    try_outputs({"out": None if out is None else as_path(out, "out")})
    setup, resolved = prepare_run(model, task, chosen)
    config = RunConfig(model=model, task=task, method=name, options=resolved)
    default = Path("runs") / Path(task).stem / config.resolved.key / f"seed-{resolved.seed}"
    directory = default if out is None else Path(out)
    result = train_run(config, directory, setup=setup, description=config.resolved.title)
    return RunResult(result, directory, config.resolved.title)


def compare(
    methods: Sequence[str] = ("grpo", "f-isft-pm", "f-isft-pos", "f-isft-neg"),
    /,
    *,
    model: str | os.PathLike[str] = "default",
    task: str | os.PathLike[str] = "countdown-small",
    seeds: Sequence[int] = (0, 1, 2),
    learning_rates: Sequence[float] = (),
    sweep_seeds: Sequence[int] = (1000,),
    sweep_steps: int = 50,
    launcher: Literal["local", "slurm", "ray"] | None = None,
    jobs: int = 0,
    gpus_per_job: int = 0,
    out: str | os.PathLike[str] = "runs/comparison",
    **options: object,
) -> ComparisonResult:
    """Train under several methods and seeds and compare; what is done is not done again.

    Args:
        methods: names of the catalogue; the others are compared with the first.
        model: as in `train`.
        task: as in `train`.
        seeds: of the comparison.
        learning_rates: swept for every method first, in steps of AdamW. Default: no sweep.
        sweep_seeds: seeds of the sweep, apart from `seeds`.
        sweep_steps: steps of each run of the sweep.
        launcher: make every run a job of its own, as `rino compare --launcher`. Default: one after the other, here.
        jobs: so many at once; 0 is one with the local launcher, and left to the others.
        gpus_per_job: asked of SLURM or Ray for each run.
        out: directory of all runs and of comparison.json.
        options: any option of `rino compare --help`, with underscores; they hold for every run.

    Raises:
        InputError: as `train`; or a method or seed that is given twice.
    """
    claim("llm_exps")
    _without_advice_of_tqdm()
    from llm_exps.comparison import Comparison
    from llm_exps.comparison import compare as compare_runs
    from llm_exps.launch import ENGINES, Launcher
    from llm_exps.options import CompareOptions, as_run
    from llm_exps.prepare import prepare_run
    from mdp_theory.methods.catalogue import get

    _check_names(methods)
    own = ("model", "task", "seeds", "learning_rates", "sweep_seeds", "sweep_steps", "launcher", "jobs", "out")
    chosen = build(CompareOptions, options, what="rino.compare", others=own)
    lists = {"seeds": seeds, "learning_rates": learning_rates, "sweep_seeds": sweep_seeds}
    chosen_lists: dict[str, Any] = {name: as_list(values, name) for name, values in lists.items()}
    numbers = {"sweep_steps": sweep_steps, "jobs": jobs, "gpus_per_job": gpus_per_job}
    hold("compare", {**chosen_lists, "methods": methods, **numbers, "options": chosen})
    if launcher is not None and launcher not in ENGINES:
        raise InputError(f"launcher is {launcher!r}", mend=f"one of: {', '.join(ENGINES)}; or None for this process")
    names = {"model": as_path(model, "model"), "task": as_path(task, "task")}
    try_outputs({"out": as_path(out, "out")})
    plan = Comparison(methods=tuple(get(name).key for name in methods), **chosen_lists, sweep_steps=sweep_steps)
    setup, resolved = prepare_run(names["model"], names["task"], as_run(chosen))
    place = Path(out)
    engine = None if launcher is None else Launcher(engine=launcher, jobs=jobs, gpus=gpus_per_job)
    result = compare_runs(plan, **names, options=resolved, setup=setup, out=place, launcher=engine)
    return ComparisonResult(result, place)


def _check_names(methods: object) -> None:
    names = methods if isinstance(methods, Iterable) and not isinstance(methods, str) else [None]
    if not all(isinstance(name, str) for name in names):
        mend = 'give names, such as ["grpo", "f-isft-pm"]; dials are options of compare and hold for every method'
        raise InputError(f"methods is {methods!r}", mend=mend)


def figures(
    runs: str | os.PathLike[str] | RunResult | ComparisonResult,
    /,
    *more: str | os.PathLike[str] | RunResult | ComparisonResult,
    out: str | os.PathLike[str] | None = None,
    formats: Sequence[str] = ("png",),
    width: float | None = None,
    font: str = "DejaVu Sans",
    titles: bool = True,
    only: Sequence[str] = (),
) -> FiguresResult:
    """Draw every figure and table that run files allow, and write the report.

    Args:
        runs: from `train` or `compare`, or the directory of runs or of `rino reproduce`.
        more: further ones, drawn together with the first; then `out` is needed.
        out: where figures/, tables/, report.md, report.html and paper.tex go. Default: beside the runs.
        formats: of the figures: png, pdf, svg; png is always among them, for the report.
        width: of every figure, inches: 3.3 a column, 5.5 a text, 6.8 a page. Default: each its own, a column or a page.
        font: of the figures, by family name.
        titles: whether figures carry headings.
        only: ids of figures and tables, such as ["accuracy"]; then there is no report. Default: all.

    Raises:
        InputError: nothing to draw there, or an unknown format, font or id.
    """
    claim("figures")
    from figures.drawing import draw
    from figures.formats import Format
    from figures.render import Page

    try_outputs({"out": None if out is None else as_path(out, "out")})
    if width is not None:
        hold("figures", {"width": width})
    known: tuple[Format, ...] = ("png", "pdf", "svg")
    if not set(map(repr, as_list(formats, "formats"))) <= set(map(repr, known)):
        raise InputError(f"formats is {formats!r}", mend=f"give a list of some of: {', '.join(known)}")
    places = [_place(item) for item in (runs, *more)]
    wanted = tuple(name for name in known if name in formats or name == "png")
    page = Page(formats=wanted, width=width, font=font, titles=titles, only=tuple(only))
    return FiguresResult(draw(places, None if out is None else Path(out), page=page).to_json())


def _place(runs: object) -> Path:
    if isinstance(runs, RunResult | ComparisonResult):
        return runs.directory
    if isinstance(runs, str | os.PathLike):
        return Path(runs)
    raise InputError(
        f"{runs!r} is no place of runs", mend="give a directory, or what rino.train or rino.compare returned"
    )


def _without_advice_of_tqdm() -> None:
    # transformers imports it, and in a notebook without ipywidgets it warns of a progress bar that rino does not use.
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401
