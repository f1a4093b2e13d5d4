"""What the shell saw of the host, and what this run was given."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Node:
    """A device node of a card. `mode`: of its file, as a number; `group`: its number."""

    path: str
    mode: int
    group: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan begins with.

    `project`: the checkout's folder. `root`: below it the planner finds /sys; `shell_root`: below it the shell finds
    /proc, "" for the real one. `machine`, `kernel`: of uname. `user`: the number of whoever runs this. `asks`: somebody
    is at the terminal, who also sees what is printed where `sees`. `built`: the image that the shell has just made for
    the planner, or "".
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    project: Path
    root: Path
    shell_root: str
    machine: str
    kernel: str
    user: int
    asks: bool
    sees: bool
    nodes: tuple[Node, ...]
    built: str = ""

    def given(self, name: str) -> str:
        """A variable of the environment; "" where it is not set."""
        return self.environment.get(name, "")


def read(words: Iterator[str]) -> Facts:
    """From the words that the shell hands over: facts and arguments, each behind their number, then the environment."""
    facts = dict(word.split("=", 1) for word in _group(words))
    arguments = tuple(_group(words))
    environment = dict(word.split("=", 1) for word in iter(lambda: next(words), ""))
    return Facts(
        arguments=arguments,
        environment=environment,
        project=Path(facts["project"]),
        root=Path(facts["root"] or "/"),
        shell_root=facts["shell_root"],
        machine=facts["machine"],
        kernel=facts["kernel"],
        user=int(facts["user"]),
        asks=facts["asks"] == "1",
        sees=facts["sees"] == "1",
        nodes=tuple(_nodes(facts["nodes"])),
        built=facts["built"],
    )


def _group(words: Iterator[str]) -> list[str]:
    return [next(words) for _ in range(int(next(words)))]


def _nodes(lines: str) -> Iterator[Node]:
    for line in lines.splitlines():
        path, mode, group = line.split()
        yield Node(path, int(mode, 8), group)
