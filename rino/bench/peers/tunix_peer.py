"""google-tunix: its sampler, and whole steps of its GRPOLearner.

Its sampler repeats the same noise when no seed is given; every turn gives one.
"""

import json
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from rino.bench.peers.answering import Caller, answer, words

# No token has this number, so that rows end at the limit alone.
_NEVER = [-1]


class _Words:
    """A tokenizer with one word for each id."""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: list[int], **_: Any) -> str:
        return words(ids)

    def bos_id(self) -> None:
        return None

    def eos_id(self) -> int:
        return 1

    def pad_id(self) -> int:
        return 0


def main(caller: Caller, order: dict[str, Any]) -> None:
    """Works: `equal`; then `step`, of which a turn is one update of `train()`."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from tunix.generate import sampler as sampling
    from tunix.models.qwen2 import model as qwen2
    from tunix.models.qwen2 import params
    from tunix.rl import common, rl_cluster
    from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
    from tunix.rl.rollout import base_rollout

    shape = json.loads((Path(order["model"]) / "config.json").read_text(encoding="utf-8"))
    config = qwen2.ModelConfig(
        num_layers=shape["num_hidden_layers"],
        vocab_size=shape["vocab_size"],
        embed_dim=shape["hidden_size"],
        hidden_dim=shape["intermediate_size"],
        num_heads=shape["num_attention_heads"],
        head_dim=shape.get("head_dim") or shape["hidden_size"] // shape["num_attention_heads"],
        num_kv_heads=shape["num_key_value_heads"],
        norm_eps=shape["rms_norm_eps"],
        rope_theta=(shape.get("rope_parameters") or shape)["rope_theta"],
        use_tied_embedding=shape["tie_word_embeddings"],
    )
    mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with mesh:
        model = params.create_model_from_safe_tensors(order["model"], config, mesh, dtype=jnp.float32)
    sequences = jnp.array(order["sequences"])
    logp = common.compute_per_token_logps(
        *_split(model), sequences[:, :1], sequences[:, 1:], pad_id=-1, eos_id=-1, stop_gradient=True
    )
    logp = logp[0] if isinstance(logp, tuple) else logp
    caller.say(version=f"google-tunix {metadata.version('google-tunix')}", logp=np.asarray(logp).tolist())

    work = order["works"]["equal"]
    length, limit = len(work["prompts"][0]), work["limits"][0]
    texts = [words(prompt) for prompt in work["prompts"] for _ in range(work["generations"])]
    cache = sampling.CacheConfig(length + limit + 8, config.num_layers, config.num_kv_heads, config.head_dim)
    sampler = sampling.Sampler(model, _Words(), cache)
    seed, turn = 0, caller.ask()
    while turn.get("work") == "equal":
        seed += 1
        start = time.perf_counter()
        drawn = sampler(
            texts, limit, max_prompt_length=length, temperature=1.0, top_p=1.0, seed=seed, eos_tokens=_NEVER
        )
        caller.say(seconds=time.perf_counter() - start, tokens=sum(map(len, drawn.tokens)))
        turn = caller.ask()
    if not turn:
        return
    work = order["works"]["step"]
    length, limit = len(work["prompts"][0]), work["limits"][0]
    made: list[int] = []

    def reward(prompts: Any, completions: list[str], **_: Any) -> list[float]:
        made.append(sum(len(text.split()) for text in completions))
        return [float(int(text.split()[0]) % 2) for text in completions]

    role = rl_cluster.Role
    cluster = rl_cluster.RLCluster(
        actor=model,
        tokenizer=_Words(),
        cluster_config=rl_cluster.ClusterConfig(
            role_to_mesh={role.ACTOR: mesh, role.REFERENCE: mesh, role.ROLLOUT: mesh},
            training_config=rl_cluster.RLTrainingConfig(
                actor_optimizer=optax.adamw(order["learning_rate"], weight_decay=0.0),
                eval_every_n_steps=10**9,
                max_steps=10**9,
            ),
            rollout_config=base_rollout.RolloutConfig(
                max_tokens_to_generate=limit,
                max_prompt_length=length,
                kv_cache_size=length + limit + 8,
                temperature=1.0,
                top_p=1.0,
                seed=7,  # a key of jax is donated with the first step
                eos_tokens=_NEVER,
            ),
        ),
    )
    learner = GRPOLearner(cluster, GRPOConfig(num_generations=work["generations"], beta=0.0), reward)

    def batches(turn: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The same prompts at every turn. The next batch is asked for when the step before is done."""
        while turn:
            start = time.perf_counter()
            yield {"prompts": np.array([words(prompt) for prompt in work["prompts"]])}
            jax.block_until_ready(jax.tree.leaves(_split(cluster.actor_trainer.model)[1]))
            caller.say(seconds=time.perf_counter() - start, tokens=made[-1])
            turn = caller.ask()

    learner.train(batches(turn))


def _split(model: Any) -> Any:
    from flax import nnx

    return nnx.split(model)


if __name__ == "__main__":
    answer(main)
