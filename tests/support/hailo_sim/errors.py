"""The exceptions of `hailo_platform.pyhailort.pyhailort` and how a status becomes one (docs/hailort.md §1.4)."""

from collections.abc import Iterator
from contextlib import contextmanager

from hailo_sim import status as codes


class HailoRTException(Exception):
    """Base of everything but the raw status exception."""


class HailoRTFirmwareControlFailedException(HailoRTException): ...


class HailoRTTimeout(HailoRTException): ...


class HailoRTStreamAborted(HailoRTException): ...


class HailoRTStreamAbortedByUser(HailoRTException):
    """Exists, but nothing raises it."""


class HailoRTInvalidOperationException(HailoRTException): ...


class HailoRTInvalidArgumentException(HailoRTException): ...


class HailoRTNotFoundException(HailoRTException): ...


class HailoRTInvalidHEFException(HailoRTException): ...


class HailoRTHEFNotCompatibleWithDevice(HailoRTException): ...


class HailoRTDriverOperationFailedException(HailoRTException): ...


class HailoRTNetworkGroupNotActivatedException(HailoRTException): ...


class HailoCommunicationClosedException(HailoRTException): ...


class HailoStatusInvalidValueException(Exception): ...


HailoRTPCIeDriverException = HailoRTDriverOperationFailedException

_SEE_LOG = "See hailort.log for more information"
_OWN: dict[int, tuple[type[HailoRTException], str]] = {
    4: (HailoRTTimeout, "Received a timeout - hailort has failed because a timeout had occurred"),
    63: (HailoRTStreamAborted, "Stream was aborted"),
    6: (HailoRTInvalidOperationException, f"Invalid operation. {_SEE_LOG}"),
    2: (HailoRTInvalidArgumentException, f"Invalid argument. {_SEE_LOG}"),
    61: (HailoRTNotFoundException, f"Item not found. {_SEE_LOG}"),
    26: (HailoRTInvalidHEFException, f"Invalid HEF. {_SEE_LOG}"),
    93: (HailoRTHEFNotCompatibleWithDevice, f"HEF file is not compatible with device. {_SEE_LOG}"),
    36: (
        HailoRTDriverOperationFailedException,
        "Failure in hailort driver ioctl. run 'dmesg | grep hailo' for more information",
    ),
    62: (HailoCommunicationClosedException, "Communication closed failure. Check server-client connection"),
    69: (HailoRTNetworkGroupNotActivatedException, "Network group is not activated"),
    18: (HailoRTFirmwareControlFailedException, "libhailort control operation failed"),
}


def exception_of(status: int) -> HailoRTException:
    """The exception for a status, not raised and without a cause: what completion callbacks are handed."""
    if status in _OWN:
        kind, text = _OWN[status]
        return kind(text)
    return HailoRTException(f"libhailort failed with error: {status} ({codes.name(status)})")


@contextmanager
def translated() -> Iterator[None]:
    """Turns the raw exception into the mapped one, which keeps it as its cause."""
    try:
        yield
    except codes.HailoRTStatusException as raw:
        raise exception_of(int(raw.args[0])) from raw
