"""The simulated scheduler and its costs against docs/hailort.md (§5, §6)."""

import importlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import fingerprint, from_table, tiny
from hailo_sim.contracts import group_of
from hailo_sim.costs import TABLE, cost_of
from hailo_sim.driving import Driven, open_device, row
from hailo_sim.record import Burst

from ml_target.catalogue.networks import ARCFACE_MOBILEFACENET, ARCFACE_R50, NETWORKS

Sizes = list[tuple[str, int]]
MANY = {"list_split": False}


@pytest.fixture
def machine() -> Iterator[Callable[..., tuple[Rig, Any]]]:
    """Makes a rig with a virtual clock and opens its device."""
    with ExitStack() as stack:

        def make(*, scheduled: bool = True, count: int = 1, **settings: Any) -> tuple[Rig, Any]:
            rig = stack.enter_context(simulated(Rig(clock="virtual", cards=count, **settings)))
            hailo: ModuleType = importlib.import_module("hailo_platform")
            device = open_device(hailo, scheduled=scheduled, **({"device_count": count} if count > 1 else {}))
            stack.callback(device.release)
            return rig, device

        yield make


Machine = Callable[..., tuple[Rig, Any]]


def sizes(rig: Rig) -> Sizes:
    return [(burst.model, burst.frames) for burst in rig.record.log]


def last(rig: Rig) -> Burst:
    return rig.record.log[-1]


# ------------------------------------------------------------------ 5.1 objects


@row("5.1 the same combination shares one FIFO, another batch does not")
def test_core_ops(machine: Machine) -> None:
    rig, device = machine(**MANY)
    hef = tiny(contexts=2)
    one, two, other = Driven(device, hef, 8), Driven(device, hef, 8), Driven(device, hef, 4)
    with rig.virtual.held():
        waiting = [one.submit(1), one.submit(3), two.submit(2), other.submit(2)]
    assert [w.result() for w in waiting] == [None] * 4
    assert sizes(rig) == [("tiny", 1), ("tiny", 2), ("tiny", 5)]  # in turns between the two core-ops


@row("5.1 at most 32 core-ops a device")
def test_core_op_limit(machine: Machine) -> None:
    _, device = machine()
    hef = tiny()
    for batch in range(32):
        Driven(device, hef, batch).close()  # closing gives nothing back
    with pytest.raises(Exception, match="Invalid operation"):
        Driven(device, hef, 40)
    Driven(device, hef, 31).close()


@row("5.1 a burst is the batch, or the queue where none was set")
def test_burst_size(machine: Machine) -> None:
    rig, device = machine(**MANY)
    driven = Driven(device, tiny(contexts=2), 4)
    with rig.virtual.held():
        assert driven.model.get_async_queue_size() == 8
        waiting = [driven.submit(), driven.submit(4), driven.submit(3)]
    assert [w.result() for w in waiting] == [None] * 3
    assert sizes(rig) == [("tiny", 1), ("tiny", 4), ("tiny", 3)]


# --------------------------------------------------------------- 5.3 what follows


@row("5.3 frames of several requests share a burst")
def test_coalescing(machine: Machine) -> None:
    rig, device = machine(**MANY)
    driven = Driven(device, tiny(contexts=2), 8)
    with rig.virtual.held():
        waiting = [driven.submit() for _ in range(9)]
    assert [w.result() for w in waiting] == [None] * 9
    assert sizes(rig) == [("tiny", 1), ("tiny", 8)]


@row("5.3 a partial batch runs as it is")
def test_partial_batch(machine: Machine) -> None:
    rig, device = machine(**MANY)
    driven = Driven(device, fingerprint(ARCFACE_R50), 8)
    assert driven.submit(3).result() is None
    assert sizes(rig) == [("arcface_r50", 3)]
    assert last(rig).end - last(rig).start == pytest.approx(0.002 + 0.00719 + 3 * 0.00166)


@row("5.3 a list on an idle device runs as 1 and N - 1")
def test_list_split(machine: Machine) -> None:
    rig, device = machine()
    driven = Driven(device, tiny(contexts=2), 8)
    with rig.virtual.held():
        first, second = driven.submit(8), driven.submit(8)
    assert (first.result(), second.result()) == (None, None)
    assert sizes(rig) == [("tiny", 1), ("tiny", 8), ("tiny", 7)]


@row("5.3 bursts of a dyn model do not overlap")
def test_no_overlap(machine: Machine) -> None:
    rig, device = machine(**MANY)
    driven = Driven(device, tiny(contexts=2), 4)
    with rig.virtual.held():
        waiting = [driven.submit() for _ in range(8)]
    for each in waiting:
        assert each.result() is None
    bursts = list(rig.record.log)
    assert all(a.end <= b.start for a, b in itertools.pairwise(bursts))


