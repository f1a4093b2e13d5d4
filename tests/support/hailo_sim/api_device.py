"""`Device`: scan, and the control calls that may go beside a VDevice (docs/hailort.md §7.4)."""

import gc
from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from hailo_sim import status as codes
from hailo_sim.clock import hold_for_ever
from hailo_sim.current import current
from hailo_sim.enums import DvmTypes, PowerMeasurementTypes
from hailo_sim.errors import HailoRTException, HailoRTInvalidOperationException, translated
from hailo_sim.rig import LIBRARY_VERSION, Rig
from hailo_sim.status import fail

CLOCK_HZ = 400_000_000
CONTROL_TIMEOUT = 1.0
RELEASED = (
    "The device in use has been released. This can happen if 'device.release()' has been called, or one-liner usage of "
    "control 'Device().control.XX()'"
)


class DeviceArchitectureTypes(IntEnum):
    HAILO8_A0 = 0
    HAILO8 = 1
    HAILO8L = 2
    HAILO15H = 3
    HAILO15L = 4
    HAILO15M = 5
    HAILO10H = 6

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FirmwareVersion:
    major: int
    minor: int
    revision: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision} (release,app)"


@dataclass
class BoardInformation:
    """What identify() gives."""

    protocol_version: int
    firmware_version: FirmwareVersion
    logger_version: int
    board_name: str
    is_release: bool
    device_architecture: DeviceArchitectureTypes
    serial_number: str
    part_number: str
    product_name: str


@dataclass
class Temperature:
    ts0_temperature: float
    ts1_temperature: float
    sample_count: int


@dataclass
class Opened:
    """The C++ object behind a Device and its control; gone when the Device is released."""

    rig: Rig
    id: str
    gone: bool = False


class Control:
    """Round trips to the firmware: rare, GIL held, and only while the Device lives (docs/hailort.md §7.4)."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._rig = opened.rig
        self._device_id = opened.id

    @property
    def device_id(self) -> str:
        return self._device_id

    def get_chip_temperature(self) -> Temperature:
        self._round_trip()
        celsius = self._rig.celsius + self._rig.faults.celsius_above
        return Temperature(celsius, celsius + 0.6, 1)

    def power_measurement(
        self,
        dvm: DvmTypes = DvmTypes.AUTO,
        measurement_type: PowerMeasurementTypes = PowerMeasurementTypes.AUTO,
    ) -> float:
        self._round_trip()
        if self._rig.power_sensor == "none":
            for _ in range(5):
                self._rig.record.say("[error] Failed measuring power: this board has no sensor")
            with translated():
                fail(codes.FW_CONTROL_FAILURE)
        if self._rig.power_sensor == "m2":
            self._rig.record.say("[warning] over-current protection is off while power is measured")
        return self._rig.watts

    def identify(self) -> BoardInformation:
        self._round_trip()
        small = self._rig.chip == "hailo8l"
        architecture = DeviceArchitectureTypes.HAILO8L if small else DeviceArchitectureTypes.HAILO8
        name = "Hailo-8L" if small else "Hailo-8"
        number = "HM21LB1C2LAE" if small else "HM218B1C2FAE"
        version = FirmwareVersion(*self._rig.firmware)
        product = f"{name.upper()} AI ACC M.2 M KEY MODULE EXT TMP"
        return BoardInformation(2, version, 0, name, True, architecture, "HLLWM2A000000001", number, product)

    def core_identify(self) -> SimpleNamespace:
        self._round_trip()
        return SimpleNamespace(firmware_version=FirmwareVersion(*self._rig.firmware), is_release=True)

    def get_extended_device_information(self) -> SimpleNamespace:
        self._round_trip()
        return SimpleNamespace(neural_network_core_clock_rate=CLOCK_HZ, boot_source="PCIE", soc_id="0" * 64)

    def get_throttling_state(self) -> bool:
        self._round_trip()
        return self._rig.throttling

    def set_throttling_state(self, should_activate: bool) -> None:
        self._round_trip()
        self._rig.throttling = should_activate

    def chip_reset(self) -> None:
        """Refused on PCIe (docs/hailort.md §7.3)."""
        self._rig.record.say("Chip reset is not supported for PCIe device.")
        with translated():
            fail(codes.INVALID_OPERATION)

    def _round_trip(self) -> None:
        if self._opened.gone:
            raise HailoRTInvalidOperationException(RELEASED)  # without a cause
        self._rig.hold_gil("control")
        self._rig.record.controls += 1
        if self._rig.faults.stuck_driver:
            hold_for_ever()
        with translated():
            if self._rig.faults.unplugged:
                fail(codes.DRIVER_OPERATION_FAILED)
            if self._rig.faults.silent_firmware:
                self._rig.clock.spend(CONTROL_TIMEOUT)
                fail(codes.DRIVER_TIMEOUT)
            if status := self._rig.faults.control_status():
                fail(status)


class Device:
    """Opens beside a VDevice in use. Construction and scan raise the raw status exception (docs/hailort.md §1.4)."""

    @classmethod
    def scan(cls) -> list[str]:
        rig = current()
        return rig.ids if rig.driver_version is not None else []

    def __init__(self, device_id: str | None = None) -> None:
        gc.collect()
        self._device: Any = None
        rig = current()
        present = Device.scan()
        if device_id is None:
            if not present:
                raise HailoRTException("HailoRT device not found in the system")
            device_id = present[0]
        if device_id not in present:
            fail(codes.INVALID_ARGUMENT)
        if device_id not in rig.openable:
            fail(codes.DRIVER_OPERATION_FAILED)
        if rig.driver_version != LIBRARY_VERSION:
            fail(codes.INVALID_DRIVER_VERSION)
        self._device_id = device_id
        self._device = Opened(rig, device_id)
        self._control = Control(self._device)
        if rig.faults.silent_firmware:  # the constructor identifies the board
            self._control.identify()

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Device({self._device_id!r})"

    @property
    def device_id(self) -> str:
        return self._device_id

    @property
    def control(self) -> Control:
        return self._control

    def release(self) -> None:
        if self._device is not None:
            self._device.gone = True
            self._device = None
