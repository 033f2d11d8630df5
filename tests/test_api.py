"""The Python API: what it returns is what the command line writes, and what it refuses it names."""

import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest

import rino
from mdp_theory.methods.catalogue import METHODS
from rino.cli import run


def test_a_problem_comes_by_name_by_string_path_and_by_path(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nvocabulary = ["a", "<eos>"]\neos = "<eos>"\nhorizon = 2\n'
        '[[prompt]]\ntext = "p"\nrewards = { "a <eos>" = 1.0 }\n'
    )
    assert rino.problem(str(file)).name == rino.problem(file).name == "mine"
    assert rino.problem("countdown").name == "countdown"
    assert len(repr(rino.problem("countdown"))) < 120
    assert len(repr(rino.problem("running-sum"))) < 120


def test_check_returns_what_the_command_writes(tmp_path):
    arguments = ["check", "one-token", "--num-generations", "4", "--policy", "random:3"]
    assert run([*arguments, "--json", str(tmp_path / "check.json")]) == 0
    found = rino.check(rino.problem("one-token"), num_generations=4, policy="random:3")
    assert found.verified
    assert json.loads(json.dumps(found.to_json())) == json.loads((tmp_path / "check.json").read_text())


@pytest.mark.parametrize("key", [key for key, m in METHODS.items() if m.objective.advantage.of_outcomes_alone])
def test_the_coefficient_is_that_of_the_gradient_where_length_is_one(key):
    """On responses of one token 1/L is 1, so that the gradient of every outcome method is c(p) ∇p (theorem T5)."""
    found = rino.gradient("one-token", key, policy="random:1", num_generations=5)
    assert found.residual.max() < 1e-12
    scaled = rino.method(key, loss_aggregation="sequence-mean-token-sum")
    assert rino.gradient("one-token", scaled, policy="random:1", num_generations=5).coefficient == pytest.approx(
        rino.coefficient(key, found.p, num_generations=5), rel=1e-10
    )


def test_a_gradient_at_given_logits_is_that_of_the_policy():
    mdp = rino.problem("two-letter-words")
    given = tuple(np.zeros(level.shape) for level in mdp.rewards)
    for one, other in zip(
        rino.gradient(mdp, "grpo", policy=given).levels, rino.gradient(mdp, "grpo").levels, strict=True
    ):
        assert np.array_equal(one, other)


def test_a_kl_term_moves_the_gradient_only_with_another_reference():
    plain = rino.gradient("one-token", "grpo", policy="random:1")
    same = rino.gradient("one-token", rino.method("grpo", beta=0.5), policy="random:1")
    other = rino.gradient("one-token", rino.method("grpo", beta=0.5), policy="random:1", reference="uniform")
    assert same.levels[0] == pytest.approx(plain.levels[0])
    assert np.abs(other.levels[0] - plain.levels[0]).max() > 1e-3


def test_coefficient_keeps_the_shape_of_p():
    assert isinstance(rino.coefficient("grpo", 0.5), float)
    assert rino.coefficient("grpo", [[0.1, 0.2, 0.3]]).shape == (1, 3)
    assert rino.coefficient("grpo", []).shape == (0,)
    # At G = 2 the advantages of a mixed group are 1 and -1, so that c = P(other wrong) + P(other right).
    assert rino.coefficient("grpo", 0.3, num_generations=2) == pytest.approx(1.0)


def test_a_method_has_the_dials_of_the_command_line():
    choice = rino.method("grpo", beta=1, epsilon=0.1, loss_aggregation="dapo", max_completion_length=7)
    objective = choice.objective
    assert (objective.kl.beta, objective.clip.low, objective.clip.high) == (1.0, 0.1, 0.1)
    assert (objective.aggregation, objective.max_completion_length) == ("token-mean", 7)
    assert "beta = 1" in repr(choice)
    assert rino.method("raft").to_json()["key"] == "raft"


class Losses:
    """Live losses of every kind of callable."""

    def method(self, logp, old_logp, ref_logp, rewards, mask, group):
        return reinforce(logp, old_logp, ref_logp, rewards, mask, group)

    def __call__(self, logp, old_logp, ref_logp, rewards, mask, group):
        return reinforce(logp, old_logp, ref_logp, rewards, mask, group)


def reinforce(logp, old_logp, ref_logp, rewards, mask, group, scale=1.0):
    return -scale * jnp.mean((logp * mask).sum(axis=1) * rewards)


LIVE = {
    "function": reinforce,
    "method": Losses().method,
    "callable object": Losses(),
    "partial": functools.partial(reinforce, scale=2.0),
}


@pytest.mark.parametrize("kind", LIVE)
def test_a_live_loss_is_audited(kind):
    found = rino.audit(LIVE[kind])
    assert found.outcome_driven
    assert found.outcome_driven_off_policy
    assert found.nearest["method"] == "reinforce"
    assert found.nearest["scale"] == pytest.approx(2.0 if kind == "partial" else 1.0)
    assert "is outcome-driven SFT" in repr(found)


