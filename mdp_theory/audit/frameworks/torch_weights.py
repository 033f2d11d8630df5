"""Token weights of a loss in torch; imported where torch is."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mdp_theory.audit.frameworks.batches import Responses, Weigh, micro_batches

Prepare = Callable[[Responses, int], Callable[[Any, slice], Any]]
"""All responses of an optimiser step and the number of micro-batches, to the loss of some rows' log-probabilities."""


def weigh_with(prepare: Prepare) -> Weigh:
    """Differentiate the sum of the micro-batches' losses in float64."""

    def weigh(responses: Responses, count: int) -> tuple[float, np.ndarray]:
        import torch

        torch.manual_seed(0)  # what a loss draws, it draws alike every time it is asked
        loss_of = prepare(responses, count)
        value, weights = 0.0, []
        for rows in micro_batches(responses, count):
            logp = torch.tensor(responses.logp[rows], dtype=torch.float64, requires_grad=True)
            loss = loss_of(logp, rows)
            (gradient,) = torch.autograd.grad(loss, logp)
            value += loss.item()
            weights.append(-gradient.numpy())
        return value, np.concatenate(weights)

    return weigh
