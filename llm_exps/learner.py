"""One update from a batch of completions: the loss of `mdp_theory`, gradients in micro-batches, an optimiser of optax.

Advantages and denominators are computed for the whole minibatch before any gradient (`assign_credit`), so micro-batches
add up exactly. Completions are sorted by length into micro-batches and each is cut to a length bin: padding is bounded
and compilations are few. A prompt that several completions of a micro-batch follow is computed once. A batch that is
learned from once, on-policy, needs no second forward pass for the old log-probabilities: they are the current ones,
detached.

A method with a critic (PPO) gets a linear value head on the policy's last hidden states, detached from them, so that
the policy's gradient is that of the objective alone.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from llm_exps.distribution import row_shares, split_rows, to_host
from llm_exps.logprobs import token_logprobs
from llm_exps.optimiser import Settings, learning_rate
from llm_exps.options import OptimiserOptions
from llm_exps.probe import compare_gradients
from llm_exps.sampling import length_bin
from llm_exps.update import LearnerState, Weights, apply_update, initial_state, join, split
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.counterpart import outcome_credit, supervised_counterpart
from mdp_theory.methods.credit import Credit, assign_credit
from mdp_theory.methods.kl import kl_estimate
from mdp_theory.methods.loss import surrogate
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.methods.weights import credit_structure_index, passes_clip, token_weights

AnyArray: TypeAlias = Any
"""A numpy or a jax array: batches are cut and sorted on the host and computed with on the device."""


class Rollout(NamedTuple):
    """Completions to learn from; rows of one group are neighbours.

    Attributes:
        tokens: prompt, padded on the left, then completion, padded on the right.
        valid: False on padding.
        mask: 1 on completion tokens, EOS included; `time` counts from the first completion token.
        sampler_logp: what the sampler said of each token.
        reward: of each completion.
        group: the index of its prompt in the batch.
    """

    tokens: Int[AnyArray, "batch length"]
    valid: Bool[AnyArray, "batch length"]
    mask: Float[AnyArray, "batch time"]
    sampler_logp: Float[AnyArray, "batch time"]
    reward: Float[AnyArray, " batch"]
    group: Int[AnyArray, " batch"]

    def rows(self, index: np.ndarray | slice) -> "Rollout":
        """Some of the rows."""
        return Rollout(*(field[index] for field in self))

    def prompt_numbers(self) -> Int[np.ndarray, " batch"]:
        """Equal where rows have the same prompt; 0, 1, ... for those there are."""
        time = self.mask.shape[1]
        prompts = np.concatenate([self.tokens[:, :-time], self.valid[:, :-time]], axis=1)
        return np.unique(prompts, axis=0, return_inverse=True)[1]

    def cut(self, time: int) -> "Rollout":
        """The first `time` completion tokens; the caller knows that the rest is padding."""
        surplus = self.mask.shape[1] - time
        if surplus <= 0:
            return self
        length = self.tokens.shape[1] - surplus
        return self._replace(
            tokens=self.tokens[:, :length],
            valid=self.valid[:, :length],
            mask=self.mask[:, :time],
            sampler_logp=self.sampler_logp[:, :time],
        )


class Prefixes(NamedTuple):
    """The prompts of a batch without their repetitions.

    Attributes:
        first: of each prompt, a row that has it.
        prompt: which of them a row follows.
    """

    first: Int[AnyArray, " prompts"]
    prompt: Int[AnyArray, " batch"]

    @classmethod
    def of(cls, number: Int[np.ndarray, " batch"], *, most: int) -> "Prefixes | None":
        """None where less than half of the prompts repeat others, and on several devices, where rows lie apart.

        number: that of each row's prompt. most: how many prompts there are in the batch that the rows are taken from.
        The prompts of a part come in bins, so that programs are few; the last one fills up what is left.
        """
        _, first, prompt = np.unique(number, return_index=True, return_inverse=True)
        count = min(1 << (len(first) - 1).bit_length(), most)
        if 2 * count > len(number) or not jax.sharding.get_mesh().empty:
            return None
        return cls(np.pad(first, (0, count - len(first)), mode="edge"), prompt)


class Evidence(NamedTuple):
    """What the loss needs beside the current log-probabilities; None where those, detached, will do.

    `value` is the critic's estimate before each token, and None without a critic.
    """

    old_logp: Float[AnyArray, "batch time"] | None
    ref_logp: Float[AnyArray, "batch time"] | None
    value: Float[AnyArray, "batch time"] | None = None


@dataclass(frozen=True)
class _Program:
    """What is compiled; it holds nothing that compilations need not differ in."""

    graph: nnx.GraphDef
    temperature: float
    chunk: int
    trainable: type[nnx.Variable]
    rollout_is_threshold: float

    @partial(jax.jit, static_argnums=0)
    def forward(
        self, weights: Weights, rollout: Rollout, prefixes: Prefixes | None = None
    ) -> tuple[Float[Array, "batch time"], Float[Array, "batch time"], Float[Array, "batch time"]]:
        """Log-probability, entropy and value of every completion token; the value is 0 without a critic."""
        model, time = nnx.merge(self.graph, weights.params), rollout.mask.shape[1]
        completions = rollout.tokens[:, -time:]
        if prefixes is None:
            # The hidden state of one position predicts the token of the next.
            hidden = model(rollout.tokens, segments=rollout.valid)[:, -time - 1 : -1]
        else:
            prompts, valid = (field[prefixes.first, :-time] for field in (rollout.tokens, rollout.valid))
            hidden = model.follow(prompts, valid, prefixes.prompt, completions, rollout.valid[:, -time:])
        logp, entropy = token_logprobs(model, hidden, completions, temperature=self.temperature, chunk=self.chunk)
        value = jnp.zeros_like(logp)
        if weights.critic is not None:
            features = jax.lax.stop_gradient(hidden).astype(jnp.float32)
            value = features @ weights.critic["kernel"] + weights.critic["bias"]
        return logp, entropy, value

    @partial(jax.jit, static_argnums=(0, 1))
    def gradient(
        self,
        objective: Objective,
        weights: Weights,
        rollout: Rollout,
        evidence: Evidence,
        credit: Credit,
        prefixes: Prefixes | None = None,
    ) -> tuple[Weights, dict[str, Array]]:
        """The rows' part of the gradient, and sums over their tokens from which metrics are made."""
        mask = rollout.mask
        learned_weights, rest = split(self.trainable, weights)

        def part_of_loss(learned_weights: Weights) -> tuple[Float[Array, ""], dict[str, Array]]:
            logp, entropy, value = self.forward(join(learned_weights, rest), rollout, prefixes)
            detached = jax.lax.stop_gradient(logp)
            old = detached if evidence.old_logp is None else evidence.old_logp
            ref = detached if evidence.ref_logp is None else evidence.ref_logp
            weight = self._correction(old, rollout)
            corrected = credit._replace(advantage=credit.advantage * weight)
            total = surrogate(objective, corrected, logp=logp, old_logp=old, ref_logp=ref, mask=mask)
            passes = passes_clip(objective, credit, logp=detached, old_logp=old, mask=mask)
            learned = mask * (credit.scale > 0)
            gap = jnp.abs(detached - rollout.sampler_logp) * mask
            sums = {
                "loss": total,
                "tokens": mask.sum(),
                "learned": learned.sum(),
                "entropy": (entropy * mask).sum(),
                "kl": (kl_estimate("k3", detached, ref) * mask).sum(),
                "clip_ratio/region_mean": ((1 - passes) * learned).sum(),
                "ratio_deviation": (jnp.abs(jnp.exp(detached - old) - 1) * mask).sum(),
                "sampling/logp_difference_mean": gap.sum(),
            }
            if self.rollout_is_threshold:
                sums["sampling/correction_mean"] = (weight * mask).sum()
            if evidence.value is not None:
                # The critic's squared error against A + V, its own estimate of the return (1707.06347 eq. 9).
                error = (value - credit.advantage - evidence.value) ** 2 * mask
                sums["value_loss"] = error.sum()
                total += (credit.scale * error).sum()
            return total, sums

        return jax.grad(part_of_loss, has_aux=True)(learned_weights)

    def _correction(self, old_logp: Float[Array, "batch time"], rollout: Rollout) -> Float[Array, "batch time"]:
        """How often each token counts because the sampler is not quite the learner: truncated importance sampling."""
        if not self.rollout_is_threshold:
            return jnp.ones_like(old_logp)
        # Padding may hold anything, and counts for nothing.
        drift = jnp.where(rollout.mask > 0, old_logp - rollout.sampler_logp, 0.0)
        return jnp.minimum(jnp.exp(drift), self.rollout_is_threshold)


