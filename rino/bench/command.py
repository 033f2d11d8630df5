"""`rino bench`: sampling and GRPO steps, timed against the peers that are found and against what the machine allows."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from rino_base.files import write_json
from rino_base.messages import print_table

Work = Literal["equal", "ragged", "step", "start"]
_TITLES = {
    "equal": "sampling, equal lengths",
    "ragged": "sampling, ragged lengths",
    "step": "GRPO step",
}


def bench(
    *,
    scale: Literal["small", "smollm2-135m", "qwen2.5-0.5b", "qwen2.5-1.5b"] = "small",
    works: Annotated[tuple[Work, ...], Parameter(consume_multiple=True)] = ("equal", "ragged", "step"),
    repeats: int = 5,
    json: Path | None = None,
) -> int:
    """Time sampling and whole GRPO steps; on a GPU or TPU take --scale qwen2.5-0.5b.

    Args:
        scale: the embedded small model, or random weights in the published sizes of SmolLM2 or Qwen2.5.
        works: sampling of equal or of ragged lengths, whole steps, and what the first and the second start cost.
        repeats: counted turns of each.
        json: write every time, with hardware and versions, here; after each work, in case the next is cut off.
    """
    from llm_exps.experiment import provenance
    from rino.bench.speed import WORKS, benchmarks
    from rino.bench.start import starts

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    machine = provenance()
    machine["hardware"]["cores"] = os.cpu_count()

    def keep(results: dict[str, Any]) -> None:
        if json:
            write_json(json, {"scale": scale, "repeats": repeats, "load_before": load, **results, **machine})

    chosen = tuple(work for work in WORKS if work in works)
    results = benchmarks(scale, repeats=repeats, works=chosen, keep=keep) if chosen else {}
    if "start" in works:
        results["start_seconds"] = starts(scale)
        keep(results)
    device = f"{machine['hardware']['device']}, {os.cpu_count()} CPU cores"
    columns = ["work", "by", "tokens/s", "of the limit", "its time / ours", "min … max"]
    print_table(f"{scale} on {device}, medians of {repeats} turns", columns, _rows(results.get("works", {})))
    for name, found in results.get("bytes_per_parameter", {}).items():
        print(f"bytes a parameter, {name.replace('_', ' ')}: {found:.1f}")
    for name, found in results.get("start_seconds", {}).items():
        print(f"{name} start: {found:.1f} s to a first step, without the step")
    return 0


def _rows(works: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for work, found in works.items():
        rows.append([_TITLES[work], "rino", found["tokens_per_s"], f"{found['share_of_limit']:.0%}", None, None])
        for name, peer in found["peers"].items():
            if "problem" in peer:
                rows.append(["", f"{name}: {peer['problem']}", None, None, None, None])
                continue
            low, high = peer["ratio_range"]
            share = f"{found['share_of_limit'] * peer['tokens_per_s'] / found['tokens_per_s']:.0%}"
            told = [peer["tokens_per_s"], share, peer["ratio_median"], f"{low:.2f} … {high:.2f}"]
            rows.append(["", peer["version"], *told])
    return rows
