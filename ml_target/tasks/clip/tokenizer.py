"""Text in, token ids out: the tokenizers of CLIP, SigLIP and SigLIP2.

Each reads its vocabulary once and is pure afterwards; `encode` may be called from several threads.
Ids are those that Immich's official worker computes (its text clean-up, then the Hugging Face
tokenizer of the model), token for token.
"""

import gzip
import itertools
import json
import re
import string
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors

from ml_target.errors import DamagedFileError, ModelError
from ml_target.remedies import damaged, replace

Ids = npt.NDArray[np.int64]

CLIP_LENGTH = 77
CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"
CLIP_MERGES = 48_894
SIGLIP_LENGTH = 64
SIGLIP_END = 1
"""The end-of-text id of both SigLIP vocabularies; the first one pads with it as well."""

# OpenAI's pattern in Unicode classes: contractions, letters together, every digit alone, the rest.
_CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_PUNCTUATION = str.maketrans("", "", string.punctuation)

BEGINNING = 2048
"""Characters of a longer text that are tried first: usually several times what fills the ids."""

_WORD_END = re.compile(r"(?<! ) ")
_MARK = "▁"
"""How the vocabularies of the SigLIP family write a blank."""


class Tokenizer(Protocol):
    """A text becomes exactly `length` ids, each below `size`."""

    @property
    def length(self) -> int: ...

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> Ids:
        """int64 of shape (length,): cut to length keeping the end-of-text id, or padded. Never raises."""


# ---------------------------------------------------------------- clean text


def clean(text: str) -> str:
    """White space of any kind collapsed to single blanks, none at the ends; lone surrogates become U+FFFD.

    Text with a lone surrogate has no UTF-8 form, so no reference has ids for it; yet a query with one must not fail.
    """
    collapsed = " ".join(text.split())
    try:
        collapsed.encode()
    except UnicodeEncodeError:
        return collapsed.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return collapsed


def canonicalize(text: str) -> str:
    """`clean`, then ASCII punctuation deleted, then lower case: what Immich does for the SigLIP family.

    Blanks around deleted punctuation stay ("a - b" has two afterwards), as they do in the official worker.
    """
    return clean(text).translate(_PUNCTUATION).lower()


# --------------------------------------------------------------- long texts


def first_ids(text: str, encode: Callable[[str], tuple[Ids, bool]]) -> Ids:
    """The ids of a clean text, from only as much of it as they need: encoding a megabyte would take seconds.

    `encode` gives ids, and whether they are full: then no further word can change them. Text is cut
    between words only, where a blank follows a letter. No token reaches across such a cut, so the text
    before it has the same ids with and without the rest. A word is never cut: its
    ids depend on all of it.
    """
    size = BEGINNING
    while size < len(text):
        end = _WORD_END.search(text, size)
        if end is None:
            break
        ids, full = encode(text[: end.start()])
        if full:
            return ids
        size = 8 * end.start()
    return encode(text)[0]


def words_stay_apart(pieces: Iterable[str]) -> bool:
    """Whether no piece of a vocabulary reaches from one word into the next."""
    return not any(_MARK in piece.lstrip(_MARK) for piece in pieces)


# ------------------------------------------------------------------ the kinds


@dataclass(frozen=True, slots=True)
class _TableTokenizer:
    """A tokenizer of the `tokenizers` library, with padding and truncation switched on in it."""

    table: tokenizers.Tokenizer
    clean: Callable[[str], str]
    length: int
    words_apart: bool

    @property
    def size(self) -> int:
        return self.table.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> Ids:
        cleaned = self.clean(text)
        return first_ids(cleaned, self._encode) if self.words_apart else self._encode(cleaned)[0]

    def _encode(self, text: str) -> tuple[Ids, bool]:
        # One text as a batch: only that call releases Python's lock, and a long word takes a while.
        found = self.table.encode_batch([text])[0]
        return np.array(found.ids, dtype=np.int64), sum(found.attention_mask) == self.length


@dataclass(frozen=True, slots=True)
class _PieceTokenizer:
    """A SentencePiece model: pieces, end of text, then end of text again as padding."""

    pieces: Any
    length: int
    words_apart: bool

    @property
    def size(self) -> int:
        return int(self.pieces.get_piece_size())

    def encode(self, text: str) -> Ids:
        cleaned = canonicalize(text)
        return first_ids(cleaned, self._encode) if self.words_apart else self._encode(cleaned)[0]

    def _encode(self, text: str) -> tuple[Ids, bool]:
        ids = np.full(self.length, SIGLIP_END, dtype=np.int64)
        found = self.pieces.encode(text, out_type=int)[: self.length - 1]
        ids[: len(found)] = found
        return ids, len(found) == self.length - 1


# -------------------------------------------------------------------- loading


