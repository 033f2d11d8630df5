"""Losses of frameworks: what is recorded, what is said where one is missing, and live where one is installed."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.audit.frameworks import environment
from mdp_theory.audit.frameworks.batches import FRAMEWORKS, arrange, micro_batches
from mdp_theory.audit.frameworks.environment import Worker, installation, pins, python_of, variants
from mdp_theory.audit.frameworks.stand_ins import stand_in_for
from mdp_theory.audit.probes import lay, probes
from mdp_theory.audit.recover import audit_loss
from mdp_theory.audit.target import open_loss, opened, split_settings
from mdp_theory.conformance import page
from mdp_theory.conformance.record import PEERS, golden, random_residual, spelled
from mdp_theory.methods.catalogue import METHODS, OUTSIDE
from mdp_theory.methods.objectives import Overlong
from rino.cli import run
from rino_base.messages import InputError

ROOT = Path(__file__).parents[2]


def fields_of(batch):
    names = ("logp", "old_logp", "ref_logp", "rewards", "mask", "group")
    values = (batch.logp, batch.old_logp, batch.ref_logp, batch.reward, batch.mask, batch.group)
    return dict(zip(names, map(np.asarray, values), strict=True))


@pytest.mark.parametrize("name", ["flat", "prompt", "order", "labels-sparse", "padding-width", "suite: near, graded"])
def test_what_a_framework_is_given_comes_back_to_its_place(name):
    fields = fields_of(probes()[name])
    responses, back = arrange(fields)
    np.testing.assert_array_equal(np.sort(responses.length), np.sort(fields["mask"].sum(axis=1)))
    assert (np.diff(responses.group) >= 0).all()
    placed = back(np.where(responses.mask > 0, responses.logp, 0.0))
    np.testing.assert_array_equal(placed, np.where(fields["mask"] > 0, fields["logp"], 0.0))


@given(st.permutations(range(8)), st.lists(st.integers(1, 4), min_size=8, max_size=8), st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_rows_of_a_group_are_brought_together_and_taken_back(order, length, start):
    group = np.array([0, 0, 7, 7, 3, 3, 9, 9])[list(order)]
    random = np.random.default_rng(0)
    streams = random.normal(size=(3, 8, 6))
    column = np.arange(6)
    mask = (column >= start) & (column < start + np.array(length)[:, None])
    fields = {"logp": streams[0], "old_logp": streams[1], "ref_logp": streams[2], "mask": mask, "group": group}
    responses, back = arrange(fields | {"rewards": random.normal(size=8)})
    np.testing.assert_array_equal(responses.group, np.repeat(np.arange(4), 2))
    np.testing.assert_array_equal(back(responses.mask * responses.logp), mask * streams[0])


def test_groups_of_several_sizes_and_holes_are_refused():
    fields = fields_of(lay())
    with pytest.raises(ValueError, match="one size"):
        arrange(fields | {"group": np.array([0] * 5 + [1] * 19)})
    holed = fields["mask"].copy()
    holed[1, 2] = 0
    with pytest.raises(ValueError, match="no holes"):
        arrange(fields | {"mask": holed})


def test_micro_batches_are_contiguous():
    responses, _ = arrange(fields_of(lay()))
    assert micro_batches(responses, 3) == [slice(0, 8), slice(8, 16), slice(16, 24)]


def test_every_framework_has_pins_that_name_no_place():
    table = pins()
    assert set(table) == set(FRAMEWORKS)
    text = (ROOT / "mdp_theory/audit/frameworks/environments.toml").read_text()
    assert not re.search(r"https?:|://|index", text)
    for framework in FRAMEWORKS:
        exact = [line for line in (*table[framework]["requires"], *table[framework]["alone"]) if "==" in line]
        assert exact, framework
        commands = installation(framework)
        assert all("--no-deps" in command for command in commands[2:])


def test_a_framework_that_is_nowhere_installed_is_two_lines(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(environment.PLACE, str(tmp_path))
    monkeypatch.setattr(
        environment, "pins", lambda: {name: {"module": "not_installed_anywhere"} for name in FRAMEWORKS}
    )
    assert run(["audit", "trl:dapo"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2
    assert "rino conformance trl --install" in said[1]
    assert run(["conformance", "verl"]) == 0
    assert "installed neither here nor in" in capsys.readouterr().out
    place = tmp_path / "trl" / "bin"
    place.mkdir(parents=True)
    (place / "python").touch()
    assert python_of("trl") == place / "python"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "trl:gropo"], "no loss called 'gropo'"),
        (["audit", "trl:dapo,beta"], "'beta' is no setting"),
        (["audit", "grpo", "--all"], "--all goes with a framework"),
        (["conformance", "deepspeed"], "unknown framework"),
        (["conformance", "--install"], "every framework"),
    ],
)
def test_bad_input_is_told(arguments, said, capsys):
    assert run(arguments) == 2
    assert said in capsys.readouterr().err


def test_settings_follow_after_commas():
    name, settings = split_settings("trl:grpo,beta=0.04,scale_rewards=none,range=[0.2,0.28],on=true")
    assert name == "trl:grpo"
    assert settings == {"beta": 0.04, "scale_rewards": "none", "range": [0.2, 0.28], "on": True}


def test_a_stand_in_can_be_imported_and_decorates_nothing():
    assert stand_in_for("json", "a_package_of_kernels") == ("a_package_of_kernels",)
    import a_package_of_kernels.deep.inside as inside
    from a_package_of_kernels.layers import Layer, fast

    def plain(x):
        return x

    assert fast(plain) is plain
    assert isinstance(Layer(3, size=4), Layer)
    assert inside.__name__ == "a_package_of_kernels.deep.inside"
    with pytest.raises(TypeError):
        Layer(1) + 1
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "_Finder"]


def test_the_page_is_made_of_the_golden_files():
    assert (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8") == page.page()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_loss_and_every_spelling_is_recorded_and_holds(framework):
    found = golden(framework)
    assert [record["name"] for record in found["losses"]] == list(variants(framework))
    assert all(record["version"] == found["version"] for record in found["losses"] if not record["problem"])
    spellings = [
        (key, spelled(text))
        for key, method in METHODS.items()
        for peer, text in method.peers.items()
        if PEERS[peer] == framework
    ]
    assert [(record["method"], record["settings"]) for record in found["peers"]] == spellings
    for record in found["peers"]:
        assert page.holds(record), record["method"]
        may_be_set = {"ddof", "advantage_eps", "keep", "dual_clip", "epsilon", "epsilon_high"}
        told = set(record["claimed"]["dials"])
        assert told <= may_be_set | {"beta", "kl_estimator", "kl_placement"}, record["method"]


def test_claims_name_methods_or_what_is_told_to_be_outside():
    for framework in FRAMEWORKS:
        for variant in variants(framework).values():
            assert variant.method is None or variant.method in METHODS or variant.method in OUTSIDE


def test_what_no_probe_can_be_put_to_says_why(capsys):
    unprobed = {f"{f}:{name}": v for f in FRAMEWORKS for name, v in variants(f).items() if v.outside}
    assert {"trl:a2po", "trl:tpo", "trl:sdpo", "verl:gdpo", "verl:optimal_token_baseline"} == set(unprobed)
    for target, variant in unprobed.items():
        assert run(["audit", target]) == 2
        assert variant.outside in capsys.readouterr().err
        framework, _, name = target.partition(":")
        record = next(record for record in golden(framework)["losses"] if record["name"] == name)
        assert record["problem"] == variant.outside


def test_differences_are_shown_by_commands_that_exist():
    known = {f"{name}:{variant}" for name in FRAMEWORKS for variant in variants(name)}
    for difference in page.differences():
        for command in difference["command"].split(" && "):
            words = command.split()
            assert words[:2] in (["rino", "audit"], ["rino", "conformance"])
            if words[1] == "audit":
                assert words[2].partition(",")[0] in known


@pytest.mark.torch
def test_polgrad_is_audited_live_and_as_recorded(tmp_path):
    recorded = {record["name"]: record for record in golden("polgrad")["losses"]}
    with Worker("polgrad") as worker:
        for name in ("grpo", "dapo", "rloo"):
            settings = variants("polgrad")[name].settings
            report = audit_loss(open_loss(worker, f"polgrad:{name}", settings, lay(), framework="polgrad"))
            answers = report.to_json()
            for field in ("departures", "aggregation", "ddof", "advantage_eps", "kl", "clip", "credit_pool"):
                assert answers[field] == recorded[name][field], (name, field)
        with pytest.raises(InputError, match="cannot be opened"):
            open_loss(worker, "polgrad:none", {"algorithm": "none"}, lay(), framework="polgrad")


@pytest.mark.torch
def test_one_command_audits_a_framework(tmp_path, capsys):
    file = tmp_path / "answers.json"
    with opened("polgrad:dr_grpo", lay()) as loss:
        assert loss.framework.startswith("polgrad ")
    assert run(["audit", "polgrad:dr_grpo", "--expect", "dr-grpo", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["nearest"]["method"] == "dr-grpo"


def _installed(framework):
    try:
        python_of(framework)
    except InputError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "polgrad" and _installed(name)])
def test_installed_frameworks_are_as_recorded(framework):
    recorded = {record["name"]: record for record in golden(framework)["losses"]}
    with Worker(framework) as worker:
        for name, variant in list(variants(framework).items())[:6]:
            report = audit_loss(open_loss(worker, f"{framework}:{name}", variant.settings, lay(), framework=framework))
            assert report.to_json()["departures"] == recorded[name]["departures"]


@pytest.mark.slow
@pytest.mark.skipif(not _installed("openrlhf"), reason="OpenRLHF is not installed")
def test_openrlhf_punishes_overlong_responses_as_the_equation_does():
    """Eq. 13 of 2503.14476 with L_max = 8 and L_cache = 4, on random batches."""
    base = METHODS["dapo-overlong"].objective
    rule = dataclasses.replace(base.advantage, ddof=1, eps=1e-9, overlong=Overlong(share=0.5))
    clip = dataclasses.replace(base.clip, high=0.2)
    objective = dataclasses.replace(base, advantage=rule, clip=clip, keep="all", max_completion_length=8)
    settings = variants("openrlhf")["overlong"].settings
    with Worker("openrlhf") as worker:
        loss = open_loss(worker, "openrlhf:overlong", settings, lay(), framework="openrlhf")
        assert random_residual(loss, objective, 1.0) < 1e-6
        plain = dataclasses.replace(objective, advantage=dataclasses.replace(rule, overlong=None))
        assert random_residual(loss, plain, 1.0) > 0.1


TRAINER = '''
from trl import GRPOTrainer


class Halved(GRPOTrainer):
    """Negative advantages count half."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        advantages = output["advantages"]
        output["advantages"] = advantages.where(advantages > 0, 0.5 * advantages)
        return output


class Plain(GRPOTrainer):
    pass
'''


@pytest.mark.slow
@pytest.mark.skipif(not _installed("trl"), reason="TRL is not installed")
def test_a_trainer_of_ones_own_is_audited(tmp_path):
    file = tmp_path / "my_trainer.py"
    file.write_text(TRAINER)
    with opened(f"{file}:Plain,loss_type=grpo", lay()) as loss:
        assert audit_loss(loss).nearest.method == "grpo"
    with opened(f"{file}:Halved,loss_type=grpo", lay()) as loss:
        report = audit_loss(loss)
    assert report.outcome_driven
    assert report.parts.advantage is None
