"""Ids are the expected ones, token for token; broken vocabularies are refused in words.

Hugging Face's own tokenizers, which take seconds to import, are compared with in tests/parity.
"""

import gzip
import hashlib
import itertools
import json
import math
import random
import shutil
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
import sentencepiece
import tokenizers
from search_texts import TEXTS
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from towers import substitute_pieces, substitute_table

from ml_target.errors import ModelError
from ml_target.tasks.clip.tokenizer import (
    CLIP_MERGES,
    Tokenizer,
    canonicalize,
    clean,
    clip_tokenizer,
    first_ids,
    open_tokenizer,
    siglip2_tokenizer,
    siglip_tokenizer,
    words_stay_apart,
)

BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
CLIP_IDS = "55b28c59b8d1eeb1152e5c066ae22e6d1e2a13ddbfbaabe796521ca62c51a00a"
LONE_SURROGATES = ["\ud800", "a \udfff b", "\ude00\ud83d", "😀\ud83d"]


# ------------------------------------------------------------------- clean up


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\n", "a b"),
        ("\u3000a\u00a0b\x85", "a b"),
        ("A-B", "A-B"),
        ("\ud83d\ude00", "😀"),
        ("a\ud800", "a\ufffd"),
        ("", ""),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_canonicalize_in_immichs_order() -> None:
    """White space first, then punctuation, then case: blanks around deleted punctuation stay."""
    assert canonicalize(" A -  B! ") == "a  b"
    assert canonicalize(string.punctuation) == ""
    assert canonicalize("«¿Qué?» “x”") == "«¿qué» “x”"


# ----------------------------------------------------------------------- CLIP


@pytest.fixture(scope="module")
def clip(wheel_models: Path) -> Tokenizer:
    return clip_tokenizer(wheel_models / BPE_FILE)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("it's John's dog", [585, 568, 1742, 568, 1929]),
        ("party 2023 at 10:30", [1580, 273, 271, 273, 274, 536, 272, 271, 281, 274, 271]),
        ("café crème", [15304, 1075, 12138, 614]),
        ("東京タワー", [48338, 21078, 105, 34941, 2429, 107, 30391]),
        ("", []),
    ],
)
def test_clip_check_values(clip: Tokenizer, text: str, ids: list[int]) -> None:
    """Values computed with OpenAI's own tokenizer."""
    padding = [49407] * (77 - 1 - len(ids))
    assert clip.encode(text).tolist() == [49406, *ids, *padding]


def test_clip_ids_are_what_they_were(clip: Tokenizer) -> None:
    """Those of every text at once; tests/parity shows that they are the reference's."""
    ids = np.stack([clip.encode(text) for text in TEXTS])
    assert hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest() == CLIP_IDS


def test_clip_merges_that_begin_with_a_hash_are_kept(clip: Tokenizer) -> None:
    """Six merges begin with #; without them every later id shifts."""
    assert clip.size == 49_408
    assert clip.encode("#tag").tolist()[1] == 258


# --------------------------------------------------------------------- SigLIP


def test_siglip_ids_equal_immichs_form(pieces: Path, request: pytest.FixtureRequest) -> None:
    """The same pieces in the `tokenizers` library, as the `tokenizer.json` of Immich's SigLIP models holds them."""
    reference = _as_fast_tokenizer(pieces)
    ours = siglip_tokenizer(pieces)
    marks = str.maketrans("", "", string.punctuation)
    made = "substitute" in request.node.name
    different = []
    for text in TEXTS:
        cleaned = " ".join(text.split()).translate(marks).lower()
        mine, theirs = ours.encode(text).tolist(), reference.encode(cleaned).ids
        if mine != theirs and not (made and equally_good(pieces, mine, theirs)):
            different.append(text)
    kind = "substitute vocabulary" if made else "real vocabulary"
    parity.record(
        f"SigLIP tokenizer, {kind}", "texts with other ids than Immich's form", f"{len(different)} of {len(TEXTS)}", "0"
    )
    assert not different


