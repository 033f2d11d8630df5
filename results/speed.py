"""The tables of docs/performance.md, from results/speed.json and, where there is one, results/speed-gpu-*.json; no jax.

bash results/speed.sh               # measure: twelve minutes on two quiet cores; on a GPU, Qwen2.5's published sizes
python results/speed.py             # print the tables
python results/speed.py --write     # put them into the page, between its markers
"""

import json
from pathlib import Path
from typing import Any

from rino_base.marked_tables import fill_or_print

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
CPU = HERE / "speed.json"
PRODUCTS = HERE / "products.json"
DEPTH = HERE / "depth.json"
WORKS = {"equal": "sampling, equal lengths", "ragged": "sampling, ragged lengths", "step": "GRPO step"}
PEAKS = {"H100": 989.4e12, "H200": 989.4e12, "A100": 312e12}
MISSING = "not measured"


def measured() -> str:
    """Every work on the CPU: ours and the peers', medians, spreads, share of the limit."""
    found = _read(CPU)
    if not found:
        return MISSING
    rates = {name: f"{rate / 1e9:.0f}" for name, rate in found["rates"].items()}
    rate = f"matrix rate {rates['flops']} GFLOP/s, reading {rates['bytes']} GB/s"
    lines = [
        f"{_machine(found)}; {found['scale']}, {found['repeats']} turns, {rate}.",
        "",
        "| work | by | tokens/s | of the limit | its time / ours, median | min … max |",
        "|---|---|---|---|---|---|",
    ]
    for work, result in found["works"].items():
        lines.append(f"| {WORKS[work]} | rino | {result['tokens_per_s']:.0f} | {result['share_of_limit']:.0%} | | |")
        for name, peer in result["peers"].items():
            lines.append(f"| | {_peer_cells(name, peer, result)} |")
    return "\n".join(lines)


