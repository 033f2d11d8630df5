"""Levels: one array for each depth of the prefix tree, how many they are, and where a response stands in them.

The prefix tree is complete, so it needs no pointers. The end token is the last column, and M = N - 1 other tokens
remain. Depth d = 0 ... H-1 holds M**d prefixes for each prompt; prefix j followed by token a < M is prefix j*M + a at
depth d + 1; at depth H - 1 every token ends the response. An array over tree edges is therefore a tuple of *levels*,
one `[prompts, M**d, N]` array a depth, and a pass over the tree is a reshape and a sum.

A response is an edge that ends: column N - 1 at every depth, and every column at depth H - 1. Its length counts the
end token, so all responses that end at depth d have length d + 1. Responses are numbered by depth, then prefix, then
token; `flatten` gives this order.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from mdp_theory.problems.checks import check_vocabulary, count_in_words
from rino_base.messages import InputError

Levels: TypeAlias = tuple[Float[np.ndarray, "prompts prefixes tokens"], ...]
"""One array over (prompt, prefix, next token) for each depth."""

MAX_RESPONSES = 20_000_000
"""Responses (over all prompts) that fit comfortably: a pass keeps a few float64 arrays of about this many numbers."""

MAX_HORIZON = 512
"""The passes unroll the depths, so that each level has its own shape."""


def ending_tokens(depth: int, horizon: int, num_tokens: int) -> np.ndarray:
    """`[tokens]` bool: the end token, and every token at the last depth."""
    return np.arange(num_tokens) >= (0 if depth == horizon - 1 else num_tokens - 1)


def count_responses(num_tokens: int, horizon: int) -> int:
    """Responses to one prompt: one for each prefix shorter than the horizon allows, and N at the last depth."""
    m = num_tokens - 1
    shorter = horizon - 1 if m == 1 else (m ** (horizon - 1) - 1) // (m - 1)
    return shorter + m ** (horizon - 1) * num_tokens


def empty_levels(num_prompts: int, num_tokens: int, horizon: int, *, max_responses: int, name: str) -> Levels:
    """Zeros for every edge of the tree; raises `InputError` with the count and the limit before allocating."""
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= MAX_HORIZON:
        raise InputError(
            f"{name}: the horizon is {horizon!r}, the rule is a whole number from 1 to {MAX_HORIZON}",
            mend="the horizon is the largest number of tokens in a response, the end token included",
        )
    count = num_prompts * count_responses(num_tokens, horizon)
    if count > max_responses:
        raise InputError(
            f"{name}: {num_prompts} prompts x {num_tokens} tokens x horizon {horizon} make {count_in_words(count)} "
            f"responses, the limit is {max_responses:,}",
            mend="lower the horizon, the vocabulary or the number of prompts",
        )
    return tuple(np.zeros((num_prompts, (num_tokens - 1) ** depth, num_tokens)) for depth in range(horizon))


def flatten(levels: Levels) -> Float[np.ndarray, "prompts responses"]:
    """The entries of all complete responses, in the order of `TokenMDP.responses`."""
    prompts, _, num_tokens = levels[0].shape
    parts = [
        level[..., ending_tokens(depth, len(levels), num_tokens)].reshape(prompts, -1)
        for depth, level in enumerate(levels)
    ]
    return np.concatenate(parts, axis=1)


def normalised(vocabulary: Sequence[str], eos: str) -> tuple[str, ...]:
    """The vocabulary with the end token moved to the last place."""
    check_vocabulary(vocabulary, eos)
    return (*(token for token in vocabulary if token != eos), eos)


def probabilities(prompts: Sequence[str], given: Mapping[str, float] | None) -> Float[np.ndarray, " prompts"]:
    """As given, or all alike."""
    if given is None:
        return np.full(len(prompts), 1 / max(len(prompts), 1))
    return np.array([given[prompt] for prompt in prompts], dtype=np.float64)


def locate(response: str, tokens: tuple[str, ...], horizon: int, *, where: str) -> tuple[int, int, int]:
    """(depth, prefix, token) of a complete response written out."""
    words = response.split()
    eos, m = tokens[-1], len(tokens) - 1
    for word in words:
        if word not in tokens:
            close = get_close_matches(word, tokens, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(
                f"{where}: the response {response!r} has the unknown token {word!r}",
                mend=f"{hint}the vocabulary is {' '.join(tokens)}",
            )
    if eos in words[:-1]:
        raise InputError(f"{where}: the response {response!r} goes on after {eos}", mend=f"end it at the first {eos}")
    if len(words) > horizon:
        raise InputError(
            f"{where}: the response {response!r} has {len(words)} tokens, the horizon is {horizon}",
            mend="shorten it or raise the horizon (the end token counts)",
        )
    if not words or (words[-1] != eos and len(words) < horizon):
        raise InputError(
            f"{where}: the response {response!r} has not ended: {len(words)} tokens, no {eos}, horizon {horizon}",
            mend=f"add {eos}, or write all {horizon} tokens",
        )
    prefix = 0
    for word in words[:-1]:
        prefix = prefix * m + tokens.index(word)
    return len(words) - 1, prefix, tokens.index(words[-1])
