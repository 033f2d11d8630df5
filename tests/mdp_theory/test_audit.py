"""The audit of losses: every catalogued method recognised, faithful ones recovered in full, every fault named."""

import dataclasses
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdp_theory.audit.departures import Evidence, measure
from mdp_theory.audit.loss import catalogued_loss, load_loss
from mdp_theory.audit.probes import EIGHTS, EXTRA, FOURS, GRADED, RAGGED, REWARDS, lay, probes
from mdp_theory.audit.recover import audit_loss
from mdp_theory.audit.rules import advantages
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.formula import describe
from mdp_theory.methods.objectives import Advantage, Objective
from rino_base.messages import InputError

LOSSES = Path(__file__).parent / "losses"


@cache
def audited(target):
    loss = load_loss(f"{LOSSES / target}" if ":" in target else target, lay())
    return audit_loss(loss)


def targets(names):
    return [pytest.param(name, marks=[pytest.mark.torch] * ("torch.py" in name)) for name in names]


def words(report):
    return "; ".join(finding.detail for finding in report.findings)


# Catalogued methods: what keeps them from being outcome-driven on-policy, and off-policy only.
ON_POLICY = {"grpo-kl": {"kl"}, "ppo": {"time"}}
CREDIT_POOLS = (
    dict.fromkeys(("reinforce", "raft", "raft-pp", "psr", "nsr", "w-reinforce", "iw-sft", "sft"), "response")
    | {key: "response" for key in METHODS if key.startswith("f-isft") and not key.endswith("adv")}
    | {"ppo": "response"}
)
LIKELIHOODS = {key for key, method in METHODS.items() if method.objective.surrogate == "log-likelihood"}
SAME_WEIGHTS = {"raft": ("f-isft-pos",), "f-isft-pos": ("raft",)}
UNSEEN = {"dapo-overlong"}  # what it adds waits for more tokens than a probe has


def test_what_no_probe_reaches_is_taken_for_the_rest_of_it():
    assert audited("dapo-overlong").nearest.method == "dapo"


@pytest.mark.parametrize("key", sorted(METHODS.keys() - UNSEEN))
def test_every_catalogued_method_is_recognised(key):
    report = audited(key)
    nearest = report.nearest
    assert nearest.residual < 1e-12
    assert nearest.scale == pytest.approx(1.0, rel=1e-12)
    assert not nearest.dials
    assert {nearest.method, *nearest.ties} == {key, *SAME_WEIGHTS.get(key, ())}
    assert not report.sign_errors
    assert report.precision == "float64"
    on = {finding.name for finding in report.findings if finding.when == "on-policy"}
    off = {finding.name for finding in report.findings if finding.when == "off-policy"}
    assert on == ON_POLICY.get(key, {"credit pool"} if key in POOLED else set())
    assert off == (set() if key in LIKELIHOODS else {"ratio"} if key in GATED else {"ratio", "clip"})
    assert report.credit_pool == CREDIT_POOLS.get(key, "all" if key in POOLED else "group")
    assert not report.micro_batches.change
    assert report.outcome_driven == (key not in ON_POLICY)
    assert report.outcome_driven_off_policy == (key in LIKELIHOODS)


# A smooth gate is recognised as its method's, not recovered; the ratio then follows no power.
GATED = {key for key, method in METHODS.items() if method.objective.gate is not None}
POOLED = {key for key, method in METHODS.items() if method.objective.advantage.whiten != "none"}


