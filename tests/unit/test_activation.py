"""GELU or QuickGELU, read from files in every form in which exporters write them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ml_target.catalogue.networks import VIT_B_32
from ml_target.catalogue.types import ModelFile, Network
from ml_target.engines import Capabilities
from ml_target.errors import MissingFileError
from ml_target.tasks.clip.activation import activation_of
from ml_target.tasks.clip.text_tower import _say_other_activation


def model(nodes: list[Any], constants: dict[str, Any]) -> Any:
    """x of four numbers through the nodes to y, with a table of weights beside it."""
    weights = numpy_helper.from_array(np.arange(4096, dtype=np.float32), "table")
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "tower", [x], [y], [weights, *values]))


def erf() -> Any:
    return model([helper.make_node("Erf", ["x"], ["y"])], {})


def gelu() -> Any:
    return model([helper.make_node("Gelu", ["x"], ["y"])], {})


def quick(kind: type[np.floating[Any]] = np.float32) -> Any:
    nodes = [
        helper.make_node("Mul", ["x", "slope"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["s"]),
        helper.make_node("Mul", ["x", "s"], ["y"]),
    ]
    return model(nodes, {"slope": kind(1.702)})


def quick_in_floats() -> Any:
    made = quick()
    made.graph.initializer[1].CopyFrom(helper.make_tensor("slope", TensorProto.FLOAT, [1], [1.702]))
    return made


def quick_by_a_constant() -> Any:
    constant = helper.make_node("Constant", [], ["slope"], value=numpy_helper.from_array(np.float32(1.702)))
    made = quick()
    made.graph.node.insert(0, constant)
    del made.graph.initializer[1]
    return made


def gate() -> Any:
    return model([helper.make_node("Sigmoid", ["x"], ["y"])], {"slope": np.float32(1.5)})


@pytest.mark.parametrize(
    ("make", "activation"),
    [
        (erf, "GELU"),
        (gelu, "GELU"),
        (quick, "QuickGELU"),
        (lambda: quick(np.float16), "QuickGELU"),
        (quick_in_floats, "QuickGELU"),
        (quick_by_a_constant, "QuickGELU"),
        (gate, ""),
    ],
)
def test_from_an_onnx_file(make: Callable[[], Any], activation: str, tmp_path: Path) -> None:
    file = tmp_path / "tower.onnx"
    onnx.save(make(), file)
    assert activation_of(file) == activation


@pytest.mark.parametrize("content", [b"", b"\x01HEF", b"\xff" * 100, b":\x80\x80\x80\x80\x10"])
def test_what_is_no_such_file_tells_nothing(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tower.onnx"
    file.write_bytes(content)
    assert activation_of(file) == ""
    assert activation_of(tmp_path / "gone.onnx") == ""


class Files:
    """A loading whose files are these."""

    def __init__(self, *files: Path) -> None:
        self.files = dict(zip(("visual", "textual"), files, strict=True))

    def engine(self, network: Network) -> Any:
        """Named by nothing: it says whether its files are compiled."""
        return SimpleNamespace(capabilities=Capabilities(compiled=self.files[network.stage].stem == "card"))

    def network_file(self, network: Network, engine: Any) -> Path:
        return self.files[network.stage]

    def file(self, file: ModelFile) -> Path:
        if not (path := self.files["visual"].with_name(file.name)).exists():
            raise MissingFileError("it is not there", "fetch it", "it is missing")
        return path


@pytest.mark.parametrize(
    ("pictures", "texts", "words"),
    [
        ("erf.onnx", "quick.onnx", "computes GELU and the text tower (quick.onnx) QuickGELU"),
        ("card.bin", "erf.onnx", "(card.bin) computes QuickGELU and the text tower (erf.onnx) GELU"),
        ("quick.onnx", "quick.onnx", ""),
        ("card.bin", "card.bin", ""),
        ("gate.onnx", "erf.onnx", ""),
    ],
)
def test_two_towers_that_differ_are_told(
    pictures: str, texts: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for made in (erf, quick, gate):
        onnx.save(made(), tmp_path / f"{made.__name__}.onnx")
    _say_other_activation(VIT_B_32, Files(tmp_path / pictures, tmp_path / texts))  # type: ignore[arg-type]
    assert words in caplog.text
    assert bool(words) == ("compare URL PHOTOS" in caplog.text)


@pytest.mark.parametrize("own", [erf, quick, gate])
def test_a_file_of_the_card_that_differs_from_immich_s_is_told(
    own: Callable[[], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    immich = tmp_path / VIT_B_32.visual.onnx[0].name
    onnx.save(own(), immich)
    _say_other_activation(VIT_B_32, Files(tmp_path / "card.bin", tmp_path / "card.bin"))  # type: ignore[arg-type]
    words = f"(card.bin) computes QuickGELU and Immich's own ({immich.name}) GELU, so its vectors may be too far"
    assert (words in caplog.text) == bool(caplog.text) == (own is erf)
