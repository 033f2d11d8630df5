"""Countdown: grades by hand, problems that can be solved, sources, and what the task contract promises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.tasks import CORRECT, NO_ANSWER, WRONG, Table, Task, check_disjoint, lift, load_task
from llm_exps.tasks import countdown as room
from llm_exps.tasks.expression import parse
from rino_base.messages import InputError

ROW = {"nums": [3, 5, 7], "target": 22}


@pytest.fixture(scope="module")
def small():
    return load_task("countdown-small")


@pytest.mark.parametrize(
    ("completion", "strict", "flexible"),
    [
        ("<answer> 3 * 5 + 7 </answer>", CORRECT, CORRECT),
        ("so\n<answer>7 + (5 * 3)</answer>\n \n", CORRECT, CORRECT),
        ("<answer> 7 + (5 × 3) </answer>", WRONG, CORRECT),
        ("<answer> 03 * 5 + 7 </answer>", WRONG, CORRECT),
        ("<answer> 3 * 5 + 7. </answer>", CORRECT, CORRECT),
        ("<answer> 3. * 5. + 7 </answer>", CORRECT, WRONG),
        ("<answer> 3 * 5 + 7.. </answer>", WRONG, CORRECT),
        ("<answer> 3.5 + 7 </answer>", WRONG, WRONG),
        ("<answer> 3 + 5 + 7 </answer> no: <answer> 3 * 5 + 7 </answer>", CORRECT, CORRECT),
        ("<answer> 3 * 5 + 7 </answer> <answer> 3 + 5 + 7 </answer>", WRONG, WRONG),
        ("<answer> 3 <answer> 3 * 5 + 7 </answer>", WRONG, CORRECT),
        ("<answer> 3 * 5 + 7 = 22 </answer>", WRONG, CORRECT),
        ("<answer> 3 * 5 + 7 </answer>\nDone.", NO_ANSWER, CORRECT),
        ("3 + 5 + 7 = 15, 3 * 5 + 7 = 22", NO_ANSWER, CORRECT),
        ("3 * 5 + 7 = 22, or 3 + 5 + 7 = 15", NO_ANSWER, WRONG),
        ("<answer> 22 </answer>", WRONG, WRONG),  # the target itself is not made of the numbers
        ("<answer> 3 * 7 + 1 </answer>", WRONG, WRONG),
        ("<answer> 3 * 5 + 7 + 7 - 7 </answer>", WRONG, WRONG),
        ("<answer> 9**9**9 </answer>", WRONG, WRONG),
        ("<answer> __import__('os').abort() </answer>", WRONG, WRONG),
        ("<answer></answer>", WRONG, WRONG),
        ("<answer> 3 * 5 + 7", NO_ANSWER, CORRECT),  # cut off: not answered, though the sum is there
        ("22", NO_ANSWER, NO_ANSWER),
        ("", NO_ANSWER, NO_ANSWER),
    ],
)
def test_grades(completion, strict, flexible):
    assert room.grade_strict(completion, **ROW) == strict
    assert room.grade_flexible(completion, **ROW) == flexible


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("<answer> 3 * 5 + 7 </answer>", {"any-line", "nested-tags", "synonyms"}),
        ("<answer> 3 * 5 + 7 </answer>\nDone.", {"any-line"}),
        ("<answer> 3 <answer> 3 * 5 + 7 </answer>", {"nested-tags"}),
        ("<answer> 03 × 5 + 7 </answer>", {"synonyms"}),
    ],
)
def test_each_deviation_is_lenient_in_one_thing(completion, correct):
    columns = {"nums": [ROW["nums"]], "target": [ROW["target"]]}
    assert {name for name, grade in room.DEVIATIONS.items() if grade(["p"], [completion], **columns)[0] >= 1} == correct


def test_numbers_count_with_multiplicity():
    row = {"nums": [4, 4, 2], "target": 10}
    assert room.grade_strict("<answer> 4 + 4 + 2 </answer>", **row) == CORRECT
    assert room.grade_strict("<answer> 4 * 2 + 2 </answer>", **row) == WRONG


@given(st.text(alphabet="<>/answer 0123456789+-*()=\n", max_size=120))
def test_any_completion_has_a_grade(completion):
    assert room.grade_strict(completion, **ROW) in (NO_ANSWER, WRONG, CORRECT)
    assert room.grade_flexible(completion, **ROW) in (NO_ANSWER, WRONG, CORRECT)


def test_reward_functions_have_trls_signature_and_schemes(small):
    completions = ["<answer> 3 * 5 + 7 </answer>", "<answer> 3 </answer>", "3"]
    columns = {"nums": [ROW["nums"]] * 3, "target": [22] * 3, "numbers": ["3 5 7"] * 3}
    assert small.strict(["p"] * 3, completions, **columns) == [1.0, 0.1, 0.0]
    assert small.reward(["p"] * 3, completions, **columns) == [1.0, 0.0, 0.0]
    assert load_task("countdown-small", scheme="three-level").reward(["p"] * 3, completions, **columns) == [
        1.0,
        0.1,
        0.0,
    ]


def test_every_small_problem_can_be_solved_and_held_out_ones_are_new(small):
    for table in (small.train, small.evaluation):
        for row in list(table.rows())[:200]:
            solutions = [text for text, value in room.flat_expressions(row["nums"]) if value == row["target"]]
            assert room.grade_strict(f"<answer> {solutions[0]} </answer>", **row) == CORRECT
    keys = [
        {(*sorted(row["nums"]), row["target"]) for row in table.rows()} for table in (small.train, small.evaluation)
    ]
    assert not keys[0] & keys[1]
    assert len(keys[1]) == room.SMALL_EVALUATION_SIZE


def test_flat_expressions_are_all_of_them():
    found = room.flat_expressions([2, 3, 4])
    assert len(found) == 6 * 9  # orders × pairs of operators
    assert dict(found)["2 + 3 * 4"] == 14
    assert len(room.flat_expressions([2, 2, 3])) == 3 * 9


def test_generated_problems_look_like_the_hubs():
    table = room.generate(seed=1, n=300)
    again = room.generate(seed=1, n=300)
    assert table.columns == again.columns
    assert {len(nums) for nums in table.columns["nums"]} == {3, 4}
    for row in list(table.rows())[:40]:
        assert 10 <= row["target"] <= 100
        solution = next(room.solve(row["nums"], row["target"]))
        assert room.grade_strict(f"<answer> {solution} </answer>", **row) == CORRECT


@given(st.lists(st.integers(1, 12), min_size=2, max_size=3), st.integers(1, 60))
def test_the_solver_tells_the_truth(nums, target):
    solutions = list(room.solve(nums, target))
    for text in solutions:
        assert parse(text).value == target
        assert sorted(parse(text).numbers) == sorted(nums)
    flat = any(value == target for _, value in room.flat_expressions(nums))
    assert solutions or not flat  # what the smaller grammar reaches the larger one reaches too


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_local_files(tmp_path):
    rows = [{"nums": [1, 2, n], "target": n + 3} for n in range(3, 27)]
    task = load_task("countdown", data=write_jsonl(tmp_path / "train.jsonl", rows))
    assert (len(task.train), len(task.evaluation)) == (21, 3)
    assert "numbers [1, 2, 24]" in task.evaluation_problems(1).prompts[0]
    table = pytest.importorskip("pyarrow").Table.from_pylist(rows)
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "train.parquet")
    assert load_task("countdown", data=str(tmp_path / "train.parquet")).train.columns == task.train.columns


def test_the_same_numbers_in_another_order_are_dropped_from_training(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", [{"nums": [5, 3, 7], "target": 22}, {"nums": [1, 2, 3], "target": 6}])
    test = write_jsonl(tmp_path / "test.jsonl", [{"nums": [3, 5, 7], "target": 22}])
    assert load_task("countdown", data=train, evaluation_data=test).train.columns["nums"] == [[1, 2, 3]]


def test_hub_data(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    write_jsonl(
        tmp_path / "data" / "train-00000-of-00001.jsonl", [{"nums": [1, 2, n], "target": n + 3} for n in range(3, 19)]
    )
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path))
    assert len(load_task("countdown").train) == 14

    def offline(name, **_):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(InputError, match="Jiayi-Pan/Countdown-Tasks-3to4"):
        load_task("countdown")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nums": [1, 2], "goal": 3}\n', r"lacks the column\(s\) target"),
        ('{"nums": "1 2", "target": 3}\n', "nums = '1 2'"),
        ('{"nums": [1, 2], "target": 3}\n{"nums": [1, 2], "target": "3"}\n', "row 2"),
        ('{"nums": [1, 2], "target"\n', "line 1"),
        ("[1, 2]\n", "list"),
        ("", "no rows"),
    ],
)
def test_broken_data_is_named(tmp_path, text, message):
    path = tmp_path / "train.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_task("countdown", data=str(path))


def test_missing_files_are_named(tmp_path):
    for source in (str(tmp_path / "none.parquet"), "none.jsonl", "data/none.parquet"):
        with pytest.raises(InputError, match="no such file"):
            load_task("countdown", data=source)
    with pytest.raises(InputError, match="train"):
        load_task("countdown", data=str(tmp_path))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no parquet")
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="Parquet"):
        load_task("countdown", data=str(tmp_path / "broken.parquet"))


def test_prompt_order_comes_from_seed_and_step_alone(small):
    whole = small.prompts_for_step(7, 0, 96).prompts
    for step in (2, 0, 1):
        assert small.prompts_for_step(7, step, 32).prompts == whole[32 * step : 32 * (step + 1)]
    assert small.prompts_for_step(8, 0, 96).prompts != whole


@given(st.integers(1, 7), st.integers(0, 3))
def test_every_problem_once_an_epoch(size, seed):
    task = made(range(size))
    prompts = task.prompts_for_step(seed, 0, 3 * size).prompts
    for epoch in range(3):
        assert sorted(prompts[epoch * size : (epoch + 1) * size]) == [str(n) for n in range(size)]


def test_repeat_keeps_a_group_together(small):
    problems = small.evaluation_problems(3)
    repeated = problems.repeat(2)
    assert repeated.prompts == [prompt for prompt in problems.prompts for _ in range(2)]
    assert repeated.columns["target"] == [target for target in problems.columns["target"] for _ in range(2)]
    assert len(small.evaluation_problems()) == len(small.evaluation)


def made(train, evaluation=(-1,), template="{x}"):
    grade = lift(lambda completion, x, **_: completion == str(x))
    return Task(
        name="made",
        train=Table({"x": list(train)}),
        evaluation=Table({"x": list(evaluation)}),
        template=template,
        strict=grade,
        flexible=grade,
        required=("x",),
    )


def test_leaking_evaluation_prompts_are_refused():
    with pytest.raises(InputError, match="evaluation prompt"):
        made([1, 2, 3], evaluation=[3])
    with pytest.raises(InputError, match="evaluation prompt"):
        check_disjoint(["What is  1?"], ["what is 1? "])


@pytest.mark.parametrize(
    "template", ["{y}", "no field", "{x.__class__}", "{x[0]}", "{x!r}", "{x:>9}", "{}", "{x} {", "{x} }"]
)
def test_templates_that_do_not_fit_are_refused(template):
    with pytest.raises(InputError, match="template"):
        made([1], template=template)


def test_a_users_template(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Reach {target} with {numbers}.\n{{}}\n")
    task = load_task("countdown-small", prompt_template=path)
    row = next(task.evaluation.rows())
    assert task.evaluation_problems(1).prompts == [f"Reach {row['target']} with {row['numbers']}.\n{{}}"]
    with pytest.raises(InputError, match="cannot be read"):
        load_task("countdown-small", prompt_template=tmp_path / "none.txt")


REVERSE = """
from llm_exps.tasks import Table, Task, lift


