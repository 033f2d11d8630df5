"""What distinguishes the supported architectures, Qwen2/Qwen2.5, Qwen3 and Llama, read from a `config.json`.

The three differ in four switches only: a bias on q, k and v (Qwen2), RMSNorm on the heads of q and k (Qwen3), scaled
rotary frequencies (Llama-3.1 and later), and whether the output head is the embedding (tied). Everything else is size.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rino_base.messages import InputError

Architecture = Literal["qwen2", "qwen3", "llama"]

CLASS_NAMES: dict[Architecture, str] = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}


@dataclass(frozen=True)
class RopeScaling:
    """Llama-3.1's rescaling of the rotary frequencies, for contexts longer than those of pre-training.

    Frequencies with a wavelength (in tokens) above `original_max_positions / low_freq_factor` are divided by `factor`,
    those below `original_max_positions / high_freq_factor` are kept, and those between are interpolated.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes and switches of one decoder. Hashable, so that it can be a static part of a compiled function.

    `eos_token_ids` is a tuple because published models stop at several tokens (Llama-3.2-Instruct at three).
    """

    architecture: Architecture
    vocabulary_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-6
    tie_embeddings: bool = False
    max_positions: int = 32_768
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    pad_token_id: int | None = None
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name, value in self._sizes().items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
                raise _wrong(name, value, "a whole number of at least 1")
        for name, number in self._numbers().items():
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
                raise _wrong(name, number, "a number above 0")
        if not isinstance(self.tie_embeddings, bool):
            raise _wrong("tie_word_embeddings", self.tie_embeddings, "true or false")
        tokens: list[tuple[str, Any]] = [("eos_token_id", token) for token in self.eos_token_ids]
        tokens += [("bos_token_id", self.bos_token_id), ("pad_token_id", self.pad_token_id)]
        tokens = [pair for pair in tokens if pair[0] == "eos_token_id" or pair[1] is not None]
        for name, token in tokens:
            if isinstance(token, bool) or not isinstance(token, int):
                raise _wrong(name, token, "a token id")
            if name == "eos_token_id" and not 0 <= token < self.vocabulary_size:
                raise _wrong(name, token, f"a token id from 0 to {self.vocabulary_size - 1}")
        if self.num_heads % self.num_kv_heads:
            raise InputError(
                f"num_key_value_heads, {self.num_kv_heads}, does not divide num_attention_heads, {self.num_heads}",
                mend="give every key-value head the same number of query heads",
            )
        if self.head_dim % 2:
            raise InputError(
                f"head_dim is {self.head_dim}, and rotary position embedding needs an even one",
                mend="change head_dim, or hidden_size and num_attention_heads",
            )

    def _sizes(self) -> dict[str, Any]:
        return {
            "vocab_size": self.vocabulary_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_positions,
        }

    def _numbers(self) -> dict[str, Any]:
        return {
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.norm_eps,
            "initializer_range": self.initializer_range,
        } | ({} if self.rope_scaling is None else vars(self.rope_scaling))

    @property
    def qkv_bias(self) -> bool:
        """Whether q, k and v have a bias: Qwen2 and Qwen2.5 alone."""
        return self.architecture == "qwen2"

    @property
    def qk_norm(self) -> bool:
        """Whether the heads of q and k pass through an RMSNorm: Qwen3 alone."""
        return self.architecture == "qwen3"

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> "DecoderConfig":
        """Read the dictionary of a `config.json`, as published (`rope_theta`) or as transformers 5 has it
        (`rope_parameters`).

        Raises: InputError for an architecture, or a switch of one, that the decoder does not implement, and for a
            missing entry.
        """
        architecture = config.get("model_type")
        if not isinstance(architecture, str) or architecture not in CLASS_NAMES:
            raise InputError(
                f"config.json has model_type {architecture!r}, which is not one of {', '.join(CLASS_NAMES)}",
                mend="use a Qwen2, Qwen2.5, Qwen3 or Llama-3.2 checkpoint",
            )
        _refuse_unsupported(config)
        try:
            hidden_size, num_heads = config["hidden_size"], config["num_attention_heads"]
            rope = _rope_parameters(config)
            # Qwen3's class has this default; the others derive it.
            head_dim = config.get("head_dim")
            if head_dim is None:
                head_dim = 128 if architecture == "qwen3" else _quotient(hidden_size, num_heads)
            kv_heads = config.get("num_key_value_heads")
            return cls(
                architecture=architecture,
                vocabulary_size=config["vocab_size"],
                hidden_size=hidden_size,
                intermediate_size=config["intermediate_size"],
                num_layers=config["num_hidden_layers"],
                num_heads=num_heads,
                num_kv_heads=num_heads if kv_heads is None else kv_heads,
                head_dim=head_dim,
                rope_theta=rope.get("rope_theta", 10_000.0),
                rope_scaling=_rope_scaling(rope, config),
                norm_eps=config.get("rms_norm_eps", 1e-6),
                tie_embeddings=config.get("tie_word_embeddings", False),
                max_positions=config.get("max_position_embeddings", 32_768),
                bos_token_id=config.get("bos_token_id"),
                eos_token_ids=token_ids(config.get("eos_token_id")),
                pad_token_id=config.get("pad_token_id"),
                initializer_range=config.get("initializer_range", 0.02),
            )
        except KeyError as error:
            raise InputError(
                f"config.json has no entry {error.args[0]!r}", mend="take the config.json that belongs to the weights"
            ) from None

    def to_huggingface(self, dtype: str) -> dict[str, Any]:
        """The dictionary of a `config.json` in the published form, which transformers 4 and 5 and vLLM all read.

        `dtype` is the stored type of the weights: "float32", "bfloat16" or "float16".
        """
        eos: int | list[int] | None = list(self.eos_token_ids) or None
        if len(self.eos_token_ids) == 1:
            eos = self.eos_token_ids[0]
        config: dict[str, Any] = {
            "architectures": [CLASS_NAMES[self.architecture]],
            "model_type": self.architecture,
            "vocab_size": self.vocabulary_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_embeddings,
            "max_position_embeddings": self.max_positions,
            "initializer_range": self.initializer_range,
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token_id,
            "use_cache": True,
            "torch_dtype": dtype,
        }
        if self.rope_scaling is not None:
            config["rope_scaling"] = {
                "rope_type": "llama3",
                "factor": self.rope_scaling.factor,
                "low_freq_factor": self.rope_scaling.low_freq_factor,
                "high_freq_factor": self.rope_scaling.high_freq_factor,
                "original_max_position_embeddings": self.rope_scaling.original_max_positions,
            }
        if self.architecture == "llama":
            config |= {"attention_bias": False, "mlp_bias": False}
        elif self.architecture == "qwen3":
            config |= {"attention_bias": False}
        if self.architecture != "llama":
            config |= {"use_sliding_window": False}
        return config


def token_ids(value: Any) -> tuple[Any, ...]:
    """The entry `eos_token_id` as a tuple: it may be missing, one token or a list of them."""
    return () if value is None else tuple(value) if isinstance(value, list) else (value,)


def _quotient(hidden_size: Any, num_heads: Any) -> Any:
    """The width of a head; 1 where sizes are no numbers, which is said when they are checked."""
    whole = all(isinstance(size, int) and size > 0 for size in (hidden_size, num_heads))
    return max(hidden_size // num_heads, 1) if whole else 1


def _wrong(name: str, value: Any, rule: str) -> InputError:
    return InputError(
        f"config.json has {name} = {repr(value)[:40]}, and it has to be {rule}",
        mend="take the config.json that belongs to the weights",
    )


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    """Switches that the published Qwen2.5, Qwen3 and Llama-3.2 models leave at the only value implemented here."""
    expected: dict[str, Any] = {
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
        "quantization_config": None,
    }
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise InputError(
                f"config.json has {name} = {config[name]!r}, and only {value!r} is supported",
                mend="use an unmodified Qwen2, Qwen2.5, Qwen3 or Llama-3.2 checkpoint",
            )


def _rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary settings in one dictionary, from either form of config.json."""
    rope: dict[str, Any] = {"rope_theta": config["rope_theta"]} if "rope_theta" in config else {}
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(config.get(name) or {}, Mapping):
            raise _wrong(name, config[name], "a table")
    return rope | dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})


def _rope_scaling(rope: Mapping[str, Any], config: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default" and rope.get("partial_rotary_factor", 1.0) == 1.0:
        return None
    if kind != "llama3":
        raise InputError(
            f"config.json has rotary embeddings of type {kind!r}, and only 'default' and 'llama3' are supported",
            mend="remove rope_scaling from config.json if contexts stay within the length of pre-training",
        )
    return RopeScaling(
        factor=rope["factor"],
        low_freq_factor=rope["low_freq_factor"],
        high_freq_factor=rope["high_freq_factor"],
        original_max_positions=rope.get("original_max_position_embeddings") or config["max_position_embeddings"],
    )
