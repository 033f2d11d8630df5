"""Problems in which the environment speaks: after certain tokens it appends tokens of its own, drawn at random.

On the prefix tree an environment is a policy that does not learn. Where it speaks, its distribution of the next token
stands in the place of the learner's, no gradient flows, and the token counts towards the horizon but not towards the
length of the response, which is that of the learner's mask. So every pass over the tree stays what it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from rino_base.messages import InputError

Says = Mapping[str, Sequence[tuple[Sequence[str], float]]]
"""What is appended after a token of the learner: utterances (tokens) with their probabilities."""

_NEVER = -1e9  # The logit of a token that is never said: finite, so that 0 · log 0 is 0.


@dataclass(frozen=True)
class Environment:
    """Who speaks where, as a finite automaton that reads the transcript: state 0 is the learner's turn.

    Attributes:
        chance: the distribution of the next token in each state; row 0 is not used.
        follow: the state after each token that goes on.
        horizon: tokens of a transcript.
    """

    chance: Float[np.ndarray, "states tokens"]
    follow: Int[np.ndarray, "states continuing"]
    horizon: int

    @cached_property
    def state(self) -> tuple[Int[np.ndarray, " prefixes"], ...]:
        """The state of the automaton at every prefix."""
        levels = [np.zeros(1, dtype=np.int64)]
        for _ in range(self.horizon - 1):
            levels.append(self.follow[levels[-1]].reshape(-1))
        return tuple(levels)

    @cached_property
    def speaks(self) -> tuple[Bool[np.ndarray, "prefixes 1"], ...]:
        """Where the environment fills the next position."""
        return tuple(level[:, None] > 0 for level in self.state)

    @cached_property
    def log_chance(self) -> tuple[Float[np.ndarray, "prefixes tokens"], ...]:
        """Logits of the environment's next token."""
        with np.errstate(divide="ignore"):
            log = np.maximum(np.log(self.chance), _NEVER)
        return tuple(log[level] for level in self.state)

    @cached_property
    def own(self) -> tuple[Int[np.ndarray, "prefixes 1"], ...]:
        """The learner's tokens before every prefix's next position."""
        levels = [np.zeros((1, 1), dtype=np.int64)]
        for speaks in self.speaks[:-1]:
            levels.append(np.repeat(levels[-1] + ~speaks, self.follow.shape[1])[:, None])
        return tuple(levels)

    @cached_property
    def possible(self) -> tuple[Bool[np.ndarray, "prefixes tokens"], ...]:
        """Which tokens can come next: all where the learner speaks, none after what the environment never says."""
        met, levels = np.ones(1, dtype=bool), []
        for state in self.state:
            levels.append(met[:, None] & ((state == 0)[:, None] | (self.chance[state] > 0)))
            met = levels[-1][:, :-1].reshape(-1)
        return tuple(levels)

    @property
    def least_certain(self) -> float:
        """The probability of the likeliest next token, where it is smallest."""
        return float(self.chance[1:].max(axis=1).min())


def environment_of(says: Says, vocabulary: Sequence[str], horizon: int, *, where: str) -> Environment:
    """The automaton of a table of utterances; `vocabulary` ends with the end token.

    Raises `InputError` for a token that is not in the vocabulary, probabilities that do not sum to 1, and utterances of
    which one begins another: then a transcript would not tell who spoke.
    """
    tokens = tuple(vocabulary)
    chance, follow = [np.zeros(len(tokens))], [np.zeros(len(tokens) - 1, dtype=np.int64)]
    for after, utterances in says.items():
        place = f"{where}, environment after {after!r}"
        _check(after, utterances, tokens, place)
        chance.append(np.zeros(len(tokens)))
        follow.append(np.zeros(len(tokens) - 1, dtype=np.int64))
        follow[0][tokens.index(after)] = len(chance) - 1
        for words, probability in utterances:
            if probability == 0:  # else its later tokens would be states without a distribution
                continue
            now = int(follow[0][tokens.index(after)])
            for number, word in enumerate(words):
                token = tokens.index(word)
                chance[now][token] += probability
                if number + 1 < len(words):
                    if not follow[now][token]:
                        chance.append(np.zeros(len(tokens)))
                        follow.append(np.zeros(len(tokens) - 1, dtype=np.int64))
                        follow[now][token] = len(chance) - 1
                    now = int(follow[now][token])
    rows = np.stack(chance)
    total = rows.sum(axis=1, keepdims=True)
    return Environment(rows / np.where(total > 0, total, 1.0), np.stack(follow), horizon)


def _check(after: str, utterances: Sequence[tuple[Sequence[str], float]], tokens: tuple[str, ...], where: str) -> None:
    if after not in tokens[:-1]:
        raise InputError(
            f"{where}: the token is not in the vocabulary, or it ends the response",
            mend=f"use one of {' '.join(tokens[:-1])}",
        )
    for words, probability in utterances:
        unknown = next((word for word in words if word not in tokens), None)
        if unknown is not None:
            raise InputError(f"{where}: the token {unknown!r} is unknown", mend=f"the vocabulary is {' '.join(tokens)}")
        if not words or tokens[-1] in words[:-1]:
            raise InputError(
                f"{where}: the utterance {' '.join(words)!r} is empty or goes on after {tokens[-1]}",
                mend=f"say at least one token, and {tokens[-1]} as the last alone",
            )
        if not 0 <= probability <= 1:
            raise InputError(f"{where}: the probability {probability:g} is not in [0, 1]", mend="use one in [0, 1]")
    total = sum(probability for _, probability in utterances)
    if abs(total - 1) > 1e-9:
        raise InputError(f"{where}: the probabilities sum to {total:.12g}, not to 1", mend="make them sum to 1")
    for i, (one, _) in enumerate(utterances):
        for j, (other, _) in enumerate(utterances):
            if i != j and tuple(other[: len(one)]) == tuple(one):
                raise InputError(
                    f"{where}: {' '.join(other)!r} begins with {' '.join(one)!r}: a transcript does not tell who spoke",
                    mend="give them different first tokens, or merge equal ones",
                )
