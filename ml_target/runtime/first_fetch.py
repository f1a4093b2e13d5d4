"""MODELS_FETCH=on: gets the model files that are missing before the first start goes on, with progress in the log."""

import io
import logging
import os
import subprocess
import sys

from ml_target.catalogue.needs import Need, needs, settled
from ml_target.catalogue.types import CHIPS, DEFAULT_CHIP, Chip
from ml_target.config import Settings, choose_engine
from ml_target.store import Progress, Store
from ml_target.store.command import obtain
from ml_target.system.folders import writable

log = logging.getLogger("ml_target.store")

ASK_CHIP = (sys.executable, "-m", "ml_target", "doctor", "--chip")
ASK_S = 60.0


class LogLines(io.TextIOBase):
    """A stream whose lines go to the log."""

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            log.info("%s", line)
        return len(text)


def fetch_missing(settings: Settings, store: Store) -> None:
    """Fetches what the settings need and the folder lacks. What cannot be fetched is told; its task is then off."""
    lacking = [need for need in _needs(settings, store, DEFAULT_CHIP) if not _there(need, store)]
    if not lacking:
        return
    if not writable(store.target):
        log.error(
            "MODELS_FETCH=on: %s cannot be written by user %d. Let it: chown -R %d on the folder that is mounted "
            "there, or mount a volume that this user owns",
            store.target,
            os.getuid(),
            os.getuid(),
        )
        return
    chip: Chip | None = DEFAULT_CHIP
    if any(need.engine in CHIPS for need in lacking):
        chip = _chip()
    if chip is None:
        return
    wanted = [need for need in _needs(settings, store, chip) if not _there(need, store)]
    log.info("MODELS_FETCH=on: %d of the model files are missing and are fetched into %s", len(wanted), store.target)
    for number, need in enumerate(wanted, 1):
        log.info("%d of %d: %s (%s)", number, len(wanted), need.files[0].name, need.label)
        file, reason = obtain(store, need)
        if file is None:
            log.error("%s", reason)


def progress() -> Progress:
    """Progress for the log: a line now and then."""
    return Progress(LogLines())  # type: ignore[arg-type]  # it writes, and that is all that is asked of it


def _needs(settings: Settings, store: Store, chip: Chip) -> list[Need]:
    engine = choose_engine(settings.engine)
    return [need for need in needs(settled(settings, engine, chip, store.find), engine, chip) if not need.optional]


def _there(need: Need, store: Store) -> bool:
    return any(store.find(file) for file in need.files)


def _chip() -> Chip | None:
    """What the card is, asked by a process of its own: this one opens it later. None where it does not tell."""
    try:
        asked = subprocess.run(ASK_CHIP, capture_output=True, text=True, timeout=ASK_S)
        said, wrong = asked.stdout.strip(), asked.stderr.strip()
    except subprocess.TimeoutExpired:
        said, wrong = "", f"it did not answer within {ASK_S:.0f} s"
    for chip in CHIPS:
        if chip == said:
            return chip
    log.error("MODELS_FETCH=on: no file is fetched, because the card does not say what chip it is: %s", wrong)
    return None
