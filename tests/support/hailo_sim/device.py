"""An open device: its cards, its core-ops, the thread that runs them (docs/hailort.md §5)."""

import ctypes
import heapq
import itertools
import threading
import time
from math import inf
from typing import TYPE_CHECKING

from hailo_sim import status as codes
from hailo_sim.costs import cost_of
from hailo_sim.hef_file import Group, HefFile
from hailo_sim.networks import Array, Network, open_network
from hailo_sim.pipeline import Frame, Pipeline
from hailo_sim.record import Burst
from hailo_sim.scheduler import Card, CoreOp, Run, Scheduler, decide_manually
from hailo_sim.status import fail

if TYPE_CHECKING:
    from hailo_sim.rig import Rig

MAX_CORE_OPS = 32
MAX_BATCH = 63
PR_SET_NAME = 15
GIL_FREE = 0.05
"""Real seconds: after so long outside the GIL no library thread wants it any more. With the library a pause of 10 ms
was enough and one of 100 ms was too (docs/hailort.md §9.2); a test of no pause makes this longer than it can take."""

Key = tuple[str, str, int, int]


class OpenDevice:
    """What VDevice objects share (one each, or one a group id). All state belongs to the rig's lock."""

    def __init__(self, rig: "Rig", *, scheduled: bool) -> None:
        self.rig = rig
        self.scheduled = scheduled
        self.cards: list[Card] = []
        self.pipelines: set[Pipeline] = set()
        self.active: Pipeline | None = None
        self.streams_closed = False
        self.overheated = False
        self.deaf = False
        self.was_away = False
        self.references = 0
        self._left_busy = -inf
        self._interrupts_ended = threading.Event()
        self._scheduler = Scheduler(idle_optimisation=rig.idle_optimisation)
        self._core_ops: dict[Key, CoreOp] = {}
        self._networks: dict[CoreOp, Network] = {}
        self._undone: list[Run] = []
        self._events: list[tuple[float, int, Card, Frame]] = []
        self._numbers = itertools.count()
        self._stuck: dict[Frame, tuple[Card, bool]] = {}
        self._kicked = False
        self._ended = False
        self._thread: threading.Thread | None = None

    def open(self, cards: list[Card]) -> None:
        """Opening resets the cards (docs/hailort.md §7.1)."""
        self.cards = cards
        self._thread = threading.Thread(target=self._run, name="sim-scheduler", daemon=True)
        self.rig.clock.enter()
        self._thread.start()
        hears = threading.Event()
        threading.Thread(target=self._hear, args=(hears,), daemon=True).start()
        hears.wait()

    def _hear(self, hears: threading.Event) -> None:
        """The thread of interrupts: nothing but its name and its end can be seen from outside."""
        ctypes.CDLL(None).prctl(PR_SET_NAME, b"CHANNEL_INTR")
        hears.set()
        self._interrupts_ended.wait()

    def vanish(self) -> None:
        """The card is gone, if only for a moment: no completion is heard of any more (docs/hailort.md §9.2)."""
        self.deaf = True
        self._interrupts_ended.set()
        for _, _, card, frame in self._events:
            self._stuck[frame] = (card, True)
        self._events.clear()

    # ----------------------------------------------------------- configuration

    def core_op(self, hef: HefFile, group: Group, batch: int, power: int, queue_size: int) -> CoreOp:
        """The core-op of this combination; configured again, it is the same one (§5.1)."""
        key = (group.name, hef.digest, batch, power)
        if key not in self._core_ops:
            if len(self._core_ops) >= MAX_CORE_OPS:
                self.rig.record.say(f"Can't add core-op: maximum allowed core-ops: {MAX_CORE_OPS}")
                fail(codes.INVALID_OPERATION)
            chip, link = self.rig.chip, self.rig.link
            cost = cost_of(group.name, group.contexts, hef.size, chip=chip, link=link)
            core_op = CoreOp(group.name, cost, group.contexts, max(1, batch), queue_size, batch or queue_size)
            core_op.last_run = self.rig.clock.now()
            self._networks[core_op] = open_network(group, hef.payload)
            self._core_ops[key] = core_op
            self._scheduler.core_ops.append(core_op)
        return self._core_ops[key]

    def left_busy(self, busy: bool) -> None:
        """A model was closed, with frames in flight or without."""
        if busy:
            self._left_busy = time.monotonic()

    def may_configure(self) -> None:
        """Notes the deadlock of a call that takes the scheduler's lock, the GIL held (docs/hailort.md §7.3)."""
        if time.monotonic() - self._left_busy < GIL_FREE:
            self.rig.freeze("configure() at once after close() of a model with frames in flight")
        if self.deaf:
            self.rig.freeze("configure() waits for an interrupt thread that has ended")

    def forget(self, pipeline: Pipeline, *, join: bool = True) -> None:
        """A configured model is gone. Its core-op stays on the device (§5.1)."""
        with self.rig.lock:
            self.pipelines.discard(pipeline)
            if self.active is pipeline:
                self.active = None
            self.kick()
        self._end_if_unused(join=join)

    def abort(self, pipeline: Pipeline) -> None:
        """A pipeline was shut down: the card lets go of its frames that hung, unless they hang stubbornly."""
        for frame, (card, stubborn) in list(self._stuck.items()):
            if frame.pipeline is pipeline and not stubborn:
                del self._stuck[frame]
                card.ongoing -= 1
        self.kick()

    def drop(self, pipeline: Pipeline) -> None:
        """Its frames on the card end, and nobody is told before it is closed."""
        lost = [event for event in self._events if event[3].pipeline is pipeline]
        self._events = [event for event in self._events if event[3].pipeline is not pipeline]
        heapq.heapify(self._events)
        for _, _, card, _ in lost:
            card.ongoing -= 1
        self.kick()

    # --------------------------------------------------------------- lifetime

    def release(self, *, join: bool = True) -> None:
        """One reference less. Configured models left behind keep the device open (docs/hailort.md §7.3)."""
        with self.rig.lock:
            self.references -= 1
        self._end_if_unused(join=join)

    def release_all(self) -> None:
        """Whatever refers to it: for the end of a test."""
        self.references = 0
        self._end_if_unused(join=True)

    def _end_if_unused(self, *, join: bool) -> None:
        with self.rig.lock:
            if self._ended or self.references > 0 or self.pipelines:
                return
            self._ended = True
            self._interrupts_ended.set()
            self.rig.lock.notify_all()
        if join and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self.rig.lock:
            self.rig.yield_up(self)

    # ------------------------------------------------------------------- runs

    def kick(self) -> None:
        """One pass of the scheduler, at an enqueue, a completion or a changed setting; never more (hailort.md §5.2)."""
        now = self.rig.clock.now()
        for card in self.cards:
            if run := self._decide(card, now):
                self._undone.append(run)
                self._note(run)
        self._kicked = True
        self.rig.lock.notify_all()

    def _decide(self, card: Card, now: float) -> Run | None:
        if self.scheduled:
            return self._scheduler.decide(card, now)
        return decide_manually(card, self.active.core_op if self.active else None, now)

    def _note(self, run: Run) -> None:
        end = run.dues[-1]
        burst = Burst(run.core_op.name, run.card.id, len(run.frames), run.start, end, run.switched)
        self.rig.record.burst(burst)
        self.rig.record.busy[run.card.id] += max(0.0, end - max(run.start, run.card.busy_until))
        run.card.busy_until = max(run.card.busy_until, end)

    def _run(self) -> None:
        while self._run_once():  # no local may keep a frame alive while waiting
            pass

    def _run_once(self) -> bool:
        with self.rig.lock:
            self.rig.clock.wait(self._has_work, self._next_moment(), actor=True)
            if self._ended:
                self.rig.clock.leave()
                return False
            self._kicked = False
            undone, self._undone = self._undone, []
        for run in undone:
            self._compute(run)
        with self.rig.lock:
            self._schedule(undone)
            self._complete_due()
        return True

    def _has_work(self) -> bool:
        return self._kicked or self._ended or bool(self._undone)

    def _next_moment(self) -> float | None:
        now = self.rig.clock.now()
        moments = [p.stalls_at for p in self.pipelines]
        moments.append(self._scheduler.next_timer(now))
        moments.append(self._events[0][0] if self._events else inf)
        earliest = min(moments)
        return None if earliest == inf else earliest

    def _compute(self, run: Run) -> None:
        """The host does the card's arithmetic; where that takes longer than the card would, the card is late."""
        for frame in run.frames:
            pipeline: Pipeline = frame.pipeline
            try:
                inputs = {s.name: s.from_user(self._read(frame, s.name)) for s in pipeline.inputs}
                results = self._networks[run.core_op].run(inputs)
                frame.results = self.rig.faults.changed(run.core_op.name, results)
            except Exception as error:
                self.rig.record.crashes.append(f"{pipeline.name} cannot be computed: {error!r}")
                frame.status = codes.INTERNAL_FAILURE

    def _read(self, frame: Frame, name: str) -> Array:
        array = frame.inputs.at(name)
        if array is None:
            raise ValueError("an input was let go before the card had read it")
        return array

    def _schedule(self, runs: list[Run]) -> None:
        faults = self.rig.faults
        for run in runs:
            never, stubborn = (True, True) if self.deaf else faults.hangs(run.core_op.name)
            unsaid = faults.unsaid(run.core_op.name)
            for frame, due in zip(run.frames, run.dues, strict=True):
                if never and (stubborn or not frame.done):
                    self._stuck[frame] = (run.card, stubborn)
                    continue
                if unsaid or frame.lost:
                    frame.lost = True
                    run.card.ongoing -= 1  # the card goes on, the frame is owed
                    continue
                closed = self.streams_closed or faults.too_hot
                frame.status = frame.status or faults.frame_status(run.core_op.name)
                frame.status = frame.status or (codes.STREAM_ABORT if closed else 0)
                heapq.heappush(self._events, (due, next(self._numbers), run.card, frame))

    def _complete_due(self) -> None:
        now = self.rig.clock.now()
        while self._events and self._events[0][0] <= now:
            _, _, card, frame = heapq.heappop(self._events)
            card.ongoing -= 1
            frame.pipeline.complete(frame, frame.status)
            self.kick()
            if frame.status == codes.STREAM_ABORT and self.streams_closed:
                frame.pipeline.die(codes.STREAM_ABORT)
        for pipeline in list(self.pipelines):
            if pipeline.stalls_at <= now:
                self.rig.record.say("Failed to acquire buffer because the buffer pool is empty (timeout=10000ms)")
                pipeline.die(codes.TIMEOUT)
        self.kick()
        self._kicked = False  # the thread itself is here and sees what is undone
