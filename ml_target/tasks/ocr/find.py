"""Finds lines of text: in one map of the whole picture, however many frames the detector needs for it."""

from ml_target.catalogue.networks import PROBABILITY
from ml_target.catalogue.types import PictureInput
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import WRONG_ENTRY, check_file
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import SLACK
from ml_target.tasks.ocr.dbnet import MAX_CANDIDATES, Boxes, find_boxes
from ml_target.tasks.ocr.mosaic import merge
from ml_target.tasks.ocr.tiles import Tiling, plan, tiles, whole
from ml_target.tensors import Outputs, Tensor, UInt8


class LineFinder:
    """The text detector.

    `max_lines`: boxes answered for one picture; `max_tiles`: frames that a detector of one size may take for it.
    """

    def __init__(self, detector: Model, pool: ThreadPool, max_lines: int, max_tiles: int) -> None:
        if not isinstance(detector.network.input, PictureInput):
            raise ModelError(f"{detector.network.name} does not take pictures, so it cannot find text", WRONG_ENTRY)
        self._detector = detector
        self._spec = detector.network.input
        self._pool = pool
        self._max_lines = max_lines
        self._max_patches = max(MAX_CANDIDATES, max_lines)
        self._max_tiles = max_tiles
        self._free = detector.intake.shape[:2] == (None, None)

    async def find(self, picture: UInt8, max_resolution: int, min_score: float, trace: Trace) -> Boxes:
        """The boxes that score at least `min_score`, in reading order.

        `picture`: H x W x 3 uint8 RGB; `max_resolution`: its shorter side, in pixels, at which lines are
        looked for. Raises EngineFault when the network gives values that are not probabilities.
        """
        tiling = self._tiling(picture, max_resolution)
        with trace.stage("ocr.prepare"), self._detector.coming(len(tiling.starts)):
            frames = await self._pool.run(tiles, picture, tiling, self._spec.colour, self._pool.together)
        with trace.stage("ocr.detect"):
            outputs = await self._detector.infer(frames)
        with trace.stage("ocr.boxes"):
            size = (picture.shape[0], picture.shape[1])
            boxes = await self._pool.run(self._boxes, outputs, tiling, size, min_score)
        trace.count("tiles", len(frames))
        trace.count("boxes", len(boxes.scores))
        return self._bounded(boxes, tiling, trace)

    def _tiling(self, picture: UInt8, max_resolution: int) -> Tiling:
        high, wide = picture.shape[:2]
        height, width = self._detector.intake.shape[:2]
        if self._free:
            return whole(high, wide, max_resolution)
        frame = (height or self._spec.height, width or self._spec.width)
        return plan(high, wide, frame, max_resolution, self._max_tiles)

    def _boxes(self, outputs: list[Outputs], tiling: Tiling, size: tuple[int, int], min_score: float) -> Boxes:
        maps = [output[PROBABILITY] for output in outputs]
        if not all(_is_probability(m) for m in maps):
            raise EngineFault(
                f"{self._detector.network.name} gave probabilities that are not numbers from 0 to 1", check_file()
            )
        whole_map = merge(maps, tiling.starts, tiling.size)
        return find_boxes(whole_map, size, min_score, self._max_patches)

    def _bounded(self, boxes: Boxes, tiling: Tiling, trace: Trace) -> Boxes:
        """The first `max_lines`. Warns of what a limit left out."""
        if tiling.reduced:
            cause, remedy = ("memory", "so that it fits") if self._free else ("the tiles", "or raise MAX_TEXT_TILES")
            trace.warn(
                f"lines were looked for at {tiling.size[1]} x {tiling.size[0]} pixels to bound {cause}, smaller than "
                f"asked for; small print may be missed: lower the maximum resolution in Immich, {remedy}"
            )
        if boxes.unseen:
            trace.warn(
                f"{boxes.unseen} patches of the picture that look like text were not looked at; raise MAX_TEXT_LINES "
                f"above {self._max_patches}"
            )
        if len(boxes.scores) > self._max_lines:
            trace.warn(f"{len(boxes.scores)} lines found, the first {self._max_lines} read; raise MAX_TEXT_LINES")
            return Boxes(boxes.corners[: self._max_lines], boxes.scores[: self._max_lines])
        return boxes


def _is_probability(probability: Tensor) -> bool:
    """Whether all values of the map are probabilities; False for a NaN."""
    low, high = float(probability.values.min()), float(probability.values.max())
    return probability.raw(-SLACK) <= low and high <= probability.raw(1 + SLACK)
