"""Finding the answer in what a model wrote. One parser is never enough: scores move by tens of points between two of
them, so every task reports two.

*Strict* takes the answer only where the prompt asked for it; *flexible* takes the last thing that can be meant as the
answer.
"""

import re
from fractions import Fraction

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_HASHES = re.compile(r"####\s*([^\n]*)")
_NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?")
_MAX_CHARACTERS = 32  # of a number; Python refuses to read very long integers


def tagged(text: str, *, last_line_only: bool) -> str | None:
    """The inside of the last `<answer>…</answer>`; with `last_line_only`, of the last line that is not blank (the rule
    of the paper's scorer).
    """
    if last_line_only:
        text = text.rstrip().rpartition("\n")[2]
    # Only what follows the last opening tag can be the last answer: `<answer> a <answer> b </answer>` answers b.
    found = _TAG.findall(text)
    return found[-1].rpartition("<answer>")[2].strip() if found else None


def after_hashes(text: str) -> str | None:
    """What follows the last `####` on its line: GSM8K's own format."""
    found = _HASHES.findall(text)
    return found[-1].strip() if found else None


def number(text: str) -> Fraction | None:
    """`text` as one exact number; thousands separators, a currency sign before and a full stop or a unit sign after
    are dropped.
    """
    text = text.strip().lstrip("$€£").rstrip(".%")
    if len(text) > _MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.replace(",", ""))


def first_number(text: str) -> Fraction | None:
    """The first number in `text`."""
    found = _NUMBER.search(text)
    return number(found.group()) if found else None


def last_number(text: str) -> Fraction | None:
    """The last number in `text`."""
    found = _NUMBER.findall(text)
    return number(found[-1]) if found else None


def same(answer: str, expected: str) -> bool:
    """Equal as numbers if both are numbers, else equal as text without regard to case and spacing."""
    left, right = number(answer), number(expected)
    if left is not None and right is not None:
        return left == right
    return " ".join(answer.split()).casefold() == " ".join(expected.split()).casefold()
