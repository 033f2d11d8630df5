"""The options of the experimenter's commands: frozen dataclasses, and the command line is made from them.

Names are TRL's where TRL has one. An option left at None keeps what the method's source, the model or the device says.
A command takes the dataclass that holds what it uses and nothing else.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

# Panels of `--help`, in the order in which a reader meets the questions.
MODEL = Group("Model", sort_key=1)
TASK = Group("Task", sort_key=2)
METHOD = Group("Method", sort_key=3)
RUN = Group("Run", sort_key=4)
SAMPLING = Group("Sampling", sort_key=5)
OPTIMISER = Group("Optimiser", sort_key=6)
EVALUATION = Group("Evaluation", sort_key=7)
LOGGING = Group("Logging and output", sort_key=8)


@Parameter(name="*", group=METHOD)
@dataclass(frozen=True, kw_only=True)
class ObjectiveOptions:
    """Departures from the method's own objective.

    Attributes:
        beta: coefficient of the KL term; 0 removes it.
        kl_estimator: k1, k2 or k3.
        kl_placement: KL in the loss, token by token, or in the reward.
        anti_kl: reward the KL instead of penalising it; an ablation of a sign error seen in public code.
        epsilon: clip range below (and above, unless --epsilon-high is given).
        epsilon_high: clip range above.
        loss_aggregation: sequence-mean-token-mean, token-mean, sequence-mean-token-sum-norm or sequence-mean-token-sum;
            TRL's and verl's names are understood.
        scale_rewards: divide advantages by the standard deviation of the group, of the batch, or by nothing.
        ddof: 0 or 1: the standard deviation divides by G or by G - 1.
        advantage_eps: added to the standard deviation.
        importance_sampling_level: ratio of a token or of the sequence.
    """

    beta: float | None = None
    kl_estimator: Literal["k1", "k2", "k3"] | None = None
    kl_placement: Literal["loss", "reward"] | None = None
    anti_kl: bool = False
    epsilon: float | None = None
    epsilon_high: float | None = None
    loss_aggregation: str | None = None
    scale_rewards: Literal["group", "batch", "none"] | None = None
    ddof: Literal[0, 1] | None = None
    advantage_eps: float | None = None
    importance_sampling_level: Literal["token", "sequence"] | None = None


@Parameter(name="*", group=SAMPLING)
@dataclass(frozen=True, kw_only=True)
class DrawingOptions:
    """How completions are drawn.

    Attributes:
        num_generations: completions per prompt (the group size G).
        max_prompt_length: longest prompt, in tokens; a longer one is an error. Default: what the context leaves.
        max_completion_length: a completion ends at EOS or after this many tokens. Default: 512, or half of the model's
            context if that is less.
        temperature: of sampling; log-probabilities are taken at the same temperature.
        top_p: sample from the smallest set of tokens with this probability.
        top_k: sample from this many tokens; 0 means all.
        stop_strings: a completion also ends where the first of these is written; the verifier sees what is before it.
        apply_chat_template: put each prompt as a user's message into the chat template of the model's tokenizer.
        rows_at_once: completions decoded side by side; the others wait, and take the places of those that have ended.
            What is drawn does not depend on it. 0: all of a step, and in an evaluation as many.
    """

    num_generations: int = 8
    max_prompt_length: int | None = None
    max_completion_length: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop_strings: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True)] = None
    apply_chat_template: bool = False
    rows_at_once: int = 0


@Parameter(name="*", group=SAMPLING)
@dataclass(frozen=True, kw_only=True)
class SamplingOptions(DrawingOptions):
    """How completions are drawn to be learned from.

    Attributes:
        mask_truncated_completions: learn nothing from completions cut off at the limit.
    """

    mask_truncated_completions: bool = False


@Parameter(name="*", group=OPTIMISER)
@dataclass(frozen=True, kw_only=True)
class OptimiserOptions:
    """How a batch becomes updates.

    Attributes:
        learning_rate: at its peak. Default: 1e-6, or 3e-4 for a model of under ten million parameters.
        optimiser: adamw, lion and adafactor are optax's; momentum is SGD with --adam-beta1 as its momentum.
        lr_scheduler_type: what the learning rate does after warm-up; linear and cosine end at 0 with the last step.
        critic_learning_rate: of the value head of a method with a critic (PPO).
        warmup_steps: optimiser steps of linear warm-up.
        adam_beta1: decay of the first moment.
        adam_beta2: decay of the second moment.
        adam_epsilon: added to the root of the second moment.
        weight_decay: decoupled from the gradient (under SGD added to it); norms and biases do not decay.
        max_grad_norm: gradients are scaled down to this norm; 0 leaves them.
        num_iterations: passes over the batch.
        num_minibatches: updates per pass; whole groups are kept together.
        micro_batch_size: completions in memory at once; 0 means all. The result does not depend on it. Default: what
            the memory of an accelerator holds; all on a CPU.
        refresh_every: steps between refreshes of the policy that samples; 0 never refreshes it.
        rollout_is_threshold: weigh a token by its probability in the learner over that in the sampler, at most so much
            (truncated importance sampling; the name is verl's); 0 trusts the sampler.
        old_logp_tolerance: several updates a batch need the log-probabilities before the first. The sampler's serve
            where on every eighth completion none is off by more than this, in nats; else they are computed anew,
            and always with 0, with top-k or top-p, or with a threshold for importance sampling.
    """

    learning_rate: float | None = None
    optimiser: Literal["adamw", "sgd", "momentum", "lion", "adafactor"] = "adamw"
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    critic_learning_rate: float = 1e-3
    warmup_steps: int = 0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    num_iterations: int = 1
    num_minibatches: int = 1
    micro_batch_size: int | None = None
    refresh_every: int = 1
    rollout_is_threshold: float = 0.0
    old_logp_tolerance: float = 1e-4


@Parameter(name="*", group=MODEL)
@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """Low-rank adapters instead of the whole model; the names are peft's.

    Attributes:
        lora_r: rank of the adapters; 0 trains the whole model.
        lora_alpha: the product of an adapter counts lora_alpha / lora_r times.
        lora_target_modules: matrices that get one.
    """

    lora_r: int = 0
    lora_alpha: float = 32.0
    lora_target_modules: Annotated[
        tuple[Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], ...],
        Parameter(consume_multiple=True),
    ] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@Parameter(name="*", group=EVALUATION)
@dataclass(frozen=True, kw_only=True)
class HeldOutOptions:
    """What a model is evaluated on.

    Attributes:
        eval_prompts: held-out prompts, the same at every evaluation; 0 means all.
        eval_samples: completions per prompt for pass@k.
    """

    eval_prompts: int = 128
    eval_samples: int = 8


@Parameter(name="*", group=EVALUATION)
@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(HeldOutOptions):
    """How often a model is evaluated.

    Attributes:
        eval_every: steps between evaluations; 0 evaluates before the first and after the last step alone.
    """

    eval_every: int = 10


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """What every command needs that puts a model to a task.

    Attributes:
        scheme: rewards 0/1, or 0/0.1/1 with credit for the format.
        data: training problems of the task: a hub name, or a local parquet or JSONL file.
        evaluation_data: held-out problems of the task, likewise.
        prompt_template: a file with the prompt's text and {fields} of the task.
        unfit_prompts: what is done about prompts that are too long or that the tokenizer cannot write: refuse the
            whole task before the first step (the default), or drop them, which is counted and recorded.
        revision: branch, tag or commit of a model on the hub. Default: its main branch; the commit is recorded.
        dtype: of the computation; master weights are float32. Default: bfloat16 on an accelerator, float32 on a CPU.
        mesh: the devices as data=D,fsdp=F,tensor=T: D replicas, F devices that share weights, moments and batch, T that
            share every layer. Default: all on fsdp.
    """

    scheme: Annotated[Literal["binary", "three-level"], Parameter(group=TASK)] = "binary"
    data: Annotated[str | None, Parameter(group=TASK)] = None
    evaluation_data: Annotated[str | None, Parameter(group=TASK)] = None
    prompt_template: Annotated[Path | None, Parameter(group=TASK)] = None
    unfit_prompts: Annotated[Literal["refuse", "drop"] | None, Parameter(group=TASK)] = None
    revision: Annotated[str | None, Parameter(group=MODEL)] = None
    dtype: Annotated[Literal["float32", "bfloat16"] | None, Parameter(group=MODEL)] = None
    mesh: Annotated[str | None, Parameter(group=MODEL)] = None


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class GenerateOptions(WorkOptions):
    """What `rino generate` uses.

    Attributes:
        seed: decides what is sampled.
    """

    seed: int = 0
    sampling: DrawingOptions = field(default_factory=lambda: DrawingOptions(num_generations=1))


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(WorkOptions):
    """What `rino evaluate` uses.

    Attributes:
        seed: decides what is sampled.
        num_prompts: num_prompts × num_generations completions are in memory at once.
    """

    seed: int = 0
    num_prompts: int = 32
    sampling: DrawingOptions = field(default_factory=DrawingOptions)
    evaluation: HeldOutOptions = field(default_factory=HeldOutOptions)


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class CompareOptions(WorkOptions):
    """What the runs of a comparison share: everything but model, task, method, seed and directory.

    Attributes:
        steps: batches of completions to learn from.
        num_prompts: prompts per step; num_prompts × num_generations completions are drawn.
        probe_every: steps between measurements of the equivalence; 0 never measures it.
        save_every: steps between checkpoints; 0 saves at the end alone.
        export_every: steps between models written to exports/; 0 writes the last one alone, to model/.
        export_dtype: of the weights in the models that are written.
        remat: recompute activations in the backward pass: less memory, more time. Default: on an accelerator.
        logprob_chunk: tokens whose logits are held at once.
        reward_functions: what rewards a completion: `task`, and FILE.py:FUNCTION of your own with TRL's signature.
        reward_weights: how often each of them counts. Default: once.
        report_to: also log to Weights & Biases or trackio, if installed; TensorBoard files are always written.
    """

    steps: int = 100
    num_prompts: int = 32
    probe_every: Annotated[int, Parameter(group=LOGGING)] = 10
    save_every: Annotated[int, Parameter(group=LOGGING)] = 20
    export_every: Annotated[int, Parameter(group=LOGGING)] = 0
    export_dtype: Annotated[Literal["float32", "bfloat16"], Parameter(group=LOGGING)] = "float32"
    remat: Annotated[bool | None, Parameter(group=MODEL)] = None
    logprob_chunk: Annotated[int, Parameter(group=MODEL)] = 1024
    report_to: Annotated[Literal["none", "wandb", "trackio"], Parameter(group=LOGGING)] = "none"
    reward_functions: Annotated[tuple[str, ...], Parameter(consume_multiple=True, group=TASK)] = ("task",)
    reward_weights: Annotated[tuple[float, ...], Parameter(consume_multiple=True, group=TASK)] = ()
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    adapter: AdapterOptions = field(default_factory=AdapterOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)


@Parameter(name="*", group=RUN)
@dataclass(frozen=True, kw_only=True)
class RunOptions(CompareOptions):
    """Everything that decides a run but model, task, method and directory.

    Attributes:
        seed: decides prompt order and sampling.
    """

    seed: int = 0


def as_run(options: WorkOptions) -> RunOptions:
    """The options of any command as those of a run; what the command does not take has its default."""

    def fill(kind: Any, given: Any) -> Any:
        values = {item.name: getattr(given, item.name) for item in dataclasses.fields(given)}
        default = kind()
        nested = {
            name: fill(type(getattr(default, name)), value)
            for name, value in values.items()
            if dataclasses.is_dataclass(value)
        }
        return dataclasses.replace(default, **(values | nested))

    run: RunOptions = fill(RunOptions, options)
    return run


def changed(options: Any) -> dict[str, Any]:
    """The options that differ from their defaults, flat, by name."""
    found: dict[str, Any] = {}
    for item in dataclasses.fields(options):
        value, default = getattr(options, item.name), getattr(type(options)(), item.name)
        if dataclasses.is_dataclass(value):
            found |= changed(value)
        elif value != default:
            found[item.name] = value
    return found


def changed_flags(options: Any) -> list[str]:
    """The command-line words that turn the default options into these."""
    words: list[str] = []
    for name, value in changed(options).items():
        flag = name.replace("_", "-")
        match value:
            case bool():
                words.append(f"--{flag}" if value else f"--no-{flag}")
            case tuple():
                words += [f"--{flag}", *map(str, value)]
            case _:
                words += [f"--{flag}", str(value)]
    return words