def clip_tokenizer(vocabulary: Path) -> Tokenizer:
    """CLIP's byte-pair encoding from OpenAI's `bpe_simple_vocab_16e6.txt.gz`; 77 ids padded with 49407."""
    merges = _read_merges(vocabulary)
    symbols = _byte_symbols()
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in merges), CLIP_START, CLIP_END]
    ids = {word: index for index, word in enumerate(words)}
    if len(ids) != len(words):
        raise _damaged(vocabulary, "it lists a symbol twice")
    try:
        model = models.BPE(vocab=ids, merges=merges, unk_token=CLIP_END, end_of_word_suffix="</w>")
    except Exception as error:  # the library raises nothing narrower
        raise _damaged(vocabulary, str(error)) from error
    table = tokenizers.Tokenizer(model)
    table.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    table.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    table.post_processor = processors.TemplateProcessing(
        single=f"{CLIP_START} $A {CLIP_END}",
        special_tokens=[(CLIP_START, ids[CLIP_START]), (CLIP_END, ids[CLIP_END])],
    )
    table.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in (CLIP_START, CLIP_END)])
    table.enable_truncation(CLIP_LENGTH)
    table.enable_padding(length=CLIP_LENGTH, pad_id=ids[CLIP_END], pad_token=CLIP_END)
    return _TableTokenizer(table, clean, CLIP_LENGTH, words_apart=True)  # the pattern matches no blank


def siglip_tokenizer(model: Path) -> Tokenizer:
    """SigLIP's SentencePiece model `spiece.model`; no start id, 64 ids padded with the end-of-text id 1."""
    import sentencepiece  # only SigLIP needs it

    if not model.is_file():
        raise _damaged(model, "there is no such file")
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (RuntimeError, OSError) as error:
        raise _damaged(model, str(error)) from error
    if pieces.eos_id() != SIGLIP_END:
        raise _another(model, f"its end-of-text id is {pieces.eos_id()}, SigLIP's is {SIGLIP_END}")
    apart = words_stay_apart(pieces.id_to_piece(list(range(pieces.get_piece_size()))))
    return _PieceTokenizer(pieces, SIGLIP_LENGTH, apart)


def siglip2_tokenizer(vocabulary: Path, config: Path) -> Tokenizer:
    """SigLIP2's `tokenizer.json`; 64 ids padded on the right with the pad token of `tokenizer_config.json`."""
    settings = _read_config(config)
    pad = settings.get("pad_token")
    pad = pad.get("content") if isinstance(pad, dict) else pad
    if not vocabulary.is_file():
        raise _damaged(vocabulary, "there is no such file")
    try:
        table = tokenizers.Tokenizer.from_file(str(vocabulary))
    except Exception as error:  # the library raises nothing narrower
        raise _damaged(vocabulary, str(error)) from error
    pad_id = table.token_to_id(pad) if isinstance(pad, str) else None
    if not isinstance(pad, str) or pad_id is None:
        raise _another(config, f"its pad_token {pad!r} is not in {vocabulary.name}")
    _check_end(table, vocabulary)
    table.enable_truncation(SIGLIP_LENGTH)
    table.enable_padding(length=SIGLIP_LENGTH, pad_id=pad_id, pad_token=pad, direction="right")
    return _TableTokenizer(table, canonicalize, SIGLIP_LENGTH, words_stay_apart(table.get_vocab()))


def _check_end(table: tokenizers.Tokenizer, vocabulary: Path) -> None:
    """Every text must end in the end-of-text id: a file without that rule would give other vectors, silently."""
    table.no_truncation()
    table.no_padding()
    last = table.encode("a").ids[-1:]
    if last != [SIGLIP_END]:
        raise _another(vocabulary, f"a text ends in id {last}, SigLIP2's end of text is {SIGLIP_END}")


TOKENIZERS: dict[str, Callable[..., Tokenizer]] = {
    "clip": clip_tokenizer,
    "siglip": siglip_tokenizer,
    "siglip2": siglip2_tokenizer,
}
"""Opens a family's tokenizer from its vocabulary files, in the catalogue's order."""


def open_tokenizer(family: str, files: Sequence[Path]) -> Tokenizer:
    """The tokenizer of a CLIP family from its vocabulary `files`, in the catalogue's order.

    Raises DamagedFileError for one that cannot be read, ModelError for that of another network.
    """
    return TOKENIZERS[family](*files)


# -------------------------------------------------------------- reading files


def _byte_symbols() -> list[str]:
    """OpenAI's printable stand-ins for the 256 bytes, in the order of the vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def _read_merges(vocabulary: Path) -> list[tuple[str, str]]:
    """The pairs on lines 2 to 48,895. Lines that begin with # are merges like any other."""
    try:
        with gzip.open(vocabulary, "rt", encoding="utf-8") as lines:
            wanted = list(itertools.islice(lines, 1, 1 + CLIP_MERGES))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(vocabulary, str(error)) from error
    merges = []
    for number, line in enumerate(wanted, 2):
        pair = line.split()
        if len(pair) != 2:
            raise _damaged(vocabulary, f"line {number} is not a pair of symbols")
        merges.append((pair[0], pair[1]))
    if len(merges) != CLIP_MERGES:
        raise _damaged(vocabulary, f"it has {len(merges):,} merges instead of {CLIP_MERGES:,}")
    return merges


def _read_config(config: Path) -> dict[str, Any]:
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(config, str(error)) from error
    if not isinstance(settings, dict):
        raise _damaged(config, "it is not a JSON object")
    return settings


def _damaged(file: Path, reason: str) -> DamagedFileError:
    return damaged(f"The vocabulary file {file} cannot be used: {reason}", file.name)


def _another(file: Path, reason: str) -> ModelError:
    return ModelError(
        f"The vocabulary file {file} belongs to another network: {reason}",
        f"Replace it by the catalogue's: {replace(file.name)}",
    )