@row("5.3 a single context streams: latency once, then the interval")
def test_streaming(machine: Machine) -> None:
    rig, device = machine()
    driven = Driven(device, fingerprint(ARCFACE_MOBILEFACENET))
    driven.one()
    start = rig.clock.now()
    with rig.virtual.held():
        waiting = [driven.submit() for _ in range(8)]
    assert [w.result() for w in waiting] == [None] * 8
    assert rig.clock.now() - start == pytest.approx(0.00109 + 7 * 0.000193)
    assert rig.record.switches == 1  # an idle device stays on its last model


@row("5.5 several contexts without a batch: overhead for each frame")
def test_default_batch(machine: Machine) -> None:
    rig, device = machine()
    driven = Driven(device, fingerprint(ARCFACE_R50))
    driven.one()
    start = rig.clock.now()
    assert driven.submit(5).result() is None
    assert rig.clock.now() - start == pytest.approx(5 * (0.00719 + 0.00166))


@row("6.2 a switch loads a single context's weights; several contexts pay theirs each burst")
def test_switch_costs(machine: Machine) -> None:
    rig, device = machine(link="slow")
    small, large = Driven(device, fingerprint(ARCFACE_MOBILEFACENET)), Driven(device, fingerprint(ARCFACE_R50), 8)
    for driven in (small, large, small):
        driven.one()
    seconds = [burst.end - burst.start for burst in rig.record.log]
    assert seconds[0] == seconds[2] == pytest.approx(0.002 + 0.004099978 + 0.00109)
    assert seconds[1] == pytest.approx(0.002 + 0.0263 + 0.00166)
    assert rig.record.switches == 3
    assert sum(seconds) == pytest.approx(rig.record.busy["0000:01:00.0"])


# ----------------------------------------------------------------- 5.2 decisions


@row("5.2 round robin between equals")
def test_round_robin(machine: Machine) -> None:
    rig, device = machine(**MANY)
    models = [Driven(device, tiny(name, contexts=2), 2) for name in "abc"]
    with rig.virtual.held():
        waiting = [m.submit(2) for _ in range(3) for m in models]
    assert [w.result() for w in waiting] == [None] * 9
    assert sizes(rig) == [(name, 2) for name in "abcabcabc"]


@row("5.2 higher priorities first, never inside a burst")
def test_priority(machine: Machine) -> None:
    rig, device = machine(**MANY)
    low, high = Driven(device, tiny("low", contexts=2), 4), Driven(device, tiny("high", contexts=2), 4)
    high.model.set_scheduler_priority(20)
    with rig.virtual.held():
        waiting = [low.submit(4), low.submit(4), high.submit(4), high.submit(4)]
    assert [w.result() for w in waiting] == [None] * 4
    assert [name for name, _ in sizes(rig)] == ["low", "high", "high", "low"]


@row("5.2 streaming yields after a burst's worth of frames")
def test_streaming_yields(machine: Machine) -> None:
    rig, device = machine()
    streaming, other = Driven(device, tiny("streaming"), 2), Driven(device, tiny("other", contexts=2), 2)
    with rig.virtual.held():
        waiting = [streaming.submit() for _ in range(12)]
        waiting.append(other.submit())
    assert [w.result() for w in waiting] == [None] * 13
    names = [name for name, count in sizes(rig) for _ in range(count)]
    # What the queue of eight takes goes out while nothing else waits; then the other's turn comes.
    assert names == ["streaming"] * 8 + ["other"] + ["streaming"] * 4


@row("5.3 thresholds do nothing on an idle device")
def test_threshold_idle(machine: Machine) -> None:
    rig, device = machine()
    driven = Driven(device, tiny(contexts=2), 4)
    driven.model.set_scheduler_threshold(4)
    driven.model.set_scheduler_timeout(5000)
    driven.one()
    assert rig.clock.now() < 0.1


@row("5.3 thresholds count without idle optimisation, until the timeout")
def test_threshold_strict(machine: Machine) -> None:
    rig, device = machine(idle_optimisation=False)
    driven = Driven(device, tiny(contexts=2), 4)
    driven.model.set_scheduler_threshold(4)
    driven.model.set_scheduler_timeout(500)
    driven.one()
    assert rig.clock.now() == pytest.approx(0.5 + 0.014)
    start = rig.clock.now()
    assert driven.submit(4).result() is None
    assert rig.clock.now() - start < 0.1


@row("5.3 starvation: strict priorities can kill")
def test_starvation(machine: Machine) -> None:
    rig, device = machine(**MANY)
    hog, starved = Driven(device, tiny("hog", contexts=2), 2), Driven(device, tiny("starved", contexts=2), 2)
    hog.model.set_scheduler_priority(31)
    died: list[tuple[str, float]] = []
    ended = threading.Event()

    def again(completion_info: object) -> None:
        if not died:
            hog.model.run_async(frames, again)

    def note(completion_info: Any) -> None:
        died.append((type(completion_info.exception).__name__, rig.clock.now()))
        ended.set()

    frames = hog.frames(2)
    with rig.virtual.held():
        for _ in range(2):
            hog.model.run_async(frames, again)
        for _ in range(starved.model.get_async_queue_size() + 1):
            starved.model.run_async(starved.frames(), note)
    assert ended.wait(20)
    kind, moment = died[0]
    assert kind == "HailoRTTimeout"
    assert moment == pytest.approx(10, abs=0.1)
    assert rig.record.models["hog"].bursts[2] > 500  # in no time


