"""The theory as a prediction: what every prompt gains in a method's next step, predicted beside measured.

    python results/prediction.py MODEL [--prompts 48] [--out prediction.json]

One step of plain SGD by rino's own learner, averaged over batches of fresh responses, against the exact rule and the
model's sampled gradients (llm_exps/prediction.py); then ten such steps on end, measured by fresh responses. Minutes.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np

from llm_exps.learner import Learner
from llm_exps.options import EvaluationOptions, OptimiserOptions, RunOptions, SamplingOptions
from llm_exps.prediction import (
    Prompts,
    after_steps,
    mean_update,
    measured_change,
    moved_params,
    predicted_change,
    prompt_gradients,
    response_weights,
)
from llm_exps.prepare import prepare_run
from llm_exps.rollout import Actor, collect, step_key
from llm_exps.setup import Setup
from mdp_theory.methods.catalogue import get
from rino_base.files import write_json
from rino_base.progress import track

METHODS = ("grpo", "dr-grpo", "rloo", "maxrl", "f-isft-pm", "f-isft-pos", "f-isft-neg")
GROUP, AT_ONCE = 8, 64
ONE, TEN = "one step", "ten steps"
REACH = {ONE: 0.02, TEN: 0.15}
"""What the prompt that moves most is predicted to gain: decides the learning rate, the same way for every method."""

QUANTITIES: dict[str, Callable[[Prompts], np.ndarray]] = {
    "success": lambda sample: sample.right,
    "length": lambda sample: sample.length,
}


def main(
    model: str,
    *,
    task: str = "countdown-small",
    prompts: int = 48,
    responses: int = 512,
    batches: int = 16,
    methods: Annotated[tuple[str, ...], cyclopts.Parameter(consume_multiple=True)] = METHODS,
    seed: int = 0,
    out: Path = Path("prediction.json"),
) -> None:
    """Predict and measure for every method, and write both to `out`."""
    optimiser = OptimiserOptions(
        optimiser="sgd", learning_rate=1.0, max_grad_norm=0.0, micro_batch_size=prompts * GROUP
    )
    options = RunOptions(
        num_prompts=prompts,
        seed=seed,
        sampling=SamplingOptions(num_generations=GROUP),
        evaluation=EvaluationOptions(eval_prompts=8),
        optimiser=optimiser,
    )
    setup, options = prepare_run(model, task, options)
    problems = setup.task.prompts_for_step(seed, 0, prompts)

    def draw(params: Any, stream: int, copies: int) -> Prompts:
        sampling = dataclasses.replace(options.sampling, num_generations=min(copies, AT_ONCE))
        actor = Actor(setup.graph, setup.tokenizer, setup.stop_tokens, sampling)
        keys = [step_key(seed, number, stream) for number in range(max(copies // AT_ONCE, 1))]
        return Prompts.joined([Prompts.of(collect(actor, params, problems, setup.rewards, key)[0]) for key in keys])

    start = setup.params
    samples = [draw(start, 10 + number, responses) for number in track(range(4), description="responses")]
    first, second, third, fourth = samples
    success = np.mean([sample.success for sample in (first, second)], axis=0)
    gradients = {
        name: prompt_gradients(_learner(setup, options, "grpo"), start, first, of(first))
        for name, of in QUANTITIES.items()
    }
    rows = []
    for name in track(methods, description="methods"):
        learner = _learner(setup, options, name)
        weight = response_weights(learner.objective, second, success, num_generations=GROUP)
        update = prompt_gradients(learner, start, second, weight)
        step = mean_update(learner, start, [draw(start, 100 + number, GROUP).rollout for number in range(batches)])
        for horizon, reach in REACH.items():
            rate = reach / float(np.abs(predicted_change(gradients["success"], update, 1.0)).max())
            if horizon == ONE:
                after = moved_params(start, step * rate)
            else:
                slow = dataclasses.replace(learner.options, learning_rate=rate / 10)
                own = dataclasses.replace(learner, options=slow, steps=10)
                after = after_steps(own, start, 10, lambda now, number: draw(now, 200 + number, GROUP).rollout)
                fresh = draw(after, 300, responses)
            for quantity, of in QUANTITIES.items():
                if quantity == "length" and of(first).std() < 0.5:
                    continue  # responses of one length
                predicted = predicted_change(gradients[quantity], update, rate)
                if horizon == ONE:
                    measured = measured_change(learner, start, after, third, of(third))
                else:
                    measured = of(fresh).mean(axis=1) - of(fourth).mean(axis=1)
                where = {"method": name, "title": get(name).title, "horizon": horizon, "quantity": quantity}
                rows.append(where | _compared(rate if horizon == ONE else rate / 10, predicted, measured))
    head = {"model": Path(model).name, "task": task, "num_generations": GROUP, "responses": responses, "seed": seed}
    write_json(out, head | {"batches": batches, "prompts": problems.prompts, "success": success.tolist(), "rows": rows})


def _learner(setup: Setup, options: RunOptions, name: str) -> Learner:
    objective = get(name).objective
    if objective.aggregation == "sequence-mean-token-sum-norm":
        objective = dataclasses.replace(objective, max_completion_length=options.sampling.max_completion_length)
    return Learner(
        graph=setup.graph,
        objective=objective,
        options=options.optimiser,
        temperature=options.sampling.temperature,
        chunk=options.logprob_chunk,
    )


def _compared(rate: float, predicted: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    return {
        "learning_rate": rate,
        "predicted": predicted.tolist(),
        "measured": measured.tolist(),
        "correlation": float(np.corrcoef(predicted, measured)[0, 1]),
        "slope": float(np.polyfit(predicted, measured, 1)[0]),
    }


if __name__ == "__main__":
    cyclopts.run(main)
