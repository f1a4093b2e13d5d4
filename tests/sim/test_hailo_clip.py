"""Smart search on the simulated card: the CPU engine's vectors of the same tensors, however a text tower was cut.

The towers have the published architectures and seeded random weights, in 2 layers each (SigLIP differs from SigLIP2
in its vocabulary and the size of its pictures alone): what is compared is the rounding at the networks' ends.
"""

import asyncio
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np
import parity_table as parity
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import from_onnx
from hailo_sim.contracts import group_of
from hailo_sim.cutting import End, text_tower
from hailo_sim.networks import forget_sessions
from pictures import read_rgb
from PIL import Image
from remembered import Remembered
from serving import live
from simulated_card import Card, hef_path, open_card
from towers import (
    QUERIES,
    Towers,
    build_towers,
    export_picture_tower,
    export_text_tower,
)
from wire import CLIP, ask, search, vector

from ml_target.catalogue.networks import EMBEDDING
from ml_target.catalogue.types import ClipBackend, Network, PictureInput, Resize
from ml_target.config import Settings
from ml_target.engines import LoadedNetwork
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.clip.encoders import PictureEncoder, TextEncoder
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.clip.text_head import TextHead, TextLayout
from ml_target.tasks.clip.text_probe import find_layout
from ml_target.tasks.clip.tokenizer import Tokenizer, open_tokenizer
from ml_target.tensors import Array, Float32, UInt8

pytestmark = [
    pytest.mark.slow,  # whole towers, compared with those of the processor
    # Looked for, not imported: that takes seconds, where these tests are collected and left out, too.
    pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed; `./setup.sh test --full` installs it"),
]

LEAST = 0.9999
LAYERS = 2
NAMES = {"tinyclip": "TinyCLIP (2 layers)", "siglip2": "SigLIP2 B/32-256 (2 layers)"}
PHOTOS = ("astronaut", "coffee", "faces_four", "invoice", "person0_a", "rocket", "token_grid", "page_portrait")
CALIBRATION = 3
"""So many photos fit the ranges of the outputs; all are compared."""


@dataclass(frozen=True)
class Bench:
    """One backend's towers, as plain files and as the card's."""

    towers: Towers
    folder: Path
    tokenizer: Tokenizer
    photos: Path
    pool: Arbiter
    host: ThreadPool
    picture_files: dict[int, bytes] = field(default_factory=dict)

    @property
    def backend(self) -> ClipBackend:
        return self.towers.backend

    @property
    def name(self) -> str:
        return f"{NAMES[self.backend.name]} on the simulated Hailo"

    @property
    def resize(self) -> Resize:
        return self.backend.resize

    @cached_property
    def pictures(self) -> list[UInt8]:
        return [read_rgb(self.photos / f"{name}.jpg") for name in PHOTOS]

    @cached_property
    def frames(self) -> list[Array]:
        """The photos as the picture tower takes them."""
        spec = self.backend.visual.input
        assert isinstance(spec, PictureInput)
        prepare = shortest_side_crop if self.resize == "shortest" else squash
        return [prepare(picture, spec.height) for picture in self.pictures]

    @cached_property
    def cpu_picture(self) -> LoadedNetwork:
        return Remembered(OnnxEngine(threads=2).open(self.folder / "picture.onnx", self.backend.visual))

    @cached_property
    def cpu_texts(self) -> list[Float32]:
        """The CPU engine's vectors of the queries, from ids."""
        network = self.backend.textual
        model = self.on_cpu(network, OnnxEngine(threads=2).open(self.folder / "text.onnx", network))
        encoder = TextEncoder(model, self.tokenizer, TextHead(self.backend, None), self.host)
        return [asyncio.run(encoder.embed(text, Trace())) for text in QUERIES]

    def on_cpu(self, network: Network, loaded: LoadedNetwork) -> Model:
        return Model(network, self.pool.queue(loaded, network.name), Provenance("", "", "cpu"))

    def picture_file(self, bits: int) -> bytes:
        if bits not in self.picture_files:
            network = self.backend.visual
            group, file = group_of(network, bits=bits), self.folder / "picture.onnx"
            self.picture_files[bits] = from_onnx(network, file, self.frames[:CALIBRATION], group=group)
        return self.picture_files[bits]

    def text_file(self, *, positions_inside: bool, end: End) -> bytes:
        weights = self.towers.weights
        samples = [np.asarray(weights["tokens"][self.tokenizer.encode(text)], np.float32) for text in QUERIES[::2]]
        if not positions_inside:
            samples = [sample + np.asarray(weights["positions"], np.float32) for sample in samples]
        whole = self.folder / "text.onnx"
        square = not positions_inside  # the declared arrangement of the tokens must not matter either
        return text_tower(
            self.backend.textual, whole, samples, positions_inside=positions_inside, end=end, square=square
        )


