"""Puts `hailo_platform` together and into `sys.modules` (docs/hailort.md §1.1)."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import NoReturn

from hailo_sim import api_device, api_hef, api_infer, api_model, api_vdevice, enums, errors
from hailo_sim import status as codes
from hailo_sim.current import switch_off, switch_on
from hailo_sim.rig import LIBRARY_VERSION, Rig

NAME = "hailo_platform"
PUBLIC_ENUMS = (
    *("FormatType", "FormatOrder", "HailoFormatFlags", "HailoStreamDirection", "HailoStreamInterface"),
    *("HailoSchedulingAlgorithm", "HailoPowerMode", "HailoCpuId", "DvmTypes", "PowerMeasurementTypes"),
    *("SamplingPeriod", "AveragingFactor", "MeasurementBufferIndex"),
)
LEGACY = (
    *("ConfigureParams", "InferVStreams", "InputVStreams", "OutputVStreams"),
    *("InputVStreamParams", "OutputVStreamParams", "PcieDevice"),
)
PUBLIC_ERRORS = ("HailoRTException", "HailoRTStreamAbortedByUser", "HailoCommunicationClosedException")


def _legacy(name: str) -> type:
    """A name of the synchronous API that is there and cannot be used."""

    def refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(f"the simulator has no {name}: it knows InferModel only")

    return type(name, (), {"__init__": refuse})


def build() -> dict[str, ModuleType]:
    """The modules by name."""
    top, package = ModuleType(NAME), ModuleType(f"{NAME}.pyhailort")
    wrapped, raw = ModuleType(f"{NAME}.pyhailort.pyhailort"), ModuleType(f"{NAME}.pyhailort._pyhailort")
    classes: dict[str, object] = {
        "HEF": api_hef.HEF,
        "VDevice": api_vdevice.VDevice,
        "Device": api_device.Device,
        "AsyncInferJob": api_infer.AsyncInferJob,
        **{name: getattr(enums, name) for name in PUBLIC_ENUMS},
        **{name: _legacy(name) for name in LEGACY},
        **{name: getattr(errors, name) for name in PUBLIC_ERRORS},
    }
    inner: dict[str, object] = {
        "InferModel": api_model.InferModel,
        "ConfiguredInferModel": api_infer.ConfiguredInferModel,
        "AsyncInferCompletionInfo": api_infer.AsyncInferCompletionInfo,
        **{name: value for name, value in vars(errors).items() if name.startswith("Hailo")},
        "BoardInformation": api_device.BoardInformation,
        "DeviceArchitectureTypes": api_device.DeviceArchitectureTypes,
    }
    binding: dict[str, object] = {
        "HailoRTStatusException": codes.HailoRTStatusException,
        "VDeviceParams": api_vdevice.VDeviceParams,
        "SchedulingAlgorithm": enums.SchedulingAlgorithm,
        "FormatType": enums.FormatType,
        "FormatOrder": enums.FormatOrder,
        "__version__": LIBRARY_VERSION,
    }
    vars(raw).update(binding)
    vars(wrapped).update(classes | inner, _pyhailort=raw)
    vars(top).update(classes, __version__=LIBRARY_VERSION, __all__=list(classes), __path__=[], pyhailort=package)
    vars(package).update(pyhailort=wrapped, _pyhailort=raw, __path__=[])
    return {module.__name__: module for module in (top, package, wrapped, raw)}


def install(rig: Rig) -> None:
    """For the rest of the process."""
    switch_on(rig)
    sys.modules.update(build())


@cache
def _set_aside() -> None:
    """Everything that was imported: the engine calls the collector at every release, and it would look at all of it."""
    gc.freeze()


@contextmanager
def simulated(rig: Rig | None = None) -> Iterator[Rig]:
    """`hailo_platform` is the simulator inside, and speaks to `rig`; what was there before comes back."""
    _set_aside()
    rig = rig or Rig()
    modules = build()
    before = {name: sys.modules.get(name) for name in modules}
    switch_on(rig)
    sys.modules.update(modules)
    try:
        yield rig
    finally:
        rig.close()
        switch_off(rig)
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
