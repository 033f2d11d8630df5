"""KL terms token by token: the three estimators, and what each adds to a token's weight (theorem T8)."""

from typing import Any, NamedTuple

from jaxtyping import Array, Float

from mdp_theory.methods.batch import TokenArray
from mdp_theory.methods.objectives import Objective


class Penalty(NamedTuple):
    """The KL term in the loss as numbers: its signed coefficient, and which estimator it is. All 0: none."""

    beta: Any
    k1: Any
    k2: Any
    k3: Any


def penalty_of(objective: Objective) -> Penalty:
    """The KL term of an objective where it stands in the loss; in the reward it moves advantages instead."""
    kl = objective.kl
    if kl is None or kl.placement != "loss":
        return Penalty(0.0, 0.0, 0.0, 0.0)
    return Penalty(kl.sign * kl.beta, *(float(kl.estimator == name) for name in ("k1", "k2", "k3")))


def kl_estimate(estimator: str, logp: TokenArray, ref_logp: TokenArray) -> TokenArray:
    """k1, k2 or k3 of every token, from log-probabilities of the sampled tokens; numpy in, numpy out."""
    log_q = ref_logp - logp
    if estimator == "k1":
        return -log_q
    if estimator == "k2":
        return 0.5 * log_q**2
    return log_q.__array_namespace__().expm1(log_q) - log_q


def penalty_slope(penalty: Penalty, log_q: Float[Array, "..."]) -> Float[Array, "..."]:
    """β d(estimate)/d(log π) of a token, with log q = log π_ref - log π; numpy in, numpy out."""
    xp = log_q.__array_namespace__()
    return penalty.beta * (penalty.k1 - penalty.k2 * log_q - penalty.k3 * xp.expm1(log_q))