def task():
    words = ["stop", "live", "drawer", "rhino", "tensor", "flow", "mask", "token"]
    return Task(
        name="reverse",
        train=Table({"word": words[:6]}),
        evaluation=Table({"word": words[6:]}),
        template="Backwards, {word} is ",
        strict=lift(lambda completion, *, word, **_: float(completion.strip() == word[::-1])),
        flexible=lift(lambda completion, *, word, **_: float(word[::-1] in completion)),
        required=("word",),
    )
"""


def test_a_users_file(tmp_path):
    path = tmp_path / "reverse.py"
    path.write_text(REVERSE)
    task = load_task(str(path))
    problems = task.evaluation_problems()
    assert problems.prompts == ["Backwards, mask is ", "Backwards, token is "]
    assert task.reward(problems.prompts, ["ksam", "token"], **problems.columns) == [1.0, 0.0]
    with pytest.raises(InputError, match="--data"):
        load_task(str(path), data="x.jsonl")


@pytest.mark.parametrize("text", ["x = 1", "def task():\n    return 3", "import nothing_of_that_name", "def task(:"])
def test_users_files_that_are_no_tasks(tmp_path, text):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(InputError):
        load_task(str(path))


def test_a_users_questions(tmp_path):
    rows = [{"prompt": f"{n} + {n} =", "answer": 2 * n} for n in range(10)]
    task = load_task(write_jsonl(tmp_path / "sums.jsonl", rows))
    problems = task.evaluation_problems()
    assert (len(task.train), problems.prompts) == (9, ["9 + 9 ="])
    for completion, strict, flexible in [
        ("<answer> 18 </answer>", 1.0, 1.0),
        ("it is 18.", 0.0, 1.0),
        ("<answer>17</answer>", 0.1, 0.1),
        ("none", 0.0, 0.0),
    ]:
        assert task.strict(problems.prompts, [completion], **problems.columns) == [strict]
        assert task.flexible(problems.prompts, [completion], **problems.columns) == [flexible]
    with pytest.raises(InputError, match="answer"):
        load_task(write_jsonl(tmp_path / "bad.jsonl", [{"prompt": "1"}]))


def test_unknown_tasks_get_the_nearest_name():
    with pytest.raises(InputError) as caught:
        load_task("countdwn")
    assert "countdown" in caught.value.mend
