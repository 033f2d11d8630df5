"""What the embedded model is made from: a tokenizer of numbers and operators, and solver-made Countdown traces.

A trace tries expressions one after another, with their values, and ends in an answer:

    7 8 9 make 65:9 + 8 * 7 = 65 <answer> 9 + 8 * 7 </answer>
    7 8 9 make 65:9 * 8 + 7 = 79, 7 * 8 + 9 = 65 <answer> 7 * 8 + 9 </answer>

The number of attempts varies, and some traces resign: they answer with an attempt that failed. So the responses of a
model of them differ in length, and length and success depend on each other, as in the experiments with large models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from llm_exps.sampling import length_bin
from llm_exps.tasks.countdown import flat_expressions

END = "<|endoftext|>"
LARGEST = 99  # the largest number with a token; attempts that come to more, or to less than 0, are not written
_WORDS = (" ", ":", " make ", " = ", ", ", " + ", " - ", " * ", " <answer> ", " </answer>")


@dataclass(frozen=True)
class TraceOptions:
    """The chances that shape a trace.

    luck: that an attempt is a solution. resign: that the trace answers with an attempt that failed, instead of
    trying again. max_attempts: after so many it resigns for certain.
    """

    luck: float
    resign: float
    max_attempts: int


class Attempts(NamedTuple):
    """What can be tried on one problem, each with its value: `9 + 8 * 7 = 65`."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]


class TraceBatch(NamedTuple):
    """Prompts and traces in one array; `weight` is 1 on the trace and its end token."""

    tokens: Int[Array | np.ndarray, "batch time"]
    weight: Float[Array | np.ndarray, "batch time"]


def make_tokenizer() -> Any:
    """A transformers tokenizer with one token for each number and each word, spaces included: decoding is exact.

    The words are added tokens, found before any splitting. transformers 5 gives every directory of model type qwen2 the
    splitting rules of Qwen2, under which an ordinary vocabulary of words would fall apart; added tokens do not.
    Text without a token is dropped.
    """
    from transformers import PreTrainedTokenizerFast  # here: it takes seconds

    tokenizer = Tokenizer(models.BPE({END: 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    words = (*map(str, range(LARGEST + 1)), *_WORDS)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def possible_attempts(nums: Sequence[int], target: int) -> Attempts:
    """All attempts on a problem that can be written with the tokens at hand."""
    expressions = [(text, value) for text, value in flat_expressions(nums) if 0 <= value <= LARGEST]
    right = tuple(f"{text} = {value}" for text, value in expressions if value == target)
    wrong = tuple(f"{text} = {value}" for text, value in expressions if value != target)
    return Attempts(right, wrong)


def make_trace(possible: Attempts, rng: np.random.Generator, options: TraceOptions) -> str:
    """The response of one trace, without its end token; the problem has a solution."""
    untried = rng.permutation(possible.wrong).tolist()
    tried: list[str] = []
    while len(tried) < options.max_attempts:
        solved = not untried or rng.random() < options.luck
        tried.append(str(rng.choice(possible.right)) if solved else untried.pop())
        if solved or rng.random() < options.resign:
            break
    return f"{', '.join(tried)} <answer> {tried[-1].partition(' =')[0]} </answer>"


def encode_traces(tokenizer: Any, prompts: Sequence[str], traces: Sequence[str]) -> TraceBatch:
    """Token arrays of prompts with their traces, padded on the right to one of few lengths."""
    heads, tails = tokenizer(list(prompts))["input_ids"], tokenizer(list(traces))["input_ids"]
    ends = [len(head) + len(tail) + 1 for head, tail in zip(heads, tails, strict=True)]
    shape = len(ends), length_bin(max(ends))
    tokens, weight = np.full(shape, tokenizer.eos_token_id, np.int32), np.zeros(shape, np.float32)
    for row, (head, tail, end) in enumerate(zip(heads, tails, ends, strict=True)):
        tokens[row, : end - 1] = head + tail
        weight[row, len(head) : end] = 1
    return TraceBatch(tokens, weight)
