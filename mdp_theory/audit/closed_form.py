"""Token weights of catalogued objectives in numpy: `methods.weights` without jax.

An audit compares a loss with some forty objectives. In jax each would be traced and compiled for one evaluation, which
takes longer than everything else together.
"""

import numpy as np
from jaxtyping import Float

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.credit import Credit, outcome_advantage, reward_of, share
from mdp_theory.methods.objectives import Objective
from mdp_theory.methods.weights import weigh

Tokens = Float[np.ndarray, "batch time"]


def token_weights(objective: Objective, batch: Batch) -> Tokens:
    """`-d loss / d logp` of every token; a critic says 0 everywhere."""
    rule, mask = objective.advantage, batch.mask
    if rule.estimator == "gae":
        # The reward, decayed from the last token on.
        to_go = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] - mask
        advantage = mask * reward_of(objective, batch)[:, None] * (rule.discount * rule.gae_lambda) ** to_go
    else:
        advantage = mask * outcome_advantage(objective, batch)[:, None]
    return np.asarray(weigh(objective, batch, Credit(advantage, share(objective, batch))))
