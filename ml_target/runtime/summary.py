"""The summary at the end of the start: the tasks, the address, and what to type into Immich. For 80 columns."""

import os
import socket
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_target.remedies import in_image
from ml_target.runtime.registry import Services
from ml_target.tasks.contract import ImmichSetting
from ml_target.tasks.register import TASKS
from ml_target.tasks.service import Service

WIDTH, MARGIN, COLUMN = 79, "  ", 19
UNKNOWN_HOST = "THIS-MACHINE"
LOCAL = ("127.0.0.1", "::1", "localhost")
ANYWHERE = ("192.0.2.1", 9)
"""An address set aside for documentation (RFC 5737): looking up the route there sends nothing."""

DOCKER_MARK, PODMAN_MARK = Path("/.dockerenv"), Path("/run/.containerenv")


@dataclass(frozen=True, slots=True)
class Summary:
    """Lines for people; `red`: which of them, counted from 0, report a fault."""

    lines: tuple[str, ...]
    red: frozenset[int]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def summarise(services: Services, engine: str, address: ImmichSetting) -> Summary:
    """The summary. `engine`: what the tasks run on, in words; `address`: where Immich finds the worker."""
    tasks = list(listed(services))
    on = sum(service.on for _, service, _ in tasks)
    lines = [f"{on} of {len(tasks)} tasks are on, running on {engine}.", ""]
    red: set[int] = set()
    for name, service, network in tasks:
        why_off = (service.never and service.never.cause) or service.why_off
        shown = _row(name, f"on   {network}" if service.on else f"OFF  {why_off}", hang=5)
        if service.fault:
            red |= set(range(len(lines), len(lines) + len(shown)))
        lines += shown
    if on < len(tasks):
        lines += _row("", "     The lines above and /status say what to do.", hang=5)
    if on:
        lines += ["", f"{MARGIN}In Immich, Administration > Settings > Machine Learning Settings:"]
        lines += [line for each in to_type(services, address) for line in _row(each.field, each.text)]
    return Summary((*lines, ""), frozenset(red))


def address(host: str, port: int) -> ImmichSetting:
    """The URL to type into Immich, as far as it can be known from here. `host`: what the worker listens on."""
    bare = host.strip("[]")
    host = f"[{bare}]" if ":" in bare else bare
    note = ""
    if contained():
        host, note = UNKNOWN_HOST, "(or the port it is published on)"
    elif bare in LOCAL:
        note = f"(from this machine alone: IMMICH_HOST={host})"
    elif bare in ("::", "0.0.0.0", ""):
        host = own_address() or UNKNOWN_HOST
    return ImmichSetting("URL", f"http://{host}:{port}", note)


def contained() -> bool:
    """Whether this runs in a container, which does not know its host's address."""
    return in_image() or DOCKER_MARK.exists() or PODMAN_MARK.exists() or "KUBERNETES_SERVICE_HOST" in os.environ


def own_address() -> str:
    """This machine's address in its network, "" where it has none."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(ANYWHERE)
        except OSError:
            return ""
        found: str = probe.getsockname()[0]
    return "" if found.startswith(("127.", "0.")) else found


def listed(services: Services) -> Iterator[tuple[str, Service[Any], str]]:
    """The service's label, the service, and the label of what serves it; of several variants the first says which."""
    for task in TASKS:
        offered = services.of[task.name]
        for service in offered:
            name, served_by = task.labels(service)
            several = sum(each.name == service.name for each in offered) > 1
            yield f"{name} {service.variant}" if several else name, service, served_by


def to_type(services: Services, address: ImmichSetting) -> Iterator[ImmichSetting]:
    """What to type into Immich: the address, then each task's."""
    yield address
    for task in TASKS:
        for service in services.of[task.name]:
            if service.on and (setting := task.immich_setting(service)):
                yield setting


def _row(name: str, text: str, hang: int = 0) -> Sequence[str]:
    """A name and the text about it, in lines that fit; `hang`: extra indent of the second and later lines."""
    start = f"{MARGIN}{name:<{COLUMN}}"
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * (len(start) + hang),
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
