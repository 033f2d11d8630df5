"""What every problem must satisfy: its vocabulary, its prompts, and the types of the fields of a problem file."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from rino_base.messages import InputError


def check_vocabulary(vocabulary: Sequence[str], eos: str) -> None:
    if eos not in vocabulary:
        raise InputError(f"the end token {eos!r} is not in the vocabulary", mend=f"add it to {list(vocabulary)}")
    if len(vocabulary) < 2:
        raise InputError("the vocabulary has no token besides the end token", mend="add at least one")
    if len(set(vocabulary)) < len(vocabulary):
        twice = next(token for token in vocabulary if list(vocabulary).count(token) > 1)
        raise InputError(f"the vocabulary lists {twice!r} twice", mend="list every token once")
    for token in vocabulary:
        if not token or token.split() != [token]:
            raise InputError(f"the token {token!r} is empty or holds a space", mend="spaces separate tokens: use none")


def check_prompts(prompts: Sequence[str], probability: Float[np.ndarray, " prompts"]) -> None:
    if not prompts:
        raise InputError("the problem has no prompt", mend="give at least one")
    if probability.shape != (len(prompts),):
        raise InputError(
            f"{len(prompts)} prompts and {probability.size} probabilities", mend="give one probability a prompt"
        )
    # Written so that NaN fails too.
    if not (probability >= 0).all():
        index = int(np.flatnonzero(~(probability >= 0))[0])
        raise InputError(
            f"prompt {prompts[index]!r} has probability {probability[index]}", mend="a probability is not negative"
        )
    if not abs(probability.sum() - 1) <= 1e-9:
        raise InputError(
            f"the prompt probabilities sum to {probability.sum():.12g}, not to 1", mend="make them sum to 1"
        )


def count_in_words(number: int) -> str:
    """A count, by its power of ten where it is too long to read (or, from 4,300 digits on, to be written at all)."""
    return f"{number:,}" if number < 10**15 else f"about 10^{math.log10(number):.0f}"


def check_fields(data: Mapping[str, Any], types: Mapping[str, Any], *, required: Any, where: str) -> None:
    for key in required:
        if key not in data:
            raise InputError(f"{where}: the field {key!r} is missing", mend=f"the fields are {', '.join(types)}")
    for key, value in data.items():
        if key not in types:
            raise InputError(f"{where}: the field {key!r} is unknown", mend=f"the fields are {', '.join(types)}")
        check_type(value, types[key], f"{where}, {key}")


def check_type(value: object, kind: Any, where: str) -> None:
    # bool is an int to Python, never a number to a person.
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: {value!r} is a {type(value).__name__}", mend=f"it must be a {wanted}")


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a problem file; raises `InputError` where there is none, or no TOML in it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}", mend="give the path of a problem file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason})", mend="save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:  # besides what is no TOML: integers of 5,000 digits, deep nesting
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path}: not valid TOML: {words}", mend="mend the line named above") from error
