"""The command line: one subcommand a room, and a room is imported only when its command is called."""

import contextlib
import difflib
import errno
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from rino import __version__
from rino.compilation_cache import keep_compilations
from rino.config_file import provider, take_config
from rino.heap import keep_heap
from rino.rooms import claim_for
from rino.terminal import ready_streams
from rino_base.messages import InputError, report_error
from rino_base.outputs import try_outputs
from rino_base.ranges import hold, outside, rule

# Subcommand -> (where it lives, what `rino --help` says of it without importing the room).
COMMANDS = {
    "reproduce": ("rino.reproduce:reproduce", "Prove, check, train under every method, draw, report: the main job."),
    "prove": ("proofs.command:prove", "Check the theorems and their witnesses symbolically."),
    "check": ("mdp_theory.check.command:check", "Hold the degeneracy claim against one small MDP, exactly."),
    "samples": ("mdp_theory.check.samples:samples", "Say how many samples a step needs where success is rare."),
    "audit": ("mdp_theory.audit.command:audit", "Say whether a loss is outcome-driven SFT, and where it departs."),
    "conformance": (
        "mdp_theory.conformance.command:conformance",
        "Lay the losses of released frameworks beside the published equations.",
    ),
    "pretrain": ("llm_exps.pretrain_command:pretrain", "Make the small model from scratch."),
    "train": ("llm_exps.command:train", "Train a model under one method."),
    "compare": ("llm_exps.command:compare", "Train under several methods and seeds and compare."),
    "evaluate": ("llm_exps.command:evaluate", "Accuracy, pass@k and lengths of a model on held-out prompts."),
    "generate": ("llm_exps.command:generate", "Answer prompts and look at the answers."),
    "import": (
        "llm_exps.models.import_command:import_model",
        "Turn packaged real models into model directories.",
    ),
    "verify": ("llm_exps.verify:verify", "Say whether a finished run still holds all that it held."),
    "figures": ("figures.command:figures", "Draw every figure and table from run directories."),
    "bench": ("rino.bench.command:bench", "Time this project against its peers and what the machine allows."),
    "list": ("rino.listing:list_what", "What there is: methods, tasks, problems, theorems, models."),
    "completion": ("rino.completion:completion", "Print a script that completes commands and options in a shell."),
}

HELP = """Is RL post-training of language models more than outcome-weighted supervised fine-tuning?

Proofs, exact computation on small MDPs, and training runs that share one definition of every method.
"""


def build_app() -> App:
    """The command line; every subcommand is resolved lazily."""
    app = App(name="rino", help=HELP, help_format="plaintext", version=__version__, version_flags=["--version"])
    for name, (target, summary) in COMMANDS.items():
        app.command(target, name=name, help=summary)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 a check failed, 2 bad input, 130 interrupted."""
    words = list(arguments)
    try:
        _known(words)
        if words and words[0] in COMMANDS:
            claim_for(COMMANDS[words[0]][0])
        app = build_app()
        config = take_config(words)
        if config is not None:
            app.config = [provider(config, words[0] if words else "")]
        with _json_to_stdout(words) as words:
            result = _call(app, words)
    except InputError as error:
        report_error(error)
        return error.exit_code
    except CycloptsError as error:
        of = f"{words[0]} " if words and words[0] in COMMANDS else ""
        report_error(InputError(" ".join(str(error).split()), mend=f"rino {of}--help"))
        return 2
    except OSError as error:
        report_error(_of_the_system(error))
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the `rino` script."""
    # transformers serves as tokenizer and configuration here; that it finds no PyTorch is no news to anybody.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    keep_compilations(os.environ)
    keep_heap(os.environ)
    ready_streams()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        if code != 2:
            report_error(_of_the_system(error))
        code = 2
        # Python flushes once more at its end, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _call(app: App, words: Sequence[str]) -> object:
    """Parse a command line, hold its numbers and paths against their rules, and only then run the command."""
    name = words[0] if words else ""
    _refuse_fractions(name, words)
    command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    if name in COMMANDS:
        positional = {name for name, item in bound.signature.parameters.items() if item.kind is item.POSITIONAL_ONLY}

        def write(option: str) -> str:
            return option.upper() if option in positional else _flag(option)

        hold(name, bound.arguments, write=write)
        try_outputs(bound.arguments, write=write)
    return command(*bound.args, **bound.kwargs)


def _refuse_fractions(command: str, words: Sequence[str]) -> None:
    # cyclopts rounds: 1.5 steps would be two.
    for place, word in enumerate(words):
        flag, joined, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        wanted = rule(command, name) if flag.startswith("--") else None
        if wanted is None or not wanted.whole:
            continue
        for text in [value] if joined else itertools.takewhile(lambda w: not w.startswith("--"), words[place + 1 :]):
            if "." in text and not text.startswith("0x"):
                raise outside(_flag(name), text, wanted)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _of_the_system(error: OSError) -> InputError:
    """What the operating system refused, whatever it was: no traceback helps against a full disk."""
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno == errno.ENOSPC:
        return InputError(f"no space left on disk: {error}", mend="free some and give the same command again")
    return InputError(
        f"{where}{error.strerror or error or type(error).__name__}",
        mend="see that the path exists, is of the right kind and may be read or written; then give the command again",
    )


def _known(arguments: Sequence[str]) -> None:
    # Asked here, because cyclopts would import every room to word this error.
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        nearest = difflib.get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.0)[0]
        raise InputError(f"unknown command {arguments[0]!r}", mend=f"rino {nearest}, or rino --help for all")


@contextlib.contextmanager
def _json_to_stdout(words: list[str]) -> Iterator[list[str]]:
    """`--json -`: the command writes to a file of ours, all it prints goes to stderr, and the JSON alone to stdout."""
    place = next((i for i, pair in enumerate(itertools.pairwise(words)) if pair == ("--json", "-")), None)
    joined = words.index("--json=-") if "--json=-" in words else None
    if place is None and joined is None:
        yield words
        return
    stdout = sys.stdout
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        if place is not None:
            words = [*words[: place + 1], str(file), *words[place + 2 :]]
        elif joined is not None:
            words = [*words[:joined], "--json", str(file), *words[joined + 1 :]]
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield words
        finally:
            if file.exists():
                stdout.write(file.read_text(encoding="utf-8"))
