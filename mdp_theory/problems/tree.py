"""Passes over the prefix tree: visit probabilities forward, conditional expectations backward, sampling down a path.

Everything is a reshape and a sum over levels (see `problems.levels`). With `moves` the same passes run over a graph of
states, in which histories that lead to one state are one (`problems.moves`). The functions follow their arguments:
numpy arrays are computed by numpy (float64, nothing to compile), jax arrays and tracers by jax, so that they also
differentiate, jit and vmap.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Float, Int

from mdp_theory.problems.levels import ending_tokens
from mdp_theory.problems.moves import Moves

Array: TypeAlias = Any
"""A numpy or a jax array."""

EdgeLevels: TypeAlias = tuple[Float[Array, "prompts prefixes tokens"], ...]
"""One number for each (prompt, prefix, next token), a level for each depth."""

StateLevels: TypeAlias = tuple[Float[Array, "prompts prefixes"], ...]
"""One number for each (prompt, prefix), a level for each depth."""


class Sample(NamedTuple):
    """Sampled responses, padded to the horizon: `token` and `prefix` are 0 where `mask` is 0.

    `prefix[i, t]` is the number of the prefix at depth t at which token t was chosen.
    """

    prompt: Int[Array, " batch"]
    token: Int[Array, "batch time"]
    prefix: Int[Array, "batch time"]
    mask: Float[Array, "batch time"]


def log_policy(logits: EdgeLevels) -> EdgeLevels:
    """Log-probabilities of the next token."""
    xp = _library(logits)
    shifted = [level - level.max(axis=-1, keepdims=True) for level in logits]
    return tuple(level - xp.log(xp.exp(level).sum(axis=-1, keepdims=True)) for level in shifted)


def policy(logits: EdgeLevels) -> EdgeLevels:
    """Probabilities of the next token."""
    xp = _library(logits)
    odds = [xp.exp(level - level.max(axis=-1, keepdims=True)) for level in logits]
    return tuple(level / level.sum(axis=-1, keepdims=True) for level in odds)


def visits(probability: EdgeLevels, *, moves: Moves | None = None) -> StateLevels:
    """d(s), the probability that a response passes through each prefix, given its prompt."""
    xp = _library(probability)
    levels = [xp.ones_like(probability[0][..., 0]) if moves is None else moves.first(probability[0])]
    for chosen in probability[:-1]:
        on = levels[-1][..., None] * chosen[..., :-1]
        levels.append(on.reshape(on.shape[0], -1) if moves is None else moves.pushed(on))
    return tuple(levels)


def response_probability(probability: EdgeLevels, *, moves: Moves | None = None) -> EdgeLevels:
    """P(y | x) on the edges that end a response, 0 elsewhere; on a graph, of all the responses that end there."""
    reach = visits(probability, moves=moves)
    chosen = tuple(d[..., None] * p for d, p in zip(reach, probability, strict=True))
    return on_endings(chosen)


def on_endings(levels: EdgeLevels) -> EdgeLevels:
    """The same levels with zeros on the edges where a response goes on."""
    return tuple(on_ending(levels, depth) for depth in range(len(levels)))


def on_ending(levels: EdgeLevels, depth: int) -> Float[Array, "prompts prefixes tokens"]:
    """One of these levels."""
    return levels[depth] * ending_tokens(depth, len(levels), levels[depth].shape[-1])


def expectation(
    probability: EdgeLevels, reward: EdgeLevels, *, discount: float = 1.0, moves: Moves | None = None
) -> tuple[EdgeLevels, StateLevels]:
    """Q(s, a) and V(s) of rewards on edges. With zeros before the end, Q is E[f(y) | s, a] of the complete response."""
    xp = _library(probability)
    action: list[Array] = list(reward)
    state: list[Array] = [None] * len(reward)
    for depth in reversed(range(len(reward))):
        if depth + 1 < len(reward):
            later = discount * children(state[depth + 1], reward[depth], moves)
            action[depth] = xp.concatenate([reward[depth][..., :-1] + later, reward[depth][..., -1:]], axis=-1)
        state[depth] = (probability[depth] * action[depth]).sum(axis=-1)
    return tuple(action), tuple(state)


def returns(reward: EdgeLevels, *, discount: float = 1.0) -> EdgeLevels:
    """Σ_t γ^t r_t of each complete response, from rewards on edges; 0 where a response goes on."""
    before = _library(reward).zeros_like(reward[0][..., 0])
    levels = []
    for depth, level in enumerate(reward):
        total = before[..., None] + discount**depth * level
        levels.append(total)
        before = total[..., :-1].reshape(total.shape[0], -1)
    return on_endings(tuple(levels))


def generalised_advantage(
    probability: EdgeLevels,
    reward: EdgeLevels,
    share: EdgeLevels,
    value: StateLevels,
    *,
    decay: float,
    discount: float,
    speaks: Sequence[Array] | None = None,
    moves: Moves | None = None,
) -> EdgeLevels:
    """E[f(y) Σ_l (γλ)^l δ_{t+l} | s, a] with δ = r + γ V' - V: what a critic's `value` credits to a token.

    `reward` holds the rewards on edges, `share` the factor E[f(y) | s, a], and `decay` is λ (1506.02438 eq. 16).
    Where an environment `speaks`, no time passes for the critic: the next state is the learner's next one.
    """
    xp = _library(probability)
    credit: list[Array] = [None] * len(reward)
    said: Array = None  # E[f(y) · what the learner's next state is worth], where the environment is to speak
    after: Array = None  # E[f(y) · the credit of all that follows]
    for depth in reversed(range(len(reward))):
        target = share[depth] * reward[depth]
        later = xp.zeros_like(target)
        if depth + 1 < len(reward):
            stop = xp.zeros_like(target[..., -1:])
            later = xp.concatenate([children(after, target, moves), stop], axis=-1)
            promised = discount * share[depth][..., :-1] * children(value[depth + 1], target, moves)
            if speaks is not None:
                spoken = children(speaks[depth + 1].T, target[:1], None)
                promised = xp.where(spoken, children(said, target, None), promised)
            target = target + xp.concatenate([promised, stop], axis=-1)
        credit[depth] = target - share[depth] * value[depth][..., None] + discount * decay * later
        after = (probability[depth] * credit[depth]).sum(axis=-1)
        if speaks is not None:
            said = (probability[depth] * target).sum(axis=-1)
            after = xp.where(speaks[depth][:, 0], (probability[depth] * later).sum(axis=-1), after)
    return tuple(credit)


def logit_gradient(
    probability: EdgeLevels, weight: EdgeLevels, *, current: EdgeLevels | None = None, moves: Moves | None = None
) -> EdgeLevels:
    """Gradient in the logits of E Σ_t u(s_t, a_t) log π(a_t | s_t), the weights `u` held fixed; given the prompt.

    With u = Q(s, a) this is the policy gradient d(s) π(a|s) (Q - V). `probability` is the policy that samples,
    `current` the policy π that is differentiated, by default the same.
    """
    gradient = []
    now = probability if current is None else current
    for reach, chosen, pi, u in zip(visits(probability, moves=moves), probability, now, weight, strict=True):
        pull = chosen * u
        gradient.append(reach[..., None] * (pull - pi * pull.sum(axis=-1, keepdims=True)))
    return tuple(gradient)


def sample(
    uniform: Float[Array, "batch numbers"],
    probability: EdgeLevels,
    prompt: Int[Array, " batch"],
    *,
    moves: Moves | None = None,
    given: StateLevels | None = None,
) -> Sample:
    """Draw one response to each prompt index in `prompt`, by inverting the distribution of each next token.

    `uniform` holds independent numbers from [0, 1): one for each token that may be needed, and then one for each move,
    where states follow at random. `given` draws moves from their law given an event of that probability from a state.
    """
    xp = _library(probability)
    num_tokens = probability[0].shape[-1]
    prefix = xp.zeros_like(prompt) if moves is None else xp.asarray(moves.start)[prompt]
    alive = xp.ones_like(prompt, dtype=bool)
    columns = []
    for depth, chosen in enumerate(probability):
        cumulative = xp.cumsum(chosen[prompt, prefix], axis=-1)
        # Scaled by the last entry, which rounding leaves near 1: no token of probability 0 is ever drawn.
        token = (cumulative <= (uniform[:, depth] * cumulative[:, -1])[:, None]).sum(axis=-1)
        columns.append((xp.where(alive, token, 0), xp.where(alive, prefix, 0), alive))
        alive = alive & (token < num_tokens - 1)
        if moves is None:
            prefix = xp.where(alive, prefix * (num_tokens - 1) + token, 0)
        elif depth + 1 < len(probability):
            after = None if given is None else given[depth + 1]
            number = uniform[:, len(probability) + depth] if moves.to.shape[2] > 1 else uniform[:, depth]
            prefix = xp.where(alive, _next_state(moves, prompt, prefix, xp.where(alive, token, 0), number, after), 0)
    token, path, mask = (xp.stack(column, axis=1) for column in zip(*columns, strict=True))
    return Sample(prompt, token, path, mask.astype(probability[0].dtype))


def along(levels: EdgeLevels, drawn: Sample) -> Float[Array, "batch time"]:
    """The entries of edge levels at the tokens of sampled responses, 0 on padding."""
    xp = _library(levels)
    picked = [level[drawn.prompt, drawn.prefix[:, t], drawn.token[:, t]] for t, level in enumerate(levels)]
    return xp.where(drawn.mask > 0, xp.stack(picked, axis=1), 0.0)


def along_states(levels: StateLevels, drawn: Sample) -> Float[Array, "batch time"]:
    """The entries of state levels at the prefixes that sampled responses pass, 0 on padding."""
    xp = _library(levels)
    picked = [level[drawn.prompt, drawn.prefix[:, t]] for t, level in enumerate(levels)]
    return xp.where(drawn.mask > 0, xp.stack(picked, axis=1), 0.0)


def inner(left: Sequence[Array], right: Sequence[Array]) -> Array:
    """The inner product of two arrays over the tree, for each prompt."""
    return sum((a * b).reshape(a.shape[0], -1).sum(axis=1) for a, b in zip(left, right, strict=True))


def _next_state(moves: Moves, prompt: Array, state: Array, token: Array, uniform: Array, given: Array | None) -> Array:
    xp = state.__array_namespace__()
    to, chance = xp.asarray(moves.to)[state, token], xp.asarray(moves.chance)[state, token]
    if given is not None:
        chance = chance * given[prompt[:, None], to]
    cumulative = xp.cumsum(chance, axis=-1)
    branch = (cumulative <= (uniform * cumulative[:, -1])[:, None]).sum(axis=-1)
    return xp.take_along_axis(to, xp.clip(branch, 0, to.shape[1] - 1)[:, None], axis=1)[:, 0]


def children(state: Array, action: Array, moves: Moves | None) -> Array:
    """Values of the prefixes one token longer, as `[prompts, prefixes, M]`."""
    if moves is not None:
        return moves.after(state)
    return state.reshape(*action.shape[:2], action.shape[2] - 1)


def _library(levels: Sequence[Array]) -> Any:
    return levels[0].__array_namespace__()
