"""Losses with one fault each, met in public code or easily made; the docstring is the fault."""

import jax
import jax.numpy as jnp
from faithful_jax import clipped, group_advantage, group_mean, k3, sequence_mean


def kl_maximised(logp, old_logp, ref_logp, rewards, mask, group):
    """The KL is subtracted from a loss that is minimised."""
    policy_loss = -sequence_mean(clipped(logp, old_logp, group_advantage(rewards, group)), mask)
    return policy_loss - 0.04 * sequence_mean(k3(logp, ref_logp), mask)


def reward_minimised(logp, old_logp, ref_logp, rewards, mask, group):
    """The objective is returned where its negative is asked for."""
    return sequence_mean(clipped(logp, old_logp, group_advantage(rewards, group)), mask)


def prompt_in_loss(logp, old_logp, ref_logp, rewards, mask, group):
    """Everything before the last completion token is trained on."""
    reached = jnp.flip(jnp.cumsum(jnp.flip(mask, 1), 1), 1) > 0
    return -sequence_mean(clipped(logp, old_logp, group_advantage(rewards, group)), reached)


def padded_length(logp, old_logp, ref_logp, rewards, mask, group):
    """The mean over tokens runs over the padded row."""
    return -(clipped(logp, old_logp, group_advantage(rewards, group)) * mask).mean(1).mean()


def token_mean_of_micro_batches(logp, old_logp, ref_logp, rewards, mask, group):
    """Token means of micro-batches of six rows, averaged."""
    term = clipped(logp, old_logp, group_advantage(rewards, group)) * mask
    parts = [term[i : i + 6].sum() / mask[i : i + 6].sum() for i in range(0, len(term), 6)]
    return -sum(parts) / len(parts)


def std_over_batch(logp, old_logp, ref_logp, rewards, mask, group):
    """The mean is the group's and the standard deviation the batch's."""
    advantage = (rewards - group_mean(rewards, group)) / (rewards.std() + 1e-6)
    return -sequence_mean(clipped(logp, old_logp, advantage), mask)


def group_ids_ignored(logp, old_logp, ref_logp, rewards, mask, group):
    """Mean and standard deviation of the whole batch."""
    advantage = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    return -sequence_mean(clipped(logp, old_logp, advantage), mask)


def clip_on_the_wrong_side(logp, old_logp, ref_logp, rewards, mask, group):
    """The greater of clipped and unclipped is taken, not the smaller."""
    ratio, advantage = jnp.exp(logp - old_logp), group_advantage(rewards, group)[:, None]
    return -sequence_mean(jnp.maximum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage), mask)


def clip_without_minimum(logp, old_logp, ref_logp, rewards, mask, group):
    """The clipped ratio alone."""
    ratio, advantage = jnp.exp(logp - old_logp), group_advantage(rewards, group)[:, None]
    return -sequence_mean(jnp.clip(ratio, 0.8, 1.2) * advantage, mask)


def ratio_counted_twice(logp, old_logp, ref_logp, rewards, mask, group):
    """A detached importance weight in front of a surrogate that has its ratio already."""
    ratio, advantage = jnp.exp(logp - old_logp), group_advantage(rewards, group)[:, None]
    return -sequence_mean(jax.lax.stop_gradient(ratio) * ratio * advantage, mask)


def weight_not_detached(logp, old_logp, ref_logp, rewards, mask, group):
    """CISPO without its stop-gradient."""
    ratio, advantage = jnp.exp(logp - old_logp), group_advantage(rewards, group)[:, None]
    return -(jnp.minimum(ratio, 1.2) * advantage * logp * mask).sum() / mask.sum()


def advantage_not_detached(logp, old_logp, ref_logp, rewards, mask, group):
    """A KL in the reward, taken at the current policy and differentiated with the rest."""
    shaped = rewards - 0.05 * ((logp - ref_logp) * mask).sum(1)
    return -sequence_mean(clipped(logp, old_logp, group_advantage(shaped, group)), mask)


