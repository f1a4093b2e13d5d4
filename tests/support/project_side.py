"""The host's work in this project, of any checkout since commit 7d9a00f: what is on PYTHONPATH is measured.

Modules have moved since; `_Layout` finds them by both their places.
"""

import asyncio
import importlib
import inspect
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from recorded import SIDE, OnnxPicture, Recorded, face_maps

import ml_target

THREADS = 2
MOST_PIXELS = 200_000_000
DETECTOR, RECOGNISER, DICTIONARY = "ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt"
PLACES = {
    "picture": ("imaging.picture", "preprocessing.picture"),
    "encoders": ("tasks.clip.encoders", "search"),
    "resize": ("tasks.clip.resize", "preprocessing.resize"),
    "finder": ("tasks.faces.finder", "faces"),
    "letterbox": ("tasks.faces.letterbox", "preprocessing.letterbox"),
    "align": ("tasks.faces.align", "preprocessing.align"),
    "reader": ("tasks.ocr.reader", "ocr"),
    "tiles": ("tasks.ocr.tiles", "preprocessing.tiles"),
    "ctc": ("tasks.ocr.ctc", "decoders.ctc"),
    "model": ("scheduling.model", "models"),
    "arbiter": ("scheduling.arbiter", "arbiter"),
    "threads": ("scheduling.threads", "host"),
    "trace": ("log.trace", "trace"),
    "wire": ("tasks.wire", "protocol"),
    "serve": ("api.serve", "serve"),
}


class _Layout:
    """`layout.picture` is the module that decodes, wherever this checkout has it."""

    def __getattr__(self, name: str) -> Any:
        root = Path(ml_target.__file__).parent  # looked up as files: an installed checkout must not step in
        for place in PLACES[name]:
            if (root / (place.replace(".", "/") + ".py")).is_file():
                return importlib.import_module(f"ml_target.{place}")
        raise SystemExit(f"{root} has none of {', '.join(PLACES[name])}: it cannot be measured")


