"""What a bug report needs to know about the machine: versions, card, settings. Nothing private."""

import importlib.metadata
import platform
from collections.abc import Iterator

from ml_target import __version__
from ml_target.config import Settings, setting_names
from ml_target.diagnostics.card import card_findings
from ml_target.diagnostics.checks.sides import Bench
from ml_target.system.cgroups import available_cores

PACKAGES = ("onnxruntime", "numpy", "opencv-python-headless", "pillow", "simplejpeg")
LISTED = (
    "engine",
    "clip_backend",
    "clip_text_engine",
    "siglip_resize",
    "clip_decoding",
    "face_detector",
    "face_recognizer",
    "face_search",
    "ocr_model",
    "max_faces",
    "max_text_lines",
    "max_text_tiles",
    "hailo_batch",
    "hailo_device_count",
    "host_threads",
    "cpu_threads",
    "cpu_workers",
    "model_ttl",
)
"""Settings that affect answers and times, and hold neither addresses nor paths; listed if not at their defaults."""

ALWAYS = ("engine", "clip_backend")


def header(bench: Bench) -> dict[str, str]:
    """The header's lines: heading -> text."""
    lines = {
        "worker": f"immich-ml-hailo {__version__}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}, {available_cores()} cores",
        "python": f"{platform.python_version()}, {', '.join(filter(None, map(_version, PACKAGES)))}",
        "settings": " ".join(_settings(bench.settings)),
        "engine": f"{bench.engine_name}, compared with the same networks on the processor"
        if bench.compares
        else "cpu: there is no card to compare with",
    }
    if bench.compares:
        for finding in card_findings(bench.settings):
            wrong = f" (WRONG: {finding.remedy})" if finding.ok is False else ""
            lines[finding.what] = finding.detail + wrong
    return lines


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _settings(settings: Settings) -> Iterator[str]:
    for attribute in LISTED:
        value = getattr(settings, attribute)
        if attribute in ALWAYS or value != getattr(Settings(), attribute):
            yield f"{setting_names(attribute)[0]}={value}"
