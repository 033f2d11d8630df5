"""Sampling: every prompt is prefilled once, and rows are decoded in stages, each one compiled loop.

Before a stage the rows that have ended leave and waiting ones enter, as far as there are any; their keys and values
move to a cache of the least length bin that leaves room to go on. So attention reads hardly more than was written, and
a few long responses do not keep the places of short ones busy. Rows and lengths come in bins: programs are few.

A stage ends when its cache is full or half of its rows have ended, a quarter where others wait. Inside, the cache never
leaves the program, so that XLA updates it in place. The noise of a token is a function of its row's key and of its
place in the response, nothing else: a row draws the same response whatever batch, stage or place in the queue it is
sampled in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from llm_exps.distribution import InParts, row_shares, to_host
from llm_exps.drawing import draw
from llm_exps.models.cache import Cache
from llm_exps.models.decoder import Decoder
from llm_exps.models.reading import Reading
from rino_base.messages import InputError

AnyArray: TypeAlias = Any
"""A numpy or a jax array: stages are compiled, and put together on the host."""

_LEAST_SLOTS = 64
"""Shorter rows stay in one cache of the whole length: each further stage is a program to compile."""

_LEAST_STEPS = 32
"""Room for so many steps at least: a shorter stage would pay more for its move than it gains."""

_LEAST_ROWS = 8
"""Fewer rows cost what eight do: a step then reads the parameters and little else."""


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    temperature: 0 takes the most probable token. top_k: 0 keeps all tokens; top_p: 1 keeps all tokens.
    stop_tokens: each ends a response. pad_token: fills what follows the end.
    """

    max_new_tokens: int
    num_generations: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop_tokens: tuple[int, ...] = ()
    pad_token: int = 0

    def __post_init__(self) -> None:
        rules = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "num_generations": (self.num_generations >= 1, "at least 1"),
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)}, and has to be {rule}", mend=f"change {name}")


class Samples(NamedTuple):
    """Responses, the `num_generations` of a prompt next to each other.

    mask: True on the response, its stop token included.
    logp: log-probability of each token under the distribution it was drawn from, after temperature, top-k and top-p;
        greedy responses have it at temperature 1. 0 off the mask.
    entropy: in nats, of the distribution at the temperature (1 if greedy), before top-k and top-p. 0 off the mask.
    """

    tokens: Int[AnyArray, "rows time"]
    mask: Bool[AnyArray, "rows time"]
    logp: Float[AnyArray, "rows time"]
    entropy: Float[AnyArray, "rows time"]


def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    keys: Key[Array, " rows"],
    sampling: Sampling,
    *,
    at_once: int | None = None,
    limits: Int[AnyArray, " rows"] | None = None,
) -> Samples:
    """Draw `num_generations` responses to each prompt.

    keys: one for each response, in the order of the result; see `row_keys`.
    at_once: the most rows decoded side by side, which bounds the cache; the others wait. Default: all of them.
    limits: the most tokens of each response, 1 to `max_new_tokens`. Default: `max_new_tokens` for all.
    """
    tokens, mask = pad_prompts(prompts, pad_token=sampling.pad_token)
    graph, state = nnx.split(model)
    return sample(graph, state, tokens, mask, keys, sampling, at_once=at_once, limits=limits)


def row_keys(key: Key[Array, ""], rows: Int[Array, " rows"]) -> Key[Array, " rows"]:
    """A key for each row from the number that names the row, wherever in a batch it stands."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def pad_prompts(
    prompts: Sequence[Sequence[int]], *, pad_token: int
) -> tuple[Int[np.ndarray, "prompts time"], Bool[np.ndarray, "prompts time"]]:
    """Token and mask arrays of prompts, padded on the left to a common length of a few possible ones."""
    if not prompts or not all(map(len, prompts)):
        raise InputError("a prompt is empty", mend="give every prompt at least one token")
    length = length_bin(max(map(len, prompts)))
    tokens = np.full((len(prompts), length), pad_token, np.int32)
    mask = np.zeros((len(prompts), length), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, length - len(prompt) :] = prompt
        mask[row, length - len(prompt) :] = True
    return tokens, mask


def length_bin(length: int) -> int:
    """The least of 8, 12, 16, 24, 32, 48, ... that holds `length`: few compilations, and a third of padding at most."""
    power = 1 << max(length - 1, 7).bit_length()
    return power * 3 // 4 if length <= power * 3 // 4 and power > 8 else power


class _Prefilled(NamedTuple):
    """Prompts in a cache of their own, from which their responses start. hidden: of each prompt's last token."""

    cache: Cache
    hidden: Float[Array, "prompts hidden"]


