"""How far a problem is from a bandit over whole responses: its structure, and its value and gradient seen both ways.

The structure is histories for each state, rewards before the end, and randomness; theorems T1 and T2 say what follows.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from mdp_theory.problems import graph, tree
from mdp_theory.problems.checks import count_in_words
from mdp_theory.problems.controls import Control, closed_loop_values, few_plans, open_loop_values, unroll
from mdp_theory.problems.levels import flatten
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from mdp_theory.problems.turns import best_plan, best_policy, learned, own_lengths, own_positions, speak


def assumptions(problem: TokenMDP | Control) -> dict[str, dict[str, Any]]:
    """Which assumptions of the degeneracy claim hold for a problem, and on what evidence."""
    if isinstance(problem, TokenMDP):
        histories = states = problem.num_prefixes
        if problem.moves is not None:
            histories = len(problem.prompts) * sum(problem.continuing**depth for depth in range(problem.horizon))
            states = sum(int(met.sum()) for met in problem.met)
        inside = max(float(np.abs(r[..., ~problem.ends(d)]).max(initial=0.0)) for d, r in enumerate(problem.earned))
        discount, chance = 1.0, 1.0 if problem.environment is None else problem.environment.least_certain
        if problem.moves is not None:
            chance = float(problem.moves.chance.max(axis=2).min())
    else:
        reached = problem.reachable()
        states = int(reached.sum())
        m = len(problem.vocabulary) - 1
        histories = len(problem.prompts) * sum(m**depth for depth in range(problem.horizon))
        on_the_way = np.abs(problem.reward[:-1, :, :-1]) * reached[:-1, :, None]
        inside = float(on_the_way.max(initial=0.0))
        discount, chance = problem.discount, float(problem.transition.max(axis=2).min())
    told = count_in_words(histories) if histories > 10**9 else histories
    return {
        "A1_states_are_histories": {
            "holds": states >= histories,
            "evidence": f"{told} histories of tokens lead to {states} (time, state) pairs",
        },
        "A2_terminal_reward": {"holds": inside == 0, "evidence": f"largest reward before the end: {inside:g}"},
        "undiscounted": {"holds": discount == 1, "evidence": f"discount {discount:g}"},
        "deterministic": {
            "holds": chance == 1,
            "evidence": f"the likeliest next state has probability {chance:g} or more",
        },
    }


def bandit_reduction(problem: TokenMDP | Control, logits: EdgeLevels | None) -> dict[str, Any]:
    """A problem as a sequence of choices and as a bandit whose arms are whole responses (theorems T1, T2).

    `logits` are a policy on the tree or on the graph; without, there are the optimal values alone, of the best response
    (open loop) and of the best policy (closed loop).
    """
    if isinstance(problem, TokenMDP) and problem.moves is not None:
        return _on_graph(problem, logits)
    if isinstance(problem, TokenMDP):
        views = {} if logits is None else _two_views(problem, problem.earned, 1.0, speak(problem, logits))
        closed, opened = best_policy(problem), best_plan(problem)
        return views | {"closed_loop_value": closed.tolist(), "open_loop_value": opened.tolist()}
    if not graph.unrolls(problem):
        found = _on_graph(graph.from_control(problem), logits)
        if problem.deterministic or not few_plans(problem):
            return found
        return found | {"open_loop_value": open_loop_values(problem).tolist()}
    views = {}
    if logits is not None:
        unrolled = unroll(problem)
        views = _two_views(unrolled.mdp, unrolled.step_reward, problem.discount, logits)
    closed, opened = closed_loop_values(problem), open_loop_values(problem)
    return views | {"closed_loop_value": closed.tolist(), "open_loop_value": opened.tolist()}


def _on_graph(mdp: TokenMDP, logits: EdgeLevels | None) -> dict[str, Any]:
    """What can be said without listing responses: `value_bandit` adds up where they end, and not what states promise.

    `None` stands for what would need the list, or for the best fixed response where states follow at random.
    """
    found: dict[str, Any] = {"closed_loop_value": graph.best_value(mdp).tolist()}
    opened = graph.best_response_value(mdp).tolist() if graph.random_moves(mdp) is None else [None] * len(mdp.prompts)
    found["open_loop_value"] = opened
    if logits is None:
        return found
    probability = tree.policy(logits)
    chance = tree.response_probability(probability, moves=mdp.moves)
    action, state = tree.expectation(probability, mdp.rewards, moves=mdp.moves)
    ascent = tree.logit_gradient(probability, action, moves=mdp.moves)
    return found | {
        "value_sequential": mdp.at_start(state).tolist(),
        "value_bandit": sum((c * r).sum(axis=(1, 2)) for c, r in zip(chance, mdp.rewards, strict=True)).tolist(),
        "gradient_relative_error": None,
        "return_to_go_gap": None,
        "reward_to_go_split_error": _relative(_split_to_go(mdp, probability, mdp.rewards), ascent).tolist(),
    }


def _two_views(mdp: TokenMDP, step_reward: EdgeLevels, discount: float, logits: EdgeLevels) -> dict[str, Any]:
    probability = tree.policy(logits)
    chance = tree.response_probability(probability)
    total = tree.returns(step_reward, discount=discount)
    arms = tuple(c * r for c, r in zip(chance, total, strict=True))
    as_bandit = learned(mdp, _score_sum(probability, arms))
    action, state = tree.expectation(probability, step_reward, discount=discount)
    to_go = learned(mdp, tree.logit_gradient(probability, action))
    return {
        "value_sequential": state[0][:, 0].tolist(),
        "value_bandit": flatten(arms).sum(axis=1).tolist(),
        "gradient_relative_error": _relative(to_go, as_bandit).tolist(),
        "return_to_go_gap": _return_to_go_gap(step_reward, total, discount),
        "reward_to_go_split_error": _relative(_split_to_go(mdp, probability, total), as_bandit).tolist(),
    }


def _split_to_go(mdp: TokenMDP, probability: EdgeLevels, total: EdgeLevels) -> EdgeLevels:
    """The gradient when each token gets r / L and is credited with what is still to come: (L - t) / L of the reward."""
    share = tuple(level / length for level, length in zip(total, own_lengths(mdp), strict=True))
    whole, part = (tree.expectation(probability, level, moves=mdp.moves)[0] for level in (total, share))
    left = tuple(q - t * s for t, q, s in zip(own_positions(mdp), whole, part, strict=True))
    return learned(mdp, tree.logit_gradient(probability, left, moves=mdp.moves))


def _score_sum(probability: EdgeLevels, arms: EdgeLevels) -> EdgeLevels:
    """Σ_y f(y) ∇ log π(y) by adding up the responses below every edge: whole responses, no values of states."""
    below: list[Any] = list(arms)
    for depth in reversed(range(len(arms) - 1)):
        inside = below[depth + 1].sum(axis=-1).reshape(*below[depth].shape[:2], -1)
        below[depth] = np.concatenate([inside, below[depth][..., -1:]], axis=-1)
    return tuple(b - p * b.sum(axis=-1, keepdims=True) for b, p in zip(below, probability, strict=True))


def _return_to_go_gap(step_reward: EdgeLevels, total: EdgeLevels, discount: float) -> float:
    """The largest |return-to-go - return of the response| over responses and tokens, relative to the largest return."""
    gap, largest = 0.0, max(float(np.abs(level).max()) for level in total)
    to_go: list[Any] = []  # for each response that has passed: its return-to-go at this depth, and its return
    for depth in reversed(range(len(total))):
        level = step_reward[depth]
        prompts, prefixes, tokens = level.shape
        own = slice(None) if depth + 1 == len(total) else slice(-1, None)
        here = [(level[..., own], total[depth][..., own])]
        for later, whole in to_go:
            grouped = later.reshape(prompts, prefixes, tokens - 1, -1)
            now = level[..., :-1, None] + discount * grouped
            here.append((now.reshape(prompts, prefixes, -1), whole.reshape(prompts, prefixes, -1)))
        gap = max([gap, *(float(np.abs(now - whole).max()) for now, whole in here)])
        to_go = here
    return gap / max(largest, 1.0)


def _relative(left: EdgeLevels, right: EdgeLevels) -> Float[np.ndarray, " prompts"]:
    gap = tuple(a - b for a, b in zip(left, right, strict=True))
    norm = tree.inner(right, right)
    return np.sqrt(np.where(norm > 0, tree.inner(gap, gap) / np.where(norm > 0, norm, 1.0), 0.0))
