"""What an update needs in device memory, and the defaults that follow: precision, rematerialisation, micro-batch.

On a CPU nothing is chosen: float32, no rematerialisation, all completions at once.
"""

import dataclasses
import os
from dataclasses import dataclass

import jax

from llm_exps.models.config import DecoderConfig
from llm_exps.options import RunOptions
from rino_base.messages import InputError

# Left for what the estimate does not know: the allocator's fragments, XLA's scratch, the sampler's last buffers.
_USABLE = 0.75
_GIB = 2**30


@dataclass(frozen=True)
class Device:
    """Where the model is trained: `cpu`, `gpu` or `tpu`, its memory in bytes if it tells, and how many there are."""

    platform: str
    memory: int | None
    count: int = 1

    @classmethod
    def current(cls) -> "Device":
        """The first of this process's devices."""
        device = jax.devices()[0]
        statistics = (device.memory_stats() or {}) if device.platform != "cpu" else {}
        return cls(device.platform, statistics.get("bytes_limit"), jax.device_count())


def with_device_defaults(options: RunOptions, device: Device) -> RunOptions:
    """`dtype` and `remat` filled in; on an accelerator bfloat16 and rematerialisation."""
    accelerated = device.platform != "cpu"
    return dataclasses.replace(
        options,
        dtype=options.dtype or ("bfloat16" if accelerated else "float32"),
        remat=accelerated if options.remat is None else options.remat,
    )


def with_micro_batch(
    options: RunOptions, model: DecoderConfig, device: Device, *, parameters: int, length: int
) -> RunOptions:
    """`micro_batch_size` filled in: the largest divisor of a minibatch whose update fits, 0 (all) on a CPU.

    length: tokens of the longest row, prompt and completion.
    """
    if options.optimiser.micro_batch_size is not None:
        return options
    chosen = 0
    if device.platform != "cpu" and device.memory:
        rows = options.num_prompts // options.optimiser.num_minibatches * options.sampling.num_generations
        free = _USABLE * device.memory - state_bytes(parameters) - _head_bytes(model, options)
        each = row_bytes(model, length=length, dtype=options.dtype or "bfloat16", remat=bool(options.remat))
        fitting = max(int(free * device.count / each), device.count)
        chosen = max((n for n in range(1, rows + 1) if rows % n == 0 and n <= fitting), default=1)
    return dataclasses.replace(options, optimiser=dataclasses.replace(options.optimiser, micro_batch_size=chosen))


def refuse_too_large(
    options: RunOptions, model: DecoderConfig, device: Device, *, parameters: int, length: int, learns: bool
) -> None:
    """Raise InputError, with the numbers, where the work cannot fit: before it starts, not when memory runs out.

    length: tokens of the longest row, prompt and completion. learns: whether there are updates, or only samples.
    """
    rows = options.num_prompts * options.sampling.num_generations
    micro = options.optimiser.micro_batch_size or rows // options.optimiser.num_minibatches
    size = 2 if options.dtype == "bfloat16" else 4
    cache = 2 * model.num_layers * model.num_kv_heads * model.head_dim * size
    together = min(rows, options.sampling.rows_at_once or rows)
    sampling = together * (length * cache + 2 * 4 * model.vocabulary_size)
    # The weights, and what of them sampling reads in another form.
    refuse_over(
        (4 + size) * parameters + sampling,
        device,
        f"{options.num_prompts:,} prompts × {options.sampling.num_generations:,} generations of {length:,} tokens"
        + (f", {together:,} at once" if together < rows else ""),
        mend="give a smaller num_prompts, num_generations, max_completion_length or max_prompt_length, or rows_at_once",
    )
    if not learns:
        return
    updating = micro * row_bytes(model, length=length, dtype=options.dtype or "float32", remat=bool(options.remat))
    refuse_over(
        state_bytes(parameters) + updating,
        device,
        f"an update from {micro:,} completions of {length:,} tokens at once",
        mend="--micro-batch-size 1 and --remat need least, or a smaller max_completion_length",
    )


def refuse_over(size: int, device: Device, what: str, *, mend: str) -> None:
    """Raise InputError where `what` needs more bytes than the device (on a CPU, the machine) has."""
    there = (device.memory or 0) * device.count or host_memory()
    if size > there:
        raise InputError(
            f"{what} need about {size / _GIB:,.1f} GiB of memory, and there are {there / _GIB:,.1f}", mend=mend
        )


def host_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def state_bytes(parameters: int) -> int:
    """Bytes of an update's state: float32 weights, Adam's two moments and a gradient (16 bytes a parameter), and what
    comes for a while: scratch of the optimiser's step, the gradient of another micro-batch, a copy in bfloat16.

    Measured from compiled programs (tests/llm_exps/test_memory.py); between steps 12 bytes are left, and 4 more for the
    reference model of an objective with a KL term.
    """
    return 22 * parameters


def row_bytes(model: DecoderConfig, *, length: int, dtype: str, remat: bool) -> int:
    """Bytes of activations that a row of `length` tokens keeps for the backward pass.

    One layer is at work; of each a part is kept: its input, and without rematerialisation the results of its products.
    """
    size = 2 if dtype == "bfloat16" else 4
    heads = model.num_heads * model.head_dim
    # Of the layer at work: residuals, norms, projections and the MLP's products; scores, probabilities and mask of
    # unfused attention; and their gradients. Counted from XLA's memory analysis, see tests/llm_exps/test_memory.py.
    tokenwise = (10 * model.hidden_size + 8 * heads + 4 * model.intermediate_size) * size
    working = 2 * length * (tokenwise + 3 * model.num_heads * length * 4)
    # Of every layer: its input; without rematerialisation also what its products gave.
    kept = length * model.hidden_size * size
    if not remat:
        products = (2 * model.hidden_size + 4 * heads + 2 * model.intermediate_size) * size
        kept += length * (products + model.num_heads * length * 4)
    return model.num_layers * kept + working


def update_bytes(options: RunOptions, model: DecoderConfig, *, parameters: int, length: int) -> int:
    """Bytes that an update needs at its peak, for rows of `length` tokens."""
    rows = options.num_prompts // options.optimiser.num_minibatches * options.sampling.num_generations
    micro = options.optimiser.micro_batch_size or rows
    each = row_bytes(model, length=length, dtype=options.dtype or "float32", remat=bool(options.remat))
    return state_bytes(parameters) + micro * each + _head_bytes(model, options)


def describe(options: RunOptions, device: Device, model: DecoderConfig, *, parameters: int, length: int) -> str:
    """One line on what was chosen, for the head of a run, and what an update of rows of `length` tokens will need."""
    micro, memory = options.optimiser.micro_batch_size, device.memory
    held = f", {memory / _GIB:.0f} GiB each" if memory else ""
    rows = "all completions" if not micro else f"{micro} completions"
    state = state_bytes(parameters) / _GIB
    peak = update_bytes(options, model, parameters=parameters, length=length) / _GIB
    return (
        f"{device.count} {device.platform} device(s){held}: {options.dtype}, "
        f"{'with' if options.remat else 'no'} rematerialisation, {rows} at once in an update "
        f"(--dtype, --remat, --micro-batch-size)\n"
        f"memory of an update, at most: {peak:.3g} GiB, of it {state:.3g} GiB for weights, gradient and moments, "
        f"the rest for activations of rows of {length} tokens"
    )


def _head_bytes(model: DecoderConfig, options: RunOptions) -> int:
    """Logits of one chunk of tokens, their softmax and their gradient, in float32."""
    return 3 * 4 * options.logprob_chunk * model.vocabulary_size
