"""The commands of the experimenter: train, compare, evaluate, generate."""

from pathlib import Path
from typing import Annotated

import jax
import numpy as np
from cyclopts import Parameter
from flax import nnx

from llm_exps import comparison as comparisons
from llm_exps.config import RunConfig, RunOptions, SamplingOptions, resolve
from llm_exps.evaluation import evaluate as evaluate_model
from llm_exps.experiment import Setup, prepare
from llm_exps.experiment import train as train_run
from llm_exps.rollout import Actor, step_key
from mdp_theory.methods.catalogue import get
from mdp_theory.methods.formula import describe
from rino_base.files import write_json
from rino_base.messages import InputError, print_table

DEFAULT_MODEL = "default"
DEFAULT_TASK = "countdown-small"
DEFAULT_METHODS = ("grpo", "f-isft-pm", "f-isft-pos", "f-isft-neg")
_GENERATE_STREAM = 2
_ONE_ANSWER = RunOptions(sampling=SamplingOptions(num_generations=1))

Words = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]
Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=True)]
Rates = Annotated[tuple[float, ...], Parameter(consume_multiple=True)]


def train(
    *,
    model: str = DEFAULT_MODEL,
    task: str = DEFAULT_TASK,
    method: str = "grpo",
    out: Path | None = None,
    options: RunOptions = RunOptions(),
    json: Path | None = None,
) -> int:
    """Train a model under one method; a run that was cut off goes on where its newest checkpoint is.

    Args:
        model: a Hugging Face directory or hub name (Qwen2, Qwen2.5, Qwen3, Llama); `default` is the embedded one.
        task: countdown-small, countdown, gsm8k, addition, addition-two-digit, or your own .py or .jsonl file.
        method: a method of the catalogue; `rino audit` and docs/methods.md list them.
        out: run directory. Default: runs/TASK/METHOD/seed-SEED.
        json: write the last evaluation here.
    """
    get(method)
    setup, options = prepare_run(model, task, options)
    config = RunConfig(model=model, task=task, method=method, options=options)
    out = out or Path("runs") / Path(task).stem / config.resolved.key / f"seed-{options.seed}"
    _announce(config, setup)
    result = train_run(config, out, setup=setup, description=f"{config.resolved.title}")
    _show(f"{config.resolved.title} on {task}, after {options.steps} steps", result)
    print(f"run directory: {out}")
    if json:
        write_json(json, result)
    return 0


def compare(
    *,
    model: str = DEFAULT_MODEL,
    task: str = DEFAULT_TASK,
    methods: Words = DEFAULT_METHODS,
    seeds: Numbers = (0, 1, 2),
    learning_rates: Rates = (),
    sweep_seeds: Numbers = (1000,),
    sweep_steps: int = 50,
    out: Path = Path("runs/comparison"),
    list_commands: Annotated[bool, Parameter(name="--list", negative="")] = False,
    options: RunOptions = RunOptions(),
    json: Path | None = None,
) -> int:
    """Train under several methods and seeds and compare; what is done is not done again.

    Args:
        model: a Hugging Face directory or hub name.
        task: as in `rino train`.
        methods: the methods; the others are compared with the first.
        seeds: of the comparison.
        learning_rates: sweep these for every method first. Default: no sweep.
        sweep_seeds: seeds of the sweep, apart from those of the comparison.
        sweep_steps: steps of each run of the sweep.
        out: directory of all runs and of comparison.json.
        list_commands: print one command a line instead of running, for job arrays.
        json: write the comparison here too.
    """
    for name in methods:
        get(name)
    plan = comparisons.Comparison(
        methods=tuple(methods),
        seeds=tuple(seeds),
        learning_rates=tuple(learning_rates),
        sweep_seeds=tuple(sweep_seeds),
        sweep_steps=sweep_steps,
    )
    setup, resolved = prepare_run(model, task, options)
    if list_commands:
        if learning_rates:
            runs = list(comparisons.sweep_runs(plan, model, task, resolved))
        else:
            runs = list(comparisons.main_runs(plan, model, task, resolved, {}))
        for run in runs:
            print(comparisons.command_line(run, out))
        return 0
    _announce(RunConfig(model=model, task=task, method=methods[0], options=resolved), setup)
    for name in methods[1:]:
        print(describe(RunConfig(model=model, task=task, method=name, options=resolved).resolved))
    result = comparisons.compare(plan, model=model, task=task, options=resolved, setup=setup, out=out)
    print_comparison(result)
    print(f"runs and comparison.json: {out}")
    if json:
        write_json(json, result)
    return 0


def evaluate(
    *,
    model: str = DEFAULT_MODEL,
    task: str = DEFAULT_TASK,
    options: RunOptions = RunOptions(),
    json: Path | None = None,
) -> int:
    """Accuracy, pass@k, entropy and lengths of a model on held-out prompts.

    Args:
        model: a Hugging Face directory or hub name.
        task: as in `rino train`.
        json: write the result here.
    """
    setup, options = prepare_run(model, task, options)
    with setup.on_devices():
        result = evaluate_model(
            _actor(setup, options),
            setup.params,
            setup.task,
            setup.task.evaluation_problems(options.evaluation.eval_prompts or None),
            samples=options.evaluation.eval_samples,
            seed=options.seed,
            rows=options.num_prompts * options.sampling.num_generations,
        )
    _show(f"{model} on {task}", result)
    if json:
        write_json(json, result)
    return 0


