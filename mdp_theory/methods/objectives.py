"""Objectives as data: a method is a rule that gives every sampled token a weight.

An `Objective` says how a response's outcome becomes an advantage, how the probability ratio enters, how it is clipped,
how token terms are added up, and which KL term is added. `credit` computes what a batch decides before any policy is
evaluated, `loss` what depends on the policy, and `weights` the slope of that loss in closed form.

Sources: PPO 1707.06347 eq. 7; GAE 1506.02438 eq. 16; dual clip 1912.09729 eq. 5; GRPO 2402.03300 eq. 3 and 4;
Dr. GRPO 2503.20783; DAPO 2503.14476 eq. 8 to 12; GSPO 2507.18071 eq. 5, 7 and 13; CISPO 2506.13585 eq. 4 and 5;
k1, k2, k3: J. Schulman, "Approximating KL divergence" (2020); SAPO 2511.20347; VESPO 2602.10693; OPO 2505.23585;
REINFORCE++ 2501.03262; GMPO 2507.20673; DPPO 2602.04879; overlong shaping 2503.14476 eq. 13.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Overlong:
    """Soft punishment of long responses, a part of the reward (2503.14476 eq. 13).

    Attributes:
        share: the punishment sets in at this share of the limit on length before it, and grows in proportion.
        penalty: what is lost at the limit.
    """

    share: float
    penalty: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """How outcomes become advantages: `(u - baseline) / scale`, with `u` a function of the reward.

    Attributes:
        outcome: `reward` takes u = r. `correct` takes u = `positive` where r >= `threshold`, else -`negative`.
            `above-mean` takes u = `positive` above the group mean, -`negative` below it, 0 at it (F-ISFT, advantage
            form).
        positive, negative: the two weights of `correct` and `above-mean`.
        threshold: the least reward that counts as correct.
        baseline: what is subtracted: nothing, the group's mean, the mean of the other members of the group, or the
            group's mean weighted by the lengths of its responses.
        scale: what it is divided by: nothing, the standard deviation of u in the group or in the batch, or the mean of
            u in the group.
        whiten: what is left is brought to mean 0 and standard deviation 1 over the batch: over its `responses`, or over
            its `tokens`, where long responses count for more; or it is not.
        ddof: 0 divides the squared deviations by G, 1 by G - 1.
        eps: added to the divisor. Groups (batches) of equal outcome get advantage 0 even at eps = 0.
        estimator: `outcome` credits every token alike; `gae` uses `Batch.value` with the discounts below.
        discount, gae_lambda: γ and λ of the `gae` estimator.
        overlong: what the reward loses where a response nears the limit on its length, or None.
    """

    outcome: Literal["reward", "correct", "above-mean"] = "reward"
    positive: float = 1.0
    negative: float = 0.0
    threshold: float = 1.0
    baseline: Literal["none", "group-mean", "leave-one-out", "length-weighted"] = "none"
    scale: Literal["none", "group-std", "batch-std", "group-mean"] = "none"
    whiten: Literal["none", "responses", "tokens"] = "none"
    ddof: Literal[0, 1] = 0
    eps: float = 0.0
    estimator: Literal["outcome", "gae"] = "outcome"
    discount: float = 1.0
    gae_lambda: float = 1.0
    overlong: Overlong | None = None

    @property
    def of_outcomes_alone(self) -> bool:
        """Whether the advantage is a function of the group's outcomes, which exact tables hold; lengths are in none."""
        of_lengths = self.baseline == "length-weighted" or self.whiten != "none" or self.overlong is not None
        return self.estimator == "outcome" and not of_lengths


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The ratio is held in [1 - low, 1 + high]; None leaves a side open. `dual` > 1 bounds ρA from below for A < 0."""

    low: float | None = 0.2
    high: float | None = 0.2
    dual: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A smooth gate in the place of a clip range; a pair holds the number for A > 0 and the one for A < 0.

    Attributes:
        temperature: τ of the sigmoid gate 4/τ σ(τ(ρ - 1)), whose slope at ρ = 1 is 1 (`soft-clip`).
        power, decay: k and λ of the weight e^λ ρ^k e^(-λρ), which is 1 at ρ = 1 (`soft-weight`).
    """

    temperature: tuple[float, float] | None = None
    power: tuple[float, float] | None = None
    decay: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TrustRegion:
    """A mask in the place of a clip range: a token that has moved away too far, the way A pushes it, has no gradient.

    The distance is that of two coins that show the sampled token with the new and with the old probability.

    Attributes:
        measure: `total-variation` |π - π_old|, or the `kl` of π_old from π.
        low, high: the greatest distance for A < 0, where π falls, and for A > 0, where it rises.
    """

    measure: Literal["total-variation", "kl"]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class KL:
    """A KL term to a reference policy.

    Attributes:
        beta: its coefficient.
        estimator: with q = π_ref/π of the sampled token: k1 = -log q, k2 = (log q)²/2, k3 = q - 1 - log q.
        placement: `loss` adds it to the loss token by token; `reward` subtracts its sum over a response from the
            reward.
        sign: +1 penalises the KL. -1 rewards it: a sign error seen in public code, offered as an ablation only.
    """

    beta: float
    estimator: Literal["k1", "k2", "k3"] = "k3"
    placement: Literal["loss", "reward"] = "loss"
    sign: Literal[1, -1] = 1


