r"""MATH-500: the box, the normal form, and a task that only evaluates."""

import json

import pytest

from llm_exps.tasks import CORRECT, NO_ANSWER, WRONG, load_task
from llm_exps.tasks import math500 as room
from rino_base.messages import InputError


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{7}.", "7"),
        (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{1} no, \boxed{2}", "2"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{}", ""),
        (r"\boxed{1} \boxed{\frac{1}{2}", None),
        ("boxed{1}", None),
        ("", None),
        ("\\boxed{" + "{" * 10**5, None),
        ("\\boxed{" + "{" * 10**5 + "}" * (10**5 + 1), "{" * 10**5 + "}" * 10**5),
    ],
)
def test_the_last_box(text, inside):
    assert room.boxed(text) == inside


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\frac12", r"\frac{1}{2}"),
        (r"\dfrac1{2}", r"\frac{1}{2}"),
        ("1/2", r"\frac{1}{2}"),
        ("0.5", r"\frac12"),
        (".5", "0.5"),
        (r"\left( 1, 2 \right)", "(1,2)"),
        (r"90^\circ", "90"),
        (r"90^{\circ}", "90"),
        (r"\$5", "5"),
        (r"50\%", "50"),
        (r"5\text{ cm}", "5"),
        ("x = 7", "7"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"10,\!000", "10,000"),
    ],
)
def test_equal_in_normal_form(left, right):
    assert room.same(left, right)
    assert room.same(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [("1", "2"), (r"\frac12", r"\frac21"), ("(1,2)", "(2,1)"), ("-1/2", "1/2"), ("xyz=7", "7"), (r"\sqrt", r"\sqrt3")],
)
def test_not_equal_in_normal_form(left, right):
    assert not room.same(left, right)


@pytest.mark.parametrize(
    ("completion", "answer", "strict", "flexible"),
    [
        (r"\boxed{0.25}", r"\frac{1}{4}", WRONG, CORRECT),
        (r"\boxed{-\frac{2}{4}}", r"-\frac{1}{2}", WRONG, CORRECT),
        (r"\boxed{1,000}", "1000", WRONG, CORRECT),
        (r"\boxed{1,2}", "12", WRONG, WRONG),
        (r"\boxed{1/0}", "1", WRONG, WRONG),
        (r"\boxed{2+2}", "4", WRONG, WRONG),
        ("it is 4", "4", NO_ANSWER, CORRECT),
        ("it is x", "x", NO_ANSWER, NO_ANSWER),
        (r"\boxed{x}", "x", CORRECT, CORRECT),
        (r"\boxed{" + "9" * 10**5 + "}", "9", WRONG, WRONG),
        ("", "4", NO_ANSWER, NO_ANSWER),
    ],
)
def test_grades(completion, answer, strict, flexible):
    assert room.grade_strict(completion, answer=answer) == strict
    assert room.grade_flexible(completion, answer=answer) == flexible


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        (r"\boxed{7}", {"any-box"}),
        (r"$\boxed 7$", {"any-box"}),
        (r"\fbox{7}", {"any-box"}),
        ("so $7$", {"between-dollars"}),
        ("Final Answer: The final answer is $7$. I hope it is correct.", {"between-dollars", "final-answer"}),
        ("Final Answer: The final answer is 7. ", {"final-answer"}),
        ("Final Answer: The final answer is 8. I hope it is correct.", set()),
    ],
)
def test_deviations(completion, correct):
    found = {name for name, grade in room.DEVIATIONS.items() if grade(["p"], [completion], answer=["7"])[0] >= 1}
    assert found == correct


def write(path, *numbers):
    path.write_text("".join(json.dumps({"problem": f"What is {n}?", "answer": str(n)}) + "\n" for n in numbers))
    return str(path)


def test_it_only_evaluates(tmp_path):
    task = load_task("math-500", evaluation_data=write(tmp_path / "e.jsonl", 1, 2))
    assert (len(task.train), len(task.evaluation)) == (0, 2)
    assert task.evaluation_problems(1).prompts[0].startswith("What is 1?\n")
    assert task.evaluation_problems(1).prompts[0].endswith(r"\boxed{}.")
    with pytest.raises(InputError, match="no training problems"):
        task.prompts_for_step(0, 0, 1)


def test_training_problems_may_be_named(tmp_path):
    held_out = write(tmp_path / "e.jsonl", 1)
    task = load_task("math-500", data=write(tmp_path / "t.jsonl", 3, 4), evaluation_data=held_out)
    assert len(task.prompts_for_step(0, 0, 2)) == 2
    with pytest.raises(InputError, match="occur in training"):
        load_task("math-500", data=held_out, evaluation_data=held_out)
