"""Sampled responses for the browser in the report: compact, the most telling first, within a budget of bytes."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from figures.heatmap import visible
from figures.runs import Arm, Results

BUDGET = 700_000
"""Bytes of JSON; groups of responses that do not fit are left out, and the page says how many."""
_LONGEST = 600  # Tokens of a response that are kept.


def browser_data(results: Results) -> dict[str, Any] | None:
    """Arms by label, groups of responses (one prompt at one step under one seed), and responses; None without samples.

    Groups that several arms sampled come first, then the earlier ones. Of a response: its arm `a` and group `g`, tokens
    `k` and how many there were `n`, reward `r`, and the weight times the responses in the batch `w`: one number where
    all tokens have the same.
    """
    arms = [arm for arm in results.all_arms if any(row.get("weights") for run in arm.runs for row in run.samples)]
    by_group: dict[tuple[str, str, int, int, str], list[dict[str, Any]]] = {}
    for index, arm in enumerate(arms):
        for key, row in _responses(arm, index):
            by_group.setdefault(key, []).append(row)
    ordered = sorted(by_group.items(), key=lambda item: (-len({row["a"] for row in item[1]}), item[0][2:]))
    groups: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    used = 0
    for (_, _, step, seed, prompt), responses in ordered:
        size = len(json.dumps(responses))
        if used + size > BUDGET:
            continue
        used += size
        rows += [{**response, "g": len(groups)} for response in responses]
        groups.append({"t": step, "s": seed, "p": prompt})
    if not groups:
        return None
    several = len({(arm.task, arm.model) for arm in arms}) > 1
    labels = [f"{arm.label} ({arm.task}, {arm.model})" if several else arm.label for arm in arms]
    return {"arms": labels, "groups": groups, "rows": rows, "omitted": len(by_group) - len(groups)}


def browser_html(data: Mapping[str, Any]) -> str:
    """The controls, and the data as a block that is never executed; the page's script fills them in."""
    # In a script element only `<` could end the block or begin another.
    block = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    longest = max((row["n"] for row in data["rows"]), default=0)
    omitted = f" {data['omitted']} groups of responses are left out." if data["omitted"] else ""
    return f"""<noscript><p>The sample browser needs the page's own script.</p></noscript>
<section id="browser" hidden>
<div class="controls">
<label>left <select name="left"></select></label>
<label>right <select name="right"></select></label>
<label>outcome <select name="outcome"><option value="all">all</option><option value="correct">correct</option>\
<option value="wrong">not correct</option></select></label>
<label>tokens from <input type="number" name="shortest" min="0" max="{longest}" value="0"></label>
<label>to <input type="number" name="longest" min="0" value="{longest}"></label>
<label><input type="checkbox" name="scale" checked> one colour scale</label>
<span><button name="previous" type="button">previous</button> <span class="count"></span> \
<button name="next" type="button">next</button></span>
</div>
<div class="prompt"></div>
<div class="sides"></div>
<p class="empty">Blue tokens are made likelier, orange ones less likely; the weight of a token, times the responses in \
the batch, shows under the pointer.{html.escape(omitted)}</p>
</section>
<script type="application/json" id="samples">{block}</script>"""


def _responses(arm: Arm, index: int) -> Iterator[tuple[tuple[str, str, int, int, str], dict[str, Any]]]:
    for run in arm.runs:
        for row in run.samples:
            weights, tokens = row.get("weights") or [], row.get("tokens") or []
            if weights and len(weights) == len(tokens):
                scaled = [float(f"{run.batch_size * weight:.3g}") for weight in weights[:_LONGEST]]
                key = (arm.task, arm.model, int(row["step"]), run.seed, str(row["prompt"]))
                yield (
                    key,
                    {
                        "a": index,
                        "k": [visible(str(token)) for token in tokens[:_LONGEST]],
                        "n": len(tokens),
                        "r": round(float(row["reward"]), 4),
                        "w": scaled[0] if len(set(scaled)) == 1 else scaled,
                    },
                )
