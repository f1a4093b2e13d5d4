"""The maths around a text tower: what the file itself leaves to the host.

A text tower may take ids or token embeddings, and may end in the vector or in one state per token.
What it lacks is done here from the backend's text weights, arrays named:

``tokens`` [vocabulary, W], ``positions`` [T, W], ``norm_weight`` and ``norm_bias`` [W],
``projection`` [W, width] (CLIP, no bias), ``head_weight`` [width, W] and ``head_bias`` [width]
(SigLIP), of any float type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_target.catalogue.networks import EMBEDDING, TOKEN_STATES
from ml_target.catalogue.types import ClipBackend, TextInput
from ml_target.engines import Intake
from ml_target.errors import ModelError
from ml_target.remedies import fetch
from ml_target.tasks.clip.tokenizer import Ids
from ml_target.tensors import Array, Float32, Outputs

CLIP_NORM_EPS = 1e-5
SIGLIP_NORM_EPS = 1e-6
"""Epsilons of the final layer norms, from the models' published configurations."""


@dataclass(frozen=True, slots=True)
class TextLayout:
    """What a compiled tower left out. The defaults hold for every plain ONNX file.

    `add_positions`: add the position table to the token embeddings. `apply_norm`: apply the final
    layer norm to token states; None checks the states and applies it where it is missing.
    """

    add_positions: bool = False
    apply_norm: bool | None = None


class TextHead:
    """Ids to a tower's input, and a tower's outputs to one vector."""

    def __init__(
        self, backend: ClipBackend, weights: Mapping[str, Array] | None, layout: TextLayout | None = None
    ) -> None:
        self._backend = backend
        self._weights = weights if weights is not None else {}
        self._layout = layout or TextLayout()
        self._floats: dict[str, Float32] = {}

    def check(self, intake: Intake, roles: Mapping[str, tuple[int, ...]], vocabulary: int) -> None:
        """Raises ModelError when the tower needs weights that are missing or of another shape.

        `intake` and `roles` are the opened tower's; `vocabulary`: how many ids the tokenizer knows.
        """
        spec = self._backend.textual.input
        assert isinstance(spec, TextInput)
        wanted: dict[str, tuple[int, ...]] = {}
        if not intake.is_ids:
            wanted["tokens"] = (vocabulary, spec.width)
            if self._layout.add_positions:
                wanted["positions"] = (spec.tokens, spec.width)
        if EMBEDDING not in roles:
            if self._layout.apply_norm is not False:
                wanted |= {"norm_weight": (spec.width,), "norm_bias": (spec.width,)}
            if self._backend.pooling == "end":
                wanted["projection"] = (spec.width, self._backend.width)
            else:
                wanted |= {"head_weight": (self._backend.width, spec.width), "head_bias": (self._backend.width,)}
        problems = [p for name, shape in wanted.items() if (p := self._problem(name, shape))]
        if problems:
            file = self._backend.text_weights.name
            raise ModelError(
                f"The text tower of {self._backend.name} needs {file} beside it: {'; '.join(problems)}",
                f"Fetch it (it is cut out of the model's checkpoint): {fetch(file)}; or put {file} into MODELS_DIR.",
            )

    def frame(self, ids: Ids, intake: Intake) -> Array:
        """The tower's input for `ids` (T,): ids of its dtype, or embeddings float32 of its shape."""
        if intake.is_ids:
            return ids.astype(intake.dtype)
        tokens = self._weights["tokens"]
        rows = np.empty((len(ids), tokens.shape[1]), np.float32)
        rows[:] = np.asarray(tokens[ids[-1]], np.float32)  # most of a query is padding, and half floats are slow
        words = np.flatnonzero(ids != ids[-1])
        rows[words] = tokens[ids[words]]
        if self._layout.add_positions:
            rows += self._real("positions")
        return rows.reshape([n if n is not None else -1 for n in intake.shape])

    def vector(self, outputs: Outputs, ids: Ids) -> Float32:
        """The text's vector, float32 (width,), not normalised."""
        if EMBEDDING in outputs:
            return outputs[EMBEDDING].real().reshape(-1)
        # Only one row of the states is used, so only that row becomes floats.
        state = outputs[TOKEN_STATES].real(pooled(self._backend, ids))
        if self._backend.pooling == "end":
            return self._normed(state, CLIP_NORM_EPS) @ self._real("projection")
        row = self._normed(state, SIGLIP_NORM_EPS)
        projected: Float32 = self._real("head_weight") @ row + self._real("head_bias")
        return projected

    def _normed(self, row: Float32, eps: float) -> Float32:
        if self._layout.apply_norm is False:
            return row
        weight, bias = self._real("norm_weight"), self._real("norm_bias")
        if self._layout.apply_norm is None and is_normed(row, weight, bias):
            return row
        return layer_norm(row, weight, bias, eps)

    def _real(self, name: str) -> Float32:
        """An array as floats, converted when first needed: with half floats that takes 1 or 2 ms."""
        if name not in self._floats:
            self._floats[name] = np.asarray(self._weights[name], dtype=np.float32)
        return self._floats[name]

    def _problem(self, name: str, shape: Sequence[int]) -> str | None:
        array = self._weights.get(name)
        if array is None:
            return f"it must have '{name}'"
        # A token table may have spare rows at its end.
        fits = array.shape[1:] == tuple(shape[1:]) and (
            array.shape[0] >= shape[0] if name == "tokens" else array.shape[0] == shape[0]
        )
        return None if fits else f"its '{name}' is {list(array.shape)} instead of {list(shape)}"


def pooled(backend: ClipBackend, ids: Ids) -> int:
    """Which of the token states becomes the vector."""
    # The end-of-text id is the largest; what follows it is padding with the same id.
    return int(np.argmax(ids)) if backend.pooling == "end" else -1


def layer_norm(row: Float32, weight: Float32, bias: Float32, eps: float) -> Float32:
    """Mean 0 and variance 1 over the row, then scaled and shifted; the sums in double precision."""
    wide = row.astype(np.float64)
    normed = (wide - wide.mean()) / np.sqrt(wide.var() + eps)
    result: Float32 = (normed * weight + bias).astype(np.float32)
    return result


def is_normed(row: Float32, weight: Float32, bias: Float32) -> bool:
    """True when undoing scale and shift leaves mean 0 and variance 1, as after a layer norm.

    Entries with a scale near zero are left out: dividing would magnify their rounding errors.
    """
    told = np.abs(weight) > 0.01 * np.median(np.abs(weight))
    if not told.any():
        return False
    undone = (row[told].astype(np.float64) - bias[told]) / weight[told]
    return bool(abs(undone.mean()) < 0.05 and 0.9 < undone.var() < 1.1)