def goals() -> str:
    """Every goal, what was measured, and whether it is reached."""
    cpu = _read(CPU)
    rows = [*_cpu_goals(cpu)] if cpu else [("goals on a CPU", "", MISSING, "")]
    rows += _gpu_goals()
    lines = ["| work | goal | measured | |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def products() -> str:
    """Rates of the products of few rows, by library and order."""
    found = _read(PRODUCTS)
    if not found:
        return MISSING
    names = list(next(iter(found["rows"].values())))
    best = max(rate["median"] for rate in found["rows"]["32"].values()) / found["matrix_rate"]
    lines = [
        f"GFLOP/s, median (least … most); one large product: {found['matrix_rate']:.0f}; "
        f"the best of 32 rows: {best:.0%} of it. "
        + ", ".join(f"{name} {found['versions'][name]}" for name in ("jax", "numpy", "torch"))
        + ".",
        "",
        f"| rows | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for rows, rates in found["rows"].items():
        cells = (f"{rate['median']:.0f} ({rate['least']:.0f} … {rate['most']:.0f})" for rate in rates.values())
        lines.append(f"| {rows} | {' | '.join(cells)} |")
    return "\n".join(lines)


def depth() -> str:
    """What a first step compiles, by the number of layers."""
    found = _read(DEPTH)
    if not found:
        return MISSING
    names = list(next(iter(found["seconds"].values())))
    lines = [
        f"{_machine(found)}; seconds, at the widths of {found['scale']}.",
        "",
        f"| layers | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for layers, seconds in found["seconds"].items():
        lines.append(f"| {layers} | {' | '.join(f'{second:.1f}' for second in seconds.values())} |")
    return "\n".join(lines)


TABLES = {"measured": measured, "goals": goals, "products": products, "depth": depth}


def _cpu_goals(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    works = found["works"]
    rows = [
        _ratio_goal(works, "equal", "transformers", 3.0),
        _ratio_goal(works, "equal", "tunix", 2.0),
        _share_goal("sampling, equal lengths", works["equal"]["share_of_limit"], 0.7, "of the limit"),
        _ratio_goal(works, "ragged", "transformers", 6.0),
        _ratio_goal(works, "step", "TRL", 2.6),
        _ratio_goal(works, "step", "tunix", 2.6),
    ]
    if starts := found.get("start_seconds"):
        told = f"{starts['second']:.1f} s; the first, which compiles, {starts['first']:.1f} s"
        rows.append(("start to first step, second start", "< 5 s", told, _verdict(starts["second"] < 5)))
    memory = found["bytes_per_parameter"]
    held = max(memory["gradient_held"], memory["optimiser_held"])
    told = (
        f"{held:.1f} for weights, gradient and moments; with scratch of the optimiser's step "
        f"{memory['optimiser_with_scratch']:.1f}; between steps {memory['between_steps']:.1f}"
    )
    rows.append(("memory of an update, bytes a parameter", "16", told, _verdict(held < 16.1)))
    return rows


def _gpu_goals() -> list[tuple[str, str, str, str]]:
    rows = []
    for size in ("0.5b", "1.5b"):
        found = _read(HERE / f"speed-gpu-qwen2.5-{size}.json")
        works = found.get("works", {})
        title = f"Qwen2.5-{size.upper()} shape, bfloat16"
        if size == "0.5b":
            share = works["equal"]["share_of_limit"] if works else None
            work = f"decode, {title}, batch 256, context 512"
            rows.append(_share_goal(work, share, 0.75, "of the bandwidth roofline", found))
        step, peak = works.get("step"), _peak(found)
        share = step["limit"]["update_flops"] / step["parts"]["update"] / peak if step and peak else None
        rows.append(_share_goal(f"update, {title}, 1,024 tokens", share, 0.5, "MFU", found))
    return rows


def _peak(found: dict[str, Any]) -> float | None:
    """Published operations a second in bfloat16, against which utilisation is commonly stated."""
    device = found.get("hardware", {}).get("device", "")
    return next((peak for card, peak in PEAKS.items() if card in device), None)


def _ratio_goal(works: dict[str, Any], work: str, name: str, goal: float) -> tuple[str, str, str, str]:
    peer = works[work]["peers"].get(name, {"problem": MISSING})
    wanted = f"≥ {goal:g} × {name}"
    if "problem" in peer:
        return WORKS[work], wanted, _plain(peer["problem"]), ""
    low, high = peer["ratio_range"]
    told = f"{peer['ratio_median']:.2f} ({low:.2f} … {high:.2f})"
    verdict = _verdict(peer["ratio_median"] >= goal)
    if peer["ratio_median"] < goal:
        verdict += f": {works[work]['share_of_limit'] * goal / peer['ratio_median']:.0%} of the limit"
    return WORKS[work], wanted, told, verdict


def _share_goal(
    work: str, share: float | None, goal: float, of: str, found: dict[str, Any] | None = None
) -> tuple[str, str, str, str]:
    wanted = f"≥ {goal:.0%} {of}"
    if share is None:
        return work, wanted, "no device; `bash results/speed.sh` measures it where there is one", ""
    told = f"{share:.0%}" + (f" ({_machine(found)})" if found else "")
    return work, wanted, told, _verdict(share >= goal)


def _verdict(reached: bool) -> str:
    return "reached" if reached else "not reached"


def _peer_cells(name: str, peer: dict[str, Any], result: dict[str, Any]) -> str:
    if "problem" in peer:
        return f"{name}: {_plain(peer['problem'])} | | | | "
    low, high = peer["ratio_range"]
    share = result["share_of_limit"] * peer["tokens_per_s"] / result["tokens_per_s"]
    told = [peer["version"], f"{peer['tokens_per_s']:.0f}", f"{share:.0%}", f"{peer['ratio_median']:.2f}"]
    return " | ".join([*told, f"{low:.2f} … {high:.2f}"])


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _machine(found: dict[str, Any]) -> str:
    hardware, load = found["hardware"], found.get("load_before")
    cores = f", {hardware['cores']} cores" if "cores" in hardware else ""
    busy = "" if load is None else f", load before {load:.1f}"
    return f"{hardware['device']}{cores}{busy}, jax {found['versions']['jax']}"


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


if __name__ == "__main__":
    fill_or_print(PAGE, "speed", TABLES)
