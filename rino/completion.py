"""`rino completion`: a script for bash, zsh or fish, made from the command line itself."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"] = "bash", /) -> int:
    """Print a script that completes commands and options.

    For bash: `rino completion bash > ~/.local/share/bash-completion/completions/rino`.

    Args:
        shell: which shell the script is for.
    """
    from rino.cli import build_app

    print(build_app().generate_completion(prog_name="rino", shell=shell))
    return 0