def generate(
    *prompts: str,
    model: str = DEFAULT_MODEL,
    task: str = DEFAULT_TASK,
    file: Path | None = None,
    num: int = 4,
    greedy: bool = False,
    options: RunOptions = _ONE_ANSWER,
    json: Path | None = None,
) -> int:
    """Answer prompts: those given, those of a file (one a line), or the first held-out ones of a task, with grades.

    Args:
        prompts: texts to continue, as they are.
        model: a Hugging Face directory or hub name.
        task: as in `rino train`; where no prompts are given.
        file: prompts, one a line.
        num: held-out prompts of the task to answer, where no prompts are given.
        greedy: take the most probable token each time.
        json: write prompts and completions here.
    """
    setup, options = prepare_run(model, task, options)
    texts = list(prompts)
    if file is not None:
        if not file.is_file():
            raise InputError(f"no such file: {file}", mend="give a text file with one prompt a line")
        texts += [line for line in file.read_text(encoding="utf-8").splitlines() if line]
    problems = None if texts else setup.task.evaluation_problems(num)
    copies = options.sampling.num_generations
    with setup.on_devices():
        completions = _actor(setup, options).complete(
            setup.params,
            problems.prompts if problems else texts,
            step_key(options.seed, 0, _GENERATE_STREAM),
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


def print_comparison(result: dict) -> None:
    """The tables of a comparison."""
    budget = f"{result['steps']} steps × {result['completions_per_step']} completions, {len(result['seeds'])} seeds"
    held_out = f"{result['eval_prompts']} held-out prompts × {result['eval_samples']} samples"
    last = next(name for name in reversed(result["methods"][0]) if name.startswith("pass@"))
    print_table(
        f"{result['task']}: {budget}; {held_out}; pass@1 before: {result['initial_pass@1']:.3f}",
        [
            "method",
            "learning rate",
            "tokens",
            "pass@1",
            "95 %, seeds",
            "greedy",
            last,
            "entropy",
            "length",
            "right",
            "wrong",
        ],
        [
            [
                row["title"],
                f"{row['learning_rate']:g}",
                f"{row['sampled_tokens']:.3g}",
                f"{row['pass@1']:.3f}",
                _interval(row["pass@1_interval"], "{:.3f} … {:.3f}"),
                row["accuracy_strict"],
                row[last],
                row["entropy"],
                row["mean_length"],
                row["correct_mean_length"],
                row["incorrect_mean_length"],
            ]
            for row in result["methods"]
        ],
    )
    if result["paired"]:
        print_table(
            f"paired difference in pass@1 from {result['methods'][0]['title']}, {result['interval']}",
            ["method", "difference", "over seeds", "over prompts", "distinguished"],
            [
                [
                    row["method"],
                    f"{row['difference']:+.3f}",
                    _interval(row["interval_over_seeds"], "{:+.3f} … {:+.3f}"),
                    _interval(row["interval_over_prompts"], "{:+.3f} … {:+.3f}"),
                    comparisons.distinguished(row),
                ]
                for row in result["paired"]
            ],
        )
    print("Every method: same prompts, same order, as many completions; tokens: sampled in training, mean over seeds.")
    if result["selection"]:
        print(f"learning rates: {result['selection']['rule']}; tried {result['selection']['learning_rates']}")


def prepare_run(model: str, task: str, options: RunOptions) -> tuple[Setup, RunOptions]:
    """Load model and task, and fill in the options whose defaults depend on the model."""
    setup = prepare(model, task, options)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(setup.params))
    context = nnx.merge(setup.graph, setup.params).config.max_positions
    return setup, resolve(options, parameters=size, context=context)


def _actor(setup: Setup, options: RunOptions) -> Actor:
    return Actor(setup.graph, setup.tokenizer, setup.stop_tokens, options.sampling)


def _announce(config: RunConfig, setup: Setup) -> None:
    """The objective and the batch arithmetic in full, before the first step."""
    options = config.options
    sampling, optimiser = options.sampling, options.optimiser
    completions = options.num_prompts * sampling.num_generations
    micro = optimiser.micro_batch_size or completions // optimiser.num_minibatches
    refresh = {0: "never refreshed", 1: "refreshed every step"}.get(
        config.refresh_every, f"refreshed every {config.refresh_every} steps"
    )
    print(describe(config.resolved))
    print(
        f"{options.num_prompts} prompts × {sampling.num_generations} generations = {completions} completions a step, "
        f"{optimiser.num_minibatches} minibatch(es) × {optimiser.num_iterations} pass(es) = "
        f"{optimiser.num_minibatches * optimiser.num_iterations} update(s) a step, {micro} completions in memory; "
        f"sampling policy {refresh}"
    )
    print(
        f"prompts ≤ {sampling.max_prompt_length} tokens, completions ≤ {sampling.max_completion_length}; "
        f"AdamW at {optimiser.learning_rate:g}; {len(setup.task.train)} training and "
        f"{len(setup.task.evaluation)} held-out problems, disjoint"
    )


def _interval(bounds: list[float] | None, form: str) -> str | None:
    return None if bounds is None else form.format(*bounds)


def _show(title: str, result: dict) -> None:
    shown = [(name.removeprefix("eval/"), value) for name, value in result.items() if not isinstance(value, list)]
    print_table(title, ["measure", "value"], [row for row in shown if row[0] != "step"])
