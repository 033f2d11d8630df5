"""Memory, arithmetic and traffic of one update per device, at published sizes and on many devices, without allocating.

    python -m rino.bench.scaling [--json results/scaling.json]

The update's gradient and the optimiser's step are compiled for virtual devices, and XLA's own analyses of the compiled
programs are read: bytes of arguments and of scratch memory, floating-point operations, and the bytes that collectives
bring in. Programs are compiled at two depths, and every number is extrapolated to the published depth, in which it is
linear. The compiler is that of the CPU: it fuses no attention and saves little by rematerialisation, so that scratch
memory is an upper bound; arguments, arithmetic and collectives are those of any device.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from rino_base.files import write_json
from rino_base.messages import print_table
from rino_base.progress import track

# Published sizes of Qwen2.5: hidden, MLP, layers, query heads, key-value heads, width of a head; all but 1.5B untied.
SHAPES: dict[str, tuple[int, int, int, int, int, int, bool]] = {
    "1.5B": (1536, 8960, 28, 12, 2, 128, True),
    "7B": (3584, 18944, 28, 28, 4, 128, False),
    "32B": (5120, 27648, 64, 40, 8, 128, False),
}
DEVICES = (1, 8, 64, 256)
DEPTHS = (2, 4)
LENGTH = 2048
_FIELDS = ("arguments", "scratch", "flops", "collective")
_WIDTHS = {"f32": 4, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "pred": 1, "s8": 1, "u8": 1}
_COLLECTIVE = re.compile(
    r"= (\(?[^=]*?) (?:all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_ARRAY = re.compile(r"\b(f32|bf16|f16|s32|u32|pred|s8|u8)\[([0-9,]*)\]")


def analyse(shape: str, depth: int) -> dict[str, float]:
    """One size at one depth on all virtual devices of this process, one row of `LENGTH` tokens a device."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from llm_exps.distribution import ROWS, make_mesh, parameter_placement, row_shares
    from llm_exps.evidence import Evidence, Rollout
    from llm_exps.gradient import gradient
    from llm_exps.learner import Learner
    from llm_exps.models.config import DecoderConfig
    from llm_exps.models.decoder import Decoder
    from llm_exps.optimiser import Settings
    from llm_exps.options import OptimiserOptions
    from llm_exps.update import Weights, lower_update
    from mdp_theory.methods.catalogue import get
    from mdp_theory.methods.credit import Credit

    hidden, mlp, _, heads, kv_heads, width, tied = SHAPES[shape]
    config = DecoderConfig(
        architecture="qwen2",
        vocabulary_size=152_064,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_layers=depth,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=width,
        tie_embeddings=tied,
    )
    mesh = make_mesh()
    place = parameter_placement(mesh)
    model = Decoder.abstract(config, dtype=jnp.bfloat16, remat=True)
    graph, abstract = nnx.split(model)

    def placed(path: Any, leaf: Any) -> Any:
        sharding = place(".".join(map(str, path)), leaf.shape)
        return path, leaf.replace(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding))

    params = nnx.from_flat_state([placed(path, leaf) for path, leaf in nnx.to_flat_state(abstract)])
    rows, prompt = row_shares(mesh), LENGTH // 4
    split = jax.sharding.NamedSharding(mesh, ROWS)

    def array(*sizes: int, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct((rows, *sizes), dtype, sharding=split)

    time = LENGTH - prompt
    tokens, valid = array(LENGTH, dtype=jnp.int32), array(LENGTH, dtype=bool)
    rollout = Rollout(tokens, valid, array(time), array(time), array(), array(dtype=jnp.int32))
    options = OptimiserOptions(learning_rate=1e-6)
    learner = Learner(graph=graph, objective=get("grpo").objective, options=options, temperature=1.0, chunk=1024)
    with jax.set_mesh(mesh):
        weights, credit = Weights(params, None), Credit(array(time), array(time))
        program = learner.program
        compiled = [
            gradient.whole.lower(program, learner.objective, weights, rollout, Evidence(None, None), credit, None)
        ]
        state = jax.eval_shape(learner.init, params)
        state = state._replace(weights=weights, optimiser=_like(state.optimiser, params))
        compiled += lower_update(Settings.of(options), nnx.Param, state, weights)
        return _read([lowered.compile() for lowered in compiled])


def _like(optimiser: Any, params: Any) -> Any:
    """The optimiser's moments laid out as the parameters are."""
    import jax

    shardings = {(leaf.shape, leaf.dtype): leaf.sharding for leaf in jax.tree.leaves(params)}
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shardings.get((leaf.shape, leaf.dtype))),
        optimiser,
    )


def _read(programs: list[Any]) -> dict[str, float]:
    gradient, *updates = (program.memory_analysis() for program in programs)
    return {
        # What lies there between the two: weights and moments (the update's arguments hold the gradient besides).
        "arguments": sum(update.argument_size_in_bytes for update in updates),
        "scratch": max(program.temp_size_in_bytes for program in (gradient, *updates)),
        "flops": sum((program.cost_analysis() or {}).get("flops", 0.0) for program in programs),
        "collective": sum(collective_bytes(program.as_text()) for program in programs),
    }


def collective_bytes(text: str) -> int:
    """Bytes that the collectives of a compiled program leave on one device; a loop's are counted once."""
    total = 0
    for found in _COLLECTIVE.finditer(text):
        for kind, sizes in _ARRAY.findall(found[1]):
            size = _WIDTHS[kind]
            for number in filter(None, sizes.split(",")):
                size *= int(number)
            total += size
    return total


def extrapolate(shape: str, measured: dict[int, dict[str, float]]) -> dict[str, float]:
    """Every number at the published depth, from two depths."""
    low, high = DEPTHS
    depth = SHAPES[shape][2]
    return {
        name: measured[low][name] + (measured[high][name] - measured[low][name]) * (depth - low) / (high - low)
        for name in _FIELDS
    }


def _apart(shape: str, devices: int) -> dict[str, float]:
    """One size on so many virtual devices, which a process has to ask for before jax starts."""
    import json

    flags = f"--xla_force_host_platform_device_count={devices}"
    measured = {}
    for depth in DEPTHS:
        done = subprocess.run(
            [sys.executable, "-m", "rino.bench.scaling", "--one", shape, str(depth)],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        measured[depth] = json.loads(done.stdout.splitlines()[-1])
    return extrapolate(shape, measured)


def main() -> None:
    """Analyse every size on every number of devices."""
    import json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "DEPTH"), help="one program, in this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(analyse(given.one[0], int(given.one[1]))))
        return
    cases = [(shape, devices) for shape in SHAPES for devices in DEVICES]
    results: list[dict[str, Any]] = [
        {"shape": shape, "devices": devices, **_apart(shape, devices)}
        for shape, devices in track(cases, description="compiling")
    ]
    gib = 2**30
    print_table(
        f"one update, a row of {LENGTH} tokens a device, bfloat16 compute, per device",
        ("model", "devices", "weights, gradient, moments: GiB", "scratch: GiB", "TFLOP", "collectives: GB"),
        [
            (
                row["shape"],
                row["devices"],
                row["arguments"] / gib,
                row["scratch"] / gib,
                row["flops"] / 1e12,
                row["collective"] / 1e9,
            )
            for row in results
        ],
    )
    if given.json:
        write_json(given.json, {"length": LENGTH, "depths": DEPTHS, "results": results})


if __name__ == "__main__":
    main()
