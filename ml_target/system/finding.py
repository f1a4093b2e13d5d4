"""What a check found: of the card and its driver, of settings, files and memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `ok` None: neither right nor wrong, but worth knowing. `remedy`: "" for none.

    `looked`: False for what could not be checked, or was left out. `bars`: the card is not opened while it is wrong.
    """

    ok: bool | None
    what: str
    detail: str
    remedy: str = ""
    looked: bool = True
    bars: bool = False
