"""Streams of a HEF without HailoRT: real files against what the library says, and files made up field by field."""

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import hef_builder as build
import pytest
from hef_builder import L

from ml_target.errors import ModelError
from ml_target.hef.streams import Stream, channel_quantisation, read_streams, uniform_quantisation


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "network.hef"


def stream(**changes: object) -> Stream:
    values: dict[str, object] = {
        "name": "n/conv1",
        "direction": "output",
        "shape": (4, 4, 2),
        "padded_shape": (4, 4, 2),
        "dtype": "uint8",
        "order": "NHWC",
        "zero_point": 3.0,
        "scale": 0.5,
        "limits": (-1.5, 126.0),
    }
    return Stream(**(values | changes))  # type: ignore[arg-type]


# ---------------------------------------------------------------- real files


def test_mobilefacenet_for_hailo_8(face_models: Path) -> None:
    content = read_streams(face_models / "arcface_mobilefacenet.hailo8.hef")
    (group,) = content.groups
    assert (group.name, group.contexts, group.multi_context) == ("arcface_mobilefacenet", 1, False)
    (picture,), (vector,) = group.inputs, group.outputs
    assert str(picture) == "arcface_mobilefacenet/input_layer1 112x112x3 uint8"
    assert (picture.order, picture.zero_point, picture.scale, picture.limits) == ("NHWC", 0, 1, (0, 255))
    assert picture.original_names == ("model_script_layer_normalization1",)
    assert (vector.name, vector.shape, vector.dtype, vector.order) == (
        "arcface_mobilefacenet/fc1",
        (512,),
        "uint8",
        "NC",
    )
    assert vector.original_names == ("MatMul_95", "BatchNormalization_96")
    assert vector.zero_point == 144
    assert vector.scale == pytest.approx(0.0167389, abs=5e-8)
    assert vector.limits == pytest.approx((-2.4104042, 1.8580198))
    assert not vector.padded
    assert len(vector.per_channel) == 512
    assert set(vector.per_channel) == {(144.0, vector.scale)}
    assert not content.scale_per_channel
    assert uniform_quantisation(vector) == (vector.scale, 144)
    assert uniform_quantisation(picture) == (1, 0)


def test_scrfd_for_hailo_15h_in_the_order_of_the_library(face_models: Path) -> None:
    (group,) = read_streams(face_models / "scrfd_2.5g.hailo15h.hef").groups
    assert group.name == "scrfd_2_5g"
    found = [(s.name.split("/")[1], s.shape, s.zero_point, s.original_names) for s in group.outputs]
    assert found == [
        ("conv43", (80, 80, 8), 4, ("Conv_115", "Mul_116")),
        ("conv42", (80, 80, 2), 0, ("Conv_114",)),
        ("conv44", (80, 80, 20), 121, ("Conv_117",)),
        ("conv50", (40, 40, 8), 0, ("Conv_139", "Mul_140")),
        ("conv49", (40, 40, 2), 0, ("Conv_138",)),
        ("conv51", (40, 40, 20), 115, ("Conv_141",)),
        ("conv56", (20, 20, 8), 1, ("Conv_163", "Mul_164")),
        ("conv55", (20, 20, 2), 0, ("Conv_162",)),
        ("conv57", (20, 20, 20), 112, ("Conv_165",)),
    ]
    scales = [s.scale for s in group.outputs]
    wanted = [0.01984936, 1 / 255, 0.02614050, 0.03178927, 1 / 255, 0.03693093, 0.02992574, 1 / 255, 0.03600574]
    assert scales == pytest.approx(wanted, abs=1e-8)
    assert {(s.dtype, s.order, s.per_channel) for s in group.outputs} == {("uint8", "NHWC", ())}


# ------------------------------------------------------------- made-up files


def test_shapes_orders_and_types(written: Path) -> None:
    written.write_bytes(
        build.simple(
            "net",
            L("net/in", (48, 320, 3), output=False, format=3),
            L("net/map", (6, 40, 5), value_bytes=2, padded=(6, 40, 8)),
            L("net/vector", (1, 1, 7), format=2),
            L("net/argmax", (6, 40, 1), format=5),
            L("net/packed", (6, 40, 8), format=7),
            L("net/turned", (6, 40, 8), transposed=True),
            L("net/flat and turned", (1, 1, 8), format=2, transposed=True),
            L("net/spill", (6, 40, 8), connection=1),
            L("net/ddr", (6, 40, 8), output=False, connection=2),
        )
    )
    (group,) = read_streams(written).groups
    assert [(s.name, s.order, s.shape) for s in group.inputs] == [("net/in", "FCR", (48, 320, 3))]
    assert [(s.name, s.shape, s.dtype, s.order, s.padded) for s in group.outputs] == [
        ("net/map", (6, 40, 5), "uint16", "NHWC", True),
        ("net/vector", (7,), "uint8", "NC", False),
        ("net/argmax", (6, 40), "uint8", "NHW", False),
        ("net/packed", (6, 40, 8), "uint8", "F8CR", False),
        ("net/turned", (40, 6, 8), "uint8", "NHWC", False),
        ("net/flat and turned", (8,), "uint8", "NC", False),
    ]


