"""Losses that do what they say, in the conventions of several code bases."""

import jax
import jax.numpy as jnp


def group_mean(x, group):
    same = group[:, None] == group
    return (same * x).sum(1) / same.sum(1)


def group_advantage(rewards, group, *, ddof=0, eps=1e-6):
    centred = rewards - group_mean(rewards, group)
    size = (group[:, None] == group).sum(1)
    variance = group_mean(centred**2, group) * size / (size - ddof)
    return centred / (jnp.sqrt(variance) + eps)


def clipped(logp, old_logp, advantage, low=0.2, high=0.2):
    ratio = jnp.exp(logp - old_logp)
    return jnp.minimum(ratio * advantage[:, None], jnp.clip(ratio, 1 - low, 1 + high) * advantage[:, None])


def k3(logp, ref_logp):
    return jnp.exp(ref_logp - logp) - (ref_logp - logp) - 1


def sequence_mean(term, mask):
    return ((term * mask).sum(1) / mask.sum(1)).mean()


def grpo_verl(logp, old_logp, ref_logp, rewards, mask, group):
    advantage = group_advantage(rewards, group, ddof=1, eps=1e-6)
    term = clipped(logp, old_logp, advantage) - 0.001 * k3(logp, ref_logp)
    return -sequence_mean(term, mask)


def dapo_with_dual_clip(logp, old_logp, ref_logp, rewards, mask, group):
    """Token mean and a wider upper range; groups of equal reward stay in the token count."""
    advantage = group_advantage(rewards, group, ddof=1, eps=1e-4)[:, None]
    term = clipped(logp, old_logp, advantage[:, 0], 0.2, 0.28)
    term = jnp.where(advantage < 0, jnp.maximum(term, 3.0 * advantage), term)
    return -(term * mask).sum() / mask.sum()


def rloo_with_kl_in_reward(logp, old_logp, ref_logp, rewards, mask, group):
    shaped = rewards - 0.05 * ((old_logp - ref_logp) * mask).sum(1)
    size = (group[:, None] == group).sum(1)
    advantage = (shaped - group_mean(shaped, group)) * size / (size - 1)
    return -(advantage * (logp * mask).sum(1)).mean()


def grpo_with_k1(logp, old_logp, ref_logp, rewards, mask, group):
    term = clipped(logp, old_logp, group_advantage(rewards, group, eps=1e-8)) - 0.02 * (logp - ref_logp)
    return -sequence_mean(term, mask)


@jax.jit
def filtered_sft(logp, old_logp, ref_logp, rewards, mask, group):
    """Anything above 0 counts as correct."""
    return -sequence_mean(jnp.where(rewards > 0, 1.0, 0.0)[:, None] * logp, mask)


def grpo_by_segments(logp, old_logp, ref_logp, rewards, mask, group):
    """Group ids as indices: they must be smaller than the number of rows."""
    size = jax.ops.segment_sum(jnp.ones_like(rewards), group, len(rewards))
    mean = jax.ops.segment_sum(rewards, group, len(rewards)) / jnp.maximum(size, 1)
    advantage = rewards - mean[group]
    return -sequence_mean(clipped(logp, old_logp, advantage), mask)
