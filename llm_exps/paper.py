"""`rino reproduce --paper`: the runs of arXiv 2505.13697 on real weights, as far as its settings are public.

Two settings are known and they differ: what the paper states, and what its authors' public code runs. Each is data
here; what one does not state is as in the other. `--print` shows the plan and its cost, and fetches nothing; without
it the plan is carried out, every run resumable, and the figures are drawn from what it leaves.
"""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from llm_exps.comparison import Comparison, Run, compare, main_runs, words
from llm_exps.config import RunConfig
from llm_exps.experiment import train
from llm_exps.memory import state_bytes
from llm_exps.options import EvaluationOptions, ObjectiveOptions, OptimiserOptions, RunOptions, SamplingOptions
from llm_exps.prepare import prepare_run
from llm_exps.tables import print_comparison
from llm_exps.tasks.task import Scheme
from rino_base.files import write_json
from rino_base.messages import print_table

METHODS = ("grpo", "f-isft-pm", "f-isft-pm-adv", "f-isft-pos", "f-isft-pos-adv", "f-isft-neg", "f-isft-neg-adv")
"""Compared, the first with the others: F-ISFT as a cross-entropy, and in the form that keeps GRPO's ratio and clip."""

KL_BETA = 0.001
"""Of the arm with a KL term; k3 in the loss, with the sign that penalises it (the code's own sign rewards it)."""


@dataclass(frozen=True)
class Size:
    """A published model: its parameters, and the elements that a token adds to the cache."""

    model: str
    parameters: float
    cache: int


