"""`rino check` from the outside: exit codes, tables, JSON, a file it has never seen."""

import json
import re
import tomllib
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

from mdp_theory.check import command as check_command
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import zoo
from mdp_theory.problems.files import problem_of
from rino import cli

UNSEEN = """
name = "ask first"
vocabulary = ["yes", "no", "?", "."]
eos = "."
horizon = 3
[[prompt]]
text = "is it raining"
probability = 0.6
rewards = { "? yes ." = 1.0, "? no ." = 1.0, "? yes yes" = 1.0 }
[[prompt]]
text = "is it night"
probability = 0.4
rewards = { "no ." = 1.0 }
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The report of a file that is in no zoo, as the command line writes it."""
    folder = tmp_path_factory.mktemp("check")
    (folder / "unseen.toml").write_text(UNSEEN)
    arguments = ["check", str(folder / "unseen.toml"), "--num-generations", "4", "--policy", "random:3"]
    code = cli.run([*arguments, "--inner-steps", "3", "--json", str(folder / "out.json")])
    text = (folder / "out.json").read_text()
    return code, json.loads(text), text


@pytest.fixture(scope="module")
def slippery(tmp_path_factory):
    """The report of a control whose transitions are random, and what the command shows of it."""
    file, shown = tmp_path_factory.mktemp("slippery") / "out.json", StringIO()
    with redirect_stdout(shown):
        assert check_command.check("slippery-sum", inner_steps=1, json=file) == 0
    return json.loads(file.read_text()), shown.getvalue()


def test_a_file_never_seen_before_is_checked(checked):
    code, found, text = checked
    assert code == 0
    assert found["verified"]
    assert "NaN" not in text
    assert "Infinity" not in text
    assert found["problem"] == "ask first"
    assert [prompt["text"] for prompt in found["prompts"]] == ["is it raining", "is it night"]
    assert all(fact["holds"] and fact["evidence"] for fact in found["assumptions"].values())
    assert len(found["checks"]) >= 4 + 3 * 20


def test_published_fields_are_there(checked):
    _, found, _ = checked
    # Where lengths enter the advantage, no table over outcomes holds it.
    assert set(METHODS) - set(found["methods"]) == {"opo", "reinforce-pp", "reinforce-pp-baseline", "dapo-overlong"}
    for record in found["methods"].values():
        for field in ("c", "c_without_length", "phi"):
            assert len(record[field]) == 2
        for field in ("credit_structure_index", "cosine", "relative_error"):
            assert isinstance(record[field], float)
    # p of the second prompt by hand: its one correct response is "no .", the tokens in places 1 and 3 of 4.
    first, second, _ = TabularPolicy().init(problem_of(tomllib.loads(UNSEEN), where="unseen"), 3)
    odds = np.exp(first[1, 0]), np.exp(second[1, 1])
    p = odds[0][1] / odds[0].sum() * odds[1][3] / odds[1].sum()
    assert found["prompts"][1]["p"] == pytest.approx(p, rel=1e-12)
    assert found["methods"]["dr-grpo"]["c_without_length"] == pytest.approx([0.75, 0.75], rel=1e-12)


def test_the_drawn_tree_adds_up(checked):
    _, found, _ = checked
    nodes = found["tree"]["nodes"]
    children = {}
    for node in nodes[1:]:
        children.setdefault(node["parent"], []).append(node)
    for node in nodes:
        if node["id"] in children:
            assert node["reward"] is None
            total = sum(child["probability"] for child in children[node["id"]])
            assert total == pytest.approx(node["probability"], rel=1e-12)
    ends = [node for node in nodes if node["reward"] is not None]
    assert sum(node["probability"] for node in ends) == pytest.approx(1, rel=1e-12)
    right = sum(node["probability"] for node in ends if node["reward"] == 1)
    assert right == pytest.approx(found["prompts"][0]["p"], rel=1e-12)


def test_curves_have_one_length_and_start_on_policy(checked):
    _, found, _ = checked
    for curve in found["inner_steps"]["methods"].values():
        assert {len(column) for name, column in curve.items() if name != "draws"} == {4}
        assert all(draw["relative_error"][0] < 1e-12 for draw in curve["draws"])
    for curve in found["drift"].values():
        assert curve["distance"][0] == 0
        assert curve["relative_error"][0] < 1e-12
    for curve in (*found["inner_steps"]["methods"].values(), *found["drift"].values(), *found["kl"].values()):
        draws = curve["draws"]
        assert draws[0] == {name: column for name, column in curve.items() if name != "draws"}
        # Other batches are other batches.
        assert len({str(draw["relative_error"]) for draw in draws}) in (1, len(draws))
    assert len({str(draw) for draw in found["inner_steps"]["methods"]["grpo"]["draws"]}) == 5
    curves = found["curves"]
    assert all(len(curve["c"]) == len(curve["phi"]) == len(curves["p"]) for curve in curves["methods"].values())
    assert (np.diff(curves["methods"]["grpo"]["phi"]) > 0).all()
    staleness = found["staleness"]
    assert staleness["refresh_every"] == [1, 4, 16, None]
    success = np.array(staleness["methods"]["raft"]["success"])
    assert (success[:, 0] == success[0, 0]).all()
    assert (np.diff(success[:, -1]) < 0).all()
    assert found["critic"] is None
    assert all(curve["success"][-1] > curve["success"][0] for curve in found["training"]["methods"].values())


def test_shared_parameters_show_the_same(checked):
    _, found, _ = checked
    assert set(found["shared_parameters"]["methods"]) == set(found["methods"])
    for key, record in found["shared_parameters"]["methods"].items():
        # With a KL term or a critic the claim must fail here too.
        assert (record["sft_relative_error"] < 1e-12) == (key not in ("ppo", "grpo-kl"))
        if key not in ("ppo", "grpo-kl"):
            assert record["direction_relative_error"] < 1e-12


def test_a_stochastic_control_is_taken_on_its_graph(slippery):
    _, shown = slippery
    assert re.search(r"the problem is a bandit\s+│ no", shown)
    assert re.search(r"deterministic\s+│ no", shown)


def test_a_failing_identity_gives_exit_code_1(slippery, monkeypatch, capsys):
    found, _ = slippery
    check = {"name": "the value equals the bandit's", "error": 0.3, "tolerance": 1e-12, "holds": False}
    monkeypatch.setattr(
        "mdp_theory.check.report.report", lambda *_, **__: found | {"checks": [check], "verified": False}
    )
    assert check_command.check("slippery-sum") == 1
    assert "FAIL" in capsys.readouterr().out


def test_several_problems_make_a_list(slippery, tmp_path, monkeypatch):
    plain, _ = slippery
    monkeypatch.setattr("mdp_theory.check.report.report", lambda problem, **_: plain | {"problem": problem.name})
    assert check_command.check("all", "running-sum", json=tmp_path / "all.json") == 0
    names = [found["problem"] for found in json.loads((tmp_path / "all.json").read_text())]
    assert names == [*zoo.ZOO, "running-sum"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cuntdown"], "no problem is called 'cuntdown'"),
        (["absent.toml"], "No such file"),
        (["two-letter-words", "--num-generations", "1"], "--num-generations is 1"),
        (["two-letter-words", "--policy", "greedy"], "unknown policy 'greedy'"),
        (["two-letter-words", "--inner-steps", "-1"], "--inner-steps is -1"),
    ],
)
def test_bad_input_is_said_in_two_lines(arguments, said, capsys):
    assert cli.run(["check", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert said in lines[0]
