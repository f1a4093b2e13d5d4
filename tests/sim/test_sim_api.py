"""The simulated `hailo_platform` against docs/hailort.md: names, shapes, defaults, errors (§1 to §4, §7.1, §9.1)."""

import importlib
import struct
from collections.abc import Iterator
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
from hailo_sim.status import NAMES


@pytest.fixture
def rig() -> Iterator[Rig]:
    with simulated(Rig(clock="virtual")) as made:
        yield made


@pytest.fixture
def hailo(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform")


@pytest.fixture
def inner(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform.pyhailort.pyhailort")


@pytest.fixture
def raw(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform.pyhailort._pyhailort")


# ------------------------------------------------------------------ 1 surface

# fmt: off
TOP = (
    "HEF", "VDevice", "Device", "ConfigureParams", "AsyncInferJob", "FormatType", "FormatOrder",
    "HailoFormatFlags", "HailoStreamDirection", "HailoStreamInterface", "HailoSchedulingAlgorithm",
    "HailoPowerMode", "InferVStreams", "InputVStreams", "OutputVStreams", "InputVStreamParams",
    "OutputVStreamParams", "DvmTypes", "PowerMeasurementTypes", "SamplingPeriod", "AveragingFactor",
    "MeasurementBufferIndex", "HailoCpuId", "PcieDevice", "HailoRTException", "HailoRTStreamAbortedByUser",
    "HailoCommunicationClosedException",
)
# fmt: on
# fmt: off
INNER_ONLY = (
    "InferModel", "ConfiguredInferModel", "AsyncInferCompletionInfo", "HailoRTTimeout",
    "HailoRTStreamAborted", "HailoRTInvalidOperationException", "HailoRTInvalidArgumentException",
    "HailoRTNotFoundException", "HailoRTInvalidHEFException", "HailoRTHEFNotCompatibleWithDevice",
    "HailoRTDriverOperationFailedException", "HailoRTNetworkGroupNotActivatedException",
    "HailoRTFirmwareControlFailedException",
)
# fmt: on


@row("1.1 what is imported from where")
def test_names(hailo: ModuleType, inner: ModuleType, raw: ModuleType) -> None:
    assert [name for name in TOP if not hasattr(hailo, name)] == []
    assert [name for name in INNER_ONLY if not hasattr(inner, name) or hasattr(hailo, name)] == []
    assert hailo.__version__ == raw.__version__ == "4.23.0"
    assert inner.HailoRTPCIeDriverException is inner.HailoRTDriverOperationFailedException
    assert not issubclass(raw.HailoRTStatusException, hailo.HailoRTException)
    assert inner.ConfiguredInferModel.Bindings.InferStream is not inner.InferModel.InferStream
    assert not hasattr(inner, "Bindings")


@row("1.1 pybind enumerations")
def test_enums(hailo: ModuleType, raw: ModuleType) -> None:
    assert [int(getattr(hailo.FormatType, n)) for n in ("AUTO", "UINT8", "UINT16", "FLOAT32")] == [0, 1, 2, 3]
    orders = {"NHWC": 1, "FCR": 3, "NC": 6, "NCHW": 11, "HAILO_NMS_BY_CLASS": 22}
    assert {n: int(getattr(hailo.FormatOrder, n)) for n in orders} == orders
    with pytest.raises(TypeError):
        iter(hailo.FormatType)
    assert hailo.FormatType.UINT8 == 1
    assert hailo.FormatType.UINT8 == hailo.FormatOrder.NHWC
    assert hailo.FormatType.UINT8 != hailo.FormatType.UINT16
    assert int(hailo.DvmTypes.OVERCURRENT_PROTECTION) == 9
    robin = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    assert int(robin) == 1
    assert type(robin) is raw.SchedulingAlgorithm
    assert type(robin) is not hailo.HailoSchedulingAlgorithm
    assert robin == raw.SchedulingAlgorithm.ROUND_ROBIN


@row("1.1 the modules go again")
def test_modules_go() -> None:
    with simulated():
        importlib.import_module("hailo_platform.pyhailort.pyhailort")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("hailo_platform")


OWN = {4: "HailoRTTimeout", 63: "HailoRTStreamAborted", 6: "HailoRTInvalidOperationException"}
OWN |= {2: "HailoRTInvalidArgumentException", 61: "HailoRTNotFoundException", 26: "HailoRTInvalidHEFException"}
OWN |= {93: "HailoRTHEFNotCompatibleWithDevice", 36: "HailoRTDriverOperationFailedException"}
OWN |= {62: "HailoCommunicationClosedException", 69: "HailoRTNetworkGroupNotActivatedException"}
OWN |= {18: "HailoRTFirmwareControlFailedException"}


@pytest.mark.parametrize("status", sorted(NAMES), ids=lambda s: f"1.4 status {s}")
def test_exceptions(rig: Rig, hailo: ModuleType, inner: ModuleType, raw: ModuleType, status: int) -> None:
    rig.faults.refuse_open(1, status)
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.VDevice()
    assert type(caught.value).__name__ == OWN.get(status, "HailoRTException")
    assert type(caught.value.__cause__) is raw.HailoRTStatusException
    assert caught.value.__cause__.args == (str(status),)
    if status not in OWN:
        assert str(caught.value) == f"libhailort failed with error: {status} (HAILO_{NAMES[status]})"


# ------------------------------------------------------------------ 2.1, 7.1 opening


@row("2.1 default parameters")
def test_default_params(hailo: ModuleType) -> None:
    params = hailo.VDevice.create_params()
    assert (params.scheduling_algorithm, params.device_count, params.device_ids) == (0, 1, [])
    assert (params.group_id, params.multi_process_service) == ("UNIQUE", False)
    params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    assert type(params.scheduling_algorithm) is int
    params.device_ids = ["a", "b"]
    assert params.device_count == 2
    with pytest.raises(TypeError):
        params.scheduling_algorithm = 1


@row("2.1 release is idempotent, then AttributeError")
def test_release(hailo: ModuleType) -> None:
    with hailo.VDevice() as device:
        assert device.get_physical_devices_ids() == ["0000:01:00.0"]
        assert [d.device_id for d in device.get_physical_devices()] == ["0000:01:00.0"]
    device.release()
    with pytest.raises(AttributeError):
        device.create_infer_model(tiny())
    with pytest.raises(AttributeError):
        device.get_physical_devices_ids()


@row("2.1 hef_source of another type")
def test_hef_source(hailo: ModuleType) -> None:
    with hailo.VDevice() as device:
        for source in (Path("x.hef"), bytearray(b"x"), None):
            with pytest.raises(TypeError):
                device.create_infer_model(source)


@row("2.1 keyword device_ids ignores params")
def test_keyword_ids(hailo: ModuleType) -> None:
    params = hailo.VDevice.create_params()
    params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    with hailo.VDevice(params, device_ids=["0000:01:00.0"]) as device:
        driven = Driven(device, tiny())
        with pytest.raises(hailo.HailoRTException) as caught:
            driven.model.set_scheduler_timeout(0)
        assert status_of(caught.value) == 6
        driven.close()
    params.device_ids = ["0000:01:00.0"]
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.VDevice(params, device_ids=["0000:01:00.0"])
    assert status_of(caught.value) == 6
    with open_device(hailo, device_ids=["0000:01:00.0"]) as device:
        driven = Driven(device, tiny())
        driven.model.set_scheduler_timeout(0)
        driven.close()


@pytest.mark.parametrize(
    ("params", "status"),
    [
        pytest.param({"device_count": 0}, 2, id="2.1 no device asked for"),
        pytest.param({"device_count": 2}, 74, id="7.1 more than there are"),
        pytest.param({"device_ids": ["0000:09:00.0"]}, 2, id="7.1 unknown id"),
        pytest.param({"multi_process_service": True}, 77, id="2.1 service not running"),
    ],
)
def test_parameters_refused(hailo: ModuleType, params: dict[str, Any], status: int) -> None:
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, **params)
    assert status_of(caught.value) == status


@row("2.1 service without scheduler")
def test_service_without_scheduler(rig: Rig, hailo: ModuleType) -> None:
    rig.service = "on"
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, scheduled=False, multi_process_service=True)
    assert status_of(caught.value) == 2
    open_device(hailo, multi_process_service=True).release()
    rig.service = "old"
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, multi_process_service=True)
    assert status_of(caught.value) == 78


