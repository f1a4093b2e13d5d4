"""The simulated `hailo_platform` against docs/hailort.md: InferModel, HEFs, formats, control (§2.2 to §4, §9.1)."""

import importlib
import struct
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hailo_sim import NativeCrash, Rig, simulated
from hailo_sim.build import from_table, tiny
from hailo_sim.contracts import affine, make_group, picture_input
from hailo_sim.driving import Driven, open_device, row, status_of
from hailo_sim.hef_file import Stream, read_buffer
from hailo_sim.hef_writer import write_hef

# --------------------------------------------------------------- 2.2 InferModel


@row("2.2 shapes are lists, one quantisation, native types")
def test_infer_model(hailo: ModuleType) -> None:
    with open_device(hailo) as device:
        model = device.create_infer_model(tiny("net", (4, 6, 3), 16, bits=16))
        assert (model.input_names, model.output_names) == (["net/input_layer1"], ["net/fc1"])
        assert (model.input().shape, model.output("net/fc1").shape) == ([4, 6, 3], [16])
        assert (model.input().format.type, model.output().format.type) == (
            hailo.FormatType.UINT8,
            hailo.FormatType.UINT16,
        )
        assert (model.input().format.order, model.output().format.order) == (
            hailo.FormatOrder.NHWC,
            hailo.FormatOrder.NC,
        )
        (quant,) = model.output().quant_infos
        assert quant.qp_scale > 0
        assert quant.limvals_min < quant.limvals_max
        assert model.output().is_nms is False
        assert model.hef.get_network_group_names() == ["net"]
        model.output().set_format_type(hailo.FormatType.FLOAT32)
        assert model.output().format.type == hailo.FormatType.FLOAT32


@row("2.2 unknown name 61, no name with several streams 6")
def test_stream_names(hailo: ModuleType, inner: ModuleType) -> None:
    with open_device(hailo) as device:
        model = device.create_infer_model(tiny(outputs=2))
        with pytest.raises(inner.HailoRTNotFoundException):
            model.output("nothing")
        with pytest.raises(inner.HailoRTInvalidOperationException):
            model.output()
        bindings = model.configure().create_bindings()
        with pytest.raises(inner.HailoRTNotFoundException):
            bindings.output("nothing")
        with pytest.raises(inner.HailoRTInvalidOperationException):
            bindings.output()


@pytest.mark.parametrize(
    ("hef", "batch", "types", "status"),
    [
        pytest.param({}, 64, (1, 1), 2, id="2.2 batch 64"),
        pytest.param({"bits": 16}, 1, (1, 1), 2, id="2.2 UINT8 from a UINT16 output"),
        pytest.param({"input_bits": 16}, 1, (1, 1), 2, id="2.2 UINT8 into a UINT16 input"),
        pytest.param({}, 1, (2, 1), 2, id="2.2 UINT16 into a UINT8 input"),
        pytest.param({"chip": "hailo15h"}, 1, (1, 1), 93, id="3.2 another chip's file"),
        pytest.param({}, 63, (1, 1), 0, id="2.2 batch 63"),
        pytest.param({}, 1, (1, 2), 0, id="4.1 widening an output"),
        pytest.param({"bits": 16, "input_bits": 16}, 1, (3, 3), 0, id="4.1 floats for both"),
        pytest.param({"chip": "hailo8l"}, 1, (1, 1), 0, id="3.4 a Hailo-8L file on a Hailo-8"),
    ],
)
def test_configure(hailo: ModuleType, hef: dict[str, Any], batch: int, types: tuple[int, int], status: int) -> None:
    kinds = {1: hailo.FormatType.UINT8, 2: hailo.FormatType.UINT16, 3: hailo.FormatType.FLOAT32}
    with open_device(hailo) as device:
        model = device.create_infer_model(tiny(**hef))
        model.set_batch_size(batch)
        model.input().set_format_type(kinds[types[0]])
        model.output().set_format_type(kinds[types[1]])
        if not status:
            model.configure().__exit__(None, None, None)
            return
        with pytest.raises(hailo.HailoRTException) as caught:
            model.configure()
        assert status_of(caught.value) == status


