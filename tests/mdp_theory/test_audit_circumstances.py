"""What a loss does besides its formula: rounding, arguments it writes into or ignores, answers that are no loss."""

import functools
from contextlib import suppress
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdp_theory.audit.loss import live_loss
from mdp_theory.audit.probes import lay
from mdp_theory.audit.recover import audit_loss
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.loss import loss
from rino_base.messages import InputError

with suppress(ImportError):
    import torch


def standardised(rewards, group):
    same = (group[:, None] == group[None, :]) * 1.0
    size = same.sum(1)
    centred = rewards - (same * rewards[None, :]).sum(1) / size
    deviation = ((same * (rewards[None, :] - (rewards - centred)[:, None]) ** 2).sum(1) / (size - 1)) ** 0.5
    return centred / (deviation + 1e-4)


def rounded_grpo(dtype):
    """GRPO whose advantages, ratios, clip and sums are in a low precision."""

    def grpo(logp, old_logp, ref_logp, rewards, mask, group):
        advantage = standardised(rewards, group).astype(dtype)[:, None]
        ratio, mask = jnp.exp((logp - old_logp).astype(dtype)), mask.astype(dtype)
        term = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        return -((term * mask).sum(1) / mask.sum(1)).mean().astype(jnp.float32)

    return grpo


@cache
def audited(dtype):
    return audit_loss(live_loss(rounded_grpo(dtype), lay()))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_rounded_loss_is_explained_with_its_ratio_and_clip(dtype):
    report = audited(dtype)
    answers = report.to_json()
    assert answers["precision"] == dtype.__name__
    assert answers["departures"] == ["ratio", "clip"]
    assert (answers["aggregation"], answers["ddof"]) == ("sequence-mean-token-mean", 1)
    assert (answers["importance_sampling_level"], answers["ratio_exponent"]) == ("token", 1.0)
    assert answers["clip"] == {"kind": "pessimistic", "low": 0.2, "high": 0.2, "dual": None, "of": "ratio"}
    assert answers["nearest"]["method"] == "grpo"
    assert report.outcome_driven


@pytest.mark.torch
def test_arguments_that_are_written_into_are_named():
    def writes(logp, old_logp, ref_logp, rewards, mask, group):
        rewards -= rewards.mean()
        mask[:, 0] *= 1.0
        return -((logp * mask).sum(1) * rewards).mean() + 0 * torch.ones(())

    report = audit_loss(live_loss(writes, lay()))
    found = {finding.name: finding.detail for finding in report.findings}
    assert found["mutates"].endswith("rewards")


def test_ignored_arguments_are_named():
    def fresh(logp, old_logp, ref_logp, rewards, mask, group):
        ratio = jnp.exp(logp - jax.lax.stop_gradient(logp))
        term = ratio * standardised(rewards, group)[:, None]
        return -((term * mask).sum(1) / mask.sum(1)).mean()

    report = audit_loss(live_loss(fresh, lay()))
    assert report.ignored == ("old_logp", "ref_logp")
    assert report.to_json()["importance_sampling_level"] == "none"
    assert report.outcome_driven_off_policy
    seen = audit_loss(live_loss(lambda *six: loss(METHODS["grpo-kl"].objective, as_batch(six)), lay()))
    assert seen.ignored == ()


def as_batch(six):
    logp, old_logp, ref_logp, rewards, mask, group = six
    return Batch(logp, old_logp, ref_logp, mask, rewards, group)


def test_complex_random_and_infinite_losses_are_refused():
    drawn = np.random.default_rng(0)

    def dropout(logp, old_logp, ref_logp, rewards, mask, group):
        return -((logp * mask) * drawn.integers(0, 2, logp.shape)).sum()

    def turned(logp, old_logp, ref_logp, rewards, mask, group):
        return (logp * mask).sum() * 1j

    def overflows(logp, old_logp, ref_logp, rewards, mask, group):
        return jnp.exp(-400 * (logp * mask).sum())

    for function, said in ((dropout, "differently"), (turned, "complex number"), (overflows, "returns inf")):
        with pytest.raises(InputError, match=said):
            live_loss(function, lay())


def test_a_loss_that_fails_on_some_batches_only_is_told_where():
    def fragile(logp, old_logp, ref_logp, rewards, mask, group):
        log_deviation = jnp.log(jnp.abs(rewards).sum())
        return -((logp * mask).sum(1) * rewards).mean() + 0 * log_deviation

    report = audit_loss(live_loss(fragile, lay()))
    failed = next(finding for finding in report.findings if finding.name == "fails")
    assert "batches without reward" in failed.detail


def reinforce(logp, old_logp, ref_logp, rewards, mask, group):
    return -((logp * mask).sum(1) * rewards).mean()


class Written:
    """A loss that is a class, an instance, a bound method or a static one."""

    def __call__(self, *six):
        return reinforce(*six)

    def bound(self, *six):
        return reinforce(*six)

    @staticmethod
    def static(logp, old_logp, ref_logp, rewards, mask, group):
        return reinforce(logp, old_logp, ref_logp, rewards, mask, group)


def by_keyword_alone(*, mask, group, rewards, ref_logp, old_logp, logp):
    return reinforce(logp, old_logp, ref_logp, rewards, mask, group)


CALLABLE = {
    "instance": Written(),
    "bound method": Written().bound,
    "static method": Written.static,
    "lambda": lambda *six: reinforce(*six),
    "partial": functools.partial(reinforce),
    "jitted": jax.jit(reinforce),
    "keywords alone": by_keyword_alone,
    "real part of a complex number": lambda *six: jnp.real(reinforce(*six) * (1 + 1j)),
}


@pytest.mark.parametrize("kind", CALLABLE)
def test_whatever_can_be_called_is_audited(kind):
    assert audit_loss(live_loss(CALLABLE[kind], lay())).nearest.method == "reinforce"


def leaves_jax(logp, old_logp, ref_logp, rewards, mask, group):
    return np.float64((np.asarray(logp) * mask).sum())


def is_a_verdict(logp, old_logp, ref_logp, rewards, mask, group):
    return True


@pytest.mark.parametrize(
    ("loss_of", "problem", "mend"),
    [(Written, "is a class", "an instance"), (leaves_jax, "raises", "jax.numpy"), (is_a_verdict, "bool", "one number")],
)
def test_what_is_no_loss_is_told_with_its_mend(loss_of, problem, mend):
    with pytest.raises(InputError, match=problem) as caught:
        live_loss(loss_of, lay())
    assert mend in caught.value.mend


@pytest.mark.torch
def test_a_loss_that_remembers_is_refused():
    calls = []

    def warms_up(logp, old_logp, ref_logp, rewards, mask, group):
        calls.append(0)
        return -((logp * mask).sum(1) * rewards).mean() * torch.tensor(1.0 if len(calls) < 9 else 1.1)

    with pytest.raises(InputError, match="after it was asked others"):
        audit_loss(live_loss(warms_up, lay()))


def test_what_a_failing_loss_leaves_unanswered_is_counted():
    def fragile(logp, old_logp, ref_logp, rewards, mask, group):
        return reinforce(logp, old_logp, ref_logp, rewards, mask, group) + jnp.where(jnp.ptp(logp) > 2.5, jnp.nan, 0.0)

    report = audit_loss(live_loss(fragile, lay()))
    assert 0 < report.failures[0] < report.failures[1]
