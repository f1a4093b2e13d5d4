"""Faults of the card under a whole worker with eight clients: no wrong answer, no lost request, back by itself.

Every answer is compared with that of the same request alone. A request may be lost only where no
retry could save it: when its frames were lost twice, or its deadline passed.
"""

import gc
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fault_table
import pytest
from hailo_sim import Rig, simulated
from hailo_worker import MOST_SLOTS, SPEED, Crowd, Running, Tally, Watch, mixed, models_folder, running, wait_until
from serving import live

from ml_target.catalogue.networks import ARCFACE_R50, TINYCLIP
from ml_target.config import Settings
from ml_target.engines.hailo import closing as hailo_closing
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import slots as hailo_slots
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.errors import EXIT_HUNG
from ml_target.runtime import place as places
from ml_target.scheduling import recovery

BACK_OFF_S = (0.25, 0.3)
"""Long enough for a few looks at /ping in between."""

CLIP = TINYCLIP.visual.name
FACES = ARCFACE_R50.name
TWICE = "lost its device twice"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Nothing waits longer than a test should; the machine's own card has no say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hailo, "host_checks", lambda **_: [])
        patch.setattr(recovery, "BACK_OFF_S", BACK_OFF_S)
        patch.setattr(hailo_turns, "FLOOR_S", 2.5)
        yield


@pytest.fixture(scope="module")
def folder(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_folder(wheel_models, tmp_path_factory.getbasetemp())


@dataclass
class Served(Running):
    """A worker in use, its pools full and its slots made; `expected`: what it answers when nothing else runs."""

    expected: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    slots: int = 0


@contextmanager
def in_use(folder: Path, **settings: Any) -> Iterator[Served]:
    _, slots = held()
    with running(Rig(clock=SPEED), folder, **settings) as made:
        expected = made.alone(mixed(2))
        with Crowd(made, mixed(2), expected) as crowd:
            crowd.wait_for(40)
        assert crowd.tally.answered == {200: crowd.tally.total}
        yield Served(made.rig, made.worker, made.client, expected, held()[0], slots)


@pytest.fixture(scope="module")
def served(quick: None, folder: Path) -> Iterator[Served]:
    """One worker for all faults: it has to come back from each by itself."""
    with in_use(folder) as made:
        yield made


def held() -> tuple[int, int]:
    """Threads, and output arrays with their bindings."""
    gc.collect()
    slots = sum(type(each) is hailo_slots.Slot for each in gc.get_objects())
    return threading.active_count(), slots


def endure(
    served: Served,
    fault: str,
    strike: Callable[[], None],
    heal: Callable[[], None] = lambda: None,
    until: Callable[[Tally], bool] = lambda tally: True,
) -> tuple[Tally, Watch]:
    """Strikes while eight clients ask, heals when `until` holds, and looks at everything afterwards."""
    asks = mixed(2)
    with Watch(served) as watch, Crowd(served, asks, served.expected) as crowd:
        crowd.wait_for(10)
        strike()
        wait_until(lambda: until(crowd.tally), 60)
        heal()
        wait_until(lambda: 503 in watch.statuses and served.ping() == 200, 60)
        crowd.wait_for(20)
    tally = crowd.tally
    fault_table.record(fault, tally.answered, watch.away)
    assert not tally.wrong, "an answer differs from the same request alone"
    assert set(tally.answered) <= {200, 503}, tally.words[:3]
    assert served.ping() == 200
    assert served.alone(asks) == served.expected
    assert served.worker.state == "ready"
    wait_until(lambda: threading.active_count() <= served.threads, 20)
    assert held()[1] <= served.slots + MOST_SLOTS, "what was lost must have gone"
    return tally, watch


def all_answered(tally: Tally) -> None:
    assert tally.answered == {200: tally.total}, tally.words[:3]


# --------------------------------------------------------------- running cards


@pytest.mark.slow
def test_frames_that_fail(served: Served) -> None:
    tally, _ = endure(served, "frames fail", lambda: served.rig.faults.fail_frames(FACES, 3))
    all_answered(tally)


def test_a_dead_pipeline(served: Served) -> None:
    opened = served.rig.record.opened
    tally, _ = endure(served, "one pipeline dies", lambda: served.rig.faults.kill(CLIP))
    all_answered(tally)
    assert served.rig.record.opened == opened, "configuring the one network again is enough"


@pytest.mark.slow
@pytest.mark.parametrize("stubborn", [False, True], ids=["configured again", "opened anew"])
def test_a_burst_that_never_ends(served: Served, stubborn: bool) -> None:
    name = "a burst never ends, " + ("opening anew helps" if stubborn else "configuring helps")
    opened = served.rig.record.opened
    tally, watch = endure(served, name, lambda: served.rig.faults.hang(CLIP, stubborn=stubborn))
    all_answered(tally)
    assert served.rig.record.opened >= opened + stubborn
    assert watch.away > 0


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2], ids=["one network", "two networks"])
def test_a_loss_that_is_told_only_at_close(served: Served, times: int) -> None:
    """Nothing is said of a failed burst before its model is closed, which writes to its arrays (hailort.md §9.2)."""

    def strike() -> None:
        for model in (CLIP, FACES)[:times]:
            served.rig.faults.lose(model)

    tally, _ = endure(served, f"a loss nobody is told of, {times} network(s)", strike)
    all_answered(tally)