@pytest.fixture(scope="module", params=list(NAMES))
def bench(
    request: pytest.FixtureRequest, wheel_models: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp(request.param)
    towers = build_towers(request.param, LAYERS)
    export_picture_tower(towers, folder / "picture.onnx")
    export_text_tower(towers, folder / "text.onnx")
    merges = wheel_models / "bpe_simple_vocab_16e6.txt.gz"
    vocabulary = [merges] if towers.backend.family == "clip" else list(request.getfixturevalue("made_table"))
    pool, host = Arbiter(1), ThreadPool(1)
    yield Bench(towers, folder, open_tokenizer(towers.backend.family, vocabulary), photos, pool, host)
    host.close()
    pool.close()
    for file in folder.iterdir():
        file.unlink()
    forget_sessions()


@pytest.fixture
def card() -> Iterator[Card]:
    with open_card() as opened:
        yield opened
        assert not opened.rig.record.crashes


def cosine(a: Float32, b: Float32) -> float:
    wide, other = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(wide @ other / (np.linalg.norm(wide) * np.linalg.norm(other)))


# ------------------------------------------------------------------- pictures


@pytest.mark.parametrize(("bits", "least"), [(16, LEAST), (8, 0.999)])
def test_vectors_of_the_same_tensor(bench: Bench, card: Card, tmp_path: Path, bits: int, least: float) -> None:
    hef_path(tmp_path, bench.backend.visual).write_bytes(bench.picture_file(bits))
    model = card.model(tmp_path, bench.backend.visual)
    ours = [outputs[EMBEDDING].real() for outputs in model.loaded.run(bench.frames)]
    theirs = [bench.cpu_picture.run([frame])[0][EMBEDDING].real() for frame in bench.frames]
    alike = [cosine(a, b) for a, b in zip(ours, theirs, strict=True)]
    parity.record(bench.name, f"picture cosine, {bits}-bit output, least of {len(alike)}", min(alike), f"≥ {least}")
    assert min(alike) >= least


def test_copies_stay_within_the_distance_of_duplicates(bench: Bench, card: Card, tmp_path: Path) -> None:
    hef_path(tmp_path, bench.backend.visual).write_bytes(bench.picture_file(16))
    encoders = {
        "card": PictureEncoder(card.model(tmp_path, bench.backend.visual), card.host, bench.resize),
        "cpu": PictureEncoder(bench.on_cpu(bench.backend.visual, bench.cpu_picture), bench.host, bench.resize),
    }
    farthest = dict.fromkeys(encoders, 0.0)
    originals = []
    for picture in bench.pictures[:3]:
        versions = [picture, *(encoded(picture, *how) for how in (("JPEG", 80), ("JPEG", 90), ("WEBP", 80)))]
        for engine, encoder in encoders.items():
            vectors = [asyncio.run(encoder.embed(version, Trace())) for version in versions]
            farthest[engine] = max(farthest[engine], *(1 - cosine(a, b) for a, b in combinations(vectors, 2)))
            if engine == "card":
                originals.append(vectors[0])
    for engine, distance in farthest.items():
        parity.record(bench.name, f"re-encoded copies, farthest distance, {engine}", distance, "≤ 0.01")
    nearest = min(1 - cosine(a, b) for a, b in combinations(originals, 2))
    parity.record(bench.name, "nearest two different photos", nearest, "> 3 x copies")
    assert farthest["card"] <= 0.01
    assert nearest > 3 * farthest["card"], "vectors that tell nothing apart would prove nothing"


def encoded(picture: UInt8, form: str, quality: int) -> UInt8:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, quality=quality)
    with Image.open(stream) as image:
        return np.array(image.convert("RGB"))


