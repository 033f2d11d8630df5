"""What decides a run: frozen dataclasses, and the command line is made from them.

Names are TRL's where TRL has one. An option left at None keeps what the method's source says.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cyclopts import Parameter

from mdp_theory.methods.catalogue import Method, get
from mdp_theory.methods.objectives import KL, Aggregation, Objective
from rino_base.messages import InputError

# TRL's `loss_type`, for people who come from there.
AGGREGATION_ALIASES: dict[str, Aggregation] = {
    "grpo": "sequence-mean-token-mean",
    "dapo": "token-mean",
    "bnpo": "token-mean",
    "dr_grpo": "sequence-mean-token-sum-norm",
    "seq-mean-token-mean": "sequence-mean-token-mean",
    "seq-mean-token-sum-norm": "sequence-mean-token-sum-norm",
    "seq-mean-token-sum": "sequence-mean-token-sum",
}


@Parameter(name="*")
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


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How completions are drawn.

    Attributes:
        num_generations: completions per prompt (the group size G).
        max_prompt_length: longest prompt, in tokens; a longer one is an error. Default: what the context leaves.
        max_completion_length: a completion ends at EOS or after this many tokens. Default: 512, or half of the model's
            context if that is less.
        temperature: of sampling; log-probabilities are taken at the same temperature.
        top_p: sample from the smallest set of tokens with this probability.
        top_k: sample from this many tokens; 0 means all.
        mask_truncated_completions: learn nothing from completions cut off at the limit.
    """

    num_generations: int = 8
    max_prompt_length: int | None = None
    max_completion_length: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    mask_truncated_completions: bool = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class OptimiserOptions:
    """How a batch becomes updates.

    Attributes:
        learning_rate: of AdamW, constant after warm-up. Default: 1e-6, or 3e-4 for a model of under ten million
            parameters.
        critic_learning_rate: of the value head of a method with a critic (PPO).
        warmup_steps: optimiser steps of linear warm-up.
        adam_beta1: decay of the first moment.
        adam_beta2: decay of the second moment.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        num_iterations: passes over the batch.
        num_minibatches: updates per pass; whole groups are kept together.
        micro_batch_size: completions in memory at once; 0 means all. The result does not depend on it.
        refresh_every: steps between refreshes of the policy that samples; 0 never refreshes it.
    """

    learning_rate: float | None = None
    critic_learning_rate: float = 1e-3
    warmup_steps: int = 0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    num_iterations: int = 1
    num_minibatches: int = 1
    micro_batch_size: int = 0
    refresh_every: int = 1


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How often and on what a model is evaluated.

    Attributes:
        eval_every: steps between evaluations; 0 evaluates before the first and after the last step alone.
        eval_prompts: held-out prompts, the same at every evaluation; 0 means all.
        eval_samples: completions per prompt for pass@k.
    """

    eval_every: int = 10
    eval_prompts: int = 128
    eval_samples: int = 8


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything but model, task, method and directory.

    Attributes:
        seed: decides prompt order and sampling.
        steps: batches of completions to learn from.
        num_prompts: prompts per step; num_prompts × num_generations completions are drawn.
        scheme: rewards 0/1, or 0/0.1/1 with credit for the format.
        data: training problems of the task: a hub name, or a local parquet or JSONL file.
        evaluation_data: held-out problems of the task, likewise.
        prompt_template: a file with the prompt's text and {fields} of the task.
        probe_every: steps between measurements of the equivalence; 0 never measures it.
        save_every: steps between checkpoints; 0 saves at the end alone.
        dtype: of the computation; master weights are float32.
        remat: recompute activations in the backward pass: less memory, more time.
        logprob_chunk: tokens whose logits are held at once.
        report_to: also log to Weights & Biases or trackio, if installed; TensorBoard files are always written.
        model_axis: devices that share one copy of the model's layers; the others split the batch.
    """

    seed: int = 0
    steps: int = 100
    num_prompts: int = 32
    scheme: Literal["binary", "three-level"] = "binary"
    data: str | None = None
    evaluation_data: str | None = None
    prompt_template: Path | None = None
    probe_every: int = 10
    save_every: int = 20
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    logprob_chunk: int = 1024
    report_to: Literal["none", "wandb", "trackio"] = "none"
    model_axis: int = 1
    objective: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)


