"""TRL's trainers, whole: a real `GRPOTrainer` (or one of its kind) with its generation and its model replaced.

Rewards, advantages, buffering, shuffling, gradient accumulation, `num_items_in_batch` and the loss are TRL's own: an
audit calls `training_step`. Only `_generate` (which tokens were sampled) and `_get_per_token_logps_and_entropies`
(their log-probabilities) answer from the probe. The entropy is said to be 0, so an entropy bonus goes unseen.

The old policy enters a loss of TRL only where samples are used more than once: `num_iterations` is 2 here unless it is
set, so that the audit sees what the ratio does. With TRL's own default, 1, the ratio is exp(log π − sg log π) = 1.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mdp_theory.audit.frameworks.batches import Responses, Settings, Variant, Weigh

REUSED = {"num_iterations": 2}

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "default": Variant(
            settings={"num_iterations": 1}, method="dapo", note="GRPOConfig(): old log-probabilities are never read"
        ),
        "grpo": Variant(settings={"loss_type": "grpo"}, method="grpo"),
        "grpo-kl": Variant(settings={"loss_type": "grpo", "beta": 0.04}, method="grpo-kl"),
        "bnpo": Variant(settings={"loss_type": "bnpo"}, method="dapo"),
        "dr_grpo": Variant(settings={"loss_type": "dr_grpo", "scale_rewards": "none"}, method="dr-grpo"),
        "dapo": Variant(settings={"loss_type": "dapo", "epsilon_high": 0.28}, method="dapo"),
        "gspo": Variant(
            settings={
                "loss_type": "grpo",
                "importance_sampling_level": "sequence",
                "epsilon": 3e-4,
                "epsilon_high": 4e-4,
            },
            method="gspo",
        ),
        "cispo": Variant(settings={"loss_type": "cispo"}, method="cispo", note="epsilon_high left at its default"),
        "cispo-5": Variant(settings={"loss_type": "cispo", "epsilon_high": 5.0}, method="cispo"),
        "sapo": Variant(settings={"loss_type": "sapo"}, method="sapo"),
        "luspo": Variant(
            settings={"loss_type": "luspo", "importance_sampling_level": "sequence"},
            method="luspo",
        ),
        "vespo": Variant(settings={"loss_type": "vespo"}, method="vespo"),
        "scale-batch": Variant(settings={"loss_type": "grpo", "scale_rewards": "batch"}, method="grpo"),
        "two-sided": Variant(settings={"loss_type": "grpo", "delta": 3.0}, method="grpo", note="an upper bound delta"),
        "rloo": Variant(settings={"trainer": "rloo"}, method="rloo", note="RLOOConfig(): beta = 0.05 in the reward"),
        "gmpo": Variant(settings={"trainer": "gmpo"}, method="gmpo", note="trl.experimental"),
        "a2po": Variant(
            outside="trl.experimental's A2PO takes one response a prompt and a value from a stage of sampling before it"
        ),
        "tpo": Variant(outside="trl.experimental's TPO learns from preferred, rejected and gold responses"),
        "sdpo": Variant(
            outside="trl.experimental's SDPO distils the distribution of the policy given feedback; a probe holds the "
            "probabilities of sampled tokens alone"
        ),
    }
)

_TRAINERS = {
    "grpo": ("trl", "GRPOTrainer", "GRPOConfig"),
    "rloo": ("trl", "RLOOTrainer", "RLOOConfig"),
    "gmpo": ("trl.experimental.gmpo", "GMPOTrainer", "GMPOConfig"),
}


def version() -> str:
    """TRL's."""
    import trl

    return str(trl.__version__)


def load(settings: Settings, *, trainer: str | None) -> Weigh:
    """The loss of a trainer class under these settings of its configuration.

    Args:
        settings: fields of the configuration; `trainer` names one of TRL's own, `grpo` unless given.
        trainer: `FILE.py:CLASS` of a subclass of the user's.
    """
    given = dict(settings)
    module, trainer_name, config_name = _TRAINERS[given.pop("trainer", "grpo")]
    found = importlib.import_module(module)
    base, config = getattr(found, trainer_name), getattr(found, config_name)
    if trainer is not None:
        base = _load_class(trainer)
        config = _config_of(base, config)
    bench = _Bench(base, config, REUSED | given)
    return bench.weigh


def _load_class(target: str) -> Any:
    file, _, name = target.rpartition(":")
    path = Path(file).resolve()
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"audited_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name)