SIZES = MappingProxyType(
    {
        "0.5B": Size("Qwen/Qwen2.5-0.5B", 0.494e9, 2 * 24 * 2 * 64),
        "1.5B": Size("Qwen/Qwen2.5-1.5B", 1.544e9, 2 * 28 * 2 * 128),
    }
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run was given.

    Attributes:
        num_minibatches: optimiser steps per batch of responses.
        loss_aggregation: None as the method has it (for GRPO 1/|o|, as the paper writes it).
    """

    num_prompts: int
    num_minibatches: int
    temperature: float
    loss_aggregation: str | None
    steps: int = 240
    num_generations: int = 5
    learning_rate: float = 1e-6
    max_prompt_length: int = 256
    max_completion_length: int = 1024
    eval_every: int = 10


SETTINGS = MappingProxyType(
    {
        "paper": Settings(num_prompts=64, num_minibatches=1, temperature=0.6, loss_aggregation=None),
        "code": Settings(num_prompts=256, num_minibatches=4, temperature=1.0, loss_aggregation="token-mean"),
    }
)

TASKS: Mapping[str, tuple[Scheme, int]] = MappingProxyType(
    {"countdown": ("three-level", 1024), "gsm8k": ("binary", 1319)}
)
"""The reward scheme, and how many held-out problems there are."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All runs for one data set and one model size.

    Attributes:
        model: a directory or hub name; by default the published base model.
        data: training problems, where they are not to come from the hub.
        ppo: also train PPO with a critic, which the paper has for larger models.
    """

    paper: Literal["countdown", "gsm8k"]
    size: Literal["0.5B", "1.5B"] = "0.5B"
    settings: Literal["paper", "code"] = "code"
    seeds: tuple[int, ...] = (0,)
    model: str | None = None
    data: str | None = None
    ppo: bool = False

    @property
    def weights(self) -> str:
        """The model that is trained."""
        return self.model or SIZES[self.size].model

    @property
    def options(self) -> RunOptions:
        """Of every run; an evaluation draws one response a problem besides the greedy one."""
        given, (scheme, _) = SETTINGS[self.settings], TASKS[self.paper]
        return RunOptions(
            scheme=scheme,
            data=self.data,
            steps=given.steps,
            num_prompts=given.num_prompts,
            probe_every=given.eval_every,
            objective=ObjectiveOptions(loss_aggregation=given.loss_aggregation),
            unfit_prompts="drop",
            sampling=SamplingOptions(
                num_generations=given.num_generations,
                max_prompt_length=given.max_prompt_length,
                max_completion_length=given.max_completion_length,
                temperature=given.temperature,
            ),
            optimiser=OptimiserOptions(
                learning_rate=given.learning_rate, max_grad_norm=1.0, num_minibatches=given.num_minibatches
            ),
            evaluation=EvaluationOptions(eval_every=given.eval_every, eval_prompts=0, eval_samples=1),
        )

    @property
    def comparison(self) -> Comparison:
        """The arms that are compared."""
        return Comparison(methods=METHODS + (("ppo",) if self.ppo else ()), seeds=self.seeds)

    def runs(self) -> list[Run]:
        """Every run: the compared ones, then GRPO with its KL term, which is an arm of its own."""
        compared = main_runs(self.comparison, self.weights, self.paper, self.options, {})
        return [*compared, *self.kl_runs()]

    def kl_runs(self) -> Iterator[Run]:
        """GRPO with the KL term in the loss."""
        for seed in self.seeds:
            objective = dataclasses.replace(self.options.objective, beta=KL_BETA)
            options = dataclasses.replace(self.options, seed=seed, objective=objective)
            config = RunConfig(model=self.weights, task=self.paper, method="grpo-kl", options=options)
            yield Run(f"runs/grpo-kl/seed-{seed}", config)

    def cost(self) -> dict[str, float]:
        """Of one run, if every response is as long as it may be: an upper bound, from sizes alone.

        completions, evaluated: responses drawn to learn from and to evaluate. tokens: of both. update_flops: 6 a
        parameter and token, 2 more for the old log-probabilities, 2 more for rematerialisation. sampling_bytes: what
        decoding reads: the weights in bfloat16 once a token of a batch, and each row's cache.
        """
        given, size = SETTINGS[self.settings], SIZES[self.size]
        rows = given.num_prompts * given.num_generations
        completions = given.steps * rows
        evaluated = (given.steps // given.eval_every + 1) * TASKS[self.paper][1] * 2
        learned = completions * (given.max_prompt_length + given.max_completion_length)
        drawn = (completions + evaluated) * given.max_completion_length
        mean_context = given.max_prompt_length + given.max_completion_length / 2
        return {
            "completions": completions,
            "evaluated": evaluated,
            "tokens": drawn,
            "update_flops": 10 * size.parameters * learned,
            "sampling_bytes": 2 * (drawn / rows * size.parameters + drawn * mean_context * size.cache),
            "state_bytes": state_bytes(int(size.parameters)),
        }


CARD = ("an H100 (989 TFLOP/s in bfloat16, 3.35 TB/s)", 989e12, 3.35e12)
SHARE = (0.4, 0.6)
"""Of a card's arithmetic in updates and of its bandwidth in decoding: what is assumed to be reached."""


def print_plan(plan: Plan, out: Path) -> dict[str, Any]:
    """Show what would be run and what it costs, command by command; nothing is fetched and nothing runs."""
    runs, cost, given = plan.runs(), plan.cost(), SETTINGS[plan.settings]
    name, flops, bandwidth = CARD
    update = cost["update_flops"] / (SHARE[0] * flops) / 3600
    decode = cost["sampling_bytes"] / (SHARE[1] * bandwidth) / 3600
    evaluation = decode * cost["evaluated"] / (cost["completions"] + cost["evaluated"])
    rows = [
        ["model, task, rewards", f"{plan.weights}, {plan.paper}, {TASKS[plan.paper][0]}"],
        ["runs", f"{len(runs)}: {len(METHODS) + plan.ppo} methods and GRPO with KL × {len(plan.seeds)} seed(s)"],
        ["a step", f"{given.num_prompts} prompts × {given.num_generations}, {given.num_minibatches} update(s)"],
        ["responses of a run", f"{cost['completions']:,.0f} to learn from, {cost['evaluated']:,.0f} in evaluations"],
        ["tokens of a run, at most", f"{cost['tokens']:,.0f}"],
        ["weights, gradients, moments", f"{cost['state_bytes'] / 2**30:.1f} GiB"],
        ["updates of a run, at most", f"{update:.1f} h"],
        ["decoding of a run, at most", f"{decode:.1f} h, of it evaluation {evaluation:.1f} h"],
        ["all runs, at most", f"{len(runs) * (update + decode):.0f} h"],
    ]
    print_table(f"{plan.paper}, Qwen2.5-{plan.size}, settings of the {plan.settings}", ["what", "value"], rows)
    print(f"Hours on {name}, at {SHARE[0]:.0%} of its arithmetic and {SHARE[1]:.0%} of its bandwidth: assumed.")
    commands = [shlex.join(["rino", *words(run, out / run.place)]) for run in runs]
    commands += [shlex.join(["rino", "figures", str(out)])]
    print("\n".join(commands))
    return {"plan": dataclasses.asdict(plan), "cost": cost, "commands": commands}


def carry_out(plan: Plan, out: Path, *, json: Path | None = None) -> None:
    """Train every arm under `out`, each from where it stopped; the summary goes to `out/paper.json` and to `json`."""
    setup, options = prepare_run(plan.weights, plan.paper, plan.options)
    result = compare(plan.comparison, model=plan.weights, task=plan.paper, options=options, setup=setup, out=out)
    print_comparison(result)
    for run in plan.kl_runs():
        own = dataclasses.replace(options, seed=run.config.options.seed, objective=run.config.options.objective)
        train(dataclasses.replace(run.config, options=own), out / run.place, setup=setup, description=run.place)
    summary = {"plan": dataclasses.asdict(plan), "comparison": result}
    for path in (out / "paper.json", json):
        if path:
            write_json(path, summary)
