"""A command on the PATH of a script under test that the tests' own process answers.

It is a few lines of bash that hand their words over and do what comes back: setup.sh calls docker some twenty times
in a run, and a Python started for each would take most of the tests' time.
"""

import shlex
import shutil
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

Answering = Callable[[Path, list[str]], str]
"""From the folder it is called in and its words to lines of bash: what the command does."""

SCRIPT = """#!{bash}
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\\0' {number} "$PWD" "$#" "$@" >&3
IFS= read -r -d '' answer <&3
exec 3>&-
eval "$answer"
"""


def script(answering: Answering) -> str:
    """The text of such a command."""
    exchange = _exchange()
    exchange.commands.append(answering)
    port, number = exchange.server_address[1], len(exchange.commands) - 1
    return SCRIPT.format(bash=shutil.which("bash"), port=port, number=number)


class _Exchange(ThreadingTCPServer):
    """Where all such commands of this process ask."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commands: list[Answering] = []


class _Handler(StreamRequestHandler):
    server: _Exchange

    def handle(self) -> None:
        command, folder, number = (self._word() for _ in range(3))
        words = [self._word() for _ in range(int(number))]
        try:
            answer = self.server.commands[int(command)](Path(folder), words)
        except Exception:  # it does not know this call: the command fails, with all that is known
            answer = f"printf %s {shlex.quote(traceback.format_exc())} >&2; exit 1"
        self.wfile.write(answer.encode() + b"\0")

    def _word(self) -> str:
        letters = bytearray()
        while (letter := self.rfile.read(1)) != b"\0":
            assert letter, "the command has gone in the middle of its words"
            letters += letter
        return letters.decode()


@cache
def _exchange() -> _Exchange:
    exchange = _Exchange()
    Thread(target=exchange.serve_forever, daemon=True).start()
    return exchange
