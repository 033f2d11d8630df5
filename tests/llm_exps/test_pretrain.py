"""The embedded model: its tokenizer, its traces, the command that makes it, and the committed result."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from llm_exps.models.huggingface import load, load_tokenizer
from llm_exps.options import SamplingOptions
from llm_exps.pretrain import cross_entropy
from llm_exps.pretrain_command import pretrain
from llm_exps.rollout import Actor
from llm_exps.setup import EMBEDDED_MODEL
from llm_exps.tasks import CORRECT, WRONG, load_task
from llm_exps.tasks.countdown import grade_flexible, grade_strict
from llm_exps.tasks.expression import parse
from llm_exps.traces import TraceBatch, TraceOptions, encode_traces, make_tokenizer, make_trace, possible_attempts
from rino_base.messages import InputError

OPTIONS = TraceOptions(luck=0.4, resign=0.2, max_attempts=3)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def task():
    return load_task("countdown-small")


def traces(task, count, options=OPTIONS):
    """(row, prompt, trace) of the first problems."""
    rng = np.random.default_rng(0)
    problems = task.prompts_for_step(0, 0, count)
    rows = [dict(zip(problems.columns, values, strict=True)) for values in zip(*problems.columns.values(), strict=True)]
    made = [make_trace(possible_attempts(row["nums"], row["target"]), rng, options) for row in rows]
    return list(zip(rows, problems.prompts, made, strict=True))


def test_every_line_of_a_trace_is_true(task):
    for row, _, trace in traces(task, 100):
        attempts, _, answer = trace.partition(" <answer> ")
        for attempt in attempts.split(", "):
            text, _, value = attempt.partition(" = ")
            assert parse(text).value == int(value)
            assert sorted(parse(text).numbers) == row["nums"]
        assert answer == f"{text} </answer>"
        grade = grade_strict(trace, **row)
        assert grade == grade_flexible(trace, **row) == (CORRECT if int(value) == row["target"] else WRONG)
        # Attempts go on only while they fail.
        assert all(int(attempt.rpartition(" ")[2]) != row["target"] for attempt in attempts.split(", ")[:-1])


def test_traces_differ_in_length_and_some_end_wrongly(task):
    made = traces(task, 300)
    attempts = [trace.count("=") for _, _, trace in made]
    assert set(attempts) == {1, 2, 3}
    right = np.mean([grade_strict(trace, **row) == CORRECT for row, _, trace in made])
    # Each attempt: solved 0.4, else tried again 0.8 of the time: 0.4 (1 + 0.48 + 0.48²) = 0.68, plus few lucky ends.
    assert right == pytest.approx(0.68, abs=0.08)
    assert all(trace.count("=") == 1 for _, _, trace in traces(task, 50, TraceOptions(1.0, 0.0, 3)))


def test_the_tokenizer_gives_the_text_back(tokenizer, task):
    for _, prompt, trace in traces(task, 50):
        for text in (prompt, trace, prompt + trace):
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        assert tokenizer(prompt + trace)["input_ids"] == tokenizer(prompt)["input_ids"] + tokenizer(trace)["input_ids"]
        assert tokenizer.eos_token_id not in tokenizer(prompt + trace)["input_ids"]
    numbers = tokenizer(" ".join(map(str, range(100))))["input_ids"]
    assert len(set(numbers)) == 101  # one token a number, and the space


@given(
    st.lists(st.sampled_from(["3", "14", " + ", " * ", " = ", ", ", " make ", ":", " <answer> ", " </answer>", " "]))
)
def test_decoding_and_encoding_again_changes_no_text(words):
    text = "".join(words)
    tokenizer = make_tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_encoded_traces(tokenizer):
    batch = encode_traces(tokenizer, ["1 2 3 make 6:", "1 2 make 3:"], ["1 + 2 + 3 = 6", "3"])
    decoded = [tokenizer.decode(row[weight == 1]) for row, weight in zip(batch.tokens, batch.weight, strict=True)]
    assert decoded == ["1 + 2 + 3 = 6<|endoftext|>", "3<|endoftext|>"]


def test_the_loss_is_that_of_the_traces_alone(tokenizer):
    model, _ = load(EMBEDDED_MODEL)
    batch = encode_traces(tokenizer, ["1 2 3 make 6:"] * 2, ["1 + 2 + 3 = 6 <answer> 1 + 2 + 3 </answer>", "6"])
    logits = nnx.jit(lambda model, tokens: model.logits(model(tokens)))(model, batch.tokens[:, :-1])
    logp = jax.nn.log_softmax(logits)
    picked = np.take_along_axis(np.asarray(logp), batch.tokens[:, 1:, None], axis=2)[..., 0]
    chosen = picked[batch.weight[:, 1:] == 1]
    assert len(chosen) == 15 + 2
    loss = nnx.jit(cross_entropy)
    assert loss(model, batch) == pytest.approx(-chosen.mean(), rel=1e-5)
    longer = TraceBatch(np.pad(batch.tokens, [(0, 0), (0, 4)]), np.pad(batch.weight, [(0, 0), (0, 4)]))
    assert loss(model, longer) == pytest.approx(-chosen.mean(), rel=1e-5)


def test_the_command_makes_a_model_that_loads_and_the_same_one_again(tmp_path):
    options = {"steps": 3, "batch_size": 8, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "eval_prompts": 2}
    for name in ("a", "b"):
        assert pretrain(tmp_path / name, **options, json=tmp_path / f"{name}.json") == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    model, config = load(tmp_path / "a")
    assert config.architecture == "qwen2"
    assert len(load_tokenizer(tmp_path / "a")) == config.vocabulary_size
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert [entry["step"] for entry in record["losses"]] == [1, 2, 3]
    assert "--num-layers 1" in record["command"]
    with pytest.raises(InputError, match="already"):
        pretrain(tmp_path / "a", **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 0),
        ("luck", 1.5),
        ("resign", -0.1),
        ("max_attempts", 5),
        ("seed", -1),
        ("num_heads", 5),
        ("hidden_size", 12),  # heads of 3
        ("learning_rate", float("nan")),
        ("eval_prompts", 0),
    ],
)
def test_numbers_out_of_range_are_refused_before_work_starts(tmp_path, option, value):
    with pytest.raises(InputError):
        pretrain(tmp_path / "model", **{option: value})
    assert not (tmp_path / "model").exists()


def test_the_embedded_model_is_what_its_record_says(task):
    record = json.loads((EMBEDDED_MODEL / "pretraining.json").read_text())
    assert 0.2 <= record["evaluation"]["eval/pass@1"] <= 0.4
    model, config = load(EMBEDDED_MODEL)
    assert 100_000 / 2 <= record["parameters"] <= 1_000_000
    assert sum(file.stat().st_size for file in EMBEDDED_MODEL.iterdir()) < 4e6
    graph, params = nnx.split(model)
    sampling = SamplingOptions(max_prompt_length=8, max_completion_length=config.max_positions // 2)
    actor = Actor(graph, load_tokenizer(EMBEDDED_MODEL), config.eos_token_ids, sampling)
    problems = task.evaluation_problems(256)
    completions = actor.complete(params, problems.prompts, jax.random.key(0), copies=2)
    problems = problems.repeat(2)
    accuracy = np.mean(task.reward(problems.prompts, completions.texts, **problems.columns))
    # 512 samples: a standard error of 0.02.
    assert accuracy == pytest.approx(record["evaluation"]["eval/pass@1"], abs=0.07)
    assert completions.ended.mean() > 0.98
    assert set(np.unique(completions.lengths)) > {15, 23, 31}


def test_transformers_reads_the_embedded_tokenizer_by_its_own_rules(task):
    # In a process of its own: the import of AutoTokenizer takes seconds, and with torch much memory.
    code = (
        "import sys; from transformers import AutoTokenizer; t = AutoTokenizer.from_pretrained(sys.argv[1]);"
        "assert t.decode(t(sys.argv[2])['input_ids']) == sys.argv[2]; print(len(t(sys.argv[2])['input_ids']))"
    )
    text = "4 7 9 make 37:4 * 7 + 9 = 37 <answer> 4 * 7 + 9 </answer>"
    command = [sys.executable, "-c", code, str(Path(EMBEDDED_MODEL)), text]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) == 8 + 14
