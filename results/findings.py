"""The tables of docs/findings.md, from the files under results/study; no jax, seconds.

python results/findings.py            # print them
python results/findings.py --write    # put them into the page, between its markers
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from figures.reading import read_results
from figures.runs import Arm
from figures.statistics import Estimate, factorial_effects, holm, t_interval
from rino_base.files import complete_lines
from rino_base.marked_tables import fill_or_print

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "findings.md"
STUDY = HERE / "study"
REAL = HERE / "smollm2"
LOGS = "eval.jsonl", "metrics.jsonl"
PROBE = "equivalence/relative_error"
ACCURACY, WRONG, RIGHT = "eval/pass@1", "eval/incorrect_mean_length", "eval/correct_mean_length"
TITLES = ("F-ISFT⁺", "GRPO", "F-ISFT±", "F-ISFT⁻")
RULES = ("methods", "low", "half-rate", "long")
ARMS = {
    "on-policy": "one step a batch, fresh samples",
    "inner-4": "4 inner steps",
    "inner-16": "16 inner steps",
    "refresh-4": "sampler refreshed every 4 steps",
    "refresh-16": "every 16 steps",
    "refresh-0": "never",
    "anti-kl": "KL with the wrong sign",
    "three-level": "rewards 0, 0.1, 1",
}
OPTIMISERS = {"on-policy": "AdamW, 1e-4", "sgd-0.03": "SGD, 0.03", "sgd-0.1": "SGD, 0.1", "sgd-0.3": "SGD, 0.3"}
GAPS = {"f-isft-pm": "F-ISFT±", "f-isft-pm-adv": "F-ISFT± (advantage form)", "f-isft-pos": "F-ISFT⁺"}
AVERAGING = {
    "sequence-mean-token-sum-norm": "constant",
    "token-mean": "token-mean",
    "sequence-mean-token-mean": "1/\\|o\\|",
}


def rules(part: str) -> str:
    """Every method against GRPO at its swept rate: differences paired by seed, Holm-corrected."""
    results = read_results(STUDY / part)
    arms = {arm.method: arm for arm in results.arms}
    shared = sorted(set.intersection(*(set(arm.seeds) for arm in arms.values())))
    final = {method: _by_seed(arm, ACCURACY, shared)[:, -1] for method, arm in arms.items()}
    before = float(_by_seed(arms["grpo"], ACCURACY, shared)[:, 0].mean())
    estimates = {method: t_interval(values - final["grpo"]) for method, values in final.items() if method != "grpo"}
    adjusted = dict(zip(estimates, holm([estimate.p_value for estimate in estimates.values()]), strict=True))
    lines = [
        f"{len(shared)} seeds; pass@1 {before:.1%} before; differences in points of pass@1, 95 % t intervals.",
        "",
        "| method | rate | pass@1 | difference from GRPO | p (Holm) | could have been seen | wrong responses, tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for method, arm in sorted(arms.items(), key=lambda item: -final[item[0]].mean()):
        rate = arm.runs[0].config["learning_rate"]
        wrong = _by_seed(arm, WRONG, shared)
        moved = f"{wrong[:, 0].mean():.1f} → {wrong[:, -1].mean():.1f}"
        told = ["", "", ""]
        if method != "grpo":
            estimate, p = estimates[method], adjusted[method]
            told = [_points(estimate), _p(p), f"{100 * (estimate.detectable or 0):.1f}"]
        lines.append(f"| {arm.title} | {rate:g} | {final[method].mean():.1%} | {' | '.join(told)} | {moved} |")
    return "\n".join(lines)


def arms() -> str:
    """Part 4 arm by arm: what each changes against the same method on-policy, paired by seed, Holm-corrected."""
    found = {name: _finals(name) for name in ARMS}
    base = found["on-policy"]
    told, differences = [], []
    for name, words in ARMS.items():
        for title, by_seed in found[name].items():
            own = base.get(title, {})
            seeds = sorted(own.keys() & by_seed.keys())
            gain = t_interval([by_seed[seed][0] - own[seed][0] for seed in seeds])
            differences.append(None if name == "on-policy" else gain)
            wrong = np.mean([by_seed[seed][1] for seed in seeds])
            told.append([words, title, f"{np.mean([by_seed[seed][0] for seed in seeds]):.1%}", f"{wrong:+.1f}"])
    adjusted = holm([gain and gain.p_value for gain in differences])
    lines = [
        f"{len(base['GRPO'])} seeds; differences in points of pass@1 from the same method in the first rows.",
        "",
        "| arm | method | pass@1 | difference | p (Holm) | could have been seen | wrong responses, tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for (words, title, score, wrong), gain, p in zip(told, differences, adjusted, strict=True):
        cells = ["", "", ""] if gain is None else [_points(gain), _p(p), f"{100 * (gain.detectable or 0):.1f}"]
        lines.append(f"| {words} | {title} | {score} | {' | '.join(cells)} | {wrong} |")
    return "\n".join(lines)


def optimisers() -> str:
    """GRPO and Dr. GRPO, which differ by a factor: how far each goes, optimiser by optimiser."""
    lines = [
        "Gain of pass@1 in points, 95 % t intervals; the last column is paired by seed.",
        "",
        "| optimiser | GRPO | Dr. GRPO | Dr. GRPO − GRPO |",
        "|---|---|---|---|",
    ]
    for name, words in OPTIMISERS.items():
        gains = {
            title: np.array([by_seed[seed][2] for seed in sorted(by_seed)]) for title, by_seed in _finals(name).items()
        }
        pair = gains["GRPO"], gains["Dr. GRPO"], gains["Dr. GRPO"] - gains["GRPO"]
        lines.append(f"| {words} | {' | '.join(_points(t_interval(values)) for values in pair)} |")
    return "\n".join(lines)


def length() -> str:
    """By method and averaging: how the lengths of wrong and of right responses changed."""
    cells = dict(_length_cells())
    seeds = min(len(values) for values in cells.values())
    methods, averagings = (list(dict.fromkeys(cell[i] for cell in cells)) for i in range(2))
    lines = [
        f"Change of the length of wrong responses in tokens, {seeds} seeds, 95 % t intervals.",
        "",
        f"| | {' | '.join(AVERAGING[name] for name in averagings)} |",
        "|---" * (len(averagings) + 1) + "|",
    ]
    for method in methods:
        row = [_tokens(t_interval(cells[method, averaging])) for averaging in averagings]
        lines.append(f"| {method} | {' | '.join(row)} |")
    named = {(method, AVERAGING[averaging]): values for (method, averaging), values in cells.items()}
    effects = factorial_effects(named, ("method", "averaging"))
    adjusted = holm([effect.p_value for effect in effects.values()])
    lines += ["", "| effect | tokens | p (Holm) |", "|---|---|---|"]
    lines += [
        f"| {name} | {_tokens(effect)} | {_p(p)} |" for (name, effect), p in zip(effects.items(), adjusted, strict=True)
    ]
    return "\n".join(lines)


def attempts() -> str:
    """How often another attempt follows one that missed, and one that hit."""
    found = json.loads((STUDY / "attempts.json").read_text(encoding="utf-8"))
    before, *rows = found["rows"]
    names = "another_after_miss", "another_after_hit"
    miss, hit = (100 * before[name] for name in names)
    lines = [
        f"Chance of another attempt, in percent; before training {miss:.0f} after a miss, {hit:.0f} after a hit.",
        "",
        f"| after a miss / after a hit | {' | '.join(AVERAGING.values())} |",
        "|---" * (len(AVERAGING) + 1) + "|",
    ]
    for title in TITLES:
        cells = []
        for averaging in AVERAGING:
            own = [row for row in rows if (row["title"], row["aggregation"]) == (title, averaging)]
            told = (t_interval([100 * row[name] for row in own]) for name in names)
            cells.append(" / ".join(f"{one.mean:.0f} ± {((one.high or 0) - one.mean):.0f}" for one in told))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def prediction() -> str:
    """By method: correlation and slope of the measured on the predicted change, and both averaged over prompts."""
    found = json.loads((STUDY / "prediction.json").read_text(encoding="utf-8"))
    kinds = list(dict.fromkeys((row["horizon"], row["quantity"]) for row in found["rows"]))
    lines = [
        f"{len(found['prompts'])} prompts: correlation, slope; means in points and tokens, predicted → measured.",
        "",
        f"| | {' | '.join(f'{quantity}, {horizon}' for horizon, quantity in kinds)} |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    for title in dict.fromkeys(row["title"] for row in found["rows"]):
        own = {(row["horizon"], row["quantity"]): row for row in found["rows"] if row["title"] == title}
        told = []
        for kind in kinds:
            unit = 100 if kind[1] == "success" else 1
            means = [unit * float(np.mean(own[kind][name])) for name in ("predicted", "measured")]
            told.append(f"{own[kind]['correlation']:.2f}, {own[kind]['slope']:.2f}; {means[0]:+.2f} → {means[1]:+.2f}")
        lines.append(f"| {title} | {' | '.join(told)} |")
    return "\n".join(lines)


def gaps() -> str:
    """What separates GRPO from F-ISFT± and F-ISFT⁺ after so many steps: of two studies with seeds of their own."""
    columns: dict[str, dict[str, np.ndarray]] = {}
    for part in ("methods", "long"):
        arms = {arm.method: arm for arm in read_results(STUDY / part).arms}
        shared = sorted(set.intersection(*(set(arm.seeds) for arm in arms.values())))
        scores = {method: _by_seed(arms[method], ACCURACY, shared) for method in ("grpo", *GAPS)}
        for place, step in enumerate(arms["grpo"].matrix(ACCURACY)[0].tolist()):
            if step:
                own = {method: scores[method][:, place] - scores["grpo"][:, place] for method in GAPS}
                columns[f"{step:g} steps"] = {"grpo": scores["grpo"][:, place], **own}
    lines = [f"| | {' | '.join(columns)} | from 100 to 200 |", "|---" * (len(columns) + 2) + "|"]
    levels = [f"{column['grpo'].mean():.1%}" for column in columns.values()]
    lines.append(f"| GRPO, pass@1 | {' | '.join(levels)} | {_change(columns, 'grpo')} |")
    for method, title in GAPS.items():
        told = [_points(t_interval(column[method])) for column in columns.values()]
        lines.append(f"| {title} − GRPO | {' | '.join(told)} | {_change(columns, method)} |")
    return "\n".join(lines)


def smollm2() -> str:
    """Additions on SmolLM2: seed by seed, differences from GRPO paired and Holm-corrected, and the probe's error."""
    found = {path.name: _finished(path) for path in sorted((REAL / "addition" / "runs").iterdir())}
    shared = sorted(set.intersection(*(set(runs) for runs in found.values())))
    scores = {method: np.array([runs[seed][1][-1][ACCURACY] for seed in shared]) for method, runs in found.items()}
    differences = {method: t_interval(own - scores["grpo"]) for method, own in scores.items() if method != "grpo"}
    adjusted = dict(zip(differences, holm([one.p_value for one in differences.values()]), strict=True))
    lines = [
        f"Seeds {', '.join(map(str, shared))}; pass@1 in percent; differences in points, 95 % t intervals.",
        "",
        "| method | before | after, by seed | mean | minus GRPO | p (Holm) | detectable | greedy | entropy | probe |",
        "|" + "---|" * 10,
    ]
    for method in sorted(scores, key=lambda name: -scores[name].mean()):
        runs = [found[method][seed] for seed in shared]
        first, last = ([rows[place] for _, rows, _ in runs] for place in (0, -1))
        before, greedy, entropy = (
            [float(np.mean([row[name] for row in part])) for part in (first, last)]
            for name in (ACCURACY, "eval/accuracy_strict", "eval/entropy")
        )
        errors = [row[PROBE] for _, _, metrics in runs for row in metrics if row.get(PROBE) is not None]
        told = ["", "", ""]
        if method in differences:
            one = differences[method]
            told = [_points(one), _p(adjusted[method]), f"{100 * (one.detectable or 0):.1f}"]
        cells = [
            runs[0][0]["title"],
            f"{100 * before[0]:.1f}",
            ", ".join(f"{100 * score:.1f}" for score in scores[method]),
            f"{100 * scores[method].mean():.1f}",
            *told,
            " → ".join(f"{100 * value:.0f}" for value in greedy),
            " → ".join(f"{value:.1f}" for value in entropy),
            f"{max(errors):.1g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sweep(part: str) -> str:
    """The learning rates: mean training reward over the last quarter of the sweep's steps."""
    scores = json.loads((STUDY / part / "sweep.json").read_text(encoding="utf-8"))
    rates = sorted({rate for by_rate in scores.values() for rate in by_rate}, key=float)
    lines = [f"| | {' | '.join(rates)} |", "|---" * (len(rates) + 1) + "|"]
    for method, by_rate in sorted(scores.items()):
        means = {rate: float(np.mean(by_rate[rate])) for rate in rates}
        best = max(means, key=lambda rate: means[rate])
        told = [f"**{mean:.3f}**" if rate == best else f"{mean:.3f}" for rate, mean in means.items()]
        lines.append(f"| `{method}` | {' | '.join(told)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    **{part: partial(rules, part) for part in RULES},
    **{f"sweep of {part}": partial(sweep, part) for part in RULES},
    "length": length,
    "attempts": attempts,
    "prediction": prediction,
    "arms": arms,
    "optimisers": optimisers,
    "smollm2": smollm2,
    "gaps": gaps,
}


def _by_seed(arm: Arm, name: str, seeds: list[int]) -> np.ndarray:
    _, values = arm.matrix(name)
    return values[[arm.seeds.index(seed) for seed in seeds]]


def _finals(name: str) -> dict[str, dict[int, tuple[float, float, float]]]:
    """By title and seed: pass@1 at the end, by how much wrong responses grew, and by how much pass@1 did."""
    found: dict[str, dict[int, tuple[float, float, float]]] = {}
    for arm in read_results(STUDY / "arms" / name).arms:
        score, wrong = (_by_seed(arm, measure, arm.seeds) for measure in (ACCURACY, WRONG))
        rows = zip(score[:, -1], wrong[:, -1] - wrong[:, 0], score[:, -1] - score[:, 0], strict=True)
        found[arm.title] = dict(zip(arm.seeds, rows, strict=True))
    return found


def _change(columns: dict[str, dict[str, np.ndarray]], name: str) -> str:
    return _points(t_interval(columns["200 steps"][name] - columns["100 steps"][name]))


def _finished(method: Path) -> dict[int, tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]]:
    """By seed: the configuration, the evaluations and the steps."""
    found = {}
    for run in sorted(method.iterdir()):
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        evaluations, steps = ([json.loads(line) for line in complete_lines(run / name)] for name in LOGS)
        found[config["seed"]] = config, evaluations, steps
    return found


def _length_cells() -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    runs: dict[tuple[str, str], dict[int, float]] = {}
    for file in sorted((STUDY / "length").rglob("eval.jsonl")):
        config: dict[str, Any] = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))
        first, *_, last = (json.loads(line) for line in complete_lines(file))
        place = config["title"], config["objective"]["aggregation"]
        runs.setdefault(place, {})[config["seed"]] = last[WRONG] - first[WRONG]
    shared = sorted(set.intersection(*(set(by_seed) for by_seed in runs.values())))
    for title in TITLES:
        for averaging in AVERAGING:
            yield (title, averaging), np.array([runs[title, averaging][seed] for seed in shared])


def _points(estimate: Estimate) -> str:
    if estimate.ends is None:
        return f"{100 * estimate.mean:+.1f}, every seed alike"
    low, high = estimate.ends
    return f"{100 * estimate.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _tokens(estimate: Estimate) -> str:
    low, high = estimate.ends or (float("nan"), float("nan"))
    return f"{estimate.mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    fill_or_print(PAGE, "study", TABLES)
