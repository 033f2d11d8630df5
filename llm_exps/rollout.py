"""Prompts to completions: tokenise, sample, decode for the verifier; training sees the sampled tokens themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from llm_exps import hosts
from llm_exps.distribution import to_host
from llm_exps.evidence import Rollout
from llm_exps.options import SamplingOptions
from llm_exps.prompts import encode, unfit
from llm_exps.sampling import Samples, Sampling, generate, length_bin, pad_prompts, row_keys
from llm_exps.stopping import cut
from llm_exps.tasks.rewards import Rewards
from llm_exps.tasks.task import Problems


@dataclass(frozen=True)
class Completions:
    """Sampled completions as arrays and as texts; rows of one prompt are neighbours.

    Attributes:
        tokens: prompt, padded on the left, then completion, padded on the right.
        valid: False on padding.
        mask: 1 on completion tokens, EOS included.
        logp, entropy: of each completion token under the distribution it was drawn from, in nats.
        ended: whether the completion ended by itself, not at the limit.
        texts: the completions without EOS.
    """

    tokens: Int[np.ndarray, "batch length"]
    valid: Bool[np.ndarray, "batch length"]
    mask: Float[np.ndarray, "batch time"]
    logp: Float[np.ndarray, "batch time"]
    entropy: Float[np.ndarray, "batch time"]
    ended: Bool[np.ndarray, " batch"]
    texts: list[str]

    @property
    def lengths(self) -> Int[np.ndarray, " batch"]:
        """Tokens of each completion, EOS included."""
        return self.mask.sum(axis=1).astype(int)


@dataclass(frozen=True)
class Actor:
    """What turns prompts into completions, given parameters."""

    graph: nnx.GraphDef
    tokenizer: Any
    stop_tokens: tuple[int, ...]
    options: SamplingOptions

    def complete(
        self,
        params: nnx.State,
        prompts: Sequence[str],
        key: Key[Array, "*rows"],
        *,
        copies: int = 1,
        greedy: bool = False,
        at_once: int | None = None,
    ) -> Completions:
        """`copies` completions of each prompt.

        key: of the batch, from which every completion gets its own, or the keys of all completions.
        at_once: the most completions decoded side by side; the option rows_at_once may ask for fewer. Default: all.

        Raises:
            InputError: a prompt does not fit (`llm_exps.prompts` says when).
        """
        encoded = encode(self.tokenizer, prompts, chat=self.options.apply_chat_template)
        limit, most = self.options.max_prompt_length, self.options.max_completion_length
        assert limit is not None, "options are resolved"
        assert most is not None, "options are resolved"
        for _, error in unfit(self.tokenizer, prompts, encoded, longest=limit):
            raise error
        sampling = Sampling(
            max_new_tokens=most,
            num_generations=copies,
            temperature=0.0 if greedy else self.options.temperature,
            top_p=self.options.top_p,
            top_k=self.options.top_k,
            stop_tokens=self.stop_tokens,
        )
        keys = key if key.ndim else row_keys(key, jnp.arange(len(prompts) * copies))
        most = min(filter(None, (at_once, self.options.rows_at_once)), default=None)
        samples = to_host(generate(nnx.merge(self.graph, params), encoded, keys, sampling, at_once=most))
        fields, ended, texts = self._stop(samples)
        prompt_tokens, prompt_valid = pad_prompts(encoded, pad_token=sampling.pad_token)
        # Completions end where the longest does, up to a length bin: the learner compiles for few shapes.
        time = min(length_bin(int(fields[1].sum(axis=1).max())), sampling.max_new_tokens)
        tokens, mask, logp, entropy = (field[:, :time] for field in fields)
        return Completions(
            tokens=np.concatenate([np.repeat(prompt_tokens, copies, axis=0), tokens], axis=1),
            valid=np.concatenate([np.repeat(prompt_valid, copies, axis=0), mask], axis=1),
            mask=mask.astype(np.float32),
            logp=logp,
            entropy=entropy,
            ended=ended,
            texts=texts,
        )

    def _stop(self, samples: Samples) -> tuple[tuple[np.ndarray, ...], Bool[np.ndarray, " rows"], list[str]]:
        """The fields of samples, cut at stop strings; whether each ended by itself; and the texts."""
        drawn, mask, logp, entropy = (np.asarray(field) for field in samples)
        lengths = mask.sum(axis=1)
        last = np.take_along_axis(drawn, lengths[:, None] - 1, axis=1)[:, 0]
        ended = np.isin(last, self.stop_tokens)
        texts = []
        for row, (tokens, length) in enumerate(zip(drawn, lengths, strict=True)):
            own = tokens[: length - ended[row]]
            found = cut(self.tokenizer, own, self.options.stop_strings or ())
            if found is not None:
                lengths[row], ended[row] = found[0], True
            texts.append(self.tokenizer.decode(own, skip_special_tokens=True) if found is None else found[1])
        mask = mask & (np.arange(mask.shape[1]) < lengths[:, None])
        return (np.where(mask, drawn, Sampling.pad_token), mask, logp * mask, entropy * mask), ended, texts


def collect(
    actor: Actor, params: nnx.State, problems: Problems, rewards: Rewards, key: Key[Array, ""]
) -> tuple[Rollout, Completions, dict[str, float]]:
    """A group of completions of every problem with its rewards, and the mean of each reward function."""
    copies = actor.options.num_generations
    completions = actor.complete(params, problems.prompts, key, copies=copies)
    repeated = problems.repeat(copies)
    reward, parts = _score(rewards, repeated, completions.texts)
    learned = completions.ended if actor.options.mask_truncated_completions else np.ones_like(completions.ended)
    rollout = Rollout(
        tokens=completions.tokens,
        valid=completions.valid,
        mask=completions.mask * learned[:, None],
        sampler_logp=completions.logp,
        reward=np.asarray(reward, np.float32),
        group=np.repeat(np.arange(len(problems), dtype=np.int32), copies),
    )
    means = {f"rewards/{name}/mean": float(np.mean(values)) for name, values in parts.items()}
    return rollout, completions, means if len(means) > 1 else {}


def _score(rewards: Rewards, problems: Problems, texts: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rewards and their parts, each host scoring its share."""
    rows = len(texts)
    share = hosts.rows_of_this(rows)
    columns = {name: values[share] for name, values in problems.columns.items()}
    total, parts = rewards(problems.prompts[share], texts[share], **columns)
    return hosts.gather_rows(total, rows), {name: hosts.gather_rows(said, rows) for name, said in parts.items()}


def rollout_metrics(rollout: Rollout, completions: Completions) -> dict[str, float | None]:
    """Statistics of a batch under TRL's names; None where a mean has nothing to average."""
    reward = np.asarray(rollout.reward).reshape(int(rollout.group[-1]) + 1, -1)
    lengths, flat = completions.lengths, reward.ravel()
    return {
        "reward": float(flat.mean()),
        "reward_std": float(reward.std(axis=1).mean()),
        "frac_reward_zero_std": float((np.ptp(reward, axis=1) == 0).mean()),
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/mean_terminated_length": mean_where(lengths, completions.ended),
        "completions/clipped_ratio": float(1 - completions.ended.mean()),
        "completions/correct_mean_length": mean_where(lengths, flat >= 1),
        "completions/incorrect_mean_length": mean_where(lengths, flat < 1),
    }


def mean_where(values: np.ndarray, condition: np.ndarray) -> float | None:
    """The mean of the values where the condition holds, None where it never does."""
    return float(values[condition].mean()) if condition.any() else None


def step_key(seed: int, step: int, stream: int) -> Key[Array, ""]:
    """Randomness of one purpose (`stream`) at one step: it depends on nothing that happened before."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), stream)
