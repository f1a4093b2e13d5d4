"""Whether a HEF fits the catalogue: every refusal in words, and what must be accepted."""

from dataclasses import replace
from pathlib import Path

import hef_builder as build
import pytest
from hef_builder import L

from ml_target.catalogue.binding import canonical_shape
from ml_target.catalogue.networks import (
    ARCFACE_MOBILEFACENET,
    ARCFACE_R50,
    NETWORKS,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    SCRFD_10G,
    SIGLIP,
    SIGLIP2,
    TINYCLIP,
    W600K_R50,
)
from ml_target.catalogue.types import Network, PictureInput
from ml_target.engines.hailo.fit import Fit, bind_group, check_fit, group_name
from ml_target.errors import ModelError
from ml_target.hef.streams import channel_quantisation, read_streams
from ml_target.remedies import command

WIDE = {"value_bytes": 2, "limits": (-1.0, 1.0), "scale": 0.001, "zero_point": 1000.0}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "network.hef"


def roles(fit: Fit) -> dict[str, str]:
    return {binding.output.role: fit.output(binding).name.split("/")[1] for binding in fit.bindings}


def wide(name: str, *size: int, output: bool = True, format: int = 1) -> L:
    return L(name, (size[0], size[1], size[2]), output=output, format=format, **WIDE)  # type: ignore[arg-type]


def test_a_real_file(face_models: Path) -> None:
    fit = check_fit(face_models / "arcface_mobilefacenet.hailo8.hef", ARCFACE_MOBILEFACENET, "hailo8")
    assert roles(fit) == {"embedding": "fc1"}
    assert fit.input.name == "arcface_mobilefacenet/input_layer1"
    assert (fit.warnings, fit.header.compiler) == ((), "3.31.0")


def test_real_outputs_find_their_roles(face_models: Path) -> None:
    (group,) = read_streams(face_models / "scrfd_2.5g.hailo15h.hef").groups
    bindings = bind_group(group, SCRFD_2_5G)
    assert {b.output.role: group.outputs[b.index].name.split("/")[1] for b in bindings} == {
        "score_8": "conv42",
        "box_8": "conv43",
        "kps_8": "conv44",
        "score_16": "conv49",
        "box_16": "conv50",
        "kps_16": "conv51",
        "score_32": "conv55",
        "box_32": "conv56",
        "kps_32": "conv57",
    }


@pytest.mark.parametrize("network", [n for n in NETWORKS if isinstance(n.input, PictureInput)], ids=lambda n: n.name)
def test_every_picture_network_of_the_catalogue(written: Path, network: Network) -> None:
    """Outputs in the catalogue's shapes, in reverse, under names that say nothing."""
    assert isinstance(network.input, PictureInput)
    frame = (network.input.height, network.input.width, 3)
    name = group_name(network)
    shapes = [canonical_shape(output, frame) for output in reversed(network.forms[0])]
    layers = [
        L(f"{name}/x{i}", (1, 1, *shape)[-3:], format=2 if len(shape) == 1 else 1)  # type: ignore[arg-type]
        for i, shape in enumerate(shapes)
    ]
    written.write_bytes(build.simple(name, build.picture(name, *frame[:2]), *layers))
    fit = check_fit(written, network)
    assert list(roles(fit)) == [output.role for output in network.forms[0]]
    assert {fit.output(b).shape[-1] for b in fit.bindings} == {shape[-1] for shape in shapes}


@pytest.mark.parametrize(
    ("network", "taken", "given"),
    [
        (TINYCLIP.textual, (1, 77, 512), (1, 77, 512)),
        (TINYCLIP.textual, (7, 11, 512), (1, 1, 512)),
        (SIGLIP.textual, (8, 8, 768), (1, 1, 768)),
        (SIGLIP.textual, (1, 64, 768), (8, 8, 768)),
        (SIGLIP2.textual, (64, 1, 768), (1, 64, 768)),
    ],
)
def test_text_towers_in_all_their_arrangements(
    written: Path, network: Network, taken: tuple[int, int, int], given: tuple[int, int, int]
) -> None:
    name = network.name
    written.write_bytes(build.simple(name, wide(f"{name}/in", *taken, output=False), wide(f"{name}/ew", *given)))
    fit = check_fit(written, network, "hailo8")
    assert roles(fit) == {"embedding" if given[:2] == (1, 1) else "tokens": "ew"}
    assert fit.input.dtype == "uint16"


