"""From what a user names to what a run needs: model and task loaded, every default filled in."""

import dataclasses

from llm_exps.config import resolve
from llm_exps.distribution import initialise
from llm_exps.memory import Device, refuse_too_large, with_device_defaults, with_micro_batch
from llm_exps.options import RunOptions
from llm_exps.prompts import fit_task
from llm_exps.setup import Setup, prepare


def prepare_run(
    model: str, task: str, options: RunOptions, *, learns: bool = True, asks: bool = True
) -> tuple[Setup, RunOptions]:
    """Load model and task, and fill in the options whose defaults depend on the model or the device.

    learns: whether the model will be trained, or only sampled from.
    asks: whether it will be asked the task's held-out problems.

    Raises:
        InputError: no such model or task, or options that do not fit them.
    """
    initialise()
    device = Device.current()
    options = with_device_defaults(options, device)
    setup = prepare(model, task, options)
    size, shape = setup.parameters, setup.config
    options = resolve(options, parameters=size, context=shape.max_positions)
    if asks:
        setup = _with_fitting_prompts(setup, options, training=learns)
    length = setup.longest_row(options.sampling)
    options = with_micro_batch(options, shape, device, parameters=size, length=length)
    refuse_too_large(options, shape, device, parameters=size, length=length, learns=learns)
    return setup, options


def _with_fitting_prompts(setup: Setup, options: RunOptions, *, training: bool) -> Setup:
    """Every prompt that will be asked is looked at now: one that does not fit would end a run in its middle."""
    longest = options.sampling.max_prompt_length
    assert longest is not None, "options are resolved"
    task, dropped, most = fit_task(
        setup.task,
        setup.tokenizer,
        longest=longest,
        chat=options.sampling.apply_chat_template,
        held_out=options.evaluation.eval_prompts or None,
        training=training,
        drop=options.unfit_prompts == "drop",
    )
    return dataclasses.replace(setup, task=task, dropped=dropped, longest_prompt=most)