def test_several_contexts_and_the_order_of_the_outputs(written: Path) -> None:
    first = build.context(build.picture("n", 8, 8), L("n/a", (1, 1, 4)), L("n/x", (1, 1, 9)))
    second = build.context(L("n/b", (1, 1, 5)))
    written.write_bytes(build.file(build.message(build.group("n", first, second, order=("n/b", "n/a")))))
    (group,) = read_streams(written).groups
    assert (group.contexts, group.multi_context) == (2, True)
    assert [s.name for s in group.outputs] == ["n/b", "n/a", "n/x"]


def test_the_order_may_stand_in_the_context_or_with_the_fused_layers(written: Path) -> None:
    layers = build.context(build.picture("n", 8, 8), L("n/a", (1, 1, 4)), L("n/b", (1, 1, 5)))
    inside = build.blob(3, build.blob(5, "n/b") + build.blob(5, "n/a"))
    written.write_bytes(build.file(build.message(build.group("n", layers, inside))))
    assert [s.name for s in read_streams(written).groups[0].outputs] == ["n/b", "n/a"]
    fused = build.blob(5, build.number(1, 1) + build.blob(2, "n/b") + build.blob(2, "n/a"))
    written.write_bytes(build.file(build.message(build.group("n", layers, order=("n/a", "n/b"), partial=fused))))
    assert [s.name for s in read_streams(written).groups[0].outputs] == ["n/b", "n/a"]


def test_hailo_8l_files_keep_their_network_in_partial_groups(written: Path) -> None:
    inner = build.group("n", build.context(build.picture("n", 8, 8), L("n/a", (1, 1, 4))))
    outer = build.blob(7, build.blob(1, inner))
    written.write_bytes(build.file(build.message(outer, architecture=3)))
    (group,) = read_streams(written).groups
    assert (group.name, len(group.inputs), [s.name for s in group.outputs]) == ("n", 1, ["n/a"])


def test_operations_on_the_host(written: Path) -> None:
    core = build.group("n", build.context(build.picture("n", 8, 8), L("n/a", (1, 1, 4), pad=5), L("n/b", (1, 1, 6))))
    softmax = build.blob(2, build.number(1, 9)) + build.blob(3, build.blob(2, "n/softmax"))
    softmax += build.blob(6, build.number(1, 1))
    body = build.blob(8, build.blob(4, core)) + build.blob(8, softmax)
    body += build.blob(9, build.number(1, 5) + build.number(2, 9)) + build.blob(10, "n")
    written.write_bytes(build.file(build.message(body, extensions=(13,))))
    (group,) = read_streams(written).groups
    assert group.name == "n"
    assert [(s.name, s.dtype, s.host_operation) for s in group.outputs] == [
        ("n/softmax", "float32", "softmax"),
        ("n/b", "uint8", ""),
    ]
    assert uniform_quantisation(group.outputs[0]) == (1, 0)


def test_suppressed_boxes_are_one_stream(written: Path) -> None:
    core = build.group("n", build.context(L("n/a", (4, 4, 4), pad=1), L("n/b", (2, 2, 4), pad=2)))
    nms = (
        build.blob(2, build.number(1, 11)) + build.blob(2, build.number(1, 12)) + build.blob(3, build.blob(2, "n/nms"))
    )
    body = build.blob(8, build.blob(4, core)) + build.blob(8, nms + build.blob(5, b""))
    for source, target in ((1, 11), (2, 12)):
        body += build.blob(9, build.number(1, source) + build.number(2, target))
    written.write_bytes(build.file(build.message(body, extensions=(13,))))
    (group,) = read_streams(written).groups
    assert [(s.name, s.host_operation) for s in group.outputs] == [("n/nms", "NMS")]


def test_multiplexed_layers_and_planes(written: Path) -> None:
    inner = build.blob(1, L("n/a", (4, 4, 4)).info())
    deeper = build.blob(2, build.blob(5, build.blob(1, L("n/b", (4, 4, 2)).info())))
    edge = build.number(1, 1) + build.number(2, 1) + build.blob(4, build.blob(5, inner) + build.blob(5, deeper))
    planes = build.blob(8, build.blob(1, "n/in") + b"".join(build.number(n, v) for n, v in ((4, 8), (5, 8), (6, 3))))
    written.write_bytes(build.file(build.message(build.group("n", build.context(edge, planes)))))
    (group,) = read_streams(written).groups
    assert [s.name for s in group.outputs] == ["n/a", "n/b"]
    assert [(s.name, s.order) for s in group.inputs] == [("n/in", "NV12")]


