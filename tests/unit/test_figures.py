"""What the recorder takes down, and what it tells: by a clock of the test's own."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import virtual_loop

from ml_target.engines import Intake
from ml_target.errors import REASONS, BurstLost, EngineFault, WorkerError
from ml_target.figures.live import live
from ml_target.figures.observer import FAULTS, RecoveryKind
from ml_target.figures.recorder import KEPT, PAUSE_S, Recorder
from ml_target.figures.ring import STEP_S, STEPS
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.tensors import Array, Outputs, Tensor

EPOCH = 1_700_000_000.0


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    return Recorder(clock, clock.wall)


def trace(tasks: dict[str, str], *, pictured: bool = True, **stages: float) -> Trace:
    made = Trace("0123456789")
    made.tasks, made.pictured = tasks, pictured
    made.stages = {name.replace("_", "."): ms for name, ms in stages.items()}
    return made


CLIP, FACES = {"clip.visual": "clip"}, {"facial-recognition": "faces"}


def told(recorder: Recorder) -> dict[str, Any]:
    """As the page gets it: through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(live(recorder)))
    return found


def test_before_the_start_there_is_nothing_and_the_running_step_is_not_shown(recorder: Recorder, clock: Clock) -> None:
    recorder.expect(CLIP)
    recorder.request(trace(CLIP), 200, None)
    assert told(recorder)["tasks"]["clip.visual"]["done"] == [None] * STEPS
    clock.now += STEP_S
    recorder.request(trace(CLIP), 503, "late")
    clock.now += STEP_S
    of_task = told(recorder)["tasks"]["clip.visual"]
    assert of_task["done"] == [None] * (STEPS - 2) + [1, 0]
    assert of_task["failed"] == [None] * (STEPS - 2) + [0, 1]
    assert of_task["mean_ms"][-1] is None
    assert of_task["mean_ms"][-2] >= 0


def test_ten_minutes_are_kept_and_no_more(recorder: Recorder, clock: Clock) -> None:
    for _ in range(3 * STEPS):
        recorder.request(trace(CLIP), 200, None)
        clock.now += STEP_S
    assert told(recorder)["tasks"]["clip.visual"]["done"] == [1] * STEPS
    clock.now += 10 * STEPS * STEP_S
    assert told(recorder)["tasks"]["clip.visual"]["done"] == [0] * STEPS
    assert told(recorder)["failures"] == {}


def test_stages_are_means_of_the_requests_that_were_done_and_each_task_has_its_own(
    recorder: Recorder, clock: Clock
) -> None:
    recorder.request(trace({**CLIP, **FACES}, decode=10, clip_infer=4, faces_detect=6), 200, None)
    recorder.request(trace(CLIP, decode=20), 200, None)
    recorder.request(trace(CLIP, decode=1000), 500, "engine_fault")
    clock.now += STEP_S
    tasks = told(recorder)["tasks"]
    assert tasks["clip.visual"]["stages_ms"] == {"decode": 15.0, "clip.infer": 2.0}
    assert tasks["facial-recognition"]["stages_ms"] == {"decode": 10.0, "faces.detect": 6.0}


def test_frames_that_wait_wait_on_in_steps_in_which_nothing_happens(recorder: Recorder, clock: Clock) -> None:
    device = recorder.device("hailo")
    device.queue("scrfd_10g")
    clock.now += STEP_S
    for frames in (3, 8, 2):
        device.waiting("scrfd_10g", frames)
    clock.now += 3 * STEP_S
    device.waiting("scrfd_10g", 0)
    clock.now += 2 * STEP_S
    network = told(recorder)["networks"]["scrfd_10g"]
    assert network["engine"] == "hailo"
    assert network["waiting"][-6:] == [0, 8, 2, 2, 2, 0]


def test_the_time_of_a_burst_goes_to_the_steps_in_which_it_ran(recorder: Recorder, clock: Clock) -> None:
    device = recorder.device("cpu")
    device.queue("net")
    clock.now += 2 * STEP_S + 1.5
    device.burst("net", 4, 8.0)
    clock.now += STEP_S
    network = told(recorder)["networks"]["net"]
    assert network["busy_s"][-3:] == [1.5, 5.0, 1.5]
    assert network["bursts"][-3:] == [0, 0, 1]
    assert network["frames"][-3:] == [0, 0, 4]


def test_a_burst_that_failed_was_busy_too(recorder: Recorder, clock: Clock) -> None:
    device = recorder.device("hailo")
    device.queue("net")
    clock.now += 2 * STEP_S
    device.fault("net", "burst_lost", 6.0)
    clock.now += STEP_S
    network = told(recorder)["networks"]["net"]
    assert (network["busy_s"][-3:], network["bursts"][-3:]) == ([1.0, 5.0, 0.0], [0, 0, 0])
    assert recorder.totals.busy == {"hailo": 6.0}


