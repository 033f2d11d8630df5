"""Verifiers against hostile completions: a grade for every text, in time that is linear in its length."""

import random
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_exps.tasks import CORRECT, NO_ANSWER, WRONG, addition, answers, countdown, gsm8k, math500

BOUND = 0.05  # seconds of CPU time, at 10^5 characters: what is promised, measured where nothing else runs
GROWTH = 2.0  # what a linear verifier stays below on any machine, and a quadratic one passes by far

_TEMPLATE = {"nums": [3, 5, 7], "target": 22, "a": 3, "b": 4, "answer": "#### 22"}
_VERIFIERS = {
    f"{room.__name__.rpartition('.')[2]} {grade.__name__}": grade
    for room in (addition, countdown, gsm8k, math500)
    for grade in (room.grade_strict, room.grade_flexible)
} | {
    "gsm8k last": gsm8k.grade_last_hashes,
    "gsm8k number": gsm8k.grade_number_after_hashes,
    "gsm8k extract": gsm8k.grade_flexible_extract,
    "math500 any box": math500.grade_any_box,
    "math500 dollars": math500.grade_between_dollars,
    "math500 final": math500.grade_final_answer,
}

PIECES = (
    *("<answer>", "</answer>", "#### ", "####", "\n", " ", "(", ")", "-", "−", "×", "+", "*", "/", ".", ",", "$", "="),
    *(
        "3",
        "5",
        "7",
        "22",
        "03",
        "9" * 20,
        "٣",
        "²",
        "\u2028",
        "\x00",
        "\ud800",
        "é",
        "<answer",
        "Question:",
        "[/x]",
        "\\boxed{",
        "\\frac",
        "\\sqrt",
        "}",
        "Final Answer: The final answer is",
        " I hope it is correct",
        "e9",
    ),
)
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40).map("".join)


def graded(name, text):
    """The grade and the CPU seconds that it took."""
    start = time.process_time()
    grade = _VERIFIERS[name](text, **_TEMPLATE)
    return grade, time.process_time() - start


@pytest.mark.parametrize("name", _VERIFIERS)
@pytest.mark.parametrize("piece", [*PIECES, "<answer>3</answer>", "<answer>(", "#### 3", "1,", "3+", "\n\n"])
def test_time_is_linear(name, piece):
    text = (piece * 10**5)[: 10**5]
    assert graded(name, text)[1] < GROWTH


@pytest.mark.parametrize("name", _VERIFIERS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=hostile, times=st.integers(1, 50))
def test_every_text_has_a_grade(name, text, times):
    assert graded(name, text * times)[0] in (NO_ANSWER, WRONG, CORRECT)


@given(hostile)
def test_the_last_tag_is_what_the_regular_expression_finds(text):
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    assert answers.tagged(text, last_line_only=False, innermost=False) == (found[-1].strip() if found else None)


@pytest.mark.slow
def test_a_million_completions():
    rng, slowest = random.Random(0), 0.0
    for count in range(1_000_000):
        # A thousand of them are long.
        text = "".join(rng.choices(PIECES, k=40_000 if count % 1000 == 0 else rng.randrange(12)))[:100_000]
        for name, grade in _VERIFIERS.items():
            taken = _seconds(grade, text)
            if taken > BOUND:  # was it the machine?
                taken = min(_seconds(grade, text) for _ in range(3))
            assert taken < BOUND, (name, text[:200])
            slowest = max(slowest, taken)
    print(f"the slowest of 10⁶ completions × {len(_VERIFIERS)} verifiers took {1000 * slowest:.1f} ms")


def _seconds(grade, text):
    start = time.process_time()
    assert grade(text, **_TEMPLATE) in (NO_ANSWER, WRONG, CORRECT)
    return time.process_time() - start
