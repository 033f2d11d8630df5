"""`generate` of transformers, in PyTorch."""

import time
from typing import Any

from rino.bench.peers.answering import Caller, answer


def main(caller: Caller, order: dict[str, Any]) -> None:
    """Works: `equal`, and `ragged`, in which every row has a length of its own and the batch runs to the longest."""
    import torch
    import transformers

    class Lengths(transformers.StoppingCriteria):
        """Ends each row at its own length, as an end-of-sequence token would."""

        def __init__(self, prompt: int, limits: list[int]) -> None:
            self.ends = prompt + torch.tensor(limits)

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return input_ids.shape[1] >= self.ends

    model = transformers.AutoModelForCausalLM.from_pretrained(order["model"], dtype=torch.float32).eval()
    # Rows end where the work says, never by chance.
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        sequences = torch.tensor(order["sequences"])
        logp = model(sequences).logits[:, :-1].log_softmax(-1).gather(-1, sequences[:, 1:, None])[..., 0]
    caller.say(version=f"transformers {transformers.__version__}, torch {torch.__version__}", logp=logp.tolist())
    while turn := caller.ask():
        work = order["works"][turn["work"]]
        prompts, limits = torch.tensor(work["prompts"]), work["limits"]
        ragged = len(set(limits)) > 1
        criteria = transformers.StoppingCriteriaList([Lengths(prompts.shape[1], limits)] if ragged else [])
        start = time.perf_counter()
        with torch.no_grad():
            drawn = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=work["generations"],
                max_new_tokens=max(limits),
                stopping_criteria=criteria,
                pad_token_id=0,
            )
        seconds = time.perf_counter() - start
        made = drawn.shape[1] - prompts.shape[1]
        caller.say(seconds=seconds, tokens=sum(min(made, limit) for limit in limits))


if __name__ == "__main__":
    answer(main)