def test_scale_per_channel_is_an_extension(written: Path) -> None:
    written.write_bytes(build.simple("n", L("n/a", (1, 1, 2)), L("n/in", (1, 1, 2), False), extensions=(12, 25)))
    content = read_streams(written)
    assert content.scale_per_channel
    (group,) = content.groups
    assert group.outputs[0].scaled_per_channel
    assert not group.inputs[0].scaled_per_channel


def test_a_name_cannot_steer_the_terminal(written: Path) -> None:
    written.write_bytes(build.simple("n\x1b[2J", L("n/\x07a", (1, 1, 2))))
    (group,) = read_streams(written).groups
    assert group.name == "n�[2J"
    assert group.outputs[0].name == "n/�a"


# -------------------------------------------------------------- quantisation


def test_pairs_count_where_the_runtime_shows_nothing() -> None:
    """With a scale for each channel the file's single pair is empty."""
    assert uniform_quantisation(stream(scale=0.0, zero_point=0.0, per_channel=((3, 0.5),) * 2)) == (0.5, 3)


def test_pairs_are_compared_in_single_precision() -> None:
    pairs = ((3, 0.1), (3, 0.1 + 1e-12))
    assert uniform_quantisation(stream(scale=0.1, per_channel=pairs))[0] == pytest.approx(0.1)


@pytest.mark.parametrize("pairs", [((3, 0.5), (3, 0.25)), ((3, 0.5), (4, 0.5)), ((3, 0.25), (3, 0.25))])
def test_channels_that_differ_are_refused(pairs: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ModelError, match=r"n/conv1 has 2 different pairs of scale and zero point .*models fetch$"):
        uniform_quantisation(stream(per_channel=pairs))


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 0.0},
        {"scale": -0.5},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"scale": 1e300},
        {"zero_point": float("inf")},
        {"limits": (1.0, 1.0)},
        {"limits": (float("nan"), 1.0)},
    ],
)
def test_impossible_quantisation(changes: dict[str, object]) -> None:
    with pytest.raises(
        ModelError, match=r"n/conv1 has an impossible quantisation: .*Take the catalogue's build: delete it"
    ):
        uniform_quantisation(stream(**changes))


def test_a_pair_for_each_channel() -> None:
    """Where the chip was told so, the single pair means nothing."""
    told = stream(shape=(2, 2, 3), per_channel=((1, 0.5), (2, 0.25), (1, 0.5)), scaled_per_channel=True, scale=0.0)
    assert channel_quantisation(told) == ((0.5, 0.25, 0.5), (1, 2, 1))
    assert channel_quantisation(replace(told, scale=9.0)) == ((0.5, 0.25, 0.5), (1, 2, 1))
    assert channel_quantisation(replace(told, per_channel=((3, 0.5),) * 3, scale=9.0)) == ((0.5,), (3,))
    assert channel_quantisation(replace(told, dtype="float32")) == ((1.0,), (0.0,)), "the host has scaled it"
    with pytest.raises(ModelError, match="2 different pairs"):
        channel_quantisation(replace(told, scaled_per_channel=False))


@pytest.mark.parametrize("pairs", [(), ((1, 0.5),) * 2, ((1, 0.5),) * 2 + ((1, 0.25),) * 2])
def test_as_many_pairs_as_channels(pairs: tuple[tuple[float, float], ...]) -> None:
    told = stream(shape=(2, 2, 3), per_channel=pairs, scaled_per_channel=True)
    with pytest.raises(
        ModelError,
        match=rf"each of its 3 channels, and the file lists {len(pairs)}\. Take the catalogue's build: delete it",
    ):
        channel_quantisation(told)
    with pytest.raises(ModelError, match=r"each of its 1 channels"):
        channel_quantisation(replace(told, shape=(2, 4), order="NHW", per_channel=((1, 0.5), (1, 0.25)) * 2))


@pytest.mark.parametrize("wrong", [(1.0, 0.0), (1.0, -0.5), (float("nan"), 0.5), (1.0, float("inf"))])
def test_an_impossible_pair_of_one_channel(wrong: tuple[float, float]) -> None:
    told = stream(shape=(2, 2, 3), per_channel=((1, 0.5), wrong, (1, 0.5)), scaled_per_channel=True)
    with pytest.raises(ModelError, match="impossible quantisation"):
        channel_quantisation(told)


