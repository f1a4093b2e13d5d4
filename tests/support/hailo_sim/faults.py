"""Faults by switch, at any time. Every method may be called from any thread; models go by network or file stem."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from hailo_sim import status as codes
from hailo_sim.networks import Array

if TYPE_CHECKING:
    from hailo_sim.rig import Rig

CLOSING_CELSIUS = 120.0


@dataclass(slots=True)
class _Countdown:
    """A fault that strikes `left` more times."""

    model: str | None
    status: int
    left: float

    def strikes(self, model: str) -> bool:
        if self.left <= 0 or self.model not in (None, model):
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _Hang:
    countdown: _Countdown
    stubborn: bool


@dataclass(slots=True)
class _Change:
    """Answers that are not what they were: another one each time, or always the same other one."""

    flickers: bool
    until_reopened: bool
    number: int = 0


def stem(model: str | None) -> str | None:
    """File stems and network names differ in dots."""
    return None if model is None else model.replace(".", "_")


class Faults:
    """What goes wrong. Everything is off at first."""

    def __init__(self, rig: "Rig") -> None:
        self._rig = rig
        self._frames: list[_Countdown] = []
        self._opens: list[_Countdown] = []
        self._configures: list[_Countdown] = []
        self._controls: list[_Countdown] = []
        self._hangs: list[_Hang] = []
        self._slow: dict[str, float] = {}
        self._stuck_teardown: set[str] = set()
        self._closed_until = -inf
        self._unsaid: list[_Countdown] = []
        self._changes: dict[str, _Change] = {}
        self.occupied = False
        self.unplugged = False
        self.silent_firmware = False
        self.stuck_driver = False
        self.forgiven = False

    # --------------------------------------------------------------- switches

    def fail_frames(self, model: str | None = None, count: int = 1, status: int = codes.STREAM_ABORT) -> None:
        """The next `count` frames complete with `status`; the model lives on."""
        self._add(self._frames, model, count, status)

    def kill(self, model: str | None = None, status: int = codes.TIMEOUT) -> None:
        """The pipelines of a model (all: None) die with `status` (docs/hailort.md §7.2); configure() again cures it."""
        with self._rig.lock:
            for pipeline in self._rig.pipelines():
                if stem(model) in (None, pipeline.name):
                    pipeline.die(status)

    def hang(self, model: str | None = None, bursts: int = 1, stubborn: bool = False) -> None:
        """The next bursts never complete. `stubborn`: only reopening the device frees it, not configure()."""
        with self._rig.lock:
            self._hangs.append(_Hang(_Countdown(stem(model), 0, bursts), stubborn))

    def lose(self, model: str | None = None, bursts: int = 1) -> None:
        """The next bursts fail and nobody is told before the model is closed; the card goes on (hailort.md §9.2)."""
        self._add(self._unsaid, model, bursts, 0)

    def change_answers(self, model: str, flickers: bool = True, until_reopened: bool = True) -> None:
        """The model answers the same frame otherwise than before; `flickers`: otherwise each time."""
        with self._rig.lock:
            self._changes[stem(model) or ""] = _Change(flickers, until_reopened)

    def heal_answers(self) -> None:
        with self._rig.lock:
            self._changes.clear()

    def vanish(self) -> None:
        """The card is gone: no callback comes, closing a model with frames in flight hangs, calls give 36."""
        with self._rig.lock:
            self.unplugged = True
            for device in self._rig.devices():
                device.vanish()

    def silence_firmware(self, silent: bool = True) -> None:
        """Every control call stops all threads for its second, and fails with 87."""
        self.silent_firmware = silent

    def stick_driver(self) -> None:
        """The driver never returns from a control call: it holds the GIL for ever (docs/hailort.md §9.2)."""
        self.stuck_driver = True

    def abort_device(self) -> None:
        """Every model gets 63; what is configured later fails too, until the device was opened again."""
        with self._rig.lock:
            for device in self._rig.devices():
                device.streams_closed = True
            self.kill(None, codes.STREAM_ABORT)

    def refuse_open(self, times: float = 1, status: int = codes.OUT_OF_PHYSICAL_DEVICES) -> None:
        """The next `times` VDevice() fail."""
        self._add(self._opens, None, times, status)

    def refuse_configure(
        self, times: float = 1, status: int = codes.OUT_OF_FW_MEMORY, model: str | None = None
    ) -> None:
        """The next `times` configure() fail."""
        self._add(self._configures, model, times, status)

    def refuse_control(self, times: float = 1, status: int = codes.FW_CONTROL_FAILURE) -> None:
        """The next `times` calls of Device.control fail."""
        self._add(self._controls, None, times, status)

    def slow(self, call: str, seconds: float) -> None:
        """Every call of a kind takes this long, the GIL held (docs/hailort.md §2.5). 0: off.

        Kinds: "open" (VDevice), "hef", "create" (infer model), "configure", "bindings", "control".
        """
        with self._rig.lock:
            self._slow[call] = seconds

    def hang_teardown(self, of: str = "vdevice") -> None:
        """Closing a "model" blocks until `free_teardown`; releasing the "vdevice" for ever, GIL held (§7.3)."""
        with self._rig.lock:
            self._stuck_teardown.add(of)

    def free_teardown(self) -> None:
        with self._rig.lock:
            self.forgiven = True
            self._stuck_teardown.clear()
            self._rig.lock.notify_all()

    def occupy(self, occupied: bool = True) -> None:
        """Another program holds the cards: 74, or 73 with explicit ids (docs/hailort.md §7.1)."""
        self.occupied = occupied

    def unplug(self, unplugged: bool = True) -> None:
        """The device falls off the bus: calls fail with 36, a scan finds nothing (docs/hailort.md §7.2).

        Models can still be closed. Releasing the device freezes for ever, also when it is back: seen with
        4.23.0 where the driver does not wake the thread that waits for interrupts.
        """
        with self._rig.lock:
            self.unplugged = unplugged
            if unplugged:
                for device in self._rig.devices():
                    device.was_away = True
                self.kill(None, codes.DRIVER_OPERATION_FAILED)

    def thermal_close(self, seconds: float = 5.0) -> None:
        """The chip is at its red limit and its streams are closed; cool after simulated `seconds` (§7.4).

        Every third model gets 63, the frames of the others are lost without a word, and
        configuring again gives 8 until the device was opened anew (§9.2).
        """
        with self._rig.lock:
            self._closed_until = self._rig.clock.now() + seconds
            self._rig.record.say("Aborting Infer, Device got closed streams notification from 'Health Monitor'")
            for device in self._rig.devices():
                device.streams_closed = device.overheated = True
            for number, pipeline in enumerate(sorted(self._rig.pipelines(), key=lambda p: p.name)):
                if number % 3:
                    pipeline.lose()
                else:
                    pipeline.die(codes.STREAM_ABORT)

    def cool(self) -> None:
        """The chip is cool from now on."""
        with self._rig.lock:
            self._closed_until = self._rig.clock.now()
            self._rig.lock.notify_all()

    def apply(self, text: str) -> None:
        """Faults as text: `refuse_open:2:74,fail_frames:scrfd_2.5g:3`. Numbers and words as JSON where they are."""
        for part in filter(None, text.split(",")):
            name, *given = part.split(":")
            method: Callable[..., None] = getattr(self, name)
            method(*(_value(word) for word in given))

    # ------------------------------------------------------- asked by the rig

    def frame_status(self, model: str) -> int:
        """0, or what the next frame of `model` completes with."""
        return _strike(self._frames, model)

    def open_status(self) -> int:
        return _strike(self._opens, "")

    def configure_status(self, model: str) -> int:
        return _strike(self._configures, model)

    def control_status(self) -> int:
        return _strike(self._controls, "")

    def hangs(self, model: str) -> tuple[bool, bool]:
        """Whether the next burst of `model` never ends, and whether stubbornly."""
        for hang in self._hangs:
            if hang.countdown.strikes(model):
                return True, hang.stubborn
        return False, False

    def unsaid(self, model: str) -> bool:
        """Whether the next burst of `model` fails without a word."""
        return any(c.strikes(model) for c in self._unsaid)

    def changed(self, model: str, results: Mapping[str, Array]) -> Mapping[str, Array]:
        """The answers, or what has become of them."""
        change = self._changes.get(model)
        if change is None:
            return results
        change.number = (change.number + 1) % 100 if change.flickers else 1
        return {name: values ^ values.dtype.type(1 + change.number) for name, values in results.items()}

    def reopened(self) -> None:
        """A device is opened anew, which cures some faults."""
        self._changes = {name: c for name, c in self._changes.items() if not c.until_reopened}

    def seconds(self, call: str) -> float:
        return self._slow.get(call, 0.0)

    def teardown_hangs(self, of: str) -> bool:
        return of in self._stuck_teardown

    @property
    def too_hot(self) -> bool:
        return self._rig.clock.now() < self._closed_until

    @property
    def celsius_above(self) -> float:
        """How far the chip stands above its usual temperature: falls evenly to the closing limit and beyond."""
        left = self._closed_until - self._rig.clock.now()
        return max(0.0, CLOSING_CELSIUS - self._rig.celsius + min(left, 5.0)) if left > 0 else 0.0

    def _add(self, to: list[_Countdown], model: str | None, times: float, status: int) -> None:
        with self._rig.lock:
            to.append(_Countdown(stem(model), status, times))


def _strike(countdowns: list[_Countdown], model: str) -> int:
    return next((c.status for c in countdowns if c.strikes(model)), 0)


def _value(word: str) -> object:
    try:
        value: object = json.loads(word)
    except ValueError:
        return word
    return value
