"""`VDevice`: opening, sharing and releasing (docs/hailort.md §2.1, §7.1)."""

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from hailo_sim import status as codes
from hailo_sim.api_device import Device
from hailo_sim.api_hef import load
from hailo_sim.api_model import InferModel
from hailo_sim.current import current
from hailo_sim.device import OpenDevice
from hailo_sim.enums import SchedulingAlgorithm
from hailo_sim.errors import HailoRTException, translated
from hailo_sim.rig import LIBRARY_VERSION
from hailo_sim.status import fail

if TYPE_CHECKING:
    from hailo_sim.rig import Rig

UNIQUE = "UNIQUE"
MAX_GROUPS = 32


class VDeviceParams:
    """The binding's defaults: no scheduler."""

    def __init__(self) -> None:
        self._algorithm = 0
        self._device_ids: list[str] = []
        self.device_count = 1
        self.group_id = UNIQUE
        self.multi_process_service = False

    @staticmethod
    def default() -> "VDeviceParams":
        return VDeviceParams()

    @property
    def scheduling_algorithm(self) -> int:
        """A plain integer, whatever was set."""
        return self._algorithm

    @scheduling_algorithm.setter
    def scheduling_algorithm(self, algorithm: SchedulingAlgorithm) -> None:
        if not isinstance(algorithm, SchedulingAlgorithm):
            raise TypeError("incompatible function arguments: a SchedulingAlgorithm is wanted")
        self._algorithm = int(algorithm)

    @property
    def device_ids(self) -> list[str]:
        return list(self._device_ids)

    @device_ids.setter
    def device_ids(self, ids: list[str]) -> None:
        """Sets the count too."""
        self._device_ids = list(ids)
        self.device_count = len(ids)


class Handle:
    """The C++ object: one reference to an open device."""

    def __init__(self, rig: "Rig", device: OpenDevice) -> None:
        self.rig, self.device = rig, device
        self.released = False

    def release(self, *, join: bool = True) -> None:
        """Once. `join`: as in Pipeline.close."""
        if self.released:
            return
        self.released = True
        self.rig.hold_gil("release")
        if join and self.rig.faults.teardown_hangs("vdevice"):
            self.rig.freeze("VDevice.release() does not come back")
        elif join and self.device.pipelines and self.device.references == 1:
            self.rig.freeze("VDevice.release() with a model still open")
        elif join and self.device.deaf:
            self.rig.freeze("VDevice.release() waits for an interrupt thread that has ended")
        elif join and self.device.was_away:
            self.rig.freeze("VDevice.release() waits for an interrupt thread that nobody wakes")
        self.device.release(join=join)

    def create_infer_model_from_file(self, source: object, name: str) -> InferModel:
        if not isinstance(source, str):
            raise TypeError("create_infer_model_from_file(): incompatible function arguments")
        return InferModel(self, load(source), source, name)

    def create_infer_model_from_buffer(self, source: bytes, name: str) -> InferModel:
        return InferModel(self, load(source), source, name)


