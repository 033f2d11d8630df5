"""Problems in which the environment speaks, against enumeration of transcripts."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.check.report import report
from mdp_theory.exact import population
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import tree, zoo
from mdp_theory.problems.files import read_problem
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.turns import best_plan, best_policy, learned, speak
from rino import cli
from rino_base.messages import InputError

VOCABULARY = ("c", "d", "o", "<eos>")
TURNS = ("retry-after-failure", "ask-before-answering", "noisy-tool", "dead-ends")


def random_says(rng: np.random.Generator) -> dict[str, list[tuple[list[str], float]]]:
    """One or two speaking tokens; utterances of one or two tokens, of which none begins another."""
    forms = [[["o"], ["d", "c"]], [["c", "o"], ["c", "d"], ["o"]], [["o", "o"], ["<eos>"]], [["d", "<eos>"], ["c"]]]
    says = {}
    for token in ("c", "d")[: rng.integers(1, 3)]:
        words = forms[rng.integers(len(forms))]
        says[token] = list(zip(words, rng.dirichlet(np.ones(len(words))).tolist(), strict=True))
    return says


def transcripts(mdp, says, logits, prompt=0):
    """Every transcript, spoken turn by turn: (own steps [(depth, prefix, token)], own tokens, chance said, reward)."""
    log = tree.log_policy(logits)
    index = mdp.vocabulary.index
    found = []

    def walk(depth, prefix, queue, own, chance, logp):
        for token in range(len(mdp.vocabulary)):
            if queue is not None:
                options = [(w[1:], q) for w, q in queue if index(w[0]) == token]
                if not options:
                    continue
                share = sum(q for _, q in options) / sum(q for _, q in queue)
                now, lp, odds = own, logp, chance * share
                rest = [(w, q) for w, q in options if w]
            else:
                now, lp, odds = [*own, (depth, prefix, token)], logp + log[depth][prompt, prefix, token], chance
                word = mdp.vocabulary[token]
                rest = says.get(word, [])
            if mdp.ends(depth)[token]:
                found.append((now, odds, lp, mdp.rewards[depth][prompt, prefix, token]))
            else:
                walk(depth + 1, prefix * mdp.continuing + token, rest or None, now, odds, lp)

    walk(0, 0, None, [], 1.0, 0.0)
    return found


def problem(seed: int, horizon: int):
    rng = np.random.default_rng(seed)
    says = random_says(rng)
    mdp = TokenMDP.from_function(
        "random",
        prompts=["p", "q"],
        vocabulary=VOCABULARY,
        eos="<eos>",
        horizon=horizon,
        reward=lambda prompt, tokens: float(rng.random() < 0.5),
        environment=says,
    )
    return mdp, says, TabularPolicy().init(mdp, seed)


def score(mdp, logits, steps, prompt):
    gradient = tuple(np.zeros(level.shape) for level in logits)
    for depth, prefix, token in steps:
        gradient[depth][prompt, prefix] -= tree.policy(logits)[depth][prompt, prefix]
        gradient[depth][prompt, prefix, token] += 1
    return gradient


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_success_and_every_outcome_gradient_agree_with_enumerated_transcripts_and_groups(seed, horizon):
    mdp, says, logits = problem(seed, horizon)
    size = 3
    p = population.success_probability(mdp, logits)
    for prompt in range(2):
        listed = transcripts(mdp, says, logits, prompt)
        chance = np.array([odds * np.exp(logp) for _, odds, logp, _ in listed])
        reward = np.array([r for *_, r in listed])
        lengths = np.array([len(steps) for steps, *_ in listed])
        assert chance.sum() == pytest.approx(1, abs=1e-12)
        assert p[prompt] == pytest.approx(chance @ reward, abs=1e-10)
        scores = np.stack(
            [np.concatenate([g[prompt].ravel() for g in score(mdp, logits, s, prompt)]) for s, *_ in listed]
        )
        # GRPO by hand: a group is three outcomes in a row, its members' scores averaged given outcome and length.
        classes = sorted({(r, n) for r, n in zip(reward, lengths, strict=True)})
        members = [(reward == r) & (lengths == n) for r, n in classes]
        mass = np.array([chance[rows].sum() for rows in members])
        mean = np.stack([(chance[rows] @ scores[rows]) / chance[rows].sum() for rows in members])
        expected = np.zeros(scores.shape[1])
        for group in itertools.product(range(len(classes)), repeat=size):
            r = np.array([classes[i][0] for i in group])
            if r.std() > 0:
                advantage = (r - r.mean()) / r.std()
                parts = [a * mean[i] / classes[i][1] for a, i in zip(advantage, group, strict=True)]
                expected += np.prod(mass[list(group)]) * sum(parts) / size
        objective = METHODS["grpo"].objective
        found = population.expected_gradient(objective, mdp, logits, num_generations=size)
        plain = np.concatenate([level[prompt].ravel() for level in found])
        epsilon = objective.advantage.eps
        if epsilon == 0 and objective.advantage.ddof == 0:
            assert plain == pytest.approx(expected, abs=1e-10)
        else:
            assert np.linalg.norm(plain - expected) <= 3e-4 * np.linalg.norm(expected) + 1e-12
        slope = np.concatenate([g[prompt].ravel() for g in population.success_gradient(mdp, logits)])
        assert slope == pytest.approx((chance * reward) @ scores, abs=1e-10)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_theorem_5_needs_no_determinism(seed, horizon):
    mdp, _, logits = problem(seed, horizon)
    p, slope = population.success_probability(mdp, logits), population.success_gradient(mdp, logits)
    for method in METHODS.values():
        objective = population.without_length(method.objective)
        if objective.kl is None and objective.advantage.of_outcomes_alone:
            found = population.expected_gradient(objective, mdp, logits, num_generations=4)
            c = population.coefficient(objective, p, num_generations=4)[:, None, None]
            for level, expected in zip(found, slope, strict=True):
                assert level == pytest.approx(c * expected, abs=1e-10)


def brute_plan(mdp, says, prompt):
    """The best fixed plan, by trying each one on every branch of the environment."""
    uniform = tuple(np.zeros(level.shape) for level in mdp.rewards)
    listed = [([t for *_, t in steps], odds, r) for steps, odds, _, r in transcripts(mdp, says, uniform, prompt)]
    full = range(len(mdp.vocabulary))
    best = -np.inf
    for plan in itertools.product(full, repeat=mdp.horizon):
        best = max(best, sum(odds * r for own, odds, r in listed if list(plan[: len(own)]) == own))
    return best


def brute_policy(mdp, says, depth=0, prefix=0, queue=None, prompt=0):
    values = []
    for token, word in enumerate(mdp.vocabulary):
        options = queue and [(w[1:], q) for w, q in queue if w[0] == word]
        if queue and not options:
            continue
        rest = [o for o in options if o[0]] if queue else says.get(word, [])
        odds = sum(q for _, q in options) / sum(q for _, q in queue) if queue else 1.0
        if mdp.ends(depth)[token]:
            value = mdp.rewards[depth][prompt, prefix, token]
        else:
            value = brute_policy(mdp, says, depth + 1, prefix * mdp.continuing + token, rest or None, prompt)
        values.append(odds * value)
    return sum(values) if queue else max(values)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_best_plan_and_best_policy_agree_with_trying_all(seed, horizon):
    mdp, says, _ = problem(seed, horizon)
    for prompt in range(2):
        assert best_plan(mdp)[prompt] == pytest.approx(brute_plan(mdp, says, prompt), abs=1e-10)
        assert best_policy(mdp)[prompt] == pytest.approx(brute_policy(mdp, says, prompt=prompt), abs=1e-10)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_critics_expected_gradient_agrees_with_transcripts(seed, decay):
    mdp, says, logits = problem(seed, 4)
    ppo = METHODS["ppo"].objective
    objective = population.without_length(replace(ppo, kl=None, advantage=replace(ppo.advantage, gae_lambda=decay)))
    rng = np.random.default_rng(seed)
    value = tuple(rng.standard_normal(level.shape[:2]) for level in logits)
    found = population.expected_gradient(objective, mdp, logits, num_generations=2, value=value)
    discount = objective.advantage.discount
    for prompt in range(2):
        expected = tuple(np.zeros(level.shape) for level in logits)
        for steps, odds, logp, reward in transcripts(mdp, says, logits, prompt):
            v = [value[d][prompt, j] for d, j, _ in steps]
            target = [*(discount * x for x in v[1:]), reward]
            credit = 0.0
            for step, now, ahead in zip(reversed(steps), reversed(v), reversed(target), strict=True):
                credit = ahead - now + discount * decay * credit
                for total, part in zip(expected, score(mdp, logits, [step], prompt), strict=True):
                    total += odds * np.exp(logp) * credit * part
        for level, total in zip(found, expected, strict=True):
            assert level[prompt] == pytest.approx(total[prompt], abs=1e-10)


def test_no_gradient_and_no_variance_where_the_environment_speaks():
    mdp = zoo.load("retry-after-failure")
    logits = TabularPolicy().init(mdp, 3)
    assert any(speaks.any() for speaks in mdp.environment.speaks)
    for levels in (population.success_gradient(mdp, logits), *variances(mdp, logits)):
        for level, kept in zip(levels, learned(mdp, levels), strict=True):
            assert (level == kept).all()
    moved = tree.policy(speak(mdp, logits))
    assert moved[1][0, 0] == pytest.approx([0, 0.6, 0.4, 0])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "noisy-tool")) for name in TURNS]
)
def test_the_zoo_of_turns_keeps_the_two_claims_apart(name):
    found = report(zoo.load(name), policy="random:1", num_generations=4, inner_steps=2)
    assert found["verified"]
    assert found["checks"]
    assert found["claims"]["the_loss_is_weighted_sft"]["holds"]
    assert not found["claims"]["the_problem_is_a_bandit"]["holds"]
    assert not found["assumptions"]["deterministic"]["holds"]


def test_the_zoo_has_the_values_that_its_rules_give():
    values = {name: (best_plan(zoo.load(name))[0], best_policy(zoo.load(name))[0]) for name in TURNS}
    assert values["retry-after-failure"] == pytest.approx((0.6, 1 - 0.4**3))
    assert values["ask-before-answering"] == pytest.approx((0.5, 1.0))
    assert values["dead-ends"] == pytest.approx((0.4, 0.48))
    assert values["noisy-tool"] == pytest.approx((0.7**3 + 3 * 0.7**2 * 0.3, 1.0))


FILE = """
name = "one call"
vocabulary = ["<call>", "ok", "fail", "<eos>"]
eos = "<eos>"
horizon = 3
[[prompt]]
text = "p"
rewards = { "<call> ok <eos>" = 1.0, "<call> fail <call>" = 0.5 }
[[environment]]
after = "<call>"
says = [ { tokens = ["ok"], probability = 0.75 }, { tokens = ["fail"], probability = 0.25 } ]
"""


def test_a_file_with_an_environment_through_the_command_line(tmp_path: Path):
    path, out = tmp_path / "call.toml", tmp_path / "call.json"
    path.write_text(FILE)
    assert cli.run(["check", str(path), "--num-generations", "4", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["prompts"][0]["p"] == pytest.approx(0.25 * 0.75 * 0.25)
    assert found["bandit"]["open_loop_value"] == pytest.approx([0.75])
    assert found["bandit"]["closed_loop_value"] == pytest.approx([0.75 + 0.125])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0.75", "0.5", "sum to 0.75"),
        ('after = "<call>"', 'after = "<ask>"', "not in the vocabulary"),
        ('["fail"]', '["ok", "fail"]', "does not tell who spoke"),
        ('["fail"]', "[]", "is empty"),
        ('["fail"]', '["<eos>", "ok"]', "goes on after"),
        ('["fail"]', '["oops"]', "is unknown"),
        ('["fail"]', "[3]", "not a list of strings"),
        ("probability = 0.25", 'probability = "x"', "not a number"),
        ("probability = 0.25", "probability = nan", "not in"),
        ("probability = 0.25", "chance = 0.25", "not an utterance"),
        ('after = "<call>"', "", "needs the fields"),
    ],
)
def test_a_wrong_environment_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, problem: str):
    path = tmp_path / "wrong.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(InputError, match=problem):
        read_problem(path)


def test_what_is_never_said_counts_for_nothing(tmp_path: Path):
    """An utterance of probability 0 has no distribution after it; a reward that cannot be earned is no level."""
    says = '{ tokens = ["ok", "ok"], probability = 0 }, { tokens = ["fail"], probability = 1.0 }'
    text = FILE.replace(FILE[FILE.index("says = [") :], f"says = [ {says} ]\n")
    path = tmp_path / "never.toml"
    path.write_text(text)
    found = report(read_problem(path), num_generations=4, inner_steps=1)
    assert found["assumptions"]["deterministic"]["holds"]
    assert found["reward_levels"] == [0.0, 0.5]  # "<call> ok <eos>" is worth 1 and is never heard
    assert found["verified"]


def test_a_said_token_calls_nobody():
    """The environment answers the learner alone: what it says itself starts no turn of its own."""
    mdp = TokenMDP.from_function(
        "echo",
        prompts=["p"],
        vocabulary=VOCABULARY,
        eos="<eos>",
        horizon=4,
        reward=lambda prompt, tokens: float(tokens == ("c", "c", "d", "<eos>")),
        environment={"c": [(["c"], 0.5), (["o"], 0.5)]},
    )
    # Uniform over four tokens: c by the learner, c said, then d and the end by the learner again.
    assert population.success_probability(mdp, TabularPolicy().init(mdp, None)) == pytest.approx(0.5 / 4**3)
