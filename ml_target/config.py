"""Settings: read once from the environment, checked, then frozen.

Unknown variables are ignored; `diagnostics/hints.py` points out those that look like settings. A bad value
stops the worker with a message that names the valid ones; only an unknown log level falls back to `info` with a
warning, as in Immich's official worker.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ml_target.catalogue.needs import EngineName, EngineSetting, refuse_clash
from ml_target.catalogue.networks import ARCFACE_R50, AUTO, CHOICES, FACE_DETECTORS, FACE_RECOGNIZERS, SCRFD_2_5G
from ml_target.catalogue.types import Decoding, FaceDetectionMode, Resize
from ml_target.errors import SettingsError
from ml_target.log.private import without_login
from ml_target.system.cards import nodes

log = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parent.parent
LOG_LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "log": logging.INFO,
    "debug": logging.DEBUG,
    "verbose": logging.DEBUG,
}
IMMICH_HEADERS_TIMEOUT_S = 300
UPLOAD_PART = 4
"""The largest upload may take this fraction of the memory (one fourth): processing needs the rest."""

RENAMED: dict[str, str] = {}
"""Names that earlier releases gave to settings -> those of today; an old one is refused with the new one.

None has been renamed yet. An old name that is still understood is listed with its setting instead, after today's.
"""

RENAMED_VALUES: dict[tuple[str, str], str] = {}
"""The same for values: (setting, value in earlier releases) -> value of today. None has been renamed yet."""


def as_today(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings that an earlier release kept, under the names and with the values of today."""
    named = {RENAMED.get(name, name): value for name, value in settings.items()}
    return {
        name: ",".join(RENAMED_VALUES.get((name, word.lower()), word) for word in value.split(","))
        for name, value in named.items()
    }


