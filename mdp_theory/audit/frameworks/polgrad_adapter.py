"""polgrad's registered algorithms: its advantage functions, KL placement and `policy_loss`."""

import dataclasses
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

from mdp_theory.audit.frameworks.batches import Responses, Settings, Variant, Weigh
from mdp_theory.audit.frameworks.torch_weights import weigh_with

_NORM_LEN = 512

_METHODS = {
    "ppo": "ppo",
    "grpo": "grpo-kl",
    "dr_grpo": "dr-grpo",
    "dapo": "dapo",
    "gspo": "gspo",
    "gspo_token": "gspo",
    "cispo": "cispo",
    "rloo": "rloo",
    "reinforce_pp": "reinforce-pp",
    "grpo_tis": "grpo-tis",
}

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {name: Variant(settings={"algorithm": name}, method=method) for name, method in _METHODS.items()}
)


def version() -> str:
    """polgrad's."""
    return metadata.version("polgrad")


def load(settings: Settings, *, trainer: str | None) -> Weigh:
    """The registered algorithm `settings["algorithm"]`; the sampler's own log-probabilities are the old policy's."""
    import polgrad

    if trainer is not None or set(settings) != {"algorithm"}:
        raise TypeError(f"polgrad takes one setting, algorithm; one of {', '.join(_METHODS)}")
    spec = polgrad.get_algorithm(settings["algorithm"])
    config = dataclasses.replace(spec.loss, norm_len=_NORM_LEN)

    def prepare(responses: Responses, count: int) -> Any:
        import torch

        if count > 1:
            raise ValueError("polgrad leaves gradient accumulation to its caller")
        mask = torch.tensor(responses.mask > 0)
        old, ref = torch.tensor(responses.old_logp), torch.tensor(responses.ref_logp)
        advantages = _advantages(polgrad, spec, responses)

        def loss_of(logp: Any, rows: slice) -> Any:
            return polgrad.policy_loss(
                config,
                logprobs=logp,
                old_logprobs=old,
                advantages=advantages,
                response_mask=mask,
                ref_logprobs=ref,
                rollout_logprobs=old,
            ).loss

        return loss_of

    return weigh_with(prepare)


def _advantages(polgrad: Any, spec: Any, responses: Responses) -> Any:
    import numpy as np
    import torch

    mask = torch.tensor(responses.mask > 0)
    reward = np.zeros_like(responses.mask)
    reward[np.arange(len(reward)), responses.length - 1] = responses.reward
    tokens = torch.tensor(reward)
    if spec.kl_placement == "reward":
        old, ref = torch.tensor(responses.old_logp), torch.tensor(responses.ref_logp)
        tokens = polgrad.kl_in_reward(tokens, old, ref, spec.kl_reward.kind, spec.kl_reward.coef, response_mask=mask)
    outcome, group = tokens.sum(1), torch.tensor(responses.group)
    if spec.advantage == "gae":
        values = torch.zeros_like(tokens)
        return polgrad.gae(tokens, values, config=spec.advantage_config, response_mask=mask)[0]
    if spec.advantage == "rloo":
        return polgrad.rloo_advantages(outcome, group)
    if spec.advantage == "reinforce_pp":
        return polgrad.reinforce_pp_advantages(outcome, None, config=spec.advantage_config)
    return polgrad.grpo_advantages(outcome, group, spec.advantage_config)
