"""Process rewards and learned critics, against enumerated transcripts and trajectories."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_environment import problem as spoken_problem
from test_environment import score, transcripts
from test_graph import random_graph

from mdp_theory.exact import population
from mdp_theory.exact.noise import group_noise
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.process import break_even, credit_moments, estimate, leave_one_out, return_deviation
from mdp_theory.exact.values import critic_values
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.process import with_steps
from mdp_theory.problems.turns import learned, speak
from rino_base.messages import InputError

RLOO = METHODS["rloo"].objective


def random_steps(mdp, seed):
    """The same problem with rewards on random edges, the environment's included."""
    rng = np.random.default_rng(seed)
    steps = tuple(r + rng.choice([0.0, 0.25, -0.5], size=r.shape) for r in mdp.rewards)
    return replace(mdp, steps=steps, rewards=tree.returns(steps))


def credits(rewards, values, *, decay, discount):
    """Â of the learner's tokens, from what each earned (up to the next) and the critic's values there."""
    ahead, found = 0.0, []
    for reward, now, promised in zip(reversed(rewards), reversed(values), reversed([*values[1:], 0.0]), strict=True):
        ahead = reward + discount * promised - now + discount * decay * ahead
        found.insert(0, ahead)
    return found


def moments_by_hand(rows):
    """Mean and total variance of vectors with chances."""
    chance = np.array([odds for odds, _ in rows])
    vectors = np.stack([vector for _, vector in rows])
    mean = chance @ vectors
    return mean, float(chance @ (vectors**2).sum(axis=1) - mean @ mean)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.sampled_from([0.0, 0.6, 1.0]), st.sampled_from([1.0, 0.9]))
def test_bias_and_variance_agree_with_transcripts(seed, horizon, decay, discount):
    mdp, says, logits = spoken_problem(seed, horizon)
    mdp = random_steps(mdp, seed)
    value = tuple(np.random.default_rng(seed).standard_normal(level.shape[:2]) for level in logits)
    found = estimate(mdp, logits, value, decay=decay, discount=discount)
    for prompt in range(2):
        rows, truth = [], []
        for own, odds, logp, total in transcripts(mdp, says, logits, prompt):
            path = {(d, j, a) for d, j, a in own}
            # What every edge on the way earned goes to the learner's last token before it.
            earned, edge = [], None
            for depth, prefix, token in whole_path(mdp, says, own, total, prompt):
                edge = mdp.earned[depth][prompt, prefix, token]
                if (depth, prefix, token) in path:
                    earned.append(edge)
                else:
                    earned[-1] += edge
            values = [value[d][prompt, j] for d, j, _ in own]
            vector = np.zeros(sum(level[prompt].size for level in logits))
            whole = np.zeros_like(vector)
            for step, credit in zip(own, credits(earned, values, decay=decay, discount=discount), strict=True):
                part = np.concatenate([g[prompt].ravel() for g in score(mdp, logits, [step], prompt)])
                vector += credit * part
                whole += total * part
            rows.append((odds * np.exp(logp), vector))
            truth.append((odds * np.exp(logp), whole))
        mean, variance = moments_by_hand(rows)
        slope = moments_by_hand(truth)[0]
        assert found.variance[prompt] == pytest.approx(variance, abs=1e-10)
        assert found.signal[prompt] == pytest.approx(slope @ slope, abs=1e-10)
        assert found.bias[prompt] == pytest.approx((mean - slope) @ (mean - slope), abs=1e-10)


def whole_path(mdp, says, own, total, prompt):
    """The edges of a transcript, found again from the learner's tokens and its return."""
    m = mdp.continuing

    def walk(depth, prefix, queue, left, path, earned):
        for token, word in enumerate(mdp.vocabulary):
            if queue is not None:
                options = [rest for rest in queue if rest[0] == word]
                if not options:
                    continue
                rest, now = [w[1:] for w in options if w[1:]], left
            else:
                if not left or left[0] != (depth, prefix, token):
                    continue
                rest, now = [list(words) for words, _ in says.get(word, [])], left[1:]
            here = [*path, (depth, prefix, token)]
            gain = earned + mdp.earned[depth][prompt, prefix, token]
            if mdp.ends(depth)[token]:
                if not now and abs(mdp.rewards[depth][prompt, prefix, token] - total) < 1e-12:
                    return here
                continue
            found = walk(depth + 1, prefix * m + token, rest or None, now, here, gain)
            if found:
                return found
        return None

    return walk(0, 0, None, own, [], 0.0)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([0.0, 0.6, 1.0]), st.booleans())
