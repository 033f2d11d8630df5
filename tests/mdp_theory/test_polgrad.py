"""Parity with polgrad 0.2.1: its ten registered algorithms against ours, on its own batches, in loss and gradient.

polgrad is an independent implementation in PyTorch, so agreement to 1e-9 leaves little room for a shared slip. Where an
algorithm of the same name means something else there, `DIFFERENCES` says what and why, and the comparison sets our
dials to its choice: the table of docs/audit.md is the same list.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.credit import assign_credit
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.loss import loss, surrogate
from mdp_theory.methods.objectives import KL, Clip, Objective
from mdp_theory.precision import in_float64

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
polgrad = pytest.importorskip("polgrad")
from polgrad.testing import random_batches  # noqa: E402
from polgrad.verify.goldens import golden_cases  # noqa: E402

GROUP = 4
WIDTH = 6
NORM_LEN = 16

_STD = "polgrad divides by n - 1 and adds ε = 1e-4, after TRL; the source states neither, and ours are ddof 0 and ε 0"

# polgrad's name -> (our key, what is set on ours to make it polgrad's, every difference and its reason).
DIFFERENCES = {
    "ppo": (
        "ppo",
        {"discount": 0.99},
        "γ = 0.99 is the source's, for control tasks; ours is 1, as for language models",
    ),
    "grpo": ("grpo-kl", {"ddof": 1, "eps": 1e-4}, _STD),
    "dr_grpo": ("dr-grpo", {}, "none; both ask for the constant"),
    "dapo": (
        "dapo",
        {"ddof": 1, "eps": 1e-4},
        f"{_STD}; ours drops groups of equal reward from the token count, polgrad leaves that to the data",
    ),
    "gspo": ("gspo", {"ddof": 1, "eps": 1e-4}, _STD),
    "gspo_token": (
        "gspo",
        {"ddof": 1, "eps": 1e-4, "importance_sampling_level": "sequence-token"},
        f"{_STD}; not catalogued apart: with one advantage a response its gradient is GSPO's",
    ),
    "cispo": ("cispo", {"ddof": 1, "eps": 1e-4}, _STD),
    "rloo": (
        "rloo",
        {"kl": KL(beta=0.03, estimator="k1", placement="reward")},
        "polgrad puts the source's KL into the reward (β = 0.03, its TL;DR runs); ours has none unless asked",
    ),
    "reinforce_pp": (
        "grpo",
        {
            "ddof": 1,
            "eps": 1e-8,
            "scale": "batch-std",
            "kl": KL(beta=0.001, estimator="k1", placement="reward"),
            "one_group": True,
        },
        "not catalogued: GRPO with the whole batch as one group, ddof 1, ε = 1e-8 and a KL in the reward",
    ),
    "grpo_tis": (
        "grpo-kl",
        {"ddof": 1, "eps": 1e-4, "truncation": 10.0},
        f"{_STD}; `Batch` does not hold the sampler's own log-probabilities: the truncated weight goes into the credit",
    ),
}


def ours(name):
    """Our objective with polgrad's dials, and the two settings that are not the objective's."""
    key, dials, _ = DIFFERENCES[name]
    dials = dict(dials)
    one_group, truncation = dials.pop("one_group", False), dials.pop("truncation", None)
    objective = METHODS[key].objective
    in_advantage = {field.name for field in dataclasses.fields(objective.advantage)} & dials.keys()
    advantage = dataclasses.replace(objective.advantage, **{field: dials.pop(field) for field in in_advantage})
    objective = dataclasses.replace(objective, advantage=advantage, **dials)
    if objective.needs_limit:
        objective = dataclasses.replace(objective, max_completion_length=NORM_LEN)
    return objective, one_group, truncation


@in_float64
def our_loss_and_gradient(name, batch, rollout):
    objective, one_group, truncation = ours(name)
    batch = Batch(*(jnp.asarray(x) for x in batch))
    if one_group:
        batch = batch._replace(group=jnp.zeros_like(batch.group))

    def total(logp):
        current = batch._replace(logp=logp)
        if truncation is None:
            return loss(objective, current)
        credit = assign_credit(objective, current)
        weight = jnp.minimum(jnp.exp(batch.old_logp - rollout), truncation)
        credit = credit._replace(advantage=credit.advantage * weight)
        rest = {"old_logp": batch.old_logp, "ref_logp": batch.ref_logp, "mask": batch.mask}
        return surrogate(objective, credit, logp=logp, **rest)

    return jax.value_and_grad(total)(batch.logp)


def their_loss_and_gradient(name, tensors, reward, group, value):
    spec = polgrad.get_algorithm(name)
    mask = tensors["response_mask"]
    last = mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))
    token_reward = last * reward[:, None]
    if spec.kl_placement == "reward":
        token_reward = polgrad.kl_in_reward(
            token_reward,
            tensors["old_logprobs"],
            tensors["ref_logprobs"],
            spec.kl_reward.kind,
            spec.kl_reward.coef,
            response_mask=mask,
        )
    outcome = token_reward.sum(1)
    if spec.advantage == "gae":
        advantage, _ = polgrad.gae(token_reward, value, config=spec.advantage_config, response_mask=mask)
    elif spec.advantage == "rloo":
        advantage = polgrad.rloo_advantages(outcome, group)
    elif spec.advantage == "reinforce_pp":
        advantage = polgrad.reinforce_pp_advantages(outcome, None, config=spec.advantage_config)
    else:
        advantage = polgrad.grpo_advantages(outcome, group, spec.advantage_config)
    config = dataclasses.replace(spec.loss, norm_len=NORM_LEN)
    logp = tensors["logprobs"].clone().requires_grad_()
    result = polgrad.policy_loss(
        config,
        logprobs=logp,
        old_logprobs=tensors["old_logprobs"],
        advantages=advantage,
        response_mask=mask,
        ref_logprobs=tensors["ref_logprobs"],
        rollout_logprobs=tensors["rollout_logprobs"],
    ).loss
    result.backward()
    return result.item(), logp.grad.numpy()


def compare(name, tensors, reward, group):
    value = tensors["advantages"][:, None] * torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    streams = [tensors[key].numpy() for key in ("logprobs", "old_logprobs", "ref_logprobs")]
    batch = Batch(*streams, tensors["response_mask"].double().numpy(), reward.numpy(), group.numpy(), value.numpy())
    theirs = their_loss_and_gradient(name, tensors, reward, group, value)
    return our_loss_and_gradient(name, batch, tensors["rollout_logprobs"].numpy()), theirs


def test_every_algorithm_of_polgrad_is_compared():
    assert set(DIFFERENCES) == set(polgrad.ALGORITHMS)


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("gap", [1e-4, 2.0], ids=["within-the-clip", "far-off-policy"])
def test_loss_and_gradient_agree(name, gap):
    group = torch.arange(2 * GROUP) // GROUP
    for tensors in random_batches(3, [(2 * GROUP, WIDTH)], seed=7, max_gap=gap):
        mine, theirs = compare(name, tensors, tensors["advantages"], group)
        assert mine[0] == pytest.approx(theirs[0], rel=1e-9, abs=1e-12)
        assert np.abs(theirs[1]).max() > 0 or gap > 1  # GSPO's narrow range may clip a far batch whole
        np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-9, atol=1e-9 * np.abs(theirs[1]).max() + 1e-300)


def test_dapo_parts_from_polgrad_only_where_a_group_earns_the_same():
    group = torch.arange(2 * GROUP) // GROUP
    tensors = next(iter(random_batches(1, [(2 * GROUP, WIDTH)], seed=3, max_gap=0.1)))
    reward = torch.where(group == 0, tensors["advantages"], torch.full_like(tensors["advantages"], 0.5))
    (_, mine), (_, theirs) = compare("dapo", tensors, reward, group)
    tokens = tensors["response_mask"].sum(1).double()
    share = (tokens.sum() / tokens[group == 0].sum()).item()
    assert share > 1.2
    np.testing.assert_allclose(mine, share * theirs, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.name)
def test_hand_derived_cases_agree(case):
    clip = Clip(low=case.config.clip.eps_low, high=case.config.clip.eps_high, dual=case.config.clip.ratio_cap)
    aggregations = {"token_mean": "token-mean", "seq_mean_token_mean": "sequence-mean-token-mean"}

    @in_float64
    def mine():
        objective = Objective(
            advantage=METHODS["grpo"].objective.advantage,
            clip=clip,
            aggregation=aggregations[case.config.aggregation.value],
        )
        mask = jnp.asarray(case.response_mask.double().numpy())
        logp, old = (jnp.asarray(x.numpy()) for x in (case.logprobs, case.old_logprobs))
        rows = jnp.zeros(len(mask), int)
        credit = assign_credit(objective, Batch(logp, old, old, mask, rows, rows))
        advantage = np.broadcast_to(case.advantages.numpy().reshape(len(mask), -1), mask.shape)
        credit = credit._replace(advantage=jnp.asarray(np.where(mask > 0, advantage, 0.0)))

        def total(x):
            return surrogate(objective, credit, logp=x, old_logp=old, ref_logp=old, mask=mask)

        return jax.value_and_grad(total)(logp)

    value, gradient = mine()
    assert value == pytest.approx(case.expected_loss, rel=1e-12)
    np.testing.assert_allclose(gradient, case.expected_grad_logprobs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_kl_estimators_agree(kind):
    tensors = next(iter(random_batches(1, [(4, WIDTH)], seed=1)))
    mask = torch.ones_like(tensors["response_mask"])
    streams = tensors["logprobs"], tensors["ref_logprobs"]
    theirs = polgrad.kl_estimate(*streams, polgrad.KLEstimator(kind), response_mask=mask)
    mine = in_float64(kl_estimate)(kind, *(x.numpy() for x in streams))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_the_documented_list_of_differences_is_this_one():
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    for name, (key, _, reason) in DIFFERENCES.items():
        assert f"| {name} | {key} | {reason} |" in page
