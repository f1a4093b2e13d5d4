"""HailoRT's status codes in words, with what to do about each; needs no HailoRT.

Names and numbers: `hailo_status` of HailoRT 4.20 to 4.23. How exceptions carry them: see its Python binding.
"""

import re
from collections.abc import Callable

from ml_target.catalogue.files import ZOO_HAILORT
from ml_target.catalogue.types import CHIP_TO_TYPE
from ml_target.errors import DeviceError
from ml_target.remedies import command, fetch_again, replace
from ml_target.system.cards import FIRST_NODE, NODE_CLASS, RELOAD, large_pages

RESTART = "Restart the worker; if it comes back, power the host off and on"
LOAD_ANEW = f"On the host: {RELOAD}, or power it off and on"
REPORT = "Please report it with the log"
PAGE_OPTION = "options hailo_pci force_desc_page_size=4096 in /etc/modprobe.d/hailo_pci.conf"
MATCH = "Driver, library, Python package and firmware must be of one version: install the same release of all"


def doctor() -> str:
    """The end of a sentence."""
    return f"{command('doctor')} says more"


def _newer(*arguments: str) -> str:
    return (
        f"{fetch_again(*arguments)}. If it stays, the file was made for a newer HailoRT: the catalogue's are for "
        f"{ZOO_HAILORT}, so install driver and HailoRT {ZOO_HAILORT}"
    )


def _within(*_: str) -> str:
    """Also covers a network that cannot be configured on a kernel with large pages, which has no status of its own."""
    if size := large_pages():
        return (
            f"This kernel's pages have {size // 1024} KiB, and the card takes 4. On the host: {PAGE_OPTION}, "
            "then load the driver again"
        )
    return f"After a stop for heat the card has to be reopened, as it is at a start. {RESTART}"


def _other_chip(*_: str) -> str:
    return f"For this card's build, {replace('--engine', 'hailo', '--chip', CHIP_TO_TYPE)}"


GONE = frozenset((36, 62, 85, 90))
"""The driver no longer reaches a card that was open: it fell off the bus, or its driver was unloaded."""

# number: (name, what it means here, remedy); a remedy with a command is built when it is needed, with the words that
# make `models fetch` bring this card's files
STATUSES: dict[int, tuple[str, str, str | Callable[..., str]]] = {
    2: ("INVALID_ARGUMENT", "HailoRT refuses a value, such as an unknown device id", "Check HAILO_DEVICE_IDS"),
    3: ("OUT_OF_HOST_MEMORY", "the host has no memory left", "Free memory, load fewer models, or lower the batch size"),
    4: ("TIMEOUT", "the card did not answer in time", RESTART),
    5: ("INSUFFICIENT_BUFFER", "a buffer is too small", REPORT),
    6: ("INVALID_OPERATION", "the card or a model is not in a state for this; its firmware may not run", LOAD_ANEW),
    7: ("NOT_IMPLEMENTED", "this HailoRT does not know the call", MATCH),
    8: ("INTERNAL_FAILURE", "HailoRT failed internally", _within),
    13: ("OPEN_FILE_FAILURE", "a model file cannot be opened", "Check that it is there and may be read"),
    14: ("FILE_OPERATION_FAILURE", "a model file cannot be read, or it is cut off", fetch_again),
    16: ("UNSUPPORTED_FW_VERSION", "the firmware is of another version than the library", MATCH),
    18: ("FW_CONTROL_FAILURE", "the firmware refused or lost a command", LOAD_ANEW),
    26: ("INVALID_HEF", "a model file is inconsistent", fetch_again),
    36: (
        "DRIVER_OPERATION_FAILED",
        f"the driver cannot be used: no permission on {FIRST_NODE}, the node is missing in the container, or the card "
        "fell off the bus",
        f"Pass --device={FIRST_NODE} to the container, and --group-add with the node's group where its mode is "
        "restrictive; otherwise look at dmesg | grep hailo",
    ),
    47: ("OUT_OF_DESCRIPTORS", "the host gives the driver too few memory descriptors", "Lower HAILO_BATCH"),
    57: ("SHUTDOWN_EVENT_SIGNALED", "the model was being shut down", RESTART),
    61: ("NOT_FOUND", "HailoRT does not know a name", REPORT),
    62: ("COMMUNICATION_CLOSED", "the connection to the card or to its service is closed", RESTART),
    63: (
        "STREAM_ABORT",
        "the card closed its streams; when it is too hot it does so to protect itself",
        lambda *_: f"Look at the temperature ({command('doctor')}) and cool the card",
    ),
    64: ("DRIVER_NOT_INSTALLED", "the driver is not installed", "Install the driver hailo_pci on the host"),
    65: ("NOT_AVAILABLE", "this card does not offer it", "It can be ignored, unless something else fails too"),
    69: ("NETWORK_GROUP_NOT_ACTIVATED", "the model is not active", RESTART),
    71: (
        "OUT_OF_FW_MEMORY",
        "the card has no memory left for another model",
        "Load fewer models: CLIP_BACKEND with one name instead of auto, or CLIP_TEXT_ENGINE=cpu",
    ),
    72: ("STREAM_NOT_ACTIVATED", "the stream is not active", RESTART),
    73: ("DEVICE_IN_USE", "another program holds this card", "Stop it, or share the card through HailoRT's service"),
    74: (
        "OUT_OF_PHYSICAL_DEVICES",
        f"no free card was found: another program holds it, or there is none, or /{NODE_CLASS} is hidden",
        lambda *_: (
            f"Stop the other program (sudo fuser -v {FIRST_NODE}); pass --device={FIRST_NODE} to the container; "
            + doctor()
        ),
    ),
    75: ("INVALID_DEVICE_ARCHITECTURE", "the card is of a kind that cannot do this", "Use a Hailo-8 or Hailo-8L"),
    76: ("INVALID_DRIVER_VERSION", "the driver on the host is of another version than the library", MATCH),
    77: ("RPC_FAILED", "HailoRT's service did not answer", "Restart it: sudo systemctl restart hailort.service"),
    78: ("INVALID_SERVICE_VERSION", "HailoRT's service is of another version than the library", MATCH),
    79: ("NOT_SUPPORTED", "this card or library does not support it", MATCH),
    81: ("OUT_OF_HOST_CMA_MEMORY", "the kernel has no contiguous memory left", "Raise cma= on the kernel command line"),
    82: ("QUEUE_IS_FULL", "more frames were sent than the queue holds", REPORT),
    84: (
        "CANT_MEET_BUFFER_REQUIREMENTS",
        "the driver cannot give a network the buffers that it wants",
        f"Lower HAILO_BATCH or load fewer models; where the log names a max_desc_page_size, on the host: {PAGE_OPTION}",
    ),
    85: ("DRIVER_INVALID_RESPONSE", "the driver gave an answer that makes no sense", LOAD_ANEW),
    86: ("DRIVER_INVALID_IOCTL", "the driver does not know the library's calls: it is of another version", MATCH),
    87: ("DRIVER_TIMEOUT", "the driver timed out waiting for the card", LOAD_ANEW),
    88: ("DRIVER_INTERRUPTED", "a call to the driver was interrupted", RESTART),
    90: ("DRIVER_WAIT_CANCELED", "the driver gave up waiting: the card was closed or is gone", LOAD_ANEW),
    91: ("HEF_FILE_CORRUPTED", "a model file is damaged", fetch_again),
    92: ("HEF_NOT_SUPPORTED", "a model file is not a HEF, or is newer than what this HailoRT reads", _newer),
    93: (
        "HEF_NOT_COMPATIBLE_WITH_DEVICE",
        "a model file was compiled for another chip",
        _other_chip,
    ),
}

