"""Policy-gradient methods as data; see `catalogue` for the conventions."""

import dataclasses

from mdp_theory.methods.method import Method
from mdp_theory.methods.objectives import KL, Advantage, Clip, Gate, Objective, Overlong, TrustRegion

_PPO_CLIP = Clip(low=0.2, high=0.2)
_GROUP_NORM = Advantage(baseline="group-mean", scale="group-std")


def _dppo(trust: TrustRegion) -> Objective:
    return Objective(
        advantage=Advantage(baseline="group-mean"),
        surrogate="ratio",
        trust=trust,
        aggregation="sequence-mean-token-sum-norm",
    )


_DPPO_NOTE = (
    "Dr. GRPO with a mask in the place of the clip range: what counts is how far the token's probability has moved, "
    "not its ratio. The authors truncate the ratio besides, far out (10 in their code, 10000 in verl's example); not "
    "so here."
)
_VERL_DPPO = (
    "adv_estimator=grpo norm_adv_by_std_in_grpo=false loss_agg_mode=seq-mean-token-sum-norm loss_scale_factor=512 "
    "clip_ratio_c=10000"
)

POLICY_GRADIENTS = (
    Method(
        key="reinforce",
        title="REINFORCE",
        source="Williams 1992",
        objective=Objective(advantage=Advantage(), surrogate="log-likelihood", aggregation="sequence-mean-token-sum"),
        note="No baseline.",
    ),
    Method(
        key="rloo",
        title="RLOO",
        source="2402.14740 eq. 8; Kool et al. 2019",
        objective=Objective(
            advantage=Advantage(baseline="leave-one-out"),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="Without the KL that its source puts into the reward; add it with a KL of placement `reward`.",
        peers={
            "polgrad": "algorithm=rloo",
            "verl": "adv_estimator=rloo loss_mode=gpg loss_agg_mode=seq-mean-token-sum",
        },
    ),
    Method(
        key="grpo",
        title="GRPO",
        source="2402.03300 eq. 3",
        objective=Objective(advantage=_GROUP_NORM, clip=_PPO_CLIP),
        aliases=("grpo-no-kl",),
        note="β = 0. The source does not state the clip range; 0.2 is PPO's.",
        peers={
            "TRL": "loss_type=grpo beta=0 scale_rewards=group epsilon=0.2",
            "verl": "adv_estimator=grpo loss_agg_mode=seq-mean-token-mean use_kl_loss=false",
            "OpenRLHF": "algo.advantage.estimator=group_norm algo.kl.init_coef=0 "
            "actor.loss_agg_mode=seq-mean-token-mean",
            "tunix": "beta=0",
        },
    ),
    Method(
        key="grpo-kl",
        title="GRPO with KL",
        source="2402.03300 eq. 3 and 4",
        objective=Objective(advantage=_GROUP_NORM, clip=_PPO_CLIP, kl=KL(beta=0.04, estimator="k3")),
        note="β = 0.04 is the source's; the authors of 2505.13697 use 0.001.",
        peers={
            "TRL": "loss_type=grpo beta=0.04 use_bias_correction_kl=false",
            "verl": "adv_estimator=grpo use_kl_loss=true kl_loss_coef=0.04 loss_agg_mode=seq-mean-token-mean",
            "tunix": "beta=0.04 kl_loss_mode=low_var_kl",
            "polgrad": "algorithm=grpo",
        },
    ),
    Method(
        key="dr-grpo",
        title="Dr. GRPO",
        source="2503.20783 §3.2",
        objective=Objective(
            advantage=Advantage(baseline="group-mean"),
            clip=_PPO_CLIP,
            aggregation="sequence-mean-token-sum-norm",
        ),
        note="The constant is the limit on completion length.",
        peers={
            "TRL": "loss_type=dr_grpo scale_rewards=none",
            "verl": "adv_estimator=grpo norm_adv_by_std_in_grpo=false loss_agg_mode=seq-mean-token-sum-norm "
            "loss_scale_factor=512",
            "tunix": "config=drgrpo beta=0",
            "polgrad": "algorithm=dr_grpo",
        },
    ),
    Method(
        key="dapo",
        title="DAPO",
        source="2503.14476 eq. 8 to 12",
        objective=Objective(
            advantage=_GROUP_NORM,
            clip=Clip(low=0.2, high=0.28),
            aggregation="token-mean",
            keep="mixed-groups",
        ),
        note=(
            "Dynamic sampling is the drop of groups of equal reward, not their resampling; for overlong shaping see "
            "`dapo-overlong`. Where other code bases do not filter, those groups stay in the token count."
        ),
        peers={
            "TRL": "loss_type=dapo epsilon_high=0.28",
            "verl": "adv_estimator=grpo clip_ratio_high=0.28 loss_agg_mode=token-mean",
            "OpenRLHF": "algo.advantage.estimator=group_norm algo.kl.init_coef=0 actor.eps_clip_low_high=[0.2,0.28]",
            "tunix": "config=dapo",
            "polgrad": "algorithm=dapo",
        },
    ),
    Method(
        key="gspo",
        title="GSPO",
        source="2507.18071 eq. 5 and 7",
        objective=Objective(
            advantage=_GROUP_NORM, importance_sampling_level="sequence", clip=Clip(low=3e-4, high=4e-4)
        ),
        peers={
            "TRL": "loss_type=grpo importance_sampling_level=sequence epsilon=3e-4 epsilon_high=4e-4",
            "verl": "adv_estimator=grpo loss_mode=gspo loss_agg_mode=seq-mean-token-mean clip_ratio_low=3e-4 "
            "clip_ratio_high=4e-4",
            "OpenRLHF": "algo.advantage.estimator=group_norm algo.kl.init_coef=0 actor.policy_loss_type=gspo "
            "actor.eps_clip_low_high=[3e-4,4e-4]",
            "tunix": "beta=0 loss_algo=gspo-token epsilon=3e-4 epsilon_high=4e-4",
            "polgrad": "algorithm=gspo",
        },
    ),
    Method(
        key="cispo",
        title="CISPO",
        source="2506.13585 eq. 4 and 5",
        objective=Objective(
            advantage=_GROUP_NORM,
            surrogate="truncated-weight",
            clip=Clip(low=None, high=0.2),
            aggregation="token-mean",
        ),
        note=(
            "The source truncates above only and does not state the bound; 0.2 is taken. TRL's `epsilon_high` is the "
            "bound itself here, not its distance from 1."
        ),
        peers={
            "TRL": "loss_type=cispo epsilon_high=1.2",
            "verl": "adv_estimator=grpo loss_mode=cispo clip_ratio_low=1e9 clip_ratio_high=0.2",
            "polgrad": "algorithm=cispo",
        },
    ),
    Method(
        key="ppo",
        title="PPO",
        source="1707.06347 eq. 7; 1506.02438 eq. 16",
        objective=Objective(
            advantage=Advantage(estimator="gae", discount=1.0, gae_lambda=0.95),
            clip=_PPO_CLIP,
            aggregation="token-mean",
        ),
        note="Needs a critic. γ = 1, as is usual for language models; the source's 0.99 is for control tasks.",
        peers={},
    ),
    Method(
        key="reinforce-rej",
        title="Reinforce-Rej",
        source="2504.11343 §3",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=1.0, negative=1.0),
            clip=_PPO_CLIP,
            keep="mixed-groups",
        ),
        note="Rewards ±1; groups all correct or all wrong are dropped.",
    ),
    Method(
        key="gpg",
        title="GPG",
        source="2504.02546 §2, F_norm = 1",
        objective=Objective(
            advantage=Advantage(baseline="group-mean"),
            surrogate="log-likelihood",
            aggregation="token-mean",
            keep="mixed-groups",
        ),
        note=(
            "Its correction of the gradient estimate, B / (B − M) with M responses in groups of equal reward, is the "
            "drop of those groups from the mean."
        ),
    ),
    Method(
        key="reinforce-pp",
        title="REINFORCE++",
        source="2501.03262",
        objective=Objective(advantage=Advantage(whiten="tokens"), clip=_PPO_CLIP, aggregation="token-mean"),
        note="Rewards are whitened over all tokens of the batch, the credit pool. Its KL in the reward is a dial.",
        peers={
            "verl": "adv_estimator=reinforce_plus_plus",
            "OpenRLHF": "algo.advantage.estimator=reinforce algo.kl.init_coef=0",
        },
    ),
    Method(
        key="reinforce-pp-baseline",
        title="REINFORCE++-baseline",
        source="2501.03262",
        objective=Objective(
            advantage=Advantage(baseline="group-mean", whiten="tokens"), clip=_PPO_CLIP, aggregation="token-mean"
        ),
        note="Less the group's mean first, then whitened over all tokens of the batch.",
        peers={
            "verl": "adv_estimator=reinforce_plus_plus_baseline",
            "OpenRLHF": "algo.advantage.estimator=reinforce_baseline algo.kl.init_coef=0",
        },
    ),
    Method(
        key="opo",
        title="OPO",
        source="2505.23585",
        objective=Objective(
            advantage=Advantage(baseline="length-weighted"),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="The baseline of least variance, where squared scores grow as lengths; trained strictly on-policy.",
        peers={"verl": "adv_estimator=opo loss_mode=gpg loss_agg_mode=seq-mean-token-sum"},
    ),
    Method(
        key="sapo",
        title="SAPO",
        source="2511.20347, τ = 1.0 and 1.05",
        objective=Objective(advantage=_GROUP_NORM, surrogate="soft-clip", gate=Gate(temperature=(1.0, 1.05))),
        note="A sigmoid gate on the ratio takes the place of the clip range; negatives decay faster.",
        peers={"TRL": "loss_type=sapo", "verl": "adv_estimator=grpo loss_mode=sapo"},
    ),
    Method(
        key="luspo",
        title="LUSPO",
        source="2602.05261; clip range of TRL's default",
        objective=Objective(
            advantage=_GROUP_NORM,
            importance_sampling_level="sequence",
            clip=_PPO_CLIP,
            aggregation="sequence-mean-token-sum",
        ),
        note="GSPO with each response's term multiplied by its length.",
        peers={"TRL": "loss_type=luspo importance_sampling_level=sequence"},
    ),
    Method(
        key="vespo",
        title="VESPO",
        source="2602.10693; k and λ as in TRL",
        objective=Objective(
            advantage=_GROUP_NORM,
            surrogate="soft-weight",
            importance_sampling_level="sequence-product",
            gate=Gate(power=(2.0, 3.0), decay=(3.0, 2.0)),
            aggregation="token-mean",
        ),
        note="The ratio of the whole response enters through a detached weight that falls on both sides of 1.",
        peers={"TRL": "loss_type=vespo"},
    ),
    Method(
        key="gmpo",
        title="GMPO",
        source="2507.20673; authors' code",
        objective=Objective(
            advantage=_GROUP_NORM,
            surrogate="clipped-geometric-mean",
            importance_sampling_level="sequence",
            clip=Clip(low=0.4, high=0.4),
        ),
        note=(
            "The geometric mean of a response's token ratios, each held within e^±0.4 on the side that pays before the "
            "mean is taken. Where GSPO stops a whole response, GMPO stops single tokens."
        ),
        peers={
            "TRL": "trainer=gmpo epsilon=0.4",
            "verl": "adv_estimator=grpo loss_mode=geo_mean clip_ratio_low=0.4 clip_ratio_high=0.4",
        },
    ),
    Method(
        key="dppo-tv",
        title="DPPO (total variation)",
        source="2602.04879, binary; δ = 0.15 as in verl's example",
        objective=_dppo(TrustRegion(measure="total-variation", low=0.15, high=0.15)),
        note=_DPPO_NOTE,
        peers={"verl": f"{_VERL_DPPO} loss_mode=dppo_tv clip_ratio_low=0.15 clip_ratio_high=0.15"},
    ),
    Method(
        key="dppo-kl",
        title="DPPO (KL)",
        source="2602.04879, binary; δ = 0.05 as in verl's example",
        objective=_dppo(TrustRegion(measure="kl", low=0.05, high=0.05)),
        note=_DPPO_NOTE,
        peers={"verl": f"{_VERL_DPPO} loss_mode=dppo_kl clip_ratio_low=0.05 clip_ratio_high=0.05"},
    ),
    Method(
        key="tis",
        title="TIS",
        source="Yao et al. 2025 (OpenReview 8MHqvb4lK9); C = 2 is verl's default",
        objective=Objective(
            advantage=_GROUP_NORM,
            surrogate="truncated-weight",
            clip=Clip(low=None, high=1.0),
            aggregation="token-mean",
        ),
        note=(
            "Truncated importance sampling where the old policy is the sampler's own, as its engine reports it: "
            "log-likelihood weighted by min(ρ, C). CISPO's rule with a wide bound. A correction beside PPO's ratio has "
            "three policies, and a batch here holds two."
        ),
        peers={
            "verl": "adv_estimator=grpo loss_mode=bypass_mode "
            'rollout_correction={"bypass_mode":true,"loss_type":"reinforce","rollout_is":"token"}',
        },
    ),
    Method(
        key="dapo-overlong",
        title="DAPO with overlong shaping",
        source="2503.14476 eq. 8 to 13",
        objective=Objective(
            advantage=dataclasses.replace(_GROUP_NORM, overlong=Overlong(share=0.2)),
            clip=Clip(low=0.2, high=0.28),
            aggregation="token-mean",
            keep="mixed-groups",
        ),
        note=(
            "The last 4096 of 20480 tokens in its run of 32B: a fifth of the limit, here of whatever limit is set. "
            "Groups are dropped by their correctness, before the punishment tells their members apart."
        ),
    ),
    Method(
        key="maxrl",
        title="MaxRL",
        source="2602.02710",
        objective=Objective(
            advantage=Advantage(baseline="group-mean", scale="group-mean"),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note=(
            "As released: (r - mean) / mean. Meant for rewards that are not negative: in a group whose mean reward is "
            "negative every sign turns, and the worst response is made likelier."
        ),
    ),
    Method(
        key="mean-positive",
        title="Mean over positives",
        source="2602.02710, likelihood truncated at order G",
        objective=Objective(
            advantage=Advantage(scale="group-mean"),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note=(
            "r / mean: the score averaged over the correct responses of the group. Meant for rewards that are not "
            "negative: a negative group mean turns every sign."
        ),
    ),
)
