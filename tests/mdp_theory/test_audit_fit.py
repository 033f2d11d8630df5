"""The fit of log-weights: powers that no list names are read off, and what is no power is told to be none."""

import sys
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mdp_theory.audit.fit import powers
from mdp_theory.audit.loss import live_loss
from mdp_theory.audit.probes import lay
from mdp_theory.audit.recover import audit_loss

sys.path.insert(0, str(Path(__file__).parent / "losses"))
from sixty import by_mask


def loss_of(weigh):
    """A log-likelihood whose terms are multiplied by a function of length, position and the group's deviation."""

    def loss(logp, old_logp, ref_logp, rewards, mask, group):
        mean = by_mask(group)
        centred = rewards - mean(rewards)
        deviation = jnp.sqrt(mean(centred**2))
        position = jnp.cumsum(mask, 1)
        factor = weigh(mask.sum(1)[:, None], position, deviation[:, None], rewards, mean(rewards)[:, None])
        return -(centred[:, None] * factor * logp * mask).sum(1).mean()

    return loss


def over(deviation, power):
    """deviation^-power, 0 where the rewards are equal."""
    return jnp.where(deviation > 0, jnp.where(deviation > 0, deviation, 1.0) ** -power, 0.0)


POWERS = {
    "square root of the length": (lambda n, t, s, r, p: n**-0.5, {"length": -0.5}),
    "length to the 0.3": (lambda n, t, s, r, p: n**-0.3, {"length": -0.3}),
    "length to the 1/3": (lambda n, t, s, r, p: n ** (-1 / 3), {"length": -1 / 3}),
    "longer responses weigh more": (lambda n, t, s, r, p: n**0.25, {"length": 0.25}),
    "a discount from the start": (lambda n, t, s, r, p: 0.97**t / n, {"length": -1, "discount": 0.97}),
    "a discount to the end": (lambda n, t, s, r, p: 0.9 ** (n - t), {"discount from the end": 0.9}),
    "a power of the position": (lambda n, t, s, r, p: t**-0.5 / n, {"length": -1, "position": -0.5}),
    "root of the deviation": (lambda n, t, s, r, p: over(s, 0.5) / n, {"length": -1, "group std": -0.5}),
    "the variance": (lambda n, t, s, r, p: over(s, 2.0) / n, {"length": -1, "group std": -2}),
    "both roots": (lambda n, t, s, r, p: over(s, 0.5) * n**-0.3, {"length": -0.3, "group std": -0.5}),
    "token mean to a power": (lambda n, t, s, r, p: (n.sum() / len(n)) ** -0.7, {"mean length": -0.7}),
    "deviation, length and discount": (
        lambda n, t, s, r, p: over(s, 1.0) * n**-0.5 * 0.95 ** (t - 1),
        {"length": -0.5, "discount": 0.95, "group std": -1},
    ),
    "non-zero rewards of the batch": (
        lambda n, t, s, r, p: len(r) / (r != 0).sum() / n,
        {"length": -1, "rewards not 0": -1},
    ),
    "failures count": (lambda n, t, s, r, p: jnp.abs(1 - p) ** 2 / n, {"length": -1, "1 - group mean": 2}),
}


@cache
def audited(name):
    return audit_loss(live_loss(loss_of({**POWERS, **NONE}[name][0]), lay()))


@pytest.mark.parametrize("name", POWERS)
def test_powers_nobody_listed_are_read_off(name):
    answers = audited(name).to_json()
    assert answers["exponents"] == pytest.approx(POWERS[name][1], rel=1e-6)
    assert answers["numerator"] == "the reward, less the group mean"


NONE = {
    "logarithm of the length": (lambda n, t, s, r, p: 1 / jnp.log(1 + n), "length"),
    "length and a constant": (lambda n, t, s, r, p: 1 / (n + 3), "length"),
    "length up to a bound": (lambda n, t, s, r, p: 1 / jnp.minimum(n, 4), "length"),
    "a sine of the position": (lambda n, t, s, r, p: (2 + jnp.sin(t)) / n, "time"),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_power_is_told_to_be_none(name):
    report = audited(name)
    answers = report.to_json()
    assert answers["exponents"] is None
    assert NONE[name][1] in answers["departures"]
    if NONE[name][1] == "length":
        assert any("as no power of it" in finding.detail for finding in report.findings)


@pytest.mark.parametrize(("name", "said"), [("square root of the length", "its length to the power -0.5")])
def test_a_nameless_aggregation_is_told_with_its_power(name, said):
    assert any(said in finding.detail for finding in audited(name).findings if finding.name == "length")


@pytest.mark.parametrize(
    ("divide", "exponents"),
    [
        (lambda term, mask: term.sum() / mask.sum(), {"mean length": -1}),
        (lambda term, mask: (term.sum(1) / mask.sum(1) ** jnp.bfloat16(0.5)).mean(), {"length": -0.5}),
    ],
)
def test_rounding_hides_no_power_that_it_leaves_to_be_seen(divide, exponents):
    def rounded(logp, old_logp, ref_logp, rewards, mask, group):
        centred = rewards - by_mask(group)(rewards)
        low = [x.astype(jnp.bfloat16) for x in (centred[:, None], logp, mask)]
        return -divide(low[0] * low[1] * low[2], low[2]).astype(jnp.float32)

    answers = audit_loss(live_loss(rounded, lay())).to_json()
    assert answers["precision"] == "bfloat16"
    assert answers["exponents"] == exponents


def made(noise, **exponents):
    random = np.random.default_rng(0)
    features = {name: random.normal(size=200) for name in ("a", "b", "c")}
    wanted = 1.5 + sum(power * features[name] for name, power in exponents.items())
    return features, wanted + noise * random.normal(size=200), np.ones(200)


def test_exponents_have_the_digits_that_the_noise_bears_out():
    exact = powers(*made(0.0, a=0.123456), room=1e-6)
    assert exact.exponents == pytest.approx({"a": 0.123456}, rel=1e-9)
    assert exact.scale == pytest.approx(np.exp(1.5))
    rounded = powers(*made(1e-2, a=0.123456), room=2e-2)
    assert rounded.exponents == {"a": 0.12}
    half = powers(*made(1e-2, a=-0.5, b=1.0), room=2e-2)
    assert half.exponents == {"a": -0.5, "b": 1.0}


def test_the_smallest_model_within_noise_is_taken_and_no_other():
    assert powers(*made(1e-3), room=1e-2).exponents == {}
    assert powers(*made(0.0, a=1.0, b=2.0, c=0.5), room=1e-6).exponents == {"a": 1.0, "b": 2.0, "c": 0.5}
    features, wanted, share = made(0.0, a=1.0)
    assert powers(features, wanted + 0.1 * features["b"] ** 2, share, room=1e-3) is None


def test_rows_without_weight_do_not_count():
    features, wanted, share = made(0.0, a=1.0)
    wanted[:50], share[:50] = 7.0, 0.0
    assert powers(features, wanted, share, room=1e-6).exponents == {"a": 1.0}
