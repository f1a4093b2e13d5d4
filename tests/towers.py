"""Stand-ins for what only the internet has: substitute vocabularies, and towers with seeded random weights.

The vocabularies have the form of SigLIP's and SigLIP2's (kind of model, special ids, normaliser),
not their pieces. The towers have the real architecture, not the real weights: good for parity of
two computations, useless for search.
"""

import itertools
import json
from pathlib import Path
from pydoc_data.topics import topics

import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

_FOREIGN = """café crème naïve straße über niño garçon żółw łąka собака на пляже 東京タワーの夜景 北京的长城 서울의 밤
שלום עולם مرحبا بالعالم हिन्दी पाठ ไทย ภาษา ½ ² 😀 👍 1234567890 20230514 ΣΊΣΥΦΟΣ Đường phố Hà Nội"""


QUERIES = [
    "a photo of a cat",
    "kids playing football in the park at sunset",
    "birthday party 2023",
    "café crème by the sea",
    "東京タワーの夜景",
    "собака на пляже",
    "red car in front of an old house",
    "😀 smile",
    "invoice from the dentist",
    "",
]
"""Searches as users type them, for comparing towers."""


def _sentences() -> list[str]:
    """English from Python's own language reference, which every installation has, and some other scripts."""
    english = itertools.chain.from_iterable(text.lower().split("\n") for text in topics.values())
    return [line for line in english if len(line) > 20][:4000] + [*QUERIES, *_FOREIGN.lower().split()] * 20


def substitute_pieces(folder: Path, eos_id: int = 1, unk_id: int = 2) -> Path:
    """A SentencePiece unigram model of SigLIP's form (T5's special ids: pad 0, end 1, unknown 2), 2,000 pieces."""
    import sentencepiece

    prefix = folder / "spiece"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_sentences()),
        model_prefix=str(prefix),
        vocab_size=2000,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=eos_id,
        unk_id=unk_id,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
    )
    return prefix.with_suffix(".model")


def substitute_table(folder: Path) -> tuple[Path, Path]:
    """`tokenizer.json` and `tokenizer_config.json` of SigLIP2's form: byte-pair encoding with byte fallback.

    Special ids as in the Gemma vocabulary: pad 0, end 1, start 2, unknown 3; every text ends in 1.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    table = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    table.normalizer = normalizers.Replace(" ", "▁")
    table.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special + fallback, show_progress=False)
    table.train_from_iterator((s.replace(" ", " ▁") for s in _sentences()), trainer)
    table.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    table.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    path, config = folder / "tokenizer.json", folder / "tokenizer_config.json"
    table.save(str(path))
    # The bytes are ordinary entries of the real file: only BPE's fallback may give them.
    content = json.loads(path.read_text(encoding="utf-8"))
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in special]
    path.write_text(json.dumps(content), encoding="utf-8")
    config.write_text(json.dumps({"pad_token": "<pad>", "eos_token": "<eos>", "add_eos_token": True}), encoding="utf-8")
    return path, config
