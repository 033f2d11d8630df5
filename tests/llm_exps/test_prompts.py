"""Prompts to tokens: as they are or in a chat template; what does not fit is seen before the first step, or dropped."""

import dataclasses
import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llm_exps.models.huggingface import load_tokenizer
from llm_exps.options import RunOptions, SamplingOptions
from llm_exps.prepare import prepare_run
from llm_exps.prompts import encode, fit_task, unfit
from llm_exps.setup import EMBEDDED_MODEL
from llm_exps.stopping import cut
from llm_exps.tasks.registry import load_task
from rino import cli
from rino_base.messages import InputError

TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} <answer> {% endif %}"
)


@pytest.fixture
def tokenizer():
    return load_tokenizer(EMBEDDED_MODEL)


@pytest.fixture
def byte_tokenizer():
    """Writes every text, one token a byte, and normalises accents."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_a_chat_template_wraps_the_prompt(tokenizer):
    tokenizer.chat_template = TEMPLATE
    (plain,) = encode(tokenizer, ["7 8 9 make 65:"], chat=False)
    (wrapped,) = encode(tokenizer, ["7 8 9 make 65:"], chat=True)
    assert tokenizer.decode(plain) == "7 8 9 make 65:"
    assert tokenizer.decode(wrapped) == "7 8 9 make 65: <answer> "


def test_a_tokenizer_without_a_template_is_named(tokenizer):
    with pytest.raises(InputError, match="no chat template"):
        encode(tokenizer, ["7 8 9 make 65:"], chat=True)


def test_half_a_character_is_named(tokenizer):
    with pytest.raises(InputError, match=r"holds half a character \('\\ud800'\)"):
        encode(tokenizer, ["7 8 9", "7 \ud800"], chat=False)


def problems(tokenizer, *prompts, longest=100):
    found = unfit(tokenizer, prompts, encode(tokenizer, prompts, chat=False), longest=longest)
    return {place: str(error) for place, error in found}


def test_what_does_not_fit_is_found_by_its_place(tokenizer):
    found = problems(tokenizer, "7 8 9", "", "1 2 3 4 5 6 7 8", "seven 8", "8 9", longest=8)
    assert {place: text.split(":")[0] for place, text in found.items()} == {
        1: "a prompt is empty\ngive every prompt at least one token",
        2: "a prompt has 15 tokens, max_prompt_length is 8",
        3: "the model's tokenizer cannot write the prompt 'seven 8'",
    }


@pytest.mark.parametrize("prompt", ["cafe\u0301 naïve", "  spaces\n\tand lines ", "\u2028 🙂 ‮", "[red] [/x]"])
def test_what_a_tokenizer_normalises_is_not_lost(byte_tokenizer, prompt):
    assert problems(byte_tokenizer, prompt) == {}


@pytest.fixture
def half(tmp_path):
    """A task: every other prompt has a word that the embedded tokenizer cannot write."""
    file = tmp_path / "half.jsonl"
    rows = [{"prompt": f"{'seven' if i % 2 else 7} {i} make 9:", "answer": "1"} for i in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def fitted(file, tokenizer, **changes):
    given = {"longest": 40, "chat": False, "held_out": None, "training": True, "drop": False, **changes}
    return fit_task(load_task(str(file)), tokenizer, **given)


def test_the_whole_table_is_looked_at(half, tokenizer):
    with pytest.raises(
        InputError, match=r"18 of 36 training prompts do not fit, the first: .*'seven 1 make 9:'"
    ) as error:
        fitted(half, tokenizer)
    assert "--unfit-prompts drop" in error.value.mend


def test_dropped_prompts_are_counted_and_the_rest_stays(half, tokenizer):
    task, dropped, longest = fitted(half, tokenizer, drop=True)
    # "7 38 make 9:" is the longest that it can write.
    assert longest == max(map(len, encode(tokenizer, task.render(task.train).prompts, chat=False)))
    assert dropped == {"train": 18, "evaluation": 2}
    assert (len(task.train), len(task.evaluation)) == (18, 2)
    assert all("seven" not in prompt for prompt in task.render(task.train).prompts)


def test_only_held_out_prompts_that_are_used_have_to_fit(half, tokenizer):
    assert fitted(half, tokenizer, held_out=1, training=False)[1] == {"evaluation": 0}
    with pytest.raises(InputError, match="1 of 2 held-out"):
        fitted(half, tokenizer, held_out=2, training=False)
    with pytest.raises(InputError, match="none of the 36 training prompts fits"):
        fitted(half, tokenizer, longest=1, drop=True)


def test_a_run_is_refused_before_its_first_step_or_drops_and_records(half, tmp_path, capsys):
    out = tmp_path / "run"
    sizes = "--steps 1 --num-prompts 2 --num-generations 2 --eval-prompts 2 --eval-samples 1 --probe-every 0"
    command = ["train", "--task", str(half), "--out", str(out), "--max-completion-length", "8", *sizes.split()]
    assert cli.run(command) == 2
    assert "18 of 36 training prompts do not fit" in capsys.readouterr().err
    assert not out.exists()
    assert cli.run([*command, "--unfit-prompts", "drop"]) == 0
    assert json.loads((out / "config.json").read_text())["dropped_prompts"] == {"train": 18, "evaluation": 2}


@pytest.mark.parametrize(
    ("text", "stops", "length", "kept"),
    [
        ("the sum is 4\n\nQ: what", ["\n\nQ:"], 16, "the sum is 4"),
        ("a</s>b<end>", ["<end>", "</s>"], 5, "a"),
        ("naïve ☃ stop", ["☃"], 10, "naïve "),
        ("stop", ["stop"], 4, ""),
    ],
)
def test_a_stop_string_ends_a_completion_with_the_token_that_completes_it(byte_tokenizer, text, stops, length, kept):
    (tokens,) = encode(byte_tokenizer, [text], chat=False)
    assert cut(byte_tokenizer, tokens, stops) == (length, kept)


def test_stop_strings_cut_what_would_have_been_drawn(tmp_path):
    """The same draws with and without: the text up to the stop string, and the tokens up to its last."""
    command = ["generate", "--num", "6", "--max-completion-length", "40", "--json", str(tmp_path / "found.json")]
    assert cli.run(command) == 0
    whole = json.loads((tmp_path / "found.json").read_text())
    assert cli.run([*command, "--stop-strings", ",", " ="]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["completion"] for row in found] == [row["completion"].split(",")[0].split(" =")[0] for row in whole]
    assert all(one["tokens"] < other["tokens"] for one, other in zip(found, whole, strict=True))


def test_without_a_stop_string_a_completion_stays(byte_tokenizer):
    (tokens,) = encode(byte_tokenizer, ["the sum is 4"], chat=False)
    assert cut(byte_tokenizer, tokens, ["\n"]) is None
    assert cut(byte_tokenizer, tokens, ()) is None


def test_memory_is_counted_for_the_prompts_that_will_be_asked():
    options = RunOptions(sampling=SamplingOptions(max_prompt_length=40, max_completion_length=16))
    setup, resolved = prepare_run("default", "countdown-small", options)
    prompts = setup.task.render(setup.task.train).prompts
    longest = max(map(len, encode(setup.tokenizer, prompts, chat=False)))
    assert setup.longest_prompt == longest < 40
    assert longest + 16 <= setup.longest_row(resolved.sampling) < 40 + 16
    assert dataclasses.replace(setup, longest_prompt=None).longest_row(resolved.sampling) == 40 + 16
