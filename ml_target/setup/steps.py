"""What the shell can be told to do. It knows no more of the project than this.

A plan is a generator: it yields steps and is sent the answer of each. A `Refusal` ends it, wherever it is raised.
"""

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Words = tuple[str, ...]
Mode = Literal["shown", "logged", "captured", "quiet", "merged", "errors", "complaint"]
"""What becomes of a command's output. shown: the terminal has it; logged: so has the answer. captured, quiet: the
answer has standard output, and the terminal the errors, or nobody. merged: the answer has both; errors: the errors
alone. complaint: standard error has both."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a step. `code`: a command's exit status; 0 where a question was answered, or the port answers."""

    code: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Out:
    """A line on standard output."""

    text: str


@dataclass(frozen=True, slots=True)
class Err:
    """A line on standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """A command, in the project's folder."""

    words: Words
    mode: Mode = "captured"


@dataclass(frozen=True, slots=True)
class Ask:
    """A question on the terminal. Code 1: nobody answered."""

    prompt: str


@dataclass(frozen=True, slots=True)
class CheckDocker:
    """Is Docker here, and does it answer? The shell itself refuses where not."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Does the worker answer on this port of the host?"""

    port: int


@dataclass(frozen=True, slots=True)
class Write:
    """A small file for everybody to read, by way of another name."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Undo:
    """One deed of the way back. `owned`: it is left out unless all these containers are there and bear `label`.

    `done`, `failed`: what is said of it; after a failure the rest is left out where `failed` says something.
    """

    words: Words
    owned: Words = ()
    label: str = ""
    done: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Arm:
    """From now on, however the run ends, these deeds are done. None: there is nothing left to undo."""

    deeds: tuple[Undo, ...] = ()


@dataclass(frozen=True, slots=True)
class UndoNow:
    """The deeds of the last `Arm`, here and now, and not again."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The last step: what is wrong, and the lines with the remedy."""

    reason: str
    remedies: Words


@dataclass(frozen=True, slots=True)
class End:
    """The last step: all is done."""


Step = Out | Err | Run | Ask | CheckDocker | Ping | Write | Arm | UndoNow | Refuse | End
Plan = Generator[Step, Answer, T]


class Refusal(Exception):
    """Ends the set-up. `reason`: a sentence; `remedies`: lines, at least one."""

    def __init__(self, reason: str, *remedies: str) -> None:
        super().__init__(reason)
        self.reason, self.remedies = reason, remedies


def say(text: str) -> Out:
    """A line below the title of the step."""
    return Out(f"    {text}")


def say_all(lines: Sequence[str]) -> Plan[None]:
    """Several of them; empty ones are left out."""
    for line in lines:
        if line:
            yield say(line)


def title(number: int, steps: int, text: str) -> Out:
    """The title of a step of the set-up."""
    return Out(f"\n[{number}/{steps}] {text}")


def shown(words: Sequence[str]) -> Out:
    """A command as one would type it."""
    return say("$ " + " ".join(map(quoted, words)))


def quoted(word: str) -> str:
    """A word as one would type it."""
    if re.fullmatch(r"[\w./:=,@%+-]+", word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def words_of(step: Step) -> list[str]:
    """What is written for the shell: the kind of step, and its words."""
    if isinstance(step, Run):
        return ["run", step.mode, *step.words]
    if isinstance(step, Refuse):
        return ["refuse", step.reason, *step.remedies]
    if isinstance(step, Arm):
        deeds = [
            [deed.label, deed.done, deed.failed, str(len(deed.owned)), *deed.owned, *deed.words] for deed in step.deeds
        ]
        return ["arm", *(word for deed in deeds for word in (str(len(deed)), *deed))]
    fields: list[Any] = [getattr(step, name) for name in step.__slots__]
    return [NAMES[type(step)], *map(str, fields)]


NAMES: dict[type, str] = {
    Out: "out",
    Err: "err",
    Ask: "ask",
    CheckDocker: "docker",
    Ping: "ping",
    Write: "write",
    UndoNow: "undo",
    End: "end",
}
