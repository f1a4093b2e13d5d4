"""Remedies: what to do about an error, with commands that work where they are read.

What a container prints is read outside it, in `docker logs` or in the terminal of `docker exec` and `docker run`, and
what is answered over HTTP is read in Immich's log. So a command for a container starts with `docker exec`. Without
Docker the packages are in an environment, such as the .venv of `./setup.sh serve`, and any other python3 ends in a
traceback: so the command starts with that environment's Python, by its full path, as a journal is read in any folder.

In the project's image the models are baked in and owned by root: there they are fetched on the host, and the image
is rebuilt. Where the worker may write, without Docker or in a container with a mounted folder, `models fetch` will do.
"""

import importlib.metadata
import os
import shlex
import shutil
import sys
from pathlib import Path

from ml_target.catalogue.needs import Choice
from ml_target.config import PROJECT, Settings, choose_engine, setting_names, setting_text
from ml_target.errors import DamagedFileError
from ml_target.system.folders import writable

IN_IMAGE = "IMMICH_ML_IMAGE"
"""Dockerfile.immich-ml-hailo sets it, and nothing else does."""

MODELS_COMMAND = "IMMICH_ML_MODELS_COMMAND"
"""How whoever started this types `models`: scripts/models.sh, which may run it in a container that is then gone."""

CONTAINER = "immich-ml-hailo"
"""What setup.sh, the README and the examples call the container; from inside, its name cannot be known."""

PACKAGE = "-m ml_target"
IN_PROJECT = "on the host, in this project's folder"
DECIDING = tuple(name for name, value in vars(Choice).items() if isinstance(value, property))
"""The settings that decide which files are wanted."""

WRONG_ENTRY = "Its entry in the catalogue is wrong: correct it in ml_target/catalogue/networks.py, or report this."
"""For a network that, by its entry, a task cannot use: no other file would help."""

MOUNTS = Path("/proc/self/mountinfo")


def in_image() -> bool:
    """Whether this runs in a container of the project's image."""
    return bool(os.environ.get(IN_IMAGE))


def command(*words: str, **settings: str) -> str:
    """One of this program's own commands, such as `command("doctor")`, as it is typed where the output is read.

    `settings`: environment variables for it.
    """
    given = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    models, _, rest = " ".join(words).partition(" ")
    if (script := os.environ.get(MODELS_COMMAND)) and models == "models":
        return " ".join(filter(None, (*given, script, rest)))
    if in_image():
        front = ["docker exec", *(f"-e {each}" for each in given), CONTAINER, "python3"]
    else:
        front = [*given, _python()]
    return " ".join([*front, PACKAGE, *words])


def in_new_container(*words: str, mount: str) -> str:
    """As `command`, for what cannot be run in this container, because it stops: in one of its own, with a folder.

    `mount`: FOLDER:PLACE. The folder is written as its owner, who is seldom the worker's user.
    """
    if not in_image():
        return command(*words)
    owner = f'--user "$(stat -c %u:%g {mount.partition(":")[0]})"'
    return " ".join(["docker run --rm -it -v", mount, owner, "IMAGE python3", PACKAGE, *words])


def anew_after(words: str) -> str:
    """The same command, with what lets the worker take what it brought; for the end of a sentence."""
    if fetched_outside():
        return words  # which has its own end
    return f"{words} && docker restart {CONTAINER}" if in_image() else f"{words}, then start the worker again"


def _python() -> str:
    """This Python, by its full path unless it is the system's."""
    found = shutil.which("python3")
    if sys.prefix == sys.base_prefix and found and Path(found).resolve() == Path(sys.executable).resolve():
        return "python3"
    return shlex.quote(sys.executable)


def fetched_outside() -> bool:
    """Whether model files have to be fetched on the host: in the image, when no models folder is writable."""
    return in_image() and not any(map(writable, _folders()))


def mounted() -> bool:
    """Whether the models come from a folder of the host instead of the image."""
    try:
        points = {line.split()[4] for line in MOUNTS.read_text(encoding="utf-8").splitlines()}
    except (OSError, IndexError):  # no such file outside of Linux
        return False
    return any(str(each) in points - {"/"} for folder in _folders() for each in (folder, *folder.parents))