def test_a_recovery_has_no_kind_until_it_has_ended(recorder: Recorder, clock: Clock) -> None:
    device = recorder.device("hailo")
    device.lost()
    clock.now += 3
    assert told(recorder)["recoveries"] == [{"at": EPOCH + 1000, "engine": "hailo", "kind": None, "seconds": None}]
    device.back("reopened")
    assert [(each["kind"], each["seconds"]) for each in told(recorder)["recoveries"]] == [("reopened", 3.0)]


def test_a_run_begins_with_a_picture_and_ends_with_a_pause(recorder: Recorder, clock: Clock) -> None:
    recorder.request(trace({"clip.textual": "clip"}, pictured=False), 200, None)
    assert told(recorder)["run"] is None
    for n in range(100):
        recorder.request(trace(CLIP), *((503, "full") if n % 10 == 0 else (200, None)))
        clock.now += 1
    run = told(recorder)["run"]
    assert run["began"] == pytest.approx(EPOCH + 1000, abs=0.2)
    assert (run["requests"], run["photos"]) == (100, 90)
    assert run["mean_per_s"] == pytest.approx(0.91, abs=0.01)
    assert run["now_per_s"] == pytest.approx(0.9, abs=0.01)
    clock.now += 30
    recorder.request(trace({"clip.textual": "clip"}, pictured=False), 200, None)
    assert told(recorder)["run"]["now_per_s"] < 0.2
    clock.now += PAUSE_S - 29
    assert told(recorder)["run"] is None
    recorder.request(trace(CLIP), 200, None)
    assert told(recorder)["run"]["requests"] == 1


def test_a_young_run_that_stands_still_has_no_pace_of_before(recorder: Recorder, clock: Clock) -> None:
    for _ in range(10):
        recorder.request(trace(CLIP), 200, None)
        clock.now += 0.1
    clock.now += 19
    assert told(recorder)["run"]["now_per_s"] == pytest.approx(0.5)


def test_the_last_requests_are_told_newest_first_without_what_was_in_them(recorder: Recorder) -> None:
    for n in range(KEPT + 5):
        seen = trace(CLIP, receive=1.25)
        seen.id, seen.bytes, seen.picture = f"{n}", 4321, (40, 30)
        recorder.request(seen, 200, None)
    recorder.request(trace({}, pictured=False), 422, "malformed")
    last = told(recorder)["last"]
    assert len(last) == KEPT
    assert set(last[0]) == {
        "at", "id", "tasks", "picture", "bytes", "stages_ms", "total_ms", "outcome", "reason",
    }  # fmt: skip
    assert (last[0]["tasks"], last[0]["picture"], last[0]["outcome"], last[0]["reason"]) == ([], None, 422, "malformed")
    assert (last[1]["id"], last[1]["picture"], last[1]["bytes"], last[1]["reason"]) == (
        f"{KEPT + 4}",
        [40, 30],
        4321,
        None,
    )
    assert last[1]["stages_ms"] == {"receive": 1.2}


def test_every_error_has_a_reason_of_the_closed_set() -> None:
    def all_of(kind: type[WorkerError]) -> list[type[WorkerError]]:
        return [kind, *(each for below in kind.__subclasses__() for each in all_of(below))]

    assert {kind.kind for kind in all_of(WorkerError)} | {"client_gone", "no_memory"} == set(REASONS)


class Network:
    """Loses its first burst after a second, fails at the second one, then answers in two. It runs in virtual time."""

    intake, max_batch = Intake((1,), "float32"), 4

    def __init__(self) -> None:
        self.runs = 0
        self.roles: Mapping[str, tuple[int, ...]] = {"out": (1,)}

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        self.runs += 1
        if self.runs == 1:
            virtual_loop.spend(1.0)
            raise BurstLost("gone")
        if self.runs == 2:
            raise EngineFault("no such frame")
        virtual_loop.spend(2.0)
        return [{"out": Tensor(frame)} for frame in frames]

    def close(self) -> None: ...


def recover(_: object) -> RecoveryKind:
    virtual_loop.spend(3.0)
    return "reconfigured"


def test_the_arbiter_tells_of_bursts_faults_and_recoveries() -> None:
    async def work() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        recorder = Recorder(loop.time, lambda: EPOCH + loop.time())
        arbiter = Arbiter(1, recover=recover, observer=recorder.device("hailo"))
        queue = arbiter.queue(Network(), "net")
        await queue.infer([np.zeros(1, np.float32)] * 6)
        await asyncio.sleep(2 * STEP_S)
        arbiter.close()
        return live(recorder)

    found, _ = virtual_loop.run(work)
    network = found["networks"]["net"]
    assert sum(n or 0 for n in network["frames"]) == 6
    assert max(n or 0 for n in network["waiting"]) == 6
    assert [n for n in network["waiting"] if n is not None][-1] == 0
    assert sum(n or 0 for n in network["busy_s"]) == pytest.approx(1.0 + 2.0 * sum(n or 0 for n in network["bursts"]))
    assert {each["kind"] for each in found["faults"]} == {"burst_lost", "frame_failed"} <= set(FAULTS)
    assert [(each["kind"], each["engine"], each["seconds"]) for each in found["recoveries"]] == [
        ("reconfigured", "hailo", 3.0)
    ]