def _choice(*valid: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in valid:
            raise ValueError(f"one of {', '.join(valid)}")
        return text.lower()

    return parse


def _number(kind: type[int] | type[float], low: float, high: float, unit: str = "") -> Callable[[str], Any]:
    def parse(text: str) -> float:
        wanted = f"a{' whole' if kind is int else ''} number from {low:.12g} to {high:.12g}{' ' + unit if unit else ''}"
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= value <= high:
            raise ValueError(wanted)
        return value

    return parse


def _seconds_or_off(text: str) -> float:
    if text.lower() == "off" or text.startswith("-"):  # Immich's own worker takes any number below 0 for off
        text = "0"
    seconds: float = _number(float, 0, 31_536_000, "seconds, or off")(text)
    return seconds


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _hosts(text: str) -> tuple[str, ...]:
    names = _words(text.lower())
    if not all(re.fullmatch(r"[\w-]+(\.[\w-]+)*", name, re.ASCII) for name in names):
        raise ValueError("host names without http:// and port, as in ml.example.org, separated by commas")
    return names


def _several(setting: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        names = tuple(dict.fromkeys(_words(text.lower())))
        if names != (AUTO,) and not (names and all(name in CHOICES[setting] for name in names)):
            raise ValueError(f"one of {', '.join(CHOICES[setting])} or {AUTO}, or several, separated by commas")
        return ",".join(names)

    return parse


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError):
        raise ValueError("a folder; ~ has no meaning for this user") from None


def _server(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https://")
    return text


def _log_level(text: str) -> int:
    level = LOG_LEVELS.get(text.lower())
    if level is None:
        log.warning("the log level %s is unknown, using info; valid: %s", text, ", ".join(LOG_LEVELS))
        return logging.INFO
    return level


def _setting(default: Any, parse: Callable[[str], Any], help: str, *names: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help, "names": names})


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is an environment variable of the same name in capitals, unless it lists others."""

    engine: EngineSetting = _setting(
        "auto", _choice(*get_args(EngineSetting)), "what runs the networks; auto takes a Hailo card where there is one"
    )
    clip_backend: str = _setting(
        "tinyclip",
        _several("clip_backend"),
        "smart search model; several, separated by commas, or auto for all whose files are there: "
        "the name that Immich asks for decides",
    )
    clip_text_engine: Literal["same", "cpu"] = _setting(
        "same", _choice("same", "cpu"), "where search queries run: with the pictures, or on the processor"
    )
    hailo_batch: int = _setting(
        32, _number(int, 1, 63), "most frames of one burst on the card; a network takes fewer where more gain little"
    )
    hailo_device_count: int = _setting(1, _number(int, 1, 16), "Hailo-8 cards of this host to use as one")
    hailo_device_ids: tuple[str, ...] = _setting((), _words, "their PCI addresses instead, as in 0000:01:00.0")
    hailo_group_id: str = _setting(
        "", str, "shares the card with other programs through hailort_service, under this name"
    )
    siglip_resize: Resize = _setting(
        "squash",
        _choice(*get_args(Resize)),
        "picture preparation of the SigLIP family; shortest matches indexes made by Immich 3.2 and older",
    )
    clip_decoding: Decoding = _setting(
        "exact", _choice(*get_args(Decoding)), "scaled decodes large JPEGs at half their size for smart search"
    )
    face_detector: str = _setting(SCRFD_2_5G.name, _choice(*FACE_DETECTORS), "network that finds faces")
    face_recognizer: str = _setting(
        "", _choice(*FACE_RECOGNIZERS), f"network that describes faces; {ARCFACE_R50.name} when left out"
    )
    face_search: FaceDetectionMode = _setting(
        "official",
        _choice(*get_args(FaceDetectionMode)),
        "close also finds faces that fill the picture, tiny small ones in a large picture, both does both",
    )
    ocr_model: str = _setting(
        "ppocrv5_mobile",
        _several("ocr_model"),
        "text model; several, separated by commas, or auto for all whose files are there: "
        "the name that Immich asks for decides",
    )
    hailort_dir: Path = _setting(
        Path("/hailort"),
        _path,
        "folder with HailoRT's packages in one version or several; the driver's is taken",
    )
    hailort_source: str = _setting(
        "http://dev-public.hailo.ai/2025_10/Hailo8/", _server, "where `hailort fetch` gets them: Hailo's public server"
    )
    models_dir: Path = _setting(PROJECT / "models", _path, "folder with the model files")
    models_fetch: Literal["on", "off"] = _setting(
        "off", _choice("on", "off"), "on fetches model files that are missing when the worker starts"
    )
    models_mirror: str = _setting("", str, "folder or URL that is asked for model files before the internet is")
    hf_endpoint: str = _setting("https://huggingface.co", str, "address of the Hugging Face hub or of its mirror")
    host: str = _setting("[::]", str, "address to listen on", "IMMICH_HOST")
    port: int = _setting(3003, _number(int, 1, 65535), "port to listen on", "IMMICH_PORT")
    log_level: int = _setting(logging.INFO, _log_level, ", ".join(LOG_LEVELS), "IMMICH_LOG_LEVEL", "LOG_LEVEL")
    log_format: Literal["text", "json"] = _setting(
        "text", _choice("text", "json"), "form of the worker's log; json is one object a line, for what collects logs"
    )
    keep_alive_s: int = _setting(30, _number(int, 5, 3600, "seconds"), "how long an idle connection is kept")
    request_timeout_s: float = _setting(
        240.0,
        _number(float, 1, IMMICH_HEADERS_TIMEOUT_S - 10, "seconds"),
        "a request not answered by then gets a 503; Immich itself gives up after 300",
    )
    max_upload_mb: int = _setting(128, _number(int, 1, 2048, "MiB"), "larger uploads get a 413")
    max_pixels: int = _setting(
        178_956_970, _number(int, 1_000, 1_000_000_000), "larger pictures get a 413 before they are decoded"
    )
    memory_mb: int = _setting(
        1536,
        _number(int, 256, 1_048_576, "MiB"),
        "memory for uploads and pictures, beside that of the models; a picture that needs more gets a 413",
    )
    try_it: Literal["on", "off"] = _setting(
        "on", _choice("on", "off"), "whether the page at /status lets people try photos; other sites never can"
    )
    page_hosts: tuple[str, ...] = _setting(
        (), _hosts, "public host names under which the page may try photos over plain http, separated by commas"
    )
    max_waiting: int = _setting(1024, _number(int, 1, 100_000), "requests in the worker at once; one more gets a 503")
    max_faces: int = _setting(500, _number(int, 1, 10_000), "faces answered for one picture, the best ones first")
    max_text_lines: int = _setting(1000, _number(int, 1, 10_000), "lines of text looked at in one picture")
    max_text_tiles: int = _setting(
        16,
        _number(int, 1, 64),
        "frames that one picture may take of a card's text detector; 2 is fast, and loses small print",
    )
    host_threads: int = _setting(0, _number(int, 0, 256), "threads that decode and prepare pictures; 0 = by cores")
    cpu_threads: int = _setting(0, _number(int, 0, 256), "most threads of an inference on the CPU engine; 0 = by cores")
    cpu_workers: int = _setting(0, _number(int, 0, 64), "inferences at a time on the CPU engine; 0 = by cores")
    model_ttl: float = _setting(
        0.0,
        _seconds_or_off,
        "seconds without a request after which the CPU engine unloads its networks; 0 = never",
        "MODEL_TTL",
        "MACHINE_LEARNING_MODEL_TTL",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads and checks every setting; raises one SettingsError that names all bad ones."""
        values: dict[str, Any] = {}
        wrong = [f"{old}: it is now called {new}" for old, new in RENAMED.items() if environment.get(old, "").strip()]
        for item in fields(cls):
            for name in setting_names(item.name):
                text = environment.get(name, "").strip()
                if not text:
                    continue
                if not text.isprintable():
                    wrong.append(f"{name}={without_login(text)!a}: it takes printable characters")
                    break
                old = [word for word in _words(text.lower()) if (name, word) in RENAMED_VALUES]
                if old:
                    now = (f"{word} is now called {RENAMED_VALUES[name, word]}" for word in old)
                    wrong.append(f"{name}={text}: {', '.join(now)}")
                    break
                try:
                    values[item.name] = cast(Callable[[str], Any], item.metadata["parse"])(text)
                except ValueError as error:
                    wrong.append(f"{name}={without_login(text)}: it takes {error}")
                break
        if wrong:
            raise SettingsError("; ".join(wrong), "Correct it, or leave it out for the default.")
        settings = cls(**values)
        for setting in CHOICES:
            if (given := getattr(settings, setting)) != AUTO:
                refuse_clash(setting, given.split(","), given)
        needed = settings.max_upload_mb * UPLOAD_PART
        if needed > settings.memory_mb:
            raise SettingsError(
                f"MAX_UPLOAD_MB={settings.max_upload_mb} is more than a quarter of MEMORY_MB={settings.memory_mb}",
                f"Lower it, or set MEMORY_MB to at least {needed} if the machine has that.",
            )
        return settings


def setting_names(attribute: str) -> tuple[str, ...]:
    """The environment variables that set `attribute`; the first one that is set wins."""
    names: tuple[str, ...] = Settings.__dataclass_fields__[attribute].metadata["names"]
    return names or (attribute.upper(),)


def setting_text(settings: Settings, attribute: str) -> str:
    """The value in the form its environment variable takes."""
    value = getattr(settings, attribute)
    if attribute == "log_level":
        return f"{logging.getLevelName(value)}".lower()
    return ",".join(value) if isinstance(value, tuple) else f"{value}"


def choose_engine(setting: str, root: Path = Path("/")) -> EngineName:
    """The engine that a value of ENGINE means on this machine.

    `auto`, like any invalid value, means the card if there is a device node. If the card then cannot be opened, that
    is an error: there is no silent fallback to the processor.
    """
    if setting == "hailo":
        return "hailo"
    return "hailo" if setting != "cpu" and nodes(root) else "cpu"


def planned_engine(settings: Mapping[str, str]) -> EngineName:
    """The engine of a container that `./setup.sh` starts with these settings: without a card it says so with ENGINE."""
    return "cpu" if settings.get("ENGINE") == "cpu" else "hailo"


def own_host(settings: Settings) -> str:
    """Where the worker of these settings is reached from its own machine, without the brackets of IPv6."""
    host = settings.host.strip("[]")
    return "127.0.0.1" if host in ("", "::", "0.0.0.0") else host


def own_url(settings: Settings) -> str:
    """The same as a URL."""
    host = own_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
