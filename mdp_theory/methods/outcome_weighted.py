"""Methods that weigh responses by right and wrong alone: filtered fine-tuning in its forms; see `catalogue`."""

from mdp_theory.methods.method import Method
from mdp_theory.methods.objectives import Advantage, Clip, Objective

_PPO_CLIP = Clip(low=0.2, high=0.2)


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


OUTCOME_WEIGHTED = (
    Method(
        key="raft",
        title="RAFT",
        source="2304.06767; 2504.11343 §3",
        objective=_cross_entropy(1.0, 0.0),
        note="Cross-entropy on the correct responses, averaged over the group. The same weights as F-ISFT⁺.",
    ),
    Method(
        key="raft-pp",
        title="RAFT++",
        source="2504.11343 §3",
        objective=Objective(
            advantage=Advantage(outcome="correct", positive=1.0, negative=0.0), clip=_PPO_CLIP, keep="all"
        ),
        note="RAFT with PPO's ratio and clip, so that samples can be used more than once.",
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