@row("3.4 an 8L takes 8L files alone")
def test_small_chip(rig: Rig, hailo: ModuleType, inner: ModuleType) -> None:
    rig.chip = "hailo8l"
    with open_device(hailo) as device:
        with pytest.raises(inner.HailoRTHEFNotCompatibleWithDevice):
            device.create_infer_model(tiny()).configure()
        device.create_infer_model(tiny(chip="hailo8l")).configure()


@row("2.2 several groups and no name")
def test_several_groups(hailo: ModuleType) -> None:
    groups = []
    for name in ("one", "two"):
        outputs = [Stream(f"{name}/fc1", (1, 1, 4), "NC", 8, affine(-1, 1, 8), True)]
        groups.append(make_group(name, [picture_input(name, 2, 2)], outputs))
    hef = write_hef(groups, b"")
    with open_device(hailo) as device:
        with pytest.raises(hailo.HailoRTException) as caught:
            device.create_infer_model(hef).configure()
        assert status_of(caught.value) == 2
        model = device.create_infer_model(hef, "two")
        assert model.output_names == ["two/fc1"]
        model.configure().__exit__(None, None, None)


@pytest.mark.parametrize(
    ("batch", "size"), [(0, 8), (1, 8), (4, 8), (8, 16), (16, 32)], ids="2.3 queue of batch {}".format
)
def test_queue_size(hailo: ModuleType, batch: int, size: int) -> None:
    with open_device(hailo) as device:
        driven = Driven(device, tiny(), batch)
        assert driven.model.get_async_queue_size() == size
        driven.close()


@pytest.mark.parametrize(
    ("batch", "size"), [(1, 32), (8, 32), (16, 32), (32, 64)], ids="9.2 queue of batch {} without the service".format
)
def test_queue_size_of_a_plain_build(hailo: ModuleType, batch: int, size: int) -> None:
    with simulated(Rig(clock="virtual", queue_scale=32)) as rig, open_device(hailo) as device:
        driven = Driven(device, tiny(), batch)
        assert driven.model.get_async_queue_size() == size
        with rig.virtual.held():
            waiting = [driven.submit() for _ in range(40)]  # more than the queue: taken all the same
        assert [w.result() for w in waiting] == [None] * 40
        driven.model.wait_for_async_ready(10, 2 * size - 1)
        with pytest.raises(Exception, match="timeout"):
            driven.model.wait_for_async_ready(10, 2 * size)
        driven.close()


@row("2.3 large frames shorten the queue to two batches")
def test_queue_of_large_frames(hailo: ModuleType) -> None:
    with open_device(hailo) as device:
        driven = Driven(device, tiny(shape=(2000, 3000, 3)), 2)
        assert driven.model.get_async_queue_size() == 4
        driven.close()


@row("2.3 settings of the scheduler")
def test_scheduler_settings(hailo: ModuleType) -> None:
    with open_device(hailo) as device:
        driven = Driven(device, tiny(contexts=2), 4)
        driven.model.set_scheduler_priority(31)
        driven.model.set_scheduler_threshold(4)
        for setting, value in (("priority", 32), ("threshold", 5)):
            with pytest.raises(hailo.HailoRTException) as caught:
                getattr(driven.model, f"set_scheduler_{setting}")(value)
            assert status_of(caught.value) == 2
        for call in (driven.model.activate, driven.model.deactivate):
            with pytest.raises(hailo.HailoRTException) as caught:
                call()
            assert status_of(caught.value) == 6
        driven.close()
    with open_device(hailo, scheduled=False) as device:
        driven, other = Driven(device, tiny()), Driven(device, tiny("other"))
        driven.model.activate()
        with pytest.raises(hailo.HailoRTException) as caught:
            other.model.activate()
        assert status_of(caught.value) == 6
        driven.model.deactivate()
        other.close()
        driven.close()


@row("2.3 leaving the context drops the model")
def test_context_of_a_model(rig: Rig, hailo: ModuleType) -> None:
    with open_device(hailo) as device:
        driven = Driven(device, tiny())
        with driven.model as model:
            assert model is driven.model
        with pytest.raises(AttributeError):
            model.create_bindings()
        assert rig.record.models["tiny"].closed == 1


