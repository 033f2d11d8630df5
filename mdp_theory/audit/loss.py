"""Load the loss to audit, from a file of the user's or from the catalogue, and differentiate it in float64.

Importing the file runs it, and so does calling the function: the loss is its owner's own code and is trusted like it.
"""

import ast
import dataclasses
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mdp_theory.audit.signature import MARK, declared, read
from mdp_theory.methods import catalogue
from mdp_theory.methods.batch import Batch
from mdp_theory.methods.loss import loss
from mdp_theory.precision import QUICK_COMPILATION
from rino_base.messages import InputError
from rino_base.user_code import beside, load_file

ARGUMENTS = ("logp", "old_logp", "ref_logp", "rewards", "mask", "group")
SIGNATURE = f"loss({', '.join(ARGUMENTS)}) -> scalar"

# Stands for the limit that some aggregations divide by, where a catalogued method leaves it open.
COMPLETION_LIMIT = 512

Differentiate = Callable[[Batch], tuple[float, np.ndarray]]
DifferentiateParts = Callable[[Batch, int], tuple[float, np.ndarray]]


class LossFailure(Exception):
    """The loss cannot be differentiated on a batch; the message completes the sentence "the loss ..."."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.mend = mend


@dataclass(frozen=True)
class Loss:
    """A loss to audit.

    Attributes:
        name: the target it was asked for by.
        framework: `jax`, `torch`, `catalogue`, or a framework's name and version.
        differentiate: a probe batch (numpy) to the loss and its token weights `-d loss / d logp`, [batch, time].
            Raises LossFailure.
        in_parts: the same, the batch coming as so many micro-batches of whole groups of one optimiser step; None
            where the loss says itself that its denominators are global. Raises LossFailure.
        mutated: arguments that the loss writes into.
    """

    name: str
    framework: str
    differentiate: Differentiate
    in_parts: DifferentiateParts | None = None
    mutated: tuple[str, ...] = ()


def load_loss(target: str, probe: Batch, *, signature: Path | None = None) -> Loss:
    """The loss that `target` names: `FILE.py:FUNCTION`, `module:function`, or the key of a catalogued method.

    Args:
        target: what to load.
        probe: a batch on which the loss must be finite, scalar and repeatable.
        signature: a TOML file that declares the function's own arguments (see `signature`).

    Raises:
        InputError: there is no such loss, or it fails on `probe`.
    """
    file, colon, name = target.rpartition(":")
    if not colon and not target.endswith(".py"):
        return catalogued_loss(target)
    path = Path(file if colon else target)
    if path.suffix != ".py" and not path.exists():
        module = _import_by_name(file)
        path = Path(getattr(module, "__file__", None) or file)
        choices = "give module:function"
    else:
        if not path.is_file():
            raise InputError(f"{path}: no such file", mend=f"give FILE.py:FUNCTION, a function {SIGNATURE}")
        choices = f"it defines: {_choices(path)}"
        if not colon or not name:
            raise InputError(f"{target}: the function is not named", mend=f"one of: {_choices(path)}")
        module = _import(path)
    try:
        function = attrgetter(name)(module)
    except AttributeError:
        raise InputError(f"{file} has no function {name!r}", mend=choices) from None
    call = _caller(function, name, None if signature is None else read(signature))
    return _settle(target, call, vars(module), path, probe, neighbours=beside)


def _import_by_name(name: str) -> ModuleType:
    with beside(Path.cwd() / name):
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            mend = "it has to be importable from here; a file is given as FILE.py:FUNCTION"
            raise InputError(f"{name} cannot be imported: {_say(error, Path(name))}", mend=mend) from error


def live_loss(function: Callable[..., Any], probe: Batch) -> Loss:
    """The loss that a function of the running program is; `function` is called as `load_loss` calls one of a file.

    Args:
        function: `loss(logp, old_logp, ref_logp, rewards, mask, group) -> scalar`, of jax or of torch arrays.
        probe: a batch on which the loss must be finite, scalar and repeatable.

    Raises:
        InputError: it is no function of that kind, or it fails on `probe`.
    """
    name = getattr(function, "__qualname__", type(function).__name__)
    call = _caller(function, name, None)
    inner = inspect.unwrap(getattr(function, "func", function))
    inner = inner if hasattr(inner, "__code__") else type(inner).__call__  # an object that can be called
    code = getattr(inner, "__code__", None)
    path = Path(code.co_filename if code is not None else "?")
    # A function of the running program has found what it imports already.
    return _settle(name, call, getattr(inner, "__globals__", {}), path, probe, neighbours=lambda _: nullcontext())


def _settle(
    target: str,
    call: Callable[..., Any],
    names: Mapping[str, Any],
    path: Path,
    probe: Batch,
    *,
    neighbours: Callable[[Path], AbstractContextManager[None]],
) -> Loss:
    """The loss in the first framework, and with the first kind of mask, in which it works on `probe`."""
    attempts = [(framework, kind) for framework in _frameworks(names) for kind in (np.float64, np.bool_)]
    failures = []
    for framework, mask_type in attempts:
        plain = _differentiate_torch(call, mask_type) if framework == "torch" else _differentiate_jax(call, mask_type)
        loss = _located(target, framework, plain, path, neighbours)
        try:
            check(loss, probe)
        except LossFailure as failure:
            failures.append(failure)
            continue
        if framework == "torch":
            return dataclasses.replace(loss, mutated=_mutated(call, mask_type, probe))
        quick = _located(target, framework, _compiled(call, mask_type, plain), path, neighbours)
        one, other = quick.differentiate(probe)[1], loss.differentiate(probe)[1]
        # Where they differ, something was decided once and for all while it was traced.
        return quick if np.allclose(one, other, rtol=1e-5, atol=1e-6 * np.abs(other).max()) else loss
    raise InputError(f"{target} {failures[0]}", mend=failures[0].mend)


def _located(
    target: str,
    framework: str,
    differentiate: Differentiate,
    path: Path,
    neighbours: Callable[[Path], AbstractContextManager[None]],
) -> Loss:
    whole = _with_location(differentiate, path, neighbours)
    return Loss(target, framework, whole, averaged(whole))


def averaged(differentiate: Differentiate) -> DifferentiateParts:
    """Gradient accumulation as a training loop does it by default: the mean of the micro-batches' losses."""

    def in_parts(batch: Batch, count: int) -> tuple[float, np.ndarray]:
        rows = np.split(np.arange(len(batch.reward)), count)
        fields: list[Any] = [None if x is None else np.asarray(x) for x in batch]
        parts: list[Any] = [Batch._make(None if x is None else x[part] for x in fields) for part in rows]
        # Labels start at 0 in every micro-batch, as they would there.
        parts = [part._replace(group=np.unique(part.group, return_inverse=True)[1]) for part in parts]
        found = [differentiate(part) for part in parts]
        return sum(value for value, _ in found) / count, np.concatenate([weights for _, weights in found]) / count

    return in_parts


