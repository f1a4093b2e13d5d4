"""The last words: what to type into Immich, and where to look."""

from collections.abc import Iterator
from typing import NamedTuple

from ml_target.catalogue.types import CHIPS
from ml_target.diagnostics.names import told
from ml_target.errors import SettingsError
from ml_target.setup.container import NAME
from ml_target.setup.facts import Facts
from ml_target.setup.options import Options
from ml_target.setup.settings import Chosen
from ml_target.setup.steps import Out, Plan, Run, say, say_all


class Route(NamedTuple):
    """A line of /proc/net/route; numbers as they stand there, lowest byte first."""

    interface: str
    destination: int
    gateway: int
    mask: int


def closing(facts: Facts, options: Options, chosen: Chosen, image: str, chip: str, incomplete: bool) -> Plan[None]:
    """`chip`: "" for none; `incomplete`: model files are missing."""
    address = (yield from host_address(facts.shell_root)) or "THIS-HOST"
    if options.dry:
        yield Out("\nNothing was changed. The worker would then be found here:\n")
    elif options.no_start:
        yield Out(f"\nThe image {image} is ready. When it has been started:\n")
    else:
        yield Out("\nThe worker is ready, and tests/test.sh has passed.\n")
    yield say("In Immich, Administration → Settings → Machine Learning Settings:")
    yield say(f"URL         http://{address}:{chosen.port}")
    try:
        yield from say_all(told(chosen.environment(facts), next((each for each in CHIPS if each == chip), None)))
    except SettingsError as error:
        yield say(f"CLIP model  unknown: {error}")
    yield say("            Coming from another model or worker: README, What switching costs.")
    yield Out("")
    yield say(f"Its log:    docker logs -f {NAME}")
    yield say(f"Its state:  http://{address}:{chosen.port}/status")
    if incomplete:
        yield say("            Model files are missing, and their tasks are OFF: it says which and why.")
    if chip:
        yield say("The card against the processor: docker exec immich-ml-hailo python3 -m ml_target selfcheck")
        yield say("Card, driver, link, files:      docker exec immich-ml-hailo python3 -m ml_target doctor")


def host_address(root: str) -> Plan[str]:
    """Of this host in its network, the one beside the default route; else its name, or nothing. `root`: the shell's."""
    table = (yield Run(("cat", "--", f"{root}/proc/net/route"), "quiet")).text
    addresses = (yield Run(("cat", "--", f"{root}/proc/net/fib_trie"), "quiet")).text
    found = address_beside(table, addresses)
    return found or (yield Run(("cat", "--", f"{root}/proc/sys/kernel/hostname"), "quiet")).text.strip()


def address_beside(table: str, addresses: str) -> str:
    """The first own address in a network of the interface with the default route; "" for none."""
    routes = list(_routes(table))
    first = next((route.interface for route in routes if route.destination == 0), "")
    beside = [route for route in routes if route.interface == first and route.gateway == 0]
    for address in _own(addresses):
        number = int.from_bytes(bytes(map(int, address.split("."))), "little")
        if any(number & route.mask == route.destination for route in beside):
            return address
    return ""


def _routes(table: str) -> Iterator[Route]:
    for row in (line.split() for line in table.splitlines()[1:]):
        if len(row) > 7:
            yield Route(row[0], int(row[1], 16), int(row[2], 16), int(row[7], 16))


def _own(addresses: str) -> Iterator[str]:
    """The addresses of /proc/net/fib_trie that are this host's own."""
    last = ""
    for line in addresses.splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "|--":
            last = rest.strip()
        elif f"{kind} {rest}".startswith("/32 host LOCAL"):
            yield last
