"""verl's own pipeline from scores to loss: `apply_kl_penalty`, `compute_advantage` and the actor's `ppo_loss`.

Generation and the model are replaced: log-probabilities come from the probe, in the layout without padding of verl's
engines. A critic, where an estimator wants one, says 0 everywhere, and so does the greedy response of ReMax. The token
and sequence counts of the mini-batch are handed to every micro-batch, as the engines do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mdp_theory.audit.frameworks.batches import Responses, Settings, Variant, Weigh, take
from mdp_theory.audit.frameworks.torch_weights import weigh_with

_GRPO = {"adv_estimator": "grpo"}
_CORRECTION = {"bypass_mode": True, "loss_type": "reinforce"}
_TRUNCATED = "its ratio is truncated at clip_ratio_c = 3 besides"
_PER_SEQUENCE = {"loss_agg_mode": "seq-mean-token-mean"}


def _variants() -> Mapping[str, Variant]:
    variants = {
        "default": Variant(method="ppo", note="the configuration as shipped: GAE, whose critic says 0 here"),
        "grpo": Variant(settings=_GRPO | _PER_SEQUENCE, method="grpo"),
        "grpo-kl": Variant(
            settings=_GRPO | _PER_SEQUENCE | {"use_kl_loss": True, "kl_loss_coef": 0.04}, method="grpo-kl"
        ),
        "dr_grpo": Variant(
            settings=_GRPO
            | {"norm_adv_by_std_in_grpo": False, "loss_agg_mode": "seq-mean-token-sum-norm", "loss_scale_factor": 512},
            method="dr-grpo",
        ),
        "dapo": Variant(settings=_GRPO | {"clip_ratio_high": 0.28}, method="dapo"),
        "grpo_vectorized": Variant(settings={"adv_estimator": "grpo_vectorized"} | _PER_SEQUENCE, method="grpo"),
        "grpo_passk": Variant(settings={"adv_estimator": "grpo_passk"} | _PER_SEQUENCE),
        "rloo": Variant(settings={"adv_estimator": "rloo", "loss_agg_mode": "seq-mean-token-sum"}, method="rloo"),
        "rloo_vectorized": Variant(
            settings={"adv_estimator": "rloo_vectorized", "loss_agg_mode": "seq-mean-token-sum"}, method="rloo"
        ),
        "reinforce_plus_plus": Variant(settings={"adv_estimator": "reinforce_plus_plus"}, method="reinforce-pp"),
        "reinforce_plus_plus_baseline": Variant(
            settings={"adv_estimator": "reinforce_plus_plus_baseline"}, method="reinforce-pp-baseline"
        ),
        "remax": Variant(
            settings={"adv_estimator": "remax"} | _PER_SEQUENCE, method="remax", note="the greedy reward is 0 here"
        ),
        "opo": Variant(settings={"adv_estimator": "opo"} | _PER_SEQUENCE, method="opo"),
        "gpg": Variant(settings={"adv_estimator": "gpg", "loss_mode": "gpg"}, method="gpg"),
        "use_kl_in_reward": Variant(
            settings=_GRPO | _PER_SEQUENCE | {"use_kl_in_reward": True},
            method="grpo",
            note="kl_coef 0.001, kl_penalty kl",
        ),
        "gspo": Variant(
            settings=_GRPO | _PER_SEQUENCE | {"loss_mode": "gspo", "clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4},
            method="gspo",
        ),
        "cispo": Variant(settings=_GRPO | {"loss_mode": "cispo"}, method="cispo"),
        "geo_mean": Variant(
            settings=_GRPO | {"loss_mode": "geo_mean", "clip_ratio_low": 0.4, "clip_ratio_high": 0.4}, method="gmpo"
        ),
        "sapo": Variant(settings=_GRPO | {"loss_mode": "sapo"}, method="sapo"),
        "dppo_tv": Variant(settings=_GRPO | {"loss_mode": "dppo_tv"}, method="dppo-tv", note=_TRUNCATED),
        "dppo_kl": Variant(settings=_GRPO | {"loss_mode": "dppo_kl"}, method="dppo-kl", note=_TRUNCATED),
        "bypass-tis": Variant(
            settings=_GRPO | {"loss_mode": "bypass_mode", "rollout_correction": _CORRECTION | {"rollout_is": "token"}},
            method="tis",
        ),
        "bypass-icepop": Variant(
            settings=_GRPO
            | {
                "loss_mode": "bypass_mode",
                "rollout_correction": _CORRECTION | {"rollout_is": "token", "rollout_is_threshold": "0.5_5.0"},
            },
            method="icepop",
        ),
        "gdpo": Variant(outside="GDPO standardises several rewards apart, and a probe holds one"),
        "optimal_token_baseline": Variant(
            outside="its baseline weighs by the sum of squared probabilities over the vocabulary; a probe holds the "
            "probabilities of sampled tokens alone"
        ),
        "dro": Variant(settings=_GRPO | {"loss_mode": "dro", "dro_beta": 0.1}),
        "clip_cov": Variant(
            settings=_GRPO | {"loss_mode": "clip_cov"},
            note="one of 5000 tokens, at least one, of those whose (A - mean A)(log π - mean log π) over the batch's "
            "tokens is between 1 and 5 has no gradient; it is drawn at random, so its place is no rule",
        ),
        "kl_cov": Variant(
            settings=_GRPO | {"loss_mode": "kl_cov"},
            note="not clipped; one of 5000 tokens, at least one, that with the greatest (A - mean A)(log π - mean "
            "log π) over the batch's tokens, loses |log π/π_old| besides: other responses decide which, so no ratio "
            "is recovered",
        ),
    }
    modes = ("token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm")
    return variants | {f"grpo+{mode}": Variant(settings=_GRPO | {"loss_agg_mode": mode}) for mode in modes}


VARIANTS: Mapping[str, Variant] = MappingProxyType(_variants())


def version() -> str:
    """verl's."""
    import verl

    return str(verl.__version__)


