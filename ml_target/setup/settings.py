"""The worker's settings: from the environment, else from our container, else from the note, else the defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from ml_target.catalogue.needs import EngineName
from ml_target.config import Settings, as_today, planned_engine, setting_names
from ml_target.diagnostics.settings import look_over
from ml_target.setup.facts import Facts
from ml_target.setup.options import Options
from ml_target.setup.steps import Plan, Refusal, say_all

VALUE = r"[A-Za-z0-9_.,:/@-]*"
SIZE = re.compile(r"|0|[1-9][0-9]*[mg]")
NAME = re.compile(r"[A-Za-z0-9_,]+")
MEMORY, PICTURES = "4g", Settings().memory_mb
"""The container's limit, as in compose.yaml, and MEMORY_MB, which is part of it."""

APART = {"engine", "clip_backend", "host", "port", "models_dir", "models_fetch", "models_mirror", "hf_endpoint"}
APART |= {"hailort_dir", "hailort_source", "hailo_group_id"}
"""What is set by what this run does, has an option, or is refused."""

OTHER_NAMES = {"LOG_LEVEL": "IMMICH_LOG_LEVEL"}
"""Second names of a setting, handed on under its own; that comes first, as in the worker."""

PASSED = tuple(
    name
    for item in fields(Settings)
    if item.name not in APART
    for name in setting_names(item.name)
    if name not in OTHER_NAMES
)
"""Settings of the worker that are handed on from the environment."""


@dataclass(slots=True)
class Chosen:
    """What the worker will have. `before`: what our container has had until now. `told`: the backend that somebody
    has named, "" for none. `memory`: the container's limit; `memory_chosen`: the same where somebody has chosen it.
    """

    before: Mapping[str, str]
    port: int
    told: str
    memory: str = MEMORY
    memory_chosen: str = ""
    image: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        return self.settings["CLIP_BACKEND"]

    @property
    def words(self) -> list[str]:
        """As NAME=value."""
        return [f"{name}={value}" for name, value in self.settings.items()]

    @property
    def engine(self) -> EngineName:
        return planned_engine(self.settings)

    @property
    def cpu(self) -> bool:
        return self.engine == "cpu"

    def environment(self, facts: Facts) -> dict[str, str]:
        """What the worker's own code reads the settings from."""
        return {**facts.environment, "IMMICH_PORT": str(self.port), **self.settings}

    def take(self, proposed: Mapping[str, str], facts: Facts) -> None:
        """Settings that were proposed; what somebody has set stays."""
        for name, value in proposed.items():
            if name == "CLIP_BACKEND" or (name not in facts.environment and not self.settings.get(name)):
                self.settings[name] = value


def refuse_useless(facts: Facts) -> None:
    """Raises Refusal for settings that could only be dropped."""
    leave = "Leave it out: env -u"
    prints = "README, By hand). ./setup.sh --no-start builds the image and prints that line."
    for name in ("HAILORT_DIR", "MODELS_FETCH"):
        if value := facts.given(name):
            raise Refusal(
                f"{name} is not for this script: HailoRT and the models come from hailo-rt-4 and models here.",
                f"{leave} {name} ./setup.sh",
                f"For {name}={value}, start the image that fits every driver by hand (docs/templates.md).",
            )
    if value := facts.given("MODELS_DIR"):
        raise Refusal(
            f"MODELS_DIR is not for containers: the image takes what is in {facts.project}/models.",
            "Leave it out (env -u MODELS_DIR ./setup.sh) and put the files there, or name its folder: "
            f"MODELS_MIRROR={value}",
        )
    if value := facts.given("IMMICH_HOST"):
        raise Refusal(
            "IMMICH_HOST is not for containers: inside, the worker has to listen on every address.",
            f"{leave} IMMICH_HOST ./setup.sh",
            f"To be reached on one address of this host only, start it by hand, with --publish {value}:3003:3003 in "
            "the",
            f"docker run line ({prints}",
        )
    if value := facts.given("HAILO_GROUP_ID"):
        raise Refusal(
            "HAILO_GROUP_ID is not for this script: a shared card needs hailort_service's socket inside, too.",
            f"{leave} HAILO_GROUP_ID ./setup.sh",
            f"To share the card, start it by hand, with -e HAILO_GROUP_ID={value} and the socket's -v in the docker "
            "run line",
            f"(docs/frigate.md; {prints}",
        )


