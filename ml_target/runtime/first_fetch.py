"""MODELS_FETCH=on: gets the model files that are missing before the first start goes on, with progress in the log."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

from ml_target.catalogue.needs import Need, needs, settled
from ml_target.catalogue.types import CHIPS, Chip
from ml_target.config import Settings, choose_engine
from ml_target.remedies import in_image, mounted
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
    lacking = [need for need in _needs(settings, store, "hailo8") if not _there(need, store)]
    if not lacking:
        return
    if not writable(store.target):
        log.error("MODELS_FETCH=on: %s", _closed(store.folder, os.getuid()))
        return
    chip: Chip | None = "hailo8"
    if any(need.engine in CHIPS for need in lacking):
        chip = _chip()
    if chip is None:
        return
    wanted = [need for need in _needs(settings, store, chip) if not _there(need, store)]
    if in_image() and not mounted():
        log.warning(
            "MODELS_FETCH=on: no folder is mounted at %s, so what is fetched goes with this container. To keep it, "
            "start the container with -v FOLDER:%s",
            store.folder,
            store.folder,
        )
    log.info("MODELS_FETCH=on: %d of the model files are missing and are fetched into %s", len(wanted), store.target)
    failed = 0
    for number, need in enumerate(wanted, 1):
        log.info("%d of %d: %s (%s)", number, len(wanted), need.files[0].name, need.label)
        file, reason = obtain(store, need)
        if file is None:
            failed += 1
            log.error("%s", reason)
    if failed:
        log.error("MODELS_FETCH=on: %d of %d could not be fetched. The next start tries again", failed, len(wanted))


def _closed(folder: Path, user: int) -> str:
    """Why nothing can be written into the folder of MODELS_DIR, and what to do."""
    if in_image() and not mounted():
        return f"no folder is mounted at {folder}. Start the container with -v FOLDER:{folder}, one of user {user}"
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        return f"{folder} is mounted to be read only. Take the :ro (with Compose read_only) off that mount"
    words = f"{folder} cannot be written by user {user}. Let it: chown -R {user} on the folder that is mounted there"
    if not in_image():
        return words
    volume = f"docker run --rm --user 0 -v VOLUME:{folder} IMAGE chown -R {user} {folder}"
    return f"{words}; for a named volume {volume}"


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
    log.error("MODELS_FETCH=on: no file is fetched, because the card does not tell what chip it is: %s", wrong)
    return None