@pytest.mark.parametrize("key", sorted(METHODS.keys() - {"ppo"} - GATED - UNSEEN))
def test_a_method_is_put_together_again_from_its_parts(key):
    """PPO's weights depend on time, so its advantage is no rule on responses."""
    method = METHODS[key]
    found, scale, residual = audited(key).objective
    expected = method.objective
    if expected.needs_limit:
        expected = dataclasses.replace(expected, max_completion_length=512)
    alone = key.startswith("f-isft") or key == "raft-pp"
    if alone and expected.clip is not None and expected.advantage.negative == 0:
        expected = dataclasses.replace(expected, clip=dataclasses.replace(expected.clip, low=None))  # nothing below 0
    if key.startswith("f-isft") and expected.clip is not None and expected.advantage.positive == 0:
        expected = dataclasses.replace(expected, clip=dataclasses.replace(expected.clip, high=None))
    if expected.advantage.outcome == "above-mean":
        expected = dataclasses.replace(expected, advantage=dataclasses.replace(expected.advantage, threshold=1.0))
    assert describe(found) == describe(expected)
    assert scale == pytest.approx(1.0, rel=1e-9)
    assert residual < 1e-9


FAITHFUL = {
    "faithful_jax.py:grpo_verl": (
        "grpo-kl",
        {"ddof": 1, "advantage_eps": 1e-6, "beta": 0.001},
        {"aggregation": "sequence-mean-token-mean", "departures": ["kl", "ratio", "clip"]},
    ),
    "faithful_jax.py:dapo_with_dual_clip": (
        "dapo",
        {"ddof": 1, "advantage_eps": 1e-4, "keep": "all", "dual_clip": 3.0},
        {
            "aggregation": "token-mean",
            "clip": {"kind": "pessimistic", "low": 0.2, "high": 0.28, "dual": 3.0, "of": "ratio"},
        },
    ),
    "faithful_jax.py:rloo_with_kl_in_reward": (
        "rloo",
        {"beta": 0.05, "kl_estimator": "k1", "kl_placement": "reward"},
        {"aggregation": "sequence-mean-token-sum", "departures": ["kl"], "importance_sampling_level": "none"},
    ),
    "faithful_jax.py:grpo_with_k1": (
        "grpo-kl",
        {"advantage_eps": 1e-8, "beta": 0.02, "kl_estimator": "k1"},
        {"ddof": 0, "kl": {"estimator": "k1", "beta": 0.02, "placement": "loss", "aggregation": None}},
    ),
    "faithful_jax.py:filtered_sft": ("raft", {"threshold": 0.1}, {"departures": [], "outcome_driven_off_policy": True}),
    "faithful_jax.py:grpo_by_segments": (
        "dr-grpo",
        {"loss_aggregation": "sequence-mean-token-mean", "max_completion_length": None},
        {"departures": ["sparse group ids", "ratio", "clip"], "outcome_driven": True},
    ),
    "faulty_torch.py:grpo_trl": (
        "grpo",
        {"ddof": 1, "advantage_eps": 1e-4},
        {"outcome_driven": True, "outcome_driven_off_policy": False},
    ),
    "faulty_torch.py:in_single_precision": (
        "grpo",
        {"ddof": 1, "advantage_eps": 1e-4},
        {"departures": ["ratio", "clip"]},
    ),
}


@pytest.mark.parametrize("target", targets(FAITHFUL))
def test_faithful_losses_are_recovered_in_full(target):
    method, dials, fields = FAITHFUL[target]
    report = audited(target)
    assert report.nearest.method == method
    assert report.nearest.dials.keys() == dials.keys()
    for name, value in dials.items():
        found = report.nearest.dials[name]
        assert found == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), name
    assert report.nearest.residual < 1e-6
    assert report.objective is not None
    assert not report.sign_errors
    answers = report.to_json()
    assert {name: answers[name] for name in fields} == fields


