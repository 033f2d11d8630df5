"""Graphs of states: the same numbers as the unrolled tree, as enumerated trajectories, and as closed forms."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.check.report import report
from mdp_theory.check.sampled import draw_probe
from mdp_theory.exact import population
from mdp_theory.exact.dynamics import Run, exact_run, measure
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.variance import variances
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import KL
from mdp_theory.problems import graph, tree, zoo
from mdp_theory.problems.controls import closed_loop_values, open_loop_values
from mdp_theory.problems.levels import ending_tokens
from mdp_theory.problems.mdp import TokenMDP
from rino import cli
from rino_base.messages import InputError

VOCABULARY, EOS = ("a", "b", "<eos>"), "<eos>"


def random_graph(seed, *, horizon, branches=1, states=4, on_the_way=False):
    rng = np.random.default_rng(seed)
    after = {}
    for state in range(states):
        for token in VOCABULARY[:-1]:
            targets = rng.choice(states, size=branches, replace=False).tolist()
            after[state, token] = dict(zip(targets, rng.dirichlet(np.ones(branches)).tolist(), strict=True))
    gains = {(state, token): float(rng.choice([0.0, 0.1, 1.0])) for state in range(states) for token in VOCABULARY}
    if not on_the_way:
        gains |= {(state, token): 0.0 for state in range(states) for token in VOCABULARY[:-1]}

    problem = graph.from_function(
        "random",
        prompts={"p": 0, "q": 1},
        vocabulary=VOCABULARY,
        eos=EOS,
        horizon=horizon,
        step=lambda state, token: after[state, token],
        reward=lambda state, token: gains[state, token],
        probability={"p": 0.3, "q": 0.7},
    )
    return problem, after, gains


def unrolled(problem, after, gains):
    """The tree of a deterministic graph, by walking every response; and the node of every prefix."""
    place = {name: i for i, name in enumerate(problem.moves.names)}
    horizon, starts = problem.horizon, {"p": 0, "q": 1}
    nodes = [np.array([[place[str(starts[x])]] for x in problem.prompts])]
    totals, steps = [], []
    where = [[(starts[x], 0.0)] for x in problem.prompts]
    for depth in range(horizon):
        ends = ending_tokens(depth, horizon, 3)
        step = np.array([[[gains[s, t] for t in VOCABULARY] for s, _ in row] for row in where])
        earned = np.array([[e for _, e in row] for row in where])[..., None]
        totals.append(np.round((earned + step) * ends, 12))
        steps.append(step)
        where = [
            [(next(iter(after[s, t])), round(e + gains[s, t], 12)) for s, e in row for t in VOCABULARY[:-1]]
            for row in where
        ]
        if depth + 1 < horizon:
            called = [[f"{s}" if e == 0 else f"{s} (earned {e:g})" for s, e in row] for row in where]
            nodes.append(np.array([[place[name] for name in row] for row in called]))
    mdp = TokenMDP("tree", problem.prompts, problem.prompt_probability, VOCABULARY, tuple(totals))
    return (replace(mdp, steps=tuple(steps)) if problem.steps is not None else mdp), nodes


def spread_over(levels, nodes):
    """Values at nodes as values at prefixes."""
    prompt = np.arange(len(nodes[0]))[:, None]
    return tuple(level[prompt, node] for level, node in zip(levels, nodes, strict=True))


def collected(levels, nodes, like):
    """Sums over the prefixes of every node."""
    found = tuple(np.zeros(level.shape) for level in like)
    for total, level, node in zip(found, levels, nodes, strict=True):
        for x in range(len(node)):
            np.add.at(total[x], node[x], level[x])
    return found


def agree(left, right, atol=1e-11):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
def test_every_method_agrees_with_the_unrolled_tree(seed, horizon, on_the_way):
    problem, after, gains = random_graph(seed, horizon=horizon, on_the_way=on_the_way)
    mdp, nodes = unrolled(problem, after, gains)
    logits, old = TabularPolicy().init(problem, seed), TabularPolicy(0.3).init(problem, seed + 1)
    deep, deep_old = spread_over(logits, nodes), spread_over(old, nodes)
    np.testing.assert_array_equal(problem.reward_levels, mdp.reward_levels)
    probability = [population.success_probability(*pair) for pair in ((problem, logits), (mdp, deep))]
    np.testing.assert_allclose(*probability, atol=1e-12)
    np.testing.assert_allclose(
        population.outcome_joint(problem, tree.policy(logits)),
        population.outcome_joint(mdp, tree.policy(deep)),
        atol=1e-12,
    )
    for method in METHODS.values():
        objective = method.objective
        if objective.advantage.estimator == "outcome" and not objective.advantage.of_outcomes_alone:
            continue  # refused: see tests/mdp_theory/test_population.py
        if objective.needs_limit:
            objective = replace(objective, max_completion_length=horizon)
        one = population.expected_gradient(objective, problem, logits, num_generations=3, ref_logits=old)
        other = population.expected_gradient(objective, mdp, deep, num_generations=3, ref_logits=deep_old)
        agree(one, collected(other, nodes, logits))
        by_token = objective.importance_sampling_level == "token" and objective.of_ratios_alone
        if objective.advantage.estimator == "outcome" and by_token:
            one = population.expected_gradient(objective, problem, logits, num_generations=3, old_logits=old)
            other = population.expected_gradient(objective, mdp, deep, num_generations=3, old_logits=deep_old)
            agree(one, collected(other, nodes, logits))
    objective = replace(METHODS["rloo"].objective, aggregation="token-mean", kl=KL(beta=0.4, placement="reward"))
    one = population.expected_gradient(objective, problem, logits, num_generations=3, ref_logits=old)
    other = population.expected_gradient(objective, mdp, deep, num_generations=3, ref_logits=deep_old)
    agree(one, collected(other, nodes, logits))
    np.testing.assert_allclose(graph.best_value(problem), mdp.response_rewards.max(axis=1), atol=1e-12)
    np.testing.assert_allclose(graph.best_response_value(problem), mdp.response_rewards.max(axis=1), atol=1e-12)
    np.testing.assert_allclose(measure(problem, logits), measure(mdp, deep), atol=1e-12)


def trajectories(problem, logits, prompt):
    """Every sequence of tokens and states: its chance, score, reward and length."""
    log, moves = tree.log_policy(logits), problem.moves
    found = []

    def walk(depth, node, chance, score):
        for token in range(len(VOCABULARY)):
            odds = chance * np.exp(log[depth][prompt, node, token])
            moved = [level.copy() for level in score]
            moved[depth][node] -= np.exp(log[depth][prompt, node])
            moved[depth][node, token] += 1
            if problem.ends(depth)[token]:
                found.append((odds, moved, problem.rewards[depth][prompt, node, token], depth + 1))
                continue
            for after, share in zip(moves.to[node, token], moves.chance[node, token], strict=True):
                if share > 0:
                    walk(depth + 1, after, odds * share, moved)

    walk(0, moves.start[prompt], 1.0, [np.zeros(level.shape[1:]) for level in logits])
    return found


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_random_moves_agree_with_enumerated_trajectories_and_groups(seed, horizon):
    problem, _, _ = random_graph(seed, horizon=horizon, branches=2)
    logits = TabularPolicy().init(problem, seed)
    size = 3
    for prompt in range(2):
        listed = trajectories(problem, logits, prompt)
        chance, reward = (np.array([row[i] for row in listed]) for i in (0, 2))
        length = np.array([row[3] for row in listed])
        scores = np.stack([np.concatenate([part.ravel() for part in row[1]]) for row in listed])
        assert chance.sum() == pytest.approx(1, abs=1e-12)
        right = reward >= 1
        assert population.success_probability(problem, logits)[prompt] == pytest.approx(chance @ right, abs=1e-12)
        classes = sorted(set(zip(reward, length, strict=True)))
        members = [(reward == r) & (length == n) for r, n in classes]
        mass = np.array([chance[rows].sum() for rows in members])
        mean = np.stack([(chance[rows] @ scores[rows]) / chance[rows].sum() for rows in members])
        expected = np.zeros(scores.shape[1])
        for group in itertools.product(range(len(classes)), repeat=size):
            r = np.array([classes[i][0] for i in group])
            if r.std() > 1e-12:
                parts = [a * mean[i] / classes[i][1] for a, i in zip((r - r.mean()) / r.std(), group, strict=True)]
                expected += np.prod(mass[list(group)]) * sum(parts) / size
        found = population.expected_gradient(METHODS["grpo"].objective, problem, logits, num_generations=size)
        np.testing.assert_allclose(np.concatenate([level[prompt].ravel() for level in found]), expected, atol=1e-11)
        # One response's gradient: the second moment of r s, logit by logit.
        second = chance @ ((reward[:, None] * scores) ** 2) - ((chance * reward) @ scores) ** 2
        spread = np.concatenate([level[prompt].ravel() for level in variances(problem, logits).reward])
        np.testing.assert_allclose(spread, second, atol=1e-11)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_theorem_5_on_random_moves(seed):
    problem, _, _ = random_graph(seed, horizon=6, branches=2)
    logits = TabularPolicy().init(problem, seed)
    binary = replace(problem, rewards=tuple((level >= 1).astype(float) for level in problem.rewards))
    p, slope = population.success_probability(binary, logits), population.success_gradient(binary, logits)
    for key in ("grpo", "rloo", "maxrl", "f-isft-pm-adv", "dapo"):
        objective = population.without_length(METHODS[key].objective)
        found = population.expected_gradient(objective, binary, logits, num_generations=5)
        c = population.coefficient(objective, p, num_generations=5)[:, None, None]
        agree(found, tuple(c * level for level in slope))


def test_a_trillion_responses_against_a_count_of_paths():
    problem = zoo.load("long-sum")
    assert problem.num_responses > 10**12
    logits = TabularPolicy().init(problem, None)
    for prompt, start in enumerate((1, 3)):
        row, p = np.eye(7)[start], 0.0
        for _ in range(problem.horizon):
            p += row[0] / 3  # every token has a third
            row = (np.roll(row, 1) + np.roll(row, 2)) / 3
        assert population.success_probability(problem, logits)[prompt] == pytest.approx(p, abs=1e-14)


def test_the_counter_counts_balanced_words():
    problem = zoo.load("counted-brackets")
    p = population.success_probability(problem, TabularPolicy().init(problem, None))[0]
    catalan = [1]
    for n in range(14):
        catalan.append(catalan[-1] * 2 * (2 * n + 1) // (n + 2))
    assert p == pytest.approx(sum(c / 3 ** (2 * n + 1) for n, c in enumerate(catalan) if n), abs=1e-14)


def test_training_on_a_graph_follows_the_gradient():
    problem = zoo.load("counted-brackets")
    run = Run(METHODS["rloo"].objective, learning_rate=50.0)
    found, _ = exact_run(run, problem, TabularPolicy().init(problem, None), steps=30, num_generations=4)
    assert (np.diff(found.success) > 0).all()


def test_a_control_is_the_same_on_its_graph():
    control = zoo.load("slippery-sum")
    problem = graph.from_control(control)
    np.testing.assert_allclose(graph.best_value(problem), closed_loop_values(control), atol=1e-14)
    with pytest.raises(InputError, match="at random"):
        graph.best_response_value(problem)
    bonus = graph.from_control(zoo.load("letter-bonus"))
    np.testing.assert_allclose(graph.best_value(bonus), open_loop_values(zoo.load("letter-bonus")), atol=1e-12)
    with pytest.raises(InputError, match="discount"):
        graph.from_control(zoo.load("discounted-words"))


def test_random_moves_are_drawn_given_the_outcome():
    problem = graph.from_control(zoo.load("slippery-sum"))
    probe = draw_probe(problem, TabularPolicy().init(problem, 1), num_generations=4, seed=0)
    np.testing.assert_array_equal(probe.reward.reshape(-1, 4)[:, :2], np.tile([1.0, 0.0], (8, 1)))


def test_the_report_of_random_moves_has_gradients_now():
    found = report(zoo.load("slippery-sum"), num_generations=4, inner_steps=1)
    assert found["verified"]
    assert found["claims"]["the_loss_is_weighted_sft"]["holds"]
    assert not found["claims"]["the_problem_is_a_bandit"]["holds"]
    assert None not in found["methods"]["grpo"]["c_without_length"]


FILE = """
name = "two rooms"
vocabulary = ["go", "stay", "<eos>"]
eos = "<eos>"
horizon = 50
[[prompt]]
text = "find the second room"
state = "first"
[[state]]
name = "first"
next = { go = { second = 0.8, first = 0.2 }, stay = "first" }
reward = { go = 0.01 }
[[state]]
name = "second"
reward = { "<eos>" = 1.0 }
"""


def test_a_file_of_states(tmp_path: Path):
    path = tmp_path / "rooms.toml"
    path.write_text(FILE.replace("reward = { go = 0.01 }\n", ""))
    problem = zoo.load(str(path))
    # From "first": a third each; "second" stays (no next) until the end token comes.
    arrive = sum((1 / 3 * 0.2 + 1 / 3) ** t * 1 / 3 * 0.8 for t in range(49))
    p = population.success_probability(problem, TabularPolicy().init(problem, None))[0]
    short = sum((1 / 3 * 0.2 + 1 / 3) ** t * 1 / 3 * 0.8 * (1 - (2 / 3) ** (49 - t)) for t in range(49))
    assert p == pytest.approx(short, abs=1e-14)
    assert p < arrive
    path.write_text(FILE)
    assert zoo.load(str(path)).steps is not None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("second = 0.8", "second = 0.7", "sum to 0.9"),
        ('stay = "first" }', 'stay = "third" }', "no state"),
        (', stay = "first" }', " }", "nothing follows 'stay'"),
        ("go = 0.01", "walk = 0.01", "not in the vocabulary"),
        ("go = 0.01", 'go = "x"', "is a str"),
        ('state = "first"', 'state = "attic"', "no state"),
        ('name = "second"', 'name = "first"', "there already"),
        ("horizon = 50", "horizon = 0", "from 1 to"),
        ("second = 0.8", "second = true", "is True"),
        ("horizon = 50", "horizon = 9000", "the limit is"),
    ],
)
def test_a_wrong_file_of_states_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, problem: str, capsys):
    path = tmp_path / "wrong.toml"
    path.write_text(FILE.replace(old, new))
    assert cli.run(["check", str(path)]) == 2
    assert problem in capsys.readouterr().err


def test_the_ratio_of_a_whole_response_is_refused_off_policy():
    problem = zoo.load("counted-brackets")
    logits, old = TabularPolicy().init(problem, 0), TabularPolicy().init(problem, 1)
    with pytest.raises(InputError, match="matter of histories"):
        population.expected_gradient(METHODS["gspo"].objective, problem, logits, num_generations=4, old_logits=old)
    with pytest.raises(InputError, match="not listed"):
        _ = problem.responses