def test_sixteen_bits_have_a_larger_zero_point() -> None:
    assert uniform_quantisation(stream(dtype="uint16", zero_point=9506.0)) == (0.5, 9506)


# ------------------------------------------------------------- hostile files


def lonely(*parts: bytes) -> bytes:
    """A message whose one context has this edge."""
    return build.message(build.group("n", build.context(b"".join(parts))))


def nested(depth: int) -> bytes:
    edge = build.blob(1, L("n/a", (1, 1, 1)).info())
    for _ in range(depth):
        edge = build.blob(2, build.blob(5, edge))
    return build.blob(4, build.blob(5, edge))


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (build.message(b"\xff"), "does not end"),
        (build.message() + build.number(2, 1), "field 2 is an integer"),
        (build.message(build.blob(1, build.number(1, 1))), "field 1 is an integer"),
        (build.message(build.blob(3, b"\x0b")), "wire type 3"),
        (lonely(nested(20)), "nested too deeply"),
        (lonely(build.blob(7, b"x")), "field 7 is not an integer"),
        (lonely(build.blob(3, build.blob(3, build.blob(1, b"abc")))), "field 1 is not a float"),
        (lonely(build.blob(3, build.blob(3, build.blob(5, b"abc")))), "field 5 is not a list of doubles"),
        (lonely(build.blob(3, build.blob(3, build.doubles(5, 1.0)))), "1 zero points stand beside 0 scales"),
        (lonely(L("n/a", (1 << 20, 1 << 20, 3)).edge()), "a stream 'n/a' of"),
        (lonely(L("n/a", (0, 1, 3)).edge()), "a stream 'n/a' of"),
        (lonely(L("n/a", (1, 1, 3), value_bytes=4).edge()), "4 bytes a value"),
        (build.message(build.group("n", build.context(*[L("n/a", (1, 1, 1))] * 300))), "300 streams"),
    ],
)
def test_descriptions_that_make_no_sense(written: Path, proto: bytes, reason: str) -> None:
    written.write_bytes(build.file(proto))
    with pytest.raises(
        ModelError, match=rf"description is not understood \(.*{reason}.*Take the catalogue's build: delete it"
    ):
        read_streams(written)


def test_a_description_of_countless_fields(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.hef.message.MAX_FIELDS", 1000)
    written.write_bytes(build.file(build.message(b"\x18\x00" * 2000)))
    with pytest.raises(ModelError, match=r"description is not understood \(it has too many fields"):
        read_streams(written)


def test_a_description_too_large_to_be_true(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.hef.streams.MAX_MESSAGE", 100)
    written.write_bytes(build.mobilefacenet())
    with pytest.raises(ModelError, match=r"describes itself in .* bytes, too many to be true"):
        read_streams(written)


def test_a_missing_file(written: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read: No such file"):
        read_streams(written)


def test_a_file_that_goes_away_between_two_looks(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written.write_bytes(build.mobilefacenet())
    header = read_streams(written).header
    monkeypatch.setattr("ml_target.hef.streams.read_header", lambda path: header)
    written.unlink()
    with pytest.raises(ModelError, match=r"cannot be read: No such file.*Check that it is there"):
        read_streams(written)


@pytest.mark.parametrize("seed", range(8))
def test_flipped_and_cut_descriptions_raise_nothing_but_model_errors(written: Path, seed: int) -> None:
    """The checksum is made to match, so that nothing but the reader stands between the bytes and the answer."""
    chance = random.Random(seed)
    core = build.group("n", build.context(L("n/a", (4, 4, 4), pairs=((1, 2), (1, 2))), build.picture("n", 8, 8)))
    whole = build.message(core, extensions=(13, 25)) + build.blob(2, build.blob(8, build.blob(4, core)))
    start = 25  # the header field stays
    for _ in range(100):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(start, len(broken))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.3:
            del broken[chance.randrange(start, len(broken)) :]
        written.write_bytes(build.file(bytes(broken), b""))
        with contextlib.suppress(ModelError):
            for group in read_streams(written).groups:
                for one in (*group.inputs, *group.outputs):
                    uniform_quantisation(one)


def test_real_description_flipped(face_models: Path, written: Path) -> None:
    chance = random.Random(15)
    path = face_models / "scrfd_2.5g.hailo15h.hef"
    header = read_streams(path).header
    whole = path.read_bytes()
    proto = whole[header.message_start : header.message_start + header.message_size]
    for _ in range(100):
        broken = bytearray(proto)
        for _ in range(8):
            broken[chance.randrange(120, len(broken))] ^= 1 << chance.randrange(8)
        written.write_bytes(build.file(bytes(broken), b""))
        with contextlib.suppress(ModelError):
            read_streams(written)
