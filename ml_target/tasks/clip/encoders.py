"""Smart search: a picture or a text becomes one vector of length 1."""

import numpy as np

from ml_target.catalogue.networks import EMBEDDING
from ml_target.catalogue.types import Decoding, PictureInput, Resize, TextInput
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import command, not_the_catalogues
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.clip.text_head import TextHead
from ml_target.tasks.clip.tokenizer import Ids, Tokenizer
from ml_target.tasks.contract import Steps
from ml_target.tensors import Array, Float32, UInt8

HALF_FROM = 3.2
"""Times the tower's side that the shorter side of a picture must have left at half its size: below that the differences
grow (tests/parity/test_search_parity.py)."""

QUERY = 2048
"""Up to this many characters, a text is prepared on the event loop's thread: well under a millisecond."""


class PictureEncoder:
    """Pictures to vectors. `resize`: "shortest" crops to the middle, "squash" keeps everything.

    `enough`: pixels of the shorter side from which on a picture decoded at half its size will do; None: none will.
    """

    def __init__(self, model: Model, pool: ThreadPool, resize: Resize, decoding: Decoding = "exact") -> None:
        self._model = model
        self._pool = pool
        self._resize = shortest_side_crop if resize == "shortest" else squash
        self._size = _side(model)
        self.enough = round(HALF_FROM * self._size) if decoding == "scaled" else None

    async def embed(self, picture: UInt8, trace: Trace) -> Float32:
        """The vector of a picture, H x W x 3 RGB uint8: float32 (width,), length 1. Raises EngineFault."""
        with trace.stage("clip.prepare"), self._model.coming():
            frame = await self._pool.run(self.frame, picture)
        return await self.embed_frame(frame, trace)

    @property
    def steps(self) -> Steps[Float32]:
        """The same in two steps, the first for the thread that has decoded the picture."""
        return Steps(self.frame, self.embed_frame)

    def frame(self, picture: UInt8) -> UInt8:
        """The picture as the tower takes it, size x size x 3. For the pool's threads."""
        return self._resize(picture, self._size)

    async def embed_frame(self, frame: UInt8, trace: Trace) -> Float32:
        """As `embed`, of what `frame` made of the picture."""
        with trace.stage("clip.infer"):
            (outputs,) = await self._model.infer([frame])
        return unit(outputs[EMBEDDING].real().reshape(-1), self._model.network.name)


class TextEncoder:
    """Texts to vectors of the same space. Raises ModelError when tower, tokenizer and weights do not fit together."""

    def __init__(self, model: Model, tokenizer: Tokenizer, head: TextHead, pool: ThreadPool) -> None:
        spec = model.network.input
        if not isinstance(spec, TextInput) or spec.tokens != tokenizer.length:
            raise ModelError(
                f"{model.network.name} takes {spec}, but its tokenizer gives {tokenizer.length} ids",
                "The tokenizer belongs to another model: correct the catalogue's entry",
            )
        head.check(model.intake, model.loaded.roles, tokenizer.size)
        self._model = model
        self._tokenizer = tokenizer
        self._head = head
        self._pool = pool

    async def embed(self, text: str, trace: Trace) -> Float32:
        """The vector of a text: float32 (width,), length 1. Raises EngineFault."""
        with trace.stage("clip.prepare"), self._model.coming():
            # A query is one line; it must not wait behind pictures that are being decoded.
            ids, frame = self._prepare(text) if len(text) <= QUERY else await self._pool.run(self._prepare, text)
        with trace.stage("clip.infer"):
            (outputs,) = await self._model.infer([frame])
        return unit(self._head.vector(outputs, ids), self._model.network.name)

    def _prepare(self, text: str) -> tuple[Ids, Array]:
        ids = self._tokenizer.encode(text)
        return ids, self._head.frame(ids, self._model.intake)


def unit(vector: Float32, source: str) -> Float32:
    """The vector at length 1, float32. Raises EngineFault for one without direction: Immich would store it."""
    wide = vector.astype(np.float64)
    length = float(np.linalg.norm(wide))
    if not np.isfinite(length) or length == 0.0:
        raise EngineFault(
            f"{source} gave a vector that is zero or not a number, so there is nothing to store",
            f"Try again; if it stays, its file may be damaged: {command('models verify')}",
        )
    result: Float32 = (wide / length).astype(np.float32)
    return result


def _side(model: Model) -> int:
    """The side of the square the tower takes: its own, or the catalogue's where the file takes any size."""
    spec, shape = model.network.input, model.intake.shape
    if isinstance(spec, PictureInput) and len(shape) == 3:
        height, width = shape[0] or spec.height, shape[1] or spec.width
        if height == width:
            return height
    raise ModelError(
        f"{model.network.name} takes frames of {shape}, a square picture is wanted",
        not_the_catalogues(),
    )
