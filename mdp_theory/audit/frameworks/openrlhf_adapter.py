"""OpenRLHF's own `compute_advantages_and_returns`, its gradient accumulation and `ActorPPOTrainer.training_step`.

The actor answers with the probe's log-probabilities, and `strategy.backward`, which DeepSpeed would do, hands over the
loss. DeepSpeed's and flash-attention's names stand in where they are not installed (they want a GPU to build); the loss
calls neither. A critic, where an estimator wants one, says 0 everywhere.
"""

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType, SimpleNamespace
from typing import Any

from mdp_theory.audit.frameworks.batches import Responses, Settings, Variant, Weigh, micro_batches
from mdp_theory.audit.frameworks.stand_ins import stand_in_for
from mdp_theory.audit.frameworks.torch_weights import weigh_with

_KERNELS = ("deepspeed", "flash_attn", "vllm", "ray")

DEFAULTS: Settings = MappingProxyType(
    {
        "actor.eps_clip_low_high": (0.2, 0.2),
        "actor.dual_clip": None,
        "actor.loss_agg_mode": "token-mean",
        "actor.policy_loss_type": "ppo",
        "actor.aux_loss_coef": 0.0,
        "actor.entropy_coef": None,
        "algo.advantage.estimator": "gae",
        "algo.advantage.gamma": 1.0,
        "algo.advantage.lambd": 1.0,
        "algo.advantage.no_std_norm": False,
        "algo.advantage.is_correction_level": "off",
        "algo.advantage.is_correction_mode": "mask",
        "algo.advantage.is_correction_gating": "ratio",
        "algo.advantage.is_correction_threshold": (0.5, 5.0),
        "algo.kl.init_coef": 0.01,
        "algo.kl.estimator": "k1",
        "algo.kl.use_loss": False,
        "algo.kl.unbiased_gradient": False,
        "reward.clip_range": (-10.0, 10.0),
        "reward.overlong_buffer_len": None,
        "reward.overlong_penalty_factor": 1.0,
        "reward.stop_properly_penalty_coef": None,
        "train.dynamic_batch_enable": False,
        "rollout.max_new_tokens": 512,
    }
)
"""What `openrlhf.cli.train_ppo_ray` starts from, as far as the loss reads it (0.11.2)."""

_PLAIN = {"algo.kl.init_coef": 0.0}


def _estimator(name: str, **more: Any) -> dict[str, Any]:
    return {"algo.advantage.estimator": name} | _PLAIN | more


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "default": Variant(method="ppo", note="the command line as shipped: GAE, whose critic says 0 here, and a KL"),
        "group_norm": Variant(settings=_estimator("group_norm"), method="grpo"),
        "group_norm+kl": Variant(
            settings=_estimator("group_norm") | {"algo.kl.init_coef": 0.01}, method="grpo", note="its KL by default"
        ),
        "group_norm+seq-mean": Variant(
            settings=_estimator("group_norm") | {"actor.loss_agg_mode": "seq-mean-token-mean"}, method="grpo"
        ),
        "grpo-kl": Variant(
            settings=_estimator("group_norm")
            | {
                "actor.loss_agg_mode": "seq-mean-token-mean",
                "algo.kl.use_loss": True,
                "algo.kl.estimator": "k3",
                "algo.kl.init_coef": 0.04,
            },
            method="grpo-kl",
        ),
        "dr_grpo": Variant(settings=_estimator("dr_grpo"), method="dr-grpo"),
        "rloo": Variant(settings=_estimator("rloo"), method="rloo"),
        "reinforce": Variant(settings=_estimator("reinforce"), method="reinforce-pp"),
        "reinforce_baseline": Variant(settings=_estimator("reinforce_baseline"), method="reinforce-pp-baseline"),
        "flash_reinforce": Variant(settings=_estimator("flash_reinforce")),
        "dapo": Variant(settings=_estimator("group_norm") | {"actor.eps_clip_low_high": (0.2, 0.28)}, method="dapo"),
        "gspo": Variant(
            settings=_estimator("group_norm")
            | {"actor.policy_loss_type": "gspo", "actor.eps_clip_low_high": (3e-4, 4e-4)},
            method="gspo",
        ),
        "overlong": Variant(
            settings=_estimator("group_norm") | {"reward.overlong_buffer_len": 4, "rollout.max_new_tokens": 8},
            note="limit and buffer as small as a probe; tests hold it against 2503.14476 eq. 13",
        ),
        "dual_clip": Variant(settings=_estimator("group_norm") | {"actor.dual_clip": 3.0}, method="grpo"),
    }
)


def version() -> str:
    """OpenRLHF's."""
    return metadata.version("openrlhf")