def resolve(options: RunOptions, *, parameters: int, context: int) -> RunOptions:
    """Fill in the defaults that depend on the model: its number of parameters and its longest sequence, in tokens.

    Raises:
        InputError: prompt and completion do not fit into the context.
    """
    sampling, optimiser = options.sampling, options.optimiser
    completion = sampling.max_completion_length or min(512, context // 2)
    prompt = sampling.max_prompt_length or max(context - completion, 1)
    if prompt + completion > context:
        raise InputError(
            f"max_prompt_length {prompt} + max_completion_length {completion} exceeds the model's context of {context}",
            mend=f"--max-completion-length {max(context - prompt, 1)}",
        )
    rate = optimiser.learning_rate or (3e-4 if parameters < 10_000_000 else 1e-6)
    return dataclasses.replace(
        options,
        sampling=dataclasses.replace(sampling, max_prompt_length=prompt, max_completion_length=completion),
        optimiser=dataclasses.replace(optimiser, learning_rate=rate),
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run in full; `options` are resolved."""

    model: str
    task: str
    method: str
    options: RunOptions

    @property
    def resolved(self) -> Method:
        """The method with this run's departures applied to its objective."""
        length = self.options.sampling.max_completion_length
        assert length is not None, "options are resolved"
        return customise(get(self.method), self.options.objective, length)

    @property
    def refresh_every(self) -> int:
        """Steps between refreshes of the sampling policy; 0 for methods on static samples."""
        return 0 if self.resolved.static else self.options.optimiser.refresh_every

    def to_json(self) -> dict[str, Any]:
        """What `config.json` of a run directory holds about the choice of the run; plain values only."""
        method = self.resolved
        options = dataclasses.asdict(self.options)
        options.pop("objective")
        template = options.pop("prompt_template")
        flat = {name: value for name, value in options.items() if not isinstance(value, dict)}
        for group in ("sampling", "optimiser", "evaluation"):
            flat |= options[group]
        return {
            "method": method.key,
            "title": method.title,
            "objective": dataclasses.asdict(method.objective),
            "model": self.model,
            "task": self.task,
            "prompt_template": None if template is None else str(template),
            **flat,
            "refresh_every": self.refresh_every,
        }


def customise(method: Method, options: ObjectiveOptions, max_completion_length: int) -> Method:
    """`method` with the options that are set.

    Raises:
        InputError: an option that the method has no place for.
    """
    objective = dataclasses.replace(method.objective, max_completion_length=max_completion_length)
    objective = _with_kl(objective, method, options)
    if options.epsilon is not None or options.epsilon_high is not None:
        if objective.clip is None:
            raise InputError(f"{method.title} has no clip range to set", mend="drop --epsilon and --epsilon-high")
        low = objective.clip.low if options.epsilon is None else options.epsilon
        high = options.epsilon_high if options.epsilon_high is not None else low
        objective = dataclasses.replace(objective, clip=dataclasses.replace(objective.clip, low=low, high=high))
    if options.loss_aggregation is not None:
        objective = dataclasses.replace(objective, aggregation=aggregation(options.loss_aggregation))
    advantage: dict[str, Any] = {}
    if options.scale_rewards is not None:
        advantage["scale"] = {"group": "group-std", "batch": "batch-std", "none": "none"}[options.scale_rewards]
    if options.ddof is not None:
        advantage["ddof"] = options.ddof
    if options.advantage_eps is not None:
        advantage["eps"] = options.advantage_eps
    objective = dataclasses.replace(objective, advantage=dataclasses.replace(objective.advantage, **advantage))
    if options.importance_sampling_level is not None:
        objective = dataclasses.replace(objective, importance_sampling_level=options.importance_sampling_level)
    return dataclasses.replace(method, objective=objective)


def aggregation(name: str) -> Aggregation:
    """The aggregation called `name` here, in TRL or in verl.

    Raises:
        InputError: no such aggregation.
    """
    own = set(AGGREGATION_ALIASES.values())
    resolved = AGGREGATION_ALIASES.get(name, name)
    if resolved not in own:
        raise InputError(f"unknown loss aggregation {name!r}", mend=f"one of: {', '.join(sorted(own))}")
    return resolved  # type: ignore[return-value]


def changed_flags(options: Any) -> list[str]:
    """The command-line words that turn the default options into these."""
    words: list[str] = []
    for item in dataclasses.fields(options):
        value, default = getattr(options, item.name), getattr(type(options)(), item.name)
        if dataclasses.is_dataclass(value):
            words += changed_flags(value)
        elif value != default:
            flag = "--" + item.name.replace("_", "-")
            words += [flag] if value is True else [flag, str(value)]
    return words


def validate(options: RunOptions) -> None:
    """Check every number and the batch arithmetic.

    Raises:
        InputError: naming the value, the rule and the mend.
    """
    sampling, optimiser, evaluation = options.sampling, options.optimiser, options.evaluation
    for section, names, least in (
        (options, ("steps", "num_prompts", "logprob_chunk"), 1),
        (options, ("seed", "probe_every", "save_every"), 0),
        (sampling, ("num_generations", "max_prompt_length", "max_completion_length"), 1),
        (sampling, ("top_k",), 0),
        (optimiser, ("num_iterations", "num_minibatches"), 1),
        (optimiser, ("micro_batch_size", "warmup_steps", "refresh_every"), 0),
        (evaluation, ("eval_prompts", "eval_every"), 0),
        (evaluation, ("eval_samples",), 1),
    ):
        for name in names:
            value, flag = getattr(section, name), name.replace("_", "-")
            if value is not None and value < least:
                raise InputError(f"--{flag} {value} is below {least}", mend=f"give at least {least}")
    for value, name in ((sampling.temperature, "temperature"), (optimiser.learning_rate, "learning-rate")):
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value} is not above 0", mend="give a positive number")
    if not 0 < sampling.top_p <= 1:
        raise InputError(f"--top-p {sampling.top_p} is outside (0, 1]", mend="1 samples from all tokens")
    if options.num_prompts % optimiser.num_minibatches:
        raise InputError(
            f"num_prompts {options.num_prompts} does not divide into num_minibatches {optimiser.num_minibatches}",
            mend=f"whole groups stay together: {options.num_prompts} prompts × {sampling.num_generations} generations ="
            f" {options.num_prompts * sampling.num_generations} completions a step; choose a divisor",
        )
    completions = options.num_prompts // optimiser.num_minibatches * sampling.num_generations
    micro = optimiser.micro_batch_size
    if micro and completions % micro:
        raise InputError(
            f"micro_batch_size {micro} does not divide the {completions} completions of a minibatch",
            mend=f"{completions} = num_prompts {options.num_prompts} / num_minibatches {optimiser.num_minibatches}"
            f" × num_generations {sampling.num_generations}; choose a divisor",
        )


def _with_kl(objective: Objective, method: Method, options: ObjectiveOptions) -> Objective:
    kl = objective.kl
    if options.beta is not None:
        kl = None if options.beta == 0 else dataclasses.replace(kl or KL(beta=0.0), beta=options.beta)
    changes: dict[str, Any] = {}
    if options.kl_estimator is not None:
        changes["estimator"] = options.kl_estimator
    if options.kl_placement is not None:
        changes["placement"] = options.kl_placement
    if options.anti_kl:
        changes["sign"] = -1
    if changes and kl is None:
        raise InputError(f"{method.title} has no KL term to change", mend="give it one with --beta 0.001")
    return dataclasses.replace(objective, kl=None if kl is None else dataclasses.replace(kl, **changes))
