"""Each named problem against a second, independent statement of its rule."""

import ast
from collections import Counter

import numpy as np
import pytest

from mdp_theory.problems import zoo
from mdp_theory.problems.controls import Control
from mdp_theory.problems.graph import best_value
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError


def outcomes(mdp):
    """(prompt, words, reward) of every response."""
    tokens, lengths = mdp.responses
    for x, prompt in enumerate(mdp.prompts):
        for row, length, reward in zip(tokens, lengths, mdp.response_rewards[x], strict=True):
            yield prompt, [mdp.vocabulary[t] for t in row[:length]], reward


def test_there_are_more_than_ten_and_each_loads_under_its_name():
    assert len(zoo.ZOO) >= 10
    for name in zoo.ZOO:
        problem = zoo.load(name)
        assert problem.name == name
        assert isinstance(problem, TokenMDP | Control)
        if isinstance(problem, TokenMDP) and problem.moves is not None:
            assert (best_value(problem) >= 1).all()
        elif isinstance(problem, TokenMDP):
            assert (problem.response_rewards.max(axis=1) >= 1).all()  # every prompt can be solved
            assert (problem.response_rewards.min(axis=1) == 0).all()


@pytest.mark.parametrize(("name", "credit"), [("countdown", 0.0), ("countdown-format", 0.1)])
def test_countdown_is_scored_by_exact_arithmetic(name, credit):
    for prompt, words, reward in outcomes(zoo.load(name)):
        numbers, target = prompt.split(" = ")
        ended = words[-1] == "<eos>" and len(words) > 1
        body = "".join(words[:-1])
        right = False
        if ended and Counter(c for c in body if c.isdigit()) == Counter(numbers.split()):
            try:
                value = ast.unparse(ast.parse(body, mode="eval"))
                # Python reads "2--3" and "23": the game does not.
                alternates = all(c.isdigit() != (i % 2 == 1) for i, c in enumerate(body))
                right = alternates and len(body) % 2 == 1 and eval(value, {"__builtins__": {}}) == int(target)
            except SyntaxError:
                right = False
        assert reward == (1.0 if right else credit if ended else 0.0), (prompt, words)


def test_countdown_targets_can_be_reached_in_several_ways():
    mdp = zoo.load("countdown")
    assert (mdp.response_rewards.sum(axis=1) >= 4).all()


def test_the_sum_chain_scores_the_answer_alone():
    solved = set()
    for prompt, words, reward in outcomes(zoo.load("gsm-chain")):
        answer = {"1 apple and 1 and 2 more": "4", "2 apples and 0 and 1 more": "3"}[prompt]
        assert reward == (" ".join(words).endswith(f"# {answer} <eos>"))
        solved.add((prompt, reward, len(words)))
    assert {length for _, reward, length in solved if reward} == {3, 4, 5}


def test_brackets_balance():
    for _, words, reward in outcomes(zoo.load("balanced-brackets")):
        body, ended = "".join(words[:-1]), words[-1] == "<eos>"
        while "()" in body:
            body = body.replace("()", "")
        assert reward == (ended and len(words) > 1 and body == "")


def test_two_letter_words_follow_their_prompts():
    rules = {
        "a word with one a and one b": lambda body: sorted(body) == ["a", "b"],
        "a word that ends in b": lambda body: body[-1:] == ["b"],
    }
    for prompt, words, reward in outcomes(zoo.load("two-letter-words")):
        assert reward == (words[-1] == "<eos>" and rules[prompt](words[:-1]))


def test_the_rest():
    for _, words, reward in outcomes(zoo.load("three-level")):
        ended = words[-1] == "<eos>"
        assert reward == (1.0 if ended and "a" in words and "b" in words else 0.1 if ended else 0.0)
    for prompt, words, reward in outcomes(zoo.load("prompt-mixture")):
        assert reward == " ".join(words).startswith(prompt.removeprefix("start with "))
    assert zoo.load("needle").response_rewards.sum() == 1
    hazard = zoo.load("eos-hazard")
    assert all(reward == (words[0] == "right") for _, words, reward in outcomes(hazard))
    lengths = {reward: [] for reward in (0.0, 1.0)}
    for _, words, reward in outcomes(zoo.load("long-wrong-answers")):
        lengths[reward].append(len(words))
    assert np.mean(lengths[1.0]) < np.mean(lengths[0.0])


def test_expressions_that_are_none():
    assert zoo.evaluate(("2", "+", "3", "*", "5")) == 17
    assert zoo.evaluate(("2", "-", "3", "*", "5")) == -13
    assert zoo.evaluate(("3", "*", "5", "-", "2")) == 13
    for wrong in [(), ("2", "+"), ("+", "2"), ("2", "3", "5"), ("2", "+", "*")]:
        assert zoo.evaluate(wrong) is None


def test_an_unknown_name_gets_the_nearest(tmp_path):
    with pytest.raises(InputError) as caught:
        zoo.load("cuntdown")
    assert "'cuntdown'" in caught.value.problem
    assert "did you mean 'countdown'?" in caught.value.mend
    with pytest.raises(InputError, match="No such file"):
        zoo.load(str(tmp_path / "absent.toml"))
