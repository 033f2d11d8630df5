"""What the paper under test reports, to stand beside our runs on the same task and model (arXiv 2505.13697, test, %).

One run each, without intervals; as its public code scores them these are mean rewards of greedy answers. Its F-ISFT
keeps GRPO's ratio and clip with other advantages: the advantage forms here. GRPO there has a KL term.
"""

from collections.abc import Mapping

SOURCE = "Published: arXiv 2505.13697, one run each, greedy; its F-ISFT is the advantage form."

RESULTS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("gsm8k", "qwen2.5-0.5b"): {"grpo-kl": 55.87, "grpo": 55.19, "f-isft-pos-adv": 51.71, "f-isft-pm-adv": 55.72},
    ("gsm8k", "qwen2.5-1.5b"): {"grpo-kl": 78.24, "grpo": 76.87, "f-isft-pos-adv": 74.98, "f-isft-pm-adv": 76.37},
    ("countdown", "qwen2.5-0.5b"): {
        "grpo-kl": 37.73,
        "grpo": 42.43,
        "f-isft-pos-adv": 44.01,
        "f-isft-neg-adv": 0.0,
        "f-isft-pm-adv": 37.86,
    },
    ("countdown", "qwen2.5-1.5b"): {
        "grpo-kl": 71.43,
        "grpo": 70.82,
        "f-isft-pos-adv": 53.57,
        "f-isft-neg-adv": 0.0,
        "f-isft-pm-adv": 65.89,
    },
    ("gsm8k", "llama-3.2-1b-instruct"): {"grpo-kl": 62.01, "f-isft-pos-adv": 57.31, "f-isft-pm-adv": 63.07},
    ("gsm8k", "llama-3.2-3b-instruct"): {"grpo-kl": 84.59, "f-isft-pos-adv": 81.95, "f-isft-pm-adv": 83.54},
    ("gsm8k", "deepseek-math-7b-instruct"): {"grpo-kl": 82.4, "ppo": 81.9, "f-isft-pm-adv": 83.7},
    ("gsm8k", "qwen3-8b"): {"grpo-kl": 92.1, "ppo": 91.8, "f-isft-pm-adv": 91.5},
}


def published(task: str, model: str, method: str) -> float | None:
    """The published value in per cent; None where there is none for this task, model and method."""
    return RESULTS.get((task.lower(), model.lower()), {}).get(method)
