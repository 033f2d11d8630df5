"""Stop strings: a completion ends with the token that completes the first of them.

They are looked for in the decoded text, where tokens do not matter, once a completion is drawn. What was drawn after
the end is dropped; as a token never depends on later ones, the rest is distributed as if sampling had stopped there.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


def cut(tokenizer: Any, tokens: Sequence[int], stops: Sequence[str]) -> tuple[int, str] | None:
    """Where a completion ends: the number of its tokens, and its text before the stop string; None if none occurs.

    tokens: of the completion, without its end token.
    """

    def text(length: int) -> str:
        written: str = tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return written

    def stopped(length: int) -> bool:
        written = text(length)
        return any(stop in written for stop in stops)

    if not stops or not stopped(len(tokens)):
        return None
    length = bisect_left(range(len(tokens) + 1), True, key=stopped)
    written = text(length)
    return length, written[: min(written.index(stop) for stop in stops if stop in written)]
