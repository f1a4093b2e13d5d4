"""Variables that look like settings but are not.

Unknown variables are ignored, as the environment holds those of other programs too. One that was meant as a setting
gets a hint; otherwise somebody wonders for days why it has no effect.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields

from ml_target.config import RENAMED, Settings, setting_names

OURS = tuple(name for item in fields(Settings) for name in setting_names(item.name))

OF_THE_SCRIPTS = frozenset(
    (
        "BASE_IMAGE",
        "HAILORT_VERSION",
        "IMAGE",
        "IMMICH_ML_IMAGE",
        "IMMICH_ML_MODELS_COMMAND",
        "PYTHON",
        "CONTAINER_MEMORY",
    )
)
"""Variables that setup.sh, its scripts and the image read or set."""

OF_THE_VENDOR = frozenset(
    (
        "HAILO_DISABLE_IDLE_OPT",
        "HAILO_DISABLE_MULTIPLEXER_INTERNAL",
        "HAILO_LEGACY_BOUNDARY_CHANNEL_PAGE_SIZE",
        "HAILO_MONITOR",
        "HAILO_MONITOR_TIME_INTERVAL",
        "HAILO_SERVICE_SHARED_MEMORY_OFF",
        "HAILO_TRACE",
        "HAILO_TRACE_PATH",
        "HAILO_TRACE_SIZE_IN_KB_BOUNDED_DUMP",
        "HAILO_TRACE_TIME_IN_SECONDS_BOUNDED_DUMP",
    )
)
"""Variables that libhailort 4.23 reads and that have the same prefix as ours."""

FAMILIES = ("CLIP_", "FACE_", "SIGLIP_")
"""Prefixes that no other program uses: such a name was meant for this worker, even if it resembles none of ours."""

SIMILAR = 0.8
"""difflib's ratio from which a name counts as a misspelling: about two letters in ten differ."""

OFFICIAL = "MACHINE_LEARNING_"
INSTEAD = {
    "CACHE_FOLDER": "here the folder with the models is MODELS_DIR",
    "MODEL_TTL": "here MODEL_TTL alone says when models are unloaded",
    "REQUEST_THREADS": "here it is HOST_THREADS, and they are chosen by the cores where it is left out",
    "MODEL_INTRA_OP_THREADS": "here it is CPU_THREADS",
    "MODEL_INTER_OP_THREADS": "here CPU_WORKERS says how many inferences run at a time",
    "MODEL_ARENA": "this worker has no such choice",
    "MODEL_": "here MODELS_MIRROR and HF_ENDPOINT say where models come from",
    "WORKERS": "one process serves here; CPU_WORKERS says how many inferences run at a time",
    "WORKER_TIMEOUT": "here it is REQUEST_TIMEOUT_S",
    "HTTP_KEEPALIVE_TIMEOUT_S": "here it is KEEP_ALIVE_S",
    "PRELOAD__CLIP": "every model is loaded at start here, and CLIP_BACKEND chooses the one for search",
    "PRELOAD__FACIAL_RECOGNITION": "every model is loaded at start here; FACE_DETECTOR and FACE_RECOGNIZER choose",
    "PRELOAD__OCR": "every model is loaded at start here",
    "MAX_BATCH_SIZE": "here HAILO_BATCH bounds a burst on the card",
    "DEVICE_IDS": "here it is HAILO_DEVICE_IDS",
}
"""Prefixes of the settings of Immich's own worker (longest first where two match) -> what replaces them here."""


def hints(names: Iterable[str]) -> Iterator[str]:
    """A sentence or two for each name that was meant as a setting but is not one."""
    for name in sorted(names):
        if name in OURS or name in OF_THE_SCRIPTS or name in OF_THE_VENDOR:
            continue
        if name in RENAMED:
            yield f"{name} has no effect: it is now called {RENAMED[name]}."
        elif name.upper() in OURS:
            yield f"{name} has no effect: write it in capitals, {name.upper()}."
        elif name.startswith(OFFICIAL):
            yield f"{name} has no effect: it is a setting of Immich's own worker{_instead(name)}."
        elif near := difflib.get_close_matches(name.upper(), OURS, 1, SIMILAR):
            yield f"{name} has no effect: there is no such setting. {near[0]} was meant, perhaps."
        elif name.startswith(FAMILIES):
            alike = ", ".join(own for own in OURS if own.startswith(name[: name.index("_") + 1]))
            yield f"{name} has no effect: there is no such setting. Those that begin like it: {alike}."


def environment_hints(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The hints for an environment. Empty variables are ignored."""
    return list(hints(name for name, value in environment.items() if value.strip()))


def _instead(name: str) -> str:
    rest = name.removeprefix(OFFICIAL)
    found = [words for beginning, words in INSTEAD.items() if rest.startswith(beginning)]
    return f", and {found[0]}" if found else ", which has no counterpart here"
