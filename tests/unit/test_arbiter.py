"""Bursts and turns: what goes together, what goes first, what waits, and what is never sent. All on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from virtual_loop import now, run, spend

from ml_target.api.memory import forget
from ml_target.engines import Intake
from ml_target.engines.cost import BurstCost
from ml_target.errors import BurstLost, CardHangs, EngineFault, Unavailable
from ml_target.figures.observer import Observer, RecoveryKind
from ml_target.scheduling.arbiter import LEAD_S, LEAD_SHARE, Arbiter
from ml_target.scheduling.recovery import BACK_OFF_S
from ml_target.tensors import Array, Outputs, Tensor


class Device:
    """Runs a burst for `overhead + n * per_frame` seconds and remembers each, with when it began and ended."""

    def __init__(self) -> None:
        self.bursts: list[tuple[str, int]] = []
        self.times: list[tuple[float, float]] = []

    def network(self, name: str, overhead: float = 0.0, per_frame: float = 0.0, batch: int = 8) -> "Network":
        return Network(self, name, overhead, per_frame, batch)

    @property
    def most_running(self) -> int:
        """Bursts at a time."""
        return max(sum(begun <= at < ended for begun, ended in self.times) for at, _ in self.times)


class Network:
    """Answers each frame with its own number; `fail` may raise instead."""

    def __init__(self, device: Device, name: str, overhead: float, per_frame: float, batch: int) -> None:
        self.intake = Intake((1,), "int64")
        self.roles: Mapping[str, tuple[int, ...]] = {"out": (1,)}
        self.max_batch = batch
        self.fail: Callable[[Sequence[Array]], None] = lambda frames: None
        self._device, self._name, self._cost = device, name, (overhead, per_frame)

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        seconds = self._cost[0] + len(frames) * self._cost[1]
        self._device.bursts.append((self._name, len(frames)))
        self._device.times.append((now(), now() + seconds))
        spend(seconds)
        self.fail(frames)
        return [{"out": Tensor(frame.copy())} for frame in frames]

    def close(self) -> None: ...


def frames(*numbers: int, width: int = 1) -> list[Array]:
    return [np.full(width, n) for n in numbers]


def numbers(outputs: Sequence[Outputs]) -> list[int]:
    return [int(output["out"].values[0]) for output in outputs]


def scenario(arbiter: Arbiter, work: Callable[[], Awaitable[None]]) -> float:
    """The virtual seconds that it takes."""
    try:
        return run(work, 60)[1]
    finally:
        arbiter.close()


def test_what_waits_goes_together_across_requests() -> None:
    device, arbiter = Device(), Arbiter(1)
    queue = arbiter.queue(device.network("a", 0.02), "a")

    async def work() -> None:
        answers = await asyncio.gather(*(queue.infer(frames(3 * i, 3 * i + 1, 3 * i + 2)) for i in range(7)))
        assert [numbers(a) for a in answers] == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(7)]

    scenario(arbiter, work)
    assert device.bursts == [("a", 8), ("a", 8), ("a", 5)]
    assert device.most_running == 1


def test_frames_of_other_shapes_keep_their_own_bursts_and_their_place() -> None:
    device, arbiter = Device(), Arbiter(1)
    queue = arbiter.queue(device.network("a"), "a")

    async def work() -> None:
        mixed = [*frames(0, width=2), *frames(1, width=3), *frames(2, width=2), *frames(3, width=3)]
        assert numbers(await queue.infer(mixed)) == [0, 1, 2, 3]

    scenario(arbiter, work)
    assert device.bursts == [("a", 2), ("a", 2)]


def test_models_take_turns() -> None:
    device, arbiter = Device(), Arbiter(1)
    queues = [arbiter.queue(device.network(name, 0.002), name) for name in "abc"]

    async def work() -> None:
        await asyncio.gather(*(q.infer(frames(*range(24))) for q in queues))

    scenario(arbiter, work)
    assert [name for name, _ in device.bursts] == list("abc") * 3


def test_full_bursts_pass_a_partly_filled_one_a_few_times_only() -> None:
    device, arbiter = Device(), Arbiter(1, patient=True)
    partly = arbiter.queue(device.network("partly"), "partly")
    full = arbiter.queue(device.network("full"), "full")

    async def work() -> None:
        await asyncio.gather(partly.infer(frames(0)), full.infer(frames(*range(80))))

    scenario(arbiter, work)
    assert [name for name, _ in device.bursts][:10] == ["full"] * 8 + ["partly", "full"]


def test_a_short_burst_that_ends_requests_passes_a_long_one() -> None:
    """So their clients ask again in time for the long one."""
    device = Device()
    arbiter = Arbiter(1, patient=True)
    long = arbiter.queue(device.network("long", overhead=0.1), "long")
    short = arbiter.queue(device.network("short", overhead=0.01), "short")
    other = arbiter.queue(device.network("other", overhead=0.01), "other")

    async def work() -> None:
        with short.coming(None):
            await asyncio.gather(long.infer(frames(1)), other.infer(frames(1)))
        await short.infer(frames(1))
        device.bursts.clear()
        await asyncio.gather(long.infer(frames(2)), other.infer(frames(2)), short.infer(frames(2)))

    scenario(arbiter, work)
    assert [name for name, _ in device.bursts] == ["short", "long", "other"], "nothing says that `other` ends any"


def test_text_goes_first_but_bulk_work_is_never_starved() -> None:
    device, arbiter = Device(), Arbiter(1)
    bulk = arbiter.queue(device.network("bulk", 0.002, batch=1), "bulk")
    text = arbiter.queue(device.network("text", 0.002, batch=1), "text", interactive=True)

    async def work() -> None:
        await asyncio.gather(bulk.infer(frames(*range(4))), text.infer(frames(*range(12))))

    scenario(arbiter, work)
    order = [name for name, _ in device.bursts]
    assert order[:3] == ["text"] * 3, "text first"
    assert all("bulk" in order[i : i + 4] for i in range(12)), "and one of the others after three in a row"


def test_text_never_waits_for_work_that_itself_waits() -> None:
    device, arbiter = Device(), Arbiter(1, patient=True)
    bulk = arbiter.queue(device.network("bulk", 0.5), "bulk")
    text = arbiter.queue(device.network("text", 0.001), "text", interactive=True)

    async def work() -> None:
        await bulk.infer(frames(0))
        for n in range(6):  # more than may pass waiting work in a row
            await text.infer(frames(n))
        with bulk.coming():
            patient = asyncio.ensure_future(bulk.infer(frames(1)))
            await asyncio.sleep(0.01)
            started = now()
            await text.infer(frames(9))
            assert now() - started == pytest.approx(0.001)
        await patient

    scenario(arbiter, work)


def test_text_with_a_lane_of_its_own_waits_for_nobody() -> None:
    device, arbiter = Device(), Arbiter(1, own_lane=True)
    bulk = arbiter.queue(device.network("bulk", 0.3), "bulk")
    text = arbiter.queue(device.network("text", 0.001), "text", interactive=True)

    async def work() -> None:
        long = asyncio.ensure_future(bulk.infer(frames(1)))
        await asyncio.sleep(0.05)
        started = now()
        await text.infer(frames(2))
        assert now() - started == pytest.approx(0.001)
        assert not long.done()
        await long

    scenario(arbiter, work)
    assert device.most_running == 2


def test_interactive_work_also_takes_a_lane_that_nothing_else_wants() -> None:
    device, arbiter = Device(), Arbiter(2, own_lane=True)
    bulk = arbiter.queue(device.network("bulk", 0.3, batch=1), "bulk")
    text = arbiter.queue(device.network("text", 0.1, batch=1), "text", interactive=True)

    async def work() -> None:
        started = now()
        await asyncio.gather(*(text.infer(frames(n)) for n in range(4)))
        assert now() - started == pytest.approx(0.2), "two at a time"
        long = [asyncio.ensure_future(bulk.infer(frames(n))) for n in range(3)]
        queries = [asyncio.ensure_future(text.infer(frames(n))) for n in range(4)]
        await asyncio.wait(long)
        assert now() - started == pytest.approx(0.2 + 0.6), "three in two lanes: none was lost to queries"
        assert all(query.done() for query in queries), "beside them, one at a time"

    scenario(arbiter, work)
    assert device.most_running == 3


def test_as_many_bursts_at_a_time_as_there_are_lanes() -> None:
    device, arbiter = Device(), Arbiter(3)
    queue = arbiter.queue(device.network("a", 0.02, batch=1), "a")
    scenario(arbiter, lambda: _ignore(queue.infer(frames(*range(9)))))
    assert device.most_running == 3


async def _ignore(work: Awaitable[object]) -> None:
    await work


@pytest.mark.parametrize("own_lane", [False, True])
def test_beside_another_a_burst_takes_its_own_time(own_lane: bool) -> None:
    """Of two at a time the longer one began with the shorter one, not at its end."""
    took: dict[str, float] = {}

    class Told(Observer):
        def burst(self, network: str, frames: int, seconds: float) -> None:
            took[network] = seconds

    device, arbiter = Device(), Arbiter(1 if own_lane else 2, own_lane=own_lane, observer=Told())
    short = arbiter.queue(device.network("short", 1.0), "short")
    long = arbiter.queue(device.network("long", 3.0), "long", interactive=own_lane)

    async def work() -> None:
        await asyncio.gather(short.infer(frames(1)), long.infer(frames(2)))

    scenario(arbiter, work)
    assert took == {"short": pytest.approx(1.0), "long": pytest.approx(3.0)}


def test_frames_of_cancelled_requests_are_never_sent() -> None:
    device, arbiter = Device(), Arbiter(1)
    queue = arbiter.queue(device.network("a", 0.05, batch=4), "a")

    async def work() -> None:
        first = asyncio.ensure_future(queue.infer(frames(1)))
        await asyncio.sleep(0.01)
        leaving = asyncio.ensure_future(queue.infer(frames(*range(100))))
        staying = asyncio.ensure_future(queue.infer(frames(7, 8)))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert numbers(await first) == [1]
        assert numbers(await staying) == [7, 8]
        assert not queue.waiting

    scenario(arbiter, work)
    assert device.bursts == [("a", 1), ("a", 2)]


def test_a_frame_that_fails_takes_no_other_request_with_it() -> None:
    device, arbiter = Device(), Arbiter(1)
    network = device.network("a")
    queue = arbiter.queue(network, "a")

    def fail(burst: Sequence[Array]) -> None:
        if any(int(frame[0]) == 13 for frame in burst):
            raise EngineFault("13 is not liked")

    network.fail = fail

    async def work() -> None:
        answers = await asyncio.gather(*(queue.infer(frames(n)) for n in (1, 13, 2)), return_exceptions=True)
        assert isinstance(answers[1], EngineFault)
        assert [numbers(a) for a in (answers[0], answers[2]) if isinstance(a, list)] == [[1], [2]]

    scenario(arbiter, work)
    assert device.bursts == [("a", 3), ("a", 1), ("a", 1), ("a", 1)]


def test_an_accident_in_an_engine_is_told_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    device, arbiter = Device(), Arbiter(1)
    network = device.network("a")
    queue = arbiter.queue(network, "a")

    def fail(_: Sequence[Array]) -> None:
        raise ZeroDivisionError

    async def work() -> None:
        network.fail = fail
        with pytest.raises(EngineFault, match="The log has the details"):
            await queue.infer(frames(1, 2))
        network.fail = lambda _: None
        assert numbers(await queue.infer(frames(3))) == [3]

    scenario(arbiter, work)
    assert "ZeroDivisionError" in caplog.text


# ------------------------------------------------------------------ recovery


def test_a_lost_burst_goes_again_once_the_device_is_back() -> None:
    device = Device()
    network = device.network("a")
    state = {"broken": True, "attempts": 0}

    def fail(_: Sequence[Array]) -> None:
        if state["broken"]:
            raise BurstLost("the device closed its streams")

    def recover(_: object) -> RecoveryKind:
        state["attempts"] += 1
        if state["attempts"] < 3:
            raise EngineFault("not yet")
        state["broken"] = False
        return "reopened"

    network.fail = fail
    arbiter = Arbiter(1, recover=recover)
    queue = arbiter.queue(network, "a")

    async def work() -> None:
        asked = [asyncio.ensure_future(queue.infer(frames(n))) for n in range(8)]
        while arbiter.ready:
            await asyncio.sleep(0.001)
        later = asyncio.ensure_future(queue.infer(frames(8)))
        assert [numbers(await a) for a in (*asked, later)] == [[n] for n in range(9)]
        assert arbiter.ready

    seconds = scenario(arbiter, work)
    assert state["attempts"] == 3
    assert seconds == pytest.approx(sum(BACK_OFF_S[:3]), abs=0.01)


def test_attempts_go_on_every_few_seconds_for_ever() -> None:
    device = Device()
    network = device.network("a")
    attempts: list[float] = []

    def fail(_: Sequence[Array]) -> None:
        if len(attempts) < 9:
            raise BurstLost("the card is away")

    def recover(_: object) -> RecoveryKind:
        attempts.append(now())
        if len(attempts) < 9:
            raise EngineFault("not yet")
        return "reopened"

    network.fail = fail
    arbiter = Arbiter(1, recover=recover)
    queue = arbiter.queue(network, "a")

    async def work() -> None:
        assert numbers(await queue.infer(frames(1))) == [1]

    scenario(arbiter, work)
    apart = [later - earlier for earlier, later in pairwise([0.0, *attempts])]
    assert apart == pytest.approx([*BACK_OFF_S, *[BACK_OFF_S[-1]] * 4], abs=0.001)


def test_a_burst_lost_twice_is_given_up_in_words() -> None:
    device = Device()
    network = device.network("a")
    lost = iter([True, True, False])

    def fail(_: Sequence[Array]) -> None:
        if next(lost):
            raise BurstLost("streams closed")

    network.fail = fail
    arbiter = Arbiter(1, recover=lambda _: "reopened")
    queue = arbiter.queue(network, "a")

    async def work() -> None:
        with pytest.raises(Unavailable, match=r"a lost its device twice \(streams closed\)"):
            await queue.infer(frames(1))
        assert numbers(await queue.infer(frames(2))) == [2]

    scenario(arbiter, work)


def test_a_network_that_must_not_be_asked_is_told_to_every_request_once() -> None:
    device = Device()
    network = device.network("a")

    def fail(_: Sequence[Array]) -> None:
        raise Unavailable("a: the card's answers change")

    network.fail = fail
    arbiter = Arbiter(1)
    queue = arbiter.queue(network, "a")

    async def work() -> None:
        results = await asyncio.gather(*(queue.infer(frames(n)) for n in range(4)), return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}

    scenario(arbiter, work)
    assert len(device.bursts) == 1, "no frame goes again by itself"


def test_requests_of_one_burst_share_no_error() -> None:
    """Who has answered first clears the frames that its error came through, and a shared one came through all."""
    network = Device().network("a")
    arbiter = Arbiter(1)

    def refuse(_: Sequence[Array]) -> None:
        raise Unavailable("not now")

    network.fail = refuse

    async def work() -> None:
        queue = arbiter.queue(network, "a")

        async def inner(number: int) -> object:
            try:
                return await queue.infer(frames(number))
            finally:
                await asyncio.sleep(0.01 * number)  # the slower is still in here when the faster has its answer

        async def request(number: int) -> str:
            try:
                return str(await asyncio.ensure_future(inner(number)))
            except Unavailable as error:
                words = str(error)
                forget(error)
                return words

        assert [*await asyncio.gather(request(0), request(1), request(2))] == ["not now"] * 3

    scenario(arbiter, work)
    assert network._device.bursts == [("a", 3)]


def test_before_a_process_leaves_everybody_has_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Those that wait, those whose burst is on the hanging device, those that ask in between; then it leaves."""
    device = Device()
    stuck, other = device.network("stuck", 5.0), device.network("other")
    state = {"answered": 0, "left": 0, "answered when it left": 0}

    def fail(_: Sequence[Array]) -> None:
        raise BurstLost("a burst did not end")

    def recover(_: object) -> RecoveryKind:
        raise CardHangs("HailoRT did not close a model. It ends with status 70: it is started again.")

    def leave(status: int) -> None:
        state["left"] = status
        state["answered when it left"] = state["answered"]

    other.fail = fail
    arbiter = Arbiter(1, ahead=True, recover=recover, leave=leave)
    queues = [arbiter.queue(stuck, "stuck"), arbiter.queue(other, "other")]
    queues[0].cost.add(1, 0.01)  # so that the next burst is sent ahead

    async def ask(number: int) -> None:
        with pytest.raises(Unavailable, match=r"card hangs and the worker restarts.*Try again in a minute") as refused:
            await queues[number % 2].infer(frames(number))
        assert refused.value.remedy == "Try again in a minute; its log says more."
        state["answered"] += 1

    async def work() -> None:
        asked = [asyncio.ensure_future(ask(number)) for number in range(40)]
        while arbiter.ready:
            await asyncio.sleep(0.001)
        while not state["answered"]:
            await asyncio.sleep(0.001)
        await ask(40)
        await asyncio.gather(*asked)
        while not state["left"]:
            await asyncio.sleep(0.01)
        assert not arbiter.ready

    scenario(arbiter, work)
    assert state == {"answered": 41, "left": 70, "answered when it left": 41}
    assert "ends with status 70" in caplog.text


