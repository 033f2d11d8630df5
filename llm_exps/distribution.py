"""Many devices: a mesh of data × fsdp × tensor axes, and where every parameter and every row lies on it.

Parameters are split over two axes: over "tensor" between heads, MLP columns and vocabulary (tensor parallelism), over
"fsdp" along the other dimension (fully sharded data parallelism), so that master weights and optimiser moments shrink
with the number of devices. "data" counts whole replicas, for hosts that are far apart. Rows of a batch are split over
"data" and "fsdp". XLA's partitioner derives everything else.

    initialise()
    mesh = make_mesh("fsdp=4,tensor=2")
    with jax.set_mesh(mesh):
        model, config = load(directory, placement=parameter_placement(mesh))
        hidden = nnx.jit(lambda model, tokens: model(tokens))(model, shard_rows(tokens, mesh))
"""

import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rino_base.messages import InputError

Tree = TypeVar("Tree")
Given = ParamSpec("Given")
Result = TypeVar("Result")
AXES = ("data", "fsdp", "tensor")
ROWS = P(("data", "fsdp"))
"""How the rows of a batch are split."""

# The last two parts of a parameter's name, and the axes of its dimensions. Everything else, the norms, is everywhere.
_RULES: dict[str, tuple[str, ...]] = {
    "embed_tokens.embedding": ("tensor", "fsdp"),
    "lm_head.kernel": ("fsdp", "tensor"),
    "q_proj.kernel": ("fsdp", "tensor"),
    "k_proj.kernel": ("fsdp", "tensor"),
    "v_proj.kernel": ("fsdp", "tensor"),
    "q_proj.bias": ("tensor",),
    "k_proj.bias": ("tensor",),
    "v_proj.bias": ("tensor",),
    "o_proj.kernel": ("tensor", "fsdp"),
    "gate_proj.kernel": ("fsdp", "tensor"),
    "up_proj.kernel": ("fsdp", "tensor"),
    "down_proj.kernel": ("tensor", "fsdp"),
}