class Project:
    """Steps by name: each takes a photo's bytes and its pixels. `models`: the folder with the text networks."""

    def __init__(self, models: Path) -> None:
        from ml_target.catalogue import networks

        self._layout, self._networks = _Layout(), cast(Any, networks)
        self._layout.serve.prepare_process(1024)
        self._arbiter = self._layout.arbiter.Arbiter(1)
        names = vars(self._layout.threads)
        self._pool = (names.get("ThreadPool") or names["HostPool"])(THREADS)
        self._loop = asyncio.new_event_loop()
        self._recorded: list[Recorded] = []
        self.steps: dict[str, Callable[[bytes, Any], object]] = {"decode": lambda data, _: self._decode(data)}
        self._small_steps()
        for name, backend, resize in (
            ("tinyclip", networks.TINYCLIP, "shortest"),
            ("siglip", networks.SIGLIP, "squash"),
        ):
            encoder = self._encoder(backend, resize)
            self.steps[f"search {name}"] = partial(self._search, encoder, self._decode)
            if half := self._half(scaled := self._encoder(backend, resize, decoding="scaled")):
                self.steps[f"search {name}, scaled"] = partial(self._search, scaled, half)
        self.steps["faces"] = self._faces(self._finder())
        if all((models / name).is_file() for name in (DETECTOR, RECOGNISER, DICTIONARY)):
            self.steps["text"] = self._text(self._reader(models))

    def do(self, step: str, key: object, data: bytes, pixels: Any) -> None:
        """One step. `key`: of the photo, for what networks answer."""
        for each in self._recorded:
            each.begin((step, key))
        self.steps[step](data, pixels)

    def decoded(self, data: bytes) -> Any:
        """The pixels of a photo."""
        return self._decode(data)

    # ------------------------------------------------------------------ parts

    def _decode(self, data: bytes) -> Any:
        return self._layout.picture.decode(data, MOST_PIXELS)

    def _half(self, encoder: Any) -> Callable[[bytes], Any] | None:
        """Decoding at half the size where that is enough, as the pipeline does, in checkouts that know it."""
        picture = self._layout.picture
        if getattr(encoder, "enough", None) is None or not hasattr(picture, "decode_half"):
            return None
        halves = importlib.import_module("ml_target.imaging.turbojpeg").halves

        def decode(data: bytes) -> Any:
            structure = picture.probe(data, MOST_PIXELS)
            pixels = picture.decode_half(io.BytesIO(data), structure) if halves(structure, encoder.enough) else None
            return picture.decode_known(data, structure) if pixels is None else pixels

        return decode

    def _small_steps(self) -> None:
        parts, tiles = self._layout, self._layout.tiles
        spec = self._networks.OCR_DETECTION.input
        frame = (spec.height, spec.width)

        def cover(_: bytes, pixels: Any) -> None:
            tiles.tiles(pixels, tiles.plan(*pixels.shape[:2], frame, 736, 16), "BGR")

        points = np.array([[300, 300], [360, 300], [330, 335], [305, 370], [355, 370]], np.float32)
        three = np.stack([points, points + 40, points + 80])
        vector = np.random.default_rng(0).normal(size=768).astype(np.float32)
        self.steps |= {
            "prepare: search, shortest side": lambda _, pixels: parts.resize.shortest_side_crop(pixels, 224),
            "prepare: search, squashed": lambda _, pixels: parts.resize.squash(pixels, 224),
            "prepare: faces": lambda _, pixels: parts.letterbox.letterbox(pixels, SIDE, SIDE),
            "prepare: text": cover,
            "crop: three faces": lambda _, pixels: parts.align.align(pixels, three, 112),
            "encode: a vector": lambda _, __: parts.wire.vector_text(vector),
        }

    def _model(self, network: Any, recorded: Recorded) -> Any:
        self._recorded.append(recorded)
        module = self._layout.model
        origin = module.Provenance("recorded", "", "recorded")
        if "queue" in module.Model.__dataclass_fields__:
            queue = self._arbiter.queue(recorded, network.name, interactive=False)
            return module.Model(network, queue, origin)
        return module.Model(network, recorded, self._arbiter, origin)

    def _vector_network(self, network: Any) -> Any:
        from ml_target.tensors import Tensor

        output = network.forms[0][0]
        vector = Tensor(np.random.default_rng(1).integers(0, 255, output.width).astype(np.uint8), 0.01, 100.0)
        shape = (network.input.height, network.input.width, 3)
        return self._model(network, Recorded(shape, lambda _: {output.role: vector}))

    def _encoder(self, backend: Any, resize: str, **options: str) -> Any:
        kind = self._layout.encoders.PictureEncoder
        if options.keys() - inspect.signature(kind).parameters.keys():
            return None
        return kind(self._vector_network(backend.visual), self._pool, resize, **options)

    def _search(self, encoder: Any, decode: Callable[[bytes], Any], data: bytes, _: Any) -> str:
        trace = self._layout.trace.Trace()

        async def whole() -> Any:
            return await encoder.embed(await self._pool.run(decode, data), trace)

        text: str = self._layout.wire.vector_text(self._loop.run_until_complete(whole()))
        return text

    def _finder(self) -> Any:
        from ml_target.tensors import Tensor

        maps = {role: Tensor(values) for role, values in face_maps().items()}
        detector = self._model(self._networks.SCRFD_2_5G, Recorded((SIDE, SIDE, 3), lambda _: maps))
        recogniser = self._vector_network(self._networks.ARCFACE_R50)
        return self._layout.finder.FaceFinder(detector, recogniser, self._pool, 500)

    def _faces(self, finder: Any) -> Callable[[bytes, Any], object]:
        async def whole(data: bytes) -> Any:
            return await finder.find(await self._pool.run(self._decode, data), 0.7, self._layout.trace.Trace())

        def find(data: bytes, _: Any) -> object:
            faces = self._loop.run_until_complete(whole(data))
            return [self._layout.wire.vector_text(face.embedding) for face in faces]

        return find

    def _reader(self, models: Path) -> Any:
        detection, recognition = self._networks.OCR_DETECTION, self._networks.OCR_RECOGNITION
        made = []
        for network, file in ((detection, DETECTOR), (recognition, RECOGNISER)):
            shape = (network.input.height, network.input.width, 3)
            computed = OnnxPicture(models / file, network.input, network.forms[0][0].role)
            made.append(self._model(network, Recorded(shape, computed)))
        alphabet = self._layout.ctc.Alphabet.from_file(models / DICTIONARY)
        return self._layout.reader.TextReader(made[0], made[1], alphabet, self._pool, 1000, 16)

    def _text(self, reader: Any) -> Callable[[bytes, Any], object]:
        options = self._layout.reader.ReadOptions(min_text_score=0.8)

        async def whole(data: bytes) -> Any:
            return await reader.read(await self._pool.run(self._decode, data), options, self._layout.trace.Trace())

        return lambda data, _: self._loop.run_until_complete(whole(data))