def _config_of(trainer: Any, fallback: Any) -> Any:
    """The configuration class that a trainer's own module imports beside its trainer, if it has one of its own."""
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    plain = RLOOConfig if issubclass(trainer, RLOOTrainer) else GRPOConfig
    if not issubclass(trainer, (GRPOTrainer, RLOOTrainer)):
        raise TypeError(f"{trainer.__name__} is no subclass of TRL's GRPOTrainer or RLOOTrainer")
    names = vars(sys.modules[trainer.__module__]).values()
    own = [c for c in names if isinstance(c, type) and issubclass(c, plain) and c.__module__ == trainer.__module__]
    return own[0] if own else plain


class _Bench:
    """Trainers with a tiny model, one for each group size and number of micro-batches."""

    def __init__(self, trainer: Any, config: Any, settings: Settings) -> None:
        self._class, self._config, self._settings = _answering(trainer), config, settings
        self._folder = tempfile.TemporaryDirectory()
        self._model = _save_tiny_model(Path(self._folder.name))
        self._trainers: dict[tuple[int, int, int], Any] = {}

    def weigh(self, responses: Responses, count: int) -> tuple[float, np.ndarray]:
        """One optimiser step's micro-batches through TRL's own `training_step`."""
        import torch

        trainer = self._trainer(len(responses.reward), responses.group_size, count)
        logp = torch.tensor(responses.logp, dtype=torch.float64, requires_grad=True)
        trainer.audited = (logp, torch.tensor(responses.old_logp), torch.tensor(responses.ref_logp), responses)
        trainer._step, trainer._buffered_inputs = 0, None
        trainer.current_gradient_accumulation_steps = count
        prompts = [{"prompt": str(row)} for row in range(len(responses.reward))]
        torch.manual_seed(0)
        value = sum(trainer.training_step(trainer.model, prompts, None).item() for _ in range(count))
        gradient = np.zeros_like(responses.logp) if logp.grad is None else logp.grad.numpy()
        return value, -gradient

    def _trainer(self, rows: int, group_size: int, count: int) -> Any:
        key = (rows, group_size, count)
        if key not in self._trainers:
            from datasets import Dataset

            arguments = {
                "output_dir": self._folder.name,
                "report_to": [],
                "use_cpu": True,
                "bf16": False,
                "gradient_checkpointing": False,
                "per_device_train_batch_size": rows // count,
                "gradient_accumulation_steps": count,
                "num_generations": group_size,
                "max_completion_length": 512,
                "disable_tqdm": True,
            }
            self._trainers[key] = self._class(
                model=str(self._model),
                reward_funcs=_Reward(self),
                args=self._config(**(arguments | dict(self._settings))),
                train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(rows)]),
            )
            self._trainers[key].create_optimizer()
        self.now = self._trainers[key]
        return self.now


class _Reward:
    """The probe's rewards, asked for as TRL asks any reward function."""

    __name__ = "reward"

    def __init__(self, bench: _Bench) -> None:
        self._bench = bench

    def __call__(self, prompts: list[str], **_: Any) -> list[float]:
        reward = self._bench.now.audited[3].reward
        return [float(reward[int(prompt)]) for prompt in prompts]


def _answering(trainer: Any) -> Any:
    """The trainer with the sampler and the model replaced by what the probe says."""
    from trl import RLOOTrainer

    few = issubclass(trainer, RLOOTrainer)  # its `_generate` knows neither tools nor images

    class Answering(trainer):  # type: ignore[misc]
        audited: Any

        def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
            rows = [int(prompt) for prompt in prompts]
            # The prompt's only token is its row, so that the order of rows can be told after TRL shuffles them.
            completions = [[2] * (int(self.audited[3].length[row]) - 1) + [1] for row in rows]
            prompt_ids, texts = [[row + 3] for row in rows], ["" for _ in rows]
            if few:
                return prompt_ids, completions, texts
            return prompt_ids, completions, None, texts, None, {}, None, None

        def _get_per_token_logps_and_entropies(
            self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *_: Any, **__: Any
        ) -> tuple[Any, Any, None]:
            import torch

            logp, old, ref, _responses = self.audited
            sampled = ref if model is self.ref_model else old
            stream = logp if torch.is_grad_enabled() else sampled
            found = stream[input_ids[:, 0] - 3, :logits_to_keep]
            return found, torch.zeros_like(found), None

    Answering.__name__ = trainer.__name__
    return Answering


def _save_tiny_model(folder: Path) -> Path:
    """A model and a tokenizer that TRL can load from a folder; they are never asked for a probability."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = {"<pad>": 0, "<eos>": 1, "<word>": 2} | {str(row): row + 3 for row in range(256)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<word>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(folder)
    size: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 1, "num_key_value_heads": 1}
    Qwen2ForCausalLM(Qwen2Config(vocab_size=len(words), **size, **heads)).save_pretrained(folder)
    return folder
