"""Hostile and broken input of every kind, made by machine: a clear error or a result, in bounded time; nothing else.

The daily run tries few examples of each. Verifiers have theirs in `llm_exps/test_verifiers.py`, a million under
`pytest -m slow`.
"""

import json
import struct
import time
from contextlib import contextmanager

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figures.reading import read_results
from llm_exps.models.config import DecoderConfig
from llm_exps.models.huggingface import load
from llm_exps.setup import EMBEDDED_MODEL
from llm_exps.tasks.registry import load_task
from mdp_theory.problems.files import problem_of
from mdp_theory.problems.zoo import load as load_problem
from rino.config_file import provider
from rino_base.messages import InputError

# A directory is shared by the examples of a test: each overwrites the file of the last.
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECONDS = 10.0


@contextmanager
def in_time(seconds=SECONDS):
    """Within so much time of this processor."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def allowed(call, *arguments, **named):
    """The call's result, or None where it is refused."""
    with in_time():
        try:
            return call(*arguments, **named)
        except InputError:
            return None


PROBLEM = {
    "name": "p",
    "vocabulary": ["a", "b", "<eos>"],
    "eos": "<eos>",
    "horizon": 2,
    "prompt": [{"text": "q", "rewards": {"a <eos>": 1.0}}],
    "environment": [{"after": "a", "says": [{"tokens": ["b"], "probability": 1.0}]}],
}


@FEW
@given(st.data())
def test_problems_with_any_value_anywhere(data):
    changed = mutated(data, PROBLEM)
    allowed(problem_of, changed if isinstance(changed, dict) else {}, where="fuzz")


@FEW
@given(text=st.one_of(st.binary(max_size=200), st.text(alphabet='[]{}="\\\n.a1_-#', max_size=200).map(str.encode)))
def test_files_of_any_bytes(tmp_path, text):
    for name in ("f.toml", "f.jsonl", "f.yaml", "f.json"):
        (tmp_path / name).write_bytes(text)
    allowed(load_problem, str(tmp_path / "f.toml"))
    allowed(load_task, str(tmp_path / "f.jsonl"))
    for suffix in ("toml", "yaml", "json"):
        allowed(provider, tmp_path / f"f.{suffix}", "train")


@FEW
@given(rows=st.lists(st.one_of(values, st.fixed_dictionaries({"prompt": values, "answer": values})), max_size=6))
def test_tasks_of_any_rows(tmp_path, rows):
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = allowed(load_task, str(tmp_path / "f.jsonl"))
    if task is not None:
        problems = task.evaluation_problems()
        grades = task.strict(problems.prompts, ["<answer>1</answer>"] * len(problems), **problems.columns)
        assert set(grades) <= {0.0, 0.1, 1.0}


CONFIG = json.loads((EMBEDDED_MODEL / "config.json").read_text())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_model_configurations_with_any_value_anywhere(data):
    changed = mutated(data, CONFIG)
    config = allowed(DecoderConfig.from_huggingface, changed) if isinstance(changed, dict) else None
    assert config is None or (config.num_layers >= 1 and isinstance(hash(config), int))


RUN = {"method": "grpo", "title": "GRPO", "seed": 0, "steps": 2, "task": "t", "model": "m", "learning_rate": 1e-3}
ROWS = [{"step": 1, "reward": 0.5, "grad_norm": 1.0}, {"step": 2, "reward": 0.75, "grad_norm": None}]


@FEW
@given(st.data())
def test_run_files_with_any_value_anywhere(tmp_path, data):
    (tmp_path / "config.json").write_text(json.dumps(mutated(data, RUN)))
    for log in ("metrics", "eval", "samples", "timing"):
        rows = mutated(data, ROWS) if data.draw(st.booleans()) else ROWS
        (tmp_path / f"{log}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in (rows if isinstance(rows, list) else [rows]))
        )
    found = allowed(read_results, tmp_path)
    if found is not None:
        assert all(arm.matrix("reward")[1].shape[0] == len(arm.runs) for arm in found.all_arms)


WEIGHTS = (EMBEDDED_MODEL / "model.safetensors").read_bytes()
(LENGTH,) = struct.unpack("<Q", WEIGHTS[:8])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_safetensors_of_any_header(tmp_path, data):
    header = bytearray(WEIGHTS[8 : 8 + LENGTH])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, LENGTH - 1))
        header[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    length = data.draw(st.one_of(st.just(len(header)), st.integers(0, 2**64 - 1)))
    for file in EMBEDDED_MODEL.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", length) + bytes(header) + WEIGHTS[8 + LENGTH :])
    allowed(load, tmp_path)


def mutated(data, value):
    """`value` with one part of it replaced by anything, or taken away."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        if data.draw(st.integers(0, 3)) == 0:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutated(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value) - 1))
        return [*value[:place], mutated(data, value[place]), *value[place + 1 :]]
    return data.draw(values)