def test_a_flat_vector(written: Path) -> None:
    name = SIGLIP.textual.name
    written.write_bytes(
        build.simple(name, wide(f"{name}/in", 8, 8, 768, output=False), wide(f"{name}/fc", 1, 1, 768, format=2))
    )
    assert roles(check_fit(written, SIGLIP.textual)) == {"embedding": "fc"}


def test_softmax_on_the_host_is_a_plain_array(written: Path) -> None:
    name = OCR_RECOGNITION.name
    core = build.group(name, build.context(build.picture(name, 48, 320), L(f"{name}/a", (1, 40, 18385), pad=0)))
    softmax = build.blob(2, build.number(1, 9)) + build.blob(3, build.blob(2, f"{name}/s"))
    body = build.blob(8, build.blob(4, core)) + build.blob(8, softmax + build.blob(6, build.number(1, 1)))
    body += build.blob(9, build.number(1, 0) + build.number(2, 9))
    written.write_bytes(build.file(build.message(body, extensions=(13,))))
    fit = check_fit(written, OCR_RECOGNITION)
    assert fit.output(fit.bindings[0]).dtype == "float32"
    body = body.replace(build.blob(6, build.number(1, 1)), build.blob(6, build.number(1, 0)))
    written.write_bytes(build.file(build.message(body, extensions=(13,))))
    with pytest.raises(ModelError, match=r"/s is made by argmax on the host, no plain array\. Replace it"):
        check_fit(written, OCR_RECOGNITION)


# ------------------------------------------------------------------ refusals


def test_a_damaged_file(written: Path) -> None:
    content = bytearray(build.mobilefacenet())
    content[-1] ^= 1
    written.write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged: its XXH3"):
        check_fit(written, ARCFACE_MOBILEFACENET)


def test_architectures(written: Path) -> None:
    name = "arcface_mobilefacenet"
    layers = (build.picture(name, 112, 112), L(f"{name}/fc1", (1, 1, 512), format=2))
    written.write_bytes(build.simple(name, *layers, architecture=3))
    assert check_fit(written, ARCFACE_MOBILEFACENET).warnings == ()
    assert check_fit(written, ARCFACE_MOBILEFACENET, "hailo8l").warnings == ()
    (warning,) = check_fit(written, ARCFACE_MOBILEFACENET, "hailo8").warnings
    assert "was compiled for Hailo-8L; a Hailo-8 runs it, only slower" in warning
    assert warning.endswith("models fetch --engine hailo --chip hailo8")
    written.write_bytes(build.simple(name, *layers))
    assert check_fit(written, ARCFACE_MOBILEFACENET).warnings == ()
    with pytest.raises(ModelError, match=r"was compiled for Hailo-8, a Hailo-8L cannot run it\. .*--chip hailo8l$"):
        check_fit(written, ARCFACE_MOBILEFACENET, "hailo8l")
    with pytest.raises(ModelError, match=r"no files for the chip hailo15h; it drives Hailo-8 and Hailo-8L"):
        check_fit(written, ARCFACE_MOBILEFACENET, "hailo15h")


def test_a_real_file_of_another_family(face_models: Path) -> None:
    with pytest.raises(ModelError, match=r"compiled for Hailo-10H/15H; this worker drives .*--engine hailo$"):
        check_fit(face_models / "scrfd_2.5g.hailo15h.hef", SCRFD_2_5G)


