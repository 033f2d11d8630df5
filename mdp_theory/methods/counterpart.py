"""The supervised counterpart of an objective: what it would be if it were outcome-weighted supervised fine-tuning.

The claim of 2505.13697 is a statement about the distance between an objective and this counterpart; theory and training
measure that distance with the same two functions.
"""

import dataclasses

import jax.numpy as jnp

from mdp_theory.methods.batch import TokenArray
from mdp_theory.methods.credit import Credit
from mdp_theory.methods.objectives import Objective


def supervised_counterpart(objective: Objective) -> Objective:
    """Cross-entropy with the objective's own advantages, aggregation and samples: no ratio, clip or KL in the loss."""
    kl = objective.kl if objective.kl is not None and objective.kl.placement == "reward" else None
    return dataclasses.replace(
        objective,
        surrogate="log-likelihood",
        importance_sampling_level="token",
        clip=None,
        gate=None,
        trust=None,
        kl=kl,
    )


def outcome_credit(credit: Credit, mask: TokenArray) -> Credit:
    """The same credit, each response's advantage spread evenly over its tokens: the same unless a critic is at work."""
    length = jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    mean = jnp.where(mask > 0, credit.advantage, 0.0).sum(axis=1, keepdims=True) / length
    return credit._replace(advantage=jnp.broadcast_to(mean, credit.advantage.shape))
