"""The loop: sample, reward, learn, log, evaluate, checkpoint; and resume where a run was cut off.

A step is a function of the configuration, the step's number and the parameters: prompts and sampling keys derive from
the seed and the step. So a resumed run writes the same lines as one that was never interrupted.
"""

import importlib.metadata
import json
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llm_exps import hosts
from llm_exps.checkpoints import Checkpoints
from llm_exps.config import RunConfig
from llm_exps.evaluation import evaluate
from llm_exps.evidence import Evidence, Rollout
from llm_exps.learner import Learner
from llm_exps.models import lora
from llm_exps.models.huggingface import save
from llm_exps.rollout import Actor, Completions, collect, rollout_metrics, step_key
from llm_exps.run_directory import RunDirectory
from llm_exps.setup import Setup, prepare
from llm_exps.tasks.task import Problems
from llm_exps.tracking import Tracker, tracker
from llm_exps.update import LearnerState
from rino_base.files import complete_lines
from rino_base.lock import locked
from rino_base.messages import CheckFailed
from rino_base.progress import facts, progress_bar

_ROLLOUT_STREAM = 0


class Progress(NamedTuple):
    """What a checkpoint holds: the learner's state and the parameters that sample."""

    learner: LearnerState
    sampler: nnx.State | None


def train(config: RunConfig, out: Path, *, setup: Setup | None = None, description: str = "training") -> dict[str, Any]:
    """Run `config` in the directory `out`, from its newest checkpoint if it has one; returns the last evaluation.

    Raises:
        InputError: `out` holds another run, or the input is wrong in a way that the first prompts reveal.
    """
    run = RunDirectory(out)
    setup = setup or prepare(config.model, config.task, config.options)
    experiment = Experiment(config, setup, run)
    with ExitStack() as held:
        # Processes of one job write the same directory; the first holds it for all.
        hosts.on_first(lambda: held.enter_context(locked(out)))
        held.enter_context(setup.on_devices())
        bar = held.enter_context(progress_bar())
        held.enter_context(hosts.together())
        machine = {**provenance(), "mesh": config.options.mesh}
        hosts.on_first(lambda: run.begin(config.to_json() | setup.record, provenance=machine))
        task = bar.add_task(description, total=config.options.steps)
        if hosts.agree(run.finished):
            bar.update(task, completed=config.options.steps)
        else:
            experiment.execute(lambda step, seen: bar.update(task, completed=step, facts=facts(seen)))
    return experiment.last_evaluation()