@pytest.mark.parametrize("count", [0, 2])
def test_one_network_group(written: Path, count: int) -> None:
    groups = [build.group(f"n{i}", build.context(build.picture("n", 8, 8))) for i in range(count)]
    written.write_bytes(build.file(build.message(*groups)))
    names = "none" if count == 0 else "n0, n1"
    with pytest.raises(ModelError, match=rf"holds {count} network groups \({names}\), not one\. Replace it by"):
        check_fit(written, ARCFACE_MOBILEFACENET)


def test_another_network_prints_both_lists(face_models: Path) -> None:
    path = face_models / "arcface_mobilefacenet.hailo8.hef"
    with pytest.raises(ModelError) as caught:
        check_fit(path, SCRFD_10G)
    assert str(caught.value) == (
        f"{path} does not fit scrfd_10g: it has inputs {{arcface_mobilefacenet/input_layer1 112x112x3 uint8}} and "
        "outputs {arcface_mobilefacenet/fc1 512 uint8}, where one input 640x640x3 uint8 is wanted. "
        f"Replace it by the catalogue's scrfd_10g.hef: delete it, then {command('models fetch')}"
    )
    with pytest.raises(ModelError, match=r"where one input of 77 tokens x 512 numbers is wanted"):
        check_fit(path, TINYCLIP.textual)


def test_outputs_that_do_not_fit_print_both_lists(written: Path) -> None:
    name = "paddle_ocr_v5_mobile_detection"
    written.write_bytes(build.simple(name, build.picture(name, 544, 960), L(f"{name}/conv", (272, 480, 1))))
    with pytest.raises(ModelError, match=r"outputs 272x480x1 where \{probability 544x960x1\} is wanted .*/conv 272"):
        check_fit(written, OCR_DETECTION)


def test_two_inputs(written: Path) -> None:
    name = "arcface_mobilefacenet"
    second = L(f"{name}/input_layer2", (112, 112, 3), output=False)
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), second, L(f"{name}/fc1", (1, 1, 512))))
    with pytest.raises(ModelError, match=r"input_layer2 112x112x3 uint8\} and outputs .* where one input 112x112x3"):
        check_fit(written, ARCFACE_MOBILEFACENET)


def test_an_embedder_under_the_name_of_another(written: Path, face_models: Path) -> None:
    """Both take 112 x 112 and give 512 numbers, of two different spaces."""
    with pytest.raises(ModelError, match=r"it is arcface_mobilefacenet under this name\. Replace it by .*arcface_r50"):
        check_fit(face_models / "arcface_mobilefacenet.hailo8.hef", ARCFACE_R50)
    written.write_bytes(build.simple("mine", build.picture("mine", 112, 112), L("mine/fc1", (1, 1, 512))))
    (warning,) = check_fit(written, ARCFACE_R50).warnings
    assert "calls its network 'mine', not 'arcface_r50': make sure that it is this network" in warning


def test_normalisation_that_was_not_compiled_in(written: Path) -> None:
    name = "arcface_mobilefacenet"
    raw = L(f"{name}/in", (112, 112, 3), output=False, scale=0.0078, zero_point=127.0, limits=(-1.0, 1.0))
    written.write_bytes(build.simple(name, raw, L(f"{name}/fc1", (1, 1, 512))))
    with pytest.raises(
        ModelError, match=r"takes scale 0\.0078 and zero point 127, not the bytes of a picture: the norm"
    ):
        check_fit(written, ARCFACE_MOBILEFACENET)


@pytest.mark.parametrize("name", ["w600k_r50", "arcface_r50"])
def test_the_owners_own_file_may_have_its_templates_name(written: Path, name: str) -> None:
    """In 8 bits and in 16; the quantisation is the file's own."""
    for vector in (L(f"{name}/fc1", (1, 1, 512), scale=0.02, zero_point=101.0), wide(f"{name}/fc1", 1, 1, 512)):
        written.write_bytes(build.simple(name, build.picture(name, 112, 112), vector))
        fit = check_fit(written, W600K_R50)
        assert not fit.warnings
        assert roles(fit) == {"embedding": "fc1"}
        (output,) = fit.group.outputs
        scales, zero_points = channel_quantisation(output)
        assert [*scales, *zero_points] == pytest.approx([vector.scale, vector.zero_point])


