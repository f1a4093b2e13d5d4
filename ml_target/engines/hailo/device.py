"""Taking the cards of this host: how HailoRT is asked for them, and which chip one has."""

from collections.abc import Sequence
from typing import Any

from ml_target.catalogue.types import CHIPS, Chip
from ml_target.engines.hailo.status import status_of

IN_USE = 73
"""HailoRT's status for a card that was asked for by its id and is another program's."""


def take_cards(hailo: Any, choices: Sequence[list[str]], count: int = 1, group: str = "") -> Any:
    """A virtual device of the first set of cards that nobody holds. Raises HailoRT's own exceptions.

    `hailo`: HailoRT's Python package. `choices`: what `system.cards.id_choices` gives. `count`: how many
    cards, where the choice is left to HailoRT. `group`: under which the service shares them, "" for not.
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
    """HailoRT's name of the chip (HAILO8L), and ours; None for a chip that this worker does not drive.

    `board`: what `identify` gives.
    """
    architecture = str(board.device_architecture).rpartition(".")[2].upper().replace("_", "")
    return architecture, next((chip for chip in CHIPS if chip == architecture.lower()), None)
