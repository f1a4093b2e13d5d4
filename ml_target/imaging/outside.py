"""The worker's side of the helper process: started on demand, one picture at a time, killed when nobody waits."""

import asyncio
import fcntl
import io
import json
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ml_target.errors import Unavailable, UnusableInput
from ml_target.imaging.helper import MESSAGE
from ml_target.imaging.structure import PIXEL, Structure
from ml_target.tensors import UInt8

log = logging.getLogger(__name__)

IDLE_S = 20.0
"""Seconds without work after which the helper ends. Starting one takes a fifth of a second."""

_CODE = Path(__file__).resolve().parents[2]
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
"""What the helper sees of the worker's environment: it reads hostile files, and needs no addresses or passwords."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Helper:
    """One helper process at most, and the queue for it. For one event loop.

    `room`: bytes of uploads that may wait for it at a time: what waits here must not keep photos from arriving.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._retiring: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def process(self) -> int | None:
        """The helper's process id, if there is one."""
        return None if self._process is None else self._process.pid

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Waits until the helper is free; `size`: bytes of the upload. Raises Unavailable where too many wait."""
        if self._waiting and self._waiting + size > self._room:
            raise Unavailable(
                "Too many pictures wait that are decoded one at a time, for their size or their format",
                "Send this one again later, or send previews: JPEG or WebP of ordinary size.",
            )
        self._waiting += size
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= size

    async def decode(self, upload: BinaryIO, structure: Structure) -> tuple[UInt8, int]:
        """The pixels, H x W x 3 RGB uint8, read-only, and milliseconds of processor time; to be called in a turn.

        Raises UnusableInput for a damaged picture or one that crashes its decoder, Unavailable where memory ran out.
        When cancelled, the helper is killed and its memory is free when this returns.
        """
        self._stay()
        with open(_memory("upload"), "w+b", buffering=0) as file, open(_memory("pixels"), "w+b", buffering=0) as room:
            size = structure.pixels * PIXEL
            os.ftruncate(room.fileno(), size)
            request = {"format": structure.format, "cost": structure.cost, "room": size}
            try:
                await asyncio.to_thread(_copy, upload, file)
                answer = await self._converse(request, [file.fileno(), room.fileno()])
            except BaseException:
                await self._end()
                raise
            file.close()
            if answer.pop("ends"):
                await self._end()
            else:
                self._retiring = asyncio.get_running_loop().call_later(IDLE_S, self._retire)
            if "reason" in answer:
                raise (Unavailable if answer["ours"] else UnusableInput)(answer["reason"], answer["remedy"])
            return _pixels(room, answer["height"], answer["width"]), answer["cpu_ms"]

    async def _converse(self, request: dict[str, Any], files: list[int]) -> dict[str, Any]:
        line, process = self._started()
        try:
            socket.send_fds(line, [json.dumps(request).encode()], files)
            answer = await asyncio.get_running_loop().sock_recv(line, MESSAGE)
        except OSError as error:
            answer = b""
            log.warning("the decoding process does not answer: %s", error)
        if answer:
            parsed: dict[str, Any] = json.loads(answer)
            return parsed
        raise _died(await asyncio.to_thread(process.wait))

    def _started(self) -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
        """The running helper, or a new one. On the loop's thread: it ends with the thread that started it."""
        if self._line is not None and self._process is not None and self._process.poll() is None:
            return self._line, self._process
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        # Warnings of a file's oddities would be lines between those of the log; what fails is told in the answer.
        python = [sys.executable, "-W", "ignore", "-m", "ml_target.imaging.helper"]
        command = [*python, str(theirs.fileno()), str(os.getpid())]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(_CODE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "PYTHONDONTWRITEBYTECODE": "1",
            # What is freed goes back to the system.
            "MALLOC_MMAP_THRESHOLD_": "131072",
            "MALLOC_ARENA_MAX": "2",
        }
        try:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise Unavailable(
                f"The process that decodes such pictures cannot be started ({error})", "Free memory or processes."
            ) from None
        finally:
            theirs.close()
        self._line = ours
        return ours, self._process

    def _stay(self) -> None:
        if self._retiring is not None:
            self._retiring.cancel()
            self._retiring = None

    def _retire(self) -> None:
        ending = asyncio.ensure_future(self._end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end(self) -> None:
        """Kills the helper, and returns when its memory is free."""
        process, self._process = self._process, None
        self._hang_up()
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    def close(self) -> None:
        """Kills the helper, from any thread."""
        self._hang_up()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _hang_up(self) -> None:
        self._stay()
        if self._line is not None:
            self._line.close()
            self._line = None


def _died(status: int) -> UnusableInput | Unavailable:
    """The error for a helper that ended with `status` and without an answer."""
    if status in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL):
        name = signal.Signals(-status).name
        log.error("a picture crashed its decoder (%s); the worker was not touched", name)
        return UnusableInput(
            f"The picture crashes its decoder ({name}), so it is damaged or malicious",
            "Regenerate its preview in Immich.",
        )
    log.error("the decoding process was killed (status %d), most likely for lack of memory", status)
    return Unavailable(
        f"The process that decoded this picture was killed (status {status}), most likely for lack of memory",
        "Give the worker more memory, or lower MEMORY_MB so that less is done at a time.",
    )


def _memory(name: str) -> int:
    """The descriptor of a new file that lies in memory and in no file system."""
    return os.memfd_create(f"picture-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _copy(upload: BinaryIO, target: io.RawIOBase) -> None:
    upload.seek(0)
    while piece := upload.read(2**20):
        view = memoryview(piece)
        while view:
            view = view[target.write(view) :]


def _pixels(room: io.RawIOBase, height: int, width: int) -> UInt8:
    """The buffer as an array. It is sealed first, so that nobody can change or shorten it any more."""
    fcntl.fcntl(room.fileno(), fcntl.F_ADD_SEALS, _SEALS)
    size = height * width * PIXEL
    mapped = mmap.mmap(room.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ)  # shared ones Linux 6.6 refuses here
    return np.frombuffer(mapped, np.uint8, size).reshape(height, width, PIXEL)