# -------------------------------------------------------------------- 3 HEF


@row("3.1 read without a device")
def test_hef_infos(rig: Rig, hailo: ModuleType, raw: ModuleType, tmp_path: Path) -> None:
    rig.cards = 0
    path = tmp_path / "net.hef"
    path.write_bytes(tiny("net", width=512, contexts=3))
    hef = hailo.HEF(str(path))
    assert hef.path == str(path)
    assert hailo.HEF(path.read_bytes()).path is None
    (group,) = hef.get_network_groups_infos()
    assert (group.name, group.is_multi_context) == ("net", True)
    assert hef.get_networks_names() == ["net/net"]
    (output,) = hef.get_output_vstream_infos()
    assert (output.name, output.shape, output.network_name) == ("net/fc1", (512,), "net/net")
    assert [s.name for s in hef.get_all_vstream_infos()] == ["net/input_layer1", "net/fc1"]
    assert hef.get_input_stream_infos()[0].hw_shape == (2, 2, 8)
    with pytest.raises(raw.HailoRTStatusException, match=r"^61$"):
        hef.get_input_vstream_infos("nothing")


@row("9.1 a real file, stream by stream")
def test_real_file(rig: Rig, hailo: ModuleType, face_models: Path) -> None:
    hef = hailo.HEF(str(face_models / "arcface_mobilefacenet.hailo8.hef"))
    (given,), (output,) = hef.get_input_vstream_infos(), hef.get_output_vstream_infos()
    assert (given.name, given.shape) == ("arcface_mobilefacenet/input_layer1", (112, 112, 3))
    assert (given.format.order, given.format.type) == (hailo.FormatOrder.NHWC, hailo.FormatType.UINT8)
    assert (given.quant_info.qp_zp, given.quant_info.qp_scale) == (0, 1)
    assert (output.name, output.shape, output.format.order) == (
        "arcface_mobilefacenet/fc1",
        (512,),
        hailo.FormatOrder.NC,
    )
    assert (output.quant_info.qp_zp, output.quant_info.qp_scale) == (144, pytest.approx(0.0167389, abs=1e-7))
    assert output.network_name == "arcface_mobilefacenet/arcface_mobilefacenet"
    assert hef.get_original_names_from_vstream_name(given.name) == ["model_script_layer_normalization1"]
    assert not hef.get_network_groups_infos()[0].is_multi_context


@row("9.1 sorted outputs of SCRFD")
def test_real_scrfd(rig: Rig, hailo: ModuleType, face_models: Path) -> None:
    hef = hailo.HEF(str(face_models / "scrfd_2.5g.hailo15h.hef"))
    numbers = (43, 42, 44, 50, 49, 51, 56, 55, 57)
    assert hef.get_sorted_output_names() == [f"scrfd_2_5g/conv{n}" for n in numbers]
    assert [s.name for s in hef.get_output_vstream_infos()] == hef.get_sorted_output_names()
    assert [s.shape[2] for s in hef.get_output_vstream_infos()] == [8, 2, 20] * 3


WHOLE = tiny()


