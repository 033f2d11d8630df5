"""What an objective sees: the log-probabilities, mask, rewards and groups of a batch of sampled responses."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

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
