"""What a caption has to say besides how to read the picture: task, model, seeds, group size, learning rate, batch."""

from collections.abc import Iterable, Sequence

from figures.runs import Arm, Results, panels


def trained_on(results: Results, suffix: str = "") -> str:
    """Of the compared runs: one sentence for each task and model, only those that `suffix` names where it names any."""
    return _sentences(results.arms, suffix)


def ablated_on(results: Results, suffix: str = "") -> str:
    """The same for the runs of the ablations."""
    return _sentences(results.ablations, suffix)


def swept_on(results: Results, suffix: str = "") -> str:
    """The same for the runs that chose learning rates."""
    return _sentences(results.sweep, suffix)


def checked_on(results: Results, suffix: str = "") -> str:
    """Of exact computation: problems, group size and policy."""
    checks = results.checks
    named = {name: check for name, check in checks.items() if name == suffix or suffix not in checks}
    sizes = {check.get("num_generations") for check in named.values()} - {None}
    policies = {str(check.get("policy")) for check in named.values() if check.get("policy")}
    parts = [
        f"problem{'s' * (len(named) > 1)} {', '.join(named)}",
        f"G = {_listed(sizes)}" if sizes else "",
        f"{_listed(policies)} policy" if policies else "",
    ]
    return f"Exact computation; {', '.join(part for part in parts if part)}." if named else ""


def setting(arms: Sequence[Arm]) -> str:
    """Task, model, n, G, learning rate, batch and held-out prompts of arms that are compared."""
    runs = [run for arm in arms for run in arm.runs]
    seeds = sorted({len(arm.runs) for arm in arms})
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])

    def values(name: str) -> list[object]:
        return [value for value in dict.fromkeys(run.config.get(name) for run in runs) if value is not None]

    groups, prompts, held_out = map(values, ("num_generations", "num_prompts", "eval_prompts"))
    rates = [float(rate) for rate in values("learning_rate") if isinstance(rate, int | float)]
    rate = _listed(f"{rate:g}" for rate in sorted(rates))
    parts = [
        f"{arms[0].task}, {arms[0].model}",
        f"n = {count} seed{'s' * (count != '1')} a method",
        f"G = {_listed(groups)}" if groups else "",
        f"learning rate {rate}{' by method' * (len(rates) > 1)}" if rate else "",
        f"batch of {_listed(prompts)} prompts × {_listed(groups)} responses" if prompts and groups else "",
        f"{_listed(held_out)} held-out prompts" if held_out else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _sentences(arms: Sequence[Arm], suffix: str) -> str:
    groups = panels(arms)
    tasks = {task for task, _ in groups}
    chosen = [
        found
        for (task, model), found in groups.items()
        if suffix in ("", task, f"{task}-{model}") or not any(suffix.startswith(name) for name in tasks)
    ]
    return " ".join(map(setting, chosen))


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