CLIPPED = ["ratio", "clip"]
# Target -> departures (no more and no less), words that name the fault, and fields that pin it down.
FAULTY = {
    "faulty_jax.py:kl_maximised": (["kl", *CLIPPED], "k3 in the loss, β = 0.04, MAXIMISED", {"sign_errors": ["kl"]}),
    "faulty_jax.py:reward_minimised": (CLIPPED, "", {"sign_errors": ["reward"], "scale": pytest.approx(-1.0)}),
    "faulty_jax.py:prompt_in_loss": (
        ["prompt tokens", *CLIPPED],
        "prompt tokens get weight",
        {"outcome_driven": False},
    ),
    "faulty_jax.py:padded_length": (
        ["padding", *CLIPPED],
        "the padded length is the normaliser",
        {"aggregation": "padded-token-mean"},
    ),
    "faulty_jax.py:token_mean_of_micro_batches": (
        ["neighbours", *CLIPPED],
        "micro-batches",
        {"aggregation": "token-mean of every 6 rows"},
    ),
    "faulty_jax.py:std_over_batch": (
        ["credit pool", *CLIPPED],
        "the standard deviation is over the batch",
        {"ddof": 0, "advantage_eps": pytest.approx(1e-6), "outcome_driven": True, "credit_pool": "batch"},
    ),
    "faulty_jax.py:group_ids_ignored": (
        ["credit pool", *CLIPPED],
        "ignored: advantages are whitened over the responses of the batch",
        {"outcome_driven": True, "credit_pool": "batch", "ignored": ["ref_logp", "group"]},
    ),
    "faulty_jax.py:clip_on_the_wrong_side": (CLIPPED, "clipped on the wrong side", {"outcome_driven": True}),
    "faulty_jax.py:clip_without_minimum": (
        CLIPPED,
        "the unclipped term is missing",
        {"clip": {"kind": "two-sided", "low": 0.2, "high": 0.2, "dual": None, "of": "ratio"}},
    ),
    "faulty_jax.py:ratio_counted_twice": (["ratio"], "to the power 2: counted twice", {"ratio_exponent": 2.0}),
    "faulty_jax.py:ratio_upside_down": (["ratio"], "upside down", {"sign_errors": ["reward"], "ratio_exponent": -1.0}),
    "faulty_jax.py:ratios_of_the_past": (["time", "ratio"], "turning a response's tokens around", {}),
    "faulty_jax.py:weight_not_detached": (["probability", "ratio"], "as 1 + log π", {"outcome_driven": False}),
    "faulty_jax.py:advantage_not_detached": (
        ["kl", "equal rewards", "ratio", "neighbours"],
        "another response's log-probabilities change the weights",
        {"kl": {"estimator": "k1", "beta": 0.05, "placement": "reward", "aggregation": None}},
    ),
    "faulty_jax.py:reward_to_go": (["time"], "a reward-to-go", {"outcome_driven": False}),
    "faulty_jax.py:length_bonus": (
        ["length", *CLIPPED],
        "length enters the advantage",
        {"ddof": 0, "advantage_shape": None},
    ),
    "faulty_jax.py:time_decay": (["time"], "decays by 0.9 a token after the start", {}),
    "faulty_jax.py:temperature_mismatch": (["probability", *CLIPPED], "at temperature 0.8", {"ratio_exponent": 1.25}),
    "faulty_jax.py:eos_dropped": (["time", *CLIPPED], "the last token (EOS) gets no weight", {}),
    "faulty_jax.py:kl_without_gradient": (["reference", *CLIPPED], "a KL term without a gradient", {"kl": None}),
    "faulty_jax.py:ratio_to_the_reference": (["kl"], "the ratio is taken to the reference", {"kl": None}),
    "faulty_jax.py:square_root_of_length": (["length", *CLIPPED], "to the power -0.5", {"aggregation": None}),
    "faulty_jax.py:sum_over_responses": (
        ["batch size", *CLIPPED],
        "a sum over responses",
        {"aggregation": "sequence-sum-token-mean"},
    ),
    "faulty_jax.py:entropy_bonus": (["entropy", *CLIPPED], "every token weighs -0.01 more", {"outcome_driven": True}),
    "faulty_torch.py:mask_ignored": (
        ["padding", "prompt tokens", *CLIPPED],
        "padding tokens get weight",
        {"framework": "torch"},
    ),
    "faulty_torch.py:groups_by_position": (
        ["neighbours", *CLIPPED],
        "every 4 rows count as one group",
        {"ddof": 1, "advantage_eps": pytest.approx(1e-4)},
    ),
    "faulty_torch.py:kl_of_the_inverted_ratio": (["kl", *CLIPPED], "k3 of π/π_ref", {"sign_errors": []}),
    "faulty_torch.py:equal_rewards_divide_by_zero": (
        ["equal rewards", *CLIPPED],
        "nan when a group's rewards are equal",
        {},
    ),
    "faulty_torch.py:padding_in_sequence_ratio": (
        ["padding", "prompt tokens", "ratio"],
        "padding tokens get weight",
        {},
    ),
    "faulty_torch.py:divided_by_variance": (
        CLIPPED,
        "",
        {"advantage_eps": pytest.approx(1e-5), "advantage_eps_form": "under the root", "aggregation": "token-mean"},
    ),
}