def catalogued_loss(name: str) -> Loss:
    """A catalogued method's own loss. A critic, where it needs one, says 0 everywhere: the six arguments hold none."""
    method = catalogue.get(name)
    objective = method.objective
    if objective.needs_limit:
        objective = dataclasses.replace(objective, max_completion_length=COMPLETION_LIMIT)

    def call(logp: Any, old_logp: Any, ref_logp: Any, rewards: Any, mask: Any, group: Any) -> Any:
        value = jnp.zeros_like(logp)
        return loss(objective, Batch(logp, old_logp, ref_logp, mask, rewards, group, value))

    return Loss(method.key, "catalogue", _compiled(call, np.float64, _differentiate_jax(call, np.float64)))


def _choices(path: Path) -> str:
    """The functions a file defines, read without running it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):
        return "nothing that can be read"
    names = [node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    return ", ".join(f"{path}:{name}" for name in names) or "no functions"


def _import(path: Path) -> ModuleType:
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file", mend=f"give FILE.py:FUNCTION, a function {SIGNATURE}")
    try:
        return load_file(path)
    except (Exception, SystemExit) as error:
        mend = "it has to import without an error first"
        if isinstance(error, ModuleNotFoundError):
            mend = f"install {error.name} into this environment"
        raise InputError(f"{path} cannot be imported: {_say(error, path)}", mend=mend) from error


def _caller(function: Any, name: str, declaration: Mapping[str, Any] | None) -> Callable[..., Any]:
    """Call as declared; otherwise by name where the names are ours, in whatever order, or by position."""
    mend = f"the signature is {SIGNATURE}; declare another with --signature FILE.toml or @rino.audited"
    if not callable(function):
        raise InputError(f"{name} is a {type(function).__name__}, not a function", mend=mend)
    if inspect.isclass(function):
        raise InputError(
            f"{name} is a class, not a function", mend=f"name an instance of it that is called as {SIGNATURE}"
        )
    declaration = declaration or getattr(function, MARK, None)
    if declaration is not None:
        return declared(function, declaration, name)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return lambda *arguments: function(*arguments)
    if _binds(signature, **dict.fromkeys(ARGUMENTS)):
        return lambda *arguments: function(**dict(zip(ARGUMENTS, arguments, strict=True)))
    if _binds(signature, *ARGUMENTS):
        return lambda *arguments: function(*arguments)
    raise InputError(f"{name} takes {signature}", mend=mend)


def _binds(signature: inspect.Signature, *args: Any, **kwargs: Any) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _frameworks(names: Mapping[str, Any]) -> list[str]:
    """The likelier framework first: what the names of the loss's module come from."""
    origins = {
        (value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or "").split(".")[0]
        for value in list(names.values())
    }
    if "torch" not in origins:
        return ["jax", "torch"] if "jax" not in origins and "torch" in sys.modules else ["jax"]
    return ["jax", "torch"] if "jax" in origins else ["torch"]


def _differentiate_jax(call: Callable[..., Any], mask_type: type) -> Differentiate:
    """Uncompiled: a user's loss may branch on its mask or group ids, which only concrete arrays allow."""
    return _differentiated_by(jax.value_and_grad(_scalar_of(call)), mask_type)


