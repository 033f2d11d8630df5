"""The token MDP of a small problem beside its bandit view: every path through the tree is one arm."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from figures.curves import MissingData
from figures.looks import GREY, NEGATIVE, PARTIAL, POSITIVE
from figures.numbers import Number
from figures.runs import Results, Row
from figures.style import SMALLEST, TEXT, Style, place_legend


@dataclass(frozen=True)
class Tree:
    """A problem's tree under one policy: nodes as `rino check` writes them (id, parent, token, depth, ...)."""

    problem: str
    policy: str
    prompt: str
    nodes: tuple[Row, ...]

    def children(self) -> dict[int, list[int]]:
        """Of every state, by id, in the order of the vocabulary."""
        found: dict[int, list[int]] = {}
        for node in self.nodes:
            if node["parent"] is not None:
                found.setdefault(node["parent"], []).append(node["id"])
        return found

    def paths(self) -> dict[int, tuple[str, ...]]:
        """The tokens from the root to every node."""
        found: dict[int, tuple[str, ...]] = {}
        for node in self.nodes:  # Parents come before their children.
            found[node["id"]] = () if node["parent"] is None else (*found[node["parent"]], str(node["token"]))
        return found

    def heights(self) -> dict[int, float]:
        """A row of its own for every response, in the order of a walk over the tree; states amid their children."""
        children = self.children()
        found: dict[int, float] = {}
        rows = iter(range(len(self.nodes)))

        def place(node: int) -> float:
            below = [place(child) for child in children.get(node, [])]
            found[node] = sum(below) / len(below) if below else float(next(rows))
            return found[node]

        place(self.nodes[0]["id"])
        return found


def trees(results: Results) -> Mapping[str, Tree]:
    """Every problem that is small enough to have been written for drawing.

    Raises:
        MissingData: none.
    """
    found = {
        problem: Tree(problem, str(check.get("policy", "")), check["tree"]["prompt"], tuple(check["tree"]["nodes"]))
        for problem, check in results.checks.items()
        if check.get("tree")
    }
    if not found:
        raise MissingData("no check/*.json has a tree small enough to draw")
    return found


def cut(tree: Tree, depth: int) -> Tree:
    """The same down to `depth` tokens; a response that goes on ends there without a reward."""
    return replace(tree, nodes=tuple(node for node in tree.nodes if node["depth"] <= depth))


def node_numbers(tree: Tree) -> tuple[tuple[str, ...], list[Number]]:
    """Columns and rows: every prefix, its probability and its reward."""
    paths = tree.paths()
    rows: list[Number] = [
        (" ".join(paths[node["id"]]), node["depth"], node["probability"], node["reward"]) for node in tree.nodes
    ]
    return ("tokens", "depth", "probability", "reward"), rows


def draw_tree(tree: Tree, style: Style) -> Figure:
    """States and actions on the left, one bar a response on the right, in the same rows.

    In a narrow picture only the first three tokens have room.
    """
    if style.page < TEXT:
        tree = cut(tree, 3)
    children, heights = tree.children(), tree.heights()
    leaves = [node for node in tree.nodes if node["id"] not in children]
    states = [node for node in tree.nodes if node["id"] in children or node["reward"] is None]
    figure = Figure(figsize=(style.page, max(1.8, 0.15 * len(leaves) + 0.85)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.35, 1])
    _draw_edges(left, tree, heights)
    left.scatter(
        *_places(states, heights), s=12, color="white", edgecolor="black", linewidth=0.6, zorder=3, label="state"
    )
    entries = {}
    for name, color in (("reward 1", POSITIVE), ("partial reward", PARTIAL), ("reward 0", NEGATIVE), ("goes on", GREY)):
        chosen = [leaf for leaf in leaves if _color(leaf["reward"]) == color]
        if chosen:
            ended = [leaf for leaf in chosen if leaf["reward"] is not None]
            left.scatter(*_places(ended, heights), s=12, marker="s", color=color, zorder=3)
            rows = [heights[leaf["id"]] for leaf in chosen]
            widths = [leaf["probability"] for leaf in chosen]
            entries[name] = right.barh(rows, widths, color=color, height=0.7, label=name)
    paths = tree.paths()
    for leaf in leaves:
        words = "  " + " ".join(paths[leaf["id"]]) + (" …" if leaf["reward"] is None else "")
        right.text(leaf["probability"], heights[leaf["id"]], words, fontsize=SMALLEST, va="center", parse_math=False)
    depth = max(node["depth"] for node in tree.nodes)
    left.set_xlim(-0.15, depth + 0.15)
    left.set_ylim(len(leaves) - 0.4, -0.8)
    left.set_xticks(range(depth + 1))
    left.set_xlabel("tokens chosen")
    left.set_title(f"token MDP: {len(states)} states,\neach with one history", loc="left")
    right.set_title(f"bandit: {len(leaves)} arms,\neach a response", loc="left")
    right.set_xlabel("probability (exact)")
    longest = max(len(" ".join(path)) for path in paths.values())
    widest = max(leaf["probability"] for leaf in leaves)
    right.set_xlim(0, widest * (1 + 0.075 * longest * 6.8 / style.page / 2.2))
    for ax in (left, right):
        ax.spines["left"].set_visible(ax is right)
        ax.tick_params(axis="y", length=0, labelleft=False)
        ax.grid(visible=False)
    heading = f"{tree.problem}: “{tree.prompt}”, {tree.policy} policy" if style.titles else ""
    place_legend(figure, entries, title=heading)
    return figure


def _draw_edges(ax: Axes, tree: Tree, heights: Mapping[int, float]) -> None:
    """Actions: a bend and a level stretch that carries the token; the wider, the likelier the prefix."""
    depth = {node["id"]: node["depth"] for node in tree.nodes}
    edges = [node for node in tree.nodes if node["parent"] is not None]
    lines = []
    for node in edges:
        start, end = depth[node["parent"]], heights[node["id"]]
        lines.append([(start, heights[node["parent"]]), (start + 0.35, end), (node["depth"], end)])
        ax.text(node["depth"] - 0.33, end - 0.12, node["token"], fontsize=SMALLEST, ha="center", parse_math=False)
    widths = [0.4 + 2.6 * node["probability"] for node in edges]
    ax.add_collection(LineCollection(lines, linewidths=widths, colors="#9A9A9A"))


def _places(nodes: list[Row], heights: Mapping[int, float]) -> tuple[list[int], list[float]]:
    return [node["depth"] for node in nodes], [heights[node["id"]] for node in nodes]


def _color(reward: float | None) -> str:
    if reward is None:
        return GREY
    return POSITIVE if reward >= 1 else NEGATIVE if reward <= 0 else PARTIAL
