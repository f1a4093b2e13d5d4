"""Stand-ins for what only the internet has: substitute vocabularies, and towers with seeded random weights.

The vocabularies have the form of SigLIP's and SigLIP2's (kind of model, special ids, normaliser),
not their pieces. The towers have the real architecture, not the real weights: good for parity of
two computations, useless for search.
"""

import itertools
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

from ml_target.catalogue.networks import CLIP_BACKENDS
from ml_target.catalogue.types import CheckpointCut, ClipBackend, PictureInput, TextInput
from ml_target.tensors import Array, Float32

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
    return [line for line in english if len(line) > 20][:1500] + [*QUERIES, *_FOREIGN.lower().split()] * 20


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


def substitute_table(folder: Path, words_apart: bool = False) -> tuple[Path, Path]:
    """`tokenizer.json` and `tokenizer_config.json` of SigLIP2's form: byte-pair encoding with byte fallback.

    Special ids as in the Gemma vocabulary: pad 0, end 1, start 2, unknown 3; every text ends in 1.
    `words_apart`: no piece reaches from one word into the next, as in vocabularies that SentencePiece has made.
    """
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    table = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    table.normalizer = normalizers.Replace(" ", "▁")
    usual = pre_tokenizers.Split(" ", "merged_with_previous")
    table.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next") if words_apart else usual
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=special + fallback, show_progress=False)
    table.train_from_iterator((s.replace(" ", " ▁") for s in _sentences()), trainer)
    table.pre_tokenizer = usual
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


# --------------------------------------------------------------------- towers


@dataclass(frozen=True)
class Towers:
    """Both towers of a backend in PyTorch, with seeded random weights and the real architecture.

    `model`: `transformers` CLIPModel or SiglipModel.
    """

    backend: ClipBackend
    model: Any

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """The arrays of the backend's text weights file, cut out by the catalogue's own rules."""
        state = self.model.state_dict()
        (cut,) = self.backend.text_weights.sources
        assert isinstance(cut, CheckpointCut)
        arrays = {}
        for name, candidates in cut.tensors.items():
            key = next(c for c in candidates if c.removeprefix("T:") in state)
            array = state[key.removeprefix("T:")].numpy()
            arrays[name] = (array.T if key.startswith("T:") else array).astype(cut.dtype)
        return arrays

    def picture_vector(self, pixels: Float32) -> Float32:
        """PyTorch's own answer for normalised pixels, 1 x 3 x H x W: float32 (width,)."""
        import torch

        with torch.inference_mode():
            return _vector(self.model.get_image_features(pixel_values=torch.from_numpy(pixels)))

    def text_vector(self, ids: Array) -> Float32:
        """PyTorch's own answer for ids (tokens,): float32 (width,)."""
        import torch

        with torch.inference_mode():
            return _vector(self.model.get_text_features(input_ids=torch.from_numpy(ids)[None]))


def build_towers(name: str, layers: int) -> Towers:
    """Seeded towers of backend `name`; at most `layers` blocks a tower, everything else as published.

    "BACKEND with GELU" are its towers with the activation that some exports have in the place of QuickGELU.

    Needs PyTorch and transformers. SigLIP's and SigLIP2's token tables are cut to 4,000 rows (of 32,000 and 256,000):
    the substitute vocabularies have 2,000 pieces.
    """
    import torch
    import transformers

    name, _, activation = name.partition(" with ")
    backend = CLIP_BACKENDS[name]
    picture, text = backend.visual.input, backend.textual.input
    assert isinstance(picture, PictureInput)
    assert isinstance(text, TextInput)
    torch.manual_seed(20)
    common: dict[str, Any] = {
        "hidden_size": text.width,
        "intermediate_size": 4 * text.width,
        "num_attention_heads": text.width // 64,
    }
    patch = 32 if name in ("siglip2", "vit_b_32") else 16
    wide = (
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12} if name.startswith("vit_b") else {}
    )
    if activation:
        common["hidden_act"] = activation.lower()
    vision = common | wide | {"num_hidden_layers": min(12, layers), "image_size": picture.height, "patch_size": patch}
    if backend.family == "clip":
        words = {"vocab_size": 49_408, "num_hidden_layers": min(6, layers), "max_position_embeddings": text.tokens}
        ids = {"bos_token_id": 49_406, "eos_token_id": 49_407, "pad_token_id": 49_407}
        config = transformers.CLIPConfig(
            text_config=common | words | ids, vision_config=vision, projection_dim=backend.width
        )
        model = transformers.CLIPModel(config)
    else:
        words = {"vocab_size": 4_000, "num_hidden_layers": min(12, layers), "max_position_embeddings": text.tokens}
        ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 1}
        config = transformers.SiglipConfig(text_config=common | words | ids, vision_config=vision)
        model = transformers.SiglipModel(config)
    _enliven(model)
    return Towers(backend, model.eval())