def _compiled(call: Callable[..., Any], mask_type: type, plain: Differentiate) -> Differentiate:
    """Compiled, once a shape; where that cannot be, `plain`."""
    quick = _differentiated_by(
        jax.jit(jax.value_and_grad(_scalar_of(call)), compiler_options=QUICK_COMPILATION), mask_type
    )

    def differentiate(batch: Batch) -> tuple[float, np.ndarray]:
        try:
            return quick(batch)
        except Exception:
            return plain(batch)

    return differentiate


def _scalar_of(call: Callable[..., Any]) -> Callable[..., jax.Array]:
    def scalar(logp: jax.Array, *rest: jax.Array) -> jax.Array:
        result = call(logp, *rest)
        _check_scalar(result, is_array=isinstance(result, (jax.Array, float, int)), is_complex=jnp.iscomplexobj)
        return jnp.asarray(result, float)

    return scalar


def _differentiated_by(value_and_gradient: Callable[..., Any], mask_type: type) -> Differentiate:
    def differentiate(batch: Batch) -> tuple[float, np.ndarray]:
        with jax.enable_x64(True):
            rest = (jnp.asarray(x) for x in _rest(batch, mask_type))
            value, gradient = value_and_gradient(jnp.asarray(batch.logp), *rest)
            return float(value), -np.asarray(gradient, np.float64)

    return differentiate


def _mutated(call: Callable[..., Any], mask_type: type, probe: Batch) -> tuple[str, ...]:
    """The arguments that a loss in torch writes into."""
    import torch

    given = [torch.tensor(x) for x in _rest(probe, mask_type)]
    kept = [tensor.clone() for tensor in given]
    call(torch.tensor(probe.logp, requires_grad=True), *given)
    pairs = zip(ARGUMENTS[1:], kept, given, strict=True)
    return tuple(name for name, before, after in pairs if not torch.equal(before, after))


def _differentiate_torch(call: Callable[..., Any], mask_type: type) -> Differentiate:
    def differentiate(batch: Batch) -> tuple[float, np.ndarray]:
        import torch

        logp = torch.tensor(batch.logp, requires_grad=True)
        result = call(logp, *(torch.tensor(x) for x in _rest(batch, mask_type)))
        _check_scalar(result, is_array=isinstance(result, torch.Tensor), is_complex=torch.is_complex)
        if not result.requires_grad:
            return result.item(), np.zeros_like(batch.logp)
        (gradient,) = torch.autograd.grad(result, logp, allow_unused=True)
        weights = np.zeros_like(batch.logp) if gradient is None else -gradient.detach().numpy()
        return result.item(), weights

    return differentiate


def _rest(batch: Batch, mask_type: type) -> tuple[np.ndarray, ...]:
    """All arguments but `logp`, in the order of the signature."""
    mask: np.ndarray = np.asarray(batch.mask, mask_type)
    return tuple(np.asarray(x) for x in (batch.old_logp, batch.ref_logp, batch.reward, mask, batch.group))


def _check_scalar(result: Any, *, is_array: bool, is_complex: Callable[[Any], bool]) -> None:
    mend = "return one number, the loss to minimise, as the array that the framework computed"
    is_array = is_array and not isinstance(result, bool)
    if is_array and is_complex(result):
        raise LossFailure("returns a complex number", mend)
    if not is_array:
        raise LossFailure(f"returns a {type(result).__name__}", mend)
    if np.shape(result) != ():
        raise LossFailure(f"returns an array of shape {tuple(np.shape(result))}", mend)


def _with_location(
    differentiate: Differentiate, path: Path, neighbours: Callable[[Path], AbstractContextManager[None]]
) -> Differentiate:
    """Whatever the user's function raises, said in one line with the line of their file."""

    def guarded(batch: Batch) -> tuple[float, np.ndarray]:
        try:
            with neighbours(path):
                value, weights = differentiate(batch)
        except LossFailure:
            raise
        except (Exception, SystemExit) as error:
            shape = "x".join(map(str, np.shape(batch.mask)))
            mend = f"it must take {shape} log-probabilities and masks, and {len(batch.reward)} rewards and groups"
            if isinstance(error, jax.errors.TracerArrayConversionError):
                mend = "numpy has no gradient: compute with jax.numpy (or torch) all the way from logp to the loss"
            raise LossFailure(f"raises {_say(error, path)}", mend) from error
        mend = "look for 0/0, log 0 or exp of a large number"
        if not np.isfinite(value):
            raise LossFailure(f"returns {value}", mend)
        if not np.isfinite(weights).all():
            raise LossFailure("has a gradient that is not finite", mend)
        return value, weights

    return guarded


def check(loss: Loss, probe: Batch) -> None:
    """See that a loss answers, and answers alike when it is asked twice.

    Raises:
        LossFailure: it does not.
    """
    first, second = loss.differentiate(probe), loss.differentiate(probe)
    if first[0] != second[0] or not np.array_equal(first[1], second[1]):
        raise LossFailure("answers the same batch differently", "switch randomness (dropout?) off")


def _say(error: BaseException, path: Path) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:200]
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path or Path(frame.filename) == path.resolve()]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}{': ' if first else ''}{first}{place}"
