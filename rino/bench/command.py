"""`rino bench`: sampling, updates and losses, timed against the peers that are installed."""

from pathlib import Path
from typing import Literal

from rino_base.files import write_json
from rino_base.messages import print_table


def bench(
    *,
    scale: Literal["small", "qwen2.5-0.5b", "qwen2.5-1.5b"] = "small",
    repeats: int = 5,
    json: Path | None = None,
) -> int:
    """Time sampling, one update and one loss; on a GPU or TPU take --scale qwen2.5-0.5b.

    Args:
        scale: the embedded small model, or random weights in the published sizes of Qwen2.5 with the real vocabulary.
        repeats: counted turns of each.
        json: write every time, with hardware and versions, here.
    """
    from llm_exps.experiment import provenance
    from rino.bench.speed import benchmarks, device

    results = benchmarks(scale, repeats=repeats)
    kind, peak = device()
    columns = ["work", "tokens/s", "peer", "peer's time / ours", "min … max"]
    fields = ("tokens_per_s", "peer", "ratio_median", "ratio_range")
    rows = [[name, *(result.get(field) for field in fields)] for name, result in results.items()]
    print_table(f"{scale} on {kind}, median of {repeats}", columns, rows)
    if json:
        write_json(json, {"scale": scale, "results": results, "peak_bytes": peak, **provenance()})
    return 0
