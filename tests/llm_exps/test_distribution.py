"""Several devices need flags that are read before jax starts: this file is also the program for such processes."""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from references import make
from whole_rows import completion_logprobs

from llm_exps.distribution import initialise, make_mesh, parameter_placement, shard_rows, to_host
from llm_exps.models.huggingface import load
from llm_exps.optimiser import Settings
from llm_exps.options import OptimiserOptions
from llm_exps.sampling import Sampling, row_keys, sample
from llm_exps.update import Weights, initial_state
from rino_base.messages import InputError


def results(directory: str | Path, *, mesh_shape: str) -> dict:
    """Log-probabilities, gradients and samples of a stored model, on one device (no shape) or on a mesh of all."""
    mesh = make_mesh(mesh_shape) if mesh_shape else None
    tokens, valid = np.random.RandomState(0).randint(0, 61, (8, 12)), np.arange(12) >= np.arange(8)[:, None] % 3

    def loss(state: nnx.State, graph: nnx.GraphDef, tokens: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        logp, _ = completion_logprobs(nnx.merge(graph, state), tokens, valid, time=6, chunk=16)
        return jnp.sin(logp).sum(), logp

    with jax.set_mesh(mesh) if mesh else nullcontext():
        model, _ = load(directory, placement=parameter_placement(mesh) if mesh else None)
        graph, state = nnx.split(model)
        moments = initial_state(
            Settings.of(OptimiserOptions(learning_rate=1.0)), nnx.Param, Weights(state, None)
        ).optimiser
        matrices = [leaf for leaf in jax.tree.leaves((state, moments)) if leaf.ndim > 1]
        if mesh:
            tokens, valid = shard_rows((tokens, valid), mesh)
        gradient, logp = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(state, graph, tokens, valid)
        keys = row_keys(jax.random.key(0), jnp.arange(16))
        samples = sample(graph, state, tokens, valid, keys, Sampling(max_new_tokens=6, num_generations=2))
        rows = logp.addressable_shards[0].data.shape[0]
        gradient, logp, samples = to_host((gradient, logp, samples))
    return {
        "processes": jax.process_count(),
        "devices": jax.device_count(),
        "rows_of_a_device": rows,
        "largest_share": max(leaf.addressable_shards[0].data.size / leaf.size for leaf in matrices),
        "logp": logp.tolist(),
        "gradient": [np.asarray(leaf).ravel()[:50].tolist() for leaf in jax.tree.leaves(gradient)],
        "tokens": samples.tokens.tolist(),
    }


def start(directory: Path, mesh_shape: str, *, devices: int, **environment: str) -> subprocess.Popen[str]:
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, __file__, str(directory), mesh_shape],
        env={**os.environ, **flags, **environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make.write("qwen2-untied-mha", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def single(directory: Path) -> dict:
    return results(directory, mesh_shape="")


def assert_same(result: dict, single: dict) -> None:
    np.testing.assert_allclose(result["logp"], single["logp"], atol=1e-4)
    for ours, theirs in zip(result["gradient"], single["gradient"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert result["tokens"] == single["tokens"]


@pytest.mark.parametrize(
    ("shape", "rows", "share"),
    [
        # Matrices lie in eighths; those of the vocabulary, whose 61 rows no axis divides, in quarters.
        ("tensor=2", 8 // 4, 1 / 4),
        # Two replicas: the rows lie in eighths, the matrices in quarters.
        pytest.param("data=2,fsdp=4", 8 // 8, 1 / 4, marks=pytest.mark.slow),
    ],
)
def test_eight_devices_compute_what_one_does(directory, single, shape, rows, share) -> None:
    result = finish(start(directory, shape, devices=8))
    assert result["devices"] == 8
    assert_same(result, single)
    assert result["rows_of_a_device"] == rows
    assert result["largest_share"] == share


def test_two_processes_compute_what_one_does(directory: Path, single: dict) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [start(directory, "fsdp=4", devices=2, JAX_PROCESS_ID=str(index), **job) for index in range(2)]
    for result in map(finish, processes):
        assert (result["processes"], result["devices"]) == (2, 4)
        assert_same(result, single)


def test_wrong_layouts_are_refused() -> None:
    for shape in (
        "tensor=3",
        "data=2,fsdp=7",
        "tensor",
        "tensor=0",
        "model=2",
        "tensor=1,tensor=1",
        "fsdp=-1",
        "fsdp=²",
    ):
        with pytest.raises(InputError, match="--mesh"):
            make_mesh(shape)
    with pytest.raises(InputError, match="JAX_NUM_PROCESSES"):
        initialise({"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_PROCESS_ID": "0"})
    initialise({})  # alone: nothing happens
    assert parameter_placement(make_mesh())("layers.0.input_layernorm.scale", (8,)).is_fully_replicated


if __name__ == "__main__":
    initialise()
    print(json.dumps(results(sys.argv[1], mesh_shape=sys.argv[2])))