def equally_good(pieces: Path, mine: list[int], theirs: list[int]) -> bool:
    """Whether both cut the same text with the same score, as 0|00 and 00|0: rounding decides which of them is taken.

    A made vocabulary may cut so or not: what it learns from comes with Python, and each version of Python has another.
    """
    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    scores = [math.fsum(map(model.get_score, ids)) for ids in (mine, theirs)]
    return bool(model.decode(mine) == model.decode(theirs)) and math.isclose(*scores, rel_tol=1e-9)


def test_cuts_of_one_text_and_one_score_are_equally_good(made_pieces: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(made_pieces))
    letter, other = model.piece_to_id(["a", "b"])
    assert equally_good(made_pieces, [letter, other, 1], [letter, other, 1])
    assert not equally_good(made_pieces, [letter, other, 1], [other, letter, 1]), "another text"
    whole = model.encode("the", out_type=int)
    letters = [model.piece_to_id(piece) for piece in "▁the"]
    assert model.decode(whole) == model.decode(letters)
    assert not equally_good(made_pieces, whole, letters), "a worse score"


def _as_fast_tokenizer(pieces: Path) -> Any:
    """What Hugging Face's conversion of a T5 SentencePiece model makes, with Immich's padding and truncation."""
    pytest.importorskip("google.protobuf", reason="reading the pieces needs protobuf")
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(pieces.read_bytes())
    fast = tokenizers.Tokenizer(models.Unigram([(p.piece, p.score) for p in proto.pieces], 2, byte_fallback=False))
    fast.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), "▁"),
        ]
    )
    fast.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast.enable_padding(length=64, pad_id=1, pad_token="</s>")
    fast.enable_truncation(64)
    return fast


def test_siglip_sequence(pieces: Path) -> None:
    tokenizer = siglip_tokenizer(pieces)
    assert tokenizer.encode("").tolist() == [1] * 64
    assert tokenizer.encode("?!").tolist() == [1] * 64
    long = tokenizer.encode("cat dog " * 100)
    assert long[63] == 1
    assert not (long[:63] == 1).any()


# -------------------------------------------------------------------- SigLIP2


def test_siglip2_sequence(table: tuple[Path, Path]) -> None:
    tokenizer = siglip2_tokenizer(*table)
    assert tokenizer.encode("").tolist() == [1] + [0] * 63
    long = tokenizer.encode("cat dog " * 100)
    assert long[63] == 1
    assert (long[:63] > 1).all()


# ----------------------------------------------------------------- every kind


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip2"])
def any_tokenizer(request: pytest.FixtureRequest, wheel_models: Path) -> Tokenizer:
    if request.param == "clip":
        return open_tokenizer("clip", [wheel_models / BPE_FILE])
    if request.param == "siglip":
        return open_tokenizer("siglip", [request.getfixturevalue("made_pieces")])
    return open_tokenizer("siglip2", request.getfixturevalue("made_table"))


def test_any_text_gives_exactly_length_ids(any_tokenizer: Tokenizer) -> None:
    for text in [*TEXTS, *LONE_SURROGATES]:
        ids = any_tokenizer.encode(text)
        assert ids.shape == (any_tokenizer.length,), text
        assert ids.dtype == np.int64, text
        assert (ids >= 0).all(), text
        assert (ids < any_tokenizer.size).all(), text
        assert (any_tokenizer.encode(text) == ids).all(), text


# ----------------------------------------------------------------- long texts

