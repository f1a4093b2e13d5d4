"""Our container. It is told by its label; no other one is ever touched."""

from collections.abc import Mapping
from dataclasses import dataclass

from ml_target.setup.settings import words_in
from ml_target.setup.steps import Plan, Refusal, Run

NAME = "immich-ml-hailo"
ASIDE = f"{NAME}-replaced"
"""Our container before, until the new one runs."""

OWNER, SETTINGS = f"{NAME}.setup", f"{NAME}.settings"
"""Labels."""

LABEL = '{{{{index .Config.Labels "{}"}}}}'.format
LOOK = "|".join((LABEL(OWNER), "{{.State.Status}}", "{{.Image}}", LABEL(SETTINGS)))
UP = ("running", "paused", "restarting")


@dataclass(frozen=True, slots=True)
class Ours:
    """A container that set-up has made. `image`: the id of its image; `settings`: the words of its label."""

    name: str
    state: str
    image: str
    settings: str

    @property
    def up(self) -> bool:
        return self.state in UP

    @property
    def before(self) -> dict[str, str]:
        return words_in(self.settings)


@dataclass(frozen=True, slots=True)
class Containers:
    """What Docker has. `ours`: the one to go on with; `leftover`: one that a run which was cut short has left aside.

    `ports`: of the other containers, by name, as `docker ps` prints them.
    """

    ours: Ours | None
    leftover: bool
    ports: Mapping[str, str]


def look(building: bool) -> Plan[Containers]:
    """Raises Refusal where a name that is needed is somebody else's, but not where images are only built."""
    told = yield Run(("docker", "ps", "-a", "--format", "{{.Names}} {{.Ports}}"))
    there = dict(_name_and_rest(line) for line in told.text.splitlines() if line)
    ports = {name: rest for name, rest in there.items() if name not in (NAME, ASIDE)}
    aside = (yield from _look_into(ASIDE, building)) if ASIDE in there else None
    ours = (yield from _look_into(NAME, building)) if NAME in there else aside
    return Containers(ours, bool(aside and NAME in there), ports)


def _name_and_rest(line: str) -> tuple[str, str]:
    name, _, rest = line.partition(" ")
    return name, rest


def _look_into(name: str, building: bool) -> Plan[Ours | None]:
    told = yield Run(("docker", "inspect", "--type", "container", "--format", LOOK, name))
    owner, state, image, settings = (told.text.rstrip("\n") + "|||").split("|")[:4]
    if owner == "1":
        return Ours(name, state, image, settings)
    if building:
        return None
    raise Refusal(
        f"there is a container {name} that this script did not make; it is left alone.",
        f"To keep it: docker stop {name} && docker rename {name} {name}-before",
        f"To be rid of it: docker rm -f {name}",
        "Then run this again.",
    )


# ------------------------------------------------------------------------ port


def require_port(port: int, containers: Containers, root: str) -> Plan[None]:
    """Is it free, or ours? Raises Refusal. `root`: the shell's, of `Facts`."""
    other = "or take another one: IMMICH_PORT=3004 ./setup.sh"
    for name, ports in containers.ports.items():
        if f":{port}->" in ports:
            raise Refusal(f"port {port} is taken by the container {name}.", f"Stop that: docker stop {name}", other)
    ours = containers.ours
    if ours and ours.up and ours.before.get("IMMICH_PORT") == str(port):
        return
    for file in ("tcp", "tcp6"):
        table = yield Run(("cat", "--", f"{root}/proc/net/{file}"), "quiet")
        if listens(table.text, port):
            raise Refusal(
                f"port {port} is taken by another program on this host, often Immich's own worker.",
                "Stop that (ss -ltnp shows which it is)",
                other,
            )


def listens(table: str, port: int) -> bool:
    """Whether a socket of /proc/net/tcp or tcp6 listens on the port."""
    rows = (line.split() for line in table.splitlines()[1:])
    return any(len(row) > 3 and row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