# ------------------------------------------------------------------ patience


def test_costs_are_learned() -> None:
    cost = BurstCost()
    assert cost.overhead == 0
    cost.add(1, 0.1)
    assert cost.overhead == pytest.approx(0.075), "one size tells nothing: three quarters are taken for overhead"
    assert cost.per_frame == pytest.approx(0.025)
    for n in (1, 8, 3, 5, 8, 2):
        cost.add(n, 0.2 + n * 0.017)
    for n in (1, 8, 3, 5) * 20:
        cost.add(n, 0.2 + n * 0.017)
    assert cost.overhead == pytest.approx(0.2, rel=0.02)


def rounds(clients: int, patient: bool, prepare: float = 0.002) -> tuple[list[int], float]:
    """Clients that ask again as soon as they are answered, half of them out of step at first."""
    device, arbiter = Device(), Arbiter(1, patient=patient)
    queue = arbiter.queue(device.network("a", 0.05, 0.002), "a")

    async def client(index: int) -> None:
        await asyncio.sleep(0.01 * (index % 2))
        for _ in range(10):
            with queue.coming():
                await asyncio.sleep(prepare)
            await queue.infer(frames(index))

    seconds = scenario(arbiter, lambda: _ignore(asyncio.gather(*(client(i) for i in range(clients)))))
    return [n for _, n in device.bursts], seconds