@pytest.mark.parametrize("target", targets(FAULTY))
def test_every_fault_is_named_and_nothing_else(target):
    departures, named, fields = FAULTY[target]
    report = audited(target)
    answers = report.to_json()
    assert answers["departures"] == departures
    assert named in words(report)
    for name, value in fields.items():
        assert answers[name] == value, name


def test_every_loss_beside_the_tests_is_tried():
    tried = {target.split(":")[1] for target in (*FAITHFUL, *FAULTY)}
    written = {
        line[4:].split("(")[0]
        for file in LOSSES.glob("fa*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def ") and "old_logp, ref_logp, rewards" in line
    }
    assert tried == written


@pytest.mark.parametrize(
    "target", targets(["grpo-kl", "faulty_jax.py:eos_dropped", "faulty_torch.py:equal_rewards_divide_by_zero"])
)
def test_answers_are_plain_json(target):
    answers = audited(target).to_json()
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers


def test_the_sample_is_what_the_loss_gives():
    """GRPO's weights A/(B L) on the first group of the probe, by hand."""
    rewards, lengths, weights = audited("grpo").sample
    reward = np.array(rewards)
    advantage = (reward - reward.mean()) / reward.std()
    for value, length, row in zip(advantage, lengths, weights, strict=True):
        np.testing.assert_allclose(row, np.full(length, value / (24 * length)), rtol=1e-12)


