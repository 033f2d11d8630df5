"""The algebra of objectives: a method is a rule that gives every sampled token a weight.

An `Objective` is data: how a response's outcome becomes an advantage, how the probability ratio enters, how it is
clipped, how token terms are added up, and which KL term is added. Everything of it that does not depend on the current
policy is computed once for the whole batch (`assign_credit`), with global denominators; what depends on the policy is a
sum over tokens (`surrogate`). So micro-batches add up to the full batch exactly, whatever their layout.

`token_weights` gives `-d loss / d logp` in closed form and differentiates nothing, so that autodiff can check it.

Sources: PPO 1707.06347 eq. 7; GAE 1506.02438 eq. 16; dual clip 1912.09729 eq. 5; GRPO 2402.03300 eq. 3 and 4;
Dr. GRPO 2503.20783; DAPO 2503.14476 eq. 8 to 12; GSPO 2507.18071 eq. 5, 7 and 13; CISPO 2506.13585 eq. 4 and 5;
k1, k2, k3: J. Schulman, "Approximating KL divergence" (2020).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

TokenArray = Float[Array, "batch time"]
ResponseArray = Float[Array, " batch"]


class Batch(NamedTuple):
    """Everything an objective may see; the toy MDP and a language model both produce it.

    Attributes:
        logp: log-probability of each sampled token under the current policy; the only differentiable field.
        old_logp: the same under the policy that sampled the tokens.
        ref_logp: the same under the reference policy of the KL term.
        mask: 1 on completion tokens (EOS included), 0 on the prompt and on padding.
        reward: outcome of each response.
        group: equal for responses to the same prompt of the same step; any integers.
        value: a critic's estimate of the return before each token; needed by `Advantage(estimator="gae")` alone.
    """

    logp: TokenArray
    old_logp: TokenArray
    ref_logp: TokenArray
    mask: TokenArray
    reward: ResponseArray
    group: Int[Array, " batch"]
    value: TokenArray | None = None


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """How outcomes become advantages: `(u - baseline) / scale`, with `u` a function of the reward.

    Attributes:
        outcome: `reward` takes u = r. `correct` takes u = `positive` where r >= `threshold`, else -`negative`.
            `above-mean` takes u = `positive` above the group mean, -`negative` below it, 0 at it (F-ISFT, advantage
            form).
        positive, negative: the two weights of `correct` and `above-mean`.
        threshold: the least reward that counts as correct.
        baseline: what is subtracted: nothing, the group's mean, or the mean of the other members of the group.
        scale: what it is divided by: nothing, the standard deviation of u in the group or in the batch, or the mean of
            u in the group.
        ddof: 0 divides the squared deviations by G, 1 by G - 1.
        eps: added to the divisor. Groups (batches) of equal outcome get advantage 0 even at eps = 0.
        estimator: `outcome` credits every token alike; `gae` uses `Batch.value` with the discounts below.
        discount, gae_lambda: γ and λ of the `gae` estimator.
    """

    outcome: Literal["reward", "correct", "above-mean"] = "reward"
    positive: float = 1.0
    negative: float = 0.0
    threshold: float = 1.0
    baseline: Literal["none", "group-mean", "leave-one-out"] = "none"
    scale: Literal["none", "group-std", "batch-std", "group-mean"] = "none"
    ddof: Literal[0, 1] = 0
    eps: float = 0.0
    estimator: Literal["outcome", "gae"] = "outcome"
    discount: float = 1.0
    gae_lambda: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The ratio is held in [1 - low, 1 + high]; None leaves a side open. `dual` > 1 bounds ρA from below for A < 0."""

    low: float | None = 0.2
    high: float | None = 0.2
    dual: float | None = None


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