def test_clients_in_step_are_not_split_into_two_half_bursts_for_ever() -> None:
    bursts, _ = rounds(8, patient=True)
    split, _ = rounds(8, patient=False)
    assert sum(bursts) == sum(split) == 80
    settled, never = bursts[4:-2], split[4:-2]
    assert sum(settled) / len(settled) > 6, bursts
    assert sum(never) / len(never) < 6, "what it would be without patience"


def test_a_lone_client_is_never_kept_waiting() -> None:
    _, patient = rounds(1, patient=True)
    _, hasty = rounds(1, patient=False)
    assert patient == pytest.approx(hasty)


def test_patience_ends() -> None:
    device, arbiter = Device(), Arbiter(1, patient=True)
    queue = arbiter.queue(device.network("a", 0.1, 0.0), "a")

    async def work() -> None:
        await queue.infer(frames(0))
        with queue.coming():  # announced, and never sent
            started = now()
            await queue.infer(frames(1))
            assert now() - started == pytest.approx(0.1 + queue.cost.overhead, rel=0.1), "no longer than it may save"

    scenario(arbiter, work)


# ------------------------------------------------------------------ sent ahead


def test_the_next_burst_is_sent_just_before_the_running_one_ends() -> None:
    """Late enough to be as full as it can be, early enough for the device never to be idle."""
    device, arbiter = Device(), Arbiter(1, patient=True, ahead=True)
    queue = arbiter.queue(device.network("a", 1.0, 0.0, batch=4), "a")

    async def work() -> None:
        await queue.infer(frames(0, 1, 2, 3))  # so that it is known what one takes
        await asyncio.gather(queue.infer(frames(*range(4))), queue.infer(frames(*range(4))))

    scenario(arbiter, work)
    assert device.bursts == [("a", 4)] * 3
    (_, first_end), (second, _), (third, _) = device.times
    assert second == first_end
    assert third - second == pytest.approx(1.0 - LEAD_S - LEAD_SHARE, abs=0.001)


def test_what_it_takes_to_reach_an_idle_device_is_not_expected_of_a_busy_one() -> None:
    """Else the next burst would be sent too late, when the device is idle once more, and so for ever."""
    device, arbiter = Device(), Arbiter(1, patient=True, ahead=True)
    network, free, idle = device.network("a", batch=4), [0.0], list[bool]()

    def reach(_: Sequence[Array]) -> None:
        idle.append(now() >= free[0])
        free[0] = max(free[0], now()) + (1.3 if idle[-1] else 1.0)
        spend(free[0] - now())

    network.fail = reach
    queue = arbiter.queue(network, "a")

    async def work() -> None:
        await asyncio.gather(*(queue.infer(frames(*range(4))) for _ in range(12)))

    scenario(arbiter, work)
    assert len(idle) == 12
    assert idle[0]
    assert not any(idle[-6:])
