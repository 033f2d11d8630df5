"""Prompt templates: text files with `{column}` fields; a literal brace is `{{` or `}}`. One line end at the end of a
file is no part of the prompt.
"""

from importlib.resources import files
from pathlib import Path

from rino_base.messages import InputError


def template(name: str) -> str:
    """The template of that name that comes with the project."""
    return files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


def read_template(path: Path) -> str:
    """A user's own template file.

    Raises:
        InputError: the file cannot be read as UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the prompt template {path} cannot be read: {error}", mend="give a UTF-8 text file with {column} fields"
        ) from error
