"""The same host work as it is mostly written: Pillow, insightface's and RapidOCR's own processing, one thread."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from PIL import Image
from recorded import ANCHORS, SIDE, STRIDES, face_maps

RESOLUTION = 736


class Plain:
    """Steps by name, as `project_side.Project` has them. `models`: with the text networks, for recording."""

    def __init__(self, models: Path) -> None:
        self._find, self._crop = _insightface()
        points = np.array([[300, 300], [360, 300], [330, 335], [305, 370], [355, 370]], np.float32)
        vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
        self.steps: dict[str, Callable[[bytes, Any], object]] = {
            "decode": lambda data, _: self.decoded(data),
            "prepare: search, shortest side": lambda _, pixels: _shortest(pixels),
            "prepare: search, squashed": lambda _, pixels: _squash(pixels),
            "prepare: faces": lambda _, pixels: _letterbox(pixels),
            "crop: three faces": lambda _, pixels: [self._crop(pixels, points + by) for by in (0, 40, 80)],
            "encode: a vector": lambda _, __: json.dumps(vector.tolist()),
            "search tinyclip": lambda data, _: json.dumps(_vector(_shortest(self.decoded(data)))),
            "search siglip": lambda data, _: json.dumps(_vector(_squash(self.decoded(data)))),
            "faces": self._faces,
        }
        if (models / "ppocrv5_mobile_det.onnx").is_file():
            reader = _reader(models)
            self._reader: Any = reader
            self.steps["prepare: text"] = lambda _, pixels: reader.steps.frame(pixels, RESOLUTION)
            self.steps["text"] = lambda data, _: reader.read(self.decoded(data), 0.8, RESOLUTION)

    def do(self, step: str, key: object, data: bytes, pixels: Any) -> None:
        """One step. `key`: of the photo, for what networks answer."""
        if step == "text":
            self._reader.begin(key)
        self.steps[step](data, pixels)

    def decoded(self, data: bytes) -> Any:
        """The pixels of a photo."""
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def _faces(self, data: bytes, _: Any) -> object:
        pixels = self.decoded(data)
        crops = [self._crop(pixels, points) for points in self._find(pixels)]
        return [json.dumps(_vector(crop)) for crop in crops]


def _squash(pixels: Any) -> Any:
    return np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BICUBIC))


def _shortest(pixels: Any) -> Any:
    high, wide = pixels.shape[:2]
    scale = 224 / min(high, wide)
    whole = Image.fromarray(pixels).resize((int(wide * scale), int(high * scale)), Image.Resampling.BICUBIC)
    left, top = (whole.width - 224) // 2, (whole.height - 224) // 2
    return np.asarray(whole.crop((left, top, left + 224, top + 224)))


def _letterbox(pixels: Any) -> Any:
    """As insightface's detector does before its network."""
    high, wide = pixels.shape[:2]
    scale = min(SIDE / high, SIDE / wide)
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    small = cv2.resize(pixels, (int(wide * scale), int(high * scale)))
    frame[: small.shape[0], : small.shape[1]] = small
    return frame


def _vector(frame: Any) -> list[float]:
    """A network's answer."""
    values = np.resize(np.asarray(frame[0, :4], np.float32), 512)
    normal: list[float] = (values / (np.linalg.norm(values) + 1.0)).tolist()
    return normal


def _insightface() -> tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]:
    """Its detector on recorded answers (pixels to landmarks), and its alignment."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from insightface.model_zoo.retinaface import RetinaFace
        from insightface.utils import face_align
    maps = face_maps()
    answers = [
        maps[f"{role}_{stride}"].reshape(-1, maps[f"{role}_{stride}"].shape[-1] // ANCHORS)
        for role in ("score", "box", "kps")
        for stride in STRIDES
    ]
    session = SimpleNamespace(
        get_inputs=lambda: [SimpleNamespace(name="input.1", shape=[1, 3, SIDE, SIDE])],
        get_outputs=lambda: [SimpleNamespace(name=str(n), shape=answer.shape) for n, answer in enumerate(answers)],
        run=lambda _names, _feed: answers,
        set_providers=lambda _: None,
    )
    detector: Any = RetinaFace(model_file="recorded", session=session)
    detector.prepare(ctx_id=0, det_thresh=0.7, input_size=(SIDE, SIDE))

    def crop(pixels: Any, points: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return face_align.norm_crop(pixels, points, 112)

    return lambda pixels: detector.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1], crop


def _reader(models: Path) -> Any:
    """RapidOCR's way with the networks' answers recorded at the first pass."""
    from rapidocr_reference import RapidOcrReader

    class Reader(RapidOcrReader):
        def begin(self, key: object) -> None:
            self.answers: list[Any]
            known = self.__dict__.setdefault("known", {})
            self.answers, self.place = known.setdefault(key, []), 0

        def _answer(self, compute: Callable[[], Any]) -> Any:
            if self.place == len(self.answers):
                self.answers.append(compute())
            self.place += 1
            return self.answers[self.place - 1]

        def probability(self, picture: Any, max_resolution: int = RESOLUTION) -> Any:
            frame = self.steps.frame(picture, max_resolution)
            return self._answer(lambda: self._detector.run(None, {"x": frame})[0][0, 0])

        def recognise(self, frames: Any) -> Any:
            return self._answer(lambda: super(Reader, self).recognise(frames))

    return Reader(models)
