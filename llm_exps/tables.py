"""What the experimenter's commands print: the head of a run, its last evaluation, a comparison."""

from typing import Any

from llm_exps.comparison import distinguished
from llm_exps.config import RunConfig
from llm_exps.memory import Device
from llm_exps.memory import describe as describe_memory
from llm_exps.setup import Setup
from mdp_theory.methods.formula import describe
from rino_base.messages import print_table


def print_head(config: RunConfig, setup: Setup) -> None:
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
        f"{optimiser.optimiser} at {optimiser.learning_rate:g}; {len(setup.task.train)} training and "
        f"{len(setup.task.evaluation)} held-out problems, disjoint"
    )
    if any(setup.dropped.values()):
        counts = ", ".join(f"{count} of {name}" for name, count in setup.dropped.items())
        print(f"prompts dropped because they do not fit: {counts}")
    length = setup.longest_row(options.sampling)
    print(describe_memory(options, Device.current(), setup.config, parameters=setup.parameters, length=length))


def print_result(title: str, result: dict[str, Any]) -> None:
    """The scalars of an evaluation."""
    shown = [(name.removeprefix("eval/"), value) for name, value in result.items() if not isinstance(value, list)]
    print_table(title, ["measure", "value"], [row for row in shown if row[0] != "step"])


def print_comparison(result: dict[str, Any]) -> None:
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
                    distinguished(row),
                ]
                for row in result["paired"]
            ],
        )
    print("Every method: same prompts, same order, as many completions; tokens: sampled in training, mean over seeds.")
    if result["selection"]:
        print(f"learning rates: {result['selection']['rule']}; tried {result['selection']['learning_rates']}")


def _interval(bounds: list[float] | None, form: str) -> str | None:
    return None if bounds is None else form.format(*bounds)
