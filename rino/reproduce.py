"""`rino reproduce`: every room in turn on the embedded default, and one report.

Each stage leaves its result in the output directory and is skipped when the result is there, so that an interrupted
reproduction goes on where it stopped and a finished one is only drawn and summed up again.
"""

import dataclasses
import json as json_library
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from rino_base.files import write_json
from rino_base.messages import InputError, print_table

if TYPE_CHECKING:
    from llm_exps.paper import Plan

PAPER_GROUP = Group("Paper", sort_key=2)
PAPER = Parameter(group=PAPER_GROUP)

PROBLEMS = ("two-letter-words", "countdown", "three-level", "running-sum", "slippery-sum")
"""The claim's own setting twice, then three that each drop an assumption: binary rewards, states that are histories,
transitions without chance."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything a reproduction does.

    Attributes:
        theorems: None for all.
        problems: checked exactly; zoo names.
        methods: trained; the first is what the others are compared with.
        seeds: of the comparison.
        steps: of each run.
        num_prompts: prompts per step, each with eight completions.
        learning_rates: tried for every method; none for the default rate.
        sweep_steps: steps of the runs that choose the rate.
        eval_prompts: held-out prompts.
        eval_every, probe_every: in steps.
        inner_iterations: passes over a batch in the runs that show what happens off-policy.
    """

    theorems: tuple[str, ...] | None = None
    problems: tuple[str, ...] = PROBLEMS
    methods: tuple[str, ...] = (
        "grpo",
        "grpo-kl",
        "f-isft-pos",
        "f-isft-neg",
        "f-isft-pm",
        "f-isft-pos-adv",
        "f-isft-neg-adv",
        "f-isft-pm-adv",
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 60
    num_prompts: int = 16
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    sweep_steps: int = 25
    eval_prompts: int = 128
    eval_every: int = 20
    probe_every: int = 10
    inner_iterations: int = 4


QUICK = Scale(
    methods=("grpo", "f-isft-pos", "f-isft-pm", "f-isft-pm-adv"),
    seeds=(0, 1, 2),
    steps=30,
    learning_rates=(),
    eval_every=10,
)


def reproduce(
    *,
    quick: bool = False,
    paper: Annotated[Literal["countdown", "gsm8k"] | None, PAPER] = None,
    size: Annotated[Literal["0.5B", "1.5B"], PAPER] = "0.5B",
    settings: Annotated[Literal["paper", "code"], PAPER] = "code",
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, group=PAPER_GROUP)] = (0,),
    model: Annotated[str | None, PAPER] = None,
    data: Annotated[str | None, PAPER] = None,
    ppo: Annotated[bool, PAPER] = False,
    print_only: Annotated[bool, Parameter(name="--print", negative=(), group=PAPER_GROUP)] = False,
    out: Path | None = None,
    json: Path | None = None,
) -> int:
    """Prove, check, train the small model under every method, draw every figure, and write one report.

    Args:
        quick: fewer methods, seeds and steps: minutes on two cores.
        paper: instead, the paper's own runs on this data set with real weights, for whoever has the card. Resumable.
        size: of Qwen2.5.
        settings: what the paper states, or what its authors' public code runs; they differ in batch and temperature.
        seeds: of the paper's runs.
        model: a directory with the weights, or another hub name. Default: the published base model of this size.
        data: training problems from a local file instead of the hub.
        ppo: also train PPO with a critic.
        print_only: say what would be run, every command, and what it costs; nothing is fetched.
        out: where report, figures and run directories go; what is there already is not done again. Default:
            reproduction, or paper-DATA-SIZE.
        json: write the summary, or the plan, here.
    """
    if paper:
        from llm_exps.paper import Plan

        if quick:
            raise InputError("--quick and --paper exclude each other", mend="leave one of them out")
        plan = Plan(paper=paper, size=size, settings=settings, seeds=seeds, model=model, data=data, ppo=ppo)
        return _paper(plan, out or Path(f"paper-{paper}-{size}"), print_only=print_only, json=json)
    asked = {
        "size": size != "0.5B",
        "settings": settings != "code",
        "seeds": seeds != (0,),
        "model": model is not None,
        "data": data is not None,
        "ppo": ppo,
        "print": print_only,
    }
    if given := [name for name, value in asked.items() if value]:
        raise InputError(f"--{given[0]} is for --paper alone", mend="add --paper countdown or --paper gsm8k")
    return _main_job(QUICK if quick else Scale(), out or Path("reproduction"), json)


def _paper(plan: "Plan", place: Path, *, print_only: bool, json: Path | None) -> int:
    """The paper's runs and their figures; or what they would be."""
    from figures.command import figures
    from llm_exps.paper import carry_out, print_plan

    if not print_only:
        carry_out(plan, place, json=json)
        return figures(place, out=place)
    planned = print_plan(plan, place)
    if json:
        write_json(json, planned)
    return 0


