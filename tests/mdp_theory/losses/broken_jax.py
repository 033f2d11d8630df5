"""Losses that cannot be audited; what is wrong with each is its name."""

import jax
import jax.numpy as jnp


def raises(logp, old_logp, ref_logp, rewards, mask, group):
    raise RuntimeError("the critic is missing\nand more on another line")


def returns_a_vector(logp, old_logp, ref_logp, rewards, mask, group):
    return (logp * mask).sum(1)


def returns_a_tuple(logp, old_logp, ref_logp, rewards, mask, group):
    return (logp * mask).sum(), {"kl": 0.0}


def returns_nan(logp, old_logp, ref_logp, rewards, mask, group):
    return (logp * mask).sum() / (mask.sum() - mask.sum())


def has_an_infinite_gradient(logp, old_logp, ref_logp, rewards, mask, group):
    return jnp.sqrt(jnp.abs(logp - old_logp)).sum()


def ignores_logp(logp, old_logp, ref_logp, rewards, mask, group):
    return -(rewards[:, None] * old_logp * mask).sum()


def stops_every_gradient(logp, old_logp, ref_logp, rewards, mask, group):
    return -(rewards[:, None] * jax.lax.stop_gradient(logp) * mask).sum()


def takes_two(logp, rewards):
    return -(rewards[:, None] * logp).sum()


def leaves_the_framework(logp, old_logp, ref_logp, rewards, mask, group):
    return -float((rewards[:, None] * logp * mask).sum())


_calls = []


def answers_differently(logp, old_logp, ref_logp, rewards, mask, group):
    _calls.append(1)
    return -len(_calls) * (rewards[:, None] * logp * mask).sum()


not_a_function = 3
