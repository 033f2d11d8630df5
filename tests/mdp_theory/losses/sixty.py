"""Sixty losses: thirty that are their method, written in five styles, and thirty with one subtle fault.

The verdicts of `SIXTY` were written down, and committed, before the audit was run on them.
"""

import jax
import jax.numpy as jnp

# --- five styles of the same few sums -------------------------------------------------------------------------------


def by_mask(group):
    same = (group[:, None] == group).astype(float)
    return lambda x: same @ x / same.sum(1)


def by_segment(group):
    number = len(group)
    count = jax.ops.segment_sum(jnp.ones(number), group, number)
    return lambda x: (jax.ops.segment_sum(x, group, number) / jnp.maximum(count, 1))[group]


def by_one_hot(group):
    member = jax.nn.one_hot(group, len(group))
    return lambda x: member @ ((member.T @ x) / jnp.maximum(member.sum(0), 1))


def by_vmap(group):
    return lambda x: jax.vmap(lambda g: jnp.where(group == g, x, 0.0).sum() / (group == g).sum())(group)


def by_sorting(group):
    """Rows of a group are brought together, summed with a running total, and put back."""
    order = jnp.argsort(group, stable=True)
    label = group[order]
    first = jnp.searchsorted(label, label, side="left")
    last = jnp.searchsorted(label, label, side="right")

    def mean(x):
        total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(x[order])])
        return jnp.zeros_like(x).at[order].set((total[last] - total[first]) / (last - first))

    return mean


STYLES = {"mask": by_mask, "segment": by_segment, "one_hot": by_one_hot, "vmap": by_vmap, "sorting": by_sorting}


def standardised(rewards, mean, *, ddof=1, eps=1e-6, size=None):
    centred = rewards - mean(rewards)
    size = mean(jnp.ones_like(rewards)) * 0 + size
    return centred / (jnp.sqrt(mean(centred**2) * size / (size - ddof)) + eps)


def sizes(group):
    return (group[:, None] == group).sum(1)


def clip_term(ratio, advantage, low=0.2, high=0.2):
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - low, 1 + high) * advantage)


def per_response(term, mask):
    # A fault may leave a response without a token.
    return ((term * mask).sum(1) / jnp.maximum(mask.sum(1), 1)).mean()


def per_token(term, mask):
    return (term * mask).sum() / mask.sum()


def ratio_of(logp, old_logp):
    return jnp.exp(logp - old_logp)


def sequence_ratio(logp, old_logp, mask):
    return jnp.exp(((logp - old_logp) * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True))


def base(mean_of, term_of, add_up, credit=standardised):
    """A loss from a way to take group means, a token's term, and a way to add terms up."""

    def loss(logp, old_logp, ref_logp, rewards, mask, group):
        mean = mean_of(group)
        advantage = credit(rewards, mean, size=sizes(group)) if credit is standardised else credit(rewards, mean, group)
        return -add_up(term_of(logp, old_logp, advantage[:, None], mask), mask)

    return loss


def centred(rewards, mean, group):
    return rewards - mean(rewards)


def leave_one_out(rewards, mean, group):
    size = sizes(group)
    return (rewards - mean(rewards)) * size / (size - 1)


def _clipped(logp, old_logp, advantage, mask):
    return clip_term(ratio_of(logp, old_logp), advantage)


def _clip_higher(logp, old_logp, advantage, mask):
    return clip_term(ratio_of(logp, old_logp), advantage, 0.2, 0.28)


def _sequence_clipped(logp, old_logp, advantage, mask):
    return clip_term(sequence_ratio(logp, old_logp, mask), advantage, 3e-4, 4e-4)


def _truncated(logp, old_logp, advantage, mask):
    return jax.lax.stop_gradient(jnp.minimum(ratio_of(logp, old_logp), 1.2)) * advantage * logp


def _likelihood(logp, old_logp, advantage, mask):
    return advantage * logp


