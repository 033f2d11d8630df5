"""Whole training runs on a token MDP: with exact expected gradients, and with sampled groups over many seeds.

A run is one `lax.scan`. Exact runs are data (a rule, a learning rate, how often samples are refreshed), so that methods
and settings share one compilation under `vmap`; sampled runs differentiate the loss itself and take seeds by `vmap`.

Refreshing the sampling policy every n steps covers it all: n = 1 is on-policy, a small n is several inner steps on the
same samples, a large one is stale data, and never is supervised fine-tuning on a fixed data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from mdp_theory.exact.critics import Critic
from mdp_theory.exact.optimisers import SGD, Optimiser
from mdp_theory.exact.policy import Policy, TabularPolicy
from mdp_theory.exact.population import check_ratio, outcome_joint, rule_gradient
from mdp_theory.exact.rules import rule_of, stack
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.loss import loss
from mdp_theory.methods.objectives import Objective
from mdp_theory.precision import in_float64
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import Array, EdgeLevels, Sample
from mdp_theory.problems.turns import learned, own_tokens, speak
from rino_base.messages import InputError


class Metrics(NamedTuple):
    """Exact properties of the policy before each step and after the last, averaged over prompts.

    Lengths count the end token; the length of correct (wrong) responses is 0 where there are none. `entropy` is that of
    the whole response, in nats.
    """

    success: Float[Array, "*runs points"]
    entropy: Float[Array, "*runs points"]
    length: Float[Array, "*runs points"]
    length_correct: Float[Array, "*runs points"]
    length_wrong: Float[Array, "*runs points"]


@dataclass(frozen=True)
class Run:
    """One run: the objective, its learning rate, the steps between two refreshments of the samples, the optimiser."""

    objective: Objective
    learning_rate: float
    refresh_every: int = 1
    optimiser: Optimiser = SGD


def measure(mdp: TokenMDP, logits: EdgeLevels, threshold: float = 1.0) -> Metrics:
    """The metrics of one policy."""
    xp = logits[0].__array_namespace__()
    logits = speak(mdp, logits)
    probability, log_pi = tree.policy(logits), tree.log_policy(logits)
    joint = mdp.prompt_probability @ outcome_joint(mdp, probability).reshape(len(mdp.prompts), -1)
    joint = joint.reshape(len(mdp.reward_levels), mdp.horizon)
    right = mdp.reward_levels >= threshold
    lengths = np.arange(1.0, mdp.horizon + 1)

    def mean_length(chance: Array) -> Array:
        mass = chance.sum()
        return xp.where(mass > 0, (chance @ lengths) / xp.where(mass > 0, mass, 1.0), 0.0)

    surprise = tuple(-pi * xp.where(pi > 0, log, 0.0) for pi, log in zip(probability, log_pi, strict=True))
    local = [level.sum(axis=-1) for level in learned(mdp, surprise)]
    entropy = mdp.prompt_probability @ tree.inner(tree.visits(probability, moves=mdp.moves), local)
    correct, wrong = joint[right].sum(axis=0), joint[~right].sum(axis=0)
    return Metrics(correct.sum(), entropy, mean_length(joint.sum(axis=0)), mean_length(correct), mean_length(wrong))


@in_float64
def exact_runs(
    runs: Sequence[Run], mdp: TokenMDP, logits: EdgeLevels, *, steps: int, num_generations: int
) -> tuple[Metrics, EdgeLevels]:
    """Training of tabular logits with the exact expected gradient; runs with one optimiser share a compiled program.

    Returns the metrics, `[runs, steps + 1]`, and the final logits with a leading axis of runs. Raises `InputError` for
    a method with a critic, whose expected gradient off-policy is not known in closed form.
    """
    _check(runs, mdp)
    places: dict[Optimiser, list[int]] = {}
    for place, run in enumerate(runs):
        places.setdefault(run.optimiser, []).append(place)
    found = [
        _alike(optimiser, [runs[i] for i in own], mdp, logits, steps=steps, num_generations=num_generations)
        for optimiser, own in places.items()
    ]
    order = np.argsort(np.concatenate([np.array(own) for own in places.values()]))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[order], *found)


def _alike(
    optimiser: Optimiser, runs: Sequence[Run], mdp: TokenMDP, logits: EdgeLevels, *, steps: int, num_generations: int
) -> tuple[Metrics, EdgeLevels]:
    """Runs with one optimiser, in one program."""
    rules = stack(
        [
            rule_of(
                run.objective,
                mdp.reward_levels,
                mdp.horizon,
                num_generations=num_generations,
                quadrature=True,
                apart=run.refresh_every > 1,
            )
            for run in runs
        ]
    )
    rate, refresh = np.array([float(run.learning_rate) for run in runs]), np.array([run.refresh_every for run in runs])
    start = tuple(jnp.asarray(level) for level in logits)
    chance = mdp.prompt_probability[:, None, None]
    off_policy = bool((refresh > 1).any())
    reference = start if any(run.objective.kl is not None for run in runs) else None

    @partial(jax.vmap, in_axes=(0, 0, 0))
    def train(rule: Any, rate: Array, refresh: Array) -> tuple[Metrics, EdgeLevels]:
        transformation = optimiser.transformation(rate)

        def step(carry: tuple[EdgeLevels, EdgeLevels, Any], number: Array) -> tuple[Any, Metrics]:
            now, old, moments = carry
            fresh = number % refresh == 0
            old = tuple(jnp.where(fresh, a, b) for a, b in zip(now, old, strict=True))
            slope = rule_gradient(
                rule,
                mdp,
                now,
                num_generations=num_generations,
                old_logits=old if off_policy else None,
                ref_logits=reference,
            )
            # Optimisers descend.
            update, moments = transformation.update(tuple(-chance * part for part in slope), moments, now)
            return (optax.apply_updates(now, update), old, moments), measure(mdp, now)

        carry = (start, start, transformation.init(start))
        (last, _, _), found = jax.lax.scan(step, carry, jnp.arange(steps))
        end = measure(mdp, last)
        return Metrics(*(jnp.append(a, b) for a, b in zip(found, end, strict=True))), last

    return jax.jit(train)(rules, jnp.asarray(rate), jnp.asarray(refresh))


def exact_run(
    run: Run, mdp: TokenMDP, logits: EdgeLevels, *, steps: int, num_generations: int
) -> tuple[Metrics, EdgeLevels]:
    """One of `exact_runs`, step by step in numpy: nothing to compile, so the better choice for a few hundred steps.

    An optimiser with a state of its own is compiled all the same.
    """
    _check([run], mdp)
    if not run.optimiser.plain:
        found, last = exact_runs([run], mdp, logits, steps=steps, num_generations=num_generations)
        return Metrics(*(column[0] for column in found)), tuple(level[0] for level in last)
    options: dict[str, Any] = {"num_generations": num_generations, "apart": run.refresh_every > 1}
    rule = rule_of(run.objective, mdp.reward_levels, mdp.horizon, **options)
    rate = run.learning_rate * mdp.prompt_probability[:, None, None]
    reference = logits if run.objective.kl is not None else None
    now, old, points = logits, logits, [measure(mdp, logits)]
    for step in range(steps):
        old = now if step % run.refresh_every == 0 else old
        slope = rule_gradient(
            rule,
            mdp,
            now,
            num_generations=num_generations,
            old_logits=None if old is now else old,
            ref_logits=reference,
        )
        now = tuple(level + rate * part for level, part in zip(now, slope, strict=True))
        points.append(measure(mdp, now))
    return Metrics(*(np.array(column) for column in zip(*points, strict=True))), now


@in_float64
def sampled_runs(
    run: Run,
    mdp: TokenMDP,
    *,
    steps: int,
    num_generations: int,
    groups: int,
    seeds: Sequence[int],
    policy: Policy | None = None,
    params: Any = None,
    critic: Critic | None = None,
) -> Metrics:
    """Training on sampled groups, one run a seed; the metrics `[seeds, steps + 1]` are exact.

    `policy` is tabular by default and starts at `params`, by default uniform over tokens. Prompts are drawn from their
    probabilities. A method with the `gae` estimator needs a critic.
    """
    mdp.refuse_noise("training")
    mdp.refuse_graph("sampled training")
    policy = TabularPolicy() if policy is None else policy
    start = jax.tree.map(jnp.asarray, policy.init(mdp, None) if params is None else params)
    reference = tree.log_policy(speak(mdp, policy.logits(start, mdp)))
    rewards = tuple(jnp.asarray(level) for level in mdp.rewards)
    group = jnp.repeat(jnp.arange(groups), num_generations)
    states = None if critic is None else tuple(jnp.asarray(level) for level in critic.state)
    transformation = run.optimiser.transformation(run.learning_rate)

    def draw(key: Array, now: Any) -> tuple[Sample, Array, Array]:
        return _draw(key, mdp, speak(mdp, policy.logits(now, mdp)), rewards, groups, num_generations)

    @jax.vmap
    def train(key: Array) -> Metrics:
        def step(carry: tuple[Any, Any, Array, Any], inputs: tuple[Array, Array]) -> tuple[Any, Metrics]:
            now, held, table, moments = carry
            number, step_key = inputs
            fresh = number % run.refresh_every == 0
            drawn, old, reward = jax.tree.map(lambda a, b: jnp.where(fresh, a, b), draw(step_key, now), held)
            visited = None if states is None else tree.along_states(states, drawn).astype(jnp.int32)
            value = None if visited is None else table[visited]
            ref = tree.along(reference, drawn)

            def objective_of(q: Any) -> Array:
                logp = tree.along(tree.log_policy(speak(mdp, policy.logits(q, mdp))), drawn)
                return loss(run.objective, Batch(logp, old, ref, drawn.mask, reward, group, value))

            slope = jax.grad(objective_of)(now)
            update, moments = transformation.update(slope, moments, now)
            moved = optax.apply_updates(now, update)
            if critic is not None and visited is not None:
                table = _learn(table, visited, drawn.mask, reward, critic.learning_rate)
            return (moved, (drawn, old, reward), table, moments), measure(mdp, policy.logits(now, mdp))

        table = jnp.zeros(1 if critic is None else critic.size)
        keys = jax.random.split(key, steps)
        # The first step draws samples of its own; these only have their shape.
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(draw, keys[0], start))
        carry = (start, nothing, table, transformation.init(start))
        (last, *_), found = jax.lax.scan(step, carry, (jnp.arange(steps), keys))
        end = measure(mdp, policy.logits(last, mdp))
        return Metrics(*(jnp.append(a, b) for a, b in zip(found, end, strict=True)))

    return jax.jit(train)(jnp.stack([jax.random.key(seed) for seed in seeds]))


def _draw(
    key: Array, mdp: TokenMDP, logits: Any, rewards: Any, groups: int, num_generations: int
) -> tuple[Sample, Array, Array]:
    """Groups of responses to random prompts, the log-probabilities of their tokens, and their rewards."""
    # One call for all randomness of a step: XLA takes longer to compile a generator than all the rest.
    uniform = jax.random.uniform(key, (groups, 1 + num_generations * mdp.horizon), dtype=jnp.float64)
    prompt = (uniform[:, :1] >= np.cumsum(mdp.prompt_probability)[:-1]).sum(axis=1)
    tokens = uniform[:, 1:].reshape(groups * num_generations, mdp.horizon)
    drawn = tree.sample(tokens, tree.policy(logits), jnp.repeat(prompt, num_generations))
    # The last token of a transcript may be the environment's: the reward is read before its tokens are masked.
    reward, drawn = tree.along(rewards, drawn).sum(axis=1), own_tokens(mdp, drawn)
    return drawn, tree.along(tree.log_policy(logits), drawn), reward


def _check(runs: Sequence[Run], mdp: TokenMDP) -> None:
    mdp.refuse_noise("training")
    for run in runs:
        if run.refresh_every > 1:
            check_ratio(run.objective, mdp)
    if any(run.objective.advantage.estimator != "outcome" for run in runs):
        raise InputError("a method with a critic has no exact run", mend="use sampled_runs")


def _learn(table: Array, visited: Array, mask: Array, reward: Array, rate: float) -> Array:
    """Move the value of each visited state towards the mean reward of the responses that passed it."""
    flat, weight = visited.ravel(), mask.ravel()
    count = jnp.zeros_like(table).at[flat].add(weight)
    total = jnp.zeros_like(table).at[flat].add(weight * jnp.repeat(reward, mask.shape[1]))
    return jnp.where(count > 0, table + rate * (total / jnp.maximum(count, 1.0) - table), table)
