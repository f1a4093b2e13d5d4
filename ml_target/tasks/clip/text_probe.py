"""Two questions about a compiled text tower that only the card can answer, without a reference to compare with.

Are the positions inside? Without positions a tower cannot tell one position from another: for a
text that is one token repeated, every state is the same, with a causal mask or without; and a tower
that sees all tokens at once ends in the same last state for any order of the tokens before it. Where
both tests are possible both run: which of them shows weak positions better differs between towers.
Is the final layer norm inside? Its mark, mean 0 and variance 1, shows in the states themselves.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ml_target.catalogue.networks import EMBEDDING, TOKEN_STATES
from ml_target.catalogue.types import ClipBackend
from ml_target.engines import Intake, LoadedNetwork
from ml_target.errors import ModelError
from ml_target.remedies import replace
from ml_target.tasks.clip.text_head import TextHead, TextLayout, is_normed, pooled
from ml_target.tasks.clip.tokenizer import Tokenizer
from ml_target.tensors import Array, Float32, Outputs

SAME = 0.02
DIFFERENT = 0.05
"""Relative distances: below `SAME` only the rounding of the tensors differs, above `DIFFERENT` the answers do."""

LEAST_COSINE = 0.9
"""Between the card's text vector and the processor's; a good file reaches 0.97."""

PROMPTS = (
    "a photo of a cat",
    "two children playing on the beach at sunset",
    "a red car parked in front of an old house",
    "birthday cake with candles",
    "snow on the mountains",
)

Run = Callable[[Array], Outputs]


def find_layout(
    run: Run, intake: Intake, backend: ClipBackend, weights: Mapping[str, Array], tokenizer: Tokenizer
) -> TextLayout:
    """How to prepare this file's input and read its output. `run`: one frame through the card.

    Raises ModelError when the answers contradict each other.
    """

    def states(ids: Array, layout: TextLayout) -> Outputs:
        return run(TextHead(backend, weights, layout).frame(ids, intake))

    layout = TextLayout(add_positions=False, apply_norm=False)
    if not _tells_positions_apart(lambda ids: states(ids, layout), tokenizer, backend):
        layout = TextLayout(add_positions=True, apply_norm=False)
        if not _tells_positions_apart(lambda ids: states(ids, layout), tokenizer, backend):
            raise ModelError(
                f"{backend.textual.name}: the order of the words changes nothing, with positions added or without",
                f"The file cannot be the catalogue's: {replace()}; or set CLIP_TEXT_ENGINE=cpu.",
            )
    outputs = [(ids, states(ids, layout)) for ids in map(tokenizer.encode, PROMPTS)]
    return TextLayout(layout.add_positions, _norm_is_outside(outputs, backend, weights))


def require_agreement(
    card: tuple[LoadedNetwork, TextHead], processor: tuple[LoadedNetwork, TextHead], tokenizer: Tokenizer
) -> None:
    """Raises ModelError where the card's vectors and the processor's point in different directions."""
    vectors = []
    for network, head in (card, processor):
        rows = [
            head.vector(network.run([head.frame(ids, network.intake)])[0], ids)
            for ids in map(tokenizer.encode, PROMPTS)
        ]
        stacked = np.stack(rows)
        vectors.append(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    if not cosines.min() >= LEAST_COSINE:
        raise ModelError(
            f"The text tower on the card disagrees with the one on the processor (cosine {cosines.min():.3f}, at least "
            f"{LEAST_COSINE} is wanted)",
            "Set CLIP_TEXT_ENGINE=cpu, and please report it.",
        )


def _tells_positions_apart(states: Callable[[Array], Outputs], tokenizer: Tokenizer, backend: ClipBackend) -> bool:
    ids = tokenizer.encode(PROMPTS[1])
    repeated = states(np.full(len(ids), ids[1]))
    whole, distances = EMBEDDING in repeated, list[float]()
    if not whole:
        rows = repeated[TOKEN_STATES].real()
        distances += [_distance(row, rows[0]) for row in rows[1:]]
    if whole or backend.pooling == "last":
        words = np.resize(ids[:6], len(ids) - 1)
        distances.append(_distance(*(_last(states(np.append(order, ids[-1]))) for order in (words, words[::-1]))))
    farthest = max(distances)
    if SAME < farthest < DIFFERENT:
        raise ModelError(
            f"The text tower's probe is undecided (places differ by {farthest:.3f})",
            "Set CLIP_TEXT_ENGINE=cpu, and please report it with this line.",
        )
    return farthest >= DIFFERENT


def _norm_is_outside(
    outputs: Sequence[tuple[Array, Outputs]], backend: ClipBackend, weights: Mapping[str, Array]
) -> bool | None:
    if EMBEDDING in outputs[0][1]:
        return None
    scale, shift = (np.asarray(weights[name], np.float32) for name in ("norm_weight", "norm_bias"))
    votes = {is_normed(o[TOKEN_STATES].real(pooled(backend, ids)), scale, shift) for ids, o in outputs}
    if len(votes) > 1:
        raise ModelError(
            f"{backend.textual.name}: some states are layer-normed and some are not",
            "Set CLIP_TEXT_ENGINE=cpu, and please report it.",
        )
    return not votes.pop()


def _last(outputs: Outputs) -> Float32:
    """The pooled vector, or the state it is made from."""
    return outputs[EMBEDDING].real().reshape(-1) if EMBEDDING in outputs else outputs[TOKEN_STATES].real(-1)


def _distance(a: Float32, b: Float32) -> float:
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12))
