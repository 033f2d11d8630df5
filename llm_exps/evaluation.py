"""A model on fixed held-out prompts: greedy accuracy, pass@k, entropy, and lengths of right and wrong completions."""

from collections.abc import Callable, Iterable, Iterator
from math import comb
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from llm_exps.rollout import Actor, Completions, mean_where, step_key
from llm_exps.sampling import row_keys
from llm_exps.tasks.task import CORRECT, Problems, Task

# The stream of random numbers of evaluation; the same at every step, so that curves differ by the model alone.
_STREAM = 1


_QUEUED = 4
"""How many times the completions that are decoded side by side make a chunk: while others wait no place stays empty."""


class Part(NamedTuple):
    """What is drawn with one key: `copies` completions of each of some problems.

    start, stop: the numbers of the problems. block: counts the parts of the same problems.
    """

    start: int
    stop: int
    copies: int
    block: int

    def keys(self, seed: int) -> Key[Array, " rows"]:
        """Of every completion."""
        key = step_key(seed, self.start, _STREAM)
        if self.block:
            key = jax.random.fold_in(key, self.block)
        return row_keys(key, jnp.arange((self.stop - self.start) * self.copies))


class Chunk(NamedTuple):
    """What is sampled in one queue: `copies` completions of every one of these problems, in parts.

    start: the number of the first problem.
    """

    start: int
    problems: Problems
    copies: int
    parts: tuple[Part, ...]


Watch = Callable[[list[Chunk], str], Iterable[Chunk]]
"""Shows progress over the chunks of an evaluation, under a description."""


def unwatched(chunks: list[Chunk], description: str) -> Iterable[Chunk]:
    """No progress of its own, inside a run that shows its steps."""
    return chunks


class _Drawn(NamedTuple):
    """What is kept of the completions of a chunk: a few numbers each, so that any number of samples fits.

    entropy: in nats, summed over the tokens of a completion.
    """

    problem: np.ndarray
    strict: np.ndarray
    flexible: np.ndarray
    lengths: np.ndarray
    ended: np.ndarray
    entropy: np.ndarray
    deviations: np.ndarray


def evaluate(
    actor: Actor,
    params: nnx.State,
    task: Task,
    problems: Problems,
    *,
    samples: int,
    seed: int,
    rows: int,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Metrics of `eval.jsonl`; at most `rows` completions are decoded at once, and four times as many in memory.

    Greedy decoding gives `eval/accuracy_*` and `eval/reward`; `samples` completions per prompt give the rest, among
    them the number of correct ones per prompt (`eval/correct_counts`), from which intervals by prompt can be made.
    """
    rest: Any = {"seed": seed, "rows": rows, "watch": watch}
    greedy = _graded(actor, params, task, problems, copies=1, greedy=True, **rest)
    reward = greedy.strict if task.scheme == "three-level" else greedy.strict >= CORRECT
    metrics: dict[str, Any] = {
        "eval/accuracy_strict": float((greedy.strict >= CORRECT).mean()),
        "eval/accuracy_flexible": float((greedy.flexible >= CORRECT).mean()),
        **{
            f"eval/accuracy_{name}": float((grades >= CORRECT).mean())
            for name, grades in zip(task.deviations, greedy.deviations.T, strict=True)
        },
        "eval/reward": float(reward.mean()),
        "eval/greedy_mean_length": float(greedy.lengths.mean()),
        "eval/greedy_correct": (greedy.strict >= CORRECT).astype(int).tolist(),
    }
    drawn = _graded(actor, params, task, problems, copies=samples, greedy=False, **rest)
    correct = drawn.strict >= CORRECT
    counts = np.bincount(drawn.problem[correct], minlength=len(problems))
    metrics |= {f"eval/pass@{k}": pass_at_k(counts, samples, k) for k in _powers_of_two(samples)}
    return metrics | {
        "eval/mean_length": float(drawn.lengths.mean()),
        "eval/correct_mean_length": mean_where(drawn.lengths, correct),
        "eval/incorrect_mean_length": mean_where(drawn.lengths, ~correct),
        "eval/clipped_ratio": float(1 - drawn.ended.mean()),
        "eval/entropy": float(drawn.entropy.sum()) / float(drawn.lengths.sum()),
        "eval/prompts": len(problems),
        "eval/samples": samples,
        "eval/correct_counts": counts.tolist(),
    }


def pass_at_k(correct: np.ndarray, samples: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples is correct, 1 - C(n-c, k) / C(n, k), mean over prompts.

    Source: Chen et al. 2021 (2107.03374) eq. 1.
    """
    return float(np.mean([1 - comb(samples - int(count), k) / comb(samples, k) for count in correct]))


def _graded(
    actor: Actor,
    params: nnx.State,
    task: Task,
    problems: Problems,
    *,
    copies: int,
    greedy: bool,
    seed: int,
    rows: int,
    watch: Watch,
) -> _Drawn:
    """Numbers of all completions of all problems."""
    parts = []
    for chunk in watch(list(_chunks(problems, copies=copies, rows=rows)), _title(copies, greedy)):
        keys = jnp.concatenate([part.keys(seed) for part in chunk.parts])
        completions = actor.complete(
            params, chunk.problems.prompts, keys, copies=chunk.copies, greedy=greedy, at_once=rows
        )
        parts.append(_numbers(task, chunk, completions, deviations=greedy))
    return _Drawn(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _numbers(task: Task, chunk: Chunk, completions: Completions, *, deviations: bool) -> _Drawn:
    repeated = chunk.problems.repeat(chunk.copies)
    seen: Any = (repeated.prompts, completions.texts)
    rules = task.deviations.values() if deviations else ()
    deviating = [grade(*seen, **repeated.columns) for grade in rules]
    return _Drawn(
        problem=np.repeat(chunk.start + np.arange(len(chunk.problems)), chunk.copies),
        strict=np.asarray(task.strict(*seen, **repeated.columns)),
        flexible=np.asarray(task.flexible(*seen, **repeated.columns)),
        lengths=completions.lengths,
        ended=completions.ended,
        entropy=(completions.entropy * completions.mask).sum(axis=1),
        deviations=np.asarray(deviating).reshape(-1, len(repeated)).T,
    )


def _chunks(problems: Problems, *, copies: int, rows: int) -> Iterator[Chunk]:
    """Parts of no more than `rows` completions, which decide the keys, and chunks of several parts."""
    size = max(rows // copies, 1)
    # More completions of one problem than are decoded at once are drawn in blocks, and no chunk has two such problems.
    blocks = [min(rows, copies - drawn) for drawn in range(0, copies, rows)]
    parts = [
        Part(start, min(start + size, len(problems)), number, block)
        for start in range(0, len(problems), size)
        for block, number in enumerate(blocks)
    ]
    run = len(blocks) if len(blocks) > 1 else len(parts)
    for first in range(0, len(parts), run):
        for begin in range(first, first + run, _QUEUED):
            queue = tuple(parts[begin : min(begin + _QUEUED, first + run)])
            start, stop = queue[0].start, queue[-1].stop
            columns = {name: values[start:stop] for name, values in problems.columns.items()}
            number = copies if len(blocks) == 1 else sum(part.copies for part in queue)
            yield Chunk(start, Problems(problems.prompts[start:stop], columns), number, queue)


def _title(copies: int, greedy: bool) -> str:
    return "greedy" if greedy else f"{copies} samples a prompt"


def _powers_of_two(limit: int) -> list[int]:
    return [2**power for power in range(limit.bit_length())]
