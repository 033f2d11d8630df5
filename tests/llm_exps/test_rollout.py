"""Prompts to tokens: as they are, or in the chat template of the tokenizer."""

import pytest

from llm_exps.experiment import EMBEDDED_MODEL
from llm_exps.models.huggingface import load_tokenizer
from llm_exps.options import SamplingOptions
from llm_exps.rollout import Actor
from rino_base.messages import InputError

TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} <answer> {% endif %}"
)


@pytest.fixture
def tokenizer():
    return load_tokenizer(EMBEDDED_MODEL)


def actor(tokenizer, **options):
    return Actor(None, tokenizer, (0,), SamplingOptions(**options))


def test_a_chat_template_wraps_the_prompt(tokenizer):
    tokenizer.chat_template = TEMPLATE
    plain = actor(tokenizer).encode("7 8 9 make 65:")
    wrapped = actor(tokenizer, apply_chat_template=True).encode("7 8 9 make 65:")
    assert tokenizer.decode(plain) == "7 8 9 make 65:"
    assert tokenizer.decode(wrapped) == "7 8 9 make 65: <answer> "


def test_a_tokenizer_without_a_template_is_named(tokenizer):
    with pytest.raises(InputError, match="no chat template"):
        actor(tokenizer, apply_chat_template=True).encode("7 8 9 make 65:")