class VDevice:
    """The device of this process. Released explicitly, by its context, or when it goes."""

    def __init__(self, params: VDeviceParams | None = None, *, device_ids: list[str] | None = None) -> None:
        gc.collect()
        self._vdevice: Any = None
        self._params = params or VDevice.create_params()
        self._creation_pid = os.getpid()
        self._loaded_network_groups: list[object] = []
        rig = current()
        rig.hold_gil("open")
        rig.faults.reopened()
        with translated(), rig.lock:
            self._vdevice = Handle(rig, _open(rig, self._params, device_ids or []))

    @staticmethod
    def create_params() -> VDeviceParams:
        return VDeviceParams.default()

    def __enter__(self) -> "VDevice":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def __del__(self) -> None:
        if self._vdevice is not None and not sys.is_finalizing():  # then the driver's mark goes with the process
            self._vdevice.release(join=False)

    def release(self) -> None:
        """Again and again, if you like."""
        if self._vdevice is not None:
            vdevice, self._vdevice = self._vdevice, None
            vdevice.release()

    def create_infer_model(self, hef_source: str | bytes, name: str = "") -> InferModel:
        if os.getpid() != self._creation_pid:
            raise HailoRTException("InferModel can be created only from the process VDevice was created in.")
        with translated():
            current().hold_gil("create")
            model: InferModel
            if type(hef_source) is bytes:
                model = self._vdevice.create_infer_model_from_buffer(hef_source, name)
            else:
                model = self._vdevice.create_infer_model_from_file(hef_source, name)
            return model

    def configure(self, hef: object, configure_params_by_name: object = None) -> list[object]:
        """The legacy API is not simulated."""
        if os.getpid() != self._creation_pid:
            raise HailoRTException("VDevice can only be configured from the process it was created in.")
        raise NotImplementedError("the simulator knows InferModel only")

    def get_physical_devices_ids(self) -> list[str]:
        with translated():
            return [card.id for card in self._vdevice.device.cards]

    def get_physical_devices(self) -> list[Device]:
        """New objects each time."""
        return [Device(device_id) for device_id in self.get_physical_devices_ids()]

    @property
    def loaded_network_groups(self) -> list[object]:
        return self._loaded_network_groups


def _open(rig: "Rig", params: VDeviceParams, device_ids: list[str]) -> OpenDevice:
    """The device for these parameters; explicit `device_ids` make it forget the parameters."""
    if device_ids:
        if params.device_ids:
            fail(codes.INVALID_OPERATION)
        params = VDeviceParams()
        params.device_ids = device_ids
    if params.device_count == 0 or (params.multi_process_service and not params.scheduling_algorithm):
        fail(codes.INVALID_ARGUMENT)
    _check_machine(rig, params)
    shared = rig.groups.get(params.group_id)
    if shared is not None:
        if len(shared.cards) != params.device_count:
            fail(codes.INVALID_OPERATION)
        shared.references += 1
        return shared
    if len(rig.groups) >= MAX_GROUPS:
        fail(codes.INVALID_OPERATION)
    device = OpenDevice(rig, scheduled=bool(params.scheduling_algorithm))
    device.references = 1
    _claim(rig, params, device)
    if params.group_id != UNIQUE:
        rig.groups[params.group_id] = device
    rig.record.opened += 1
    return device


def _check_machine(rig: "Rig", params: VDeviceParams) -> None:
    """Faults, driver, service."""
    if status := rig.faults.open_status():
        fail(status)
    if rig.driver_version is not None and rig.driver_version != LIBRARY_VERSION and rig.ids:
        rig.record.say(f"Driver version ({rig.driver_version}) is different from library version ({LIBRARY_VERSION})")
        fail(codes.INVALID_DRIVER_VERSION)
    if params.multi_process_service and rig.service != "on":
        fail(codes.RPC_FAILED if rig.service == "off" else codes.INVALID_SERVICE_VERSION)


def _claim(rig: "Rig", params: VDeviceParams, device: OpenDevice) -> None:
    present = rig.ids if rig.driver_version is not None else []
    if params.device_ids:
        if any(i not in present for i in params.device_ids):
            fail(codes.INVALID_ARGUMENT)
        wanted = params.device_ids
    else:
        wanted = [i for i in present if i not in rig.held][: params.device_count]
    if any(i not in rig.openable for i in wanted):  # it gives up at the first card that cannot be opened (§9.1)
        fail(codes.DRIVER_OPERATION_FAILED)
    if len(wanted) > 1 and rig.chip == "hailo8l":
        rig.record.say("VDevice with multiple devices is not supported on HAILO_ARCH_HAILO8L.")
        fail(codes.INVALID_OPERATION)
    cards = (
        rig.claim(wanted, device, through_service=params.multi_process_service)
        if len(wanted) == params.device_count
        else None
    )
    if cards is None:
        if params.device_ids:
            fail(codes.DEVICE_IN_USE)
        rig.record.say(
            "Failed to create vdevice. there are not enough free devices. "
            f"requested: {params.device_count}, found: {len(wanted)}"
        )
        fail(codes.OUT_OF_PHYSICAL_DEVICES)
    device.open(cards)
