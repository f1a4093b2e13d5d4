"""The simulated `hailo_platform` against docs/hailort.md: names, errors, how a device is opened (§1, §2.1, §7.1)."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import tiny
from hailo_sim.driving import Driven, open_device, row, status_of
from hailo_sim.status import NAMES

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
    """What was there before comes back: nothing, unless another test of this process has not ended its own yet."""
    names = ("hailo_platform", "hailo_platform.pyhailort.pyhailort")
    before = [sys.modules.get(name) for name in names]
    with simulated():
        inside = [importlib.import_module(name) for name in names]
    assert not any(a is b for a, b in zip(inside, before, strict=True))
    assert [sys.modules.get(name) for name in names] == before


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


@pytest.mark.slow
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
