"""Token MDPs: prompts, a vocabulary with an end token, a horizon, and a reward for every complete response.

`problems.levels` says how arrays over the tree are laid out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdp_theory.problems.checks import check_prompts, check_vocabulary, count_in_words
from mdp_theory.problems.environment import Environment, Says, environment_of
from mdp_theory.problems.levels import (
    MAX_RESPONSES,
    Levels,
    count_responses,
    empty_levels,
    ending_tokens,
    flatten,
    locate,
    normalised,
    probabilities,
)
from mdp_theory.problems.moves import Moves
from rino_base.messages import InputError
from rino_base.progress import track


@dataclass(frozen=True)
class TokenMDP:
    """A token MDP with terminal reward. States are prompts and prefixes: assumptions A1 and A2 hold by construction.

    `rewards[d][x, j, a]` is the reward of the response that token `a` after prefix `j` of prompt `x` completes, zero
    where the response goes on. Where there is an `environment`, a response is a whole transcript, and the environment
    chooses some of its tokens. Where there are `moves`, prefixes that lead to one state are one: A1 fails, and j is the
    number of a state. `steps` are the rewards on the way where they are not all at the end: A2 fails, and `rewards`
    hold their sum, the return. `noise` is the standard deviation of normal noise that is added to the reward of every
    response, as by a reward model; `rewards` are then means, and success is a mean of at least 1.

    Raises `InputError` when shapes disagree or a number is not finite.
    """

    name: str
    prompts: tuple[str, ...]
    prompt_probability: Float[np.ndarray, " prompts"]
    vocabulary: tuple[str, ...]
    rewards: Levels
    environment: Environment | None = None
    moves: Moves | None = None
    steps: Levels | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_prompts(self.prompts, self.prompt_probability)
        check_vocabulary(self.vocabulary, self.eos)
        if not 0 <= self.noise < math.inf:
            raise InputError(f"{self.name}: the reward's noise is {self.noise}", mend="give a standard deviation")
        for depth, reward in enumerate(self.rewards):
            states = self.continuing**depth if self.moves is None else len(self.moves.to)
            shape = (len(self.prompts), states, len(self.vocabulary))
            if reward.shape != shape:
                raise InputError(
                    f"{self.name}: rewards at depth {depth} have shape {reward.shape}, expected {shape}",
                    mend="give one array [prompts, M**depth, N] for each depth (M tokens besides the end token)",
                )
            if not np.isfinite(reward).all():
                prompt, prefix, token = (int(place) for place in np.argwhere(~np.isfinite(reward))[0])
                words = " ".join(self.words(depth, prefix, token))
                raise InputError(
                    f"{self.name}: the reward of {words!r} to {self.prompts[prompt]!r} is "
                    f"{reward[prompt, prefix, token]}",
                    mend="every reward must be a finite number",
                )
            if reward[..., ~self.ends(depth)].any():
                raise InputError(
                    f"{self.name}: a reward at depth {depth} sits on a token that does not end the response",
                    mend="token MDPs have terminal rewards; see `mdp_theory.problems.controls` for per-step rewards",
                )

    def __repr__(self) -> str:
        shape = f"{len(self.prompts)} prompts, {len(self.vocabulary)} tokens, horizon {self.horizon}"
        states = "" if self.moves is None else f"{len(self.moves.to)} states, "
        return f"<TokenMDP {self.name!r}: {shape}, {states}{count_in_words(self.num_responses)} responses>"

    @property
    def eos(self) -> str:
        """The token that ends a response."""
        return self.vocabulary[-1]

    @property
    def horizon(self) -> int:
        """The largest response length, the end token included."""
        return len(self.rewards)

    @property
    def continuing(self) -> int:
        """M, the number of tokens besides the end token."""
        return len(self.vocabulary) - 1

    @property
    def num_prefixes(self) -> int:
        """States, over all prompts: every prefix at which a token is chosen; on a graph, every (time, state) pair."""
        if self.moves is not None:
            return sum(int(met.sum()) for met in self.met)
        return sum(reward.shape[0] * reward.shape[1] for reward in self.rewards)

    @property
    def num_responses(self) -> int:
        """Responses, over all prompts."""
        return len(self.prompts) * count_responses(len(self.vocabulary), self.horizon)

    def ends(self, depth: int) -> np.ndarray:
        """`[tokens]` bool: which tokens end a response at this depth."""
        return ending_tokens(depth, self.horizon, len(self.vocabulary))

    @cached_property
    def reward_levels(self) -> Float[np.ndarray, " levels"]:
        """The distinct rewards of the responses that are possible, ascending."""
        distinct = []
        for depth, reward in enumerate(self.rewards):
            ends = self.ends(depth)
            if self.environment is not None:
                ends = ends & self.environment.possible[depth]
            if self.moves is not None:
                distinct.append(np.unique(reward[self.met[depth]][:, ends]))
            else:
                distinct.append(np.unique(reward[..., ends] if ends.ndim == 1 else reward[:, ends]))
        return np.unique(np.concatenate(distinct))

    @cached_property
    def outcome(self) -> tuple[Int[np.ndarray, "prompts prefixes tokens"], ...]:
        """Levels of indices into `reward_levels`; any index where no possible response ends (mask with `ends`)."""
        last = len(self.reward_levels) - 1
        return tuple(
            np.where(self.ends(depth), np.searchsorted(self.reward_levels, reward).clip(max=last), 0).astype(np.int32)
            for depth, reward in enumerate(self.rewards)
        )

    @cached_property
    def responses(self) -> tuple[Int[np.ndarray, "responses time"], Int[np.ndarray, " responses"]]:
        """All responses, padded with the end token, and their lengths; the same for every prompt. For trees alone."""
        if self.moves is not None:
            raise InputError(f"{self.name}: responses to a graph are not listed", mend="ask for its gradients instead")
        tokens, lengths = [], []
        for depth in range(self.horizon):
            prefix, token = np.nonzero(np.broadcast_to(self.ends(depth), self.rewards[depth].shape[1:]))
            words = np.full((prefix.size, self.horizon), self.continuing)
            words[:, depth] = token
            for time in reversed(range(depth)):
                prefix, words[:, time] = np.divmod(prefix, self.continuing)
            tokens.append(words)
            lengths.append(np.full(prefix.size, depth + 1))
        return np.concatenate(tokens), np.concatenate(lengths)

    @cached_property
    def response_rewards(self) -> Float[np.ndarray, "prompts responses"]:
        """The reward of every response to every prompt, in the order of `responses`."""
        if self.moves is not None:
            raise InputError(f"{self.name}: responses to a graph are not listed", mend="ask for its gradients instead")
        return flatten(self.rewards)

    @property
    def earned(self) -> Levels:
        """Rewards on the edges at which they come."""
        return self.rewards if self.steps is None else self.steps

    @cached_property
    def met(self) -> list[np.ndarray]:
        """For each depth, which states `[prompts, states]` can be met; for graphs alone."""
        if self.moves is None:
            raise ValueError(f"{self.name} is a tree: all its prefixes can be met")
        return self.moves.met(self.horizon)

    def refuse_noise(self, what: str) -> None:
        """Raises `InputError` where rewards have noise and `what` does not account for it."""
        if self.noise:
            raise InputError(f"{self.name}: {what} is not computed for rewards with noise", mend="leave the noise out")

    def refuse_graph(self, what: str) -> None:
        """Raises `InputError` where states recombine and `what` is a matter of trees."""
        if self.moves is not None:
            raise InputError(f"{self.name}: {what} is computed on trees alone", mend="take a problem that is a tree")

    def at_start(self, state: Sequence[Any]) -> Any:
        """The entries of state levels at the beginning, for each prompt."""
        if self.moves is None:
            return state[0][:, 0]
        return state[0][np.arange(len(self.prompts)), self.moves.start]

    def words(self, depth: int, prefix: int, token: int) -> list[str]:
        """The tokens of the response that `token` after prefix number `prefix` at `depth` completes."""
        if self.moves is not None:
            return [f"({self.moves.names[prefix]})", self.vocabulary[token]]
        tokens = [token]
        for _ in range(depth):
            prefix, last = divmod(prefix, self.continuing)
            tokens.insert(0, last)
        return [self.vocabulary[index] for index in tokens]

    @classmethod
    def from_table(
        cls,
        name: str,
        *,
        vocabulary: Sequence[str],
        eos: str,
        horizon: int,
        rewards: Mapping[str, Mapping[str, float]],
        default_reward: float | Mapping[str, float] = 0.0,
        probability: Mapping[str, float] | None = None,
        environment: Says | None = None,
        noise: float = 0.0,
        max_responses: int = MAX_RESPONSES,
    ) -> "TokenMDP":
        """From `{prompt: {response: reward}}`, a response being its tokens separated by spaces.

        Responses that are not listed get `default_reward` (one number, or one a prompt). Prompts are equally likely
        unless `probability` says otherwise.
        """
        prompts = tuple(rewards)
        tokens = normalised(vocabulary, eos)
        levels = empty_levels(len(prompts), len(tokens), horizon, max_responses=max_responses, name=name)
        for x, prompt in enumerate(prompts):
            default = default_reward[prompt] if isinstance(default_reward, Mapping) else default_reward
            for depth, level in enumerate(levels):
                level[x][:, ending_tokens(depth, horizon, len(tokens))] = default
            seen: set[tuple[int, int, int]] = set()
            for response, reward in rewards[prompt].items():
                place = locate(response, tokens, horizon, where=f"{name}, prompt {prompt!r}")
                if place in seen:
                    raise InputError(
                        f"{name}, prompt {prompt!r}: the response {response!r} is given twice", mend="keep one of them"
                    )
                seen.add(place)
                depth, prefix, token = place
                levels[depth][x, prefix, token] = reward
        speech = environment_of(environment, tokens, horizon, where=name) if environment else None
        return cls(name, prompts, probabilities(prompts, probability), tokens, levels, speech, noise=noise)

    @classmethod
    def from_function(
        cls,
        name: str,
        *,
        prompts: Sequence[str],
        vocabulary: Sequence[str],
        eos: str,
        horizon: int,
        reward: Callable[[str, tuple[str, ...]], float],
        probability: Mapping[str, float] | None = None,
        environment: Says | None = None,
        max_responses: int = MAX_RESPONSES,
    ) -> "TokenMDP":
        """From `reward(prompt, tokens)`, called once for every complete response (the end token included, if any)."""
        tokens = normalised(vocabulary, eos)
        levels = empty_levels(len(prompts), len(tokens), horizon, max_responses=max_responses, name=name)
        prefixes: list[tuple[str, ...]] = [()]
        total = count_responses(len(tokens), horizon)
        with_bar = track(range(horizon), description=f"rewards of {total} responses") if total > 1e5 else range(horizon)
        for depth in with_bar:
            ends = np.flatnonzero(ending_tokens(depth, horizon, len(tokens)))
            for x, prompt in enumerate(prompts):
                values = [[float(reward(prompt, (*prefix, tokens[a]))) for a in ends] for prefix in prefixes]
                levels[depth][x][:, ends] = values
            if depth + 1 < horizon:
                prefixes = [(*prefix, token) for prefix in prefixes for token in tokens[:-1]]
        speech = environment_of(environment, tokens, horizon, where=name) if environment else None
        return cls(name, tuple(prompts), probabilities(prompts, probability), tokens, levels, speech)
