"""Whole steps of TRL's GRPOTrainer: sampling with transformers, reward, loss, AdamW."""

import tempfile
import time
from typing import Any

from rino.bench.peers.answering import Caller, answer, words


def main(caller: Caller, order: dict[str, Any]) -> None:
    """Work: `step`. A turn is one optimiser step of `train()`, which waits between steps until it is asked."""
    import torch
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    work, made = order["works"]["step"], []
    prompts, generations, limit = work["prompts"], work["generations"], work["limits"][0]

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        made.append(sum(map(len, completion_ids)))
        return [float(ids[0] % 2) for ids in completion_ids]

    class Turns(TrainerCallback):
        """Holds each step until it is asked for, and answers when the optimiser has stepped."""

        start = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not caller.ask():
                raise SystemExit
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            caller.say(seconds=time.perf_counter() - self.start, tokens=made[-1])

    with tempfile.TemporaryDirectory() as folder:
        options = trl.GRPOConfig(
            output_dir=folder,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=len(work["limits"]),
            gradient_accumulation_steps=1,
            num_generations=generations,
            max_completion_length=limit,
            generation_kwargs={"min_new_tokens": limit},
            learning_rate=order["learning_rate"],
            beta=0.0,
            loss_type="grpo",
            temperature=1.0,
            max_steps=10**6,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            model_init_kwargs={"dtype": "float32"},
        )
        trainer = trl.GRPOTrainer(
            model=order["model"],
            reward_funcs=reward,
            args=options,
            train_dataset=Dataset.from_list([{"prompt": words(prompt)} for prompt in prompts]),
            processing_class=_tokenizer(order["vocabulary"]),
            callbacks=[Turns()],
        )
        sequences = torch.tensor(order["sequences"])
        with torch.no_grad():
            logp, *_ = trainer._get_per_token_logps_and_entropies(
                trainer.model, sequences, torch.ones_like(sequences), sequences.shape[1] - 1
            )
        caller.say(version=f"TRL {trl.__version__}, torch {torch.__version__}", logp=logp.tolist())
        trainer.train()


def _tokenizer(vocabulary: int) -> Any:
    """One word for each id."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({str(token): token for token in range(vocabulary)}, unk_token="0"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="0", eos_token="1")


if __name__ == "__main__":
    answer(main)