@row("2.1 the service shares with other programs")
def test_service_shares(rig: Rig, hailo: ModuleType) -> None:
    rig.service = "on"
    rig.faults.occupy()
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo)
    assert status_of(caught.value) == 74
    open_device(hailo, multi_process_service=True, group_id="SHARED").release()


@row("2.1 models come from the process that opened the device")
def test_another_process(hailo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with hailo.VDevice() as device:
        with monkeypatch.context() as patched:
            patched.setattr("os.getpid", lambda: 1)
            with pytest.raises(hailo.HailoRTException, match=r"^InferModel can be created only from the process"):
                device.create_infer_model(tiny())
        device.create_infer_model(tiny())


@row("2.1 at most 32 group ids")
def test_group_limit(rig: Rig, hailo: ModuleType) -> None:
    rig.cards = 40
    devices = [open_device(hailo, group_id=f"group {i}") for i in range(32)]
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, group_id="one more")
    assert status_of(caught.value) == 6
    for device in devices:
        device.release()


@row("7.1 one owner: 74, with ids 73, Device opens beside it")
def test_single_owner(hailo: ModuleType) -> None:
    device = hailo.VDevice()
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.VDevice()
    assert status_of(caught.value) == 74
    with pytest.raises(hailo.HailoRTException) as caught:
        hailo.VDevice(device_ids=["0000:01:00.0"])
    assert status_of(caught.value) == 73
    with hailo.Device() as beside:
        assert beside.control.get_chip_temperature().ts0_temperature == pytest.approx(52)
    device.release()
    hailo.VDevice().release()


