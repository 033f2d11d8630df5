"""Every method as data: the one place where a method is defined, read by theory, training, audit, figures and docs.

Constants are the source's own where it states them; where it is silent, or its code and its text part, `note` says what
is taken. The standard deviation is the plain one (ddof 0, ε 0): both are dials on every method (`--ddof`,
`--advantage-eps`), because code bases differ in them (ddof 1 with ε 1e-4 in TRL, ddof 1 with ε 1e-6 in verl).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mdp_theory.methods.objectives import KL, Advantage, Clip, Objective
from rino_base.messages import InputError


@dataclass(frozen=True, kw_only=True)
class Method:
    """A named method.

    Attributes:
        key: its name on the command line and on disk.
        title: its name in figures and tables.
        source: where it comes from, arXiv numbers first.
        objective: the loss as data.
        aliases: other names that mean the same.
        static: its samples come from a fixed policy and are never refreshed (plain supervised fine-tuning).
        note: what the source leaves open and what is taken here.
        peers: settings that give the same loss in other code bases, by code base.
    """

    key: str
    title: str
    source: str
    objective: Objective
    aliases: tuple[str, ...] = ()
    static: bool = False
    note: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)


_PPO_CLIP = Clip(low=0.2, high=0.2)
_GROUP_NORM = Advantage(baseline="group-mean", scale="group-std")


def _cross_entropy(positive: float, negative: float) -> Objective:
    """Outcome-weighted cross-entropy on the group's samples: filtered iterative SFT as its name says it."""
    return Objective(
        advantage=Advantage(outcome="correct", positive=positive, negative=negative),
        surrogate="log-likelihood",
    )


def _advantage_form(alpha: float) -> Objective:
    """GRPO with 1 - α above the group mean and -α below it: filtered iterative SFT as its authors' code trains it."""
    return Objective(
        advantage=Advantage(outcome="above-mean", positive=1 - alpha, negative=alpha),
        clip=_PPO_CLIP,
    )


