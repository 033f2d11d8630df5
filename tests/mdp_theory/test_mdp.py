"""Problems from tables, functions and files; everything that can be wrong with them; passes over the tree."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.problems import tree
from mdp_theory.problems.files import read_problem
from mdp_theory.problems.levels import count_responses, flatten
from mdp_theory.problems.mdp import TokenMDP
from rino_base.messages import InputError

GOOD = """
name = "words"
vocabulary = ["a", "<eos>", "b"]
eos = "<eos>"
horizon = 3
[[prompt]]
text = "p0"
probability = 0.25
default_reward = 0.5
rewards = { "a b <eos>" = 1.0, "b b b" = -2, "<eos>" = 0.1 }
[[prompt]]
text = "p1"
probability = 0.75
"""


@pytest.fixture
def problem_file(tmp_path):
    def write(text):
        path = tmp_path / "problem.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def every_response(letters, horizon):
    """The responses, written out naively: (tokens, ended by the end token)."""
    for length in range(1, horizon + 1):
        for body in itertools.product(letters, repeat=length - 1):
            yield (*body, "<eos>")
        if length == horizon:
            for body in itertools.product(letters, repeat=horizon):
                yield body


def test_a_file_gives_each_response_its_reward(problem_file):
    mdp = read_problem(problem_file(GOOD))
    assert mdp.vocabulary == ("a", "b", "<eos>")  # the end token moved to the last place
    tokens, lengths = mdp.responses
    found = {
        " ".join(mdp.vocabulary[t] for t in row[:length]): reward
        for row, length, reward in zip(tokens, lengths, mdp.response_rewards[0], strict=True)
    }
    assert set(found) == {" ".join(response) for response in every_response("ab", 3)}
    assert len(found) == mdp.num_responses // 2 == 15
    given = {"a b <eos>": 1.0, "b b b": -2.0, "<eos>": 0.1}
    assert found == {response: given.get(response, 0.5) for response in found}
    assert not mdp.response_rewards[1].any()
    np.testing.assert_array_equal(mdp.prompt_probability, [0.25, 0.75])
    np.testing.assert_array_equal(mdp.reward_levels, [-2, 0, 0.1, 0.5, 1])


def test_a_function_sees_every_response_once():
    seen = []

    def reward(prompt, tokens):
        seen.append((prompt, tokens))
        return len(tokens) / 10 + tokens.count("b")

    options = {"vocabulary": ["a", "b", "<eos>"], "eos": "<eos>", "horizon": 3}
    mdp = TokenMDP.from_function("f", prompts=["x", "y"], reward=reward, **options)
    assert sorted(seen) == sorted((p, r) for p in "xy" for r in every_response("ab", 3))
    for prompt, words in seen:
        depth, prefix = len(words) - 1, 0
        for word in words[:-1]:
            prefix = 2 * prefix + "ab".index(word)
        value = mdp.rewards[depth]["xy".index(prompt), prefix, mdp.vocabulary.index(words[-1])]
        assert value == len(words) / 10 + words.count("b")
        assert mdp.words(depth, prefix, mdp.vocabulary.index(words[-1])) == list(words)


@pytest.mark.parametrize(
    ("change", "problem", "mend"),
    [
        (('"a b <eos>" = 1.0', '"a c <eos>" = 1.0'), "unknown token 'c'", "vocabulary is a b <eos>"),
        (('"a b <eos>" = 1.0', '"a b <eo>" = 1.0'), "unknown token '<eo>'", "did you mean '<eos>'"),
        (("probability = 0.25", "probability = 0.5"), "sum to 1.25, not to 1", "sum to 1"),
        (("probability = 0.25", "probability = -0.25"), "probability -0.25", "not negative"),
        (("probability = 0.25", "probability = nan"), "probability nan", "not negative"),
        (("probability = 0.25\n", ""), "'p0' has no probability", "all prompts or to none"),
        (('"b b b" = -2', '"b b b b" = 1.0'), "has 4 tokens, the horizon is 3", "horizon"),
        (('"a b <eos>" = 1.0', '"a <eos> b" = 1.0'), "goes on after <eos>", "end it"),
        (('"a b <eos>" = 1.0', '"a b" = 1.0'), "has not ended", "add <eos>"),
        (('"a b <eos>" = 1.0', '"" = 1.0'), "has not ended: 0 tokens", "add <eos>"),
        (('"a b <eos>" = 1.0', '"a  b <eos>" = 1.0, "a b <eos>" = 2.0'), "given twice", "keep one"),
        (('"b b b" = -2', '"b b b" = nan'), "the reward of 'b b b' to 'p0' is nan", "finite"),
        (("default_reward = 0.5", "default_reward = inf"), "is inf", "finite"),
        (('"b b b" = -2', '"b b b" = "two"'), "'two' is a str", "int or float"),
        (('"b b b" = -2', '"b b b" = true'), "True is a bool", "int or float"),
        (("horizon = 3", "horizon = "), "not valid TOML", "line"),
        (("horizon = 3", "horizon = 3.0"), "3.0 is a float", "int"),
        (("horizon = 3", "horizon = 0"), "horizon is 0, the rule is a whole number from 1", "largest number of tokens"),
        (("horizon = 3", "horizont = 3"), "'horizon' is missing", "fields are name"),
        (("default_reward", "defaultreward"), "'defaultreward' is unknown", "fields are text"),
        (('eos = "<eos>"', 'eos = "<end>"'), "'<end>' is not in the vocabulary", "add it"),
        (('"a", "<eos>", "b"', '"a", "<eos>", "a"'), "lists 'a' twice", "once"),
        (('"a", "<eos>", "b"', '"a", "<eos>", "b c"'), "'b c' is empty or holds a space", "spaces separate"),
        (('"a", "<eos>", "b"', '"<eos>"'), "no token besides the end token", "add at least one"),
        (('"a", "<eos>", "b"', '"a", "<eos>", 3'), "3 is a int", "str"),
        (('text = "p1"', 'text = "p0"'), "'p0' is used twice", "its own text"),
        (("horizon = 3", "horizon = 40"), "4,398,046,511,102 responses, the limit is 20,000,000", "lower the horizon"),
        (("horizon = 3", "horizon = 400"), "about 10^121 responses", "lower the horizon"),
    ],
)
def test_a_wrong_file_is_named_in_two_lines(problem_file, change, problem, mend):
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(InputError) as caught:
        read_problem(problem_file(text))
    assert problem in caught.value.problem
    assert mend in caught.value.mend
    assert "\n" not in caught.value.problem.split(": not valid")[0]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_problem(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(InputError, match="not UTF-8"):
        read_problem(tmp_path / "latin.toml")
    (tmp_path / "prompt.toml").write_text(GOOD.split("[[prompt]]")[0] + 'prompt = ["p0"]')
    with pytest.raises(InputError, match="not a list of tables"):
        read_problem(tmp_path / "prompt.toml")


def test_arrays_must_fit_and_rewards_must_be_terminal():
    mdp = TokenMDP.from_table("t", vocabulary=["a", "<eos>"], eos="<eos>", horizon=2, rewards={"p": {}})
    inside = (np.ones((1, 1, 2)), np.zeros((1, 1, 2)))
    with pytest.raises(InputError, match="does not end the response"):
        TokenMDP("t", mdp.prompts, mdp.prompt_probability, mdp.vocabulary, inside)
    with pytest.raises(InputError, match="shape"):
        TokenMDP("t", mdp.prompts, mdp.prompt_probability, mdp.vocabulary, (np.zeros((1, 2, 2)),))


@settings(derandomize=True)
@given(letters=st.integers(1, 4), horizon=st.integers(1, 6))
def test_the_count_is_the_number_of_responses(letters, horizon):
    assert count_responses(letters + 1, horizon) == sum(1 for _ in every_response("abcd"[:letters], horizon))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(letters=st.integers(1, 3), horizon=st.integers(1, 4), prompts=st.integers(1, 2), seed=st.integers(0, 10**6))
def test_passes_agree_with_sums_over_responses(letters, horizon, prompts, seed):
    rng = np.random.default_rng(seed)
    mdp = TokenMDP.from_function(
        "random",
        prompts=[f"p{x}" for x in range(prompts)],
        vocabulary=[*"abc"[:letters], "<eos>"],
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.standard_normal()),
    )
    logits = TabularPolicy(scale=2.0).init(mdp, seed)
    log_pi, probability = tree.log_policy(logits), tree.policy(logits)
    tokens, lengths = mdp.responses
    naive = np.zeros((prompts, len(tokens)))
    for x, (row, words) in itertools.product(range(prompts), enumerate(tokens)):
        prefix = 0
        for depth in range(lengths[row]):
            naive[x, row] += log_pi[depth][x, prefix, words[depth]]
            prefix = prefix * mdp.continuing + words[depth]
    chance = flatten(tree.response_probability(probability))
    np.testing.assert_allclose(chance, np.exp(naive), rtol=1e-12)
    np.testing.assert_allclose(chance.sum(axis=1), 1, rtol=1e-12)
    value = tree.expectation(probability, mdp.rewards)[1][0][:, 0]
    np.testing.assert_allclose(value, (chance * mdp.response_rewards).sum(axis=1), rtol=1e-10, atol=1e-13)


def test_sampling_follows_the_policy():
    mdp = TokenMDP.from_table("t", vocabulary=["a", "b", "<eos>"], eos="<eos>", horizon=3, rewards={"p": {}, "q": {}})
    logits = TabularPolicy().init(mdp, 1)
    logits[0][1, 0, 0] = -np.inf  # never drawn, whatever the rounding
    probability = tree.policy(logits)
    count = 20_000
    uniform = np.random.default_rng(0).random((2 * count, 3))
    uniform[0], uniform[-1] = 0.0, np.nextafter(1.0, 0.0)
    drawn = tree.sample(uniform, probability, np.repeat([0, 1], count))
    assert not (drawn.token[count:, 0] == 0).any()
    # Number the responses as `flatten` does, and compare frequencies with probabilities.
    tokens, lengths = mdp.responses
    known = {tuple(row[:length]): i for i, (row, length) in enumerate(zip(tokens, lengths, strict=True))}
    numbers = [known[tuple(t[: int(m.sum())])] for t, m in zip(drawn.token, drawn.mask, strict=True)]
    for x in range(2):
        observed = np.bincount(numbers[x * count : (x + 1) * count], minlength=len(tokens)) / count
        expected = flatten(tree.response_probability(probability))[x]
        error = np.abs(observed - expected) / np.sqrt(np.maximum(expected, 1e-12) / count)
        assert error.max() < 4.5
        assert not observed[expected == 0].any()
    logp = tree.along(tree.log_policy(logits), drawn).sum(axis=1)
    expected = np.log(flatten(tree.response_probability(probability))[drawn.prompt, numbers])
    np.testing.assert_allclose(logp, expected, rtol=1e-12)


def test_a_limit_is_stated_before_memory_is_taken():
    with pytest.raises(InputError, match=r"10\^") as caught:
        TokenMDP.from_table(
            "huge", vocabulary=[*map(str, range(1000)), "<eos>"], eos="<eos>", horizon=300, rewards={"p": {}}
        )
    assert "20,000,000" in caught.value.problem
    assert math.log10(count_responses(1001, 300)) > 800