def fetch(*arguments: str) -> str:
    """The fetch command, for use after a colon or `run`. Without arguments: fetches what the settings need here."""
    if not fetched_outside():
        return command("models fetch", *arguments, **_given(*arguments))
    if mounted():
        after = " (MODELS_DIR=FOLDER before it names the one that is mounted here), then restart this container"
    else:
        after = f", then ./setup.sh{'' if _for_card() else ' --cpu'} there (or build the image again)"
    return f"{host_fetch(*arguments)} {IN_PROJECT}{after}"


def replace(*arguments: str, what: str = "it") -> str:
    """`delete it, then …`, to be used within a sentence."""
    return f"delete {what}{_from_where()}, then {fetch(*arguments)}"


def fetch_again(*arguments: str) -> str:
    """For a damaged file; a sentence without its full stop. Nothing has to be deleted: fetch sets the file aside."""
    return f"Fetch it again: {fetch(*arguments)}"


def check_file() -> str:
    """For answers that an intact file never gives."""
    return f"Check its file: `{command('models verify', **_given())}`."


def not_the_catalogues() -> str:
    """For a file that is intact, but of a shape that its task cannot use; a sentence without its full stop."""
    return f"It is not the catalogue's file: {replace()}"


def selfcheck(task: str) -> str:
    """The command that compares a task's networks with the processor's, with this worker's settings.

    `task`: by the name that commands use.
    """
    return command("selfcheck", "--task", task, **_given())


def damaged(reason: str, *arguments: str, first: str = "", cause: str = "a model file is damaged") -> DamagedFileError:
    """The error for a file that has to be fetched again. `arguments`: of the fetch; `first`: what to do before it."""
    remedy = f"{first}. {fetch_again(*arguments)}" if first else fetch_again(*arguments)
    return DamagedFileError(reason, remedy, cause, first)


def unreadable(file: Path | str, error: OSError) -> DamagedFileError:
    """The error for a file that exists but does not open, or fails while it is read."""
    reason = f"{file} cannot be read: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return DamagedFileError(reason, "Check that it is there")
    return damaged(reason, first="Check its permissions and the disk")


def folder_words(folder: Path | str) -> str:
    """The folder to put files into or take them from, in words where its path inside the container would not help."""
    if not fetched_outside():
        return str(folder)
    return "the folder that is mounted here" if mounted() else "models/ on the host"


def host_fetch(*arguments: str, settings: Settings | None = None) -> str:
    """Only the host's command, with the settings that decide which files are needed (default: the environment's)."""
    chosen = [f"{name}={shlex.quote(text)}" for name, text in _chosen(settings)]
    return " ".join(
        (*chosen, "scripts/models.sh fetch", *(arguments or ("--engine", choose_engine(_engine_setting()))))
    )


def _chosen(settings: Settings | None) -> list[tuple[str, str]]:
    """Names and values of the deciding settings that are not at their defaults."""
    names = {attribute: setting_names(attribute)[0] for attribute in DECIDING}
    if settings is None:
        found = {attribute: os.environ.get(name, "").strip() for attribute, name in names.items()}
    else:
        found = {attribute: setting_text(settings, attribute) for attribute in DECIDING}
    default = Settings()
    return [(names[a], text) for a, text in found.items() if text and text != setting_text(default, a)]


def _given(*arguments: str) -> dict[str, str]:
    """The settings that another terminal does not have, but a container does: which files, and where they lie.

    `arguments`: of the command; the one that names an engine is stronger than ENGINE.
    """
    if in_image() or os.environ.get(MODELS_COMMAND):
        return {}
    folder = os.environ.get("MODELS_DIR", "").strip()
    engine = "" if "--engine" in arguments else _engine_setting()
    return (
        ({"ENGINE": engine} if engine not in ("", "auto") else {})
        | dict(_chosen(None))
        | ({"MODELS_DIR": str(Path(folder).absolute())} if folder else {})
    )


def _engine_setting() -> str:
    return os.environ.get("ENGINE", "").strip().lower()


def _for_card() -> bool:
    """Whether this image is the one with HailoRT."""
    return any(True for _ in importlib.metadata.distributions(name="hailort"))


def _folders() -> tuple[Path, ...]:
    own = PROJECT / "models"
    named = os.environ.get("MODELS_DIR", "").strip()
    return (Path(named).absolute(), own) if named else (own,)


def _from_where() -> str:
    return f" from {folder_words('')}" if fetched_outside() else ""