def provenance() -> dict[str, Any]:
    """Versions and hardware: they belong in the record and may differ when a run is resumed."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "transformers")
    device = jax.devices()[0]
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "hardware": {"device": device.device_kind, "count": jax.device_count(), "machine": platform.machine()},
    }


@dataclass(frozen=True)
class Experiment:
    """One run: its configuration, what it works on, and where it writes."""

    config: RunConfig
    setup: Setup
    run: RunDirectory

    @cached_property
    def actor(self) -> Actor:
        """Samples completions."""
        return Actor(self.setup.graph, self.setup.tokenizer, self.setup.stop_tokens, self.config.options.sampling)

    @cached_property
    def learner(self) -> Learner:
        """Learns from them."""
        return Learner(
            graph=self.setup.graph,
            objective=self.config.resolved.objective,
            options=self.config.options.optimiser,
            temperature=self.config.options.sampling.temperature,
            chunk=self.config.options.logprob_chunk,
            steps=self.config.options.steps,
            trainable=nnx.LoRAParam if self.config.options.adapter.lora_r else nnx.Param,
        )

    def execute(self, report: Callable[[int, dict[str, float]], None]) -> None:
        """Train to the last step, from the newest checkpoint; `report` gets the steps done and what they showed."""
        options = self.config.options
        checkpoints = Checkpoints(self.run)
        step, progress = self._resume(checkpoints)
        report_to, config = options.report_to, self.config.to_json()
        where = self.run.path if hosts.is_first() else None
        curves = tracker(where, resume_at=step, report_to=report_to, config=config)
        with curves as tracking, _stop_when_told() as told:
            tokens = hosts.agree(hosts.on_first(self._tokens_so_far) or 0)
            if step == 0:
                report(step, self._evaluate(0, progress, tracking))
            stop = hosts.anywhere(bool(told))
            while step < options.steps and not stop:
                progress, tokens, seen = self._step(step, progress, tokens, tracking)
                step += 1
                if step == options.steps or (
                    options.evaluation.eval_every and step % options.evaluation.eval_every == 0
                ):
                    seen |= self._evaluate(step, progress, tracking)
                if options.export_every and step % options.export_every == 0:
                    self._export(progress, self.run.exports / f"step-{step}")
                due = bool(options.save_every) and step % options.save_every == 0 and step < options.steps
                stop = hosts.anywhere(bool(told))
                if stop or due:
                    checkpoints.save(step, progress)
                report(step, seen)
        checkpoints.close()
        if step < options.steps:
            raise KeyboardInterrupt
        self._export(progress, self.run.model)
        record = {"steps": step, "skipped_updates": int(progress.learner.skipped)}
        hosts.on_first(lambda: self.run.finish(record))

    def _export(self, progress: Progress, directory: Path) -> None:
        """The model as an ordinary Hugging Face directory, adapters merged."""
        model = nnx.merge(self.setup.graph, progress.learner.params)
        lora.merge(model)
        save(model, directory, companions=self.setup.source, dtype=jnp.dtype(self.config.options.export_dtype))

    def last_evaluation(self) -> dict[str, Any]:
        """The last line of `eval.jsonl`; nothing in a process that does not write."""
        if not hosts.is_first():
            return {}
        return json.loads(complete_lines(self.run.path / "eval.jsonl")[-1])

    def _resume(self, checkpoints: Checkpoints) -> tuple[int, Progress]:
        return checkpoints.resume(self._fresh) or (0, self._fresh())

    def _fresh(self) -> Progress:
        # The learner donates its buffers, so it takes them from the setup, which reads them anew if asked again.
        learner, refresh = self.learner.init(self.setup.initial.take()), self.config.refresh_every
        if refresh == 1:
            return Progress(learner, None)
        return Progress(learner, jax.tree.map(jnp.copy, learner.params) if refresh else self.setup.params)

    def _step(
        self, step: int, progress: Progress, tokens_before: int, tracking: Tracker
    ) -> tuple[Progress, int, dict[str, float]]:
        """The progress after one step, the tokens sampled since the run began, and what the step showed."""
        options, refresh = self.config.options, self.config.refresh_every
        clock = _Clock()
        if refresh > 1 and step % refresh == 0:
            progress = progress._replace(sampler=jax.tree.map(jnp.copy, progress.learner.params))
        sampler = progress.learner.params if progress.sampler is None else progress.sampler
        problems = self.setup.task.prompts_for_step(options.seed, step, options.num_prompts)
        key = step_key(options.seed, step, _ROLLOUT_STREAM)
        rollout, completions, rewards = collect(self.actor, sampler, problems, self.setup.rewards, key)
        clock.lap("rollout")
        evidence, agreement = self._evidence(progress.learner, sampler, rollout)
        clock.lap("logprob")
        every = options.evaluation.eval_every
        if step == 0 or (every and step % every == 0):
            self._log_samples(step, progress.learner, rollout, completions, problems, tracking)
        probe = bool(options.probe_every) and step % options.probe_every == 0
        clock.skip()
        learner, measured = self.learner.update(progress.learner, rollout, evidence, step=step, probe=probe)
        jax.block_until_ready(learner)
        clock.lap("update")
        self._check_finite(step + 1, learner)
        tokens = int(completions.lengths.sum())
        metrics = {
            **rollout_metrics(rollout, completions),
            **rewards,
            **agreement,
            **measured,
            "learning_rate": self.learner.learning_rate(step),
            "skipped_updates": int(learner.skipped),
            "num_tokens": tokens_before + tokens,
        }
        self._log("metrics", step + 1, metrics, tracking)
        timing = clock.report(tokens)
        self._log("timing", step + 1, timing, tracking)
        seen = {
            "reward": metrics["reward"],
            "length": metrics["completions/mean_length"],
            "tokens/s": timing["perf/tokens_per_s"],
        }
        return Progress(learner, progress.sampler), tokens_before + tokens, seen

    def _check_finite(self, step: int, learner: LearnerState) -> None:
        if not _all_finite(learner.weights):
            raise CheckFailed(
                f"step {step} made parameters that are NaN or infinite; nothing of it is kept in {self.run.path}",
                mend="lower --learning-rate, or look at --max-grad-norm and the Adam options, in another --out",
            )

    def _evidence(self, state: LearnerState, sampler: nnx.State, rollout: Rollout) -> tuple[Evidence, dict[str, float]]:
        """What the loss needs, and how the old log-probabilities were come by."""
        old, agreement = self._old_logp(sampler, rollout) if self.config.needs_old_logp else (None, {})
        # Without a KL term nothing looks at the reference model, and its forward pass is saved.
        ref = None if self.learner.objective.kl is None else self.learner.logprobs(self.setup.params, rollout)
        value = self.learner.values(state, rollout) if self.learner.needs_critic else None
        return Evidence(old, ref, value), agreement

    def _old_logp(self, sampler: nnx.State, rollout: Rollout) -> tuple[np.ndarray, dict[str, float]]:
        # Decided anew at every step, from this step alone: a resumed run decides the same.
        agreement = {}
        if self.config.sampler_may_serve:
            gap = self.learner.sampler_gap(sampler, rollout)
            serves = gap <= self.config.options.optimiser.old_logp_tolerance
            agreement = {"sampling/old_logp_gap": gap, "sampling/old_logp_reused": float(serves)}
            if serves:
                return np.asarray(rollout.sampler_logp), agreement
        return self.learner.logprobs(sampler, rollout), agreement

    def _evaluate(self, step: int, progress: Progress, tracking: Tracker) -> dict[str, float]:
        options = self.config.options
        result = evaluate(
            self.actor,
            progress.learner.params,
            self.setup.task,
            self.setup.task.evaluation_problems(options.evaluation.eval_prompts or None),
            samples=options.evaluation.eval_samples,
            seed=options.seed,
            rows=options.num_prompts * options.sampling.num_generations,
        )
        self._log("eval", step, result, tracking)
        return {"held-out pass@1": result["eval/pass@1"]}

    def _log_samples(
        self,
        step: int,
        state: LearnerState,
        rollout: Rollout,
        completions: Completions,
        problems: Problems,
        tracking: Tracker,
    ) -> None:
        """The first group with right and wrong completions (else the first group), with the weight of every token."""
        size = self.config.options.sampling.num_generations
        groups = rollout.reward.reshape(-1, size)
        mixed = np.flatnonzero(np.ptp(groups, axis=1) > 0)
        group = int(mixed[0]) if mixed.size else 0
        evidence, _ = self._evidence(state, state.params, rollout)
        weights, advantage = self.learner.weights(state.params, rollout, evidence)
        if not hosts.is_first():
            return
        records = []
        for row in range(group * size, (group + 1) * size):
            length = int(completions.lengths[row])
            ids = completions.tokens[row, -completions.mask.shape[1] :][:length]
            records.append(
                {
                    "step": step,
                    "prompt": problems.prompts[group],
                    "completion": completions.texts[row],
                    "tokens": [self.setup.tokenizer.decode([token]) for token in ids.tolist()],
                    "reward": float(rollout.reward[row]),
                    "advantage": float(advantage[row, :length].mean()),
                    "weights": weights[row, :length].tolist(),
                }
            )
        for record in records:
            self.run.append("samples", record)
        tracking.samples(step, records)

    def _log(self, log: str, step: int, record: dict[str, Any], tracking: Tracker) -> None:
        if hosts.is_first():
            self.run.append(log, {"step": step, **record})
            tracking.log(step, record)

    def _tokens_so_far(self) -> int:
        file = self.run.path / "metrics.jsonl"
        lines = complete_lines(file) if file.exists() else []
        return json.loads(lines[-1])["num_tokens"] if lines else 0


@jax.jit
def _all_finite(weights: Any) -> jax.Array:
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)]))


@dataclass
class _Clock:
    """Seconds of each phase of a step."""

    def __post_init__(self) -> None:
        self.phases: dict[str, float] = {}
        self.skip()

    def skip(self) -> None:
        """Leave the time since the last lap out of the record."""
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Charge the time since the last lap to `phase`."""
        now = time.perf_counter()
        self.phases[phase] = now - self.last
        self.last = now

    def report(self, tokens: int) -> dict[str, float]:
        """Under the names of conventions that users know."""
        total = sum(self.phases.values())
        phases = {f"timing_s/{name}": seconds for name, seconds in self.phases.items()}
        return {**phases, "step_time": total, "perf/tokens_per_s": tokens / total}


@contextmanager
def _stop_when_told() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that the step under way is finished and saved; a second one ends at once."""
    told: list[int] = []

    def remember(number: int, frame: Any) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
