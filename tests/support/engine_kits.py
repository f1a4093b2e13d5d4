"""Every engine with files of the same two small networks, for the tests that hold for all of them.

A kit for one engine more is one function here, and its name in `KITS`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import Source, from_onnx
from hailo_sim.contracts import PICTURE, affine, make_group
from hailo_sim.hef_file import Stream
from onnx import TensorProto, helper

from ml_target.catalogue.types import Network, PictureInput, TextInput, TokenStates, Vector
from ml_target.engines import Engine
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.tensors import Array

MEANS = Network(
    "channel_means",
    "clip",
    "visual",
    PictureInput(4, 6, "RGB", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0)),
    ((Vector("embedding", 3),),),
    onnx=(),
)
NEGATIVES = Network(
    "negatives",
    "clip",
    "textual",
    TextInput(5, 3),
    ((Vector("embedding", 3),), (TokenStates("tokens", 5, 3),)),
    onnx=(),
)


def mean_of(picture: Array) -> Array:
    """What `MEANS` answers: the mean of each normalised channel."""
    means: Array = (picture.reshape(-1, 3).mean(axis=0) - (10, 20, 30)) / (2, 4, 8)
    return means


@dataclass(frozen=True)
class Kit:
    """An engine, not started yet. `file`: writes the file of one of the two networks into a folder."""

    engine: Engine
    file: Callable[[Path, Network], Path]
    rounding: float
    """How far an answer may be from the exact one."""


def graph(network: Network, batch: int | str) -> onnx.ModelProto:
    """The network for ONNX Runtime."""
    if network is MEANS:
        node = helper.make_node("ReduceMean", ["anything"], ["whatever"], axes=[2, 3], keepdims=0)
        given, result = [batch, 3, 4, 6], [batch, 3]
    else:
        node = helper.make_node("Neg", ["anything"], ["whatever"])
        given = result = [batch, 5, 3]
    made = helper.make_graph(
        [node],
        "little",
        [helper.make_tensor_value_info("anything", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("whatever", TensorProto.FLOAT, result)],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@contextmanager
def cpu() -> Iterator[Kit]:
    """ONNX Runtime."""

    def file(folder: Path, network: Network) -> Path:
        path = folder / f"{network.name}.onnx"
        onnx.save(graph(network, "N"), path)
        return path

    yield Kit(OnnxEngine(threads=1), file, rounding=1e-5)


@contextmanager
def card() -> Iterator[Kit]:
    """HailoRT, on the simulated card, whose answers are rounded to 16 bits."""

    def file(folder: Path, network: Network) -> Path:
        source = folder / "source.onnx"
        onnx.save(graph(network, 1), source)
        group = make_group(network.name, *_streams(network), 1)
        path = folder / f"{network.name}.hef"
        samples = SAMPLES[network.name]
        path.write_bytes(from_onnx(network, source, samples, group=group, sources=[Source("whatever")]))
        return path

    with pytest.MonkeyPatch.context() as patch, simulated(Rig(clock="virtual")):
        patch.setattr(hailo, "host_checks", lambda **_: [])  # the machine may have a card of its own
        yield Kit(HailoEngine(CardSettings()), file, rounding=0.01)


SAMPLES: dict[str, list[Array]] = {
    MEANS.name: [np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)],
    NEGATIVES.name: [np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)],
}


def _streams(network: Network) -> tuple[list[Stream], list[Stream]]:
    wide = affine(-1, 1, 16)
    name = network.name
    if network is MEANS:
        given = Stream(f"{name}/input_layer1", (4, 6, 3), "NHWC", 8, PICTURE, False)
        return [given], [Stream(f"{name}/fc1", (1, 1, 3), "NC", 16, wide, True)]
    given = Stream(f"{name}/input_layer1", (1, 5, 3), "NHWC", 16, wide, False)
    return [given], [Stream(f"{name}/norm1", (1, 5, 3), "NHWC", 16, wide, True)]


KITS = {"cpu": cpu, "hailo": card}
