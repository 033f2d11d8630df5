"""Finding the answer in what a model wrote. One parser is never enough: scores move by tens of points between two of
them, so every task reports two.

*Strict* takes the answer only where the prompt asked for it; *flexible* takes the last thing that can be meant as the
answer.
"""

import re
from fractions import Fraction

_OPEN, _CLOSE = "<answer>", "</answer>"
# A currency sign may stand on either side of the minus sign; `1/2` is one number.
_NUMBER = re.compile(r"[-−]?[$€£]?-?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?")
_PLAIN = str.maketrans({"−": "-", "$": "", "€": "", "£": "", ",": ""})
_MAX_CHARACTERS = 32  # of a number; Python refuses to read very long integers


def tagged(text: str, *, last_line_only: bool, innermost: bool = True) -> str | None:
    """The inside of the last `<answer>…</answer>`, in linear time; with `last_line_only`, of the last line that is not
    blank.

    `<answer> a <answer> b </answer>` answers b if `innermost`, else `a <answer> b`, as a regular expression would have
    it.
    """
    if last_line_only:
        text = text.rstrip().rpartition("\n")[2]
    found, position = None, 0
    while (start := text.find(_OPEN, position)) >= 0:
        end = text.find(_CLOSE, start + len(_OPEN))
        if end < 0:  # No later opening tag can be closed either: to look for one would make the time quadratic.
            break
        found, position = text[start + len(_OPEN) : end], end + len(_CLOSE)
    if found is None:
        return None
    return (found.rpartition(_OPEN)[2] if innermost else found).strip()


def after_hashes(text: str) -> str | None:
    """What follows the last `####` on its line: GSM8K's own format."""
    _, hashes, rest = text.rpartition("####")
    return rest.partition("\n")[0].strip() if hashes else None


def number(text: str) -> Fraction | None:
    """`text` as one exact number, a decimal or a fraction `1/2`; thousands separators, a currency sign before and a
    full stop or a unit sign after are dropped, and the minus sign − is one.
    """
    text = text.strip().rstrip(".%")
    if len(text) > _MAX_CHARACTERS or not _NUMBER.fullmatch(text):
        return None
    above, _, below = text.translate(_PLAIN).partition("/")
    if above.startswith("--") or (below and int(below) == 0):
        return None
    return Fraction(above) / int(below or 1)


def first_number(text: str) -> Fraction | None:
    """The first number in `text`."""
    found = _NUMBER.search(text)
    return number(found.group()) if found else None


def leading_number(text: str) -> Fraction | None:
    """The number with which `text` begins."""
    found = _NUMBER.match(text)
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
