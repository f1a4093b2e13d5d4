"""The probe finds out what a compiled text tower leaves to the host, for towers built every way."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ml_target.catalogue.networks import EMBEDDING, SIGLIP, TINYCLIP, TOKEN_STATES
from ml_target.catalogue.types import ClipBackend, TextInput
from ml_target.engines import Intake
from ml_target.errors import ModelError
from ml_target.tasks.clip.text_head import TextHead, TextLayout, layer_norm
from ml_target.tasks.clip.text_layouts import LayoutCache
from ml_target.tasks.clip.text_probe import find_layout, require_agreement
from ml_target.tasks.clip.tokenizer import Ids
from ml_target.tensors import Array, Float32, Outputs, Tensor

WORDS = 1000


class Words:
    """Ids of made-up words, closed by the largest id, like CLIP's."""

    size = WORDS

    def __init__(self, length: int) -> None:
        self.length = length

    def encode(self, text: str) -> Ids:
        ids = np.full(self.length, WORDS - 1, np.int64)
        words = [sum(map(ord, word)) % (WORDS - 2) for word in text.split()]
        ids[: len(words)] = words
        return ids


@cache
def numbers(tokens: int, width: int) -> tuple[list[Float32], Mapping[str, Array]]:
    """A tower's layers, and the weights of its ends; the same for all towers of one size."""
    rng = np.random.default_rng(5)

    def matrix() -> Float32:
        made: Float32 = (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)
        return made

    return [matrix() for _ in range(4)], {
        "tokens": rng.normal(size=(WORDS, width)).astype(np.float16),
        "positions": rng.normal(size=(tokens, width)).astype(np.float16),
        "norm_weight": rng.uniform(0.5, 2, width).astype(np.float16),
        "norm_bias": rng.normal(size=width).astype(np.float16),
        "projection": matrix(),
        "head_weight": matrix(),
        "head_bias": np.zeros(width, np.float32),
    }


class Tower:
    """Two layers of attention over W numbers, quantised to 16 bits at the end as a card's output is."""

    def __init__(self, backend: ClipBackend, *, positions: bool, norm: bool, pooled: bool, causal: bool) -> None:
        spec = backend.textual.input
        assert isinstance(spec, TextInput)
        self.tokens, self.width = spec.tokens, spec.width
        self.inside, self.norm, self.pooled, self.causal = positions, norm, pooled, causal
        self.layers, self.weights = numbers(self.tokens, self.width)
        self.runs = 0

    def __call__(self, frame: Array) -> Outputs:
        self.runs += 1
        states = np.asarray(frame, np.float32)
        if self.inside:
            states = states + np.asarray(self.weights["positions"], np.float32)
        mask = np.triu(np.full((self.tokens, self.tokens), -np.inf, np.float32), 1) if self.causal else np.float32(0)
        for query, value in zip(self.layers[::2], self.layers[1::2], strict=True):
            scores = (states @ query) @ states.T / np.float32(np.sqrt(self.width)) + mask
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            states = states + np.tanh(scores / scores.sum(axis=1, keepdims=True) @ states @ value)
        if self.norm:
            scale, shift = (np.asarray(self.weights[n], np.float32) for n in ("norm_weight", "norm_bias"))
            states = np.stack([layer_norm(row, scale, shift, 1e-5) for row in states])
        result = states[-1] if self.pooled else states
        step = float(np.abs(result).max() * 2 / 65535)
        levels = np.clip(np.rint(result / step + 32768), 0, 65535).astype(np.uint16)
        return {EMBEDDING if self.pooled else TOKEN_STATES: Tensor(levels, step, 32768.0)}

    def settle(self, backend: ClipBackend) -> TextLayout:
        intake = Intake((self.tokens, self.width), "float32")
        return find_layout(self, intake, backend, self.weights, Words(self.tokens))


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_token_states_with_a_causal_mask(positions: bool, norm: bool) -> None:
    tower = Tower(TINYCLIP, positions=positions, norm=norm, pooled=False, causal=True)
    assert tower.settle(TINYCLIP) == TextLayout(add_positions=not positions, apply_norm=not norm)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_towers_that_see_everything_at_once(positions: bool, pooled: bool) -> None:
    tower = Tower(SIGLIP, positions=positions, norm=True, pooled=pooled, causal=False)
    assert tower.settle(SIGLIP) == TextLayout(add_positions=not positions, apply_norm=None if pooled else False)


