"""Prompts as tokens, and whether they can be asked at all: seen for a whole table before the first step of a run.

A prompt fits if it has a token, has no more than the limit, and if the tokenizer can write it: one with a small
vocabulary drops what it has no token for, and the model would answer another prompt.
"""

import dataclasses
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from llm_exps.tasks.task import Table, Task
from rino_base.messages import InputError
from rino_base.progress import track

_AT_ONCE = 1024  # prompts tokenised together


def encode(tokenizer: Any, prompts: Sequence[str], *, chat: bool) -> list[list[int]]:
    """The tokens of prompts, put into the chat template of the tokenizer if `chat`.

    Raises:
        InputError: the tokenizer has no chat template, or a prompt is no Unicode text.
    """
    for prompt in prompts:
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"the prompt {prompt[:60]!r} holds half a character ({prompt[error.start]!a})",
                mend="save it as UTF-8 text: it was read with another encoding, or cut inside a character",
            ) from None
    if not chat:
        return list(tokenizer(list(prompts))["input_ids"])
    if tokenizer.chat_template is None:
        raise InputError(
            "the model's tokenizer has no chat template",
            mend="drop --apply-chat-template, or take a model that was tuned for chat",
        )
    messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
    texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in messages]
    return list(tokenizer(texts, add_special_tokens=False)["input_ids"])


def unfit(
    tokenizer: Any, prompts: Sequence[str], encoded: Sequence[Sequence[int]], *, longest: int
) -> Iterator[tuple[int, InputError]]:
    """The prompts that do not fit, by their place, each with what is wrong; `longest` in tokens."""
    written: set[str] = set()  # words that the tokenizer has been seen to write
    for place, (prompt, ids) in enumerate(zip(prompts, encoded, strict=True)):
        words = set(prompt.split())
        if not ids:
            yield place, InputError("a prompt is empty", mend="give every prompt at least one token")
        elif len(ids) > longest:
            yield (
                place,
                InputError(
                    f"a prompt has {len(ids)} tokens, max_prompt_length is {longest}: {prompt[:60]!r}",
                    mend=f"--max-prompt-length {len(ids)}",
                ),
            )
        elif words <= written or _can_write(tokenizer, prompt, ids):
            written |= words
        else:
            yield (
                place,
                InputError(
                    f"the model's tokenizer cannot write the prompt {prompt[:60]!r}: "
                    f"it makes {tokenizer.decode(ids)[:60]!r} of it",
                    mend="use a task whose prompts its vocabulary covers, or another --model",
                ),
            )


def fit_task(
    task: Task, tokenizer: Any, *, longest: int, chat: bool, held_out: int | None, training: bool, drop: bool
) -> tuple[Task, dict[str, int], int]:
    """The task with prompts that fit, how many were dropped of each table, and the tokens of the longest that fits.

    Args:
        task, tokenizer: what is asked, and of whom.
        longest: prompt, in tokens.
        chat: whether prompts are put into the chat template.
        held_out: held-out problems that are used; all for None.
        training: whether training problems are used.
        drop: drop what does not fit; without it there may be nothing to drop.

    Raises:
        InputError: a prompt does not fit and may not be dropped, or nothing would be left.
    """
    tables = {"train": task.training_problems()} if training else {}
    tables["evaluation"] = task.evaluation
    kept: dict[str, Table] = {}
    dropped: dict[str, int] = {}
    most = 0
    for name, table in tables.items():
        used = table if name == "train" or drop or held_out is None else table.take(range(min(held_out, len(table))))
        found, tokens = _unfit_of(task, tokenizer, used, longest=longest, chat=chat)
        most = max(most, tokens)
        if found and not drop:
            first = next(iter(found.values()))
            many = f"{len(found):,} of {len(used):,} {_WORDS[name]} prompts do not fit, the first: {first.problem}"
            raise InputError(many, mend=f"{first.mend}, or --unfit-prompts drop to leave them out")
        if len(found) == len(used):
            raise InputError(
                f"none of the {len(used):,} {_WORDS[name]} prompts fits", mend=next(iter(found.values())).mend
            )
        dropped[name] = len(found)
        if found:
            kept[name] = table.take(place for place in range(len(table)) if place not in found)
    return dataclasses.replace(task, **kept) if kept else task, dropped, most  # type: ignore[arg-type]


_WORDS = {"train": "training", "evaluation": "held-out"}


def _unfit_of(
    task: Task, tokenizer: Any, table: Table, *, longest: int, chat: bool
) -> tuple[dict[int, InputError], int]:
    """What does not fit, by its place, and the tokens of the longest prompt that does."""
    prompts = task.render(table).prompts
    found: dict[int, InputError] = {}
    most = 0
    starts: Any = range(0, len(prompts), _AT_ONCE)
    for start in track(starts, description="Checking prompts") if len(starts) > 50 else starts:
        some = prompts[start : start + _AT_ONCE]
        encoded = encode(tokenizer, some, chat=chat)
        found |= {start + place: error for place, error in unfit(tokenizer, some, encoded, longest=longest)}
        most = max([most, *(len(ids) for ids in encoded if len(ids) <= longest)])
    return found, most


def _can_write(tokenizer: Any, prompt: str, ids: Sequence[int]) -> bool:
    decoded = _plain(tokenizer.decode(ids))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    normaliser = getattr(backend, "normalizer", None)
    # What a tokenizer normalises on purpose (accents written as two characters) is not lost.
    forms = [prompt] if normaliser is None else [prompt, normaliser.normalize_str(prompt)]
    return any(_plain(form) in decoded for form in forms)


def _plain(text: str) -> str:
    """Without spaces, which tokenizers add and take, and with accents in one form."""
    return "".join(unicodedata.normalize("NFC", text).replace("▁", " ").split())