@dataclass(frozen=True)
class Learner:
    """What learns under one objective. Compilations are shared by all objectives with the same term for a token.

    Attributes:
        steps: of the whole run, which schedules need to know.
        trainable: the kind of parameter that learns; `nnx.LoRAParam` leaves all but adapters as they are.
    """

    graph: nnx.GraphDef
    objective: Objective
    options: OptimiserOptions
    temperature: float
    chunk: int
    steps: int = 1
    trainable: type[nnx.Variable] = nnx.Param

    @property
    def program(self) -> _Program:
        """What is compiled for it."""
        threshold = self.options.rollout_is_threshold
        return _Program(self.graph, self.temperature, self.chunk, self.trainable, threshold)

    @property
    def needs_critic(self) -> bool:
        """True for an objective whose advantages come from a critic."""
        return self.objective.advantage.estimator == "gae"

    def init(self, params: nnx.State) -> LearnerState:
        """State before the first update; a new critic says 0 everywhere."""
        critic = None
        if self.needs_critic:
            width = nnx.merge(self.graph, params).config.hidden_size
            critic = {"kernel": jnp.zeros(width), "bias": jnp.zeros(())}
        weights = Weights(params, critic)
        return initial_state(Settings.of(self.options), self.trainable, weights)

    def logprobs(self, params: nnx.State, rollout: Rollout) -> Float[AnyArray, "batch time"]:
        """Log-probabilities of the completion tokens under `params`."""
        return self._evaluate(Weights(params, None), rollout)[0]

    def sampler_gap(self, params: nnx.State, rollout: Rollout) -> float:
        """The largest difference, in nats, of the sampler's log-probabilities from those of `params`, on few rows."""
        rows, mesh = len(rollout.mask), jax.sharding.get_mesh()
        shares = 1 if mesh.empty else row_shares(mesh)
        count = max(rows // 8 // shares, 1) * shares
        few = rollout.rows(np.arange(count) * (rows // count))
        gaps = np.where(few.mask > 0, np.abs(self.logprobs(params, few) - few.sampler_logp), 0.0)
        return float(gaps.max())

    def values(self, state: LearnerState, rollout: Rollout) -> Float[AnyArray, "batch time"]:
        """The critic's estimate of the reward before each completion token."""
        return self._evaluate(state.weights, rollout)[1]

    def _evaluate(self, weights: Weights, rollout: Rollout) -> tuple[AnyArray, AnyArray]:
        logps, values = np.zeros((2, *rollout.mask.shape), np.float32)
        for index, part, prefixes in self._micro_batches(rollout):
            time = part.mask.shape[1]
            logp, _, value = to_host(self.program.forward(weights, split_rows(part), prefixes))
            logps[index, :time], values[index, :time] = logp, value
        return logps, values

    def update(
        self, state: LearnerState, rollout: Rollout, evidence: Evidence, *, step: int = 0, probe: bool
    ) -> tuple[LearnerState, dict[str, float]]:
        """All passes over the batch of a step; `probe` compares the last update with its supervised counterpart."""
        collected: list[dict[str, float]] = []
        measured: dict[str, float] = {}
        parts = self._minibatches(rollout, evidence)
        for iteration in range(self.options.num_iterations):
            for number, (part, seen) in enumerate(parts):
                credit = self._credit(part, seen)
                gradient, sums = self._gradient(state.weights, part, seen, credit, self.objective)
                if probe and iteration == self.options.num_iterations - 1 and number == len(parts) - 1:
                    measured = self._probe(state.weights, part, seen, credit, gradient)
                rate = self.learning_rate(step, update=iteration * len(parts) + number)
                state, norm = apply_update(Settings.of(self.options), self.trainable, state, gradient, rate)
                collected.append({**_ratios(sums), "grad_norm": float(norm)})
        mean = {name: float(np.mean([row[name] for row in collected])) for name in collected[0]}
        return state, mean | measured

    def weights(
        self, params: nnx.State, rollout: Rollout, evidence: Evidence
    ) -> tuple[Float[np.ndarray, "batch time"], Float[np.ndarray, "batch time"]]:
        """The weight of every token in the first update, by the objective's closed form, and its advantage."""
        logp = self.logprobs(params, rollout)
        old = logp if evidence.old_logp is None else evidence.old_logp
        ref = logp if evidence.ref_logp is None else evidence.ref_logp
        batch = Batch(logp, old, ref, rollout.mask, rollout.reward, rollout.group, evidence.value)
        return np.asarray(_weights(self.objective, batch)), np.asarray(_assign(self.objective, batch).advantage)

    def learning_rate(self, step: int, *, update: int = 0) -> float:
        """The rate of an update of step 0, 1, … of the run."""
        each = self.options.num_iterations * self.options.num_minibatches
        return learning_rate(self.options, update=step * each + update, updates=self.steps * each)

    def _minibatches(self, rollout: Rollout, evidence: Evidence) -> list[tuple[Rollout, Evidence]]:
        size = rollout.reward.shape[0] // self.options.num_minibatches
        slices = [slice(start, start + size) for start in range(0, size * self.options.num_minibatches, size)]
        return [
            (rollout.rows(index), Evidence(*(None if field is None else field[index] for field in evidence)))
            for index in slices
        ]

    def _micro_batches(self, rollout: Rollout) -> Iterator[tuple[np.ndarray, Rollout, Prefixes | None]]:
        """Row numbers, rows, short completions first, each part cut to its own bin, and their prompts."""
        lengths = np.asarray(rollout.mask).sum(axis=1).astype(int)
        order = np.argsort(lengths, kind="stable")
        size = self.options.micro_batch_size or len(order)
        number = rollout.prompt_numbers()
        for start in range(0, len(order), size):
            index = order[start : start + size]
            part = rollout.rows(index).cut(length_bin(int(lengths[index].max())))
            yield index, part, Prefixes.of(number[index], most=number.max() + 1)

    def _credit(self, rollout: Rollout, evidence: Evidence) -> Credit:
        old: AnyArray = evidence.old_logp if evidence.old_logp is not None else np.zeros(rollout.mask.shape, np.float32)
        ref = evidence.ref_logp if evidence.ref_logp is not None else old
        batch = Batch(old, old, ref, rollout.mask, rollout.reward, rollout.group, evidence.value)
        return _assign(self.objective, batch)

    def _gradient(
        self, weights: Weights, rollout: Rollout, evidence: Evidence, credit: Credit, objective: Objective
    ) -> tuple[Weights, dict[str, Array]]:
        total, term = None, _token_term(objective)
        for index, part, prefixes in self._micro_batches(rollout):
            time = part.mask.shape[1]
            seen = Evidence(*(None if field is None else field[index, :time] for field in evidence))
            rows: AnyArray = [np.asarray(field)[index, :time] for field in credit]
            share = Credit(*rows)
            result = self.program.gradient(term, weights, *split_rows((part, seen, share)), prefixes)
            total = result if total is None else _add(total, result)
        assert total is not None
        return total

    def _probe(
        self, weights: Weights, rollout: Rollout, evidence: Evidence, credit: Credit, gradient: Weights
    ) -> dict[str, float]:
        """Distance between the method's gradient and that of outcome-weighted SFT, on the very batch and weights."""
        level = outcome_credit(credit, rollout.mask)
        supervised, _ = self._gradient(weights, rollout, evidence, level, supervised_counterpart(self.objective))
        by_token, _ = self.weights(weights.params, rollout, evidence)
        index = credit_structure_index(jnp.asarray(by_token), jnp.asarray(rollout.mask))
        return {
            **{name: float(value) for name, value in compare_gradients(gradient.params, supervised.params).items()},
            "equivalence/credit_structure_index": float(index),
        }


def _token_term(objective: Objective) -> Objective:
    """The objective without what `assign_credit` has settled: the rest decides the gradient, and what is compiled."""
    return dataclasses.replace(
        objective,
        advantage=Advantage(),
        aggregation="sequence-mean-token-mean",
        max_completion_length=None,
        keep="all",
    )


_assign = jax.jit(assign_credit, static_argnums=0)
_weights = jax.jit(token_weights, static_argnums=0)
_add = jax.jit(lambda left, right: jax.tree.map(jnp.add, left, right), donate_argnums=0)


def _ratios(sums: dict[str, Array]) -> dict[str, float]:
    """Sums over tokens to means over tokens."""
    values = {name: float(value) for name, value in sums.items()}
    tokens, learned = max(values.pop("tokens"), 1.0), max(values.pop("learned"), 1.0)
    loss, clipped = values.pop("loss"), values.pop("clip_ratio/region_mean")
    return {"loss": loss, "clip_ratio/region_mean": clipped / learned} | {k: v / tokens for k, v in values.items()}