def test_a_tower_that_knows_no_order_at_all_is_refused() -> None:
    tower = Tower(TINYCLIP, positions=False, norm=True, pooled=False, causal=True)
    tower.weights = {**tower.weights, "positions": np.zeros((tower.tokens, tower.width), np.float16)}
    with pytest.raises(ModelError, match=r"the order of the words changes nothing.*CLIP_TEXT_ENGINE=cpu"):
        tower.settle(TINYCLIP)


def test_an_undecided_answer_is_refused() -> None:
    tower = Tower(TINYCLIP, positions=True, norm=False, pooled=False, causal=True)
    whole = np.asarray(tower.weights["positions"], np.float32)
    said, strong, weak = "", 1.0, 1e-4
    for _ in range(12):  # between plain positions and hardly any lies a strength that cannot be told
        share = np.sqrt(strong * weak)
        tower.weights = {**tower.weights, "positions": whole * np.float32(share)}
        try:
            decided = not tower.settle(TINYCLIP).add_positions
        except ModelError as error:
            said, decided = str(error), False
        if "undecided" in said:
            break
        strong, weak = (share, weak) if decided else (strong, share)
    assert "undecided" in said
    assert "CLIP_TEXT_ENGINE=cpu" in said


class Opened:
    """A tower as an engine opens it."""

    max_batch = 8

    def __init__(self, tower: Tower) -> None:
        self.tower = tower
        self.intake = Intake((tower.tokens, tower.width), "float32")
        self.roles: Mapping[str, tuple[int, ...]] = {TOKEN_STATES: (tower.tokens, tower.width)}

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        return [self.tower(frame) for frame in frames]

    def close(self) -> None: ...


def test_card_and_processor_must_agree() -> None:
    words = Words(77)
    inside = Tower(TINYCLIP, positions=True, norm=True, pooled=False, causal=True)
    outside = Tower(TINYCLIP, positions=False, norm=False, pooled=False, causal=True)
    processor = (Opened(inside), TextHead(TINYCLIP, inside.weights))
    found = outside.settle(TINYCLIP)
    require_agreement((Opened(outside), TextHead(TINYCLIP, outside.weights, found)), processor, words)
    wrong = TextLayout(add_positions=True, apply_norm=True)
    twice = (Opened(inside), TextHead(TINYCLIP, inside.weights, wrong))
    with pytest.raises(ModelError, match=r"disagrees with the one on the processor \(cosine 0\.\d+"):
        require_agreement(twice, processor, words)


def test_findings_are_kept_by_hash(tmp_path: Path) -> None:
    book = LayoutCache(tmp_path)
    assert book.get("a" * 64) is None
    book.keep("a" * 64, TextLayout(True, None))
    book.keep("b" * 64, TextLayout(False, True))
    assert LayoutCache(tmp_path).get("a" * 64) == TextLayout(True, None)
    assert LayoutCache(tmp_path).get("b" * 64) == TextLayout(False, True)
    assert [p.name for p in tmp_path.iterdir()] == ["text_layouts.json"]


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"x": 1}', '{"x": {"add_positions": 1, "apply_norm": null}}'])
def test_a_damaged_book_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "text_layouts.json").write_text(content, encoding="utf-8")
    assert LayoutCache(tmp_path).get("x") is None


def test_a_book_that_cannot_be_written_is_told_and_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in every image with its models baked in."""
    with caplog.at_level("INFO", "ml_target"):
        LayoutCache(tmp_path / "missing").keep("a", TextLayout())
    (record,) = caplog.records
    assert "the probe runs at every start" in record.message
    assert record.levelname == "INFO"
