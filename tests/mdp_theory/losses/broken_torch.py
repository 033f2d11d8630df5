"""Losses in torch that cannot be audited; what is wrong with each is its name."""

import torch


def no_gradient(logp, old_logp, ref_logp, rewards, mask, group):
    with torch.no_grad():
        return -(rewards[:, None] * logp * mask).sum()


def returns_a_number(logp, old_logp, ref_logp, rewards, mask, group):
    return -(rewards[:, None] * logp * mask).sum().item()


def wrong_shape(logp, old_logp, ref_logp, rewards, mask, group):
    return -(rewards * logp).sum()
