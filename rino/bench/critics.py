"""What dropping A1 buys in training: policies and critics of states against those of histories, and uniform credit.

    python -m rino.bench.critics [--json results/critics.json]

The problem is the running sum modulo 5 at horizon 8: 1,020 histories, 40 (time, state) pairs. All arms take the same
samples a step (one prompt, two responses), the same learning rate and the same seeds; success is exact, after 50, 100
and 200 steps. Uniform credit is RLOO; a critic credits by generalised advantages with λ = 0 (its values alone carry
credit from one token to the next) or λ = 0.95.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from mdp_theory.exact.critics import Critic, history_critic
from mdp_theory.exact.dynamics import Run, sampled_runs
from mdp_theory.exact.policy import Policy, StatePolicy, TabularPolicy
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.methods.objectives import Objective
from mdp_theory.problems.controls import running_sum, unroll
from rino_base.files import write_json
from rino_base.messages import print_table
from rino_base.progress import track

STEPS, POINTS, SEEDS, RATE = 200, (50, 100, 200), 32, 2.0


def actor_critic(gae_lambda: float) -> Objective:
    """PPO as catalogued, on-policy and with its tokens summed, so that it differs from RLOO in the credit alone."""
    ppo = METHODS["ppo"].objective
    return replace(ppo, aggregation="sequence-mean-token-sum", advantage=replace(ppo.advantage, gae_lambda=gae_lambda))


def main() -> None:
    """Run all arms and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("results/critics.json"))
    path = parser.parse_args().json
    unrolled = unroll(running_sum("running-sum", modulus=5, horizon=8))
    critics = {"histories": history_critic(unrolled.mdp, 0.3), "states": Critic(unrolled.state, 0.3)}
    policies: dict[str, Policy] = {"histories": TabularPolicy(), "states": StatePolicy(unrolled.state)}
    credits: list[tuple[str, float | None]] = [("uniform", None), *product(critics, (0.0, 0.95))]
    rows = []
    for policy, (critic, gae_lambda) in track(list(product(policies, credits)), description="arms"):
        objective = METHODS["rloo"].objective if gae_lambda is None else actor_critic(gae_lambda)
        found = sampled_runs(
            Run(objective, RATE),
            unrolled.mdp,
            steps=STEPS,
            num_generations=2,
            groups=1,
            seeds=range(SEEDS),
            policy=policies[policy],
            critic=critics.get(critic),
        )
        success = found.success[:, list(POINTS)]
        rows.append(
            {
                "policy_of": policy,
                "critic_of": critic if critic in critics else None,
                "gae_lambda": gae_lambda,
                "success": success.mean(axis=0).tolist(),
                "standard_error": (success.std(axis=0, ddof=1) / np.sqrt(SEEDS)).tolist(),
            }
        )
    columns = ["policy of", "critic of", "λ", *(f"success at {step}" for step in POINTS), "standard error at 50"]
    print_table(
        f"Running sum modulo 5, horizon 8, {SEEDS} seeds",
        columns,
        [
            [row["policy_of"], row["critic_of"], row["gae_lambda"], *row["success"], row["standard_error"][0]]
            for row in rows
        ],
    )
    write_json(path, {"learning_rate": RATE, "seeds": SEEDS, "steps": list(POINTS), "arms": rows})


if __name__ == "__main__":
    main()