METHODS = {
    "grpo": (_clipped, per_response, standardised),
    "dr-grpo": (_clipped, lambda term, mask: (term * mask).sum() / (len(mask) * 512), centred),
    "dapo": (_clip_higher, per_token, standardised),
    "gspo": (_sequence_clipped, per_response, standardised),
    "cispo": (_truncated, per_token, standardised),
    "rloo": (_likelihood, lambda term, mask: (term * mask).sum(1).mean(), leave_one_out),
}

FAITHFUL = {
    f"{method} by {style}": (base(mean_of, *METHODS[method][:2], METHODS[method][2]), {"method": method})
    for style, mean_of in STYLES.items()
    for method in METHODS
}

# --- thirty faults --------------------------------------------------------------------------------------------------


def fault(term_of=_clipped, add_up=per_response, credit=None, mask_of=None):
    """GRPO with one thing changed."""

    def loss(logp, old_logp, ref_logp, rewards, mask, group):
        streams = {"logp": logp, "old": old_logp, "ref": ref_logp, "rewards": rewards, "mask": mask, "group": group}
        advantage = (credit or _grpo_credit)(streams)
        seen = mask if mask_of is None else mask_of(mask)
        return -add_up(term_of(streams, advantage[:, None]), seen)

    return loss


def _term(function):
    return lambda s, a: function(s["logp"], s["old"], a, s["mask"])


def _grpo_credit(s):
    return standardised(s["rewards"], by_mask(s["group"]), size=sizes(s["group"]))


def _position(mask):
    return jnp.cumsum(mask, 1)


def _ranks(s):
    same = s["group"][:, None] == s["group"]
    below = (same & (s["rewards"] < s["rewards"][:, None])).sum(1)
    tied = (same & (s["rewards"] == s["rewards"][:, None])).sum(1)
    rank = below + (tied - 1) / 2
    return rank / (sizes(s["group"]) - 1) - 0.5


def _difficulty(s):
    mean = by_mask(s["group"])(s["rewards"])
    return (s["rewards"] - mean) * (1 + 2 * jnp.abs(mean))


def _k3(logp, ref):
    return jnp.expm1(ref - logp) - (ref - logp)


def _clip(s, a):
    return clip_term(ratio_of(s["logp"], s["old"]), a)


def _micro_batches(term, mask):
    halves = [per_token(term[rows], mask[rows]) for rows in (slice(0, 12), slice(12, None))]
    return sum(halves) / 2


def _last_token_only(mask):
    total = mask.sum(1, keepdims=True)
    return mask * (_position(mask) == total)