@pytest.mark.slow
def test_a_silent_firmware(folder: Path) -> None:
    """Recovery does not depend on its answers, and asks once: each question would stop every thread for a second.

    A worker of its own: this one does not ask for the temperature for a minute.
    """
    with in_use(folder) as served:
        faults, opened = served.rig.faults, served.rig.record.opened

        def strike() -> None:
            faults.silence_firmware()
            faults.abort_device()

        def heal() -> None:
            faults.silence_firmware(False)

        asked = served.rig.record.controls
        tally, _ = endure(
            served, "aborted, the firmware silent", strike, heal, lambda _: served.rig.record.opened > opened
        )
        all_answered(tally)
        assert served.rig.record.controls <= asked + 2


def test_an_aborted_device(served: Served) -> None:
    opened = served.rig.record.opened
    tally, _ = endure(served, "the device aborts", served.rig.faults.abort_device)
    all_answered(tally)
    assert served.rig.record.opened == opened + 1


@pytest.mark.slow
def test_a_slow_configuration(served: Served) -> None:
    def strike() -> None:
        served.rig.faults.slow("configure", 0.2 * SPEED)
        served.rig.faults.abort_device()

    tally, _ = endure(served, "configuring is slow", strike)
    all_answered(tally)


# ------------------------------------------------------------------- reopening


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status"),
    [("opening fails 3 times", 74), ("another driver's version, 3 times", 76)],
)
def test_opening_again_fails_for_a_while(served: Served, fault: str, status: int) -> None:
    def strike() -> None:
        served.rig.faults.refuse_open(3, status)
        served.rig.faults.abort_device()

    tally, watch = endure(served, fault, strike)
    all_answered(tally)
    assert watch.away > 0.5