def test_the_owners_own_file_is_refused_with_the_page_that_tells_how_to_make_it(written: Path) -> None:
    name = "w600k_r50"
    plain = L(f"{name}/in", (112, 112, 3), output=False, scale=0.0078, zero_point=127.0, limits=(-1.0, 1.0))
    for given, vector, reason in (
        (plain, L(f"{name}/fc1", (1, 1, 512)), "the normalisation was not compiled in"),
        (build.picture(name, 128, 128), L(f"{name}/fc1", (1, 1, 512)), "where one input 112x112x3 uint8 is wanted"),
    ):
        written.write_bytes(build.simple(name, given, vector))
        with pytest.raises(ModelError, match=rf"{reason}\. Compile it as docs/compiling\.md says"):
            check_fit(written, W600K_R50)
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), L(f"{name}/fc1", (1, 1, 256))))
    with pytest.raises(ModelError, match=r"has outputs \S*256 where \{embedding 512\} is wanted"):
        check_fit(written, W600K_R50)


def test_channels_that_differ(written: Path) -> None:
    written.write_bytes(build.mobilefacenet(pairs=((144.0, 0.0167),) * 511 + ((144.0, 0.02),)))
    with pytest.raises(ModelError, match=r"does not fit .*fc1 has 2 different pairs of scale and zero point"):
        check_fit(written, ARCFACE_MOBILEFACENET)


def test_channels_that_differ_because_the_chip_was_told(written: Path) -> None:
    name = "arcface_mobilefacenet"
    pairs = tuple((144.0 + channel % 3, 0.0167 + channel / 1e5) for channel in range(512))
    out = L(f"{name}/fc1", (1, 1, 512), format=2, scale=0.0, limits=(-2.4, 1.9), pairs=pairs)
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), out, extensions=(25,)))
    (stream,) = check_fit(written, ARCFACE_MOBILEFACENET).group.outputs
    scales, zeros = channel_quantisation(stream)
    assert zeros == tuple(zero for zero, _ in pairs)
    assert scales == pytest.approx([scale for _, scale in pairs])
    short = replace(out, pairs=pairs[:-1])
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), short, extensions=(25,)))
    with pytest.raises(
        ModelError, match=r"fc1 is scaled by a pair for each of its 512 channels, and the file lists 511"
    ):
        check_fit(written, ARCFACE_MOBILEFACENET)


@pytest.mark.parametrize("which", ["input", "output"])
def test_streams_that_are_transposed(written: Path, which: str) -> None:
    """The library would hand them out with height and width exchanged, and of a square nobody would see it."""
    name = "arcface_mobilefacenet"
    picture = replace(build.picture(name, 112, 112), transposed=which == "input")
    vector = L(f"{name}/fc1", (1, 1, 512), format=1, transposed=which == "output")
    written.write_bytes(build.simple(name, picture, vector))
    stream = "input_layer1" if which == "input" else "fc1"
    with pytest.raises(
        ModelError, match=rf"does not fit .*{stream} is transposed: HailoRT hands it out with height and"
    ):
        check_fit(written, ARCFACE_MOBILEFACENET)
    flat = replace(vector, format=2)  # a vector has no height and width
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), flat))
    check_fit(written, ARCFACE_MOBILEFACENET)


def test_boxes_from_the_host(written: Path) -> None:
    name = "arcface_mobilefacenet"
    written.write_bytes(build.simple(name, build.picture(name, 112, 112), L(f"{name}/nms", (1, 1, 512), format=6)))
    with pytest.raises(ModelError, match=r"nms is of order HAILO_NMS_BY_CLASS, no plain array\. Replace it by"):
        check_fit(written, ARCFACE_MOBILEFACENET)
