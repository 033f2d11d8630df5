"""Models by name: a directory of this machine, or a snapshot of the Hugging Face hub at one commit."""

import re
from pathlib import Path

from rino_base.messages import InputError

_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve(source: str | Path, revision: str | None = None) -> Path:
    """The directory that `source` names, downloaded when it is the name of a model on the hub.

    revision: a branch, tag or commit of the hub; its default branch without one.

    Raises: InputError when it is neither a directory nor a model that can be reached, and for a revision of a directory
        or one that the hub does not have.
    """
    directory = Path(source)
    if directory.is_dir():
        if revision is not None:
            raise InputError(
                f"{source} is a directory here, and has no revision {revision!r}",
                mend="leave --revision out: it is for models named as on the hub",
            )
        return directory
    # The hub has names of the form owner/model and nothing else: spare a mistyped path the network.
    if isinstance(source, Path) or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise InputError(
            f"no model directory {source}", mend="name an existing directory, or a hub model such as Qwen/Qwen2.5-0.5B"
        )
    import huggingface_hub
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(huggingface_hub.snapshot_download(source, revision=revision, allow_patterns=_WANTED))
    except RevisionNotFoundError:
        raise InputError(
            f"{source} has no revision {revision!r}", mend="give a branch, tag or commit that its page on the hub shows"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(
            f"{source} is neither a directory here nor a model on the hub",
            mend="check the name, and for a gated model run: hf auth login",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{source} is no directory here, and the hub cannot be reached ({type(error).__name__})",
            mend="connect to the network, or name a directory that holds the model",
        ) from None


def commit_of(directory: Path) -> str | None:
    """The commit of a snapshot of the hub, in forty hexadecimal digits; None for any other directory."""
    snapshot = directory.parent.name == "snapshots" and _COMMIT.fullmatch(directory.name)
    return directory.name if snapshot else None