Surrogate = Literal[
    "log-likelihood",
    "ratio",
    "clipped-ratio",
    "truncated-weight",
    "soft-clip",
    "soft-weight",
    "clipped-geometric-mean",
]

Aggregation = Literal[
    "sequence-mean-token-mean", "token-mean", "sequence-mean-token-sum-norm", "sequence-mean-token-sum"
]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A loss as data.

    Attributes:
        advantage: how outcomes become advantages.
        surrogate: the term of one token, to be maximised. `log-likelihood` is A log π; `ratio` is ρA; `clipped-ratio`
            is min(ρA, clip(ρ)A); `truncated-weight` is sg[clip(ρ)] A log π; `soft-clip` and `soft-weight` are
            gate(ρ) A and sg[gate(ρ)] A log π; `clipped-geometric-mean` is A times the geometric mean over the
            response of min(ρA, clip(ρ)A)/A, token by token, with [e^-low, e^high] as the range (GMPO).
        importance_sampling_level: ρ of a `token`; of a `sequence`, as the geometric mean over its tokens (GSPO); the
            same value with the gradient of the token alone (`sequence-token`); or the probability ratio of the whole
            response (`sequence-product`).
        clip: needed by `clipped-ratio`, `truncated-weight` and `clipped-geometric-mean`.
        trust: a mask for `ratio` and `truncated-weight` on tokens, or None.
        gate: needed by `soft-clip` and `soft-weight`.
        aggregation: how token terms are added up; verl's names.
        max_completion_length: the limit on length: the constant of `sequence-mean-token-sum-norm`, and where overlong
            responses are punished.
        kl: the KL term, or None.
        keep: responses that are learned from. `mixed-groups` drops groups of equal reward, `correct` drops incorrect
            responses. A dropped response counts in no denominator of the aggregation; baselines and standard
            deviations are those of the whole group.
    """

    advantage: Advantage
    surrogate: Surrogate = "clipped-ratio"
    importance_sampling_level: Literal["token", "sequence", "sequence-token", "sequence-product"] = "token"
    clip: Clip | None = None
    gate: Gate | None = None
    trust: TrustRegion | None = None
    aggregation: Aggregation = "sequence-mean-token-mean"
    max_completion_length: int | None = None
    kl: KL | None = None
    keep: Literal["all", "mixed-groups", "correct"] = "all"

    def __post_init__(self) -> None:
        clips = self.surrogate in ("clipped-ratio", "truncated-weight", "clipped-geometric-mean")
        if clips != (self.clip is not None):
            raise ValueError(f"surrogate {self.surrogate!r} {'needs a' if clips else 'takes no'} clip, got {self.clip}")
        if self.clip is not None and self.clip.dual is not None and self.surrogate != "clipped-ratio":
            raise ValueError(f"dual clipping goes with 'clipped-ratio', not with {self.surrogate!r}")
        gates = self.surrogate in ("soft-clip", "soft-weight")
        if gates != (self.gate is not None):
            raise ValueError(f"surrogate {self.surrogate!r} {'needs a' if gates else 'takes no'} gate, got {self.gate}")
        by_token = self.surrogate in ("ratio", "truncated-weight") and self.importance_sampling_level == "token"
        if self.trust is not None and not by_token:
            raise ValueError("a trust region goes with the surrogates 'ratio' and 'truncated-weight' of tokens")
        whole = self.importance_sampling_level == "sequence" and self.advantage.estimator == "outcome"
        if self.surrogate == "clipped-geometric-mean" and not whole:
            raise ValueError("'clipped-geometric-mean' is of a sequence, with one advantage a response")

    @property
    def needs_limit(self) -> bool:
        """Whether the limit on length is a constant of the loss, and it is not given."""
        of_limit = self.aggregation == "sequence-mean-token-sum-norm" or self.advantage.overlong is not None
        return of_limit and self.max_completion_length is None

    @property
    def of_ratios_alone(self) -> bool:
        """Whether one ratio, of the token or the response, decides what the surrogate makes of a token's weight."""
        return self.trust is None and self.surrogate != "clipped-geometric-mean"

    @property
    def weighs_log_likelihood(self) -> bool:
        """Whether a term is a constant times log π, so that a token moves no ratio but by its own term."""
        return self.surrogate in ("log-likelihood", "truncated-weight", "soft-weight")