Aggregation = Literal[
    "sequence-mean-token-mean", "token-mean", "sequence-mean-token-sum-norm", "sequence-mean-token-sum"
]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A loss as data.

    Attributes:
        advantage: how outcomes become advantages.
        surrogate: the term of one token, to be maximised. `log-likelihood` is A log π; `ratio` is ρA; `clipped-ratio`
            is min(ρA, clip(ρ)A); `truncated-weight` is sg[clip(ρ)] A log π.
        importance_sampling_level: ρ of a `token`; of a `sequence`, as the geometric mean over its tokens (GSPO); the
            same value with the gradient of the token alone (`sequence-token`); or the probability ratio of the whole
            response (`sequence-product`).
        clip: needed by `clipped-ratio` and `truncated-weight`.
        aggregation: how token terms are added up; verl's names.
        max_completion_length: the constant of `sequence-mean-token-sum-norm`.
        kl: the KL term, or None.
        keep: responses that are learned from. `mixed-groups` drops groups of equal reward, `correct` drops incorrect
            responses. A dropped response counts in no denominator of the aggregation; baselines and standard
            deviations are those of the whole group.
    """

    advantage: Advantage
    surrogate: Literal["log-likelihood", "ratio", "clipped-ratio", "truncated-weight"] = "clipped-ratio"
    importance_sampling_level: Literal["token", "sequence", "sequence-token", "sequence-product"] = "token"
    clip: Clip | None = None
    aggregation: Aggregation = "sequence-mean-token-mean"
    max_completion_length: int | None = None
    kl: KL | None = None
    keep: Literal["all", "mixed-groups", "correct"] = "all"

    def __post_init__(self) -> None:
        clips = self.surrogate in ("clipped-ratio", "truncated-weight")
        if clips != (self.clip is not None):
            raise ValueError(f"surrogate {self.surrogate!r} {'needs a' if clips else 'takes no'} clip, got {self.clip}")
        if self.clip is not None and self.clip.dual is not None and self.surrogate != "clipped-ratio":
            raise ValueError(f"dual clipping goes with 'clipped-ratio', not with {self.surrogate!r}")


class Credit(NamedTuple):
    """What a batch decides before any policy is evaluated.

    Attributes:
        advantage: A of each token; the same for all tokens of a response unless a critic is at work.
        scale: the share of each token's term in the loss; 0 outside `mask` and on dropped responses.
    """

    advantage: TokenArray
    scale: TokenArray


def loss(objective: Objective, batch: Batch) -> Float[Array, ""]:
    """The loss to minimise, differentiable in `batch.logp`."""
    credit = assign_credit(objective, batch)
    return surrogate(
        objective,
        credit,
        logp=batch.logp,
        old_logp=batch.old_logp,
        ref_logp=batch.ref_logp,
        mask=batch.mask,
    )


def assign_credit(objective: Objective, batch: Batch) -> Credit:
    """Advantages and denominators of a whole batch; constants with respect to the current policy.

    Raises:
        ValueError: the aggregation lacks its `max_completion_length`, or the estimator its `batch.value`.
    """
    kept = _kept(objective, batch)
    mask = batch.mask * kept[:, None]
    length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    responses = jnp.maximum(kept.sum(), 1.0)
    if objective.aggregation == "sequence-mean-token-mean":
        scale = mask / (responses * length)
    elif objective.aggregation == "token-mean":
        scale = mask / jnp.maximum(mask.sum(), 1.0)
    elif objective.aggregation == "sequence-mean-token-sum":
        scale = mask / responses
    elif objective.max_completion_length is None:
        raise ValueError(f"aggregation {objective.aggregation!r} needs max_completion_length")
    else:
        scale = mask / (responses * objective.max_completion_length)
    return jax.lax.stop_gradient(Credit(_advantage(objective, batch), scale))


def surrogate(
    objective: Objective,
    credit: Credit,
    *,
    logp: TokenArray,
    old_logp: TokenArray,
    ref_logp: TokenArray,
    mask: TokenArray,
) -> Float[Array, ""]:
    """The rows' part of the loss. Parts of a batch add up to the loss of the whole; rows must be whole responses."""
    # Padding may hold anything, infinities included; 0 * inf would poison the sum and its gradient.
    seen = mask > 0
    logp, old_logp, ref_logp = (jnp.where(seen, x, 0.0) for x in (logp, old_logp, ref_logp))
    advantage = credit.advantage
    ratio = _ratio(objective, logp, old_logp, mask)
    if objective.surrogate == "log-likelihood":
        term = advantage * logp
    elif objective.surrogate == "ratio":
        term = advantage * ratio
    elif objective.surrogate == "clipped-ratio":
        term = jnp.minimum(advantage * ratio, advantage * _clipped(objective.clip, ratio))
        if objective.clip is not None and objective.clip.dual is not None:
            term = jnp.where(advantage < 0, jnp.maximum(term, objective.clip.dual * advantage), term)
    else:
        term = advantage * jax.lax.stop_gradient(_clipped(objective.clip, ratio)) * logp
    total = -(credit.scale * term).sum()
    if objective.kl is not None and objective.kl.placement == "loss":
        penalty = kl_estimate(objective.kl.estimator, logp, ref_logp)
        total += objective.kl.sign * objective.kl.beta * (credit.scale * penalty).sum()
    return total


