"""A model on fixed held-out prompts: greedy accuracy, pass@k, entropy, and lengths of right and wrong completions."""

from collections.abc import Callable, Iterable, Iterator
from math import comb
from typing import Any

import numpy as np
from flax import nnx

from llm_exps.rollout import Actor, Completions, mean_where, step_key
from llm_exps.tasks.task import CORRECT, Problems, Task

# The stream of random numbers of evaluation; the same at every step, so that curves differ by the model alone.
_STREAM = 1

Chunk = tuple[int, Problems]
Watch = Callable[[list[Chunk], str], Iterable[Chunk]]
"""Shows progress over the chunks of an evaluation, under a description."""


def unwatched(chunks: list[Chunk], description: str) -> Iterable[Chunk]:
    """No progress of its own, inside a run that shows its steps."""
    return chunks


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
    """Metrics of `eval.jsonl`; at most `rows` completions are in memory at once.

    Greedy decoding gives `eval/accuracy_*` and `eval/reward`; `samples` completions per prompt give the rest, among
    them the number of correct ones per prompt (`eval/correct_counts`), from which intervals by prompt can be made.
    """
    rest: Any = {"seed": seed, "rows": rows, "watch": watch}
    greedy, strict, flexible = _graded(actor, params, task, problems, copies=1, greedy=True, **rest)
    reward = strict if task.scheme == "three-level" else strict >= CORRECT
    texts = [text for part in greedy for text in part.texts]
    deviating = {
        f"eval/accuracy_{name}": float(
            (np.asarray(grade(problems.prompts, texts, **problems.columns)) >= CORRECT).mean()
        )
        for name, grade in task.deviations.items()
    }
    metrics: dict[str, Any] = {
        "eval/accuracy_strict": float((strict >= CORRECT).mean()),
        "eval/accuracy_flexible": float((flexible >= CORRECT).mean()),
        **deviating,
        "eval/reward": float(reward.mean()),
        "eval/greedy_mean_length": float(np.concatenate([part.lengths for part in greedy]).mean()),
        "eval/greedy_correct": (strict >= CORRECT).astype(int).tolist(),
    }
    drawn, strict, _ = _graded(actor, params, task, problems, copies=samples, greedy=False, **rest)
    correct = strict >= CORRECT
    counts = correct.reshape(len(problems), samples).sum(axis=1)
    lengths = np.concatenate([part.lengths for part in drawn])
    entropy = sum(float((part.entropy * part.mask).sum()) for part in drawn)
    metrics |= {f"eval/pass@{k}": pass_at_k(counts, samples, k) for k in _powers_of_two(samples)}
    return metrics | {
        "eval/mean_length": float(lengths.mean()),
        "eval/correct_mean_length": mean_where(lengths, correct),
        "eval/incorrect_mean_length": mean_where(lengths, ~correct),
        "eval/clipped_ratio": float(1 - np.concatenate([part.ended for part in drawn]).mean()),
        "eval/entropy": entropy / float(lengths.sum()),
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
) -> tuple[list[Completions], np.ndarray, np.ndarray]:
    """Completions of all problems and their strict and flexible grades."""
    parts, strict, flexible = [], [], []
    chunks = list(_chunks(problems, max(rows // copies, 1)))
    for start, chunk in watch(chunks, "greedy" if greedy else f"{copies} samples a prompt"):
        key = step_key(seed, start, _STREAM)
        completions = actor.complete(params, chunk.prompts, key, copies=copies, greedy=greedy)
        repeated = chunk.repeat(copies)
        strict += task.strict(repeated.prompts, completions.texts, **repeated.columns)
        flexible += task.flexible(repeated.prompts, completions.texts, **repeated.columns)
        parts.append(completions)
    return parts, np.asarray(strict), np.asarray(flexible)


def _chunks(problems: Problems, size: int) -> Iterator[Chunk]:
    for start in range(0, len(problems), size):
        columns = {name: values[start : start + size] for name, values in problems.columns.items()}
        yield start, Problems(problems.prompts[start : start + size], columns)


def _powers_of_two(limit: int) -> list[int]:
    return [2**power for power in range(limit.bit_length())]
