"""The code blocks of the documents and how each is tested; and, for mkdocs, what the site shows of that.

A comment before a block says what a test does with it:

    <!-- test: slow -->                  run it, but not in the daily suite
    <!-- test: parse, needs a hub -->    only parse its command lines, and say why it is not run
    <!-- test: file reverse.py -->       save it under this name for the blocks that follow on its page

Without one, `sh` and `python` blocks are run, `toml` and `json` ones are parsed, and others are not looked at.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODES = ("run", "slow", "parse", "file")
ROOT_PAGES = ("README.md", "CONTRIBUTING.md")  # outside the site

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mode>\w+)(?:,? (?P<note>[^\n]*?))? -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK_OUT = re.compile(r"\[(?P<words>[^\]\n]+)\]\((?P<target>\.\./[^)\s#]+)(?:#[^)\s]*)?\)")
_LIST = "<!-- list of parsed blocks -->"

log = logging.getLogger("mkdocs.hooks.rino")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page: what it is written in, and what a test does with it."""

    page: str
    line: int
    language: str
    text: str
    mode: str
    note: str

    @property
    def first_line(self) -> str:
        """The first line that is no comment, to be recognised by."""
        lines = [line.strip() for line in self.text.splitlines()]
        return next((line for line in lines if line and not line.startswith("#")), "")


def pages() -> list[Path]:
    """Every document of the project, the README first."""
    return [*(ROOT / name for name in ROOT_PAGES), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    document = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(document):
        yield Block(
            page=page.relative_to(ROOT).as_posix(),
            line=document.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            text=found["text"],
            mode=found["mode"] or "run",
            note=found["note"] or "",
        )


def parsed_blocks() -> str:
    """A table of all blocks that no test runs, with the reason."""
    rows = [block for page in pages() for block in blocks(page) if block.mode == "parse"]
    lines = [f"| {block.page}:{block.line} | `{block.first_line}` | {block.note} |" for block in rows]
    return "\n".join(["| where | begins | why it is not run |", "|---|---|---|", *lines])


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """For mkdocs: lead links to source files where the sources are, and say beside a block that no test runs it."""
    place = Path(page.file.abs_src_path).parent

    def link(found: re.Match[str]) -> str:
        target = (place / found["target"]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return found[0]
        if not target.exists():
            log.warning("%s links to %s, which does not exist", page.file.src_uri, found["target"])
        if not config["repo_url"]:
            return found["words"]
        return f"[{found['words']}]({config['repo_url'].rstrip('/')}/blob/HEAD/{target.relative_to(ROOT).as_posix()})"

    def told(found: re.Match[str]) -> str:
        if found["mode"] != "parse":
            return found[0]
        return f"*Parsed by the tests, not run: {found['note']}.*\n\n{found[0]}"

    markdown = _BLOCK.sub(told, _LINK_OUT.sub(link, markdown))
    return markdown.replace(_LIST, parsed_blocks())


if __name__ == "__main__":
    print(parsed_blocks())