# --------------------------------------------------------- 5.4 without scheduler


@row("5.4 one active model, whole batches")
def test_without_scheduler(machine: Machine) -> None:
    rig, device = machine(scheduled=False)
    driven = Driven(device, tiny(contexts=2), 4)
    with pytest.raises(Exception, match=r"72 \(HAILO_STREAM_NOT_ACTIVATED\)"):
        driven.submit()
    driven.close()
    driven.model = driven.infer.configure()
    driven.model.activate()
    partial = driven.submit(3)
    with pytest.raises(Exception, match="timeout"):
        partial.job.wait(1000)
    assert driven.submit().result() is None
    assert partial.result() is None
    assert sizes(rig) == [("tiny", 4)]


# ------------------------------------------------------------------ several cards


@row("2.1 several cards share the bursts of a model")
def test_two_cards(machine: Machine) -> None:
    rig, device = machine(count=2, **MANY)
    driven = Driven(device, fingerprint(ARCFACE_R50), 8)
    with rig.virtual.held():
        waiting = [driven.submit(8), driven.submit(8)]
    assert [w.result() for w in waiting] == [None] * 2
    assert [(b.card, b.frames) for b in rig.record.log] == [("0000:01:00.0", 8), ("0000:02:00.0", 8)]
    assert rig.record.log[0].start == rig.record.log[1].start
    assert rig.clock.now() == pytest.approx(0.002 + 0.00719 + 8 * 0.00166)


@row("2.5-3 completions keep the order of submission over several cards")
def test_order_over_cards(machine: Machine) -> None:
    rig, device = machine(count=2, **MANY)
    driven = Driven(device, fingerprint(ARCFACE_R50), 8)
    order: list[int] = []
    ended = threading.Event()

    def note(number: int) -> Callable[..., None]:
        def call(completion_info: object) -> None:
            order.append(number)
            if len(order) == 2:
                ended.set()

        return call

    with rig.virtual.held():
        driven.model.run_async(driven.frames(8), note(0))  # 20 ms on one card
        driven.model.run_async(driven.frames(1), note(1))  # 9 ms on the other
    assert ended.wait(5)
    assert order == [0, 1]
    assert rig.record.log[0].end > rig.record.log[1].end


# ----------------------------------------------------------------------- 6 costs


@pytest.mark.parametrize(
    ("network", "chip", "link", "one", "eight"),
    [
        ("siglip_b_16_image_encoder", "hailo8", "fast", 73.5, 193),
        ("siglip_b_16_image_encoder", "hailo8", "slow", 224.2, 344),
        ("siglip_b_16_text_encoder", "hailo8", "fast", 60.6, 97.7),
        ("tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder", "hailo8", "fast", 22.5, 43.2),
        ("tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder", "hailo8", "slow", 52.9, 73.7),
        ("arcface_r50", "hailo8", "fast", 8.85, 20.5),
        ("paddle_ocr_v5_mobile_recognition", "hailo8", "fast", 10.9, 20.4),
        ("siglip_b_16_image_encoder", "hailo8l", "fast", 128, 552),
        ("arcface_r50", "hailo8l", "fast", 10.8, 26.8),
        ("siglip2_b_32_256_text_encoder", "hailo8l", "fast", 77.5, 225),
    ],
    ids="6.1 {}".format,
)
def test_burst_costs(network: str, chip: str, link: str, one: float, eight: float) -> None:
    cost = cost_of(network, 4, 0, chip=chip, link=link)
    assert 1e3 * (cost.overhead + cost.per_frame) == pytest.approx(one, rel=0.01)
    assert 1e3 * (cost.overhead + 8 * cost.per_frame) == pytest.approx(eight, rel=0.01)


@row("6.1 every network of the catalogue has its row")
def test_every_network_has_a_row() -> None:
    published = [n for n in NETWORKS if any(file.sources for file in n.hef.values())]
    assert {n.name.replace(".", "_") for n in published} == set(TABLE)


@row("5.5 real and scaled clocks take the time the table says")
def test_scaled_clock() -> None:
    with simulated(Rig(link="slow", clock=10)) as rig:
        device = open_device(importlib.import_module("hailo_platform"))
        driven = Driven(device, from_table(group_of(ARCFACE_R50)), 8)
        driven.one()
        start = rig.clock.now()
        assert driven.submit(8).result() is None
        passed = rig.clock.now() - start
        assert 2 * 0.0263 + 8 * 0.00166 <= passed < 5  # one, then seven; a busy host may be late
        driven.close()
        device.release()
