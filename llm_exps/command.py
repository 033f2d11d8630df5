"""The commands of the experimenter: train, compare, evaluate, generate.

What they need is imported when they run, so that `--help` is there at once.
"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from llm_exps.options import (
    LOGGING,
    METHOD,
    MODEL,
    OPTIMISER,
    RUN,
    TASK,
    CompareOptions,
    EvaluateOptions,
    GenerateOptions,
    RunOptions,
    as_run,
)
from rino_base.files import write_json
from rino_base.messages import InputError, print_table
from rino_base.progress import track

DEFAULT_MODEL = "default"
DEFAULT_TASK = "countdown-small"
DEFAULT_METHODS = ("grpo", "f-isft-pm", "f-isft-pos", "f-isft-neg")
_GENERATE_STREAM = 2

ModelName = Annotated[str, Parameter(group=MODEL)]
TaskName = Annotated[str, Parameter(group=TASK)]
MethodName = Annotated[str, Parameter(group=METHOD)]
Output = Annotated[Path | None, Parameter(group=LOGGING)]
ConfigFile = Annotated[Path | None, Parameter(group=LOGGING)]


def train(
    *,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = DEFAULT_TASK,
    method: MethodName = "grpo",
    out: Output = None,
    config: ConfigFile = None,
    options: RunOptions = RunOptions(),
    json: Output = None,
) -> int:
    """Train a model under one method; a run that was cut off goes on where its newest checkpoint is.

    Args:
        model: a Hugging Face directory or hub name; `default` is the embedded one. See: rino list models.
        task: a task by name, or your own .py or .jsonl file. See: rino list tasks.
        method: a method of the catalogue. See: rino list methods.
        out: run directory. Default: runs/TASK/METHOD/seed-SEED.
        config: options from a TOML or YAML file, or from a run's own config.json; what the command line says wins.
        json: write the last evaluation here; - is standard output.
    """
    from llm_exps import hosts
    from llm_exps.config import RunConfig
    from llm_exps.experiment import train as train_run
    from llm_exps.prepare import prepare_run
    from llm_exps.tables import print_head, print_result
    from mdp_theory.methods.catalogue import get

    get(method)
    setup, options = prepare_run(model, task, options)
    run = RunConfig(model=model, task=task, method=method, options=options)
    out = out or Path("runs") / Path(task).stem / run.resolved.key / f"seed-{options.seed}"
    with hosts.one_voice():
        print_head(run, setup)
        result = train_run(run, out, setup=setup, description=run.resolved.title)
        if hosts.is_first():
            print_result(f"{run.resolved.title} on {task}, after {options.steps} steps", result)
            print(f"run directory: {out}")
            if json:
                write_json(json, result)
    return 0


def compare(
    *,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = DEFAULT_TASK,
    methods: Annotated[tuple[str, ...], Parameter(consume_multiple=True, group=METHOD)] = DEFAULT_METHODS,
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, group=RUN)] = (0, 1, 2),
    learning_rates: Annotated[tuple[float, ...], Parameter(consume_multiple=True, group=OPTIMISER)] = (),
    sweep_seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, group=RUN)] = (1000,),
    sweep_steps: Annotated[int, Parameter(group=RUN)] = 50,
    out: Annotated[Path, Parameter(group=LOGGING)] = Path("runs/comparison"),
    launcher: Annotated[Literal["local", "slurm", "ray"] | None, Parameter(group=RUN)] = None,
    jobs: Annotated[int, Parameter(group=RUN)] = 0,
    gpus_per_job: Annotated[int, Parameter(group=RUN)] = 0,
    slurm: Annotated[tuple[str, ...], Parameter(consume_multiple=True, group=RUN)] = (),
    list_commands: Annotated[bool, Parameter(name="--list", negative="", group=RUN)] = False,
    config: ConfigFile = None,
    options: CompareOptions = CompareOptions(),
    json: Output = None,
) -> int:
    """Train under several methods and seeds and compare; what is done is not done again.

    Args:
        model: as in `rino train`.
        task: as in `rino train`.
        methods: the others are compared with the first. See: rino list methods.
        seeds: of the comparison.
        learning_rates: sweep these for every method first. Default: no sweep.
        sweep_seeds: seeds of the sweep, apart from those of the comparison.
        sweep_steps: steps of each run of the sweep.
        out: directory of all runs and of comparison.json.
        launcher: make every run a job of its own: local processes, a SLURM array (pip install -e '.[slurm]'), or tasks
            of a Ray cluster (pip install -e '.[ray]'; RAY_ADDRESS names it). Lost jobs are started again and resume.
            Default: one run after the other in this process.
        jobs: so many at once; 0 is one with the local launcher, and left to the others.
        gpus_per_job: asked of SLURM or Ray for each run; the local launcher shares out the visible GPUs, one a job.
        slurm: more parameters of SLURM jobs in submitit's names, such as slurm_partition=gpu timeout_min=240.
        list_commands: print one command a line instead of running, for job arrays.
        config: options from a TOML or YAML file, or from a run's own config.json; what the command line says wins.
        json: write the comparison here too; - is standard output.
    """
    from llm_exps import comparison as comparisons
    from llm_exps.config import RunConfig
    from llm_exps.launch import Launcher
    from llm_exps.prepare import prepare_run
    from llm_exps.tables import print_comparison, print_head
    from mdp_theory.methods.catalogue import get
    from mdp_theory.methods.formula import describe

    for name in methods:
        get(name)
    plan = comparisons.Comparison(
        methods=tuple(methods),
        seeds=tuple(seeds),
        learning_rates=tuple(learning_rates),
        sweep_seeds=tuple(sweep_seeds),
        sweep_steps=sweep_steps,
    )
    setup, resolved = prepare_run(model, task, as_run(options))
    if list_commands:
        sweep, main = comparisons.sweep_runs, comparisons.main_runs
        runs = sweep(plan, model, task, resolved) if learning_rates else main(plan, model, task, resolved, {})
        print(*(comparisons.command_line(run, out) for run in runs), sep="\n")
        return 0
    first, *others = (RunConfig(model=model, task=task, method=name, options=resolved) for name in methods)
    print_head(first, setup)
    for other in others:
        print(describe(other.resolved))
    where = None
    if launcher is not None:
        where = Launcher(engine=launcher, jobs=jobs, gpus=gpus_per_job, slurm=_pairs(slurm))
    result = comparisons.compare(plan, model=model, task=task, options=resolved, setup=setup, out=out, launcher=where)
    print_comparison(result)
    print(f"runs and comparison.json: {out}")
    if json:
        write_json(json, result)
    return 0


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    """`name=value` words as a mapping."""
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InputError(f"--slurm {word}", mend="give NAME=VALUE, such as slurm_partition=gpu")
        pairs[name] = value
    return pairs


def evaluate(
    *,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = DEFAULT_TASK,
    options: EvaluateOptions = EvaluateOptions(),
    json: Output = None,
) -> int:
    """Accuracy, pass@k, entropy and lengths of a model on held-out prompts.

    Args:
        model: as in `rino train`.
        task: as in `rino train`.
        json: write the result here; - is standard output.
    """
    from llm_exps.evaluation import evaluate as evaluate_model
    from llm_exps.prepare import prepare_run
    from llm_exps.rollout import Actor
    from llm_exps.tables import print_result

    setup, run = prepare_run(model, task, as_run(options), learns=False)
    with setup.on_devices():
        result = evaluate_model(
            Actor(setup.graph, setup.tokenizer, setup.stop_tokens, run.sampling),
            setup.params,
            setup.task,
            setup.task.evaluation_problems(run.evaluation.eval_prompts or None),
            samples=run.evaluation.eval_samples,
            seed=run.seed,
            rows=run.num_prompts * run.sampling.num_generations,
            watch=lambda chunks, description: track(chunks, description=description),
        )
    print_result(f"{model} on {task}", result)
    if json:
        write_json(json, result)
    return 0


def generate(
    *prompts: str,
    model: ModelName = DEFAULT_MODEL,
    task: TaskName = DEFAULT_TASK,
    file: Annotated[Path | None, Parameter(group=TASK)] = None,
    num: Annotated[int, Parameter(group=TASK)] = 4,
    greedy: bool = False,
    options: GenerateOptions = GenerateOptions(),
    json: Output = None,
) -> int:
    """Answer prompts: those given, those of a file (one a line), or the first held-out ones of a task, with grades.

    Args:
        prompts: texts to continue, as they are.
        model: as in `rino train`.
        task: as in `rino train`; where no prompts are given.
        file: prompts, one a line.
        num: held-out prompts of the task to answer, where no prompts are given.
        greedy: take the most probable token each time.
        json: write prompts and completions here; - is standard output.
    """
    from llm_exps.prepare import prepare_run
    from llm_exps.rollout import Actor, step_key

    texts = list(prompts) if file is None else [*prompts, *_lines(file)]
    setup, run = prepare_run(model, task, as_run(options), learns=False, asks=False)
    problems = None if texts else setup.task.evaluation_problems(num)
    copies = run.sampling.num_generations
    with setup.on_devices():
        completions = Actor(setup.graph, setup.tokenizer, setup.stop_tokens, run.sampling).complete(
            setup.params,
            problems.prompts if problems else texts,
            step_key(run.seed, 0, _GENERATE_STREAM),
            copies=copies,
            greedy=greedy,
        )
    asked = [text for text in (problems.prompts if problems else texts) for _ in range(copies)]
    grades: list[float | None] = [None] * len(asked)
    if problems:
        repeated = problems.repeat(copies)
        grades = list(setup.task.strict(repeated.prompts, completions.texts, **repeated.columns))
    rows = list(zip(asked, completions.texts, completions.lengths.tolist(), grades, strict=True))
    print_table(model, ["prompt", "completion", "tokens", "grade"], rows)
    if json:
        names = ("prompt", "completion", "tokens", "grade")
        write_json(json, [dict(zip(names, row, strict=True)) for row in rows])
    return 0


def _lines(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}", mend="give a UTF-8 text file, one prompt a line") from None
    if not lines:
        raise InputError(f"{file} holds no prompt", mend="give a UTF-8 text file, one prompt a line")
    return lines
