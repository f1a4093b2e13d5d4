"""What happens while nobody asks for anything: memory goes back, and after MODEL_TTL the networks with it."""

import asyncio
import copy
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from ml_target.engines import Engine
from ml_target.errors import WorkerError
from ml_target.system import allocator

log = logging.getLogger("ml_target.worker")

REST_S = 3.0
"""Seconds without a request after which memory is given back: longer than the pauses of a client at work."""

Networks = Literal["loaded", "unloaded", "loading"]


class Resting:
    """Owned by the event loop's thread; its times are the loop's. What takes long runs in a thread, one at a time.

    `ttl`: seconds without a request after which the engines that can unload their networks; 0 never. `trim`: gives the
    process's free memory back to the system.
    """

    def __init__(self, engines: Sequence[Engine], ttl: float, trim: Callable[[], None] = allocator.trim) -> None:
        self._engines = engines
        self._ttl = ttl if any(engine.capabilities.unloads for engine in engines) else 0.0
        self._trim = trim
        self._requests = 0
        self._turn = asyncio.Lock()
        self._begins: asyncio.TimerHandle | None = None
        self._resting: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._unloaded = False

    @property
    def networks(self) -> Networks:
        """Where the networks are."""
        if self._reloading is not None:
            return "loading"
        return "unloaded" if self._unloaded else "loaded"

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """For the length of one request; unloaded networks are loaded first, once for all that wait.

        Raises Unavailable when they cannot be loaded; the next request tries again.
        """
        self._requests += 1
        self._interrupt()
        try:
            await self._awake()
            yield
        finally:
            self._requests -= 1
            self.watch()

    def watch(self) -> None:
        """Begins to count the seconds, unless a request is being served."""
        if not self._requests and self._begins is None:
            self._begins = asyncio.get_running_loop().call_later(REST_S, self._begin)

    def close(self) -> None:
        """Counts no more."""
        self._interrupt()
        self._requests += 1  # no later one begins to count again

    def _interrupt(self) -> None:
        if self._begins is not None:
            self._begins.cancel()
        if self._resting is not None:
            self._resting.cancel()
        self._begins = self._resting = None

    def _begin(self) -> None:
        self._resting = asyncio.get_running_loop().create_task(self._rest())

    async def _rest(self) -> None:
        try:
            await self._quietly(self._give_back)
            if not self._ttl or self._unloaded:
                return
            await asyncio.sleep(max(0.0, self._ttl - REST_S))
            await self._quietly(self._unload)
            log.info("no request for %g s: the networks are unloaded until the next one (MODEL_TTL)", self._ttl)
        except Exception:
            log.exception("memory could not be given back")

    async def _quietly(self, work: Callable[[], None]) -> None:
        """Runs it in a thread, to its end even if a request comes meanwhile: that one waits."""
        async with self._turn:
            running = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(None, work))
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})
                raise

    def _give_back(self) -> None:
        for engine in self._engines:
            engine.rest()
        self._trim()

    def _unload(self) -> None:
        self._unloaded = True  # before the first one: a half is as good as none
        for engine in self._engines:
            engine.unload()
        self._trim()

    async def _awake(self) -> None:
        if self._reloading is None:
            async with self._turn:  # lets what gives memory back at this moment finish
                pass
        if not self._unloaded:
            return
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())
            self._reloading.add_done_callback(self._reloaded)
        try:
            await asyncio.shield(self._reloading)
        except WorkerError as error:  # each request clears the frames of its own
            raise copy.copy(error) from None

    async def _reload(self) -> None:
        started = time.perf_counter()
        log.info("a request has come: loading the networks again")
        async with self._turn:
            await asyncio.get_running_loop().run_in_executor(None, self._load)
        self._unloaded = False
        log.info("the networks are loaded again, after %.1f s", time.perf_counter() - started)

    def _load(self) -> None:
        for engine in self._engines:
            engine.reload()

    def _reloaded(self, task: "asyncio.Task[None]") -> None:
        self._reloading = None
        if not task.cancelled() and (error := task.exception()):
            log.error("%s", error)