def test_bias_and_variance_agree_with_trajectories_on_a_graph(seed, horizon, decay, on_the_way):
    mdp, _, _ = random_graph(seed, horizon=horizon, branches=2, on_the_way=on_the_way)
    logits = TabularPolicy().init(mdp, seed)
    value = tuple(np.random.default_rng(seed).standard_normal(level.shape[:2]) for level in logits)
    found = estimate(mdp, logits, value, decay=decay)
    log, moves = tree.log_policy(logits), mdp.moves
    for prompt in range(2):
        rows, truth, groups = [], [], []

        def walk(depth, node, odds, steps, earned, prompt=prompt, rows=rows, truth=truth, groups=groups):
            for token in range(3):
                now = [*steps, (depth, node, token)]
                gains = [*earned, mdp.earned[depth][prompt, node, token]]
                chance = odds * np.exp(log[depth][prompt, node, token])
                if not mdp.ends(depth)[token]:
                    for after, share in zip(moves.to[node, token], moves.chance[node, token], strict=True):
                        if share > 0:
                            walk(depth + 1, after, chance * share, now, gains)
                    continue
                values = [value[d][prompt, s] for d, s, _ in now]
                parts = [
                    np.concatenate([level[prompt].ravel() for level in score(mdp, logits, [step], prompt)])
                    for step in now
                ]
                total = mdp.rewards[depth][prompt, node, token]
                assert total == pytest.approx(sum(gains), abs=1e-12)
                credit = credits(gains, values, decay=decay, discount=1.0)
                rows.append((chance, sum(c * part for c, part in zip(credit, parts, strict=True))))
                truth.append((chance, total * sum(parts)))
                groups.append((chance, total, sum(parts)))

        walk(0, moves.start[prompt], 1.0, [], [])
        mean, variance = moments_by_hand(rows)
        slope = moments_by_hand(truth)[0]
        assert found.variance[prompt] == pytest.approx(variance, abs=1e-10)
        assert found.bias[prompt] == pytest.approx((mean - slope) @ (mean - slope), abs=1e-10)
        # Leave-one-out pairs by hand: at G = 2 the gradient is (r₁ - r₂)(s₁ - s₂)/2.
        pairs = [(p * q, (r - t) * (a - b) / 2) for p, r, a in groups for q, t, b in groups]
        by_hand = moments_by_hand(pairs)[1]
        assert leave_one_out(mdp, logits, num_generations=2)[prompt] == pytest.approx(by_hand, abs=1e-10)
        deviation = np.sqrt(sum(p * r**2 for p, r, _ in groups) - sum(p * r for p, r, _ in groups) ** 2)
        assert return_deviation(mdp, logits)[prompt] == pytest.approx(deviation, abs=1e-7)


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_leave_one_out_is_the_noise_of_a_group(size):
    mdp = zoo.load("three-level")
    logits = TabularPolicy().init(mdp, 2)
    expected = group_noise(RLOO, mdp, logits, num_generations=size).trace
    np.testing.assert_allclose(leave_one_out(mdp, logits, num_generations=size), expected, rtol=1e-10)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_bias_is_linear_in_the_error_and_gone_at_lambda_1(seed, decay):
    mdp, _, logits = spoken_problem(seed, 3)
    exact = tree.expectation(tree.policy(logits), mdp.rewards)[1]
    rng = np.random.default_rng(seed)
    error = tuple(rng.standard_normal(level.shape) for level in exact)

    def bias(size, lam):
        value = tuple(v + size * e for v, e in zip(own, error, strict=True))
        return estimate(mdp, logits, value, decay=lam).bias

    own = tree.expectation(tree.policy(speak(mdp, logits)), mdp.rewards)[1]
    np.testing.assert_allclose(bias(3.0, decay), 9 * bias(1.0, decay), atol=1e-10)
    np.testing.assert_allclose(bias(3.0, 1.0), 0, atol=1e-12)
    np.testing.assert_allclose(bias(0.0, decay), 0, atol=1e-12)