@row("7.1 the mark is the process's, on a file")
def test_mark_between_processes(tmp_path: Path) -> None:
    mark = tmp_path / "hailo0"
    with simulated(Rig(held_by=mark)) as first:
        hailo = importlib.import_module("hailo_platform")
        device = hailo.VDevice()
        with simulated(Rig(held_by=mark)):
            with pytest.raises(hailo.HailoRTException) as caught:
                hailo.VDevice()
            assert status_of(caught.value) == 74
            device.release()
            hailo.VDevice().release()
        assert first.record.opened == first.record.released == 1


@row("2.1 group ids share inside the process")
def test_groups(rig: Rig, hailo: ModuleType) -> None:
    rig.cards = 2
    first = open_device(hailo, group_id="mine")
    second = open_device(hailo, scheduled=False, group_id="mine")
    driven = Driven(second, tiny())
    driven.model.set_scheduler_timeout(0)  # the first creator's scheduler wins
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, group_id="mine", device_count=2)
    assert status_of(caught.value) == 6
    driven.close()
    first.release()
    assert rig.held
    second.release()
    assert not rig.held


@row("2.1 several cards in one VDevice; not on an 8L")
def test_several_cards(rig: Rig, hailo: ModuleType) -> None:
    rig.cards = 2
    with open_device(hailo, device_count=2) as device:
        assert device.get_physical_devices_ids() == ["0000:01:00.0", "0000:02:00.0"]
    rig.chip = "hailo8l"
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, device_count=2)
    assert status_of(caught.value) == 6
    open_device(hailo).release()


@row("1.3 driver of another version")
def test_driver_version(rig: Rig, hailo: ModuleType, raw: ModuleType) -> None:
    rig.driver_version = "4.20.0"
    with pytest.raises(hailo.HailoRTException, match=r"76 \(HAILO_INVALID_DRIVER_VERSION\)"):
        hailo.VDevice()
    with pytest.raises(raw.HailoRTStatusException, match=r"^76$"):
        hailo.Device()
    assert any("Driver version (4.20.0)" in line for line in rig.record.messages)


@row("9.1 no card, no driver: 74; Device says so in words")
def test_no_card(rig: Rig, hailo: ModuleType) -> None:
    for _ in range(2):
        rig.cards = 0
        with pytest.raises(hailo.HailoRTException, match=r"error: 74 \(HAILO_OUT_OF_PHYSICAL_DEVICES\)"):
            hailo.VDevice()
        assert hailo.Device.scan() == []
        with pytest.raises(hailo.HailoRTException, match="HailoRT device not found in the system"):
            hailo.Device()
        rig.cards, rig.driver_version = 1, None


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