@pytest.mark.slow
def test_another_program_has_taken_the_card(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def strike() -> None:
        served.rig.faults.occupy()
        served.rig.faults.abort_device()

    def refused(_: Tally) -> bool:
        return "attempt 3 to get the device back failed" in caplog.text

    tally, _ = endure(served, "busy for 3 attempts", strike, lambda: served.rig.faults.occupy(False), refused)
    all_answered(tally)


@pytest.mark.slow
def test_too_hot(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    opened: list[int] = []

    def left_alone(_: Tally) -> bool:
        return re.search(r"attempt 3 to get .*degrees and is left alone", caplog.text) is not None

    def cool() -> None:
        opened.append(served.rig.record.opened)
        served.rig.faults.cool()

    before = served.rig.record.opened
    tally, _ = endure(served, "too hot for 3 attempts", lambda: served.rig.faults.thermal_close(3600), cool, left_alone)
    all_answered(tally)
    assert opened == [before], "a hot card is left alone"
    assert served.rig.record.opened == before + 1


# ------------------------------------------------------- what no retry can save


@pytest.mark.slow
def test_lost_again_and_again(served: Served) -> None:
    """A card that breaks once a quarter second for a while: only requests that were lost twice are refused."""
    ended = threading.Event()

    def strike() -> None:
        for _ in range(8):
            served.rig.faults.kill(CLIP)
            ended.wait(0.25)

    tally, _ = endure(served, "one pipeline dies 8 times", strike)
    assert all(TWICE in words for words in tally.words)
    assert tally.answered[503] < tally.answered[200]


@pytest.mark.slow
def test_deadlines_pass_while_the_card_is_away(folder: Path) -> None:
    with in_use(folder, request_timeout_s=3.0) as served:

        def strike() -> None:
            served.rig.faults.occupy()
            served.rig.faults.abort_device()

        def heal() -> None:
            served.rig.faults.occupy(False)

        tally, _ = endure(served, "busy beyond the deadline", strike, heal, lambda tally: tally.answered[503] > 0)
    assert tally.answered[503] > 0
    assert all("Not answered within 3 s" in words for words in tally.words)


def test_requests_are_held_while_the_card_is_away(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Who asks in between gets an answer, later; /ping says at once how things stand."""
    asks = mixed(1)
    expected = {ask.name: served.expected[ask.name] for ask in asks}
    served.rig.faults.occupy()
    served.rig.faults.abort_device()
    answers: dict[str, Any] = {}

    def ask(index: int) -> None:
        answers.update(served.alone([asks[index]]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(asks))]
    for thread in threads:
        thread.start()
    wait_until(lambda: served.ping() == 503)
    wait_until(lambda: "attempt 3 to get the device back failed" in caplog.text)
    assert not answers, "nobody is refused, nobody is answered"
    live_then = served.client.get("/status/live").json()
    assert live_then["recoveries"][0]["seconds"] is None, "it goes on"
    assert served.client.get("/ping", timeout=5).text.startswith("recovering"), "it does not wait: the card is away"
    served.rig.faults.occupy(False)
    for thread in threads:
        thread.join(60)
    assert answers == expected
    assert served.ping() == 200
    told, figures = served.client.get("/status/live").json(), served.client.get("/metrics").text
    assert told["recoveries"][0]["seconds"] >= 0.8, "the pauses before three attempts"
    assert told["faults"][0]["kind"] == "burst_lost"
    assert told["networks"][told["faults"][0]["network"]]["engine"] == "hailo"
    assert re.search(r'^immich_ml_device_recoveries_total\{engine="hailo",kind="reopened"\} [1-9]', figures, re.M)
    assert re.search(r'^immich_ml_faults_total\{kind="burst_lost"\} [1-9]', figures, re.M)
    assert re.search(r'^immich_ml_device_temperature_celsius\{engine="hailo"\} \d', figures, re.M)
    assert re.search(r'^immich_ml_burst_frames_sum\{network="tinyclip[^"]*"\} [1-9]', figures, re.M)


def test_answers_that_change_turn_their_task_off_until_the_card_is_opened_anew(served: Served) -> None:
    asks = mixed(1)
    expected = {ask.name: served.expected[ask.name] for ask in asks}
    tasks = served.client.get("/status").json()["tasks"]
    assert all(task["on"] for task in tasks.values())
    served.rig.faults.change_answers(CLIP, flickers=True, until_reopened=False)
    served.rig.faults.kill(CLIP)
    clip, faces = asks[0], asks[1]
    refused = clip.send(served.client)
    assert refused.status_code == 503
    assert "the card answered the same frame twice in different ways" in refused.text
    assert "restart the worker" in refused.text
    assert clip.send(served.client).json()["detail"].startswith("clip.visual (tinyclip) is off: ")
    assert served.alone([faces]) == {faces.name: expected[faces.name]}, "the others go on"
    assert served.ping() == 200
    off = served.client.get("/status").json()["tasks"]
    assert [label for label, task in off.items() if not task["on"]] == ["clip.visual"]
    assert "check its seat and its power supply" in off["clip.visual"]["why"]
    served.rig.faults.heal_answers()
    served.rig.faults.abort_device()
    assert served.alone([faces]) == {faces.name: expected[faces.name]}
    served.wait_ready()
    assert served.alone(asks) == expected
    assert served.client.get("/status").json()["tasks"] == tasks


@pytest.mark.parametrize("fault", ["vanish", "unplug"])
def test_everybody_has_a_503_before_the_worker_leaves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The card is gone, and closing its models or releasing it hangs: nobody waits, and then the process ends."""
    left: list[int] = []
    monkeypatch.setattr(places, "leave", left.append)
    monkeypatch.setattr(hailo.HailoEngine.__init__, "__defaults__", (left.append, time.monotonic))
    monkeypatch.setattr(hailo_closing, "CLOSE_S", 1.0)
    monkeypatch.setattr(hailo_closing, "INTERRUPTS", "none of this name")
    settings = Settings(engine="hailo", models_dir=folder, host_threads=2)
    asks, rig = mixed(2), Rig(clock=SPEED)
    with simulated(rig), live(settings=settings) as (client, worker):
        served = Running(rig, worker, client)
        served.wait_ready(60)
        expected = served.alone(asks)
        with Crowd(served, asks, expected) as crowd:
            crowd.wait_for(10)
            getattr(rig.faults, fault)()
            wait_until(lambda: crowd.tally.answered[503] >= 16 and bool(left), 60)
        rig.faults.free_teardown()
    assert left[0] == EXIT_HUNG
    assert set(crowd.tally.answered) == {200, 503}
    assert not crowd.tally.wrong
    assert any("The card hangs and the worker restarts to free it" in words for words in crowd.tally.words)
    assert not rig.record.crashes
