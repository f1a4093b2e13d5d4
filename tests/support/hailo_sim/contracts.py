"""The streams of the Model Zoo's files: names, shapes, orders, widths and typical quantisation.

Shapes as the Zoo compiles them; SCRFD's pairs are those of a real file, the others are typical
ones that `build.py` replaces by calibration.
"""

from collections.abc import Sequence

from hailo_sim.costs import TABLE
from hailo_sim.hef_file import Group, Quant, Stream
from ml_target.catalogue.networks import CLIP_BACKENDS, FACE_RECOGNIZERS
from ml_target.catalogue.types import Network, PictureInput, TextInput

PICTURE = Quant(1.0, 0.0, 0.0, 255.0)
SCORE = Quant(1 / 255, 0.0, 0.0, 1.0)

# stride, layer number of score (box and landmarks follow), ONNX names of score, box, landmarks
_SCRFD_LAYERS = {
    "scrfd_2_5g": ((8, 42), (16, 49), (32, 55)),
    "scrfd_10g": ((8, 41), (16, 49), (32, 56)),
}
_SCRFD_QUANT = {  # box, landmarks
    8: (Quant(0.019849358, 4.0, -0.0793974, 4.9821887), Quant(0.0261404961, 121.0, -3.1630001, 3.5028265)),
    16: (Quant(0.0317892693, 0.0, 0.0, 8.1062641), Quant(0.0369309299, 115.0, -4.247057, 5.17033)),
    32: (Quant(0.0299257375, 1.0, -0.0299257, 7.6011372), Quant(0.0360057391, 112.0, -4.0326428, 5.1488208)),
}
_ORIGINAL = {8: (114, 116, 117), 16: (138, 140, 141), 32: (162, 164, 165)}


def affine(low: float, high: float, bits: int) -> Quant:
    """The pair that covers low..high (and zero) with all integers."""
    low, high = min(low, 0.0), max(high, 0.0)
    levels = 2**bits - 1
    scale = (high - low) / levels or 1.0
    zero = float(round(-low / scale))
    return Quant(scale, zero, -zero * scale, (levels - zero) * scale)


def group_name(network: Network | str) -> str:
    """File stem to network name."""
    return (network if isinstance(network, str) else network.name).replace(".", "_")


def make_group(name: str, inputs: Sequence[Stream], outputs: Sequence[Stream], contexts: int | None = None) -> Group:
    """A group of one network; as many contexts as the cost table knows."""
    row = TABLE.get(name)
    known = row.contexts if row is not None else 1
    fps = 1000 / row.fast[0] if row is not None else 1000.0
    return Group(name, (name,), contexts or known, tuple(inputs), tuple(outputs), fps)


def picture_input(name: str, height: int, width: int) -> Stream:
    return Stream(
        f"{name}/input_layer1", (height, width, 3), "NHWC", 8, PICTURE, False, ("model_script_layer_normalization1",)
    )


def group_of(
    network: Network,
    *,
    contexts: int | None = None,
    form: int = 0,
    bits: int | None = None,
    square: bool = True,
) -> Group:
    """The contract of a catalogue network's HEF.

    `form`: of a text tower, 0 pooled, 1 token-wise. `bits` overrides the outputs' width.
    `square`: SigLIP's text declares 8 x 8 tokens instead of 1 x 64.
    """
    name = group_name(network)
    if isinstance(network.input, TextInput):
        return make_group(name, *_text(name, network.input, form, bits or 16, square), contexts)
    return make_group(name, [_picture(name, network.input)], _outputs(network, name, bits), contexts)


def _picture(name: str, spec: PictureInput) -> Stream:
    return picture_input(name, spec.height, spec.width)


def _text(name: str, spec: TextInput, form: int, bits: int, square: bool) -> tuple[list[Stream], list[Stream]]:
    shape = (8, 8, spec.width) if square and spec.tokens == 64 else (1, spec.tokens, spec.width)
    given = Stream(f"{name}/input_layer1", shape, "NHWC", 16, affine(-2.43, 5.82, 16), False, ("/embeddings/Add",))
    end = (1, 1, spec.width) if form == 0 else (1, spec.tokens, spec.width)
    return [given], [Stream(f"{name}/conv48", end, "NHWC", bits, affine(-11.6, 30.8, bits), True, ("1546",))]


def _outputs(network: Network, name: str, bits: int | None) -> list[Stream]:
    if name in _SCRFD_LAYERS:
        return scrfd_outputs(name)
    if network.name in FACE_RECOGNIZERS:
        quant = affine(-2.41, 1.86, bits or 8)
        names = ("MatMul_95", "BatchNormalization_96")
        return [Stream(f"{name}/fc1", (1, 1, 512), "NC", bits or 8, quant, True, names)]
    if network.stage == "visual":
        width = next(b.width for b in CLIP_BACKENDS.values() if b.visual is network)
        return [Stream(f"{name}/conv50", (1, 1, width), "NHWC", bits or 16, affine(-3.09, 18.24, bits or 16), True)]
    if network.stage == "detection":
        return [Stream(f"{name}/conv60", (544, 960, 1), "NHWC", bits or 8, SCORE, True)]
    return [Stream(f"{name}/softmax1", (1, 40, 18_385), "NHWC", bits or 8, SCORE, True)]


def scrfd_outputs(name: str) -> list[Stream]:
    """Box, score, landmarks per stride, in the order a real file gives them; 640 x 640."""
    outputs = []
    for stride, layer in _SCRFD_LAYERS[name]:
        cells = 640 // stride
        box, landmarks = _SCRFD_QUANT[stride]
        score_node, box_node, landmark_node = _ORIGINAL[stride]
        for number, channels, quant, nodes in (
            (layer + 1, 8, box, (f"Conv_{box_node - 1}", f"Mul_{box_node}")),
            (layer, 2, SCORE, (f"Conv_{score_node}",)),
            (layer + 2, 20, landmarks, (f"Conv_{landmark_node}",)),
        ):
            shape = (cells, cells, channels)
            outputs.append(Stream(f"{name}/conv{number}", shape, "NHWC", 8, quant, True, nodes))
    return outputs
