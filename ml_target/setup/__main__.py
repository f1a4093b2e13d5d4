"""`python3 -m ml_target.setup`: the conversation with the shell, over standard input and output.

First the shell hands over what it saw, then steps go out and answers come in, until the last step. Every word ends
with a NUL, so any text can be handed over. It needs only Python itself.
"""

import logging
import sys
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, cast

from ml_target.setup.facts import read
from ml_target.setup.plan import plan
from ml_target.setup.steps import Answer, End, Plan, Refusal, Refuse, Step, say, words_of


class GoneError(Exception):
    """The shell has ended, by Ctrl-C or so."""


class Shell:
    """The other side."""

    def __init__(self, source: BufferedReader, sink: BinaryIO) -> None:
        self.words = _words(source)
        self._sink = sink

    def tell(self, step: Step) -> Answer:
        """Hands a step over; its answer."""
        words = words_of(step)
        content = [str(len(words) - 1), *words]
        self._sink.write(b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in content))
        self._sink.flush()
        return Answer(int(next(self.words)), next(self.words))


class Warnings(logging.Handler):
    """What the settings' own code warns of is said among the steps, once."""

    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self._shell, self._said = shell, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            self._shell.tell(say(text))


def _words(source: BufferedReader) -> Iterator[str]:
    rest = b""
    while block := source.read1():
        *whole, rest = (rest + block).split(b"\0")
        for word in whole:
            yield word.decode("utf-8", "surrogateescape")
    raise GoneError


def carry_out(shell: Shell, steps: Plan[None]) -> None:
    """Every step of a plan, and the last one."""
    answer: Answer | None = None
    try:
        while True:
            answer = shell.tell(steps.send(answer))  # type: ignore[arg-type]  # the first is None
    except Refusal as refusal:
        shell.tell(Refuse(refusal.reason, refusal.remedies))
    except StopIteration:
        shell.tell(End())
    except OSError as error:  # a file of the project
        shell.tell(Refuse(f"{error.filename} cannot be read: {error.strerror}.", ("Fix that, then run this again.",)))


def main() -> int:
    shell = Shell(cast(BufferedReader, sys.stdin.buffer), sys.stdout.buffer)
    logging.getLogger("ml_target").addHandler(Warnings(shell))
    try:
        carry_out(shell, plan(read(shell.words)))
    except (GoneError, BrokenPipeError, KeyboardInterrupt):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