def token_weights(objective: Objective, batch: Batch) -> TokenArray:
    """`-d loss / d logp` of every token, in closed form: positive weights make a token more likely."""
    credit = assign_credit(objective, batch)
    advantage, scale = credit
    active = passes_clip(objective, credit, logp=batch.logp, old_logp=batch.old_logp, mask=batch.mask)
    seen = batch.mask > 0
    log_ratio = jnp.where(seen, batch.logp - batch.old_logp, 0.0)
    length = jnp.maximum(batch.mask.sum(axis=1, keepdims=True), 1.0)
    level = objective.importance_sampling_level
    if level == "token":
        ratio = jnp.exp(log_ratio)
    elif level == "sequence-product":
        ratio = jnp.exp(log_ratio.sum(axis=1, keepdims=True))
    else:
        ratio = jnp.exp(log_ratio.sum(axis=1, keepdims=True) / length)

    if objective.surrogate == "log-likelihood":
        weight = scale * advantage
    elif objective.surrogate == "truncated-weight":
        clip = objective.clip or Clip()
        bound = jnp.maximum(ratio, 1 - clip.low) if clip.low is not None else ratio
        bound = jnp.minimum(bound, 1 + clip.high) if clip.high is not None else bound
        weight = scale * advantage * bound
    else:
        weight = scale * advantage * ratio * active
        if level == "sequence":
            # Each token moves the mean of the log-ratios by 1/L, and with it every token's term.
            weight = seen * weight.sum(axis=1, keepdims=True) / length
        elif level == "sequence-product":
            weight = seen * weight.sum(axis=1, keepdims=True)

    if objective.kl is not None and objective.kl.placement == "loss":
        log_q = jnp.where(seen, batch.ref_logp - batch.logp, 0.0)
        slope = {"k1": jnp.ones_like(log_q), "k2": -log_q, "k3": 1 - jnp.exp(log_q)}[objective.kl.estimator]
        weight = weight - objective.kl.sign * objective.kl.beta * scale * slope
    return weight


def passes_clip(
    objective: Objective, credit: Credit, *, logp: TokenArray, old_logp: TokenArray, mask: TokenArray
) -> Bool[Array, "batch time"]:
    """True where clipping leaves the token alone: its gradient not stopped, its truncated weight not truncated."""
    ratio = _ratio(objective, jnp.where(mask > 0, logp, 0.0), jnp.where(mask > 0, old_logp, 0.0), mask)
    clip = objective.clip
    if clip is None:
        return jnp.ones_like(mask, dtype=bool)
    too_high = ratio > 1 + clip.high if clip.high is not None else jnp.zeros_like(mask, dtype=bool)
    too_low = ratio < 1 - clip.low if clip.low is not None else jnp.zeros_like(mask, dtype=bool)
    if objective.surrogate == "truncated-weight":
        return ~(too_high | too_low)
    advantage = credit.advantage
    stopped = ((advantage > 0) & too_high) | ((advantage < 0) & too_low)
    if clip.dual is not None:
        stopped |= (advantage < 0) & (ratio > clip.dual)
    return ~stopped


def credit_structure_index(weights: TokenArray, mask: TokenArray) -> Float[Array, ""]:
    """η = Σ (w_it - mean_t w_it)² / Σ w_it²: 0 when every response weights its tokens alike (or not at all)."""
    weights = jnp.where(mask > 0, weights, 0.0)
    mean = weights.sum(axis=1, keepdims=True) / jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    spread = (jnp.where(mask > 0, weights - mean, 0.0) ** 2).sum()
    total = (weights**2).sum()
    return jnp.where(total > 0, spread / jnp.where(total > 0, total, 1.0), 0.0)


def kl_estimate(estimator: str, logp: TokenArray, ref_logp: TokenArray) -> TokenArray:
    """k1, k2 or k3 of every token, from log-probabilities of the sampled tokens."""
    log_q = ref_logp - logp
    if estimator == "k1":
        return -log_q
    if estimator == "k2":
        return 0.5 * log_q**2
    return jnp.expm1(log_q) - log_q


def _ratio(objective: Objective, logp: TokenArray, old_logp: TokenArray, mask: TokenArray) -> TokenArray:
    log_ratio = (logp - old_logp) * (mask > 0)
    level = objective.importance_sampling_level
    if level == "token":
        return jnp.exp(log_ratio)
    total = log_ratio.sum(axis=1, keepdims=True)
    if level != "sequence-product":
        total = total / jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    sequence = jnp.broadcast_to(jnp.exp(total), log_ratio.shape)
    if level == "sequence-token":
        # One in value; its gradient is the token's own.
        return jax.lax.stop_gradient(sequence) * jnp.exp(logp - jax.lax.stop_gradient(logp))
    return sequence


def _clipped(clip: Clip | None, ratio: TokenArray) -> TokenArray:
    if clip is None:
        return ratio
    low = None if clip.low is None else 1 - clip.low
    high = None if clip.high is None else 1 + clip.high
    return jnp.clip(ratio, low, high)