_ALL = (
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
        peers={"verl": "algorithm.adv_estimator=rloo loss_agg_mode=seq-mean-token-sum (with PPO's ratio and clip)"},
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
            "verl": "algorithm.adv_estimator=grpo loss_agg_mode=seq-mean-token-mean use_kl_loss=False",
        },
    ),
    Method(
        key="grpo-kl",
        title="GRPO with KL",
        source="2402.03300 eq. 3 and 4",
        objective=Objective(advantage=_GROUP_NORM, clip=_PPO_CLIP, kl=KL(beta=0.04, estimator="k3")),
        note="β = 0.04 is the source's; the authors of 2505.13697 use 0.001.",
        peers={
            "TRL": "loss_type=grpo beta=0.04 scale_rewards=group epsilon=0.2",
            "verl": "use_kl_loss=True kl_loss_coef=0.04 kl_loss_type=low_var_kl loss_agg_mode=seq-mean-token-mean",
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
            "TRL": "loss_type=dr_grpo scale_rewards=none beta=0",
            "verl": "norm_adv_by_std_in_grpo=False loss_agg_mode=seq-mean-token-sum-norm",
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
        note="Groups of equal reward are dropped, not resampled; overlong reward shaping belongs to the task.",
        peers={
            "TRL": "loss_type=dapo epsilon=0.2 epsilon_high=0.28 beta=0",
            "verl": "clip_ratio_low=0.2 clip_ratio_high=0.28 loss_agg_mode=token-mean",
        },
    ),
    Method(
        key="gspo",
        title="GSPO",
        source="2507.18071 eq. 5 and 7",
        objective=Objective(
            advantage=_GROUP_NORM, importance_sampling_level="sequence", clip=Clip(low=3e-4, high=4e-4)
        ),
        peers={"TRL": "importance_sampling_level=sequence epsilon=3e-4 epsilon_high=4e-4 beta=0"},
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
        note="The source truncates above only and does not state the bound; 0.2 is taken.",
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
        peers={"verl": "algorithm.adv_estimator=gae algorithm.gamma=1.0 algorithm.lam=0.95"},
    ),
    Method(
        key="raft",
        title="RAFT",
        source="2304.06767; 2504.11343 §3",
        objective=_cross_entropy(1.0, 0.0),
        note="Cross-entropy on the correct responses, averaged over the group. The same weights as F-ISFT⁺.",
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
        key="maxrl",
        title="MaxRL",
        source="2602.02710",
        objective=Objective(
            advantage=Advantage(baseline="group-mean", scale="group-mean"),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="As released: (r - mean) / mean.",
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
        note="r / mean: the score averaged over the correct responses of the group.",
    ),
    Method(
        key="f-isft-pos",
        title="F-ISFT⁺",
        source="2505.13697",
        objective=_cross_entropy(1.0, 0.0),
        aliases=("f-isft+",),
        note="Cross-entropy form: weight 1 on correct responses.",
    ),
    Method(
        key="f-isft-neg",
        title="F-ISFT⁻",
        source="2505.13697",
        objective=_cross_entropy(0.0, 1.0),
        aliases=("f-isft-", "f-isft⁻"),
        note="Cross-entropy form: weight -1 on incorrect responses.",
    ),
    Method(
        key="f-isft-pm",
        title="F-ISFT±",
        source="2505.13697",
        objective=_cross_entropy(1.0, 1.0),
        aliases=("f-isft±",),
        note="Cross-entropy form: weight 1 on correct responses, -1 on incorrect ones.",
    ),
    Method(
        key="f-isft-pos-adv",
        title="F-ISFT⁺ (advantage form)",
        source="2505.13697, authors' code, α = 0",
        objective=_advantage_form(0.0),
        aliases=("f-isft+-adv",),
        note="'Positive' means above the group mean, correct or not. The ratio and its clip are kept, as in the code.",
    ),
    Method(
        key="f-isft-neg-adv",
        title="F-ISFT⁻ (advantage form)",
        source="2505.13697, authors' code, α = 1",
        objective=_advantage_form(1.0),
        aliases=("f-isft--adv", "f-isft⁻-adv"),
        note="'Negative' means below the group mean.",
    ),
    Method(
        key="f-isft-pm-adv",
        title="F-ISFT± (advantage form)",
        source="2505.13697, authors' code, α = ½",
        objective=_advantage_form(0.5),
        aliases=("f-isft±-adv",),
        note="½ above the group mean, -½ below it.",
    ),
    Method(
        key="psr",
        title="PSR",
        source="2506.01347 §3",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=1.0, negative=0.0),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="Positive-sample reinforcement.",
    ),
    Method(
        key="nsr",
        title="NSR",
        source="2506.01347 §3",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=0.0, negative=1.0),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="Negative-sample reinforcement.",
    ),
    Method(
        key="w-reinforce",
        title="W-REINFORCE",
        source="2506.01347 §5, λ = 0.1",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=0.1, negative=1.0),
            surrogate="log-likelihood",
            aggregation="sequence-mean-token-sum",
        ),
        note="Positives are weighted down to λ.",
    ),
    Method(
        key="iw-sft",
        title="iw-SFT",
        source="2507.12856",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=1.0, negative=0.0),
            surrogate="truncated-weight",
            importance_sampling_level="sequence-product",
            clip=Clip(low=None, high=1.0),
            keep="correct",
        ),
        static=True,
        note="The importance weight of the whole response, detached; truncated at 2, which is chosen here.",
    ),
    Method(
        key="sft",
        title="SFT",
        source="supervised fine-tuning",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=1.0, negative=0.0),
            surrogate="log-likelihood",
            aggregation="token-mean",
            keep="correct",
        ),
        static=True,
        note="Cross-entropy on the correct samples of the initial policy, never refreshed.",
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.key: method for method in _ALL})


def get(name: str) -> Method:
    """The method called `name`, by key or alias.

    Raises:
        InputError: no such method; the mend names the nearest.
    """
    names = {alias: method for method in _ALL for alias in (method.key, *method.aliases)}
    if name in names:
        return names[name]
    nearest = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1, cutoff=0.0)
    raise InputError(
        f"unknown method {name!r}", mend=f"{names[nearest[0]].key!r} is nearest; one of: {', '.join(METHODS)}"
    )
