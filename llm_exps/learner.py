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

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from llm_exps.distribution import row_shares, split_rows, to_host
from llm_exps.evidence import AnyArray, Evidence, Prefixes, Rollout
from llm_exps.gradient import Head, Program, forward, gradient
from llm_exps.optimiser import Settings, learning_rate
from llm_exps.options import OptimiserOptions
from llm_exps.probe import compare_gradients
from llm_exps.sampling import length_bin
from llm_exps.update import LearnerState, Weights, apply_update, initial_state
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.counterpart import outcome_credit, supervised_counterpart
from mdp_theory.methods.credit import Credit, assign_credit
from mdp_theory.methods.objectives import Advantage, Objective
from mdp_theory.methods.weights import credit_structure_index, token_weights


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
    def program(self) -> Program:
        """What it computes with the model."""
        head = Head(self.temperature, self.chunk, self.options.rollout_is_threshold)
        return Program(self.graph, head, self.trainable)

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
            logp, _, value = to_host(forward(self.program, weights, split_rows(part), prefixes))
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
            result = gradient(self.program, term, weights, *split_rows((part, seen, share)), prefixes)
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
