"""The small model from scratch: a Qwen2-architecture directory trained on Countdown traces.

The embedded default (`default_model/`) was made by `rino pretrain`; its `pretraining.json` holds every option, the
losses and the evaluation. Training stops early in the career of the model on purpose: at a pass@1 between 0.2 and 0.4 a
group of completions nearly always holds right and wrong ones, so reinforcement learning has something to learn from.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from llm_exps.evaluation import evaluate
from llm_exps.experiment import provenance
from llm_exps.memory import Device, refuse_over
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.huggingface import save
from llm_exps.options import SamplingOptions
from llm_exps.rollout import Actor
from llm_exps.tasks import load_task
from llm_exps.tasks.task import Task
from llm_exps.traces import (
    TraceBatch,
    TraceOptions,
    encode_traces,
    make_tokenizer,
    make_trace,
    possible_attempts,
)
from rino_base.files import write_json
from rino_base.messages import InputError
from rino_base.outputs import try_directory
from rino_base.progress import track
from rino_base.ranges import hold

# In tokens. A prompt takes 8, an attempt 8, and the answer 7 with its end: four attempts and an answer fit into half of
# the context, which is what generation may use by default.
CONTEXT = 80
MAX_ATTEMPTS = 4


def make(directory: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train a model, write it to the directory, and return what is known of it, which `pretraining.json` holds too.

    options: the parameters of `rino pretrain` by name.

    Raises:
        InputError: a directory in use, or numbers out of their range or too large together.
    """
    _check(directory, options)
    task, tokenizer = load_task("countdown-small"), make_tokenizer()
    traces = TraceOptions(**{name: options[name] for name in ("luck", "resign", "max_attempts")})
    batches = _batches(task, tokenizer, traces, batch_size=options["batch_size"], seed=options["seed"])
    start = time.perf_counter()
    schedule = {name: options[name] for name in ("steps", "learning_rate", "seed")}
    model, losses = _fit(_shape(tokenizer, options), batches, **schedule)
    seconds = time.perf_counter() - start
    evaluation = _evaluate(model, tokenizer, task, prompts=options["eval_prompts"], seed=options["seed"])

    tokenizer.model_max_length = CONTEXT
    tokenizer.save_pretrained(directory)
    save(model, directory)
    record = {
        "command": _command(options),
        "options": dict(options),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))),
        "seconds": round(seconds, 1),
        "losses": losses,
        "evaluation": {name: value for name, value in evaluation.items() if not isinstance(value, list)},
        **provenance(),
    }
    write_json(directory / "pretraining.json", record)
    return record


def _shape(tokenizer: Any, options: Mapping[str, Any]) -> DecoderConfig:
    return DecoderConfig(
        architecture="qwen2",
        vocabulary_size=len(tokenizer),
        hidden_size=options["hidden_size"],
        intermediate_size=options["intermediate_size"],
        num_layers=options["num_layers"],
        num_heads=options["num_heads"],
        num_kv_heads=max(options["num_heads"] // 2, 1),
        head_dim=options["hidden_size"] // options["num_heads"],
        tie_embeddings=True,
        max_positions=CONTEXT,
        eos_token_ids=(tokenizer.eos_token_id,),
        pad_token_id=tokenizer.pad_token_id,
        # Small widths want larger weights than the 0.02 of large ones; about 0.4 / sqrt(width).
        initializer_range=0.05,
    )


def _check(directory: Path, options: Mapping[str, Any]) -> None:
    """Raises InputError for a directory in use, and for numbers out of their range or too large together."""
    hold("pretrain", options)
    try_directory(directory, "directory")
    if (directory / "config.json").exists():
        raise InputError(f"{directory} holds a model already", mend="name another directory, or remove it")
    if options["hidden_size"] % options["num_heads"]:
        raise InputError(
            f"hidden_size {options['hidden_size']} does not divide into num_heads {options['num_heads']}",
            mend="give every head the same even width, 16 for example",
        )
    width, inside = options["hidden_size"], options["intermediate_size"]
    if (width // options["num_heads"]) % 2:
        raise InputError(
            f"hidden_size {width} / num_heads {options['num_heads']} gives heads of an odd width",
            mend="give every head the same even width, 16 for example",
        )
    parameters = options["num_layers"] * (4 * width**2 + 3 * width * inside)
    tokens = options["batch_size"] * CONTEXT
    # Weights, gradients and two moments; and what every layer keeps of every token.
    kept = 4 * tokens * options["num_layers"] * (14 * width + 4 * inside)
    refuse_over(
        16 * parameters + kept,
        Device.current(),
        f"{parameters:,} parameters and batches of {options['batch_size']:,} traces",
        mend="smaller hidden_size, num_layers, intermediate_size or batch_size",
    )


def _batches(
    task: Task, tokenizer: Any, options: TraceOptions, *, batch_size: int, seed: int
) -> Callable[[int], TraceBatch]:
    """The batch of a step, a function of the seed and the step alone."""
    rows = task.train.rows()
    possible = {(*row["nums"], row["target"]): possible_attempts(row["nums"], row["target"]) for row in rows}

    def batch(step: int) -> TraceBatch:
        problems = task.prompts_for_step(seed, step, batch_size)
        rng = np.random.default_rng([seed, step])
        keys = zip(problems.columns["nums"], problems.columns["target"], strict=True)
        traces = [make_trace(possible[*nums, target], rng, options) for nums, target in keys]
        return encode_traces(tokenizer, problems.prompts, traces)

    return batch


def _fit(
    config: DecoderConfig, batch: Callable[[int], TraceBatch], *, steps: int, learning_rate: float, seed: int
) -> tuple[Decoder, list[dict[str, float]]]:
    """A model trained from scratch, and its loss in nats per token, twenty times on the way."""
    graph, params = nnx.split(Decoder(config, rngs=nnx.Rngs(seed)))
    warmup = min(50, steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, steps, learning_rate / 20)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.95, weight_decay=0.01))
    state = optimiser.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: nnx.State, state: optax.OptState, data: TraceBatch) -> tuple[nnx.State, optax.OptState, Array]:
        loss, gradient = jax.value_and_grad(lambda params: cross_entropy(nnx.merge(graph, params), data))(params)
        changes, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, changes), state, loss

    losses = []
    every = max(steps // 20, 1)
    for step in track(range(steps), description="Training"):
        params, state, loss = update(params, state, batch(step))
        if (step + 1) % every == 0:
            losses.append({"step": step + 1, "loss": float(loss)})
    return nnx.merge(graph, params), losses


def cross_entropy(model: Decoder, data: TraceBatch) -> Float[Array, ""]:
    """Mean negative log-probability of the trace tokens, in nats; prompts are not learned."""
    # Padding is on the right, where a causal model does not see it.
    tokens, weight = jnp.asarray(data.tokens), data.weight[:, 1:]
    logits = model.logits(model(tokens[:, :-1]))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return (losses * weight).sum() / weight.sum()


def _evaluate(model: Decoder, tokenizer: Any, task: Task, *, prompts: int, seed: int) -> dict[str, Any]:
    graph, params = nnx.split(model)
    sampling = SamplingOptions(max_prompt_length=CONTEXT // 2, max_completion_length=CONTEXT // 2)
    actor = Actor(graph, tokenizer, model.config.eos_token_ids, sampling)
    return evaluate(actor, params, task, task.evaluation_problems(prompts), samples=8, seed=seed, rows=1024)


def _command(options: Mapping[str, Any]) -> str:
    return " ".join(["rino pretrain DIRECTORY", *(f"--{_flag(name)} {value}" for name, value in options.items())])


def _flag(name: str) -> str:
    return name.replace("_", "-")
