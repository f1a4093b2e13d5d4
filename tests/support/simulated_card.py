"""The real networks as files for the simulated card, run the way the worker runs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hailo_sim import Rig, simulated
from hailo_sim.build import from_onnx
from pictures import read_rgb

from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G
from ml_target.catalogue.types import Network, PictureInput
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.faces.scrfd import decode
from ml_target.tensors import Array

DETECTOR, EMBEDDER = "scrfd_2.5g_bnkps.onnx", "face_embedder_112_512.onnx"
OCR_FILES = ((OCR_DETECTION, "ppocrv5_mobile_det.onnx"), (OCR_RECOGNITION, "ppocrv5_mobile_rec.onnx"))


@dataclass(frozen=True)
class Card:
    """An open card, and the queue and threads around it."""

    rig: Rig
    engine: HailoEngine
    arbiter: Arbiter
    host: ThreadPool

    def model(self, folder: Path, network: Network) -> Model:
        """The network's file in `folder`, checked and configured."""
        file = hef_path(folder, network)
        self.engine.check(file, network)
        return Model(
            network,
            self.arbiter.queue(self.engine.open(file, network), network.name),
            Provenance(file.name, "", "hailo"),
        )


@contextmanager
def open_card(clock: str = "virtual") -> Iterator[Card]:
    """One simulated card, with the worker's queue for it. By default it takes no time."""
    with simulated(Rig(clock=clock)) as rig:
        engine, host = HailoEngine(CardSettings()), ThreadPool(2)
        engine.start()
        arbiter = Arbiter(1, patient=True, ahead=True, recover=engine.recover)
        yield Card(rig, engine, arbiter, host)
        arbiter.close()
        host.close()
        engine.close()


def hef_path(folder: Path, network: Network) -> Path:
    """Where the worker looks for a network's file."""
    return folder / network.hef["hailo8"].name


def write_face_files(folder: Path, face_models: Path, photos: Path) -> None:
    """SCRFD with a real file's quantisation, and the stand-in embedder as ArcFace, both 8 bit."""
    hef_path(folder, SCRFD_2_5G).write_bytes(from_onnx(SCRFD_2_5G, face_models / DETECTOR, []))
    crops = aligned_faces(face_models, photos / "faces_four.jpg")
    hef_path(folder, ARCFACE_R50).write_bytes(from_onnx(ARCFACE_R50, face_models / EMBEDDER, crops))


def write_text_files(folder: Path, wheel_models: Path) -> None:
    """Both OCR networks at their fixed sizes, probabilities in 8 bits, and the dictionary."""
    for network, file in OCR_FILES:
        hef_path(folder, network).write_bytes(from_onnx(network, wheel_models / file, []))
    (folder / "ppocrv5_dict.txt").symlink_to(wheel_models / "ppocrv5_dict.txt")


def aligned_faces(face_models: Path, photo: Path) -> list[Array]:
    """The faces of a photo, upright, as the recogniser takes them; found with floats."""
    picture, spec = read_rgb(photo), SCRFD_2_5G.input
    assert isinstance(spec, PictureInput)
    frame, scale = letterbox(picture, spec.height, spec.width)
    (outputs,) = OnnxEngine(threads=1).open(face_models / DETECTOR, SCRFD_2_5G).run([frame])
    return list(align(picture, decode(outputs, scale, 0.7, 500).landmarks, 112))