# ---------------------------------------------------------------------- texts


@pytest.mark.parametrize("positions_inside", [True, False], ids=["positions inside", "positions outside"])
@pytest.mark.parametrize("end", ["vector", "states", "states before norm"])
def test_texts_however_the_tower_was_cut(
    bench: Bench, card: Card, tmp_path: Path, end: End, positions_inside: bool
) -> None:
    """The probe finds out what the file leaves to the host, and the vectors are the CPU engine's."""
    if bench.backend.family == "clip" and end == "vector":
        pytest.skip("CLIP finds its end of text in the ids, so no such file can exist")
    content = bench.text_file(positions_inside=positions_inside, end=end)
    hef_path(tmp_path, bench.backend.textual).write_bytes(content)
    model = card.model(tmp_path, bench.backend.textual)
    weights = bench.towers.weights
    layout = find_layout(
        lambda frame: model.loaded.run([frame])[0], model.intake, bench.backend, weights, bench.tokenizer
    )
    norm = {"vector": None, "states": False, "states before norm": True}[end]
    assert layout == TextLayout(add_positions=not positions_inside, apply_norm=norm)
    encoder = TextEncoder(model, bench.tokenizer, TextHead(bench.backend, weights, layout), card.host)
    ours = [asyncio.run(encoder.embed(text, Trace())) for text in QUERIES]
    alike = [cosine(a, b) for a, b in zip(ours, bench.cpu_texts, strict=True)]
    where = "positions inside" if positions_inside else "positions outside"
    parity.record(bench.name, f"text cosine, {end}, {where}, least of {len(alike)}", min(alike), f"≥ {LEAST}")
    assert min(alike) >= LEAST


# --------------------------------------------------------------------- worker


@pytest.mark.parametrize("bench", ["tinyclip"], indirect=True)
def test_a_worker_settles_once_and_answers_as_the_cpu_engine(bench: Bench, wheel_models: Path, tmp_path: Path) -> None:
    """Over HTTP; the text tower for the processor is there too, and confirms what the probe found."""
    backend = bench.backend
    content = bench.text_file(positions_inside=False, end="states before norm")
    hef_path(tmp_path, backend.textual).write_bytes(content)
    hef_path(tmp_path, backend.visual).write_bytes(bench.picture_file(16))
    (tmp_path / backend.textual.onnx[0].name).symlink_to(bench.folder / "text.onnx")
    (tmp_path / backend.vocabulary[0].name).symlink_to(wheel_models / backend.vocabulary[0].name)
    np.savez(tmp_path / backend.text_weights.name, **bench.towers.weights)  # type: ignore[arg-type]
    photo = bench.photos / f"{PHOTOS[0]}.jpg"
    with (
        simulated(Rig(clock="virtual")) as rig,
        live(settings=Settings(engine="hailo", models_dir=tmp_path)) as (client, _),
    ):
        texts = [np.array(vector(search(client, text).json()["clip"]), np.float32) for text in QUERIES[:5]]
        picture = np.array(vector(ask(client, CLIP, photo.read_bytes()).json()["clip"]), np.float32)
        tasks = client.get("/status").json()["tasks"]
    assert not rig.record.crashes
    assert {tasks[f"clip.{side}"]["networks"][0]["engine"] for side in ("visual", "textual")} == {"hailo"}
    kept = json.loads((tmp_path / "text_layouts.json").read_text(encoding="utf-8"))
    assert kept == {hashlib.sha256(content).hexdigest(): {"add_positions": True, "apply_norm": True}}
    (outputs,) = bench.cpu_picture.run(bench.frames[:1])
    alike = [cosine(a, b) for a, b in zip(texts, bench.cpu_texts, strict=False)]
    alike.append(cosine(picture, outputs[EMBEDDING].real()))
    parity.record(bench.name, "over HTTP, texts and a picture, least", min(alike), "≥ 0.999")
    assert min(alike[:-1]) >= LEAST
    assert alike[-1] >= 0.999
