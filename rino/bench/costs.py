"""What exactness costs: responses from 10³ to 10⁹⁹ on trees and graphs, and reward levels against group sizes.

    python -m rino.bench.costs [--json results/costs.json]

The problem of the first table is the running sum modulo 7: its tree has a prefix for every history, its graph seven
states a time. Where both fit, `largest_difference` compares the two gradients, the tree's added up over the histories
of a state. The second table is one group rule, GRPO's, on equally spaced rewards and lengths up to 8, on-policy.
"""

import argparse
import platform
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mdp_theory.exact import population
from mdp_theory.exact.groups import count_compositions
from mdp_theory.exact.policy import TabularPolicy
from mdp_theory.exact.rules import outcome_table, rule_of
from mdp_theory.methods.catalogue import METHODS
from mdp_theory.problems import graph, zoo
from mdp_theory.problems.controls import running_sum, unroll
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.tree import EdgeLevels
from rino.bench.population import best_time
from rino_base.files import write_json
from rino_base.messages import print_table
from rino_base.progress import track

HORIZONS = (8, 12, 16, 20, 28, 40, 100, 324)
LARGEST_TREE = 17
GROUP_SIZE = 64
GRIDS = ((2, 64), (2, 1024), (3, 64), (3, 1024), (5, 64), (11, 8), (11, 64), (11, 256), (101, 64))
LENGTHS = 8


def gradient(mdp: TokenMDP, logits: EdgeLevels) -> EdgeLevels:
    """GRPO's expected gradient."""
    return population.expected_gradient(METHODS["grpo"].objective, mdp, logits, num_generations=GROUP_SIZE)


def by_size(horizon: int) -> dict[str, Any]:
    """Seconds for the graph and, where it fits, for the tree."""
    control = running_sum("sum", modulus=7, horizon=horizon)
    mdp = graph.from_control(control)
    logits = TabularPolicy().init(mdp, 0)
    row: dict[str, Any] = {
        "horizon": horizon,
        "responses": float(mdp.num_responses),
        "states": mdp.num_prefixes,
        "graph_seconds": best_time(partial(gradient, mdp, logits)),
        "tree_seconds": None,
        "largest_difference": None,
    }
    if horizon <= LARGEST_TREE:
        assert mdp.moves is not None
        unrolled = unroll(control)
        places = np.array([mdp.moves.names.index(f"(0, {state})") for state in range(7)])
        nodes = [places[level % 7] for level in unrolled.state]
        prompt = np.arange(len(mdp.prompts))[:, None]
        deep = tuple(level[prompt, node] for level, node in zip(logits, nodes, strict=True))
        row["tree_seconds"] = best_time(partial(gradient, unrolled.mdp, deep))
        gap = 0.0
        found = zip(gradient(mdp, logits), gradient(unrolled.mdp, deep), nodes, strict=True)
        for shared, separate, node in found:
            total = np.zeros_like(shared)
            np.add.at(total, (prompt, node), separate)
            gap = max(gap, float(np.abs(total - shared).max()))
        row["largest_difference"] = gap
    return row


def by_levels(levels: int, size: int) -> dict[str, Any]:
    """Seconds for the expected weights of one rule."""
    rewards = np.linspace(0, 1, levels)
    chance = np.random.default_rng(0).dirichlet(np.ones(levels * LENGTHS)).reshape(1, levels, LENGTHS)

    def table() -> object:
        objective = METHODS["grpo"].objective
        rule = rule_of(objective, rewards, LENGTHS, num_generations=size, apart=False, chance=chance.sum(axis=2))
        return outcome_table(rule, chance, num_generations=size)

    return {
        "levels": levels,
        "num_generations": size,
        "compositions": float(count_compositions(size, levels)),
        "seconds": best_time(table),
    }


def grids() -> list[dict[str, Any]]:
    """The zoo's graphs, in seconds."""
    rows = []
    for name in ("long-sum", "counted-brackets", "grid-walk"):
        mdp = zoo.load(name)
        assert isinstance(mdp, TokenMDP)
        seconds = best_time(partial(gradient, mdp, TabularPolicy().init(mdp, 0)))
        rows.append({"problem": name, "responses": float(mdp.num_responses), "seconds": seconds})
    return rows


def main() -> None:
    """Print the tables, and write them if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the numbers here")
    json = parser.parse_args().json
    sizes = [by_size(horizon) for horizon in track(HORIZONS, description="responses")]
    levels = [by_levels(*pair) for pair in track(GRIDS, description="reward levels")]
    zoo_rows = grids()
    print_table(
        f"GRPO's exact gradient, G = {GROUP_SIZE}: the running sum modulo 7",
        ["horizon", "responses", "(time, state) pairs", "graph, s", "tree, s", "largest difference"],
        [tuple(row.values()) for row in sizes],
    )
    print_table("The zoo's graphs", ["problem", "responses", "s"], [tuple(row.values()) for row in zoo_rows])
    print_table(
        "GRPO's expected weights by reward level and length",
        ["reward levels", "G", "compositions", "s"],
        [tuple(row.values()) for row in levels],
    )
    if json is not None:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__}
        write_json(json, {"num_generations": GROUP_SIZE, **machine, "sizes": sizes, "zoo": zoo_rows, "levels": levels})


if __name__ == "__main__":
    main()
