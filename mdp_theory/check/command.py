"""`rino check`: hold the degeneracy claim against small MDPs, exactly.

What computes is imported when the command runs, so that `--help` is there at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rino_base.files import write_json
from rino_base.messages import format_numbers, print_table
from rino_base.progress import track

if TYPE_CHECKING:
    from mdp_theory.exact.optimisers import Kind, Optimiser
    from mdp_theory.problems.controls import Control
    from mdp_theory.problems.mdp import TokenMDP


def check(
    problem: str = "two-letter-words",
    /,
    *others: str,
    num_generations: int = 8,
    policy: str = "uniform",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
    critic: str = "exact",
    optimiser: Literal["sgd", "momentum", "adam", "adamw"] | None = None,
    steps: int = 100,
    optimiser_learning_rate: float | None = None,
    weight_decay: float = 0.0,
    max_grad_norm: float = 0.0,
    json: Path | None = None,
) -> int:
    """Check assumptions, gradient identities, c(p), Φ(p) and variances of every catalogued method on a small MDP.

    Args:
        problem: A name from the zoo, the path of a TOML file, or `all`.
        others: More problems.
        num_generations: Responses to a prompt in one group.
        policy: The policy at which everything is computed: `uniform` or `random:SEED`.
        inner_steps: Optimiser steps on one batch in the curves against inner steps.
        learning_rate: Step size of those steps.
        seed: Seed of the probe batch.
        critic: V(s) of methods with a critic: `exact`, `zero`, `noisy:ERROR:SEED` (normal errors, in units of the
            standard deviation of the return) or `fitted:N:SEED` (to N sampled responses to each prompt).
        optimiser: Also train exactly under this optimiser and under plain gradient ascent, and compare the rules.
        steps: Steps of that training.
        optimiser_learning_rate: Its learning rate. Default: 0.05 for adam and adamw, 2 for sgd and momentum.
        weight_decay: Of that optimiser: beside the gradient for adamw, inside it for the others.
        max_grad_norm: Longer gradients are scaled down to it in that training; 0 leaves them.
        json: Write the full report here: one object, or a list of objects for several problems.

    Returns:
        0 when every identity that the problem's assumptions promise holds, 1 otherwise.

    Raises:
        InputError: no such problem, or a file that is wrong.
    """
    from mdp_theory.check.report import report

    trained = _optimiser(optimiser, weight_decay, max_grad_norm)
    reports: list[dict[str, Any]] = []
    for loaded in _problems((problem, *others)):
        reports.append(
            report(
                loaded,
                num_generations=num_generations,
                policy=policy,
                inner_steps=inner_steps,
                learning_rate=learning_rate,
                seed=seed,
                critic=critic,
                optimiser=trained,
                steps=steps,
                optimiser_learning_rate=optimiser_learning_rate,
                progress=partial(track, description=loaded.name),
            )
        )
        _show(reports[-1])
    if json is not None:
        write_json(json, reports[0] if len(reports) == 1 else reports)
    return 0 if all(found["verified"] for found in reports) else 1


def _problems(names: Sequence[str]) -> list[TokenMDP | Control]:
    from mdp_theory.problems import zoo

    return [zoo.load(name) for given in names for name in (zoo.ZOO if given == "all" else [given])]


def _optimiser(kind: Kind | None, weight_decay: float, max_grad_norm: float) -> Optimiser | None:
    if kind is None:
        return None
    from mdp_theory.exact.optimisers import Optimiser

    return Optimiser(kind=kind, weight_decay=weight_decay, max_grad_norm=max_grad_norm or None)


def _show(found: dict[str, Any]) -> None:
    """Tables for a person: the problem, the methods, what inner steps do, the identities."""
    print_table(
        f"{found['problem']}: prompts under the {found['policy']} policy",
        ["prompt", "probability", "success p", "best response", "best policy"],
        [
            (prompt["text"], prompt["probability"], prompt["p"], plan, policy)
            for prompt, plan, policy in zip(
                found["prompts"], found["bandit"]["open_loop_value"], found["bandit"]["closed_loop_value"], strict=True
            )
        ],
    )
    rows = [(name, fact["holds"], fact["evidence"]) for name, fact in found["assumptions"].items()]
    print_table("Assumptions", ["assumption", "holds", "evidence"], rows)
    if found["methods"]:
        _show_methods(found)
    if found["learned_critic"] is not None:
        _show_critic(found["learned_critic"])
        _show_beyond(found)
    loss, bandit = found["claims"].values()
    claims = [
        ("the loss is weighted SFT", loss["holds"], f"relative error {_shown(loss['relative_error'])}"),
        ("the problem is a bandit", bandit["holds"], f"best policy - best plan: {format_numbers(bandit['gap'])}"),
    ]
    print_table("Two claims, kept apart", ["claim", "holds", "evidence"], claims)
    checks = found["checks"]
    failed = [(check["name"], check["error"], check["tolerance"]) for check in checks if not check["holds"]]
    if failed:
        print_table("Identities that FAIL", ["identity", "relative error", "tolerance"], failed)
    elif checks:
        worst = max(check["error"] for check in checks)
        print(f"{len(checks)} identities hold; the largest relative error is {worst:.1e}.\n")
    else:
        print("The assumptions promise nothing for this problem: no token MDP has its responses and outcomes.\n")


def _show_methods(found: dict[str, Any]) -> None:
    print_table(
        f"Methods, on-policy, G = {found['num_generations']} (– : not parallel to ∇p)",
        ["method", "c(p)", "c(p) without 1/L", "Φ(p) without 1/L", "η", "cosine to SFT", "relative error"],
        [
            (
                key,
                format_numbers(record["c"]),
                format_numbers(record["c_without_length"]),
                format_numbers(record["phi_without_length"]),
                record["credit_structure_index"],
                record["cosine"],
                record["relative_error"],
            )
            for key, record in found["methods"].items()
        ],
    )
    curves = found["inner_steps"]["methods"]
    names = ("cosine", "relative_error", "credit_structure_index", "clip_fraction")
    print_table(
        f"The same after {next(iter(curves.values()))['step'][-1]} steps on one batch",
        ["method", "cosine to SFT", "relative error", "η", "tokens clipped"],
        [(key, *(curve[name][-1] for name in names)) for key, curve in curves.items()],
    )
    spread = found["variance"]
    print_table(
        "Variance of one sample's gradient, by what a token is credited with (mean over prompts)",
        ["r", "r - V(prompt)", "r - V(state)", "A(state, token)"],
        [[sum(values) / len(values) for values in spread.values()]],
    )


def _show_critic(found: dict[str, Any]) -> None:
    sizes = found["num_generations"]
    print_table(
        f"Credit by a critic ({found['critic']}), relative to ‖∇J‖²; and the error below which a critic beats "
        f"leave-one-out groups, in deviations of the return",
        ["λ", "bias²", "variance", *(f"G = {size}" for size in sizes)],
        [
            (decay, bias, variance, *errors)
            for decay, bias, variance, errors in zip(
                found["gae_lambda"], *found["given"].values(), found["break_even"], strict=True
            )
        ],
    )


def _show_beyond(found: dict[str, Any]) -> None:
    """The noise of groups, ways to roll out, and what an optimiser makes of the rules."""
    if found["noise"] is not None:
        rows = [
            (
                key,
                format_numbers(record["scale_without_length"]),
                format_numbers(record["outcome_share"]),
                record["prompts_without_length"],
            )
            for key, record in found["noise"]["methods"].items()
        ]
        title = "Noise of a group's gradient without 1/L: groups on which noise and signal are equal, by prompt"
        print_table(title, ["method", "groups", "share that the outcomes cause", "prompts, if drawn at random"], rows)
        ways = [
            (
                row["name"],
                format_numbers(row["tokens"]),
                format_numbers(row["relative_noise"]),
                format_numbers(row["tokens_for_unit_noise"]),
            )
            for row in found["noise"]["rollouts"]
        ]
        title = "Ways to roll out, all with mean ∇J: what they cost and what they need for a relative error of 1"
        if ways:
            print_table(title, ["rollouts", "tokens", "noise / signal", "tokens × noise / signal"], ways)
    if found["optimiser"] is not None:
        runs = found["optimiser"]["runs"]
        keys = next(iter(runs.values()))["methods"]
        print_table(
            f"Success after {found['optimiser']['steps']} exact steps without 1/L, by optimiser",
            ["optimiser", "learning rate", *keys, "largest gap between rules", "REINFORCE and its double"],
            [
                (
                    name,
                    run["learning_rate"],
                    *(curves["success"][-1] for curves in run["methods"].values()),
                    run["spread"],
                    run["constant_factor"],
                )
                for name, run in runs.items()
            ],
        )


def _shown(value: float | None) -> str:
    return "not tested" if value is None else f"{value:.1e}"