FILE_STATUSES = (13, 14, 26, 91, 92)
"""Statuses that blame only the model file: it cannot be opened or read, is damaged, or is not a HEF."""

# The binding's own classes and texts, for exceptions that do not carry the number.
CLASSES = {
    "HailoRTTimeout": 4,
    "HailoRTStreamAborted": 63,
    "HailoRTInvalidOperationException": 6,
    "HailoRTInvalidArgumentException": 2,
    "HailoRTNotFoundException": 61,
    "HailoRTInvalidHEFException": 26,
    "HailoRTHEFNotCompatibleWithDevice": 93,
    "HailoRTDriverOperationFailedException": 36,
    "HailoRTPCIeDriverException": 36,
    "HailoCommunicationClosedException": 62,
    "HailoRTNetworkGroupNotActivatedException": 69,
    "HailoRTFirmwareControlFailedException": 18,
}
TEXTS = {"HailoRT device not found in the system": 74}
NUMBER_IN_TEXT = re.compile(r"failed with error: (\d+)")
UNKNOWN = -1


def status_of(error: BaseException) -> int:
    """The status behind an exception of HailoRT's binding; -1 if there is none.

    The number is in the raw exception: this one or its cause. Callbacks get exceptions without a
    cause, so class and text are looked at too.
    """
    for each in (error, error.__cause__):
        if type(each).__name__ == "HailoRTStatusException" and each is not None and each.args:
            text = str(each.args[0])
            return int(text) if text.isdecimal() else UNKNOWN
    for kind in type(error).__mro__:
        if kind.__name__ in CLASSES:
            return CLASSES[kind.__name__]
    found = NUMBER_IN_TEXT.search(str(error))
    return int(found.group(1)) if found else TEXTS.get(str(error), UNKNOWN)


def name_of(status: int) -> str:
    """Number and name, such as `74 HAILO_OUT_OF_PHYSICAL_DEVICES`."""
    known = STATUSES.get(status)
    return f"{status} HAILO_{known[0]}" if known else f"status {status}"


def explain(status: int) -> str:
    """What the status means here and what to do, in one or two sentences."""
    return f"{reason_of(status)}. {remedy_of(status)}."


def reason_of(status: int) -> str:
    """What the status means here: a sentence without its full stop."""
    known = STATUSES.get(status)
    if known is None:
        number = "an error without a number" if status == UNKNOWN else f"status {status}"
        return f"HailoRT reports {number}, which this worker does not know"
    return f"HailoRT reports {name_of(status)}: {known[1]}"


def remedy_of(status: int, *arguments: str) -> str:
    """What to do about it: a sentence without its full stop. `arguments`: for fetching this card's files."""
    known = STATUSES.get(status)
    if known is None:
        return f"Look at its log lines; {doctor()}"
    return known[2] if isinstance(known[2], str) else known[2](*arguments)


def device_error(status: int, *, of: str = "", besides: str = "") -> DeviceError:
    """The status as an error. `of`: the file concerned; `besides`: sentences to add to the remedy."""
    return DeviceError(f"{of}{': ' if of else ''}{reason_of(status)}", f"{remedy_of(status)}.{besides}")


def describe(error: BaseException) -> str:
    """The exception in a few words, to be used within a sentence."""
    status = status_of(error)
    known = STATUSES.get(status)
    if known is None:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{name_of(status)}: {known[1]}"
