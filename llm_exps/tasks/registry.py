"""Loading a task by name, from a user's Python file, or from a JSON Lines file of questions and answers."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llm_exps.tasks import addition, answers, countdown, gsm8k, math500
from llm_exps.tasks.data import read_rows
from llm_exps.tasks.task import CORRECT, NO_ANSWER, WRONG, Scheme, Task, lift
from llm_exps.tasks.templates import read_template
from rino_base.messages import InputError
from rino_base.user_code import call, load_file

TASKS: Mapping[str, Callable[..., Task]] = MappingProxyType(
    {
        "countdown-small": countdown.small,
        "countdown": countdown.task,
        "gsm8k": gsm8k.task,
        "math-500": math500.task,
        "addition": addition.small,
        "addition-two-digit": addition.two_digit,
    }
)


def load_task(
    name: str,
    *,
    data: str | None = None,
    evaluation_data: str | None = None,
    prompt_template: Path | None = None,
    scheme: Scheme | None = None,
) -> Task:
    """The task `name`: a key of `TASKS`, a `.py` file with a function `task() -> Task`, or a `.jsonl` file with the
    columns `prompt` and `answer`.

    `data` and `evaluation_data` go to the task's maker: which sources it reads is in its docstring. `prompt_template`
    replaces the
    task's own template, `scheme` its reward scheme.

    Raises:
        InputError: an unknown name, a maker that takes no such data, broken data, a template that does not fit, or
        evaluation prompts in the training data.
    """
    text = None if prompt_template is None else read_template(prompt_template)
    options: dict[str, Any] = {"data": data, "evaluation_data": evaluation_data}
    if name.endswith(".jsonl"):
        options |= {"data": name, "template": text}
    maker = _maker(name)
    given = {key: value for key, value in options.items() if value is not None}
    if refused := sorted(set(given).difference(inspect.signature(maker).parameters)):
        flags = " and ".join("--" + key.replace("_", "-") for key in refused)
        raise InputError(f"the task {name} takes no {flags}", mend="leave it out")
    changes: dict[str, Any] = {
        key: value for key, value in {"template": text, "scheme": scheme}.items() if value is not None
    }
    task = maker(**given)
    if not isinstance(task, Task):
        raise InputError(f"task() of {name} returned a {type(task).__name__}", mend="return an llm_exps.tasks.Task")
    return replace(task, **changes)


def _maker(name: str) -> Callable[..., Task]:
    if name in TASKS:
        return TASKS[name]
    if name.endswith(".jsonl"):
        return _questions
    if name.endswith(".py"):
        return _from_file(Path(name))
    near = difflib.get_close_matches(name, TASKS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"unknown task {name}", mend=f"{hint}tasks: {', '.join(TASKS)}, or a .py or .jsonl file of your own"
    )


def _from_file(path: Path) -> Callable[..., Task]:
    if not path.is_file():
        raise InputError(
            f"no such task file: {path}",
            mend="give a .py file with a function task() that returns a Task (docs/tasks.md)",
        )
    module = call(lambda: load_file(path), path, "task file")
    maker = getattr(module, "task", None)
    if not callable(maker):
        raise InputError(
            f"the task file {path} has no function task()", mend="define task() -> llm_exps.tasks.Task (docs/tasks.md)"
        )

    def make(**given: Any) -> Task:
        made: Task = call(lambda: maker(**given), path, "task file")
        return made

    make.__signature__ = inspect.signature(maker)  # type: ignore[attr-defined]
    return make


def _questions(*, data: str, evaluation_data: str | None = None, template: str | None = None) -> Task:
    """Questions and answers. Strict: the inside of the last `<answer>…</answer>`; flexible: that, or else the last
    number or line.
    """
    required = ("answer",) if template else ("prompt", "answer")
    rows = read_rows(data, required=required)
    if evaluation_data is None:
        train, evaluation = rows.split(held_out=max(1, len(rows) // 10))
    else:
        train, evaluation = rows, read_rows(evaluation_data, required=required)
    return Task(
        name=Path(data).stem,
        train=train,
        evaluation=evaluation,
        template=template or "{prompt}",
        strict=lift(
            lambda completion, *, answer, **_: _grade(answers.tagged(completion, last_line_only=False), answer)
        ),
        flexible=lift(lambda completion, *, answer, **_: _grade(_loose(completion, answer), answer)),
    )


def _loose(completion: str, answer: str) -> str | None:
    tagged = answers.tagged(completion, last_line_only=False)
    if tagged is not None:
        return tagged
    if answers.number(str(answer)) is not None:
        found = answers.last_number(completion)
        return None if found is None else str(found)
    return completion.strip().rpartition("\n")[2] or None


def _grade(found: str | None, answer: object) -> float:
    if found is None:
        return NO_ANSWER
    return CORRECT if answers.same(found, str(answer)) else WRONG