def load(settings: Settings, *, trainer: str | None) -> Weigh:
    """The loss under these settings, named as on OpenRLHF's command line without the dashes."""
    if trainer is not None:
        raise TypeError("OpenRLHF has no trainer class to subclass: audit a function of six arguments")
    unknown = [name for name in settings if name.removeprefix("--") not in DEFAULTS]
    if unknown:
        raise TypeError(f"OpenRLHF's loss reads no setting {', '.join(unknown)}")
    stand_in_for(*_KERNELS)
    given = {**DEFAULTS, **{name.removeprefix("--"): value for name, value in settings.items()}}
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker  # noqa: F401
    from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer  # noqa: F401

    def prepare(responses: Responses, count: int) -> Any:
        arguments = _tree(given | {"rollout.n_samples_per_prompt": responses.group_size})
        return _prepare(arguments, responses, count)

    return weigh_with(prepare)


def _tree(flat: Settings) -> SimpleNamespace:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, leaf = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = value

    def spaced(node: Any) -> Any:
        return SimpleNamespace(**{k: spaced(v) for k, v in node.items()}) if isinstance(node, dict) else node

    found: SimpleNamespace = spaced(tree)
    return found


def _prepare(arguments: SimpleNamespace, responses: Responses, count: int) -> Any:
    import torch
    from openrlhf.models import PolicyLoss
    from openrlhf.models.utils import compute_approx_kl
    from openrlhf.trainer.ppo_utils.experience import Experience
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
    from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
    from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

    old, ref = torch.tensor(responses.old_logp), torch.tensor(responses.ref_logp)
    mask = torch.tensor(responses.mask > 0)
    in_loss = arguments.algo.kl.use_loss
    kl = torch.zeros_like(old) if in_loss else compute_approx_kl(old, ref, kl_estimator=arguments.algo.kl.estimator)
    rows = range(len(mask))
    experience = Experience(
        action_mask=mask,
        action_log_probs=old,
        base_action_log_probs=ref,
        values=torch.zeros_like(old),
        rewards=torch.tensor(responses.reward),
        response_length=torch.tensor(responses.length),
        index=list(rows),
        kl=kl,
    )
    maker = SimpleNamespace(
        strategy=SimpleNamespace(args=arguments),
        kl_ctl=SimpleNamespace(value=arguments.algo.kl.init_coef),
        advantage_estimator=arguments.algo.advantage.estimator,
    )
    for name in ("get_advantages_and_returns", "get_cumulative_returns"):
        setattr(maker, name, getattr(RemoteExperienceMaker, name).__get__(maker))
    RemoteExperienceMaker.compute_advantages_and_returns(maker, [experience])

    parts = [
        Experience(
            action_mask=mask[part],
            action_log_probs=old[part],
            base_action_log_probs=ref[part],
            advantages=experience.advantages[part],
        )
        for part in micro_batches(responses, count)
    ]
    windows = list(iter_grad_accum_global_norm(parts, None, count, lambda part: part.action_mask))
    actor = SimpleNamespace(train=lambda: None, is_vlm=False)
    loss_fn = PolicyLoss(
        clip_eps_low=arguments.actor.eps_clip_low_high[0],
        clip_eps_high=arguments.actor.eps_clip_low_high[1],
        dual_clip=arguments.actor.dual_clip,
        token_level_loss=arguments.actor.loss_agg_mode == "token-mean",
        policy_loss_type=arguments.actor.policy_loss_type,
    )

    def loss_of(logp: Any, rows: slice) -> Any:
        index = rows.start // (rows.stop - rows.start)
        part, info = windows[index]
        found: list[Any] = []
        trainer = SimpleNamespace(
            args=arguments,
            actor=_Answer(logp, actor),
            actor_loss_fn=loss_fn,
            aux_loss=False,
            ema_model=None,
            actor_optim=None,
            actor_scheduler=SimpleNamespace(get_last_lr=lambda: [0.0]),
            strategy=SimpleNamespace(
                args=arguments,
                ring_attn_group=None,
                backward=lambda loss, *_: found.append(loss),
                optimizer_step=lambda *_, **__: None,
                get_grad_norm=lambda *_: 0.0,
            ),
        )
        ActorPPOTrainer.training_step(trainer, part, arguments.algo.kl.init_coef, index, info)
        return found[0] / count  # DeepSpeed divides every loss by the number of micro-batches

    return loss_of


class _Answer:
    """An actor that answers with given log-probabilities."""

    is_vlm = False

    def __init__(self, logp: Any, output: Any) -> None:
        self._logp, self._output = logp, output

    def train(self) -> None:
        """Nothing to switch."""

    def __call__(self, *_: Any, **__: Any) -> tuple[Any, Any]:
        return self._logp, self._output
