"""Settings in words that a paper would print, in the order in which it would."""

from collections.abc import Mapping
from typing import Any

from rino_base.messages import format_cell

SETTINGS: Mapping[str, str] = {
    "model": "model",
    "task": "task",
    "scheme": "reward levels",
    "steps": "training steps",
    "num_prompts": "prompts a step",
    "num_generations": "responses a prompt (G)",
    "num_iterations": "passes over a batch",
    "num_minibatches": "optimiser steps a pass",
    "refresh_every": "steps between refreshes of the samples",
    "learning_rate": "learning rate",
    "optimizer": "optimiser",
    "lr_scheduler_type": "learning-rate schedule",
    "warmup_steps": "warm-up steps",
    "critic_learning_rate": "learning rate of the critic",
    "adam_beta1": "Adam β1",
    "adam_beta2": "Adam β2",
    "adam_epsilon": "Adam ε",
    "weight_decay": "weight decay",
    "max_grad_norm": "gradient norm clipped at",
    "objective.advantage.baseline": "baseline of the advantage",
    "objective.advantage.scale": "scale of the advantage",
    "objective.advantage.eps": "added to the standard deviation",
    "objective.advantage.estimator": "credit",
    "objective.aggregation": "averaging of the loss",
    "objective.surrogate": "surrogate",
    "objective.importance_sampling_level": "probability ratio of a",
    "objective.clip.low": "clip range below",
    "objective.clip.high": "clip range above",
    "objective.kl.beta": "KL coefficient β",
    "objective.kl.estimator": "KL estimator",
    "objective.kl.placement": "KL term in the",
    "temperature": "sampling temperature",
    "top_p": "top-p",
    "top_k": "top-k",
    "max_prompt_length": "longest prompt (tokens)",
    "max_completion_length": "longest response (tokens)",
    "mask_truncated_completions": "cut-off responses left out",
    "dtype": "precision",
    "eval_prompts": "held-out prompts",
    "eval_samples": "samples a held-out prompt",
    "eval_every": "steps between evaluations",
}


def words(name: str) -> str:
    """What a setting is called; its own name where it has no better one."""
    return SETTINGS.get(name, name.replace("_", " ").replace(".", ", "))


def told(value: Any) -> str:
    """A value as text; names of choices without hyphens stay as they are written on the command line."""
    return "none" if value is None else format_cell(value)
