"""The works, done by this project: what a user's run does, without task and tokenizer."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps.config import customise
from llm_exps.evidence import Evidence, Prefixes, Rollout
from llm_exps.gradient import Memory, gradient, memory
from llm_exps.learner import Learner
from llm_exps.models.decoder import Decoder
from llm_exps.optimiser import Settings
from llm_exps.options import ObjectiveOptions, OptimiserOptions
from llm_exps.sampling import Samples, Sampling, generate, length_bin, row_keys
from llm_exps.update import LearnerState, Weights, lower_update
from mdp_theory.methods.catalogue import get
from mdp_theory.methods.credit import Credit
from rino.bench.scales import Batch, Scale, lengths, prompts

LEARNING_RATE = 1e-6

Turn = Callable[[], dict[str, float]]
"""One turn: `seconds` and `tokens`, and seconds of parts of it."""


def sampling_turn(model: Decoder, batch: Batch, *, ragged: bool) -> Turn:
    """Draw the responses of a batch, each of its own length, with new noise every turn."""
    turns = [0]

    def turn() -> dict[str, float]:
        turns[0] += 1
        start = time.perf_counter()
        samples = draw(model, batch, turns[0], ragged=ragged)
        return {"seconds": time.perf_counter() - start, "tokens": int(samples.mask.sum())}

    return turn


def draw(model: Decoder, batch: Batch, seed: int, *, ragged: bool) -> Samples:
    """No token ends a response: lengths are what the work says, on every side alike."""
    sampling = Sampling(max_new_tokens=batch.new_tokens, num_generations=batch.generations)
    keys = row_keys(jax.random.key(seed), jnp.arange(batch.prompts * batch.generations))
    return generate(model, prompts(batch), keys, sampling, limits=lengths(batch, ragged=ragged))


class Step:
    """Whole GRPO steps: sampling, a reward, the update of all parameters, which is in place: they belong to it."""

    def __init__(self, model: Decoder, scale: Scale) -> None:
        self.batch = scale.step
        self.graph, params = nnx.split(model)
        objective = customise(get("grpo"), ObjectiveOptions(), self.batch.new_tokens).objective
        options = OptimiserOptions(learning_rate=LEARNING_RATE, micro_batch_size=scale.micro_batch)
        self.learner = Learner(graph=self.graph, objective=objective, options=options, temperature=1.0, chunk=1024)
        self.state = self.learner.init(params)
        self.turns = 0

    def turn(self) -> dict[str, float]:
        """One step, as `Experiment` makes it."""
        self.turns += 1
        start = time.perf_counter()
        samples = draw(nnx.merge(self.graph, self.state.params), self.batch, self.turns, ragged=False)
        rollout = self._rollout(samples)
        drawn = time.perf_counter()
        self.state, _ = self.learner.update(self.state, rollout, Evidence(None, None), probe=False)
        jax.block_until_ready(self.state)
        end = time.perf_counter()
        tokens = int(samples.mask.sum())
        return {"seconds": end - start, "tokens": tokens, "sampling": drawn - start, "update": end - drawn}

    def _rollout(self, samples: Samples) -> Rollout:
        rows, length = self.batch.prompts * self.batch.generations, length_bin(self.batch.prompt_tokens)
        asked = np.zeros((rows, length), np.int32)
        asked[:, length - self.batch.prompt_tokens :] = np.repeat(prompts(self.batch), self.batch.generations, axis=0)
        valid = np.zeros((rows, length), bool)
        valid[:, length - self.batch.prompt_tokens :] = True
        return Rollout(
            tokens=np.concatenate([asked, samples.tokens], axis=1),
            valid=np.concatenate([valid, samples.mask], axis=1),
            mask=samples.mask.astype(np.float32),
            sampler_logp=samples.logp,
            reward=(samples.tokens[:, 0] % 2).astype(np.float32),
            group=np.repeat(np.arange(self.batch.prompts, dtype=np.int32), self.batch.generations),
        )

    def bytes_per_parameter(self) -> dict[str, float]:
        """Live between steps; and in an update, from what XLA says of its programs: held, and with scratch."""
        parameters = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        kept = sum(leaf.nbytes for leaf in jax.tree.leaves(self.state))
        needs, steps = self._memory(self.state)
        arguments = sum(step.argument_size_in_bytes for step in steps)
        scratch = max(step.temp_size_in_bytes for step in steps)
        held = kept + needs.result
        return {
            "between_steps": kept / parameters,
            "gradient_held": held / parameters,
            "gradient_with_activations": (held + needs.saved + needs.scratch) / parameters,
            "optimiser_held": arguments / parameters,
            "optimiser_with_scratch": (arguments + scratch) / parameters,
        }

    def lower_whole(self) -> jax.stages.Lowered:
        """The gradient as one program, as several devices compute it."""
        lowered: jax.stages.Lowered = gradient.whole.lower(*self._arguments())
        return lowered

    def _memory(self, state: LearnerState) -> tuple[Memory, list[Any]]:
        steps = lower_update(
            Settings.of(self.learner.options), self.learner.trainable, state, Weights(state.params, None)
        )
        return memory(*self._arguments()), [step.compile().memory_analysis() for step in steps]

    def _arguments(self) -> tuple[Any, ...]:
        """Of a gradient, as shapes."""
        rows = self.learner.options.micro_batch_size or self.batch.prompts * self.batch.generations
        time_ = self.batch.new_tokens
        length = length_bin(self.batch.prompt_tokens) + time_
        shapes = [((rows, length), jnp.int32), ((rows, length), bool), *[((rows, time_), jnp.float32)] * 2]
        fields = [jax.ShapeDtypeStruct(*shape) for shape in [*shapes, ((rows,), jnp.float32), ((rows,), jnp.int32)]]
        rollout = Rollout(*fields)
        number = np.repeat(np.arange(self.batch.prompts), self.batch.generations)[:rows]
        prefixes = Prefixes.of(number, most=self.batch.prompts)
        credit, nothing = Credit(rollout.mask, rollout.mask), Evidence(None, None)
        learner = self.learner
        return learner.program, learner.objective, self.state.weights, rollout, nothing, credit, prefixes