def choose(facts: Facts, options: Options, before: Mapping[str, str]) -> Chosen:
    """The settings for this run. Raises Refusal."""
    port = facts.given("IMMICH_PORT") or before.get("IMMICH_PORT") or "3003"
    if not (re.fullmatch("[1-9][0-9]{0,4}", port) and int(port) < 65536):
        raise Refusal(f"IMMICH_PORT={port} is not a port.", "Set it to a free one from 1 to 65535.")
    told = options.backend or facts.given("CLIP_BACKEND") or before.get("CLIP_BACKEND", "")
    backend = told or Settings().clip_backend  # written down, so that a later default does not move a library
    _require(NAME, "CLIP_BACKEND", backend)
    chosen = Chosen(before, int(port), told, settings={"CLIP_BACKEND": backend})
    chosen.image = options.image or facts.environment.get("IMAGE", before.get("IMAGE", ""))
    _require(re.compile(VALUE), "IMAGE", chosen.image)
    given = {OTHER_NAMES[name]: value for name, value in facts.environment.items() if name in OTHER_NAMES}
    given |= facts.environment
    for name in PASSED:
        value = given.get(name, before.get(name, ""))  # set and empty: back to the default
        if name == "HAILO_DEVICE_IDS":
            value = value.replace(" ", ",")
        _require(re.compile(VALUE), name, value)
        if value:
            chosen.settings[name] = value
    if options.cpu:
        chosen.settings["ENGINE"] = "cpu"
    _choose_memory(chosen, facts)
    return chosen


def _require(form: re.Pattern[str], name: str, value: str) -> None:
    if not form.fullmatch(value):
        raise Refusal(
            f"{name}='{value}' has a character in it that no such setting has.", "Correct it, or leave it out."
        )


def _choose_memory(chosen: Chosen, facts: Facts) -> None:
    asked = facts.environment.get("CONTAINER_MEMORY", chosen.before.get("CONTAINER_MEMORY", ""))
    if not SIZE.fullmatch(asked):
        raise Refusal(
            f"CONTAINER_MEMORY={asked} is not a size.",
            "Set it as in CONTAINER_MEMORY=6g or 6000m; 0 is no limit, and CONTAINER_MEMORY= (empty) goes back to the "
            "default.",
        )
    chosen.memory_chosen, chosen.memory = asked, asked or MEMORY
    pictures = chosen.settings.get("MEMORY_MB", "")
    if not asked and re.fullmatch("[0-9]{1,7}", pictures) and int(pictures) > PICTURES:
        chosen.memory = f"{4096 + (int(pictures) - PICTURES) * 11 // 10}m"


def require_valid(facts: Facts, options: Options, chosen: Chosen) -> Plan[None]:
    """Bad values, and slips in the names, are told before anything is fetched."""
    lines, right = look_over(list(facts.environment), options.chip, chosen.environment(facts))
    yield from say_all(lines)
    if not right:
        raise Refusal(
            "a setting is not right; the line above says which, and what it takes.",
            "Settings are environment variables: CLIP_BACKEND=siglip ./setup.sh (docs/settings.md lists them).",
        )


def in_words(settings: Mapping[str, str]) -> str:
    """NAME=value, with spaces between, as `words_in` reads it."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def words_in(line: str) -> dict[str, str]:
    """The settings of a container's label, or of a note, of an earlier release perhaps: NAME=value, spaces between."""
    return as_today(dict(word.split("=", 1) for word in line.split() if "=" in word))