FAULTY = {
    "first token dropped": (fault(_clip, mask_of=lambda m: m * (_position(m) > 1)), {"departure": "time"}),
    "last token only": (fault(_clip, mask_of=_last_token_only), {"departure": "time"}),
    "later tokens weigh more": (fault(lambda s, a: _clip(s, a) * _position(s["mask"])), {"departure": "time"}),
    "weights alternate": (
        fault(lambda s, a: _clip(s, a) * (1 + 0.1 * (_position(s["mask"]) % 2))),
        {"departure": "time"},
    ),
    "certain tokens weigh less": (
        fault(lambda s, a: _clip(s, a) * jax.lax.stop_gradient(1 - jnp.exp(s["logp"]))),
        {"departure": "probability"},
    ),
    "log p squared": (fault(lambda s, a: -a * s["logp"] ** 2 / 2), {"departure": "probability"}),
    "temperature": (
        fault(lambda s, a: clip_term(jnp.exp(s["logp"] / 1.2 - s["old"]), a, 0.9, 9.0)),
        {"departure": "probability"},
    ),
    "whole row normalised": (fault(add_up=lambda t, m: (t * m).mean(), term_of=_clip), {"departure": "padding"}),
    "mask forgotten": (fault(_clip, add_up=lambda t, m: t.mean()), {"departure": "padding"}),
    "two micro-batches": (fault(_clip, add_up=_micro_batches), {"departure": "neighbours"}),
    "mean of the batch": (
        fault(_clip, credit=lambda s: s["rewards"] - s["rewards"].mean()),
        {"departure": "credit pool", "pool": "batch"},
    ),
    "deviation of the batch": (
        fault(_clip, credit=lambda s: centred(s["rewards"], by_mask(s["group"]), None) / (s["rewards"].std() + 1e-4)),
        {"departure": "credit pool", "pool": "batch"},
    ),
    "whitened over tokens": (
        fault(_clip, credit=lambda s: _token_whitened(s)),
        {"departure": "credit pool", "pool": "all"},
    ),
    "longer is better": (
        fault(_clip, credit=lambda s: _length_shaped(s, 0.01)),
        {"departure": "length"},
    ),
    "square root of the length": (
        fault(_clip, add_up=lambda t, m: ((t * m).sum(1) / jnp.sqrt(m.sum(1))).mean()),
        {"departure": "length"},
    ),
    "summed": (fault(_clip, add_up=lambda t, m: ((t * m).sum(1) / m.sum(1)).sum()), {"departure": "batch size"}),
    "k3 maximised": (
        fault(lambda s, a: _clip(s, a) + 0.02 * _k3(s["logp"], s["ref"])),
        {"departure": "kl", "sign": "kl"},
    ),
    "k3 inverted": (fault(lambda s, a: _clip(s, a) - 0.02 * _k3(s["ref"], s["logp"])), {"departure": "kl"}),
    "k3 without gradient": (
        fault(lambda s, a: _clip(s, a) - 0.02 * jax.lax.stop_gradient(_k3(s["logp"], s["ref"]))),
        {"departure": "reference"},
    ),
    "ratio to the reference": (fault(lambda s, a: jnp.exp(s["logp"] - s["ref"]) * a), {"departure": "kl"}),
    "ratio never old": (
        fault(lambda s, a: clip_term(jnp.exp(s["logp"] - jax.lax.stop_gradient(s["logp"])), a)),
        {"ignored": "old_logp"},
    ),
    "ratio squared": (fault(lambda s, a: ratio_of(s["logp"], s["old"]) ** 2 / 2 * a), {"ratio": 2.0}),
    "greater of the two": (
        fault(
            lambda s, a: jnp.maximum(
                ratio_of(s["logp"], s["old"]) * a, jnp.clip(ratio_of(s["logp"], s["old"]), 0.8, 1.2) * a
            )
        ),
        {"clip": "wrong-side"},
    ),
    "clipped alone": (fault(lambda s, a: jnp.clip(ratio_of(s["logp"], s["old"]), 0.8, 1.2) * a), {"clip": "two-sided"}),
    "signs turned": (fault(lambda s, a: -_clip(s, a), add_up=lambda t, m: per_response(t, m)), {"sign": "reward"}),
    "advantage clipped": (
        fault(_clip, credit=lambda s: jnp.clip(s["rewards"] - by_mask(s["group"])(s["rewards"]), -0.3, 0.3)),
        {"shape": "clipped"},
    ),
    "advantage ranked": (fault(_clip, credit=_ranks), {"shape": "ranked"}),
    "difficulty weighted": (fault(_clip, credit=_difficulty), {"shape": "difficulty-weighted"}),
    "entropy by log p": (fault(lambda s, a: _clip(s, a) - 0.03 * s["logp"]), {"departure": "entropy"}),
    "divided twice by the length": (
        fault(lambda s, a: _clip(s, a) / s["mask"].sum(1, keepdims=True)),
        {"departure": "length"},
    ),
}


def _token_whitened(s):
    length = s["mask"].sum(1)
    mean = (s["rewards"] * length).sum() / length.sum()
    return (s["rewards"] - mean) / jnp.sqrt(((s["rewards"] - mean) ** 2 * length).sum() / length.sum() + 1e-8)


def _length_shaped(s, size):
    shaped = s["rewards"] + size * s["mask"].sum(1)
    return standardised(shaped, by_mask(s["group"]), size=sizes(s["group"]))


SIXTY = FAITHFUL | FAULTY