def test_a_live_loss_that_fails_is_told_with_its_line():
    def broken(logp, old_logp, ref_logp, rewards, mask, group):
        return logp.no_such_thing

    with pytest.raises(rino.InputError, match=r"broken raises AttributeError.*\(line \d+\)"):
        rino.audit(broken)


def test_a_theorem_is_proved():
    found = rino.prove("t4")
    assert found.verified
    assert found.record["theorems"][0]["id"] == "T4"
    assert "T4" in repr(found)


BAD = {
    "a problem": (lambda: rino.problem("countdwn"), "'countdown'"),
    "no problem": (lambda: rino.problem(3), "TOML"),
    "a method": (lambda: rino.method("grop"), "'grpo'"),
    "no method": (lambda: rino.method(rino.method("grpo").objective), "rino list methods"),
    "no policy": (lambda: rino.check("one-token", policy=None), "uniform"),
    "no runs": (lambda: rino.figures(None), "rino.train"),
    "a dial": (lambda: rino.method("grpo", betta=0.1), "'beta'"),
    "a value": (lambda: rino.method("grpo", beta="much"), "a number"),
    "a choice": (lambda: rino.method("grpo", ddof=2), "one of 0, 1"),
    "a dial without a place": (lambda: rino.method("reinforce", epsilon=0.1), "drop --epsilon"),
    "a group": (lambda: rino.check("one-token", num_generations=1), "at least 2"),
    "a policy": (lambda: rino.gradient("one-token", "grpo", policy="greedy"), "random:SEED"),
    "logits": (lambda: rino.gradient("one-token", "grpo", policy=[[[0.0]]]), "one array a depth"),
    "a ratio of histories": (lambda: rino.gradient("slippery-sum", "gspo", old_policy="random:1"), "on-policy"),
    "a probability": (lambda: rino.coefficient("grpo", [0.5, 1.5]), "a probability"),
    "no probability": (lambda: rino.coefficient("grpo", float("nan")), "a probability"),
    "a critic": (lambda: rino.coefficient("ppo", 0.5), "rino.gradient"),
    "a loss": (lambda: rino.audit(3), "give a function"),
    "a signature": (lambda: rino.audit(lambda logp: logp), "the signature is"),
    "a theorem": (lambda: rino.prove("T99"), "rino prove T18"),
    "a run's option": (lambda: rino.train(stepps=3), "'steps'"),
    "a run's value": (lambda: rino.train(steps=2.5), "a whole number"),
    "a run's method": (lambda: rino.train(method="grop"), "'grpo'"),
    "a comparison's seed": (lambda: rino.compare(seed=3), "'seeds' is nearest"),
    "a comparison's methods": (lambda: rino.compare("grpo"), "give names"),
    "runs": (lambda: rino.figures("/no/such/place"), ""),
    "a format": (lambda: rino.figures("runs", formats=["gif"]), "png, pdf, svg"),
}


@pytest.mark.parametrize("kind", BAD)
def test_wrong_input_is_two_lines_with_the_mend(kind):
    call, mend = BAD[kind]
    with pytest.raises(rino.InputError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 2
    assert caught.match(mend)


def test_results_are_short_to_read_and_safe_to_show(tmp_path):
    hostile = "<script>alert(1)</script>"
    file = tmp_path / "hostile.toml"
    file.write_text(
        f'name = "{hostile}"\nvocabulary = ["a", "b"]\neos = "b"\nhorizon = 1\n'
        f'[[prompt]]\ntext = "{hostile}"\nrewards = {{ "a" = 1.0 }}\n'
    )
    found = rino.gradient(file, "grpo")
    assert len(repr(found)) < 200
    assert hostile in str(found)
    assert hostile not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert json.loads(json.dumps(found.to_json()))["prompts"] == [hostile]
    with pytest.raises(AttributeError):
        found.problem = "another"


def test_a_run_of_the_api_is_a_run_of_the_command_line(tmp_path):
    """The command goes on where the API stopped: it finds its own run, finished, and nothing to do."""
    size = {"steps": 1, "num_prompts": 2, "num_generations": 2, "eval_prompts": 4, "eval_samples": 2, "probe_every": 0}
    out = tmp_path / "run"
    found = rino.train(method=rino.method("grpo", beta=0.01), out=out, max_completion_length=16, **size)
    flags = [word for name, value in size.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = ["train", "--method", "grpo", "--beta", "0.01", "--max-completion-length", "16", "--out", str(out)]
    assert run([*command, *flags, "--json", str(tmp_path / "result.json")]) == 0
    assert json.loads((tmp_path / "result.json").read_text()) == found.to_json()
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1
    assert f"{found.record['eval/pass@1']:.3f}" in repr(found)
