"""Enumerations in the manner of pybind11: `int(x)`, equal to plain integers, no iteration (docs/hailort.md §1.1)."""

from typing import ClassVar


class BindingEnum:
    """One member. Not an `enum.Enum`: no iteration, and equal to its number, whatever the other's type."""

    __members__: ClassVar[dict[str, "BindingEnum"]] = {}

    def __init__(self, value: int) -> None:
        self.value = value

    @property
    def name(self) -> str:
        return next((n for n, m in type(self).__members__.items() if m.value == self.value), "???")

    def __int__(self) -> int:
        return self.value

    def __index__(self) -> int:
        return self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BindingEnum | int) and self.value == int(other)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __repr__(self) -> str:
        return f"<{self}: {self.value}>"


def _fill(kind: type[BindingEnum], **members: int) -> None:
    kind.__members__ = {name: kind(value) for name, value in members.items()}
    for name, member in kind.__members__.items():
        setattr(kind, name, member)


class FormatType(BindingEnum):
    AUTO: ClassVar["FormatType"]
    UINT8: ClassVar["FormatType"]
    UINT16: ClassVar["FormatType"]
    FLOAT32: ClassVar["FormatType"]


class FormatOrder(BindingEnum):
    AUTO: ClassVar["FormatOrder"]
    NHWC: ClassVar["FormatOrder"]
    FCR: ClassVar["FormatOrder"]
    NHW: ClassVar["FormatOrder"]
    NC: ClassVar["FormatOrder"]


class FormatFlags(BindingEnum):
    NONE: ClassVar["FormatFlags"]
    TRANSPOSED: ClassVar["FormatFlags"]


class SchedulingAlgorithm(BindingEnum):
    NONE: ClassVar["SchedulingAlgorithm"]
    ROUND_ROBIN: ClassVar["SchedulingAlgorithm"]


class StreamInterface(BindingEnum):
    PCIe: ClassVar["StreamInterface"]


class StreamDirection(BindingEnum):
    H2D: ClassVar["StreamDirection"]
    D2H: ClassVar["StreamDirection"]


class PowerMode(BindingEnum):
    PERFORMANCE: ClassVar["PowerMode"]
    ULTRA_PERFORMANCE: ClassVar["PowerMode"]


class CpuId(BindingEnum):
    CPU0: ClassVar["CpuId"]
    CPU1: ClassVar["CpuId"]


class DvmTypes(BindingEnum):
    AUTO: ClassVar["DvmTypes"]


class PowerMeasurementTypes(BindingEnum):
    AUTO: ClassVar["PowerMeasurementTypes"]
    POWER: ClassVar["PowerMeasurementTypes"]


class SamplingPeriod(BindingEnum):
    PERIOD_1100us: ClassVar["SamplingPeriod"]


class AveragingFactor(BindingEnum):
    AVERAGE_256: ClassVar["AveragingFactor"]


class MeasurementBufferIndex(BindingEnum):
    MEASUREMENT_BUFFER_INDEX_0: ClassVar["MeasurementBufferIndex"]


_fill(FormatType, AUTO=0, UINT8=1, UINT16=2, FLOAT32=3)
_fill(
    FormatOrder,
    AUTO=0,
    NHWC=1,
    NHCW=2,
    FCR=3,
    F8CR=4,
    NHW=5,
    NC=6,
    BAYER_RGB=7,
    RGB888=10,
    NCHW=11,
    YUY2=12,
    NV12=13,
    NV21=14,
    RGB4=17,
    I420=18,
    HAILO_NMS_WITH_BYTE_MASK=20,
    HAILO_NMS_ON_CHIP=21,
    HAILO_NMS_BY_CLASS=22,
    HAILO_NMS_BY_SCORE=23,
)
_fill(FormatFlags, NONE=0, QUANTIZED=1, TRANSPOSED=2)
_fill(SchedulingAlgorithm, NONE=0, ROUND_ROBIN=1)
_fill(StreamInterface, PCIe=0, ETH=1, MIPI=2, INTEGRATED=3)
_fill(StreamDirection, H2D=0, D2H=1)
_fill(PowerMode, PERFORMANCE=0, ULTRA_PERFORMANCE=1)
_fill(CpuId, CPU0=0, CPU1=1)
_fill(DvmTypes, AUTO=0x7FFFFFFF, VDD_CORE=0, VDD_IO=1, OVERCURRENT_PROTECTION=9)
_fill(PowerMeasurementTypes, AUTO=0x7FFFFFFF, SHUNT_VOLTAGE=0, BUS_VOLTAGE=1, POWER=2, CURRENT=3)
_fill(SamplingPeriod, PERIOD_140us=0, PERIOD_204us=1, PERIOD_332us=2, PERIOD_588us=3, PERIOD_1100us=4)
_fill(AveragingFactor, AVERAGE_1=0, AVERAGE_4=1, AVERAGE_16=2, AVERAGE_64=3, AVERAGE_128=4, AVERAGE_256=5)
_fill(MeasurementBufferIndex, **{f"MEASUREMENT_BUFFER_INDEX_{i}": i for i in range(4)})


class HailoSchedulingAlgorithm(SchedulingAlgorithm):
    """An empty subclass: its members are of the base type."""


class HailoStreamInterface(StreamInterface): ...


class HailoStreamDirection(StreamDirection): ...


class HailoPowerMode(PowerMode): ...


class HailoCpuId(CpuId): ...


class HailoFormatFlags(FormatFlags): ...
