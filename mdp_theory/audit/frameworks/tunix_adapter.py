"""google-tunix's registered advantage estimators and policy losses, in jax.

The loss functions ask a model for log-probabilities through `tunix.rl.common.compute_per_token_logps`; that function
answers from the probe. tunix averages the gradients of micro-batches (`optax.MultiSteps`), and so does this.

As in TRL, the old policy is read only where samples are used more than once: `num_iterations` is 2 unless it is set.
"""

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

import numpy as np

from mdp_theory.audit.frameworks.batches import Responses, Settings, Variant, Weigh, micro_batches

_LIMIT = 512

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "default": Variant(
            settings={"num_iterations": 1}, method="grpo-kl", note="GRPOConfig(): beta 0.04, kl_loss_mode kl"
        ),
        "grpo": Variant(settings={"beta": 0.0}, method="grpo"),
        "grpo-kl": Variant(settings={"kl_loss_mode": "low_var_kl"}, method="grpo-kl"),
        "gspo": Variant(
            settings={"beta": 0.0, "loss_algo": "gspo-token", "epsilon": 3e-4, "epsilon_high": 4e-4}, method="gspo"
        ),
        "dapo": Variant(settings={"config": "dapo"}, method="dapo", note="DAPOConfig()"),
        "dr_grpo": Variant(settings={"config": "drgrpo"}, method="dr-grpo", note="DrGRPOConfig()"),
        "rloo": Variant(
            settings={"beta": 0.0, "advantage_estimator": "rloo", "loss_agg_mode": "seq-mean-token-sum"}, method="rloo"
        ),
        "token-mean": Variant(settings={"beta": 0.0, "loss_agg_mode": "token-mean"}, method="dapo"),
        "token-scale": Variant(settings={"beta": 0.0, "loss_agg_mode": "sequence-mean-token-scale"}),
        "token-sum-norm": Variant(settings={"beta": 0.0, "loss_agg_mode": "sequence-mean-token-sum-norm"}),
    }
)


def version() -> str:
    """tunix's."""
    return metadata.version("google-tunix")


def load(settings: Settings, *, trainer: str | None) -> Weigh:
    """The loss of a configuration: `config` is grpo, dapo or drgrpo, the rest are fields of that class of tunix's."""
    import os

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    jax.config.update("jax_enable_x64", True)  # a process of its own: nothing else computes here
    if trainer is not None:
        raise TypeError("tunix has no trainer whose loss is a method: audit a function of six arguments")
    from tunix.rl.grpo.dapo_learner import DAPOConfig
    from tunix.rl.grpo.drgrpo_learner import DrGRPOConfig
    from tunix.rl.grpo.grpo_learner import GRPOConfig

    given = {"num_iterations": 2} | dict(settings)
    kind = {"grpo": GRPOConfig, "dapo": DAPOConfig, "drgrpo": DrGRPOConfig}[given.pop("config", "grpo")]
    # `GRPOConfig` has no field for it, though the loss reads one where it is there.
    high = given.pop("epsilon_high", None) if kind is not DAPOConfig else None
    compiled: dict[int, Any] = {}

    def weigh(responses: Responses, count: int) -> tuple[float, np.ndarray]:
        size = responses.group_size
        if size not in compiled:
            config = kind(num_generations=size, **given)
            config.temperature = 1.0  # the learner sets it to the sampler's, and the loss divides by it
            if high is not None:
                config.epsilon_high = high
            compiled[size] = (config, jax.jit(jax.value_and_grad(_total(config))))
        config, slope = compiled[size]
        advantages = _advantages(config, responses)
        value, weights = 0.0, []
        for rows in micro_batches(responses, count):
            fields = (responses.logp, responses.old_logp, responses.ref_logp, responses.mask, advantages)
            # One width, whatever the longest response, so that a program is compiled once.
            padded = [_widen(x[rows]) if x.ndim == 2 else x[rows] for x in fields]
            loss, gradient = slope(*padded)
            value += float(loss) / count
            weights.append(-np.asarray(gradient)[:, : responses.mask.shape[1]] / count)
        return value, np.concatenate(weights)

    return weigh


def _widen(stream: np.ndarray) -> np.ndarray:
    """Padded to the limit that tunix pads completions to."""
    return np.pad(stream, ((0, 0), (0, _LIMIT - stream.shape[1])))


def _advantages(config: Any, responses: Responses) -> np.ndarray:
    from tunix.rl import algo_core, function_registry

    del algo_core  # imported for its registrations
    estimator = function_registry.get_advantage_estimator(config.advantage_estimator)
    found: np.ndarray = np.asarray(estimator(rewards=responses.reward, num_generations=config.num_generations))
    return found


def _total(config: Any) -> Any:
    import jax.numpy as jnp
    from flax import nnx
    from tunix.rl import common, function_registry

    loss_fn = function_registry.get_policy_loss_fn(config.policy_loss_fn)

    def total(logp: Any, old: Any, ref: Any, mask: Any, advantages: Any) -> Any:
        ids = jnp.ones(mask.shape, jnp.int32)
        example = common.TrainExample(
            prompt_ids=ids[:, :1],
            prompt_mask=ids[:, :1],
            completion_ids=ids,
            completion_mask=mask > 0,
            advantages=advantages,
            ref_per_token_logps=None if config.beta in (0.0, None) else ref,
            old_per_token_logps=old if config.num_iterations > 1 else None,
        )
        asked = common.compute_per_token_logps
        common.compute_per_token_logps = lambda *_, **__: (logp, jnp.zeros((*mask.shape, 2)))
        try:
            loss, _ = loss_fn(nnx.Module(), example, config, pad_id=0, eos_id=1)
        finally:
            common.compute_per_token_logps = asked
        return loss

    return total
