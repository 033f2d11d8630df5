"""What decides a run in full: options with every default filled in, and the method with its departures applied."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from llm_exps.options import ObjectiveOptions, RunOptions, changed
from mdp_theory.methods.catalogue import Method, get
from mdp_theory.methods.objectives import KL, Aggregation, Objective
from rino_base.messages import InputError
from rino_base.ranges import hold

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

    def __post_init__(self) -> None:
        validate_group(self.resolved, self.options.sampling.num_generations)

    @property
    def resolved(self) -> Method:
        """The method with this run's departures applied to its objective."""
        length = self.options.sampling.max_completion_length
        return customise(get(self.method), self.options.objective, length)

    @property
    def refresh_every(self) -> int:
        """Steps between refreshes of the sampling policy; 0 for methods on static samples."""
        return 0 if self.resolved.static else self.options.optimiser.refresh_every

    @property
    def needs_old_logp(self) -> bool:
        """Whether the loss needs log-probabilities of before the update; on-policy they are its own, detached."""
        optimiser, kl = self.options.optimiser, self.resolved.objective.kl
        once = optimiser.num_iterations == 1 and optimiser.num_minibatches == 1 and self.refresh_every == 1
        return not once or (kl is not None and kl.placement == "reward")

    @property
    def sampler_may_serve(self) -> bool:
        """Whether the sampler's log-probabilities may be those of before the update: they are of the same policy."""
        sampling, optimiser = self.options.sampling, self.options.optimiser
        whole = sampling.top_k == 0 and sampling.top_p == 1
        return whole and optimiser.rollout_is_threshold == 0 and optimiser.old_logp_tolerance > 0

    def to_json(self) -> dict[str, Any]:
        """What `config.json` of a run directory holds about the choice of the run; plain values only.

        The mesh is no part of it, nor are rows_at_once: a run may go on with others. old_logp_tolerance is part of it
        where it decides something.
        """
        method = self.resolved
        options = dataclasses.asdict(self.options)
        options.pop("objective")
        options.pop("mesh")
        options["sampling"].pop("rows_at_once")
        if not (self.needs_old_logp and self.sampler_may_serve):
            options["optimiser"].pop("old_logp_tolerance")
        template = options.pop("prompt_template")
        departures = changed(self.options.objective)
        flat = {name: value for name, value in options.items() if not isinstance(value, dict)}
        for group in ("adapter", "sampling", "optimiser", "evaluation"):
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
            **({"objective_options": departures} if departures else {}),
        }


def customise(method: Method, options: ObjectiveOptions, max_completion_length: int | None) -> Method:
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
        if options.epsilon_high is not None and low is not None and options.epsilon_high < low:
            raise InputError(
                f"epsilon_high is {options.epsilon_high:g}, below epsilon {low:g}",
                mend=f"give an epsilon_high of at least {low:g}, or a smaller epsilon",
            )
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
        if not objective.of_ratios_alone:
            mend = "drop --importance-sampling-level"
            raise InputError(f"{method.title} has no ratio whose level could be set", mend=mend)
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


def validate(options: RunOptions) -> None:
    """Check every number against its range, and the batch arithmetic.

    Raises:
        InputError: naming the value, the rule and the mend.
    """
    sampling, optimiser = options.sampling, options.optimiser
    hold("train", {"options": options})
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


def validate_group(method: Method, num_generations: int) -> None:
    """Raise InputError where a group is too small for what the method compares in it."""
    advantage = method.objective.advantage
    compares = (
        advantage.baseline != "none"
        or advantage.scale == "group-std"
        or advantage.outcome == "above-mean"
        or method.objective.keep == "mixed-groups"
    )
    if compares and num_generations < 2:
        raise InputError(
            f"num_generations is {num_generations}, and {method.title} compares the responses of a group",
            mend="give num_generations 2 or more, or take a method without a baseline, such as reinforce",
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
