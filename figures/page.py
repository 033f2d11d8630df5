"""The report as one HTML file: pictures inside, a browser of samples, nothing from elsewhere and no script but ours.

Names, titles and numbers come from files that anybody may have written. So the only HTML in the page is what this room
wrote (`Html`); every other block is rendered with HTML switched off. The page's policy names the hash of its script and
of its style, and forbids all other scripts, styles, pictures, frames and requests.
"""

import base64
import hashlib
import html
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from PIL import Image

TITLE = "Is it RL in name only?"
PICTURES = 1_600_000
"""Bytes of pictures, encoded, that the page carries; a further picture is linked to, where it lies beside the page."""

_HEADING = re.compile(r"^(#{2,3}) (.+)$")


class Html(str):
    """A block of HTML of our own making; all other blocks are Markdown."""


class Picture(str):
    """A block of Markdown that shows a picture: the text is for the Markdown report.

    Attributes:
        file: the PNG.
        link: where it lies, from the page.
        name: what it shows.
        first: of its figure; further ones give way where there is no room.
    """

    file: Path
    link: str
    name: str
    first: bool

    @classmethod
    def of(cls, text: str, *, file: Path, link: str, name: str, first: bool) -> "Picture":
        """The block of a picture."""
        made = cls(text)
        made.file, made.link, made.name, made.first = file, link, name, first
        return made


def page(first_screen: Sequence[str], details: Sequence[str]) -> str:
    """The first screen, the contents, and the details."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    carried = _carried(block for block in details if isinstance(block, Picture))
    entries: list[tuple[int, str, str]] = []

    def rendered(block: str) -> str:
        if isinstance(block, Html):
            return str(block)
        if isinstance(block, Picture):
            return _figure(block, carried.get(block.link))
        text = markdown.render(block)
        if heading := _HEADING.match(block):
            depth, place = len(heading[1]), f"part-{len(entries) + 1}"
            inside = text.strip().removeprefix(f"<h{depth}>").removesuffix(f"</h{depth}>")
            entries.append((depth, place, inside))
            return f'<h{depth} id="{place}">{inside}</h{depth}>'
        return text.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")

    top = "\n".join(map(rendered, first_screen))
    body = "\n".join(map(rendered, details))
    style, script = ((Path(__file__).parent / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{TITLE}</title>\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n<body>\n'
        f"{top}\n{_contents(entries)}\n{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _contents(entries: Iterable[tuple[int, str, str]]) -> str:
    items = "\n".join(
        f'<li>{"" if depth == 2 else "– "}<a href="#{place}">{text}</a></li>' for depth, place, text in entries
    )
    return f'<nav aria-label="Contents"><strong>Contents</strong><ul>\n{items}\n</ul></nav>' if items else ""


def _carried(pictures: Iterable[Picture]) -> dict[str, str]:
    """The pictures that the page carries, encoded: the first of every figure before any second."""
    found: dict[str, str] = {}
    used = 0
    for picture in sorted(pictures, key=lambda each: not each.first):
        encoded = base64.b64encode(_small(picture.file)).decode()
        if used + len(encoded) <= PICTURES:
            used += len(encoded)
            found[picture.link] = encoded
    return found


def _small(path: Path) -> bytes:
    """The same picture in 128 colours: a quarter of the bytes, and no difference to the eye in a line drawing."""
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    page = io.BytesIO()
    few.save(page, "png", optimize=True)
    return page.getvalue()


def _figure(picture: Picture, encoded: str | None) -> str:
    name, link = html.escape(picture.name), html.escape(picture.link)
    if encoded is None:
        return f'<p><a href="{link}">{name}</a> (a file beside this page)</p>'
    image = f'<img src="data:image/png;base64,{encoded}" alt="{name}" loading="lazy">'
    return f'<figure><a href="{link}" title="full size">{image}</a></figure>'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
