"""What the theory says a method's next steps do to every prompt, on a model, and what they did.

In expectation a step of SGD moves the parameters by the learning rate times the mean over prompts of u(x'), where
u(x') = E[w(r, L) ∇log π(y|x')] and w is the rule's exact expected weight of a response with this outcome and length
(theorems T5 and T9; c(p) = w₁ − w₀ without a division by the length). To first order a quantity f of prompt x, its
chance of success or the length of its responses, moves by rate · ⟨∇E_x[f], mean of u⟩.
The rule comes from theory, the gradients of the model from samples. What was predicted is
estimated from responses that the steps and the measurement never saw, and ∇E[f] and u from two halves of them: the
product of a sample with itself would add its noise to every prompt's own effect.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from llm_exps.evidence import Evidence, Rollout
from llm_exps.gradient import forward
from llm_exps.learner import Learner
from llm_exps.update import Weights
from mdp_theory.exact.population import without_length
from mdp_theory.exact.rules import length_factor, outcome_table, rule_of
from mdp_theory.methods.objectives import Objective

_OUTCOMES = np.array([0.0, 1.0])


class Prompts(NamedTuple):
    """Responses by prompt, as many to each.

    right: 1 where the response is, else 0. length: in tokens, EOS included.
    """

    rollout: Rollout
    right: Float[np.ndarray, "prompts responses"]
    length: Float[np.ndarray, "prompts responses"]

    @classmethod
    def of(cls, rollout: Rollout) -> "Prompts":
        """The responses of a batch whose groups are of one size."""
        count = int(rollout.group[-1]) + 1
        right = (np.asarray(rollout.reward) >= 1).astype(float).reshape(count, -1)
        return cls(rollout, right, np.asarray(rollout.mask).sum(axis=1).reshape(count, -1))

    @classmethod
    def joined(cls, parts: Sequence["Prompts"]) -> "Prompts":
        """Samples of the same prompts as one, prompt by prompt."""
        count = len(parts[0].right)
        time = max(part.rollout.mask.shape[1] for part in parts)
        padded = [_padded(part.rollout, time) for part in parts]
        fields = [
            np.concatenate([field.reshape(count, -1, *field.shape[1:]) for field in fields], axis=1)
            for fields in zip(*padded, strict=True)
        ]
        return cls.of(Rollout(*(field.reshape(-1, *field.shape[2:]) for field in fields)))

    @property
    def success(self) -> Float[np.ndarray, " prompts"]:
        """The share of right responses."""
        return self.right.mean(axis=1)


def response_weights(
    objective: Objective, prompts: Prompts, success: Float[np.ndarray, " prompts"], *, num_generations: int
) -> Float[np.ndarray, "prompts responses"]:
    """What the tokens of every response are worth in expectation, in a group of this size, by its outcome and length.

    Raises:
        InputError: the method's weights do not depend on outcomes and lengths alone.
    """
    rule = rule_of(without_length(objective), _OUTCOMES, 1, num_generations=num_generations, apart=False)
    joint = np.stack([1 - success, success], axis=1)[..., None]
    wrong, right = outcome_table(rule, joint, num_generations=num_generations).weight[:, :, 0].T
    by_outcome = np.where(prompts.right > 0, right[:, None], wrong[:, None])
    return by_outcome * length_factor(objective, prompts.length.ravel()).reshape(prompts.length.shape)


def prompt_gradients(
    learner: Learner, params: nnx.State, prompts: Prompts, value: Float[np.ndarray, "prompts responses"]
) -> Float[np.ndarray, "prompts parameters"]:
    """E_x[value ∇log π] of every prompt, which is ∇E_x[value] where `value` is a function of the response alone.

    The mean of (value − what the other responses have) ∇log π: the same in expectation, and less noise.
    """
    each = value.shape[1]
    centred = (value - value.mean(axis=1, keepdims=True)) * each / (each - 1)

    @jax.jit
    def gradient(params: nnx.State, rows: Rollout, weight: Float[Array, " rows"]) -> Float[Array, " parameters"]:
        def mean(params: nnx.State) -> Float[Array, ""]:
            logp = forward(learner.program, Weights(params, None), rows)[0]
            return (weight * (logp * rows.mask).sum(axis=1)).mean()

        return ravel_pytree(jax.grad(mean)(params))[0]

    rows = (prompts.rollout.rows(slice(x * each, (x + 1) * each)) for x in range(len(value)))
    return np.stack([np.asarray(gradient(params, own, jnp.asarray(w))) for own, w in zip(rows, centred, strict=True)])


def measured_change(
    learner: Learner,
    before: nnx.State,
    after: nnx.State,
    prompts: Prompts,
    value: Float[np.ndarray, "prompts responses"],
) -> Float[np.ndarray, " prompts"]:
    """How far E_x[value] moved from `before`, whose responses these are, to `after`, by their likelihood ratios.

    Far less noise than two samples have whose difference is a small number; for steps that leave the ratios near 1.
    """
    mask = np.asarray(prompts.rollout.mask)
    drift = (learner.logprobs(after, prompts.rollout) - learner.logprobs(before, prompts.rollout)) * mask
    ratio = np.exp(drift.sum(axis=1, dtype=float)).reshape(value.shape)
    return ((ratio - 1) * (value - value.mean(axis=1, keepdims=True))).mean(axis=1)


def predicted_change(
    gradient: Float[np.ndarray, "prompts parameters"], update: Float[np.ndarray, "prompts parameters"], rate: float
) -> Float[np.ndarray, " prompts"]:
    """How far f moves at every prompt in a step of plain SGD over all of them: rate · ⟨∇E_x[f], mean of u⟩."""
    return rate * gradient @ update.mean(axis=0)


def _padded(rollout: Rollout, time: int) -> Rollout:
    """Completions padded on the right to one length."""
    more = time - rollout.mask.shape[1]
    return Rollout(*(np.pad(f, ((0, 0), (0, more))) if np.ndim(f) == 2 else np.asarray(f) for f in rollout))


def mean_update(learner: Learner, params: nnx.State, batches: list[Rollout]) -> Float[np.ndarray, " parameters"]:
    """The step that the learner takes from `params`, each batch apart, averaged over the batches."""
    start = ravel_pytree(params)[0]
    moved = np.zeros(start.shape)
    for batch in batches:
        state = learner.init(jax.tree.map(jnp.copy, params))  # an update donates its buffers
        after, _ = learner.update(state, batch, Evidence(None, None), probe=False)
        moved += np.asarray(ravel_pytree(after.params)[0] - start)
    return moved / len(batches)


def moved_params(params: nnx.State, step: Float[np.ndarray, " parameters"]) -> nnx.State:
    """The parameters after a step."""
    flat, unravel = ravel_pytree(params)
    return unravel(flat + jnp.asarray(step, flat.dtype))


def after_steps(
    learner: Learner, params: nnx.State, steps: int, draw: Callable[[nnx.State, int], Rollout]
) -> nnx.State:
    """The parameters after steps of the learner, each on responses drawn from the policy as it then is."""
    state = learner.init(jax.tree.map(jnp.copy, params))
    for number in range(steps):
        batch = draw(state.params, number)
        state, _ = learner.update(state, batch, Evidence(None, None), step=number, probe=False)
    return state.params
