"""Tables that a program fills into a page, each between `<!-- group: name -->` and `<!-- /group: name -->`."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

Tables = Mapping[str, Callable[[], str]]


def filled(text: str, group: str, tables: Tables) -> str:
    """The page with its tables made anew."""
    for name, table in tables.items():
        begin, end = f"<!-- {group}: {name} -->", f"<!-- /{group}: {name} -->"
        before, marker, rest = text.partition(begin)
        _, closing, after = rest.partition(end)
        if marker and closing:
            text = f"{before}{begin}\n{table()}\n{end}{after}"
    return text


def fill_or_print(page: Path, group: str, tables: Tables) -> None:
    """With `--write` on the command line fill the page, otherwise print the tables."""
    if "--write" in sys.argv[1:]:
        page.write_text(filled(page.read_text(encoding="utf-8"), group, tables), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{table()}" for name, table in tables.items()))
