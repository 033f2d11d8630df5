"""Tasks: problems, prompts and verifiers. `task.py` holds the contract and its summary; `registry.py` loads a task by
name or from a user's file.
"""

from llm_exps.tasks.registry import TASKS, load_task
from llm_exps.tasks.task import (
    CORRECT,
    NO_ANSWER,
    WRONG,
    Problems,
    RewardFunction,
    Scheme,
    Table,
    Task,
    check_disjoint,
    lift,
)

__all__ = [
    "CORRECT",
    "NO_ANSWER",
    "TASKS",
    "WRONG",
    "Problems",
    "RewardFunction",
    "Scheme",
    "Table",
    "Task",
    "check_disjoint",
    "lift",
    "load_task",
]
