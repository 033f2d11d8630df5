"""What an update learns from: completions, the prompts that they share, and what was thought of them before."""

from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

AnyArray: TypeAlias = Any
"""A numpy or a jax array: batches are cut and sorted on the host and computed with on the device."""


class Rollout(NamedTuple):
    """Completions to learn from; rows of one group are neighbours.

    Attributes:
        tokens: prompt, padded on the left, then completion, padded on the right.
        valid: False on padding.
        mask: 1 on completion tokens, EOS included; `time` counts from the first completion token.
        sampler_logp: what the sampler said of each token.
        reward: of each completion.
        group: the index of its prompt in the batch.
    """

    tokens: Int[AnyArray, "batch length"]
    valid: Bool[AnyArray, "batch length"]
    mask: Float[AnyArray, "batch time"]
    sampler_logp: Float[AnyArray, "batch time"]
    reward: Float[AnyArray, " batch"]
    group: Int[AnyArray, " batch"]

    def rows(self, index: np.ndarray | slice) -> "Rollout":
        """Some of the rows."""
        return Rollout(*(field[index] for field in self))

    def prompt_numbers(self) -> Int[np.ndarray, " batch"]:
        """Equal where rows have the same prompt; 0, 1, ... for those there are."""
        time = self.mask.shape[1]
        prompts = np.concatenate([self.tokens[:, :-time], self.valid[:, :-time]], axis=1)
        return np.unique(prompts, axis=0, return_inverse=True)[1]

    def cut(self, time: int) -> "Rollout":
        """The first `time` completion tokens; the caller knows that the rest is padding."""
        surplus = self.mask.shape[1] - time
        if surplus <= 0:
            return self
        length = self.tokens.shape[1] - surplus
        return self._replace(
            tokens=self.tokens[:, :length],
            valid=self.valid[:, :length],
            mask=self.mask[:, :time],
            sampler_logp=self.sampler_logp[:, :time],
        )


class Prefixes(NamedTuple):
    """The prompts of a batch without their repetitions.

    Attributes:
        first: of each prompt, a row that has it.
        prompt: which of them a row follows.
    """

    first: Int[AnyArray, " prompts"]
    prompt: Int[AnyArray, " batch"]

    @classmethod
    def of(cls, number: Int[np.ndarray, " batch"], *, most: int) -> "Prefixes | None":
        """None where less than half of the prompts repeat others, and on several devices, where rows lie apart.

        number: that of each row's prompt. most: how many prompts there are in the batch that the rows are taken from.
        The prompts of a part come in bins, so that programs are few; the last one fills up what is left.
        """
        _, first, prompt = np.unique(number, return_index=True, return_inverse=True)
        count = min(1 << (len(first) - 1).bit_length(), most)
        if 2 * count > len(number) or not jax.sharding.get_mesh().empty:
            return None
        return cls(np.pad(first, (0, count - len(first)), mode="edge"), prompt)


class Evidence(NamedTuple):
    """What the loss needs beside the current log-probabilities; None where those, detached, will do.

    `value` is the critic's estimate before each token, and None without a critic.
    """

    old_logp: Float[AnyArray, "batch time"] | None
    ref_logp: Float[AnyArray, "batch time"] | None
    value: Float[AnyArray, "batch time"] | None = None
