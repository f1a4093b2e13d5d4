"""Roles are found by shape, whatever the export looks like, or the file is refused."""

import numpy as np
import pytest

from ml_target.catalogue.binding import bind
from ml_target.catalogue.networks import OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, SIGLIP, TINYCLIP
from ml_target.catalogue.types import FeatureMap, Vector
from ml_target.errors import ModelError

FRAME = (640, 640, 3)
CELLS = {8: 80, 16: 40, 32: 20}
NUMBERS = {"score": 1, "box": 4, "kps": 10}


def scrfd_shapes(layout: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for kind, numbers in NUMBERS.items():  # an order that differs from the catalogue's
        for stride, side in CELLS.items():
            shapes[f"{kind}_{stride}"] = {
                "rows": (side * side * 2, numbers),
                "rows with a batch axis": (1, side * side * 2, numbers),
                "maps": (side, side, 2 * numbers),
                "maps, channels first": (1, 2 * numbers, side, side),
            }[layout]
    return shapes


@pytest.mark.parametrize("layout", ["rows", "rows with a batch axis", "maps", "maps, channels first"])
def test_scrfd_in_every_layout(layout: str) -> None:
    shapes = scrfd_shapes(layout)
    bindings = bind(SCRFD_2_5G.forms, list(shapes.values()), FRAME)
    assert {b.output.role: list(shapes)[b.index] for b in bindings} == {role: role for role in shapes}


def test_all_layouts_give_the_same_map() -> None:
    output = FeatureMap("box_32", 32, 8, 2)
    truth = np.arange(20 * 20 * 8).reshape(20, 20, 8)
    layouts = [truth, truth.reshape(1, 800, 4), truth.reshape(800, 4), truth.transpose(2, 0, 1)[None]]
    for values in layouts:
        (binding,) = bind(((output,),), [values.shape], FRAME)
        np.testing.assert_array_equal(binding.canonical(values, FRAME), truth)


@pytest.mark.parametrize("size", [(544, 960), (736, 992), (32, 32)])
def test_a_probability_map_of_any_size(size: tuple[int, int]) -> None:
    (binding,) = bind(OCR_DETECTION.forms, [(1, 1, *size)], (*size, 3))
    assert binding.canonical(np.zeros((1, 1, *size)), (*size, 3)).shape == (*size, 1)


@pytest.mark.parametrize("width", [320, 328, 8])
def test_classes_of_any_width(width: int) -> None:
    frame = (48, width, 3)
    (binding,) = bind(OCR_RECOGNITION.forms, [(1, width // 8, 18385)], frame)
    assert binding.canonical(np.zeros((1, width // 8, 18385)), frame).shape == (width // 8, 18385)


def test_text_towers_pooled_or_not() -> None:
    def roles(*shapes: tuple[int, ...]) -> list[tuple[str, int]]:
        return [(b.output.role, b.index) for b in bind(TINYCLIP.textual.forms, shapes, (77,))]

    assert roles((1, 512)) == [("embedding", 0)]
    assert roles((1, 77, 512)) == [("tokens", 0)]
    assert roles((1, 77, 512), (1, 512)) == [("embedding", 1)], "the pooled output is the better one"
    assert [b.output.role for b in bind(SIGLIP.textual.forms, [(8, 8, 768)], (64,))] == ["tokens"]


def test_two_outputs_for_one_role_are_refused() -> None:
    with pytest.raises(ModelError, match="2 outputs fit 'embedding'"):
        bind(((Vector("embedding", 512),),), [(1, 512), (1, 512)], (112, 112, 3))


def test_a_refusal_prints_both_lists_and_the_remedy() -> None:
    with pytest.raises(ModelError) as caught:
        bind(((Vector("embedding", 512),),), [(1, 128), (1, 3, 4)], (112, 112, 3))
    assert "outputs 1x128, 1x3x4 where {embedding 512} is wanted" in str(caught.value)
    assert "replace it" in str(caught.value)
