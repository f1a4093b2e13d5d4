"""What happens to requests when the (simulated) card fails, fault by fault; or how often a busy card is taken for lost.

Without --minutes: starts a worker for each kind of fault, with eight clients over HTTP and a deadline
of 20 s; prints the answers they got, how long the worker was not ready, and whether it had to exit.
"late": answered more than a second after the deadline; "cut": the connection ended without an answer.
Native crashes and deadlocks of the library are real ones here.

With --minutes N: every network of the catalogue at once on the slow link, full bursts, N minutes
of real time (the limits of a burst are real seconds, so a faster clock would flatter them); counts
bursts that were taken for lost although nothing was wrong. 60 minutes is the figure that counts.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from hailo_sim import Rig, simulated  # noqa: E402
from hailo_sim.build import fingerprint  # noqa: E402
from hailo_worker import Crowd, Watch, apart, mixed, models_folder  # noqa: E402

from ml_target.catalogue import networks as n  # noqa: E402
from ml_target.catalogue.types import Network, PictureInput  # noqa: E402
from ml_target.engines.hailo.turns import Turn, Turns  # noqa: E402
from ml_target.errors import WorkerError  # noqa: E402
from ml_target.figures.observer import RecoveryKind  # noqa: E402
from ml_target.scheduling.arbiter import Arbiter  # noqa: E402
from ml_target.scheduling.queue import ModelQueue  # noqa: E402
from ml_target.tensors import Array  # noqa: E402

CLIP, FACES = n.TINYCLIP.visual.name, n.ARCFACE_R50.name
DEADLINE_S = 20.0
CLIENTS = 8
QUIET = {"IMMICH_LOG_LEVEL": "critical"}
Call = tuple[Any, ...]


@dataclass(frozen=True)
class Kind:
    """One fault: calls of the simulator's faults, healed after `heal` seconds. `times`: how often it occurs."""

    name: str
    strike: tuple[Call, ...]
    heal: tuple[Call, ...] = ()
    lasting: float = 0.0
    times: int = 3


KINDS = (
    Kind("a frame fails", (("fail_frames", FACES),)),
    Kind("three frames fail in a row", (("fail_frames", FACES, 3),)),
    Kind("a launch error, told at once", (("fail_frames", CLIP, 1, 36),)),
    Kind("a launch error, told only at close", (("lose", CLIP),)),
    Kind("... twice, of two networks", (("lose", CLIP), ("lose", FACES))),
    Kind("a lost interrupt: the card stands still", (("hang", CLIP),)),
    Kind("... until it is reopened", (("hang", CLIP, 1, True),)),
    Kind("one pipeline dies", (("kill", CLIP),)),
    Kind("every model is aborted", (("abort_device",),)),
    Kind("thermal stop, cool after 3 s", (("thermal_close", 12.0),)),
    Kind(
        "the firmware is silent during a recovery",
        (("silence_firmware",), ("kill", CLIP)),
        (("silence_firmware", False),),
        5,
    ),
    Kind("opening fails twice", (("refuse_open", 2), ("abort_device",))),
    Kind("off the bus for 1 s, every model told", (("unplug",),), (("unplug", False),), 1),
    Kind("another program has the card for 2 s", (("occupy",), ("abort_device",)), (("occupy", False),), 2),
    Kind("answers change until it is reopened", (("change_answers", CLIP), ("kill", CLIP))),
    Kind("card gone: no callback, close hangs", (("vanish",),), times=1),
    Kind("card gone for 2 s", (("vanish",),), (("unplug", False),), 2, times=1),
    Kind("closing a model hangs", (("hang_teardown", "model"), ("kill", CLIP)), times=1),
    Kind("release hangs, the GIL held", (("hang_teardown", "vdevice"), ("abort_device",)), times=1),
)


def strike(kind: Kind, folder: Path, models: Path) -> str:
    """The table's row of one kind, from a worker on a simulated card four times as fast as a real one."""
    struck, left, asks = 0, "stays", mixed(2)
    variables = {"HAILO_SIM_CLOCK": "4", "HAILO_SIM_CRASH": "abort", "REQUEST_TIMEOUT_S": str(DEADLINE_S)}
    with (folder / "stderr").open("wb") as errors, apart(folder, models, errors, **QUIET, **variables) as worker:
        if not worker.becomes_ready():
            raise SystemExit("the worker ended before it was ready")
        expected = worker.alone(asks)
        with Crowd(worker, asks, expected, CLIENTS, may_end=True) as crowd, Watch(worker, may_end=True) as watch:
            for _ in range(kind.times):
                time.sleep(1.0)
                began = time.monotonic()
                for name, *given in kind.strike:
                    worker.rig.fault(name, *given)
                struck += 1
                time.sleep(kind.lasting)
                for name, *given in kind.heal:
                    worker.rig.fault(name, *given)
                time.sleep(4.0)  # an unreported loss is noticed after three seconds
                if not worker.becomes_ready():
                    left = f"leaves with status {worker.process.returncode} after {time.monotonic() - began:.0f} s"
                    break
            time.sleep(1.0)
    tally = crowd.tally
    others = sum(count for status, count in tally.answered.items() if status not in (200, 503))
    late = sum(seconds > DEADLINE_S + 1 for seconds in tally.seconds)
    return (
        f"| {kind.name} | {struck} | {tally.total + tally.cut} | {tally.answered[200] - len(tally.wrong)} "
        f"| {tally.answered[503]} | {others} | {len(tally.wrong)} | {late} | {tally.cut} | {watch.away:.1f} | {left} |"
    )