def _main_job(scale: Scale, out: Path, json: Path | None) -> int:
    """All stages, one after the other, and the summary."""
    _begin(scale, out)
    seconds: dict[str, float] = {}
    codes: list[int] = []
    stages: tuple[tuple[str, Callable[[Scale, Path], int]], ...] = (
        ("prove", _prove),
        ("check", _check),
        ("compare", _compare),
        ("figures", _draw),
    )
    for name, stage in stages:
        with _timed(seconds, name):
            codes.append(stage(scale, out))
    summary = _summary(scale, out, seconds)
    print_table("reproduction", ["stage", "result", "seconds"], [list(row.values()) for row in summary["stages"]])
    print(f"report: {out / 'report.html'}")
    write_json(out / "summary.json", summary)
    if json:
        write_json(json, summary)
    return max(codes)


def _begin(scale: Scale, out: Path) -> None:
    plan = out / "plan.json"
    wanted = json_library.loads(json_library.dumps(dataclasses.asdict(scale)))
    if not plan.exists():
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty and holds no reproduction", mend="choose another --out")
        write_json(plan, wanted)
    elif _read(plan) != wanted:
        raise InputError(f"{out} holds a reproduction of another scale", mend="choose another --out, or change --quick")


def _prove(scale: Scale, out: Path) -> int:
    from proofs.command import prove

    result = out / "prove.json"
    if not result.exists():
        return prove(json=result)
    return 0 if all(theorem["verified"] for theorem in _read(result)["theorems"]) else 1


def _check(scale: Scale, out: Path) -> int:
    from mdp_theory.check.command import check

    codes = [0]
    for problem in scale.problems:
        result = out / "check" / f"{problem}.json"
        if not result.exists():
            # One problem is enough to see what an optimiser does; it costs a compilation.
            first = problem == scale.problems[0]
            codes.append(check(problem, optimiser="adam" if first else None, json=result))
        elif not _read(result)["verified"]:
            codes.append(1)
    return max(codes)


def _compare(scale: Scale, out: Path) -> int:
    from llm_exps.command import DEFAULT_MODEL, DEFAULT_TASK
    from llm_exps.comparison import Comparison, compare
    from llm_exps.config import RunConfig
    from llm_exps.experiment import train
    from llm_exps.options import EvaluationOptions, OptimiserOptions, RunOptions
    from llm_exps.prepare import prepare_run
    from llm_exps.tables import print_comparison

    options = RunOptions(
        steps=scale.steps,
        num_prompts=scale.num_prompts,
        # Completions are sorted by length into micro-batches: without them all would be padded like the longest.
        optimiser=OptimiserOptions(micro_batch_size=32),
        probe_every=scale.probe_every,
        evaluation=EvaluationOptions(eval_every=scale.eval_every, eval_prompts=scale.eval_prompts),
    )
    setup, options = prepare_run(DEFAULT_MODEL, DEFAULT_TASK, options)
    plan = Comparison(
        methods=scale.methods,
        seeds=scale.seeds,
        learning_rates=scale.learning_rates,
        sweep_steps=scale.sweep_steps,
    )
    print_comparison(compare(plan, model="default", task=DEFAULT_TASK, options=options, setup=setup, out=out))
    # What several passes over one batch do to the equivalence: on-policy it is exact, later it is not.
    optimiser = dataclasses.replace(options.optimiser, num_iterations=scale.inner_iterations)
    for seed in scale.seeds:
        reused = dataclasses.replace(options, optimiser=optimiser, seed=seed)
        config = RunConfig(model="default", task=DEFAULT_TASK, method="grpo", options=reused)
        place = out / "inner-steps" / "runs" / "grpo" / f"seed-{seed}"
        train(config, place, setup=setup, description=f"GRPO, {scale.inner_iterations} passes over each batch")
    return 0


def _draw(scale: Scale, out: Path) -> int:
    from figures.command import figures

    return figures(out, out=out)


def _summary(scale: Scale, out: Path, seconds: dict[str, float]) -> dict[str, Any]:
    theorems = _read(out / "prove.json")["theorems"]
    checks = [_read(out / "check" / f"{problem}.json") for problem in scale.problems]
    comparison = _read(out / "comparison.json")
    verified = sum(theorem["verified"] for theorem in theorems)
    exact = sum(report["verified"] for report in checks)
    best = max(comparison["methods"], key=lambda row: row["pass@1"])
    results = {
        "prove": f"{verified} of {len(theorems)} theorems verified",
        "check": f"{exact} of {len(checks)} problems: every promised identity holds",
        "compare": f"{len(comparison['methods'])} methods × {len(comparison['seeds'])} seeds; best pass@1: "
        f"{best['title']} {best['pass@1']:.3f} (before: {comparison['initial_pass@1']:.3f})",
        "figures": f"{len(list((out / 'figures').glob('*.png')))} pictures",
    }
    config = _read(next(iter(sorted((out / "runs").glob("*/*/config.json")))))
    return {
        "versions": config["versions"],
        "hardware": config["hardware"],
        "stages": [{"stage": name, "result": results[name], "seconds": round(seconds[name], 1)} for name in results],
        "theorems": {theorem["id"]: theorem["verified"] for theorem in theorems},
        "problems": {report["problem"]: report["verified"] for report in checks},
        "comparison": comparison,
    }


def _read(path: Path) -> Any:
    return json_library.loads(path.read_text(encoding="utf-8"))


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