def test_the_critics_gradient_is_that_of_ppo():
    """Two implementations: `population` sums down the tree, `process` takes moments."""
    mdp = random_steps(zoo.load("retry-after-failure"), 1)
    logits = TabularPolicy().init(mdp, 1)
    value = tuple(np.random.default_rng(0).standard_normal(level.shape[:2]) for level in logits)
    ppo = population.without_length(METHODS["ppo"].objective)
    found = population.expected_gradient(ppo, mdp, logits, num_generations=4, value=value)
    pi = tree.policy(speak(mdp, logits))
    first, _ = credit_moments(mdp, pi, value, decay=ppo.advantage.gae_lambda)
    for a, b in zip(found, learned(mdp, tree.logit_gradient(pi, first)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_break_even_is_where_both_errors_are_equal():
    mdp = zoo.load("long-sum")
    found = break_even(mdp, TabularPolicy().init(mdp, None), decays=(0.0, 0.95, 1.0), group_sizes=(2, 8, 64))
    for entry in found:
        for size in (2, 8, 64):
            error = entry.error(size)
            assert 0 < error < np.inf
            assert entry.squared_error(error, size) == pytest.approx(entry.groups[size], rel=1e-10)
    # Without bias the error that a critic can afford does not fall with G; with it, it does.
    assert found[2].bias == pytest.approx(0, abs=1e-20)
    assert found[0].error(64) < found[0].error(8)
    assert found[2].error(64) > 0.5 * found[2].error(8)


FILE = """
name = "turns"
vocabulary = ["<call>", "ok", "fail", "<eos>"]
eos = "<eos>"
horizon = 4
[[prompt]]
text = "p"
rewards = { "<call> ok <eos>" = 1.0 }
step_rewards = { "<call> ok" = 0.25, "<call> fail" = -0.25 }
[[environment]]
after = "<call>"
says = [ { tokens = ["ok"], probability = 0.75 }, { tokens = ["fail"], probability = 0.25 } ]
"""


def test_a_file_with_rewards_per_turn(tmp_path: Path):
    path = tmp_path / "turns.toml"
    path.write_text(FILE)
    mdp = zoo.load(str(path))
    assert set(mdp.reward_levels) == {-0.25, 0.0, 0.25, 1.25}
    value = tree.expectation(tree.policy(TabularPolicy().init(mdp, None)), mdp.earned)
    assert value is not None
    for old, new, problem in (
        ('"<call> ok" = 0.25', '"<call> <eos>" = 0.25', "no beginning"),
        ('"<call> ok" = 0.25', '"<call> ok ok ok" = 0.25', "no beginning"),
        ('"<call> ok" = 0.25', '"<call> ok" = "x"', "is a str"),
        ('"<call> ok" = 0.25', '"<call> ok" = nan', "not finite"),
        ('"<call> ok" = 0.25', '"" = 0.25', "no beginning"),
    ):
        path.write_text(FILE.replace(old, new))
        with pytest.raises(InputError, match=problem):
            zoo.load(str(path))


def test_steps_add_up_to_the_return():
    plain = TokenMDP.from_table(
        "p", vocabulary=["a", "b", "<eos>"], eos="<eos>", horizon=3, rewards={"x": {"a b <eos>": 1.0}}
    )
    mdp = with_steps(plain, {"x": {"a": 0.5, "a b": 0.25}})
    tokens, _ = mdp.responses
    by_word = {
        " ".join(mdp.vocabulary[t] for t in row): r for row, r in zip(tokens, mdp.response_rewards[0], strict=True)
    }
    assert by_word["a b <eos>"] == pytest.approx(1.75)
    assert by_word["a <eos> <eos>"] == pytest.approx(0.5)
    assert by_word["b <eos> <eos>"] == 0


@pytest.mark.parametrize(
    "description",
    [
        "",
        "exactly",
        "exact:1",
        "noisy",
        "noisy:0.3",
        "noisy:-1:0",
        "noisy:nan:0",
        "noisy:1e400:0",
        "fitted:0:1",
        "fitted:9:x",
    ],
)
def test_an_unknown_critic_is_refused(description):
    mdp = zoo.load("one-token")
    with pytest.raises(InputError, match="unknown critic"):
        critic_values(mdp, TabularPolicy().init(mdp, None), description)


def test_a_fitted_critic_tends_to_the_exact_one():
    mdp = random_steps(zoo.load("retry-after-failure"), 3)
    logits = TabularPolicy().init(mdp, 1)
    exact = critic_values(mdp, logits, "exact")
    found = critic_values(mdp, logits, "fitted:60000:0")
    speaks = mdp.environment.speaks
    for depth in (0, 2):  # where the learner speaks, after nothing and after one call
        own = ~speaks[depth][:, 0]
        reached = tree.visits(tree.policy(speak(mdp, logits)))[depth][0] > 0.02
        np.testing.assert_allclose(found[depth][0][own & reached], exact[depth][0][own & reached], atol=0.05)
    with pytest.raises(InputError, match="tokens in all"):
        critic_values(mdp, logits, "fitted:99999999:0")
