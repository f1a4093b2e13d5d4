"""Opening the cards of this host through HailoRT, and telling which chip they have."""

from collections.abc import Sequence
from typing import Any

from ml_target.catalogue.types import CHIPS, Chip
from ml_target.engines.hailo.status import status_of

IN_USE = 73
"""HailoRT's status for a card that was requested by id and that another program holds."""


def take_cards(hailo: Any, choices: Sequence[list[str]], count: int = 1, group: str = "") -> Any:
    """A virtual device on the first set of cards that is free. Raises HailoRT's own exceptions.

    `hailo`: HailoRT's Python package. `choices`: from `system.cards.id_choices`. `count`: how many
    cards, where HailoRT chooses. `group`: the group id under which the service shares them, "" for none.
    """
    params = hailo.VDevice.create_params()
    params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN  # the binding's default is none
    if group:
        params.group_id = group
        params.multi_process_service = True
    *others, last = choices
    for ids in others:
        params.device_ids = ids
        try:
            return hailo.VDevice(params)
        except Exception as error:
            if status_of(error) != IN_USE:
                raise
    if last:
        params.device_ids = last
    elif count != 1:
        params.device_count = count
    return hailo.VDevice(params)


def chip_of(board: Any) -> tuple[str, Chip | None]:
    """HailoRT's name for the chip (HAILO8L), and ours, or None for a chip that this worker does not drive.

    `board`: the result of `identify`.
    """
    architecture = str(board.device_architecture).rpartition(".")[2].upper().replace("_", "")
    return architecture, next((chip for chip in CHIPS if chip == architecture.lower()), None)