def initialise(environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of the job, if there are any; call it before anything else touches jax.

    Either JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID are set by hand, or SLURM, Open MPI or a TPU
    slice has started several processes, and jax finds the rest out itself.

    Raises: InputError when only some of the three variables are set or one is no number.
    """
    if jax.distributed.is_initialized():
        return
    if address := environment.get("JAX_COORDINATOR_ADDRESS"):
        try:
            count, index = int(environment["JAX_NUM_PROCESSES"]), int(environment["JAX_PROCESS_ID"])
        except (KeyError, ValueError) as error:
            raise InputError(
                f"JAX_COORDINATOR_ADDRESS is set, and JAX_NUM_PROCESSES or JAX_PROCESS_ID is missing or wrong: {error}",
                mend="set all three in every process, or none",
            ) from None
        jax.distributed.initialize(address, count, index)
    elif (
        int(environment.get("SLURM_NTASKS", 1)) > 1
        or int(environment.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    ):
        jax.distributed.initialize()


def make_mesh(shape: str | None = None) -> Mesh:
    """All devices of all processes, `data=D,fsdp=F,tensor=T`; what is not named is 1, and fsdp takes the rest.

    Raises: InputError for a malformed shape, or one of another number of devices.
    """
    devices = jax.device_count()
    sizes = _sizes(shape or "")
    if "fsdp" not in sizes:
        named = sizes.get("data", 1) * sizes.get("tensor", 1)
        sizes["fsdp"] = max(devices // named, 1)
    layout = tuple(sizes.get(axis, 1) for axis in AXES)
    if math.prod(layout) != devices:
        product = " × ".join(f"{axis} {size}" for axis, size in zip(AXES, layout, strict=True))
        raise InputError(
            f"--mesh {shape}: {product} = {math.prod(layout)} devices, and there are {devices}",
            mend="choose sizes whose product is the number of devices",
        )
    return jax.make_mesh(layout, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _sizes(shape: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for part in filter(None, shape.split(",")):
        axis, _, size = part.partition("=")
        number = int(size) if re.fullmatch("[0-9]{1,6}", size) else 0
        if axis not in AXES or axis in sizes or number < 1:
            raise InputError(
                f"--mesh {shape}: {part!r} is no axis with its size",
                mend="write data=1,fsdp=4,tensor=2: each axis once at most, sizes of at least 1",
            )
        sizes[axis] = number
    return sizes


def parameter_placement(mesh: Mesh) -> Callable[[str, tuple[int, ...]], NamedSharding]:
    """The sharding of a parameter from its name (`layers.0.mlp.up_proj.kernel`) and shape, for `huggingface.load`.

    A dimension that its axis does not divide stays whole.
    """

    def place(name: str, shape: tuple[int, ...]) -> NamedSharding:
        axes = _RULES.get(".".join(name.split(".")[-2:]), ())
        fitting = (axis if size % mesh.shape[axis] == 0 else None for axis, size in zip(axes, shape, strict=False))
        return NamedSharding(mesh, P(*fitting))

    return place


def shard_rows(batch: Tree, mesh: Mesh) -> Tree:
    """Split the first dimension of every array over data and fsdp; every process passes the whole batch.

    Raises: InputError when the rows do not divide.
    """

    shares = row_shares(mesh)

    def place(array: np.ndarray) -> jax.Array:
        if array.shape[0] % shares:
            raise InputError(
                f"{array.shape[0]} rows do not divide among the {shares} devices of the data and fsdp axes",
                mend="change the number of prompts or of generations, or put more devices on the tensor axis",
            )
        return jax.make_array_from_callback(array.shape, NamedSharding(mesh, ROWS), lambda index: array[index])

    return jax.tree.map(place, batch)


def row_shares(mesh: Mesh) -> int:
    """How many parts the rows of a batch are split into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def split_rows(batch: Tree) -> Tree:
    """`shard_rows` over the mesh that is set, if one is; the batch as it is otherwise."""
    mesh = jax.sharding.get_mesh()
    return batch if mesh.empty else shard_rows(batch, mesh)


class InParts(Generic[Given, Result]):
    """A function of compiled parts, called one after the other; where a mesh is set, compiled as a whole.

    In parts less is compiled, since layers share theirs. As a whole, what one layer sends overlaps what others compute.
    static: numbers of the arguments that are no arrays.
    """

    def __init__(self, function: Callable[Given, Result], *, static: tuple[int, ...] = ()) -> None:
        functools.update_wrapper(self, function)
        self.parts = function
        self.whole: Any = jax.jit(function, static_argnums=static)

    def __call__(self, *arguments: Given.args, **named: Given.kwargs) -> Result:
        result: Result = (self.parts if jax.sharding.get_abstract_mesh().empty else self.whole)(*arguments, **named)
        return result


def to_host(tree: Tree) -> Tree:
    """Whole numpy arrays, in every process, of arrays that may lie on devices of others; numpy arrays are whole."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    def whole(x: Any) -> Any:
        # Gathering what every process has would put the copies one behind the other.
        everywhere = not isinstance(x, jax.Array) or x.is_fully_addressable
        return jax.device_get(x) if everywhere else multihost_utils.process_allgather(x, tiled=True)

    return jax.tree.map(whole, tree)


def keep_rows_split(x: jax.Array, *, alone: bool = True) -> jax.Array:
    """Inside a compiled function: hold activations split by rows, where a mesh is set and the rows divide.

    Without it the partitioner may follow the embedding, which is split along the hidden dimension, and gather the batch
    instead of the parameters. alone: False leaves the other dimensions to the partitioner, as heads over "tensor".
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[0] % (mesh.shape["data"] * mesh.shape["fsdp"]):
        return x
    rest = () if alone else (P.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, P(*ROWS, *rest))