@pytest.mark.parametrize(
    ("content", "by_path", "by_bytes"),
    [
        pytest.param(WHOLE[:1], 14, 91, id="9.1 one byte"),
        pytest.param(WHOLE[:20], 14, 91, id="9.1 twenty bytes"),
        pytest.param(WHOLE[:43], 14, 91, id="9.1 cut in the header"),
        pytest.param(WHOLE[:44], 91, 91, id="9.1 cut behind the header"),
        pytest.param(WHOLE[: len(WHOLE) // 2], 91, 91, id="9.1 cut later"),
        pytest.param(WHOLE[:-1], 91, 91, id="9.1 one byte short"),
        pytest.param(WHOLE + b"\0", 91, 91, id="9.1 one byte more"),
        pytest.param(WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), 91, 91, id="9.1 one bit flipped"),
        pytest.param(b"<!doctype html><html><head><title>404 Not Found</title></head></html>", 92, 92, id="9.1 HTML"),
        pytest.param(bytes(100), 92, 92, id="9.1 zeros"),
        pytest.param(b"version https://git-lfs\n" * 2, 92, 91, id="9.1 LFS pointer"),
        pytest.param(struct.pack(">III", 0x01484546, 9, 4) + bytes(60), 92, 92, id="9.1 unknown version"),
    ],
)
def test_corrupt(hailo: ModuleType, tmp_path: Path, content: bytes, by_path: int, by_bytes: int) -> None:
    path = tmp_path / "bad.hef"
    path.write_bytes(content)
    for source, status in ((str(path), by_path), (content, by_bytes)):
        with pytest.raises(hailo.HailoRTException, match=rf"error: {status} \(HAILO_") as caught:
            hailo.HEF(source)
        assert type(caught.value) is hailo.HailoRTException


@row("9.1 nothing there")
def test_nothing_there(hailo: ModuleType, tmp_path: Path) -> None:
    for path, status in (("", 13), (str(tmp_path / "no.hef"), 13), (str(tmp_path), 14)):
        with pytest.raises(hailo.HailoRTException) as caught:
            hailo.HEF(path)
        assert status_of(caught.value) == status
    (tmp_path / "empty.hef").touch()
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.HEF(str(tmp_path / "empty.hef"))
    assert status_of(caught.value) == 14
    for source in (tmp_path, bytearray(WHOLE), None):
        with pytest.raises(ValueError, match=r"from a file path \(str\) or a buffer \(bytes\)"):
            hailo.HEF(source)


@row("9.1 an empty buffer kills the process")
def test_empty_buffer(rig: Rig, hailo: ModuleType) -> None:
    with pytest.raises(NativeCrash):
        hailo.HEF(b"")
    assert rig.record.crashes


@row("9.1 a file without any network: 92, not 26")
def test_no_network(hailo: ModuleType) -> None:
    with pytest.raises(hailo.HailoRTException, match=r"error: 92 \(HAILO_HEF_NOT_SUPPORTED"):
        hailo.HEF(write_hef([], bytes(100)))


@row("3.2 a network without streams")
def test_inconsistent(hailo: ModuleType, inner: ModuleType) -> None:
    with pytest.raises(inner.HailoRTInvalidHEFException):
        hailo.HEF(write_hef([replace(read_buffer(WHOLE).groups[0], outputs=())], bytes(100)))


@row("9.1 streams without buffer_indices kill the process")
def test_no_buffer_indices(rig: Rig, hailo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = importlib.import_module("hailo_sim.hef_writer")
    real = writer._bytes
    monkeypatch.setattr(writer, "_bytes", lambda field, value: b"" if field == 13 else real(field, value))
    made = tiny()
    with pytest.raises(NativeCrash, match="tiny/input_layer1 has no buffer_indices"):
        hailo.HEF(made)
    assert rig.record.crashes


@row("9.1 a transposed stream keeps its flag, in the file and in the model")
def test_transposed(hailo: ModuleType) -> None:
    (group,) = read_buffer(WHOLE).groups
    turned = replace(group, inputs=(replace(group.inputs[0], transposed=True),))
    hef = from_table(turned)
    flagged = int(hailo.HEF(hef).get_input_vstream_infos()[0].format.flags)
    with open_device(hailo) as device:
        model = device.create_infer_model(hef)
        assert int(model.input().format.flags) == flagged == 2
        assert int(model.output().format.flags) == 0


@row("9.1 set_nms_* on a stream without NMS fails at configure()")
def test_nms_setters(hailo: ModuleType, inner: ModuleType) -> None:
    setters = {"score_threshold": 0.5, "iou_threshold": 0.5, "max_proposals_per_class": 9}
    with open_device(hailo) as device:
        for name, value in setters.items():
            model = device.create_infer_model(WHOLE)
            getattr(model.output(), f"set_nms_{name}")(value)
            with pytest.raises(inner.HailoRTInvalidOperationException):
                model.configure()


# ------------------------------------------------------------------- 4 formats


@row("4.1 floats are the integers' real numbers")
def test_float_outputs(hailo: ModuleType) -> None:
    hef = tiny(bits=16, input_bits=16)
    with open_device(hailo) as device:
        plain = Driven(device, hef)
        raw = plain.one(7).copy()
        plain.close()

        def floats(model: Any) -> None:
            model.input().set_format_type(hailo.FormatType.FLOAT32)
            model.output().set_format_type(hailo.FormatType.FLOAT32)

        driven = Driven(device, hef, prepare=floats)
        (given,), (quant,) = driven.infer.input().quant_infos, driven.infer.output().quant_infos
        real = np.full((2, 2, 3), (7 - given.qp_zp) * given.qp_scale, np.float32)
        bindings = driven.model.create_bindings({"tiny/input_layer1": real}, {"tiny/fc1": np.zeros(8, np.float32)})
        assert driven.submit([bindings]).result() is None
        expected = (raw.astype(np.float32) - np.float32(quant.qp_zp)) * np.float32(quant.qp_scale)
        np.testing.assert_array_equal(bindings.output().get_buffer(), expected)
        driven.close()


@row("7.4 control beside a VDevice")
def test_control(rig: Rig, hailo: ModuleType, inner: ModuleType) -> None:
    device = hailo.Device()
    board = device.control.identify()
    assert (str(board.device_architecture), board.board_name) == ("HAILO8", "Hailo-8")
    assert str(board.firmware_version).startswith("4.23.0")
    reading = device.control.get_chip_temperature()
    assert reading.ts0_temperature == pytest.approx(52)
    assert reading.ts1_temperature > reading.ts0_temperature
    assert reading.sample_count == 1
    assert device.control.power_measurement() == pytest.approx(2.1)
    assert device.control.get_extended_device_information().neural_network_core_clock_rate == 400_000_000
    device.control.set_throttling_state(False)
    assert device.control.get_throttling_state() is False
    with pytest.raises(inner.HailoRTInvalidOperationException):
        device.control.chip_reset()
    rig.chip = "hailo8l"
    assert device.control.identify().device_architecture.name == "HAILO8L"


@row("7.4 control dies with its device")
def test_control_of_a_temporary(rig: Rig, hailo: ModuleType, inner: ModuleType) -> None:
    with pytest.raises(inner.HailoRTInvalidOperationException, match="one-liner usage of control") as caught:
        hailo.Device().control.identify()
    assert caught.value.__cause__ is None
    kept = hailo.Device()
    control = kept.control
    assert control.identify()
    kept.release()
    with pytest.raises(inner.HailoRTInvalidOperationException):
        control.get_chip_temperature()
    assert rig.record.controls == 1


@row("9.1 power on M.2 modules: over-current protection suspended, a warning each time")
def test_power_on_m2(hailo: ModuleType) -> None:
    with simulated(Rig(clock="virtual", power_sensor="m2")) as rig:
        device = hailo.Device()
        for _ in range(3):
            device.control.power_measurement()
        assert len([line for line in rig.record.messages if "over-current protection" in line]) == 3


@row("9.2 a board without a power sensor: five error lines at every reading")
def test_no_power_sensor(hailo: ModuleType, inner: ModuleType) -> None:
    with simulated(Rig(clock="virtual", power_sensor="none")) as rig:
        device = hailo.Device()
        for _ in range(2):
            with pytest.raises(inner.HailoRTFirmwareControlFailedException):
                device.control.power_measurement()
        assert len(rig.record.messages) == 10
        assert device.control.get_chip_temperature()


@row("9.1 two cards, one node, no ids: 36; the ids of nodes that are there help")
def test_fewer_nodes_than_cards(hailo: ModuleType, inner: ModuleType) -> None:
    with simulated(Rig(clock="virtual", cards=2, nodes=(1,))):
        with pytest.raises(inner.HailoRTDriverOperationFailedException):
            open_device(hailo)  # it gives up at the first card that cannot be opened
        with open_device(hailo, device_ids=["0000:02:00.0"]) as device:
            assert device.get_physical_devices_ids() == ["0000:02:00.0"]
        with pytest.raises(inner.HailoRTDriverOperationFailedException):
            open_device(hailo, device_ids=["0000:01:00.0"])
