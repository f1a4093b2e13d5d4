"""Containers that are asked something or fetch something, and go as they end."""

from collections.abc import Sequence

from ml_target.hailort.place import TMPFS
from ml_target.setup.card import Using
from ml_target.setup.facts import Facts
from ml_target.setup.images import PROXIES
from ml_target.setup.packages import FOLDER
from ml_target.setup.settings import Chosen
from ml_target.setup.steps import Plan, Run

CONFINED: tuple[str, ...] = ("--read-only", "-v", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges")
CONFINED += ("--pids-limit", "4096")
"""What every container has, as compose.yaml has it: nothing can be written but /tmp, no right is had, and none can be
gained. /tmp is a volume and no tmpfs: below a read-only root, docker cp puts files into volumes alone."""

PIP: tuple[str, ...] = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_NO_INDEX",
    "PIP_PROXY",
    "PIP_RETRIES",
)
PIP += ("PIP_TIMEOUT",)
"""Of pip's own settings those that hold no path of this host."""


def hailort_mounts(facts: Facts) -> list[str]:
    """Of docker run, for an image without HailoRT: its packages, and where their library may be loaded from."""
    return ["-v", f"{facts.project}/{FOLDER}:/hailort:ro", *TMPFS.split()]


def python(image: str, *words: str) -> list[str]:
    """The end of a call that runs the worker's code."""
    return ["--entrypoint", "python3", image, "-m", "ml_target", *words]


def card(using: Using | None, chosen: Chosen) -> list[str]:
    """Of docker run: the card, and the name of the one in question."""
    options = using.options if using else []
    ids = chosen.settings.get("HAILO_DEVICE_IDS", "")
    return [*options, *(["-e", f"HAILO_DEVICE_IDS={ids}"] if ids else [])]


def owner_of(facts: Facts, folder: str) -> Plan[str]:
    """The user to write a folder as: its owner, which in rootless Docker is the container's root."""
    if facts.user:
        told = yield Run(("docker", "info", "--format", "{{.SecurityOptions}}"), "quiet")
        if "rootless" in told.text:
            return "0:0"
    return (yield Run(("stat", "-c", "%u:%g", "--", folder))).text.strip()


def fetching(facts: Facts, folder: str, inside: str, names: Sequence[str]) -> Plan[list[str]]:
    """The call up to the image, of a container that fetches into a folder of the project.

    As the folder's owner; with the host's own network, so that mirrors on this host can be reached. `names`: variables
    that are handed on besides the network's own.
    """
    owner = yield from owner_of(facts, folder)
    call = ["docker", "run", "--rm", "--network", "host", *CONFINED, "--user", owner, "-e", "HOME=/tmp"]
    call += ["-v", f"{facts.project}/{folder}:{inside}"]
    for name in (*names, *PROXIES):
        if facts.given(name):
            call += ["-e", name]
    return call


def on_terminal(call: Sequence[str], facts: Facts) -> list[str]:
    """The same call with the terminal, for the line of progress and for questions, where there is one."""
    return [*call[:2], "-it", *call[2:]] if facts.asks and facts.sees else list(call)
