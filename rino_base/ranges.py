"""The range of every option that is a number, in one table: the command line, `--config` and Python hold to it alike.

A new option is one line here, and `tests/test_ranges.py` fails for an option without one. What depends on more than one
option, or on the model, is checked where it is known.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

from rino_base.messages import InputError


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`.

    Attributes:
        whole: whether they are whole numbers.
        open_below, open_above: whether `least` or `most` itself is outside.
        hint: what somebody who is outside may have meant.
    """

    least: float
    most: float
    whole: bool = False
    open_below: bool = False
    open_above: bool = False
    hint: str = ""

    def holds(self, value: object) -> bool:
        """Whether `value` is one of them; NaN is none."""
        kind = Integral if self.whole else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number: Any = value
        return (self.least < number if self.open_below else self.least <= number) and (
            number < self.most if self.open_above else number <= self.most
        )

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        below = "above" if self.open_below else "of at least"
        over = "below" if self.open_above else "at most"
        return f"{kind} {below} {_shown(self.least)} and {over} {_shown(self.most)}"


def whole(least: int, most: int = 10**9) -> Range:
    """Whole numbers."""
    return Range(least, most, whole=True)


def real(least: float, most: float) -> Range:
    """Numbers, both ends included."""
    return Range(least, most)


def above(least: float, most: float, *, hint: str = "") -> Range:
    """Numbers, the lower end excluded."""
    return Range(least, most, open_below=True, hint=hint)


def below(least: float, most: float) -> Range:
    """Numbers, the upper end excluded."""
    return Range(least, most, open_above=True)


# jax makes equal keys of seeds that agree in their last 32 bits.
_SEED = whole(0, 2**32 - 1)

# Strictly between 0 and 1.
_SHARE = Range(0, 1, open_below=True, open_above=True)

RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "seed": _SEED,
        # the amount of work
        "steps": whole(1),
        "num_prompts": whole(1),
        "num_generations": whole(1, 65_536),
        "num": whole(1),
        "eval_prompts": whole(0),
        "eval_samples": whole(1, 65_536),
        "repeats": whole(1, 100_000),
        # how often
        "eval_every": whole(0),
        "probe_every": whole(0),
        "save_every": whole(0),
        "export_every": whole(0),
        "refresh_every": whole(0),
        # the objective
        "beta": real(0, 1e3),
        "epsilon": above(0, 1e3),
        "epsilon_high": above(0, 1e9, hint="1e9 is no bound at all"),
        "advantage_eps": real(0, 1e3),
        "reward_weights": real(-1e6, 1e6),
        "rollout_is_threshold": real(0, 1e9),
        "old_logp_tolerance": real(0, 1e3),
        "ddof": whole(0, 1),
        # sampling
        "max_prompt_length": whole(1),
        "max_completion_length": whole(1),
        "temperature": above(0, 1e3, hint="a small one, such as 0.01, samples nearly greedily"),
        "top_p": above(0, 1, hint="1 samples from all tokens"),
        "top_k": whole(0),
        "rows_at_once": whole(0),
        # the optimiser
        "learning_rate": above(0, 1e3),
        "critic_learning_rate": above(0, 1e3),
        "warmup_steps": whole(0),
        "adam_beta1": below(0, 1),
        "adam_beta2": below(0, 1),
        "weight_decay": real(0, 1e3),
        "max_grad_norm": real(0, 1e30),
        "adam_epsilon": above(0, 1),
        "lora_r": whole(0, 65_536),
        "lora_alpha": above(0, 1e6),
        "num_iterations": whole(1, 10**6),
        "num_minibatches": whole(1),
        "micro_batch_size": whole(0),
        # the device
        "logprob_chunk": whole(1),
    }
)
"""Option -> its range, in every command that has no range of its own for it."""

