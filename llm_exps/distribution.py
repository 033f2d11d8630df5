"""Many devices: a mesh of data × model axes, and where every parameter and every row lies on it.

Parameters are split over both axes: over "model" between heads, MLP columns and vocabulary (tensor parallelism), over
"data" along the other dimension (fully sharded data parallelism), so that master weights and optimiser moments shrink
with the number of devices. Rows of a batch are split over "data". XLA's partitioner derives everything else.

    initialise()
    mesh = make_mesh(model=2)
    with jax.set_mesh(mesh):
        model, config = load(directory, placement=parameter_placement(mesh))
        hidden = nnx.jit(lambda model, tokens: model(tokens))(model, shard_rows(tokens, mesh))
"""

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rino_base.messages import InputError

Tree = TypeVar("Tree")

# The last two parts of a parameter's name, and the axes of its dimensions. Everything else, the norms, is everywhere.
_RULES: dict[str, tuple[str, ...]] = {
    "embed_tokens.embedding": ("model", "data"),
    "lm_head.kernel": ("data", "model"),
    "q_proj.kernel": ("data", "model"),
    "k_proj.kernel": ("data", "model"),
    "v_proj.kernel": ("data", "model"),
    "q_proj.bias": ("model",),
    "k_proj.bias": ("model",),
    "v_proj.bias": ("model",),
    "o_proj.kernel": ("model", "data"),
    "gate_proj.kernel": ("data", "model"),
    "up_proj.kernel": ("data", "model"),
    "down_proj.kernel": ("model", "data"),
}


def initialise(environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of the job, if there are any; call it before anything else touches jax.

    Either JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID are set by hand, or SLURM, Open MPI or a TPU
    slice has started several processes, and jax finds the rest out itself.

    Raises: InputError when only some of the three variables are set or one is no number.
    """
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


def make_mesh(*, model: int = 1) -> Mesh:
    """All devices of all processes; `model` of them share a layer, the rest are replicas that share the batch.

    Raises: InputError when `model` does not divide the number of devices.
    """
    devices = jax.device_count()
    if model < 1 or devices % model:
        raise InputError(
            f"a model axis of {model} does not divide the {devices} devices", mend="choose a divisor, 1 for none"
        )
    return jax.make_mesh((devices // model, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


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
    """Split the first dimension of every array over the data axis; every process passes the whole batch.

    Raises: InputError when the rows do not divide.
    """

    def place(array: np.ndarray) -> jax.Array:
        if array.shape[0] % mesh.shape["data"]:
            raise InputError(
                f"{array.shape[0]} rows do not divide among the {mesh.shape['data']} devices of the data axis",
                mend="change the number of prompts or of generations, or make the model axis longer",
            )
        return jax.make_array_from_callback(array.shape, NamedSharding(mesh, P("data")), lambda index: array[index])

    return jax.tree.map(place, batch)


def split_rows(batch: Tree) -> Tree:
    """`shard_rows` over the mesh that is set, if one is; the batch as it is otherwise."""
    mesh = jax.sharding.get_mesh()
    return batch if mesh.empty else shard_rows(batch, mesh)


def to_host(tree: Tree) -> Tree:
    """Whole numpy arrays, in every process, of arrays that may lie on devices of others."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def keep_rows_split(x: jax.Array) -> jax.Array:
    """Inside a compiled function: hold activations split by rows, where a mesh is set and the rows divide.

    Without it the partitioner may follow the embedding, which is split along the hidden dimension, and gather the batch
    instead of the parameters.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if "data" not in mesh.axis_names or x.shape[0] % mesh.shape["data"]:
        return x
    return jax.lax.with_sharding_constraint(x, P("data"))