def faults(only: list[str]) -> None:
    print(f"{CLIENTS} clients in flight, deadline {DEADLINE_S:g} s\n")
    print("| fault | times | requests | 200 | 503 | other | wrong | late | cut | not ready, s | process |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = models_folder(PROJECT / "tests" / ".cache" / "models", folder)
        for kind in KINDS:
            if any(words in kind.name for words in only):
                print(strike(kind, folder, models), flush=True)


# ---------------------------------------------------------------- false alarms


class Watched(Turns):
    """Turns that record how close bursts came to their limits."""

    def __init__(self) -> None:
        super().__init__(1)
        self.bursts = 0
        self.nearest = 0.0
        self.longest = 0.0

    def wait(self, turn: Turn, limit: float) -> bool:
        ended = super().wait(turn, limit)
        took = time.monotonic() - turn.since
        self.bursts += 1
        self.longest = max(self.longest, took)
        self.nearest = max(self.nearest, took / limit)
        return ended


class Load:
    """Full bursts for every network, always more waiting than the card can take."""

    def __init__(self, queues: dict[str, ModelQueue], frames: dict[str, list[Array]], end: float) -> None:
        self.answered = self.wrong = self.failed = 0
        self._queues, self._frames, self._end = queues, frames, end
        self._expected: dict[tuple[str, int], dict[str, bytes]] = {}

    async def client(self, name: str, first: int) -> None:
        while time.monotonic() < self._end:
            picked = [(first + i) % len(self._frames[name]) for i in range(8)]
            try:
                outputs = await self._queues[name].infer([self._frames[name][i] for i in picked])
            except WorkerError as error:
                self.failed += 1
                logging.warning("%s", error)
                continue
            for index, output in zip(picked, outputs, strict=True):
                found = {role: tensor.values.tobytes()[:4096] for role, tensor in output.items()}
                self.wrong += self._expected.setdefault((name, index), found) != found
                self.answered += 1


def frames_of(network: Network) -> list[Array]:
    noise, spec = np.random.default_rng(1), network.input
    if isinstance(spec, PictureInput):
        return [noise.integers(0, 256, (spec.height, spec.width, 3), np.uint8) for _ in range(8)]
    return [noise.uniform(-1, 1, (spec.tokens, spec.width)).astype(np.float32) for _ in range(8)]


def alarms(minutes: float, link: str) -> bool:
    """Prints a line per minute. True if no burst was taken for lost."""
    from ml_target.engines.hailo.card import CardSettings
    from ml_target.engines.hailo.engine import HailoEngine

    recoveries = 0
    rig = Rig(link=link, clock="real")  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder, simulated(rig):
        engine, turns = HailoEngine(CardSettings()), Watched()
        engine._turns = turns

        def recover(network: Any) -> RecoveryKind:
            nonlocal recoveries
            recoveries += 1
            return engine.recover(network)

        engine.start()
        arbiter = Arbiter(1, patient=True, ahead=True, recover=recover)
        queues: dict[str, ModelQueue] = {}
        for network in (each for each in n.NETWORKS if each.hef):
            file = Path(folder) / f"{network.name}.hef"
            file.write_bytes(fingerprint(network))
            loaded = engine.open(file, network)
            queues[network.name] = arbiter.queue(loaded, network.name, interactive=network.stage == "textual")
        frames = {network.name: frames_of(network) for network in n.NETWORKS if network.name in queues}
        start = time.monotonic()
        load = Load(queues, frames, start + 60 * minutes)

        async def report() -> None:
            while (left := load._end - time.monotonic()) > 0:
                await asyncio.sleep(min(60.0, left))
                await asyncio.to_thread(engine.health)
                passed = (time.monotonic() - start) / 60
                print(
                    f"| {passed:.1f} | {turns.bursts} | {load.answered} | {load.wrong} | {recoveries} | {load.failed} "
                    f"| {turns.longest:.2f} | {turns.nearest:.0%} |",
                    flush=True,
                )

        async def everybody() -> None:
            await asyncio.gather(report(), *(load.client(name, 4 * i) for name in queues for i in range(2)))

        print(f"{len(queues)} networks at once, {link} link, bursts of 8, real clock\n")
        print("| minutes | bursts | frames | wrong | false alarms | failed | longest burst, s | nearest to its limit |")
        print("|---|---|---|---|---|---|---|---|")
        asyncio.run(everybody())
        arbiter.close()
        engine.close()
    return recoveries == load.failed == load.wrong == len(rig.record.crashes) == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], help="only faults whose name contains one of these")
    parser.add_argument("--minutes", type=float, help="no faults, but full load for this long: counts false alarms")
    parser.add_argument("--link", choices=("slow", "fast"), default="slow", help="with --minutes")
    chosen = parser.parse_args()
    if chosen.minutes is None:
        faults(chosen.only)
    elif not alarms(chosen.minutes, chosen.link):
        raise SystemExit("a burst was taken for lost although nothing was wrong")


if __name__ == "__main__":
    main()
