"""Named small problems, each chosen for one thing it shows; `load` also reads a TOML file.

Every reward is computed by the rule its problem states (arithmetic, brackets, ...), never tabulated by hand.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mdp_theory.problems import graph
from mdp_theory.problems.controls import Control, from_tree
from mdp_theory.problems.controls import running_sum as _running_sum
from mdp_theory.problems.files import read_problem
from mdp_theory.problems.mdp import TokenMDP
from mdp_theory.problems.process import with_steps
from rino_base.messages import InputError

EOS = "<eos>"


def load(name: str) -> TokenMDP | Control:
    """A problem by zoo name, or from the path of a TOML file. Raises `InputError` for a name that is neither."""
    if name in ZOO:
        return ZOO[name]()
    path = Path(name)
    if "\0" in name:
        raise InputError(f"no problem is called {name!r}", mend="give a name from rino list problems, or a path")
    if name and (path.suffix == ".toml" or path.exists()):
        return read_problem(path)
    close = get_close_matches(name, ZOO, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InputError(f"no problem is called {name!r}", mend=f"{hint}the zoo has {', '.join(ZOO)}; or give a .toml file")


def two_letter_words() -> TokenMDP:
    """Two prompts over {a, b}, binary reward; the first problem to look at."""
    return read_problem(Path(__file__).with_name("two_letter_words.toml"))


def one_token() -> TokenMDP:
    """Horizon 1: already a bandit, so that sequences add nothing."""
    return TokenMDP.from_table(
        "one-token", vocabulary=["a", "b", "c", EOS], eos=EOS, horizon=1, rewards={"say b or c": {"b": 1.0, "c": 1.0}}
    )


def three_level() -> TokenMDP:
    """Rewards 0, 0.1 and 1: a word with both letters is right, a word that ends in time earns format credit."""

    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        ended = tokens[-1] == EOS
        return 1.0 if ended and {"a", "b"} <= set(tokens) else 0.1 if ended else 0.0

    return TokenMDP.from_function(
        "three-level", prompts=["use both letters"], vocabulary=["a", "b", EOS], eos=EOS, horizon=4, reward=reward
    )


def prompt_mixture() -> TokenMDP:
    """Four prompts from easy to hard: the required word grows, and the success probability falls with it."""

    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        word = prompt.removeprefix("start with ").split()
        return float(list(tokens[: len(word)]) == word)

    prompts = ["start with a", "start with a b", "start with a b a", "start with a b a b"]
    probability = dict(zip(prompts, (0.4, 0.3, 0.2, 0.1), strict=True))
    return TokenMDP.from_function(
        "prompt-mixture",
        prompts=prompts,
        vocabulary=["a", "b", EOS],
        eos=EOS,
        horizon=5,
        reward=reward,
        probability=probability,
    )


def countdown() -> TokenMDP:
    """Countdown in miniature: write an expression that uses 2, 3 and 5 once each and equals the target; 1 or 0."""
    return _countdown("countdown", format_credit=0.0)


def countdown_format() -> TokenMDP:
    """Countdown with the usual three levels: 1 if right, 0.1 for any answer that ends, 0 if it is cut off."""
    return _countdown("countdown-format", format_credit=0.1)


def gsm_chain() -> TokenMDP:
    """A sum in steps, as in grade-school problems: write anything, then `#` and the answer, which alone counts."""

    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        answer = str(sum(int(word) for word in prompt.split() if word.isdigit()))
        return float(tokens[-3:] == ("#", answer, EOS))

    return TokenMDP.from_function(
        "gsm-chain",
        prompts=["1 apple and 1 and 2 more", "2 apples and 0 and 1 more"],
        vocabulary=["0", "1", "2", "3", "4", "#", EOS],
        eos=EOS,
        horizon=5,
        reward=reward,
    )


def eos_hazard() -> TokenMDP:
    """The first token decides, the rest is length alone: what moves the probability of ending? (theorem T9)"""
    return TokenMDP.from_function(
        "eos-hazard",
        prompts=["decide, then think as long as you like"],
        vocabulary=["right", "wrong", EOS],
        eos=EOS,
        horizon=8,
        reward=lambda prompt, tokens: float(tokens[0] == "right"),
    )


def long_wrong_answers() -> TokenMDP:
    """Right answers are short and wrong ones long, so that dividing by the length changes the direction."""
    return TokenMDP.from_function(
        "long-wrong-answers",
        prompts=["be brief"],
        vocabulary=["a", "b", EOS],
        eos=EOS,
        horizon=6,
        reward=lambda prompt, tokens: float(len(tokens) <= 3 and tokens[0] == "a"),
    )


def balanced_brackets() -> TokenMDP:
    """A non-empty balanced bracket word: one early token can ruin every continuation."""

    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        depth, lowest = 0, 0
        for token in tokens:
            depth += {"(": 1, ")": -1, EOS: 0}[token]
            lowest = min(lowest, depth)
        return float(tokens[0] != EOS and depth == 0 and lowest == 0 and tokens[-1] == EOS)

    return TokenMDP.from_function(
        "balanced-brackets", prompts=["balance"], vocabulary=["(", ")", EOS], eos=EOS, horizon=7, reward=reward
    )


def needle() -> TokenMDP:
    """One response of 2,047 is right: nearly every group has equal rewards."""
    word = ("a", "b", "b", "a", "b", "a", "a", "b", "a", EOS)
    return TokenMDP.from_function(
        "needle",
        prompts=["find the word"],
        vocabulary=["a", "b", EOS],
        eos=EOS,
        horizon=10,
        reward=lambda prompt, tokens: float(tokens == word),
    )


def running_sum() -> Control:
    """Recombining states: 1 and 2 are added modulo 5, and the sum alone matters."""
    return _running_sum("running-sum", modulus=5, horizon=6)


def slippery_sum() -> Control:
    """Stochastic transitions: the running sum, where one time in five the other number is added."""
    return _running_sum("slippery-sum", modulus=5, horizon=6, slip=0.2)


def letter_bonus() -> Control:
    """Per-step rewards: two-letter words, with 0.05 for every `a` on the way."""
    return from_tree(two_letter_words(), name="letter-bonus", bonus=0.05)


def discounted_words() -> Control:
    """Discounting: two-letter words at γ = 0.9."""
    return from_tree(two_letter_words(), name="discounted-words", discount=0.9)


def long_sum() -> TokenMDP:
    """The running sum modulo 7 for forty tokens: 1.6 trillion responses to each prompt, seven states."""
    return graph.from_function(
        "long-sum",
        prompts={"the sum is 1, make it 0 modulo 7": 1, "the sum is 3, make it 0 modulo 7": 3},
        vocabulary=["1", "2", EOS],
        eos=EOS,
        horizon=40,
        step=lambda state, token: (int(str(state)) + int(token)) % 7,
        reward=lambda state, token: float(token == EOS and state == 0),
    )


def counted_brackets() -> TokenMDP:
    """Balanced brackets of thirty tokens by a counter: an early mistake ruins everything, and the counter shows it."""
    return graph.from_function(
        "counted-brackets",
        prompts={"balance": 0},
        vocabulary=["(", ")", EOS],
        eos=EOS,
        horizon=30,
        step=_count,
        reward=lambda state, token: float(token == EOS and state == "closed"),
    )


def grid_walk() -> TokenMDP:
    """From one corner of a grid to the other in sixteen steps, with 0.1 on the way for reaching the middle."""
    middle, goal, size = (2, 2), (4, 4), 5
    towards = {"up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0)}

    def step(state: Any, token: str) -> Any:
        (x, y), seen = state
        x, y = (min(max(place + by, 0), size - 1) for place, by in zip((x, y), towards[token], strict=True))
        return (x, y), seen or (x, y) == middle

    def reward(state: Any, token: str) -> float:
        if token == EOS:
            return float(state[0] == goal)
        return 0.1 * (step(state, token)[1] and not state[1])

    return graph.from_function(
        "grid-walk",
        prompts={"walk to the corner": ((0, 0), False)},
        vocabulary=[*towards, EOS],
        eos=EOS,
        horizon=16,
        step=step,
        reward=reward,
    )


def retry_after_failure() -> TokenMDP:
    """A tool that fails two times in five: calling again after `fail` beats every fixed number of calls."""
    return TokenMDP.from_function(
        "retry-after-failure",
        prompts=["call until it works"],
        vocabulary=["<call>", "ok", "fail", EOS],
        eos=EOS,
        horizon=7,
        reward=lambda prompt, tokens: float(tokens[-3:] == ("<call>", "ok", EOS)),
        environment={"<call>": [(["ok"], 0.6), (["fail"], 0.4)]},
    )


def ask_before_answering() -> TokenMDP:
    """The user alone knows which of two is meant: whoever asks and listens is always right."""
    return TokenMDP.from_function(
        "ask-before-answering",
        prompts=["which one?"],
        vocabulary=["<ask>", "x", "y", EOS],
        eos=EOS,
        horizon=5,
        reward=lambda prompt, tokens: float(tokens in (("<ask>", "x", "x", EOS), ("<ask>", "y", "y", EOS))),
        environment={"<ask>": [(["x"], 0.5), (["y"], 0.5)]},
    )


def noisy_tool() -> TokenMDP:
    """A noisy reading: right is the word that was read at least twice, so how often to read depends on what came."""

    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        said = tokens[:-1] if tokens[-1] == EOS else tokens
        if len(said) % 2 == 0 or set(said[:-1:2]) != {"<read>"} or said[-1] == "<read>":
            return 0.0
        return float(said[1:-1:2].count(said[-1]) >= 2)

    return TokenMDP.from_function(
        "noisy-tool",
        prompts=["read, then answer"],
        vocabulary=["<read>", "high", "low", EOS],
        eos=EOS,
        horizon=7,
        reward=reward,
        environment={"<read>": [(["high"], 0.7), (["low"], 0.3)]},
    )


def paid_turns() -> TokenMDP:
    """Rewards per turn: each `ok` that is heard earns 0.2, and stopping after the second is what counts."""
    problem = TokenMDP.from_function(
        "paid-turns",
        prompts=["call twice, then stop"],
        vocabulary=["<call>", "ok", "fail", EOS],
        eos=EOS,
        horizon=7,
        reward=lambda prompt, tokens: float(tokens[-1] == EOS and tokens[1::2].count("ok") == 2),
        environment={"<call>": [(["ok"], 0.7), (["fail"], 0.3)]},
    )
    answers = [said for turns in (1, 2, 3) for said in product(("ok", "fail"), repeat=turns) if said[-1] == "ok"]
    earned = {" ".join(f"<call> {one}" for one in said): 0.2 for said in answers}
    return with_steps(problem, {problem.prompts[0]: earned})


def dead_ends() -> TokenMDP:
    """A search that dead ends cut short: both ways may lead on, to the goal, or to the end of the transcript."""
    return TokenMDP.from_function(
        "dead-ends",
        prompts=["find the goal and stop"],
        vocabulary=["left", "right", "open", "goal", EOS],
        eos=EOS,
        horizon=6,
        reward=lambda prompt, tokens: float(tokens[-3:] in (("left", "goal", EOS), ("right", "goal", EOS))),
        environment={
            "left": [(["open"], 0.7), (["goal"], 0.2), ([EOS], 0.1)],
            "right": [(["open"], 0.2), (["goal"], 0.4), ([EOS], 0.4)],
        },
    )


def _count(state: Any, token: str) -> Any:
    """Open brackets so far; "closed" where there have been some and none is open, "ruined" below zero."""
    if state == "ruined":
        return state
    depth = (0 if state == "closed" else state) + (1 if token == "(" else -1)
    return "ruined" if depth < 0 else depth or "closed"


def _countdown(name: str, *, format_credit: float) -> TokenMDP:
    def reward(prompt: str, tokens: tuple[str, ...]) -> float:
        numbers, target = prompt.split(" = ")
        if tokens[-1] != EOS or len(tokens) == 1:
            return 0.0
        used = sorted(token for token in tokens if token.isdigit())
        right = used == sorted(numbers.split()) and evaluate(tokens[:-1]) == int(target)
        return 1.0 if right else format_credit

    return TokenMDP.from_function(
        name,
        prompts=["2 3 5 = 10", "2 3 5 = 11"],
        vocabulary=["2", "3", "5", "+", "-", "*", EOS],
        eos=EOS,
        horizon=6,
        reward=reward,
    )


def evaluate(tokens: tuple[str, ...]) -> int | None:
    """The exact value of number (operator number)* with the usual precedence; None for anything else."""
    if len(tokens) % 2 == 0 or any(token.isdigit() != (i % 2 == 0) for i, token in enumerate(tokens)):
        return None
    terms = [int(tokens[0])]
    for operator, number in zip(tokens[1::2], tokens[2::2], strict=True):
        if operator == "*":
            terms[-1] *= int(number)
        else:
            terms.append(int(number) if operator == "+" else -int(number))
    return sum(terms)


ZOO: Mapping[str, Callable[[], TokenMDP | Control]] = MappingProxyType(
    {
        "two-letter-words": two_letter_words,
        "one-token": one_token,
        "three-level": three_level,
        "prompt-mixture": prompt_mixture,
        "countdown": countdown,
        "countdown-format": countdown_format,
        "gsm-chain": gsm_chain,
        "eos-hazard": eos_hazard,
        "long-wrong-answers": long_wrong_answers,
        "balanced-brackets": balanced_brackets,
        "needle": needle,
        "running-sum": running_sum,
        "slippery-sum": slippery_sum,
        "letter-bonus": letter_bonus,
        "discounted-words": discounted_words,
        "long-sum": long_sum,
        "counted-brackets": counted_brackets,
        "grid-walk": grid_walk,
        "retry-after-failure": retry_after_failure,
        "ask-before-answering": ask_before_answering,
        "noisy-tool": noisy_tool,
        "dead-ends": dead_ends,
        "paid-turns": paid_turns,
    }
)
