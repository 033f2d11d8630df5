"""`rino check`: hold the degeneracy claim against small MDPs, exactly."""

from pathlib import Path
from typing import Any

from console import print_table, track, write_json
from mdp_theory import degeneracy, zoo
from mdp_theory.policy import parse


def check(
    problem: str = "two-letter-words",
    /,
    *others: str,
    num_generations: int = 8,
    policy: str = "uniform",
    inner_steps: int = 8,
    learning_rate: float = 1.0,
    seed: int = 0,
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
        json: Write the full report here: one object, or a list of objects for several problems.

    Returns:
        0 when every identity that the problem's assumptions promise holds, 1 otherwise.
    """
    names = [name for given in (problem, *others) for name in (zoo.ZOO if given == "all" else [given])]
    options = {"num_generations": num_generations, "inner_steps": inner_steps, "learning_rate": learning_rate}
    start, policy_seed = parse(policy)
    reports = []
    for name in track(names, description="problems"):
        mdp = zoo.load(name)
        logits = start.logits(start.init(mdp, policy_seed), mdp)
        reports.append(degeneracy.report(mdp, logits, seed=seed, policy=policy, **options))
    for report in reports:
        _show(report)
    if json is not None:
        write_json(json, reports[0] if len(reports) == 1 else reports)
    return 0 if all(report["verified"] for report in reports) else 1


def _show(report: dict[str, Any]) -> None:
    """Tables for a person: the problem, the methods, the drift off-policy, the identities."""
    size = report["num_generations"]
    prompts = ", ".join(f"{prompt['text']!r} p = {prompt['p']:.3g}" for prompt in report["prompts"])
    print(f"\n{report['problem']}: {report['responses']} responses, {report['prefixes']} states; {prompts}")
    rows = [(name, fact["holds"], fact["evidence"]) for name, fact in report["assumptions"].items()]
    print_table("Assumptions", ["assumption", "holds", "evidence"], rows)
    columns = ["method", "c(p)", "c(p) without 1/L", "Φ(p) without 1/L", "η", "cosine to SFT", "relative error"]
    methods = [
        (
            key,
            _numbers(record["c"]),
            _numbers(record["c_without_length"]),
            _numbers(record["phi_without_length"]),
            record["credit_structure_index"],
            record["cosine"],
            record["relative_error"],
        )
        for key, record in report["methods"].items()
    ]
    print_table(f"Methods, on-policy, G = {size} (– : not parallel to ∇p)", columns, methods)
    curves = report["inner_steps"]["methods"]
    drift = [
        (
            key,
            *(
                _number(curve[name][-1])
                for name in ("cosine", "relative_error", "credit_structure_index", "clip_fraction")
            ),
        )
        for key, curve in curves.items()
    ]
    last = len(next(iter(curves.values()))["step"]) - 1
    print_table(
        f"After {last} more steps on the same batch",
        ["method", "cosine to SFT", "relative error", "η", "clipped"],
        drift,
    )
    failed = [(check["name"], check["error"], check["tolerance"]) for check in report["checks"] if not check["holds"]]
    if failed:
        print_table("Identities that FAIL", ["identity", "error", "tolerance"], failed)
    else:
        worst = max(check["error"] for check in report["checks"])
        print(f"{len(report['checks'])} identities hold; the largest relative error is {worst:.1e}.")


def _numbers(values: list[float | None]) -> str:
    return " ".join(_number(value) for value in values[:4]) + (" …" if len(values) > 4 else "")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
