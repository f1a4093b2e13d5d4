"""What workers say of themselves at `/status`: the names to ask both for, if none are told, and who they are."""

import time
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from ml_target.catalogue.immich import IMMICH_DEFAULT
from ml_target.catalogue.networks import PPOCRV5_MOBILE
from ml_target.log.words import short

CLIP, OCR = "clip", "ocr"
DEFAULTS = {CLIP: IMMICH_DEFAULT, OCR: PPOCRV5_MOBILE.immich_name}
"""Immich's, where this worker announces none: for faces none ever does, as it answers for any name."""

ANSWERS_WITHIN_S, LONGEST = 10.0, 1 << 20
SAME_MOMENT_S = 2


def status(url: str) -> dict[str, Any]:
    """What the worker at `url` says; nothing where it has no such page. Whether it is there is found out elsewhere."""
    content, ends = bytearray(), time.monotonic() + ANSWERS_WITHIN_S
    try:
        with httpx2.stream("GET", f"{url.rstrip('/')}/status", timeout=ANSWERS_WITHIN_S, trust_env=False) as answer:
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > LONGEST or time.monotonic() > ends:
                    return {}
        page = orjson.loads(content) if answer.is_success else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return {}
    return page if isinstance(page, dict) else {}


def announced(page: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By task the names that the worker of this status serves now, its first model's first."""
    return {task: names for task in DEFAULTS if (names := _names(page.get(task)))}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """A warning where two statuses of one moment may be of one worker under two addresses; else ""."""
    up, there_up = one.get("uptime_s"), other.get("uptime_s")
    if not isinstance(up, int) or not isinstance(there_up, int) or abs(up - there_up) > SAME_MOMENT_S:
        return ""
    if one.get("tasks") != other.get("tasks"):
        return ""
    return "both addresses lead to workers that started at one moment with the same files: are they one and the same?"


def _names(models: Any) -> tuple[str, ...]:
    """Another program says them, and a terminal shows them: only those that are fit for one."""
    entries = [each for each in models if isinstance(each, dict)] if isinstance(models, list) else []
    names = [each.get("immich_name") for each in entries if each.get("on") is True]
    return tuple(short(name) for name in names if isinstance(name, str) and name and name.isprintable())


def choose(task: str, told: str | None, here: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """The name for a task, and in words where it is from. `here`: what this worker announces."""
    if told:
        return told, f"{told}, as told"
    if task not in here:
        return DEFAULTS[task], f"{DEFAULTS[task]}, Immich's default: this worker's /status names none (--{task} NAME)"
    first, *others = here[task]
    also = f"; it also serves {' and '.join(others)} (--{task} NAME)" if others else f" (--{task} asks for another)"
    return first, f"{first}, as this worker announces{also}"