OF_COMMAND: Mapping[str, Mapping[str, Range]] = MappingProxyType(
    {
        # Exact computation takes time and memory that grow with the square of the group and with every inner step.
        "check": {
            "num_generations": whole(2, 1_024),
            "inner_steps": whole(0, 10_000),
            "steps": whole(1, 10**6),
            "optimiser_learning_rate": above(0, 1e12),
        },
        "samples": {
            "p": _SHARE,
            "num_generations": whole(2, 1_000),
            "progress": _SHARE,
            "score_noise": real(0, 1e12),
            "target": _SHARE,
        },
        "gradient": {"num_generations": whole(2, 65_536)},
        "coefficient": {"num_generations": whole(2, 65_536)},
        "figures": {"width": real(1, 40)},
        "reproduce": {"seeds": _SEED},
        "compare": {
            "seeds": _SEED,
            "sweep_seeds": _SEED,
            "learning_rates": above(0, 1e3),
            "sweep_steps": whole(1),
            "jobs": whole(0, 100_000),
            "gpus_per_job": whole(0, 1_024),
        },
        "pretrain": {
            "batch_size": whole(1, 10**6),
            "hidden_size": whole(2, 65_536),
            "num_layers": whole(1, 1_000),
            "num_heads": whole(1, 1_024),
            "intermediate_size": whole(1, 10**6),
            "luck": real(0, 1),
            "resign": real(0, 1),
            "max_attempts": whole(1, 4),
            "eval_prompts": whole(1),
        },
    }
)
"""Command (or function of the Python API) -> ranges of its own."""

AT_LEAST_ONE = frozenset({"seeds", "sweep_seeds", "methods", "formats", "stop_strings", "num_generations"})
"""Options that are lists and may not be empty."""


def rule(command: str, name: str) -> Range | None:
    """The range of an option of a command; None if it is no number."""
    return OF_COMMAND.get(command, {}).get(name) or RANGES.get(name)


def hold(command: str, options: Mapping[str, object], *, write: Callable[[str], str] = str) -> None:
    """Check every number among `options`, also those inside dataclasses of options and inside lists.

    An option of a dataclass that is None keeps its default and is not checked.

    Args:
        command: whose options they are.
        options: value by name.
        write: how the reader writes an option's name; a flag on the command line.

    Raises:
        InputError: the first value that is outside its range, with the range.
    """
    for name, value in _flat(options):
        several = isinstance(value, tuple | list)
        if several and not value and name in AT_LEAST_ONE:
            raise InputError(f"{write(name)} is empty", mend=f"give {write(name)} at least one value")
        if name == "stop_strings" and "" in value:  # type: ignore[operator]
            raise InputError(f"a {write(name)} is empty", mend="give text: an empty one would stop at once")
        wanted = rule(command, name)
        if wanted is not None:
            for item in value if several else [value]:  # type: ignore[attr-defined]
                if not wanted.holds(item):
                    raise outside(write(name), item, wanted)


def outside(name: str, value: object, wanted: Range) -> InputError:
    """The error for a value outside its range."""
    shown = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
    if len(shown) > 40:
        shown = f"{shown[:30]}… ({len(shown)} characters)"
    return InputError(f"{name} is {shown}; it has to be {wanted}", mend=_mend(name, value, wanted))


def _mend(name: str, value: object, wanted: Range) -> str:
    if wanted.hint:
        return wanted.hint
    number: Any = value if isinstance(value, Real) else None
    if number is not None and number > wanted.most and not wanted.open_above:
        return f"{name} {_shown(wanted.most).replace(',', '')} is the most"
    if number is not None and number < wanted.least and not wanted.open_below:
        return f"{name} {_shown(wanted.least)} is the least"
    return f"give {name} a number in that range"


def _flat(options: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in options.items():
        if is_dataclass(value) and not isinstance(value, type):
            inside = {item.name: getattr(value, item.name) for item in fields(value)}
            yield from _flat({inner: found for inner, found in inside.items() if found is not None})
        else:
            yield name, value


def _shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
