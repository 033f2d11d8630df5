"""From what a user names to what a run needs: model and task loaded, every default filled in."""

import jax
import numpy as np
from flax import nnx

from llm_exps.config import resolve
from llm_exps.experiment import Setup, prepare
from llm_exps.memory import Device, refuse_too_large, with_device_defaults, with_micro_batch
from llm_exps.options import RunOptions


def prepare_run(model: str, task: str, options: RunOptions, *, learns: bool = True) -> tuple[Setup, RunOptions]:
    """Load model and task, and fill in the options whose defaults depend on the model or the device.

    learns: whether the model will be trained, or only sampled from.

    Raises:
        InputError: no such model or task, or options that do not fit them.
    """
    device = Device.current()
    options = with_device_defaults(options, device)
    setup = prepare(model, task, options)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(setup.params))
    shape = nnx.merge(setup.graph, setup.params).config
    options = resolve(options, parameters=size, context=shape.max_positions)
    length = (options.sampling.max_prompt_length or 0) + (options.sampling.max_completion_length or 0)
    options = with_micro_batch(options, shape, device, parameters=size, length=length)
    refuse_too_large(options, shape, device, parameters=size, length=length, learns=learns)
    return setup, options