def _enliven(model: Any) -> None:
    """Larger random weights: with the usual ones a fresh network gives nearly one vector for everything."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.2 * torch.randn_like(weight))
            elif "embedding" in name:
                weight.normal_(0, 0.5 if "position" not in name and "patch" not in name else 0.1)
            elif weight.ndim >= 2:
                weight.normal_(0, 1.5 * weight[0].numel() ** -0.5)
            else:
                weight.normal_(0, 0.1)


def _pooled(result: Any) -> Any:
    """The vector in a tower's result: newer versions of transformers wrap it."""
    return getattr(result, "pooler_output", result)


def _vector(result: Any) -> Float32:
    vector: Float32 = _pooled(result)[0].numpy()
    return vector


# ----------------------------------------------------------------------- ONNX


def export_picture_tower(towers: Towers, file: Path) -> Path:
    """The picture tower as the publishers' files are: N x 3 x H x W floats in, the vector out."""
    import torch

    picture = towers.backend.visual.input
    assert isinstance(picture, PictureInput)
    model = towers.model

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: Any) -> Any:
            return _pooled(self.model.get_image_features(pixel_values=pixels))

    return _export(Tower(), torch.zeros(1, 3, picture.height, picture.width), file)


def export_text_tower(towers: Towers, file: Path) -> Path:
    """The text tower from ids to the vector."""
    import torch

    text = towers.backend.textual.input
    assert isinstance(text, TextInput)
    model = towers.model

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any) -> Any:
            return _pooled(self.model.get_text_features(input_ids=ids))

    return _export(Tower(), torch.zeros(1, text.tokens, dtype=torch.int64), file)


def _export(tower: Any, example: Any, file: Path) -> Path:
    import torch

    with warnings.catch_warnings():  # the exporter warns about itself and about every traced shape
        warnings.simplefilter("ignore")
        torch.onnx.export(tower.eval(), (example,), str(file), dynamo=False)
    return file


def cut_text_tower(whole: Path, file: Path, *, embeddings: bool, end: str) -> Path:
    """Another form of an exported text tower, cut as the compilers cut it.

    `embeddings`: it takes token embeddings instead of ids. `end`: "vector", "states" (after the
    final norm) or "states before norm".
    """
    import onnx

    model = onnx.load(str(whole))
    graph = model.graph
    shapes = {i.name: list(i.dims) for i in graph.initializer}
    lookup = next(n for n in graph.node if n.op_type == "Gather" and len(shapes.get(n.input[0], ())) == 2)
    norm = [n for n in graph.node if n.op_type == "LayerNormalization"][-1]
    entry = lookup.output[0] if embeddings else graph.input[0].name
    exit_ = {"vector": graph.output[0].name, "states": norm.output[0], "states before norm": norm.input[0]}[end]
    tokens, width = graph.input[0].type.tensor_type.shape.dim[1].dim_value, shapes[lookup.input[0]][1]
    known = {i.name for i in [*graph.input, *graph.output, *graph.value_info]}
    for name in {entry, exit_} - known:
        graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, tokens, width]))
    onnx.save(onnx.utils.Extractor(model).extract_model([entry], [exit_]), str(file))
    return file