@given(
    st.sampled_from(["reward", "correct", "above-mean"]),
    st.sampled_from(["none", "group-mean", "leave-one-out", "length-weighted"]),
    st.sampled_from(["none", "group-std", "batch-std", "group-mean"]),
    st.sampled_from(["none", "responses", "tokens"]),
    st.sampled_from([0, 1]),
    st.sampled_from([0.0, 1e-3]),
    st.lists(st.sampled_from([0.0, 0.1, 0.1, 1.0, -0.5, 2.0]), min_size=8, max_size=8),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_advantages_in_numpy_are_those_of_the_objectives(outcome, baseline, scale, whiten, ddof, eps, reward):
    rule = Advantage(outcome=outcome, negative=0.5, baseline=baseline, scale=scale, whiten=whiten, ddof=ddof, eps=eps)
    reward, group, length = np.array(reward), np.array([2, 0, 2, 2, 0, 5, 2, 0]), np.array([3, 1, 8, 2, 5, 4, 7, 6])
    batch = lay(reward=reward, group=group, length=length, logp=np.zeros((8, 8)))
    with jax.enable_x64(True):
        stacked = jax.tree.map(jnp.asarray, batch)
        expected = assign_credit(Objective(advantage=rule, surrogate="ratio"), stacked).advantage[:, 0]
    np.testing.assert_allclose(advantages(rule, reward, group, length=length), expected, rtol=1e-10, atol=1e-12)


def test_probes_are_what_they_are_said_to_be():
    found = probes()
    for name, (reward, group) in REWARDS.items():
        spread = np.array([np.ptp(reward[group == label]) for label in np.unique(group)])
        assert (spread > 0).all() == (name != "partly equal")
    prompt, wide = found["prompt"], found["padding-width"]
    np.testing.assert_array_equal(prompt.mask[:, EXTRA:], wide.mask[:, :-EXTRA])
    assert not prompt.mask[:, :EXTRA].any()
    np.testing.assert_array_equal(found["flat"].mask.sum(1), RAGGED[0])
    for name in ("flat", "varied", "reference", "order", "equal-rewards"):
        np.testing.assert_array_equal(found[name].logp, found[name].old_logp)
    assert (np.bincount(FOURS) == 4).all()
    assert (np.bincount(EIGHTS) == 8).all()
    assert {0.0, 1.0} < set(GRADED)


def test_comparisons_of_weights():
    one = np.array([1.0, 2.0])
    precise, coarse = Evidence({}, "float64"), Evidence({}, "bfloat16")
    assert not precise.apart(one, one * (1 + 1e-7))
    assert precise.apart(one, one * (1 + 1e-5))
    assert not coarse.apart(one, one * (1 + 2**-8))
    assert coarse.apart(one, one * 1.05)
    assert precise.common_factor(one, 3 * one) == pytest.approx(3.0)
    assert precise.common_factor(one, np.array([3.0, 5.0])) is None
    assert precise.common_factor(one, np.array([np.nan, 1.0])) == 1.0  # unknown counts as equal


def test_auditing_leaves_the_precision_of_the_process_alone():
    measure(catalogued_loss("grpo"), lay())
    assert jnp.ones(1).dtype == jnp.float32


BROKEN = {
    "broken_jax.py:raises": ("raises RuntimeError: the critic is missing (line 8)", "24x8 log-probabilities"),
    "broken_jax.py:returns_a_vector": ("returns an array of shape (24,)", "one number"),
    "broken_jax.py:returns_a_tuple": ("returns a tuple", "one number"),
    "broken_jax.py:returns_nan": ("returns", "0/0"),
    "broken_jax.py:has_an_infinite_gradient": ("has a gradient that is not finite", "0/0"),
    "broken_jax.py:ignores_logp": ("does not depend on logp", "stop_gradient"),
    "broken_jax.py:stops_every_gradient": ("does not depend on logp", "stop_gradient"),
    "broken_jax.py:takes_two": (
        "takes_two takes (logp, rewards)",
        "loss(logp, old_logp, ref_logp, rewards, mask, group)",
    ),
    "broken_jax.py:leaves_the_framework": ("raises ConcretizationTypeError", "24x8"),
    "broken_jax.py:answers_differently": ("answers the same batch differently", "randomness"),
    "broken_jax.py:not_a_function": ("not_a_function is a int, not a function", "signature"),
    "broken_jax.py:no_such_function": ("has no function 'no_such_function'", "broken_jax.py:raises"),
    "broken_jax.py": ("the function is not named", "broken_jax.py:raises"),
    "broken_jax.py:": ("the function is not named", "broken_jax.py:raises"),
    "no_such_file.py:loss": ("no such file", "FILE.py:FUNCTION"),
    "does_not_import.py:loss": ("cannot be imported: ModuleNotFoundError", "install not_installed_anywhere"),
    "broken_torch.py:no_gradient": ("does not depend on logp", "no_grad"),
    "broken_torch.py:returns_a_number": ("returns a float", "one number"),
    "broken_torch.py:wrong_shape": ("raises RuntimeError", "24x8"),
}


@pytest.mark.parametrize("target", targets(BROKEN))
def test_what_cannot_be_audited_is_refused_in_two_lines(target):
    problem, mend = BROKEN[target]
    with pytest.raises(InputError) as caught:
        audit_loss(load_loss(str(LOSSES / target), lay()))
    assert problem in caught.value.problem
    assert mend in caught.value.mend
    assert "\n" not in caught.value.problem + caught.value.mend


def test_a_name_that_is_neither_file_nor_method_is_refused():
    with pytest.raises(InputError, match="unknown method 'gropo'"):
        load_loss("gropo", lay())


def test_every_field_and_departure_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    for field in audited("grpo-kl").to_json():
        assert f"`{field}`" in page, field
    for name in {departure for departures, _, _ in FAULTY.values() for departure in departures}:
        assert f"| {name} |" in page, name
