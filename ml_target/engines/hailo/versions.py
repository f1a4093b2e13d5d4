"""Whether driver, library and firmware have the same version, as HailoRT demands."""

from ml_target.hailort.driver import numbers, plain, shortcoming
from ml_target.system.finding import Finding

OF_VERSIONS = (7, 16, 76, 78, 79, 86)
"""HailoRT's statuses of parts that do not fit each other; it names no version."""


def both(library: str, driver: str) -> str:
    """The versions that are here: a sentence without its full stop."""
    return f"Here HailoRT is {library or 'of unknown version'}, the driver {driver or 'of unknown version'}"


def library_check(library: str, driver: str) -> Finding:
    """HailoRT refuses a driver whose version differs in any number (status 76), without naming the two."""
    ours, its = numbers(library), numbers(driver)
    if ours and its and ours != its:  # where either is not known, HailoRT decides
        detail = f"The driver on the host is version {driver}, HailoRT here is {library}; they must be the same"
        remedy = f"Install the driver of {library} on the host"
        if not shortcoming(driver):
            remedy = f"Install HailoRT {driver} (library and Python wheel), or the driver of {library} on the host"
        return Finding(False, "HailoRT", detail, remedy, bars=True)
    return Finding(True, "HailoRT", f"version {library or 'unknown'}")


def firmware_check(firmware: str, library: str) -> Finding:
    """HailoRT compares major and minor, warns, and then refuses most commands (status 16)."""
    ours, its = numbers(library), numbers(firmware)
    told = plain(firmware) or firmware
    if not ours or not its or ours == its:
        return Finding(True, "firmware", told)
    remedy = (
        f"Install the driver's package of version {library} on the host, which brings the firmware "
        "/lib/firmware/hailo/hailo8_fw.bin, then power the host off and on: the card keeps what it has until then"
    )
    if ours[:2] == its[:2]:
        return Finding(None, "firmware", f"{told}, HailoRT here is {library}: near enough to work", remedy)
    detail = f"{told}, but HailoRT here is {library}: the card will refuse commands (status 16)"
    return Finding(False, "firmware", detail, remedy)
