"""A model and a task, loaded once: what runs start from, and what evaluations look at."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from llm_exps.config import validate
from llm_exps.distribution import make_mesh, parameter_placement
from llm_exps.models import lora
from llm_exps.models.config import DecoderConfig
from llm_exps.models.decoder import Decoder
from llm_exps.models.hub import commit_of, resolve
from llm_exps.models.huggingface import load, load_tokenizer, stop_tokens
from llm_exps.options import RunOptions, SamplingOptions
from llm_exps.sampling import length_bin
from llm_exps.tasks.registry import load_task
from llm_exps.tasks.rewards import Rewards, load_rewards
from llm_exps.tasks.task import Task

EMBEDDED_MODEL = Path(__file__).parent / "default_model"


class Initial:
    """The parameters that a model is loaded with: held until a run takes them, and read again when asked for later.

    A run changes its parameters in place. Were they kept here as well, every run would hold the model once more.
    """

    def __init__(self, read: Callable[[], nnx.State], held: nnx.State | None = None) -> None:
        self._read, self._held = read, held

    def get(self) -> nnx.State:
        """The parameters, which stay here."""
        if self._held is None:
            self._held = self._read()
        return self._held

    def take(self) -> nnx.State:
        """The parameters, which are the caller's alone from now on."""
        taken, self._held = self.get(), None
        return taken


@dataclass(frozen=True)
class Setup:
    """A model and a task, loaded once and shared by the runs of a comparison.

    longest_prompt: tokens of the longest prompt that will be asked; None where they were not looked at.
    """

    source: Path
    graph: nnx.GraphDef
    initial: Initial
    shapes: nnx.State
    tokenizer: Any
    stop_tokens: tuple[int, ...]
    task: Task
    rewards: Rewards
    mesh: Mesh | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    longest_prompt: int | None = None

    @property
    def params(self) -> nnx.State:
        """The parameters before any training; from here on they are in memory until a run takes them."""
        return self.initial.get()

    @property
    def parameters(self) -> int:
        """How many the model has."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.shapes))

    @property
    def config(self) -> DecoderConfig:
        """The model's."""
        config: DecoderConfig = nnx.merge(self.graph, self.shapes).config
        return config

    @property
    def record(self) -> dict[str, Any]:
        """What `config.json` of a run holds about it: the commit of a hub's model, and prompts that were dropped."""
        commit = commit_of(self.source)
        found: dict[str, Any] = {} if commit is None else {"model_commit": commit}
        return found | ({"dropped_prompts": dict(self.dropped)} if any(self.dropped.values()) else {})

    def longest_row(self, sampling: SamplingOptions) -> int:
        """The most tokens of a prompt, as it is padded, and its completion.

        `max_prompt_length`, which may be far above what a task asks, counts where the prompts were not looked at.
        """
        prompt = length_bin(self.longest_prompt) if self.longest_prompt else sampling.max_prompt_length or 0
        return prompt + (sampling.max_completion_length or 0)

    def on_devices(self) -> AbstractContextManager[Any]:
        """Within it, batches are split over the devices; there is nothing to split over one."""
        return nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)


def prepare(model: str, task: str, options: RunOptions) -> Setup:
    """Load model (`default` is the embedded one), tokenizer and task; mistakes in any of them are seen here."""
    validate(options)
    loaded_task = load_task(
        task,
        data=options.data,
        evaluation_data=options.evaluation_data,
        prompt_template=options.prompt_template,
        scheme=options.scheme,
    )
    rewards = load_rewards(loaded_task, options.reward_functions, options.reward_weights)
    # One snapshot for weights, tokenizer and what is saved with them: a branch of the hub may move in between.
    source = resolve(EMBEDDED_MODEL if model == "default" else model, options.revision)
    tokenizer = load_tokenizer(source)
    mesh = make_mesh(options.mesh) if jax.device_count() > 1 or options.mesh else None
    placement = None if mesh is None else parameter_placement(mesh)

    def read() -> Decoder:
        decoder, _ = load(
            source, dtype=jnp.dtype(options.dtype or "float32"), remat=bool(options.remat), placement=placement
        )
        adapter = options.adapter
        if adapter.lora_r:
            lora.add(
                decoder,
                rank=adapter.lora_r,
                alpha=adapter.lora_alpha,
                targets=adapter.lora_target_modules,
                sharding=None if mesh is None else NamedSharding(mesh, PartitionSpec()),
            )
        return decoder

    graph, params = nnx.split(read())
    initial = Initial(lambda: nnx.split(read())[1], params)
    shapes = jax.eval_shape(lambda: params)
    return Setup(source, graph, initial, shapes, tokenizer, stop_tokens(source), loaded_task, rewards, mesh)