def reward_to_go(logp, old_logp, ref_logp, rewards, mask, group):
    """The reward is spread over the tokens and each is credited with what is still to come."""
    length = mask.sum(1, keepdims=True)
    to_go = jnp.flip(jnp.cumsum(jnp.flip(mask, 1), 1), 1) / length
    return -sequence_mean(group_advantage(rewards, group)[:, None] * to_go * logp, mask)


def length_bonus(logp, old_logp, ref_logp, rewards, mask, group):
    """Longer responses earn more before the advantage is taken."""
    return -sequence_mean(clipped(logp, old_logp, group_advantage(rewards + 0.02 * mask.sum(1), group)), mask)


def time_decay(logp, old_logp, ref_logp, rewards, mask, group):
    """Tokens are discounted from the start of the response."""
    decay = 0.9 ** (jnp.cumsum(mask, 1) - 1)
    return -sequence_mean(group_advantage(rewards, group)[:, None] * decay * logp, mask)


def temperature_mismatch(logp, old_logp, ref_logp, rewards, mask, group):
    """Current log-probabilities at the sampling temperature, old ones at 1."""
    return -sequence_mean(clipped(logp / 0.8, old_logp, group_advantage(rewards, group), 0.99, 99.0), mask)


def eos_dropped(logp, old_logp, ref_logp, rewards, mask, group):
    """The mask is shifted by one, so the last token is never trained."""
    mask = mask * jnp.concatenate([mask[:, 1:], jnp.zeros_like(mask[:, :1])], 1)
    term = clipped(logp, old_logp, group_advantage(rewards, group)) * mask
    return -(term.sum(1) / jnp.maximum(mask.sum(1), 1)).mean()


def kl_without_gradient(logp, old_logp, ref_logp, rewards, mask, group):
    """The KL is added, and its gradient stopped."""
    kl = sequence_mean(jax.lax.stop_gradient(k3(logp, ref_logp)), mask)
    return -sequence_mean(clipped(logp, old_logp, group_advantage(rewards, group)), mask) + 0.04 * kl


def ratio_to_the_reference(logp, old_logp, ref_logp, rewards, mask, group):
    """The importance ratio is taken to the reference policy."""
    return -sequence_mean(jnp.exp(logp - ref_logp) * group_advantage(rewards, group)[:, None], mask)


def square_root_of_length(logp, old_logp, ref_logp, rewards, mask, group):
    """Normalised by the square root of the length."""
    term = (clipped(logp, old_logp, group_advantage(rewards, group)) * mask).sum(1)
    return -(term / jnp.sqrt(mask.sum(1))).mean()


def sum_over_responses(logp, old_logp, ref_logp, rewards, mask, group):
    """Summed over the batch, so the step grows with it."""
    return -((clipped(logp, old_logp, group_advantage(rewards, group)) * mask).sum(1) / mask.sum(1)).sum()


def entropy_bonus(logp, old_logp, ref_logp, rewards, mask, group):
    """An entropy bonus by the sampled tokens' own log-probabilities, which have no entropy gradient."""
    term = clipped(logp, old_logp, group_advantage(rewards, group)) - 0.01 * logp
    return -sequence_mean(term, mask)


def ratio_upside_down(logp, old_logp, ref_logp, rewards, mask, group):
    """π_old/π where π/π_old belongs."""
    return -sequence_mean(jnp.exp(old_logp - logp) * group_advantage(rewards, group)[:, None], mask)


def ratios_of_the_past(logp, old_logp, ref_logp, rewards, mask, group):
    """Per-decision importance sampling: the product of the ratios so far, differentiated with the rest."""
    so_far = jnp.exp(jnp.cumsum((logp - old_logp) * mask, 1))
    return -sequence_mean(jax.lax.stop_gradient(so_far) * group_advantage(rewards, group)[:, None] * logp, mask)
