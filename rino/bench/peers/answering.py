"""What the processes of peers share: JSON lines in, JSON lines out.

The first line names the work:

    model           a Hugging Face directory
    vocabulary      tokens it has
    learning_rate   of AdamW
    sequences       token ids whose log-probabilities are answered, for the comparison of models
    works           by name: `prompts` (token ids, all of one length), `generations` (responses of each prompt) and
                    `limits` (tokens of each response, in the order of the result)

Every other line, `{"work": name}`, is one turn. What a peer prints goes to stderr, never to be taken for an answer.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


class Caller:
    """The other end."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def ask(self) -> dict[str, Any]:
        """The next line; nothing where there is none."""
        line = sys.stdin.readline()
        asked: dict[str, Any] = json.loads(line) if line.strip() else {}
        return asked

    def say(self, **record: Any) -> None:
        """One line."""
        self._answers.write(json.dumps(record) + "\n")
        self._answers.flush()


def answer(peer: Callable[[Caller, dict[str, Any]], None]) -> None:
    """Let a peer answer until it is asked no more; an error is an answer too."""
    caller = Caller()
    try:
        peer(caller, caller.ask())
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}"
        said = (str(error).strip().splitlines() or [""])[0][:200]
        caller.say(problem=f"{type(error).__name__}: {said} ({place})")
        traceback.print_exc()


def words(tokens: list[int]) -> str:
    """Token ids as text: the tokenizers of the peers that insist on one have a word for every id."""
    return " ".join(map(str, tokens))