def _advantage(objective: Objective, batch: Batch) -> TokenArray:
    rule = objective.advantage
    reward = _reward(objective, batch)
    if rule.estimator == "gae":
        return _generalised_advantage(rule, reward, batch)
    same = batch.group[:, None] == batch.group[None, :]
    outcome = _outcome(rule, reward, same)
    mean = _group_sum(same, outcome) / same.sum(axis=1)
    differs = _spread(same, outcome) > 0
    advantage = outcome
    if rule.baseline != "none":
        # Equal outcomes are exactly at their mean; rounding must not turn them into a signal.
        advantage = jnp.where(differs, outcome - mean, 0.0)
    if rule.baseline == "leave-one-out":
        size = same.sum(axis=1)
        advantage = advantage * size / jnp.maximum(size - 1, 1)
    if rule.scale == "group-mean":
        advantage = _divide(advantage, mean + rule.eps)
    elif rule.scale != "none":
        pool = same if rule.scale == "group-std" else jnp.ones_like(same)
        centre = _group_sum(pool, outcome) / pool.sum(axis=1)
        squares = (jnp.where(pool, (outcome[None, :] - centre[:, None]) ** 2, 0.0)).sum(axis=1)
        std = jnp.sqrt(squares / jnp.maximum(pool.sum(axis=1) - rule.ddof, 1))
        advantage = jnp.where(_spread(pool, outcome) > 0, _divide(advantage, std + rule.eps), 0.0)
    return jnp.broadcast_to(advantage[:, None], batch.mask.shape)


def _reward(objective: Objective, batch: Batch) -> ResponseArray:
    reward = batch.reward.astype(batch.logp.dtype)
    kl = objective.kl
    if kl is None or kl.placement != "reward":
        return reward
    estimate = kl_estimate(kl.estimator, batch.old_logp, batch.ref_logp)
    return reward - kl.sign * kl.beta * jnp.where(batch.mask > 0, estimate, 0.0).sum(axis=1)


def _outcome(rule: Advantage, reward: ResponseArray, same: Bool[Array, "batch batch"]) -> ResponseArray:
    if rule.outcome == "reward":
        return reward
    if rule.outcome == "correct":
        return jnp.where(reward >= rule.threshold, rule.positive, -rule.negative).astype(reward.dtype)
    above = reward - _group_sum(same, reward) / same.sum(axis=1)
    spread = _spread(same, reward)
    # A deviation that is rounding alone is none: equal rewards such as 0.1 need not average to 0.1 in binary.
    above = jnp.where((spread > 0) & (jnp.abs(above) > 1e-6 * spread), above, 0.0)
    return jnp.where(above > 0, rule.positive, jnp.where(above < 0, -rule.negative, 0.0)).astype(reward.dtype)


def _generalised_advantage(rule: Advantage, reward: ResponseArray, batch: Batch) -> TokenArray:
    if batch.value is None:
        raise ValueError("the advantage estimator 'gae' needs batch.value, a critic's estimates")
    value = jnp.where(batch.mask > 0, batch.value, 0.0)
    following = jnp.concatenate([batch.mask[:, 1:], jnp.zeros_like(batch.mask[:, :1])], axis=1)
    last = (batch.mask > 0) & (following == 0)
    next_value = jnp.concatenate([value[:, 1:], jnp.zeros_like(value[:, :1])], axis=1)
    error = jnp.where(last, reward[:, None], rule.discount * next_value) - value

    def backward(carry: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, inside = step
        carry = jnp.where(inside > 0, delta + rule.discount * rule.gae_lambda * carry, 0.0)
        return carry, carry

    _, advantage = jax.lax.scan(backward, jnp.zeros_like(reward), (error.T, batch.mask.T), reverse=True)
    return advantage.T


def _kept(objective: Objective, batch: Batch) -> ResponseArray:
    if objective.keep == "correct":
        kept = batch.reward >= objective.advantage.threshold
    elif objective.keep == "mixed-groups":
        kept = _spread(batch.group[:, None] == batch.group[None, :], batch.reward) > 0
    else:
        kept = jnp.ones_like(batch.reward, dtype=bool)
    return kept.astype(batch.mask.dtype)


def _group_sum(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    # A masked sum, not a matrix product: accelerators multiply float32 matrices in fewer bits.
    return jnp.where(same, x[None, :], 0.0).sum(axis=1)


def _spread(same: Bool[Array, "batch batch"], x: ResponseArray) -> ResponseArray:
    highest = jnp.where(same, x[None, :], -jnp.inf).max(axis=1)
    return highest - jnp.where(same, x[None, :], jnp.inf).min(axis=1)


def _divide(numerator: ResponseArray, divisor: ResponseArray) -> ResponseArray:
    return jnp.where(divisor != 0, numerator / jnp.where(divisor != 0, divisor, 1.0), 0.0)
