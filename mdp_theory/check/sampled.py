"""A sampled batch on which losses are differentiated and compared with outcome-weighted supervised fine-tuning.

The gradients come from autodiff of the losses themselves, so they check the closed forms and lean on none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int

from mdp_theory.exact import population
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.counterpart import outcome_credit, supervised_counterpart
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.loss import loss, surrogate
from mdp_theory.methods.objectives import KL, Objective
from mdp_theory.methods.weights import credit_structure_index, passes_clip, token_weights
from mdp_theory.precision import QUICK_COMPILATION, in_float64
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels, Sample, StateLevels
from mdp_theory.problems.turns import own_tokens, speak

Estimator: TypeAlias = Literal["k1", "k2", "k3"]

GROUPS = 8
_WIDTH = 16
"""Probes of all problems share their shape where they can, so that XLA compiles each operation once."""


@dataclass(frozen=True)
class Probe:
    """Sampled groups, and the policies around them.

    Attributes:
        drawn: the responses; prompts take turns.
        group: the group of each response.
        reward: the reward of each response.
        ref_logits: the reference policy of KL terms: the sampling policy plus normal noise of deviation ½ per logit.
        value: V(s) for methods with a critic; that of the sampling policy, unless another is put in its place.
    """

    drawn: Sample
    group: Int[np.ndarray, " batch"]
    reward: Float[np.ndarray, " batch"]
    ref_logits: EdgeLevels
    value: StateLevels


def draw_probe(mdp: TokenMDP, logits: EdgeLevels, *, num_generations: int, seed: int) -> Probe:
    """Sample a probe from the policy.

    Where it can be, the first response of a group is correct and the second is not: each is drawn exactly from the
    policy conditioned on that, so that rare successes do not leave a batch without a gradient.
    """
    rng = np.random.default_rng(seed)
    probability = tree.policy(logits)
    right = population.success(mdp)
    wrong = tree.on_endings(tuple(1 - level for level in right))
    first = np.arange(max(GROUPS, len(mdp.prompts))) % len(mdp.prompts)
    prompt = np.repeat(first, num_generations)
    # On a graph a response needs a second number for each move.
    numbers = mdp.horizon * (2 if mdp.moves is not None else 1)
    drawn = tree.sample(rng.random((len(prompt), numbers)), probability, prompt, moves=mdp.moves)
    for place, event in enumerate((right, wrong)[:num_generations]):
        action, state = tree.expectation(probability, event, moves=mdp.moves)
        rows = np.flatnonzero(mdp.at_start(state)[first] > 0)
        conditioned = tuple(p * q for p, q in zip(probability, action, strict=True))
        forced = tree.sample(rng.random((len(rows), numbers)), conditioned, first[rows], moves=mdp.moves, given=state)
        for whole, part in zip(drawn, forced, strict=True):
            whole[rows * num_generations + place] = part
    ref = speak(mdp, tuple(level + 0.5 * rng.standard_normal(level.shape) for level in logits))
    value = tree.expectation(probability, mdp.earned, moves=mdp.moves)[1]
    # The last token of a transcript may be the environment's: the reward is read before its tokens are masked.
    reward = tree.along(mdp.rewards, drawn).sum(axis=1)
    if mdp.noise:
        reward = reward + mdp.noise * rng.standard_normal(len(reward))
    return Probe(own_tokens(mdp, drawn), np.repeat(np.arange(len(first)), num_generations), reward, ref, value)


def batch(probe: Probe, logits: EdgeLevels, old_logits: EdgeLevels, ref_logits: EdgeLevels | None = None) -> Batch:
    """The probe as objectives see it: sampled from `old_logits`, now at `logits`."""
    policies = (logits, old_logits, probe.ref_logits if ref_logits is None else ref_logits)
    logp, old, ref = (_pad(tree.along(tree.log_policy(x), probe.drawn)) for x in policies)
    value = _pad(tree.along_states(probe.value, probe.drawn))
    fields: list[Any] = [logp, old, ref, _pad(probe.drawn.mask), probe.reward, probe.group, value]
    return Batch(*fields)


@dataclass(frozen=True)
class Comparison:
    """The gradient of a loss against that of its supervised counterpart; None where there is no gradient.

    Attributes:
        gradient, supervised: ascent directions in the logits.
        cosine, relative_error: between the two; the error is relative to the supervised one.
        credit_structure_index: η of the loss's token weights.
        clip_fraction: the share of tokens whose gradient is clipped away.
    """

    gradient: EdgeLevels
    supervised: EdgeLevels
    cosine: float | None
    relative_error: float | None
    credit_structure_index: float
    clip_fraction: float

    def numbers(self) -> dict[str, float | None]:
        """The four scalars, by name."""
        return {
            "credit_structure_index": self.credit_structure_index,
            "cosine": self.cosine,
            "relative_error": self.relative_error,
            "clip_fraction": self.clip_fraction,
        }


def compare(objective: Objective, samples: Batch, drawn: Sample, logits: EdgeLevels) -> Comparison:
    """Differentiate the loss and its supervised counterpart on one batch, at the policy `logits`."""
    actual, supervised, index, clipped = _differentiate(objective, samples)
    left, right = pull_back(actual, drawn, logits), pull_back(supervised, drawn, logits)
    return Comparison(left, right, *similarity(left, right), float(index), float(clipped))


def similarity(left: EdgeLevels, right: EdgeLevels) -> tuple[float | None, float | None]:
    """Cosine of two gradients over all prompts, and the error of the first relative to the second."""
    cross, a, b = (float(tree.inner(x, y).sum()) for x, y in ((left, right), (left, left), (right, right)))
    gap = tuple(x - y for x, y in zip(left, right, strict=True))
    if b == 0:
        return None, None
    return (cross / (a * b) ** 0.5 if a > 0 else None), float((tree.inner(gap, gap).sum() / b) ** 0.5)


def pull_back(weight: Float[np.ndarray, "batch time"], drawn: Sample, logits: EdgeLevels) -> EdgeLevels:
    """Σ_it w_it ∇ log π(a_it): the direction in the logits that token weights stand for."""
    gradient = []
    for depth, chosen in enumerate(tree.policy(logits)):
        level = np.zeros(chosen.shape)
        rows = drawn.mask[:, depth] > 0
        prompt, prefix, w = drawn.prompt[rows], drawn.prefix[rows, depth], weight[rows, depth]
        np.add.at(level, (prompt, prefix, drawn.token[rows, depth]), w)
        np.add.at(level, (prompt, prefix), -w[:, None] * chosen[prompt, prefix])
        gradient.append(level)
    return tuple(gradient)


def inner_step_curve(
    objective: Objective, probe: Probe, logits: EdgeLevels, *, steps: int, learning_rate: float
) -> dict[str, list[Any]]:
    """Reuse one batch for `steps` steps of gradient ascent, and compare before each and after the last.

    Step 0 is on-policy. `kl` is KL(π_old ‖ π) per token, estimated on the batch by k3.
    """
    points: list[dict[str, Any]] = []
    now = logits
    for step in range(steps + 1):
        samples = batch(probe, now, logits)
        found = compare(objective, samples, probe.drawn, now)
        points.append({"step": step, "kl": _mean_kl(samples), **found.numbers()})
        now = tuple(level + learning_rate * slope for level, slope in zip(now, found.gradient, strict=True))
    return _columns(points)


def drift_curve(
    objective: Objective, probe: Probe, logits: EdgeLevels, *, distances: Sequence[float], seed: int
) -> dict[str, list[Any]]:
    """Move every logit by `distance` times one fixed draw of normal noise, and compare there."""
    rng = np.random.default_rng(seed)
    noise = tuple(rng.standard_normal(level.shape) for level in logits)
    points: list[dict[str, Any]] = []
    for distance in distances:
        now = tuple(level + distance * step for level, step in zip(logits, noise, strict=True))
        samples = batch(probe, now, logits)
        found = compare(objective, samples, probe.drawn, now)
        points.append({"distance": distance, "kl": _mean_kl(samples), **found.numbers()})
    return _columns(points)


def penalty_curve(
    objective: Objective, probe: Probe, logits: EdgeLevels, *, estimator: Estimator, betas: Sequence[float]
) -> dict[str, list[Any]]:
    """Add a KL term to the loss with coefficient β and compare, on-policy, with the supervised gradient without it."""
    samples = batch(probe, logits, logits)
    points: list[dict[str, Any]] = []
    for beta in betas:
        penalised = replace(objective, kl=KL(beta=beta, estimator=estimator))
        points.append({"beta": beta, **compare(penalised, samples, probe.drawn, logits).numbers()})
    return _columns(points)


def _columns(points: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [point[name] for point in points] for name in points[0]}


@in_float64
def _differentiate(objective: Objective, samples: Batch) -> tuple[Any, Any, Any, Any]:
    """-d loss / d logp of the objective and of its counterpart, η, and the clipped share."""
    if objective.kl is None:
        return _compiled(objective, samples, 0.0)
    # One compilation serves all coefficients.
    return _compiled(replace(objective, kl=replace(objective.kl, beta=1.0)), samples, objective.kl.beta)


@partial(jax.jit, static_argnums=0, compiler_options=QUICK_COMPILATION)
def _compiled(objective: Objective, samples: Batch, beta: float) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    if objective.kl is not None:
        objective = replace(objective, kl=replace(objective.kl, beta=beta))
    credit = assign_credit(objective, samples)
    spread = outcome_credit(credit, samples.mask)
    counterpart = supervised_counterpart(objective)

    def supervised(logp: jax.Array) -> jax.Array:
        fixed = {"old_logp": samples.old_logp, "ref_logp": samples.ref_logp, "mask": samples.mask}
        return -surrogate(counterpart, spread, logp=logp, **fixed)

    active = passes_clip(objective, credit, logp=samples.logp, old_logp=samples.old_logp, mask=samples.mask)
    return (
        jax.grad(lambda logp: -loss(objective, samples._replace(logp=logp)))(samples.logp),
        jax.grad(supervised)(samples.logp),
        credit_structure_index(token_weights(objective, samples), samples.mask),
        (samples.mask * ~active).sum() / samples.mask.sum(),
    )


def _mean_kl(samples: Batch) -> float:
    log_q = np.where(samples.mask > 0, samples.logp - samples.old_logp, 0.0)
    return float((np.expm1(log_q) - log_q).sum() / samples.mask.sum())


def _pad(rows: Float[np.ndarray, "batch time"]) -> Float[np.ndarray, "batch padded"]:
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % _WIDTH)))