BITS = [
    *(
        "cat",
        "dogs",
        "the quick brown fox",
        "a",
        "b",
        "東京",
        "23",
        "é",
        "e\u0301",
        "\u0301",
        "İ",
        "ß",
        "ΣΊΣ",
        "Σ",
        "ﬁ",
        "½",
    ),
    *(
        " ",
        "  ",
        "\t",
        "\u00a0",
        "\u3000",
        "\x1c",
        "\x85",
        "\u1680",
        "\u180e",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\x00",
        "\x01",
    ),
    *("-", "!?", "...", "'s", "'", "¨", "\u0308", "\u0345", "▁", "▁▁", "&amp;", "😀", "👨\u200d👩\u200d👧", "\ud800"),
    *("<|endoftext|>", "<|startoftext|>", "</s>", "<pad>", "<eos>"),
]
LONG = [
    " " * 10_000 + "a cat on the beach",
    "-" * 10_000 + " a cat",
    "- " * 10_000 + "a cat",
    "!" * 10_000,
    "\u200b " * 10_000 + "a cat",
    "\x01" * 10_000 + "a cat",
    "x" * 20_000 + " a cat",
    "東京タワー" * 4000,
    "a photo of a cat " * 4000,
]


def _uncut(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of all of a text at once."""
    whole: Any = tokenizer
    cleaned = whole.clean(text) if hasattr(whole, "clean") else canonicalize(text)
    ids, _ = whole._encode(cleaned)
    return [int(number) for number in ids]


def _random_texts() -> list[str]:
    choose = random.Random(10)
    texts = []
    for _ in range(40):
        bits = (choose.choice(BITS) + " " * (choose.random() < 0.3) for _ in range(choose.randint(5, 400)))
        leading = choose.choice(("", "", "", " ", "- ", "!")) * choose.randint(1, 3000)
        texts.append(leading + "".join(bits))
    return texts


@pytest.fixture(scope="module", params=["clip", "siglip", "siglip2"])
def apart_tokenizer(
    request: pytest.FixtureRequest, clip: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """One whose vocabulary keeps words apart, as those of CLIP, SigLIP and SigLIP2 do."""
    if request.param == "clip":
        return clip
    if request.param == "siglip":
        return siglip_tokenizer(request.getfixturevalue("made_pieces"))
    return siglip2_tokenizer(*substitute_table(tmp_path_factory.mktemp("apart"), words_apart=True))


@pytest.fixture(scope="module")
def whole_ids(apart_tokenizer: Tokenizer) -> dict[str, list[int]]:
    """The ids of random texts, not cut."""
    return {text: _uncut(apart_tokenizer, text) for text in _random_texts()}


@pytest.mark.parametrize("beginning", [3, 20, 100])
def test_a_text_that_is_cut_has_the_ids_of_the_whole(
    apart_tokenizer: Tokenizer, whole_ids: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch, beginning: int
) -> None:
    monkeypatch.setattr("ml_target.tasks.clip.tokenizer.BEGINNING", beginning)
    for text, ids in whole_ids.items():
        assert apart_tokenizer.encode(text).tolist() == ids, text


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_long_texts_have_the_ids_of_the_whole(apart_tokenizer: Tokenizer, text: str) -> None:
    assert apart_tokenizer.encode(text).tolist() == _uncut(apart_tokenizer, text)


def test_of_a_long_text_only_the_beginning_is_looked_at(
    apart_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    real = first_ids

    def watched(text: str, encode: Callable[[str], tuple[Any, bool]]) -> Any:
        def counted(part: str) -> tuple[Any, bool]:
            looked_at.append(len(part))
            return encode(part)

        return real(text, counted)

    monkeypatch.setattr("ml_target.tasks.clip.tokenizer.first_ids", watched)
    apart_tokenizer.encode("a photo of a cat " * 100_000)
    assert sum(looked_at) < 3000


def test_a_vocabulary_that_joins_words_is_given_the_whole_text(made_table: tuple[Path, Path]) -> None:
    """Pieces that reach across a blank: what stands before it depends on what follows."""
    tokenizer = siglip2_tokenizer(*made_table)
    text = "a photo of a cat " * 500
    assert tokenizer.encode(text).tolist() == _uncut(tokenizer, text)
    assert words_stay_apart(["▁cat", "▁▁", "s"])
    assert not words_stay_apart(["▁cat", "s▁the"])


# ------------------------------------------------------------- broken files


def _lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], bytes]:
    return lambda real: gzip.compress("".join(change(_merges(real))).encode(), 1)


@cache
def _merges(real: Path) -> list[str]:
    """The lines of the file that are used."""
    with gzip.open(real, "rt", encoding="utf-8") as file:
        return list(itertools.islice(file, CLIP_MERGES + 1))


BROKEN_CLIP: dict[str, Callable[[Path], bytes]] = {
    "not gzip": lambda real: b"hello",
    "empty": lambda real: b"",
    "cut short": lambda real: real.read_bytes()[:100_000],
    "damaged inside": lambda real: real.read_bytes()[:5000] + bytes(1000) + real.read_bytes()[6000:],
    "too few merges": _lines(lambda lines: lines[:-1]),
    "not a pair": _lines(lambda lines: [*lines[:100], "one\n", *lines[101:]]),
    "a merge twice": _lines(lambda lines: [*lines[:100], lines[99], *lines[101:]]),
    "parts nobody made": _lines(lambda lines: [*lines[:100], "qqqq zzzz\n", *lines[101:]]),
    "not UTF-8": lambda real: gzip.compress(b"\xff\xfe\xff\n" * 50_000),
}


@pytest.mark.parametrize("kind", BROKEN_CLIP)
def test_broken_clip_vocabulary(kind: str, wheel_models: Path, tmp_path: Path) -> None:
    file = tmp_path / BPE_FILE
    file.write_bytes(BROKEN_CLIP[kind](wheel_models / BPE_FILE))
    _refused(lambda: clip_tokenizer(file), file)


def test_missing_vocabularies(tmp_path: Path) -> None:
    file = tmp_path / "nothing"
    config = tmp_path / "config.json"
    config.write_text('{"pad_token": "<pad>"}')
    _refused(lambda: clip_tokenizer(file), file)
    _refused(lambda: siglip_tokenizer(file), file)
    _refused(lambda: siglip2_tokenizer(file, config), file)
    _refused(lambda: siglip2_tokenizer(file, tmp_path / "no_config.json"), tmp_path / "no_config.json")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100])
def test_broken_siglip_vocabulary(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "spiece.model"
    file.write_bytes(content)
    _refused(lambda: siglip_tokenizer(file), file)


def test_siglip_refuses_another_kind_of_model(tmp_path: Path) -> None:
    """SentencePiece's own defaults put the end of text at 2."""
    file = substitute_pieces(tmp_path, eos_id=2, unk_id=1)
    _refused(lambda: siglip_tokenizer(file), file)


def _edited(table: Path, change: Callable[[dict[str, Any]], None]) -> str:
    content = json.loads(table.read_text(encoding="utf-8"))
    change(content)
    return json.dumps(content)


def test_broken_siglip2_vocabulary(made_table: tuple[Path, Path], tmp_path: Path) -> None:
    table, config = (Path(shutil.copy(file, tmp_path)) for file in made_table)
    good_table, good_config = table.read_text(encoding="utf-8"), config.read_text(encoding="utf-8")
    for content in ("", "{}", "[1]", good_table[:500], _edited(table, lambda c: c.update(post_processor=None))):
        table.write_text(content, encoding="utf-8")
        _refused(lambda: siglip2_tokenizer(table, config), table)
    table.write_text(good_table, encoding="utf-8")
    for content in ("", "[1]", "{}", '{"pad_token": "<nothing>"}', good_config[:10]):
        config.write_text(content, encoding="utf-8")
        _refused(lambda: siglip2_tokenizer(table, config), config)


def test_siglip2_pad_token_may_be_an_object(made_table: tuple[Path, Path], tmp_path: Path) -> None:
    table, config = made_table[0], tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"pad_token": {"content": "<pad>", "special": True}}), encoding="utf-8")
    assert siglip2_tokenizer(table, config).encode("").tolist() == [1] + [0] * 63


def _refused(build: Callable[[], Tokenizer], file: Path) -> None:
    with pytest.raises(ModelError, match="fetch") as refusal:
        build()
    assert file.name in str(refusal.value)
