"""A KL term inside the reward, exactly where advantages are linear in the reward (REINFORCE, RLOO, Dr. GRPO).

The sum of a response's token estimates makes every response an outcome of its own. But where A_i is α (u_i - mean of
the others), or u_i itself, the term's part of the expected gradient needs no more than its expectation: of the
response's own sum, split at a token into what came before, the token and what comes after; and of the others' mean,
jointly with their lengths where the denominator counts tokens.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mdp_theory.exact.rules import Rule, Table, raised
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.objectives import KL, Objective
from mdp_theory.problems import tree
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import own_lengths
from rino_base.messages import InputError


def without_kl(objective: Objective, *, off_policy: bool) -> Objective:
    """The objective with nothing but the outcome in its reward.

    Raises:
        InputError: its advantages are not linear in the reward, so that the two do not come apart.
    """
    rule = objective.advantage
    linear = rule.estimator == "outcome" and rule.outcome == "reward" and rule.scale == "none"
    if not linear or objective.keep != "all":
        raise InputError(
            "a KL term inside the reward makes every response an outcome of its own, and these advantages are not "
            "linear in the reward",
            mend="take reinforce, rloo or dr-grpo, put the KL into the loss, or average over samples",
        )
    if off_policy and objective.surrogate != "log-likelihood":
        raise InputError(
            "off-policy, the sign of an advantage with a KL term inside decides what is clipped",
            mend="stay on-policy, or take a method without a ratio, such as rloo",
        )
    return replace(objective, kl=None)


def credit_of_kl(
    objective: Objective,
    rule: Rule,
    table: Table,
    mdp: TokenMDP,
    *,
    sampled: EdgeLevels,
    log_sampled: EdgeLevels,
    log_ref: EdgeLevels,
    num_generations: int,
    groups: int,
) -> EdgeLevels:
    """What the KL term adds to the expected weight of a token, E[weight | s, a].

    `rule` and `table` are those of the objective without the term; policies have the environment's part in them.
    """
    kl, size = objective.kl, num_generations
    assert isinstance(kl, KL)
    kappa = tuple(kl_estimate(kl.estimator, *pair) for pair in zip(log_sampled, log_ref, strict=True))
    by_length = table.share[:, 0]  # [prompts, lengths]; the same on every level, for all responses are kept
    share = _by_length(mdp, by_length)
    ahead = tree.expectation(sampled, share, moves=mdp.moves)[0]
    own = tree.expectation(sampled, tuple(s * k for s, k in zip(ahead, kappa, strict=True)), moves=mdp.moves)[0]
    reach, before, sums = _sums_so_far(mdp, sampled, kappa)
    past = tuple(np.where(d > 0, m / np.where(d > 0, d, 1.0), 0.0) for d, m in zip(reach, before, strict=True))
    credit = tuple(q + s * p[..., None] for q, s, p in zip(own, ahead, past, strict=True))
    factor = 1.0
    if objective.advantage.baseline != "none":
        factor = 1.0 if objective.advantage.baseline == "leave-one-out" else (size - 1) / size
        others = by_length * sums.sum(axis=1, keepdims=True)
        if len(rule.nodes) > 1:
            others = _others_by_length(rule, mdp, sampled, sums, size, groups)
        mean = tree.expectation(sampled, _by_length(mdp, others), moves=mdp.moves)[0]
        credit = tuple(c - m for c, m in zip(credit, mean, strict=True))
    return tuple(-kl.sign * kl.beta * factor * level for level in credit)


def _by_length(mdp: TokenMDP, table: Float[np.ndarray, "prompts lengths"]) -> EdgeLevels:
    parts = zip(own_lengths(mdp), mdp.rewards, strict=True)
    return tree.on_endings(tuple(table[:, length - 1] + np.zeros(level.shape) for length, level in parts))


def _sums_so_far(
    mdp: TokenMDP, sampled: EdgeLevels, kappa: EdgeLevels
) -> tuple[tuple[np.ndarray, ...], list[np.ndarray], Float[np.ndarray, "prompts lengths"]]:
    """d(s); E[Σ κ before s; s is passed]; and E[Σ κ; length] of whole responses."""
    reach = tree.visits(sampled, moves=mdp.moves)
    before = [np.zeros_like(reach[0])]
    sums = np.zeros((len(mdp.prompts), mdp.horizon))
    for depth, (d, pi, k, length) in enumerate(zip(reach, sampled, kappa, own_lengths(mdp), strict=True)):
        mass = pi * (before[-1][..., None] + d[..., None] * k)
        ends = mass * mdp.ends(depth)
        for x in range(len(sums)):
            where = np.broadcast_to(length - 1, ends[x].shape).ravel()
            sums[x] += np.bincount(where, ends[x].ravel(), minlength=mdp.horizon)
        on = mass[..., :-1]
        before.append(on.reshape(len(on), -1) if mdp.moves is None else mdp.moves.pushed(on))
    return reach, before[:-1], sums


def _others_by_length(
    rule: Rule, mdp: TokenMDP, sampled: EdgeLevels, sums: np.ndarray, size: int, groups: int
) -> Float[np.ndarray, "prompts lengths"]:
    """E[scale · mean of the others' sums], where the denominator counts tokens or the responses of several groups."""
    powers = rule.nodes ** rule.measure[:, None]
    chance = tree.response_probability(sampled, moves=mdp.moves)
    lengths = np.zeros_like(sums)
    for level, length in zip(chance, own_lengths(mdp), strict=True):
        for x in range(len(sums)):
            where = np.broadcast_to(length - 1, level[x].shape).ravel()
            lengths[x] += np.bincount(where, level[x].ravel(), minlength=mdp.horizon)
    one = lengths @ powers
    rest = (mdp.prompt_probability @ raised(one, size)) ** (groups - 1)
    integrate = rule.node_weight[:, None] * (powers / rule.nodes).T * rule.per_token
    return groups * size * ((sums @ powers) * raised(one, size - 2) * rest) @ integrate