def load(settings: Settings, *, trainer: str | None) -> Weigh:
    """The loss under these settings, named as in verl's configuration; `algorithm.` and the like may stand before."""
    from verl.trainer.config import AlgoConfig
    from verl.workers.config import ActorConfig, PolicyLossConfig

    if trainer is not None:
        raise TypeError("verl has no trainer class to subclass: audit a function of six arguments")
    given = {name.rpartition(".")[2]: value for name, value in settings.items()}
    # The trainer hands its correction for the sampler on to the loss.
    correction = {name: given[name] for name in ("rollout_correction",) if name in given}
    algorithm = AlgoConfig(**take(AlgoConfig, given))
    policy_loss = PolicyLossConfig(**take(PolicyLossConfig, given), **correction)
    needed = {"strategy": "fsdp", "rollout_n": 8, "ppo_micro_batch_size_per_gpu": 1, "use_torch_compile": False}
    actor = ActorConfig(**needed, **take(ActorConfig, given), policy_loss=policy_loss)
    if given:
        raise TypeError(f"verl's algorithm and actor have no setting {', '.join(given)}")

    def prepare(responses: Responses, count: int) -> Any:
        advantages = _advantages(algorithm, responses)

        def loss_of(logp: Any, rows: slice) -> Any:
            return _loss(actor, logp, rows, responses, advantages)

        return loss_of

    return weigh_with(prepare)


def _advantages(algorithm: Any, responses: Responses) -> Any:
    """From scores on the last tokens to advantages, [rows, longest]."""
    import numpy as np
    import torch
    from verl import DataProto
    from verl.trainer.ppo.core_algos import get_kl_controller
    from verl.trainer.ppo.ray_trainer import apply_kl_penalty, compute_advantage

    mask = torch.tensor(responses.mask, dtype=torch.int64)
    # As verl's reward managers hand them on: a mean in float32 of rewards in float64 is not theirs where all are equal.
    scores = np.zeros(responses.mask.shape, np.float32)
    scores[np.arange(len(scores)), responses.length - 1] = responses.reward
    data = DataProto.from_dict(
        tensors={
            "response_mask": mask,
            "token_level_scores": torch.tensor(scores),
            "old_log_probs": torch.tensor(responses.old_logp),
            "ref_log_prob": torch.tensor(responses.ref_logp),
            "values": torch.zeros(mask.shape, dtype=torch.float64),
        },
        non_tensors={"uid": np.array([f"prompt {label}" for label in responses.group], dtype=object)},
    )
    if algorithm.adv_estimator == "remax":
        data.batch["reward_baselines"] = torch.zeros(len(mask), dtype=torch.float64)
    if algorithm.use_kl_in_reward:
        data, _ = apply_kl_penalty(data, get_kl_controller(algorithm.kl_ctrl), algorithm.kl_penalty)
    else:
        data.batch["token_level_rewards"] = data.batch["token_level_scores"]
    data = compute_advantage(
        data,
        adv_estimator=algorithm.adv_estimator,
        gamma=algorithm.gamma,
        lam=algorithm.lam,
        num_repeat=responses.group_size,
        norm_adv_by_std_in_grpo=algorithm.norm_adv_by_std_in_grpo,
        config=algorithm,
    )
    return data.batch["advantages"].detach()


def _loss(actor: Any, logp: Any, rows: slice, responses: Responses, advantages: Any) -> Any:
    import torch
    from tensordict import TensorDict
    from verl.workers.utils.losses import ppo_loss

    length = responses.length[rows]

    def nested(stream: Any) -> Any:
        cut = [torch.as_tensor(row)[:n] for row, n in zip(stream, length, strict=True)]
        return torch.nested.as_nested_tensor(cut, layout=torch.jagged)

    # The engines' log-probabilities are one row after the other without padding, each token's at the one before it.
    packed = torch.cat([torch.cat([row[:n], row.new_zeros(1)]) for row, n in zip(logp, length, strict=True)])
    prompts = [torch.zeros(1, dtype=torch.int64) for _ in length]
    data = TensorDict(
        {
            "prompts": torch.nested.as_nested_tensor(prompts, layout=torch.jagged),
            "responses": nested(responses.mask[rows].astype(int)),
            "response_mask": nested(responses.mask[rows].astype(int)),
            "old_log_probs": nested(responses.old_logp[rows]),
            "ref_log_prob": nested(responses.ref_logp[rows]),
            "advantages": nested(advantages[rows]),
        },
        batch_size=len(length),
    )
    whole = {"dp_size": 1, "batch_num_tokens": int(responses.mask.sum()), "global_batch_size": len(responses.reward)}
    for name, value in whole.items():
        data.set_non_tensor(name, value)
    loss, _ = ppo_loss(actor, {"log_probs": packed}, data)
    return loss