class _Rows(NamedTuple):
    """The rows of a stage.

    token: the last one drawn, not yet in the cache. position: where it goes, counted without padding.
    drawn: tokens of the response so far. limit: the most it may have.
    """

    cache: Cache
    token: Int[Array, " rows"]
    position: Int[Array, " rows"]
    drawn: Int[Array, " rows"]
    limit: Int[Array, " rows"]
    running: Bool[Array, " rows"]
    keys: Key[Array, " rows"]


class _Seats(NamedTuple):
    """Who sits where in the next stage, made on the host.

    taken: False on seats left empty. fresh: True where a row enters, and on empty seats.
    before: the seat of the last stage, of one that stays. prompt, prompt_length, limit: of one that enters.
    """

    taken: Bool[AnyArray, " seats"]
    fresh: Bool[AnyArray, " seats"]
    before: Int[AnyArray, " seats"]
    row: Int[AnyArray, " seats"]
    prompt: Int[AnyArray, " seats"]
    prompt_length: Int[AnyArray, " seats"]
    limit: Int[AnyArray, " seats"]


def sample(
    graph: nnx.GraphDef[Decoder],
    state: nnx.State,
    prompts: Int[AnyArray, "prompts prompt_time"],
    mask: Bool[AnyArray, "prompts prompt_time"],
    keys: Key[Array, " rows"],
    sampling: Sampling,
    *,
    at_once: int | None = None,
    limits: Int[AnyArray, " rows"] | None = None,
) -> Samples:
    """As `generate`, from a split model and from prompts that `pad_prompts` has padded; numpy arrays, on every host."""
    count, time = len(prompts) * sampling.num_generations, sampling.max_new_tokens
    most, longest = min(at_once or count, count), prompts.shape[1] + time - 1
    lengths = np.repeat(to_host(mask).sum(axis=1), sampling.num_generations)
    most_tokens = np.full(count, time) if limits is None else np.asarray(limits)
    assert most_tokens.shape == (count,), "a limit for each response"
    assert 1 <= most_tokens.min() <= most_tokens.max() <= time, "limits are 1 to max_new_tokens"
    policy = Reading.of(graph, state)
    prefilled = _prefill_InParts(policy, prompts, mask, most)
    samples = Samples(
        tokens=np.full((count, time), sampling.pad_token, np.int32),
        mask=np.zeros((count, time), bool),
        logp=np.zeros((count, time), np.float32),
        entropy=np.zeros((count, time), np.float32),
    )
    seated, staying, rows = np.zeros(0, int), np.zeros(0, int), None
    drawn, started = np.zeros(count, int), 0
    while staying.size or started < count:
        entering = np.arange(started, min(started + most - staying.size, count))
        started += entering.size
        now = np.concatenate([seated[staying], entering])
        size = _row_bin(now.size, most)
        seats = _seats(now, staying, lengths, most_tokens, sampling, size=size)
        # The last token drawn is not in the cache yet, so that one that enters fills no more than its prompt.
        filled = int((lengths[now] + np.maximum(drawn[now] - 1, 0)).max())
        slots = min(_slot_bin(filled), longest)
        source = prefilled if entering.size else None
        rows, first = _seat(policy, source, rows, seats, keys, np.int32(filled), sampling, slots)
        # A quarter of the rows pays for a move if somebody waits, a half if there is a smaller bin to move to.
        smaller = longest > _LEAST_SLOTS and _row_bin(size // 2, most) < size
        floor = size * 3 // 4 if started < count else size // 2 if smaller else 0
        rows, rest = _decode(policy, rows, sampling, np.int32(floor))
        running, first, rest = to_host((rows.running, first, rest))
        for part in (first, rest):
            _write(samples, part, now, drawn)
        seated, staying = now, np.flatnonzero(running[: now.size])
    return samples


def _write(
    samples: Samples, part: Samples, rows: Int[np.ndarray, " rows"], drawn: Int[np.ndarray, " all_rows"]
) -> None:
    """Put what a stage drew behind what its rows had, and count it in `drawn`."""
    seat, step = np.nonzero(part.mask[: len(rows)])
    row = rows[seat]
    for whole, new in zip(samples, part, strict=True):
        whole[row, drawn[row] + step] = new[seat, step]
    drawn[rows] += part.mask[: len(rows)].sum(axis=1)


def _seats(
    now: Int[np.ndarray, " rows"],
    staying: Int[np.ndarray, " staying"],
    lengths: Int[np.ndarray, " all_rows"],
    limits: Int[np.ndarray, " all_rows"],
    sampling: Sampling,
    *,
    size: int,
) -> _Seats:
    """Those who stay first, then those who enter, then empty seats, which hold what the first seat does."""
    row = np.concatenate([now, np.full(size - now.size, now[0])])
    before = np.zeros(size, int)
    before[: staying.size] = staying
    number = np.arange(size)
    return _Seats(
        taken=number < now.size,
        fresh=number >= staying.size,
        before=before,
        row=row,
        prompt=row // sampling.num_generations,
        prompt_length=lengths[row],
        limit=limits[row].astype(np.int32),
    )


def _row_bin(rows: int, most: int) -> int:
    """The least of `most`, a half, a quarter, ... that holds `rows`, and a few rows for every device."""
    mesh = jax.sharding.get_mesh()
    least = _LEAST_ROWS * (1 if mesh.empty else row_shares(mesh))
    size = most
    while size % 2 == 0 and size // 2 >= max(rows, least):
        size //= 2
    return size


def _slot_bin(filled: int) -> int:
    return max(length_bin(filled + _LEAST_STEPS), _LEAST_SLOTS)


def _prefill_InParts(
    policy: Reading,
    prompts: Int[AnyArray, "prompts prompt_time"],
    mask: Bool[AnyArray, "prompts prompt_time"],
    most: int,
) -> _Prefilled:
    """No more than `most` prompts at once: they are as many rows as the decoding may hold, and each is longer."""
    if len(prompts) <= most:
        return _prefill(policy, prompts, mask)
    # The last part is filled up with the last prompt, so that one program serves all.
    parts = np.minimum(np.arange(-(-len(prompts) // most) * most), len(prompts) - 1).reshape(-1, most)
    return _join([_prefill(policy, prompts[part], mask[part]) for part in parts])


@jax.jit
def _join(parts: list[_Prefilled]) -> _Prefilled:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves) if leaves[0].ndim else leaves[0], *parts)


@InParts
def _prefill(
    policy: Reading, prompts: Int[Array, "prompts prompt_time"], mask: Bool[Array, "prompts prompt_time"]
) -> _Prefilled:
    model = policy.model()
    cache = Cache.create(model.config, batch=len(prompts), slots=prompts.shape[1], dtype=model.dtype)
    hidden, cache = model.extend(prompts, mask, jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0), cache)
    return _Prefilled(cache, hidden[:, -1])


@partial(jax.jit, static_argnames=("sampling", "slots"))
def _seat(
    policy: Reading,
    prefilled: _Prefilled | None,
    rows: _Rows | None,
    seats: _Seats,
    keys: Key[Array, " all_rows"],
    filled: Int[Array, ""],
    sampling: Sampling,
    slots: int,
) -> tuple[_Rows, Samples]:
    """The rows of the next stage, and the first tokens of those who enter; `prefilled` is None where nobody does."""
    count = len(seats.taken)
    nothing = jnp.zeros((count, 1))
    stay = None
    if rows is not None:
        cache = rows.cache.take(seats.before, filled=filled, slots=slots)
        token, position, drawn, limit, running, own = (x[seats.before] for x in rows[1:])
        stay = _Rows(cache, token, position, drawn, limit, running & seats.taken, own)
    if prefilled is None:
        assert stay is not None, "nobody enters and nobody stays"
        return stay, Samples(nothing.astype(jnp.int32), nothing.astype(bool), nothing, nothing)
    cache, own = prefilled.cache.take(seats.prompt, filled=filled, slots=slots), keys[seats.row]
    enters = seats.fresh & seats.taken
    logits = policy.model().logits(prefilled.hidden[seats.prompt])
    one = jnp.ones(count, jnp.int32)
    token, logp, entropy = sample_token(logits, _fold(own, 0 * one), sampling)
    limit = jnp.asarray(seats.limit)
    running = enters & ~_stops(token, sampling) & (limit > 1)
    enter = _Rows(cache, token, jnp.asarray(seats.prompt_length, jnp.int32), one, limit, running, own)
    first = Samples(token[:, None], enters[:, None], (logp * enters)[:, None], (entropy * enters)[:, None])
    if stay is None:
        return enter, first

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(jnp.expand_dims(seats.fresh, tuple(range(1, new.ndim))), new, old) if new.ndim else new

    return jax.tree.map(choose, enter, stay), first


@partial(jax.jit, static_argnames="sampling", donate_argnames="rows")
def _decode(policy: Reading, rows: _Rows, sampling: Sampling, floor: Int[Array, ""]) -> tuple[_Rows, Samples]:
    """One stage: until no more than `floor` rows are running or the cache is full."""
    model = policy.model()
    count, slots = rows.cache.valid.shape
    start = rows.cache.filled

    def advance(carry: tuple[_Rows, Samples]) -> tuple[_Rows, Samples]:
        rows, samples = carry
        step, running = rows.cache.filled - start, rows.running
        hidden, cache = model.extend(rows.token[:, None], running[:, None], rows.position[:, None], rows.cache)
        token, logp, entropy = sample_token(model.logits(hidden[:, 0]), _fold(rows.keys, rows.drawn), sampling)
        new = Samples(jnp.where(running, token, sampling.pad_token), running, logp * running, entropy * running)
        samples = Samples(*(x.at[:, step].set(y) for x, y in zip(samples, new, strict=True)))
        drawn = rows.drawn + running
        goes_on = running & ~_stops(token, sampling) & (drawn < rows.limit)
        return _Rows(cache, token, rows.position + 1, drawn, rows.limit, goes_on, rows.keys), samples

    empty = Samples(
        tokens=jnp.full((count, slots), sampling.pad_token, jnp.int32),
        mask=jnp.zeros((count, slots), bool),
        logp=jnp.zeros((count, slots)),
        entropy=jnp.zeros((count, slots)),
    )
    return jax.lax.while_loop(
        lambda carry: (carry[0].running.sum() > floor) & (carry[0].cache.filled < slots), advance, (rows, empty)
    )


def _stops(token: Int[Array, " rows"], sampling: Sampling) -> Bool[Array, " rows"]:
    return (token[:, None] == jnp.asarray(sampling.stop_tokens, jnp.int32)).any(axis=1)


def sample_token(
    logits: Float[Array, "rows vocabulary"], keys: Key[Array, " rows"], sampling: Sampling
) -> tuple[Int[Array, " rows"], Float[Array, " rows"], Float[Array, " rows"]]:
    """One token a row, its log-probability and the entropy, as `Samples` defines them."""
    return draw(logits, keys, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p)


def _fold(keys: Key[Array, " rows"], place: Int[Array, " rows"]) -> Key[Array, " rows"]:
    return jax.vmap(jax.random.fold_in)(keys, place)
