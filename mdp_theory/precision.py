"""float64 for the exact computations, without changing the precision of a process that also trains a model."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import jax
import numpy as np

QUICK_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Options of `jax.jit` for programs that run for microseconds: optimising them would take longer than it saves."""

P = ParamSpec("P")
R = TypeVar("R")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 64-bit jax arrays and return its arrays as numpy.

    JAX's precision is a setting of the thread, so it is raised for the call alone. Jax arrays would be rounded to
    float32 by the first operation outside; numpy arrays are not. Decorate entry points only: a traced value cannot
    become a numpy array.
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            return cast(R, jax.tree.map(_to_numpy, function(*args, **kwargs)))

    return wrapped


def _to_numpy(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf
