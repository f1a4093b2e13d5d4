"""Text as RapidOCR's own classes find and read it, set up as Immich's official worker does.

Only its processing is used: the networks run here, PP-OCRv5 with the normalisation it was trained with, PP-OCRv6 with
RapidOCR's own. `WholeRapidOcr` is RapidOCR itself.
"""

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ml_target.tensors import Float32, UInt8

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
BATCH = 6
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """`corners`: 4 x 2, 0..1."""

    text: str
    corners: Float32
    box_score: float
    text_score: float


class RapidOcr:
    """RapidOCR's steps, one by one."""

    def __init__(self, mean: Triple = MEAN, std: Triple = STD) -> None:
        if importlib.util.find_spec("rapidocr") is None:
            pytest.skip("rapidocr is not installed; `./setup.sh test` installs it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from rapidocr.ch_ppocr_det.main import TextDetector
            from rapidocr.ch_ppocr_det.utils import DBPostProcess, DetPreProcess
            from rapidocr.ch_ppocr_rec.main import TextRecognizer
            from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode
            from rapidocr.utils.process_img import get_rotate_crop_image
        self._boxes: Any = DBPostProcess
        self._normalise: Any = DetPreProcess(mean=mean, std=std)
        self._sort: Any = TextDetector.sorted_boxes
        self._line: Any = TextRecognizer.resize_norm_img
        self._ctc: Any = CTCLabelDecode
        self._crop: Any = get_rotate_crop_image

    def frame(self, picture: UInt8, max_resolution: int) -> Float32:
        """1 x 3 x H x W for the detector. `picture`: RGB. The resize is Immich's own, with Pillow."""
        ratio = min(1.0, max_resolution / min(picture.shape[:2]))
        height, width = (max(32, int(round(int(n * ratio) / 32) * 32)) for n in picture.shape[:2])
        resized = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
        normal = self._normalise.permute(self._normalise.normalize(np.asarray(resized)[..., ::-1]))
        return np.ascontiguousarray(normal[None], np.float32)

    def boxes(self, probability: Float32, size: tuple[int, int], min_score: float) -> tuple[Float32, list[float]]:
        """N x 4 x 2 corners in pixels of a picture of `size` (height, width), and their scores, in its order.

        `probability`: H x W.
        """
        process = self._boxes(0.3, min_score, 1000, 1.6, "fast", True)
        boxes, scores = process(probability[None, None], size)
        return np.asarray(boxes, np.float32).reshape(-1, 4, 2), [float(score) for score in scores]

    def in_reading_order(self, boxes: Float32) -> list[int]:
        """The indices of `boxes` in RapidOCR's order; boxes are told apart by their corners."""
        places = {box.tobytes(): index for index, box in enumerate(boxes)}
        return [places[np.ascontiguousarray(box).tobytes()] for box in self._sort(boxes)]

    def crop(self, bgr: UInt8, corners: Float32) -> UInt8:
        """One line upright."""
        crop: UInt8 = self._crop(bgr, corners.copy())
        return crop

    def line(self, crop: UInt8, ratio: float) -> Float32:
        """3 x 48 x W for the recogniser, W for a line `ratio` times wider than high."""
        line: Float32 = self._line(SimpleNamespace(rec_image_shape=(3, 48, 320)), crop, ratio)
        return line

    def texts(self, probabilities: Float32, dictionary: Path | list[str]) -> list[tuple[str, float]]:
        """Text and score of every line of N x T x classes. `dictionary`: a file, or its lines."""
        # RapidOCR adds to the list that it gets.
        given = {"character_path": dictionary} if isinstance(dictionary, Path) else {"character": list(dictionary)}
        lines, _ = self._ctc(**given)(probabilities)
        return [(text, float(score)) for text, score in lines]


class RapidOcrReader:
    """The whole way, with the real networks of PP-OCRv5. `threads`: of an inference."""

    names = ("ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx")

    def __init__(self, models: Path, threads: int = 1) -> None:
        import onnxruntime

        self.steps = self.make_steps()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._detector, self._recognizer = (
            onnxruntime.InferenceSession(str(models / name), options, providers=["CPUExecutionProvider"])
            for name in self.names
        )
        self.dictionary = self.find_dictionary(models)

    def make_steps(self) -> RapidOcr:
        return RapidOcr()

    def find_dictionary(self, models: Path) -> Any:
        return models / "ppocrv5_dict.txt"

    def probability(self, picture: UInt8, max_resolution: int = 736) -> Float32:
        """The detector's map, H x W, of a picture H x W x 3 RGB."""
        [probability] = self._detector.run(None, {"x": self.steps.frame(picture, max_resolution)})
        whole: Float32 = probability[0, 0]
        return whole

    def recognise(self, frames: Float32) -> Float32:
        """N x T x classes of N x 3 x 48 x W."""
        [probabilities] = self._recognizer.run(None, {"x": frames})
        rows: Float32 = probabilities
        return rows

    def texts(self, probabilities: Float32) -> list[tuple[str, float]]:
        """Text and score of every line."""
        return self.steps.texts(probabilities, self.dictionary)

    def read(self, picture: UInt8, min_text_score: float, max_resolution: int = 736) -> list[ReferenceLine]:
        """`picture`: H x W x 3 RGB."""
        height, width = picture.shape[:2]
        boxes, scores = self.steps.boxes(self.probability(picture, max_resolution), (height, width), 0.5)
        if not len(boxes):
            return []
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        order = self.steps.in_reading_order(boxes)
        texts = self._recognise([self.steps.crop(np.asarray(bgr, np.uint8), boxes[i]) for i in order])
        size = np.array([width, height], np.float32)
        return [
            ReferenceLine(text, boxes[i] / size, scores[i], score)
            for i, (text, score) in zip(order, texts, strict=True)
            if score > min_text_score
        ]

    def _recognise(self, crops: list[UInt8]) -> list[tuple[str, float]]:
        """In batches of six of about one width, as the official worker."""
        ratios = [crop.shape[1] / crop.shape[0] for crop in crops]
        order = sorted(range(len(crops)), key=ratios.__getitem__)
        texts: dict[int, tuple[str, float]] = {}
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            widest = max(320 / 48, *(ratios[i] for i in batch))
            frames = np.stack([self.steps.line(crops[i], widest) for i in batch])
            texts.update(zip(batch, self.texts(self.recognise(frames)), strict=True))
        return [texts[i] for i in range(len(crops))]


class RapidOcrV6Reader(RapidOcrReader):
    """The same with PP-OCRv6 small, which carries its characters itself."""

    names = ("ppocrv6_small_det.onnx", "ppocrv6_small_rec.onnx")

    def make_steps(self) -> RapidOcr:
        return RapidOcr(HALF, HALF)

    def find_dictionary(self, models: Path) -> Any:
        return self._recognizer.get_modelmeta().custom_metadata_map["character"].splitlines()


class WholeRapidOcr:
    """RapidOCR itself with its own settings and networks, PP-OCRv6 small, but without the angle classifier."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(
            params={
                "Global.use_cls": False,
                "Global.text_score": 0.8,
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            }
        )

    def read(self, picture: UInt8) -> list[ReferenceLine]:
        """`picture`: H x W x 3 RGB; with a shorter side of 736 and multiples of 32 nobody resizes it."""
        found = self._engine(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        size = np.array(picture.shape[1::-1], np.float32)
        return [
            ReferenceLine(text, (np.asarray(box, np.float32) / size).astype(np.float32), float("nan"), float(score))
            for text, box, score in zip(
                found.txts or (), found.boxes if found.txts else (), found.scores or (), strict=True
            )
        ]


def edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]
