"""Losses in torch, one faithful and the rest with one fault each; the docstring is the fault."""

import torch


def group_advantage(rewards, group, eps=1e-4):
    """TRL's convention: the unbiased standard deviation and a constant."""
    advantage = torch.empty_like(rewards)
    for label in group.unique():
        mine = rewards[group == label]
        advantage[group == label] = (mine - mine.mean()) / (mine.std() + eps)
    return advantage


def clipped(logp, old_logp, advantage):
    ratio = torch.exp(logp - old_logp)
    return torch.min(ratio * advantage[:, None], ratio.clamp(0.8, 1.2) * advantage[:, None])


def grpo_trl(logp, old_logp, ref_logp, rewards, mask, group):
    """None: GRPO as TRL computes it, on a boolean mask."""
    term = clipped(logp, old_logp, group_advantage(rewards, group)).masked_fill(~mask, 0.0)
    return -(term.sum(1) / mask.sum(1)).mean()


def mask_ignored(logp, old_logp, ref_logp, rewards, mask, group):
    """Prompt and padding are in the mean."""
    return -clipped(logp, old_logp, group_advantage(rewards, group)).mean()


def groups_by_position(logp, old_logp, ref_logp, rewards, mask, group):
    """Every four rows are taken for a group, whatever the group ids say."""
    rows = rewards.view(-1, 4)
    advantage = ((rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-4)).view(-1)
    return -((clipped(logp, old_logp, advantage) * mask).sum(1) / mask.sum(1)).mean()


def kl_of_the_inverted_ratio(logp, old_logp, ref_logp, rewards, mask, group):
    """k3 with π/π_ref where π_ref/π belongs."""
    log_ratio = logp - ref_logp
    kl = torch.exp(log_ratio) - log_ratio - 1
    term = clipped(logp, old_logp, group_advantage(rewards, group)) - 0.04 * kl
    return -((term * mask).sum(1) / mask.sum(1)).mean()


def equal_rewards_divide_by_zero(logp, old_logp, ref_logp, rewards, mask, group):
    """No constant in the divisor: 0/0 where a group's rewards are equal."""
    term = clipped(logp, old_logp, group_advantage(rewards, group, eps=0.0))
    return -((term * mask).sum(1) / mask.sum(1)).mean()


def padding_in_sequence_ratio(logp, old_logp, ref_logp, rewards, mask, group):
    """The sequence ratio is averaged over padding too."""
    ratio = torch.exp((logp - old_logp).mean(1))
    return -(ratio * group_advantage(rewards, group)).mean()


def in_single_precision(logp, old_logp, ref_logp, rewards, mask, group):
    """None: computed in float32."""
    term = clipped(logp.float(), old_logp.float(), group_advantage(rewards.float(), group))
    return -((term * mask).sum(1) / mask.sum(1)).mean()


def divided_by_variance(logp, old_logp, ref_logp, rewards, mask, group):
    """The constant is under the root, as in a layer norm, and the mean is over tokens."""
    advantage = torch.empty_like(rewards)
    for label in group.unique():
        mine = rewards[group == label]
        advantage[group == label] = (mine - mine.mean()) / torch.sqrt(mine.var(correction=0) + 1e-5)
    return -(clipped(logp, old_logp, advantage) * mask).sum() / mask.sum()
